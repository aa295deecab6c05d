/* hash.h -- field to value map of one key: packed while small, a dict when large.
 *
 * Packed ("listpack") while it has at most hash_limits.packed_entries_max fields and
 * every field and value has at most packed_value_max bytes; then a dict
 * ("hashtable"), never back. Once a field has had a deadline, packed calls itself "listpackex". Owner: the entry; access under the stripe's lock.
 * Views returned end with the next change of this hash.
 */
#ifndef HF_TYPES_HASH_H
#define HF_TYPES_HASH_H

#include "types/type.h"

struct hash;

extern struct hash_limits { uint32_t packed_entries_max, packed_value_max; } hash_limits; /* 512, 64 as in Redis; set at start and by CONFIG SET */
extern const struct type_ops hash_ops;

struct hash *hash_new(void);
void hash_free(struct hash *h);
size_t hash_count(const struct hash *h);
bool hash_get(const struct hash *h, bytes field, bytes *value);
bool hash_set(struct hash *h, bytes field, bytes value); /* true: the field is new */
bool hash_remove(struct hash *h, bytes field);           /* false: was absent */

/* Deadlines of fields, unix ms. The hash looks at no clock: whoever finds it removes first what is due (engine/hashes.h). */
uint64_t hash_deadline(const struct hash *h);            /* the earliest; 0: none */
uint64_t hash_field_deadline(const struct hash *h, bytes field); /* 0: none, or no such field */
size_t hash_due_count(const struct hash *h, uint64_t now_ms);
void hash_due_each(const struct hash *h, uint64_t now_ms, void (*each)(void *context, bytes field), void *context);

/* The changes of a hash: bytes for object_change (docs/format/values.md). */
void hash_change_set(struct buf *out, bytes field, bytes value);
void hash_change_remove(struct buf *out, bytes field);
void hash_change_update(struct buf *out, bytes field, bytes value); /* of a field that is there; its deadline stays, that of SET goes */
void hash_change_deadline(struct buf *out, uint64_t ms);            /* 0: none; then, for one or more fields that are there: */
void hash_change_field(struct buf *out, bytes field);
void hash_change_expire(struct buf *out, uint64_t now_ms);          /* at least one field is due */

/* Walks all fields in a stable order. Start with position 0; false at the end. No
 * change to the hash in between. */
bool hash_next(const struct hash *h, uint64_t *position, bytes *field, bytes *value);
/* One step of HSCAN: calls each for at least one and about count fields; returns the
 * next cursor, 0 at the end. A field present throughout appears at least once. */
uint64_t hash_scan(const struct hash *h, uint64_t cursor, size_t count,
                   void (*each)(void *context, bytes field, bytes value), void *context);
bool hash_random(const struct hash *h, uint64_t random, bytes *field, bytes *value);

#endif
