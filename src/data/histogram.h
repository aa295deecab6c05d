/* histogram.h -- how often a number was how large: 32 buckets for each power of two, so a bucket is at most 1/32 of its numbers wide.
 * Its number is the exponent and the first bits of the fraction of the number as a double: what the processor makes in one step.
 *
 * Threads: one adds; any others read, and may set the zero, under a lock of theirs.
 */
#ifndef HF_DATA_HISTOGRAM_H
#define HF_DATA_HISTOGRAM_H

#include "base/counter.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define HISTOGRAM_FINE_LOG2 5
#define HISTOGRAM_POWERS 46 /* larger numbers count as the largest */
#define HISTOGRAM_BUCKETS (HISTOGRAM_POWERS << HISTOGRAM_FINE_LOG2)

struct histogram {
    _Atomic uint64_t counts[HISTOGRAM_BUCKETS];
    uint64_t *zero; /* the counts at the last reset; NULL: none */
};

static inline size_t histogram_bucket(uint64_t value)
{
    double number = (double)(int64_t)(value | (value == 0)); /* beyond 63 bits: negative, and so the largest */
    uint64_t bits;
    memcpy(&bits, &number, sizeof(bits));
    size_t bucket = (size_t)(bits >> (52 - HISTOGRAM_FINE_LOG2)) - ((size_t)1023 << HISTOGRAM_FINE_LOG2);
    return bucket < HISTOGRAM_BUCKETS ? bucket : HISTOGRAM_BUCKETS - 1;
}

static inline void histogram_add(struct histogram *h, uint64_t value)
{
    counter_add(&h->counts[histogram_bucket(value)], 1);
}

uint64_t histogram_lowest(size_t bucket), histogram_highest(size_t bucket); /* numbers of it; some buckets below 32 have none */

struct histogram *histogram_new(void);
void histogram_free(struct histogram *h);
void histogram_reset(struct histogram *h); /* counts from here; not beside another reset or sum */
/* Adds the counts since the reset to those of `sums`; returns how many they were. */
uint64_t histogram_sum(const struct histogram *h, uint64_t sums[HISTOGRAM_BUCKETS]);
/* The bucket below or in which this part (0 to 100) of the numbers lies; total: that of all counts, not 0. */
size_t histogram_percentile(const uint64_t sums[HISTOGRAM_BUCKETS], uint64_t total, double percent);

#endif
