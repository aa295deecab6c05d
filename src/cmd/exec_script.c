/* exec_script.c -- locks for keys that nobody declared, and the second attempt. */
#include "cmd/exec_script.h"

#include "base/memory.h"
#include "cmd/acl.h"
#include "cmd/exec_private.h"
#include "cmd/observe.h"
#include "os/ticks.h"

/* ---- scripts that take long ---- */

_Atomic uint32_t script_late;
_Atomic bool script_denies_nothing;

void reply_busy(struct reply *r, uint32_t late)
{
    const char *text = late >= SCRIPT_LATE_FUNCTION
               ? "BUSY Redis is busy running a script. You can only call FUNCTION KILL or SHUTDOWN NOSAVE."
               : "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.";
    reply_error_line(r, text);
}

/* ---- what the next attempt holds from the start ---- */

void script_locks_free(struct session *s)
{
    if (s->script)
        mem_free(s->script->stripes);
    mem_free(s->script);
    s->script = NULL;
}

static struct script_locks *locks_of(struct session *s)
{
    if (!s->script)
        s->script = mem_zalloc(sizeof(*s->script));
    return s->script;
}

static void want(struct script_locks *l, uint16_t stripe)
{
    for (size_t i = 0; i < l->count; i++) {
        if (l->stripes[i] == stripe)
            return;
    }
    if (l->count == l->capacity) {
        l->capacity = l->capacity ? l->capacity * 2 : 16;
        l->stripes = mem_realloc(l->stripes, l->capacity * sizeof(*l->stripes));
    }
    l->stripes[l->count++] = stripe;
}

/* Asks for another attempt; what is held now is held then. */
static enum script_step restart(struct exec *x, const uint16_t *stripes, size_t count)
{
    struct script_locks *l = locks_of(x->session);
    const struct txn *t = x->txn;
    for (size_t i = 0; i < t->locked_count; i++)
        want(l, t->locked[i]);
    for (size_t i = 0; i < count; i++)
        want(l, stripes[i]);
    l->restart = true;
    return SCRIPT_RESTART;
}

/* ---- one command ---- */

void script_begin(struct script *s, struct call *call)
{
    const struct session *caller = call->session;
    *s = (struct script){.call = call};
    s->session = (struct session){.id = caller->id, .db = caller->db, .authenticated = true, .user = caller->user,
                                  .acl_pass = caller->acl_pass, .acl_seen = caller->acl_seen, .no_touch = caller->no_touch,
                                  .strict = session_is_strict(caller), .in_script = true,
                                  .durability = caller->durability, .connection = caller->connection,
                                  .worker = caller->worker};
    if (HF_UNLIKELY(cluster_on))
        cluster_script_begin(&s->cluster, caller, call->command, call->argv, call->argc);
}

static const struct command *resolve(const bytes *argv, size_t argc, struct reply *r)
{
    const struct command *row = command_find(argv[0]);
    if (row && row->subcommands && argc > 1)
        row = command_find_sub(row, argv[1]);
    if (!row)
        reply_errorf(r, "ERR Unknown Redis command called from script");
    else if (!command_arity_fits(row, argc))
        reply_errorf(r, "ERR Wrong number of args calling Redis command from script");
    else
        return row;
    return NULL;
}

bool call_lacks_replicas(struct call *c)
{
    bool lacks = atomic_load_explicit(&exec_lacks_replicas, memory_order_relaxed);
    if (lacks)
        reply_status(c->reply, HF_ERR_NO_REPLICAS);
    return lacks;
}

static bool refused(struct script *s, const struct command *row, const bytes *argv, size_t argc, struct reply *r)
{
    if (row->flags & CMD_NO_SCRIPT && !atomic_load_explicit(&script_denies_nothing, memory_order_relaxed))
        reply_errorf(r, "ERR This Redis command is not allowed from script");
    else if (HF_UNLIKELY(!s->session.acl_pass) && !acl_admits_in_script(&s->session, row, argv, argc, r))
        return true;
    else if (s->read_only && row->flags & (CMD_WRITE | CMD_MAY_REPLICATE))
        reply_errorf(r, "ERR Write commands are not allowed from read-only scripts.");
    else
        return exec_refuses(s->call->exec, row->flags & ~(s->allow_oom || s->wrote ? (uint32_t)CMD_GROWS : 0), s->wrote, r) ||
               (HF_UNLIKELY(cluster_on) && cluster_refuses_script(&s->cluster, row, argv, argc, r));
    return true;
}

bool call_is_out_of_memory(const struct call *c)
{
    return c->exec->out_of_memory;
}

static bool is_held(const struct txn *t, uint16_t stripe)
{
    for (size_t i = 0; i < t->locked_count; i++) {
        if (t->locked[i] == stripe)
            return true;
    }
    return false;
}

/* Locks them if that is possible without waiting for another worker. */
static bool touch(struct exec *x, struct txn *t, const uint16_t *stripes, size_t count)
{
    bool alone = x->alone;
    for (size_t i = 0; i < count; i++) {
        if (is_held(t, stripes[i]) || os_bug(BUG_SCRIPT_LOCK))
            continue;
        struct stripe *stripe = &t->engine->store->stripes[stripes[i]];
        if (alone)
            stripe_lock_wait(stripe); /* only a snapshot can hold it, for microseconds */
        else if (!stripe_try_lock(stripe))
            return false;
        txn_lock_added(t, stripes[i]);
    }
    return true;
}

/* The stripes of the keys, and of those that serving their waiters takes. */
static bool lock_keys(struct script *s, const struct command *row, const struct key *keys, size_t count)
{
    struct call *c = s->call;
    struct arena *arena = txn_arena(c->txn);
    size_t stripe_count = count;
    uint16_t *stripes = arena_alloc(arena, (count + 1) * sizeof(*stripes));
    for (size_t i = 0; i < count; i++)
        stripes[i] = keys[i].stripe;
    bool held = touch(c->exec, c->txn, stripes, stripe_count);
    while (held && row->flags & CMD_WRITE && wait_needs(c->exec, keys, count, &stripes, &stripe_count) == NEEDS_MORE)
        held = touch(c->exec, c->txn, stripes, stripe_count);
    if (!held)
        restart(c->exec, stripes, stripe_count);
    return held;
}

enum script_step script_call(struct script *s, const bytes *argv, size_t argc, struct reply *r)
{
    struct call *outer = s->call;
    s->session.reply = *r;
    const struct command *row = resolve(argv, argc, r);
    if (!row)
        return SCRIPT_DONE;
    if (refused(s, row, argv, argc, r)) {
        atomic_fetch_add_explicit(&row->stats->rejected, 1, memory_order_relaxed);
        return SCRIPT_DONE;
    }
    s->wrote |= (row->flags & CMD_WRITE) != 0;
    struct call c = {.command = row, .session = &s->session, .reply = r, .txn = row->flags & CMD_NO_TXN ? NULL : outer->txn,
                     .argv = argv, .argc = argc, .exec = outer->exec};
    if (row->flags & (CMD_GATE | CMD_WALKS) && !outer->exec->alone) {
        locks_of(outer->exec->session)->gate = true;
        return restart(outer->exec, NULL, 0);
    }
    if (command_has_keys(row)) {
        struct key *keys = arena_alloc(txn_arena(outer->txn), argc * sizeof(*keys));
        c.key_count = command_keys(outer->exec->engine, s->session.db, row, argv, argc, keys);
        c.keys = keys;
        if (!lock_keys(s, row, keys, c.key_count))
            return SCRIPT_RESTART;
    }
    const struct session *top = outer->exec->session;
    uint64_t began = ticks_now();
    exec_call_handler(outer->exec, &c);
    if (observed() && !s->noted) /* as in Redis: what the script declares */
        s->noted = exec_note_read(outer->exec, row, outer);
    exec_spent(outer->exec, top, row, argv, argc, ticks_now() - began);
    return top->script && top->script->restart ? SCRIPT_RESTART : SCRIPT_DONE;
}

enum script_step call_lock_stripes(struct call *c, const uint16_t *stripes, size_t count)
{
    return touch(c->exec, c->txn, stripes, count) ? SCRIPT_DONE : restart(c->exec, stripes, count);
}

void script_undo(struct script *s)
{
    s->call->exec->undo = true;
}
