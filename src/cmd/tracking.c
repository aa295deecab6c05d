/* tracking.c -- the sessions that cache, by worker, and the way of an invalidation to them.
 *
 *   change at commit --> each session that has read the key (tracking_table.c) --> its worker: arrive_key
 *                    \-> workers with BCAST sessions: arrive_broadcast           \-> told, or the one it redirects to:
 *   FLUSHALL         --> workers with any: arrive_all                               arrive_redirected
 *                                                          its end, when that one is gone: arrive_broken <-/
 *
 * Each worker knows its sessions that cache, or are redirected to, by number.
 */
#include "cmd/tracking.h"

#include "base/memory.h"
#include "cmd/host.h"
#include "cmd/pointers.h"
#include "cmd/tracking_table.h"
#include "engine/events.h"

#include <stdlib.h>

_Atomic uint32_t observer_count;

/* Guarded by its lock: who has switched it on. */
static struct { struct spin lock; struct engine *engine; uint32_t clients; struct dict prefixes; bool made; } all;
static _Atomic uint32_t trackers[WORKERS_MAX], broadcasters[WORKERS_MAX], broadcasters_all;

/* ---- sessions of a worker, by number; touched by that worker only ---- */

static struct dict by_id[WORKERS_MAX];
static bool by_id_made[WORKERS_MAX];

static struct dict *sessions_of(unsigned worker)
{
    if (!by_id_made[worker])
        by_id[worker] = dict_make();
    by_id_made[worker] = true;
    return &by_id[worker];
}

static struct session *session_of(unsigned worker, uint64_t id)
{
    return dict_pointer(sessions_of(worker), bytes_of(&id, sizeof(id)));
}

static void make_findable(struct session *s)
{
    if (!s->findable)
        dict_set_pointer(sessions_of(s->worker), bytes_of(&s->id, sizeof(s->id)), s);
    s->findable = true;
}

/* ---- telling ---- */

struct changed_key { bytes name; bool by_nobody; };

struct invalidation {
    struct message message;
    uint64_t to;             /* a session; 0: all */
    uint64_t writer;         /* 0: nobody */
    uint64_t origin;         /* redirected: the session that caches */
    unsigned origin_worker;
    size_t count;            /* 0: every key */
    struct changed_key keys[];
};

typedef void arrival(const struct message *message, unsigned worker, message_pushed *pushed);

static struct invalidation *invalidation_new(const struct changed_key *keys, size_t count, uint64_t lsn, arrival *arrive)
{
    size_t size = 0;
    for (size_t i = 0; i < count; i++)
        size += keys[i].name.size;
    struct invalidation *m = message_new(sizeof(*m) + count * sizeof(*keys) + size, lsn, arrive);
    uint8_t *at = (uint8_t *)&m->keys[count];
    m->count = count;
    for (size_t i = 0; i < count; i++) {
        if (keys[i].name.size)
            memcpy(at, keys[i].name.data, keys[i].name.size);
        m->keys[i] = (struct changed_key){bytes_of(at, keys[i].name.size), keys[i].by_nobody};
        at += keys[i].name.size;
    }
    return m;
}

static void post_once(struct invalidation *m, unsigned worker)
{
    message_post(&m->message, worker);
    message_release(&m->message);
}

static void push(struct session *s, bool redirected, const struct changed_key *keys, size_t count, uint64_t lsn, message_pushed *pushed)
{
    struct reply *r = &s->reply;
    size_t begin = r->out->size;
    if (r->version == 2 && !(redirected && session_listens(s)))
        return;
    r->ops->push(r, r->version == 2 ? 3 : 2);
    if (r->version == 2) {
        reply_text(r, "message");
        reply_text(r, "__redis__:invalidate");
    } else {
        reply_text(r, "invalidate");
    }
    if (count)
        reply_array(r, count);
    else
        reply_null(r);
    for (size_t i = 0; i < count; i++)
        reply_bulk(r, keys[i].name);
    pushed(s, begin, lsn, PUSH_INVALIDATION);
}

static void arrive_broken(const struct message *message, unsigned worker, message_pushed *pushed)
{
    const struct invalidation *m = (const struct invalidation *)message;
    struct session *s = session_of(worker, m->to);
    if (!s || !tracking_is_on(s) || s->tracking->redirect != m->origin)
        return;
    s->tracking->broken = true;
    if (s->reply.version == 2)
        return;
    size_t begin = s->reply.out->size;
    s->reply.ops->push(&s->reply, 2);
    reply_text(&s->reply, "tracking-redir-broken");
    reply_int(&s->reply, (int64_t)m->origin);
    pushed(s, begin, 0, PUSH_NEWS);
}

static void arrive_redirected(const struct message *message, unsigned worker, message_pushed *pushed)
{
    const struct invalidation *m = (const struct invalidation *)message;
    struct session *s = session_of(worker, m->to);
    if (s) {
        push(s, true, m->keys, m->count, m->message.lsn, pushed);
        return;
    }
    struct invalidation *news = invalidation_new(NULL, 0, 0, arrive_broken);
    news->to = m->origin;
    news->origin = m->to;
    post_once(news, m->origin_worker);
}

/* Itself, or the one that it is redirected to. */
static void tell(struct session *s, const struct changed_key *keys, size_t count, uint64_t lsn, message_pushed *pushed)
{
    const struct tracking *k = s->tracking;
    if (!k->redirect) {
        push(s, false, keys, count, lsn, pushed);
        return;
    }
    struct invalidation *m = invalidation_new(keys, count, lsn, arrive_redirected);
    m->to = k->redirect;
    m->origin = s->id;
    m->origin_worker = s->worker;
    if (k->redirect_worker == s->worker) {
        arrive_redirected(&m->message, s->worker, pushed);
        message_release(&m->message);
    } else {
        post_once(m, k->redirect_worker);
    }
}

static void arrive_key(const struct message *message, unsigned worker, message_pushed *pushed)
{
    const struct invalidation *m = (const struct invalidation *)message;
    struct session *s = session_of(worker, m->to);
    if (s && tracking_is_on(s) && !s->tracking->bcast && !(s->tracking->noloop && m->writer == s->id && !m->keys[0].by_nobody))
        tell(s, m->keys, m->count, m->message.lsn, pushed);
}

/* One push for each prefix that some of the keys begin with. */
static void broadcast_to(struct session *s, const struct invalidation *m, message_pushed *pushed)
{
    const struct tracking *k = s->tracking;
    struct changed_key *fit = mem_alloc(m->count * sizeof(*fit));
    for (size_t p = 0; p < k->prefix_count; p++) {
        size_t count = 0;
        for (size_t i = 0; i < m->count; i++) {
            bool own = k->noloop && m->writer == s->id && !m->keys[i].by_nobody;
            if (!own && bytes_starts_with(m->keys[i].name, k->prefixes[p]))
                fit[count++] = m->keys[i];
        }
        if (count)
            tell(s, fit, count, m->message.lsn, pushed);
    }
    mem_free(fit);
}

/* The writer's own session is told behind its reply. */
static void arrive_at_others(const struct invalidation *m, unsigned worker, message_pushed *pushed)
{
    struct dict_cursor cursor = {0};
    bytes id, value;
    while (dict_next(sessions_of(worker), &cursor, &id, &value)) {
        struct session *s = pointer_of(value);
        if (!tracking_is_on(s) || s->id == m->writer)
            continue;
        if (m->count == 0)
            tell(s, NULL, 0, m->message.lsn, pushed);
        else if (s->tracking->bcast)
            broadcast_to(s, m, pushed);
    }
}

static void arrive_all(const struct message *message, unsigned worker, message_pushed *pushed)
{
    arrive_at_others((const struct invalidation *)message, worker, pushed);
}

static void arrive_broadcast(const struct message *message, unsigned worker, message_pushed *pushed)
{
    arrive_at_others((const struct invalidation *)message, worker, pushed);
}

/* ---- the session's own changes ---- */

static void keep_own(struct session *s, struct invalidation *m)
{
    struct tracking *k = s->tracking;
    if (k->own_count == k->own_capacity) {
        k->own_capacity = k->own_capacity ? k->own_capacity * 2 : 4;
        k->own = mem_realloc(k->own, k->own_capacity * sizeof(struct message *));
    }
    atomic_fetch_add(&m->message.holders, 1);
    k->own[k->own_count++] = &m->message;
}

void tracking_tell_own(struct session *s, message_pushed *pushed)
{
    struct tracking *k = s->tracking;
    for (size_t i = 0; i < k->own_count; i++) {
        const struct invalidation *m = (const struct invalidation *)k->own[i];
        if (m->to)
            arrive_key(k->own[i], s->worker, pushed);
        else if (k->on && m->count == 0)
            tell(s, NULL, 0, m->message.lsn, pushed);
        else if (k->on && k->bcast)
            broadcast_to(s, m, pushed);
        message_release(k->own[i]);
    }
    k->own_count = 0;
}

/* ---- changes, at commit ---- */

struct teller { struct session *own; struct changed_key key; uint64_t lsn; };

static void tell_holder(void *context, const struct holder *holder)
{
    const struct teller *teller = context;
    struct session *own = teller->own && teller->own->id == holder->session ? teller->own : NULL;
    struct invalidation *m = invalidation_new(&teller->key, 1, teller->lsn, arrive_key);
    m->to = holder->session;
    m->writer = own ? own->id : 0;
    if (own && own->tracking)
        keep_own(own, m);
    else
        message_post(&m->message, holder->worker);
    message_release(&m->message);
}

static void forget_key(struct session *own, bytes name, bool by_nobody, uint64_t lsn)
{
    struct teller teller = {own, {name, by_nobody}, lsn};
    holders_take(name, tell_holder, &teller);
}

/* To the workers that have such sessions, and to the writer's own. */
static void post_to_all(struct session *own, struct invalidation *m, const _Atomic uint32_t *counts)
{
    m->writer = own ? own->id : 0;
    for (unsigned w = 0; w < WORKERS_MAX; w++) {
        if (atomic_load(&counts[w]))
            message_post(&m->message, w);
    }
    if (own && tracking_is_on(own))
        keep_own(own, m);
    message_release(&m->message);
}

static int compare_keys(const void *a, const void *b)
{
    const struct changed_key *x = a, *y = b;
    int order = bytes_compare(x->name, y->name);
    return order ? order : x->by_nobody - y->by_nobody;
}

/* All keys of the transaction at once, sorted, each of them once. */
static void broadcast(struct txn *t, struct change *first, uint64_t lsn)
{
    size_t count = 0, kept = 0;
    for (const struct change *c = first; c; c = change_next(c))
        count += !c->whole;
    struct changed_key *keys = mem_alloc(count * sizeof(*keys));
    count = 0;
    for (struct change *c = first; c; c = change_next(c)) {
        c->told = true;
        if (!c->whole)
            keys[count++] = (struct changed_key){c->key, c->by_nobody};
    }
    qsort(keys, count, sizeof(*keys), compare_keys);
    for (size_t i = 0; i < count; i++) {
        if (kept && bytes_equal(keys[kept - 1].name, keys[i].name))
            keys[kept - 1].by_nobody |= keys[i].by_nobody;
        else
            keys[kept++] = keys[i];
    }
    post_to_all(t->client, invalidation_new(keys, kept, lsn, arrive_broadcast), broadcasters);
    mem_free(keys);
}

static void on_change(struct txn *t, struct change *c, uint64_t lsn)
{
    if (c->whole) {
        holders_clear();
        post_to_all(t->client, invalidation_new(NULL, 0, lsn, arrive_all), trackers);
        return;
    }
    forget_key(t->client, c->key, c->by_nobody, lsn);
    if (!c->told && atomic_load(&broadcasters_all))
        broadcast(t, c, lsn);
}

/* ---- reads ---- */

struct read_note { struct delivery delivery; struct holder holder; bytes key; };

static _Atomic uint64_t keys_max = 1000000;

static void make_room(struct session *own)
{
    uint64_t most = atomic_load_explicit(&keys_max, memory_order_relaxed);
    struct teller teller = {.own = own, .key = {.by_nobody = true}};
    while (most && holders_keys() > most && holders_take_any(&teller.key.name, tell_holder, &teller)) {
    }
}

static void note(struct txn *t, struct delivery *d, uint64_t lsn)
{
    const struct read_note *n = (const struct read_note *)d; /* its first member */
    (void)lsn;
    if (holders_add(n->key, &n->holder))
        make_room(t->client);
}

void tracking_read(struct txn *t, struct session *s, const struct key *keys, size_t count)
{
    const struct tracking *k = s->tracking;
    if (k->bcast || (k->optin && !k->caching) || (k->optout && k->caching))
        return;
    for (size_t i = 0; i < count; i++) {
        struct read_note *n = arena_alloc(txn_arena(t), sizeof(*n));
        *n = (struct read_note){{.deliver = note}, {s->id, s->worker}, arena_dup(txn_arena(t), keys[i].name)};
        txn_deliver(t, &n->delivery);
    }
}

void tracking_set_keys_max(uint64_t most)
{
    atomic_store(&keys_max, most);
    make_room(NULL);
}

/* ---- on and off ---- */

static void count_prefix(bytes prefix, bool add)
{
    uint64_t count = 0;
    bytes value;
    if (!all.made)
        all.prefixes = dict_make();
    all.made = true;
    if (dict_get(&all.prefixes, prefix, &value))
        memcpy(&count, value.data, sizeof(count));
    count += add ? 1 : UINT64_MAX;
    if (count)
        dict_set(&all.prefixes, prefix, bytes_of(&count, sizeof(count)));
    else
        dict_remove(&all.prefixes, prefix);
}

static void add_prefix(struct tracking *k, bytes prefix)
{
    size_t at = k->prefix_count;
    while (at > 0 && bytes_compare(k->prefixes[at - 1], prefix) > 0)
        at--;
    if (at > 0 && bytes_equal(k->prefixes[at - 1], prefix))
        return;
    k->prefixes = mem_realloc(k->prefixes, (k->prefix_count + 1) * sizeof(*k->prefixes));
    memmove(&k->prefixes[at + 1], &k->prefixes[at], (k->prefix_count - at) * sizeof(*k->prefixes));
    uint8_t *copy = mem_alloc(prefix.size + 1);
    if (prefix.size)
        memcpy(copy, prefix.data, prefix.size);
    k->prefixes[at] = bytes_of(copy, prefix.size);
    k->prefix_count++;
    k->prefix_bytes += sizeof(*k->prefixes) + prefix.size;
    count_prefix(prefix, true);
}

static void arrive_asked_for(const struct message *message, unsigned worker, message_pushed *pushed)
{
    struct session *s = host->session_find(worker, ((const struct invalidation *)message)->to);
    (void)pushed;
    if (s)
        make_findable(s);
}

/* The worker of the one that is redirected to learns its number before the first invalidation. */
static void ask_for(const struct session *s, uint64_t id, unsigned worker)
{
    struct invalidation *m = invalidation_new(NULL, 0, 0, arrive_asked_for);
    m->to = id;
    if (worker == s->worker) {
        arrive_asked_for(&m->message, worker, NULL);
        message_release(&m->message);
    } else {
        post_once(m, worker);
    }
}

static void count_session(struct session *s, bool add)
{
    const struct tracking *k = s->tracking;
    uint32_t by = add ? 1 : UINT32_MAX;
    atomic_fetch_add(&trackers[s->worker], by);
    atomic_fetch_add(&observer_count, by);
    all.clients += by;
    if (k->bcast) {
        atomic_fetch_add(&broadcasters[s->worker], by);
        atomic_fetch_add(&broadcasters_all, by);
    }
    engine_changes_listen(all.engine, all.clients ? on_change : NULL);
    if (all.clients == 0)
        holders_clear(); /* changes are told no more */
}

void tracking_start(struct session *s, struct engine *e, const struct tracking_wish *wish)
{
    if (!s->tracking)
        s->tracking = mem_zalloc(sizeof(*s->tracking));
    struct tracking *k = s->tracking;
    make_findable(s);
    if (wish->redirect)
        ask_for(s, wish->redirect, wish->redirect_worker);
    spin_lock(&all.lock);
    all.engine = e;
    bool fresh = !k->on;
    k->on = true;
    k->bcast = wish->bcast;
    k->optin = wish->optin;
    k->optout = wish->optout;
    k->noloop = wish->noloop;
    k->broken = false;
    k->redirect = wish->redirect;
    k->redirect_worker = wish->redirect_worker;
    for (size_t i = 0; i < wish->prefix_count; i++)
        add_prefix(k, wish->prefixes[i]);
    if (k->bcast && wish->prefix_count == 0)
        add_prefix(k, BYTES(""));
    if (fresh)
        count_session(s, true);
    spin_unlock(&all.lock);
}

void tracking_stop(struct session *s)
{
    struct tracking *k = s->tracking;
    if (!k || !k->on)
        return;
    spin_lock(&all.lock);
    for (size_t i = 0; i < k->prefix_count; i++) {
        count_prefix(k->prefixes[i], false);
        mem_free((void *)(uintptr_t)k->prefixes[i].data);
    }
    count_session(s, false);
    spin_unlock(&all.lock);
    mem_free(k->prefixes);
    k->prefixes = NULL;
    k->prefix_count = k->prefix_bytes = 0;
    k->on = k->bcast = k->optin = k->optout = k->noloop = k->caching = k->broken = false;
    k->redirect = 0;
}

void tracking_leave(struct session *s)
{
    tracking_stop(s);
    if (s->findable)
        dict_remove(sessions_of(s->worker), bytes_of(&s->id, sizeof(s->id)));
    s->findable = false;
}

void tracking_release(struct session *s)
{
    for (size_t i = 0; s->tracking && i < s->tracking->own_count; i++)
        message_release(s->tracking->own[i]);
    if (s->tracking)
        mem_free(s->tracking->own);
    mem_free(s->tracking);
    s->tracking = NULL;
}

void tracking_count(struct tracking_totals *out)
{
    spin_lock(&all.lock);
    out->clients = all.clients;
    out->prefixes = all.made ? dict_count(&all.prefixes) : 0;
    spin_unlock(&all.lock);
    out->keys = holders_keys();
    out->items = holders_items();
}
