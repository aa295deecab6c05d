/* buf.h -- an owned, growing byte buffer with a maximum given once.
 *
 * Owner: the struct that holds it. Views of data end with the next append.
 * buf_try_reserve may say no (the maximum, or no memory) and then has changed
 * nothing; the append calls assert that the maximum is not passed, so a caller
 * that appends client-sized data reserves first.
 *
 * From 4 MiB on its bytes are pages of their own: growing copies nothing, which would take milliseconds, and what has been read is
 * given back from the front (buf_drop).
 */
#ifndef HF_BASE_BUF_H
#define HF_BASE_BUF_H

#include "base/assert.h"
#include "base/bytes.h"

struct buf {
    uint8_t *data;
    size_t size;
    size_t capacity;
    size_t size_max;
    bool has_pages;
};

void buf_init(struct buf *b, size_t size_max);
void buf_release(struct buf *b);
bool buf_try_grow(struct buf *b, size_t extra) HF_CHECK; /* the slow half of try_reserve */
bool buf_try_fit(struct buf *b, size_t capacity) HF_CHECK; /* at least this capacity, and hardly more when it grows */
void buf_shrink(struct buf *b, size_t capacity_max);     /* gives memory back when empty and larger */
void buf_consume(struct buf *b, size_t size);            /* drops bytes from the front */
/* Drops up to so many bytes from the front, and no more than is cheap: of few, all. Returns how many. */
size_t buf_drop(struct buf *b, size_t size);
void buf_printf(struct buf *b, const char *format, ...) HF_PRINTF(2, 3);
void buf_append_uint(struct buf *b, uint64_t value); /* decimal digits */
void buf_append_int(struct buf *b, int64_t value);

static inline bool buf_try_reserve(struct buf *b, size_t extra)
{
    return HF_LIKELY(b->capacity - b->size >= extra) || buf_try_grow(b, extra);
}

static inline void buf_reserve(struct buf *b, size_t extra)
{
    bool reserved = buf_try_reserve(b, extra);
    hf_assert(reserved);
}

static inline void buf_reset(struct buf *b)
{
    b->size = 0;
}

static inline bytes buf_view(const struct buf *b)
{
    return (bytes){b->data, b->size};
}

static inline void buf_append(struct buf *b, const void *data, size_t size)
{
    buf_reserve(b, size);
    if (size)
        memcpy(b->data + b->size, data, size);
    b->size += size;
}

static inline void buf_append_bytes(struct buf *b, bytes view)
{
    buf_append(b, view.data, view.size);
}

/* False: no room. The stream ends there for good: size_max is 0 from then on, and nothing more goes in. */
static inline bool buf_append_or_end(struct buf *b, bytes view)
{
    if (b->size_max && buf_try_reserve(b, view.size))
        buf_append_bytes(b, view);
    else
        b->size_max = 0;
    return b->size_max != 0;
}

static inline void buf_append_u8(struct buf *b, uint8_t value)
{
    buf_append(b, &value, 1);
}

#endif
