/* chance.h -- random choices of commands: SRANDMEMBER, SPOP and their kin.
 *
 * Seeded from the seam once per command, so the simulator repeats it. Nothing here is replayed: what
 * was chosen is what is logged.
 */
#ifndef HF_CMD_CHANCE_H
#define HF_CMD_CHANCE_H

#include "base/arena.h"
#include "os/os.h"

struct chance { uint64_t state; };

static inline struct chance chance_make(void)
{
    struct chance c;
    OS.random(&c.state, sizeof(c.state));
    return c;
}

static inline uint64_t chance_next(struct chance *c) /* splitmix64 */
{
    uint64_t z = (c->state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* 0 <= result < bound, all equally likely (to one part in 2^64 / bound). bound > 0. */
static inline uint64_t chance_below(struct chance *c, uint64_t bound)
{
    return (uint64_t)((unsigned __int128)chance_next(c) * bound >> 64);
}

/* `count` distinct positions below `size`, each such choice equally likely, in no order that means anything.
 * count <= size; memory from the arena. */
uint64_t *chance_positions(struct chance *c, struct arena *a, uint64_t size, uint64_t count);

#endif
