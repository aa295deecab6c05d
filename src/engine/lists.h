/* lists.h -- typed operations on list keys, over objects.h. Keys must be locked by the txn. */
#ifndef HF_ENGINE_LISTS_H
#define HF_ENGINE_LISTS_H

#include "engine/objects.h"
#include "types/list.h"

/* For reading. *out: borrowed, NULL when the key is absent. */
status lists_view(struct txn *t, const struct key *k, const struct list **out) HF_CHECK;
/* For changing: o->object is the struct list, NULL when absent; lists_push then makes it. */
status lists_find(struct txn *t, const struct key *k, struct object_ref *o) HF_CHECK;

/* One after the other, so the last of several at the head comes to stand first. count >= 1. */
status lists_push(struct txn *t, struct object_ref *o, enum list_end end, const bytes *values, size_t count) HF_CHECK;
/* Of a list that is there, at positions that are there: nothing to refuse. */
void lists_insert(struct txn *t, struct object_ref *o, uint64_t position, bytes value);
void lists_set(struct txn *t, struct object_ref *o, uint64_t position, bytes value);
/* Removes `head` elements at the head and `tail` at the tail, together at most all of them; none: no change.
 * The caller ends with object_close. */
void lists_cut(struct txn *t, struct object_ref *o, uint64_t head, uint64_t tail);
/* goes_on, asked for each element that is looked at, may end it. NULL: nobody is asked. */
struct list_patience { bool (*goes_on)(void *context); void *context; };
/* Removes elements that equal value: the first `most` from that end. Returns how many; 0 and nothing is removed, if p ends it.
 * The caller ends with object_close. */
uint64_t lists_remove_equal(struct txn *t, struct object_ref *o, bytes value, enum list_end from, uint64_t most, struct list_patience p);

static inline const struct list *list_of(const struct object_ref *o) { return o->object; }

#endif
