/* clients_memory.c -- what each connection holds in memory, and maxmemory-clients: above it the largest ones are closed.
 *
 * A connection's owner notes its size in its record whenever it has served, read, sent or pushed; the worker keeps the sum of its
 * connections. When the sum of all workers is above the limit, whoever notices walks the registries and asks for the end
 * of the largest connections that are not CLIENT NO-EVICT, until the rest fits. What is asked to end counts as gone.
 */
#include "net/worker.h"

#include "base/memory.h"
#include "cmd/tracking.h"
#include "engine/internal.h"

#include <stdlib.h>

#define TOPIC_BYTES 160u    /* of a subscription, beside its name: in the session's table and the worker's */
#define QUEUED_WORD_BYTES sizeof(bytes)
#define ALL_KEPT_REST_US 20000 /* those that are left may not be closed: look again after */

static size_t session_memory(const struct session *s)
{
    size_t sum = s->queue_bytes + s->queue_capacity * sizeof(*s->queue) + s->queue_words * QUEUED_WORD_BYTES + s->watch_bytes +
                 s->topic_bytes + s->listens * TOPIC_BYTES;
    if (HF_UNLIKELY(s->tracking != NULL))
        sum += sizeof(*s->tracking) + s->tracking->prefix_bytes + s->tracking->own_capacity * sizeof(*s->tracking->own);
    return sum;
}

void conn_note_memory(struct conn *c)
{
    uint64_t total = sizeof(*c) + c->input.capacity + c->output.capacity + c->mark_capacity * sizeof(*c->marks) +
                     c->parser.span_capacity * sizeof(*c->parser.spans) + session_memory(&c->session) + c->tls_bytes;
    if (HF_UNLIKELY(c->session.reply.out != &c->output))
        total += c->session.reply.out->capacity; /* pushes that are kept for it */
    if (HF_UNLIKELY(c->blocked & BLOCKED_FILE))
        total += conn_file_held(c);
    uint64_t before = atomic_load_explicit(&c->record.memory, memory_order_relaxed);
    if (total == before)
        return;
    atomic_store_explicit(&c->record.memory, total, memory_order_relaxed);
    counter_add(&c->worker->stats.clients_memory, total - before);
}

void conn_forget_memory(struct conn *c)
{
    counter_add(&c->worker->stats.clients_memory, 0 - atomic_load_explicit(&c->record.memory, memory_order_relaxed));
    atomic_store_explicit(&c->record.memory, 0, memory_order_relaxed);
}

static uint64_t all_clients_memory(const struct net *n)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < n->worker_count; i++)
        sum += atomic_load_explicit(&n->workers[i]->stats.clients_memory, memory_order_relaxed);
    return sum;
}

/* A share of maxmemory when it is given in percent; then none without maxmemory. */
static uint64_t limit_of(const struct net *n)
{
    int64_t limit = atomic_load_explicit(&n->limits->clients_memory_max, memory_order_relaxed);
    return limit >= 0 ? (uint64_t)limit : engine_maxmemory(n->engine) / 100 * (uint64_t)-limit;
}

struct victim { uint64_t memory, id; struct worker *worker; };
struct victims { struct victim *items; size_t count, capacity; uint64_t total; };

static int larger_first(const void *a, const void *b)
{
    uint64_t x = ((const struct victim *)a)->memory, y = ((const struct victim *)b)->memory;
    return x < y ? 1 : x > y ? -1 : 0;
}

static void collect(struct victims *v, struct worker *w)
{
    struct registry *r = &w->registry;
    spin_lock(&r->lock);
    for (size_t i = 0; i < r->count; i++) {
        struct client_record *record = &r->items[i]->record;
        uint64_t memory = atomic_load_explicit(&record->memory, memory_order_relaxed);
        if (atomic_load(&record->kill))
            continue;
        v->total += memory;
        if (atomic_load_explicit(&record->flags, memory_order_relaxed) & (RECORD_NO_EVICT | RECORD_REPLICA))
            continue;
        if (v->count == v->capacity) {
            v->capacity = v->capacity ? v->capacity * 2 : 256;
            v->items = mem_realloc(v->items, v->capacity * sizeof(*v->items));
        }
        v->items[v->count++] = (struct victim){memory, record->id, w};
    }
    spin_unlock(&r->lock);
}

/* False: it has gone by itself. */
static bool ask_to_end(const struct victim *v)
{
    struct registry *r = &v->worker->registry;
    bool asked = false;
    spin_lock(&r->lock);
    for (size_t i = 0; i < r->count && !asked; i++) {
        asked = r->items[i]->record.id == v->id;
        if (asked)
            atomic_store(&r->items[i]->record.kill, true);
    }
    spin_unlock(&r->lock);
    if (asked) {
        atomic_store(&v->worker->kill_asked, true);
        if (!worker_is_current(v->worker))
            wakefd_signal(v->worker->inbox.wakefd);
    }
    return asked;
}

static void evict_clients(struct worker *w, uint64_t limit)
{
    struct net *n = w->net;
    struct victims v = {0};
    for (unsigned i = 0; i < n->worker_count; i++)
        collect(&v, n->workers[i]);
    if (v.count && v.total > limit)
        qsort(v.items, v.count, sizeof(*v.items), larger_first);
    for (size_t i = 0; i < v.count && v.total > limit; i++) {
        v.total -= v.items[i].memory;
        if (!ask_to_end(&v.items[i]))
            continue;
        counter_add(&w->stats.evicted, 1);
        net_log(n, 2, "client id=%llu closed: the memory of all clients is above maxmemory-clients, and it holds %llu bytes",
                (unsigned long long)v.items[i].id, (unsigned long long)v.items[i].memory);
    }
    w->evict_again_us = v.total > limit ? w->now_us + ALL_KEPT_REST_US : 0;
    mem_free(v.items);
}

void worker_mark_excess(struct worker *w)
{
    struct net *n = w->net;
    if (HF_LIKELY(atomic_load_explicit(&n->limits->clients_memory_max, memory_order_relaxed) == 0))
        return;
    uint64_t limit = limit_of(n);
    if (limit == 0 || all_clients_memory(n) <= limit || w->now_us < w->evict_again_us || !spin_try_lock(&n->evicting))
        return;
    evict_clients(w, limit);
    spin_unlock(&n->evicting);
}

void worker_limit_clients(struct worker *w)
{
    worker_mark_excess(w);
    if (HF_UNLIKELY(atomic_load_explicit(&w->kill_asked, memory_order_relaxed)))
        worker_take_kills(w);
}
