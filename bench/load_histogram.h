/* load_histogram.h -- latencies in nanoseconds, counted in log-linear classes.
 *
 * Each power of two is cut into 128 classes, so a percentile is at most 0.8 % above the truth at any
 * scale from 1 ns to 18 minutes (longer ones count as that), in 32 KiB. The idea is that of HdrHistogram.
 * Threads: one histogram a thread, merged after they have ended.
 */
#ifndef HF_BENCH_LOAD_HISTOGRAM_H
#define HF_BENCH_LOAD_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_CUT_BITS 7u
#define HISTOGRAM_VALUE_MAX (((uint64_t)1 << 40) - 1)
#define HISTOGRAM_CLASSES ((40u - HISTOGRAM_CUT_BITS + 1) << HISTOGRAM_CUT_BITS)

struct histogram {
    uint64_t classes[HISTOGRAM_CLASSES];
    uint64_t count, max, sum;
};

static inline unsigned histogram_class(uint64_t value)
{
    if (value < 2u << HISTOGRAM_CUT_BITS)
        return (unsigned)value;
    unsigned shift = 63 - HISTOGRAM_CUT_BITS - (unsigned)__builtin_clzll(value);
    return (shift << HISTOGRAM_CUT_BITS) + (unsigned)(value >> shift);
}

/* The largest value of a class. */
static inline uint64_t histogram_top(unsigned number)
{
    if (number < 2u << HISTOGRAM_CUT_BITS)
        return number;
    unsigned shift = (number >> HISTOGRAM_CUT_BITS) - 1;
    uint64_t cut = number - (shift << HISTOGRAM_CUT_BITS);
    return ((cut + 1) << shift) - 1;
}

static inline void histogram_add(struct histogram *h, uint64_t value, uint64_t times)
{
    if (value > HISTOGRAM_VALUE_MAX)
        value = HISTOGRAM_VALUE_MAX;
    h->classes[histogram_class(value)] += times;
    h->count += times;
    h->sum += value * times;
    if (value > h->max)
        h->max = value;
}

static inline void histogram_merge(struct histogram *into, const struct histogram *from)
{
    for (unsigned i = 0; i < HISTOGRAM_CLASSES; i++)
        into->classes[i] += from->classes[i];
    into->count += from->count;
    into->sum += from->sum;
    if (from->max > into->max)
        into->max = from->max;
}

/* The smallest class top that at least `share` (0 to 1) of the values do not exceed; 0 when empty. */
static inline uint64_t histogram_percentile(const struct histogram *h, double share)
{
    double exact = share * (double)h->count;
    uint64_t wanted = (uint64_t)exact, seen = 0;
    if ((double)wanted < exact || wanted == 0)
        wanted++;
    for (unsigned i = 0; i < HISTOGRAM_CLASSES; i++) {
        seen += h->classes[i];
        if (seen >= wanted) {
            uint64_t top = histogram_top(i);
            return top < h->max ? top : h->max;
        }
    }
    return h->max;
}

#endif
