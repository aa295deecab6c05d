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

void watch_touch_locked(struct txn *t, struct stripe *s, uint32_t db_id, bytes key)
{
    for (const struct watch *w = s->watches; w; w = w->next) {
        if (t->engine->db_ids[w->db] != db_id || !bytes_equal(w->key, key) || is_noted(t, w))
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

static bool exists(struct stripe *s, uint32_t db_id, const struct watch *w)
{
    struct table *table = stripe_table(s, db_id);
    struct place p;
    return table && table_find(table, w->key, w->hash, &p);
}

void watch_tell_database_locked(struct stripe *s, const uint32_t *ids, uint32_t db_id, uint32_t other_id)
{
    for (struct watch *w = s->watches; w; w = w->next) {
        uint32_t id = ids[w->db];
        if ((id == db_id || id == other_id) && (exists(s, db_id, w) || exists(s, other_id, w)))
            atomic_store(&w->watcher->dirty, true);
    }
}
