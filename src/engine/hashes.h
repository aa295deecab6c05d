/* hashes.h -- typed operations on hash keys. Keys must be locked by the txn. */
#ifndef HF_ENGINE_HASHES_H
#define HF_ENGINE_HASHES_H

#include "engine/objects.h"
#include "types/hash.h"

/* *out: borrowed, NULL when the key is absent; read with types/hash.h. */
status hashes_view(struct txn *t, const struct key *k, const struct hash **out) HF_CHECK;
status hashes_set(struct txn *t, const struct key *k, bytes field, bytes value, bool *is_new) HF_CHECK;
/* The last field's removal removes the key. */
/* For changing: o->object is the struct hash, NULL when absent. The next two make one field's change of such a hash;
 * the caller of hashes_drop_field ends with object_close. */
status hashes_find(struct txn *t, const struct key *k, struct object_ref *o) HF_CHECK;
status hashes_set_field(struct txn *t, struct object_ref *o, bytes field, bytes value, bool keep_deadline) HF_CHECK;
void hashes_drop_field(struct txn *t, struct object_ref *o, bytes field);
/* 0: it never expires. The field is there. */
void hashes_set_deadline(struct txn *t, struct object_ref *o, bytes field, uint64_t deadline_ms);
status hashes_remove(struct txn *t, const struct key *k, bytes field, bool *removed) HF_CHECK;
/* Increments leave the field's deadline as it is; hashes_set drops it. */
status hashes_incr_by(struct txn *t, const struct key *k, bytes field, int64_t delta, int64_t *result) HF_CHECK;
status hashes_incr_float(struct txn *t, const struct key *k, bytes field, long double delta, bytes *result) HF_CHECK;

#endif
