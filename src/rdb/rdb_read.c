/* rdb_read.c -- payloads to values.
 *
 * A reader takes hostile bytes. Sets, lists, sorted sets and hashes are built as their elements are read, each of which is new. Streams,
 * and hashes of which fields have deadlines, are turned into the encoded form of our own (docs/format/values.md): its count in
 * `head`, its elements in `out`; the type's decode then checks what makes a value and builds it.
 */
#include "base/memory.h"
#include "base/wire.h"
#include "rdb/rdb.h"
#include "rdb/rdb_reader.h"
#include "types/hash.h"
#include "types/list.h"
#include "types/set.h"
#include "types/type.h"
#include "types/varint.h"
#include "types/zset.h"

#include <math.h>

enum { VERSION_MAX = 12 };

bool rdb_open(bytes payload, struct patience *p, bytes *body)
{
    if (payload.size < FOOTER)
        return false;
    *body = bytes_of(payload.data, payload.size - FOOTER);
    const uint8_t *footer = payload.data + body->size;
    return get_u16(footer) <= VERSION_MAX && get_u64(footer + 2) == rdb_crc64_of(bytes_of(payload.data, body->size + 2), p);
}
static void emit(struct reader *r, bytes text)
{
    varint_append_bytes(&r->out, text);
}

/* False: it is there already. */
static bool add_member(struct reader *r, bytes member) { return set_add(r->object, member); }
static bool add_pair(struct reader *r, bytes field, bytes value) { return hash_set(r->object, field, value); }

static bool add_scored(struct reader *r, bytes member, double score)
{
    return !isnan(score) && zset_set(r->object, member, score + 0.0); /* -0 counts as 0 */
}

static bool add_element(struct reader *r, bytes value)
{
    list_add(r->object, value);
    return true;
}

/* ---- a count, then strings ---- */

static bool read_each(struct reader *r, bool (*add)(struct reader *r, bytes text))
{
    bytes text;
    if (!rdb_take_count(&r->in, &r->count))
        return false;
    for (uint64_t i = 0; i < r->count; i++) {
        if (!rdb_read_text(r, &text) || !add(r, text))
            return false;
    }
    return true;
}

static bool read_list(struct reader *r) { return read_each(r, add_element); }
static bool read_set(struct reader *r) { return read_each(r, add_member); }

static bool read_hash(struct reader *r)
{
    bytes field, value;
    if (!rdb_take_count(&r->in, &r->count))
        return false;
    for (uint64_t i = 0; i < r->count; i++) {
        if (!rdb_read_text(r, &field) || !rdb_read_blob(r, &value) || !add_pair(r, field, value))
            return false;
    }
    return true;
}

static bool read_old_score(struct reader *r, double *score)
{
    const uint8_t *at;
    if (!rdb_take(&r->in, 1, &at))
        return false;
    if (*at >= 253) {
        *score = *at == 253 ? (double)NAN : *at == 254 ? (double)INFINITY : -(double)INFINITY;
        return true;
    }
    size_t size = *at;
    return rdb_take(&r->in, size, &at) && number_parse_double(bytes_of(at, size), score);
}

static bool read_scores(struct reader *r, bool as_text)
{
    bytes member;
    double score;
    uint64_t raw;
    if (!rdb_take_count(&r->in, &r->count))
        return false;
    for (uint64_t i = 0; i < r->count; i++) {
        if (!rdb_read_text(r, &member))
            return false;
        if (as_text ? !read_old_score(r, &score) : !rdb_read_u64(r, &raw))
            return false;
        if (!as_text)
            memcpy(&score, &raw, sizeof(score));
        if (!add_scored(r, member, score))
            return false;
    }
    return true;
}

static bool read_zset_text(struct reader *r) { return read_scores(r, true); }
static bool read_zset(struct reader *r) { return read_scores(r, false); }

/* Deadlines are written above the first one, and one more: 0 is none. The oldest form has them whole, and no first. */
static bool read_hash_times(struct reader *r, bool relative)
{
    bytes text;
    uint64_t first = 1, time;
    if ((relative && !rdb_read_u64(r, &first)) || !rdb_take_count(&r->in, &r->count))
        return false;
    buf_append_u8(&r->head, 0);
    for (uint64_t i = 0; i < r->count; i++) {
        if (!rdb_take_length(&r->in, &time) || (time && __builtin_add_overflow(time, first - 1, &time)))
            return false;
        for (int half = 0; half < 2; half++) {
            if (!rdb_read_text(r, &text))
                return false;
            emit(r, text);
        }
        varint_append(&r->out, time);
    }
    return true;
}

static bool read_hash_relative_times(struct reader *r) { return read_hash_times(r, true); }
static bool read_hash_whole_times(struct reader *r) { return read_hash_times(r, false); }

/* ---- elements in one string ---- */

/* Hands on each element of the next string. False: `each` said so, or damage. */
static bool walk(struct reader *r, enum packed_kind kind, bool (*each)(struct reader *r, const struct packed_item *item))
{
    struct packed p;
    struct packed_item item;
    bytes blob;
    enum packed_step step;
    if (!rdb_read_blob(r, &blob) || !packed_open(&p, kind, blob))
        return false;
    while ((step = packed_next(&p, &item)) == PACKED_ITEM) {
        if (!each(r, &item))
            return false;
        r->count++;
    }
    return step == PACKED_END;
}

static bool each_element(struct reader *r, const struct packed_item *item) { return add_element(r, item->text); }
static bool each_member(struct reader *r, const struct packed_item *item) { return add_member(r, item->text); }

/* The first of two waits in `text`; true: it is this one. */
static bool waits(struct reader *r, const struct packed_item *item)
{
    if (r->count % 2)
        return false;
    buf_reset(&r->text);
    buf_append_bytes(&r->text, item->text);
    return true;
}

static bool each_half(struct reader *r, const struct packed_item *item)
{
    return waits(r, item) || add_pair(r, buf_view(&r->text), item->text);
}

/* Member, score, member, score. */
static bool each_scored(struct reader *r, const struct packed_item *item)
{
    double score;
    return waits(r, item) || (number_parse_double(item->text, &score) && add_scored(r, buf_view(&r->text), score));
}

static bool each_timed(struct reader *r, const struct packed_item *item)
{
    if (r->count % 3 != 2) {
        emit(r, item->text);
        return true;
    }
    varint_append(&r->out, (uint64_t)item->number);
    return item->is_int && item->number >= 0;
}

/* Of n elements each. */
static bool divide_count(struct reader *r, uint64_t n)
{
    bool whole = r->count % n == 0;
    r->count /= n;
    return whole;
}

static bool read_list_ziplist(struct reader *r) { return walk(r, PACKED_ZIPLIST, each_element); }
static bool read_set_listpack(struct reader *r) { return walk(r, PACKED_LISTPACK, each_member); }
static bool read_zset_ziplist(struct reader *r) { return walk(r, PACKED_ZIPLIST, each_scored) && divide_count(r, 2); }
static bool read_zset_listpack(struct reader *r) { return walk(r, PACKED_LISTPACK, each_scored) && divide_count(r, 2); }
static bool read_hash_ziplist(struct reader *r) { return walk(r, PACKED_ZIPLIST, each_half) && divide_count(r, 2); }
static bool read_hash_listpack(struct reader *r) { return walk(r, PACKED_LISTPACK, each_half) && divide_count(r, 2); }

static bool read_hash_times_listpack_old(struct reader *r)
{
    buf_append_u8(&r->head, 0);
    return walk(r, PACKED_LISTPACK, each_timed) && divide_count(r, 3);
}

static bool read_hash_times_listpack(struct reader *r)
{
    uint64_t first;
    return rdb_read_u64(r, &first) && read_hash_times_listpack_old(r);
}

static bool read_list_ziplists(struct reader *r)
{
    uint64_t nodes;
    if (!rdb_take_count(&r->in, &nodes))
        return false;
    for (; nodes > 0; nodes--) {
        if (!walk(r, PACKED_ZIPLIST, each_element))
            return false;
    }
    return true;
}

static bool read_list_listpacks(struct reader *r)
{
    uint64_t nodes, kind;
    bytes text;
    if (!rdb_take_count(&r->in, &nodes))
        return false;
    for (; nodes > 0; nodes--) {
        if (!rdb_take_length(&r->in, &kind) || (kind != NODE_PLAIN && kind != NODE_PACKED))
            return false;
        if (kind == NODE_PACKED) {
            if (!walk(r, PACKED_LISTPACK, each_element))
                return false;
        } else if (!rdb_read_text(r, &text) || !add_element(r, text)) {
            return false;
        } else {
            r->count++;
        }
    }
    return true;
}

static bool read_set_ints(struct reader *r)
{
    bytes blob;
    size_t width, count;
    char digits[NUMBER_TEXT_MAX];
    if (!rdb_read_blob(r, &blob) || !packed_ints_open(blob, &width, &count))
        return false;
    for (size_t i = 0; i < count; i++) {
        int64_t value = packed_ints_at(blob, width, i);
        if ((i && value <= packed_ints_at(blob, width, i - 1)) || !add_member(r, bytes_of(digits, number_format_int(digits, value))))
            return false;
    }
    r->count = count;
    return true;
}

/* A byte with the number of fields, then size, field, size, unused bytes behind the value, value; 255 at the end. */
static bool zipmap_size(bytes *in, size_t *size)
{
    const uint8_t *at;
    if (!rdb_take(in, 1, &at) || *at == 255)
        return false;
    *size = *at;
    if (*at < 254)
        return true;
    return rdb_take(in, 4, &at) && (*size = get_u32(at), true);
}

static bool read_hash_zipmap(struct reader *r)
{
    bytes blob, in, field;
    const uint8_t *at, *unused;
    size_t size;
    if (!rdb_read_blob(r, &blob) || blob.size < 2 || blob.data[blob.size - 1] != 255)
        return false;
    for (in = bytes_of(blob.data + 1, blob.size - 2); in.size; r->count++) {
        if (!zipmap_size(&in, &size) || !rdb_take(&in, size, &at))
            return false;
        field = bytes_of(at, size);
        if (!zipmap_size(&in, &size) || !rdb_take(&in, 1, &unused) || !rdb_take(&in, size, &at) || !add_pair(r, field, bytes_of(at, size)) ||
            !rdb_take(&in, *unused, &at))
            return false;
    }
    return blob.data[0] >= 254 || blob.data[0] == r->count;
}
/* ---- all forms ---- */

static bool read_stream(struct reader *r) { return rdb_read_stream(r, FORM_STREAM); }
static bool read_stream_2(struct reader *r) { return rdb_read_stream(r, FORM_STREAM_2); }
static bool read_stream_3(struct reader *r) { return rdb_read_stream(r, FORM_STREAM_3); }

static bool read_string(struct reader *r) { return rdb_read_text(r, &r->string); }

static const struct form {
    enum type type;
    bool (*read)(struct reader *r);
    bool is_encoded; /* to our own form first */
} forms[FORM_COUNT] = {
    [FORM_STRING] = {TYPE_STRING, read_string},
    [FORM_LIST] = {TYPE_LIST, read_list},
    [FORM_SET] = {TYPE_SET, read_set},
    [FORM_ZSET_TEXT] = {TYPE_ZSET, read_zset_text},
    [FORM_HASH] = {TYPE_HASH, read_hash},
    [FORM_ZSET] = {TYPE_ZSET, read_zset},
    [FORM_HASH_ZIPMAP] = {TYPE_HASH, read_hash_zipmap},
    [FORM_LIST_ZIPLIST] = {TYPE_LIST, read_list_ziplist},
    [FORM_SET_INTS] = {TYPE_SET, read_set_ints},
    [FORM_ZSET_ZIPLIST] = {TYPE_ZSET, read_zset_ziplist},
    [FORM_HASH_ZIPLIST] = {TYPE_HASH, read_hash_ziplist},
    [FORM_LIST_ZIPLISTS] = {TYPE_LIST, read_list_ziplists},
    [FORM_STREAM] = {TYPE_STREAM, read_stream, true},
    [FORM_HASH_LISTPACK] = {TYPE_HASH, read_hash_listpack},
    [FORM_ZSET_LISTPACK] = {TYPE_ZSET, read_zset_listpack},
    [FORM_LIST_LISTPACKS] = {TYPE_LIST, read_list_listpacks},
    [FORM_STREAM_2] = {TYPE_STREAM, read_stream_2, true},
    [FORM_SET_LISTPACK] = {TYPE_SET, read_set_listpack},
    [FORM_STREAM_3] = {TYPE_STREAM, read_stream_3, true},
    [FORM_HASH_TIMES_OLD] = {TYPE_HASH, read_hash_whole_times, true},
    [FORM_HASH_TIMES_LISTPACK_OLD] = {TYPE_HASH, read_hash_times_listpack_old, true},
    [FORM_HASH_TIMES] = {TYPE_HASH, read_hash_relative_times, true},
    [FORM_HASH_TIMES_LISTPACK] = {TYPE_HASH, read_hash_times_listpack, true},
};

/* What was built, or what was emitted as a value. */
static status finish(struct reader *r, struct rdb_value *out)
{
    if (out->type == TYPE_STRING) {
        out->text = r->string;
        out->room = r->text; /* its bytes stay where they are */
        buf_init(&r->text, SIZE_MAX);
        return HF_OK;
    }
    if (r->count == 0 && out->type != TYPE_STREAM)
        return HF_ERR_CORRUPT;
    if (r->object) {
        out->object = r->object;
        r->object = NULL;
        return HF_OK;
    }
    varint_append(&r->head, r->count);
    buf_append_bytes(&r->head, buf_view(&r->out));
    return type_ops_of((int)out->type)->decode(buf_view(&r->head), &out->object);
}

status rdb_read_value(bytes body, struct patience *p, struct rdb_value *out)
{
    struct reader r = {.in = body, .patience = p};
    const uint8_t *number;
    struct buf *bufs[] = {&r.text, &r.blob, &r.head, &r.out, &out->room};
    *out = (struct rdb_value){0};
    for (size_t i = 0; i < sizeof(bufs) / sizeof(*bufs); i++)
        buf_init(bufs[i], SIZE_MAX);
    status s = HF_ERR_CORRUPT;
    if (rdb_take(&r.in, 1, &number) && *number < FORM_COUNT && forms[*number].read) {
        const struct form *form = &forms[*number];
        out->type = form->type;
        const struct type_ops *ops = type_ops_of((int)out->type);
        r.object = ops && !form->is_encoded ? ops->create() : NULL;
        if (form->read(&r) && r.in.size == 0)
            s = finish(&r, out);
        if (r.object)
            ops->free(r.object);
    }
    for (size_t i = 0; i < 4; i++)
        buf_release(bufs[i]);
    return s;
}

status rdb_read_library(bytes *body, struct buf *text)
{
    const uint8_t *form;
    struct buf room;
    bytes source;
    if (!rdb_take(body, 1, &form) || *form != FORM_LIBRARY)
        return HF_ERR_NOT_FOUND;
    buf_init(&room, SIZE_MAX);
    bool taken = rdb_take_string(body, &room, &source);
    if (taken)
        buf_append_bytes(text, source);
    buf_release(&room);
    return taken ? HF_OK : HF_ERR_CORRUPT;
}
