/* latency.c -- LATENCY: the events of os/latency.h, and the histograms of times.h. */
#include "cmd/args.h"
#include "cmd/handlers.h"
#include "cmd/latency_graph.h"
#include "cmd/slowlog.h"
#include "cmd/times.h"
#include "os/os.h"
#include "os/ticks.h"

#define TEXT_MAX (1u << 20)

static enum latency_event find_event(bytes name)
{
    enum latency_event e = 0;
    while (e < LATENCY_EVENTS && !bytes_is_word(name, latency_name(e)))
        e++;
    return e;
}

/* As in Redis the names of events are in lower case only. Empty: unknown, or nothing was noted. */
static void take_series(bytes name, struct latency_series *out)
{
    enum latency_event e = find_event(name);
    out->count = 0;
    if (e < LATENCY_EVENTS && bytes_equal(name, bytes_str(latency_name(e))))
        latency_copy(e, out);
}

void cmd_latency_latest(struct call *c)
{
    struct { const char *name; struct latency_sample last; uint64_t max_ms; } known[LATENCY_EVENTS];
    struct latency_series s;
    size_t count = 0;
    for (enum latency_event e = 0; e < LATENCY_EVENTS; e++) {
        latency_copy(e, &s);
        if (!s.count)
            continue;
        known[count].name = latency_name(e);
        known[count].last = s.samples[s.count - 1];
        known[count++].max_ms = s.max_ms;
    }
    reply_array(c->reply, count);
    for (size_t i = 0; i < count; i++) {
        reply_array(c->reply, 4);
        reply_text(c->reply, known[i].name);
        reply_int(c->reply, (int64_t)known[i].last.time_s);
        reply_int(c->reply, (int64_t)known[i].last.ms);
        reply_int(c->reply, (int64_t)known[i].max_ms);
    }
}

void cmd_latency_history(struct call *c)
{
    struct latency_series s;
    take_series(c->argv[2], &s);
    reply_array(c->reply, s.count);
    for (size_t i = 0; i < s.count; i++) {
        reply_array(c->reply, 2);
        reply_int(c->reply, (int64_t)s.samples[i].time_s);
        reply_int(c->reply, (int64_t)s.samples[i].ms);
    }
}

static void reply_verbatim(struct call *c, struct buf *text)
{
    c->reply->ops->verbatim(c->reply, "txt", buf_view(text));
    buf_release(text);
}

void cmd_latency_graph(struct call *c)
{
    struct latency_series s;
    struct buf text;
    take_series(c->argv[2], &s);
    if (!s.count) {
        reply_errorf(c->reply, "ERR No samples available for event '" WORD_FORMAT "'", WORD_WHOLE(c->argv[2]));
        return;
    }
    buf_init(&text, TEXT_MAX);
    latency_graph(latency_name(find_event(c->argv[2])), &s, OS.wall_ms() / 1000, &text);
    reply_verbatim(c, &text);
}

void cmd_latency_reset(struct call *c)
{
    int64_t count = 0;
    for (enum latency_event e = 0; c->argc == 2 && e < LATENCY_EVENTS; e++)
        count += latency_reset(e);
    for (size_t i = 2; i < c->argc; i++) {
        enum latency_event e = find_event(c->argv[i]);
        count += e < LATENCY_EVENTS && bytes_equal(c->argv[i], bytes_str(latency_name(e))) && latency_reset(e);
    }
    reply_int(c->reply, count);
}

/* ---- DOCTOR ---- */

static void describe(enum latency_event e, const struct latency_series *s, struct buf *out)
{
    uint64_t sum = 0, away = 0, seconds = s->samples[s->count - 1].time_s - s->samples[0].time_s;
    for (size_t i = 0; i < s->count; i++)
        sum += s->samples[i].ms;
    uint64_t mean = sum / s->count;
    for (size_t i = 0; i < s->count; i++)
        away += s->samples[i].ms > mean ? s->samples[i].ms - mean : mean - s->samples[i].ms;
    buf_printf(out, "%s: %zu seconds with a spike, %llu ms on average (give or take %llu ms), worst %llu ms", latency_name(e), s->count,
               (unsigned long long)mean, (unsigned long long)(away / s->count), (unsigned long long)s->max_ms);
    if (s->count > 1)
        buf_printf(out, ", one in %.1f s", (double)seconds / (double)(s->count - 1));
    buf_printf(out, ".\n  %s\n", latency_advice(e));
}

void cmd_latency_doctor(struct call *c)
{
    struct latency_series s;
    struct buf text;
    uint64_t threshold_ms = atomic_load(&latency_threshold_ms);
    buf_init(&text, TEXT_MAX);
    if (threshold_ms == 0) {
        buf_printf(&text, "Nothing is watched. CONFIG SET latency-monitor-threshold <milliseconds> makes the server note whatever "
                          "takes at least that long.\n");
    }
    size_t known = 0;
    for (enum latency_event e = 0; e < LATENCY_EVENTS; e++) {
        latency_copy(e, &s);
        if (s.count)
            describe(e, &s, &text);
        known += s.count != 0;
    }
    if (!known && threshold_ms)
        buf_printf(&text, "Nothing has taken %llu ms or longer since the last LATENCY RESET.\n", (unsigned long long)threshold_ms);
    if (known && threshold_ms && !slowlog_keeps_ms(threshold_ms))
        buf_printf(&text, "SLOWLOG keeps only what takes longer than these events. CONFIG SET slowlog-log-slower-than %llu makes it "
                          "name the commands of all spikes.\n", (unsigned long long)threshold_ms * 1000);
    reply_verbatim(c, &text);
}

/* ---- HISTOGRAM ---- */

struct level { uint64_t us, count; };

#define LEVELS_MAX 48

/* Levels as Redis has them: 1024 ns, and each twice the one before it; named by the largest number that Redis' own histogram cannot tell
 * from the level. Only levels at which there are more than at the one before. */
static size_t take_levels(const uint64_t sums[HISTOGRAM_BUCKETS], uint64_t total, struct level out[LEVELS_MAX])
{
    uint64_t seen = 0;
    size_t count = 0, bucket = 0;
    double tick_ns = ticks_ns();
    for (unsigned power = 10; power < 10 + LEVELS_MAX && seen < total; power++) {
        uint64_t top_ns = (UINT64_C(1) << power) + (UINT64_C(1) << (power - 7)) - 1, before = seen;
        while (bucket < HISTOGRAM_BUCKETS && (tick_ns * (double)histogram_lowest(bucket) <= (double)top_ns || power == 9 + LEVELS_MAX))
            seen += sums[bucket++];
        if (seen > before)
            out[count++] = (struct level){top_ns / 1000, seen};
    }
    return count;
}

static void reply_row(struct reply *r, const struct command *row, const uint64_t sums[HISTOGRAM_BUCKETS], uint64_t total)
{
    struct level levels[LEVELS_MAX];
    size_t count = take_levels(sums, total, levels);
    reply_text(r, row->full_name);
    reply_map(r, 2);
    reply_text(r, "calls");
    reply_int(r, (int64_t)total);
    reply_text(r, "histogram_usec");
    reply_map(r, count);
    for (size_t i = 0; i < count; i++) {
        reply_int(r, (int64_t)levels[i].us);
        reply_int(r, (int64_t)levels[i].count);
    }
}

/* The rows that have run are written behind each other into rows of the reply; their number comes first. */
struct histograms { struct reply reply; struct buf text; size_t count; };

static void add_row(struct histograms *h, const struct command *row)
{
    uint64_t sums[HISTOGRAM_BUCKETS], total = times_sum(row, sums);
    if (total == 0)
        return;
    reply_row(&h->reply, row, sums, total);
    h->count++;
}

static void add_with_subs(struct histograms *h, const struct command *row)
{
    add_row(h, row);
    for (const struct command *sub = command_subs(row); sub && sub->name; sub++)
        add_row(h, sub);
}

void cmd_latency_histogram(struct call *c)
{
    struct histograms h = {.reply = *c->reply};
    buf_init(&h.text, SIZE_MAX);
    h.reply.out = &h.text;
    for (struct command_walk w = {0}; c->argc == 2 && command_next(&w);)
        add_row(&h, w.row);
    for (size_t i = 2; i < c->argc; i++) {
        const struct command *row = command_find_full(c->argv[i]);
        if (row)
            add_with_subs(&h, row);
    }
    reply_map(c->reply, h.count);
    buf_append_or_end(c->reply->out, buf_view(&h.text));
    buf_release(&h.text);
}
