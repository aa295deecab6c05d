/* lua_state.h -- a worker's Lua state, sandbox and memory limit included, with a run that no script stands behind; values from bytes. */
#ifndef HF_FUZZ_LUA_STATE_H
#define HF_FUZZ_LUA_STATE_H

#include "base/assert.h"
#include "cmd/session.h"
#include "script/script.h"

#define FUZZ_MEMORY ((size_t)1 << 20)
#define STACK_MAX 100

static struct run run;

static inline struct state *fuzz_state(void)
{
    static struct session session;
    static const struct call call = {.session = &session};
    script_set_memory_limit(FUZZ_MEMORY);
    struct state *s = state_of(&call);
    run = (struct run){.loading = true, .resp = 2}; /* loading: nobody else to serve, no clock */
    s->run = &run;
    return s;
}

/* The state is as before: nothing on the stack, what was made is garbage. */
static inline void fuzz_state_end(struct state *s)
{
    lua_settop(s->lua, 0);
    state_recover(s);
    s->run = NULL;
    lua_gc(s->lua, LUA_GCCOLLECT, 0);
}

/* Pushes a function of a library as scripts see it. */
static inline void push_function(lua_State *lua, const char *library, const char *name)
{
    lua_getfield(lua, LUA_REGISTRYINDEX, "globals");
    lua_getfield(lua, -1, library);
    lua_getfield(lua, -1, name);
    lua_replace(lua, -3);
    lua_pop(lua, 1);
}

/* ---- bytes that are left to read ---- */

struct source { const uint8_t *at, *end; };

static inline uint8_t next_byte(struct source *in)
{
    return in->at < in->end ? *in->at++ : 0;
}

static inline bytes next_text(struct source *in, size_t most)
{
    size_t size = next_byte(in) % (most + 1), left = (size_t)(in->end - in->at);
    bytes text = bytes_of(in->at, size < left ? size : left);
    in->at += text.size;
    return text;
}

static inline double next_double(struct source *in)
{
    double value = 0;
    if ((size_t)(in->end - in->at) >= sizeof(value)) {
        memcpy(&value, in->at, sizeof(value));
        in->at += sizeof(value);
    }
    return value;
}

/* ---- values ---- */

/* The fields by which convert.c knows what a table is. */
static const char *const known_fields[] = {"err", "ok", "double", "map", "set", "big_number", "verbatim_string", "string", "format",
                                           "ignore_error_stats_update"};

static inline bool is_usable_key(lua_State *lua, int index)
{
    return !lua_isnil(lua, index) && !(lua_type(lua, index) == LUA_TNUMBER && lua_tonumber(lua, index) != lua_tonumber(lua, index));
}

/* A step of building: pushes a value, or puts those on top into a table below them. Stack: base is the first value. */
static inline void build_step(lua_State *lua, struct source *in, int base)
{
    int top = lua_gettop(lua);
    uint8_t step = next_byte(in);
    switch (step % 12) {
    case 0: lua_pushnumber(lua, next_double(in)); break;
    case 1: lua_pushnumber(lua, (int8_t)next_byte(in)); break;
    case 2: case 3: {
        bytes text = next_text(in, 255);
        lua_pushlstring(lua, (const char *)text.data, text.size);
        break;
    }
    case 4: lua_pushboolean(lua, step & 16); break;
    case 5: lua_pushnil(lua); break;
    case 6: lua_newtable(lua); break;
    case 7: lua_pushstring(lua, known_fields[next_byte(in) % (sizeof(known_fields) / sizeof(*known_fields))]); break;
    case 8: lua_pushvalue(lua, base + next_byte(in) % (top - base + 1)); break; /* shared: cycles, too */
    case 9: case 10: /* t[k] = v */
        if (top - base >= 2 && lua_istable(lua, -3) && is_usable_key(lua, -2))
            lua_rawset(lua, -3);
        break;
    default: /* t[#t + 1] = v */
        if (top - base >= 1 && lua_istable(lua, -2))
            lua_rawseti(lua, -2, (int)lua_objlen(lua, -2) + 1);
    }
}

/* Protected (lua_pcall): a light userdata with the source becomes the value that it describes. */
static inline int build_value(lua_State *lua)
{
    struct source *in = lua_touserdata(lua, 1);
    lua_settop(lua, 0);
    luaL_checkstack(lua, STACK_MAX + 8, "too many values");
    lua_newtable(lua);
    while (in->at < in->end && lua_gettop(lua) < STACK_MAX)
        build_step(lua, in, 1);
    for (int top = lua_gettop(lua); top > 1; top--) { /* what is left goes into what is below it */
        if (lua_istable(lua, -2))
            lua_rawseti(lua, -2, (int)lua_objlen(lua, -2) + 1);
        else
            lua_pop(lua, 1);
    }
    return 1;
}

static inline bool push_value(struct state *s, struct source *in)
{
    lua_pushcfunction(s->lua, build_value);
    lua_pushlightuserdata(s->lua, in);
    return state_pcall(s, 1, 1, 0) == 0;
}

#endif
