/* exec.c -- from words to a reply: admission, credit, gate, locks, handler, commit.
 *
 * Everything that may have to wait is asked for before the first lock, and refusal
 * parks the command with nothing changed: log credit, then the gate for commands that
 * run alone, then the stripes of all keys in ascending order. After that a command
 * cannot fail for a reason outside itself.
 *
 * EXEC is one transaction over the union of the keys of its commands and of the watched
 * keys.
 */
#include "cmd/exec_private.h"

#include "base/memory.h"
#include "cmd/acl.h"
#include "cmd/cluster.h"
#include "cmd/exec_script.h"
#include "cmd/feed.h"
#include "cmd/handlers.h"
#include "cmd/monitor.h"
#include "cmd/slowlog.h"
#include "cmd/talk.h"
#include "cmd/tracking.h"
#include "os/latency.h"
#include "os/os.h"
#include "os/ticks.h"

#include <stdio.h>

#define RECORD_BOUND_STEP 4096u /* so that what one command held is mostly enough for the next */
#define CREDIT_KEPT_MAX 16384u
#define RECORD_BOUND_FIXED 8192u /* a float's text, headers, deadlines */
#define HOUSEKEEPING_PERIOD_US 1000u
#define QUEUE_BYTES_MAX (UINT64_C(1) << 30)
#define RUNS_A_SCRIPT(row) (((row)->flags & (CMD_SCRIPT | CMD_NO_SCRIPT)) == (CMD_SCRIPT | CMD_NO_SCRIPT))
#define SCRIPT_ATTEMPTS 3 /* then it runs alone */

struct exec *exec_new(struct engine *engine, unsigned worker)
{
    hf_assert(worker < engine->config.workers);
    struct exec *x = mem_zalloc(sizeof(*x));
    x->engine = engine;
    x->worker = worker;
    x->txn = txn_new(engine);
    x->housekeeping_txn = txn_new(engine);
    x->txn->heap = x->housekeeping_txn->heap = engine->heaps[worker];
    x->txn->slot_stats = x->housekeeping_txn->slot_stats = &engine->workers[worker];
    x->evictor = evictor_new(engine);
    x->times = times_new();
    x->key_capacity = 64;
    x->keys = mem_alloc(x->key_capacity * sizeof(*x->keys));
    return x;
}

void exec_free(struct exec *x)
{
    while (waiters_sweep(x) || watches_sweep(x))
        thread_yield(); /* no worker runs any more; a snapshot holds a stripe for moments */
    txn_free(x->txn);
    txn_free(x->housekeeping_txn);
    evictor_free(x->evictor);
    mem_free(x->keys);
    times_free(x->times);
    mem_free(x);
}

unsigned exec_worker(const struct exec *x) { return x->worker; }

/* ---- credit ---- */

/* The next command of the batch goes on with what this one held: no line that the workers share is written for it. */
static void credit_keep(struct exec *x, size_t bound)
{
    if (HF_LIKELY(bound <= CREDIT_KEPT_MAX && !x->credit))
        x->credit = bound;
    else
        log_credit_return(x->engine->log, bound);
}

void exec_credit_leave(struct exec *x)
{
    if (x->credit)
        log_credit_return(x->engine->log, x->credit);
    x->credit = 0;
}

/* *bound: what is held then, at least what was asked for. False: nothing is. */
static bool credit_take(struct exec *x, size_t *bound)
{
    size_t kept = x->credit;
    if (HF_LIKELY(kept >= *bound) && log_credit_renew(x->engine->log, kept)) {
        x->credit = 0;
        *bound = kept;
        return true;
    }
    exec_credit_leave(x);
    return log_credit_take(x->engine->log, *bound);
}

/* ---- who has to wait ---- */

/* What would wait for the script's locks, the gate or the Lua state of this thread: it waits, holding nothing. */
static bool waits_for_script(const struct exec *x, const struct session *s, const struct command *row)
{
    if (row->flags & CMD_ALLOW_BUSY)
        return false;
    if (s->in_multi && !(row->flags & CMD_NO_QUEUE))
        return false;
    return row->handler == cmd_exec || row->flags & (CMD_GATE | CMD_WALKS | CMD_SCRIPT | CMD_ADMIN | CMD_BLOCKING | CMD_TALKS) ||
           (x->alone && !(row->flags & CMD_NO_TXN));
}

void exec_set_paused(struct exec *x, bool paused) { x->paused = paused; }

bool (*exec_script_writes)(const struct command *row, const bytes *argv, size_t argc);
bool (*exec_script_tend)(unsigned worker);

static bool may_write(const struct command *row, const bytes *argv, size_t argc)
{
    if (row->flags & (CMD_WRITE | CMD_MAY_REPLICATE))
        return true;
    return RUNS_A_SCRIPT(row) && !(row->flags & CMD_READ) && (!exec_script_writes || exec_script_writes(row, argv, argc));
}

/* Errors that need no execution are replied in a pause, too. */
bool exec_would_wait(struct session *s, const struct parsed_command *p, bool writes_only)
{
    const struct command *row = p->command;
    if (row && row->subcommands)
        row = p->argc > 1 ? command_find_sub(row, p->argv[1]) : NULL;
    if (!row || !command_arity_fits(row, p->argc) || !acl_would_admit(s, row, p->argv, p->argc))
        return false;
    bool writes = may_write(row, p->argv, p->argc);
    for (size_t i = 0; row->handler == cmd_exec && s->in_multi && i < s->queue_count && !writes; i++)
        writes = may_write(s->queue[i].command, s->queue[i].argv, s->queue[i].argc);
    if (writes_only && !writes)
        return false;
    s->last_command = row->full_name;
    return true;
}

/* ---- parking ---- */

static enum exec_result wait_for_credit(struct exec *x, struct park_node *node)
{
    node->next = x->waiting;
    x->waiting = node;
    return EXEC_PARKED;
}

static void wait_for_gate(struct exec *x, struct park_node *node)
{
    if (exec_gate_is_open(x))
        wait_for_credit(x, node);
    else
        node->wake(node); /* batches are short: look again in the next round of the loop */
}

void exec_wake_waiting(struct exec *x)
{
    struct park_node *node = x->waiting;
    x->waiting = NULL;
    while (node) {
        struct park_node *next = node->next;
        node->wake(node);
        node = next;
    }
}

bool exec_unpark(struct exec *x, struct park_node *node)
{
    if (x->gate_node == node)
        exec_gate_leave(x);
    for (struct park_node **at = &x->waiting; *at; at = &(*at)->next) {
        if (*at == node) {
            *at = node->next;
            return true;
        }
    }
    hf_assert(node->stripe < STRIPE_COUNT);
    return stripe_unpark(&x->engine->store->stripes[node->stripe], node);
}

/* Locks what the txn has collected. False: parked on the busy stripe. */
static bool lock_or_park(struct exec *x, struct park_node *node, const uint16_t *stripes, size_t count)
{
    struct txn *t = x->txn;
    for (;;) {
        txn_lock_add_all(t, stripes, count);
        int busy = txn_lock_all(t);
        if (HF_LIKELY(busy < 0))
            return true;
        node->stripe = (uint32_t)busy;
        if (stripe_park(&x->engine->store->stripes[busy], node))
            return false;
    }
}

/* Locks the stripes and, when somebody waits for one of the keys, those that serving takes; the credit is raised then, since
 * the record will hold what the waiters do too. False: parked. */
static bool lock_for_all(struct exec *x, struct park_node *node, struct lock_set *l)
{
    struct engine *e = x->engine;
    while (lock_or_park(x, node, l->stripes, l->stripe_count)) {
        enum wait_need need = l->writes ? wait_needs(x, l->keys, l->key_count, &l->stripes, &l->stripe_count) : NOBODY_WAITS;
        bool credit_fits = !e->log || l->bound >= RECORD_BOUND_MAX;
        if (HF_UNLIKELY(need == KEY_IS_HELD) && !l->gate) { /* alone it does not wait: nobody else could go on */
            txn_unlock_all(x->txn);
            wait_for_credit(x, node);
            return false;
        }
        if (HF_LIKELY(need == NOBODY_WAITS) || (need != NEEDS_MORE && credit_fits))
            return true;
        txn_unlock_all(x->txn);
        if (credit_fits)
            continue;
        log_credit_return(e->log, l->bound);
        l->bound = log_credit_take(e->log, RECORD_BOUND_MAX) ? RECORD_BOUND_MAX : 0;
        if (!l->bound) {
            wait_for_credit(x, node);
            return false;
        }
    }
    return false;
}

/* ---- admission ---- */

size_t exec_words_size(const bytes *argv, size_t argc)
{
    size_t sum = 0;
    for (size_t i = 0; i < argc; i++)
        sum += argv[i].size;
    return sum;
}

/* Upper bound of ring space that the record of a command takes; every effect may repeat the key. */
static size_t record_bound(const struct command *row, const bytes *argv, size_t argc)
{
    size_t most = RECORD_BOUND_MAX;
    size_t key = argc > 1 ? argv[1].size : 0;
    if (row->flags & (CMD_COPIES | CMD_GATE | CMD_SCRIPT) || key > most || argc > most)
        return most;
    size_t bound = RECORD_BOUND_FIXED + exec_words_size(argv, argc) + argc * (key + 32);
    bound = (bound / RECORD_BOUND_STEP + 1) * RECORD_BOUND_STEP;
    return bound < most ? bound : most;
}

static status log_refusal(const struct engine *e)
{
    if (!e->log)
        return HF_OK;
    switch (log_state(e->log)) {
    case LOG_FULL:
        return HF_ERR_DISK_FULL;
    case LOG_BROKEN:
        return HF_ERR_LOG_BROKEN;
    default:
        return HF_OK;
    }
}

_Atomic bool exec_lacks_replicas;

bool exec_refuses(struct exec *x, uint32_t flags, bool has_begun, struct reply *r)
{
    if (!(flags & CMD_WRITE))
        return false;
    status state = log_refusal(x->engine);
    if (HF_LIKELY(state == HF_OK) && flags & CMD_GROWS && HF_UNLIKELY(x->out_of_memory))
        state = HF_ERR_OOM;
    if (HF_UNLIKELY(atomic_load_explicit(&exec_lacks_replicas, memory_order_relaxed)) && state == HF_OK && !has_begun)
        state = HF_ERR_NO_REPLICAS;
    if (HF_LIKELY(state == HF_OK))
        return false;
    reply_status(r, state);
    return true;
}

/* A value too large for the ring goes to the disk beside its credit. */
static bool disk_takes(const struct engine *e, const bytes *argv, size_t argc)
{
    size_t size = exec_words_size(argv, argc);
    return size <= RECORD_DIRECT_MAX || log_disk_takes(e->log, size);
}

/* What refuses a command before it is run or queued. */
static bool refused(struct exec *x, struct session *s, const struct command *row, const struct parsed_command *p)
{
    if (!acl_admits(s, row, p->argv, p->argc))
        return true;
    if (HF_UNLIKELY(s->looks_on) && (row->flags & (CMD_WRITE | CMD_READ | CMD_MAY_REPLICATE) || RUNS_A_SCRIPT(row))) {
        reply_errorf(&s->reply, "ERR Replica can't interact with the keyspace");
        return true;
    }
    if (HF_UNLIKELY(s->listens) && s->reply.version == 2 && !(row->flags & CMD_SUBSCRIBED)) {
        reply_errorf(&s->reply,
                     "ERR Can't execute '%s': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context",
                     row->full_name);
        return true;
    }
    if (HF_UNLIKELY(x->late) && !(row->flags & CMD_ALLOW_BUSY)) {
        reply_busy(&s->reply, x->late);
        return true;
    }
    return false;
}

/* A queue takes memory for any command, so when there is none it takes none. */
static bool refused_now(struct exec *x, struct session *s, const struct command *row)
{
    if (HF_UNLIKELY(x->out_of_memory && s->in_multi) && !(row->flags & CMD_NO_QUEUE)) {
        reply_status(&s->reply, HF_ERR_OOM);
        return true;
    }
    return exec_refuses(x, row->flags, false, &s->reply);
}

/* ---- running ---- */

static struct key *room_for_keys(struct exec *x, size_t count)
{
    if (count > x->key_capacity) {
        x->key_capacity = count * 2;
        x->keys = mem_realloc(x->keys, x->key_capacity * sizeof(*x->keys));
    }
    return x->keys;
}

/* A refusal half-way leaves nothing behind. Commands of one step change nothing when they refuse, and a
 * collection is refused memory only when it is made, before its first change: so only several keys need undo,
 * and only when memory may really be refused: for a value outside of its block, or near the end of the slab. */
static bool has_steps(const struct exec *x, const struct call *c)
{
    if (HF_LIKELY(c->key_count < 2) || !(c->command->flags & (CMD_GROWS | CMD_STEPS)))
        return false;
    for (size_t i = 1; i < c->argc; i++) {
        if (c->argv[i].size > ENTRY_INLINE_MAX)
            return true;
    }
    return slab_is_nearly_full(x->engine->store->slab);
}

/* A walk met a stripe that stays busy: all of it runs again when that is free. Or it would take long beside another command. */
static bool gave_up(const struct txn *t) { return t->busy_stripe >= 0; }

/* For MONITOR: a script stands before its commands, a command behind what it has chosen (SELECT). */
static void show(const struct call *c, bool before)
{
    if (before == RUNS_A_SCRIPT(c->command) && !c->session->wait_over && !(c->txn && gave_up(c->txn)) &&
        atomic_load_explicit(&monitor_count, memory_order_relaxed))
        monitor_show(c);
}

bool exec_note_read(struct exec *x, const struct command *row, const struct call *c)
{
    if (!c->txn || !tracking_is_on(x->session) || !(row->flags & CMD_READ) || RUNS_A_SCRIPT(row))
        return false;
    tracking_read(c->txn, x->session, c->keys, c->key_count);
    return true;
}

/* Two of it are made, so that the usual one asks once whether it is observed. */
static inline __attribute__((always_inline)) void call_handler(struct exec *x, struct call *c, bool is_observed)
{
    struct txn_point point;
    uint64_t errors = c->reply->errors, changes = is_observed ? feed_before(c) : 0;
    bool steps = has_steps(x, c);
    counter_add(&x->times->counts[c->command->id].calls, !c->session->wait_over); /* once, however often it waits */
    if (is_observed)
        show(c, true);
    if (HF_UNLIKELY(steps))
        txn_point_set(c->txn, &point);
    c->command->handler(c);
    bool failed = c->reply->errors != errors;
    if (HF_UNLIKELY(steps) && failed)
        txn_point_undo(c->txn, &point);
    else if (HF_UNLIKELY(steps))
        txn_point_keep(c->txn, &point);
    if (is_observed) {
        if (!c->session->in_script)
            exec_note_read(x, c->command, c);
        if (!(steps && failed)) /* else it is undone */
            feed_after(c, changes);
        show(c, false);
    }
    if (HF_UNLIKELY(failed))
        atomic_fetch_add_explicit(&c->command->stats->failed, 1, memory_order_relaxed);
}

void exec_call_handler(struct exec *x, struct call *c)
{
    if (observed())
        call_handler(x, c, true);
    else
        call_handler(x, c, false);
}

void exec_took(struct exec *x, const struct session *s, const struct command *row, const bytes *argv, size_t argc)
{
    uint64_t now = ticks_now(), took = now - x->ticks;
    x->ticks = now;
    exec_spent(x, s, row, argv, argc, took);
}

void exec_spent(struct exec *x, const struct session *s, const struct command *row, const bytes *argv, size_t argc, uint64_t took)
{
    struct histogram *histogram = times_of(x->times, row);
    counter_add(&x->times->counts[row->id].ticks, took);
    if (HF_LIKELY(histogram != NULL))
        histogram_add(histogram, took);
    slowlog_look(s, row, argv, argc, took, x->wall_ms);
}

void exec_sleeps(struct exec *x, struct session *s, uint64_t us)
{
    struct session *client = s->in_script ? x->session : s;
    client->sleep_until_us = OS.monotonic_us() + us;
    x->ticks -= ticks_of_us(us);
}

/* What a session is before a body runs. */
struct before { size_t reply_start; uint64_t errors; uint32_t db; };

/* Back to before the first lock; what was replied goes. */
static void back_out(struct exec *x, struct session *s, const struct before *before)
{
    txn_rollback_all(x->txn);
    txn_restart(x->txn);
    s->reply.out->size = before->reply_start;
    s->reply.errors = before->errors;
    s->db = before->db;
}

/* The next attempt of a script has more locks. */
static void more_locks(struct script_locks *l)
{
    l->restart = false;
    if (++l->attempts >= SCRIPT_ATTEMPTS)
        l->gate = true;
}

/* Adds what earlier attempts of a script have touched. */
static void add_script_locks(struct exec *x, const struct session *s, struct lock_set *l)
{
    const struct script_locks *known = s->script;
    if (known->gate)
        l->gate = true;
    uint16_t *all = arena_alloc(&x->txn->arena, (l->stripe_count + known->count + 1) * sizeof(*all));
    for (size_t i = 0; i < l->stripe_count; i++)
        all[i] = l->stripes[i];
    for (size_t i = 0; i < known->count; i++)
        all[l->stripe_count + i] = known->stripes[i];
    l->stripes = all;
    l->stripe_count += known->count;
}

/* Until the body has run to its end with all the locks it needs. False: parked. */
static bool run_body(struct exec *x, struct park_node *node, struct lock_set *l, struct call *c,
                     void (*body)(struct exec *x, struct call *c))
{
    struct session *s = c->session;
    struct before before = {s->reply.out->size, s->reply.errors, s->db};
    for (;;) {
        if (HF_UNLIKELY(s->script != NULL))
            add_script_locks(x, s, l);
        if (HF_UNLIKELY(l->gate) && !exec_gate_take(x, node)) {
            wait_for_gate(x, node);
            return false;
        }
        if (!lock_for_all(x, node, l))
            return false;
        body(x, c);
        bool restart = HF_UNLIKELY(s->script != NULL) && s->script->restart;
        if (HF_LIKELY(!restart && !gave_up(x->txn)))
            return true;
        int busy = x->txn->busy_stripe;
        hf_assert(busy != BUSY_BESIDE || x->txn->changes == 0); /* it has given up, and then gone on */
        back_out(x, s, &before);
        if (restart) {
            more_locks(s->script);
            continue;
        }
        if (busy == BUSY_BESIDE) {
            wait_for_credit(x, node);
            return false;
        }
        node->stripe = (uint32_t)busy;
        if (stripe_park(&x->engine->store->stripes[busy], node))
            return false;
    }
}

enum exec_result exec_run_locked(struct exec *x, struct park_node *node, struct lock_set *l, struct call *c,
                                 void (*body)(struct exec *x, struct call *c), uint64_t *lsn)
{
    struct engine *e = x->engine;
    struct txn *t = x->txn;
    struct session *s = c->session;
    if (e->log && HF_UNLIKELY(!credit_take(x, &l->bound))) {
        if (l->writes)
            return wait_for_credit(x, node);
        t->may_change = false;
        l->bound = 0;
    }
    uint64_t errors = s->reply.errors;
    x->undo = false;
    x->session = s;
    bool run = run_body(x, node, l, c, body);
    if (run) {
        bool failed = t->undoing && session_is_strict(s) && s->reply.errors != errors;
        if (HF_UNLIKELY(x->undo || failed)) {
            *lsn = t->observed_lsn;
            txn_rollback_all(t);
        } else {
            if (HF_UNLIKELY(t->ready != NULL))
                wait_serve(x);
            if (HF_UNLIKELY(c->waits))
                wait_start(x, s, c);
            *lsn = txn_commit_lsn(t);
            x->dropped |= t->dropped_count != 0;
        }
        if (HF_UNLIKELY(s->script != NULL))
            script_locks_free(s);
        s->wait_over = false;
    } else if (HF_UNLIKELY(x->gate_node == node)) {
        x->alone = false;
    }
    if (e->log && l->bound)
        credit_keep(x, l->bound);
    return !run ? EXEC_PARKED : c->waits ? EXEC_WAITING : EXEC_DONE;
}

static enum exec_result run_with_txn(struct exec *x, struct session *s, const struct command *row, struct parsed_command *p,
                                     struct park_node *node, uint64_t *lsn)
{
    struct engine *e = x->engine;
    struct txn *t = x->txn;
    struct call c = {.command = row, .session = s, .reply = &s->reply, .txn = t, .argv = p->argv, .argc = p->argc, .exec = x};
    uint16_t few[32];
    struct lock_set locks = {.stripes = few, .writes = row->flags & (CMD_WRITE | CMD_SCRIPT), .gate = row->flags & CMD_GATE};
    if (HF_LIKELY(p->located) && command_has_one_key(row, p->argc)) {
        p->key0.db = s->db;
        c.keys = &p->key0;
        c.key_count = 1;
    } else if (command_has_keys(row)) {
        struct key *keys = room_for_keys(x, p->argc);
        c.key_count = command_keys(e, s->db, row, p->argv, p->argc, keys);
        c.keys = keys;
    }
    txn_reset(t, x->wall_ms);
    t->client = s;
    t->undoing = row->flags & CMD_SCRIPT;
    t->untouching = s->no_touch && row->handler != cmd_touch;
    t->may_give_up = row->flags & CMD_WALKS;
    t->may_change = !x->paused || row->flags & CMD_WRITE;
    if (c.key_count > 32)
        locks.stripes = arena_alloc(&t->arena, c.key_count * sizeof(*locks.stripes));
    for (size_t i = 0; i < c.key_count; i++)
        locks.stripes[i] = c.keys[i].stripe;
    locks.stripe_count = locks.key_count = c.key_count;
    locks.keys = c.keys;
    locks.bound = e->log ? record_bound(row, p->argv, p->argc) : 0;
    if (HF_UNLIKELY(locks.bound > RECORD_DIRECT_MAX) && row->flags & CMD_WRITE && !disk_takes(e, p->argv, p->argc)) {
        reply_status(&s->reply, HF_ERR_DISK_FULL);
        return EXEC_DONE;
    }
    c.may_wait = row->flags & (CMD_BLOCKING | CMD_TALKS) && !s->wait_over;
    return exec_run_locked(x, node, &locks, &c, exec_call_handler, lsn);
}

/* ---- the door ---- */

static void abort_multi(struct session *s)
{
    if (s->in_multi)
        s->multi_aborted = true;
}

/* A wrong number of words for a command that is known. */
static void count_rejected(const struct parsed_command *p)
{
    const struct command *row = p->command;
    if (row && row->subcommands && p->argc > 1)
        row = command_find_sub(row, p->argv[1]);
    if (row && row->stats)
        atomic_fetch_add_explicit(&row->stats->rejected, 1, memory_order_relaxed);
}

/* DEBUG, where the settings do not allow it. */
static bool is_protected(struct session *s, const struct command *row)
{
    if (HF_LIKELY(!(row->flags & CMD_PROTECTED)) || host->debug_allowed(s->is_local))
        return false;
    reply_errorf(&s->reply,
                 "ERR %s command not allowed. If the enable-%s-command option is set to \"local\", you can run it from a "
                 "local connection, otherwise you need to set this option in the configuration file, and then restart the "
                 "server.", row->name, row->full_name);
    return true;
}

static enum exec_result run(struct exec *x, struct session *s, struct parsed_command *p, struct park_node *node, uint64_t *lsn)
{
    const struct command *row = p->command;
    if (HF_UNLIKELY(row && row->handler == cmd_exec && p->argc != 1)) {
        /* an EXEC that is refused ends the transaction all the same */
        multi_drop(s);
        reply_errorf(&s->reply, "EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' command");
        return EXEC_DONE;
    }
    if (HF_UNLIKELY(!row || row->subcommands || !command_arity_fits(row, p->argc)))
        row = command_resolve(p->argv, p->argc, &s->reply);
    if (HF_UNLIKELY(!row || is_protected(s, p->command))) {
        count_rejected(p);
        abort_multi(s);
        return EXEC_DONE;
    }
    s->last_command = row->full_name;
    size_t reply_start = s->reply.out->size;
    bool no = refused(x, s, row, p);
    if (HF_UNLIKELY(atomic_load_explicit(&x->engine->maxmemory, memory_order_relaxed) != 0 || x->out_of_memory) && !no &&
        x->gate_node != node && !exec_makes_room(x, s, row, exec_words_size(p->argv, p->argc)))
        return wait_for_credit(x, node);
    if (no || refused_now(x, s, row)) {
        if (row->handler == cmd_exec)
            multi_refuse_exec(s, reply_start);
        if (HF_UNLIKELY(s->wait_over)) { /* what it waited for came, and now it may not run */
            s->wait_over = false;
            talk_drop(s);
        }
        atomic_fetch_add_explicit(&row->stats->rejected, 1, memory_order_relaxed);
        abort_multi(s);
        return EXEC_DONE;
    }
    if (HF_UNLIKELY(cluster_on) && cluster_refuses(s, row, p->argv, p->argc)) {
        if (row->handler == cmd_exec)
            multi_drop(s);
        atomic_fetch_add_explicit(&row->stats->rejected, 1, memory_order_relaxed);
        abort_multi(s);
        return EXEC_DONE;
    }
    if (HF_UNLIKELY(x->aside) && waits_for_script(x, s, row))
        return wait_for_credit(x, node);
    if (HF_UNLIKELY(s->in_multi) && !(row->flags & CMD_NO_QUEUE)) {
        if (row->flags & CMD_NO_MULTI) {
            reply_errorf(&s->reply, "ERR Command not allowed inside a transaction");
            abort_multi(s);
        } else if (s->queue_bytes > QUEUE_BYTES_MAX) {
            reply_errorf(&s->reply, "ERR the transaction's queue is larger than 1 GiB; send EXEC or DISCARD");
            abort_multi(s);
        } else {
            multi_queue(s, row, p->argv, p->argc);
        }
        return EXEC_DONE;
    }
    if (HF_UNLIKELY(row->handler == cmd_exec)) {
        uint64_t began = x->ticks;
        counter_add(&x->times->counts[row->id].calls, 1);
        enum exec_result done = multi_exec(x, s, p, node, lsn);
        if (done == EXEC_DONE)
            exec_spent(x, s, row, p->argv, p->argc, ticks_now() - began);
        return done;
    }
    enum exec_result result = EXEC_DONE;
    if (row->flags & CMD_NO_TXN) {
        struct call c = {.command = row, .session = s, .reply = &s->reply, .argv = p->argv, .argc = p->argc, .exec = x};
        exec_call_handler(x, &c);
    } else {
        result = run_with_txn(x, s, row, p, node, lsn);
    }
    if (HF_LIKELY(result == EXEC_DONE))
        exec_took(x, s, row, p->argv, p->argc);
    else
        x->ticks = ticks_now();
    return result;
}

/* CLIENT REPLY: OFF swallows its own reply, SKIP its own and the next one. */
static void swallow(struct session *s, size_t reply_start)
{
    if (s->reply_mode != REPLY_ON && !s->pushed)
        s->reply.out->size = reply_start;
    if (s->reply_mode == REPLY_SKIP)
        s->reply_mode = REPLY_ON;
    else if (s->reply_mode == REPLY_SKIP_NEXT)
        s->reply_mode = REPLY_SKIP;
    s->pushed = false;
}

/* CLIENT CACHING counts for one command, or one transaction; further CLIENT commands do not end it. */
static void forget_caching(struct session *s)
{
    if (!s->in_multi && s->last_command && strncmp(s->last_command, "client|", 7) != 0)
        s->tracking->caching = false;
}

enum exec_result exec_run(struct exec *x, struct session *s, struct parsed_command *p, struct park_node *node, uint64_t *lsn)
{
    size_t before = s->reply.out->size;
    int mode = s->reply_mode;
    *lsn = 0;
    if (HF_LIKELY(!x->aside))
        x->began = x->ticks;
    enum exec_result result = run(x, s, p, node, lsn);
    if (HF_UNLIKELY(x->gate_node == node) && result != EXEC_PARKED) /* it has run, or was refused while it waited */
        exec_gate_leave(x);
    if (HF_UNLIKELY(x->breathes))
        exec_breathe_over(x);
    if (HF_UNLIKELY(mode != REPLY_ON || s->reply_mode != REPLY_ON) && result == EXEC_DONE)
        swallow(s, before);
    if (HF_UNLIKELY(s->tracking != NULL) && result == EXEC_DONE)
        forget_caching(s);
    if (s->durability == DURABILITY_NONE)
        *lsn = 0;
    else if (HF_UNLIKELY(*lsn && s->durability == DURABILITY_COMMIT && x->engine->config.durability == DURABILITY_INTERVAL &&
                         *lsn > log_durable(x->engine->log)))
        x->sync_wanted = true;
    return result;
}

/* ---- housekeeping ---- */

/* When the next key is due. */
static uint64_t expire(struct exec *x)
{
    uint64_t began = ticks_now();
    uint64_t next = expire_slice(x->engine, x->housekeeping_txn, x->worker, x->engine->config.workers, x->wall_ms);
    uint64_t took = ticks_now() - began;
    counter_add(&x->engine->workers[x->worker].expire_ticks, took);
    if (HF_UNLIKELY(latency_is_on()))
        latency_note(LATENCY_EXPIRE, ticks_to_us(took));
    return next;
}

unsigned exec_housekeeping(struct exec *x)
{
    struct engine *e = x->engine;
    uint64_t now_us = OS.monotonic_us();
    exec_wake_waiting(x);
    bool left = watches_sweep(x);
    left |= waiters_sweep(x);
    left |= exec_script_tend && exec_script_tend(x->worker);
    if (now_us - x->housekeeping_us < HOUSEKEEPING_PERIOD_US)
        return 1;
    x->housekeeping_us = now_us;
    if (!exec_batch_begin(x))
        return 1;
    uint64_t next = UINT64_MAX;
    if (!x->paused && HF_LIKELY(!atomic_load_explicit(&e->expiry_rests, memory_order_relaxed)))
        next = expire(x);
    exec_flush_due(x);
    if (x->worker == 0)
        feed_tend();
    bool more = memory_tend(e, x->evictor, x->housekeeping_txn, x->wall_ms, !x->paused);
    exec_batch_end(x);
    if (more || left || x->gate_node || next <= x->wall_ms)
        return 1;
    uint64_t wait = next == UINT64_MAX ? 100 : next - x->wall_ms;
    return wait > 100 ? 100 : (unsigned)wait;
}
