/* sets.h -- typed operations on set keys. Keys must be locked by the txn. */
#ifndef HF_ENGINE_SETS_H
#define HF_ENGINE_SETS_H

#include "engine/txn.h"
#include "types/set.h"

/* *out: borrowed, NULL when the key is absent; read with types/set.h. */
status sets_view(struct txn *t, const struct key *k, const struct set **out) HF_CHECK;
/* *added: how many were new; 0: nothing has changed. */
status sets_add(struct txn *t, const struct key *k, const bytes *members, size_t count, uint64_t *added) HF_CHECK;
/* *removed: how many were there. *emptied: the last one went, and the key with it. */
status sets_remove(struct txn *t, const struct key *k, const bytes *members, size_t count, uint64_t *removed,
                   bool *emptied) HF_CHECK;
/* Puts a whole set under the key, replacing what is there, without deadline. Takes the set; an empty one just removes the
 * key. *removed: a key was there and is gone. */
status sets_store(struct txn *t, const struct key *k, struct set *s, bool *removed) HF_CHECK;

#endif
