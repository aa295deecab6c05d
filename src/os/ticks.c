/* ticks.c -- the rate of the processor's counter, from two readings of it and of the clock, ever further apart. */
#include "os/ticks.h"

#include "os/os.h"

#include <stdatomic.h>

static _Atomic uint64_t first_ticks, first_us;

#if defined(HF_SIM) || !(defined(__x86_64__) || defined(__aarch64__))
uint64_t ticks_now(void) { return OS.monotonic_us(); }
#endif

void ticks_start(void)
{
    if (atomic_load(&first_us))
        return;
    atomic_store(&first_ticks, ticks_now());
    atomic_store(&first_us, OS.monotonic_us());
}

/* Ticks a microsecond. Right after the start there is nothing to divide by: the lowest it can be. */
static double rate(void)
{
    uint64_t ticks = ticks_now() - atomic_load(&first_ticks), us = OS.monotonic_us() - atomic_load(&first_us);
    return us > 1000 && ticks > 0 ? (double)ticks / (double)us : 1;
}

uint64_t ticks_to_us(uint64_t ticks) { return (uint64_t)((double)ticks / rate()); }

double ticks_ns(void) { return 1000 / rate(); }

uint64_t ticks_of_us(uint64_t us)
{
    double ticks = (double)us * rate();
    return ticks < 1.8e19 ? (uint64_t)ticks : UINT64_MAX;
}
