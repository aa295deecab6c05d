/* watch.c -- WATCH and UNWATCH: what a session watches, and how it lets go.
 *
 * A watch stands in its stripe's list and goes under the stripe's lock. Letting go never waits for that lock, which a
 * script may hold for long: the watches of a busy stripe are left behind with their watcher, for the worker's housekeeping to
 * remove, and the session gets another watcher when it watches again. Until then a change marks one that nobody asks.
 */
#include "cmd/exec_private.h"

#include "base/memory.h"
#include "cmd/handlers.h"

bool session_is_dirty(const struct session *s)
{
    return s->watcher && atomic_load_explicit(&s->watcher->dirty, memory_order_acquire);
}

void unwatch_locked(struct session *s)
{
    while (s->watches) {
        struct watch *next = s->watches->sibling;
        watch_remove_locked(s->watches);
        s->watches = next;
    }
    s->watch_bytes = 0;
    if (s->watcher && !os_bug(BUG_WATCH_KEPT))
        atomic_store(&s->watcher->dirty, false);
}

/* Those whose stripes are free. */
static void remove_free(struct watch **list, bool with_watcher)
{
    for (struct watch **at = list, *w; (w = *at) != NULL;) {
        struct watcher *watcher = w->watcher;
        struct stripe *stripe = &w->engine->store->stripes[w->stripe];
        if (!stripe_try_lock(stripe)) {
            at = &w->sibling;
            continue;
        }
        *at = w->sibling;
        watch_remove_locked(w);
        stripe_unlock(stripe);
        if (with_watcher && watcher->count == 0)
            mem_free(watcher);
    }
}

void watches_leave(struct watch *list, unsigned worker)
{
    struct watch **last = &list, **left = &list->engine->watches_left[worker];
    while (*last)
        last = &(*last)->sibling;
    *last = *left;
    *left = list;
}

void session_unwatch(struct session *s)
{
    remove_free(&s->watches, false);
    if (!s->watches) {
        unwatch_locked(s);
        return;
    }
    watches_leave(s->watches, s->worker);
    s->watches = NULL;
    s->watch_bytes = 0;
    s->watcher = NULL;
}

bool watches_sweep(const struct exec *x)
{
    struct watch **left = &x->engine->watches_left[x->worker];
    remove_free(left, true);
    return *left != NULL;
}

/* Inside EXEC the stripes are locked already, and the watches end with it anyway. */
void cmd_unwatch(struct call *c)
{
    if (!c->session->in_multi)
        session_unwatch(c->session);
    reply_ok(c->reply);
}

static bool is_watched(const struct session *s, const struct key *k)
{
    for (const struct watch *w = s->watches; w; w = w->sibling) {
        if (w->db == k->db && bytes_equal(w->key, k->name))
            return true;
    }
    return false;
}

void cmd_watch(struct call *c)
{
    struct session *s = c->session;
    if (s->in_multi) {
        reply_errorf(c->reply, "ERR WATCH inside MULTI is not allowed");
        return;
    }
    if (!s->watcher)
        s->watcher = mem_zalloc(sizeof(*s->watcher));
    for (size_t i = 0; i < c->key_count; i++) {
        struct spot spot;
        if (is_watched(s, &c->keys[i]))
            continue;
        txn_find(c->txn, &c->keys[i], &spot); /* an expired key goes now: later it would look changed */
        struct watch *w = watch_add_locked(c->exec->engine, &c->keys[i], s->watcher);
        w->sibling = s->watches;
        s->watches = w;
        s->watch_bytes += watch_memory(w);
    }
    reply_ok(c->reply);
}
