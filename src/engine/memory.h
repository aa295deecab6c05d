/* memory.h -- what the database uses, against maxmemory: the account, and how room is made.
 *
 * Every thread counts for itself (base/memory, data/slab, data/small) and tells a shared sum when it is 64 KiB ahead, so a worker knows
 * the whole to within 64 KiB of each other worker, and what it did itself exactly (docs/adr/0012).
 * Whoever needs room makes it: first what was dropped is freed, then a key is evicted, in slices, holding nothing between.
 * Threads: a struct evictor belongs to one worker.
 */
#ifndef HF_ENGINE_MEMORY_H
#define HF_ENGINE_MEMORY_H

#include "engine/internal.h"

#define MEMORY_TELL_BYTES (64 << 10)

/* heap: of the calling worker, whose own changes are known exactly. */
uint64_t memory_used(const struct engine *e, const struct slab_heap *heap);
/* The same without the log's copies of large records, which end by themselves when they are durable: what maxmemory limits. */
uint64_t memory_limited(const struct engine *e, const struct slab_heap *heap);
bool memory_is_over(const struct engine *e, const struct slab_heap *heap); /* false without a limit */
void memory_tell_if_much(struct slab_heap *heap); /* after a batch */
void memory_tell(struct slab_heap *heap);

enum room {
    ROOM_IS_THERE, /* at or below the limit; or as much as `need` was freed just now, so that it does not grow */
    ROOM_LATER,    /* ask again: more can be freed, but not at once */
    ROOM_NONE      /* above the limit, and nothing that may go is left */
};

#define MEMORY_ALL (UINT64_MAX / 2) /* need: until the limit is kept */

struct evictor;
struct evictor *evictor_new(struct engine *e);
void evictor_free(struct evictor *v);
/* Makes room for about `need` bytes, for at most `budget_us`. The txn is idle and has the worker's heap. */
enum room memory_make_room(struct engine *e, struct evictor *v, struct txn *t, uint64_t now_ms, uint64_t need, uint64_t budget_us);

/* A slice of what was dropped. True: more is left. */
bool memory_free_dropped(struct engine *e, struct slab_heap *heap);
/* Housekeeping of a worker, inside a batch; evict: it may. True: there is more to do at once. */
bool memory_tend(struct engine *e, struct evictor *v, struct txn *t, uint64_t now_ms, bool evict);

/* evict.c */
enum evicted { EVICTED_ONE, EVICTED_BUSY /* locks or log credit are not to be had now */, EVICTED_NOTHING /* there is nothing */ };
enum evicted evict_one(struct evictor *v, struct txn *t, uint64_t now_ms);

#endif
