/* exec_multi.c -- MULTI, EXEC, DISCARD, WATCH: the queue of a connection as one transaction.
 *
 * EXEC locks the union of the stripes of its commands' keys and of the watched keys, so
 * that nothing can come between looking at the watches and the last command.
 */
#include "cmd/exec_private.h"

#include "base/memory.h"
#include "cmd/acl.h"
#include "cmd/handlers.h"
#include "cmd/monitor.h"
#include "cmd/observe.h"

#include <stdio.h>

void multi_end(struct session *s)
{
    s->in_multi = s->multi_aborted = s->multi_strict = false;
    s->queue_count = s->queue_bytes = 0;
    arena_reset(&s->queue_arena);
}

static void unwatch_locked(struct session *s)
{
    while (s->watches) {
        struct watch *next = s->watches->sibling;
        watch_remove_locked(s->watches);
        s->watches = next;
    }
    s->watch_count = 0;
    atomic_store(&s->watch_dirty, false);
}

void session_unwatch(struct session *s)
{
    while (s->watches) {
        struct watch *w = s->watches;
        struct stripe *stripe = &w->engine->store->stripes[w->stripe];
        s->watches = w->sibling;
        stripe_lock_wait(stripe);
        watch_remove_locked(w);
        stripe_unlock(stripe);
    }
    s->watch_count = 0;
    atomic_store(&s->watch_dirty, false);
}

/* Never waits: watches in a busy stripe stay. */
static void session_unwatch_free(struct session *s)
{
    for (struct watch **at = &s->watches, *w; (w = *at) != NULL;) {
        struct stripe *stripe = &w->engine->store->stripes[w->stripe];
        if (!stripe_try_lock(stripe)) {
            at = &w->sibling;
            continue;
        }
        *at = w->sibling;
        s->watch_count--;
        watch_remove_locked(w);
        stripe_unlock(stripe);
    }
    if (!s->watches)
        atomic_store(&s->watch_dirty, false);
}

void multi_drop(struct exec *x, struct session *s)
{
    multi_end(s);
    if (x->aside)
        session_unwatch_free(s);
    else
        session_unwatch(s);
}

static void unwatch_body(struct exec *x, struct call *c)
{
    if (c->command->handler == cmd_unwatch || c->session->in_multi) /* DISCARD without MULTI is an error and no more */
        unwatch_locked(c->session);
    exec_call_handler(x, c);
}

enum exec_result multi_unwatch(struct exec *x, struct session *s, const struct command *row, struct park_node *node, uint64_t *lsn)
{
    struct call c = {.command = row, .session = s, .reply = &s->reply, .txn = x->txn, .argc = 1, .exec = x};
    struct lock_set locks = {0};
    txn_reset(x->txn, x->wall_ms);
    x->txn->undoing = x->txn->may_change = false;
    locks.stripes = arena_alloc(&x->txn->arena, (s->watch_count + 1) * sizeof(*locks.stripes));
    for (const struct watch *w = s->watches; w; w = w->sibling)
        locks.stripes[locks.stripe_count++] = w->stripe;
    return exec_run_locked(x, node, &locks, &c, unwatch_body, lsn);
}

void multi_queue(struct session *s, const struct command *row, const bytes *argv, size_t argc)
{
    if (s->queue_count == s->queue_capacity) {
        s->queue_capacity = s->queue_capacity ? s->queue_capacity * 2 : 8;
        s->queue = mem_realloc(s->queue, s->queue_capacity * sizeof(*s->queue));
    }
    bytes *words = arena_alloc(&s->queue_arena, argc * sizeof(*words));
    for (size_t i = 0; i < argc; i++)
        words[i] = arena_dup(&s->queue_arena, argv[i]);
    s->queue[s->queue_count++] = (struct queued_command){row, words, argc};
    s->queue_bytes += exec_words_size(argv, argc);
    reply_simple(&s->reply, "QUEUED");
}

void cmd_multi(struct call *c)
{
    bool strict = c->argc == 2 && bytes_is_word(c->argv[1], "STRICT");
    if (c->argc > 1 && !strict) {
        c->session->multi_aborted |= c->session->in_multi;
        reply_errorf(c->reply, "ERR wrong number of arguments for 'multi' command");
        return;
    }
    if (c->session->in_multi) {
        reply_errorf(c->reply, "ERR MULTI calls can not be nested");
        return;
    }
    c->session->in_multi = true;
    c->session->multi_strict = strict;
    reply_ok(c->reply);
}

void cmd_discard(struct call *c)
{
    if (!c->session->in_multi) {
        reply_errorf(c->reply, "ERR DISCARD without MULTI");
        return;
    }
    multi_end(c->session);
    session_unwatch(c->session);
    reply_ok(c->reply);
}

/* Inside EXEC the stripes are locked already, and the watches end with it anyway. */
void cmd_unwatch(struct call *c)
{
    if (!c->session->in_multi)
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
        struct watch *w = watch_add_locked(c->exec->engine, &c->keys[i], &s->watch_dirty);
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

static bool lies_expired(const struct txn *t, const struct key *k, const struct spot *spot)
{
    struct place p;
    uint64_t deadline = spot->table && table_find(spot->table, k->name, k->hash, &p) ? entry_deadline(p.entry) : 0;
    return deadline && deadline <= t->now_ms;
}

/* Touches every watched key: one that has expired since is removed, and marks its watchers. It stays
 * when the log takes nothing now; this EXEC fails all the same. */
static void observe_watched(struct txn *t, struct session *s)
{
    for (const struct watch *w = s->watches; w; w = w->sibling) {
        struct key k = {.name = w->key, .hash = w->hash, .db = w->db, .stripe = w->stripe, .slot = (uint16_t)(w->stripe << STRIPE_SHIFT)};
        struct spot spot;
        uint64_t changes = t->changes;
        txn_find(t, &k, &spot);
        if (t->changes != changes || (!t->may_change && lies_expired(t, &k, &spot)))
            atomic_store(&s->watch_dirty, true);
    }
}

/* The text of the error reply that begins here. */
static bytes error_text(const struct buf *out, size_t start)
{
    const uint8_t *error = out->data + start;
    const uint8_t *end = out->size > start && *error == '-' ? memchr(error, '\r', out->size - start) : NULL;
    return end ? bytes_of(error + 1, (size_t)(end - error - 1)) : BYTES("");
}

/* Strict: nothing of the transaction stays (exec_run_locked sees the error); the reply is why. */
static void refuse_all(struct session *s, size_t reply_start, size_t error_start, size_t n)
{
    bytes error = error_text(s->reply.out, error_start);
    char text[512];
    snprintf(text, sizeof(text), "EXECABORT Transaction undone because of command %zu, '%s': %.*s", n + 1,
             s->queue[n].command->full_name, (int)error.size, (const char *)error.data);
    s->reply.out->size = reply_start;
    reply_error_line(&s->reply, text);
}

void multi_refuse_exec(struct exec *x, struct session *s, size_t reply_start)
{
    bytes error = error_text(s->reply.out, reply_start);
    char text[512];
    snprintf(text, sizeof(text), "EXECABORT Transaction discarded because of: %.*s", (int)error.size, (const char *)error.data);
    multi_drop(x, s);
    s->reply.out->size = reply_start;
    reply_error_line(&s->reply, text);
}

static void run_queue(struct exec *x, struct session *s)
{
    size_t reply_start = s->reply.out->size;
    uint64_t errors = s->reply.errors, pass = atomic_load_explicit(&acl_version, memory_order_relaxed);
    reply_array(&s->reply, s->queue_count);
    for (size_t i = 0; i < s->queue_count; i++) {
        struct queued_command *q = &s->queue[i];
        struct call c = {.command = q->command, .session = s, .reply = &s->reply, .argv = q->argv, .argc = q->argc, .exec = x};
        if (!(q->command->flags & CMD_NO_TXN))
            c.txn = x->txn;
        if (command_has_keys(q->command)) {
            struct key *keys = arena_alloc(&x->txn->arena, q->argc * sizeof(*keys));
            c.key_count = command_keys(x->engine, s->db, q->command, q->argv, q->argc, keys);
            c.keys = keys;
        }
        size_t before = s->reply.out->size;
        if (HF_LIKELY(s->acl_pass == pass) || acl_admits_queued(s, q->command, q->argv, q->argc))
            exec_call_handler(x, &c);
        if (os_bug(BUG_STRIPE_LOCK))
            os_bug_pause();
        if (HF_UNLIKELY(s->script && s->script->restart))
            return; /* a script of it needs more locks: all of it runs again */
        if (HF_UNLIKELY(session_is_strict(s)) && s->reply.errors != errors) {
            refuse_all(s, reply_start, before, i);
            return;
        }
        exec_took(x, s, q->command, q->argv, q->argc);
        s->last_command = q->command->full_name;
    }
}

static void exec_body(struct exec *x, struct call *c)
{
    struct session *s = c->session;
    observe_watched(x->txn, s);
    if (atomic_load(&s->watch_dirty))
        s->reply.ops->null_array(&s->reply);
    else
        run_queue(x, s);
    if (observed() && atomic_load_explicit(&monitor_count, memory_order_relaxed))
        monitor_show(c);
    if (!s->script || !s->script->restart)
        unwatch_locked(s);
}

/* Everything the queue needs: flags of its commands, their keys, the stripes of these and of the watched ones. */
static uint32_t collect(struct exec *x, const struct session *s, struct lock_set *l)
{
    uint32_t flags = 0;
    size_t words = s->watch_count;
    for (size_t i = 0; i < s->queue_count; i++)
        words += s->queue[i].argc;
    struct key *keys = arena_alloc(&x->txn->arena, (words + 1) * sizeof(*keys));
    l->stripes = arena_alloc(&x->txn->arena, (words + 1) * sizeof(*l->stripes));
    for (size_t i = 0; i < s->queue_count; i++) {
        const struct queued_command *q = &s->queue[i];
        flags |= q->command->flags;
        if (command_has_keys(q->command))
            l->key_count += command_keys(x->engine, s->db, q->command, q->argv, q->argc, keys + l->key_count);
    }
    for (size_t i = 0; i < l->key_count; i++)
        l->stripes[l->stripe_count++] = keys[i].stripe;
    for (const struct watch *w = s->watches; w; w = w->sibling)
        l->stripes[l->stripe_count++] = w->stripe;
    l->keys = keys;
    l->writes = flags & (CMD_WRITE | CMD_SCRIPT);
    return flags;
}

enum exec_result multi_exec(struct exec *x, struct session *s, const struct parsed_command *p, struct park_node *node, uint64_t *lsn)
{
    struct lock_set locks = {.bound = RECORD_BOUND_MAX};
    struct call c = {.command = p->command, .session = s, .reply = &s->reply, .txn = x->txn, .argv = p->argv, .argc = p->argc, .exec = x};
    if (!s->in_multi) {
        reply_errorf(&s->reply, "ERR EXEC without MULTI");
        return EXEC_DONE;
    }
    if (s->multi_aborted) {
        multi_end(s);
        session_unwatch(s);
        reply_error_line(&s->reply, "EXECABORT Transaction discarded because of previous errors.");
        return EXEC_DONE;
    }
    txn_reset(x->txn, x->wall_ms);
    x->txn->client = s;
    uint32_t flags = collect(x, s, &locks);
    locks.gate = flags & (CMD_GATE | CMD_WALKS);
    x->txn->undoing = flags & CMD_SCRIPT || session_is_strict(s);
    x->txn->untouching = s->no_touch;
    x->txn->may_change = !x->paused || flags & CMD_WRITE;
    size_t reply_start = s->reply.out->size;
    bool refused = exec_refuses(x, flags, &s->reply);
    if (!refused && x->engine->log && flags & CMD_WRITE && s->queue_bytes > RECORD_DIRECT_MAX && !log_disk_takes(x->engine->log, s->queue_bytes)) {
        reply_status(&s->reply, HF_ERR_DISK_FULL);
        refused = true;
    }
    if (refused) {
        exec_gate_give_up(x, node);
        multi_refuse_exec(x, s, reply_start);
        return EXEC_DONE;
    }
    enum exec_result result = exec_run_locked(x, node, &locks, &c, exec_body, lsn);
    if (result == EXEC_DONE) {
        multi_end(s);
        atomic_store(&s->watch_dirty, false); /* the commit told this session, too, of what it changed itself */
    }
    return result;
}
