/* expire.c -- each worker removes what is due in its own stripes, keys and fields of hashes, in short slices. All fields of a hash that
 * are due go at once: with them it would be no state that a reader may see. */
#include "engine/events.h"
#include "engine/feed.h"

#define REMOVED_PER_HOLD 64
#define HOLDS_MAX 16u /* stripes of one turn */

/* Not the key, but fields of it are due. Its bucket has left the wheel. */
static void remove_parts(struct txn *t, const struct key *k, struct spot *spot)
{
    struct entry *e = k->db < DATABASES_MAX ? object_expire_parts(t, k, spot) : NULL; /* else its database is being emptied */
    if (e)
        object_enrol(spot->stripe, spot->table, k, e);
}

static void remove_due(struct txn *t, struct stripe *s, struct table *table, struct entry **due, unsigned count)
{
    unsigned keys = 0;
    for (unsigned i = 0; i < count; i++) {
        struct key k;
        struct spot spot = {.stripe = s, .table = table, .db_id = table->db_id};
        store_locate(t->engine->store, entry_key(due[i]), &k);
        if (!table_find(table, k.name, k.hash, &spot.place))
            continue;
        k.name = arena_dup(&t->arena, k.name);
        if (!t->slot_known) {
            t->slot = k.slot;
            t->slot_known = true;
        }
        k.db = db_number(t->engine, table->db_id);
        uint64_t deadline = entry_deadline(spot.place.entry);
        if (!deadline || deadline > t->now_ms) {
            txn_feed_unit(t);
            remove_parts(t, &k, &spot);
            continue;
        }
        txn_remove(t, &k, &spot, true, false);
        txn_feed_unit(t);
        txn_feed_gone(t, &k);
        keys++;
        if (k.db < DATABASES_MAX)
            txn_event(t, &k, EVENT_EXPIRED, "expired");
    }
    counter_add(&t->slot_stats->expired, keys);
}

static unsigned expire_table(struct txn *t, struct stripe *s, struct table *table)
{
    struct entry *due[BUCKET_ENTRIES];
    unsigned count, removed = 0;
    while (removed < REMOVED_PER_HOLD && t->record.size < RECORD_DIRECT_MAX / 2 && table_due(table, t->now_ms, due, &count)) {
        remove_due(t, s, table, due, count);
        removed += count;
    }
    return removed;
}

static void expire_stripe(struct engine *e, struct txn *t, struct stripe *s, uint64_t now_ms)
{
    size_t bound = RECORD_DIRECT_MAX + 1024;
    if (e->log && !log_credit_take(e->log, bound))
        return;
    txn_reset(t, now_ms);
    txn_lock_add(t, (uint16_t)s->number);
    if (txn_lock_all(t) < 0) {
        unsigned removed = s->table ? expire_table(t, s, s->table) : 0;
        for (uint32_t i = 0; i < s->other_count && removed < REMOVED_PER_HOLD; i++)
            removed += expire_table(t, s, s->others[i]);
        stripe_deadline_update(s);
        txn_commit_lsn(t);
    }
    if (e->log)
        log_credit_return(e->log, bound);
}

uint64_t expire_slice(struct engine *e, struct txn *t, unsigned worker, unsigned workers, uint64_t wall_ms)
{
    uint64_t earliest = UINT64_MAX;
    unsigned holds = 0;
    for (uint32_t i = worker; i < STRIPE_COUNT; i += workers) {
        struct stripe *s = &e->store->stripes[i];
        if (atomic_load_explicit(&s->deadline_next, memory_order_relaxed) <= wall_ms && holds++ < HOLDS_MAX)
            expire_stripe(e, t, s, wall_ms);
        uint64_t next = atomic_load_explicit(&s->deadline_next, memory_order_relaxed);
        earliest = next < earliest ? next : earliest;
    }
    if (HF_UNLIKELY(holds > HOLDS_MAX))
        counter_add(&t->slot_stats->expire_capped, 1);
    return earliest;
}
