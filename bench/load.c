/* load.c -- holdfast-load: how many operations a server does, and how long each one takes.
 *
 * Closed loop says what a server can do; open loop (--rate) says how long clients wait at a given load.
 * Options are rows: the help page, the parser and the limits come from the same table.
 * The report is a few lines, or one JSON object (--json). Exit status: 0; 1 when the run failed, a reply was an
 * error or an operation stayed unanswered; 2 for options that make no sense.
 */
#include "load.h"

#include "base/assert.h"
#include "base/buf.h"
#include "base/memory.h"
#include "base/number.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- options ---- */

static bool read_choice(bytes text, const char *word, double *number)
{
    size_t size = strlen(word);
    if (text.size < size || memcmp(text.data, word, size) != 0)
        return false;
    if (text.size == size)
        return true;
    long double value;
    if (!number || text.data[size] != ':' ||
        !number_parse_float(bytes_of(text.data + size + 1, text.size - size - 1), &value) || value <= 0 || value >= 1)
        return false;
    *number = (double)value;
    return true;
}

static bool read_protocol(struct load_options *o, bytes text)
{
    o->protocol = bytes_is_word(text, "memcached") ? PROTOCOL_MEMCACHED : PROTOCOL_RESP;
    return o->protocol == PROTOCOL_MEMCACHED || bytes_is_word(text, "resp");
}

static bool read_operation(struct load_options *o, bytes text)
{
    static const char *const words[] = {"get", "set", "mixed", "ping"};
    for (int i = OPERATION_GET; i <= OPERATION_PING; i++) {
        o->operation = (enum load_operation)i;
        if (read_choice(text, words[i], i == OPERATION_MIXED ? &o->get_share : NULL))
            return true;
    }
    return false;
}

static bool read_order(struct load_options *o, bytes text)
{
    o->order = read_choice(text, "uniform", NULL) ? ORDER_UNIFORM : ORDER_ZIPF;
    return o->order == ORDER_UNIFORM || read_choice(text, "zipf", &o->skew);
}

enum option_kind { OPTION_TEXT, OPTION_COUNT, OPTION_REAL, OPTION_FLAG, OPTION_WORD };

#define AT(field) offsetof(struct load_options, field)

static const struct option {
    const char *name, *value;
    enum option_kind kind;
    size_t at;
    double least, most;
    bool (*read)(struct load_options *o, bytes text);
    const char *help;
} options[] = {
    {"--host", "NAME", OPTION_TEXT, AT(host), 0, 0, NULL, "127.0.0.1"},
    {"--port", "N", OPTION_COUNT, AT(port), 1, 65535, NULL, "6379, or 11211 for memcached"},
    {"--protocol", "WORD", OPTION_WORD, 0, 0, 0, read_protocol, "resp (default) or memcached, its text form"},
    {"--password", "TEXT", OPTION_TEXT, AT(password), 0, 0, NULL, "AUTH with it first (resp)"},
    {"--op", "WORD", OPTION_WORD, 0, 0, 0, read_operation, "get (default), set, ping, mixed or mixed:0.9 (share of gets, 0.5)"},
    {"--command", "LINE", OPTION_TEXT, AT(command), 0, 0, NULL, "instead of --op; %k: a key, %v: a value; ';' between commands that count as one"},
    {"--seconds", "S", OPTION_REAL, AT(seconds), 0.001, 1e7, NULL, "length of the run (10, unless --ops is given)"},
    {"--ops", "N", OPTION_COUNT, AT(operations), 1, 1e15, NULL, "operations of the run; with --seconds: whichever ends first"},
    {"--connections", "N", OPTION_COUNT, AT(connections), 1, 50000, NULL, "50"},
    {"--threads", "N", OPTION_COUNT, AT(threads), 1, 1024, NULL, "1; they share the connections"},
    {"--pipeline", "N", OPTION_COUNT, AT(pipeline), 1, 65536, NULL, "1; requests in flight on a connection"},
    {"--rate", "R", OPTION_REAL, AT(rate), 0.001, 1e9, NULL, "open loop: R operations per second, whatever the server does"},
    {"--keys", "N", OPTION_COUNT, AT(keys), 1, 1e12, NULL, "100000"},
    {"--key-size", "BYTES", OPTION_COUNT, AT(key_size), 1, LOAD_KEY_MAX, NULL, "16, as in key:000000012345"},
    {"--value-size", "BYTES", OPTION_COUNT, AT(value_size), 0, 512u << 20, NULL, "64"},
    {"--distribution", "WORD", OPTION_WORD, 0, 0, 0, read_order, "uniform (default), zipf or zipf:0.99 (its skew)"},
    {"--seed", "N", OPTION_COUNT, AT(seed), 0, 1e15, NULL, "1; the same seed asks for the same keys"},
    {"--fill", NULL, OPTION_FLAG, AT(fill), 0, 0, NULL, "first SET every key once, not measured"},
    {"--json", NULL, OPTION_FLAG, AT(json), 0, 0, NULL, "the report as one JSON object"},
};

#define OPTION_COUNT_ALL (sizeof(options) / sizeof(options[0]))

static void print_help(void)
{
    puts("usage: holdfast-load [options]\n"
         "\n"
         "Measures a server that speaks Redis' or memcached's protocol: operations per second, and the time of each.\n"
         "Without --rate each connection waits for its replies before it sends on. With --rate every operation has\n"
         "its time to be sent, and counts from then, sent late or not.\n");
    for (size_t i = 0; i < OPTION_COUNT_ALL; i++)
        printf("  %-14s %-6s %s\n", options[i].name, options[i].value ? options[i].value : "", options[i].help);
    puts("\n"
         "  holdfast-load --fill --op mixed:0.9 --threads 2 --pipeline 16\n"
         "  holdfast-load --op set --rate 50000 --seconds 30 --distribution zipf --json");
}

_Noreturn static void refuse(const char *what, const char *why)
{
    fprintf(stderr, "holdfast-load: %s: %s; see --help\n", what, why);
    exit(2);
}

static void take_option(struct load_options *o, const struct option *row, const char *text)
{
    char why[160];
    bytes value = bytes_str(text);
    uint64_t count = 0;
    long double real = 0;
    bool good = true;
    switch (row->kind) {
    case OPTION_TEXT:
        memcpy((char *)o + row->at, &text, sizeof(text));
        return;
    case OPTION_WORD:
        if (!row->read(o, value)) {
            snprintf(why, sizeof(why), "'%.60s' is not one of: %.80s", text, row->help);
            refuse(row->name, why);
        }
        return;
    case OPTION_COUNT:
        good = number_parse_uint(value, &count);
        real = (long double)count;
        memcpy((char *)o + row->at, &count, sizeof(count));
        break;
    case OPTION_REAL:
        good = number_parse_float(value, &real);
        memcpy((char *)o + row->at, &(double){(double)real}, sizeof(double));
        break;
    case OPTION_FLAG:
        return;
    }
    if (!good || real < (long double)row->least || real > (long double)row->most) {
        snprintf(why, sizeof(why), "'%.60s' is not a %s from %.12g to %.12g", text,
                 row->kind == OPTION_COUNT ? "whole number" : "number", row->least, row->most);
        refuse(row->name, why);
    }
}

static void check_options(struct load_options *o)
{
    char why[120];
    uint64_t digits = 1;
    for (uint64_t most = o->keys - 1; most > 9; most /= 10)
        digits++;
    if (o->key_size >= 8 ? digits > o->key_size - 4 : digits > o->key_size) {
        snprintf(why, sizeof(why), "too small to tell %llu keys apart", (unsigned long long)o->keys);
        refuse("--key-size", why);
    }
    if (o->threads > o->connections)
        refuse("--threads", "there are fewer connections than threads (--connections)");
    if (o->protocol == PROTOCOL_MEMCACHED && o->key_size > 250)
        refuse("--key-size", "memcached takes keys up to 250 bytes");
    if (o->protocol == PROTOCOL_MEMCACHED && o->password)
        refuse("--password", "the text form of memcached has none");
    if (o->command && (o->protocol == PROTOCOL_MEMCACHED || !*o->command))
        refuse("--command", "it takes a line of commands of RESP");
    if (o->command)
        o->operation = OPERATION_COMMAND;
    if (!o->port)
        o->port = o->protocol == PROTOCOL_RESP ? 6379 : 11211;
    if (o->seconds == 0 && o->operations == 0)
        o->seconds = 10;
}

static void read_options(struct load_options *o, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        size_t row = 0;
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            print_help();
            exit(0);
        }
        while (row < OPTION_COUNT_ALL && strcmp(argv[i], options[row].name) != 0)
            row++;
        if (row == OPTION_COUNT_ALL)
            refuse(argv[i], "no such option");
        if (options[row].kind == OPTION_FLAG) {
            memcpy((char *)o + options[row].at, &(bool){true}, sizeof(bool));
            continue;
        }
        if (i + 1 == argc)
            refuse(argv[i], "a value is missing");
        take_option(o, &options[row], argv[++i]);
    }
    check_options(o);
}

/* ---- the run ---- */

static uint64_t share_of(uint64_t total, uint64_t threads, uint64_t number)
{
    return total / threads + (number < total % threads);
}

static void *run_nothing(void *unused)
{
    return unused;
}

/* Runs o on the open connections of the threads; results are in the threads. */
static void run_phase(struct load_thread *threads, const struct load_options *o)
{
    uint64_t start = load_now_ns(), limit = o->operations ? o->operations : UINT64_MAX;
    double zeta = o->order == ORDER_ZIPF ? zipf_zeta(o->keys, o->skew) : 0;
    if (o->rate > 0 && o->seconds > 0 && o->rate * o->seconds < (double)limit)
        limit = (uint64_t)(o->rate * o->seconds);
    for (unsigned i = 0; i < o->threads; i++) {
        struct load_thread *t = &threads[i];
        t->options = o;
        t->limit = limit == UINT64_MAX ? limit : share_of(limit, o->threads, i);
        t->start_ns = start;
        t->stop_ns = o->seconds > 0 ? start + (uint64_t)(o->seconds * 1e9) : UINT64_MAX;
        t->random = (o->seed << 16 | i) * 0x9e3779b97f4a7c15u;
        t->next_key = i;
        t->key_step = o->threads;
        t->zipf_zeta = zeta;
        t->sent = t->done = t->unfinished = 0;
        memset(&t->latency, 0, sizeof(t->latency));
        int error = pthread_create(&t->thread, NULL, t->limit ? load_thread_run : run_nothing, t);
        if (error) {
            fprintf(stderr, "holdfast-load: cannot start a thread: %s\n", strerror(error));
            exit(1);
        }
    }
    for (unsigned i = 0; i < o->threads; i++)
        pthread_join(threads[i].thread, NULL);
}

static bool report_failures(const struct load_thread *threads, const struct load_options *o)
{
    for (unsigned i = 0; i < o->threads; i++) {
        if (threads[i].failure[0]) {
            fprintf(stderr, "holdfast-load: %s\n", threads[i].failure);
            return true;
        }
    }
    return false;
}

static bool fill(struct load_thread *threads, const struct load_options *o)
{
    struct load_options filling = *o;
    filling.operation = OPERATION_SET;
    filling.order = ORDER_SEQUENTIAL;
    filling.operations = o->keys;
    filling.rate = filling.seconds = 0;
    run_phase(threads, &filling);
    bool good = true;
    for (unsigned i = 0; i < o->threads && good; i++) {
        good = !threads[i].failure[0] && threads[i].counts.errors == 0;
        if (threads[i].counts.errors)
            fprintf(stderr, "holdfast-load: filling: %s\n", threads[i].counts.first_error);
    }
    return good;
}

/* ---- the report ---- */

struct result {
    struct histogram latency;
    struct reply_counts counts;
    uint64_t done, unfinished, cpu_ns, end_ns;
    double seconds;
};

static void sum_up(const struct load_thread *threads, const struct load_options *o, struct result *r)
{
    memset(r, 0, sizeof(*r));
    for (unsigned i = 0; i < o->threads; i++) {
        const struct load_thread *t = &threads[i];
        histogram_merge(&r->latency, &t->latency);
        r->done += t->done;
        r->unfinished += t->unfinished;
        r->cpu_ns += t->cpu_ns;
        r->counts.misses += t->counts.misses;
        r->counts.errors += t->counts.errors;
        if (!r->counts.first_error[0])
            memcpy(r->counts.first_error, t->counts.first_error, sizeof(r->counts.first_error));
        if (t->end_ns > r->end_ns)
            r->end_ns = t->end_ns;
    }
    r->seconds = (double)(r->end_ns - threads[0].start_ns) / 1e9;
}

static const struct { const char *name; double share; } percentiles[] = {
    {"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p99.9", 0.999}, {"max", 1},
};

#define PERCENTILES (sizeof(percentiles) / sizeof(percentiles[0]))

static double latency_us(const struct result *r, size_t i)
{
    return (double)histogram_percentile(&r->latency, percentiles[i].share) / 1000;
}

static const char *const operation_names[] = {"get", "set", "mixed", "ping", "command"};
static const char *const protocol_names[] = {"resp", "memcached"};

static double per(double amount, double count)
{
    return count > 0 ? amount / count : 0;
}

static void put_json_text(struct buf *out, const char *text)
{
    buf_append_u8(out, '"');
    for (; *text; text++) {
        uint8_t c = (uint8_t)*text;
        if (c == '"' || c == '\\')
            buf_printf(out, "\\%c", c);
        else if (c < ' ' || c > 126)
            buf_printf(out, "\\u%04x", c);
        else
            buf_append_u8(out, c);
    }
    buf_append_u8(out, '"');
}

static void print_json(const struct load_options *o, const struct result *r)
{
    struct buf out;
    buf_init(&out, 1 << 20);
    buf_printf(&out, "{\"protocol\": \"%s\", \"host\": ", protocol_names[o->protocol]);
    put_json_text(&out, o->host);
    buf_printf(&out, ", \"port\": %u, \"op\": \"%s\", \"get_share\": %.4f, ", (unsigned)o->port, operation_names[o->operation],
               o->get_share);
    buf_printf(&out, "\"connections\": %llu, \"threads\": %llu, \"pipeline\": %llu, \"rate\": %.3f, ",
               (unsigned long long)o->connections, (unsigned long long)o->threads, (unsigned long long)o->pipeline, o->rate);
    buf_printf(&out, "\"keys\": %llu, \"key_size\": %llu, \"value_size\": %llu, \"distribution\": \"%s\", \"skew\": %.4f, ",
               (unsigned long long)o->keys, (unsigned long long)o->key_size, (unsigned long long)o->value_size,
               o->order == ORDER_ZIPF ? "zipf" : "uniform", o->order == ORDER_ZIPF ? o->skew : 0.0);
    buf_printf(&out, "\"seed\": %llu, \"seconds\": %.6f, \"operations\": %llu, \"ops_per_second\": %.3f, ",
               (unsigned long long)o->seed, r->seconds, (unsigned long long)r->done, per((double)r->done, r->seconds));
    buf_printf(&out, "\"misses\": %llu, \"errors\": %llu, \"unfinished\": %llu, \"first_error\": ",
               (unsigned long long)r->counts.misses, (unsigned long long)r->counts.errors, (unsigned long long)r->unfinished);
    put_json_text(&out, r->counts.first_error);
    buf_printf(&out, ", \"client_cpu_us_per_op\": %.4f, \"latency_us\": {\"mean\": %.3f",
               per((double)r->cpu_ns / 1000, (double)r->done), per((double)r->latency.sum / 1000, (double)r->latency.count));
    for (size_t i = 0; i < PERCENTILES; i++)
        buf_printf(&out, ", \"%s\": %.3f", percentiles[i].name, latency_us(r, i));
    buf_append_bytes(&out, BYTES("}}\n"));
    fwrite(out.data, 1, out.size, stdout);
    buf_release(&out);
}

static void print_text(const struct load_options *o, const struct result *r)
{
    char loop[64] = "closed loop";
    if (o->rate > 0)
        snprintf(loop, sizeof(loop), "open loop at %.10g per second", o->rate);
    printf("%s %s on %s:%u: %llu connections, %llu threads, pipeline %llu, %s, %llu %s keys, %llu-byte values\n",
           protocol_names[o->protocol], operation_names[o->operation], o->host, (unsigned)o->port,
           (unsigned long long)o->connections, (unsigned long long)o->threads, (unsigned long long)o->pipeline, loop,
           (unsigned long long)o->keys, o->order == ORDER_ZIPF ? "zipf" : "uniform", (unsigned long long)o->value_size);
    printf("operations  %llu in %.3f s: %.0f per second; %llu misses, %llu errors, %llu unfinished\n",
           (unsigned long long)r->done, r->seconds, per((double)r->done, r->seconds), (unsigned long long)r->counts.misses,
           (unsigned long long)r->counts.errors, (unsigned long long)r->unfinished);
    printf("latency us ");
    for (size_t i = 0; i < PERCENTILES; i++)
        printf(" %s %.1f", percentiles[i].name, latency_us(r, i));
    printf(" (mean %.1f)\n", per((double)r->latency.sum / 1000, (double)r->latency.count));
    printf("client CPU  %.3f us per operation\n", per((double)r->cpu_ns / 1000, (double)r->done));
    if (r->counts.errors)
        printf("first error %s\n", r->counts.first_error);
}

int main(int argc, char **argv)
{
    struct load_options o = {.host = "127.0.0.1", .threads = 1, .connections = 50, .pipeline = 1, .keys = 100000,
                             .key_size = 16, .value_size = 64, .seed = 1, .get_share = 0.5, .skew = 0.99};
    read_options(&o, argc, argv);
    struct load_thread *threads = mem_zalloc(o.threads * sizeof(*threads));
    struct result *result = mem_alloc(sizeof(*result));
    bool good = true;
    for (unsigned i = 0; i < o.threads && good; i++) {
        threads[i].options = &o;
        threads[i].number = i;
        threads[i].conn_count = (unsigned)share_of(o.connections, o.threads, i);
        good = load_thread_open(&threads[i]);
    }
    good = good && (!o.fill || fill(threads, &o));
    if (good) {
        run_phase(threads, &o);
        sum_up(threads, &o, result);
        (o.json ? print_json : print_text)(&o, result);
        good = result->counts.errors == 0 && result->unfinished == 0;
    }
    good = !report_failures(threads, &o) && good;
    for (unsigned i = 0; i < o.threads && threads[i].conns; i++)
        load_thread_close(&threads[i]);
    mem_free(result);
    mem_free(threads);
    return good ? 0 : 1;
}
