/* clients.c -- registries, CLIENT LIST lines, kills and pauses. */
#include "net/worker.h"

#include "base/memory.h"
#include "cmd/acl.h"
#include "cmd/pubsub.h"
#include "cmd/replicas.h"
#include "cmd/tracking.h"
#include "engine/wait.h"
#include "os/os.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void registry_add(struct worker *w, struct conn *c)
{
    struct registry *r = &w->registry;
    spin_lock(&r->lock);
    if (r->count == r->capacity) {
        r->capacity = r->capacity ? r->capacity * 2 : 64;
        r->items = mem_realloc(r->items, r->capacity * sizeof(struct conn *));
    }
    c->index = r->count;
    r->items[r->count++] = c;
    spin_unlock(&r->lock);
}

void registry_remove(struct worker *w, struct conn *c)
{
    struct registry *r = &w->registry;
    spin_lock(&r->lock);
    struct conn *last = r->items[--r->count];
    r->items[c->index] = last;
    last->index = c->index;
    spin_unlock(&r->lock);
}

#define PUT(field, value) atomic_store_explicit(&r->field, (value), memory_order_relaxed)
#define GET(field) atomic_load_explicit(&r->field, memory_order_relaxed)

static bool texts_differ(const struct client_record *r, const struct session *s)
{
    return strcmp(r->name, s->name) != 0 || strcmp(r->lib_name, s->lib_name) != 0 ||
           strcmp(r->lib_version, s->lib_version) != 0 || r->user != s->user;
}

void client_record_refresh(struct conn *c)
{
    struct client_record *r = &c->record;
    const struct session *s = &c->session;
    const char *command = s->last_command;
    PUT(active_us, c->active_us);
    PUT(db, s->db);
    PUT(multi, s->in_multi ? (int32_t)s->queue_count : -1);
    PUT(resp, (uint32_t)s->reply.version);
    PUT(multi_memory, s->queue_bytes);
    if (HF_UNLIKELY(s->listens || GET(channels) || GET(patterns) || GET(shards))) {
        PUT(channels, (uint32_t)pubsub_count(s, TOPIC_CHANNEL));
        PUT(patterns, (uint32_t)pubsub_count(s, TOPIC_PATTERN));
        PUT(shards, (uint32_t)pubsub_count(s, TOPIC_SHARD));
    }
    size_t unread = c->input.size - c->input_at;
    size_t query = unread > c->parser.at ? unread - c->parser.at : 0, running = c->worker->serving == c ? c->worker->running : 0;
    PUT(query, query > running ? query : running);
    PUT(query_free, c->input.capacity - c->input.size);
    PUT(output, c->output.size - c->sent);
    PUT(output_memory, c->output.capacity);
    conn_note_memory(c);
    PUT(command, command);
    uint32_t flags = GET(flags) & RECORD_UNIX;
    flags |= (c->blocked & (BLOCKED_PARKED | BLOCKED_WAITING | BLOCKED_PAUSED) ? RECORD_BLOCKED : 0) | (c->closing ? RECORD_CLOSING : 0) |
             (s->no_evict ? RECORD_NO_EVICT : 0) | (s->no_touch ? RECORD_NO_TOUCH : 0) | (s->monitors ? RECORD_MONITOR : 0) |
             (session_follows(s) ? RECORD_REPLICA : 0) |
             (session_is_dirty(s) ? RECORD_DIRTY : 0) | (s->watches ? RECORD_WATCHING : 0) |
             (c->blocked & BLOCKED_WAITING && s->wait_until_us ? RECORD_TIMED : 0);
    if (HF_UNLIKELY(s->tracking != NULL)) {
        const struct tracking *k = s->tracking;
        flags |= (k->on ? RECORD_TRACKING : 0) | (k->broken ? RECORD_BROKEN : 0) | (k->bcast ? RECORD_BCAST : 0);
        PUT(redirect, k->on ? (int64_t)k->redirect : -1);
    }
    PUT(flags, (uint16_t)flags);
    /* Only CLIENT, HELLO, AUTH and RESET change the texts. */
    if (command && command[0] != 'c' && command[0] != 'h' && command[0] != 'a' && command[0] != 'r')
        return;
    if (!texts_differ(r, s))
        return;
    struct spin *lock = &c->worker->registry.lock;
    spin_lock(lock);
    memcpy(r->name, s->name, sizeof(r->name));
    memcpy(r->lib_name, s->lib_name, sizeof(r->lib_name));
    memcpy(r->lib_version, s->lib_version, sizeof(r->lib_version));
    const struct acl_user *old = r->user;
    r->user = s->user;
    if (s->user)
        acl_user_ref(s->user);
    spin_unlock(lock);
    acl_user_unref(old);
}

static bool listens(const struct client_record *r)
{
    return GET(channels) || GET(patterns) || GET(shards);
}

static void put_letters(const struct client_record *r, char letters[16])
{
    unsigned flags = GET(flags);
    const struct { bool set; char letter; } all[] = {
        {flags & RECORD_REPLICA, 'S'},  {flags & RECORD_MONITOR, 'O'},  {listens(r), 'P'},           {GET(multi) >= 0, 'x'},        {flags & RECORD_BLOCKED, 'b'},
        {flags & RECORD_TRACKING, 't'}, {flags & RECORD_BROKEN, 'R'}, {flags & RECORD_BCAST, 'B'},  {flags & RECORD_DIRTY, 'd'},
        {flags & RECORD_CLOSING, 'c'},  {flags & RECORD_UNIX, 'U'},  {flags & RECORD_NO_EVICT, 'e'}, {flags & RECORD_NO_TOUCH, 'T'},
    };
    size_t n = 0;
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        if (all[i].set)
            letters[n++] = all[i].letter;
    }
    if (n == 0)
        letters[n++] = 'N';
    letters[n] = 0;
}

/* One line in the order of Redis 7.2. Caller holds the registry's lock, or owns the connection. */
static void put_line(const struct client_record *r, uint64_t now_us, struct buf *out)
{
    uint64_t active = GET(active_us);
    int multi = GET(multi);
    char letters[16];
    put_letters(r, letters);
    const char *command = GET(command);
    uint64_t query = GET(query), query_free = GET(query_free), output = GET(output), output_memory = GET(output_memory);
    uint64_t multi_memory = GET(multi_memory);
    buf_printf(out,
               "id=%llu addr=%s laddr=%s fd=%d name=%s age=%llu idle=%llu flags=%s db=%u sub=%u psub=%u ssub=%u multi=%d "
               "qbuf=%llu qbuf-free=%llu argv-mem=0 multi-mem=%llu rbs=%llu rbp=%llu obl=%llu oll=0 omem=0 tot-mem=%llu "
               "events=%s cmd=%s user=%s redir=%lld resp=%u lib-name=%s lib-ver=%s\n",
               (unsigned long long)r->id, r->address, r->local, r->fd, r->name,
               (unsigned long long)((now_us - r->created_us) / 1000000),
               (unsigned long long)(now_us > active ? (now_us - active) / 1000000 : 0), letters, GET(db), GET(channels), GET(patterns),
               GET(shards), multi,
               (unsigned long long)query, (unsigned long long)query_free, (unsigned long long)multi_memory,
               (unsigned long long)output_memory, (unsigned long long)output, (unsigned long long)output, (unsigned long long)GET(memory),
               output ? "rw" : "r", command ? command : "NULL", r->user ? (const char *)r->user->name.data : "default", (long long)GET(redirect), GET(resp), r->lib_name, r->lib_version);
}

void net_client_info(const struct session *s, struct buf *out)
{
    struct conn *c = s->connection;
    client_record_refresh(c);
    put_line(&c->record, OS.monotonic_us(), out);
}

#define LINE_ROOM 2048 /* a line is shorter; a list that fills its buffer ends there */

/* The numbers of struct kill_filter.type. */
static bool is_of_type(const struct client_record *r, int type)
{
    return type == 0 || type == (GET(flags) & RECORD_REPLICA ? 3 : listens(r) ? 4 : 1);
}

static bool wanted(uint64_t id, const uint64_t *ids, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (ids[i] == id)
            return true;
    }
    return count == 0;
}

/* The caller's own line should show the command that asks. */
static void refresh_own(const struct net *n)
{
    for (unsigned i = 0; i < n->worker_count; i++) {
        struct worker *w = n->workers[i];
        if (worker_is_current(w) && w->serving) {
            client_record_refresh(w->serving);
            worker_mark_excess(w); /* nobody is shown who has to go */
        }
    }
}

void net_client_list(struct buf *out, const uint64_t *ids, size_t id_count, int type)
{
    struct net *n = net_running();
    if (!n)
        return;
    uint64_t now_us = OS.monotonic_us();
    refresh_own(n);
    for (unsigned i = 0; i < n->worker_count; i++) {
        struct registry *r = &n->workers[i]->registry;
        spin_lock(&r->lock);
        for (size_t k = 0; k < r->count; k++) {
            const struct client_record *record = &r->items[k]->record;
            if (wanted(record->id, ids, id_count) && is_of_type(record, type) && !atomic_load(&record->kill) && out->size_max - out->size > LINE_ROOM)
                put_line(&r->items[k]->record, now_us, out);
        }
        spin_unlock(&r->lock);
    }
}

void net_listener_list(struct buf *out)
{
    const struct net *n = net_running();
    for (unsigned i = 0; n && i < n->worker_count; i++) {
        if (worker_is_current(n->workers[i]))
            listeners_list(n->workers[i]->listeners, out);
    }
}

static bool matches(const struct client_record *r, const struct kill_filter *f, uint64_t now_us)
{
    if ((f->id && r->id != f->id) || (f->address && strcmp(r->address, f->address) != 0) ||
        (f->local_address && strcmp(r->local, f->local_address) != 0))
        return false;
    if (f->has_user && !bytes_equal(r->user ? r->user->name : BYTES("default"), f->user))
        return false;
    if (!is_of_type(r, f->type) || (f->max_age_s && (now_us - r->created_us) / 1000000 < f->max_age_s))
        return false;
    return !(f->skip_me && r->id == f->my_id);
}

size_t net_client_kill(const struct kill_filter *f)
{
    struct net *n = net_running();
    size_t killed = 0;
    uint64_t now_us = OS.monotonic_us();
    for (unsigned i = 0; n && i < n->worker_count; i++) {
        struct worker *w = n->workers[i];
        struct registry *r = &w->registry;
        bool asked = false;
        spin_lock(&r->lock);
        for (size_t k = 0; k < r->count; k++) {
            struct conn *c = r->items[k];
            if (!matches(&c->record, f, now_us))
                continue;
            killed++;
            if (c->record.id == f->my_id && worker_is_current(w)) {
                c->session.close_after_reply = true; /* its own end comes after its answer */
            } else {
                atomic_store(&c->record.kill, true);
                asked = true;
            }
        }
        spin_unlock(&r->lock);
        if (asked) {
            atomic_store(&w->kill_asked, true);
            wakefd_signal(w->inbox.wakefd);
        }
    }
    return killed;
}

int net_client_worker(uint64_t id)
{
    struct net *n = net_running();
    int found = -1;
    for (unsigned i = 0; n && i < n->worker_count && found < 0; i++) {
        struct registry *r = &n->workers[i]->registry;
        spin_lock(&r->lock);
        for (size_t k = 0; k < r->count && found < 0; k++) {
            if (r->items[k]->record.id == id)
                found = (int)i;
        }
        spin_unlock(&r->lock);
    }
    return found;
}

struct session *net_session_find(unsigned worker, uint64_t id)
{
    const struct registry *r = &net_running()->workers[worker]->registry; /* its owner reads without the lock */
    for (size_t k = 0; k < r->count; k++) {
        if (r->items[k]->record.id == id)
            return &r->items[k]->session;
    }
    return NULL;
}

bool net_client_unblock(uint64_t id, bool error)
{
    struct net *n = net_running();
    bool done = false;
    for (unsigned i = 0; n && i < n->worker_count && !done; i++) {
        struct worker *w = n->workers[i];
        struct registry *r = &w->registry;
        spin_lock(&r->lock);
        for (size_t k = 0; k < r->count && !done; k++) {
            struct client_record *record = &r->items[k]->record;
            done = record->id == id && record->waiter && waiter_withdraw(record->waiter);
            if (done)
                atomic_store(&record->unblock, error ? UNBLOCK_ERROR : UNBLOCK_TIMEOUT);
        }
        spin_unlock(&r->lock);
        if (done) {
            atomic_store(&w->unblock_asked, true);
            wakefd_signal(w->inbox.wakefd);
        }
    }
    return done;
}

void net_users_changed(void)
{
    struct net *n = net_running();
    for (unsigned i = 0; n && i < n->worker_count; i++) {
        atomic_store(&n->workers[i]->users_changed, true);
        wakefd_signal(n->workers[i]->inbox.wakefd);
    }
}

/* The largest of what was noted in the last seconds. */
static uint64_t peak_of(const struct peaks *p, const _Atomic uint64_t *values, uint64_t now_s)
{
    uint64_t most = 0;
    for (unsigned i = 0; i < PEAK_SECONDS; i++) {
        uint64_t value = atomic_load_explicit(&values[i], memory_order_relaxed);
        if (atomic_load_explicit(&p->second[i], memory_order_relaxed) + PEAK_SECONDS > now_s && value > most)
            most = value;
    }
    return most;
}

void net_client_totals(struct client_totals *out)
{
    struct net *n = net_running();
    uint64_t now_s = OS.monotonic_us() / 1000000;
    *out = (struct client_totals){0};
    if (n)
        refresh_own(n);
    for (unsigned i = 0; n && i < n->worker_count; i++) {
        struct worker *w = n->workers[i];
        uint64_t input = peak_of(&w->peaks, w->peaks.input, now_s), output = peak_of(&w->peaks, w->peaks.output, now_s);
        out->input_max = input > out->input_max ? input : out->input_max;
        out->output_max = output > out->output_max ? output : out->output_max;
        spin_lock(&w->registry.lock);
        for (size_t k = 0; k < w->registry.count; k++) {
            const struct client_record *r = &w->registry.items[k]->record;
            unsigned flags = GET(flags);
            out->listening += listens(r);
            out->watching += (flags & RECORD_WATCHING) != 0;
            out->timed += (flags & RECORD_TIMED) != 0;
            out->replicas_memory += flags & RECORD_REPLICA ? GET(memory) : 0;
        }
        spin_unlock(&w->registry.lock);
    }
}

size_t net_client_count(void)
{
    struct net *n = net_running();
    return n ? (size_t)atomic_load(&n->connections) : 0;
}

void net_client_pause(uint64_t until_ms, bool writes_only)
{
    struct net *n = net_running();
    if (!n)
        return;
    /* As Redis: a second pause can make the first longer and stricter, not weaker. */
    uint64_t old = atomic_load(&n->pause_until_ms);
    bool active = old > OS.monotonic_us() / 1000;
    if (until_ms == 0 || !active) {
        atomic_store(&n->pause_writes_only, writes_only);
        atomic_store(&n->pause_until_ms, until_ms);
    } else {
        if (!writes_only)
            atomic_store(&n->pause_writes_only, false);
        if (until_ms > old)
            atomic_store(&n->pause_until_ms, until_ms);
    }
    for (unsigned i = 0; i < n->worker_count; i++) {
        if (worker_is_current(n->workers[i])) /* what stands behind CLIENT PAUSE in its pipeline waits, too */
            worker_update_pause(n->workers[i]);
        wakefd_signal(n->workers[i]->inbox.wakefd);
    }
}
