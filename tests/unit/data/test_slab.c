/* test_slab.c -- the heap of blocks: sizes, reuse, and blocks that travel between heaps.
 *
 * Goal: live blocks never overlap and keep their bytes, whichever heap gives them back;
 * what is given back is handed out again. Two threads exchange blocks through a
 * mailbox, so that each releases what the other has allocated.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "base/memory.h"
#include "data/slab.h"
#include "os/thread.h"

#include <stdlib.h>
#include <string.h>

struct rng { uint64_t state; };

static uint64_t roll(struct rng *r)
{
    r->state ^= r->state << 13;
    r->state ^= r->state >> 7;
    r->state ^= r->state << 17;
    return r->state * UINT64_C(0x2545F4914F6CDD1D);
}

static size_t random_size(struct rng *r)
{
    switch (roll(r) % 16) {
    case 0:
        return 1 + roll(r) % (3 * SLAB_BLOCK_MAX);
    case 1:
    case 2:
        return 1 + roll(r) % 4096;
    default:
        return 1 + roll(r) % 200;
    }
}

static void every_size_fits_its_block(void **state)
{
    (void)state;
    struct slab *s = slab_new();
    struct slab_heap *h = slab_heap_new(s);
    for (size_t size = 1; size < SLAB_BLOCK_MAX + 3000; size += size < 1024 ? 1 : 97) {
        uint8_t *block = slab_alloc(h, size);
        assert_non_null(block);
        size_t usable = slab_usable_size(s, block);
        assert_true(usable >= size);
        if (size <= 256)
            assert_true(usable < size + 8);
        else if (size <= SLAB_BLOCK_MAX)
            assert_true(usable <= size + size / 4 + 8);
        assert_int_equal((uintptr_t)block % 8, 0);
        assert_true(block > slab_base(s)); /* reference 0 names no block */
        assert_true((uint64_t)(block - slab_base(s)) / 8 < UINT64_C(1) << SLAB_REF_BITS);
        memset(block, 0xee, usable);
        slab_release(h, block);
    }
    uint64_t used, held;
    slab_stats(s, &used, &held);
    assert_int_equal(used, 0);
    slab_free(s);
}

struct live { uint8_t *block; size_t size; uint8_t mark; };

static void mark_block(struct live *l, uint8_t *block, size_t size, uint8_t mark)
{
    *l = (struct live){block, size, mark};
    memset(block, mark, size);
}

static void check_mark(const struct live *l)
{
    for (size_t i = 0; i < l->size; i++) {
        if (l->block[i] != l->mark)
            fail_msg("a block of %zu bytes lost byte %zu", l->size, i);
    }
}

static void live_blocks_keep_their_bytes(void **state)
{
    enum { COUNT = 3000 };
    struct rng r = {42};
    (void)state;
    struct slab *s = slab_new();
    struct slab_heap *heaps[2] = {slab_heap_new(s), slab_heap_new(s)};
    struct live *live = mem_zalloc(COUNT * sizeof(*live));
    for (int i = 0; i < 200000; i++) {
        struct live *l = &live[roll(&r) % COUNT];
        if (l->block) {
            check_mark(l);
            slab_release(heaps[roll(&r) % 2], l->block);
            l->block = NULL;
        } else {
            size_t size = random_size(&r);
            uint8_t *block = slab_alloc(heaps[roll(&r) % 2], size);
            assert_non_null(block);
            mark_block(l, block, size, (uint8_t)roll(&r));
        }
    }
    for (int i = 0; i < COUNT; i++) {
        if (live[i].block)
            check_mark(&live[i]);
    }
    mem_free(live);
    slab_free(s);
}

static void what_is_given_back_is_handed_out_again(void **state)
{
    enum { COUNT = 50000 };
    (void)state;
    struct slab *s = slab_new();
    struct slab_heap *mine = slab_heap_new(s), *other = slab_heap_new(s);
    void **blocks = mem_zalloc(COUNT * sizeof(*blocks));
    uint64_t used, held, held_first = 0;
    for (int round = 0; round < 20; round++) {
        size_t size = 40 + (size_t)round % 4 * 300;
        for (int i = 0; i < COUNT; i++) {
            blocks[i] = slab_alloc(mine, size);
            assert_non_null(blocks[i]);
        }
        slab_stats(s, &used, &held);
        assert_true(used >= COUNT * size);
        if (round < 4)
            held_first = held > held_first ? held : held_first;
        /* Own and foreign releases: pages of one class serve the next. */
        for (int i = 0; i < COUNT; i++)
            slab_release(i % 3 ? mine : other, blocks[i]);
        assert_true(held <= held_first * 2);
    }
    mem_free(blocks);
    slab_free(s);
}

/* -- two threads -- */

#define EXCHANGED 200000
#define MAILBOX 256

struct side {
    struct slab_heap *heap;
    struct rng rng;
    _Atomic(struct live *) *outgoing, *incoming;
    uint64_t received;
};

/* A block carries its own live record in front; the receiver checks and releases it. */
static void *exchange(void *context)
{
    struct side *side = context;
    for (uint64_t sent = 0; sent < EXCHANGED || side->received < EXCHANGED;) {
        unsigned at = (unsigned)(roll(&side->rng) % MAILBOX);
        if (sent < EXCHANGED && !atomic_load_explicit(&side->outgoing[at], memory_order_relaxed)) {
            size_t size = random_size(&side->rng) % 3000;
            struct live *l = slab_alloc(side->heap, sizeof(*l) + size);
            assert_non_null(l);
            mark_block(l, (uint8_t *)(l + 1), size, (uint8_t)roll(&side->rng));
            atomic_store_explicit(&side->outgoing[at], l, memory_order_release);
            sent++;
        }
        struct live *l = atomic_exchange_explicit(&side->incoming[at], NULL, memory_order_acquire);
        if (l) {
            check_mark(l);
            slab_release(side->heap, l);
            side->received++;
        }
    }
    return NULL;
}

static void two_threads_release_each_others_blocks(void **state)
{
    (void)state;
    struct slab *s = slab_new();
    _Atomic(struct live *) *boxes = mem_zalloc(2 * MAILBOX * sizeof(*boxes));
    struct side a = {.heap = slab_heap_new(s), .rng = {1}, .outgoing = boxes, .incoming = boxes + MAILBOX};
    struct side b = {.heap = slab_heap_new(s), .rng = {2}, .outgoing = boxes + MAILBOX, .incoming = boxes};
    pthread_t thread = thread_start("exchange", exchange, &b);
    exchange(&a);
    pthread_join(thread, NULL);
    assert_int_equal(a.received, EXCHANGED);
    assert_int_equal(b.received, EXCHANGED);
    /* Both heaps can still serve from what came back: little is held for what was live. */
    uint64_t used, held;
    slab_stats(s, &used, &held);
    assert_true(held < UINT64_C(64) << 20);
    /* Whoever releases a block counts it, so nothing is used although much of it has not come home. */
    assert_int_equal(used, 0);
    slab_heap_tell(a.heap);
    slab_heap_tell(b.heap);
    assert_int_equal(slab_told(s), 0);
    while (slab_heap_tend(a.heap, 1000) || slab_heap_tend(b.heap, 1000)) {
    }
    slab_stats(s, &used, &held);
    assert_int_equal(used, 0);
    mem_free((void *)boxes);
    slab_free(s);
}

static void what_a_heap_has_not_told_is_known_to_its_owner(void **state)
{
    (void)state;
    struct slab *s = slab_new();
    struct slab_heap *mine = slab_heap_new(s), *other = slab_heap_new(s);
    void *small = slab_alloc(mine, 100), *span = slab_alloc(mine, 3 * SLAB_BLOCK_MAX);
    assert_non_null(small);
    assert_non_null(span);
    int64_t both = (int64_t)(slab_usable_size(s, small) + slab_usable_size(s, span));
    assert_int_equal(slab_told(s), 0);
    assert_int_equal(slab_heap_untold(mine), both);
    slab_heap_tell(mine);
    assert_int_equal(slab_heap_untold(mine), 0);
    assert_int_equal(slab_told(s), both);
    slab_release(other, span); /* other counts it, and its own count falls below zero */
    slab_release(other, small);
    assert_int_equal(slab_heap_untold(other), -both);
    slab_heap_tell(other);
    assert_int_equal(slab_told(s), 0);
    assert_false(slab_heap_tend(mine, 10)); /* it came home */
    slab_free(s);
}

#define LATE_HEAPS 40

static void *make_heaps(void *slab)
{
    for (int i = 0; i < LATE_HEAPS; i++) {
        const void *block = slab_alloc(slab_heap_new(slab), 100);
        hf_assert(block);
    }
    return NULL;
}

/* Counted while a thread makes heaps: seen by ThreadSanitizer if the list of heaps is read unlocked. */
static void heaps_are_counted_while_others_are_made(void **state)
{
    (void)state;
    struct slab *s = slab_new();
    pthread_t thread = thread_start("heaps", make_heaps, s);
    uint64_t used, held;
    do
        slab_stats(s, &used, &held);
    while (used < LATE_HEAPS * (uint64_t)100);
    pthread_join(thread, NULL);
    slab_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_size_fits_its_block),
        cmocka_unit_test(live_blocks_keep_their_bytes),
        cmocka_unit_test(what_a_heap_has_not_told_is_known_to_its_owner),
        cmocka_unit_test(what_is_given_back_is_handed_out_again),
        cmocka_unit_test(two_threads_release_each_others_blocks),
        cmocka_unit_test(heaps_are_counted_while_others_are_made),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
