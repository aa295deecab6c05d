/* pairs.h -- the fields and values of a small hash in one block, in order of arrival.
 *
 *   u32 size | u32 count | [varint field size][field][varint value size][value] ...
 *
 * The block is as large as the class of data/small.h that its pairs need, never larger, so it does not say its size: what changes pairs
 * may move the block and returns it. NULL is no pair. Owner: the hash; views end with the next change.
 */
#ifndef HF_TYPES_PAIRS_H
#define HF_TYPES_PAIRS_H

#include "base/bytes.h"

struct pairs;

struct pair {
    bytes field, value;
    size_t start, end; /* bytes of the pair among all of them */
};

uint32_t pairs_size(const struct pairs *all); /* bytes of all */
uint32_t pairs_count(const struct pairs *all);
size_t pairs_memory(const struct pairs *all);
size_t pair_size(bytes field, bytes value); /* that this one would take */
/* The pair at an offset: 0, then each one's end; false at the end of all. */
bool pairs_at(const struct pairs *all, size_t offset, struct pair *p);
bool pairs_find(const struct pairs *all, bytes field, struct pair *p);

/* The block after it; it stays below 4 GiB. */
struct pairs *pairs_add(struct pairs *all, bytes field, bytes value); /* a field that is not there */
struct pairs *pairs_set(struct pairs *all, const struct pair *p, bytes value);
struct pairs *pairs_remove(struct pairs *all, const struct pair *p);
void pairs_free(struct pairs *all);
struct pairs *pairs_dup(const struct pairs *all);
void pairs_check(const struct pairs *all);

#endif
