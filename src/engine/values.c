/* values.c -- values seen one by one: by a digest, and by the codec of their type. */
#include "engine/values.h"

#include "engine/internal.h"
#include "types/type.h"

struct walk {
    struct txn *txn;
    void (*each)(void *context, const struct value_view *v);
    void *context;
    status result;
};

static void walk_tables(struct txn *t, uint32_t db, void (*each)(void *, struct entry *, uint64_t), struct walk *walk)
{
    struct engine *e = t->engine;
    for (uint32_t i = 0; i < STRIPE_COUNT; i++) {
        struct stripe *s = &e->store->stripes[i];
        bool locked;
        if (!walk_enter(t, s, &locked))
            break;
        struct table *table = stripe_table(s, e->db_ids[db]);
        for (uint64_t from = 0; table && table->count && from < UINT64_C(1) << 32;)
            from = table_walk(table, from, table->count, each, walk);
        if (locked)
            stripe_unlock(s);
    }
    if (e->log)
        t->observed_lsn = log_tail(e->log);
}

static void view_one(void *context, struct entry *e, uint64_t hash)
{
    struct walk *walk = context;
    char digits[24];
    struct value_view v = {.key = entry_key(e), .type = entry_type(e), .deadline_ms = entry_deadline(e)};
    (void)hash;
    if (v.deadline_ms && v.deadline_ms <= walk->txn->now_ms)
        return;
    struct arena arena;
    arena_init(&arena);
    if (v.type == TYPE_STRING)
        v.text = string_flat(e, digits, &arena);
    else
        v.object = entry_pointer(e);
    walk->each(walk->context, &v);
    arena_release(&arena);
}

void values_walk(struct txn *t, uint32_t db, void (*each)(void *, const struct value_view *), void *context)
{
    struct walk walk = {t, each, context, HF_OK};
    walk_tables(t, db, view_one, &walk);
}

static void rebuild_one(void *context, struct entry *e, uint64_t hash)
{
    struct walk *walk = context;
    struct buf encoded;
    void *fresh;
    (void)hash;
    if (entry_encoding(e) != ENC_OBJECT)
        return; /* the bytes of a string are its form on disk */
    const struct type_ops *ops = type_ops_of((int)entry_type(e));
    void *old = entry_pointer(e);
    buf_init(&encoded, SIZE_MAX);
    ops->encode(old, &encoded);
    status s = ops->decode(buf_view(&encoded), &fresh);
    buf_release(&encoded);
    if (s != HF_OK) {
        walk->result = s;
        return;
    }
    memcpy((void *)(uintptr_t)entry_inline(e).data, &fresh, sizeof(fresh));
    ops->free(old);
}

status values_rebuild(struct txn *t)
{
    struct walk walk = {.txn = t, .result = HF_OK};
    for (uint32_t db = 0; db < engine_databases(t->engine); db++)
        walk_tables(t, db, rebuild_one, &walk);
    return walk.result;
}

void engine_rest_expiry(struct engine *e, enum expiry_rest reason, bool on)
{
    if (on)
        atomic_fetch_or_explicit(&e->expiry_rests, reason, memory_order_relaxed);
    else
        atomic_fetch_and_explicit(&e->expiry_rests, ~(unsigned)reason, memory_order_relaxed);
}
