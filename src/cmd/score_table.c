/* score_table.c -- an open table whose places name items of an array. */
#include "cmd/score_table.h"

#include "base/assert.h"
#include "base/number.h"
#include "cmd/command.h"
#include "data/dict.h"

#define CAPACITY_MIN 64u
#define CAPACITY_MAX ((size_t)1 << 31)

/* Where the member is, or the free place where it would be. */
static uint32_t *find(const struct score_table *t, bytes member, uint64_t hash)
{
    size_t mask = t->capacity * 2 - 1;
    for (size_t i = hash & mask;; i = (i + 1) & mask) {
        uint32_t item = t->places[i];
        if (item == 0 || (t->hashes[item - 1] == hash && bytes_equal(t->items[item - 1].member, member)))
            return &t->places[i];
    }
}

#define PIECE ((size_t)64 << 10)

/* The one who asked for the growth stops behind it, if so. */
static void breathe(const struct score_table *t, size_t work)
{
    bool goes_on = !t->call || call_goes_on(t->call, work);
    (void)goes_on;
}

static void *grown(const struct score_table *t, const void *old, size_t used, size_t size)
{
    uint8_t *more = arena_alloc(t->arena, size);
    for (size_t at = 0; at < used; at += PIECE) {
        memcpy(more + at, (const uint8_t *)old + at, used - at < PIECE ? used - at : PIECE);
        breathe(t, 256);
    }
    return more;
}

static void grow(struct score_table *t)
{
    t->capacity = t->capacity ? t->capacity * 2 : CAPACITY_MIN;
    hf_assert(t->capacity <= CAPACITY_MAX);
    t->items = grown(t, t->items, t->count * sizeof(*t->items), t->capacity * sizeof(*t->items));
    t->hashes = grown(t, t->hashes, t->count * sizeof(*t->hashes), t->capacity * sizeof(*t->hashes));
    size_t size = t->capacity * 2 * sizeof(*t->places);
    t->places = arena_alloc(t->arena, size);
    for (size_t at = 0; at < size; at += PIECE) {
        memset((uint8_t *)t->places + at, 0, size - at < PIECE ? size - at : PIECE);
        breathe(t, 256);
    }
    for (size_t i = 0; i < t->count; i++) {
        *find(t, t->items[i].member, t->hashes[i]) = (uint32_t)i + 1;
        breathe(t, 1);
    }
}

double *score_table_at(struct score_table *t, bytes member, bool *is_new)
{
    uint64_t hash = dict_hash(member);
    if (t->count == t->capacity)
        grow(t);
    uint32_t *place = find(t, member, hash);
    *is_new = *place == 0;
    if (*is_new) {
        t->hashes[t->count] = hash;
        t->items[t->count].member = member.size < NUMBER_TEXT_MAX ? arena_dup(t->arena, member) : member;
        *place = (uint32_t)++t->count;
    }
    return &t->items[*place - 1].score;
}
