/* times.c -- the list of all struct times, and sums over it. */
#include "cmd/times.h"

#include "base/memory.h"
#include "os/thread.h"

#include <string.h>

_Atomic bool times_on = true;

static struct spin lock; /* the list, and the zeros of the histograms */
static struct times *all;
static struct { uint64_t calls, ticks; } zero[COMMAND_IDS_MAX]; /* taken from the sums: those at the last reset */

struct times *times_new(void)
{
    struct times *t = mem_zalloc(sizeof(*t));
    spin_lock(&lock);
    t->next = all;
    all = t;
    spin_unlock(&lock);
    return t;
}

static uint64_t count_of(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

static void times_unlist(struct times *t)
{
    spin_lock(&lock);
    struct times **at = &all;
    while (*at != t)
        at = &(*at)->next;
    *at = t->next;
    for (size_t i = 0; i < COMMAND_IDS_MAX; i++) {
        zero[i].calls -= count_of(&t->counts[i].calls);
        zero[i].ticks -= count_of(&t->counts[i].ticks);
    }
    spin_unlock(&lock);
}

void times_free(struct times *t)
{
    times_unlist(t);
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

static void add_counts(size_t id, uint64_t *calls, uint64_t *ticks)
{
    for (struct times *t = all; t; t = t->next) {
        *calls += count_of(&t->counts[id].calls);
        *ticks += count_of(&t->counts[id].ticks);
    }
}

void times_counts(const struct command *row, uint64_t *calls, uint64_t *ticks)
{
    spin_lock(&lock);
    *calls = 0 - zero[row->id].calls;
    *ticks = 0 - zero[row->id].ticks;
    add_counts(row->id, calls, ticks);
    spin_unlock(&lock);
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
    for (size_t i = 0; i < COMMAND_IDS_MAX; i++) {
        zero[i].calls = zero[i].ticks = 0;
        add_counts(i, &zero[i].calls, &zero[i].ticks);
    }
    for (struct times *t = all; t; t = t->next) {
        for (size_t i = 0; i < COMMAND_IDS_MAX; i++) {
            struct histogram *h = atomic_load_explicit(&t->of_row[i], memory_order_acquire);
            if (h)
                histogram_reset(h);
        }
    }
    spin_unlock(&lock);
}
