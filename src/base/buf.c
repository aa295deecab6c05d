/* buf.c -- growth by doubling up to the maximum. */
#include "base/buf.h"

#include "base/memory.h"
#include "base/number.h"

#include <stdarg.h>
#include <stdio.h>

void buf_init(struct buf *b, size_t size_max)
{
    *b = (struct buf){.size_max = size_max};
}

void buf_release(struct buf *b)
{
    mem_free(b->data);
    b->data = NULL;
    b->size = b->capacity = 0;
}

bool buf_try_grow(struct buf *b, size_t extra)
{
    size_t needed;
    if (__builtin_add_overflow(b->size, extra, &needed) || needed > b->size_max)
        return false;
    size_t capacity = b->capacity ? b->capacity : 256;
    while (capacity < needed)
        capacity = capacity > b->size_max / 2 ? b->size_max : capacity * 2;
    return buf_try_fit(b, capacity);
}

bool buf_try_fit(struct buf *b, size_t capacity)
{
    if (capacity <= b->capacity)
        return true;
    uint8_t *data = mem_try_realloc(b->data, capacity);
    if (!data)
        return false;
    b->data = data;
    b->capacity = capacity;
    return true;
}

void buf_shrink(struct buf *b, size_t capacity_max)
{
    if (b->size == 0 && b->capacity > capacity_max)
        buf_release(b);
}

void buf_consume(struct buf *b, size_t size)
{
    hf_assert(size <= b->size);
    b->size -= size;
    if (b->size)
        memmove(b->data, b->data + size, b->size);
}

void buf_printf(struct buf *b, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int size = vsnprintf(NULL, 0, format, args);
    hf_assert(size >= 0);
    buf_reserve(b, (size_t)size + 1);
    vsnprintf((char *)b->data + b->size, (size_t)size + 1, format, again);
    b->size += (size_t)size;
    va_end(again);
    va_end(args);
}

void buf_append_uint(struct buf *b, uint64_t value)
{
    buf_reserve(b, NUMBER_TEXT_MAX);
    b->size += number_format_uint((char *)b->data + b->size, value);
}

void buf_append_int(struct buf *b, int64_t value)
{
    buf_reserve(b, NUMBER_TEXT_MAX);
    b->size += number_format_int((char *)b->data + b->size, value);
}
