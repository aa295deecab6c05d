/* histogram.c -- what is not needed for adding. Bucket 32 * p + f begins at 2 ** p * (1 + f / 32), rounded up. */
#include "data/histogram.h"

#include "base/memory.h"

#define FINE (UINT64_C(1) << HISTOGRAM_FINE_LOG2)

uint64_t histogram_lowest(size_t bucket)
{
    return (((FINE + bucket % FINE) << (bucket / FINE)) + FINE - 1) / FINE;
}

uint64_t histogram_highest(size_t bucket)
{
    return histogram_lowest(bucket + 1) - 1;
}

struct histogram *histogram_new(void) { return mem_zalloc(sizeof(struct histogram)); }

void histogram_free(struct histogram *h)
{
    if (h)
        mem_free(h->zero);
    mem_free(h);
}

void histogram_reset(struct histogram *h)
{
    if (!h->zero)
        h->zero = mem_alloc(HISTOGRAM_BUCKETS * sizeof(*h->zero));
    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++)
        h->zero[i] = atomic_load_explicit(&h->counts[i], memory_order_relaxed);
}

uint64_t histogram_sum(const struct histogram *h, uint64_t sums[HISTOGRAM_BUCKETS])
{
    uint64_t total = 0;
    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        uint64_t count = atomic_load_explicit(&h->counts[i], memory_order_relaxed) - (h->zero ? h->zero[i] : 0);
        sums[i] += count;
        total += count;
    }
    return total;
}

size_t histogram_percentile(const uint64_t sums[HISTOGRAM_BUCKETS], uint64_t total, double percent)
{
    uint64_t wanted = (uint64_t)(percent / 100 * (double)total + 0.5), seen = 0;
    wanted = wanted < 1 ? 1 : wanted > total ? total : wanted;
    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += sums[i];
        if (seen >= wanted)
            return i;
    }
    return HISTOGRAM_BUCKETS - 1;
}
