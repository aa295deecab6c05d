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

#define PAGES_FROM ((size_t)4 << 20)

void buf_release(struct buf *b)
{
    if (HF_UNLIKELY(b->has_pages))
        mem_free_pages(b->data, b->capacity);
    else
        mem_free(b->data);
    b->data = NULL;
    b->size = b->capacity = 0;
    b->has_pages = false;
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

static bool try_fit_pages(struct buf *b, size_t capacity)
{
    capacity = (capacity + MEM_PAGE - 1) / MEM_PAGE * MEM_PAGE;
    uint8_t *data = mem_try_resize_pages(b->has_pages ? b->data : NULL, b->has_pages ? b->capacity : 0, capacity);
    if (!data)
        return false;
    if (!b->has_pages && b->size)
        memcpy(data, b->data, b->size);
    if (!b->has_pages)
        mem_free(b->data);
    b->data = data;
    b->capacity = capacity;
    b->has_pages = true;
    return true;
}

bool buf_try_fit(struct buf *b, size_t capacity)
{
    if (capacity <= b->capacity)
        return true;
    if (HF_UNLIKELY(b->has_pages || capacity >= PAGES_FROM))
        return try_fit_pages(b, capacity);
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

size_t buf_drop(struct buf *b, size_t size)
{
    hf_assert(size <= b->size);
    if (HF_LIKELY(!b->has_pages)) {
        buf_consume(b, size);
        return size;
    }
    size_t pages = size / MEM_PAGE * MEM_PAGE;
    if (pages == b->capacity || pages == 0)
        return 0;
    mem_free_pages(b->data, pages);
    b->data += pages;
    b->size -= pages;
    b->capacity -= pages;
    return pages;
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
