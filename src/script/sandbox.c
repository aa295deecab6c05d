/* sandbox.c -- what scripts may use of Lua.
 *
 * Allow-list: only names in `allowed` stay among the globals. Tables that all scripts share are
 * reached through empty proxies, whose metatable reads from the real table and refuses writes;
 * Lua 5.1 has no read-only tables of its own. No function hands out the table behind a proxy: those that write into a table
 * without asking its metatable (rawset, table.insert, ...) refuse proxies, those that walk one see through it.
 *
 * pcall, xpcall and what resumes coroutines are wrapped: when the run is unwinding (more locks are needed, a kill, no
 * memory left), they pass the error on, whatever the script wants to do about it.
 */
#include "script/sandbox.h"

#include "script/guards.h"
#include "script/script.h"

#include <lualib.h>
#include <string.h>

#define TEXT_MAX (16u << 20) /* of a chunk that is compiled at run time */
#define LOAD_PIECE_COST 64

static char proxy_mark; /* its address marks the metatables of proxies */

/* ---- protected tables ---- */

#define ORIGINAL 2 /* upvalue of what is wrapped; 1 is the original's own, which finds it there */

void sandbox_wrap(lua_State *lua, const char *name, lua_CFunction around)
{
    lua_getfield(lua, -1, name);
    hf_assert(lua_iscfunction(lua, -1) && !lua_getupvalue(lua, -1, ORIGINAL));
    if (!lua_getupvalue(lua, -1, 1))
        lua_pushnil(lua);
    lua_insert(lua, -2);
    lua_pushcclosure(lua, around, ORIGINAL);
    lua_setfield(lua, -2, name);
}

int sandbox_call_original(lua_State *lua)
{
    int count = lua_tocfunction(lua, lua_upvalueindex(ORIGINAL))(lua);
    while (lua_gettop(lua) > count)
        lua_remove(lua, 1);
    return count;
}

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

bool sandbox_is_shared(lua_State *lua, int index)
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
    if (sandbox_is_shared(lua, 1))
        return raise_error(lua, "Attempt to modify a readonly table");
    lua_settop(lua, 3);
    lua_rawset(lua, 1);
    return 1;
}

/* A protected library shows no metatable; the globals show one that is empty. */
static int safe_getmetatable(lua_State *lua)
{
    luaL_checkany(lua, 1);
    if (!luaL_getmetafield(lua, 1, "__metatable") && !lua_getmetatable(lua, 1))
        lua_pushnil(lua);
    else if (lua_isboolean(lua, -1) && sandbox_is_shared(lua, 1))
        lua_pushnil(lua);
    return 1;
}

/* The iteration functions see the real table behind a proxy. */
static void unwrap(lua_State *lua, int index)
{
    if (!sandbox_is_shared(lua, index))
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
    return sandbox_call_original(lua);
}

/* pairs and ipairs return the table that they walk, so a proxy must stay one. */
static int walk_shared(lua_State *lua)
{
    unwrap(lua, 1);
    lua_settop(lua, 2);
    return lua_next(lua, 1) ? 2 : 0;
}

static int safe_pairs(lua_State *lua)
{
    if (!sandbox_is_shared(lua, 1))
        return sandbox_call_original(lua);
    lua_pushcfunction(lua, walk_shared);
    lua_pushvalue(lua, 1);
    lua_pushnil(lua);
    return 3;
}

void sandbox_refuse_shared(lua_State *lua)
{
    if (sandbox_is_shared(lua, 1))
        raise_error(lua, "Attempt to modify a readonly table");
}

static int refusing_shared(lua_State *lua)
{
    sandbox_refuse_shared(lua);
    return sandbox_call_original(lua);
}

/* ---- errors that nobody may catch ---- */

int run_rethrow(lua_State *lua)
{
    lua_pushliteral(lua, "the script is being unwound");
    return lua_error(lua);
}

/* The results of a protected call are on the stack. */
static int caught(lua_State *lua)
{
    const struct run *run = state_run(lua);
    return run && run->unwinding ? run_rethrow(lua) : lua_gettop(lua);
}

/* xpcall takes no arguments in 5.1; its handler sees the error, but cannot keep it. */
static int safe_xpcall(lua_State *lua)
{
    sandbox_call_original(lua);
    return caught(lua);
}

/* Scripts of old expect of pcall the text of an error, not the table that carries it. */
static int safe_pcall(lua_State *lua)
{
    sandbox_call_original(lua);
    caught(lua);
    if (!lua_toboolean(lua, 1) && lua_istable(lua, 2)) {
        lua_pushliteral(lua, "err");
        lua_rawget(lua, 2);
        if (lua_isstring(lua, -1))
            lua_replace(lua, 2);
        lua_settop(lua, 2);
    }
    return lua_gettop(lua);
}

/* coroutine.resume. The state knows which of its threads runs (state.c). */
static int safe_resume(lua_State *lua)
{
    lua_State *caller = state_enter_thread(lua, lua_isthread(lua, 1) ? lua_tothread(lua, 1) : lua);
    sandbox_call_original(lua);
    state_enter_thread(lua, caller);
    return caught(lua);
}

/* What coroutine.wrap returns; upvalue 1: safe_resume as a function, 2: the coroutine. */
static int wrapped(lua_State *lua)
{
    lua_pushvalue(lua, lua_upvalueindex(2));
    lua_insert(lua, 1);
    lua_pushvalue(lua, lua_upvalueindex(1));
    lua_insert(lua, 1);
    lua_call(lua, lua_gettop(lua) - 1, LUA_MULTRET);
    if (lua_toboolean(lua, 1))
        return lua_gettop(lua) - 1;
    if (lua_isstring(lua, -1)) { /* a text gets the place of the call in front */
        luaL_where(lua, 1);
        lua_insert(lua, -2);
        lua_concat(lua, 2);
    }
    return lua_error(lua);
}

/* Upvalue 1: safe_resume as a function, 2: coroutine.create. */
static int safe_wrap(lua_State *lua)
{
    lua_pushvalue(lua, lua_upvalueindex(1));
    lua_pushvalue(lua, lua_upvalueindex(2));
    lua_pushvalue(lua, 1);
    lua_call(lua, 1, 1);
    lua_pushcclosure(lua, wrapped, 2);
    return 1;
}

/* ---- compiling at run time ---- */

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
    size_t size;
    const char *text = luaL_checklstring(lua, 1, &size);
    if (size > TEXT_MAX)
        return luaL_error(lua, "chunk is too large");
    return compile_text(lua, 1, luaL_optstring(lua, 2, text));
}

static int safe_load(lua_State *lua)
{
    const char *name = luaL_optstring(lua, 2, "=(load)");
    luaL_checktype(lua, 1, LUA_TFUNCTION);
    size_t size = 0, count = 0;
    lua_settop(lua, 2);
    lua_newtable(lua);
    for (;;) {
        run_charge(lua, LOAD_PIECE_COST);
        lua_pushvalue(lua, 1);
        lua_call(lua, 0, 1);
        if (lua_isnil(lua, -1) || (lua_isstring(lua, -1) && lua_objlen(lua, -1) == 0))
            break;
        if (!lua_isstring(lua, -1))
            return luaL_error(lua, "reader function must return a string");
        size += lua_objlen(lua, -1);
        if (size > TEXT_MAX)
            return luaL_error(lua, "chunk is too large");
        lua_rawseti(lua, 3, (int)++count);
    }
    lua_settop(lua, 3);
    luaL_Buffer joined;
    luaL_buffinit(lua, &joined);
    for (size_t i = 1; i <= count; i++) {
        lua_rawgeti(lua, 3, (int)i);
        luaL_addvalue(&joined);
    }
    luaL_pushresult(&joined);
    return compile_text(lua, lua_gettop(lua), name);
}

/* ---- the allow-list ---- */

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

/* "stop" and the like would hold for all later scripts of the worker: they are answered and change nothing. */
static int safe_collectgarbage(lua_State *lua)
{
    const char *what = luaL_optstring(lua, 1, "collect");
    if (strcmp(what, "setpause") == 0 || strcmp(what, "setstepmul") == 0)
        lua_pushinteger(lua, 200);
    else if (strcmp(what, "stop") == 0 || strcmp(what, "restart") == 0)
        lua_pushinteger(lua, 0);
    else
        return sandbox_call_original(lua);
    return 1;
}

static void wrap_coroutines(lua_State *lua)
{
    lua_getglobal(lua, "coroutine");
    sandbox_wrap(lua, "resume", safe_resume);
    lua_getfield(lua, -1, "resume");
    lua_getfield(lua, -2, "create");
    lua_pushcclosure(lua, safe_wrap, 2);
    lua_setfield(lua, -2, "wrap");
    lua_pop(lua, 1);
}

/* Those that write without asking a metatable. And no function's bytecode is of use to anybody. */
static void wrap_tables(lua_State *lua)
{
    static const char *const writers[] = {"remove", "setn"}; /* insert and sort: guards.c */
    lua_getglobal(lua, "table");
    for (size_t i = 0; i < sizeof(writers) / sizeof(*writers); i++)
        sandbox_wrap(lua, writers[i], refusing_shared);
    lua_pop(lua, 1);
    lua_getglobal(lua, "string");
    lua_pushnil(lua);
    lua_setfield(lua, -2, "dump");
    lua_pop(lua, 1);
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

int sandbox_setup(lua_State *lua)
{
    open_all(lua);
    cut_os(lua);
    remove_others(lua);
    lua_pushvalue(lua, LUA_GLOBALSINDEX);
    sandbox_wrap(lua, "pcall", safe_pcall);
    sandbox_wrap(lua, "xpcall", safe_xpcall);
    sandbox_wrap(lua, "setmetatable", refusing_shared);
    lua_pushcfunction(lua, safe_getmetatable);
    lua_setfield(lua, -2, "getmetatable");
    sandbox_wrap(lua, "next", unwrapping);
    sandbox_wrap(lua, "pairs", safe_pairs);
    sandbox_wrap(lua, "rawget", unwrapping);
    sandbox_wrap(lua, "collectgarbage", safe_collectgarbage);
    lua_pushcfunction(lua, safe_rawset);
    lua_setfield(lua, -2, "rawset");
    lua_pushcfunction(lua, safe_loadstring);
    lua_setfield(lua, -2, "loadstring");
    lua_pushcfunction(lua, safe_load);
    lua_setfield(lua, -2, "load");
    lua_pop(lua, 1);
    wrap_coroutines(lua);
    wrap_tables(lua);
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
