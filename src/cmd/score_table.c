/* score_table.c -- an open table whose places name items of an array. */
#include "cmd/score_table.h"

#include "base/assert.h"
#include "base/number.h"
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

static void *grown(struct arena *a, const void *old, size_t used, size_t size)
{
    void *more = arena_alloc(a, size);
    if (used)
        memcpy(more, old, used);
    return more;
}

static void grow(struct score_table *t)
{
    t->capacity = t->capacity ? t->capacity * 2 : CAPACITY_MIN;
    hf_assert(t->capacity <= CAPACITY_MAX);
    t->items = grown(t->arena, t->items, t->count * sizeof(*t->items), t->capacity * sizeof(*t->items));
    t->hashes = grown(t->arena, t->hashes, t->count * sizeof(*t->hashes), t->capacity * sizeof(*t->hashes));
    t->places = arena_alloc(t->arena, t->capacity * 2 * sizeof(*t->places));
    memset(t->places, 0, t->capacity * 2 * sizeof(*t->places));
    for (size_t i = 0; i < t->count; i++)
        *find(t, t->items[i].member, t->hashes[i]) = (uint32_t)i + 1;
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
