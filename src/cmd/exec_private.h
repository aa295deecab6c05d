/* exec_private.h -- struct exec, shared by the files of the executor: exec.c, exec_wait.c. */
#ifndef HF_CMD_EXEC_PRIVATE_H
#define HF_CMD_EXEC_PRIVATE_H

#include "cmd/exec.h"
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
    struct park_node *gate_node;    /* holds the gate and waits for the others to leave their batches */
    const struct command *counted;  /* run-length counter of calls: a shared counter is touched once per run */
    uint64_t counted_calls;
    uint64_t housekeeping_us;
};

/* Does a change of these keys, whose stripes the txn has locked, run commands that wait for them?
 * NEEDS_MORE: those use keys of further stripes; *stripes is then all that has to be locked, in the txn's arena. */
enum wait_need { NOBODY_WAITS, NEEDS_NO_MORE, NEEDS_MORE };
enum wait_need wait_needs(struct exec *x, const struct key *keys, size_t count, uint16_t **stripes, size_t *stripe_count);
/* Lists the command as waiting; its stripes are locked. */
void wait_start(struct exec *x, struct session *s, const struct call *c);
/* Before the commit: runs the commands that wait for what this transaction has changed. */
void wait_serve(struct exec *x);

#endif
