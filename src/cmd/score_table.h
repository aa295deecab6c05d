/* score_table.h -- members with a score each, while the inputs of a union are gone through.
 *
 * A sorted set would move a member with each input that holds it; here its score only changes. An open table of a keyed hash.
 * Memory: the arena's. A member's bytes stay where they are, but for short ones, which may be digits that the next member overwrites:
 * those are copied. Owner: one command.
 */
#ifndef HF_CMD_SCORE_TABLE_H
#define HF_CMD_SCORE_TABLE_H

#include "base/arena.h"
#include "types/zset.h"

struct call;

struct score_table {
    struct arena *arena;
    struct call *call;    /* asked while the table grows (call_goes_on); NULL: none is */
    struct scored *items; /* in the order in which they came */
    uint64_t *hashes;     /* of each */
    uint32_t *places;     /* index + 1 of an item, 0: free; a power of two, at most half full */
    size_t count, capacity;
};

/* The member's score; *is_new: it was absent, and its score is for the caller to set. Ends with the next call. */
double *score_table_at(struct score_table *t, bytes member, bool *is_new);

#endif
