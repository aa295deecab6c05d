/* rdb_read.c -- payloads to values.
 *
 * A reader takes hostile bytes. Each form is turned into the encoded form of our own (docs/format/values.md): its count in
 * `head`, its elements in `out`; the type's decode then checks what makes a value (no member twice, no empty one) and builds it.
 * Only sets are built at once, since their encoded form remembers how they were packed.
 * What can be claimed without being sent is bounded: a count by the bytes that follow, compressed text by its size.
 *
 * Strings are views into the payload, or stand in `text` (compressed, integers) until the next string; a container stands in
 * `blob` while it is walked.
 */
#include "base/memory.h"
#include "base/wire.h"
#include "rdb/rdb.h"
#include "rdb/rdb_form.h"
#include "types/set.h"
#include "types/stream.h"
#include "types/type.h"
#include "types/varint.h"

#include <lzf.h>
#include <math.h>

enum { FOOTER = 10, VERSION_MAX = 12, LZF_RATIO_MAX = 256 };

struct reader {
    bytes in;
    struct buf text, blob, head, out;
    uint64_t count;  /* elements in out */
    struct stream_id first, newest; /* of a stream: its oldest entry, and the newest ever */
    struct set *set; /* while a set is read */
};

bool rdb_open(bytes payload, bytes *body)
{
    if (payload.size < FOOTER)
        return false;
    *body = bytes_of(payload.data, payload.size - FOOTER);
    const uint8_t *footer = payload.data + body->size;
    return get_u16(footer) <= VERSION_MAX && get_u64(footer + 2) == rdb_crc64(0, bytes_of(payload.data, body->size + 2));
}

static bool take(bytes *in, size_t size, const uint8_t **at)
{
    if (in->size < size)
        return false;
    *at = in->data;
    *in = (bytes){in->data + size, in->size - size};
    return true;
}

/* *code: -1, or CODED_*: no length but a string in another form. */
static bool take_length_or_code(bytes *in, uint64_t *length, int *code)
{
    const uint8_t *at;
    *code = -1;
    if (!take(in, 1, &at))
        return false;
    uint8_t first = *at;
    switch (first >> 6) {
    case 0:
        *length = first;
        return true;
    case LENGTH_14:
        *length = (first & 63) << 8;
        return take(in, 1, &at) && (*length |= *at, true);
    case LENGTH_CODED:
        *code = first & 63;
        *length = 0;
        return *code <= CODED_LZF;
    default:
        break;
    }
    size_t width = first == LENGTH_32 ? 4 : 8;
    if ((first != LENGTH_32 && first != LENGTH_64) || !take(in, width, &at))
        return false;
    *length = get_big(at, width);
    return true;
}

static bool take_length(bytes *in, uint64_t *length)
{
    int code;
    return take_length_or_code(in, length, &code) && code < 0;
}

/* Of things that take a byte or more each. */
static bool take_count(bytes *in, uint64_t *count)
{
    return take_length(in, count) && *count <= in->size;
}

static bool take_compressed(bytes *in, struct buf *room, bytes *text)
{
    uint64_t packed, size;
    const uint8_t *at;
    if (!take_length(in, &packed) || !take_length(in, &size) || packed > in->size || size == 0 || size > RDB_STRING_MAX ||
        size / LZF_RATIO_MAX > packed || !take(in, (size_t)packed, &at))
        return false;
    buf_reset(room);
    buf_reserve(room, (size_t)size);
    *text = bytes_of(room->data, (size_t)size);
    return lzf_decompress(at, (unsigned)packed, room->data, (unsigned)size) == size;
}

static bool take_string(bytes *in, struct buf *room, bytes *text)
{
    uint64_t size;
    int code;
    const uint8_t *at;
    if (!take_length_or_code(in, &size, &code))
        return false;
    if (code == CODED_LZF)
        return take_compressed(in, room, text);
    if (code < 0) {
        if (size > in->size || size > RDB_STRING_MAX || !take(in, (size_t)size, &at))
            return false;
        *text = bytes_of(at, (size_t)size);
        return true;
    }
    uint64_t raw = 0;
    size_t width = (size_t)1 << code;
    unsigned shift = (unsigned)(64 - 8 * width);
    if (!take(in, width, &at))
        return false;
    memcpy(&raw, at, width);
    buf_reset(room);
    buf_append_int(room, (int64_t)(raw << shift) >> shift);
    *text = buf_view(room);
    return true;
}

static bool read_text(struct reader *r, bytes *text) { return take_string(&r->in, &r->text, text); }
static bool read_blob(struct reader *r, bytes *blob) { return take_string(&r->in, &r->blob, blob); }

static bool read_u64(struct reader *r, uint64_t *value)
{
    const uint8_t *at;
    return take(&r->in, 8, &at) && (*value = get_u64(at), true);
}

static void emit(struct reader *r, bytes text)
{
    varint_append_bytes(&r->out, text);
}

static bool emit_score(struct reader *r, double score)
{
    score += 0.0; /* -0 counts as 0 */
    buf_append(&r->out, &score, sizeof(score));
    return !isnan(score);
}

static bool add_member(struct reader *r, bytes member)
{
    return set_add(r->set, member); /* false: twice */
}

/* ---- a count, then strings ---- */

static bool read_list(struct reader *r)
{
    bytes text;
    if (!take_count(&r->in, &r->count))
        return false;
    for (uint64_t i = 0; i < r->count; i++) {
        if (!read_text(r, &text))
            return false;
        emit(r, text);
    }
    return true;
}

static bool read_set(struct reader *r)
{
    bytes text;
    if (!take_count(&r->in, &r->count))
        return false;
    for (uint64_t i = 0; i < r->count; i++) {
        if (!read_text(r, &text) || !add_member(r, text))
            return false;
    }
    return true;
}

static bool read_hash(struct reader *r)
{
    bytes text;
    if (!take_count(&r->in, &r->count))
        return false;
    for (uint64_t i = 0; i < r->count; i++) {
        for (int half = 0; half < 2; half++) {
            if (!read_text(r, &text))
                return false;
            emit(r, text);
        }
    }
    return true;
}

static bool read_old_score(struct reader *r, double *score)
{
    const uint8_t *at;
    if (!take(&r->in, 1, &at))
        return false;
    if (*at >= 253) {
        *score = *at == 253 ? (double)NAN : *at == 254 ? (double)INFINITY : -(double)INFINITY;
        return true;
    }
    size_t size = *at;
    return take(&r->in, size, &at) && number_parse_double(bytes_of(at, size), score);
}

static bool read_scores(struct reader *r, bool as_text)
{
    bytes member;
    double score;
    uint64_t raw;
    if (!take_count(&r->in, &r->count))
        return false;
    for (uint64_t i = 0; i < r->count; i++) {
        if (!read_text(r, &member))
            return false;
        /* The score stands first in our form: its place is taken now, before `in` moves on. */
        size_t place = r->out.size;
        if (!emit_score(r, 0))
            return false;
        emit(r, member);
        if (as_text ? !read_old_score(r, &score) : !read_u64(r, &raw))
            return false;
        if (!as_text)
            memcpy(&score, &raw, sizeof(score));
        score += 0.0;
        memcpy(r->out.data + place, &score, sizeof(score));
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
    if ((relative && !read_u64(r, &first)) || !take_count(&r->in, &r->count))
        return false;
    buf_append_u8(&r->head, 0);
    for (uint64_t i = 0; i < r->count; i++) {
        if (!take_length(&r->in, &time) || (time && __builtin_add_overflow(time, first - 1, &time)))
            return false;
        for (int half = 0; half < 2; half++) {
            if (!read_text(r, &text))
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
    if (!read_blob(r, &blob) || !packed_open(&p, kind, blob))
        return false;
    while ((step = packed_next(&p, &item)) == PACKED_ITEM) {
        if (!each(r, &item))
            return false;
        r->count++;
    }
    return step == PACKED_END;
}

static bool each_text(struct reader *r, const struct packed_item *item)
{
    emit(r, item->text);
    return true;
}

static bool each_member(struct reader *r, const struct packed_item *item)
{
    return add_member(r, item->text);
}

/* Member, score, member, score: the member waits in `text`. */
static bool each_scored(struct reader *r, const struct packed_item *item)
{
    double score;
    if (r->count % 2 == 0) {
        buf_reset(&r->text);
        buf_append_bytes(&r->text, item->text);
        return true;
    }
    if (!number_parse_double(item->text, &score) || !emit_score(r, score))
        return false;
    emit(r, buf_view(&r->text));
    return true;
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

static bool read_list_ziplist(struct reader *r) { return walk(r, PACKED_ZIPLIST, each_text); }
static bool read_set_listpack(struct reader *r) { return walk(r, PACKED_LISTPACK, each_member); }
static bool read_zset_ziplist(struct reader *r) { return walk(r, PACKED_ZIPLIST, each_scored) && divide_count(r, 2); }
static bool read_zset_listpack(struct reader *r) { return walk(r, PACKED_LISTPACK, each_scored) && divide_count(r, 2); }
static bool read_hash_ziplist(struct reader *r) { return walk(r, PACKED_ZIPLIST, each_text) && divide_count(r, 2); }
static bool read_hash_listpack(struct reader *r) { return walk(r, PACKED_LISTPACK, each_text) && divide_count(r, 2); }

static bool read_hash_times_listpack_old(struct reader *r)
{
    buf_append_u8(&r->head, 0);
    return walk(r, PACKED_LISTPACK, each_timed) && divide_count(r, 3);
}

static bool read_hash_times_listpack(struct reader *r)
{
    uint64_t first;
    return read_u64(r, &first) && read_hash_times_listpack_old(r);
}

static bool read_list_ziplists(struct reader *r)
{
    uint64_t nodes;
    if (!take_count(&r->in, &nodes))
        return false;
    for (; nodes > 0; nodes--) {
        if (!walk(r, PACKED_ZIPLIST, each_text))
            return false;
    }
    return true;
}

static bool read_list_listpacks(struct reader *r)
{
    uint64_t nodes, kind;
    bytes text;
    if (!take_count(&r->in, &nodes))
        return false;
    for (; nodes > 0; nodes--) {
        if (!take_length(&r->in, &kind) || (kind != NODE_PLAIN && kind != NODE_PACKED))
            return false;
        if (kind == NODE_PACKED) {
            if (!walk(r, PACKED_LISTPACK, each_text))
                return false;
        } else if (!read_text(r, &text)) {
            return false;
        } else {
            emit(r, text);
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
    if (!read_blob(r, &blob) || !packed_ints_open(blob, &width, &count))
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
    if (!take(in, 1, &at) || *at == 255)
        return false;
    *size = *at;
    if (*at < 254)
        return true;
    return take(in, 4, &at) && (*size = get_u32(at), true);
}

static bool read_hash_zipmap(struct reader *r)
{
    bytes blob, in;
    const uint8_t *at, *unused;
    size_t size;
    if (!read_blob(r, &blob) || blob.size < 2 || blob.data[blob.size - 1] != 255)
        return false;
    for (in = bytes_of(blob.data + 1, blob.size - 2); in.size; r->count++) {
        if (!zipmap_size(&in, &size) || !take(&in, size, &at))
            return false;
        emit(r, bytes_of(at, size));
        if (!zipmap_size(&in, &size) || !take(&in, 1, &unused) || !take(&in, size, &at))
            return false;
        emit(r, bytes_of(at, size));
        if (!take(&in, *unused, &at))
            return false;
    }
    return blob.data[0] >= 254 || blob.data[0] == r->count;
}

/* ---- streams ---- */

struct node {
    struct stream_id first;
    struct packed at;
    struct buf fields;        /* of the first entry: varint_append_bytes each */
    uint64_t field_count, live, deleted;
    size_t size;              /* of the listpack */
    struct buf entry;         /* scratch */
    bool begins;              /* no live entry of it yet */
};

static bool next_int(struct packed *p, int64_t *value)
{
    struct packed_item item;
    if (packed_next(p, &item) != PACKED_ITEM || !item.is_int)
        return false;
    *value = item.number;
    return true;
}

/* An unsigned one. */
static bool next_count(struct packed *p, uint64_t *value)
{
    int64_t number;
    return next_int(p, &number) && number >= 0 && (*value = (uint64_t)number, true);
}

static bool read_id(struct reader *r, struct stream_id *id)
{
    const uint8_t *at;
    if (!take(&r->in, 16, &at))
        return false;
    *id = (struct stream_id){get_big(at, 8), get_big(at + 8, 8)};
    return true;
}

static bool read_id_lengths(struct reader *r, struct stream_id *id)
{
    return take_length(&r->in, &id->ms) && take_length(&r->in, &id->seq);
}

static bool node_open(struct reader *r, struct node *n)
{
    bytes key, blob;
    struct packed_item item;
    int64_t zero;
    if (!read_text(r, &key) || key.size != 16)
        return false;
    n->first = (struct stream_id){get_big(key.data, 8), get_big(key.data + 8, 8)};
    n->begins = true;
    buf_reset(&n->fields);
    if (!read_blob(r, &blob) || !packed_open(&n->at, PACKED_LISTPACK, blob) || !next_count(&n->at, &n->live) ||
        !next_count(&n->at, &n->deleted) || !next_count(&n->at, &n->field_count))
        return false;
    n->size = blob.size;
    for (uint64_t i = 0; i < n->field_count; i++) {
        if (packed_next(&n->at, &item) != PACKED_ITEM)
            return false;
        varint_append_bytes(&n->fields, item.text);
    }
    return next_int(&n->at, &zero) && zero == 0;
}

static bool take_pairs(struct node *n, bool same, uint64_t pairs)
{
    struct packed_item item;
    bytes fields = buf_view(&n->fields), field;
    for (uint64_t i = 0; i < pairs; i++) {
        if (same) {
            bool taken = varint_try_take_bytes(&fields, &field);
            hf_assert(taken);
        } else if (packed_next(&n->at, &item) != PACKED_ITEM) {
            return false;
        } else {
            field = item.text;
        }
        varint_append_bytes(&n->entry, field);
        if (packed_next(&n->at, &item) != PACKED_ITEM)
            return false;
        varint_append_bytes(&n->entry, item.text);
    }
    return true;
}

/* One entry, or a deleted one, of which nothing is kept. */
static bool take_entry(struct reader *r, struct node *n, bool *deleted)
{
    int64_t flags, ms, seq;
    uint64_t pairs = n->field_count, words;
    if (!next_int(&n->at, &flags) || !next_int(&n->at, &ms) || !next_int(&n->at, &seq))
        return false;
    bool same = flags & STREAM_SAME_FIELDS;
    if (!same && !next_count(&n->at, &pairs))
        return false;
    buf_reset(&n->entry);
    buf_append_u8(&n->entry, n->begins);
    varint_append(&n->entry, pairs);
    if (pairs == 0 || !take_pairs(n, same, pairs) || !next_count(&n->at, &words))
        return false;
    *deleted = flags & STREAM_DELETED;
    if (*deleted)
        return true;
    struct stream_id id = {n->first.ms + (uint64_t)ms, n->first.seq + (uint64_t)seq};
    if (r->count == 0)
        r->first = id;
    stream_change_id(&r->out, id);
    varint_append_bytes(&r->out, buf_view(&n->entry));
    n->begins = false;
    r->count++;
    return true;
}

static bool node_read(struct reader *r, struct node *n)
{
    uint64_t live = 0, gone = 0;
    bool deleted;
    if (!node_open(r, n))
        return false;
    while (n->at.rest.size) {
        if (!take_entry(r, n, &deleted))
            return false;
        gone += deleted;
        live += !deleted;
    }
    return live == n->live && gone == n->deleted;
}

struct pending { struct stream_id id; uint64_t time, deliveries; bool owned; };

/* Those of a group, in the order of ids. NULL with *count > 0: damage. */
static struct pending *read_pending(struct reader *r, uint64_t *count)
{
    if (!take_count(&r->in, count) || *count > r->in.size / 25)
        return NULL;
    struct pending *all = mem_alloc((size_t)(*count + 1) * sizeof(*all));
    for (uint64_t i = 0; i < *count; i++) {
        all[i].owned = false;
        if (!read_id(r, &all[i].id) || !read_u64(r, &all[i].time) || !take_length(&r->in, &all[i].deliveries) ||
            (i && stream_id_compare(all[i].id, all[i - 1].id) <= 0)) {
            mem_free(all);
            return NULL;
        }
    }
    return all;
}

static struct pending *find_pending(struct pending *all, uint64_t count, struct stream_id id)
{
    uint64_t low = 0, high = count;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        int order = stream_id_compare(all[middle].id, id);
        if (order == 0)
            return &all[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

static bool read_consumer(struct reader *r, bool has_active_time, struct pending *all, uint64_t all_count)
{
    bytes name;
    uint64_t seen, active, count;
    struct stream_id id;
    if (!read_text(r, &name))
        return false;
    emit(r, name);
    if (!read_u64(r, &seen) || (has_active_time && !read_u64(r, &active)) || !take_count(&r->in, &count))
        return false;
    varint_append(&r->out, seen);
    varint_append(&r->out, count);
    for (; count > 0; count--) {
        struct pending *one = read_id(r, &id) ? find_pending(all, all_count, id) : NULL;
        if (!one || one->owned)
            return false;
        one->owned = true;
        stream_change_id(&r->out, id);
        varint_append(&r->out, one->time);
        varint_append(&r->out, one->deliveries);
    }
    return true;
}

static bool read_consumers(struct reader *r, bool has_active_time, struct pending *all, uint64_t all_count)
{
    uint64_t consumers;
    if (!take_count(&r->in, &consumers))
        return false;
    varint_append(&r->out, consumers);
    for (; consumers > 0; consumers--) {
        if (!read_consumer(r, has_active_time, all, all_count))
            return false;
    }
    for (uint64_t i = 0; i < all_count; i++) {
        if (!all[i].owned)
            return false;
    }
    return true;
}

/* How many entries a group has read, of which the old form says nothing: what can be known when every entry that
 * was ever added is still there, as Redis takes it for such streams. */
static uint64_t guess_read(const struct reader *r, struct stream_id last)
{
    int to_newest = stream_id_compare(last, r->newest);
    if (r->count == 0)
        return 0;
    if (to_newest >= 0)
        return to_newest == 0 ? r->count : (uint64_t)STREAM_READ_UNKNOWN;
    int to_first = stream_id_compare(last, r->first);
    return to_first < 0 ? 0 : to_first == 0 ? 1 : (uint64_t)STREAM_READ_UNKNOWN;
}

static bool read_group(struct reader *r, enum rdb_form form)
{
    bytes name;
    struct stream_id last;
    uint64_t read = (uint64_t)STREAM_READ_UNKNOWN, count;
    if (!read_text(r, &name))
        return false;
    emit(r, name);
    if (!read_id_lengths(r, &last) || (form != FORM_STREAM && !take_length(&r->in, &read)))
        return false;
    if (form == FORM_STREAM)
        read = guess_read(r, last);
    stream_change_id(&r->out, last);
    varint_append(&r->out, read + 1);
    struct pending *all = read_pending(r, &count);
    bool sound = all && read_consumers(r, form == FORM_STREAM_3, all, count);
    mem_free(all);
    return sound;
}

static bool read_nodes(struct reader *r, struct node *last)
{
    uint64_t nodes;
    if (!take_count(&r->in, &nodes))
        return false;
    for (; nodes > 0; nodes--) {
        if (!node_read(r, last))
            return false;
    }
    return true;
}

static bool read_entries(struct reader *r, enum rdb_form form)
{
    struct node last = {0};
    struct stream_id first, max_deleted = STREAM_ID_MIN;
    uint64_t length, added = 0;
    buf_init(&last.fields, SIZE_MAX);
    buf_init(&last.entry, SIZE_MAX);
    bool sound = read_nodes(r, &last) && take_length(&r->in, &length) && length == r->count && read_id_lengths(r, &r->newest) &&
                 (form == FORM_STREAM ||
                  (read_id_lengths(r, &first) && read_id_lengths(r, &max_deleted) && take_length(&r->in, &added)));
    if (sound) {
        stream_change_id(&r->head, r->newest);
        stream_change_id(&r->head, max_deleted);
        varint_append(&r->head, form == FORM_STREAM ? r->count : added);
        varint_append(&r->head, last.live + last.deleted);
        varint_append(&r->head, last.size);
    }
    buf_release(&last.fields);
    buf_release(&last.entry);
    return sound;
}

static bool read_stream_form(struct reader *r, enum rdb_form form)
{
    uint64_t groups;
    if (!read_entries(r, form) || !take_count(&r->in, &groups))
        return false;
    varint_append(&r->out, groups);
    for (; groups > 0; groups--) {
        if (!read_group(r, form))
            return false;
    }
    return true;
}

static bool read_stream(struct reader *r) { return read_stream_form(r, FORM_STREAM); }
static bool read_stream_2(struct reader *r) { return read_stream_form(r, FORM_STREAM_2); }
static bool read_stream_3(struct reader *r) { return read_stream_form(r, FORM_STREAM_3); }

/* ---- all forms ---- */

static bool read_string(struct reader *r)
{
    bytes text;
    if (!read_text(r, &text))
        return false;
    buf_append_bytes(&r->out, text);
    return true;
}

static const struct form {
    enum type type;
    bool (*read)(struct reader *r);
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
    [FORM_STREAM] = {TYPE_STREAM, read_stream},
    [FORM_HASH_LISTPACK] = {TYPE_HASH, read_hash_listpack},
    [FORM_ZSET_LISTPACK] = {TYPE_ZSET, read_zset_listpack},
    [FORM_LIST_LISTPACKS] = {TYPE_LIST, read_list_listpacks},
    [FORM_STREAM_2] = {TYPE_STREAM, read_stream_2},
    [FORM_SET_LISTPACK] = {TYPE_SET, read_set_listpack},
    [FORM_STREAM_3] = {TYPE_STREAM, read_stream_3},
    [FORM_HASH_TIMES_OLD] = {TYPE_HASH, read_hash_whole_times},
    [FORM_HASH_TIMES_LISTPACK_OLD] = {TYPE_HASH, read_hash_times_listpack_old},
    [FORM_HASH_TIMES] = {TYPE_HASH, read_hash_relative_times},
    [FORM_HASH_TIMES_LISTPACK] = {TYPE_HASH, read_hash_times_listpack},
};

/* The set that was built, or what was emitted as a value. */
static status finish(struct reader *r, struct rdb_value *out)
{
    if (out->type == TYPE_STRING) {
        out->text = r->out;
        buf_init(&r->out, SIZE_MAX);
        return HF_OK;
    }
    if (r->count == 0 && out->type != TYPE_STREAM)
        return HF_ERR_CORRUPT;
    if (out->type == TYPE_SET) {
        out->object = r->set;
        r->set = NULL;
        return HF_OK;
    }
    varint_append(&r->head, r->count);
    buf_append_bytes(&r->head, buf_view(&r->out));
    return type_ops_of((int)out->type)->decode(buf_view(&r->head), &out->object);
}

status rdb_read_value(bytes body, struct rdb_value *out)
{
    struct reader r = {.in = body};
    const uint8_t *form;
    struct buf *bufs[] = {&r.text, &r.blob, &r.head, &r.out, &out->text};
    *out = (struct rdb_value){0};
    for (size_t i = 0; i < sizeof(bufs) / sizeof(*bufs); i++)
        buf_init(bufs[i], SIZE_MAX);
    status s = HF_ERR_CORRUPT;
    if (take(&r.in, 1, &form) && *form < FORM_COUNT && forms[*form].read) {
        out->type = forms[*form].type;
        r.set = out->type == TYPE_SET ? set_new() : NULL;
        if (forms[*form].read(&r) && r.in.size == 0)
            s = finish(&r, out);
    }
    if (r.set)
        set_free(r.set);
    for (size_t i = 0; i < 4; i++)
        buf_release(bufs[i]);
    return s;
}

status rdb_read_library(bytes *body, struct buf *text)
{
    const uint8_t *form;
    struct buf room;
    bytes source;
    if (!take(body, 1, &form) || *form != FORM_LIBRARY)
        return HF_ERR_NOT_FOUND;
    buf_init(&room, SIZE_MAX);
    bool taken = take_string(body, &room, &source);
    if (taken)
        buf_append_bytes(text, source);
    buf_release(&room);
    return taken ? HF_OK : HF_ERR_CORRUPT;
}
