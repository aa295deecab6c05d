/* small.c -- a slab of its own beside that of the entries, whose references it does not need.
 *
 * A thread takes a heap at its first call and leaves it to another one when it ends. When there are more threads than heaps (a program
 * that has holdfast as its library may have thousands) the others share one under a lock.
 *
 * Sanitizers see no overflow within a slab, and a simulation ends by forgetting its blocks: there all blocks are the allocator's.
 */
#include "data/small.h"

#include "base/memory.h"
#include "data/slab.h"
#include "os/thread.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ADDRESSES_ARE_WATCHED
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(HF_SIM)
#define ADDRESSES_ARE_WATCHED
#endif

size_t small_class_size(size_t size)
{
    if (size <= 256)
        return (size + 7) & ~(size_t)7;
    return size <= SMALL_MAX ? (size + 15) & ~(size_t)15 : mem_class_size(size);
}

#ifdef ADDRESSES_ARE_WATCHED

void *small_alloc(size_t size) { return mem_alloc(small_class_size(size)); }
void small_free(void *block) { mem_free(block); }
size_t small_in_use(void) { return 0; }
int64_t small_untold(void) { return 0; }
void small_tell(void) {}
void small_stats(uint64_t *used, uint64_t *held) { *used = *held = 0; }
bool small_tend(unsigned most) { return (void)most, false; }

#else

#define HEAPS_MAX 200 /* fewer than a slab can have */

static struct {
    struct slab *slab;
    struct thread_own own;
    struct spin lock; /* guards what follows */
    struct slab_heap *idle[HEAPS_MAX];
    unsigned idle_count, count;
    struct slab_heap *common; /* of those who got none */
} heaps;

static _Thread_local struct slab_heap *mine;

static void leave(void *heap)
{
    mine = NULL;
    (void)slab_heap_tend(heap, UINT32_MAX);
    slab_heap_tell(heap);
    spin_lock(&heaps.lock);
    heaps.idle[heaps.idle_count++] = heap;
    spin_unlock(&heaps.lock);
}

__attribute__((constructor)) static void heaps_init(void)
{
    heaps.slab = slab_new();
    heaps.common = slab_heap_new(heaps.slab);
    thread_own_init(&heaps.own, leave);
}

/* NULL: all are taken. */
static struct slab_heap *take(void)
{
    struct slab_heap *heap = NULL;
    spin_lock(&heaps.lock);
    bool is_new = heaps.idle_count == 0 && heaps.count < HEAPS_MAX;
    if (heaps.idle_count > 0)
        heap = heaps.idle[--heaps.idle_count];
    heaps.count += is_new;
    spin_unlock(&heaps.lock);
    if (is_new)
        heap = slab_heap_new(heaps.slab);
    if (heap)
        thread_own_set(&heaps.own, heap);
    return mine = heap;
}

static void *alloc_common(size_t size)
{
    spin_lock(&heaps.lock);
    void *block = slab_alloc(heaps.common, size);
    slab_heap_tell(heaps.common);
    spin_unlock(&heaps.lock);
    return block;
}

static void free_common(void *block)
{
    spin_lock(&heaps.lock);
    slab_release(heaps.common, block);
    slab_heap_tell(heaps.common);
    spin_unlock(&heaps.lock);
}

void *small_alloc(size_t size)
{
    if (size > SMALL_MAX)
        return mem_alloc(mem_class_size(size));
    void *block = HF_LIKELY(mine) || take() ? slab_alloc(mine, size) : alloc_common(size);
    return block ? block : mem_alloc(small_class_size(size)); /* the range is used up */
}

void small_free(void *block)
{
    if (HF_UNLIKELY(!slab_holds(heaps.slab, block)))
        mem_free(block);
    else if (HF_LIKELY(mine) || take())
        slab_release(mine, block);
    else
        free_common(block);
}

int64_t small_untold(void) { return mine ? slab_heap_untold(mine) : 0; }

void small_tell(void)
{
    if (mine)
        slab_heap_tell(mine);
}

size_t small_in_use(void)
{
    int64_t sum = (int64_t)slab_told(heaps.slab) + small_untold();
    return sum > 0 ? (size_t)sum : 0;
}

void small_stats(uint64_t *used, uint64_t *held) { slab_stats(heaps.slab, used, held); }
bool small_tend(unsigned most) { return mine && slab_heap_tend(mine, most); }

#endif
