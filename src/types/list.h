/* list.h -- elements in order, by position: a tree in sequence mode (data/tree.h) and nothing around it.
 *
 * OBJECT ENCODING says "quicklist" at any size: that is what Redis 7.0 answers for every list, and what
 * clients and Redis' own tests of that version ask for (7.2 says "listpack" below
 * list-max-listpack-size). The setting is taken, and changes nothing here: a small tree is one packed
 * leaf anyway.
 *
 * Owner: the entry; access under the stripe's lock. Views end with the next change of this list. Positions count
 * from the head, 0 to list_count - 1.
 */
#ifndef HF_TYPES_LIST_H
#define HF_TYPES_LIST_H

#include "data/tree.h"
#include "types/type.h"

struct list;

extern const struct type_ops list_ops;

enum list_end { LIST_HEAD, LIST_TAIL };

void list_add(struct list *l, bytes value); /* at the tail */
uint64_t list_count(const struct list *l);
bytes list_at(const struct list *l, uint64_t position); /* below the count */

/* A walk from a position, either way; false: no element there. It ends with the next change of the list. */
struct list_cursor { struct tree_cursor tree; };
bool list_seek(const struct list *l, uint64_t position, struct list_cursor *c, bytes *value);
bool list_next(struct list_cursor *c, bytes *value);
bool list_previous(struct list_cursor *c, bytes *value);

/* The changes of a list: bytes for object_change (docs/format/values.md). */
/* Pushes one after the other, so the last of several at the head comes to stand first. count >= 1. */
void list_change_push(struct buf *out, enum list_end end, const bytes *values, size_t count);
void list_change_insert(struct buf *out, uint64_t position, bytes value); /* position <= the count */
void list_change_set(struct buf *out, uint64_t position, bytes value);
/* Removes one run or several in one change: begin, then each run in ascending order, as
 * positions before the change; `end` is where the run before ended, 0 at first, and moves on. */
void list_change_remove_begin(struct buf *out);
void list_change_remove_run(struct buf *out, uint64_t *end, uint64_t position, uint64_t count);

#endif
