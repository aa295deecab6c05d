/* chance.c -- distinct positions by chance.
 *
 * A large part of all: selection sampling, each position is taken with the probability wanted / left. A small
 * part: positions are drawn, and drawn again when they came already, which a table of those seen tells;
 * at most one draw in eight is lost.
 */
#include "cmd/chance.h"

#include "base/assert.h"
#include "cmd/command.h"

static bool pick_sampled(struct chance *c, struct call *call, uint64_t size, uint64_t count, uint64_t *out)
{
    for (uint64_t position = 0; count > 0; position++) {
        if (call && !call_goes_on(call, 1))
            return false;
        if (chance_below(c, size - position) < count) {
            *out++ = position;
            count--;
        }
    }
    return true;
}

/* True: it was not in the table (of position + 1, 0 is free), and is now. */
static bool note(uint64_t *table, uint64_t mask, uint64_t position)
{
    uint64_t at = position * UINT64_C(0x9e3779b97f4a7c15) >> 20;
    while (table[at & mask] != 0 && table[at & mask] != position + 1)
        at++;
    bool is_new = table[at & mask] == 0;
    table[at & mask] = position + 1;
    return is_new;
}

static bool pick_drawn(struct chance *c, struct call *call, struct arena *a, uint64_t size, uint64_t count, uint64_t *out)
{
    uint64_t slots = 16;
    while (slots < count * 2)
        slots *= 2;
    uint64_t *table = arena_alloc(a, slots * sizeof(*table));
    memset(table, 0, slots * sizeof(*table));
    while (count > 0) {
        uint64_t position = chance_below(c, size);
        if (call && !call_goes_on(call, 1))
            return false;
        if (note(table, slots - 1, position)) {
            *out++ = position;
            count--;
        }
    }
    return true;
}

uint64_t *chance_positions(struct chance *c, struct call *call, struct arena *a, uint64_t size, uint64_t count)
{
    hf_assert(count <= size);
    uint64_t *out = arena_alloc(a, (count + 1) * sizeof(*out));
    bool done = count > size / 8 ? pick_sampled(c, call, size, count, out) : pick_drawn(c, call, a, size, count, out);
    return done ? out : NULL;
}
