/* objects.c -- collections under transactions: one way to find, change and remove.
 *
 * A change goes to the object through its type's apply and, as the same bytes, into the record.
 * Undo of a collection is a share of what it was, taken before the first change of the
 * transaction: the type copies what it then changes, so a share costs nothing until then.
 */
#include "engine/objects.h"

#include "engine/cut.h"
#include "engine/events.h"
#include "engine/feed.h"
#include "engine/internal.h"
#include "types/hash.h"
#include "types/type.h"

/* ---- parts that expire by themselves ---- */

/* Only hashes have some. */
static bool has_due(const struct txn *t, const struct entry *e)
{
    return e->fields & FIELD_PARTS && hash_due_count(entry_pointer(e), t->now_ms) > 0;
}

bool object_is_over(const struct txn *t, const struct entry *e)
{
    const struct hash *h = entry_pointer(e);
    return hash_due_count(h, t->now_ms) == hash_count(h);
}

static void expire_change(const struct txn *t, struct buf *change)
{
    buf_init(change, SIZE_MAX);
    hash_change_expire(change, t->now_ms);
}

/* A copy without what is due, until the transaction ends. */
static void *shadow_of(struct txn *t, const struct entry *e)
{
    struct shadow *s = arena_alloc(&t->arena, sizeof(*s));
    struct buf change;
    *s = (struct shadow){t->shadows, entry_type(e), type_ops_of((int)entry_type(e))->share(entry_pointer(e))};
    t->shadows = s;
    expire_change(t, &change);
    status applied = type_ops_of((int)s->type)->apply(s->object, buf_view(&change));
    hf_assert(applied == HF_OK);
    buf_release(&change);
    return s->object;
}

void shadows_free(struct txn *t)
{
    for (struct shadow *s = t->shadows; s; s = s->next)
        type_ops_of((int)s->type)->free(s->object);
    t->shadows = NULL;
}

void object_enrol(struct stripe *s, struct table *table, const struct key *k, struct entry *e)
{
    uint64_t wake;
    e->fields |= FIELD_PARTS;
    wake = entry_wake(e);
    if (!wake)
        return;
    table_enrol(table, k->name, k->hash, wake);
    if (wake < atomic_load_explicit(&s->deadline_next, memory_order_relaxed))
        atomic_store_explicit(&s->deadline_next, wake, memory_order_relaxed);
}

static void enrol_key(const struct object_ref *o)
{
    struct place p;
    bool found = table_find(o->table, o->key->name, o->key->hash, &p);
    hf_assert(found && entry_pointer(p.entry) == o->object);
    object_enrol(o->stripe, o->table, o->key, p.entry);
}

struct entry *object_expire_parts(struct txn *t, const struct key *k, struct spot *spot)
{
    struct entry *e = spot->place.entry;
    if (!has_due(t, e))
        return e;
    struct object_ref o = {.key = k, .type = entry_type(e), .object = entry_pointer(e), .stripe = spot->stripe, .table = spot->table,
                           .db_id = spot->db_id};
    counter_add(&t->slot_stats->expired_fields, hash_due_count(o.object, t->now_ms));
    txn_event(t, k, EVENT_HASH, "hexpired");
    if (object_is_over(t, e)) {
        txn_remove(t, k, spot, true, false);
        txn_feed_gone(t, k);
        txn_event(t, k, EVENT_GENERIC, "del");
        return NULL;
    }
    struct buf change;
    txn_feed_fields_due(t, k, o.object);
    expire_change(t, &change);
    status s = object_change(t, &o, buf_view(&change));
    hf_assert(s == HF_OK);
    buf_release(&change);
    return e;
}

/* ---- finding and changing ---- */

status object_find(struct txn *t, const struct key *k, enum type type, struct object_ref *out)
{
    struct spot spot;
    struct entry *e = txn_find(t, k, &spot);
    if (e && entry_type(e) != type)
        return HF_ERR_WRONGTYPE;
    *out = (struct object_ref){.key = k, .type = type, .object = e ? entry_pointer(e) : NULL,
                               .stripe = spot.stripe, .table = spot.table, .db_id = spot.db_id};
    if (e)
        txn_access(t, e);
    if (e && HF_UNLIKELY(e->fields & FIELD_PARTS) && !t->may_change && has_due(t, e))
        out->object = shadow_of(t, e);
    return HF_OK;
}

status object_view_any(struct txn *t, const struct key *k, const enum type *types, size_t count, enum type *type, const void **object)
{
    struct object_ref o;
    status s = HF_ERR_WRONGTYPE;
    size_t i = 0;
    while (i < count && (s = object_find(t, k, types[i], &o)) == HF_ERR_WRONGTYPE)
        i++;
    txn_looked_up(t, k, s != HF_OK || o.object); /* what is of another type is found, too */
    if (s != HF_OK)
        return s;
    *type = types[i];
    *object = o.object;
    return HF_OK;
}

status object_view(struct txn *t, const struct key *k, enum type type, const void **object)
{
    return object_view_any(t, k, &type, 1, &type, object);
}

static struct spot spot_of(const struct object_ref *o)
{
    return (struct spot){.stripe = o->stripe, .table = o->table, .db_id = o->db_id};
}

static status create(struct txn *t, struct object_ref *o)
{
    struct spot spot = spot_of(o);
    void *object = type_ops_of((int)o->type)->create();
    struct entry_image image = {.type = o->type, .encoding = ENC_OBJECT, .key = o->key->name};
    status s = txn_put(t, o->key, &spot, &image, object, false);
    if (s != HF_OK) {
        type_ops_of((int)o->type)->free(object);
        return s;
    }
    o->object = object;
    o->table = spot.table;
    return HF_OK;
}

/* Once per object and transaction is enough; looking back a little finds the usual repetition. */
#define UNDO_LOOK_BACK 16

static void keep_for_undo(struct txn *t, const struct object_ref *o)
{
    int looked = 0;
    for (const struct undo *u = t->undo; u != t->undo_floor && looked < UNDO_LOOK_BACK; u = u->next, looked++) {
        if (u->kind == UNDO_OBJECT && u->object == o->object)
            return;
    }
    struct spot spot = spot_of(o);
    struct undo *u = txn_undo_push(t, UNDO_OBJECT, o->key, &spot);
    u->type = o->type;
    u->object = o->object;
    u->share = type_ops_of((int)o->type)->share(o->object);
}

static status change_object(struct txn *t, struct object_ref *o, bytes change, void (*changed)(struct txn *t, const struct key *k, struct spot *spot))
{
    if (!o->object) {
        status s = create(t, o);
        if (s != HF_OK)
            return s;
    } else {
        struct spot spot = spot_of(o);
        cut_before(t->engine, o->stripe, o->db_id, o->key->hash);
        if (t->undoing)
            keep_for_undo(t, o);
        changed(t, o->key, &spot);
    }
    const struct type_ops *ops = type_ops_of((int)o->type);
    uint64_t before = ops->deadline ? ops->deadline(o->object) : 0;
    status s = ops->apply(o->object, change);
    hf_assert(s == HF_OK || t->recovering);
    uint64_t after = ops->deadline ? ops->deadline(o->object) : 0;
    if (HF_UNLIKELY(after != 0) && (before == 0 || after < before))
        enrol_key(o);
    if (txn_logs(t))
        effect_change(&t->record, o->db_id, o->key->name, (int)o->type, change);
    return s;
}

status object_change(struct txn *t, struct object_ref *o, bytes change) { return change_object(t, o, change, txn_changed); }

status object_change_unwatched(struct txn *t, struct object_ref *o, bytes change) { return change_object(t, o, change, txn_changed_unwatched); }

void object_touch(struct txn *t, const struct object_ref *o)
{
    if (o->stripe->watches)
        watch_touch_locked(t, o->stripe, o->db_id, o->key->name);
}

bool object_close(struct txn *t, struct object_ref *o)
{
    if (!o->object || !type_ops_of((int)o->type)->is_empty(o->object))
        return false;
    struct spot spot;
    struct entry *e = txn_find(t, o->key, &spot);
    hf_assert(e && entry_pointer(e) == o->object);
    txn_remove(t, o->key, &spot, true, false);
    o->object = NULL;
    return true;
}

void object_drop(struct txn *t, enum type type, void *object)
{
    const struct type_ops *ops = type_ops_of((int)type);
    if (ops->memory(object) < DROPPED_BYTES)
        ops->free(object);
    else
        databases_drop_object(t->engine, type, object);
}

status object_store(struct txn *t, const struct key *k, enum type type, void *object, bool *removed)
{
    const struct type_ops *ops = type_ops_of((int)type);
    struct spot spot;
    struct entry *old = txn_find(t, k, &spot);
    bool is_empty = ops->is_empty(object);
    if (removed)
        *removed = old && is_empty;
    if (!is_empty) {
        struct entry_image image = {.type = type, .encoding = ENC_OBJECT, .key = k->name};
        status s = txn_put(t, k, &spot, &image, object, true);
        if (s != HF_OK)
            ops->free(object);
        return s;
    }
    ops->free(object);
    if (old)
        txn_remove(t, k, &spot, true, false);
    return HF_OK;
}
