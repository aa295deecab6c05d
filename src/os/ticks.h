/* ticks.h -- a clock cheap enough to look at after every command: the processor's own counter.
 *
 * Its rate is learnt against OS.monotonic_us over the life of the process (os/ticks.c), so differences of more than some
 * milliseconds come out within a per mille. In simulation it is the simulated clock.
 */
#ifndef HF_OS_TICKS_H
#define HF_OS_TICKS_H

#include <stdint.h>

void ticks_start(void); /* once, early; later calls do nothing */
uint64_t ticks_to_us(uint64_t ticks);
double ticks_ns(void); /* nanoseconds of one tick */
uint64_t ticks_of_us(uint64_t us); /* at most UINT64_MAX */

#if defined(HF_SIM) || !(defined(__x86_64__) || defined(__aarch64__))
uint64_t ticks_now(void);
#elif defined(__x86_64__)
static inline uint64_t ticks_now(void) { return __builtin_ia32_rdtsc(); }
#else
static inline uint64_t ticks_now(void)
{
    uint64_t value;
    __asm__ volatile("mrs %0, cntvct_el0" : "=r"(value));
    return value;
}
#endif

#endif
