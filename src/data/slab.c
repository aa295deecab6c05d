/* slab.c -- pages, classes and remote lists.
 *
 * A heap keeps, per class, a list of its pages that have room; it allocates from the
 * first. A page with no block left in use goes back to the slab, which keeps a stack
 * of free pages (and gives the memory of most of them back to the system).
 *
 * The range asks for huge pages: entries are met in random order, and each miss of the TLB costs as much as one of the
 * cache. A huge page of which a part was given back is given up for good, else the kernel would fill it up again.
 */
#include "data/slab.h"

#include "base/memory.h"
#include "os/thread.h"

#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

#define PAGE_SHIFT 16
#define PAGE_SIZE ((size_t)1 << PAGE_SHIFT)
#define CLASS_COUNT 72
#define HEAPS_MAX 256
#define NO_PAGE UINT32_MAX
#define LARGE_CLASS 0xffff
#define FREE_PAGES_KEPT 64 /* with their memory */
#define DRAINED_FOR_ALLOC 256 /* remote blocks: some microseconds */
#define HUGE_SHIFT 21
#define HUGE_SPLITS_MAX 8192 /* each may cost the process a mapping, of which the kernel allows 65,530 */

struct page {
    uint32_t next, previous; /* in the heap's list of pages with room, or next free page */
    uint32_t free_block;     /* offset / 8 + 1 of the first free block, 0: none */
    uint32_t fresh;          /* offset of the part never handed out */
    uint32_t used;
    uint16_t class_index;
    uint16_t owner;
    uint32_t span_pages;     /* LARGE_CLASS: how many */
    bool listed;
};

struct slab_heap {
    struct slab *slab;
    uint16_t number;
    uint32_t with_room[CLASS_COUNT];
    _Atomic uint64_t used_bytes; /* written by the owner only: what this heap has handed out less what it has released, also
                                  * of others; so one heap's may be below zero (it wraps), the sum of all is exact */
    uint64_t told_bytes;         /* of used_bytes: is in the slab's sum */
    void *arrived;               /* taken from remote, not yet released */
    _Alignas(64) _Atomic(void *) remote;
};

struct slab {
    uint8_t *base;
    size_t reserved;
    struct page *pages;
    struct spin lock; /* guards what follows */
    uint32_t page_count, page_limit;
    uint32_t free_page, free_count;
    uint32_t splits;      /* huge pages given up */
    uint8_t *split;       /* a bit for each huge page */
    uint32_t *span_free; /* first pages of released spans */
    uint32_t span_free_count, span_free_capacity;
    struct slab_heap *heaps[HEAPS_MAX];
    uint16_t heap_count;
    _Alignas(64) _Atomic uint64_t told_bytes;
};

static uint32_t class_sizes[CLASS_COUNT];
static uint8_t class_of_small[512 / 8 + 1];
static unsigned class_count;

__attribute__((constructor)) static void classes_init(void)
{
    unsigned n = 0;
    for (uint32_t size = 8; size <= 256; size += 8)
        class_sizes[n++] = size;
    for (uint32_t size = 272; size <= 512; size += 16)
        class_sizes[n++] = size;
    for (uint32_t base = 512; base < SLAB_BLOCK_MAX; base *= 2) {
        for (uint32_t quarter = 1; quarter <= 4; quarter++)
            class_sizes[n++] = base + base / 4 * quarter;
    }
    hf_assert(n <= CLASS_COUNT);
    class_count = n;
    for (unsigned i = 0, c = 0; i <= 512 / 8; i++) {
        while (class_sizes[c] < i * 8)
            c++;
        class_of_small[i] = (uint8_t)c;
    }
}

static unsigned class_for(size_t size)
{
    if (size <= 512)
        return class_of_small[(size + 7) / 8];
    unsigned c = class_of_small[512 / 8];
    while (class_sizes[c] < size)
        c++;
    return c;
}

/* Addresses that cost memory when they are written. NULL: refused. */
static void *map_reserved(size_t size)
{
    void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return at == MAP_FAILED ? NULL : at;
}

struct slab *slab_new(void)
{
    struct slab *s = mem_alloc_aligned(64, sizeof(*s));
    memset(s, 0, sizeof(*s));
    for (s->reserved = (size_t)8 << SLAB_REF_BITS; s->reserved >= PAGE_SIZE << 12; s->reserved /= 2) {
        size_t pages = s->reserved >> PAGE_SHIFT;
        s->base = map_reserved(s->reserved);
        if (!s->base)
            continue;
        s->pages = map_reserved(pages * sizeof(struct page));
        if (s->pages)
            break;
        munmap(s->base, s->reserved);
    }
    hf_assert(s->base && s->pages);
    s->split = map_reserved((s->reserved >> HUGE_SHIFT) / 8 + 1);
    hf_assert(s->split);
    const size_t first = (size_t)1 << HUGE_SHIFT; /* of a small data set: it takes what it needs */
    if (s->reserved > first)
        (void)madvise(s->base + first, s->reserved - first, MADV_HUGEPAGE); /* refused: small pages do, too */
    s->page_limit = (uint32_t)(s->reserved >> PAGE_SHIFT);
    s->page_count = 1; /* reference 0 names no block */
    s->free_page = NO_PAGE;
    return s;
}

void slab_free(struct slab *s)
{
    for (unsigned i = 0; i < s->heap_count; i++)
        mem_free(s->heaps[i]);
    munmap(s->split, (s->reserved >> HUGE_SHIFT) / 8 + 1);
    munmap(s->pages, (s->reserved >> PAGE_SHIFT) * sizeof(struct page));
    munmap(s->base, s->reserved);
    mem_free(s->span_free);
    mem_free(s);
}

struct slab_heap *slab_heap_new(struct slab *s)
{
    struct slab_heap *h = mem_alloc_aligned(64, sizeof(*h));
    memset(h, 0, sizeof(*h));
    h->slab = s;
    for (unsigned c = 0; c < CLASS_COUNT; c++)
        h->with_room[c] = NO_PAGE;
    spin_lock(&s->lock);
    hf_assert(s->heap_count < HEAPS_MAX);
    h->number = s->heap_count;
    s->heaps[s->heap_count++] = h;
    spin_unlock(&s->lock);
    return h;
}

bool slab_is_nearly_full(struct slab *s)
{
    spin_lock(&s->lock);
    bool nearly = s->page_count - s->free_count > s->page_limit - s->page_limit / 16;
    spin_unlock(&s->lock);
    return nearly;
}

uint8_t *slab_base(const struct slab *s)
{
    return s->base;
}

bool slab_holds(const struct slab *s, const void *address)
{
    return (size_t)((uintptr_t)address - (uintptr_t)s->base) < s->reserved;
}

static uint32_t page_of(const struct slab *s, const void *block)
{
    return (uint32_t)((size_t)((const uint8_t *)block - s->base) >> PAGE_SHIFT);
}

static uint8_t *page_address(const struct slab *s, uint32_t number)
{
    return s->base + ((size_t)number << PAGE_SHIFT);
}

static uint32_t page_take(struct slab *s)
{
    uint32_t number = NO_PAGE;
    spin_lock(&s->lock);
    if (s->free_page != NO_PAGE) {
        number = s->free_page;
        s->free_page = s->pages[number].next;
        s->free_count--;
    } else if (s->page_count < s->page_limit) {
        number = s->page_count++;
    }
    spin_unlock(&s->lock);
    return number;
}

/* True if the huge page is still whole, and now no more. */
static bool split_first(struct slab *s, size_t huge)
{
    uint8_t bit = (uint8_t)(1u << huge % 8);
    spin_lock(&s->lock);
    bool first = !(s->split[huge / 8] & bit) && s->splits < HUGE_SPLITS_MAX;
    if (first) {
        s->split[huge / 8] |= bit;
        s->splits++;
    }
    spin_unlock(&s->lock);
    return first;
}

/* The contents are lost, the memory goes back to the system. */
static void memory_give_back(struct slab *s, uint32_t page, size_t size)
{
    uint8_t *at = page_address(s, page);
    size_t first = (size_t)(at - s->base) >> HUGE_SHIFT, last = (size_t)(at + size - 1 - s->base) >> HUGE_SHIFT;
    if (split_first(s, first))
        (void)madvise(s->base + (first << HUGE_SHIFT), (size_t)1 << HUGE_SHIFT, MADV_NOHUGEPAGE);
    if (last != first && split_first(s, last))
        (void)madvise(s->base + (last << HUGE_SHIFT), (size_t)1 << HUGE_SHIFT, MADV_NOHUGEPAGE);
    madvise(at, size, MADV_DONTNEED);
}

static void page_give_back(struct slab *s, uint32_t number)
{
    spin_lock(&s->lock);
    bool keep_memory = s->free_count < FREE_PAGES_KEPT;
    spin_unlock(&s->lock);
    if (!keep_memory)
        memory_give_back(s, number, PAGE_SIZE);
    spin_lock(&s->lock);
    s->pages[number] = (struct page){.next = s->free_page};
    s->free_page = number;
    s->free_count++;
    spin_unlock(&s->lock);
}

static void list_add(struct slab_heap *h, uint32_t number)
{
    struct page *pages = h->slab->pages, *p = &pages[number];
    uint32_t *head = &h->with_room[p->class_index];
    p->next = *head;
    p->previous = NO_PAGE;
    p->listed = true;
    if (*head != NO_PAGE)
        pages[*head].previous = number;
    *head = number;
}

static void list_remove(struct slab_heap *h, uint32_t number)
{
    struct page *pages = h->slab->pages, *p = &pages[number];
    if (p->previous == NO_PAGE)
        h->with_room[p->class_index] = p->next;
    else
        pages[p->previous].next = p->next;
    if (p->next != NO_PAGE)
        pages[p->next].previous = p->previous;
    p->listed = false;
}

static void count_used(struct slab_heap *h, uint64_t change)
{
    uint64_t before = atomic_load_explicit(&h->used_bytes, memory_order_relaxed);
    atomic_store_explicit(&h->used_bytes, before + change, memory_order_relaxed);
}

static void *span_alloc(struct slab_heap *h, size_t size)
{
    struct slab *s = h->slab;
    uint32_t needed = (uint32_t)((size + PAGE_SIZE - 1) >> PAGE_SHIFT), first = NO_PAGE;
    spin_lock(&s->lock);
    for (uint32_t i = 0; i < s->span_free_count; i++) {
        if (s->pages[s->span_free[i]].span_pages == needed) {
            first = s->span_free[i];
            s->span_free[i] = s->span_free[--s->span_free_count];
            break;
        }
    }
    if (first == NO_PAGE && s->page_limit - s->page_count > needed) {
        first = s->page_count;
        s->page_count += needed;
    }
    if (first != NO_PAGE)
        s->pages[first] = (struct page){.class_index = LARGE_CLASS, .span_pages = needed, .used = 1, .owner = h->number};
    spin_unlock(&s->lock);
    if (first == NO_PAGE)
        return NULL;
    count_used(h, (uint64_t)needed << PAGE_SHIFT);
    return page_address(s, first);
}

static void span_release(struct slab *s, uint32_t first)
{
    memory_give_back(s, first, (size_t)s->pages[first].span_pages << PAGE_SHIFT);
    spin_lock(&s->lock);
    if (s->span_free_count == s->span_free_capacity) {
        s->span_free_capacity = s->span_free_capacity ? s->span_free_capacity * 2 : 64;
        s->span_free = mem_realloc(s->span_free, s->span_free_capacity * sizeof(*s->span_free));
    }
    s->span_free[s->span_free_count++] = first;
    spin_unlock(&s->lock);
}

static void release_own(struct slab_heap *h, uint32_t number, void *block)
{
    struct slab *s = h->slab;
    struct page *p = &s->pages[number];
    uint32_t next = p->free_block;
    memcpy(block, &next, sizeof(next));
    p->free_block = (uint32_t)((uint8_t *)block - page_address(s, number)) / 8 + 1;
    p->used--;
    if (p->used == 0 && p->listed && p->next != NO_PAGE) {
        list_remove(h, number);
        page_give_back(s, number);
    } else if (!p->listed) {
        list_add(h, number);
    }
}

/* At most so many. True: there are more. */
static bool drain_remote(struct slab_heap *h, unsigned most)
{
    if (!h->arrived) {
        if (!atomic_load_explicit(&h->remote, memory_order_relaxed))
            return false;
        h->arrived = atomic_exchange_explicit(&h->remote, NULL, memory_order_acquire);
    }
    while (h->arrived && most-- > 0) {
        void *block = h->arrived;
        memcpy(&h->arrived, block, sizeof(h->arrived));
        release_own(h, page_of(h->slab, block), block);
    }
    return h->arrived != NULL;
}

static bool add_page(struct slab_heap *h, unsigned class_index)
{
    uint32_t number = page_take(h->slab);
    if (number == NO_PAGE)
        return false;
    h->slab->pages[number] = (struct page){.class_index = (uint16_t)class_index, .owner = h->number};
    list_add(h, number);
    return true;
}

void *slab_alloc(struct slab_heap *h, size_t size)
{
    if (HF_UNLIKELY(size > SLAB_BLOCK_MAX))
        return span_alloc(h, size);
    struct slab *s = h->slab;
    unsigned class_index = class_for(size);
    if (h->with_room[class_index] == NO_PAGE) {
        drain_remote(h, DRAINED_FOR_ALLOC);
        if (h->with_room[class_index] == NO_PAGE && !add_page(h, class_index))
            return NULL;
    }
    uint32_t number = h->with_room[class_index], block_size = class_sizes[class_index];
    struct page *p = &s->pages[number];
    uint8_t *block;
    if (p->free_block) {
        block = page_address(s, number) + (size_t)(p->free_block - 1) * 8;
        memcpy(&p->free_block, block, sizeof(p->free_block));
    } else {
        block = page_address(s, number) + p->fresh;
        p->fresh += block_size;
    }
    p->used++;
    count_used(h, block_size);
    if (!p->free_block && p->fresh + block_size > PAGE_SIZE)
        list_remove(h, number);
    return block;
}

void slab_release(struct slab_heap *h, void *block)
{
    struct slab *s = h->slab;
    uint32_t number = page_of(s, block);
    struct page *p = &s->pages[number];
    if (HF_UNLIKELY(p->class_index == LARGE_CLASS)) {
        count_used(h, 0 - ((uint64_t)p->span_pages << PAGE_SHIFT));
        span_release(s, number);
        return;
    }
    count_used(h, 0 - (uint64_t)class_sizes[p->class_index]);
    if (p->owner == h->number) {
        release_own(h, number, block);
    } else {
        struct slab_heap *owner = s->heaps[p->owner];
        void *head = atomic_load_explicit(&owner->remote, memory_order_relaxed);
        do
            memcpy(block, &head, sizeof(head));
        while (!atomic_compare_exchange_weak_explicit(&owner->remote, &head, block,
                                                      memory_order_release, memory_order_relaxed));
    }
}

size_t slab_usable_size(const struct slab *s, const void *block)
{
    const struct page *p = &s->pages[page_of(s, block)];
    return p->class_index == LARGE_CLASS ? (size_t)p->span_pages << PAGE_SHIFT : class_sizes[p->class_index];
}

bool slab_heap_tend(struct slab_heap *h, unsigned most)
{
    return drain_remote(h, most);
}

int64_t slab_heap_untold(const struct slab_heap *h)
{
    return (int64_t)(atomic_load_explicit(&h->used_bytes, memory_order_relaxed) - h->told_bytes);
}

void slab_heap_tell(struct slab_heap *h)
{
    uint64_t untold = (uint64_t)slab_heap_untold(h);
    h->told_bytes += untold;
    atomic_fetch_add_explicit(&h->slab->told_bytes, untold, memory_order_relaxed);
}

uint64_t slab_told(const struct slab *s)
{
    return atomic_load_explicit(&s->told_bytes, memory_order_relaxed);
}

void slab_stats(struct slab *s, uint64_t *used, uint64_t *held)
{
    *used = 0;
    spin_lock(&s->lock); /* a thread may be making its heap */
    for (unsigned i = 0; i < s->heap_count; i++)
        *used += atomic_load_explicit(&s->heaps[i]->used_bytes, memory_order_relaxed);
    *held = (uint64_t)(s->page_count - 1 - s->free_count) << PAGE_SHIFT;
    spin_unlock(&s->lock);
}
