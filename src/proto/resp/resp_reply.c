/* resp_reply.c -- one reserve and one append per event. */
#include "proto/resp/resp_reply.h"

#include "base/number.h"
#include "data/rope.h"

#define HEADER_MAX (NUMBER_TEXT_MAX + 3)

/* Room for `size` more bytes, or NULL: the stream ends here (size_max 0 marks it). */
static inline uint8_t *room(struct reply *r, size_t size)
{
    struct buf *out = r->out;
    if (HF_LIKELY(buf_try_reserve(out, size)))
        return out->data + out->size;
    out->size_max = 0;
    return NULL;
}

static inline void written(struct reply *r, const uint8_t *end)
{
    r->out->size = (size_t)(end - r->out->data);
}

static inline uint8_t *put_end(uint8_t *at)
{
    at[0] = '\r';
    at[1] = '\n';
    return at + 2;
}

static inline uint8_t *put_header(uint8_t *at, char mark, uint64_t value)
{
    *at++ = (uint8_t)mark;
    if (HF_LIKELY(value < 10))
        *at++ = (uint8_t)('0' + value);
    else
        at += number_format_uint((char *)at, value);
    return put_end(at);
}

static inline void literal(struct reply *r, bytes text)
{
    uint8_t *at = room(r, text.size);
    if (!at)
        return;
    memcpy(at, text.data, text.size);
    r->out->size += text.size;
}

static void header(struct reply *r, char mark, uint64_t value)
{
    uint8_t *at = room(r, HEADER_MAX);
    if (at)
        written(r, put_header(at, mark, value));
}

static void marked_text(struct reply *r, char mark, bytes text)
{
    uint8_t *at = room(r, text.size + 3);
    if (!at)
        return;
    *at++ = (uint8_t)mark;
    for (size_t i = 0; i < text.size; i++) {
        uint8_t c = text.data[i];
        *at++ = c == '\r' || c == '\n' || c == '\0' ? ' ' : c;
    }
    written(r, put_end(at));
}

static void resp_simple(struct reply *r, bytes text)
{
    if (HF_LIKELY(text.size == 2 && memcmp(text.data, "OK", 2) == 0))
        literal(r, BYTES("+OK\r\n"));
    else
        marked_text(r, '+', text);
}

static void resp_error(struct reply *r, bytes line)
{
    marked_text(r, '-', line);
}

static void resp_integer(struct reply *r, int64_t value)
{
    uint8_t *at = room(r, HEADER_MAX);
    if (!at)
        return;
    if (HF_LIKELY(value >= 0)) {
        written(r, put_header(at, ':', (uint64_t)value));
        return;
    }
    *at++ = ':';
    at += number_format_int((char *)at, value);
    written(r, put_end(at));
}

static void resp_bulk(struct reply *r, bytes value)
{
    uint8_t *at = room(r, value.size + HEADER_MAX + 2);
    if (!at)
        return;
    at = put_header(at, '$', value.size);
    if (value.size)
        memcpy(at, value.data, value.size);
    written(r, put_end(at + value.size));
}

#define ROPE_PIECE ((size_t)256 << 10)

static void resp_rope(struct reply *r, const struct rope_part *part)
{
    uint8_t *at = room(r, part->size + HEADER_MAX + 2);
    if (!at)
        return;
    at = put_header(at, '$', part->size);
    for (size_t done = 0, some; done < part->size; done += some) {
        some = part->size - done < ROPE_PIECE ? part->size - done : ROPE_PIECE;
        rope_part_read(part, done, some, at + done);
        if (!part->goes_on(part->context))
            return;
    }
    written(r, put_end(at + part->size));
}

static void resp_verbatim(struct reply *r, const char *format3, bytes text)
{
    if (r->version < 3) {
        resp_bulk(r, text);
        return;
    }
    uint8_t *at = room(r, text.size + HEADER_MAX + 6);
    if (!at)
        return;
    at = put_header(at, '=', text.size + 4);
    memcpy(at, format3, 3);
    at[3] = ':';
    if (text.size)
        memcpy(at + 4, text.data, text.size);
    written(r, put_end(at + 4 + text.size));
}

static void resp_number(struct reply *r, bytes text)
{
    if (r->version < 3)
        resp_bulk(r, text);
    else
        marked_text(r, ',', text);
}

static void resp_dbl(struct reply *r, double value)
{
    char text[NUMBER_DOUBLE_MAX];
    resp_number(r, bytes_of(text, number_format_double(text, value)));
}

static void resp_boolean(struct reply *r, bool value)
{
    if (r->version < 3)
        literal(r, value ? BYTES(":1\r\n") : BYTES(":0\r\n"));
    else
        literal(r, value ? BYTES("#t\r\n") : BYTES("#f\r\n"));
}

static void resp_null(struct reply *r)
{
    literal(r, r->version < 3 ? BYTES("$-1\r\n") : BYTES("_\r\n"));
}

static void resp_null_array(struct reply *r)
{
    literal(r, r->version < 3 ? BYTES("*-1\r\n") : BYTES("_\r\n"));
}

static void resp_array(struct reply *r, size_t count)
{
    header(r, '*', count);
}

static void resp_map(struct reply *r, size_t pairs)
{
    if (r->version < 3)
        header(r, '*', pairs * 2);
    else
        header(r, '%', pairs);
}

static void resp_set(struct reply *r, size_t count)
{
    header(r, r->version < 3 ? '*' : '~', count);
}

static void resp_push(struct reply *r, size_t count)
{
    header(r, r->version < 3 ? '*' : '>', count);
}

static void resp_attribute(struct reply *r, size_t pairs)
{
    hf_assert(r->version >= 3);
    header(r, '|', pairs);
}

static void resp_big_number(struct reply *r, bytes digits)
{
    if (r->version < 3)
        resp_bulk(r, digits);
    else
        marked_text(r, '(', digits);
}

const struct reply_ops resp_reply_ops = {
    .simple = resp_simple, .error = resp_error, .integer = resp_integer, .bulk = resp_bulk,
    .verbatim = resp_verbatim, .dbl = resp_dbl, .number = resp_number, .boolean = resp_boolean, .null = resp_null,
    .null_array = resp_null_array, .array = resp_array, .map = resp_map, .set = resp_set, .push = resp_push, .big_number = resp_big_number,
    .attribute = resp_attribute, .rope = resp_rope,
};
