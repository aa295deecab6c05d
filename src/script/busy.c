/* busy.c -- the time that scripts take: a hook lets others be served meanwhile, tells them when it is late, and ends what is killed.
 *
 * The hook runs every HOOK_INSTRUCTIONS of Lua, on the worker's own thread. Other threads ask for kills and read what runs:
 * through atomics and under the lock of struct shown, never through the run itself, which lives on its worker's stack.
 */
#include "script/script.h"

#include "cmd/handlers.h"
#include "cmd/kept_words.h"
#include "engine/internal.h"
#include "os/os.h"

#define ASIDE_AFTER_US 5000 /* of a run: from here on the worker's other connections are served between its steps */
#define ASIDE_PERIOD_US 1000
#define LOAD_MAX_US 500000   /* FUNCTION LOAD runs a library's text alone, and nobody could kill it */
#define CHARGE_MAX ((size_t)1 << 20) /* work of functions in C between two looks at the clock */
#define SHOWN_MAX (64u << 10) /* bytes of a command that FUNCTION STATS shows; words beyond it are left out */
#define SHOWN_NAME_MAX 1024u

static _Atomic(struct run *) busy_runs[WORKERS_MAX]; /* only compared with NULL by others */
static _Atomic bool kill_asked[WORKERS_MAX];
static _Atomic int64_t time_limit_ms = 5000;

/* What other threads may know of a worker's run: copies, made once it has taken a while. */
static struct shown {
    struct spin lock; /* guards all */
    bool is_set;
    uint64_t started_us;
    struct buf name;
    struct kept_words words;
} shown[WORKERS_MAX];

static void show(struct run *run, unsigned worker)
{
    struct shown *s = &shown[worker];
    const struct call *c = run->script.call;
    run->is_shown = true;
    spin_lock(&s->lock);
    buf_init(&s->name, SHOWN_MAX);
    kept_words_init(&s->words, SHOWN_MAX);
    buf_append(&s->name, run->name, strnlen(run->name, SHOWN_NAME_MAX));
    s->started_us = run->started_us;
    s->is_set = true;
    for (size_t i = 0; i < c->argc && kept_words_try_add(&s->words, c->argv[i]); i++) {
    }
    spin_unlock(&s->lock);
}

static void unshow(unsigned worker)
{
    struct shown *s = &shown[worker];
    spin_lock(&s->lock);
    s->is_set = false;
    buf_release(&s->name);
    kept_words_release(&s->words);
    spin_unlock(&s->lock);
}

static void reply_shown(const struct shown *s, struct reply *r)
{
    reply_map(r, 3);
    reply_text(r, "name");
    reply_bulk(r, buf_view(&s->name));
    reply_text(r, "command");
    kept_words_reply(&s->words, r);
    reply_text(r, "duration_ms");
    reply_int(r, (int64_t)((OS.monotonic_us() - s->started_us) / 1000));
}

void script_set_time_limit(int64_t ms)
{
    atomic_store(&time_limit_ms, ms);
}

static void set_late(struct run *run, bool late)
{
    uint32_t one = run->is_eval ? 1 : SCRIPT_LATE_FUNCTION;
    if (run->late == late)
        return;
    run->late = late;
    atomic_fetch_add(&script_late, late ? one : 0 - one);
}

/* False: the server stops. */
static bool serve_others(struct run *run, unsigned worker)
{
    uint64_t now = OS.monotonic_us();
    int64_t limit_ms = atomic_load_explicit(&time_limit_ms, memory_order_relaxed);
    if (now - run->started_us < ASIDE_AFTER_US || now - run->aside_us < ASIDE_PERIOD_US || !host || !host->serve_aside)
        return true;
    if (limit_ms > 0 && (now - run->started_us) / 1000 >= (uint64_t)limit_ms)
        set_late(run, true);
    run->aside = true;
    if (!run->is_shown)
        show(run, worker);
    bool goes_on = host->serve_aside(worker);
    run->aside_us = OS.monotonic_us();
    return goes_on;
}

/* Of the function that runs, or of the one that has called out of Lua. */
static int line_now(lua_State *lua)
{
    lua_Debug where;
    for (int level = 0; lua_getstack(lua, level, &where); level++) {
        if (lua_getinfo(lua, "Sl", &where) && where.currentline > 0)
            return where.currentline;
    }
    return 0;
}

static void look(lua_State *lua, struct run *run)
{
    if (run->loading) {
        if (run->started_us && OS.monotonic_us() - run->started_us > LOAD_MAX_US) {
            run->unwinding = true;
            luaL_error(lua, "FUNCTION LOAD timeout");
        }
        return;
    }
    unsigned worker = run->script.call->session->worker;
    if (run->unwinding)
        run_rethrow(lua);
    bool goes_on = serve_others(run, worker);
    if (atomic_exchange(&kill_asked[worker], false) || !goes_on) {
        run->killed = run->unwinding = true;
        run->killed_line = line_now(lua);
        run_rethrow(lua);
    }
}

void run_hook(lua_State *lua, lua_Debug *event)
{
    struct run *run = state_run(lua);
    (void)event;
    state_hook_again(lua);
    if (run)
        look(lua, run);
}

void run_charge(lua_State *lua, size_t work)
{
    struct run *run = state_run(lua);
    if (!run || (run->charged += work) < CHARGE_MAX)
        return;
    run->charged = 0;
    look(lua, run);
}

bool run_busy(void)
{
    for (unsigned i = 0; i < WORKERS_MAX; i++) {
        if (atomic_load(&busy_runs[i]))
            return true;
    }
    return false;
}

void run_kill(struct call *c, bool eval)
{
    bool any = false;
    uint32_t late = atomic_load(&script_late);
    if (late && eval != (late < SCRIPT_LATE_FUNCTION)) { /* the other kind runs */
        reply_busy(c->reply, late);
        return;
    }
    for (unsigned i = 0; i < WORKERS_MAX; i++) {
        const struct run *run = atomic_load(&busy_runs[i]);
        if (!run)
            continue;
        any = true;
        atomic_store(&kill_asked[i], true);
    }
    if (any)
        reply_ok(c->reply);
    else
        reply_error_line(c->reply, "NOTBUSY No scripts in execution right now.");
}

void run_describe(struct call *c)
{
    struct reply *r = c->reply;
    for (unsigned i = 0; i < WORKERS_MAX; i++) {
        spin_lock(&shown[i].lock);
        bool found = shown[i].is_set;
        if (found)
            reply_shown(&shown[i], r);
        spin_unlock(&shown[i].lock);
        if (found)
            return;
    }
    reply_null(r);
}

void script_nested(struct call *c)
{
    reply_error_line(c->reply, "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.");
}

void run_time_begin(struct run *run)
{
    unsigned worker = run->script.call->session->worker;
    atomic_store(&kill_asked[worker], false);
    atomic_store(&busy_runs[worker], run);
}

void run_time_end(struct run *run)
{
    unsigned worker = run->script.call->session->worker;
    atomic_store(&busy_runs[worker], NULL);
    set_late(run, false);
    if (run->is_shown)
        unshow(worker);
    if (run->aside)
        host->aside_over(worker);
}
