/* hashes.c -- operations on hash keys, field by field. */
#include "engine/hashes.h"

#include "base/number.h"
#include "engine/internal.h"

#include <math.h>

static status find_hash(struct txn *t, const struct key *k, struct spot *spot, struct hash **found)
{
    struct entry *e = txn_find(t, k, spot);
    if (e && entry_type(e) != TYPE_HASH)
        return HF_ERR_WRONGTYPE;
    *found = e ? entry_pointer(e) : NULL;
    if (e)
        txn_access(t, e);
    return HF_OK;
}

status hashes_view(struct txn *t, const struct key *k, const struct hash **out)
{
    struct spot spot;
    struct hash *h;
    status s = find_hash(t, k, &spot, &h);
    if (s == HF_OK) {
        txn_count_lookup(t, h != NULL);
        *out = h;
    }
    return s;
}

static void keep_field(struct txn *t, const struct key *k, const struct spot *spot, const struct hash *h, bytes field)
{
    if (!t->undoing)
        return;
    bytes old;
    struct undo *u = txn_undo_push(t, UNDO_FIELD, k, spot);
    u->had_field = hash_get(h, field, &old);
    u->field = arena_dup(&t->arena, field);
    if (u->had_field)
        u->value = arena_dup(&t->arena, old);
}

static status set_field(struct txn *t, const struct key *k, struct spot *spot, struct hash *h, bytes field, bytes value,
                        bool *is_new)
{
    if (h) {
        keep_field(t, k, spot, h, field);
        *is_new = hash_set(h, field, value);
        txn_changed(t, k, spot);
    } else {
        h = hash_new();
        *is_new = hash_set(h, field, value);
        struct entry_image image = {.type = TYPE_HASH, .encoding = ENC_OBJECT, .key = k->name,
                                    .clock = ((uint32_t)(t->now_ms / 1000) & 0xffffff) | 5u << 24};
        status s = txn_put(t, k, spot, &image, h, false);
        if (s != HF_OK) {
            hash_free(h);
            return s;
        }
    }
    if (txn_logs(t))
        effect_field_set(&t->record, spot->db_id, k->name, field, value);
    return HF_OK;
}

status hashes_set(struct txn *t, const struct key *k, bytes field, bytes value, bool *is_new)
{
    struct spot spot;
    struct hash *h;
    status s = find_hash(t, k, &spot, &h);
    return s == HF_OK ? set_field(t, k, &spot, h, field, value, is_new) : s;
}

status hashes_remove(struct txn *t, const struct key *k, bytes field, bool *removed)
{
    struct spot spot;
    struct hash *h;
    bytes old;
    status s = find_hash(t, k, &spot, &h);
    if (s != HF_OK)
        return s;
    *removed = h && hash_get(h, field, &old);
    if (!*removed)
        return HF_OK;
    if (hash_count(h) == 1) {
        txn_remove(t, k, &spot, true, false);
        return HF_OK;
    }
    keep_field(t, k, &spot, h, field);
    hash_remove(h, field);
    txn_changed(t, k, &spot);
    if (txn_logs(t))
        effect_field_remove(&t->record, spot.db_id, k->name, field);
    return HF_OK;
}

status hashes_incr_by(struct txn *t, const struct key *k, bytes field, int64_t delta, int64_t *result)
{
    struct spot spot;
    struct hash *h;
    bytes old;
    int64_t value = 0;
    char digits[NUMBER_TEXT_MAX];
    bool is_new;
    status s = find_hash(t, k, &spot, &h);
    if (s != HF_OK)
        return s;
    if (h && hash_get(h, field, &old) && !number_parse_int(old, &value))
        return HF_ERR_HASH_NOT_INTEGER;
    if (__builtin_add_overflow(value, delta, &value))
        return HF_ERR_OVERFLOW;
    s = set_field(t, k, &spot, h, field, bytes_of(digits, number_format_int(digits, value)), &is_new);
    if (s == HF_OK)
        *result = value;
    return s;
}

status hashes_incr_float(struct txn *t, const struct key *k, bytes field, long double delta, bytes *result)
{
    struct spot spot;
    struct hash *h;
    bytes old;
    long double value = 0;
    bool is_new;
    status s = find_hash(t, k, &spot, &h);
    if (s != HF_OK)
        return s;
    if (h && hash_get(h, field, &old) && !number_parse_float(old, &value))
        return HF_ERR_HASH_NOT_FLOAT;
    value += delta;
    if (isnan(value) || isinf(value))
        return HF_ERR_NAN_OR_INF;
    char *text = arena_alloc(&t->arena, NUMBER_FLOAT_MAX);
    bytes formatted = bytes_of(text, number_format_float(text, value));
    s = set_field(t, k, &spot, h, field, formatted, &is_new);
    if (s == HF_OK)
        *result = formatted;
    return s;
}
