/* exec_later.c -- a database that is to be emptied at a time: what FLUSHDB does, without a client.
 *
 * Worker 0 looks in its housekeeping. It asks for credit and for the gate like a command, and again in the next round
 * when it gets only one of them; while it owns the gate and others are in a batch, nobody begins another one (but as exec_gate.c says).
 */
#include "cmd/exec_private.h"

#include "base/assert.h"
#include "engine/feed.h"
#include "engine/keys.h"

static void empty(struct exec *x, uint32_t db)
{
    struct txn *t = x->txn;
    txn_reset(t, x->wall_ms);
    db_flush(t, db);
    status s = db_flush_later(t, 0, 0);
    hf_assert(s == HF_OK); /* nothing is put */
    if (engine_is_fed(x->engine)) {
        bytes word = BYTES("FLUSHDB");
        txn_feed(t, db, &word, 1);
    }
    if (t->ready)
        wait_serve(x);
    txn_commit_lsn(t);
}

void exec_flush_due(struct exec *x)
{
    struct engine *e = x->engine;
    uint64_t at_ms = atomic_load_explicit(&e->flush_at_ms, memory_order_relaxed);
    bool holds = x->gate_node == &x->flush_node;
    if (HF_LIKELY(!holds && (at_ms == 0 || at_ms > x->wall_ms || x->worker != 0)))
        return;
    if (holds && (at_ms == 0 || at_ms > x->wall_ms)) { /* called off meanwhile */
        exec_gate_leave(x);
        return;
    }
    if (e->log && !log_credit_take(e->log, RECORD_BOUND_MAX))
        return;
    if (exec_gate_take(x, &x->flush_node)) {
        if (atomic_load(&e->flush_at_ms) == at_ms) /* changed under the gate only */
            empty(x, atomic_load(&e->flush_db));
        exec_gate_leave(x);
    }
    if (e->log)
        log_credit_return(e->log, RECORD_BOUND_MAX);
}
