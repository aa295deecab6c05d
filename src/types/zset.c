/* zset.c -- a tree by (score, member) and, when large, a dict by member.
 *
 * The tree's 64-bit order is the score's bits, turned so that they sort as the numbers do: negative numbers inverted,
 * the others with the top bit set. Equal scores are told apart by the member.
 */
#include "types/zset.h"

#include "base/memory.h"
#include "types/varint.h"

#include <math.h>

struct zset {
    struct tree tree;
    struct dict scores; /* large only; value: the score's eight bytes */
    bool large;
};

struct zset_limits zset_limits = {128, 64}; /* the defaults of Redis */

/* On disk: never renumber. */
enum { CHANGE_SET = 1, CHANGE_REMOVE = 2, CHANGE_REMOVE_RANKS = 3 };

#define SIGN_BIT (UINT64_C(1) << 63)

static uint64_t order_of(double score)
{
    uint64_t bits;
    score += 0.0; /* -0 becomes 0 */
    memcpy(&bits, &score, sizeof(bits));
    return bits & SIGN_BIT ? ~bits : bits | SIGN_BIT;
}

static double score_of(uint64_t order)
{
    uint64_t bits = order & SIGN_BIT ? order & ~SIGN_BIT : ~order;
    double score;
    memcpy(&score, &bits, sizeof(score));
    return score;
}

static struct scored scored_of(struct tree_element e)
{
    return (struct scored){e.payload, score_of(e.order)};
}

/* ---- one ---- */

struct zset *zset_new(void)
{
    struct zset *z = mem_zalloc(sizeof(*z));
    z->tree = tree_make(bytes_compare);
    return z;
}

void zset_free(struct zset *z)
{
    tree_clear(&z->tree);
    if (z->large)
        dict_clear(&z->scores);
    mem_free(z);
}

uint64_t zset_count(const struct zset *z)
{
    return tree_count(&z->tree);
}

static bool find_along(const struct zset *z, bytes member, uint64_t *rank, double *score)
{
    struct tree_cursor c;
    struct tree_element e;
    uint64_t at = 0;
    for (bool more = tree_seek(&z->tree, 0, &c, &e); more; more = tree_next(&c, &e), at++) {
        if (!bytes_equal(e.payload, member))
            continue;
        *rank = at;
        *score = score_of(e.order);
        return true;
    }
    return false;
}

bool zset_score(const struct zset *z, bytes member, double *score)
{
    uint64_t rank;
    bytes value;
    if (!z->large)
        return find_along(z, member, &rank, score);
    if (!dict_get(&z->scores, member, &value))
        return false;
    memcpy(score, value.data, sizeof(*score));
    return true;
}

bool zset_rank(const struct zset *z, bytes member, uint64_t *rank, double *score)
{
    if (!z->large)
        return find_along(z, member, rank, score);
    if (!zset_score(z, member, score))
        return false;
    bool found = tree_find(&z->tree, order_of(*score), member, rank, NULL);
    hf_assert(found);
    return true;
}

static void become_large(struct zset *z)
{
    struct tree_cursor c;
    struct tree_element e;
    z->scores = dict_make();
    z->large = true;
    for (bool more = tree_seek(&z->tree, 0, &c, &e); more; more = tree_next(&c, &e)) {
        double score = score_of(e.order);
        dict_set(&z->scores, e.payload, bytes_of(&score, sizeof(score)));
    }
}

static void fit_form(struct zset *z, bytes member)
{
    if (!z->large && (zset_count(z) > __atomic_load_n(&zset_limits.packed_entries_max, __ATOMIC_RELAXED) ||
                      member.size > __atomic_load_n(&zset_limits.packed_value_max, __ATOMIC_RELAXED)))
        become_large(z);
}

bool zset_set(struct zset *z, bytes member, double score)
{
    uint64_t place;
    double old;
    hf_assert(!isnan(score));
    score += 0.0;
    bool found = zset_rank(z, member, &place, &old);
    if (found && order_of(old) == order_of(score))
        return false;
    if (found)
        tree_remove(&z->tree, place, 1);
    tree_find(&z->tree, order_of(score), member, &place, NULL);
    tree_insert(&z->tree, place, order_of(score), member);
    if (z->large)
        dict_set(&z->scores, member, bytes_of(&score, sizeof(score)));
    else
        fit_form(z, member);
    return !found;
}

bool zset_remove(struct zset *z, bytes member)
{
    uint64_t rank;
    double score;
    if (!zset_rank(z, member, &rank, &score))
        return false;
    tree_remove(&z->tree, rank, 1);
    if (z->large)
        dict_remove(&z->scores, member);
    return true;
}

static void remove_ranks(struct zset *z, uint64_t first, uint64_t count)
{
    struct tree_cursor c;
    struct tree_element e;
    bool more = z->large && tree_seek(&z->tree, first, &c, &e);
    for (uint64_t i = 0; i < count && more; i++, more = tree_next(&c, &e))
        dict_remove(&z->scores, e.payload);
    tree_remove(&z->tree, first, count);
}

/* ---- many ---- */

struct scored zset_at(const struct zset *z, uint64_t rank)
{
    return scored_of(tree_at(&z->tree, rank));
}

uint64_t zset_below_score(const struct zset *z, double score, bool equal)
{
    uint64_t order = order_of(score);
    if (equal && order == UINT64_MAX)
        return zset_count(z);
    return tree_lower(&z->tree, order + equal);
}

uint64_t zset_below_member(const struct zset *z, bytes member, bool equal)
{
    uint64_t low = 0, high = zset_count(z);
    while (low < high) {
        uint64_t middle = (low + high) / 2;
        int order = bytes_compare(tree_at(&z->tree, middle).payload, member);
        if (order < 0 || (equal && order == 0))
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

bool zset_seek(const struct zset *z, uint64_t rank, struct zset_cursor *c, struct scored *out)
{
    struct tree_element e;
    bool found = tree_seek(&z->tree, rank, &c->tree, &e);
    if (found)
        *out = scored_of(e);
    return found;
}

bool zset_next(struct zset_cursor *c, struct scored *out)
{
    struct tree_element e;
    bool found = tree_next(&c->tree, &e);
    if (found)
        *out = scored_of(e);
    return found;
}

bool zset_previous(struct zset_cursor *c, struct scored *out)
{
    struct tree_element e;
    bool found = tree_previous(&c->tree, &e);
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
    if (z->large)
        return dict_scan(&z->scores, cursor, count, scan_member, &scan);
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
    if (!tree_clear_some(&z->tree, budget) || (z->large && !dict_clear_some(&z->scores, budget)))
        return false;
    mem_free(z);
    return true;
}

static void *ops_share(const void *object)
{
    const struct zset *z = object;
    struct zset *copy = mem_alloc(sizeof(*copy));
    *copy = (struct zset){.tree = tree_share(&z->tree), .large = z->large};
    if (z->large)
        copy->scores = dict_share(&z->scores);
    return copy;
}

static bool ops_is_empty(const void *object) { return zset_count(object) == 0; }

static size_t ops_memory(const void *object)
{
    const struct zset *z = object;
    return sizeof(*z) + tree_memory(&z->tree) + (z->large ? dict_memory(&z->scores) : 0);
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
    return ((const struct zset *)object)->large ? "skiplist" : "listpack";
}

static void ops_check(const void *object)
{
    const struct zset *z = object;
    struct zset_cursor c;
    struct scored one;
    tree_check(&z->tree);
    if (!z->large)
        return;
    dict_check(&z->scores);
    hf_assert(dict_count(&z->scores) == zset_count(z));
    for (bool more = zset_seek(z, 0, &c, &one); more; more = zset_next(&c, &one)) {
        double score;
        bool found = zset_score(z, one.member, &score);
        hf_assert(found && order_of(score) == order_of(one.score));
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
