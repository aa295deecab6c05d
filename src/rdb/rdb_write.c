/* rdb_write.c -- values to payloads.
 *
 * One walk per type over its public header. Collections take the form "count, then strings": it is the same at
 * any size, every Redis reads it and packs it again by its own limits. A stream has no such form: each of its nodes becomes a
 * listpack, whose head names the fields of the first entry, so that entries like it write values only.
 */
#include "base/wire.h"
#include "data/rope.h"
#include "rdb/rdb.h"
#include "rdb/rdb_form.h"
#include "types/hash.h"
#include "types/list.h"
#include "types/set.h"
#include "types/stream.h"
#include "types/zset.h"

enum { VERSION = 10, VERSION_OF_FIELD_TIMES = 12 };

#define PIECE ((size_t)64 << 10)
#define PIECE_WORK 256u

/* Eight bytes a step, as in base/crc.c. */
static uint64_t table[8][256];

__attribute__((constructor)) static void table_init(void)
{
    static const uint64_t polynomial = UINT64_C(0x95ac9329ac4bc9b5); /* 0xad93d23594c935a9, bits reversed */
    for (unsigned i = 0; i < 256; i++) {
        uint64_t value = i;
        for (int bit = 0; bit < 8; bit++)
            value = value & 1 ? value >> 1 ^ polynomial : value >> 1;
        table[0][i] = value;
    }
    for (unsigned i = 0; i < 256; i++) {
        for (int k = 1; k < 8; k++)
            table[k][i] = table[0][(uint8_t)table[k - 1][i]] ^ table[k - 1][i] >> 8;
    }
}

uint64_t rdb_crc64(uint64_t crc, bytes data)
{
    const uint8_t *p = data.data, *end = p + data.size;
    for (; end - p >= 8; p += 8) {
        uint64_t next = crc ^ get_u64(p);
        crc = table[7][next & 255] ^ table[6][next >> 8 & 255] ^ table[5][next >> 16 & 255] ^ table[4][next >> 24 & 255] ^
              table[3][next >> 32 & 255] ^ table[2][next >> 40 & 255] ^ table[1][next >> 48 & 255] ^ table[0][next >> 56];
    }
    for (; p < end; p++)
        crc = table[0][(uint8_t)crc ^ *p] ^ crc >> 8;
    return crc;
}

uint64_t rdb_crc64_of(bytes data, struct patience *p)
{
    uint64_t crc = 0;
    for (size_t at = 0, size; at < data.size && patience_lasts(p, PIECE_WORK); at += size) {
        size = data.size - at < PIECE ? data.size - at : PIECE;
        crc = rdb_crc64(crc, bytes_of(data.data + at, size));
    }
    return crc;
}

static void end_payload(struct buf *out, uint16_t version, struct patience *p)
{
    buf_append(out, &version, sizeof(version));
    uint64_t crc = rdb_crc64_of(buf_view(out), p);
    buf_append(out, &crc, sizeof(crc));
}

static void put_length(struct buf *out, uint64_t length)
{
    if (length < 64) {
        buf_append_u8(out, (uint8_t)length);
    } else if (length < 16384) {
        append_big(out, LENGTH_14 << 14 | length, 2);
    } else if (length <= UINT32_MAX) {
        buf_append_u8(out, LENGTH_32);
        append_big(out, length, 4);
    } else {
        buf_append_u8(out, LENGTH_64);
        append_big(out, length, 8);
    }
}

static void put_raw(struct buf *out, bytes text)
{
    put_length(out, text.size);
    buf_append_bytes(out, text);
}

/* Short integers as such. */
static void put_string(struct buf *out, bytes text)
{
    int64_t value;
    char digits[NUMBER_TEXT_MAX];
    bool is_int = text.size > 0 && text.size <= 11 && number_parse_int(text, &value) && value == (int32_t)value &&
                  bytes_equal(text, bytes_of(digits, number_format_int(digits, value)));
    if (!is_int) {
        put_raw(out, text);
        return;
    }
    unsigned code = value == (int8_t)value ? CODED_I8 : value == (int16_t)value ? CODED_I16 : CODED_I32;
    buf_append_u8(out, (uint8_t)(LENGTH_CODED << 6 | code));
    buf_append(out, &value, (size_t)1 << code);
}

static void put_list(struct buf *out, const struct list *l, struct patience *p)
{
    struct list_cursor c;
    bytes value;
    put_length(out, list_count(l));
    for (bool more = list_seek(l, 0, &c, &value); more && patience_lasts(p, 1); more = list_next(&c, &value))
        put_string(out, value);
}

static void put_set(struct buf *out, const struct set *s, struct patience *p)
{
    struct set_cursor c = {0};
    bytes member;
    put_length(out, set_count(s));
    while (set_next(s, &c, &member) && patience_lasts(p, 1))
        put_string(out, member);
}

static void put_zset(struct buf *out, const struct zset *z, struct patience *p)
{
    struct zset_cursor c;
    struct scored one;
    put_length(out, zset_count(z));
    for (bool more = zset_seek(z, 0, &c, &one); more && patience_lasts(p, 1); more = zset_next(&c, &one)) {
        put_string(out, one.member);
        buf_append(out, &one.score, sizeof(one.score));
    }
}

static void put_hash(struct buf *out, const struct hash *h, bool times, struct patience *p)
{
    uint64_t position = 0, first = times ? hash_deadline(h) : 0;
    bytes field, value;
    if (first)
        buf_append(out, &first, sizeof(first));
    put_length(out, hash_count(h));
    while (hash_next(h, &position, &field, &value) && patience_lasts(p, 2)) {
        uint64_t deadline = first ? hash_field_deadline(h, field) : 0;
        if (first)
            put_length(out, deadline ? deadline - first + 1 : 0);
        put_string(out, field);
        put_string(out, value);
    }
}

/* ---- streams ---- */

#define NODE_WORK 128u

static void append_id(struct buf *out, struct stream_id id)
{
    append_big(out, id.ms, 8);
    append_big(out, id.seq, 8);
}

static void put_id_lengths(struct buf *out, struct stream_id id)
{
    put_length(out, id.ms);
    put_length(out, id.seq);
}

static bool same_fields(const struct stream_entry *a, const struct stream_entry *b)
{
    struct stream_pairs left = a->body, right = b->body;
    bytes field, other, value;
    if (a->pairs != b->pairs)
        return false;
    while (stream_pair_next(&left, &field, &value) && stream_pair_next(&right, &other, &value)) {
        if (!bytes_equal(field, other))
            return false;
    }
    return true;
}

static void put_entry(struct listpack *l, const struct stream_entry *head, const struct stream_entry *e)
{
    bool same = same_fields(head, e);
    struct stream_pairs body = e->body;
    bytes field, value;
    listpack_add_int(l, same ? STREAM_SAME_FIELDS : 0);
    listpack_add_int(l, (int64_t)(e->id.ms - head->id.ms));
    listpack_add_int(l, (int64_t)(e->id.seq - head->id.seq));
    if (!same)
        listpack_add_int(l, (int64_t)e->pairs);
    while (stream_pair_next(&body, &field, &value)) {
        if (!same)
            listpack_add(l, field);
        listpack_add(l, value);
    }
    listpack_add_int(l, (int64_t)(same ? e->pairs + 3 : 2 * e->pairs + 4));
}

/* The entries of one node, from the first of which the cursor stands; false: it was the last node. */
static bool put_node(struct buf *out, struct buf *scratch, struct stream_cursor *c, struct stream_entry *at)
{
    struct stream_entry head = *at, e;
    struct stream_cursor ahead = *c;
    uint64_t count = 1;
    struct stream_pairs body = head.body;
    bytes field, value;
    bool more;
    while (stream_next(&ahead, &e) && !e.begins_node)
        count++;
    buf_reset(scratch);
    append_id(scratch, head.id);
    put_raw(out, buf_view(scratch));
    buf_reset(scratch);
    struct listpack l = listpack_begin(scratch);
    listpack_add_int(&l, (int64_t)count);
    listpack_add_int(&l, 0); /* deleted */
    listpack_add_int(&l, (int64_t)head.pairs);
    while (stream_pair_next(&body, &field, &value))
        listpack_add(&l, field);
    listpack_add_int(&l, 0);
    do {
        put_entry(&l, &head, at);
        more = stream_next(c, at);
    } while (more && !at->begins_node);
    listpack_end(&l);
    put_raw(out, buf_view(scratch));
    return more;
}

static void put_consumer(struct buf *out, const struct stream *s, const struct stream_consumer *consumer)
{
    uint64_t count = stream_owned_count(s, consumer->number);
    put_raw(out, consumer->name);
    buf_append(out, &consumer->seen_ms, 8);
    put_length(out, count);
    for (uint64_t i = 0; i < count; i++)
        append_id(out, stream_owned_at(s, consumer->number, i));
}

static void put_group(struct buf *out, const struct stream *s, const struct stream_group *g)
{
    uint64_t pending = stream_pending_count(s, g->number), consumers = stream_consumer_count(s, g->number);
    put_raw(out, g->name);
    put_id_lengths(out, g->last);
    put_length(out, (uint64_t)g->read);
    put_length(out, pending);
    for (uint64_t i = 0; i < pending; i++) {
        struct stream_pending one = stream_pending_at(s, g->number, i);
        append_id(out, one.id);
        buf_append(out, &one.delivered_ms, 8);
        put_length(out, one.deliveries);
    }
    put_length(out, consumers);
    for (uint64_t i = 0; i < consumers; i++) {
        struct stream_consumer consumer = stream_consumer_at(s, g->number, i);
        put_consumer(out, s, &consumer);
    }
}

static void put_stream(struct buf *out, const struct stream *s, struct patience *p)
{
    const struct stream_state *state = stream_state(s);
    struct stream_cursor c;
    struct stream_entry at;
    struct stream_id first = STREAM_ID_MIN;
    struct buf scratch;
    buf_init(&scratch, SIZE_MAX);
    put_length(out, state->nodes);
    bool more = stream_seek(s, 0, &c, &at);
    if (more)
        first = at.id;
    while (more && patience_lasts(p, NODE_WORK))
        more = put_node(out, &scratch, &c, &at);
    put_length(out, stream_count(s));
    put_id_lengths(out, state->last);
    put_id_lengths(out, first);
    put_id_lengths(out, state->max_deleted);
    put_length(out, state->added);
    put_length(out, stream_group_count(s));
    for (uint64_t i = 0; i < stream_group_count(s); i++) {
        struct stream_group g = stream_group_at(s, i);
        put_group(out, s, &g);
    }
    buf_release(&scratch);
}

/* ---- payloads ---- */

void rdb_dump_string(struct buf *out, bytes text)
{
    buf_append_u8(out, FORM_STRING);
    put_string(out, text);
    end_payload(out, VERSION, NULL);
}

void rdb_dump_rope(struct buf *out, const struct rope *text, struct patience *p)
{
    buf_append_u8(out, FORM_STRING);
    put_length(out, text->size);
    buf_reserve(out, text->size + FOOTER);
    for (size_t at = 0; at < text->size && patience_lasts(p, PIECE_WORK);) {
        bytes run = rope_run(text, at, PIECE);
        buf_append_bytes(out, run);
        at += run.size;
    }
    end_payload(out, VERSION, p);
}

static bool has_times(enum type type, const void *object) { return type == TYPE_HASH && hash_deadline(object); }

static uint8_t form_of(enum type type, bool times)
{
    static const uint8_t forms[TYPE_COUNT] = {
        [TYPE_LIST] = FORM_LIST, [TYPE_SET] = FORM_SET, [TYPE_ZSET] = FORM_ZSET, [TYPE_HASH] = FORM_HASH,
        [TYPE_STREAM] = FORM_STREAM_2};
    return times ? FORM_HASH_TIMES : forms[type];
}

static void put_object(struct buf *out, enum type type, const void *object, bool times, struct patience *p)
{
    switch (type) {
    case TYPE_LIST:
        put_list(out, object, p);
        break;
    case TYPE_SET:
        put_set(out, object, p);
        break;
    case TYPE_ZSET:
        put_zset(out, object, p);
        break;
    case TYPE_HASH:
        put_hash(out, object, times, p);
        break;
    case TYPE_STREAM:
        put_stream(out, object, p);
        break;
    default:
        hf_assert(false);
    }
}

static void dump_object(struct buf *out, enum type type, const void *object, bool times, struct patience *p)
{
    times = times && has_times(type, object);
    buf_append_u8(out, form_of(type, times));
    put_object(out, type, object, times, p);
    end_payload(out, times ? VERSION_OF_FIELD_TIMES : VERSION, p);
}

void rdb_dump_object(struct buf *out, enum type type, const void *object, struct patience *p) { dump_object(out, type, object, true, p); }
void rdb_dump_object_timeless(struct buf *out, enum type type, const void *object) { dump_object(out, type, object, false, NULL); }

void rdb_dump_library(struct buf *out, bytes source)
{
    buf_append_u8(out, FORM_LIBRARY);
    put_raw(out, source);
}

void rdb_dump_end_libraries(struct buf *out)
{
    end_payload(out, VERSION, NULL);
}

/* ---- files ---- */

enum { MARK_DEADLINE_MS = 252, MARK_DATABASE = 254, MARK_END = 255 };

void rdb_file_begin(struct buf *out)
{
    buf_append_bytes(out, BYTES("REDIS0010"));
}

void rdb_file_database(struct buf *out, uint32_t number)
{
    buf_append_u8(out, MARK_DATABASE);
    put_length(out, number);
}

static void put_key(struct buf *out, bytes name, uint64_t deadline_ms, uint8_t form)
{
    if (deadline_ms) {
        buf_append_u8(out, MARK_DEADLINE_MS);
        buf_append(out, &deadline_ms, sizeof(deadline_ms));
    }
    buf_append_u8(out, form);
    put_raw(out, name);
}

void rdb_file_string(struct buf *out, bytes name, uint64_t deadline_ms, bytes text)
{
    put_key(out, name, deadline_ms, FORM_STRING);
    put_string(out, text);
}

void rdb_file_object(struct buf *out, bytes name, uint64_t deadline_ms, enum type type, const void *object, bool times)
{
    times = times && has_times(type, object);
    put_key(out, name, deadline_ms, form_of(type, times));
    put_object(out, type, object, times, NULL);
}

void rdb_file_end(struct buf *out, uint64_t crc)
{
    buf_append_u8(out, MARK_END);
    crc = rdb_crc64(crc, buf_view(out));
    buf_append(out, &crc, sizeof(crc));
}
