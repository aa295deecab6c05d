/* events.c -- keyspace events, collected by a transaction in the order of its changes. */
#include "engine/events.h"

static void deliver(struct txn *t, struct delivery *d, uint64_t lsn)
{
    struct event *event = (struct event *)d; /* its first member */
    atomic_load_explicit(&t->engine->on_event, memory_order_relaxed)(event, lsn); /* ordered by collecting */
}

void txn_event_collect(struct txn *t, const struct key *k, enum event_class class, const char *name)
{
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
