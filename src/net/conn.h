/* conn.h -- one connection: bytes in, commands run, replies held, bytes out.
 *
 * Owner: its worker; every field is worker-local except `record`, which other workers
 * read under the registry lock of the worker (clients.h).
 *
 * Always true between steps:
 *   1. the parser stands at input.data + input_at: no view into the input is alive;
 *   2. output.data[0] is byte output_base of the stream; [0, sent) has been sent and
 *      nothing at or behind open_end has; marks lie behind open_end, in order;
 *   3. a connection is in the ready list exactly when it may go on and has something
 *      to do; a parked one stands at its command's first byte and starts it again.
 *
 *   open -> (closing: no more commands) -> everything sent -> dead -> freed after the step
 *           at a drain: everything sent -> (lingers: the peer has it) -> dead
 *        -> (error, kill) ---------------------------------> dead
 * A dead connection whose wake-up is on its way is freed when it arrives.
 */
#ifndef HF_NET_CONN_H
#define HF_NET_CONN_H

#include "cmd/exec.h"
#include "cmd/message.h"
#include "net/clients.h"
#include "net/inbox.h"
#include "net/list.h"
#include "net/timers.h"
#include "proto/protocol.h"
#include "proto/resp/resp_parse.h"

#define CONN_BUFFER_MAX ((size_t)1 << 40) /* the limits are the settings; this is only buf's own */

struct tls;
struct waiter;
struct worker;

struct pushes { /* kept for a connection that is in the middle of a command */
    struct buf text;  /* the first member: its session's reply.out meanwhile */
    struct buf again; /* the invalidations among them */
    uint64_t lsn;     /* the highest that they wait for */
};

/* R1: what ends at stream offset `end` leaves when the log has reached lsn; 0: it only stands behind others.
 * It begins where the mark before it ends, the first one at open_end. */
struct mark {
    uint64_t end, lsn;
    uint32_t replies; /* how many, pushes not counted: for R15's "outcome unknown" */
    bool commit;      /* waits for durable, else for written */
};

enum conn_blocked {
    BLOCKED_PARKED = 1, /* for a lock or credit: park_node */
    BLOCKED_ASLEEP = 2, /* session.sleep_until_us */
    BLOCKED_OUTPUT = 4, /* more than held_max unsent or gated */
    BLOCKED_PAUSED = 8, /* CLIENT PAUSE */
    BLOCKED_WAITING = 16, /* for a key: session.waiter; or for another server: session.talk */
    BLOCKED_FILE = 64, /* is sent a data set: session.transfer */
    BLOCKED_SCRIPT = 32, /* its script runs, and others are served meanwhile */
};

struct conn {
    struct session session;
    struct worker *worker;
    struct tls *tls;          /* NULL: what it says is not encrypted */
    size_t tls_bytes;         /* what that takes */
    int fd;
    unsigned blocked;         /* of enum conn_blocked */
    bool readable, writable;  /* edge-triggered: true until the socket says otherwise */
    bool hung_up;             /* the peer has closed its side: read until 0 */
    bool more;                /* the input may hold a whole command */
    bool reads_little;        /* its last read was at most READ_LITTLE: hardly a pipeline */
    bool closing, lingers, dead;
    enum protocol_end end;    /* why, for the protocol */
    bool waits_on;            /* dead, and its waiting is ended at its burial: the stripes may be held by a script of this thread */
    bool wake_due;            /* parked, and its INBOX_WAKE has not arrived */
    bool resumed;             /* it has arrived, and the command has not run again yet; it may own the gate */

    const struct protocol *protocol; /* NULL: RESP; else session.protocol is its state */
    struct resp_parser parser;
    struct buf input;
    size_t input_at;

    struct buf output;
    size_t sent;
    uint64_t output_base, open_end;
    struct mark *marks;       /* ring of mark_capacity (power of two) */
    size_t mark_first, mark_count, mark_capacity;
    uint64_t mark_chunk;      /* which chunk of commands made the last mark */

    struct park_node park;
    struct inbox_node wake;
    struct inbox_node served; /* the waiter's reply is there */
    struct timer timer;       /* when the waiting ends, or the talk or the transfer is looked at */
    bool skip;                /* the command at the input's front has been answered */
    struct link ready, flush, gated, sleeping, graveyard;

    uint64_t created_us, active_us, soft_since_us;
    size_t index;             /* in the worker's registry */
    struct client_record record;
};

struct conn *conn_open(struct worker *w, int fd, struct door door); /* NULL: turned away, fd closed */
void conn_close(struct conn *c);    /* dead from here; freed later */
bool conn_bury(struct conn *c);     /* end of step: releases it; false: its wake-up is still on the way */
void conn_schedule(struct conn *c); /* ready, if invariant 3 says so */
void conn_unblock(struct conn *c, enum conn_blocked why);
/* One read into data; 0: nothing, and c says why (readable, closing, dead). */
size_t conn_receive(struct conn *c, uint8_t *data, size_t size);
void conn_received(struct conn *c, size_t size); /* what conn_receive counts */
/* Of a connection with TLS (conn_tls.c): conn_receive; how much it sent, or -errno; whether close_notify has left (it may have been closed). */
size_t conn_tls_receive(struct conn *c, uint8_t *data, size_t size);
int64_t conn_tls_send(struct conn *c, const uint8_t *data, size_t size);
bool conn_tls_end(struct conn *c);
bool conn_tls_waits(const struct conn *c); /* encrypted bytes wait for the socket */
bool conn_tls_shakes(const struct conn *c); /* its handshake is not over */
bool conn_tls_has_turn(struct conn *c);     /* false: enough handshakes for this step */
void conn_read_ahead(struct worker *w); /* inside a batch, between connections: for those that are next (conn_ahead.c) */
void conn_serve(struct conn *c);    /* inside a batch: one read, and what can be run */
void conn_flush(struct conn *c);    /* outside: sends what the marks allow */
void conn_open_gate(struct conn *c); /* moves open_end past the marks that the log has passed */
void conn_note_memory(struct conn *c);   /* its buffers may have changed (clients_memory.c) */
void conn_forget_memory(struct conn *c); /* it is closed */
void conn_tend(struct conn *c);     /* about once a second: limits in time, memory back */

void net_served(struct waiter *waiter); /* exec_on_served: any worker, under locks */
void conn_wait(struct conn *c, uint64_t lsn);    /* its command waits for a key, or for another server once the log is at lsn */
void conn_talk(struct conn *c);                  /* the socket of its talk, or the time, says that it may go on (conn_talk.c) */
/* The data set for which it has asked (conn_file.c). */
void conn_file_look(struct conn *c);             /* the time says so */
void conn_file_more(struct conn *c);             /* all that it was given has been sent */
size_t conn_file_held(const struct conn *c);     /* bytes that are kept for it behind the file */
void conn_wait_close(struct conn *c);            /* it is being closed meanwhile */
/* The waiting of a blocked command ends. */
void conn_served(struct conn *c);                /* its reply has arrived */
void conn_wait_over(struct conn *c);             /* its time is up: it runs once more */
void conn_unblocked(struct conn *c, bool error); /* CLIENT UNBLOCK; its waiter is withdrawn already */
/* What the output holds from `begin` (an index) waits for lsn (0: only for what stands before it): a reply or a push. */
void conn_mark(struct conn *c, size_t begin, uint64_t lsn, unsigned replies);

static inline void pushes_init(struct pushes *p)
{
    buf_init(&p->text, CONN_BUFFER_MAX);
    buf_init(&p->again, CONN_BUFFER_MAX);
}

static inline void pushes_release(struct pushes *p)
{
    buf_release(&p->text);
    buf_release(&p->again);
}

/* A message has been written to its session's reply.out, from `begin` on; it waits for lsn (conn_push.c). */
void conn_pushed(struct session *s, size_t begin, uint64_t lsn, enum push_kind kind);
/* While a command of the connection, which the worker serves, is in the middle of its work, pushes to it are kept. */
void conn_keep_pushes(struct conn *c, struct pushes *p);
void conn_end_keeping(struct conn *c);
/* What its worker keeps for it: before the reply that begins at `before`; returns where that begins then. */
size_t conn_tell_before(struct conn *c, size_t before);
/* Behind all that its output holds: what is kept, or, if that stands before the reply, what has to stand there once more. */
void conn_tell_behind(struct conn *c, bool told_before);

/* Runs the commands in data; returns how many bytes they took. Sets c->more and c->blocked. */
size_t conn_run(struct conn *c, const uint8_t *data, size_t size);

struct output_limits;
const struct output_limits *conn_output_limits(const struct conn *c); /* of its class */
/* What of these unsent bytes its limits are about: not the data set with which a replica begins. */
size_t conn_judged(const struct conn *c, size_t unsent);

static inline size_t conn_unsent(const struct conn *c) { return c->output.size - c->sent; }

#endif
