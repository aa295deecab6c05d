/* guards_json.c -- cjson within the memory of scripts.
 *
 * It builds texts outside of the memory that is counted, and ends the process where a text's size overflows: what is encoded is
 * measured first. And an error that comes while it allocates, as one of script-memory-limit would, leaves its buffer behind for
 * ever: while it works no allocation is refused (state_unlimit). So what a text may become is measured before it is decoded.
 */
#include "script/guards.h"

#include "script/sandbox.h"
#include "script/script.h"

#include <limits.h>

#define ENCODED_MAX ((size_t)256 << 20) /* bytes of a JSON text, each byte of a string taken for the longest escape */
#define DECODED_MAX ((size_t)1 << 30)
#define MEASURED_DEPTH 1000 /* as deep as encode goes by default */
#define DECODED_DEPTH 8192  /* deeper than there is stack in Lua */

/* What a decoded text takes, at most, but for a table that grows: that holds up to half as much again for the moment. */
#define TABLE_BYTES 96
#define ITEM_BYTES 32   /* of an array, which doubles */
#define PAIR_BYTES 80   /* of a hash, which doubles */
#define STRING_BYTES 48
#define BYTE_COST TABLE_BYTES /* no byte of a text becomes more */

/* Calls the original of upvalue 1 with the arguments that are on the stack: one result. It may take `size` bytes. */
static int call_whole(lua_State *lua, size_t size)
{
    bool limited;
    lua_pushvalue(lua, lua_upvalueindex(1));
    lua_insert(lua, 1);
    struct state *s = state_unlimit(lua, &limited);
    bool fits = !limited || state_has_room(s, size);
    int failed = fits ? lua_pcall(lua, lua_gettop(lua) - 1, 1, 0) : 0;
    fits &= state_limit_again(s, limited);
    if (!fits)
        return state_exhaust(lua);
    if (failed == LUA_ERRRUN) { /* it was called from here: the place is the script's */
        luaL_where(lua, 1);
        lua_insert(lua, -2);
        lua_concat(lua, 2);
    }
    return failed ? lua_error(lua) : 1;
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
    luaL_argcheck(lua, lua_gettop(lua) == 1, 1, "expected 1 argument");
    measure(lua, 1, 0, &size);
    return call_whole(lua, 0);
}

/* ---- cjson.decode ---- */

/* Where a string ends: its quote, or the text's end. */
static const uint8_t *string_end(const uint8_t *at, const uint8_t *end)
{
    while (at < end && *at != '"')
        at += *at == '\\' && end - at > 1 ? 2 : 1;
    return at;
}

/* Memory of what the text becomes. Only its marks count, so it may be no JSON at all. */
static size_t decoded_size(bytes text)
{
    uint64_t is_array[DECODED_DEPTH / 64];
    const uint8_t *end = text.data + text.size, *began;
    size_t size = 0, depth = 0;
    for (const uint8_t *at = text.data; at < end && depth < DECODED_DEPTH; at++) {
        switch (*at) {
        case '"':
            began = at + 1;
            at = string_end(began, end);
            size += STRING_BYTES + (size_t)(at - began);
            break;
        case '[': case '{':
            if (depth % 64 == 0)
                is_array[depth / 64] = 0;
            is_array[depth / 64] &= ~((uint64_t)1 << depth % 64);
            is_array[depth / 64] |= (uint64_t)(*at == '[') << depth % 64;
            depth++;
            size += TABLE_BYTES;
            break;
        case ']': case '}':
            depth -= depth > 0;
            break;
        case ',':
            size += depth && is_array[(depth - 1) / 64] >> (depth - 1) % 64 & 1 ? ITEM_BYTES : 0;
            break;
        case ':':
            size += PAIR_BYTES;
            break;
        default:
            break;
        }
    }
    return size;
}

/* Upvalue 1: the original. */
static int safe_decode(lua_State *lua)
{
    size_t size;
    luaL_argcheck(lua, lua_gettop(lua) == 1, 1, "expected 1 argument");
    const char *text = luaL_checklstring(lua, 1, &size);
    if (size > DECODED_MAX)
        return luaL_error(lua, "the text is too large");
    run_charge(lua, size);
    bool is_small = size < script_memory_limit() / 16 / BYTE_COST;
    return call_whole(lua, is_small ? size * BYTE_COST : decoded_size(bytes_of(text, size)));
}

/* encode_max_depth with a limit of its own: what is deeper is not measured. */
static int safe_max_depth(lua_State *lua)
{
    if (lua_isnumber(lua, 1) && lua_tonumber(lua, 1) > MEASURED_DEPTH)
        return luaL_argerror(lua, 1, "expected integer between 1 and 1000");
    return sandbox_call_original(lua);
}

/* A second library (cjson.new) would be a way around: there is one. */
void guards_install_json(lua_State *lua)
{
    lua_getfield(lua, -1, "encode");
    lua_getfield(lua, -2, "encode_sparse_array");
    lua_pushcclosure(lua, safe_encode, 2);
    lua_setfield(lua, -2, "encode");
    lua_getfield(lua, -1, "decode");
    lua_pushcclosure(lua, safe_decode, 1);
    lua_setfield(lua, -2, "decode");
    sandbox_wrap(lua, "encode_max_depth", safe_max_depth);
    lua_getfield(lua, -1, "encode_keep_buffer"); /* of the largest text ever */
    lua_pushboolean(lua, 0);
    lua_call(lua, 1, 0);
    lua_pushnil(lua);
    lua_setfield(lua, -2, "new");
}
