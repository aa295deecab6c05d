/* keys.c -- operations on a key of any type. */
#include "engine/keys.h"

#include "engine/cut.h"
#include "engine/events.h"
#include "types/type.h"

static const char *encoding_name(const struct entry *e)
{
    switch (entry_encoding(e)) {
    case ENC_INT:
        return e->fields & FIELD_RAW ? "raw" : "int";
    case ENC_OBJECT:
        return type_ops_of((int)entry_type(e))->encoding(entry_pointer(e));
    case ENC_BYTES:
        return entry_value_size(e) <= 44 && !(e->fields & FIELD_RAW) ? "embstr" : "raw";
    default:
        return "raw";
    }
}

void key_info(struct txn *t, const struct key *k, struct key_info *out)
{
    struct spot spot;
    struct entry *e = txn_find(t, k, &spot);
    *out = (struct key_info){.found = e != NULL};
    if (!e)
        return;
    out->type = (int)entry_type(e);
    out->encoding = encoding_name(e);
    out->deadline_ms = entry_deadline(e);
    out->idle_seconds = clock_idle_s(e->clock, t->clock_ms);
    out->frequency = clock_uses(e->clock, t->clock_ms, atomic_load_explicit(&t->engine->eviction.lfu_decay_min, memory_order_relaxed));
    out->memory = entry_memory(t->engine->store, e);
    out->index_memory = 9;
}

bool key_exists(struct txn *t, const struct key *k)
{
    struct spot spot;
    return txn_find(t, k, &spot) != NULL;
}

void key_looked_up(struct txn *t, const struct key *k, bool found) { txn_looked_up(t, k, found); }

bool key_read(struct txn *t, const struct key *k)
{
    bool found = key_exists(t, k);
    txn_looked_up(t, k, found);
    return found;
}

bool key_touch(struct txn *t, const struct key *k)
{
    struct spot spot;
    struct entry *e = txn_find(t, k, &spot);
    txn_looked_up(t, k, e != NULL);
    if (e)
        txn_access(t, e);
    return e != NULL;
}

void key_set_idle(struct txn *t, const struct key *k, uint64_t seconds)
{
    struct spot spot;
    struct entry *e = txn_find(t, k, &spot);
    uint64_t idle = seconds < CLOCK_SECONDS ? seconds : CLOCK_SECONDS;
    hf_assert(e);
    e->clock = clock_make(t->clock_ms - idle * 1000, e->clock >> 24);
}

void key_set_frequency(struct txn *t, const struct key *k, uint8_t frequency)
{
    struct spot spot;
    struct entry *e = txn_find(t, k, &spot);
    hf_assert(e);
    e->clock = clock_make(t->clock_ms, frequency);
}

bool key_remove(struct txn *t, const struct key *k)
{
    struct spot spot;
    if (!txn_find(t, k, &spot))
        return false;
    txn_remove(t, k, &spot, true, false);
    return true;
}

static bool deadline_refused(uint64_t old, uint64_t deadline_ms, unsigned conditions)
{
    return (conditions & DEADLINE_NX && old) || (conditions & DEADLINE_XX && !old) ||
           (conditions & DEADLINE_GT && (!old || deadline_ms <= old)) ||
           (conditions & DEADLINE_LT && old && deadline_ms >= old);
}

bool key_set_deadline(struct txn *t, const struct key *k, uint64_t deadline_ms, unsigned conditions)
{
    struct spot spot;
    struct entry *e = txn_find(t, k, &spot);
    uint64_t old = e ? entry_deadline(e) : 0;
    if (!e || deadline_refused(old, deadline_ms, conditions))
        return false;
    if (deadline_ms <= t->now_ms && !t->recovering) {
        txn_remove(t, k, &spot, true, false);
        return true;
    }
    if (entry_deadline_fits(e, deadline_ms)) {
        if (t->undoing)
            txn_undo_push(t, UNDO_DEADLINE, k, &spot)->deadline_ms = old;
        cut_before(t->engine, spot.stripe, spot.db_id, k->hash);
        entry_set_deadline(e, deadline_ms);
        table_enrol(spot.table, k->name, k->hash, deadline_ms);
        if (deadline_ms < atomic_load_explicit(&spot.stripe->deadline_next, memory_order_relaxed))
            atomic_store_explicit(&spot.stripe->deadline_next, deadline_ms, memory_order_relaxed);
    } else if (txn_reblock(t, k, &spot, deadline_ms) != HF_OK) {
        return false;
    }
    txn_changed(t, k, &spot);
    if (txn_logs(t))
        effect_deadline(&t->record, spot.db_id, k->name, deadline_ms);
    return true;
}

bool key_persist(struct txn *t, const struct key *k)
{
    struct spot spot;
    struct entry *e = txn_find(t, k, &spot);
    if (!e || !entry_deadline(e) || txn_reblock(t, k, &spot, 0) != HF_OK)
        return false;
    txn_changed(t, k, &spot);
    if (txn_logs(t))
        effect_deadline(&t->record, spot.db_id, k->name, 0);
    return true;
}

/* Puts the value of `source` under another key: shared (the source block goes away) or copied. */
static status put_value(struct txn *t, struct entry *source, const struct key *to, struct spot *spot, bool share)
{
    struct entry_image image = entry_read(source);
    void *object = NULL;
    if (spot->place.entry) /* as a key of its own, not as a change of the one that was there */
        txn_event(t, to, EVENT_NEW, "new");
    image.key = to->name;
    image.has_version = image.fetched = false; /* a version belongs to one key */
    if (share || image.encoding <= ENC_INT) {
        /* a block with the same value bytes, or the same pointer */
        struct entry *fresh = slab_alloc(t->heap, entry_image_size(&image));
        if (!fresh)
            return HF_ERR_NO_MEMORY;
        entry_write(fresh, &image);
        return txn_adopt(t, to, spot, fresh, share && image.encoding > ENC_INT);
    }
    struct rope *rope = NULL; /* shared until one of the two changes */
    if (image.encoding == ENC_ROPE)
        rope = rope_ref(entry_pointer(source));
    else
        object = type_ops_of((int)image.type)->share(entry_pointer(source));
    status s = txn_put(t, to, spot, &image, object, true);
    if (s != HF_OK && object)
        type_ops_of((int)image.type)->free(object);
    if (s != HF_OK && rope)
        rope_unref(rope);
    return s;
}

static status move_value(struct txn *t, const struct key *from, struct spot *source, const struct key *to, struct spot *target)
{
    struct entry *e = source->place.entry;
    bool shared = entry_encoding(e) > ENC_INT;
    status s = put_value(t, e, to, target, true);
    if (s != HF_OK)
        return s;
    /* inserting may have moved the source within its table */
    bool found = table_find(source->table, from->name, from->hash, &source->place);
    hf_assert(found && source->place.entry == e);
    txn_remove(t, from, source, true, shared);
    return HF_OK;
}

status key_rename(struct txn *t, const struct key *from, const struct key *to, bool if_absent, bool *done)
{
    struct spot source, target;
    *done = false;
    if (!txn_find(t, from, &source))
        return HF_ERR_NO_SUCH_KEY;
    bool taken = txn_find(t, to, &target) != NULL;
    if (taken && if_absent)
        return HF_OK;
    if (bytes_equal(from->name, to->name) && from->db == to->db) {
        *done = true;
        return HF_OK;
    }
    /* finding `to` may have removed an expired entry and so moved the source */
    bool found = table_find(source.table, from->name, from->hash, &source.place);
    hf_assert(found);
    status s = move_value(t, from, &source, to, &target);
    *done = s == HF_OK;
    return s;
}

status key_move(struct txn *t, const struct key *from, const struct key *to, bool *done)
{
    *done = false;
    if (key_exists(t, to) || !key_exists(t, from))
        return HF_OK;
    return key_rename(t, from, to, true, done);
}

status key_copy(struct txn *t, const struct key *from, const struct key *to, bool replace, bool *done)
{
    struct spot source, target;
    *done = false;
    bool there = txn_find(t, from, &source) != NULL;
    txn_looked_up(t, from, there);
    if (!there || (txn_find(t, to, &target) && !replace))
        return HF_OK;
    bool found = table_find(source.table, from->name, from->hash, &source.place);
    hf_assert(found);
    status s = put_value(t, source.place.entry, to, &target, false);
    *done = s == HF_OK;
    return s;
}
