/* hashes.h -- typed operations on hash keys. Keys must be locked by the txn. */
#ifndef HF_ENGINE_HASHES_H
#define HF_ENGINE_HASHES_H

#include "engine/txn.h"
#include "types/hash.h"

/* *out: borrowed, NULL when the key is absent; read with types/hash.h. */
status hashes_view(struct txn *t, const struct key *k, const struct hash **out) HF_CHECK;
status hashes_set(struct txn *t, const struct key *k, bytes field, bytes value, bool *is_new) HF_CHECK;
/* The last field's removal removes the key. */
status hashes_remove(struct txn *t, const struct key *k, bytes field, bool *removed) HF_CHECK;
status hashes_incr_by(struct txn *t, const struct key *k, bytes field, int64_t delta, int64_t *result) HF_CHECK;
status hashes_incr_float(struct txn *t, const struct key *k, bytes field, long double delta, bytes *result) HF_CHECK;

#endif
