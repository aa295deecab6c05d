/* watch.c -- lines are made by the worker that runs the command, and posted to the workers of those who watch. */
#include "proto/memcached/watch.h"

#include "base/memory.h"
#include "cmd/message.h"
#include "engine/engine.h"
#include "engine/items.h"
#include "os/os.h"
#include "os/thread.h"
#include "proto/memcached/handlers.h"

#define WATCHERS_MAX 20
#define STREAMS 4
#define LINE_ROOM 128           /* what a line has beside its key */

_Atomic uint32_t memcached_observed;

struct watcher {
    struct session *session;
    uint32_t streams;
    uint64_t first;     /* the number of the first line that it may be told */
    uint64_t skipped;
};

static struct spin lock;
static uint32_t by_stream[STREAMS];   /* how many watch it; guarded by lock */
static uint32_t watchers;             /* guarded by lock */
static _Atomic uint64_t line_number;

/* Those of a worker. */
static struct watching {
    struct watcher *at[WATCHERS_MAX]; /* touched by it alone, and so is: */
    size_t count;
    _Atomic uint32_t any;             /* of enum observed */
    _Atomic uint64_t queued;          /* bytes on their way to it */
} watching[WORKERS_MAX];

static struct { _Atomic uint64_t written, dropped, sent, skipped; } counts;

/* ---- who watches ---- */

static void tell_evicted(struct txn *t, const struct key *k, const struct item *item);

static bool join(struct engine *e, uint32_t streams)
{
    spin_lock(&lock);
    bool room = watchers < WATCHERS_MAX;
    watchers += room;
    for (unsigned i = 0; room && i < STREAMS; i++)
        by_stream[i] += streams >> i & 1;
    if (room && streams & WATCH_EVICTIONS)
        items_watch_evictions(e, tell_evicted);
    if (room)
        atomic_fetch_or(&memcached_observed, streams);
    spin_unlock(&lock);
    return room;
}

static void part(struct engine *e, uint32_t streams)
{
    uint32_t over = 0;
    spin_lock(&lock);
    watchers--;
    for (unsigned i = 0; i < STREAMS; i++) {
        by_stream[i] -= streams >> i & 1;
        over |= by_stream[i] ? 0 : 1u << i;
    }
    if (over & WATCH_EVICTIONS)
        items_watch_evictions(e, NULL);
    atomic_fetch_and(&memcached_observed, ~over);
    spin_unlock(&lock);
}

static void renew_any(struct watching *w)
{
    uint32_t any = 0;
    for (size_t i = 0; i < w->count; i++)
        any |= w->at[i]->streams;
    atomic_store(&w->any, any);
}

/* False: an unknown word. Some name streams of memcached in which nothing ever happens here. */
static bool streams_of(const struct call *c, uint32_t *streams)
{
    static const struct { const char *name; uint32_t stream; } known[] = {
        {"fetchers", WATCH_FETCHERS}, {"mutations", WATCH_MUTATIONS}, {"evictions", WATCH_EVICTIONS}, {"connevents", WATCH_CONNEVENTS},
        {"rawcmds", 0}, {"sysevents", 0}, {"proxyreqs", 0}, {"proxyevents", 0}, {"proxyuser", 0},
    };
    *streams = c->argc == 1 ? WATCH_FETCHERS : 0;
    for (size_t i = 1; i < c->argc; i++) {
        size_t k = 0, count = sizeof(known) / sizeof(known[0]);
        while (k < count && !bytes_equal(c->argv[i], bytes_str(known[k].name)))
            k++;
        if (k == count)
            return false;
        *streams |= known[k].stream;
    }
    return true;
}

void memcached_watch(struct call *c)
{
    struct memcached *m = memcached_of(c);
    struct watching *w = &watching[c->session->worker];
    uint32_t streams;
    if (!streams_of(c, &streams)) {
        memcached_line(c, "ERROR");
        return;
    }
    m->engine = txn_engine(c->txn);
    if (!join(m->engine, streams)) {
        memcached_line(c, "WATCHER_TOO_MANY log watcher limit reached");
        return;
    }
    m->watcher = mem_zalloc(sizeof(*m->watcher));
    *m->watcher = (struct watcher){.session = c->session, .streams = streams, .first = atomic_load(&line_number)};
    w->at[w->count++] = m->watcher;
    renew_any(w);
    m->skip = MEMCACHED_SKIP_ALL;
    c->session->is_told = true;
    memcached_line_aloud(c, "OK");
}

void watch_leave(struct memcached *m)
{
    if (!m->watcher)
        return;
    struct watching *w = &watching[m->session->worker];
    size_t i = 0;
    while (w->at[i] != m->watcher)
        i++;
    w->at[i] = w->at[--w->count];
    renew_any(w);
    part(m->engine, m->watcher->streams);
    mem_free(m->watcher);
    m->watcher = NULL;
}

/* ---- lines ---- */

struct line { struct message message; uint32_t stream; uint64_t number; bytes text; };

static void tell(struct watcher *who, const struct line *line, message_pushed *pushed)
{
    struct buf *out = who->session->reply.out;
    size_t begin = out->size;
    if (begin + line->text.size + LINE_ROOM > WATCH_KEPT_MAX) {
        who->skipped++;
        atomic_fetch_add(&counts.skipped, 1);
        return;
    }
    if (who->skipped)
        buf_printf(out, "skipped=%llu\n", (unsigned long long)who->skipped);
    who->skipped = 0;
    buf_append_bytes(out, line->text);
    atomic_fetch_add(&counts.sent, 1);
    pushed(who->session, begin, 0, PUSH_NEWS);
}

static void arrive(const struct message *m, unsigned worker, message_pushed *pushed)
{
    const struct line *line = (const struct line *)m; /* its first member */
    struct watching *w = &watching[worker];
    atomic_fetch_sub(&w->queued, line->text.size);
    for (size_t i = 0; i < w->count; i++) {
        struct watcher *who = w->at[i];
        if (who->streams & line->stream && line->number > who->first)
            tell(who, line, pushed);
    }
}

static void post(uint32_t stream, uint64_t number, bytes text)
{
    struct line *line = message_new(sizeof(*line) + text.size, 0, arrive);
    memcpy(line + 1, text.data, text.size);
    line->stream = stream;
    line->number = number;
    line->text = bytes_of(line + 1, text.size);
    atomic_fetch_add(&counts.written, 1);
    for (unsigned i = 0; i < WORKERS_MAX; i++) {
        struct watching *w = &watching[i];
        if (!(atomic_load_explicit(&w->any, memory_order_relaxed) & stream))
            continue;
        if (atomic_fetch_add(&w->queued, text.size) + text.size > WATCH_QUEUED_MAX) {
            atomic_fetch_sub(&w->queued, text.size);
            atomic_fetch_add(&counts.dropped, 1);
            continue;
        }
        message_post(&line->message, i);
    }
    message_release(&line->message);
}

struct line_note { struct delivery delivery; uint32_t stream; uint64_t number; bytes text; };

static void deliver(struct txn *t, struct delivery *d, uint64_t lsn)
{
    const struct line_note *n = (const struct line_note *)d; /* its first member */
    (void)t;
    (void)lsn;
    post(n->stream, n->number, n->text);
}

/* Once the transaction commits. */
static void post_later(struct txn *t, uint32_t stream, uint64_t number, const struct buf *line)
{
    struct line_note *n = arena_alloc(txn_arena(t), sizeof(*n));
    *n = (struct line_note){.delivery.deliver = deliver, .stream = stream, .number = number,
                            .text = arena_dup(txn_arena(t), buf_view(line))};
    txn_deliver(t, &n->delivery);
}

/* Begins a line; returns its number. */
static uint64_t begin(struct buf *line, const char *type)
{
    uint64_t now_us = OS.wall_us(), number = atomic_fetch_add(&line_number, 1) + 1;
    buf_init(line, SIZE_MAX);
    buf_printf(line, "ts=%llu.%06u gid=%llu type=%s", (unsigned long long)(now_us / 1000000), (unsigned)(now_us % 1000000),
               (unsigned long long)number, type);
    return number;
}

static uint64_t begin_of_key(struct buf *line, const char *type, bytes key)
{
    uint64_t number = begin(line, type);
    buf_append(line, " key=", 5);
    memcached_put_encoded(line, key);
    return number;
}

void watch_item_get(struct call *c, bytes key, const struct item *item)
{
    struct buf line;
    uint64_t number = begin_of_key(&line, "item_get", key);
    buf_printf(&line, " status=%s clsid=%d cfd=%d size=%zu\n", item->found ? "found" : item->expired ? "expired" : "not_found", item->found,
               memcached_of(c)->fd, item->found ? item->value.size : 0);
    post_later(c->txn, WATCH_FETCHERS, number, &line);
    buf_release(&line);
}

void watch_item_store(struct call *c, bytes key, const struct watched_store *store)
{
    struct buf line;
    uint64_t number = begin_of_key(&line, "item_store", key);
    buf_printf(&line, " status=%s cmd=%s ttl=%llu clsid=%d cfd=%d size=%zu\n", store->status, store->command,
               (unsigned long long)store->ttl_s, store->placed, memcached_of(c)->fd, store->size);
    post_later(c->txn, WATCH_MUTATIONS, number, &line);
    buf_release(&line);
}

static void tell_evicted(struct txn *t, const struct key *k, const struct item *item)
{
    struct buf line;
    if (k->db != memcached_protocol.database)
        return;
    uint64_t number = begin_of_key(&line, "eviction", k->name);
    buf_printf(&line, " fetch=%s", item->fetched ? "yes" : "no");
    if (item->deadline_ms)
        buf_printf(&line, " ttl=%llu", (unsigned long long)memcached_ttl(txn_now_ms(t), item->deadline_ms));
    else
        buf_printf(&line, " ttl=-1");
    buf_printf(&line, " la=%u clsid=1 size=%zu\n", item->idle_seconds, item->value.size);
    post_later(t, WATCH_EVICTIONS, number, &line);
    buf_release(&line);
}

void watch_connection(const struct memcached *m, const char *reason)
{
    const char *address = m->session->address, *colon = strrchr(address, ':');
    bytes peer = bytes_of(address, colon ? (size_t)(colon - address) : strlen(address));
    struct buf line;
    uint64_t number = begin(&line, reason ? "conn_close" : "conn_new");
    if (peer.size > 2 && peer.data[0] == '[')
        peer = bytes_of(peer.data + 1, peer.size - 2);
    buf_printf(&line, " rip=%.*s rport=%s transport=tcp", (int)peer.size, (const char *)peer.data, colon ? colon + 1 : "0");
    if (reason)
        buf_printf(&line, " reason=%s", reason);
    buf_printf(&line, " cfd=%d\n", m->fd);
    post(WATCH_CONNEVENTS, number, buf_view(&line));
    buf_release(&line);
}

/* ---- counts ---- */

static struct watch_counts zero; /* what was reset; guarded by lock */

static void sum(struct watch_counts *out)
{
    *out = (struct watch_counts){.written = atomic_load(&counts.written), .dropped = atomic_load(&counts.dropped),
                                 .sent = atomic_load(&counts.sent), .skipped = atomic_load(&counts.skipped)};
}

void watch_counts(struct watch_counts *out)
{
    sum(out);
    spin_lock(&lock);
    *out = (struct watch_counts){.watchers = watchers, .written = out->written - zero.written, .dropped = out->dropped - zero.dropped,
                                 .sent = out->sent - zero.sent, .skipped = out->skipped - zero.skipped};
    spin_unlock(&lock);
}

void watch_counts_reset(void)
{
    struct watch_counts now;
    sum(&now);
    spin_lock(&lock);
    zero = now;
    spin_unlock(&lock);
}
