/* exec_private.h -- struct exec, shared by the files of the executor. */
#ifndef HF_CMD_EXEC_PRIVATE_H
#define HF_CMD_EXEC_PRIVATE_H

#include "cmd/exec.h"
#include "engine/memory.h"
#include "cmd/times.h"
#include "engine/internal.h"
#include "engine/wait.h"

struct exec {
    struct engine *engine;
    unsigned worker;
    struct txn *txn, *housekeeping_txn;
    uint64_t wall_ms;
    struct key *keys;
    size_t key_capacity;
    struct park_node *waiting;      /* for log credit, in no order */
    struct waiter *waiters_left;    /* withdrawn, but listed still in stripes that were busy */
    bool sync_wanted;               /* a reply of this batch waits for the disk, and the log's fsync is not due */
    bool paused;                    /* CLIENT PAUSE: nothing expires */
    uint32_t late;                  /* script_late as this batch began */
    bool aside;                     /* exec_aside: runs between the steps of a script, which holds locks of this thread */
    bool alone;                     /* what runs now owns the gate; aside: nothing that takes locks may run */
    struct session *session;        /* whose command runs under locks: it keeps what a script has to lock */
    bool undo;                      /* what runs now is to be undone at its end */
    bool out_of_memory;             /* above maxmemory, and nothing could be evicted, as the command that runs now was admitted */
    bool dropped;                   /* this batch has emptied a database */
    struct evictor *evictor;
    struct park_node flush_node;    /* of exec_later.c */
    struct park_node *gate_node;    /* owns the gate, and runs or waits for the others to leave their batches */
    size_t credit;                  /* of the log, that the last command of this batch has left; 0: none */
    struct times *times;
    uint64_t ticks;                 /* when the last command ended, or this chunk began */
    uint64_t began;                 /* when this command did, or the others of this worker had their turn last; aside: this turn */
    uint64_t turn_end;              /* of this batch: exec_is_late */
    bool breathes;                  /* others have been served while this command runs */
    uint64_t housekeeping_us;
};

/* Beside what a command declares: what its script has touched in earlier attempts. */
struct script_locks {
    uint16_t *stripes;
    size_t count, capacity;
    unsigned attempts;
    bool gate;
    bool restart; /* what this attempt ended with */
};

struct lock_set {
    const struct key *keys;
    size_t key_count;
    uint16_t *stripes;
    size_t stripe_count;
    bool writes, gate;
    size_t bound; /* log credit to take; then: held */
};
#define RECORD_BOUND_MAX (RECORD_DIRECT_MAX + 1024u)

/* Takes credit, gate and locks, runs the body (again, if a script needs more locks), serves waiters, commits. */
enum exec_result exec_run_locked(struct exec *x, struct park_node *node, struct lock_set *l, struct call *c,
                                 void (*body)(struct exec *x, struct call *c), uint64_t *lsn);
size_t exec_words_size(const bytes *argv, size_t argc);
/* exec_breathe.c */
#define BUSY_BESIDE STRIPE_COUNT /* txn.busy_stripe: it has given up for another command: of this worker, that takes long, or that waits to run alone */
void exec_breathe_over(struct exec *x); /* a command that let others be served has ended */

/* exec_multi.c */
void multi_queue(struct session *s, const struct command *row, const bytes *argv, size_t argc);
void multi_end(struct session *s); /* forgets the queue */
void multi_drop(struct session *s); /* the transaction and its watches */
void multi_refuse_exec(struct session *s, size_t reply_start); /* EXEC itself may not run: the error from reply_start on is why */
enum exec_result multi_exec(struct exec *x, struct session *s, const struct parsed_command *p, struct park_node *node, uint64_t *lsn);

/* watch.c */
void unwatch_locked(struct session *s); /* the stripes of its watches are locked */
/* What nobody asks for any more, at least one: the worker's housekeeping removes them, and each watcher with its last watch. */
void watches_leave(struct watch *list, unsigned worker);
bool watches_sweep(const struct exec *x); /* removes what its worker's sessions have left behind; true: some are left still */

/* Gives back the log credit that the last command of the batch has left. */
void exec_credit_leave(struct exec *x);
void exec_wake_waiting(struct exec *x); /* those that wait for credit: they try again */

/* exec_gate.c */
/* For the node; false: not yet. From then on it has to be taken again, or left. */
bool exec_gate_take(struct exec *x, struct park_node *node);
void exec_gate_leave(struct exec *x);
bool exec_gate_is_open(const struct exec *x);   /* an owner waits for what takes long: no use to look again at once */
bool exec_gate_waits_for(const struct exec *x); /* its owner has asked before this batch began, and lets nobody in until it has ended */

/* exec_later.c: empties the database whose time has come (engine/keys.h, db_flush_later). Inside a batch. */
void exec_flush_due(struct exec *x);

void exec_call_handler(struct exec *x, struct call *c); /* counts it, too */
/* For client-side caching: a command of this row has run, c's keys count as read. True: and it was a read. */
bool exec_note_read(struct exec *x, const struct command *row, const struct call *c);
/* What has passed since the last look at the clock was this command's. */
void exec_took(struct exec *x, const struct session *s, const struct command *row, const bytes *argv, size_t argc);
void exec_spent(struct exec *x, const struct session *s, const struct command *row, const bytes *argv, size_t argc, uint64_t ticks);
/* exec_memory.c: before a command is admitted while there is a limit of memory: makes room if it may grow, and decides
 * out_of_memory. need: bytes that it may take. False: more can be freed, but not at once; it waits and asks again. */
void exec_batch_evicts(struct exec *x); /* a slice, if it is above the limit */
bool exec_makes_room(struct exec *x, const struct session *s, const struct command *row, uint64_t need);
/* Replies why a command may not run now (log broken, memory); false: it may. */
bool exec_refuses(struct exec *x, uint32_t flags, bool has_begun, struct reply *r); /* flags of the row; a script that has written lacks no replicas */

/* Does a change of these keys, whose stripes the txn has locked, run commands that wait for them?
 * NEEDS_MORE: those use keys of further stripes; *stripes is then all that has to be locked, in the txn's arena.
 * KEY_IS_HELD: a command that waits keeps one of them from changing. */
enum wait_need { NOBODY_WAITS, NEEDS_NO_MORE, NEEDS_MORE, KEY_IS_HELD };
enum wait_need wait_needs(struct exec *x, const struct key *keys, size_t count, uint16_t **stripes, size_t *stripe_count);
bool waiters_sweep(struct exec *x); /* unlists and frees what has been left behind; true: some are left still */
/* Lists the command as waiting; its stripes are locked. */
void wait_start(struct exec *x, struct session *s, const struct call *c);
/* Before the commit: runs the commands that wait for what this transaction has changed. */
void wait_serve(struct exec *x);

#endif
