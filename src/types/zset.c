/* zset.c -- a tree by (score, member) and, when large, a dict by member.
 *
 * The tree's 64-bit order is the score's bits, turned so that they sort as the numbers do: negative numbers inverted,
 * the others with the top bit set. Equal scores are told apart by the member.
 */
#include "types/zset.h"

#include "base/memory.h"
#include "types/varint.h"

#include <math.h>

/* Two pointers: of a small sorted set, every byte beside the members counts. */
struct zset {
    struct tree_node *root; /* of the tree by (score, member) */
    struct dict *scores;    /* large only; value: the score's eight bytes */
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

/* To read; what changes it is followed by keeping its root. */
static struct tree tree_of(const struct zset *z) { return (struct tree){z->root, bytes_compare}; }

static void insert(struct zset *z, double score, bytes member)
{
    struct tree t = tree_of(z);
    tree_put(&t, order_of(score), member, member);
    z->root = t.root;
}

static void remove_range(struct zset *z, uint64_t first, uint64_t count)
{
    struct tree t = tree_of(z);
    tree_remove(&t, first, count);
    z->root = t.root;
}

/* ---- one ---- */

struct zset *zset_new(void)
{
    return mem_zalloc(sizeof(struct zset));
}

void zset_free(struct zset *z)
{
    struct tree t = tree_of(z);
    tree_clear(&t);
    if (z->scores)
        dict_clear(z->scores);
    mem_free(z->scores);
    mem_free(z);
}

uint64_t zset_count(const struct zset *z)
{
    struct tree t = tree_of(z);
    return tree_count(&t);
}

static bool find_along(const struct zset *z, bytes member, uint64_t *rank, double *score)
{
    struct tree_cursor c;
    struct tree_element e;
    struct tree t = tree_of(z);
    uint64_t at = 0;
    for (bool more = tree_seek(&t, 0, &c, &e); more; more = tree_next(&c, &e), at++) {
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
    if (!z->scores)
        return find_along(z, member, &rank, score);
    if (!dict_get(z->scores, member, &value))
        return false;
    memcpy(score, value.data, sizeof(*score));
    return true;
}

bool zset_rank(const struct zset *z, bytes member, uint64_t *rank, double *score)
{
    if (!z->scores)
        return find_along(z, member, rank, score);
    if (!zset_score(z, member, score))
        return false;
    struct tree t = tree_of(z);
    bool found = tree_find(&t, order_of(*score), member, rank, NULL);
    hf_assert(found);
    return true;
}

static void become_large(struct zset *z)
{
    struct tree_cursor c;
    struct tree_element e;
    struct tree t = tree_of(z);
    z->scores = mem_alloc(sizeof(*z->scores));
    *z->scores = dict_make();
    for (bool more = tree_seek(&t, 0, &c, &e); more; more = tree_next(&c, &e)) {
        double score = score_of(e.order);
        dict_set(z->scores, e.payload, bytes_of(&score, sizeof(score)));
    }
}

static void fit_form(struct zset *z, bytes member)
{
    if (!z->scores && (zset_count(z) > __atomic_load_n(&zset_limits.packed_entries_max, __ATOMIC_RELAXED) ||
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
        remove_range(z, place, 1);
    insert(z, score, member);
    if (z->scores)
        dict_set(z->scores, member, bytes_of(&score, sizeof(score)));
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
    remove_range(z, rank, 1);
    if (z->scores)
        dict_remove(z->scores, member);
    return true;
}

static void remove_ranks(struct zset *z, uint64_t first, uint64_t count)
{
    struct tree_cursor c;
    struct tree_element e;
    struct tree t = tree_of(z);
    bool more = z->scores && tree_seek(&t, first, &c, &e);
    for (uint64_t i = 0; i < count && more; i++, more = tree_next(&c, &e))
        dict_remove(z->scores, e.payload);
    remove_range(z, first, count);
}

/* ---- many ---- */

struct scored zset_at(const struct zset *z, uint64_t rank)
{
    struct tree t = tree_of(z);
    return scored_of(tree_at(&t, rank));
}

uint64_t zset_below_score(const struct zset *z, double score, bool equal)
{
    uint64_t order = order_of(score);
    if (equal && order == UINT64_MAX)
        return zset_count(z);
    struct tree t = tree_of(z);
    return tree_lower(&t, order + equal);
}

uint64_t zset_below_member(const struct zset *z, bytes member, bool equal)
{
    struct tree t = tree_of(z);
    uint64_t low = 0, high = tree_count(&t);
    while (low < high) {
        uint64_t middle = (low + high) / 2;
        int order = bytes_compare(tree_at(&t, middle).payload, member);
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
    struct tree t = tree_of(z);
    bool found = tree_seek(&t, rank, &c->tree, &e);
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
    if (z->scores)
        return dict_scan(z->scores, cursor, count, scan_member, &scan);
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
    struct tree t = tree_of(z);
    bool gone = tree_clear_some(&t, budget);
    z->root = t.root;
    if (!gone || (z->scores && !dict_clear_some(z->scores, budget)))
        return false;
    mem_free(z->scores);
    mem_free(z);
    return true;
}

static void *ops_share(const void *object)
{
    const struct zset *z = object;
    struct zset *copy = zset_new();
    struct tree t = tree_of(z);
    copy->root = tree_share(&t).root;
    if (z->scores) {
        copy->scores = mem_alloc(sizeof(*copy->scores));
        *copy->scores = dict_share(z->scores);
    }
    return copy;
}

static bool ops_is_empty(const void *object) { return zset_count(object) == 0; }

static size_t ops_memory(const void *object)
{
    const struct zset *z = object;
    struct tree t = tree_of(z);
    return sizeof(*z) + tree_memory(&t) + (z->scores ? sizeof(*z->scores) + dict_memory(z->scores) : 0);
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
    return ((const struct zset *)object)->scores ? "skiplist" : "listpack";
}

static void ops_check(const void *object)
{
    const struct zset *z = object;
    struct zset_cursor c;
    struct scored one;
    struct tree t = tree_of(z);
    tree_check(&t);
    if (!z->scores)
        return;
    dict_check(z->scores);
    hf_assert(dict_count(z->scores) == zset_count(z));
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
