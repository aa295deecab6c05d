/* memory.c -- malloc with one policy: small internal requests do not fail. */
#include "base/memory.h"

#include <malloc.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define TELL_BYTES (64 << 10)

/* Linked with jemalloc (else NULL): it counts for each thread by itself, and all that other libraries allocate, too. Without it
 * the calls below count. */
int mallctl(const char *name, void *old, size_t *old_size, void *fresh, size_t fresh_size) __attribute__((weak));
void malloc_stats_print(void (*write)(void *, const char *), void *context, const char *options) __attribute__((weak));

static _Atomic int64_t told;
static _Atomic size_t pages_held; /* by mem_try_resize_pages */
static const uint64_t not_counted;
static _Thread_local struct {
    const uint64_t *allocated, *freed; /* jemalloc's counters of this thread; NULL until first asked for */
    int64_t balance;                   /* of pages; without jemalloc, of all */
    int64_t told;
} mine;

static int64_t balance(void)
{
    if (!mallctl)
        return mine.balance;
    if (HF_UNLIKELY(!mine.allocated)) {
        size_t size = sizeof(mine.allocated);
        if (mallctl("thread.allocatedp", &mine.allocated, &size, NULL, 0) != 0 ||
            mallctl("thread.deallocatedp", &mine.freed, &size, NULL, 0) != 0)
            mine.allocated = mine.freed = &not_counted; /* built without statistics */
    }
    return (int64_t)(*mine.allocated - *mine.freed) + mine.balance;
}

int64_t mem_untold(void) { return balance() - mine.told; }

void mem_tell(void)
{
    int64_t now = balance();
    if (now == mine.told)
        return;
    atomic_fetch_add_explicit(&told, now - mine.told, memory_order_relaxed);
    mine.told = now;
}

size_t mem_in_use(void)
{
    int64_t sum = atomic_load_explicit(&told, memory_order_relaxed) + mem_untold();
    return sum > 0 ? (size_t)sum : 0;
}

static void count(int64_t difference)
{
    mine.balance += difference;
    int64_t untold = mine.balance - mine.told;
    if (HF_UNLIKELY(!mallctl && (untold > TELL_BYTES || untold < -TELL_BYTES)))
        mem_tell();
}

/* before: what the block was, 0: none. */
static void *counted(void *block, size_t before)
{
    if (!mallctl)
        count((int64_t)(block ? malloc_usable_size(block) : 0) - (int64_t)before);
    return block;
}

static size_t size_of(void *block) { return mallctl ? 0 : malloc_usable_size(block); }

static size_t statistic(const char *name)
{
    size_t value = 0, size = sizeof(value);
    return mallctl(name, &value, &size, NULL, 0) == 0 ? value : 0;
}

struct mem_pages mem_pages(void)
{
    if (mallctl) {
        uint64_t epoch = 1;
        mallctl("epoch", NULL, NULL, &epoch, sizeof(epoch)); /* renews the statistics */
        size_t held = atomic_load_explicit(&pages_held, memory_order_relaxed);
        return (struct mem_pages){statistic("stats.active") + held, statistic("stats.resident") + held};
    }
    struct mallinfo2 info = mallinfo2(); /* of a sanitizer's allocator: zeros */
    size_t used = mem_in_use(), active = info.uordblks + info.hblkhd, resident = info.arena + info.hblkhd;
    active = active > used ? active : used;
    return (struct mem_pages){active, resident > active ? resident : active};
}

bool mem_allocator_report(void (*write)(void *context, const char *text), void *context)
{
    if (malloc_stats_print)
        malloc_stats_print(write, context, NULL);
    return malloc_stats_print != NULL;
}

void mem_purge_in_background(void)
{
    bool on = true;
    if (mallctl)
        mallctl("background_thread", NULL, NULL, &on, sizeof(on)); /* refused: pages go back as others are used */
}

void mem_give_back(void)
{
    if (mallctl)
        mallctl("arena.4096.purge", NULL, NULL, NULL, 0); /* MALLCTL_ARENAS_ALL */
    else
        malloc_trim(0);
}

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
    return counted(block, 0);
}

void *mem_zalloc(size_t size)
{
    void *block = calloc(1, size ? size : 1);
    if (!block)
        out_of_memory(size);
    return counted(block, 0);
}

void *mem_realloc(void *block, size_t size)
{
    void *moved = mem_try_realloc(block, size);
    if (!moved)
        out_of_memory(size);
    return moved;
}

void *mem_try_realloc(void *block, size_t size)
{
    size_t before = size_of(block);
    void *moved = realloc(block, size ? size : 1);
    return moved ? counted(moved, before) : NULL;
}

void *mem_try_alloc(size_t size)
{
    return counted(malloc(size ? size : 1), 0);
}

void *mem_alloc_aligned(size_t alignment, size_t size)
{
    void *block = NULL;
    if (posix_memalign(&block, alignment, size) != 0)
        out_of_memory(size);
    return counted(block, 0);
}

void *mem_map(size_t size)
{
    void *pages = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED)
        out_of_memory(size);
    return pages;
}

void mem_unmap(void *pages, size_t size) { munmap(pages, size); }

void *mem_try_resize_pages(void *pages, size_t before, size_t size)
{
    void *moved = pages ? mremap(pages, before, size, MREMAP_MAYMOVE)
                        : mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (moved == MAP_FAILED)
        return NULL;
    count((int64_t)(size - before));
    atomic_fetch_add_explicit(&pages_held, size - before, memory_order_relaxed);
    return moved;
}

void mem_free_pages(void *pages, size_t size)
{
    munmap(pages, size);
    count(-(int64_t)size);
    atomic_fetch_sub_explicit(&pages_held, size, memory_order_relaxed);
}

void mem_free(void *block)
{
    counted(NULL, size_of(block));
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

