/* guards.c -- what Lua 5.1 and its companions leave open, closed.
 *
 * unpack: the number of results overflows an int (CVE-2014-5461 and its kin).
 * bit.tohex: the lowest integer has no positive counterpart; the digits are then written over the stack (CVE-2024-31449).
 * string.find, match, gmatch, gsub: matching recurses for each item of the pattern, without a bound, and cannot be interrupted
 * (pattern.h).
 * string.rep: the result is refused before it is made, not when memory is used up.
 * table.insert: a place far below the first moves every place between. table.sort: without a function of the script's own nothing
 * would look at the clock.
 * cjson.encode: builds its text outside of the memory that is counted, and ends the process where that text's size overflows.
 * It is measured first.
 */
#include "script/guards.h"

#include "script/pattern.h"
#include "script/script.h"

#include <limits.h>
#include <stdatomic.h>
#include <string.h>

#define ENCODED_MAX ((size_t)256 << 20) /* bytes of a JSON text, each byte of a string taken for the longest escape */
#define MEASURED_DEPTH 1000 /* as deep as encode goes by default */
#define INSERT_MIN (-4096)
#define SORT_PLAIN 512   /* elements that are sorted without a look at the clock */
#define COMPARE_COST 64
#define RESULTS_MAX 7999 /* as Lua's own LUAI_MAXCSTACK allows */

static int safe_unpack(lua_State *lua)
{
    luaL_checktype(lua, 1, LUA_TTABLE);
    int64_t first = luaL_optint(lua, 2, 1);
    int64_t last = lua_isnoneornil(lua, 3) ? (int64_t)lua_objlen(lua, 1) : luaL_checkint(lua, 3);
    if (first > last)
        return 0;
    if (last - first >= RESULTS_MAX || !lua_checkstack(lua, (int)(last - first + 1)))
        return luaL_error(lua, "too many results to unpack");
    for (int64_t i = first; i <= last; i++)
        lua_rawgeti(lua, 1, (int)i);
    return (int)(last - first + 1);
}

static _Atomic(lua_CFunction) bit_tohex; /* the same for every state; each sets it when it is made */

static int safe_tohex(lua_State *lua)
{
    if (lua_isnumber(lua, 2) && lua_tonumber(lua, 2) < -8) {
        lua_settop(lua, 2);
        lua_pushinteger(lua, -8); /* more digits than a number has */
        lua_replace(lua, 2);
    }
    lua_CFunction original = atomic_load(&bit_tohex);
    return original(lua);
}

static int safe_rep(lua_State *lua)
{
    size_t size;
    const char *text = luaL_checklstring(lua, 1, &size);
    int64_t count = luaL_checkint(lua, 2);
    luaL_Buffer out;
    if (count > 0 && size > script_memory_limit() / (size_t)count)
        return luaL_error(lua, "resulting string too large");
    run_charge(lua, count > 0 ? size * (size_t)count : 0);
    luaL_buffinit(lua, &out);
    while (count-- > 0)
        luaL_addlstring(&out, text, size);
    luaL_pushresult(&out);
    return 1;
}

/* ---- tables ---- */

static int safe_insert(lua_State *lua)
{
    if (lua_gettop(lua) == 3 && lua_tonumber(lua, 2) < INSERT_MIN)
        return luaL_error(lua, "position out of bounds");
    lua_pushvalue(lua, lua_upvalueindex(1));
    lua_insert(lua, 1);
    lua_call(lua, lua_gettop(lua) - 1, 0);
    return 0;
}

static int compare(lua_State *lua)
{
    run_charge(lua, COMPARE_COST);
    lua_pushboolean(lua, lua_lessthan(lua, 1, 2));
    return 1;
}

static int safe_sort(lua_State *lua)
{
    if (lua_istable(lua, 1) && lua_isnoneornil(lua, 2) && lua_objlen(lua, 1) > SORT_PLAIN) {
        lua_settop(lua, 1);
        lua_pushcfunction(lua, compare);
    }
    lua_pushvalue(lua, lua_upvalueindex(1));
    lua_insert(lua, 1);
    lua_call(lua, lua_gettop(lua) - 1, 0);
    return 0;
}

/* ---- cjson.encode ---- */

static void measure(lua_State *lua, int index, int depth, size_t *size);

static void refuse_large(lua_State *lua, size_t size)
{
    if (size > ENCODED_MAX || size > script_memory_limit())
        luaL_error(lua, "Cannot serialise, the text would be too large");
}

/* An array with holes is written with a null for each, unless that is refused as excessive. Upvalue 2: encode_sparse_array. */
static void measure_holes(lua_State *lua, size_t items, lua_Number highest, size_t *size)
{
    lua_pushvalue(lua, lua_upvalueindex(2));
    lua_call(lua, 0, 3);
    int ratio = (int)lua_tointeger(lua, -2), safe = (int)lua_tointeger(lua, -1);
    lua_pop(lua, 3);
    if (ratio == 0 || highest <= (lua_Number)items * ratio || highest <= safe)
        *size += (size_t)(highest < INT_MAX ? highest : 0) * sizeof("null");
    refuse_large(lua, *size);
}

static void measure_table(lua_State *lua, int index, int depth, size_t *size)
{
    size_t items = 0;
    lua_Number highest = 0;
    lua_pushnil(lua);
    while (lua_next(lua, index)) {
        int key = lua_gettop(lua) - 1;
        lua_Number number = lua_type(lua, key) == LUA_TNUMBER ? lua_tonumber(lua, key) : 0;
        highest = number > highest ? number : highest;
        items++;
        if (lua_type(lua, key) == LUA_TSTRING)
            measure(lua, key, depth + 1, size);
        else
            *size += 32;
        measure(lua, key + 1, depth + 1, size);
        lua_pop(lua, 1);
    }
    if (highest > (lua_Number)items)
        measure_holes(lua, items, highest, size);
}

/* Adds what the value takes at most. */
static void measure(lua_State *lua, int index, int depth, size_t *size)
{
    run_charge(lua, 32);
    if (lua_type(lua, index) == LUA_TSTRING)
        *size += lua_objlen(lua, index) * sizeof("u0000") + 4;
    else
        *size += 40;
    refuse_large(lua, *size);
    if (lua_type(lua, index) == LUA_TTABLE && lua_checkstack(lua, 8) && depth < MEASURED_DEPTH)
        measure_table(lua, index, depth, size);
}

/* Upvalue 1: the original. */
static int safe_encode(lua_State *lua)
{
    size_t size = 0;
    if (lua_gettop(lua) == 1)
        measure(lua, 1, 0, &size);
    lua_pushvalue(lua, lua_upvalueindex(1));
    lua_insert(lua, 1);
    lua_call(lua, lua_gettop(lua) - 1, 1);
    return 1;
}

/* encode_max_depth with a limit of its own: what is deeper is not measured. Upvalue 1: the original. */
static int safe_max_depth(lua_State *lua)
{
    if (lua_isnumber(lua, 1) && lua_tonumber(lua, 1) > MEASURED_DEPTH)
        return luaL_argerror(lua, 1, "expected integer between 1 and 1000");
    lua_pushvalue(lua, lua_upvalueindex(1));
    lua_insert(lua, 1);
    lua_call(lua, lua_gettop(lua) - 1, 1);
    return 1;
}

/* The library cjson is on top. A second one (cjson.new) would be a way around: there is one. */
static void guard_cjson(lua_State *lua)
{
    lua_getfield(lua, -1, "encode");
    lua_getfield(lua, -2, "encode_sparse_array");
    lua_pushcclosure(lua, safe_encode, 2);
    lua_setfield(lua, -2, "encode");
    lua_getfield(lua, -1, "encode_max_depth");
    lua_pushcclosure(lua, safe_max_depth, 1);
    lua_setfield(lua, -2, "encode_max_depth");
    lua_getfield(lua, -1, "encode_keep_buffer"); /* of the largest text ever */
    lua_pushboolean(lua, 0);
    lua_call(lua, 1, 0);
    lua_pushnil(lua);
    lua_setfield(lua, -2, "new");
}

/* The table is on top. */
static void replace(lua_State *lua, const char *name, lua_CFunction safe, _Atomic(lua_CFunction) *original)
{
    lua_getfield(lua, -1, name);
    bool found = lua_iscfunction(lua, -1);
    if (found && original)
        atomic_store(original, lua_tocfunction(lua, -1));
    lua_pop(lua, 1);
    if (!found)
        return;
    lua_pushcfunction(lua, safe);
    lua_setfield(lua, -2, name);
}

static void wrap_original(lua_State *lua, const char *name, lua_CFunction around)
{
    lua_getfield(lua, -1, name);
    lua_pushcclosure(lua, around, 1);
    lua_setfield(lua, -2, name);
}

void guards_install(lua_State *lua)
{
    lua_pushvalue(lua, LUA_GLOBALSINDEX);
    replace(lua, "unpack", safe_unpack, NULL);
    lua_getfield(lua, -1, "bit");
    replace(lua, "tohex", safe_tohex, &bit_tohex);
    lua_pop(lua, 1);
    lua_getfield(lua, -1, "table");
    wrap_original(lua, "insert", safe_insert);
    wrap_original(lua, "sort", safe_sort);
    lua_pop(lua, 1);
    lua_getfield(lua, -1, "cjson");
    guard_cjson(lua);
    lua_pop(lua, 1);
    lua_getfield(lua, -1, "string");
    replace(lua, "rep", safe_rep, NULL);
    pattern_install(lua);
    lua_pop(lua, 2);
}
