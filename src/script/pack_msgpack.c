/* pack_msgpack.c -- the library `cmsgpack`: MessagePack (msgpack.org's specification) for scripts.
 *
 * A table whose keys are 1..n packs as an array, any other as a map. Whole numbers pack as the smallest
 * integer that holds them, others as a float when that loses nothing, else a double. Reading checks every
 * length against what is there.
 */
#include "script/script.h"

#include <math.h>

#define DEPTH_MAX 16 /* deeper tables pack as nil */

/* ---- packing ---- */

/* What is packed so far: a userdata at a place of the stack, which doubles. Lua owns it, so an error leaks
 * nothing, and the memory of scripts bounds it. (Strings that are put together part by part would be copied
 * as often as there are parts.) */
struct packed {
    lua_State *lua;
    int at;
    uint8_t *bytes;
    size_t size, capacity;
};

static void packed_init(struct packed *out, lua_State *lua)
{
    *out = (struct packed){.lua = lua, .capacity = 256};
    out->bytes = lua_newuserdata(lua, out->capacity);
    out->at = lua_gettop(lua);
}

static void put_bytes(struct packed *out, const void *data, size_t size)
{
    if (size > out->capacity - out->size) {
        size_t capacity = 2 * out->capacity + size;
        uint8_t *more = lua_newuserdata(out->lua, capacity);
        memcpy(more, out->bytes, out->size);
        lua_replace(out->lua, out->at);
        out->bytes = more;
        out->capacity = capacity;
    }
    memcpy(out->bytes + out->size, data, size);
    out->size += size;
}

static void put_byte(struct packed *out, uint8_t byte)
{
    put_bytes(out, &byte, 1);
}

static void put_big(struct packed *out, uint8_t mark, uint64_t value, int size)
{
    put_byte(out, mark);
    for (int i = size - 1; i >= 0; i--)
        put_byte(out, (uint8_t)(value >> 8 * i));
}

/* Sizes of texts, arrays, maps: the short form below `few`, then 8 (texts only), 16, 32 bits. */
static void put_size(struct packed *out, size_t size, uint8_t short_mark, size_t few, uint8_t mark8,
                     uint8_t mark16)
{
    if (size < few)
        put_byte(out, (uint8_t)(short_mark | size));
    else if (mark8 && size <= 0xff)
        put_big(out, mark8, size, 1);
    else if (size <= 0xffff)
        put_big(out, mark16, size, 2);
    else
        put_big(out, (uint8_t)(mark16 + 1), size, 4);
}

static void put_number(struct packed *out, lua_Number number)
{
    if (number != floor(number) || number >= 0x1p63 || number < -0x1p63) {
        float narrow = (float)number;
        uint64_t bits64;
        uint32_t bits32;
        memcpy(&bits64, &number, sizeof(bits64));
        memcpy(&bits32, &narrow, sizeof(bits32));
        if ((lua_Number)narrow == number)
            put_big(out, 0xca, bits32, 4);
        else
            put_big(out, 0xcb, bits64, 8);
        return;
    }
    int64_t value = (int64_t)number;
    if (value >= 0) {
        if (value < 128)
            put_byte(out, (uint8_t)value);
        else if (value <= 0xff)
            put_big(out, 0xcc, (uint64_t)value, 1);
        else if (value <= 0xffff)
            put_big(out, 0xcd, (uint64_t)value, 2);
        else if (value <= 0xffffffff)
            put_big(out, 0xce, (uint64_t)value, 4);
        else
            put_big(out, 0xcf, (uint64_t)value, 8);
    } else if (value >= -32) {
        put_byte(out, (uint8_t)value);
    } else if (value >= INT8_MIN) {
        put_big(out, 0xd0, (uint64_t)value, 1);
    } else if (value >= INT16_MIN) {
        put_big(out, 0xd1, (uint64_t)value, 2);
    } else if (value >= INT32_MIN) {
        put_big(out, 0xd2, (uint64_t)value, 4);
    } else {
        put_big(out, 0xd3, (uint64_t)value, 8);
    }
}

static void put_value(struct packed *out, int index, int depth);

static bool is_array(lua_State *lua, int index, size_t *size)
{
    size_t count = 0, highest = 0;
    lua_pushnil(lua);
    while (lua_next(lua, index)) {
        lua_pop(lua, 1);
        lua_Number key = lua_type(lua, -1) == LUA_TNUMBER ? lua_tonumber(lua, -1) : 0;
        if (key < 1 || key != floor(key) || key > UINT32_MAX) {
            lua_pop(lua, 1);
            return false;
        }
        count++;
        highest = (size_t)key > highest ? (size_t)key : highest;
    }
    *size = count;
    return highest == count;
}

static size_t count_pairs(lua_State *lua, int index)
{
    size_t size = 0;
    lua_pushnil(lua);
    while (lua_next(lua, index)) {
        size++;
        lua_pop(lua, 1);
    }
    return size;
}

static void put_table(struct packed *out, int index, int depth)
{
    lua_State *lua = out->lua;
    size_t size = 0;
    if (is_array(lua, index, &size)) {
        put_size(out, size, 0x90, 16, 0, 0xdc);
        for (size_t i = 1; i <= size; i++) {
            lua_rawgeti(lua, index, (int)i);
            put_value(out, lua_gettop(lua), depth + 1);
            lua_pop(lua, 1);
        }
        return;
    }
    put_size(out, count_pairs(lua, index), 0x80, 16, 0, 0xde);
    lua_pushnil(lua);
    while (lua_next(lua, index)) {
        int value = lua_gettop(lua);
        put_value(out, value - 1, depth + 1);
        put_value(out, value, depth + 1);
        lua_pop(lua, 1);
    }
}

static void put_text(struct packed *out, int index)
{
    size_t size;
    const char *text = lua_tolstring(out->lua, index, &size);
    put_size(out, size, 0xa0, 32, 0xd9, 0xda);
    put_bytes(out, text, size);
}

/* Leaves the stack as it was. */
static void put_value(struct packed *out, int index, int depth)
{
    lua_State *lua = out->lua;
    luaL_checkstack(lua, 12, "the table is too deep");
    switch (lua_type(lua, index)) {
    case LUA_TTABLE:
        if (depth < DEPTH_MAX)
            put_table(out, index, depth);
        else
            put_byte(out, 0xc0);
        break;
    case LUA_TSTRING:
        put_text(out, index);
        break;
    case LUA_TNUMBER:
        put_number(out, lua_tonumber(lua, index));
        break;
    case LUA_TBOOLEAN:
        put_byte(out, lua_toboolean(lua, index) ? 0xc3 : 0xc2);
        break;
    default:
        put_byte(out, 0xc0);
    }
}

static int msgpack_pack(lua_State *lua)
{
    int count = lua_gettop(lua);
    struct packed out;
    if (count == 0)
        return luaL_argerror(lua, 0, "MessagePack pack needs input.");
    packed_init(&out, lua);
    for (int i = 1; i <= count; i++)
        put_value(&out, i, 0);
    lua_pushlstring(lua, (const char *)out.bytes, out.size);
    return 1;
}

/* ---- unpacking ---- */

struct input { const uint8_t *at, *end; };

static uint64_t take_big(lua_State *lua, struct input *in, int size)
{
    uint64_t value = 0;
    if (in->end - in->at < size)
        luaL_error(lua, "Missing bytes in input.");
    for (int i = 0; i < size; i++)
        value = value << 8 | *in->at++;
    return value;
}

static void take_text(lua_State *lua, struct input *in, uint64_t size)
{
    if ((uint64_t)(in->end - in->at) < size)
        luaL_error(lua, "Missing bytes in input.");
    lua_pushlstring(lua, (const char *)in->at, size);
    in->at += size;
}

static void take_value(lua_State *lua, struct input *in, int depth);

static void take_array(lua_State *lua, struct input *in, uint64_t count, int depth)
{
    lua_newtable(lua);
    for (uint64_t i = 1; i <= count; i++) {
        take_value(lua, in, depth + 1);
        lua_rawseti(lua, -2, (int)i);
    }
}

static void take_map(lua_State *lua, struct input *in, uint64_t count, int depth)
{
    lua_newtable(lua);
    for (uint64_t i = 0; i < count; i++) {
        take_value(lua, in, depth + 1);
        if (lua_isnil(lua, -1) || (lua_isnumber(lua, -1) && isnan(lua_tonumber(lua, -1))))
            luaL_error(lua, "Bad data format in input.");
        take_value(lua, in, depth + 1);
        lua_settable(lua, -3);
    }
}

static void push_signed(lua_State *lua, uint64_t value, int size)
{
    unsigned unused = (unsigned)(64 - 8 * size);
    lua_pushnumber(lua, (lua_Number)((int64_t)(value << unused) >> unused));
}

static void take_float(lua_State *lua, struct input *in, int size)
{
    uint64_t bits = take_big(lua, in, size);
    if (size == 4) {
        uint32_t narrow = (uint32_t)bits;
        float value;
        memcpy(&value, &narrow, sizeof(value));
        lua_pushnumber(lua, value);
    } else {
        double value;
        memcpy(&value, &bits, sizeof(value));
        lua_pushnumber(lua, value);
    }
}

static void take_value(lua_State *lua, struct input *in, int depth)
{
    if (depth > SCRIPT_DEPTH_MAX || !lua_checkstack(lua, 8))
        luaL_error(lua, "Bad data format in input.");
    uint8_t mark = (uint8_t)take_big(lua, in, 1);
    if (mark < 0x80) {
        lua_pushnumber(lua, mark);
    } else if (mark >= 0xe0) {
        lua_pushnumber(lua, (int8_t)mark);
    } else if (mark < 0x90) {
        take_map(lua, in, mark & 15, depth);
    } else if (mark < 0xa0) {
        take_array(lua, in, mark & 15, depth);
    } else if (mark < 0xc0) {
        take_text(lua, in, mark & 31);
    } else {
        switch (mark) {
        case 0xc0: lua_pushnil(lua); break;
        case 0xc2: lua_pushboolean(lua, 0); break;
        case 0xc3: lua_pushboolean(lua, 1); break;
        case 0xd9: take_text(lua, in, take_big(lua, in, 1)); break;
        case 0xda: take_text(lua, in, take_big(lua, in, 2)); break;
        case 0xdb: take_text(lua, in, take_big(lua, in, 4)); break;
        case 0xca: take_float(lua, in, 4); break;
        case 0xcb: take_float(lua, in, 8); break;
        case 0xcc: lua_pushnumber(lua, (lua_Number)take_big(lua, in, 1)); break;
        case 0xcd: lua_pushnumber(lua, (lua_Number)take_big(lua, in, 2)); break;
        case 0xce: lua_pushnumber(lua, (lua_Number)take_big(lua, in, 4)); break;
        case 0xcf: lua_pushnumber(lua, (lua_Number)(int64_t)take_big(lua, in, 8)); break; /* as in Redis: beyond 2^63 below 0 */
        case 0xd0: push_signed(lua, take_big(lua, in, 1), 1); break;
        case 0xd1: push_signed(lua, take_big(lua, in, 2), 2); break;
        case 0xd2: push_signed(lua, take_big(lua, in, 4), 4); break;
        case 0xd3: push_signed(lua, take_big(lua, in, 8), 8); break;
        case 0xdc: take_array(lua, in, take_big(lua, in, 2), depth); break;
        case 0xdd: take_array(lua, in, take_big(lua, in, 4), depth); break;
        case 0xde: take_map(lua, in, take_big(lua, in, 2), depth); break;
        case 0xdf: take_map(lua, in, take_big(lua, in, 4), depth); break;
        default: luaL_error(lua, "Bad data format in input.");
        }
    }
}

/* Limit and offset 0: all values. Else the next offset comes first. */
static int unpack(lua_State *lua, lua_Number limit, lua_Number offset)
{
    bool tell_offset = limit != 0 || offset != 0;
    size_t size;
    const uint8_t *data = (const uint8_t *)luaL_checklstring(lua, 1, &size);
    if (offset < 0 || limit < 0)
        return luaL_error(lua, "Invalid request to unpack with offset of %d and limit of %d.", (int)offset, (int)size);
    if (offset > (lua_Number)size)
        return luaL_error(lua, "Start offset %d greater than input length %d.", (int)offset, (int)size);
    struct input in = {data + (size_t)offset, data + size};
    int results = 0;
    if (tell_offset) {
        lua_pushnil(lua);
        results++;
    }
    int place = lua_gettop(lua);
    for (int taken = 0; in.at < in.end && (!tell_offset || taken < limit); taken++, results++) {
        luaL_checkstack(lua, 2, "too many values");
        take_value(lua, &in, 0);
    }
    if (tell_offset) {
        lua_pushnumber(lua, in.at == in.end ? -1 : (lua_Number)(in.at - data));
        lua_replace(lua, place);
    }
    return results;
}

static int msgpack_unpack(lua_State *lua) { return unpack(lua, 0, 0); }
static int msgpack_unpack_one(lua_State *lua) { return unpack(lua, 1, luaL_optnumber(lua, 2, 0)); }
static int msgpack_unpack_limit(lua_State *lua)
{
    return unpack(lua, luaL_checknumber(lua, 2), luaL_optnumber(lua, 3, 0));
}

int luaopen_cmsgpack(lua_State *lua)
{
    static const luaL_Reg functions[] = {{"pack", msgpack_pack}, {"unpack", msgpack_unpack}, {"unpack_one", msgpack_unpack_one},
                                         {"unpack_limit", msgpack_unpack_limit}, {NULL, NULL}};
    lua_newtable(lua);
    luaL_register(lua, NULL, functions);
    return 1;
}
