/* test_small.c -- small blocks keep their bytes and are counted to the byte, whichever threads take and free them.
 *
 * Method: every size once; then more threads than there are heaps, all alive at once, each of which frees what its neighbour took: afterwards
 * the account is what it was, also after a second generation that inherits the heaps of the first.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "base/memory.h"
#include "data/small.h"
#include "os/thread.h"

#include <string.h>

static void every_size_fits_its_class(void **state)
{
    (void)state;
    small_free(small_alloc(1)); /* from now on this thread has its heap */
    for (size_t size = 1; size < 3 * SMALL_MAX; size++) {
        size_t room = small_class_size(size), before = small_in_use() + mem_in_use();
        uint8_t *block = small_alloc(size);
        assert_true(room >= size && room <= (size <= 256 ? size + 7 : size <= SMALL_MAX ? size + 15 : size + size / 4));
        assert_int_equal((uintptr_t)block % 8, 0);
        memset(block, 0xee, room);
        assert_true(small_in_use() + mem_in_use() >= before + room);
        if (small_in_use()) /* not where sanitizers watch */
            assert_int_equal(small_in_use() + mem_in_use(), before + room);
        small_free(block);
        assert_int_equal(small_in_use() + mem_in_use(), before);
    }
    small_free(NULL);
}

#define THREADS 230u
#define BLOCKS 40u

struct player {
    struct player *neighbour;
    uint8_t *blocks[BLOCKS];
    unsigned number;
    os_thread thread;
};

static struct player players[THREADS];
static struct os_mutex lock;
static struct os_cond changed;
static unsigned arrived, wanted;

/* All have come so far. */
static void meet(void)
{
    os_mutex_lock(&lock);
    unsigned round = arrived / wanted;
    if (++arrived % wanted == 0)
        os_cond_broadcast(&changed);
    while (arrived / wanted == round)
        os_cond_wait(&changed, &lock);
    os_mutex_unlock(&lock);
}

static size_t size_of(const struct player *p, unsigned i) { return 1 + (p->number * 31 + i * 17) % (SMALL_MAX + 20); }

static void *play(void *context)
{
    struct player *p = context, *other = p->neighbour;
    for (unsigned i = 0; i < BLOCKS; i++) {
        p->blocks[i] = small_alloc(size_of(p, i));
        memset(p->blocks[i], (int)(p->number + i), size_of(p, i));
    }
    uint64_t used, held;
    small_stats(&used, &held); /* while others come and take heaps */
    meet();
    for (unsigned i = 0; i < BLOCKS; i++) {
        for (size_t at = 0; at < size_of(other, i); at++)
            hf_assert(other->blocks[i][at] == (uint8_t)(other->number + i));
        small_free(other->blocks[i]);
        other->blocks[i] = NULL;
    }
    meet(); /* what came from others is here */
    (void)small_tend(1000);
    return NULL;
}

static void threads_free_what_others_took(void **state)
{
    (void)state;
    os_mutex_init(&lock);
    os_cond_init(&changed);
    uint64_t used, used_before, held;
    small_stats(&used_before, &held);
    size_t before = small_in_use();
    for (unsigned generation = 0; generation < 2; generation++) {
        arrived = 0;
        wanted = THREADS;
        for (unsigned i = 0; i < THREADS; i++) {
            players[i].number = i;
            players[i].neighbour = &players[(i + 1) % THREADS];
        }
        for (unsigned i = 0; i < THREADS; i++)
            players[i].thread = thread_start("player", play, &players[i]);
        for (unsigned i = 0; i < THREADS; i++)
            thread_join(players[i].thread);
        small_stats(&used, &held);
        assert_int_equal(used, used_before);
        assert_int_equal(small_in_use(), before);
    }
    os_cond_release(&changed);
    os_mutex_release(&lock);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_size_fits_its_class),
        cmocka_unit_test(threads_free_what_others_took),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
