/* txn.c -- locks, the record being built, undo, commit.
 *
 * A change is applied to memory at once and its effect appended to the record; commit
 * places the record in the log before the first stripe is unlocked, so nobody sees a
 * change that has no place in the log. Log credit was taken before the locks, so
 * placing cannot fail. With `undoing`, what a change unlinks is kept until commit.
 */
#include "engine/cut.h"
#include "engine/events.h"
#include "engine/feed.h"
#include "engine/wait.h"

#include "base/memory.h"
#include "os/os.h"
#include "types/type.h"

#define LOCK_FEW 32u

struct txn *txn_new(struct engine *engine)
{
    struct txn *t = mem_zalloc(sizeof(*t));
    t->engine = engine;
    t->heap = engine->spare_heap;
    t->slot_stats = &engine->workers[WORKERS_MAX];
    buf_init(&t->record, SIZE_MAX);
    arena_init(&t->arena);
    t->locked_capacity = 64;
    t->locked = mem_alloc(t->locked_capacity * sizeof(*t->locked));
    OS.random(&t->chance, sizeof(t->chance));
    t->chance |= 1;
    return t;
}

void txn_free(struct txn *t)
{
    hf_assert(t->locked_count == 0);
    buf_release(&t->record);
    arena_release(&t->arena);
    mem_free(t->touched);
    mem_free(t->locked);
    mem_free(t);
}

void txn_locate(const struct engine *engine, uint32_t db, bytes name, struct key *key)
{
    store_locate(engine->store, name, key);
    key->db = db;
}

uint64_t txn_now_ms(const struct txn *t) { return t->now_ms; }
uint64_t txn_swap_now(struct txn *t, uint64_t now_ms)
{
    uint64_t before = t->now_ms;
    t->now_ms = now_ms;
    return before;
}

struct arena *txn_arena(struct txn *t) { return &t->arena; }
struct engine *txn_engine(struct txn *t) { return t->engine; }
void txn_only_looks(struct txn *t)
{
    t->may_change = false;
    t->untouching = true;
}

bool txn_logs(const struct txn *t) { return t->noting; }

void txn_reset(struct txn *t, uint64_t now_ms)
{
    hf_assert(t->locked_count == 0 && !t->undo);
    t->now_ms = t->clock_ms = now_ms;
    t->counts_uses = atomic_load_explicit(&t->engine->eviction.policy, memory_order_relaxed) & EVICT_LFU;
    t->untouching = false;
    t->may_change = true;
    t->may_give_up = false;
    t->busy_stripe = -1;
    t->undoing = false;
    t->map_changed = false;
    t->dropped_count = 0;
    t->slot_known = false;
    t->touched_count = 0;
    t->observed_lsn = 0;
    t->changes = t->changes_by_time = 0;
    t->client = NULL;
    t->deliveries = t->deliveries_last = NULL;
    t->ready = t->ready_last = NULL;
    t->noting = t->engine->log != NULL;
    if (t->arena.current)
        arena_reset(&t->arena);
    t->record.size = 0;
    buf_reserve(&t->record, RECORD_HEADER_SIZE);
    t->record.size = RECORD_HEADER_SIZE;
    if (t->engine->log) {
        t->observed_lsn = atomic_load_explicit(&t->engine->map_lsn, memory_order_relaxed);
    }
}

void txn_restart(struct txn *t)
{
    hf_assert(t->locked_count == 0 && !t->undo);
    t->busy_stripe = -1;
    t->map_changed = false;
    t->dropped_count = 0;
    t->slot_known = false;
    t->changes = t->changes_by_time = 0;
    t->record.size = RECORD_HEADER_SIZE;
}

/* ---- locks ---- */

void txn_lock_add(struct txn *t, uint16_t stripe)
{
    size_t at = t->locked_count;
    if (HF_LIKELY(at == 0)) {
        t->locked[0] = stripe;
        t->locked_count = 1;
        return;
    }
    while (at > 0 && t->locked[at - 1] > stripe)
        at--;
    if (at > 0 && t->locked[at - 1] == stripe)
        return;
    if (t->locked_count == t->locked_capacity) {
        t->locked_capacity *= 2;
        t->locked = mem_realloc(t->locked, t->locked_capacity * sizeof(*t->locked));
    }
    memmove(&t->locked[at + 1], &t->locked[at], (t->locked_count - at) * sizeof(*t->locked));
    t->locked[at] = stripe;
    t->locked_count++;
}

/* Of many, each that stands before others would be moved past them: they are marked instead, and read in order. */
static __attribute__((noinline)) void lock_add_many(struct txn *t, const uint16_t *stripes, size_t count)
{
    uint64_t marks[STRIPE_COUNT / 64] = {0};
    for (size_t i = 0; i < t->locked_count; i++)
        marks[t->locked[i] / 64] |= UINT64_C(1) << t->locked[i] % 64;
    for (size_t i = 0; i < count; i++)
        marks[stripes[i] / 64] |= UINT64_C(1) << stripes[i] % 64;
    if (t->locked_capacity < STRIPE_COUNT) {
        t->locked_capacity = STRIPE_COUNT;
        t->locked = mem_realloc(t->locked, t->locked_capacity * sizeof(*t->locked));
    }
    t->locked_count = 0;
    for (size_t i = 0; i < STRIPE_COUNT / 64; i++) {
        for (uint64_t left = marks[i]; left; left &= left - 1)
            t->locked[t->locked_count++] = (uint16_t)(i * 64 + (size_t)__builtin_ctzll(left));
    }
}

void txn_lock_add_all(struct txn *t, const uint16_t *stripes, size_t count)
{
    if (HF_UNLIKELY(count > LOCK_FEW)) {
        lock_add_many(t, stripes, count);
        return;
    }
    for (size_t i = 0; i < count; i++)
        txn_lock_add(t, stripes[i]);
}

/* More than one, or one that is busy. */
static __attribute__((noinline)) int lock_all(struct txn *t)
{
    struct stripe *stripes = t->engine->store->stripes;
    for (size_t i = 0; i < t->locked_count; i++) {
        if (HF_LIKELY(stripe_try_lock(&stripes[t->locked[i]])))
            continue;
        int busy = t->locked[i];
        while (i-- > 0)
            stripe_unlock(&stripes[t->locked[i]]);
        t->locked_count = 0;
        return busy;
    }
    return -1;
}

int txn_lock_all(struct txn *t)
{
    bool locked = HF_LIKELY(t->locked_count == 1) && stripe_try_lock_once(&t->engine->store->stripes[t->locked[0]]);
    int busy = HF_LIKELY(locked) ? -1 : lock_all(t);
    t->noting |= busy < 0 && tail_is_noting(&t->engine->tail);
    return busy;
}

void txn_lock_added(struct txn *t, uint16_t stripe)
{
    txn_lock_add(t, stripe);
    t->noting |= tail_is_noting(&t->engine->tail);
}

void txn_lock_all_wait(struct txn *t)
{
    for (size_t i = 0; i < t->locked_count; i++)
        stripe_lock_wait(&t->engine->store->stripes[t->locked[i]]);
    t->noting |= tail_is_noting(&t->engine->tail);
}

void txn_unlock_all(struct txn *t)
{
    for (size_t i = t->locked_count; i-- > 0;)
        stripe_unlock(&t->engine->store->stripes[t->locked[i]]);
    t->locked_count = 0;
}

/* ---- entries ---- */

/* The clock of an entry after one more use. */
static uint32_t used_now(struct txn *t, uint32_t clock)
{
    if (HF_LIKELY(!t->counts_uses)) /* whether it was used at all is kept for any policy */
        return clock_make(t->clock_ms, clock >> 24 > CLOCK_USES_NEW ? clock >> 24 : CLOCK_USES_NEW + 1);
    const struct eviction_settings *s = &t->engine->eviction;
    t->chance ^= t->chance << 13; /* xorshift */
    t->chance ^= t->chance >> 17;
    t->chance ^= t->chance << 5;
    return clock_used(clock, t->clock_ms, atomic_load_explicit(&s->lfu_decay_min, memory_order_relaxed),
                      atomic_load_explicit(&s->lfu_log_factor, memory_order_relaxed), t->chance);
}

void txn_access(struct txn *t, struct entry *e)
{
    uint32_t clock = HF_UNLIKELY(t->untouching) ? e->clock : used_now(t, e->clock);
    if (clock != e->clock)
        e->clock = clock;
}

/* A collection of which a part may be due. */
static struct entry *find_parts(struct txn *t, const struct key *k, struct spot *spot)
{
    if (t->may_change) {
        bool observing = t->observing;
        t->observing = true;
        struct entry *left = object_expire_parts(t, k, spot);
        t->observing = observing;
        return left;
    }
    if (object_is_over(t, spot->place.entry))
        spot->place.entry = NULL;
    return spot->place.entry;
}

struct entry *txn_find(struct txn *t, const struct key *k, struct spot *spot)
{
    struct engine *e = t->engine;
    spot->stripe = &e->store->stripes[k->stripe];
    spot->db_id = t->recovering ? k->db : e->db_ids[k->db];
    spot->table = stripe_table(spot->stripe, spot->db_id);
    spot->place.entry = NULL;
    if (!t->slot_known) {
        t->slot = k->slot;
        t->slot_known = true;
    }
    if (!spot->table) {
        if (e->log && e->emptied_lsn[k->stripe] > t->observed_lsn)
            t->observed_lsn = e->emptied_lsn[k->stripe];
        return NULL;
    }
    bool found = table_find(spot->table, k->name, k->hash, &spot->place);
    if (e->log && (found || !os_bug(BUG_ABSENT_UNGATED))) {
        uint64_t lsn = table_stamp_lsn(spot->table, k->hash, log_tail(e->log));
        if (lsn > t->observed_lsn)
            t->observed_lsn = lsn;
    }
    if (!found)
        return NULL;
    uint64_t deadline = entry_deadline(spot->place.entry);
    if (HF_UNLIKELY(deadline && deadline <= t->now_ms)) {
        t->due_met++;
        if (!t->may_change) {
            spot->place.entry = NULL;
            return NULL;
        }
        bool observing = t->observing;
        t->observing = true;
        txn_remove(t, k, spot, true, false);
        t->observing = observing;
        txn_feed_gone(t, k);
        txn_event(t, k, EVENT_EXPIRED, "expired");
        counter_add(&t->slot_stats->expired, 1);
        return NULL;
    }
    if (HF_UNLIKELY(spot->place.entry->fields & FIELD_PARTS) && !t->recovering)
        return find_parts(t, k, spot);
    return spot->place.entry;
}

void txn_deliver(struct txn *t, struct delivery *d)
{
    d->next = NULL;
    if (t->deliveries_last)
        t->deliveries_last->next = d;
    else
        t->deliveries = d;
    t->deliveries_last = d;
}

void txn_deliver_behind(struct txn *t, struct delivery *earlier, struct delivery *d)
{
    struct delivery **at = earlier ? &earlier->next : &t->deliveries;
    d->next = *at;
    *at = d;
    if (!d->next)
        t->deliveries_last = d;
}

static void deliver_all(struct txn *t, uint64_t lsn)
{
    for (struct delivery *d = t->deliveries, *next; d; d = next) {
        next = d->next;
        d->deliver(t, d, lsn);
    }
    t->deliveries = t->deliveries_last = NULL;
}

void txn_ready(struct txn *t, const struct key *k)
{
    if (t->recovering || !wait_next(t->engine, k, NULL))
        return;
    if ((os_bug(BUG_WAITER_LOST) && t->now_ms % 2 == 0) || (os_bug(BUG_CHAIN_LOST) && t->observing))
        return;
    struct ready_key *r = arena_alloc(&t->arena, sizeof(*r));
    *r = (struct ready_key){.key = *k};
    r->key.name = arena_dup(&t->arena, k->name);
    if (t->ready_last)
        t->ready_last->next = r;
    else
        t->ready = r;
    t->ready_last = r;
}

void txn_changed_unwatched(struct txn *t, const struct key *k, struct spot *spot)
{
    t->changes++;
    txn_change(t, k);
    if (HF_UNLIKELY(spot->stripe->waiters != NULL))
        txn_ready(t, k);
    txn_stamp_later(t, k, spot);
}

void txn_changed(struct txn *t, const struct key *k, struct spot *spot)
{
    txn_changed_unwatched(t, k, spot);
    if (HF_UNLIKELY(spot->stripe->watches != NULL))
        watch_touch_locked(t, spot->stripe, spot->db_id, k->name);
}

void txn_stamp_later(struct txn *t, const struct key *k, const struct spot *spot)
{
    if (!t->engine->log)
        return;
    if (t->touched_count == t->touched_capacity) {
        t->touched_capacity = t->touched_capacity ? t->touched_capacity * 2 : 16;
        t->touched = mem_realloc(t->touched, t->touched_capacity * sizeof(*t->touched));
    }
    t->touched[t->touched_count++] = (struct touched){spot->table, k->hash};
}

struct undo *txn_undo_push(struct txn *t, enum undo_kind kind, const struct key *k, const struct spot *spot)
{
    struct undo *u = arena_alloc(&t->arena, sizeof(*u));
    *u = (struct undo){.next = t->undo, .kind = kind};
    if (k) {
        u->stripe = spot->stripe;
        u->db_id = spot->db_id;
        u->hash = k->hash;
        u->key = arena_dup(&t->arena, k->name);
    }
    t->undo = u;
    return u;
}

bool txn_on_end(struct txn *t, void (*over)(void *context, bool undone), void *context)
{
    if (!t->undoing)
        return false;
    struct undo *u = txn_undo_push(t, UNDO_CALL, NULL, NULL);
    u->over = over;
    u->context = context;
    return true;
}

/* The old block is out of the index: free it, or keep it for undo. */
static void retire(struct txn *t, const struct key *k, const struct spot *spot, struct entry *old, bool shallow_old,
                   bool shallow_new)
{
    if (t->undoing) {
        struct undo *u = txn_undo_push(t, UNDO_ENTRY, k, spot);
        u->old = old;
        u->shallow_old = shallow_old;
        u->shallow_new = shallow_new;
    } else if (old && shallow_old) {
        slab_release(t->heap, old);
    } else if (old) {
        engine_entry_free(t->engine, t->heap, old);
    }
}

/* A new one knows nothing of the positions of one that was given up (evict.c). */
static struct table *table_for(struct txn *t, struct stripe *s, uint32_t db_id)
{
    struct table *table = stripe_table(s, db_id);
    if (table)
        return table;
    table = stripe_table_make(t->engine->store, s, db_id);
    if (t->engine->log && t->engine->emptied_lsn[s->number])
        table_stamp_all(table, t->engine->emptied_lsn[s->number]);
    return table;
}

static void link_entry(struct txn *t, const struct key *k, struct spot *spot, struct entry *fresh)
{
    uint64_t tail = t->engine->log ? log_tail(t->engine->log) : 0;
    if (spot->place.entry) {
        table_replace(spot->table, &spot->place, fresh);
    } else {
        if (!spot->table)
            spot->table = table_for(t, spot->stripe, spot->db_id);
        table_insert(spot->table, k->hash, fresh, tail);
        if (!t->recovering)
            txn_event(t, k, EVENT_NEW, "new");
    }
    uint64_t deadline = entry_wake(fresh);
    if (deadline && deadline < atomic_load_explicit(&spot->stripe->deadline_next, memory_order_relaxed))
        atomic_store_explicit(&spot->stripe->deadline_next, deadline, memory_order_relaxed);
}

/* True when the new image can be written over the old block. */
static bool fits_in_place(const struct entry *old, const struct entry_image *image)
{
    size_t size = entry_image_size(image);
    return entry_encoding(old) <= ENC_INT && image->encoding <= ENC_INT && image->value.size <= UINT8_MAX && size <= 256 &&
           (entry_size(old) + 7) / 8 == (size + 7) / 8 &&
           (image->deadline_ms != 0) == ((old->fields & FIELD_DEADLINE) != 0);
}

status txn_put(struct txn *t, const struct key *k, struct spot *spot, const struct entry_image *image, void *object, bool log)
{
    struct entry *old = spot->place.entry, *fresh;
    cut_before(t->engine, spot->stripe, spot->db_id, k->hash);
    uint32_t clock = old ? used_now(t, old->clock) : clock_new(t->clock_ms);
    if (old && !t->undoing && fits_in_place(old, image) && image->deadline_ms == entry_deadline(old)) {
        entry_write(old, image);
        fresh = old;
    } else {
        struct entry_image made = *image;
        fresh = entry_from_image(t->heap, &made, object);
        if (!fresh)
            return HF_ERR_NO_MEMORY;
        link_entry(t, k, spot, fresh);
        retire(t, k, spot, old, false, false);
        spot->place.entry = fresh;
    }
    fresh->clock = clock;
    if (log && t->noting)
        effect_put(&t->record, spot->db_id, fresh);
    txn_changed(t, k, spot);
    return HF_OK;
}

status txn_adopt(struct txn *t, const struct key *k, struct spot *spot, struct entry *fresh, bool shared)
{
    struct entry *old = spot->place.entry;
    cut_before(t->engine, spot->stripe, spot->db_id, k->hash);
    link_entry(t, k, spot, fresh);
    retire(t, k, spot, old, false, shared);
    spot->place.entry = fresh;
    if (t->noting)
        effect_put(&t->record, spot->db_id, fresh);
    txn_changed(t, k, spot);
    return HF_OK;
}

void txn_remove(struct txn *t, const struct key *k, struct spot *spot, bool log, bool shallow)
{
    struct entry *old = spot->place.entry;
    cut_before(t->engine, spot->stripe, spot->db_id, k->hash);
    table_remove(spot->table, &spot->place, k->hash, t->engine->log ? log_tail(t->engine->log) : 0);
    spot->place.entry = NULL;
    if (log && t->noting)
        effect_remove(&t->record, spot->db_id, k->name);
    txn_changed(t, k, spot);
    retire(t, k, spot, old, shallow, false);
}

status txn_reblock(struct txn *t, const struct key *k, struct spot *spot, uint64_t deadline_ms)
{
    struct entry_image image = entry_read(spot->place.entry);
    image.deadline_ms = deadline_ms;
    return txn_reblock_as(t, k, spot, &image);
}

status txn_reblock_as(struct txn *t, const struct key *k, struct spot *spot, const struct entry_image *image)
{
    struct entry *old = spot->place.entry, *fresh = slab_alloc(t->heap, entry_image_size(image));
    if (!fresh)
        return HF_ERR_NO_MEMORY;
    entry_write(fresh, image);
    cut_before(t->engine, spot->stripe, spot->db_id, k->hash);
    link_entry(t, k, spot, fresh);
    spot->place.entry = fresh;
    retire(t, k, spot, old, true, true);
    return HF_OK;
}

/* ---- ends ---- */

static void undo_release(struct txn *t)
{
    for (struct undo *u = t->undo; u; u = u->next) {
        if (u->kind == UNDO_OBJECT)
            type_ops_of((int)u->type)->free(u->share);
        if (u->kind == UNDO_CALL)
            u->over(u->context, false);
        if (u->kind == UNDO_ENTRY && u->old) {
            if (u->shallow_old)
                slab_release(t->heap, u->old);
            else
                engine_entry_free(t->engine, t->heap, u->old);
        }
    }
    t->undo = NULL;
}

/* Memory only, or rolled back. */
static void map_settle(struct engine *e)
{
    spin_lock(&e->map_lock);
    e->map_pending = false;
    spin_unlock(&e->map_lock);
}

uint64_t txn_commit_lsn(struct txn *t)
{
    struct engine *e = t->engine;
    uint64_t lsn = os_bug(BUG_READ_UNGATED) ? 0 : t->observed_lsn;
    if (e->log && t->record.size > RECORD_HEADER_SIZE) {
        if (t->map_changed)
            spin_lock(&e->map_lock);
        lsn = log_append(e->log, RECORD_EFFECTS, t->slot, t->now_ms, t->record.data, t->record.size);
        for (size_t i = 0; i < t->touched_count && !os_bug(BUG_NO_STAMP); i++)
            table_stamp(t->touched[i].table, t->touched[i].hash, lsn);
        if (t->map_changed) {
            atomic_store(&e->map_lsn, lsn);
            e->map_pending = false;
            spin_unlock(&e->map_lock);
        }
    } else {
        if (t->noting && t->record.size > RECORD_HEADER_SIZE)
            tail_note(&e->tail, bytes_of(t->record.data + RECORD_HEADER_SIZE, t->record.size - RECORD_HEADER_SIZE));
        if (t->map_changed)
            map_settle(e);
    }
    if (HF_UNLIKELY(t->deliveries != NULL))
        deliver_all(t, lsn);
    txn_unlock_all(t);
    for (size_t i = 0; i < t->dropped_count; i++)
        databases_detach(e, t->dropped_ids[i]);
    if (t->undo)
        undo_release(t);
    if (HF_UNLIKELY(t->shadows != NULL))
        shadows_free(t);
    if (t->changes)
        counter_add(&t->slot_stats->changes, t->changes);
    if (HF_UNLIKELY(t->record.capacity > 1 << 20))
        buf_release(&t->record);
    return lsn;
}

static void undo_entry(struct txn *t, const struct undo *u)
{
    uint64_t tail = t->engine->log ? log_tail(t->engine->log) : 0; /* a table that moves compares its stamps by it */
    struct table *table = table_for(t, u->stripe, u->db_id);
    struct place p;
    struct entry *current = table_find(table, u->key, u->hash, &p) ? p.entry : NULL;
    if (current && u->old)
        table_replace(table, &p, u->old);
    else if (current)
        table_remove(table, &p, u->hash, tail);
    else if (u->old)
        table_insert(table, u->hash, u->old, tail);
    if (current && u->shallow_new)
        slab_release(t->heap, current);
    else if (current)
        engine_entry_free(t->engine, t->heap, current);
    uint64_t deadline = u->old ? entry_wake(u->old) : 0;
    if (deadline && deadline < atomic_load(&u->stripe->deadline_next))
        atomic_store(&u->stripe->deadline_next, deadline);
}

/* The object takes back what its share holds; its address stays, other undo nodes may name it. */
static void undo_object(const struct undo *u)
{
    const struct type_ops *ops = type_ops_of((int)u->type);
    uint8_t scratch[256];
    hf_assert(ops->size <= sizeof(scratch));
    memcpy(scratch, u->object, ops->size);
    memcpy(u->object, u->share, ops->size);
    memcpy(u->share, scratch, ops->size);
    ops->free(u->share);
}

/* The collection has its deadlines back. */
static void enrol_again(const struct undo *u, struct table *table, struct entry *e)
{
    struct key k = {.name = u->key, .hash = u->hash};
    object_enrol(u->stripe, table, &k, e);
}

static void undo_value(const struct undo *u)
{
    struct table *table = stripe_table(u->stripe, u->db_id);
    struct place p;
    bool found = table && table_find(table, u->key, u->hash, &p);
    hf_assert(found);
    if (u->kind == UNDO_DEADLINE) {
        entry_set_deadline(p.entry, u->deadline_ms);
        table_enrol(table, u->key, u->hash, u->deadline_ms);
    } else if (u->kind == UNDO_BYTES) {
        rope_put_back(entry_pointer(p.entry), u->offset, u->overwritten, u->size);
    } else {
        hf_assert(entry_pointer(p.entry) == u->object);
        undo_object(u);
        if (p.entry->fields & FIELD_PARTS)
            enrol_again(u, table, p.entry);
    }
}

static void undo_until(struct txn *t, const struct undo *end)
{
    struct engine *e = t->engine;
    for (struct undo *u = t->undo; u != end; u = u->next) {
        if ((os_bug(BUG_UNDO_WRITE) && u->kind == UNDO_ENTRY && !u->old) || (os_bug(BUG_UNDO_TTL) && u->kind == UNDO_DEADLINE))
            continue;
        if (u->kind == UNDO_ENTRY) {
            undo_entry(t, u);
        } else if (u->kind == UNDO_CALL) {
            u->over(u->context, true);
        } else if (u->kind == UNDO_MAP) {
            spin_lock(&e->map_lock);
            memcpy(e->db_ids, u->ids, e->config.databases * sizeof(*u->ids));
            spin_unlock(&e->map_lock);
        } else {
            undo_value(u);
        }
    }
}

void txn_point_set(struct txn *t, struct txn_point *point)
{
    *point = (struct txn_point){t->undo, t->record.size, t->touched_count, t->changes, t->deliveries_last,
                               t->ready_last, t->undo_floor, t->undoing};
    t->undo_floor = t->undo;
    t->undoing = true;
}

void txn_point_keep(struct txn *t, const struct txn_point *point)
{
    t->undo_floor = point->floor;
    t->undoing = point->undoing;
}

void txn_point_undo(struct txn *t, const struct txn_point *point)
{
    undo_until(t, point->undo);
    t->undo = point->undo;
    t->record.size = point->record_size;
    t->touched_count = point->touched_count;
    t->changes = point->changes;
    t->deliveries_last = point->deliveries_last;
    if (t->deliveries_last)
        t->deliveries_last->next = NULL;
    else
        t->deliveries = NULL;
    t->ready_last = point->ready_last;
    if (t->ready_last)
        t->ready_last->next = NULL;
    else
        t->ready = NULL;
    txn_point_keep(t, point);
}

void txn_rollback_all(struct txn *t)
{
    undo_until(t, NULL);
    t->undo = NULL;
    if (t->map_changed)
        map_settle(t->engine);
    t->touched_count = 0;
    t->record.size = 0;
    t->deliveries = t->deliveries_last = NULL;
    t->ready = t->ready_last = NULL;
    shadows_free(t);
    txn_unlock_all(t);
}
