/* wait.h -- commands that wait for a key (BLPOP and its like), listed in the stripes of their keys.
 *
 * Whoever changes a key that somebody waits for runs the waiting command in the same hold
 * of the locks, before anybody else can see the change (R10). It therefore holds the stripes of
 * all keys of those commands (wait_union), and a waiter is told by its callback, under the locks.
 *
 *   WAITING -> CLAIMED (being run by a changer) -> SERVED, or back to WAITING if it still has to wait
 *           -> WITHDRAWN (timeout, CLIENT UNBLOCK, close): its owner's compare-and-swap decides
 *
 * Owner: the worker of the connection makes and frees a waiter. Links: the stripe's lock.
 */
#ifndef HF_ENGINE_WAIT_H
#define HF_ENGINE_WAIT_H

#include "base/buf.h"
#include "store/key.h"

#include <stdatomic.h>

struct engine;
struct txn;
struct waiter;

enum wait_state { WAIT_WAITING, WAIT_CLAIMED, WAIT_SERVED, WAIT_WITHDRAWN };

struct wait_link { /* one key of a waiter, in its stripe's list, oldest first */
    struct wait_link *next, *previous;
    struct waiter *waiter;
    bool listed;
    struct key key;     /* its name is the waiter's own copy */
};

struct waiter {
    _Atomic uint32_t state;
    struct waiter *next; /* its owner's: of those that it has left behind */
    void (*served)(struct waiter *w); /* posts a message to the owner; called under the locks */
    void *owner;
    const void *session; /* the executor's; it stays as it is while this waits */
    const void *command; /* the row; the executor's */
    bytes *argv;
    size_t argc;
    uint32_t db;
    bool holds;          /* while it waits no command that names its keys may change them: they wait, too */
    bool any;            /* it waits for any change of its keys, not for elements */
    int protocol;        /* of the reply */
    const void *reply_ops;
    struct buf reply;    /* SERVED: what to send, */
    uint64_t lsn;        /* once the log has reached this */
    size_t link_count;
    struct wait_link links[];
};

struct wait_list { struct wait_link *first, *last; }; /* stripe.waiters, under its lock; NULL there: nobody waits */

/* Copies the words and the keys. Not listed yet. */
struct waiter *waiter_new(const bytes *argv, size_t argc, const struct key *keys, size_t key_count);
void waiter_free(struct waiter *w); /* in no list any more */

/* The stripes of all its keys are locked. */
void waiter_list_locked(struct engine *e, struct waiter *w);
void waiter_unlist_locked(struct engine *e, struct waiter *w);
/* Takes back a waiter that nobody serves; by any thread that keeps its owner alive. It may be listed still: a changer passes it
 * by. False: it has been served, its message is on the way. */
bool waiter_withdraw(struct waiter *w);
/* By the owner, when it is served or withdrawn: unlists it from stripes that are free, without waiting for the others. False: try again. */
bool waiter_unlist_free(struct engine *e, struct waiter *w);

/* The first waiter of this key behind `after` (NULL: the oldest). Its stripe is locked. */
struct wait_link *wait_next(struct engine *e, const struct key *k, struct wait_link *after);

#endif
