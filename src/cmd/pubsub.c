/* pubsub.c -- the two tables of publish/subscribe, and keyspace events on top of them.
 *
 * Lock order: stripes, a routing shard, the patterns. Patterns are few; all of them are
 * matched against each channel that is published to.
 */
#include "cmd/pubsub.h"

#include "base/glob.h"
#include "base/memory.h"
#include "cmd/message.h"
#include "cmd/pointers.h"
#include "engine/events.h"
#include "os/thread.h"

#include <stdio.h>

#define ROUTING_SHARDS 64u

/* -- the routing table -- */

struct topic { uint32_t total, by_worker[WORKERS_MAX]; };

struct routing { _Alignas(64) struct spin lock; struct dict topics; bool made; };

static struct routing channels[ROUTING_SHARDS], shards[ROUTING_SHARDS], patterns;
static _Atomic uint64_t topic_counts[TOPIC_KINDS];

static struct routing *routing_of(enum topic_kind kind, bytes name)
{
    if (kind == TOPIC_PATTERN)
        return &patterns;
    uint32_t hash = 2166136261u; /* FNV-1a: only spreads the locks */
    for (size_t i = 0; i < name.size; i++)
        hash = (hash ^ name.data[i]) * 16777619u;
    return &(kind == TOPIC_CHANNEL ? channels : shards)[hash % ROUTING_SHARDS];
}

/* The lock is held. */
static struct topic *topic_find(const struct routing *r, bytes name)
{
    return r->made ? dict_pointer(&r->topics, name) : NULL;
}

static void route_add(enum topic_kind kind, bytes name, unsigned worker)
{
    struct routing *r = routing_of(kind, name);
    spin_lock(&r->lock);
    if (!r->made) {
        r->topics = dict_make();
        r->made = true;
    }
    struct topic *t = topic_find(r, name);
    if (!t) {
        t = mem_zalloc(sizeof(*t));
        dict_set_pointer(&r->topics, name, t);
        atomic_fetch_add(&topic_counts[kind], 1);
    }
    t->total++;
    t->by_worker[worker]++;
    spin_unlock(&r->lock);
}

static void route_remove(enum topic_kind kind, bytes name, unsigned worker)
{
    struct routing *r = routing_of(kind, name);
    spin_lock(&r->lock);
    struct topic *t = topic_find(r, name);
    hf_assert(t && t->total && t->by_worker[worker]);
    t->by_worker[worker]--;
    if (--t->total == 0) {
        dict_remove(&r->topics, name);
        mem_free(t);
        atomic_fetch_sub(&topic_counts[kind], 1);
    }
    spin_unlock(&r->lock);
}

/* -- the listeners' tables -- */

struct listeners { struct session **at; size_t count, capacity; };

static struct dict local[WORKERS_MAX][TOPIC_KINDS];
static bool local_made[WORKERS_MAX];

static struct dict *local_table(unsigned worker, enum topic_kind kind)
{
    for (int k = 0; k < TOPIC_KINDS && !local_made[worker]; k++)
        local[worker][k] = dict_make();
    local_made[worker] = true;
    return &local[worker][kind];
}

static size_t place_of(const struct session *s, enum topic_kind kind, bytes name)
{
    bytes value;
    size_t place;
    bool found = dict_get(&s->topics[kind], name, &value);
    hf_assert(found && value.size == sizeof(place));
    memcpy(&place, value.data, sizeof(place));
    return place;
}

static void place_set(struct session *s, enum topic_kind kind, bytes name, size_t place)
{
    dict_set(&s->topics[kind], name, bytes_of(&place, sizeof(place)));
}

bool pubsub_subscribe(struct session *s, enum topic_kind kind, bytes name)
{
    if (!s->topics) {
        s->topics = mem_zalloc(TOPIC_KINDS * sizeof(*s->topics));
        for (int k = 0; k < TOPIC_KINDS; k++)
            s->topics[k] = dict_make();
    }
    if (dict_get(&s->topics[kind], name, NULL))
        return false;
    struct dict *table = local_table(s->worker, kind);
    struct listeners *l = dict_pointer(table, name);
    if (!l) {
        l = mem_zalloc(sizeof(*l));
        dict_set_pointer(table, name, l);
    }
    if (l->count == l->capacity) {
        l->capacity = l->capacity ? l->capacity * 2 : 4;
        l->at = mem_realloc(l->at, l->capacity * sizeof(struct session *));
    }
    place_set(s, kind, name, l->count);
    l->at[l->count++] = s;
    s->listens++;
    s->topic_bytes += 2 * name.size;
    route_add(kind, name, s->worker);
    return true;
}

bool pubsub_unsubscribe(struct session *s, enum topic_kind kind, bytes name)
{
    if (!s->topics || !dict_get(&s->topics[kind], name, NULL))
        return false;
    route_remove(kind, name, s->worker);
    struct dict *table = local_table(s->worker, kind);
    struct listeners *l = dict_pointer(table, name);
    size_t place = place_of(s, kind, name);
    struct session *last = l->at[--l->count];
    l->at[place] = last;
    if (last != s)
        place_set(last, kind, name, place);
    if (l->count == 0) {
        mem_free(l->at);
        mem_free(l);
        dict_remove(table, name);
    }
    s->topic_bytes -= 2 * name.size;
    dict_remove(&s->topics[kind], name);
    s->listens--;
    return true;
}

bool pubsub_name(const struct session *s, enum topic_kind kind, size_t n, bytes *name)
{
    bytes value;
    return s->topics && dict_at(&s->topics[kind], n, name, &value);
}

void pubsub_leave(struct session *s)
{
    if (!s->topics)
        return;
    for (int kind = 0; kind < TOPIC_KINDS; kind++) {
        bytes name;
        while (pubsub_name(s, (enum topic_kind)kind, 0, &name)) {
            uint8_t *copy = mem_alloc(name.size + 1); /* the view ends with the removal */
            if (name.size)
                memcpy(copy, name.data, name.size);
            pubsub_unsubscribe(s, (enum topic_kind)kind, bytes_of(copy, name.size));
            mem_free(copy);
        }
    }
    mem_free(s->topics);
    s->topics = NULL;
}

size_t pubsub_count(const struct session *s, enum topic_kind kind)
{
    return s->topics ? dict_count(&s->topics[kind]) : 0;
}

size_t pubsub_shown_count(const struct session *s, enum topic_kind kind)
{
    return kind == TOPIC_SHARD ? pubsub_count(s, kind) : pubsub_count(s, TOPIC_CHANNEL) + pubsub_count(s, TOPIC_PATTERN);
}

/* -- messages -- */

struct topic_message {
    struct message message;
    enum topic_kind kind; /* CHANNEL or SHARD */
    bytes channel, payload;
};

static void deliver(const struct message *message, unsigned worker, message_pushed *pushed);

static struct topic_message *topic_message_new(enum topic_kind kind, bytes channel, bytes payload, uint64_t lsn)
{
    struct topic_message *m = message_new(sizeof(*m) + channel.size + payload.size, lsn, deliver);
    uint8_t *at = (uint8_t *)(m + 1);
    m->kind = kind;
    m->channel = bytes_of(at, channel.size);
    m->payload = bytes_of(at + channel.size, payload.size);
    if (channel.size)
        memcpy(at, channel.data, channel.size);
    if (payload.size)
        memcpy(at + channel.size, payload.data, payload.size);
    return m;
}

static size_t add_topic(const struct topic *t, bool to[WORKERS_MAX])
{
    for (unsigned w = 0; w < WORKERS_MAX; w++)
        to[w] |= t->by_worker[w] != 0;
    return t->total;
}

static size_t add_patterns(bytes channel, bool to[WORKERS_MAX])
{
    struct dict_cursor cursor = {0};
    bytes pattern, value;
    size_t receivers = 0;
    if (!atomic_load(&topic_counts[TOPIC_PATTERN]))
        return 0;
    spin_lock(&patterns.lock);
    while (dict_next(&patterns.topics, &cursor, &pattern, &value)) {
        if (glob_match(pattern, channel, false))
            receivers += add_topic(pointer_of(value), to);
    }
    spin_unlock(&patterns.lock);
    return receivers;
}

/* The shard's lock is held. */
static size_t find_receivers(const struct routing *r, enum topic_kind kind, bytes channel, bool to[WORKERS_MAX])
{
    const struct topic *t = topic_find(r, channel);
    size_t receivers = t ? add_topic(t, to) : 0;
    return kind == TOPIC_CHANNEL ? receivers + add_patterns(channel, to) : receivers;
}

size_t pubsub_receivers(enum topic_kind kind, bytes channel)
{
    bool to[WORKERS_MAX] = {false};
    struct routing *r = routing_of(kind, channel);
    spin_lock(&r->lock);
    size_t receivers = find_receivers(r, kind, channel, to);
    spin_unlock(&r->lock);
    return receivers;
}

size_t pubsub_publish(enum topic_kind kind, bytes channel, bytes payload, uint64_t lsn)
{
    bool to[WORKERS_MAX] = {false};
    struct routing *r = routing_of(kind, channel);
    spin_lock(&r->lock);
    size_t receivers = find_receivers(r, kind, channel, to);
    if (receivers) {
        struct topic_message *m = topic_message_new(kind, channel, payload, lsn);
        for (unsigned w = 0; w < WORKERS_MAX; w++) {
            if (to[w])
                message_post(&m->message, w);
        }
        message_release(&m->message);
    }
    spin_unlock(&r->lock);
    return receivers;
}

static void push_to(const struct listeners *l, const struct topic_message *m, const bytes *pattern, message_pushed *pushed)
{
    for (size_t i = 0; i < l->count; i++) {
        struct reply *reply = &l->at[i]->reply;
        size_t begin = reply->out->size;
        reply->ops->push(reply, pattern ? 4 : 3);
        reply_text(reply, pattern ? "pmessage" : m->kind == TOPIC_SHARD ? "smessage" : "message");
        if (pattern)
            reply_bulk(reply, *pattern);
        reply_bulk(reply, m->channel);
        reply_bulk(reply, m->payload);
        pushed(l->at[i], begin, m->message.lsn, PUSH_NEWS);
    }
}

/* Has arrived at its worker: into each listener's reply. */
static void deliver(const struct message *message, unsigned worker, message_pushed *pushed)
{
    const struct topic_message *m = (const struct topic_message *)message; /* its first member */
    struct listeners *l = dict_pointer(local_table(worker, m->kind), m->channel);
    if (l)
        push_to(l, m, NULL, pushed);
    if (m->kind != TOPIC_CHANNEL)
        return;
    struct dict *table = local_table(worker, TOPIC_PATTERN);
    struct dict_cursor cursor = {0};
    bytes pattern, value;
    while (dict_next(table, &cursor, &pattern, &value)) {
        if (glob_match(pattern, m->channel, false))
            push_to(pointer_of(value), m, &pattern, pushed);
    }
}

/* -- PUBSUB -- */

void pubsub_walk(enum topic_kind kind, void (*each)(void *context, bytes name), void *context)
{
    struct routing *all = kind == TOPIC_PATTERN ? &patterns : kind == TOPIC_CHANNEL ? channels : shards;
    for (unsigned i = 0; i < (kind == TOPIC_PATTERN ? 1 : ROUTING_SHARDS); i++) {
        struct dict_cursor cursor = {0};
        bytes name, value;
        spin_lock(&all[i].lock);
        while (all[i].made && dict_next(&all[i].topics, &cursor, &name, &value))
            each(context, name);
        spin_unlock(&all[i].lock);
    }
}

size_t pubsub_listeners(enum topic_kind kind, bytes name)
{
    struct routing *r = routing_of(kind, name);
    spin_lock(&r->lock);
    const struct topic *t = topic_find(r, name);
    size_t count = t ? t->total : 0;
    spin_unlock(&r->lock);
    return count;
}

size_t pubsub_topics(enum topic_kind kind)
{
    return atomic_load(&topic_counts[kind]);
}

/* -- keyspace events: letters, and events as messages -- */

#define NOTIFY_KEYSPACE (1u << 30) /* K */
#define NOTIFY_KEYEVENT (1u << 31) /* E */
#define NOTIFY_ALL                                                                                                  \
    (EVENT_GENERIC | EVENT_STRING | EVENT_LIST | EVENT_SET | EVENT_HASH | EVENT_ZSET | EVENT_EXPIRED | EVENT_EVICTED | \
     EVENT_STREAM | EVENT_MODULE)

static _Atomic uint32_t notify_flags;

static const struct { char letter; uint32_t flag; } letters[] = {
    {'g', EVENT_GENERIC}, {'$', EVENT_STRING},  {'l', EVENT_LIST},    {'s', EVENT_SET},    {'h', EVENT_HASH},
    {'z', EVENT_ZSET},    {'x', EVENT_EXPIRED}, {'e', EVENT_EVICTED}, {'t', EVENT_STREAM}, {'d', EVENT_MODULE}, {'n', EVENT_NEW},
    {'K', NOTIFY_KEYSPACE}, {'E', NOTIFY_KEYEVENT}, {'m', EVENT_MISS}, {'A', NOTIFY_ALL},
};

bool pubsub_notify_parse(bytes text, uint32_t *flags)
{
    uint32_t result = 0;
    for (size_t i = 0; i < text.size; i++) {
        size_t n = 0;
        while (n < sizeof(letters) / sizeof(letters[0]) && letters[n].letter != text.data[i])
            n++;
        if (n == sizeof(letters) / sizeof(letters[0]))
            return false;
        result |= letters[n].flag;
    }
    *flags = result;
    return true;
}

void pubsub_notify_word(uint32_t flags, char out[32])
{
    bool all = (flags & NOTIFY_ALL) == NOTIFY_ALL;
    size_t size = 0;
    if (all)
        out[size++] = 'A';
    for (size_t n = 0; letters[n].letter != 'A'; n++) {
        if (flags & letters[n].flag && !(all && letters[n].flag & NOTIFY_ALL))
            out[size++] = letters[n].letter;
    }
    out[size] = 0;
}

static void publish_event(const char *what, uint32_t db, bytes last, bytes payload, uint64_t lsn)
{
    struct buf channel;
    buf_init(&channel, SIZE_MAX);
    buf_printf(&channel, "__%s@%u__:", what, db);
    buf_append_bytes(&channel, last);
    pubsub_publish(TOPIC_CHANNEL, buf_view(&channel), payload, lsn);
    buf_release(&channel);
}

static void tell(const struct event *event, uint64_t lsn)
{
    uint32_t flags = atomic_load_explicit(&notify_flags, memory_order_relaxed);
    if (flags & NOTIFY_KEYSPACE)
        publish_event("keyspace", event->db, event->key, bytes_str(event->name), lsn);
    if (flags & NOTIFY_KEYEVENT)
        publish_event("keyevent", event->db, bytes_str(event->name), event->key, lsn);
}

void pubsub_notify_set(struct engine *e, uint32_t flags)
{
    bool heard = flags & (NOTIFY_KEYSPACE | NOTIFY_KEYEVENT);
    atomic_store(&notify_flags, flags);
    engine_events_listen(e, heard ? flags & ~(NOTIFY_KEYSPACE | NOTIFY_KEYEVENT) : 0, tell);
}
