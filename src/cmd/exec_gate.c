/* exec_gate.c -- when a worker may run commands: batches, the gate that gives one of them the database alone, and what runs
 * beside a script.
 *
 * Gate: one owner; workers count themselves in at the start of a batch and out at its end, and enter none while
 * somebody owns it. The owner runs once all others are out.
 *
 * A batch may last: one of its commands takes long, and its worker serves others meanwhile (docs/adr/0010). Then the owner opens the gate,
 * which stays its own: others enter batches as if nobody owned it, and the owner looks again now and then. It opens for batches only that began
 * before it asked. So its turn comes when those have ended, however many long commands begin meanwhile; what can gives way then
 * (exec_breathe.c), and where nothing can the others wait for what is left. The worker that ends the last long command shuts the gate for the
 * owner, so that the next one of its pipeline does not slip in. No order of memory is asked of long_since: a stale value opens late, or for a
 * moment too long. Who runs alone is decided by gate_owner, which only its owner opens, and by in_batch.
 *
 *      0 --exec_gate_take--> shut --others out--> runs --exec_gate_leave--> 0
 *                            |  ^
 *             exec_gate_take |  | exec_gate_take, exec_aside_over
 *           exec_aside_begin v  |
 *                            open --exec_gate_leave--> 0
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
    if (HF_UNLIKELY(owner != 0 && owner != x->worker + 1) && !(owner & GATE_OPEN)) {
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

static void wake_workers(const struct engine *e)
{
    if (e->config.wake_workers)
        e->config.wake_workers(e->config.context);
}

/* Of another worker, in a batch that began before then. */
static bool takes_long(const struct exec *x, uint64_t then)
{
    for (unsigned i = 0; i < x->engine->config.workers; i++) {
        uint64_t since = atomic_load_explicit(&x->engine->workers[i].long_since, memory_order_relaxed);
        if (i != x->worker && since != 0 && since <= then)
            return true;
    }
    return false;
}

/* By its owner. */
static void open_gate(struct exec *x)
{
    uint32_t mine = x->worker + 1;
    if (atomic_load(&x->engine->gate_owner) != mine)
        return;
    atomic_store(&x->engine->gate_owner, mine | GATE_OPEN);
    wake_workers(x->engine);
}

bool exec_gate_take(struct exec *x, struct park_node *node)
{
    struct engine *e = x->engine;
    uint32_t none = 0, mine = x->worker + 1;
    struct worker_slot *slot = &e->workers[x->worker];
    os_sched_point(SCHED_GATE);
    if (x->gate_node != node) {
        if (x->gate_node)
            return false;
        atomic_store(&slot->gate_asked, ticks_now());
        if (!atomic_compare_exchange_strong(&e->gate_owner, &none, mine))
            return false;
        x->gate_node = node;
    }
    if (takes_long(x, atomic_load_explicit(&slot->gate_asked, memory_order_relaxed))) {
        open_gate(x);
        return false;
    }
    if (atomic_load(&e->gate_owner) != mine)
        atomic_store(&e->gate_owner, mine);
    for (unsigned i = 0; i < e->config.workers; i++) {
        if (i != x->worker && atomic_load(&e->workers[i].in_batch) && !os_bug(BUG_GATE_ALONE))
            return false;
    }
    x->alone = true;
    return true;
}

bool exec_gate_is_open(const struct exec *x) { return atomic_load(&x->engine->gate_owner) & GATE_OPEN; }

static uint64_t batch_began(const struct exec *x) { return x->turn_end - ticks_of_us(TURN_US); }

bool exec_gate_waits_for(const struct exec *x)
{
    const struct engine *e = x->engine;
    uint32_t owner = atomic_load(&e->gate_owner);
    return owner != 0 && owner != x->worker + 1 && !(owner & GATE_OPEN) &&
           batch_began(x) > atomic_load_explicit(&e->workers[owner - 1].gate_asked, memory_order_relaxed);
}

bool exec_owns_gate(const struct exec *x)
{
    return atomic_load(&x->engine->gate_owner) == x->worker + 1;
}

void exec_gate_leave(struct exec *x)
{
    x->gate_node = NULL;
    x->alone = false;
    os_sched_point(SCHED_GATE);
    atomic_store(&x->engine->gate_owner, 0);
    wake_workers(x->engine);
}

/* ---- beside a script ---- */

struct exec *exec_aside_new(struct exec *main)
{
    struct exec *x = exec_new(main->engine, main->worker);
    x->aside = true;
    return x;
}

/* The worker is inside its batch, which keeps everyone from being alone; or it is alone itself, or somebody owns the gate and has shut it:
 * then nothing that takes locks may run. */
void exec_aside_begin(struct exec *x, struct exec *main)
{
    uint32_t late = atomic_load_explicit(&script_late, memory_order_relaxed);
    struct worker_slot *slot = &x->engine->workers[x->worker];
    refresh_clock(x);
    x->alone = main->alone || !atomic_load(&slot->in_batch);
    if (!x->alone && !atomic_load_explicit(&slot->long_since, memory_order_relaxed))
        atomic_store(&slot->long_since, batch_began(main));
    if (!x->alone && main->gate_node) /* another command of this worker waits to be alone */
        open_gate(main);
    x->gate_node = main->gate_node; /* which may be refused here */
    x->paused = main->paused;
    x->began = ticks_now();
    x->turn_end = x->began + ticks_of_us(TURN_US / 2);
    if (late && !x->late)
        exec_wake_waiting(x); /* they are refused now */
    x->late = late;
}

void exec_aside_end(struct exec *x, struct exec *main)
{
    main->gate_node = x->gate_node;
    exec_credit_leave(x);
    if (x->engine->log)
        log_kick(x->engine->log);
    if (x->sync_wanted)
        log_sync_now(x->engine->log);
    x->sync_wanted = false;
}

void exec_aside_over(struct exec *x)
{
    struct engine *e = x->engine;
    atomic_store(&e->workers[x->worker].long_since, 0);
    uint32_t owner = atomic_load(&e->gate_owner);
    if (owner & GATE_OPEN && !takes_long(x, UINT64_MAX) && atomic_compare_exchange_strong(&e->gate_owner, &owner, owner & ~GATE_OPEN))
        wake_workers(e);
    exec_wake_waiting(x);
    x->late = 0;
}
