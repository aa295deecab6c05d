/* counter.h -- a number that one thread counts up and any others read: no locked instruction, no torn value. */
#ifndef HF_BASE_COUNTER_H
#define HF_BASE_COUNTER_H

#include <stdatomic.h>
#include <stdint.h>

/* By the counter's own thread only. amount may be negative, as its two's complement. */
static inline void counter_add(_Atomic uint64_t *counter, uint64_t amount)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + amount, memory_order_relaxed);
}

#endif
