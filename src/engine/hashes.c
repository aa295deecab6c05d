/* hashes.c -- operations on hash keys, field by field. */
#include "engine/hashes.h"

#include "base/number.h"
#include "engine/internal.h"
#include "engine/objects.h"

#include <math.h>

status hashes_view(struct txn *t, const struct key *k, const struct hash **out)
{
    const void *object;
    status s = object_view(t, k, TYPE_HASH, &object);
    if (s == HF_OK)
        *out = object;
    return s;
}

status hashes_find(struct txn *t, const struct key *k, struct object_ref *o)
{
    return object_find(t, k, TYPE_HASH, o);
}

static size_t count_of(const struct object_ref *o) { return o->object ? hash_count(o->object) : 0; }

status hashes_set_field(struct txn *t, struct object_ref *o, bytes field, bytes value, bool keep_deadline)
{
    struct buf change;
    bytes old;
    buf_init(&change, SIZE_MAX);
    if (keep_deadline && o->object && hash_get(o->object, field, &old))
        hash_change_update(&change, field, value);
    else
        hash_change_set(&change, field, value);
    status s = object_change(t, o, buf_view(&change));
    buf_release(&change);
    return s;
}

/* A change of a hash that is there, and that fits. */
static void make(struct txn *t, struct object_ref *o, struct buf *change)
{
    hf_assert(o->object);
    status s = object_change(t, o, buf_view(change));
    hf_assert(s == HF_OK);
    buf_release(change);
}

void hashes_drop_field(struct txn *t, struct object_ref *o, bytes field)
{
    struct buf change;
    buf_init(&change, SIZE_MAX);
    hash_change_remove(&change, field);
    make(t, o, &change);
}

void hashes_set_deadline(struct txn *t, struct object_ref *o, bytes field, uint64_t deadline_ms)
{
    struct buf change;
    buf_init(&change, SIZE_MAX);
    hash_change_deadline(&change, deadline_ms);
    hash_change_field(&change, field);
    make(t, o, &change);
}

status hashes_set(struct txn *t, const struct key *k, bytes field, bytes value, bool *is_new)
{
    struct object_ref o;
    status s = object_find(t, k, TYPE_HASH, &o);
    if (s != HF_OK)
        return s;
    size_t before = count_of(&o);
    s = hashes_set_field(t, &o, field, value, false);
    *is_new = s == HF_OK && count_of(&o) > before;
    return s;
}

status hashes_remove(struct txn *t, const struct key *k, bytes field, bool *removed)
{
    struct object_ref o;
    bytes old;
    status s = object_find(t, k, TYPE_HASH, &o);
    if (s != HF_OK)
        return s;
    *removed = o.object && hash_get(o.object, field, &old);
    if (*removed) {
        hashes_drop_field(t, &o, field);
        object_close(t, &o);
    }
    return HF_OK;
}

status hashes_incr_by(struct txn *t, const struct key *k, bytes field, int64_t delta, int64_t *result)
{
    struct object_ref o;
    bytes old;
    int64_t value = 0;
    char digits[NUMBER_TEXT_MAX];
    status s = object_find(t, k, TYPE_HASH, &o);
    if (s != HF_OK)
        return s;
    if (o.object && hash_get(o.object, field, &old) && !number_parse_int(old, &value))
        return HF_ERR_HASH_NOT_INTEGER;
    if (__builtin_add_overflow(value, delta, &value))
        return HF_ERR_OVERFLOW;
    s = hashes_set_field(t, &o, field, bytes_of(digits, number_format_int(digits, value)), true);
    if (s == HF_OK)
        *result = value;
    return s;
}

status hashes_incr_float(struct txn *t, const struct key *k, bytes field, long double delta, bytes *result)
{
    struct object_ref o;
    bytes old;
    long double value = 0;
    status s = object_find(t, k, TYPE_HASH, &o);
    if (s != HF_OK)
        return s;
    if (o.object && hash_get(o.object, field, &old) && !number_parse_float(old, &value))
        return HF_ERR_HASH_NOT_FLOAT;
    value += delta;
    if (isnan(value) || isinf(value))
        return HF_ERR_NAN_OR_INF;
    char *text = arena_alloc(&t->arena, NUMBER_FLOAT_MAX);
    bytes formatted = bytes_of(text, number_format_float(text, value));
    s = hashes_set_field(t, &o, field, formatted, true);
    if (s == HF_OK)
        *result = formatted;
    return s;
}
