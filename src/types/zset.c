/* zset.c -- two forms of one order.
 *
 * Small: one block of members and scores (ranking.h). Large: a tree by (score, member), whose 64-bit order is that of the score (score.h),
 * equal ones told apart by the member; and a dict by member.
 *
 * A sorted set is one word that says which: of a small one, every byte beside the members counts.
 *
 *   0 --> nothing yet    word --> struct ranking    word + LARGE --> struct large
 */
#include "types/zset.h"

#include "base/memory.h"
#include "data/dict.h"
#include "types/score.h"
#include "types/varint.h"

#include <math.h>

enum { LARGE = 1 };

struct zset { uintptr_t word; };

struct large {
    struct tree order;
    struct dict scores; /* value: the score's eight bytes */
    bool above_limits;  /* else it is just more bytes than a block has: still "listpack" */
};

static bool is_large(const struct zset *z) { return (z->word & LARGE) != 0; }
static struct large *large_of(const struct zset *z) { return (struct large *)(z->word - LARGE); }
static struct ranking *ranking_of(const struct zset *z) { return (struct ranking *)z->word; } /* NULL: nobody */

struct zset_limits zset_limits = {128, 64}; /* the defaults of Redis */

/* On disk: never renumber. */
enum { CHANGE_SET = 1, CHANGE_REMOVE = 2, CHANGE_REMOVE_RANKS = 3 };

static struct scored scored_of(struct tree_element e)
{
    return (struct scored){e.payload, score_of_order(e.order)};
}

/* ---- one ---- */

struct zset *zset_new(void)
{
    return mem_zalloc(sizeof(struct zset));
}

static void free_large(struct large *l)
{
    tree_clear(&l->order);
    dict_clear(&l->scores);
    mem_free(l);
}

void zset_free(struct zset *z)
{
    if (is_large(z))
        free_large(large_of(z));
    else
        ranking_free(ranking_of(z));
    mem_free(z);
}

uint64_t zset_count(const struct zset *z)
{
    return is_large(z) ? tree_count(&large_of(z)->order) : ranking_count(ranking_of(z));
}

bool zset_score(const struct zset *z, bytes member, double *score)
{
    struct ranking_place place;
    bytes value;
    if (!is_large(z))
        return ranking_find(ranking_of(z), member, &place, score);
    if (!dict_get(&large_of(z)->scores, member, &value))
        return false;
    memcpy(score, value.data, sizeof(*score));
    return true;
}

bool zset_rank(const struct zset *z, bytes member, uint64_t *rank, double *score)
{
    struct ranking_place place;
    bool found = is_large(z) ? zset_score(z, member, score) : ranking_find(ranking_of(z), member, &place, score);
    if (found && is_large(z)) {
        bool is_there = tree_find(&large_of(z)->order, score_order(*score), member, rank, NULL);
        hf_assert(is_there);
    } else if (found) {
        *rank = place.index;
    }
    return found;
}

static bool is_above_limits(uint64_t count, bytes member)
{
    return count > __atomic_load_n(&zset_limits.packed_entries_max, __ATOMIC_RELAXED) ||
           member.size > __atomic_load_n(&zset_limits.packed_value_max, __ATOMIC_RELAXED);
}

static void insert(struct large *l, struct scored one)
{
    tree_put(&l->order, score_order(one.score), one.member, one.member);
    dict_set(&l->scores, one.member, bytes_of(&one.score, sizeof(one.score)));
}

static void become_large(struct zset *z)
{
    struct ranking_cursor c;
    struct scored one;
    struct large *l = mem_alloc(sizeof(*l));
    *l = (struct large){tree_make(bytes_compare), dict_make(), false};
    for (bool more = ranking_seek(ranking_of(z), 0, &c, &one); more; more = ranking_next(&c, &one))
        insert(l, one);
    ranking_free(ranking_of(z));
    z->word = (uintptr_t)l + LARGE;
}

/* False: it has to be large first. */
static bool try_set_small(struct zset *z, struct scored one, bool *is_new)
{
    struct ranking_place place;
    double old;
    struct ranking *r = ranking_of(z), *fresh;
    *is_new = !ranking_find(r, one.member, &place, &old);
    if (!*is_new && old == one.score)
        return true;
    if (*is_new && is_above_limits(ranking_count(r) + 1u, one.member))
        return false;
    fresh = *is_new ? ranking_try_add(r, one) : ranking_try_move(r, place, one);
    if (fresh)
        z->word = (uintptr_t)fresh;
    return fresh != NULL;
}

static bool set_large(struct large *l, struct scored one)
{
    bytes value;
    double old;
    bool found = dict_get(&l->scores, one.member, &value);
    if (found) {
        uint64_t rank;
        memcpy(&old, value.data, sizeof(old));
        if (old == one.score)
            return false;
        bool is_there = tree_find(&l->order, score_order(old), one.member, &rank, NULL);
        hf_assert(is_there);
        tree_remove(&l->order, rank, 1);
    }
    insert(l, one);
    if (!found && !l->above_limits)
        l->above_limits = is_above_limits(tree_count(&l->order), one.member);
    return !found;
}

bool zset_set(struct zset *z, bytes member, double score)
{
    struct scored one = {member, score + 0.0};
    bool is_new;
    hf_assert(!isnan(score));
    if (!is_large(z)) {
        if (try_set_small(z, one, &is_new))
            return is_new;
        become_large(z);
    }
    return set_large(large_of(z), one);
}

static void remove_ranks(struct zset *z, uint64_t first, uint64_t count)
{
    struct tree_cursor c;
    struct tree_element e;
    if (!is_large(z)) {
        z->word = (uintptr_t)ranking_remove(ranking_of(z), (unsigned)first, (unsigned)count);
        return;
    }
    struct large *l = large_of(z);
    bool more = tree_seek(&l->order, first, &c, &e);
    for (uint64_t i = 0; i < count && more; i++, more = tree_next(&c, &e))
        dict_remove(&l->scores, e.payload);
    tree_remove(&l->order, first, count);
}

bool zset_remove(struct zset *z, bytes member)
{
    uint64_t rank;
    double score;
    bool found = zset_rank(z, member, &rank, &score);
    if (found)
        remove_ranks(z, rank, 1);
    return found;
}

/* ---- many ---- */

struct scored zset_at(const struct zset *z, uint64_t rank)
{
    struct ranking_cursor c;
    struct scored one;
    if (is_large(z))
        return scored_of(tree_at(&large_of(z)->order, rank));
    bool found = ranking_seek(ranking_of(z), rank, &c, &one);
    hf_assert(found);
    return one;
}

uint64_t zset_below_score(const struct zset *z, double score, bool equal)
{
    if (!is_large(z))
        return ranking_below_score(ranking_of(z), score, equal);
    uint64_t order = score_order(score);
    if (equal && order == UINT64_MAX)
        return zset_count(z);
    return tree_lower(&large_of(z)->order, order + equal);
}

static bool is_below(bytes member, bytes other, bool equal)
{
    int order = bytes_compare(member, other);
    return order < 0 || (equal && order == 0);
}

uint64_t zset_below_member(const struct zset *z, bytes member, bool equal)
{
    struct ranking_cursor c;
    struct scored one;
    uint64_t low = 0, high = zset_count(z);
    if (!is_large(z)) {
        for (bool more = ranking_seek(ranking_of(z), 0, &c, &one); more && is_below(one.member, member, equal); low++)
            more = ranking_next(&c, &one);
        return low;
    }
    while (low < high) {
        uint64_t middle = (low + high) / 2;
        if (is_below(tree_at(&large_of(z)->order, middle).payload, member, equal))
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

bool zset_seek(const struct zset *z, uint64_t rank, struct zset_cursor *c, struct scored *out)
{
    struct tree_element e;
    c->is_small = !is_large(z);
    if (c->is_small)
        return ranking_seek(ranking_of(z), rank, &c->ranking, out);
    bool found = tree_seek(&large_of(z)->order, rank, &c->tree, &e);
    if (found)
        *out = scored_of(e);
    return found;
}

bool zset_step_large(struct tree_cursor *c, bool (*step)(struct tree_cursor *c, struct tree_element *e), struct scored *out)
{
    struct tree_element e;
    bool found = step(c, &e);
    if (found)
        *out = scored_of(e);
    return found;
}

struct scan { void (*each)(void *context, struct scored one); void *context; };

static void scan_member(void *context, bytes member, bytes value)
{
    struct scan *scan = context;
    struct scored one = {.member = member};
    memcpy(&one.score, value.data, sizeof(one.score));
    scan->each(scan->context, one);
}

uint64_t zset_scan(const struct zset *z, uint64_t cursor, size_t count,
                   void (*each)(void *context, struct scored one), void *context)
{
    struct scan scan = {each, context};
    struct zset_cursor c;
    struct scored one;
    if (is_large(z))
        return dict_scan(&large_of(z)->scores, cursor, count, scan_member, &scan);
    for (bool more = zset_seek(z, 0, &c, &one); more; more = zset_next(&c, &one)) /* small: all at once */
        each(context, one);
    return 0;
}

/* ---- changes ---- */

void zset_change_set(struct buf *out) { buf_append_u8(out, CHANGE_SET); }

void zset_change_scored(struct buf *out, bytes member, double score)
{
    buf_append(out, &score, sizeof(score));
    varint_append_bytes(out, member);
}

void zset_change_remove(struct buf *out) { buf_append_u8(out, CHANGE_REMOVE); }
void zset_change_member(struct buf *out, bytes member) { varint_append_bytes(out, member); }

void zset_change_remove_ranks(struct buf *out, uint64_t first, uint64_t count)
{
    buf_append_u8(out, CHANGE_REMOVE_RANKS);
    varint_append(out, first);
    varint_append(out, count);
}

HF_CHECK static bool take_scored(bytes *in, struct scored *out)
{
    bytes rest = *in;
    if (rest.size < sizeof(out->score))
        return false;
    memcpy(&out->score, rest.data, sizeof(out->score));
    rest = bytes_of(rest.data + sizeof(out->score), rest.size - sizeof(out->score));
    if (isnan(out->score) || !varint_try_take_bytes(&rest, &out->member) || out->member.size > ZSET_MEMBER_MAX)
        return false;
    *in = rest;
    return true;
}

static status apply_set(struct zset *z, bytes in)
{
    struct scored one;
    bytes rest = in;
    if (in.size == 0)
        return HF_ERR_CORRUPT;
    while (rest.size) {
        if (!take_scored(&rest, &one))
            return HF_ERR_CORRUPT;
    }
    while (in.size && take_scored(&in, &one))
        zset_set(z, one.member, one.score);
    return HF_OK;
}

static status apply_remove(struct zset *z, bytes in)
{
    bytes member, rest = in;
    double score;
    if (in.size == 0)
        return HF_ERR_CORRUPT;
    while (rest.size) {
        if (!varint_try_take_bytes(&rest, &member) || !zset_score(z, member, &score))
            return HF_ERR_CORRUPT;
    }
    while (in.size && varint_try_take_bytes(&in, &member))
        zset_remove(z, member);
    return HF_OK;
}

static status apply_remove_ranks(struct zset *z, bytes in)
{
    uint64_t first, count;
    if (!varint_try_take(&in, &first) || !varint_try_take(&in, &count) || in.size || count == 0 ||
        first > zset_count(z) || count > zset_count(z) - first)
        return HF_ERR_CORRUPT;
    remove_ranks(z, first, count);
    return HF_OK;
}

static status ops_apply(void *object, bytes change)
{
    if (change.size == 0)
        return HF_ERR_CORRUPT;
    bytes rest = bytes_of(change.data + 1, change.size - 1);
    switch (change.data[0]) {
    case CHANGE_SET: return apply_set(object, rest);
    case CHANGE_REMOVE: return apply_remove(object, rest);
    case CHANGE_REMOVE_RANKS: return apply_remove_ranks(object, rest);
    default: return HF_ERR_CORRUPT;
    }
}

/* ---- rows of type_ops; encoded form: docs/format/values.md ---- */

static void *ops_create(void) { return zset_new(); }
static void ops_free(void *object) { zset_free(object); }

static bool ops_free_some(void *object, size_t *budget)
{
    struct zset *z = object;
    if (is_large(z) && (!tree_clear_some(&large_of(z)->order, budget) || !dict_clear_some(&large_of(z)->scores, budget)))
        return false;
    zset_free(z);
    return true;
}

static void *ops_share(const void *object)
{
    const struct zset *z = object;
    struct zset *copy = zset_new();
    if (is_large(z)) {
        struct large *l = mem_alloc(sizeof(*l));
        *l = (struct large){tree_share(&large_of(z)->order), dict_share(&large_of(z)->scores), large_of(z)->above_limits};
        copy->word = (uintptr_t)l + LARGE;
    } else {
        copy->word = (uintptr_t)ranking_dup(ranking_of(z));
    }
    return copy;
}

static bool ops_is_empty(const void *object) { return zset_count(object) == 0; }

static size_t ops_memory(const void *object)
{
    const struct zset *z = object;
    if (!is_large(z))
        return sizeof(*z) + ranking_memory(ranking_of(z));
    const struct large *l = large_of(z);
    return sizeof(*z) + sizeof(*l) + tree_memory(&l->order) + dict_memory(&l->scores);
}

static void ops_encode(const void *object, struct buf *out)
{
    struct zset_cursor c;
    struct scored one;
    varint_append(out, zset_count(object));
    for (bool more = zset_seek(object, 0, &c, &one); more; more = zset_next(&c, &one))
        zset_change_scored(out, one.member, one.score);
}

static status ops_decode(bytes in, void **object)
{
    uint64_t count;
    struct scored one;
    if (!varint_try_take(&in, &count) || count == 0 || count > in.size / 9)
        return HF_ERR_CORRUPT;
    struct zset *z = zset_new();
    for (; count > 0; count--) {
        if (!take_scored(&in, &one) || !zset_set(z, one.member, one.score))
            break;
    }
    if (count || in.size) {
        zset_free(z);
        return HF_ERR_CORRUPT;
    }
    *object = z;
    return HF_OK;
}

static const char *ops_encoding(const void *object)
{
    const struct zset *z = object;
    return is_large(z) && large_of(z)->above_limits ? "skiplist" : "listpack";
}

static void ops_check(const void *object)
{
    const struct zset *z = object;
    struct tree_cursor c;
    struct tree_element e;
    if (!is_large(z)) {
        ranking_check(ranking_of(z));
        return;
    }
    const struct large *l = large_of(z);
    tree_check(&l->order);
    dict_check(&l->scores);
    hf_assert(dict_count(&l->scores) == tree_count(&l->order));
    for (bool more = tree_seek(&l->order, 0, &c, &e); more; more = tree_next(&c, &e)) {
        double score;
        bool found = zset_score(z, e.payload, &score);
        hf_assert(found && score_order(score) == e.order);
    }
}

const struct type_ops zset_ops = {
    .name = "zset",
    .size = sizeof(struct zset),
    .create = ops_create,
    .free = ops_free,
    .free_some = ops_free_some,
    .share = ops_share,
    .apply = ops_apply,
    .is_empty = ops_is_empty,
    .memory = ops_memory,
    .encode = ops_encode,
    .decode = ops_decode,
    .encoding = ops_encoding,
    .check = ops_check,
};
