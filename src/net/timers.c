/* timers.c -- a binary heap whose items know their place, so that any of them can be taken out. */
#include "net/timers.h"

#include "base/memory.h"

static void put(struct timers *t, size_t index, struct timer *timer)
{
    t->heap[index] = timer;
    timer->index = index;
}

static void sift_up(struct timers *t, size_t index, struct timer *timer)
{
    for (; index > 1 && t->heap[index / 2]->at_us > timer->at_us; index /= 2)
        put(t, index, t->heap[index / 2]);
    put(t, index, timer);
}

static void sift_down(struct timers *t, size_t index, struct timer *timer)
{
    for (size_t child; (child = index * 2) <= t->count; index = child) {
        child += child < t->count && t->heap[child + 1]->at_us < t->heap[child]->at_us;
        if (t->heap[child]->at_us >= timer->at_us)
            break;
        put(t, index, t->heap[child]);
    }
    put(t, index, timer);
}

void timers_release(struct timers *t)
{
    mem_free(t->heap);
    *t = (struct timers){0};
}

void timer_set(struct timers *t, struct timer *timer, uint64_t at_us)
{
    timer_cancel(t, timer);
    if (t->count + 2 > t->capacity) {
        t->capacity = t->capacity ? t->capacity * 2 : 16;
        t->heap = mem_realloc(t->heap, t->capacity * sizeof(struct timer *));
    }
    timer->at_us = at_us;
    sift_up(t, ++t->count, timer);
}

void timer_cancel(struct timers *t, struct timer *timer)
{
    size_t index = timer->index;
    if (!index)
        return;
    timer->index = 0;
    struct timer *last = t->heap[t->count--];
    if (last == timer)
        return;
    if (index > 1 && t->heap[index / 2]->at_us > last->at_us)
        sift_up(t, index, last);
    else
        sift_down(t, index, last);
}

struct timer *timers_first(const struct timers *t)
{
    return t->count ? t->heap[1] : NULL;
}
