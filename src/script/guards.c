/* guards.c -- what Lua 5.1 and its companions leave open, closed.
 *
 * unpack: the number of results overflows an int (CVE-2014-5461 and its kin).
 * bit.tohex: the lowest integer has no positive counterpart; the digits are then written over the stack (CVE-2024-31449).
 * string.find, match, gmatch, gsub: matching recurses for each item of the pattern, without a bound.
 * string.rep: the result is refused before it is made, not when memory is used up.
 */
#include "script/guards.h"

#include "script/script.h"

#include <stdatomic.h>
#include <string.h>

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
    if (count > 0 && size > SCRIPT_MEMORY_MAX / (size_t)count)
        return luaL_error(lua, "resulting string too large");
    luaL_buffinit(lua, &out);
    while (count-- > 0)
        luaL_addlstring(&out, text, size);
    luaL_pushresult(&out);
    return 1;
}

/* ---- patterns ---- */

enum { FIND, MATCH, GMATCH, GFIND, GSUB, PATTERN_FUNCTIONS };
static _Atomic(lua_CFunction) originals[PATTERN_FUNCTIONS];

static int with_pattern(lua_State *lua, int which)
{
    size_t size;
    const char *pattern = lua_type(lua, 2) == LUA_TSTRING ? lua_tolstring(lua, 2, &size) : NULL;
    bool is_plain = pattern && which == FIND && (lua_toboolean(lua, 4) || !strpbrk(pattern, "^$*+?.([%-"));
    if (pattern && size > PATTERN_MAX && !is_plain)
        return luaL_error(lua, "pattern too complex");
    lua_CFunction original = atomic_load(&originals[which]);
    return original(lua);
}

static int safe_find(lua_State *lua) { return with_pattern(lua, FIND); }
static int safe_match(lua_State *lua) { return with_pattern(lua, MATCH); }
static int safe_gmatch(lua_State *lua) { return with_pattern(lua, GMATCH); }
static int safe_gfind(lua_State *lua) { return with_pattern(lua, GFIND); }
static int safe_gsub(lua_State *lua) { return with_pattern(lua, GSUB); }

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
    lua_getfield(lua, -1, "string");
    replace(lua, "rep", safe_rep, NULL);
    replace(lua, "find", safe_find, &originals[FIND]);
    replace(lua, "match", safe_match, &originals[MATCH]);
    replace(lua, "gmatch", safe_gmatch, &originals[GMATCH]);
    replace(lua, "gfind", safe_gfind, &originals[GFIND]);
    replace(lua, "gsub", safe_gsub, &originals[GSUB]);
    lua_pop(lua, 2);
}
