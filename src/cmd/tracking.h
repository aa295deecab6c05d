/* tracking.h -- client-side caching: who holds a copy of which key, and who is told when it changes.
 *
 * The table, shared, says for each key (of whatever database, as Redis has it) which sessions have read it. A read is
 * noted and a change is told when their transaction commits, under its locks, so a reader is either told or has
 * read the new value. What is told goes to the session's worker as a message and waits there for the log.
 *
 * A session never reads a new value before it has been told of the change: exec's caller takes in what has arrived
 * before it lets go of a reply, and tells of the session's own changes behind it (tracking_tell_own).
 *
 * Owner of struct tracking: the session's worker. Everything else: any thread, under stripe locks too.
 */
#ifndef HF_CMD_TRACKING_H
#define HF_CMD_TRACKING_H

#include "cmd/message.h"
#include "cmd/observe.h"

struct engine;
struct key;
struct txn;

struct tracking { /* session.tracking; NULL: never switched on */
    bool on, bcast, optin, optout, noloop;
    bool caching;          /* CLIENT CACHING: counts for the next command */
    bool broken;           /* the session that it is redirected to is gone */
    uint64_t redirect;     /* the session that is told instead; 0: itself */
    unsigned redirect_worker;
    bytes *prefixes;       /* BCAST; sorted; memory of their own */
    size_t prefix_count, prefix_bytes;
    struct message **own;  /* of changes by the session itself: told behind its reply */
    size_t own_count, own_capacity;
};

struct tracking_wish { bool bcast, optin, optout, noloop; uint64_t redirect; unsigned redirect_worker; const bytes *prefixes; size_t prefix_count; };

static inline bool tracking_is_on(const struct session *s) { return s->tracking && s->tracking->on; }

void tracking_start(struct session *s, struct engine *e, const struct tracking_wish *wish);
void tracking_stop(struct session *s);  /* RESET, CLIENT TRACKING OFF */
void tracking_leave(struct session *s); /* closed: nothing is told to it any more */
void tracking_release(struct session *s);

/* The session has read these keys in the transaction, whose locks are held. */
void tracking_read(struct txn *t, struct session *s, const struct key *keys, size_t count);
/* Behind its reply: what the session itself has changed. */
void tracking_tell_own(struct session *s, message_pushed *pushed);
static inline bool tracking_has_own(const struct session *s) { return s->tracking && s->tracking->own_count; }

void tracking_set_keys_max(uint64_t keys_max); /* 0: no limit; beyond it keys are forgotten, and that is told as a change */
struct tracking_totals { uint64_t clients, keys, items, prefixes; };
void tracking_count(struct tracking_totals *out);

#endif
