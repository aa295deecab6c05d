/* events.c -- keyspace events, collected by a transaction in the order of its changes. */
#include "engine/events.h"

#include "engine/internal.h"

void txn_event_collect(struct txn *t, const struct key *k, enum event_class event, const char *name)
{
    struct event *e = arena_alloc(&t->arena, sizeof(*e));
    *e = (struct event){.db = k->db, .event = event, .name = name, .key = arena_dup(&t->arena, k->name)};
    if (t->events_last)
        t->events_last->next = e;
    else
        t->events = e;
    t->events_last = e;
}
