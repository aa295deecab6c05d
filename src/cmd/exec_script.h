/* exec_script.h -- commands that a script runs inside its own transaction.
 *
 * A script may touch keys that it did not declare. Stripes are locked as they are touched, without ever
 * waiting while others are held: one that is busy ends the attempt. Everything is then undone and the script runs
 * again, holding from the start whatever it touched before; after three attempts it runs alone (the gate),
 * as it does when it asks for the whole keyspace (KEYS, FLUSHALL, ...). So a script must be run from its beginning by
 * its handler, and must have no effect but through script_call.
 */
#ifndef HF_CMD_EXEC_SCRIPT_H
#define HF_CMD_EXEC_SCRIPT_H

#include "cmd/cluster.h"

enum script_step {
    SCRIPT_DONE,    /* r has the reply, maybe an error */
    SCRIPT_RESTART, /* unwind and return from the handler at once: nothing of this attempt stays, replies neither */
};

struct script {
    struct call *call;      /* of the command that runs the script */
    struct session session; /* what its commands see: a database of their own, the caller's user */
    bool read_only;         /* refuses commands that write */
    bool noted;             /* for client-side caching: its keys count as read */
    bool allow_oom;         /* commands that grow may run above maxmemory */
    struct cluster_script cluster; /* with cluster-enabled */
    bool wrote;             /* it is too late to stop for want of memory: what follows may grow, too */
};

/* Above maxmemory as the script was admitted, and nothing could go: one that says that it may write, and not that it may be run
 * then, is refused before it runs. */
bool call_is_out_of_memory(const struct call *c);
bool call_lacks_replicas(struct call *c); /* for a script that may write; true: replied */

void script_begin(struct script *s, struct call *call);
/* Runs one command: resolved, checked, its keys located and locked. */
enum script_step script_call(struct script *s, const bytes *argv, size_t argc, struct reply *r);
static inline bool call_in_script(const struct call *c) { return c->session->in_script; }
/* For the handler of any CMD_SCRIPT row, also inside a script, that finds out while it runs which further keys it touches (BY and GET
 * of SORT): their stripes, locked now. SCRIPT_RESTART: return at once, what was replied goes, and it runs again from its beginning. */
enum script_step call_lock_stripes(struct call *c, const uint16_t *stripes, size_t count);
/* The handler returns after this: everything that the script did is undone; the caller's reply stays. */
void script_undo(struct script *s);

/* DEBUG SET-DISABLE-DENY-SCRIPTS: commands that scripts may not call may be called. */
extern _Atomic bool script_denies_nothing;

void script_locks_free(struct session *s);

/* How many scripts of all workers run beyond busy-reply-threshold: those of EVAL, and functions SCRIPT_LATE_FUNCTION each. While it
 * is not 0, commands without CMD_ALLOW_BUSY are refused. */
extern _Atomic uint32_t script_late;
#define SCRIPT_LATE_FUNCTION (1u << 16)
void reply_busy(struct reply *r, uint32_t late); /* the refusal */

#endif
