/* databases.c -- whole databases: emptied and swapped by changing number -> id, walked
 * stripe by stripe.
 */
#include "engine/cut.h"
#include "engine/events.h"
#include "engine/keys.h"
#include "engine/wait.h"

#include "base/memory.h"
#include "base/random.h"
#include "os/os.h"
#include "types/type.h"

#include <stddef.h>

/* ---- the map; the gate is held ---- */

static void map_change_begin(struct txn *t)
{
    struct engine *e = t->engine;
    if (t->undoing) {
        struct undo *u = txn_undo_push(t, UNDO_MAP, NULL, NULL);
        u->ids = arena_alloc(&t->arena, e->config.databases * sizeof(*u->ids));
        memcpy(u->ids, e->db_ids, e->config.databases * sizeof(*u->ids));
    }
    spin_lock(&e->map_lock);
    t->noting |= tail_is_noting(&e->tail);
}

static void map_change_end(struct txn *t)
{
    struct engine *e = t->engine;
    t->map_changed = e->map_pending = true;
    t->changes++;
    txn_change(t, NULL);
    if (t->noting)
        effect_db_map(&t->record, e->db_next_id, e->db_ids, e->config.databases);
    spin_unlock(&e->map_lock);
    os_sched_point(SCHED_GATE);
}

static void drop_later(struct txn *t, uint32_t db_id)
{
    uint32_t *ids = arena_alloc(&t->arena, (t->dropped_count + 1) * sizeof(*ids));
    if (t->dropped_count)
        memcpy(ids, t->dropped_ids, t->dropped_count * sizeof(*ids));
    ids[t->dropped_count++] = db_id;
    t->dropped_ids = ids;
}

static void renew(struct txn *t, uint32_t db)
{
    struct engine *e = t->engine;
    drop_later(t, e->db_ids[db]);
    e->db_ids[db] = e->db_next_id++;
}

static bool holds(const struct txn *t, const struct stripe *s)
{
    for (size_t i = 0; t && i < t->locked_count; i++) {
        if (t->locked[i] == s->number)
            return true;
    }
    return false;
}

bool walk_lock(const struct txn *t, struct stripe *s)
{
    if (holds(t, s))
        return false;
    stripe_lock_wait(s);
    return true;
}

#define GIVE_UP_US 1000 /* ordinary commands hold a stripe for microseconds, and a little longer when their thread does not run */

bool walk_enter(struct txn *t, struct stripe *s, bool *locked)
{
    *locked = true;
    if (HF_LIKELY(!holds(t, s) && stripe_try_lock(s)))
        return true;
    if (!t || !t->may_give_up) {
        *locked = walk_lock(t, s);
        return true;
    }
    for (uint64_t until = OS.monotonic_us() + GIVE_UP_US; OS.monotonic_us() < until; thread_yield()) {
        if (stripe_try_lock(s))
            return true;
    }
    t->busy_stripe = (int)s->number;
    return false;
}

struct database_note { struct delivery delivery; size_t count; uint32_t (*pairs)[2], *ids; };

/* The gate keeps new watches away, not connections that close meanwhile and take their watches out: hence the locks. */
static void tell_watchers(struct txn *t, struct delivery *d, uint64_t lsn)
{
    const struct database_note *note = (struct database_note *)d; /* its first member */
    (void)lsn;
    for (uint32_t i = 0; i < STRIPE_COUNT; i++) {
        struct stripe *s = &t->engine->store->stripes[i];
        bool locked = walk_lock(t, s);
        for (size_t k = 0; s->watches && k < note->count; k++)
            watch_tell_database_locked(s, note->ids, note->pairs[k][0], note->pairs[k][1], t->now_ms);
        if (locked)
            stripe_unlock(s);
    }
}

/* The databases of each pair will be emptied or swapped; pairs live in the txn's arena. */
static void touch_watches(struct txn *t, uint32_t (*pairs)[2], size_t count)
{
    const struct engine *e = t->engine;
    struct database_note *note = arena_alloc(&t->arena, sizeof(*note));
    *note = (struct database_note){.delivery.deliver = tell_watchers, .count = count, .pairs = pairs};
    note->ids = arena_alloc(&t->arena, e->config.databases * sizeof(*note->ids));
    memcpy(note->ids, e->db_ids, e->config.databases * sizeof(*note->ids));
    if (t->undoing)
        txn_deliver(t, &note->delivery);
    else
        tell_watchers(t, &note->delivery, 0);
}

/* Holds the stripe from now on, with what else the transaction holds. The gate is held: nobody holds one for long. */
static void hold(struct txn *t, uint16_t stripe)
{
    if (walk_lock(t, &t->engine->store->stripes[stripe]))
        txn_lock_added(t, stripe);
}

/* Commands that wait for a key of these databases (by number) are run at the end, for whatever stands there now: their keys
 * are locked till then. */
static void wake_waiters(struct txn *t, uint32_t a, uint32_t b, bool all)
{
    for (uint16_t i = 0; i < STRIPE_COUNT; i++) {
        struct stripe *s = &t->engine->store->stripes[i];
        bool locked = walk_lock(t, s), kept = false;
        const struct wait_list *list = s->waiters;
        for (const struct wait_link *link = list ? list->first : NULL; link; link = link->next) {
            if (!all && link->key.db != a && link->key.db != b)
                continue;
            if (locked && !kept)
                txn_lock_added(t, i);
            kept = true;
            for (size_t n = 0; n < link->waiter->link_count; n++)
                hold(t, link->waiter->links[n].key.stripe);
            txn_ready(t, &link->key);
        }
        if (locked && !kept)
            stripe_unlock(s);
    }
}

static void touch_pair(struct txn *t, uint32_t a, uint32_t b)
{
    uint32_t (*pair)[2] = arena_alloc(&t->arena, sizeof(*pair));
    (*pair)[0] = a;
    (*pair)[1] = b;
    touch_watches(t, pair, 1);
}

void db_flush(struct txn *t, uint32_t db)
{
    touch_pair(t, t->engine->db_ids[db], t->engine->db_ids[db]);
    map_change_begin(t);
    renew(t, db);
    map_change_end(t);
    wake_waiters(t, db, db, false);
}

void db_flush_all(struct txn *t)
{
    uint32_t count = t->engine->config.databases, (*pairs)[2] = arena_alloc(&t->arena, count * sizeof(*pairs));
    for (uint32_t db = 0; db < count; db++)
        pairs[db][0] = pairs[db][1] = t->engine->db_ids[db];
    touch_watches(t, pairs, count);
    map_change_begin(t);
    for (uint32_t db = 0; db < count; db++)
        renew(t, db);
    map_change_end(t);
    wake_waiters(t, 0, 0, true);
}

void db_swap(struct txn *t, uint32_t a, uint32_t b)
{
    uint32_t *ids = t->engine->db_ids;
    touch_pair(t, ids[a], ids[b]);
    map_change_begin(t);
    uint32_t swap = ids[a];
    ids[a] = ids[b];
    ids[b] = swap;
    map_change_end(t);
    wake_waiters(t, a, b, false);
}

/* ---- dropped tables ---- */

void databases_drop(struct engine *e, struct table *table)
{
    struct dropped *d = mem_alloc(sizeof(*d));
    d->table = table;
    atomic_fetch_add_explicit(&e->freeing, table->count, memory_order_relaxed);
    atomic_fetch_add_explicit(&e->dropped_any, 1, memory_order_relaxed);
    spin_lock(&e->dropped_lock);
    d->next = e->dropped;
    e->dropped = d;
    spin_unlock(&e->dropped_lock);
}

void databases_detach(struct engine *e, uint32_t db_id)
{
    for (uint32_t i = 0; i < STRIPE_COUNT; i++) {
        struct stripe *s = &e->store->stripes[i];
        stripe_lock_wait(s);
        struct table *table = stripe_table(s, db_id);
        bool kept = table && cuts_keep(e, s, table);
        if (table) {
            stripe_table_detach(s, db_id);
            stripe_deadline_update(s);
        }
        stripe_unlock(s);
        if (table && !kept)
            databases_drop(e, table);
    }
}

uint32_t db_number(const struct engine *e, uint32_t db_id)
{
    for (uint32_t db = 0; db < e->config.databases; db++) {
        if (e->db_ids[db] == db_id)
            return db;
    }
    return DATABASES_MAX;
}

static bool is_mapped(const struct engine *e, uint32_t db_id)
{
    return db_id == SYSTEM_DB_ID || db_number(e, db_id) < DATABASES_MAX;
}

void databases_detach_unmapped(struct engine *e)
{
    for (uint32_t i = 0; i < STRIPE_COUNT; i++) {
        struct stripe *s = &e->store->stripes[i];
        while (s->table && !is_mapped(e, s->table->db_id))
            databases_detach(e, s->table->db_id);
        for (uint32_t k = 0; k < s->other_count;) {
            if (is_mapped(e, s->others[k]->db_id))
                k++;
            else
                databases_detach(e, s->others[k]->db_id);
        }
    }
}

#define FREE_SLICE_NODES 100u /* of about 2 KiB: some tens of microseconds */
#define FREE_SLICE_CHUNKS 8u  /* of a string, 64 KiB each */
/* Of one string: some tens of microseconds, too. The next one that is as large then stands in the same memory; what is freed later piles up
 * to more than the allocator takes small parts from, and each value is written into fresh pages. */
#define FREED_AT_ONCE_CHUNKS 64u

static bool is_freed_later(const struct entry *old)
{
    if (entry_encoding(old) == ENC_ROPE)
        return rope_memory(entry_pointer(old)) > FREED_AT_ONCE_CHUNKS * ROPE_CHUNK;
    return entry_encoding(old) == ENC_OBJECT && type_ops_of((int)entry_type(old))->memory(entry_pointer(old)) >= DROPPED_BYTES;
}

void engine_entry_free(struct engine *e, struct slab_heap *heap, struct entry *old)
{
    if (HF_LIKELY(!is_freed_later(old))) {
        entry_free(heap, old);
        return;
    }
    databases_drop_object(e, entry_type(old), entry_pointer(old));
    slab_release(heap, old);
}

void databases_drop_object(struct engine *e, enum type type, void *object)
{
    struct dropped_object *d = mem_alloc(sizeof(*d));
    *d = (struct dropped_object){.type = type, .object = object};
    atomic_fetch_add_explicit(&e->freeing, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&e->dropped_any, 1, memory_order_relaxed);
    spin_lock(&e->dropped_lock);
    d->next = e->dropped_objects;
    e->dropped_objects = d;
    spin_unlock(&e->dropped_lock);
}

static void count_freed(struct engine *e, size_t count)
{
    atomic_fetch_sub_explicit(&e->freeing, count, memory_order_relaxed);
    atomic_fetch_add_explicit(&e->freed, count, memory_order_relaxed);
}

/* True: all of it is free. */
static bool free_some(const struct dropped_object *d)
{
    size_t chunks = FREE_SLICE_CHUNKS, nodes = FREE_SLICE_NODES;
    return d->type == TYPE_STRING ? rope_unref_some(d->object, &chunks) : type_ops_of((int)d->type)->free_some(d->object, &nodes);
}

/* True: there was one, and there may be more. */
static bool free_object_slice(struct engine *e)
{
    spin_lock(&e->dropped_lock);
    struct dropped_object *d = e->dropped_objects;
    if (d)
        e->dropped_objects = d->next;
    spin_unlock(&e->dropped_lock);
    if (!d)
        return false;
    if (free_some(d)) {
        mem_free(d);
        atomic_fetch_sub_explicit(&e->dropped_any, 1, memory_order_relaxed);
        count_freed(e, 1);
        return true;
    }
    spin_lock(&e->dropped_lock);
    d->next = e->dropped_objects;
    e->dropped_objects = d;
    spin_unlock(&e->dropped_lock);
    return true;
}

bool databases_free_slice(struct engine *e, struct slab_heap *heap)
{
    struct entry *taken[256];
    if (HF_LIKELY(atomic_load_explicit(&e->dropped_any, memory_order_relaxed) == 0))
        return false;
    if (free_object_slice(e))
        return true;
    spin_lock(&e->dropped_lock);
    struct dropped *d = e->dropped;
    if (d)
        e->dropped = d->next;
    spin_unlock(&e->dropped_lock);
    if (!d)
        return false;
    size_t count = table_take_some(d->table, taken, 256);
    for (size_t i = 0; i < count; i++)
        engine_entry_free(e, heap, taken[i]);
    count_freed(e, count);
    if (count == 0) {
        table_free(d->table);
        mem_free(d);
        atomic_fetch_sub_explicit(&e->dropped_any, 1, memory_order_relaxed);
        return true;
    }
    spin_lock(&e->dropped_lock);
    d->next = e->dropped;
    e->dropped = d;
    spin_unlock(&e->dropped_lock);
    return true;
}

/* ---- walks ---- */

static struct table *walk_table(struct txn *t, const struct stripe *s, uint32_t db)
{
    return stripe_table(s, t->engine->db_ids[db]);
}

static void observe_all(struct txn *t)
{
    if (t->engine->log)
        t->observed_lsn = log_tail(t->engine->log);
}

static uint64_t count_keys(const struct table *t) { return t->count; }
static uint64_t count_deadlines(const struct table *t) { return t->deadline_count; }
static uint64_t count_places(const struct table *t) { return (uint64_t)(t->growing ? t->next : t->now).home_count * BUCKET_ENTRIES; }

static uint64_t sum_tables(struct txn *t, uint32_t db, uint64_t (*count)(const struct table *t))
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < STRIPE_COUNT; i++) {
        struct stripe *s = &t->engine->store->stripes[i];
        bool locked;
        if (!walk_enter(t, s, &locked))
            break;
        struct table *table = walk_table(t, s, db);
        if (table)
            sum += count(table);
        if (locked)
            stripe_unlock(s);
    }
    observe_all(t);
    return sum;
}

uint64_t db_size(struct txn *t, uint32_t db)
{
    return sum_tables(t, db, count_keys);
}

uint64_t db_deadline_count(struct txn *t, uint32_t db)
{
    return sum_tables(t, db, count_deadlines);
}

uint64_t db_place_count(struct txn *t, uint32_t db)
{
    return sum_tables(t, db, count_places);
}

struct scan {
    struct txn *txn;
    void (*each)(void *, struct entry *);
    void *context;
    size_t count;
};

static void scan_each(void *context, struct entry *e, uint64_t hash)
{
    struct scan *scan = context;
    uint64_t deadline = entry_deadline(e);
    (void)hash;
    scan->count++;
    if (!deadline || deadline > scan->txn->now_ms)
        scan->each(scan->context, e);
}

/* Cursor: stripe << 33 | first high hash half to visit. */
#define CURSOR_SHIFT 33

#define SCAN_VISITS 4096u /* without finding much */
#define SCAN_HOLD 1024u   /* entries under one hold of a lock */

static size_t step_of(size_t left) { return left < SCAN_HOLD ? left : SCAN_HOLD; }

uint64_t db_scan_entries(struct txn *t, uint32_t db, uint64_t cursor, size_t count, void (*each)(void *, struct entry *), void *context)
{
    uint64_t end = UINT64_C(1) << 32, from = cursor & ((UINT64_C(1) << CURSOR_SHIFT) - 1);
    uint64_t stripe = cursor >> CURSOR_SHIFT;
    struct scan scan = {t, each, context, 0};
    size_t visited = 0, most = SCAN_VISITS + count / 8;
    while (stripe < STRIPE_COUNT && scan.count < count && visited++ < most) {
        struct stripe *s = &t->engine->store->stripes[stripe];
        bool locked;
        if (!walk_enter(t, s, &locked))
            return 0; /* nobody asks for more */
        struct table *table = walk_table(t, s, db);
        from = table && table->count && from < end ? table_walk(table, from, step_of(count - scan.count), scan_each, &scan) : end;
        if (locked)
            stripe_unlock(s);
        if (from >= end) {
            stripe++;
            from = 0;
        }
    }
    observe_all(t);
    return stripe < STRIPE_COUNT ? stripe << CURSOR_SHIFT | from : 0;
}

struct scan_names {
    void (*each)(void *, bytes, int);
    void *context;
};

static void scan_name(void *context, struct entry *e)
{
    struct scan_names *names = context;
    names->each(names->context, entry_key(e), (int)entry_type(e));
}

uint64_t db_scan(struct txn *t, uint32_t db, uint64_t cursor, size_t count, void (*each)(void *, bytes, int), void *context)
{
    return db_scan_entries(t, db, cursor, count, scan_name, &(struct scan_names){each, context});
}

#define SLOT_STEP 256

void db_scan_slot(struct txn *t, uint32_t db, uint16_t slot, uint64_t count, void (*each)(void *, bytes, int), void *context,
                  const uint64_t *enough)
{
    uint64_t stripe = slot >> STRIPE_SHIFT, cursor = stripe << CURSOR_SHIFT;
    do
        cursor = db_scan(t, db, cursor, SLOT_STEP, each, context);
    while (cursor && cursor >> CURSOR_SHIFT == stripe && *enough < count);
}

bool db_random_key(struct txn *t, uint32_t db, bytes *name)
{
    uint64_t random;
    OS.random(&random, sizeof(random));
    uint32_t start = (uint32_t)(random_next(&random) % STRIPE_COUNT);
    bool found = false;
    for (uint32_t i = 0; i < STRIPE_COUNT && !found; i++) {
        struct stripe *s = &t->engine->store->stripes[(start + i) % STRIPE_COUNT];
        bool locked;
        if (!walk_enter(t, s, &locked))
            break;
        struct table *table = walk_table(t, s, db);
        for (int tries = 0; table && table->count && tries < 16 && !found; tries++) {
            struct entry *e = table_random(table, random_next(&random));
            uint64_t deadline = e ? entry_deadline(e) : 1;
            if (!deadline || deadline > t->now_ms) {
                *name = arena_dup(&t->arena, entry_key(e));
                found = true;
            }
        }
        if (locked)
            stripe_unlock(s);
    }
    observe_all(t);
    return found;
}
