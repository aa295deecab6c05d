/* memory.c -- malloc with one policy: small internal requests do not fail. */
#include "base/memory.h"

#include <malloc.h>
#include <stdio.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static _Noreturn void out_of_memory(size_t size)
{
    fprintf(stderr, "holdfast: out of memory asking for %zu bytes; the process stops.\n", size);
    abort();
}

void *mem_alloc(size_t size)
{
    void *block = malloc(size ? size : 1);
    if (!block)
        out_of_memory(size);
    return block;
}

void *mem_zalloc(size_t size)
{
    void *block = calloc(1, size ? size : 1);
    if (!block)
        out_of_memory(size);
    return block;
}

void *mem_realloc(void *block, size_t size)
{
    void *moved = realloc(block, size ? size : 1);
    if (!moved)
        out_of_memory(size);
    return moved;
}

void *mem_try_realloc(void *block, size_t size)
{
    return realloc(block, size ? size : 1);
}

void *mem_try_alloc(size_t size)
{
    return malloc(size ? size : 1);
}

void *mem_alloc_aligned(size_t alignment, size_t size)
{
    void *block = NULL;
    if (posix_memalign(&block, alignment, size) != 0)
        out_of_memory(size);
    return block;
}

void mem_free(void *block)
{
    free(block);
}

size_t mem_class_size(size_t size)
{
    size_t step = 16;
    while (size > 8 * step)
        step *= 2;
    return (size + step - 1) / step * step;
}

char *mem_strdup(const char *text)
{
    size_t size = strlen(text) + 1;
    return memcpy(mem_alloc(size), text, size);
}

/* jemalloc's statistics when the server is linked with it, else the C library's. */
int mallctl(const char *name, void *old, size_t *old_size, void *fresh, size_t fresh_size) __attribute__((weak));

size_t mem_in_use(void)
{
    if (mallctl) {
        uint64_t epoch = 1;
        size_t allocated = 0, size = sizeof(allocated);
        mallctl("epoch", NULL, NULL, &epoch, sizeof(epoch));
        if (mallctl("stats.allocated", &allocated, &size, NULL, 0) == 0)
            return allocated;
    }
    return mallinfo2().uordblks;
}
