/* state.c -- a Lua state of each worker: how much memory its scripts may use, and the run of one.
 *
 * Memory: while a script runs or is compiled the allocator refuses what goes beyond script-memory-limit, which Lua makes an
 * error of. The run is then over, whatever would catch that error, and is undone like one that was killed. Outside of
 * protected calls (words for the script, its reply) nothing is refused: an error there would end the process. The same holds where an
 * error may not pass, which are commands and cjson (state_unlimit): the limit is looked at before and after. A collection follows,
 * in slices between commands (script_tend), as it does after each run that left much behind.
 * Time: a hook every HOOK_INSTRUCTIONS, or at the next instruction once much was allocated; functions in C that may take
 * long charge what they do (busy.c).
 */
#include "script/sandbox.h"
#include "script/script.h"

#include "base/memory.h"
#include "cmd/handlers.h"
#include "engine/internal.h"
#include "os/os.h"

#define HOOK_INSTRUCTIONS 2000
#define HURRY_BYTES ((size_t)4 << 20)   /* allocated since the hook last ran: it runs at the next instruction */
#define LEFT_BYTES ((size_t)16 << 20)   /* garbage that may wait for the next run */
#define TEND_SLICE_US 500
#define CLOSE_BYTES ((size_t)2 << 20)   /* a larger state is collected in slices instead of closed at once */

static struct state states[WORKERS_MAX];
static char state_mark;  /* registry: the struct state */
static _Atomic uint64_t flushes;
static _Atomic size_t memory_limit = (size_t)1 << 30;

void script_set_memory_limit(size_t bytes_max)
{
    atomic_store(&memory_limit, bytes_max);
}

size_t script_memory_limit(void)
{
    return atomic_load_explicit(&memory_limit, memory_order_relaxed);
}

/* ---- memory ---- */

/* Written by its worker only; INFO reads it from any (script_memory). */
static void count_memory(struct state *s, size_t change)
{
    __atomic_store_n(&s->memory, s->memory + change, __ATOMIC_RELAXED);
}

static void *counted_alloc(void *context, void *old, size_t old_size, size_t size)
{
    struct state *s = context;
    size_t before = old ? old_size : 0;
    if (size == 0) {
        count_memory(s, 0 - before);
        mem_free(old);
        return NULL;
    }
    if (size > before) {
        if (HF_UNLIKELY(s->limited && s->memory + (size - before) > script_memory_limit())) {
            s->exhausted = true;
            if (s->run)
                s->run->unwinding = s->run->exhausted = true;
            return NULL;
        }
        s->allocated += size - before;
        if (HF_UNLIKELY(s->allocated > HURRY_BYTES) && s->run) {
            s->allocated = 0;
            lua_sethook(s->thread, run_hook, LUA_MASKCOUNT, 1);
        }
    }
    count_memory(s, size - before);
    return mem_realloc(old, size);
}

size_t script_memory(void)
{
    size_t sum = 0;
    for (unsigned i = 0; i < WORKERS_MAX; i++)
        sum += __atomic_load_n(&states[i].memory, __ATOMIC_RELAXED);
    return sum;
}

static int panic(lua_State *lua)
{
    (void)lua;
    hf_assert(!"an error outside a protected call");
    return 0;
}

static struct state *state_of_lua(lua_State *lua)
{
    lua_pushlightuserdata(lua, &state_mark);
    lua_rawget(lua, LUA_REGISTRYINDEX);
    struct state *s = lua_touserdata(lua, -1);
    lua_pop(lua, 1);
    return s;
}

struct run *state_run(lua_State *lua)
{
    return state_of_lua(lua)->run;
}

lua_State *state_enter_thread(lua_State *lua, lua_State *thread)
{
    struct state *s = state_of_lua(lua);
    lua_State *before = s->thread;
    s->thread = thread;
    return before;
}

void state_hook_again(lua_State *lua)
{
    lua_sethook(lua, run_hook, LUA_MASKCOUNT, HOOK_INSTRUCTIONS);
}

struct state *state_unlimit(lua_State *lua, bool *before)
{
    struct state *s = state_of_lua(lua);
    *before = s->limited;
    s->limited = false;
    return s;
}

bool state_has_room(const struct state *s, size_t more)
{
    size_t limit = script_memory_limit();
    return s->memory <= limit && more <= limit - s->memory;
}

int state_exhaust(lua_State *lua)
{
    struct state *s = state_of_lua(lua);
    s->exhausted = true;
    if (s->run)
        s->run->unwinding = s->run->exhausted = true;
    return run_rethrow(lua);
}

bool state_limit_again(struct state *s, bool before)
{
    s->limited = before;
    return !before || state_has_room(s, 0);
}

int state_pcall(struct state *s, int arguments, int results, int handler)
{
    bool before = s->limited;
    s->limited = true;
    int failed = lua_pcall(s->lua, arguments, results, handler);
    s->limited = before;
    s->thread = s->lua;
    return failed;
}

static void tend_soon(struct state *s)
{
    if (!s->tending)
        s->cycles = 2; /* the one under way may have passed what is garbage now */
    s->tending = true;
}

void state_recover(struct state *s)
{
    if (!s->exhausted)
        return;
    s->exhausted = false;
    tend_soon(s);
    lua_pushnil(s->lua); /* compiled scripts: each is compiled again when it is called */
    lua_setfield(s->lua, LUA_REGISTRYINDEX, "scripts");
}

void state_flush(void) { atomic_fetch_add(&flushes, 1); }

/* What scripts have left behind goes with their state, as in Redis; libraries are loaded again when they are called. */
static void follow_flush(struct state *s)
{
    uint64_t now = atomic_load_explicit(&flushes, memory_order_relaxed);
    if (HF_LIKELY(s->flushes == now) || s->run)
        return;
    s->flushes = now;
    if (!s->lua)
        return;
    if (s->memory > CLOSE_BYTES) {
        tend_soon(s);
        return;
    }
    lua_close(s->lua);
    s->lua = s->thread = NULL;
    s->allocated = s->kept = 0;
    s->generation = s->cache_generation = 0;
    s->exhausted = s->tending = false;
}

/* A collection that nobody's command waits for: a slice each time the worker has nothing else to do. True: there is more. */
bool script_tend(unsigned worker)
{
    struct state *s = &states[worker];
    follow_flush(s);
    if (!s->tending || s->run)
        return false;
    uint64_t began = OS.monotonic_us();
    int step = 64; /* KiB of work, as lua_gc has it */
    do {
        if (lua_gc(s->lua, LUA_GCSTEP, step)) {
            s->tending = --s->cycles > 0;
            if (!s->tending)
                s->kept = s->memory;
        }
    } while (s->tending && OS.monotonic_us() - began < TEND_SLICE_US);
    return s->tending;
}

/* ---- compiling ---- */

bool state_compile(lua_State *lua, bytes code, const char *name)
{
    if (code.size && code.data[0] == LUA_SIGNATURE[0]) {
        lua_pushliteral(lua, "precompiled code is refused");
        return false;
    }
    struct state *s = state_of_lua(lua);
    bool before = s->limited;
    lua_pushstring(lua, name); /* Lua's parser holds on to the name alone, where a collection does not see it */
    s->limited = true;
    int failed = luaL_loadbuffer(lua, (const char *)code.data, code.size, name);
    s->limited = before;
    lua_remove(lua, -2);
    if (!s->run)
        state_recover(s);
    if (failed)
        return false;
    lua_getfield(lua, LUA_REGISTRYINDEX, "globals");
    lua_setfenv(lua, -2);
    return true;
}

bool state_compile_only(lua_State *lua, bytes code)
{
    bool good = state_compile(lua, code, "@user_function");
    if (good)
        lua_pop(lua, 1);
    return good;
}

/* ---- making one ---- */

struct state *state_of(const struct call *c)
{
    struct state *s = &states[c->session->worker];
    follow_flush(s);
    if (s->lua) {
        if (HF_UNLIKELY(s->tending) && !s->run && s->memory > script_memory_limit() / 2)
            lua_gc(s->lua, LUA_GCCOLLECT, 0); /* what the last run left must not fail the next one */
        return s;
    }
    s->lua = lua_newstate(counted_alloc, s);
    hf_assert(s->lua);
    lua_atpanic(s->lua, panic);
    lua_pushlightuserdata(s->lua, &state_mark);
    lua_pushlightuserdata(s->lua, s);
    lua_rawset(s->lua, LUA_REGISTRYINDEX);
    s->thread = s->lua;
    int failed = lua_cpcall(s->lua, sandbox_setup, NULL);
    hf_assert(!failed);
    lua_settop(s->lua, 0);
    state_hook_again(s->lua);
    s->kept = s->memory;
    return s;
}

/* ---- a run ---- */

/* The error gets the place where it happened; a text becomes {err = "ERR text"}. */
static int on_error(lua_State *lua)
{
    lua_Debug where;
    bool found = lua_getstack(lua, 1, &where) && lua_getinfo(lua, "Sl", &where);
    if (found && strcmp(where.what, "C") == 0)
        found = lua_getstack(lua, 2, &where) && lua_getinfo(lua, "Sl", &where);
    if (!lua_istable(lua, 1)) {
        const char *text = lua_tostring(lua, 1);
        lua_pushfstring(lua, "ERR %s", text ? text : lua_typename(lua, lua_type(lua, 1)));
        lua_newtable(lua);
        lua_insert(lua, -2);
        lua_setfield(lua, -2, "err");
        lua_replace(lua, 1);
        lua_settop(lua, 1);
    }
    if (found && !sandbox_is_shared(lua, 1)) {
        lua_pushliteral(lua, "source");
        lua_pushstring(lua, where.source);
        lua_rawset(lua, 1);
        lua_pushliteral(lua, "line");
        lua_pushinteger(lua, where.currentline);
        lua_rawset(lua, 1);
    }
    lua_settop(lua, 1);
    return 1;
}

static void raw_field(lua_State *lua, int index, const char *name)
{
    lua_pushstring(lua, name);
    lua_rawget(lua, index - 1);
}

static void reply_failure(struct state *state, const struct run *run, struct reply *r)
{
    lua_State *lua = state->lua;
    if (!lua_istable(lua, -1)) {
        const char *text = lua_tostring(lua, -1);
        reply_errorf(r, "ERR %s script: %s", text ? text : "unknown error", run->name);
        return;
    }
    raw_field(lua, -1, "err"); /* raw: a metatable's function would run unprotected */
    raw_field(lua, -2, "source");
    raw_field(lua, -3, "line");
    const char *text = lua_tostring(lua, -3), *source = lua_tostring(lua, -2);
    if (!text)
        text = "ERR unknown error";
    if (source && lua_isnumber(lua, -1))
        lua_pushfstring(lua, "%s script: %s, on %s:%d.", text, run->name, source, (int)lua_tointeger(lua, -1));
    else
        lua_pushfstring(lua, "%s script: %s", text, run->name);
    lua_pushliteral(lua, "ignore_error_stats_update");
    lua_rawget(lua, -6);
    reply_error_passed_on(r, bytes_str(lua_tostring(lua, -2)), lua_toboolean(lua, -1));
}

static void killed_reply(struct run *run, struct reply *r)
{
    reply_errorf(r, "ERR Script killed by user with SCRIPT KILL... script: %s, on @user_%s:%d.", run->name,
                 run->is_eval ? "script" : "function", run->killed_line);
}

void run_call(struct state *state, struct run *run, int arguments)
{
    lua_State *lua = state->lua;
    struct call *c = run->script.call;
    int base = lua_gettop(lua) - arguments;
    lua_pushcfunction(lua, on_error);
    lua_insert(lua, base);
    bool failed = state_pcall(state, arguments, 1, base) != 0;
    if (!failed && !run->unwinding)
        failed = !lua_try_to_reply(state, c->reply);
    if (run->killed) {
        killed_reply(run, c->reply);
        script_undo(&run->script);
    } else if (run->exhausted) {
        reply_errorf(c->reply, "ERR not enough memory: more than script-memory-limit (%zu bytes); the script is undone, script: %s",
                     script_memory_limit(), run->name);
        script_undo(&run->script);
    } else if (run->failed) {
        lua_getfield(lua, LUA_REGISTRYINDEX, "failure");
        reply_failure(state, run, c->reply);
    } else if (run->unwinding) {
        /* another attempt: the executor forgets all of this one */
    } else if (failed) {
        reply_failure(state, run, c->reply);
    }
    lua_settop(lua, 0);
}

void run_begin(struct state *state, struct run *run, struct call *c, const char *name)
{
    hf_assert(!state->run);
    script_begin(&run->script, c);
    run->name = name;
    run->resp = 2;
    run->started_us = OS.monotonic_us();
    state->run = run;
    state->thread = state->lua;
    run_time_begin(run);
}

void run_end(struct state *state)
{
    struct run *run = state->run;
    state->run = NULL;
    run_time_end(run);
    state_recover(state);
    if (state->memory > state->kept * 2 + LEFT_BYTES)
        tend_soon(state);
    lua_gc(state->lua, LUA_GCSTEP, 10);
}
