/* arena.h -- everything of one request, gone at reset.
 *
 * Owner: one thread. Memory from arena_alloc lives until arena_reset; the first
 * block is kept for reuse, larger ones go back to the allocator.
 */
#ifndef HF_BASE_ARENA_H
#define HF_BASE_ARENA_H

#include "base/bytes.h"

struct arena_block;

struct arena {
    struct arena_block *current;
    size_t used;
};

void arena_init(struct arena *a);
void arena_release(struct arena *a);
void arena_reset(struct arena *a);
void *arena_alloc(struct arena *a, size_t size); /* 16-byte aligned */
bytes arena_dup(struct arena *a, bytes view);

#endif
