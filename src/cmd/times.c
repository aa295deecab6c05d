/* times.c -- the list of all struct times, and sums over it. */
#include "cmd/times.h"

#include "base/memory.h"
#include "os/thread.h"

#include <string.h>

_Atomic bool times_on = true;

static struct spin lock; /* the list, and the zeros of the histograms */
static struct times *all;

struct times *times_new(void)
{
    struct times *t = mem_zalloc(sizeof(*t));
    spin_lock(&lock);
    t->next = all;
    all = t;
    spin_unlock(&lock);
    return t;
}

void times_free(struct times *t)
{
    spin_lock(&lock);
    struct times **at = &all;
    while (*at != t)
        at = &(*at)->next;
    *at = t->next;
    spin_unlock(&lock);
    for (size_t i = 0; i < COMMAND_IDS_MAX; i++)
        histogram_free(atomic_load_explicit(&t->of_row[i], memory_order_relaxed));
    mem_free(t);
}

struct histogram *times_make(struct times *t, const struct command *row)
{
    struct histogram *h = histogram_new();
    atomic_store_explicit(&t->of_row[row->id], h, memory_order_release);
    return h;
}

uint64_t times_sum(const struct command *row, uint64_t sums[HISTOGRAM_BUCKETS])
{
    uint64_t total = 0;
    memset(sums, 0, HISTOGRAM_BUCKETS * sizeof(*sums));
    spin_lock(&lock);
    for (struct times *t = all; t; t = t->next) {
        struct histogram *h = atomic_load_explicit(&t->of_row[row->id], memory_order_acquire);
        total += h ? histogram_sum(h, sums) : 0;
    }
    spin_unlock(&lock);
    return total;
}

/* Allocates under the lock: rare, and nobody who serves commands waits for it. */
void times_reset(void)
{
    spin_lock(&lock);
    for (struct times *t = all; t; t = t->next) {
        for (size_t i = 0; i < COMMAND_IDS_MAX; i++) {
            struct histogram *h = atomic_load_explicit(&t->of_row[i], memory_order_acquire);
            if (h)
                histogram_reset(h);
        }
    }
    spin_unlock(&lock);
}
