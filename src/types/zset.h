/* zset.h -- members of one key, each with a score, in the order of (score, member).
 *
 * One block while small ("listpack", ranking.h); above the limits a tree in that order and a dict from member to score beside it
 * ("skiplist"). Large once, large for good. Scores are doubles, never NaN; -0 counts
 * as 0. Owner: the entry; access under the stripe's lock. Views end with the next change.
 */
#ifndef HF_TYPES_ZSET_H
#define HF_TYPES_ZSET_H

#include "data/tree.h"
#include "types/ranking.h"
#include "types/type.h"

struct zset;

#define ZSET_MEMBER_MAX (UINT32_MAX - 16u) /* bytes */

/* 128, 64 as in Redis; set at start and by CONFIG SET */
extern struct zset_limits { uint32_t packed_entries_max, packed_value_max; } zset_limits;
extern const struct type_ops zset_ops;

struct zset *zset_new(void);
void zset_free(struct zset *z);
uint64_t zset_count(const struct zset *z);
bool zset_score(const struct zset *z, bytes member, double *score);
bool zset_set(struct zset *z, bytes member, double score); /* true: the member is new */
bool zset_remove(struct zset *z, bytes member);            /* false: was absent */

/* Ranks count from 0 in ascending order. */
struct scored zset_at(const struct zset *z, uint64_t rank); /* below the count */
bool zset_rank(const struct zset *z, bytes member, uint64_t *rank, double *score);
/* How many have a score below this one; with `equal` also those of just this score. */
uint64_t zset_below_score(const struct zset *z, double score, bool equal);
/* How many members are below this one in memcmp order; with `equal` also the member itself. All scores are equal. */
uint64_t zset_below_member(const struct zset *z, bytes member, bool equal);

/* A walk from a rank, either way; false: nobody there. It ends with the next change. */
struct zset_cursor {
    bool is_small;
    union { struct ranking_cursor ranking; struct tree_cursor tree; };
};
bool zset_seek(const struct zset *z, uint64_t rank, struct zset_cursor *c, struct scored *out);
bool zset_step_large(struct tree_cursor *c, bool (*step)(struct tree_cursor *c, struct tree_element *e), struct scored *out);
static inline bool zset_next(struct zset_cursor *c, struct scored *out)
{
    return c->is_small ? ranking_next(&c->ranking, out) : zset_step_large(&c->tree, tree_next, out);
}
static inline bool zset_previous(struct zset_cursor *c, struct scored *out)
{
    return c->is_small ? ranking_previous(&c->ranking, out) : zset_step_large(&c->tree, tree_previous, out);
}
/* One step of ZSCAN: calls each for at least one and about count members; the next cursor, 0 at the end. */
uint64_t zset_scan(const struct zset *z, uint64_t cursor, size_t count,
                   void (*each)(void *context, struct scored one), void *context);

/* The changes of a sorted set: bytes for object_change (docs/format/values.md). `set` and `remove` are followed by one
 * or more members, in the way their second calls append them. */
void zset_change_set(struct buf *out);
void zset_change_scored(struct buf *out, bytes member, double score);
void zset_change_remove(struct buf *out);
void zset_change_member(struct buf *out, bytes member);
void zset_change_remove_ranks(struct buf *out, uint64_t first, uint64_t count);

#endif
