/* exec_gate.c -- when a worker may run commands: batches, the gate that gives one of them the database alone, and what runs
 * beside a script.
 *
 * Gate: one owner; workers count themselves in at the start of a batch and out at its end, and enter none while
 * somebody owns it. The owner runs once all others are out.
 */
#include "cmd/exec_private.h"

#include "cmd/exec_script.h"
#include "os/os.h"
#include "os/ticks.h"

#define TURN_US 4000u /* of a batch; each of its connections still runs a command */

/* ---- batches ---- */

static void refresh_clock(struct exec *x)
{
    struct engine *e = x->engine;
    uint64_t now = OS.wall_ms(), high = atomic_load_explicit(&e->time_high, memory_order_relaxed);
    while (now > high && !atomic_compare_exchange_weak(&e->time_high, &high, now)) {
    }
    x->wall_ms = now > high ? now : high;
}

bool exec_batch_begin(struct exec *x)
{
    struct engine *e = x->engine;
    os_sched_point(SCHED_GATE);
    atomic_store(&e->workers[x->worker].in_batch, 1);
    uint32_t owner = atomic_load(&e->gate_owner);
    if (HF_UNLIKELY(owner != 0 && owner != x->worker + 1)) {
        atomic_store(&e->workers[x->worker].in_batch, 0);
        return false;
    }
    refresh_clock(x);
    x->turn_end = ticks_now() + ticks_of_us(TURN_US);
    x->late = atomic_load_explicit(&script_late, memory_order_relaxed);
    if (HF_UNLIKELY(atomic_load_explicit(&e->maxmemory, memory_order_relaxed) != 0))
        exec_batch_evicts(x);
    return true;
}

bool exec_is_late(const struct exec *x) { return x->ticks > x->turn_end; }

void exec_batch_end(struct exec *x)
{
    if (HF_UNLIKELY(x->dropped)) { /* what is small is free as the reply leaves */
        memory_free_dropped(x->engine, x->txn->heap);
        x->dropped = false;
    }
    memory_tell_if_much(x->txn->heap);
    if (x->credit)
        exec_credit_leave(x);
    atomic_store_explicit(&x->engine->workers[x->worker].in_batch, 0, memory_order_release);
    if (x->engine->log)
        log_kick(x->engine->log);
    if (HF_UNLIKELY(x->sync_wanted)) {
        log_sync_now(x->engine->log);
        x->sync_wanted = false;
    }
}

/* ---- the gate ---- */

bool exec_gate_take(struct exec *x, struct park_node *node)
{
    struct engine *e = x->engine;
    uint32_t none = 0, mine = x->worker + 1;
    os_sched_point(SCHED_GATE);
    bool owned = x->gate_node == node && atomic_load(&e->gate_owner) == mine;
    if (!owned && !atomic_compare_exchange_strong(&e->gate_owner, &none, mine))
        return false;
    x->gate_node = node;
    for (unsigned i = 0; i < e->config.workers; i++) {
        if (i != x->worker && atomic_load(&e->workers[i].in_batch) && !os_bug(BUG_GATE_ALONE))
            return false;
    }
    return true;
}

bool exec_owns_gate(const struct exec *x)
{
    return atomic_load(&x->engine->gate_owner) == x->worker + 1;
}

void exec_gate_leave(struct exec *x)
{
    struct engine *e = x->engine;
    x->gate_node = NULL;
    os_sched_point(SCHED_GATE);
    atomic_store(&e->gate_owner, 0);
    if (e->config.wake_workers)
        e->config.wake_workers(e->config.context);
}

/* A command that waited as the gate's owner is refused after all. */
void exec_gate_give_up(struct exec *x, const struct park_node *node)
{
    if (x->gate_node == node)
        exec_gate_leave(x);
}

/* ---- beside a script ---- */

struct exec *exec_aside_new(struct exec *main)
{
    struct exec *x = exec_new(main->engine, main->worker);
    x->aside = true;
    return x;
}

/* The worker is inside its batch already, or somebody owns the gate: then nothing that takes locks may run. */
void exec_aside_begin(struct exec *x, const struct exec *main)
{
    uint32_t late = atomic_load_explicit(&script_late, memory_order_relaxed);
    refresh_clock(x);
    x->alone = atomic_load(&x->engine->gate_owner) != 0;
    x->paused = main->paused;
    x->began = ticks_now();
    x->turn_end = x->began + ticks_of_us(TURN_US / 2);
    if (late && !x->late)
        exec_wake_waiting(x); /* they are refused now */
    x->late = late;
}

void exec_aside_end(struct exec *x)
{
    exec_credit_leave(x);
    if (x->engine->log)
        log_kick(x->engine->log);
    if (x->sync_wanted)
        log_sync_now(x->engine->log);
    x->sync_wanted = false;
}

void exec_aside_over(struct exec *x)
{
    exec_wake_waiting(x);
    x->late = 0;
}
