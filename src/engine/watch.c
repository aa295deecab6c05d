/* watch.c -- WATCH without versions: a dirty flag per watcher, listed in the stripe.
 *
 * A writer looks only when its stripe's list is not empty. This also catches absent,
 * created, deleted again. Lists are guarded by the stripe's lock. Watchers are told at once, or at commit
 * when the transaction may be undone: what is undone has not happened.
 */
#include "engine/internal.h"

#include "base/memory.h"

struct watch *watch_add_locked(struct engine *e, const struct key *k, struct watcher *watcher)
{
    struct stripe *s = &e->store->stripes[k->stripe];
    struct watch *w = mem_alloc(sizeof(*w) + k->name.size);
    *w = (struct watch){.next = s->watches, .engine = e, .watcher = watcher, .db = k->db, .stripe = k->stripe, .hash = k->hash};
    if (k->name.size)
        memcpy(w + 1, k->name.data, k->name.size);
    w->key = bytes_of(w + 1, k->name.size);
    if (w->next)
        w->next->previous = w;
    s->watches = w;
    watcher->count++;
    return w;
}

void watch_remove_locked(struct watch *w)
{
    if (w->previous)
        w->previous->next = w->next;
    else
        w->engine->store->stripes[w->stripe].watches = w->next;
    if (w->next)
        w->next->previous = w->previous;
    w->watcher->count--;
    mem_free(w);
}

/* The watcher outlives the transaction: its watch ends under the stripe's lock, which the transaction holds. */
struct watch_note { struct delivery delivery; struct watcher *watcher; };

static void tell(struct txn *t, struct delivery *d, uint64_t lsn)
{
    (void)t;
    (void)lsn;
    atomic_store(&((struct watch_note *)d)->watcher->dirty, true); /* its first member */
}

static bool is_noted(const struct txn *t, const struct watch *w)
{
    const struct delivery *last = t->deliveries_last;
    return atomic_load(&w->watcher->dirty) || (last && last->deliver == tell && ((const struct watch_note *)last)->watcher == w->watcher);
}

static bool exists(struct stripe *s, uint32_t db_id, const struct watch *w, uint64_t now_ms)
{
    struct table *table = stripe_table(s, db_id);
    struct place p;
    if (!table || !table_find(table, w->key, w->hash, &p))
        return false;
    uint64_t deadline = entry_deadline(p.entry);
    return !deadline || deadline > now_ms;
}

void watch_touch_locked(struct txn *t, struct stripe *s, uint32_t db_id, bytes key)
{
    for (struct watch *w = s->watches; w; w = w->next) {
        if (os_bug(BUG_WATCH_MISSED) && w->watcher->count == 1)
            continue;
        if (t->engine->db_ids[w->db] != db_id || !bytes_equal(w->key, key) || is_noted(t, w))
            continue;
        bool was_expired = w->was_expired;
        w->was_expired = false;
        if (was_expired && !exists(s, db_id, w, t->now_ms))
            continue;
        if (!t->undoing) {
            atomic_store(&w->watcher->dirty, true);
            continue;
        }
        struct watch_note *note = arena_alloc(&t->arena, sizeof(*note));
        *note = (struct watch_note){{.deliver = tell}, w->watcher};
        txn_deliver(t, &note->delivery);
    }
}

/* What had expired when the watch began went then: what lies there now was seen, whether it has expired since or not. */
void watch_tell_database_locked(struct stripe *s, const uint32_t *ids, uint32_t db_id, uint32_t other_id, uint64_t now_ms)
{
    for (struct watch *w = s->watches; w; w = w->next) {
        uint32_t mine = ids[w->db], coming = mine == db_id ? other_id : db_id;
        if (mine != db_id && mine != other_id)
            continue;
        bool had = exists(s, mine, w, 0) && !w->was_expired, swaps = coming != mine;
        if (had || (swaps && exists(s, coming, w, now_ms)))
            atomic_store(&w->watcher->dirty, true);
        w->was_expired = swaps && exists(s, coming, w, 0);
    }
}
