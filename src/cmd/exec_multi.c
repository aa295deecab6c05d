/* exec_multi.c -- MULTI, EXEC, DISCARD: the queue of a connection as one transaction.
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
    s->queue_count = s->queue_bytes = s->queue_words = 0;
    arena_reset(&s->queue_arena);
}

void multi_drop(struct session *s)
{
    multi_end(s);
    session_unwatch(s);
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
    s->queue_words += argc;
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
    multi_drop(c->session);
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
    for (const struct watch *w = os_bug(BUG_WATCH_EXPIRED) ? NULL : s->watches; w; w = w->sibling) {
        struct key k = {.name = w->key, .hash = w->hash, .db = w->db, .stripe = w->stripe, .slot = (uint16_t)(w->stripe << STRIPE_SHIFT)};
        struct spot spot;
        uint64_t changes = t->changes;
        bool was_expired = w->was_expired;
        txn_find(t, &k, &spot);
        if (!was_expired && (t->changes != changes || (!t->may_change && lies_expired(t, &k, &spot))))
            atomic_store(&s->watcher->dirty, true);
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

void multi_refuse_exec(struct session *s, size_t reply_start)
{
    bytes error = error_text(s->reply.out, reply_start);
    if (bytes_starts_with(error, BYTES("ERR ")))
        error = bytes_of(error.data + 4, error.size - 4);
    char text[512];
    snprintf(text, sizeof(text), "EXECABORT Transaction discarded because of: %.*s", (int)error.size, (const char *)error.data);
    multi_drop(s);
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

/* MONITOR sees every EXEC behind its commands, also one that is refused. */
static void show_exec(const struct call *c)
{
    if (observed() && atomic_load_explicit(&monitor_count, memory_order_relaxed))
        monitor_show(c);
}

static void exec_body(struct exec *x, struct call *c)
{
    struct session *s = c->session;
    observe_watched(x->txn, s);
    if (session_is_dirty(s))
        s->reply.ops->null_array(&s->reply);
    else
        run_queue(x, s);
    show_exec(c);
    if (!s->script || !s->script->restart)
        unwatch_locked(s);
}

/* Everything the queue needs: flags of its commands, their keys, the stripes of these and of the watched ones. */
static uint32_t collect(struct exec *x, const struct session *s, struct lock_set *l)
{
    uint32_t flags = 0;
    size_t words = s->watcher ? s->watcher->count : 0;
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
        c.txn = NULL; /* none has begun */
        show_exec(&c);
        return EXEC_DONE;
    }
    if (s->multi_aborted) {
        multi_drop(s);
        reply_error_line(&s->reply, "EXECABORT Transaction discarded because of previous errors.");
        c.txn = NULL; /* none has begun */
        show_exec(&c);
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
    bool refused = exec_refuses(x, flags, false, &s->reply);
    if (!refused && x->engine->log && flags & CMD_WRITE && s->queue_bytes > RECORD_DIRECT_MAX && !log_disk_takes(x->engine->log, s->queue_bytes)) {
        reply_status(&s->reply, HF_ERR_DISK_FULL);
        refused = true;
    }
    if (refused) {
        multi_refuse_exec(s, reply_start);
        return EXEC_DONE;
    }
    enum exec_result result = exec_run_locked(x, node, &locks, &c, exec_body, lsn);
    if (result == EXEC_DONE) {
        multi_end(s);
        if (s->watcher)
            atomic_store(&s->watcher->dirty, false); /* the commit told this session, too, of what it changed itself */
    }
    return result;
}
