/* memory.c -- the account of used memory, and the loop that makes room.
 *
 * A command that grows while the limit is exceeded has to free at least what it may take before it runs. So usage above
 * the limit (a lower limit was set, replies are large) falls with every command, and none of them waits for all of it.
 */
#include "engine/memory.h"

#include "base/memory.h"
#include "data/small.h"
#include "os/latency.h"
#include "os/os.h"

uint64_t memory_used(const struct engine *e, const struct slab_heap *heap)
{
    return slab_told(e->store->slab) + (uint64_t)slab_heap_untold(heap) + chunks_memory(e->store->chunks) + small_in_use() + mem_in_use();
}

uint64_t memory_limited(const struct engine *e, const struct slab_heap *heap)
{
    uint64_t copies = e->log ? log_copies(e->log) : 0, used = memory_used(e, heap);
    return used > copies ? used - copies : 0;
}

bool memory_is_over(const struct engine *e, const struct slab_heap *heap)
{
    uint64_t limit = atomic_load_explicit(&e->maxmemory, memory_order_relaxed);
    return limit && memory_limited(e, heap) > limit;
}

void memory_tell(struct slab_heap *heap)
{
    slab_heap_tell(heap);
    small_tell();
    mem_tell();
}

static bool is_much(int64_t change) { return change > MEMORY_TELL_BYTES || change < -MEMORY_TELL_BYTES; }

void memory_tell_if_much(struct slab_heap *heap)
{
    if (HF_UNLIKELY(is_much(slab_heap_untold(heap)) || is_much(small_untold()) || is_much(mem_untold())))
        memory_tell(heap);
}

static int64_t untold(const struct slab_heap *heap) { return slab_heap_untold(heap) + small_untold() + mem_untold(); }

/* One slice of what was dropped, counted: by how many and how large they are it is seen that none is long. */
static bool free_slice(struct engine *e, struct slab_heap *heap)
{
    int64_t before = untold(heap);
    if (!databases_free_slice(e, heap))
        return false;
    int64_t freed = before - untold(heap);
    atomic_fetch_add_explicit(&e->free_slices, 1, memory_order_relaxed);
    if (freed > 0 && (uint64_t)freed > atomic_load_explicit(&e->free_slice_max, memory_order_relaxed))
        atomic_store_explicit(&e->free_slice_max, (uint64_t)freed, memory_order_relaxed);
    return true;
}

static enum room make_room(struct engine *e, struct evictor *v, struct txn *t, uint64_t now_ms, uint64_t need, uint64_t budget_us)
{
    uint64_t began = memory_limited(e, t->heap), until_us = 0;
    for (unsigned busy = 0, rounds = 0;; rounds++) {
        uint64_t limit = atomic_load_explicit(&e->maxmemory, memory_order_relaxed), used = memory_limited(e, t->heap);
        memory_tell_if_much(t->heap);
        if (!limit || used <= limit || used + need <= began) /* it may have been lifted meanwhile */
            return ROOM_IS_THERE;
        if (rounds % 16 == 15) { /* the first steps are not timed: mostly they suffice */
            uint64_t now_us = OS.monotonic_us();
            until_us = until_us ? until_us : now_us + budget_us;
            if (now_us >= until_us)
                return ROOM_LATER;
        }
        if (free_slice(e, t->heap))
            continue;
        switch (evict_one(v, t, now_ms)) {
        case EVICTED_ONE: break;
        case EVICTED_NOTHING: return ROOM_NONE;
        case EVICTED_BUSY:
            if (++busy == 8)
                return ROOM_LATER;
        }
    }
}

enum room memory_make_room(struct engine *e, struct evictor *v, struct txn *t, uint64_t now_ms, uint64_t need, uint64_t budget_us)
{
    uint64_t begin_us = latency_begin_us();
    enum room room = make_room(e, v, t, now_ms, need, budget_us);
    latency_end(LATENCY_EVICTION, begin_us);
    return room;
}

/* For INFO: how long it has been above the limit. */
static void time_excess(struct engine *e, bool over)
{
    uint64_t since = atomic_load_explicit(&e->over_since_us, memory_order_relaxed), now = OS.monotonic_us();
    if (over && !since)
        atomic_store_explicit(&e->over_since_us, now, memory_order_relaxed);
    if (!over && since) {
        atomic_fetch_add_explicit(&e->over_total_us, now - since, memory_order_relaxed);
        atomic_store_explicit(&e->over_since_us, 0, memory_order_relaxed);
    }
}

#define FREE_SLICE_US 400
#define EVICT_SLICE_US 300
#define TAKEN_BACK 4096 /* blocks that other workers have released */

bool memory_free_dropped(struct engine *e, struct slab_heap *heap)
{
    if (!free_slice(e, heap))
        return false;
    uint64_t until_us = OS.monotonic_us() + FREE_SLICE_US;
    while (free_slice(e, heap)) {
        if (OS.monotonic_us() >= until_us)
            return true;
    }
    return false;
}

bool memory_tend(struct engine *e, struct evictor *v, struct txn *t, uint64_t now_ms, bool evict)
{
    bool more = slab_heap_tend(t->heap, TAKEN_BACK);
    more |= small_tend(TAKEN_BACK);
    more |= memory_free_dropped(e, t->heap);
    memory_tell(t->heap);
    uint64_t used = memory_used(e, t->heap);
    if (used > atomic_load_explicit(&e->used_peak, memory_order_relaxed))
        atomic_store_explicit(&e->used_peak, used, memory_order_relaxed);
    bool over = memory_is_over(e, t->heap);
    if (HF_UNLIKELY(over || atomic_load_explicit(&e->over_since_us, memory_order_relaxed)))
        time_excess(e, over);
    if (HF_UNLIKELY(over) && evict)
        more |= memory_make_room(e, v, t, now_ms, MEMORY_ALL, EVICT_SLICE_US) == ROOM_LATER;
    return more;
}

/* ---- settings ---- */

void engine_set_maxmemory(struct engine *e, uint64_t limit)
{
    atomic_store(&e->maxmemory, limit);
}

uint64_t engine_maxmemory(const struct engine *e) { return atomic_load_explicit(&e->maxmemory, memory_order_relaxed); }

void engine_set_eviction(struct engine *e, uint32_t policy, uint32_t samples, uint32_t lfu_log_factor, uint32_t lfu_decay_min)
{
    atomic_store(&e->eviction.samples, samples);
    atomic_store(&e->eviction.lfu_log_factor, lfu_log_factor);
    atomic_store(&e->eviction.lfu_decay_min, lfu_decay_min);
    atomic_store(&e->eviction.policy, policy);
}
