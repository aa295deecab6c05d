/* session.c -- the life of a connection's state. */
#include "cmd/session.h"

#include "base/memory.h"
#include "cmd/acl.h"
#include "cmd/exec_script.h"
#include "cmd/host.h"
#include "cmd/monitor.h"
#include "cmd/pubsub.h"
#include "cmd/replicas.h"
#include "cmd/talk.h"
#include "cmd/tracking.h"
#include "cmd/transfer.h"

static void forget_queue(struct session *s)
{
    mem_free(s->queue);
    s->queue = NULL;
    s->queue_count = s->queue_capacity = s->queue_bytes = 0;
    s->in_multi = s->multi_aborted = s->multi_strict = false;
}

void session_init(struct session *s, uint64_t id, const struct reply_ops *ops, struct buf *out)
{
    *s = (struct session){.id = id, .reply = {.ops = ops, .out = out, .version = 2}};
    arena_init(&s->queue_arena);
    acl_session_init(s);
}

/* The id, the durability chosen for the connection and the way to it stay. */
void session_reset(struct session *s)
{
    pubsub_leave(s);
    tracking_stop(s);
    monitor_leave(s);
    replicas_leave(s);
    session_unwatch(s);
    forget_queue(s);
    arena_reset(&s->queue_arena);
    s->db = 0;
    s->reply.version = 2;
    s->reply_mode = s->reply_mode == REPLY_SKIP ? REPLY_SKIP : REPLY_ON; /* what CLIENT REPLY SKIP took away is RESET's own reply */
    s->no_touch = s->no_evict = s->strict = false;
    s->name[0] = 0;
    acl_session_init(s);
}

void session_leave(struct session *s)
{
    pubsub_leave(s);
    tracking_leave(s);
    monitor_leave(s);
    replicas_leave(s);
}

void session_release(struct session *s)
{
    session_unwatch(s);
    mem_free(s->watcher);
    forget_queue(s);
    script_locks_free(s);
    talk_drop(s);
    transfer_drop(s);
    acl_session_release(s);
    tracking_release(s);
    arena_release(&s->queue_arena);
}
