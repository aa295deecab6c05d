/* effect.h -- the canonical change to one key, as bytes (docs/format/effects.md).
 *
 * An effect reads no other key, no clock and no chance. The body of a log record is a
 * list of effects; an entry in a snapshot is a PUT effect's payload.
 */
#ifndef HF_DURABLE_EFFECT_H
#define HF_DURABLE_EFFECT_H

#include "base/buf.h"
#include "base/status.h"
#include "store/entry.h"

/* On disk: never renumber. */
enum effect_kind {
    EFFECT_PUT = 1,      /* the whole entry; replaces what is there */
    EFFECT_REMOVE = 2,
    EFFECT_DEADLINE = 3, /* u64 ms, 0: none */
    EFFECT_APPEND = 4,   /* bytes to a string */
    EFFECT_RANGE = 5,    /* varint offset, bytes */
    EFFECT_CHANGE = 6,   /* u8 type, bytes change: to a collection (types/type.h) */
    EFFECT_VERSION = 7,  /* u64: the version field of a string (store/entry.h) */
    EFFECT_DB_MAP = 8,   /* no key: varint next id, varint count, varint ids */
};

struct effect {
    enum effect_kind kind;
    uint32_t db_id;
    bytes key;
    bytes a;             /* PUT: payload; APPEND, RANGE, CHANGE, DB_MAP */
    uint64_t number;     /* DEADLINE, VERSION, RANGE offset, CHANGE type */
};

void effect_put(struct buf *out, uint32_t db_id, const struct entry *e);
void effect_remove(struct buf *out, uint32_t db_id, bytes key);
void effect_deadline(struct buf *out, uint32_t db_id, bytes key, uint64_t ms);
void effect_append(struct buf *out, uint32_t db_id, bytes key, bytes tail);
void effect_range(struct buf *out, uint32_t db_id, bytes key, uint64_t offset, bytes value);
void effect_change(struct buf *out, uint32_t db_id, bytes key, int type, bytes change);
void effect_version(struct buf *out, uint32_t db_id, bytes key, uint64_t version);
void effect_db_map(struct buf *out, uint32_t next_id, const uint32_t *ids, uint32_t count);

/* Takes one effect off the front of *in. Hostile bytes: HF_ERR_CORRUPT. */
status effect_next(bytes *in, struct effect *out) HF_CHECK;
status effect_db_map_read(bytes payload, uint32_t *next_id, uint32_t *ids, uint32_t capacity, uint32_t *count) HF_CHECK;

/* The PUT payload of an entry, and back. decode: an image whose value is raw bytes (ENC_BYTES),
 * an integer (ENC_INT, 8 bytes), or a decoded object (ENC_OBJECT; *object is then owned by the caller and
 * image->value is unset). Strings come back as ENC_BYTES at any size. */
void entry_encode(const struct entry *e, struct buf *out);
status entry_decode(bytes payload, struct entry_image *image, void **object) HF_CHECK;

void put_varint(struct buf *out, uint64_t value);
void put_rope(struct buf *out, const struct rope *r); /* its bytes alone */
bool take_varint(bytes *in, uint64_t *value) HF_CHECK;
bool take_bytes(bytes *in, bytes *out) HF_CHECK; /* varint size, then the bytes */

#endif
