/* state.c -- a Lua state: what scripts may use of Lua, and how far they may go.
 *
 * Allow-list: only names in `allowed` stay among the globals. Tables that all scripts share are
 * reached through empty proxies, whose metatable reads from the real table and refuses writes;
 * Lua 5.1 has no read-only tables of its own, so rawset is wrapped to refuse proxies, too.
 *
 * pcall, xpcall and coroutine.resume are wrapped: when the run is unwinding (more locks are needed, or
 * a kill), they pass the error on, whatever the script wants to do about it.
 *
 * Memory: the allocator counts and refuses above SCRIPT_MEMORY_MAX, which Lua words as "not enough
 * memory". Time: a hook every HOOK_INSTRUCTIONS (busy.c).
 */
#include "script/guards.h"
#include "script/script.h"

#include "base/memory.h"
#include "cmd/handlers.h"
#include "engine/internal.h"
#include "os/os.h"

#include <lualib.h>
#include <stdlib.h>

#define HOOK_INSTRUCTIONS 50000

static struct state states[WORKERS_MAX];
static char proxy_mark;  /* its address marks the metatables of proxies */
static char state_mark;  /* registry: the struct state */

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
    if (size > before && s->memory + (size - before) > SCRIPT_MEMORY_MAX)
        return NULL;
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

/* ---- protected tables ---- */

static int refuse_write(lua_State *lua)
{
    return luaL_error(lua, "Attempt to modify a readonly table");
}

int raise_error(lua_State *lua, const char *text)
{
    lua_pushfstring(lua, "ERR %s", text);
    push_error(lua, lua_tostring(lua, -1));
    return lua_error(lua);
}

static bool is_proxy(lua_State *lua, int index)
{
    if (!lua_istable(lua, index) || !lua_getmetatable(lua, index))
        return false;
    lua_pushlightuserdata(lua, &proxy_mark);
    lua_rawget(lua, -2);
    bool marked = lua_toboolean(lua, -1);
    lua_pop(lua, 2);
    return marked;
}

/* Stack: the real table -> its proxy. The metatable's __index is the real one (or what is above it). */
static void make_proxy(lua_State *lua, lua_CFunction index)
{
    lua_newtable(lua);
    lua_newtable(lua);
    if (index) {
        lua_pushvalue(lua, -3);
        lua_pushcclosure(lua, index, 1);
    } else {
        lua_pushvalue(lua, -3);
    }
    lua_setfield(lua, -2, "__index");
    lua_pushcfunction(lua, refuse_write);
    lua_setfield(lua, -2, "__newindex");
    if (index) { /* whoever asks for the metatable of the globals gets an empty one that cannot be written */
        lua_newtable(lua);
        make_proxy(lua, NULL);
    } else {
        lua_pushboolean(lua, 0);
    }
    lua_setfield(lua, -2, "__metatable");
    lua_pushlightuserdata(lua, &proxy_mark);
    lua_pushvalue(lua, -4);
    lua_rawset(lua, -3);
    lua_setmetatable(lua, -2);
    lua_remove(lua, -2);
}

void state_protect(lua_State *lua)
{
    make_proxy(lua, NULL);
}

static int read_global(lua_State *lua);

void state_protect_strictly(lua_State *lua)
{
    make_proxy(lua, read_global);
}

/* Reading a global that is none is an error: it is a typing mistake more often than not. */
static int read_global(lua_State *lua)
{
    lua_pushvalue(lua, 2);
    lua_rawget(lua, lua_upvalueindex(1));
    if (lua_isnil(lua, -1)) {
        const char *name = lua_tostring(lua, 2);
        return luaL_error(lua, "Script attempted to access nonexistent global variable '%s'", name ? name : "?");
    }
    return 1;
}

static int safe_rawset(lua_State *lua)
{
    luaL_checktype(lua, 1, LUA_TTABLE);
    luaL_checkany(lua, 2);
    luaL_checkany(lua, 3);
    if (is_proxy(lua, 1))
        return raise_error(lua, "Attempt to modify a readonly table");
    lua_settop(lua, 3);
    lua_rawset(lua, 1);
    return 1;
}

static int safe_setmetatable(lua_State *lua)
{
    if (is_proxy(lua, 1))
        return raise_error(lua, "Attempt to modify a readonly table");
    lua_pushvalue(lua, lua_upvalueindex(1));
    lua_insert(lua, 1);
    lua_call(lua, lua_gettop(lua) - 1, LUA_MULTRET);
    return lua_gettop(lua);
}

/* A protected library shows no metatable; the globals show one that is empty. */
static int safe_getmetatable(lua_State *lua)
{
    luaL_checkany(lua, 1);
    if (!luaL_getmetafield(lua, 1, "__metatable") && !lua_getmetatable(lua, 1))
        lua_pushnil(lua);
    else if (lua_isboolean(lua, -1) && is_proxy(lua, 1))
        lua_pushnil(lua);
    return 1;
}

/* The iteration functions see the real table behind a proxy. */
static void unwrap(lua_State *lua, int index)
{
    if (!is_proxy(lua, index))
        return;
    lua_getmetatable(lua, index);
    lua_pushlightuserdata(lua, &proxy_mark);
    lua_rawget(lua, -2);
    lua_replace(lua, index);
    lua_pop(lua, 1);
}

static int unwrapping(lua_State *lua)
{
    if (lua_gettop(lua) > 0)
        unwrap(lua, 1);
    lua_pushvalue(lua, lua_upvalueindex(1));
    lua_insert(lua, 1);
    lua_call(lua, lua_gettop(lua) - 1, LUA_MULTRET);
    return lua_gettop(lua);
}

/* ---- errors that nobody may catch ---- */

int run_rethrow(lua_State *lua)
{
    lua_pushliteral(lua, "the script is being unwound");
    return lua_error(lua);
}

static int catching(lua_State *lua)
{
    lua_pushvalue(lua, lua_upvalueindex(1));
    lua_insert(lua, 1);
    lua_call(lua, lua_gettop(lua) - 1, LUA_MULTRET);
    const struct run *run = state_run(lua);
    if (run && run->unwinding)
        return run_rethrow(lua);
    /* scripts of old expect the text of an error, not the table that carries it */
    if (!lua_toboolean(lua, 1) && lua_istable(lua, 2)) {
        lua_pushliteral(lua, "err");
        lua_rawget(lua, 2);
        if (lua_isstring(lua, -1))
            lua_replace(lua, 2);
        lua_settop(lua, 2);
    }
    return lua_gettop(lua);
}

/* xpcall takes no arguments in 5.1; its handler sees the error, but cannot keep it. */
static void wrap(lua_State *lua, const char *name, lua_CFunction around)
{
    lua_getfield(lua, -1, name);
    lua_pushcclosure(lua, around, 1);
    lua_setfield(lua, -2, name);
}

/* ---- compiling ---- */

bool state_compile(lua_State *lua, bytes code, const char *name)
{
    if (code.size && code.data[0] == LUA_SIGNATURE[0]) {
        lua_pushliteral(lua, "precompiled code is refused");
        return false;
    }
    if (luaL_loadbuffer(lua, (const char *)code.data, code.size, name))
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

/* loadstring(text [, name]) and load(reader [, name]): text only, and the protected globals. */
static int compile_text(lua_State *lua, int text, const char *name)
{
    size_t size;
    const char *code = lua_tolstring(lua, text, &size);
    if (state_compile(lua, bytes_of(code, size), name))
        return 1;
    lua_pushnil(lua);
    lua_insert(lua, -2);
    return 2;
}

static int safe_loadstring(lua_State *lua)
{
    const char *text = luaL_checkstring(lua, 1);
    return compile_text(lua, 1, luaL_optstring(lua, 2, text));
}

static int safe_load(lua_State *lua)
{
    const char *name = luaL_optstring(lua, 2, "=(load)");
    luaL_checktype(lua, 1, LUA_TFUNCTION);
    lua_pushliteral(lua, "");
    int text = lua_gettop(lua);
    for (;;) {
        lua_pushvalue(lua, 1);
        lua_call(lua, 0, 1);
        if (lua_isnil(lua, -1) || (lua_isstring(lua, -1) && lua_objlen(lua, -1) == 0))
            break;
        if (!lua_isstring(lua, -1))
            return luaL_error(lua, "reader function must return a string");
        lua_concat(lua, 2);
    }
    lua_settop(lua, text);
    return compile_text(lua, text, name);
}

/* ---- making one ---- */

static const char *const allowed[] = {
    "_VERSION", "assert", "collectgarbage", "coroutine", "error", "gcinfo", "getmetatable", "ipairs", "load", "loadstring",
    "math", "next", "pairs", "pcall", "rawequal", "rawget", "rawset", "select", "setmetatable", "string", "table", "tonumber",
    "tostring", "type", "unpack", "xpcall", "cjson", "cmsgpack", "struct", "bit", "os", "redis", "server", "_G",
};

static bool is_allowed(const char *name)
{
    for (size_t i = 0; i < sizeof(allowed) / sizeof(allowed[0]); i++) {
        if (strcmp(allowed[i], name) == 0)
            return true;
    }
    return false;
}

static void open_library(lua_State *lua, const char *name, lua_CFunction open)
{
    lua_pushcfunction(lua, open);
    lua_pushstring(lua, name);
    lua_call(lua, 1, 1);
    if (lua_istable(lua, -1)) {
        lua_setglobal(lua, name);
    } else {
        lua_pop(lua, 1);
    }
}

/* os keeps its clock only: everything else of it is the host's. */
static void cut_os(lua_State *lua)
{
    lua_getglobal(lua, "os");
    lua_newtable(lua);
    lua_getfield(lua, -2, "clock");
    lua_setfield(lua, -2, "clock");
    lua_setglobal(lua, "os");
    lua_pop(lua, 1);
}

static void remove_others(lua_State *lua)
{
    lua_pushnil(lua);
    while (lua_next(lua, LUA_GLOBALSINDEX)) {
        lua_pop(lua, 1);
        if (lua_type(lua, -1) == LUA_TSTRING && is_allowed(lua_tostring(lua, -1)))
            continue;
        lua_pushvalue(lua, -1);
        lua_pushnil(lua);
        lua_rawset(lua, LUA_GLOBALSINDEX); /* assigning nil to a present field is allowed in a walk */
    }
}

static void protect_libraries(lua_State *lua)
{
    static const char *const tables[] = {"string", "table", "math", "coroutine", "os", "cjson", "cmsgpack", "struct", "bit", "redis", "server"};
    for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
        lua_getglobal(lua, tables[i]);
        state_protect(lua);
        lua_setglobal(lua, tables[i]);
    }
    /* the metatable of strings would be a way to the real string table */
    lua_pushliteral(lua, "");
    lua_getmetatable(lua, -1);
    lua_getglobal(lua, "string");
    lua_setfield(lua, -2, "__index");
    lua_newtable(lua);
    lua_getglobal(lua, "string");
    lua_setfield(lua, -2, "__index");
    state_protect(lua);
    lua_setfield(lua, -2, "__metatable");
    lua_pop(lua, 2);
}

static void open_all(lua_State *lua)
{
    open_library(lua, "", luaopen_base);
    open_library(lua, "table", luaopen_table);
    open_library(lua, "string", luaopen_string);
    open_library(lua, "math", luaopen_math);
    open_library(lua, "os", luaopen_os);
    open_library(lua, "cjson", luaopen_cjson);
    open_library(lua, "cmsgpack", luaopen_cmsgpack);
    open_library(lua, "struct", luaopen_struct);
    open_library(lua, "bit", luaopen_bit);
    api_open(lua);
    guards_install(lua);
}

static int setup(lua_State *lua)
{
    open_all(lua);
    cut_os(lua);
    remove_others(lua);
    lua_pushvalue(lua, LUA_GLOBALSINDEX);
    wrap(lua, "pcall", catching);
    wrap(lua, "xpcall", catching);
    wrap(lua, "setmetatable", safe_setmetatable);
    lua_pushcfunction(lua, safe_getmetatable);
    lua_setfield(lua, -2, "getmetatable");
    wrap(lua, "next", unwrapping);
    wrap(lua, "pairs", unwrapping);
    wrap(lua, "ipairs", unwrapping);
    lua_pushcfunction(lua, safe_rawset);
    lua_setfield(lua, -2, "rawset");
    lua_pushcfunction(lua, safe_loadstring);
    lua_setfield(lua, -2, "loadstring");
    lua_pushcfunction(lua, safe_load);
    lua_setfield(lua, -2, "load");
    lua_pop(lua, 1);
    lua_getglobal(lua, "coroutine");
    wrap(lua, "resume", catching);
    lua_pop(lua, 1);
    protect_libraries(lua);
    /* scripts see the globals through a proxy; _G is that proxy as well */
    lua_pushvalue(lua, LUA_GLOBALSINDEX);
    lua_pushvalue(lua, LUA_GLOBALSINDEX);
    make_proxy(lua, read_global);
    lua_pushvalue(lua, -1);
    lua_setfield(lua, -3, "_G");
    lua_setfield(lua, LUA_REGISTRYINDEX, "globals");
    lua_pop(lua, 1);
    return 0;
}

struct state *state_of(const struct call *c)
{
    struct state *s = &states[c->session->worker];
    if (s->lua)
        return s;
    s->lua = lua_newstate(counted_alloc, s);
    hf_assert(s->lua);
    lua_atpanic(s->lua, panic);
    lua_pushlightuserdata(s->lua, &state_mark);
    lua_pushlightuserdata(s->lua, s);
    lua_rawset(s->lua, LUA_REGISTRYINDEX);
    int failed = lua_cpcall(s->lua, setup, NULL);
    hf_assert(!failed);
    lua_settop(s->lua, 0);
    lua_sethook(s->lua, run_hook, LUA_MASKCOUNT, HOOK_INSTRUCTIONS);
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
    if (found) {
        lua_pushstring(lua, where.source);
        lua_setfield(lua, 1, "source");
        lua_pushinteger(lua, where.currentline);
        lua_setfield(lua, 1, "line");
    }
    lua_settop(lua, 1);
    return 1;
}

static void reply_failure(struct state *state, const struct run *run, struct reply *r)
{
    lua_State *lua = state->lua;
    if (!lua_istable(lua, -1)) {
        const char *text = lua_tostring(lua, -1);
        reply_errorf(r, "ERR %s script: %s", text ? text : "unknown error", run->name);
        return;
    }
    lua_getfield(lua, -1, "err");
    lua_getfield(lua, -2, "source");
    lua_getfield(lua, -3, "line");
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
    reply_errorf(r, "ERR Error running script (call to %s): Script killed by user with %s.", run->name,
                 run->is_eval ? "SCRIPT KILL" : "FUNCTION KILL");
}

void run_call(struct state *state, struct run *run, int arguments)
{
    lua_State *lua = state->lua;
    struct call *c = run->script.call;
    int base = lua_gettop(lua) - arguments;
    lua_pushcfunction(lua, on_error);
    lua_insert(lua, base);
    int failed = lua_pcall(lua, arguments, 1, base);
    if (run->killed) {
        killed_reply(run, c->reply);
        script_undo(&run->script);
    } else if (run->failed) {
        lua_getfield(lua, LUA_REGISTRYINDEX, "failure");
        reply_failure(state, run, c->reply);
    } else if (run->unwinding) {
        /* another attempt: the executor forgets all of this one */
    } else if (failed) {
        reply_failure(state, run, c->reply);
    } else {
        lua_to_reply(lua, c->reply);
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
    run_time_begin(run);
}

void run_end(struct state *state)
{
    struct run *run = state->run;
    state->run = NULL;
    run_time_end(run);
    lua_gc(state->lua, LUA_GCSTEP, 10);
}
