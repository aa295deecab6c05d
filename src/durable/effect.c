/* effect.c -- encoding and strict decoding. */
#include "durable/effect.h"

#include "types/type.h"

#define VARINT_MAX 10u
#define HEAD_MAX (2 + 3 * VARINT_MAX)

/* Into room that is there; returns where it goes on. */
static inline uint8_t *varint_to(uint8_t *at, uint64_t value)
{
    for (; value >= 0x80; value >>= 7)
        *at++ = (uint8_t)(value | 0x80);
    *at = (uint8_t)value;
    return at + 1;
}

static inline uint8_t *bytes_to(uint8_t *at, bytes value)
{
    if (value.size)
        memcpy(at, value.data, value.size);
    return at + value.size;
}

void put_varint(struct buf *out, uint64_t value)
{
    buf_reserve(out, VARINT_MAX);
    out->size = (size_t)(varint_to(out->data + out->size, value) - out->data);
}

bool take_varint(bytes *in, uint64_t *value)
{
    uint64_t result = 0;
    for (unsigned i = 0; i < in->size && i < 10; i++) {
        uint8_t byte = in->data[i];
        if (i == 9 && byte > 1)
            return false;
        result |= (uint64_t)(byte & 0x7f) << (7 * i);
        if (!(byte & 0x80)) {
            if (byte == 0 && i > 0)
                return false; /* one form for each number */
            *in = bytes_of(in->data + i + 1, in->size - i - 1);
            *value = result;
            return true;
        }
    }
    return false;
}

bool take_bytes(bytes *in, bytes *out)
{
    uint64_t size;
    bytes rest = *in;
    if (!take_varint(&rest, &size) || size > rest.size)
        return false;
    *out = bytes_of(rest.data, size);
    *in = bytes_of(rest.data + size, rest.size - size);
    return true;
}

static void put_bytes(struct buf *out, bytes value)
{
    put_varint(out, value.size);
    buf_append_bytes(out, value);
}

static void begin(struct buf *out, enum effect_kind kind, uint32_t db_id, bytes key)
{
    buf_append_u8(out, (uint8_t)kind);
    put_varint(out, db_id);
    put_bytes(out, key);
}

void put_rope(struct buf *out, const struct rope *r)
{
    buf_reserve(out, r->size);
    rope_read(r, 0, r->size, out->data + out->size);
    out->size += r->size;
}

static void put_string(struct buf *out, const struct entry *e)
{
    if (entry_encoding(e) == ENC_ROPE)
        put_rope(out, entry_pointer(e));
    else
        buf_append_bytes(out, entry_inline(e));
}

/* What stands before the value. */
static bytes head_of(const struct entry *e, uint8_t room[HEAD_MAX])
{
    enum encoding encoding = entry_encoding(e) == ENC_ROPE ? ENC_BYTES : entry_encoding(e);
    uint8_t *at = room;
    *at++ = (uint8_t)(entry_type(e) | encoding << 4);
    *at++ = e->fields & (FIELD_DEADLINE | FIELD_VERSION | FIELD_FLAGS);
    if (HF_LIKELY(!room[1]))
        return bytes_of(room, 2);
    struct entry_image image = entry_read(e);
    if (image.deadline_ms)
        at = varint_to(at, image.deadline_ms);
    if (image.has_version)
        at = varint_to(at, image.version);
    if (image.has_flags)
        at = varint_to(at, image.flags);
    return bytes_of(room, (size_t)(at - room));
}

void entry_encode(const struct entry *e, struct buf *out)
{
    uint8_t room[HEAD_MAX];
    buf_append_bytes(out, head_of(e, room));
    if (entry_encoding(e) == ENC_OBJECT)
        type_ops_of((int)entry_type(e))->encode(entry_pointer(e), out);
    else
        put_string(out, e);
}

status entry_decode(bytes in, struct entry_image *image, void **object)
{
    struct entry_image result = {0};
    uint64_t flags = 0;
    void *made = NULL;
    if (in.size < 2)
        return HF_ERR_CORRUPT;
    uint8_t kind = in.data[0], fields = in.data[1];
    in = bytes_of(in.data + 2, in.size - 2);
    result.type = (enum type)(kind & 15);
    result.encoding = (enum encoding)(kind >> 4);
    if (fields & ~(FIELD_DEADLINE | FIELD_VERSION | FIELD_FLAGS))
        return HF_ERR_CORRUPT;
    if (fields & FIELD_DEADLINE && (!take_varint(&in, &result.deadline_ms) || result.deadline_ms == 0))
        return HF_ERR_CORRUPT;
    result.has_version = fields & FIELD_VERSION;
    if (result.has_version && !take_varint(&in, &result.version))
        return HF_ERR_CORRUPT;
    result.has_flags = fields & FIELD_FLAGS;
    if (result.has_flags && (!take_varint(&in, &flags) || flags > UINT32_MAX))
        return HF_ERR_CORRUPT;
    result.flags = (uint32_t)flags;
    result.value = in;
    if (result.encoding == ENC_OBJECT) {
        const struct type_ops *ops = type_ops_of((int)result.type);
        if (!ops)
            return HF_ERR_CORRUPT;
        status s = ops->decode(in, &made);
        if (s != HF_OK)
            return s;
    } else if (result.type != TYPE_STRING || result.encoding > ENC_INT ||
               (result.encoding == ENC_INT && in.size != 8)) {
        return HF_ERR_CORRUPT;
    }
    *image = result;
    *object = made;
    return HF_OK;
}

static void put_object(struct buf *out, uint32_t db_id, const struct entry *e)
{
    struct buf payload;
    begin(out, EFFECT_PUT, db_id, entry_key(e));
    buf_init(&payload, SIZE_MAX);
    entry_encode(e, &payload);
    put_bytes(out, buf_view(&payload));
    buf_release(&payload);
}

void effect_put(struct buf *out, uint32_t db_id, const struct entry *e)
{
    if (entry_encoding(e) == ENC_OBJECT) {
        put_object(out, db_id, e);
        return;
    }
    uint8_t room[HEAD_MAX]; /* the size of a string is known beforehand, so all is written in one go */
    bytes key = entry_key(e), head = head_of(e, room);
    const struct rope *rope = entry_encoding(e) == ENC_ROPE ? entry_pointer(e) : NULL;
    bytes value = rope ? bytes_of(NULL, rope->size) : entry_inline(e);
    buf_reserve(out, 1 + 3 * VARINT_MAX + key.size + head.size + value.size);
    uint8_t *at = out->data + out->size;
    *at++ = EFFECT_PUT;
    at = bytes_to(varint_to(varint_to(at, db_id), key.size), key);
    at = bytes_to(varint_to(at, head.size + value.size), head);
    if (rope)
        rope_read(rope, 0, rope->size, at);
    else
        bytes_to(at, value);
    out->size = (size_t)(at + value.size - out->data);
}

void effect_remove(struct buf *out, uint32_t db_id, bytes key)
{
    begin(out, EFFECT_REMOVE, db_id, key);
}

void effect_deadline(struct buf *out, uint32_t db_id, bytes key, uint64_t ms)
{
    begin(out, EFFECT_DEADLINE, db_id, key);
    put_varint(out, ms);
}

void effect_append(struct buf *out, uint32_t db_id, bytes key, bytes tail)
{
    begin(out, EFFECT_APPEND, db_id, key);
    put_bytes(out, tail);
}

void effect_range(struct buf *out, uint32_t db_id, bytes key, uint64_t offset, bytes value)
{
    begin(out, EFFECT_RANGE, db_id, key);
    put_varint(out, offset);
    put_bytes(out, value);
}

void effect_change(struct buf *out, uint32_t db_id, bytes key, int type, bytes change)
{
    begin(out, EFFECT_CHANGE, db_id, key);
    buf_append_u8(out, (uint8_t)type);
    put_bytes(out, change);
}

void effect_version(struct buf *out, uint32_t db_id, bytes key, uint64_t version)
{
    begin(out, EFFECT_VERSION, db_id, key);
    put_varint(out, version);
}

void effect_db_map(struct buf *out, uint32_t next_id, const uint32_t *ids, uint32_t count)
{
    uint8_t room[16 + 5 * 1024];
    struct buf map = {.data = room, .capacity = sizeof(room), .size_max = sizeof(room)};
    put_varint(&map, next_id);
    put_varint(&map, count);
    for (uint32_t i = 0; i < count; i++)
        put_varint(&map, ids[i]);
    begin(out, EFFECT_DB_MAP, 0, BYTES(""));
    put_bytes(out, buf_view(&map));
}

status effect_next(bytes *in, struct effect *out)
{
    struct effect e = {0};
    bytes rest = *in;
    uint64_t db_id;
    bool ok;
    if (rest.size == 0)
        return HF_ERR_CORRUPT;
    e.kind = (enum effect_kind)rest.data[0];
    rest = bytes_of(rest.data + 1, rest.size - 1);
    if (!take_varint(&rest, &db_id) || db_id > UINT32_MAX || !take_bytes(&rest, &e.key))
        return HF_ERR_CORRUPT;
    e.db_id = (uint32_t)db_id;
    switch (e.kind) {
    case EFFECT_REMOVE:
        ok = true;
        break;
    case EFFECT_DEADLINE:
    case EFFECT_VERSION:
        ok = take_varint(&rest, &e.number);
        break;
    case EFFECT_PUT:
    case EFFECT_APPEND:
        ok = take_bytes(&rest, &e.a);
        break;
    case EFFECT_DB_MAP:
        ok = db_id == 0 && e.key.size == 0 && take_bytes(&rest, &e.a);
        break;
    case EFFECT_RANGE:
        ok = take_varint(&rest, &e.number) && take_bytes(&rest, &e.a);
        break;
    case EFFECT_CHANGE:
        ok = rest.size > 0 && type_ops_of(rest.data[0]);
        if (ok) {
            e.number = rest.data[0];
            rest = bytes_of(rest.data + 1, rest.size - 1);
            ok = take_bytes(&rest, &e.a);
        }
        break;
    default:
        ok = false;
    }
    if (!ok)
        return HF_ERR_CORRUPT;
    *in = rest;
    *out = e;
    return HF_OK;
}

status effect_db_map_read(bytes payload, uint32_t *next_id, uint32_t *ids, uint32_t capacity, uint32_t *count)
{
    uint64_t next, total, id;
    if (!take_varint(&payload, &next) || next > UINT32_MAX || !take_varint(&payload, &total) || total > capacity)
        return HF_ERR_CORRUPT;
    for (uint64_t i = 0; i < total; i++) {
        if (!take_varint(&payload, &id) || id >= next)
            return HF_ERR_CORRUPT;
        ids[i] = (uint32_t)id;
    }
    if (payload.size)
        return HF_ERR_CORRUPT;
    *next_id = (uint32_t)next;
    *count = (uint32_t)total;
    return HF_OK;
}
