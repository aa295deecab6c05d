/* chunks.c -- one heap under a lock. A table takes a chunk when 16 buckets have grown: rarely enough. */
#include "store/chunks.h"

#include "base/memory.h"
#include "data/slab.h"
#include "os/thread.h"
#include "store/table.h"

struct chunks {
    struct slab *slab;
    struct slab_heap *heap;
    struct spin lock;
};

#define CHUNK_BYTES (CHUNK_BUCKETS * sizeof(struct bucket))

struct chunks *chunks_new(void)
{
    struct chunks *c = mem_zalloc(sizeof(*c));
    c->slab = slab_new();
    c->heap = slab_heap_new(c->slab);
    return c;
}

void chunks_free(struct chunks *c)
{
    slab_free(c->slab);
    mem_free(c);
}

struct bucket *chunks_take(struct chunks *c)
{
    spin_lock(&c->lock);
    void *chunk = slab_alloc(c->heap, CHUNK_BYTES);
    slab_heap_tell(c->heap);
    spin_unlock(&c->lock);
    hf_assert(chunk && (uintptr_t)chunk % 64 == 0);
    return memset(chunk, 0, CHUNK_BYTES);
}

void chunks_give(struct chunks *c, struct bucket *chunk)
{
    if (!chunk)
        return;
    spin_lock(&c->lock);
    slab_release(c->heap, chunk);
    slab_heap_tell(c->heap);
    spin_unlock(&c->lock);
}

uint64_t chunks_memory(const struct chunks *c)
{
    return slab_told(c->slab);
}

uint64_t chunks_held(struct chunks *c)
{
    uint64_t used, held;
    slab_stats(c->slab, &used, &held);
    return held;
}
