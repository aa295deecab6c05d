/* apply.c -- replay: the effects of a record through the operations that made them. */
#include "base/crc.h"
#include "engine/internal.h"
#include "engine/items.h"
#include "engine/keys.h"
#include "engine/objects.h"
#include "engine/strings.h"

static status apply_put(struct txn *t, const struct key *k, bytes payload)
{
    struct entry_image image;
    void *object;
    struct spot spot;
    status s = entry_decode(payload, &image, &object);
    if (s != HF_OK)
        return s;
    image.key = k->name;
    txn_find(t, k, &spot);
    return txn_put(t, k, &spot, &image, object, false);
}

static status apply_change(struct txn *t, const struct key *k, enum type type, bytes change)
{
    struct object_ref o;
    if (object_find(t, k, type, &o) != HF_OK)
        return HF_ERR_CORRUPT;
    return object_change(t, &o, change);
}

static status apply_effect(struct txn *t, const struct key *k, const struct effect *f)
{
    size_t size;
    switch (f->kind) {
    case EFFECT_PUT:
        return apply_put(t, k, f->a);
    case EFFECT_REMOVE:
        key_remove(t, k);
        return HF_OK;
    case EFFECT_DEADLINE:
        if (f->number)
            key_set_deadline(t, k, f->number, 0);
        else
            key_persist(t, k);
        return HF_OK;
    case EFFECT_APPEND:
        return string_append(t, k, f->a, &size);
    case EFFECT_RANGE:
        return string_set_range(t, k, f->number, f->a, &size);
    case EFFECT_VERSION:
        return item_recover_version(t, k, f->number);
    case EFFECT_CHANGE:
        return apply_change(t, k, (enum type)f->number, f->a);
    default:
        return HF_ERR_CORRUPT;
    }
}

static status apply_map(struct engine *e, bytes payload, uint64_t lsn)
{
    uint32_t ids[DATABASES_MAX], next_id, count;
    status s = effect_db_map_read(payload, &next_id, ids, DATABASES_MAX, &count);
    if (s != HF_OK)
        return s;
    memcpy(e->db_ids, ids, count * sizeof(*ids));
    e->db_next_id = next_id > e->db_next_id ? next_id : e->db_next_id;
    (void)lsn;
    return HF_OK;
}

status apply_record(struct engine *e, int thread, int threads, struct txn *t, const struct snapshot_ranges *ranges,
                    uint64_t map_lsn, const struct log_record *record)
{
    bytes in = record->body;
    status s = HF_OK;
    while (in.size && s == HF_OK) {
        struct effect f;
        struct key k;
        s = effect_next(&in, &f);
        if (s != HF_OK)
            break;
        if (f.kind == EFFECT_DB_MAP) {
            if (thread == 0 && record->lsn >= map_lsn)
                s = apply_map(e, f.a, record->lsn);
            continue;
        }
        uint16_t stripe = key_slot(f.key) >> STRIPE_SHIFT;
        if (stripe % threads != thread)
            continue;
        store_locate(e->store, f.key, &k);
        k.db = f.db_id;
        if (ranges && record->lsn < snapshot_capture_lsn(ranges, stripe, f.db_id, k.hash))
            continue;
        txn_reset(t, 0);
        s = apply_effect(t, &k, &f);
        if (os_bug(BUG_HALF_REPLAY))
            break;
    }
    return s;
}
