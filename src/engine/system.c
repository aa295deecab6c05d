/* system.c -- the system database: an internal id that stands for no number clients know. */
#include "engine/system.h"

#include "base/memory.h"
#include "engine/internal.h"
#include "engine/keys.h"
#include "engine/strings.h"

static void locate(struct txn *t, enum system_kind kind, bytes name, struct key *k)
{
    uint8_t *full = arena_alloc(&t->arena, name.size + 1);
    full[0] = (uint8_t)kind;
    if (name.size)
        memcpy(full + 1, name.data, name.size);
    txn_locate(t->engine, SYSTEM_DB, bytes_of(full, name.size + 1), k);
    for (size_t i = 0; i < t->locked_count; i++) {
        if (t->locked[i] == k->stripe)
            return;
    }
    /* The gate is held: only a snapshot may hold the stripe, for microseconds. */
    stripe_lock_wait(&t->engine->store->stripes[k->stripe]);
    txn_lock_added(t, k->stripe);
}

status system_put(struct txn *t, enum system_kind kind, bytes name, bytes value)
{
    static const struct set_options plain = {0};
    struct set_result result;
    struct key k;
    locate(t, kind, name, &k);
    return string_set(t, &k, value, &plain, &result);
}

bool system_remove(struct txn *t, enum system_kind kind, bytes name)
{
    struct key k;
    locate(t, kind, name, &k);
    return key_remove(t, &k);
}

struct walk {
    enum system_kind kind;
    void (*each)(void *context, bytes name, bytes value);
    void *context;
};

static void each_entry(void *context, struct entry *e, uint64_t hash)
{
    const struct walk *w = context;
    char digits[24];
    bytes key = entry_key(e);
    (void)hash;
    if (!key.size || key.data[0] != (uint8_t)w->kind)
        return;
    struct arena arena;
    arena_init(&arena);
    w->each(w->context, bytes_of(key.data + 1, key.size - 1), string_flat(e, digits, &arena));
    arena_release(&arena);
}

void system_walk(struct engine *e, enum system_kind kind, void (*each)(void *context, bytes name, bytes value), void *context)
{
    struct walk w = {kind, each, context};
    for (uint32_t i = 0; i < STRIPE_COUNT; i++) {
        struct stripe *s = &e->store->stripes[i];
        stripe_lock_wait(s);
        struct table *table = stripe_table(s, SYSTEM_DB_ID);
        uint64_t next = 0;
        while (table && next <= UINT32_MAX)
            next = table_walk(table, next, 64, each_entry, &w);
        stripe_unlock(s);
    }
}
