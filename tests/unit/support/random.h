/* random.h -- repeatable random numbers of a test: set random_state to the seed, then ask.
 *
 * SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014).
 */
#ifndef HF_TEST_RANDOM_H
#define HF_TEST_RANDOM_H

#include <stdint.h>

static uint64_t random_state;

static inline uint64_t next_random(void)
{
    uint64_t v = random_state += 0x9e3779b97f4a7c15u;
    v = (v ^ v >> 30) * 0xbf58476d1ce4e5b9u;
    v = (v ^ v >> 27) * 0x94d049bb133111ebu;
    return v ^ v >> 31;
}

#endif
