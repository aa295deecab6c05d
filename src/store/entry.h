/* entry.h -- one key: header, optional fields, key bytes, value, in one block.
 *
 * Layout (docs/adr/0003; bytes):
 *   0 u8 kind: low 4 bits enum type, high 4 bits enum encoding
 *   1 u8 fields: FIELD_* bits            2 u8 key size   3 u8 value size (narrow)
 *   4 u32 clock: 24 bits seconds of the last access, 8 bits frequency
 *   8 [wide: u32 key size, u32 value size] [deadline 6 or 8 bytes, ms] [version 8] [client flags 4]
 *     (version: the low 62 bits a number, 0: none yet; the high two marks, engine/items.h)
 *   then key bytes, value bytes.
 * A value of encoding ENC_ROPE or ENC_OBJECT is an 8-byte pointer: to a counted
 * struct rope, or to the object of the type's type_ops.
 * Threads: an entry is touched only under the lock of its stripe.
 */
#ifndef HF_STORE_ENTRY_H
#define HF_STORE_ENTRY_H

#include "base/assert.h"
#include "base/bytes.h"
#include "base/wire.h"
#include "data/rope.h"

/* On disk: never renumber. */
enum type { TYPE_STRING = 0, TYPE_LIST = 1, TYPE_SET = 2, TYPE_ZSET = 3, TYPE_HASH = 4, TYPE_STREAM = 5, TYPE_COUNT };
enum encoding { ENC_BYTES = 0, ENC_INT = 1, ENC_ROPE = 2, ENC_OBJECT = 3 };
enum { FIELD_DEADLINE = 1, FIELD_VERSION = 2, FIELD_FLAGS = 4, FIELD_WIDE = 8, FIELD_LONG_DEADLINE = 16 /* with DEADLINE: 8 bytes, beyond the year 10889 */, FIELD_PARTS = 32 /* parts of the collection may expire by themselves */, FIELD_RAW = 64 /* string grown in place: OBJECT ENCODING says raw */,
       FIELD_FETCHED = 128 /* read since its value was set, by a reader who asks for that; in memory only */ };

#define KEY_SIZE_MAX (512u << 20)
#define ENTRY_INLINE_MAX 16384 /* values above it are ropes */

struct entry {
    uint8_t kind, fields, key_size, value_size;
    uint32_t clock;
};

/* What to write into a block, or what stands in one. */
struct entry_image {
    enum type type;
    enum encoding encoding;
    uint64_t deadline_ms;  /* 0: none */
    bool has_version, has_flags, raw, has_parts, fetched;
    uint64_t version;
    uint32_t flags;
    uint32_t clock;
    bytes key, value;      /* value: the bytes in the block (8-byte pointer for BLOB and OBJECT) */
};

static inline enum type entry_type(const struct entry *e) { return (enum type)(e->kind & 15); }
static inline enum encoding entry_encoding(const struct entry *e) { return (enum encoding)(e->kind >> 4); }

/* Bytes of optional fields before the deadline, and before the key. */
static inline size_t entry_fields_size(uint8_t fields)
{
    static const uint8_t sizes[32] = {0, 6, 8, 14, 4, 10, 12, 18, 8, 14, 16, 22, 12, 18, 20, 26,
                                      0, 8, 8, 16, 4, 12, 12, 20, 8, 16, 16, 24, 12, 20, 20, 28};
    return sizes[fields & 31];
}

static inline size_t entry_key_size(const struct entry *e)
{
    return e->fields & FIELD_WIDE ? get_u32((const uint8_t *)e + 8) : e->key_size;
}

static inline size_t entry_value_size(const struct entry *e)
{
    return e->fields & FIELD_WIDE ? get_u32((const uint8_t *)e + 12) : e->value_size;
}

static inline bytes entry_key(const struct entry *e)
{
    return bytes_of((const uint8_t *)e + sizeof(*e) + entry_fields_size(e->fields), entry_key_size(e));
}

/* The value bytes as they stand in the block. */
static inline bytes entry_inline(const struct entry *e)
{
    bytes key = entry_key(e);
    return bytes_of(key.data + key.size, entry_value_size(e));
}

static inline uint64_t entry_deadline(const struct entry *e)
{
    if (!(e->fields & FIELD_DEADLINE))
        return 0;
    uint64_t deadline = 0;
    const uint8_t *at = (const uint8_t *)e + 8 + (e->fields & FIELD_WIDE ? 8 : 0);
    if (e->fields & FIELD_LONG_DEADLINE)
        memcpy(&deadline, at, 8);
    else
        memcpy(&deadline, at, 6);
    return deadline;
}

static inline void *entry_pointer(const struct entry *e)
{
    void *pointer;
    hf_assert(entry_encoding(e) >= ENC_ROPE);
    memcpy(&pointer, entry_inline(e).data, sizeof(pointer));
    return pointer;
}

/* In place, of an entry that has the field. */
void entry_set_version(struct entry *e, uint64_t version);
void entry_forget_version(struct entry *e); /* the slow half of entry_value_changed */
/* A string is about to be changed where it stands: its version is that of another value, and nobody has fetched the new one. */
static inline void entry_value_changed(struct entry *e)
{
    if (HF_UNLIKELY(e->fields & (FIELD_VERSION | FIELD_FETCHED)))
        entry_forget_version(e);
}

/* When the expiry wheel has to look at the entry: its deadline, or that of its first part to expire; 0: never. */
uint64_t entry_wake(const struct entry *e);

size_t entry_image_size(const struct entry_image *image);
void entry_write(struct entry *block, const struct entry_image *image); /* block: entry_image_size bytes */
/* In place; only when entry_deadline_fits: the entry has a deadline field, wide enough. ms > 0. */
void entry_set_deadline(struct entry *e, uint64_t ms);
static inline bool entry_deadline_fits(const struct entry *e, uint64_t ms)
{
    return e->fields & FIELD_DEADLINE && ((ms >> 48) != 0) == ((e->fields & FIELD_LONG_DEADLINE) != 0);
}
/* Views into the block. Inline: few callers look at every field. */
HF_INLINE struct entry_image entry_read(const struct entry *e)
{
    struct entry_image image = {.type = entry_type(e), .encoding = entry_encoding(e), .deadline_ms = entry_deadline(e),
                                .clock = e->clock, .raw = (e->fields & FIELD_RAW) != 0, .has_parts = (e->fields & FIELD_PARTS) != 0,
                                .fetched = (e->fields & FIELD_FETCHED) != 0, .key = entry_key(e), .value = entry_inline(e)};
    const uint8_t *p = (const uint8_t *)(e + 1) + (e->fields & FIELD_WIDE ? 8 : 0) + (e->fields & FIELD_DEADLINE ? e->fields & FIELD_LONG_DEADLINE ? 8 : 6 : 0);
    if (e->fields & FIELD_VERSION) {
        image.has_version = true;
        image.version = get_u64(p);
        p += 8;
    }
    if (e->fields & FIELD_FLAGS) {
        image.has_flags = true;
        image.flags = get_u32(p);
    }
    return image;
}

static inline size_t entry_size(const struct entry *e)
{
    return sizeof(*e) + entry_fields_size(e->fields) + entry_key_size(e) + entry_value_size(e);
}

#endif
