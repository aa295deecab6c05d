/* exec.h -- from the words of a command to its reply, with locks, log and gate.
 *
 * One struct exec per worker. A batch is: exec_batch_begin, exec_prefetch for each
 * parsed command, exec_run for each, exec_batch_end. The caller then sends what the
 * marks allow.
 */
#ifndef HF_CMD_EXEC_H
#define HF_CMD_EXEC_H

#include "cmd/command.h"
#include "store/stripe.h"

struct bucket;
struct engine;
struct exec;

struct parsed_command {
    const bytes *argv;   /* into the connection's input; stays valid until run or unparked */
    size_t argc;
    const struct command *command; /* filled by exec_prefetch (not _rows); may be NULL */
    struct key key0;     /* the first key, located by exec_prefetch */
    bool located;
    const struct bucket *bucket; /* of key0, while the chunk is prefetched */
};

enum exec_result {
    EXEC_DONE,   /* replied (or silent by CLIENT REPLY); lsn below */
    EXEC_PARKED, /* nothing has happened; run the same command again after wake() */
    EXEC_WAITING, /* it waits for a key: session.waiter, whose `served` and `owner` the caller sets before */
};

struct exec *exec_new(struct engine *engine, unsigned worker);
void exec_free(struct exec *x);
unsigned exec_worker(const struct exec *x); /* its number, which its sessions carry, too */

/* False: the gate is held by another worker, or the server is paused: do not run
 * anything; try again after the gate's wake (struct engine's gate_wake callback). */
bool exec_batch_begin(struct exec *x);
void exec_batch_end(struct exec *x); /* leaves the gate, kicks the log */
bool exec_owns_gate(const struct exec *x); /* and nobody else may begin a batch: what has parked to be alone is to try at once */
void exec_prefetch(struct exec *x, struct session *s, struct parsed_command *p, size_t count);
/* The same for commands whose row the caller has filled in: a protocol's own. */
void exec_prefetch_rows(struct exec *x, struct session *s, struct parsed_command *p, size_t count);
/* Connections that are served next are likely to ask for these keys, one each: their cache lines are requested together. A hint:
 * any bytes will do. At most EXPECT_MAX. The names stay where they are until exec_unexpect, after a session's first chunk. */
#define EXPECT_MAX 16u
void exec_expect(struct exec *x, struct session *const *s, const bytes *names, size_t count);
static inline void exec_unexpect(struct session *s) { s->expected.name.data = NULL; }
/* *lsn: the log position that the reply must wait for, by the session's durability
 * (0: none). */
enum exec_result exec_run(struct exec *x, struct session *s, struct parsed_command *p,
                          struct park_node *node, uint64_t *lsn);
/* The node and its connection outlive the park. Withdraws it when the connection closes;
 * false: node->wake() has been called already, wait for the message that it posted. */
bool exec_unpark(struct exec *x, struct park_node *node);
/* How the reply of a served waiter reaches its connection: called on any worker, under locks; only posts a message. The
 * receiver takes session.waiter's reply and lsn, and frees it (exec_wait_end). Set once. */
extern void (*exec_on_served)(struct waiter *w);
/* The waiting has ended: served, or withdrawn (waiter_withdraw: time is up, unblocked, closed). The session forgets the waiter. */
void exec_wait_end(struct exec *x, struct session *s);
/* The commands of this batch have taken their time: the connection that runs goes on in the next one. */
bool exec_is_late(const struct exec *x);
/* A second executor of the same worker, for commands between the steps of a long script that the first one runs (docs/adr/0010).
 * Begin and end surround each turn; over follows when the script has ended: what waited for that runs again. */
struct exec *exec_aside_new(struct exec *main);
void exec_aside_begin(struct exec *x, struct exec *main);
void exec_aside_end(struct exec *x, struct exec *main);
void exec_aside_over(struct exec *x);
/* CLIENT PAUSE, as the network keeps it: while paused nothing expires. */
void exec_set_paused(struct exec *x, bool paused);
/* Does this command wait for the end of a pause? False for one that is refused by its words alone. */
bool exec_would_wait(struct session *s, const struct parsed_command *p, bool writes_only);
/* May the script or function that these words run write? A row that runs one, inside a batch. Set once, by script/. */
extern bool (*exec_script_writes)(const struct command *row, const bytes *argv, size_t argc);
/* A slice of what scripts have left to tidy up on this worker; true: there is more. NULL: no scripts. */
extern bool (*exec_script_tend)(unsigned worker);
/* min-replicas-to-write asks for more replicas than there are: writes are refused. */
extern _Atomic bool exec_lacks_replicas;
/* The command that runs sleeps, without the worker: its connection is served again after that, and its time counts as its
 * own (DEBUG SLEEP). */
void exec_sleeps(struct exec *x, struct session *s, uint64_t us);
/* Housekeeping slice of this worker: expiry, deferred frees. Returns milliseconds until it wants to run again. */
unsigned exec_housekeeping(struct exec *x);

#endif
