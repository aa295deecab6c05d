/* events.h -- what a transaction tells the rest of the server: keyspace events, and changes of keys.
 *
 * A handler calls txn_event for each thing that Redis would notify, with Redis' class and
 * event name, right after the change. Collected in order; delivered when the transaction
 * commits, under its locks; dropped with a rollback. Free when nobody listens.
 */
#ifndef HF_ENGINE_EVENTS_H
#define HF_ENGINE_EVENTS_H

#include "engine/internal.h"

/* The letters of notify-keyspace-events. */
enum event_class {
    EVENT_GENERIC = 1 << 0,  /* g: DEL, EXPIRE, RENAME ... */
    EVENT_STRING = 1 << 1,   /* $ */
    EVENT_LIST = 1 << 2,     /* l */
    EVENT_SET = 1 << 3,      /* s */
    EVENT_HASH = 1 << 4,     /* h */
    EVENT_ZSET = 1 << 5,     /* z */
    EVENT_EXPIRED = 1 << 6,  /* x */
    EVENT_EVICTED = 1 << 7,  /* e */
    EVENT_STREAM = 1 << 8,   /* t */
    EVENT_MISS = 1 << 9,     /* m */
    EVENT_NEW = 1 << 10,     /* n */
    EVENT_MODULE = 1 << 11,  /* d: never happens here */
};

struct event {
    struct delivery delivery;
    enum event_class class;
    uint32_t db;
    const char *name;
    bytes key;
};

void txn_event_collect(struct txn *t, const struct key *k, enum event_class class, const char *name);

/* name: static text ("lpush"). */
static inline void txn_event(struct txn *t, const struct key *k, enum event_class class, const char *name)
{
    if (HF_UNLIKELY(atomic_load_explicit(&t->engine->event_classes, memory_order_relaxed) & class))
        txn_event_collect(t, k, class, name);
}

/* A read has looked for the key: counted for keyspace_hits and keyspace_misses, and told where it was not found. */
static inline void txn_looked_up(struct txn *t, const struct key *k, bool hit)
{
    txn_count_lookup(t, hit);
    if (HF_UNLIKELY(!hit))
        txn_event(t, k, EVENT_MISS, "keymiss");
}

/* Which classes are collected, and who is told of them (before they are switched on). */
void engine_events_listen(struct engine *e, uint32_t classes, void (*tell)(const struct event *event, uint64_t lsn));

/* Each change of a key, for those who keep copies of values. Told once it has its place, under the locks. */
struct change {
    struct delivery delivery;
    bool whole;      /* of every key: a database was emptied or swapped */
    bool by_nobody;  /* its time was over, or somebody else waited for it: not by t->client */
    bool told;       /* the listener's own */
    bytes key;
};
void txn_change_collect(struct txn *t, const struct key *k); /* NULL: of every key */
struct change *change_next(const struct change *c);    /* of the same transaction; NULL: the last one */

static inline void txn_change(struct txn *t, const struct key *k)
{
    if (HF_UNLIKELY(atomic_load_explicit(&t->engine->on_change, memory_order_relaxed) != NULL))
        txn_change_collect(t, k);
}

/* tell NULL: nobody listens any more. */
void engine_changes_listen(struct engine *e, void (*tell)(struct txn *t, struct change *change, uint64_t lsn));

#endif
