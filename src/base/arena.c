/* arena.c -- a chain of blocks, bump allocated. */
#include "base/arena.h"

#include "base/memory.h"

#define ARENA_BLOCK 16384

struct arena_block {
    struct arena_block *previous;
    size_t capacity;
    _Alignas(16) uint8_t data[];
};

static void push_block(struct arena *a, size_t capacity)
{
    struct arena_block *block = mem_alloc(sizeof(*block) + capacity);
    block->previous = a->current;
    block->capacity = capacity;
    a->current = block;
    a->used = 0;
}

void arena_init(struct arena *a)
{
    *a = (struct arena){0};
}

void arena_reset(struct arena *a)
{
    while (a->current && (a->current->previous || a->current->capacity > ARENA_BLOCK)) {
        struct arena_block *previous = a->current->previous;
        mem_free(a->current);
        a->current = previous;
    }
    a->used = 0;
}

void arena_release(struct arena *a)
{
    arena_reset(a);
    mem_free(a->current);
    a->current = NULL;
}

void *arena_alloc(struct arena *a, size_t size)
{
    size = (size + 15) & ~(size_t)15;
    if (!a->current || a->current->capacity - a->used < size)
        push_block(a, size > ARENA_BLOCK ? size : ARENA_BLOCK);
    void *block = a->current->data + a->used;
    a->used += size;
    return block;
}

bytes arena_dup(struct arena *a, bytes view)
{
    uint8_t *copy = arena_alloc(a, view.size);
    if (view.size)
        memcpy(copy, view.data, view.size);
    return bytes_of(copy, view.size);
}
