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
 *        -> (error, kill) ---------------------------------> dead
 * A dead connection whose wake-up is on its way is freed when it arrives.
 */
#ifndef HF_NET_CONN_H
#define HF_NET_CONN_H

#include "cmd/exec.h"
#include "net/clients.h"
#include "net/inbox.h"
#include "net/list.h"
#include "proto/resp/resp_parse.h"

struct worker;

/* R1: the replies up to stream offset `end` leave when the log has reached lsn. */
struct mark {
    uint64_t end, lsn;
    uint32_t replies; /* how many: for R15's "outcome unknown" answers */
    bool commit;      /* waits for durable, else for written */
};

enum conn_blocked {
    BLOCKED_PARKED = 1, /* for a lock or credit: park_node */
    BLOCKED_ASLEEP = 2, /* session.sleep_until_us */
    BLOCKED_OUTPUT = 4, /* more than held_max unsent or gated */
    BLOCKED_PAUSED = 8, /* CLIENT PAUSE */
};

struct conn {
    struct session session;
    struct worker *worker;
    int fd;
    unsigned blocked;         /* of enum conn_blocked */
    bool readable, writable;  /* edge-triggered: true until the socket says otherwise */
    bool hung_up;             /* the peer has closed its side: read until 0 */
    bool more;                /* the input may hold a whole command */
    bool closing, dead;
    bool wake_due;            /* parked, and its INBOX_WAKE has not arrived */
    bool resumed;             /* it has arrived, and the command has not run again yet; it may own the gate */

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
    struct link ready, flush, gated, sleeping, graveyard;

    uint64_t created_us, active_us, soft_since_us;
    size_t index;             /* in the worker's registry */
    struct client_record record;
};

struct conn *conn_open(struct worker *w, int fd, bool is_unix); /* NULL: turned away, fd closed */
void conn_close(struct conn *c);    /* dead from here; freed later */
bool conn_bury(struct conn *c);     /* end of step: releases it; false: its wake-up is still on the way */
void conn_schedule(struct conn *c); /* ready, if invariant 3 says so */
void conn_unblock(struct conn *c, enum conn_blocked why);
void conn_serve(struct conn *c);    /* inside a batch: one read, and what can be run */
void conn_flush(struct conn *c);    /* outside: sends what the marks allow */
void conn_give_up(struct conn *c);  /* the log has failed for long: each held reply becomes an error, its outcome unknown (R15) */
void conn_tend(struct conn *c);     /* about once a second: limits in time, memory back */

/* Runs the commands in data; returns how many bytes they took. Sets c->more and c->blocked. */
size_t conn_run(struct conn *c, const uint8_t *data, size_t size);

static inline size_t conn_unsent(const struct conn *c) { return c->output.size - c->sent; }

#endif
