/* memory.c -- malloc with one policy: small internal requests do not fail. */
#include "base/memory.h"

#include <stdio.h>
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

char *mem_strdup(const char *text)
{
    size_t size = strlen(text) + 1;
    return memcpy(mem_alloc(size), text, size);
}
