/* strings.c -- strings: check, prepare, change, effect. */
#include "engine/strings.h"

#include "base/number.h"
#include "base/memory.h"
#include "engine/cut.h"
#include "engine/events.h"

#include <math.h>

uint64_t string_growth_max = STRING_SIZE_MAX;

/* A large one in several chunks has no view: data is NULL. */
static inline bytes view_of(const struct entry *e, char digits[24])
{
    switch (entry_encoding(e)) {
    case ENC_INT:
        return bytes_of(digits, number_format_int(digits, (int64_t)get_u64(entry_inline(e).data)));
    case ENC_ROPE:
        return rope_view(entry_pointer(e));
    default:
        return entry_inline(e);
    }
}

static bytes flat(const struct rope *r, struct arena *arena)
{
    uint8_t *joined = arena_alloc(arena, r->size);
    rope_read(r, 0, r->size, joined);
    return bytes_of(joined, r->size);
}

bytes string_flat(const struct entry *e, char digits[24], struct arena *arena)
{
    bytes view = view_of(e, digits);
    return HF_LIKELY(view.data != NULL) ? view : flat(entry_pointer(e), arena);
}

/* Of an entry or of none. */
static size_t size_of(const struct entry *e)
{
    char digits[24];
    return e ? view_of(e, digits).size : 0;
}

bytes text_run(const struct text *t, size_t offset, size_t most)
{
    if (HF_UNLIKELY(!t->view.data))
        return rope_run(t->rope, offset, most);
    size_t left = t->view.size - offset;
    return bytes_of(t->view.data + offset, left < most ? left : most);
}

void text_read(const struct text *t, size_t offset, size_t size, uint8_t *out)
{
    if (t->view.data)
        memcpy(out, t->view.data + offset, size);
    else if (size) /* an absent one has neither */
        rope_read(t->rope, offset, size, out);
}

bytes text_part(const struct text *t, size_t offset, size_t size, uint8_t *room)
{
    if (offset >= t->view.size)
        return BYTES("");
    size = size < t->view.size - offset ? size : t->view.size - offset;
    bytes run = text_run(t, offset, size);
    if (run.size == size)
        return run;
    text_read(t, offset, size, room);
    return bytes_of(room, size);
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
        out->view = view_of(e, out->digits);
        if (HF_UNLIKELY(!out->view.data))
            out->rope = entry_pointer(e);
    }
    return HF_OK;
}

status string_look(struct txn *t, const struct key *k, struct text *out) { return get(t, k, true, out); }

status string_look_aside(struct txn *t, const struct key *k, struct text *out) { return get(t, k, false, out); }

static status in_one_run(struct txn *t, status s, struct text *out)
{
    if (s == HF_OK && out->found && !out->view.data)
        out->view = flat(out->rope, &t->arena);
    return s;
}

status string_get(struct txn *t, const struct key *k, struct text *out) { return in_one_run(t, get(t, k, true, out), out); }

status string_peek(struct txn *t, const struct key *k, struct text *out) { return in_one_run(t, get(t, k, false, out), out); }

static status keep_old(struct txn *t, const struct entry *e, struct text *out)
{
    out->found = e != NULL;
    out->view = (bytes){0};
    if (!e)
        return HF_OK;
    if (entry_type(e) != TYPE_STRING)
        return HF_ERR_WRONGTYPE;
    bytes view = view_of(e, out->digits);
    out->view = view.data ? arena_dup(&t->arena, view) : flat(entry_pointer(e), &t->arena);
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
    if (HF_UNLIKELY(o->rope != NULL)) {
        image.raw = o->raw;
        image.encoding = ENC_ROPE;
        image.value = bytes_of(&o->rope, sizeof(struct rope *));
    } else if (o->raw) {
        image.raw = true;
        image.value = value;
    } else {
        string_form(&image, value, &number);
    }
    status s = txn_put(t, k, &spot, &image, NULL, true);
    result->done = s == HF_OK;
    if (HF_UNLIKELY(o->rope != NULL) && result->done)
        rope_ref(o->rope);
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

/* A rope of ours alone, which is changed where it is: NULL when there is none. */
static struct rope *own_rope(const struct entry *e)
{
    struct rope *r = e && entry_encoding(e) == ENC_ROPE ? entry_pointer(e) : NULL;
    return r && !rope_is_shared(r) ? r : NULL;
}

/* Bytes of the block that may be overwritten where they stand: NULL when there are none. */
static uint8_t *own_bytes(const struct txn *t, struct entry *e, size_t end)
{
    if (!e || t->undoing || entry_encoding(e) != ENC_BYTES || end > entry_value_size(e))
        return NULL;
    return (uint8_t *)(uintptr_t)entry_inline(e).data;
}

/* Undo of a change in place costs what the change writes, not what the string holds. */
static void keep_bytes(struct txn *t, const struct key *k, const struct spot *spot, const struct rope *r, uint64_t offset, size_t size)
{
    struct undo *u = txn_undo_push(t, UNDO_BYTES, k, spot);
    size_t inside = offset < r->size ? r->size - offset : 0;
    inside = inside < size ? inside : size;
    uint8_t *before = arena_alloc(&t->arena, inside);
    if (inside)
        rope_read(r, offset, inside, before);
    u->offset = offset;
    u->size = r->size;
    u->overwritten = bytes_of(before, inside);
}

/* The old value with the new one in it as a rope of its own, which shares what it can. NULL: no memory. */
static struct rope *rope_with(const struct entry *old, uint64_t offset, bytes value)
{
    char digits[24];
    struct rope *r = old && entry_encoding(old) == ENC_ROPE ? rope_clone(entry_pointer(old)) : rope_new(old ? view_of(old, digits) : BYTES(""));
    if (r && !rope_write(r, offset, value)) {
        rope_unref(r);
        r = NULL;
    }
    return r;
}

static status write_large(struct txn *t, const struct key *k, struct spot *spot, uint64_t offset, bytes value)
{
    struct rope *r = rope_with(spot->place.entry, offset, value);
    if (!r)
        return HF_ERR_NO_MEMORY;
    status s = rewrite(t, k, spot, ENC_ROPE, bytes_of(&r, sizeof(r)), false);
    if (s != HF_OK)
        rope_unref(r);
    return s;
}

/* The old value with the new one in it, as an entry of its own. */
static status write_small(struct txn *t, const struct key *k, struct spot *spot, uint64_t offset, bytes value, size_t total)
{
    char digits[24];
    bytes old = spot->place.entry ? view_of(spot->place.entry, digits) : (bytes){0};
    uint8_t *joined = arena_alloc(&t->arena, total);
    if (old.size)
        memcpy(joined, old.data, old.size);
    if (total > old.size)
        memset(joined + old.size, 0, total - old.size);
    memcpy(joined + offset, value.data, value.size);
    return rewrite(t, k, spot, ENC_BYTES, bytes_of(joined, total), false);
}

static void changed_in_place(struct txn *t, const struct key *k, struct spot *spot)
{
    struct entry *e = spot->place.entry;
    entry_value_changed(e);
    txn_access(t, e);
    txn_changed(t, k, spot);
}

/* Writes value at offset, zero-filling a gap; effect: log_append or log_range. */
static status write_at(struct txn *t, const struct key *k, struct spot *spot, uint64_t offset, bytes value, size_t *size)
{
    struct entry *e = spot->place.entry;
    cut_before(t->engine, spot->stripe, spot->db_id, k->hash);
    size_t end = offset + value.size, old = size_of(e), total = end > old ? end : old;
    uint8_t *inside = own_bytes(t, e, end);
    *size = total;
    if (inside) {
        memcpy(inside + offset, value.data, value.size);
        e->fields |= FIELD_RAW;
        changed_in_place(t, k, spot);
        return HF_OK;
    }
    struct rope *rope = own_rope(e);
    if (rope) {
        if (t->undoing)
            keep_bytes(t, k, spot, rope, offset, value.size);
        if (!rope_write(rope, offset, value))
            return HF_ERR_NO_MEMORY;
        changed_in_place(t, k, spot);
        return HF_OK;
    }
    return total > ENTRY_INLINE_MAX ? write_large(t, k, spot, offset, value) : write_small(t, k, spot, offset, value, total);
}

status string_append(struct txn *t, const struct key *k, bytes tail, size_t *size)
{
    struct spot spot;
    struct entry *e;
    status s = find_string(t, k, &spot, &e);
    if (s != HF_OK)
        return s;
    size_t old = size_of(e);
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
    *size = size_of(e);
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
    *grew = size > size_of(e);
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
    else if (e && (entry_encoding(e) == ENC_ROPE || !number_parse_int(entry_inline(e), &value)))
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
    if (e && (entry_encoding(e) == ENC_ROPE || !number_parse_float(view_of(e, digits), &value)))
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
