/* guards.c -- what Lua 5.1 and its companions leave open, closed.
 *
 * unpack: the number of results overflows an int (CVE-2014-5461 and its kin).
 * bit.tohex: the lowest integer has no positive counterpart; the digits are then written over the stack (CVE-2024-31449).
 * string.find, match, gmatch, gsub: matching recurses for each item of the pattern, without a bound, and cannot be interrupted
 * (pattern.h).
 * string.rep: the result is refused before it is made, not when memory is used up.
 * table.insert: a place far below the first moves every place between. table.sort: without a function of the script's own nothing
 * would look at the clock.
 * cjson: guards_json.c.
 */
#include "script/guards.h"

#include "script/pattern.h"
#include "script/sandbox.h"
#include "script/script.h"

#include <stdatomic.h>
#include <string.h>

#define INSERT_MIN (-4096)
#define REP_PIECE 1024
#define REP_CHARGE ((size_t)64 << 10)
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
    if (size == 0 || count < 0)
        count = 0;
    if (count > 0 && size > script_memory_limit() / (size_t)count)
        return luaL_error(lua, "resulting string too large");
    char piece[REP_PIECE]; /* short texts are joined to pieces first */
    int64_t in_piece = size && size < sizeof(piece) / 2 ? (int64_t)(sizeof(piece) / size) : 1;
    for (int64_t i = 0; i < in_piece && in_piece > 1; i++)
        memcpy(piece + (size_t)i * size, text, size);
    luaL_buffinit(lua, &out);
    for (size_t charged = 0; count >= in_piece; count -= in_piece) {
        luaL_addlstring(&out, in_piece > 1 ? piece : text, size * (size_t)in_piece);
        if ((charged += size * (size_t)in_piece) < REP_CHARGE)
            continue;
        run_charge(lua, charged);
        charged = 0;
    }
    for (; count > 0; count--)
        luaL_addlstring(&out, text, size);
    luaL_pushresult(&out);
    return 1;
}

/* ---- tables ---- */

static int safe_insert(lua_State *lua)
{
    sandbox_refuse_shared(lua);
    if (lua_gettop(lua) == 3 && lua_tonumber(lua, 2) < INSERT_MIN)
        return luaL_error(lua, "position out of bounds");
    return sandbox_call_original(lua);
}

static int compare(lua_State *lua)
{
    run_charge(lua, COMPARE_COST);
    lua_pushboolean(lua, lua_lessthan(lua, 1, 2));
    return 1;
}

static int safe_sort(lua_State *lua)
{
    sandbox_refuse_shared(lua);
    if (lua_istable(lua, 1) && lua_isnoneornil(lua, 2) && lua_objlen(lua, 1) > SORT_PLAIN) {
        lua_settop(lua, 1);
        lua_pushcfunction(lua, compare);
    }
    return sandbox_call_original(lua);
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

void guards_install(lua_State *lua)
{
    lua_pushvalue(lua, LUA_GLOBALSINDEX);
    replace(lua, "unpack", safe_unpack, NULL);
    lua_getfield(lua, -1, "bit");
    replace(lua, "tohex", safe_tohex, &bit_tohex);
    lua_pop(lua, 1);
    lua_getfield(lua, -1, "table");
    sandbox_wrap(lua, "insert", safe_insert);
    sandbox_wrap(lua, "sort", safe_sort);
    lua_pop(lua, 1);
    lua_getfield(lua, -1, "cjson");
    guards_install_json(lua);
    lua_pop(lua, 1);
    lua_getfield(lua, -1, "string");
    replace(lua, "rep", safe_rep, NULL);
    pattern_install(lua);
    lua_pop(lua, 2);
}
