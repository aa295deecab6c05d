/* chance.h -- random choices of commands: SRANDMEMBER, SPOP and their kin.
 *
 * Seeded from the seam once per command, so the simulator repeats it. Nothing here is replayed: what
 * was chosen is what is logged.
 */
#ifndef HF_CMD_CHANCE_H
#define HF_CMD_CHANCE_H

#include "base/arena.h"
#include "base/random.h"
#include "os/os.h"

struct chance { uint64_t state; };

static inline struct chance chance_make(void)
{
    struct chance c;
    OS.random(&c.state, sizeof(c.state));
    return c;
}

static inline uint64_t chance_next(struct chance *c) { return random_next(&c->state); }

static inline uint64_t chance_below(struct chance *c, uint64_t bound) { return random_below(&c->state, bound); }

/* `count` distinct positions below `size`, each such choice equally likely, in no order that means anything.
 * count <= size; memory from the arena. NULL: the call, which is asked now and then (call_goes_on; NULL: none is), ends. */
struct call;
uint64_t *chance_positions(struct chance *c, struct call *call, struct arena *a, uint64_t size, uint64_t count);

#endif
