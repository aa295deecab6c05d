/* pattern_twin.h -- string.find and its kin as scripts have them, beside Lua's own: one call of both, and equal results.
 *
 * Two states that live as long as the program: ours with its sandbox (its functions are in registry.globals), and one of Lua as it is.
 * A call that takes ours more than its share of steps is not made of the other, which cannot be interrupted.
 */
#ifndef HF_TEST_PATTERN_TWIN_H
#define HF_TEST_PATTERN_TWIN_H

#include "base/assert.h"
#include "base/buf.h"
#include "cmd/session.h"
#include "os/os.h"
#include "script/script.h"

#include <lualib.h>
#include <stdio.h>

enum twin_call { TWIN_FIND, TWIN_FIND_PLAIN, TWIN_MATCH, TWIN_GMATCH, TWIN_GSUB_TEXT, TWIN_GSUB_TABLE, TWIN_GSUB_FUNCTION, TWIN_CALLS };

#define TWIN_PATIENCE_US 30000

/* gmatch: what its first hundred rounds say, in one list. */
static const char twin_walk[] =
    "local subject, pattern, gmatch = ... local all, step = {}, gmatch(subject, pattern)"
    "for i = 1, 100 do local found = {step()} if #found == 0 then break end"
    "  for k = 1, #found do all[#all + 1] = found[k] end all[#all + 1] = '|' end return unpack(all, 1, 200)";
static const char twin_function[] =
    "local a, b = ... if a == 'a' then return nil elseif a == 'b' then return false elseif a == 'cc' then return {} end "
    "return '<' .. a .. (b and ',' .. b or '') .. '>'";

static struct run twin_run;

static inline struct state *twin_ours(void)
{
    static struct session session;
    static const struct call call = {.session = &session};
    return state_of(&call);
}

static inline lua_State *twin_original(void)
{
    static lua_State *lua;
    if (!lua) {
        lua = luaL_newstate();
        hf_assert(lua);
        luaL_openlibs(lua);
    }
    return lua;
}

static inline void twin_push_function(lua_State *lua, const char *name, bool ours)
{
    if (ours)
        lua_getfield(lua, LUA_REGISTRYINDEX, "globals");
    else
        lua_pushvalue(lua, LUA_GLOBALSINDEX);
    lua_getfield(lua, -1, "string");
    lua_getfield(lua, -1, name);
    lua_replace(lua, -3);
    lua_pop(lua, 1);
}

static inline void twin_push_table(lua_State *lua)
{
    lua_newtable(lua);
    lua_pushliteral(lua, "[A]");
    lua_setfield(lua, -2, "a");
    lua_pushinteger(lua, 7);
    lua_setfield(lua, -2, "b");
    lua_pushboolean(lua, 0);
    lua_setfield(lua, -2, "ab");
    lua_pushboolean(lua, 1);
    lua_setfield(lua, -2, "c");
    lua_pushliteral(lua, "first");
    lua_rawseti(lua, -2, 1);
}

static inline void twin_push_text(lua_State *lua, bytes text) { lua_pushlstring(lua, text.size ? (const char *)text.data : "", text.size); }

/* Pushes the function and its arguments; the number of these. */
static inline int twin_push_call(lua_State *lua, bool ours, enum twin_call call, bytes subject, bytes pattern, bytes extra, int number)
{
    static const char *const names[TWIN_CALLS] = {"find", "find", "match", "gmatch", "gsub", "gsub", "gsub"};
    if (call == TWIN_GMATCH) {
        int failed = luaL_loadbuffer(lua, twin_walk, sizeof(twin_walk) - 1, "=walk");
        hf_assert(!failed);
    } else {
        twin_push_function(lua, names[call], ours);
    }
    twin_push_text(lua, subject);
    twin_push_text(lua, pattern);
    if (call == TWIN_GMATCH) {
        twin_push_function(lua, "gmatch", ours);
        return 3;
    }
    if (call == TWIN_GSUB_TEXT) {
        twin_push_text(lua, extra);
    } else if (call == TWIN_GSUB_TABLE) {
        twin_push_table(lua);
    } else if (call == TWIN_GSUB_FUNCTION) {
        int failed = luaL_loadbuffer(lua, twin_function, sizeof(twin_function) - 1, "=function");
        hf_assert(!failed);
    }
    if (call >= TWIN_GSUB_TEXT || call == TWIN_FIND || call == TWIN_MATCH) {
        if (number == 0)
            return call >= TWIN_GSUB_TEXT ? 3 : 2;
        lua_pushinteger(lua, call >= TWIN_GSUB_TEXT && number < 0 ? -number : number);
        return call >= TWIN_GSUB_TEXT ? 4 : 3;
    }
    lua_pushinteger(lua, number ? number : 1);
    lua_pushboolean(lua, 1);
    return 4;
}

/* The values on the stack as text, with their types. */
static inline void twin_write(lua_State *lua, struct buf *out)
{
    for (int i = 1; i <= lua_gettop(lua); i++) {
        size_t size;
        buf_printf(out, "%s ", luaL_typename(lua, i));
        const char *text = lua_tolstring(lua, i, &size);
        if (text)
            buf_append(out, text, size);
        buf_printf(out, "\n");
    }
}

/* False: they differ, and both results are in ours and theirs. */
static inline bool twin_agrees(enum twin_call call, bytes subject, bytes pattern, bytes extra, int number, struct buf *ours, struct buf *theirs)
{
    struct state *s = twin_ours();
    lua_State *original = twin_original();
    buf_reset(ours);
    buf_reset(theirs);
    twin_run = (struct run){.loading = true, .resp = 2};
    s->run = &twin_run;
    uint64_t began = OS.monotonic_us();
    twin_run.started_us = began;
    int failed = state_pcall(s, twin_push_call(s->lua, true, call, subject, pattern, extra, number), LUA_MULTRET, 0);
    twin_write(s->lua, ours);
    lua_settop(s->lua, 0);
    s->run = NULL;
    if (twin_run.unwinding || OS.monotonic_us() - began > TWIN_PATIENCE_US)
        return true;
    int failed_there = lua_pcall(original, twin_push_call(original, false, call, subject, pattern, extra, number), LUA_MULTRET, 0);
    twin_write(original, theirs);
    lua_settop(original, 0);
    return (failed != 0) == (failed_there != 0) && bytes_equal(buf_view(ours), buf_view(theirs));
}

#endif
