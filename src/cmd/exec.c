/* exec.c -- from words to a reply: admission, credit, gate, locks, handler, commit.
 *
 * Everything that may have to wait is asked for before the first lock, and refusal
 * parks the command with nothing changed: log credit, then the gate for commands that
 * run alone, then the stripes of all keys in ascending order. After that a command
 * cannot fail for a reason outside itself.
 *
 * EXEC is one transaction over the union of the keys of its commands and of the watched
 * keys. Gate: one owner; workers count themselves in at the start of a batch and out
 * at its end, and enter none while somebody owns it.
 */
#include "cmd/exec.h"

#include "base/memory.h"
#include "cmd/handlers.h"
#include "engine/internal.h"
#include "os/os.h"

#include <stdio.h>

#define RECORD_BOUND_FIXED 8192u /* a float's text, headers, deadlines */
#define HOUSEKEEPING_PERIOD_US 1000u
#define QUEUE_BYTES_MAX (UINT64_C(1) << 30)

struct exec {
    struct engine *engine;
    unsigned worker;
    struct txn *txn, *housekeeping_txn;
    uint64_t wall_ms;
    struct key *keys;
    size_t key_capacity;
    struct park_node *waiting;      /* for log credit, in no order */
    bool sync_wanted;               /* a reply of this batch waits for the disk, and the log's fsync is not due */
    bool paused;                    /* CLIENT PAUSE: nothing expires */
    struct park_node *gate_node;    /* holds the gate and waits for the others to leave their batches */
    const struct command *counted;  /* run-length counter of calls: a shared counter is touched once per run */
    uint64_t counted_calls;
    uint64_t housekeeping_us;
};

static struct engine *the_engine; /* session_unwatch has no exec at hand */

struct exec *exec_new(struct engine *engine, unsigned worker)
{
    hf_assert(worker < engine->config.workers);
    struct exec *x = mem_zalloc(sizeof(*x));
    x->engine = the_engine = engine;
    x->worker = worker;
    x->txn = txn_new(engine);
    x->housekeeping_txn = txn_new(engine);
    x->txn->heap = x->housekeeping_txn->heap = engine->heaps[worker];
    x->txn->slot_stats = x->housekeeping_txn->slot_stats = &engine->workers[worker];
    x->key_capacity = 64;
    x->keys = mem_alloc(x->key_capacity * sizeof(*x->keys));
    return x;
}

void exec_free(struct exec *x)
{
    txn_free(x->txn);
    txn_free(x->housekeeping_txn);
    mem_free(x->keys);
    mem_free(x);
}

/* ---- batches and the gate ---- */

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
    atomic_store(&e->workers[x->worker].in_batch, 1);
    uint32_t owner = atomic_load(&e->gate_owner);
    if (HF_UNLIKELY(owner != 0 && owner != x->worker + 1)) {
        atomic_store(&e->workers[x->worker].in_batch, 0);
        return false;
    }
    refresh_clock(x);
    return true;
}

static void flush_counts(struct exec *x)
{
    if (x->counted)
        atomic_fetch_add_explicit(&x->counted->stats->calls, x->counted_calls, memory_order_relaxed);
    x->counted = NULL;
    x->counted_calls = 0;
}

static void count_call(struct exec *x, const struct command *row)
{
    if (HF_UNLIKELY(x->counted != row)) {
        flush_counts(x);
        x->counted = row;
    }
    x->counted_calls++;
}

void exec_batch_end(struct exec *x)
{
    flush_counts(x);
    atomic_store_explicit(&x->engine->workers[x->worker].in_batch, 0, memory_order_release);
    if (x->engine->log)
        log_kick(x->engine->log);
    if (HF_UNLIKELY(x->sync_wanted)) {
        log_sync_now(x->engine->log);
        x->sync_wanted = false;
    }
}

void exec_set_paused(struct exec *x, bool paused) { x->paused = paused; }

/* Errors that need no execution are replied in a pause, too. */
bool exec_would_wait(struct session *s, const struct parsed_command *p, bool writes_only)
{
    const struct command *row = p->command;
    if (row && row->subcommands)
        row = p->argc > 1 ? command_find_sub(row, p->argv[1]) : NULL;
    if (!row || !command_arity_fits(row, p->argc) || (!s->authenticated && !(row->flags & CMD_NO_AUTH)))
        return false;
    uint32_t flags = row->flags;
    for (size_t i = 0; row->handler == cmd_exec && s->in_multi && i < s->queue_count; i++)
        flags |= s->queue[i].command->flags;
    if (writes_only && !(flags & CMD_WRITE))
        return false;
    s->last_command = row->full_name;
    return true;
}

static bool gate_take(struct exec *x, struct park_node *node)
{
    struct engine *e = x->engine;
    uint32_t none = 0, mine = x->worker + 1;
    bool owned = x->gate_node == node && atomic_load(&e->gate_owner) == mine;
    if (!owned && !atomic_compare_exchange_strong(&e->gate_owner, &none, mine))
        return false;
    x->gate_node = node;
    for (unsigned i = 0; i < e->config.workers; i++) {
        if (i != x->worker && atomic_load(&e->workers[i].in_batch))
            return false;
    }
    return true;
}

static void gate_leave(struct exec *x)
{
    struct engine *e = x->engine;
    x->gate_node = NULL;
    atomic_store(&e->gate_owner, 0);
    if (e->config.wake_workers)
        e->config.wake_workers(e->config.context);
}

/* ---- parking ---- */

static enum exec_result wait_for_credit(struct exec *x, struct park_node *node)
{
    node->next = x->waiting;
    x->waiting = node;
    return EXEC_PARKED;
}

static enum exec_result wait_for_gate(struct park_node *node)
{
    node->wake(node); /* batches are short: look again in the next round of the loop */
    return EXEC_PARKED;
}

static void wake_waiting(struct exec *x)
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
        gate_leave(x);
    for (struct park_node **at = &x->waiting; *at; at = &(*at)->next) {
        if (*at == node) {
            *at = node->next;
            return true;
        }
    }
    return stripe_unpark(&x->engine->store->stripes[node->stripe], node);
}

/* Locks what the txn has collected. False: parked on the busy stripe. */
static bool lock_or_park(struct exec *x, struct park_node *node, const uint16_t *stripes, size_t count)
{
    struct txn *t = x->txn;
    for (;;) {
        for (size_t i = 0; i < count; i++)
            txn_lock_add(t, stripes[i]);
        int busy = txn_lock_all(t);
        if (HF_LIKELY(busy < 0))
            return true;
        node->stripe = (uint32_t)busy;
        if (stripe_park(&x->engine->store->stripes[busy], node))
            return false;
    }
}

/* ---- admission ---- */

static size_t words_size(const bytes *argv, size_t argc)
{
    size_t sum = 0;
    for (size_t i = 0; i < argc; i++)
        sum += argv[i].size;
    return sum;
}

/* Upper bound of ring space that the record of a command takes; every effect may repeat the key. */
static size_t record_bound(const struct command *row, const bytes *argv, size_t argc)
{
    size_t most = RECORD_DIRECT_MAX + 1024;
    size_t key = argc > 1 ? argv[1].size : 0;
    if (row->flags & (CMD_COPIES | CMD_GATE) || key > most || argc > most)
        return most;
    size_t bound = RECORD_BOUND_FIXED + words_size(argv, argc) + argc * (key + 32);
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

/* A value too large for the ring goes to the disk beside its credit. */
static bool disk_takes(const struct engine *e, const bytes *argv, size_t argc)
{
    size_t size = words_size(argv, argc);
    return size <= RECORD_DIRECT_MAX || log_disk_takes(e->log, size);
}

/* What refuses a command before it is run or queued. */
static bool refused(struct exec *x, struct session *s, const struct command *row)
{
    if (HF_UNLIKELY(!s->authenticated) && !(row->flags & CMD_NO_AUTH)) {
        reply_error_line(&s->reply, "NOAUTH Authentication required.");
        return true;
    }
    if (row->flags & CMD_WRITE) {
        status state = log_refusal(x->engine);
        if (HF_UNLIKELY(state != HF_OK)) {
            reply_status(&s->reply, state);
            return true;
        }
        if (HF_UNLIKELY(row->flags & CMD_GROWS && atomic_load_explicit(&x->engine->over_memory, memory_order_relaxed))) {
            reply_status(&s->reply, HF_ERR_OOM);
            return true;
        }
    }
    return false;
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

static void call_handler(struct exec *x, struct call *c)
{
    struct txn_point point;
    uint64_t errors = c->reply->errors;
    bool steps = has_steps(x, c);
    count_call(x, c->command);
    if (HF_UNLIKELY(steps))
        txn_point_set(c->txn, &point);
    c->command->handler(c);
    bool failed = c->reply->errors != errors;
    if (HF_UNLIKELY(steps) && failed)
        txn_point_undo(c->txn, &point);
    else if (HF_UNLIKELY(steps))
        txn_point_keep(c->txn, &point);
    if (HF_UNLIKELY(failed))
        atomic_fetch_add_explicit(&c->command->stats->failed, 1, memory_order_relaxed);
}

static enum exec_result run_with_txn(struct exec *x, struct session *s, const struct command *row, struct parsed_command *p,
                                     struct park_node *node, uint64_t *lsn)
{
    struct engine *e = x->engine;
    struct txn *t = x->txn;
    struct call c = {.command = row, .session = s, .reply = &s->reply, .txn = t, .argv = p->argv, .argc = p->argc};
    uint16_t few[32], *stripes = few;
    size_t bound = 0;
    bool gate = row->flags & CMD_GATE;
    if (p->located && row->keys.last == row->keys.first && !(row->flags & CMD_OTHER_DB)) {
        p->key0.db = s->db;
        c.keys = &p->key0;
        c.key_count = 1;
    } else if (row->keys.first > 0) {
        struct key *keys = room_for_keys(x, p->argc);
        c.key_count = command_keys(e, s->db, row, p->argv, p->argc, keys);
        c.keys = keys;
    }
    txn_reset(t, x->wall_ms);
    t->may_change = !x->paused || row->flags & CMD_WRITE;
    if (e->log) {
        bound = record_bound(row, p->argv, p->argc);
        if (HF_UNLIKELY(bound > RECORD_DIRECT_MAX) && row->flags & CMD_WRITE && !disk_takes(e, p->argv, p->argc)) {
            reply_status(&s->reply, HF_ERR_DISK_FULL);
            return EXEC_DONE;
        }
        if (HF_UNLIKELY(!log_credit_take(e->log, bound))) {
            if (row->flags & CMD_WRITE)
                return wait_for_credit(x, node);
            t->may_change = false;
            bound = 0;
        }
    }
    enum exec_result result = EXEC_PARKED;
    if (gate && !gate_take(x, node)) {
        wait_for_gate(node);
    } else {
        if (c.key_count > 32)
            stripes = arena_alloc(&t->arena, c.key_count * sizeof(*stripes));
        for (size_t i = 0; i < c.key_count; i++)
            stripes[i] = c.keys[i].stripe;
        if (lock_or_park(x, node, stripes, c.key_count)) {
            call_handler(x, &c);
            *lsn = txn_commit_lsn(t);
            result = EXEC_DONE;
            if (gate)
                gate_leave(x);
        }
    }
    if (bound)
        log_credit_return(e->log, bound);
    return result;
}

/* ---- MULTI ---- */

static void queue_reset(struct session *s)
{
    s->in_multi = s->multi_aborted = false;
    s->queue_count = s->queue_bytes = 0;
    arena_reset(&s->queue_arena);
}

static void unwatch_locked(struct session *s)
{
    while (s->watches) {
        struct watch *next = s->watches->sibling;
        watch_remove_locked(the_engine, s->watches);
        s->watches = next;
    }
    s->watch_count = 0;
    atomic_store(&s->watch_dirty, false);
}

void session_unwatch(struct session *s)
{
    while (s->watches) {
        struct watch *w = s->watches;
        struct stripe *stripe = &the_engine->store->stripes[w->stripe];
        s->watches = w->sibling;
        stripe_lock_wait(stripe);
        watch_remove_locked(the_engine, w);
        stripe_unlock(stripe);
    }
    s->watch_count = 0;
    atomic_store(&s->watch_dirty, false);
}

static void queue_command(struct session *s, const struct command *row, const bytes *argv, size_t argc)
{
    if (s->queue_count == s->queue_capacity) {
        s->queue_capacity = s->queue_capacity ? s->queue_capacity * 2 : 8;
        s->queue = mem_realloc(s->queue, s->queue_capacity * sizeof(*s->queue));
    }
    bytes *words = arena_alloc(&s->queue_arena, argc * sizeof(*words));
    for (size_t i = 0; i < argc; i++)
        words[i] = arena_dup(&s->queue_arena, argv[i]);
    s->queue[s->queue_count++] = (struct queued_command){row, words, argc};
    s->queue_bytes += words_size(argv, argc);
    reply_simple(&s->reply, "QUEUED");
}

void cmd_multi(struct call *c)
{
    if (c->session->in_multi) {
        reply_errorf(c->reply, "ERR MULTI calls can not be nested");
        return;
    }
    c->session->in_multi = true;
    reply_ok(c->reply);
}

void cmd_discard(struct call *c)
{
    if (!c->session->in_multi) {
        reply_errorf(c->reply, "ERR DISCARD without MULTI");
        return;
    }
    queue_reset(c->session);
    session_unwatch(c->session);
    reply_ok(c->reply);
}

void cmd_unwatch(struct call *c)
{
    session_unwatch(c->session);
    reply_ok(c->reply);
}

static bool is_watched(const struct session *s, const struct key *k)
{
    for (const struct watch *w = s->watches; w; w = w->sibling) {
        if (w->db == k->db && bytes_equal(w->key, k->name))
            return true;
    }
    return false;
}

void cmd_watch(struct call *c)
{
    struct session *s = c->session;
    if (s->in_multi) {
        reply_errorf(c->reply, "ERR WATCH inside MULTI is not allowed");
        return;
    }
    for (size_t i = 0; i < c->key_count; i++) {
        struct spot spot;
        if (is_watched(s, &c->keys[i]))
            continue;
        txn_find(c->txn, &c->keys[i], &spot); /* an expired key goes now: later it would look changed */
        struct watch *w = watch_add_locked(the_engine, &c->keys[i], &s->watch_dirty);
        w->sibling = s->watches;
        s->watches = w;
        s->watch_count++;
    }
    reply_ok(c->reply);
}

void cmd_exec(struct call *c)
{
    (void)c;
    hf_assert(!"EXEC is run by run_exec");
}

/* Touches every watched key: one that has expired since is removed, and marks its watchers. */
static void observe_watched(struct txn *t, const struct session *s)
{
    for (const struct watch *w = s->watches; w; w = w->sibling) {
        struct key k = {.name = w->key, .hash = w->hash, .db = w->db, .stripe = w->stripe, .slot = (uint16_t)(w->stripe << STRIPE_SHIFT)};
        struct spot spot;
        txn_find(t, &k, &spot);
    }
}

static void run_queue(struct exec *x, struct session *s)
{
    reply_array(&s->reply, s->queue_count);
    for (size_t i = 0; i < s->queue_count; i++) {
        struct queued_command *q = &s->queue[i];
        struct call c = {.command = q->command, .session = s, .reply = &s->reply, .argv = q->argv, .argc = q->argc};
        if (!(q->command->flags & CMD_NO_TXN))
            c.txn = x->txn;
        if (q->command->keys.first > 0) {
            struct key *keys = arena_alloc(&x->txn->arena, q->argc * sizeof(*keys));
            c.key_count = command_keys(x->engine, s->db, q->command, q->argv, q->argc, keys);
            c.keys = keys;
        }
        call_handler(x, &c);
        s->last_command = q->command->full_name;
    }
}

/* Everything the queue needs: flags of its commands and the stripes of all keys. */
static uint32_t collect(struct exec *x, const struct session *s, uint16_t **stripes, size_t *count)
{
    uint32_t flags = 0;
    size_t words = s->watch_count, used = 0;
    for (size_t i = 0; i < s->queue_count; i++)
        words += s->queue[i].argc;
    *stripes = arena_alloc(&x->txn->arena, (words + 1) * sizeof(**stripes));
    for (size_t i = 0; i < s->queue_count; i++) {
        const struct queued_command *q = &s->queue[i];
        struct key *keys = room_for_keys(x, q->argc);
        flags |= q->command->flags;
        size_t keys_here = q->command->keys.first > 0 ? command_keys(x->engine, s->db, q->command, q->argv, q->argc, keys) : 0;
        for (size_t k = 0; k < keys_here; k++)
            (*stripes)[used++] = keys[k].stripe;
    }
    for (const struct watch *w = s->watches; w; w = w->sibling)
        (*stripes)[used++] = w->stripe;
    *count = used;
    return flags;
}

static enum exec_result run_exec(struct exec *x, struct session *s, struct park_node *node, uint64_t *lsn)
{
    struct engine *e = x->engine;
    struct txn *t = x->txn;
    uint16_t *stripes;
    size_t count, bound = RECORD_DIRECT_MAX + 1024;
    if (!s->in_multi) {
        reply_errorf(&s->reply, "ERR EXEC without MULTI");
        return EXEC_DONE;
    }
    if (s->multi_aborted) {
        queue_reset(s);
        session_unwatch(s);
        reply_error_line(&s->reply, "EXECABORT Transaction discarded because of previous errors.");
        return EXEC_DONE;
    }
    txn_reset(t, x->wall_ms);
    uint32_t flags = collect(x, s, &stripes, &count);
    bool gate = flags & (CMD_GATE | CMD_WALKS);
    t->may_change = !x->paused || flags & CMD_WRITE;
    status state = flags & CMD_WRITE ? log_refusal(e) : HF_OK;
    if (e->log && state == HF_OK && flags & CMD_WRITE && s->queue_bytes > RECORD_DIRECT_MAX &&
        !log_disk_takes(e->log, s->queue_bytes))
        state = HF_ERR_DISK_FULL;
    if (state != HF_OK) {
        queue_reset(s);
        session_unwatch(s);
        reply_errorf(&s->reply, "EXECABORT Transaction discarded because of: %s", status_text(state));
        return EXEC_DONE;
    }
    if (e->log && !log_credit_take(e->log, bound)) {
        if (flags & CMD_WRITE)
            return wait_for_credit(x, node);
        t->may_change = false;
        bound = 0;
    }
    enum exec_result result = EXEC_PARKED;
    if (gate && !gate_take(x, node)) {
        wait_for_gate(node);
    } else if (lock_or_park(x, node, stripes, count)) {
        observe_watched(t, s);
        if (atomic_load(&s->watch_dirty)) {
            unwatch_locked(s);
            s->reply.ops->null_array(&s->reply);
        } else {
            unwatch_locked(s);
            run_queue(x, s);
        }
        *lsn = txn_commit_lsn(t);
        queue_reset(s);
        result = EXEC_DONE;
        if (gate)
            gate_leave(x);
    }
    if (e->log && bound)
        log_credit_return(e->log, bound);
    return result;
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

static enum exec_result run(struct exec *x, struct session *s, struct parsed_command *p, struct park_node *node, uint64_t *lsn)
{
    const struct command *row = p->command;
    if (HF_UNLIKELY(row && row->handler == cmd_exec && p->argc != 1)) {
        /* an EXEC that is refused ends the transaction all the same */
        queue_reset(s);
        session_unwatch(s);
        reply_errorf(&s->reply, "EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' command");
        return EXEC_DONE;
    }
    if (HF_UNLIKELY(!row || row->subcommands || !command_arity_fits(row, p->argc)))
        row = command_resolve(p->argv, p->argc, &s->reply);
    if (HF_UNLIKELY(!row)) {
        count_rejected(p);
        abort_multi(s);
        return EXEC_DONE;
    }
    s->last_command = row->full_name;
    if (refused(x, s, row)) {
        atomic_fetch_add_explicit(&row->stats->rejected, 1, memory_order_relaxed);
        abort_multi(s);
        return EXEC_DONE;
    }
    if (HF_UNLIKELY(s->in_multi) && !(row->flags & CMD_NO_QUEUE)) {
        if (row->flags & CMD_NO_MULTI) {
            reply_errorf(&s->reply, "ERR Command not allowed inside a transaction");
            abort_multi(s);
        } else if (s->queue_bytes > QUEUE_BYTES_MAX) {
            reply_errorf(&s->reply, "ERR the transaction's queue is larger than 1 GiB; send EXEC or DISCARD");
            abort_multi(s);
        } else {
            queue_command(s, row, p->argv, p->argc);
        }
        return EXEC_DONE;
    }
    if (HF_UNLIKELY(row->handler == cmd_exec)) {
        count_call(x, row);
        return run_exec(x, s, node, lsn);
    }
    if (row->flags & CMD_NO_TXN) {
        struct call c = {.command = row, .session = s, .reply = &s->reply, .argv = p->argv, .argc = p->argc};
        call_handler(x, &c);
        return EXEC_DONE;
    }
    return run_with_txn(x, s, row, p, node, lsn);
}

enum exec_result exec_run(struct exec *x, struct session *s, struct parsed_command *p, struct park_node *node, uint64_t *lsn)
{
    size_t before = s->reply.out->size;
    int mode = s->reply_mode;
    *lsn = 0;
    enum exec_result result = run(x, s, p, node, lsn);
    if (HF_UNLIKELY(mode != REPLY_ON || s->reply_mode != REPLY_ON) && result == EXEC_DONE) {
        /* CLIENT REPLY: OFF swallows its own reply, SKIP its own and the next one */
        if (s->reply_mode == REPLY_OFF || s->reply_mode == REPLY_SKIP || s->reply_mode == REPLY_SKIP_NEXT)
            s->reply.out->size = before;
        if (s->reply_mode == REPLY_SKIP)
            s->reply_mode = REPLY_ON;
        else if (s->reply_mode == REPLY_SKIP_NEXT)
            s->reply_mode = REPLY_SKIP;
    }
    if (s->durability == DURABILITY_NONE)
        *lsn = 0;
    else if (HF_UNLIKELY(*lsn && s->durability == DURABILITY_COMMIT && x->engine->config.durability == DURABILITY_INTERVAL &&
                         *lsn > log_durable(x->engine->log)))
        x->sync_wanted = true;
    return result;
}

/* ---- prefetch ---- */

static void prefetch_one(struct exec *x, struct session *s, struct parsed_command *p, bool entry)
{
    struct engine *e = x->engine;
    struct stripe *stripe = &e->store->stripes[p->key0.stripe];
    bool shared = e->config.workers > 1;
    if (shared && !stripe_try_lock_once(stripe))
        return;
    struct table *table = stripe_table(stripe, e->db_ids[s->db]);
    if (table && entry)
        table_prefetch_entry(table, p->key0.hash);
    else if (table)
        table_prefetch(table, p->key0.hash);
    if (shared)
        stripe_unlock(stripe);
}

void exec_prefetch(struct exec *x, struct session *s, struct parsed_command *p, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct command *row = p[i].argc ? command_find(p[i].argv[0]) : NULL;
        p[i].command = row;
        p[i].located = row && row->keys.first > 0 && (size_t)row->keys.first < p[i].argc;
        if (!p[i].located)
            continue;
        txn_locate(x->engine, s->db, p[i].argv[row->keys.first], &p[i].key0);
        __builtin_prefetch(&x->engine->store->stripes[p[i].key0.stripe], 1);
    }
    if (count < 2)
        return;
    for (size_t i = 0; i < count; i++) {
        if (p[i].located)
            prefetch_one(x, s, &p[i], false);
    }
    for (size_t i = 0; i < count; i++) {
        if (p[i].located)
            prefetch_one(x, s, &p[i], true);
    }
}

/* ---- housekeeping ---- */

static void watch_memory(struct exec *x)
{
    struct engine *e = x->engine;
    uint64_t limit = atomic_load(&e->maxmemory), used, held;
    if (x->worker != 0)
        return;
    slab_stats(e->store->slab, &used, &held);
    atomic_store(&e->over_memory, limit && used + mem_in_use() > limit);
}

unsigned exec_housekeeping(struct exec *x)
{
    struct engine *e = x->engine;
    uint64_t now_us = OS.monotonic_us();
    wake_waiting(x);
    if (now_us - x->housekeeping_us < HOUSEKEEPING_PERIOD_US)
        return 1;
    x->housekeeping_us = now_us;
    if (!exec_batch_begin(x))
        return 1;
    uint64_t next = UINT64_MAX;
    if (!x->paused)
        next = expire_slice(e, x->housekeeping_txn, x->worker, e->config.workers, x->wall_ms);
    bool more = x->worker == 0 && databases_free_slice(e, e->heaps[x->worker]);
    if (atomic_load_explicit(&e->maxmemory, memory_order_relaxed))
        watch_memory(x);
    exec_batch_end(x);
    if (more || next <= x->wall_ms)
        return 1;
    uint64_t wait = next == UINT64_MAX ? 100 : next - x->wall_ms;
    return wait > 100 ? 100 : (unsigned)wait;
}
