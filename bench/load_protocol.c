/* load_protocol.c -- requests built beforehand, replies counted as they come.
 *
 * Nothing is encoded per operation but the digits of the key. A reply is looked at only as far as its end
 * is not yet known: the two usual ones (a hit of the expected size, +OK) are one comparison each.
 */
#include "load.h"

#include "base/assert.h"
#include "base/buf.h"
#include "base/memory.h"
#include "base/number.h"

#include <stdio.h>
#include <string.h>

/* ---- requests ---- */

static const char pairs[] = "0001020304050607080910111213141516171819202122232425262728293031323334353637383940414243444546474849"
                            "5051525354555657585960616263646566676869707172737475767778798081828384858687888990919293949596979899";

/* "key:000...", as redis-benchmark and bench/common.py name them; short keys are digits only. */
static void put_key(struct buf *out, const struct load_options *o)
{
    size_t prefix = o->key_size >= 8 ? 4 : 0;
    buf_append(out, "key:", prefix);
    for (size_t i = prefix; i < o->key_size; i++)
        buf_append_u8(out, '0');
}

static void put_value(struct buf *out, const struct load_options *o)
{
    for (size_t i = 0; i < o->value_size; i++)
        buf_append_u8(out, 'x');
}

static size_t put_resp(struct buf *out, const struct load_options *o, enum load_operation operation)
{
    if (operation == OPERATION_PING) {
        buf_append_bytes(out, BYTES("*1\r\n$4\r\nPING\r\n"));
        return 0;
    }
    bool get = operation == OPERATION_GET;
    buf_printf(out, "*%d\r\n$3\r\n%s\r\n$%zu\r\n", get ? 2 : 3, get ? "GET" : "SET", (size_t)o->key_size);
    put_key(out, o);
    size_t digits_end = out->size;
    if (!get) {
        buf_printf(out, "\r\n$%zu\r\n", (size_t)o->value_size);
        put_value(out, o);
    }
    buf_append_bytes(out, BYTES("\r\n"));
    return digits_end;
}

static size_t put_memcached(struct buf *out, const struct load_options *o, enum load_operation operation)
{
    if (operation == OPERATION_PING) {
        buf_append_bytes(out, BYTES("version\r\n"));
        return 0;
    }
    bool get = operation == OPERATION_GET;
    buf_append_bytes(out, get ? BYTES("get ") : BYTES("set "));
    put_key(out, o);
    size_t digits_end = out->size;
    if (!get) {
        buf_printf(out, " 0 0 %zu\r\n", (size_t)o->value_size);
        put_value(out, o);
    }
    buf_append_bytes(out, BYTES("\r\n"));
    return digits_end;
}

/* The words of one command between `text` and `end`, and of a request that holds several. %k is a key, %v a value. */
static void put_command(struct buf *out, const struct load_options *o, const char *text, const char *end, struct request *r)
{
    unsigned words = 0;
    for (const char *at = text; at < end; at++)
        words += *at != ' ' && (at == text || at[-1] == ' ');
    buf_printf(out, "*%u\r\n", words);
    while (text < end) {
        struct buf word;
        size_t length = strcspn(text, " ;"), key_end = 0;
        buf_init(&word, SIZE_MAX);
        for (size_t i = 0; i < length; i++) {
            if (text[i] == '%' && text[i + 1] == 'k') {
                put_key(&word, o);
                key_end = word.size;
                i++;
            } else if (text[i] == '%' && text[i + 1] == 'v') {
                put_value(&word, o);
                i++;
            } else {
                buf_append_u8(&word, (uint8_t)text[i]);
            }
        }
        if (length) {
            buf_printf(out, "$%zu\r\n", word.size);
            if (key_end && r->place_count < LOAD_PLACES_MAX)
                r->places[r->place_count++] = out->size + key_end;
            buf_append_bytes(out, buf_view(&word));
            buf_append_bytes(out, BYTES("\r\n"));
        }
        buf_release(&word);
        text += length + 1;
    }
    r->replies++;
}

static unsigned key_digits(const struct load_options *o)
{
    unsigned digits = 1;
    for (uint64_t most = o->keys - 1; most > 9; most /= 10)
        digits++;
    return digits;
}

struct request request_of_commands(const struct load_options *o)
{
    struct request r = {.digits = key_digits(o)};
    struct buf out;
    buf_init(&out, SIZE_MAX);
    for (const char *at = o->command ? o->command : ""; *at;) {
        size_t size = strcspn(at, ";");
        put_command(&out, o, at, at + size, &r);
        at += size + (at[size] == ';');
    }
    r.digits = r.place_count ? r.digits : 0;
    r.data = out.data;
    r.size = out.size;
    return r;
}

struct request request_new(const struct load_options *o, enum load_operation operation)
{
    struct buf out;
    buf_init(&out, SIZE_MAX);
    size_t digits_end = o->protocol == PROTOCOL_RESP ? put_resp(&out, o, operation) : put_memcached(&out, o, operation);
    return (struct request){.data = out.data, .size = out.size, .places = {digits_end}, .place_count = digits_end != 0,
                            .digits = digits_end ? key_digits(o) : 0, .replies = 1};
}

static void set_digits(uint8_t *digit, unsigned left, uint64_t number)
{
    for (; left > 1; left -= 2, number /= 100) {
        digit -= 2;
        memcpy(digit, &pairs[number % 100 * 2], 2);
    }
    if (left)
        digit[-1] = (uint8_t)('0' + number % 10);
}

void request_set_key(const struct request *r, uint8_t *at, uint64_t number)
{
    for (unsigned i = 0; i < r->place_count; i++)
        set_digits(at + r->places[i], r->digits, number);
}

/* ---- replies ---- */

void reader_init(struct reply_reader *r, const struct load_options *o)
{
    *r = (struct reply_reader){.protocol = o->protocol, .value_size = o->value_size, .replies = 1};
    for (const char *at = o->operation == OPERATION_COMMAND ? o->command : ""; *at; at++)
        r->replies += *at == ';' && at[1];
    r->hit_size = (size_t)snprintf((char *)r->hit, sizeof(r->hit), "$%zu\r\n", (size_t)o->value_size);
    hf_assert(r->hit_size < sizeof(r->hit));
}

static void keep_error(struct reply_counts *c, bytes line)
{
    if (!c->first_error[0])
        snprintf(c->first_error, sizeof(c->first_error), "%.*s", (int)line.size, (const char *)line.data);
}

static int64_t foreign(struct reply_counts *c, bytes line)
{
    char text[64];
    size_t size = 0;
    for (size_t i = 0; i < line.size && size < sizeof(text) - 1; i++)
        text[size++] = line.data[i] >= ' ' && line.data[i] < 127 ? (char)line.data[i] : '?';
    text[size] = '\0';
    snprintf(c->first_error, sizeof(c->first_error), "a reply that is not of this protocol: '%s'", text);
    return -1;
}

/* A whole line, without its end: 1 when a reply ends with it, 0 when more is to come. */
static int64_t resp_line(struct reply_reader *r, bytes line, struct reply_counts *c)
{
    int64_t size;
    if (line.size == 0)
        return foreign(c, line);
    switch (line.data[0]) {
    case '+': case ':': case '#': case ',':
        return 1;
    case '_':
        c->misses++;
        return 1;
    case '-':
        c->errors++;
        keep_error(c, line);
        return 1;
    case '$':
        if (!number_parse_int(bytes_of(line.data + 1, line.size - 1), &size) || size < -1)
            return foreign(c, line);
        if (size < 0) {
            c->misses++;
            return 1;
        }
        r->skip = (size_t)size + 2;
        return 0;
    case '*':
        if (!number_parse_int(bytes_of(line.data + 1, line.size - 1), &size) || size < -1 || size > UINT32_MAX)
            return foreign(c, line);
        if (size > 0)
            r->owed += (uint64_t)size - 1; /* its elements end like replies, and count as one */
        return size <= 0;
    default:
        return foreign(c, line);
    }
}

static bool begins(bytes line, bytes word)
{
    return line.size >= word.size && memcmp(line.data, word.data, word.size) == 0;
}

/* VALUE <key> <flags> <size> [<cas>] */
static int64_t memcached_value(struct reply_reader *r, bytes line, struct reply_counts *c)
{
    size_t field = 0, start = 0, end = 0;
    for (size_t i = 0; i <= line.size && field < 4; i++) {
        if (i < line.size && line.data[i] != ' ')
            continue;
        start = end ? end + 1 : 0;
        end = i;
        field++;
    }
    uint64_t size;
    if (field < 4 || !number_parse_uint(bytes_of(line.data + start, end - start), &size) || size > UINT32_MAX)
        return foreign(c, line);
    r->skip = size + 2;
    r->hit_open = true;
    return 0;
}

static int64_t memcached_line(struct reply_reader *r, bytes line, struct reply_counts *c)
{
    if (begins(line, BYTES("VALUE ")))
        return memcached_value(r, line, c);
    if (begins(line, BYTES("END"))) {
        c->misses += !r->hit_open;
        r->hit_open = false;
        return 1;
    }
    if (begins(line, BYTES("STORED")) || begins(line, BYTES("VERSION")))
        return 1;
    if (begins(line, BYTES("ERROR")) || begins(line, BYTES("CLIENT_ERROR")) || begins(line, BYTES("SERVER_ERROR")) ||
        begins(line, BYTES("NOT_STORED"))) {
        c->errors++;
        keep_error(c, line);
        return 1;
    }
    return foreign(c, line);
}

static int64_t whole_line(struct reply_reader *r, bytes line, struct reply_counts *c)
{
    if (line.size && line.data[line.size - 1] == '\r')
        line.size--;
    return r->protocol == PROTOCOL_RESP ? resp_line(r, line, c) : memcached_line(r, line, c);
}

static void stash(struct reply_reader *r, const uint8_t *data, size_t size)
{
    size_t room = sizeof(r->line) - r->line_size;
    memcpy(r->line + r->line_size, data, size < room ? size : room);
    r->line_size += size < room ? size : room;
    r->line_cut = true;
}

/* The line that begins at data; *used behind it, or everything when its end is not here. */
static int64_t slow_line(struct reply_reader *r, const uint8_t *data, size_t size, size_t *used, struct reply_counts *c)
{
    const uint8_t *end = memchr(data, '\n', size);
    *used = end ? (size_t)(end - data) + 1 : size;
    if (!end || r->line_cut)
        stash(r, data, end ? *used - 1 : size);
    if (!end)
        return 0;
    bytes line = r->line_cut ? bytes_of(r->line, r->line_size) : bytes_of(data, *used - 1);
    int64_t ended = whole_line(r, line, c);
    r->line_cut = false;
    r->line_size = 0;
    return ended;
}

/* Replies that ended become requests that are answered. */
static int64_t answered(struct reply_reader *r, int64_t replies)
{
    uint64_t ended = (uint64_t)replies, elements = ended < r->owed ? ended : r->owed;
    r->owed -= elements;
    r->partial += ended - elements;
    uint64_t whole = r->partial / r->replies;
    r->partial %= r->replies;
    return (int64_t)whole;
}

int64_t reader_feed(struct reply_reader *r, const uint8_t *data, size_t size, struct reply_counts *counts)
{
    const uint8_t *at = data, *end = data + size;
    bool resp = r->protocol == PROTOCOL_RESP;
    int64_t replies = 0;
    while (at < end) {
        size_t left = (size_t)(end - at);
        if (r->skip) {
            size_t pass = r->skip < left ? r->skip : left;
            at += pass;
            r->skip -= pass;
            replies += resp && !r->skip; /* memcached: a line END follows */
            continue;
        }
        if (HF_LIKELY(resp && !r->line_cut)) {
            if (left >= r->hit_size && memcmp(at, r->hit, r->hit_size) == 0) {
                at += r->hit_size;
                r->skip = r->value_size + 2;
                continue;
            }
            if (left >= 5 && memcmp(at, "+OK\r\n", 5) == 0) {
                at += 5;
                replies++;
                continue;
            }
        }
        size_t used;
        int64_t ended = slow_line(r, at, left, &used, counts);
        if (ended < 0)
            return ended;
        replies += ended;
        at += used;
    }
    return HF_LIKELY(r->replies == 1 && r->owed == 0) ? replies : answered(r, replies);
}
