/* events.c -- keyspace events and changes, collected by a transaction in their order. */
#include "engine/events.h"

static void deliver(struct txn *t, struct delivery *d, uint64_t lsn)
{
    struct event *event = (struct event *)d; /* its first member */
    atomic_load_explicit(&t->engine->on_event, memory_order_relaxed)(event, lsn); /* ordered by collecting */
}

void txn_event_collect(struct txn *t, const struct key *k, enum event_class class, const char *name)
{
    if (os_bug(BUG_EVENT_LOST) && (k->hash & 7) == 0)
        return;
    struct event *event = arena_alloc(&t->arena, sizeof(*event));
    (void)atomic_load_explicit(&t->engine->event_classes, memory_order_acquire); /* who is told was stored before */
    *event = (struct event){.delivery = {.deliver = deliver}, .class = class, .db = k->db, .name = name,
                            .key = arena_dup(&t->arena, k->name)};
    txn_deliver(t, &event->delivery);
}

void engine_events_listen(struct engine *e, uint32_t classes, void (*tell)(const struct event *event, uint64_t lsn))
{
    atomic_store_explicit(&e->on_event, tell, memory_order_relaxed);
    atomic_store(&e->event_classes, classes);
}

/* ---- changes ---- */

static void deliver_change(struct txn *t, struct delivery *d, uint64_t lsn)
{
    void (*tell)(struct txn *t, struct change *change, uint64_t lsn) = atomic_load(&t->engine->on_change);
    if (tell)
        tell(t, (struct change *)d, lsn); /* its first member */
}

void txn_change_collect(struct txn *t, const struct key *k)
{
    if (k && k->db >= DATABASES_MAX) /* no client sees it */
        return;
    struct change *change = arena_alloc(&t->arena, sizeof(*change));
    *change = (struct change){.delivery = {.deliver = deliver_change}, .whole = !k, .by_nobody = t->observing};
    if (k)
        change->key = arena_dup(&t->arena, k->name);
    txn_deliver(t, &change->delivery);
}

struct change *change_next(const struct change *c)
{
    struct delivery *d = c->delivery.next;
    while (d && d->deliver != deliver_change)
        d = d->next;
    return (struct change *)d;
}

void engine_changes_listen(struct engine *e, void (*tell)(struct txn *t, struct change *change, uint64_t lsn))
{
    atomic_store(&e->on_change, tell);
}
