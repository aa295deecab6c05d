/* random.h -- repeatable random numbers: SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014).
 *
 * For choices and for spreading, not for secrets. The caller keeps the state and seeds it, from OS.random as a rule.
 */
#ifndef HF_BASE_RANDOM_H
#define HF_BASE_RANDOM_H

#include <stdint.h>

#define RANDOM_STEP UINT64_C(0x9e3779b97f4a7c15)

/* Every bit of the value reaches every bit of the result, and no two values have the same. */
static inline uint64_t random_mix(uint64_t value)
{
    value = (value ^ value >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    value = (value ^ value >> 27) * UINT64_C(0x94d049bb133111eb);
    return value ^ value >> 31;
}

static inline uint64_t random_next(uint64_t *state) { return random_mix(*state += RANDOM_STEP); }

/* 0 <= result < bound, all equally likely (to one part in 2^64 / bound). bound > 0. */
static inline uint64_t random_below(uint64_t *state, uint64_t bound)
{
    return (uint64_t)((__extension__ (unsigned __int128)random_next(state) * bound) >> 64);
}

#endif
