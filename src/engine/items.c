/* items.c -- client flags and versions.
 *
 * Numbers come from one counter that starts at the time of the start in ms, times 2^20: a million a millisecond for the whole
 * life of a process before the next one could meet them. The log's time begins at that millisecond, too, and the next start is
 * later than all that the log has seen, so a clock that stands or goes back repeats no number that was ever logged.
 */
#include "engine/items.h"

#include "engine/internal.h"
#include "os/os.h"

#define MARKS_SHIFT 62

static uint64_t field_of(uint64_t version, unsigned marks)
{
    hf_assert(version <= ITEM_VERSION_MAX && marks <= (ITEM_STALE | ITEM_CLAIMED));
    return version | (uint64_t)marks << MARKS_SHIFT;
}

uint64_t items_start(struct engine *e, uint64_t recovered_ms)
{
    uint64_t now_ms = OS.wall_ms(), start_ms = now_ms > recovered_ms ? now_ms : recovered_ms + 1;
    atomic_store(&e->version_last, (start_ms << 20) & ITEM_VERSION_MAX);
    return start_ms;
}

uint64_t item_version_next(struct engine *e)
{
    return (atomic_fetch_add_explicit(&e->version_last, 1, memory_order_relaxed) + 1) & ITEM_VERSION_MAX;
}

bool item_is_younger(const struct engine *e, const struct item *item, uint64_t version)
{
    return version < item->version || (!item->version && version <= atomic_load_explicit(&e->version_last, memory_order_relaxed));
}

static status find(struct txn *t, const struct key *k, struct spot *spot)
{
    const struct entry *e = txn_find(t, k, spot);
    return e && entry_type(e) != TYPE_STRING ? HF_ERR_WRONGTYPE : HF_OK;
}

static inline void fill(struct txn *t, const struct entry *e, struct item *out)
{
    struct entry_image image = entry_read(e);
    out->fetched = image.fetched;
    out->value = string_flat(e, out->digits, &t->arena);
    out->flags = image.flags;
    out->version = image.version & ITEM_VERSION_MAX;
    out->marks = (unsigned)(image.version >> MARKS_SHIFT);
    out->deadline_ms = image.deadline_ms;
    out->idle_seconds = clock_idle_s(e->clock, t->clock_ms);
}

/* *e: its entry, NULL: none; out says what both cases have. */
static inline status look(struct txn *t, const struct key *k, struct entry **e, struct item *out)
{
    struct spot spot;
    uint32_t due_met = t->due_met;
    status s = find(t, k, &spot);
    if (s != HF_OK)
        return s;
    *e = spot.place.entry;
    out->found = *e != NULL;
    out->expired = t->due_met != due_met;
    if (HF_LIKELY(*e != NULL))
        fill(t, *e, out);
    return HF_OK;
}

status item_get(struct txn *t, const struct key *k, struct item *out)
{
    struct entry *e;
    return look(t, k, &e, out);
}

size_t item_memory(struct txn *t, const struct key *k)
{
    struct spot spot;
    const struct entry *e = txn_find(t, k, &spot);
    hf_assert(e);
    return entry_memory(t->engine->store, e);
}

struct scan {
    struct txn *txn;
    void (*each)(void *, bytes, const struct item *, size_t);
    void *context;
};

static void scan_entry(void *context, struct entry *e)
{
    const struct scan *scan = context;
    struct item item = {.found = true};
    if (entry_type(e) != TYPE_STRING)
        return;
    fill(scan->txn, e, &item);
    scan->each(scan->context, entry_key(e), &item, entry_memory(scan->txn->engine->store, e));
}

uint64_t item_scan(struct txn *t, uint32_t db, uint64_t cursor, size_t count, void (*each)(void *, bytes, const struct item *, size_t), void *context)
{
    return db_scan_entries(t, db, cursor, count, scan_entry, &(struct scan){t, each, context});
}

void item_count_lookup(struct txn *t, bool hit) { txn_count_lookup(t, hit); }

static void used(struct txn *t, struct entry *e)
{
    txn_access(t, e);
    if (!(e->fields & FIELD_FETCHED))
        e->fields |= FIELD_FETCHED;
}

void item_access(struct txn *t, const struct key *k)
{
    struct spot spot;
    struct entry *e = txn_find(t, k, &spot);
    hf_assert(e);
    used(t, e);
}

status item_use(struct txn *t, const struct key *k, struct item *out)
{
    struct entry *e;
    status s = look(t, k, &e, out);
    if (HF_LIKELY(s == HF_OK && e != NULL))
        used(t, e);
    return s;
}

status item_put(struct txn *t, const struct key *k, bytes value, const struct item_fields *fields, uint64_t *version)
{
    struct spot spot;
    int64_t number;
    status s = find(t, k, &spot);
    if (s != HF_OK)
        return s;
    const struct entry *old = spot.place.entry;
    if (version)
        *version = 0;
    if (fields->deadline_ms && fields->deadline_ms <= t->now_ms) {
        if (old)
            txn_remove(t, k, &spot, true, false);
        if (version && fields->versioned)
            *version = item_version_next(t->engine); /* of a value whose time was over at once */
        return HF_OK;
    }
    struct entry_image image = {.type = TYPE_STRING, .key = k->name,
                                .deadline_ms = fields->deadline_ms, .flags = fields->flags, .has_flags = fields->flags != 0,
                                .fetched = fields->fetched};
    bool versioned = fields->versioned || fields->version || (old && old->fields & FIELD_VERSION);
    uint64_t chosen = !versioned ? 0 : fields->version ? fields->version : item_version_next(t->engine);
    image.has_version = versioned || fields->marks;
    image.version = field_of(chosen, fields->marks);
    string_form(&image, value, &number);
    s = txn_put(t, k, &spot, &image, NULL, true);
    if (s == HF_OK && version)
        *version = chosen;
    return s;
}

/* Neither a change of the value nor one that WATCH tells of. */
static status set_field(struct txn *t, const struct key *k, struct spot *spot, uint64_t field)
{
    struct entry *e = spot->place.entry;
    if (e->fields & FIELD_VERSION) {
        entry_set_version(e, field);
    } else {
        struct entry_image image = entry_read(e);
        image.has_version = true;
        image.version = field;
        status s = txn_reblock_as(t, k, spot, &image);
        if (s != HF_OK)
            return s;
    }
    if (t->recovering || !t->may_change)
        return HF_OK;
    txn_stamp_later(t, k, spot);
    if (txn_logs(t))
        effect_version(&t->record, spot->db_id, k->name, field);
    return HF_OK;
}

status item_mark(struct txn *t, const struct key *k, uint64_t version, unsigned marks)
{
    struct spot spot;
    status s = find(t, k, &spot);
    hf_assert(s != HF_OK || spot.place.entry);
    return s != HF_OK ? s : set_field(t, k, &spot, field_of(version ? version : item_version_next(t->engine), marks));
}

status item_version(struct txn *t, const struct key *k, uint64_t *version)
{
    struct item item;
    status s = item_get(t, k, &item);
    hf_assert(s != HF_OK || item.found);
    if (s != HF_OK)
        return s;
    uint64_t chosen = item.version ? item.version : item_version_next(t->engine);
    if (!item.version)
        s = item_mark(t, k, chosen, item.marks);
    if (s == HF_OK)
        *version = chosen;
    return s;
}

void items_watch_evictions(struct engine *e, item_eviction *tell) { atomic_store(&e->on_item_evicted, tell); }

void item_evicted(struct txn *t, const struct key *k, const struct entry *e)
{
    item_eviction *tell = atomic_load(&t->engine->on_item_evicted);
    struct item item = {.found = true};
    if (!tell || entry_type(e) != TYPE_STRING)
        return;
    fill(t, e, &item);
    tell(t, k, &item);
}

status item_recover_version(struct txn *t, const struct key *k, uint64_t field)
{
    struct spot spot;
    if (!txn_find(t, k, &spot))
        return HF_OK;
    return entry_type(spot.place.entry) == TYPE_STRING ? set_field(t, k, &spot, field) : HF_ERR_CORRUPT;
}
