/* strings.c -- strings: check, prepare, change, effect. */
#include "engine/strings.h"

#include "base/number.h"
#include "base/memory.h"
#include "engine/cut.h"
#include "engine/events.h"

#include <math.h>

uint64_t string_growth_max = STRING_SIZE_MAX;

bytes string_view(const struct entry *e, char digits[24])
{
    switch (entry_encoding(e)) {
    case ENC_INT:
        return bytes_of(digits, number_format_int(digits, (int64_t)get_u64(entry_inline(e).data)));
    case ENC_BLOB: {
        const struct blob *b = entry_pointer(e);
        return bytes_of(b->data, b->size);
    }
    default:
        return entry_inline(e);
    }
}

static status find_string(struct txn *t, const struct key *k, struct spot *spot, struct entry **found)
{
    struct entry *e = txn_find(t, k, spot);
    if (e && entry_type(e) != TYPE_STRING)
        return HF_ERR_WRONGTYPE;
    *found = e;
    return HF_OK;
}

/* Values that read as a 64-bit integer are kept as one. */
void string_form(struct entry_image *image, bytes value, int64_t *number)
{
    image->encoding = ENC_BYTES;
    image->value = value;
    if (value.size && value.size <= 20 && (value.data[0] == '-' || (value.data[0] >= '0' && value.data[0] <= '9')) &&
        number_parse_int(value, number)) {
        image->encoding = ENC_INT;
        image->value = bytes_of(number, sizeof(*number));
    }
}

static status get(struct txn *t, const struct key *k, bool reads, struct text *out)
{
    struct spot spot;
    struct entry *e;
    status s = find_string(t, k, &spot, &e);
    if (reads)
        txn_looked_up(t, k, s != HF_OK || e); /* what is no string is found, too */
    if (s != HF_OK)
        return s;
    out->found = e != NULL;
    out->view = (bytes){0};
    if (e) {
        txn_access(t, e);
        out->view = string_view(e, out->digits);
    }
    return HF_OK;
}

status string_get(struct txn *t, const struct key *k, struct text *out) { return get(t, k, true, out); }

status string_peek(struct txn *t, const struct key *k, struct text *out) { return get(t, k, false, out); }

static status keep_old(struct txn *t, const struct entry *e, struct text *out)
{
    out->found = e != NULL;
    out->view = (bytes){0};
    if (!e)
        return HF_OK;
    if (entry_type(e) != TYPE_STRING)
        return HF_ERR_WRONGTYPE;
    out->view = arena_dup(&t->arena, string_view(e, out->digits));
    return HF_OK;
}

status string_set(struct txn *t, const struct key *k, bytes value, const struct set_options *o, struct set_result *result)
{
    struct spot spot;
    struct entry *e = txn_find(t, k, &spot);
    result->done = false;
    if (o->get_old) {
        txn_looked_up(t, k, e != NULL);
        status s = keep_old(t, e, &result->old);
        if (s != HF_OK)
            return s;
    }
    if ((o->when == SET_IF_ABSENT && e) || (o->when == SET_IF_PRESENT && !e))
        return HF_OK;
    if (o->deadline_ms && o->deadline_ms <= t->now_ms) {
        if (e)
            txn_remove(t, k, &spot, true, false);
        else
            txn_event(t, k, EVENT_NEW, "new"); /* in Redis it is made, and gone at the next look */
        result->done = true;
        return HF_OK;
    }
    int64_t number;
    struct entry_image image = {.type = TYPE_STRING, .key = k->name, .deadline_ms = o->deadline_ms};
    if ((o->keep_deadline || (os_bug(BUG_TTL_KEPT) && !o->deadline_ms)) && e)
        image.deadline_ms = entry_deadline(e);
    if (o->raw) {
        image.raw = true;
        image.value = value;
    } else {
        string_form(&image, value, &number);
    }
    status s = txn_put(t, k, &spot, &image, NULL, true);
    result->done = s == HF_OK;
    return s;
}

/* Replaces the value; deadline and client flags stay, the version was that of the old value. */
static status rewrite(struct txn *t, const struct key *k, struct spot *spot, enum encoding encoding, bytes value, bool log)
{
    struct entry_image image = {.type = TYPE_STRING};
    if (spot->place.entry)
        image = entry_read(spot->place.entry);
    image.has_version = image.fetched = false;
    image.key = k->name;
    image.encoding = encoding;
    image.value = value;
    image.raw = !log; /* APPEND and SETRANGE, which log their own effect */
    return txn_put(t, k, spot, &image, NULL, log);
}

/* A blob of ours alone that may grow in place: NULL when there is none. */
static struct blob *own_blob(const struct entry *e)
{
    if (!e || entry_encoding(e) != ENC_BLOB)
        return NULL;
    struct blob *b = entry_pointer(e);
    return atomic_load_explicit(&b->count, memory_order_acquire) == 1 ? b : NULL;
}

static struct blob *blob_grown(struct entry *e, struct blob *b, size_t size)
{
    if (size > b->capacity) {
        size_t capacity = size + size / 2 > STRING_SIZE_MAX ? STRING_SIZE_MAX : size + size / 2;
        struct blob *moved = blob_resize(b, capacity < size ? size : capacity);
        if (!moved)
            return NULL;
        memcpy((void *)(uintptr_t)entry_inline(e).data, &moved, sizeof(moved));
        b = moved;
    }
    if (size > b->size) {
        memset(b->data + b->size, 0, size - b->size);
        b->size = size;
    }
    return b;
}

/* Bytes of the block that may be overwritten where they stand: NULL when there are none. */
static uint8_t *own_bytes(const struct txn *t, struct entry *e, size_t end)
{
    if (!e || t->undoing || entry_encoding(e) != ENC_BYTES || end > entry_value_size(e))
        return NULL;
    return (uint8_t *)(uintptr_t)entry_inline(e).data;
}

/* Undo of a change in place costs what the change writes, not what the string holds. */
static void keep_bytes(struct txn *t, const struct key *k, const struct spot *spot, const struct blob *b, uint64_t offset, size_t size)
{
    struct undo *u = txn_undo_push(t, UNDO_BYTES, k, spot);
    size_t inside = offset < b->size ? b->size - offset : 0;
    u->offset = offset;
    u->size = b->size;
    u->overwritten = arena_dup(&t->arena, bytes_of(b->data + (inside ? offset : 0), inside < size ? inside : size));
}

/* The old value with the new one in it, as an entry of its own. */
static status write_copy(struct txn *t, const struct key *k, struct spot *spot, bytes old, uint64_t offset, bytes value, size_t total)
{
    bool large = total > ENTRY_INLINE_MAX;
    size_t room = total + (old.size > ENTRY_INLINE_MAX ? total / 2 : 0); /* one that grows goes on growing */
    struct blob *blob = large ? blob_new(total, room < STRING_SIZE_MAX ? room : STRING_SIZE_MAX) : NULL;
    uint8_t *joined = large ? (blob ? blob->data : NULL) : arena_alloc(&t->arena, total);
    if (!joined)
        return HF_ERR_NO_MEMORY;
    if (old.size)
        memcpy(joined, old.data, old.size);
    if (total > old.size)
        memset(joined + old.size, 0, total - old.size);
    memcpy(joined + offset, value.data, value.size);
    status s = rewrite(t, k, spot, large ? ENC_BLOB : ENC_BYTES, large ? bytes_of(&blob, sizeof(blob)) : bytes_of(joined, total), false);
    if (s != HF_OK && blob)
        blob_unref(blob);
    return s;
}

/* Writes value at offset, zero-filling a gap; effect: log_append or log_range. */
static status write_at(struct txn *t, const struct key *k, struct spot *spot, uint64_t offset, bytes value, size_t *size)
{
    struct entry *e = spot->place.entry;
    char digits[24];
    cut_before(t->engine, spot->stripe, spot->db_id, k->hash);
    bytes old = e ? string_view(e, digits) : (bytes){0};
    size_t end = offset + value.size, total = end > old.size ? end : old.size;
    uint8_t *inside = own_bytes(t, e, end);
    if (inside) {
        memcpy(inside + offset, value.data, value.size);
        entry_value_changed(e);
        e->fields |= FIELD_RAW;
        txn_access(t, e);
        txn_changed(t, k, spot);
        *size = total;
        return HF_OK;
    }
    struct blob *blob = own_blob(e);
    if (blob && t->undoing && total > blob->capacity)
        blob = NULL; /* it would move, and blocks kept for undo may name it (RENAME, EXPIRE) */
    if (blob) {
        if (t->undoing)
            keep_bytes(t, k, spot, blob, offset, value.size);
        blob = blob_grown(e, blob, total);
        if (!blob)
            return HF_ERR_NO_MEMORY;
        memcpy(blob->data + offset, value.data, value.size);
        entry_value_changed(e);
        txn_access(t, e);
        txn_changed(t, k, spot);
        *size = total;
        return HF_OK;
    }
    *size = total;
    return write_copy(t, k, spot, old, offset, value, total);
}

status string_append(struct txn *t, const struct key *k, bytes tail, size_t *size)
{
    struct spot spot;
    struct entry *e;
    status s = find_string(t, k, &spot, &e);
    if (s != HF_OK)
        return s;
    char digits[24];
    size_t old = e ? string_view(e, digits).size : 0;
    if (old + tail.size > string_may_grow_to())
        return HF_ERR_STRING_TOO_LONG;
    if (!e) {
        int64_t number;
        struct entry_image image = {.type = TYPE_STRING, .key = k->name};
        string_form(&image, tail, &number);
        *size = tail.size;
        return txn_put(t, k, &spot, &image, NULL, true);
    }
    s = write_at(t, k, &spot, old, tail, size);
    if (s == HF_OK && txn_logs(t))
        effect_append(&t->record, spot.db_id, k->name, tail);
    return s;
}

status string_set_range(struct txn *t, const struct key *k, uint64_t offset, bytes value, size_t *size)
{
    struct spot spot;
    struct entry *e;
    status s = find_string(t, k, &spot, &e);
    if (s != HF_OK)
        return s;
    char digits[24];
    *size = e ? string_view(e, digits).size : 0;
    if (value.size == 0)
        return HF_OK;
    if (offset > STRING_SIZE_MAX || offset + value.size > string_may_grow_to())
        return HF_ERR_STRING_TOO_LONG;
    s = write_at(t, k, &spot, offset, value, size);
    if (s == HF_OK && txn_logs(t))
        effect_range(&t->record, spot.db_id, k->name, offset, value);
    return s;
}

status string_grow(struct txn *t, const struct key *k, uint64_t size, bool *grew)
{
    struct spot spot;
    struct entry *e;
    size_t written;
    status s = find_string(t, k, &spot, &e);
    if (s != HF_OK)
        return s;
    char digits[24];
    *grew = size > (e ? string_view(e, digits).size : 0);
    if (*grew)
        return string_set_range(t, k, size - 1, bytes_of("", 1), &written);
    if (e)
        e->fields |= FIELD_RAW;
    return HF_OK;
}

status string_incr_by(struct txn *t, const struct key *k, int64_t delta, int64_t *result)
{
    struct spot spot;
    struct entry *e;
    int64_t value = 0;
    status s = find_string(t, k, &spot, &e);
    if (s != HF_OK)
        return s;
    if (e && entry_encoding(e) == ENC_INT)
        value = (int64_t)get_u64(entry_inline(e).data);
    else if (e && !number_parse_int(string_view(e, NULL), &value))
        return HF_ERR_NOT_INTEGER;
    if (__builtin_add_overflow(value, delta, &value))
        return HF_ERR_OVERFLOW;
    s = rewrite(t, k, &spot, ENC_INT, bytes_of(&value, sizeof(value)), true);
    if (s == HF_OK)
        *result = value;
    return s;
}

status string_incr_float(struct txn *t, const struct key *k, long double delta, bytes *result)
{
    struct spot spot;
    struct entry *e;
    long double value = 0;
    char digits[24];
    status s = find_string(t, k, &spot, &e);
    if (s != HF_OK)
        return s;
    if (e && !number_parse_float(string_view(e, digits), &value))
        return HF_ERR_NOT_FLOAT;
    value += delta;
    if (isnan(value) || isinf(value))
        return HF_ERR_NAN_OR_INF;
    char *text = arena_alloc(&t->arena, NUMBER_FLOAT_MAX);
    bytes formatted = bytes_of(text, number_format_float(text, value));
    s = rewrite(t, k, &spot, ENC_BYTES, formatted, true);
    if (s == HF_OK)
        *result = formatted;
    return s;
}
