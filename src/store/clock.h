/* clock.h -- what an entry remembers of its use: 32 bits.
 *
 *   low 24   unix seconds of the last access, modulo 2^24 (194 days)
 *   high 8   how often it was used, as a logarithm: a new entry has 5, each use adds 1 with a chance that falls with
 *            the count, and every lfu-decay-time minutes without use take 1 away. Kept only while somebody asks for it
 *            (an eviction policy of that kind): else a new entry's 5 stays.
 * Owner: whoever holds the lock of the entry's stripe. Not logged: a recovered entry counts as just written.
 */
#ifndef HF_STORE_CLOCK_H
#define HF_STORE_CLOCK_H

#include <stdint.h>

#define CLOCK_SECONDS 0xffffffu
#define CLOCK_USES_NEW 5u
#define CLOCK_USES_MAX 255u

static inline uint32_t clock_make(uint64_t now_ms, uint32_t uses)
{
    return ((uint32_t)(now_ms / 1000) & CLOCK_SECONDS) | uses << 24;
}

static inline uint32_t clock_new(uint64_t now_ms) { return clock_make(now_ms, CLOCK_USES_NEW); }

static inline uint32_t clock_idle_s(uint32_t clock, uint64_t now_ms)
{
    return ((uint32_t)(now_ms / 1000) - clock) & CLOCK_SECONDS;
}

/* The count as it stands now. decay_min 0: it never falls. */
static inline uint32_t clock_uses(uint32_t clock, uint64_t now_ms, uint32_t decay_min)
{
    uint64_t now_s = now_ms / 1000, minutes = now_s / 60 - (now_s - clock_idle_s(clock, now_ms)) / 60;
    uint32_t uses = clock >> 24;
    uint64_t lost = decay_min ? minutes / decay_min : 0;
    return lost < uses ? uses - (uint32_t)lost : 0;
}

/* After one more use. random: 32 fresh bits. */
static inline uint32_t clock_used(uint32_t clock, uint64_t now_ms, uint32_t decay_min, uint32_t log_factor, uint32_t random)
{
    uint32_t uses = clock_uses(clock, now_ms, decay_min), above = uses > CLOCK_USES_NEW ? uses - CLOCK_USES_NEW : 0;
    uint64_t odds = (uint64_t)above * log_factor + 1; /* one in so many */
    if (uses < CLOCK_USES_MAX && random < (UINT64_C(1) << 32) / odds)
        uses++;
    return clock_make(now_ms, uses);
}

#endif
