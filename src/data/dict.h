/* dict.h -- member to value map: a tree ordered by a keyed hash of the member.
 *
 * Payload of an element: varint member size, member, value. Serves large hashes, large
 * sets (empty values) and the member index of sorted sets (value: the score). Since the order is the
 * hash, a scan's cursor is a place in hash order that no change to other members moves, and a random member is
 * a random position. Owner, views, sharing: as tree.h.
 */
#ifndef HF_DATA_DICT_H
#define HF_DATA_DICT_H

#include "data/tree.h"

struct dict { struct tree tree; };

struct dict dict_make(void);
struct dict dict_share(const struct dict *d);
void dict_clear(struct dict *d);
bool dict_clear_some(struct dict *d, size_t *budget);
uint64_t dict_count(const struct dict *d);
size_t dict_memory(const struct dict *d);

bool dict_get(const struct dict *d, bytes member, bytes *value);      /* value may be NULL */
bool dict_set(struct dict *d, bytes member, bytes value);             /* true: the member is new */
bool dict_remove(struct dict *d, bytes member);                       /* false: was absent */
bool dict_at(const struct dict *d, uint64_t position, bytes *member, bytes *value); /* false: beyond the end */

uint64_t dict_hash(bytes member); /* keyed for this process: nobody can choose members that collide */

/* A walk in hash order. */
struct dict_cursor { struct tree_cursor tree; bool started; };
bool dict_next(const struct dict *d, struct dict_cursor *c, bytes *member, bytes *value); /* zeroed cursor first */

/* One step of a scan: calls each for at least one and about count members, always ending between two
 * hashes; returns the next cursor (below 2^53), 0 at the end. A member present throughout all steps is shown exactly once. */
uint64_t dict_scan(const struct dict *d, uint64_t cursor, size_t count,
                   void (*each)(void *context, bytes member, bytes value), void *context);

void dict_check(const struct dict *d);

#endif
