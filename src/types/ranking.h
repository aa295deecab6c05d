/* ranking.h -- the members and scores of a small sorted set in one block, in the order of (score, member).
 *
 *   u16 count | u16 bytes of members | u8 size base | u8 size bits | u8 score bits | u8 form and base size
 *   [score base] [size of each, `size bits` wide] [score of each, `score bits` wide] [member] [member] ...
 *
 * Scores have much in common, and so have sizes: each stands as the difference to a base, in as many bits as the largest one takes. What a
 * score is a difference of depends on the form: of whole numbers, of numbers with one, two or three decimal places (as whole numbers of
 * tenths ...), or, when there is any other, of the bits of doubles. What does not fit gives the block another frame, all anew.
 *
 * A block never changes: what changes a ranking builds the next block and frees the one before. NULL is no member. Owner: the sorted
 * set; views end with the next change. Scores are never NaN; -0 is 0.
 */
#ifndef HF_TYPES_RANKING_H
#define HF_TYPES_RANKING_H

#include "base/bytes.h"

#define RANKING_SIZE_MAX 65535u /* bytes of a block */

struct ranking;

struct scored { bytes member; double score; };

/* A member in its block. */
struct ranking_place { unsigned index, start, size; };

/* A block taken apart, for walks. */
struct ranking_view {
    const uint8_t *sizes, *scores, *members;
    int64_t base;
    uint64_t size_mask, score_mask;
    unsigned count, used, size_base, size_bits, score_bits, form;
};
struct ranking_cursor {
    struct ranking_view view;
    struct ranking_place place;
};

unsigned ranking_count(const struct ranking *r);
size_t ranking_memory(const struct ranking *r);
struct ranking *ranking_dup(const struct ranking *r);
void ranking_free(struct ranking *r);
void ranking_check(const struct ranking *r);

bool ranking_find(const struct ranking *r, bytes member, struct ranking_place *place, double *score);
/* A walk from an index, either way; false: nobody is there. */
bool ranking_seek(const struct ranking *r, uint64_t index, struct ranking_cursor *c, struct scored *out);
bool ranking_next(struct ranking_cursor *c, struct scored *out);
bool ranking_previous(struct ranking_cursor *c, struct scored *out);
/* How many have a score below this one; with `equal` also those of just this score. */
unsigned ranking_below_score(const struct ranking *r, double score, bool equal);

/* The next block; NULL: it would be too large, and this one stays. */
struct ranking *ranking_try_add(struct ranking *r, struct scored one); /* a member that is not there */
struct ranking *ranking_try_move(struct ranking *r, struct ranking_place from, struct scored one); /* this one, to its new score */
struct ranking *ranking_remove(struct ranking *r, unsigned first, unsigned count); /* NULL: that was all */

#endif
