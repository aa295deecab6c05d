/* times.h -- how often each command runs and how long it takes: INFO commandstats and latencystats, LATENCY HISTOGRAM.
 *
 * One struct times per executor, which alone adds, so that no two workers write to one cache line for it; a histogram is made when
 * its command first runs there. Read from any thread.
 */
#ifndef HF_CMD_TIMES_H
#define HF_CMD_TIMES_H

#include "base/counter.h"
#include "cmd/command.h"
#include "data/histogram.h"

#include <stdatomic.h>

struct run_count { _Atomic uint64_t calls, ticks /* os/ticks.h */; };

struct times {
    struct times *next; /* all of the process */
    struct run_count counts[COMMAND_IDS_MAX];
    _Atomic(struct histogram *) of_row[COMMAND_IDS_MAX];
};

extern _Atomic bool times_on; /* latency-tracking: on at first */

struct times *times_new(void);
void times_free(struct times *t);
struct histogram *times_make(struct times *t, const struct command *row);

/* Where the ticks of this row's calls are added; NULL: nowhere. */
static inline struct histogram *times_of(struct times *t, const struct command *row)
{
    if (!atomic_load_explicit(&times_on, memory_order_relaxed))
        return NULL;
    struct histogram *h = atomic_load_explicit(&t->of_row[row->id], memory_order_relaxed);
    return HF_LIKELY(h != NULL) ? h : times_make(t, row);
}

/* What all executors have counted since the last reset, those that are gone included. */
void times_counts(const struct command *row, uint64_t *calls, uint64_t *ticks);
/* What all executors have added since the last reset, in ticks; 0: the row has not run. */
uint64_t times_sum(const struct command *row, uint64_t sums[HISTOGRAM_BUCKETS]);
void times_reset(void);

#endif
