/* resp_parse.c -- a fast path for whole commands, a resumable walk for the rest.
 *
 * Nearly every command is whole when it is looked at; the fast path reads it in one
 * pass and gives up, with nothing changed, at the first thing that is not plain. The
 * walk then says precisely what is missing or wrong. Error texts are those of Redis 7.
 * Stricter than Redis: the two bytes after a payload must be CR LF.
 */
#include "proto/resp/resp_parse.h"

#include "base/memory.h"
#include "base/number.h"
#include "base/words.h"

#include <stdio.h>

#define UNAUTHENTICATED_ARGS_MAX 10
#define UNAUTHENTICATED_BULK_MAX 16384
#define SPANS_KEPT 64

enum { STAGE_START = 0, STAGE_COUNT, STAGE_LENGTH, STAGE_PAYLOAD, STAGE_LINE };

void resp_words_release(struct resp_words *w)
{
    mem_free(w->items);
    w->items = NULL;
    w->count = w->capacity = 0;
}

static __attribute__((noinline)) void words_grow(struct resp_words *w, size_t needed)
{
    size_t capacity = w->capacity ? w->capacity : 256;
    while (capacity < needed)
        capacity *= 2;
    w->items = mem_realloc(w->items, capacity * sizeof(*w->items));
    w->capacity = capacity;
}

static inline void words_reserve(struct resp_words *w, size_t extra)
{
    if (HF_UNLIKELY(w->capacity - w->count < extra))
        words_grow(w, w->count + extra);
}

void resp_parser_init(struct resp_parser *p)
{
    *p = (struct resp_parser){0};
}

void resp_parser_reset(struct resp_parser *p)
{
    p->stage = STAGE_START;
    p->at = p->scanned = p->args_left = p->payload_size = p->span_count = 0;
    if (p->span_capacity > SPANS_KEPT) {
        mem_free(p->spans);
        p->spans = NULL;
        p->span_capacity = 0;
    }
}

void resp_parser_release(struct resp_parser *p)
{
    mem_free(p->spans);
    *p = (struct resp_parser){0};
}

size_t resp_parser_needs(const struct resp_parser *p)
{
    return p->stage == STAGE_PAYLOAD ? p->at + p->payload_size + 2 : p->scanned + 1;
}

static enum parse_result bad(struct resp_parser *p, const char *why)
{
    snprintf(p->error, sizeof(p->error), "Protocol error: %s", why);
    return PARSE_BAD;
}

/* ---- the fast path ---- */

/* Digits, CR, LF at *at: a plain number of at most nine digits. False: not plain, or not all there. */
static inline bool fast_number(const uint8_t **at, const uint8_t *end, size_t *value)
{
    const uint8_t *p = *at;
    if (end - p < 3)
        return false;
    size_t number = (size_t)p[0] - '0';
    if (number > 9)
        return false;
    if (HF_UNLIKELY(p[1] != '\r')) {
        if (number == 0)
            return false;
        const uint8_t *last = end - p > 10 ? p + 10 : end;
        for (p++; p < last; p++) {
            size_t digit = (size_t)*p - '0';
            if (digit > 9)
                break;
            number = number * 10 + digit;
        }
        if (end - p < 2 || p[0] != '\r')
            return false;
        p--;
    }
    if (p[2] != '\n')
        return false;
    *value = number;
    *at = p + 3;
    return true;
}

/* A whole, plain command at the start of the input; false has changed nothing that counts. */
static inline bool parse_fast(const struct resp_limits *limits, bytes input, struct resp_words *words, size_t *used)
{
    const uint8_t *at = input.data, *end = at + input.size;
    if (input.size < 4 || *at++ != '*')
        return false;
    size_t args, size;
    if (!fast_number(&at, end, &args) || args == 0 || args > limits->args_max || args > input.size / 5)
        return false;
    if (HF_UNLIKELY(!limits->authenticated))
        return false;
    words_reserve(words, args);
    bytes *word = words->items + words->count, *last = word + args;
    do {
        if (at == end || *at++ != '$' || !fast_number(&at, end, &size))
            return false;
        if (HF_UNLIKELY(size > limits->bulk_max || (size_t)(end - at) < size + 2))
            return false;
        const uint8_t *after = at + size;
        if (HF_UNLIKELY(after[0] != '\r' || after[1] != '\n'))
            return false;
        *word++ = (bytes){at, size};
        at = after + 2;
    } while (word < last);
    words->count += args;
    *used = (size_t)(at - input.data);
    return true;
}

/* ---- the walk ---- */

enum line_result { LINE_FOUND, LINE_MORE, LINE_LONG };

/* The line at p->at up to `mark`, which is not part of it. */
static enum line_result find_line(struct resp_parser *p, bytes input, uint8_t mark, bytes *line)
{
    size_t from = p->scanned > p->at ? p->scanned : p->at;
    const uint8_t *found = from < input.size ? memchr(input.data + from, mark, input.size - from) : NULL;
    size_t size = (found ? (size_t)(found - input.data) : input.size) - p->at;
    if (size > RESP_LINE_MAX)
        return LINE_LONG;
    if (!found) {
        p->scanned = input.size;
        return LINE_MORE;
    }
    *line = bytes_of(input.data + p->at, size);
    return LINE_FOUND;
}

/* "<mark><number>CRLF" at p->at; moves behind it. plain: the number and the line end were right. */
static enum line_result read_number(struct resp_parser *p, bytes input, int64_t *value, bool *plain)
{
    bytes line;
    enum line_result found = find_line(p, input, '\r', &line);
    if (found != LINE_FOUND)
        return found;
    size_t end = p->at + line.size;
    if (end + 2 > input.size) {
        p->scanned = end;
        return LINE_MORE;
    }
    *plain = number_parse_int(bytes_of(line.data + 1, line.size - 1), value) && input.data[end + 1] == '\n';
    p->at = p->scanned = end + 2;
    return LINE_FOUND;
}

static void span_add(struct resp_parser *p, size_t offset, size_t size)
{
    if (p->span_count == p->span_capacity) {
        p->span_capacity = p->span_capacity ? p->span_capacity * 2 : 8;
        p->spans = mem_realloc(p->spans, p->span_capacity * sizeof(*p->spans));
    }
    p->spans[p->span_count++] = (struct resp_span){offset, size};
}

static enum parse_result read_count(struct resp_parser *p, const struct resp_limits *limits, bytes input)
{
    int64_t count = 0;
    bool plain = false;
    switch (read_number(p, input, &count, &plain)) {
    case LINE_MORE: return PARSE_MORE;
    case LINE_LONG: return bad(p, "too big mbulk count string");
    case LINE_FOUND: break;
    }
    if (!plain || count > (int64_t)limits->args_max)
        return bad(p, "invalid multibulk length");
    if (count > UNAUTHENTICATED_ARGS_MAX && !limits->authenticated)
        return bad(p, "unauthenticated multibulk length");
    p->args_left = count > 0 ? (size_t)count : 0;
    p->stage = STAGE_LENGTH;
    return PARSE_DONE;
}

static enum parse_result read_length(struct resp_parser *p, const struct resp_limits *limits, bytes input)
{
    if (p->at == input.size)
        return PARSE_MORE;
    if (input.data[p->at] != '$') {
        snprintf(p->error, sizeof(p->error), "Protocol error: expected '$', got '%c'", input.data[p->at]);
        return PARSE_BAD;
    }
    int64_t size = 0;
    bool plain = false;
    switch (read_number(p, input, &size, &plain)) {
    case LINE_MORE: return PARSE_MORE;
    case LINE_LONG: return bad(p, "too big bulk count string");
    case LINE_FOUND: break;
    }
    if (!plain || size < 0 || (uint64_t)size > limits->bulk_max)
        return bad(p, "invalid bulk length");
    if (size > UNAUTHENTICATED_BULK_MAX && !limits->authenticated)
        return bad(p, "unauthenticated bulk length");
    p->payload_size = (size_t)size;
    p->stage = STAGE_PAYLOAD;
    return PARSE_DONE;
}

static enum parse_result read_payload(struct resp_parser *p, bytes input)
{
    size_t end = p->at + p->payload_size;
    if ((input.size > end && input.data[end] != '\r') || (input.size > end + 1 && input.data[end + 1] != '\n'))
        return bad(p, "expected CRLF after a bulk string");
    if (input.size < end + 2)
        return PARSE_MORE;
    span_add(p, p->at, p->payload_size);
    p->at = p->scanned = end + 2;
    p->args_left--;
    p->stage = STAGE_LENGTH;
    return PARSE_DONE;
}

static enum parse_result walk_array(struct resp_parser *p, const struct resp_limits *limits, bytes input,
                                    struct resp_words *words, size_t *used)
{
    enum parse_result step = PARSE_DONE;
    if (p->stage == STAGE_COUNT)
        step = read_count(p, limits, input);
    while (step == PARSE_DONE && (p->args_left || p->stage == STAGE_PAYLOAD))
        step = p->stage == STAGE_LENGTH ? read_length(p, limits, input) : read_payload(p, input);
    if (step != PARSE_DONE)
        return step;
    words_reserve(words, p->span_count);
    for (size_t i = 0; i < p->span_count; i++)
        words->items[words->count++] = bytes_of(input.data + p->spans[i].offset, p->spans[i].size);
    *used = p->at;
    resp_parser_reset(p);
    return PARSE_DONE;
}

/* ---- inline commands ---- */

static bool blank(uint8_t c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

/* One quoted part, behind its opening quote; returns where it ends (behind the closing quote), NULL: unbalanced. */
static const uint8_t *unquote(const uint8_t *at, const uint8_t *end, uint8_t quote, uint8_t **out)
{
    for (; at < end; at++) {
        size_t left = (size_t)(end - at);
        if (*at == quote)
            return left > 1 && !blank(at[1]) ? NULL : at + 1;
        if (quote == '"' && left > 3 && at[0] == '\\' && at[1] == 'x' && hex_digit(at[2]) >= 0 && hex_digit(at[3]) >= 0) {
            *(*out)++ = (uint8_t)(hex_digit(at[2]) << 4 | hex_digit(at[3]));
            at += 3;
        } else if (quote == '"' && left > 1 && at[0] == '\\') {
            *(*out)++ = unescaped(*++at);
        } else if (quote == '\'' && left > 1 && at[0] == '\\' && at[1] == '\'') {
            *(*out)++ = *++at;
        } else {
            *(*out)++ = *at;
        }
    }
    return NULL;
}

/* sdssplitargs of Redis. False: unbalanced quotes. */
static bool split_line(bytes line, struct resp_words *words)
{
    const uint8_t *at = line.data, *end = at + line.size;
    bool quoted = memchr(line.data, '"', line.size) || memchr(line.data, '\'', line.size);
    uint8_t *out = quoted ? arena_alloc(words->text, line.size) : NULL;
    for (;;) {
        while (at < end && blank(*at))
            at++;
        if (at == end)
            return true;
        const uint8_t *word = quoted ? out : at;
        while (at < end && *at != ' ' && *at != '\n' && *at != '\r' && *at != '\t') {
            if (quoted && (*at == '"' || *at == '\'')) {
                at = unquote(at + 1, end, *at, &out);
                if (!at)
                    return false;
                break; /* a closing quote ends the word */
            }
            if (quoted)
                *out++ = *at;
            at++;
        }
        words_reserve(words, 1);
        words->items[words->count++] = bytes_of(word, (size_t)((quoted ? out : at) - word));
    }
}

/* The first bytes of a client that wants TLS. */
static bool is_tls(bytes input) { return input.size > 1 && input.data[0] == 0x16 && input.data[1] == 3; }

static enum parse_result walk_line(struct resp_parser *p, bytes input, struct resp_words *words, size_t *used)
{
    bytes line;
    if (is_tls(input))
        return bad(p, "this is TLS, and the port speaks plain text");
    switch (find_line(p, input, '\n', &line)) {
    case LINE_MORE: return PARSE_MORE;
    case LINE_LONG: return bad(p, "too big inline request");
    case LINE_FOUND: break;
    }
    size_t taken = line.size + 1;
    if (line.size && line.data[line.size - 1] == '\r')
        line.size--;
    size_t first = words->count;
    if (line.size && !split_line(line, words)) {
        words->count = first;
        return bad(p, "unbalanced quotes in request");
    }
    resp_parser_reset(p);
    /* A browser tricked into talking to us sends these; Redis drops such a connection too. */
    if (words->count > first && (bytes_is_word(words->items[first], "POST") || bytes_is_word(words->items[first], "Host:"))) {
        words->count = first;
        p->error[0] = '\0';
        return PARSE_BAD;
    }
    *used = taken;
    return PARSE_DONE;
}

enum parse_result resp_parse(struct resp_parser *p, const struct resp_limits *limits, bytes input,
                             struct resp_words *words, size_t *used)
{
    *used = 0;
    if (p->stage == STAGE_START) {
        if (HF_LIKELY(parse_fast(limits, input, words, used)))
            return PARSE_DONE;
        if (input.size == 0)
            return PARSE_MORE;
        p->stage = input.data[0] == '*' ? STAGE_COUNT : STAGE_LINE;
    }
    return p->stage == STAGE_LINE ? walk_line(p, input, words, used) : walk_array(p, limits, input, words, used);
}

/* The word whose '$' is the first one at or behind *at; *at: behind it. */
static bytes likely_word(bytes input, size_t *at)
{
    const uint8_t *mark = memchr(input.data + *at, '$', input.size - *at);
    size_t size = 0, i = mark ? (size_t)(mark - input.data) + 1 : input.size;
    for (; i < input.size && input.data[i] >= '0' && input.data[i] <= '9' && size < input.size; i++)
        size = size * 10 + (size_t)(input.data[i] - '0');
    if (input.size - i < 2 || size > input.size - i - 2)
        return BYTES("");
    *at = i + 2 + size;
    return bytes_of(input.data + i + 2, size);
}

bytes resp_likely_key(bytes input)
{
    size_t at = 0;
    bytes name = likely_word(input, &at);
    return name.size ? likely_word(input, &at) : name;
}
