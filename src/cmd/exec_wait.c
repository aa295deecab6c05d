/* exec_wait.c -- commands that wait for a key, and who serves them.
 *
 * A changer runs the waiting commands itself, in its own transaction and lock hold, oldest
 * first, with a reply buffer of the waiter's own; the pop becomes part of the changer's record.
 * So nobody else can take the element, order is first come, first served, and a crash keeps
 * both or none. What a waiter then changes (BLMOVE's target) may serve further ones.
 */
#include "cmd/exec_private.h"
#include "cmd/feed.h"
#include "cmd/slowlog.h"

#include "base/memory.h"
#include "os/os.h"
#include "os/ticks.h"
#include "engine/feed.h"
#include "types/type.h"

void (*exec_on_served)(struct waiter *w);

/* ---- the locks ---- */

struct key_list { struct key *at; size_t count, capacity; };

static bool key_known(const struct key_list *l, const struct key *k)
{
    for (size_t i = 0; i < l->count; i++) {
        if (l->at[i].hash == k->hash && l->at[i].db == k->db && bytes_equal(l->at[i].name, k->name))
            return true;
    }
    return false;
}

static void key_add(struct arena *a, struct key_list *l, const struct key *k)
{
    if (l->count == l->capacity) {
        struct key *more = arena_alloc(a, 2 * l->capacity * sizeof(*more));
        memcpy(more, l->at, l->count * sizeof(*more));
        l->at = more;
        l->capacity *= 2;
    }
    l->at[l->count++] = *k;
}

static bool is_locked(const struct txn *t, uint16_t stripe)
{
    for (size_t i = 0; i < t->locked_count; i++) {
        if (t->locked[i] == stripe)
            return true;
    }
    return false;
}

static bool somebody_waits(const struct txn *t)
{
    for (size_t i = 0; i < t->locked_count; i++) {
        if (t->engine->store->stripes[t->locked[i]].waiters)
            return true;
    }
    return false;
}

/* Follows keys to their waiters and these to their keys. Who waits for a key whose stripe is not locked yet is seen next time. */
static bool collect_keys(struct exec *x, struct key_list *all, bool *found)
{
    bool more = false;
    for (size_t i = 0; i < all->count; i++) {
        struct key k = all->at[i];
        if (!is_locked(x->txn, k.stripe)) {
            more = true;
            continue;
        }
        for (struct wait_link *link = NULL; (link = wait_next(x->engine, &k, link)) != NULL;) {
            *found = true;
            for (size_t n = 0; n < link->waiter->link_count; n++) {
                if (!key_known(all, &link->waiter->links[n].key))
                    key_add(&x->txn->arena, all, &link->waiter->links[n].key);
            }
        }
    }
    return more;
}

static bool is_held(const struct exec *x, const struct key *keys, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        for (struct wait_link *link = NULL; (link = wait_next(x->engine, &keys[i], link)) != NULL;) {
            if (link->waiter->holds && atomic_load(&link->waiter->state) == WAIT_WAITING)
                return true;
        }
    }
    return false;
}

enum wait_need wait_needs(struct exec *x, const struct key *keys, size_t count, uint16_t **stripes, size_t *stripe_count)
{
    struct txn *t = x->txn;
    bool found = false;
    if (HF_LIKELY(!somebody_waits(t)))
        return NOBODY_WAITS;
    if (is_held(x, keys, count))
        return KEY_IS_HELD;
    struct key_list all = {arena_alloc(&t->arena, (count + 16) * sizeof(struct key)), 0, count + 16};
    for (size_t i = 0; i < count; i++)
        key_add(&t->arena, &all, &keys[i]);
    bool more = collect_keys(x, &all, &found);
    if (!found)
        return NOBODY_WAITS;
    if (!more)
        return NEEDS_NO_MORE;
    *stripes = arena_alloc(&t->arena, (all.count + t->locked_count) * sizeof(**stripes));
    *stripe_count = 0;
    for (size_t i = 0; i < t->locked_count; i++)
        (*stripes)[(*stripe_count)++] = t->locked[i];
    for (size_t i = 0; i < all.count; i++)
        (*stripes)[(*stripe_count)++] = all.at[i].stripe;
    return NEEDS_MORE;
}

/* ---- serving ---- */

struct served {
    struct delivery delivery;
    struct waiter *waiter;
};

static void tell_owner(struct txn *t, struct delivery *d, uint64_t lsn)
{
    struct waiter *w = ((struct served *)d)->waiter;
    (void)t;
    w->lsn = lsn;
    atomic_store(&w->state, WAIT_SERVED);
    exec_on_served(w);
}

/* Runs the waiting command. False: it still waits. */
static bool serve_one(struct exec *x, const struct wait_link *link)
{
    struct waiter *w = link->waiter;
    struct txn *t = x->txn;
    uint32_t waiting = WAIT_WAITING;
    if (!atomic_compare_exchange_strong(&w->state, &waiting, WAIT_CLAIMED))
        return false;
    struct session stub = {.db = w->db, .authenticated = true,
                           .reply = {.ops = w->reply_ops, .out = &w->reply, .version = w->protocol}};
    struct key *keys = arena_alloc(&t->arena, (w->link_count + 1) * sizeof(*keys));
    for (size_t i = 0; i < w->link_count; i++)
        keys[i] = w->links[i].key;
    struct call c = {.command = w->command, .session = &stub, .reply = &stub.reply, .txn = t, .argv = w->argv,
                     .argc = w->argc, .keys = keys, .key_count = w->link_count, .may_wait = true,
                     .woken_by = &keys[link - w->links]};
    struct delivery *before = t->deliveries_last;
    uint64_t began = ticks_now();
    txn_feed_unit(t);
    uint64_t changes = feed_before(&c);
    t->observing = true; /* the changer did not ask for what its waiters change: it is told of it, too */
    c.command->handler(&c);
    t->observing = false;
    feed_after(&c, changes);
    if (c.waits) {
        hf_assert(w->reply.size == 0);
        atomic_store(&w->state, WAIT_WAITING);
        return false;
    }
    if (HF_UNLIKELY(stub.reply.errors != 0))
        atomic_fetch_add_explicit(&c.command->stats->failed, 1, memory_order_relaxed);
    exec_spent(x, w->session, w->command, w->argv, w->argc, ticks_now() - began);
    waiter_unlist_locked(x->engine, w);
    struct served *s = arena_alloc(&t->arena, sizeof(*s));
    *s = (struct served){{NULL, tell_owner}, w};
    txn_deliver_behind(t, before, &s->delivery);
    return true;
}

/* Lists, sorted sets and streams are waited for by their own commands only. */
static bool is_of_group(struct txn *t, const struct key *k, const struct command *row)
{
    struct spot spot;
    struct entry *e = txn_find(t, k, &spot);
    const char *group = !e                            ? NULL
                        : entry_type(e) == TYPE_LIST   ? "list"
                        : entry_type(e) == TYPE_ZSET   ? "sorted-set"
                        : entry_type(e) == TYPE_STREAM ? "stream"
                                                       : NULL;
    if (row->flags & CMD_WAITS_FOR_ANY)
        return true;
    return group && strcmp(row->group, group) == 0;
}

void wait_serve(struct exec *x)
{
    struct txn *t = x->txn;
    txn_feed_unit(t);
    while (t->ready) {
        struct key k = t->ready->key;
        t->ready = t->ready->next;
        if (!t->ready)
            t->ready_last = NULL;
        struct wait_link *link = wait_next(x->engine, &k, NULL);
        while (link) {
            struct wait_link *next = wait_next(x->engine, &k, link);
            while (next && next->waiter == link->waiter) /* BLPOP a a: gone with the first */
                next = wait_next(x->engine, &k, next);
            if (is_of_group(t, &k, link->waiter->command))
                serve_one(x, link);
            link = next;
        }
    }
}

/* ---- waiting ---- */

void wait_start(struct exec *x, struct session *s, const struct call *c)
{
    struct waiter *w = waiter_new(c->argv, c->argc, c->keys, c->key_count);
    w->command = c->command;
    w->db = s->db;
    w->holds = (c->command->flags & CMD_TALKS) != 0;
    w->any = (c->command->flags & CMD_WAITS_FOR_ANY) != 0;
    w->protocol = s->reply.version;
    w->reply_ops = s->reply.ops;
    w->owner = s->connection;
    w->session = s;
    w->served = exec_on_served;
    s->waiter = w;
    s->wait_until_us = 0;
    if (c->wait_seconds > 0)
        s->wait_until_us = OS.monotonic_us() + (uint64_t)(c->wait_seconds * 1e6) + 1;
    waiter_list_locked(x->engine, w);
}

void exec_wait_end(struct exec *x, struct session *s)
{
    struct waiter *w = s->waiter;
    s->waiter = NULL;
    if (waiter_unlist_free(x->engine, w)) {
        waiter_free(w);
        return;
    }
    w->next = x->waiters_left;
    x->waiters_left = w;
}

bool waiters_sweep(struct exec *x)
{
    for (struct waiter **at = &x->waiters_left, *w; (w = *at) != NULL;) {
        if (!waiter_unlist_free(x->engine, w)) {
            at = &w->next;
            continue;
        }
        *at = w->next;
        waiter_free(w);
    }
    return x->waiters_left != NULL;
}
