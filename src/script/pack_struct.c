/* pack_struct.c -- the library `struct`: pack, unpack, size of C-like records, as scripts know it.
 *
 * Format letters: > < = byte order, ! n alignment; b B h H l L i In f d numbers; s a text ended by a zero;
 * cn n bytes (c0: as many as the number before said); x a byte of padding; spaces.
 */
#include "script/script.h"

#include <ctype.h>
#include <stdio.h>

#define INTEGER_MAX  32 /* bytes; of more than eight the others are 0 */
#define COUNT_MAX    (INT32_MAX / 2)

struct format {
    const char *at;
    bool little;
    int align;
};

static bool host_is_little(void) { return __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__; }

static int take_count(lua_State *lua, struct format *f, int otherwise)
{
    if (!isdigit((unsigned char)*f->at))
        return otherwise;
    int value = 0;
    while (isdigit((unsigned char)*f->at)) {
        if (value > (COUNT_MAX - (*f->at - '0')) / 10)
            luaL_error(lua, "integral size overflow");
        value = value * 10 + (*f->at++ - '0');
    }
    return value;
}

/* Bytes of an item; 0: an option without one. */
static size_t item_size(lua_State *lua, struct format *f, char option)
{
    switch (option) {
    case 'b': case 'B': case 'x': return 1;
    case 'h': case 'H': return sizeof(short);
    case 'l': case 'L': return sizeof(long);
    case 'T': return sizeof(size_t);
    case 'f': return sizeof(float);
    case 'd': return sizeof(double);
    case 'c': return (size_t)take_count(lua, f, 1);
    case 'i': case 'I': {
        int size = take_count(lua, f, sizeof(int));
        if (size > INTEGER_MAX)
            luaL_error(lua, "integral size %d is larger than limit of %d", size, INTEGER_MAX);
        return (size_t)size;
    }
    default: return 0;
    }
}

static bool is_setting(lua_State *lua, struct format *f, char option)
{
    switch (option) {
    case ' ': return true;
    case '<': f->little = true; return true;
    case '>': f->little = false; return true;
    case '!': {
        int align = take_count(lua, f, 8);
        if (align < 1 || (align & (align - 1)))
            luaL_error(lua, "alignment %d is not a power of 2", align);
        f->align = align;
        return true;
    }
    default: return false;
    }
}

static size_t padding(size_t position, size_t size, const struct format *f, char option)
{
    if (size < 2 || option == 'c' || option == 'x')
        return 0;
    size_t align = size > (size_t)f->align ? (size_t)f->align : size;
    return align > 1 ? (align - (position & (align - 1))) & (align - 1) : 0;
}

static void put_integer(luaL_Buffer *out, uint64_t value, size_t size, bool little)
{
    for (size_t i = 0; i < size; i++) {
        size_t place = little ? i : size - 1 - i;
        luaL_addchar(out, place < sizeof(value) ? (char)(value >> 8 * place) : 0);
    }
}

static void put_raw(luaL_Buffer *out, const void *data, size_t size, bool little)
{
    const char *from = data;
    for (size_t i = 0; i < size; i++)
        luaL_addchar(out, from[little == host_is_little() ? i : size - 1 - i]);
}

static uint64_t integer_of(lua_State *lua, int index)
{
    lua_Number number = luaL_checknumber(lua, index);
    if (number >= 9223372036854775808.0)
        return number < 18446744073709551616.0 ? (uint64_t)number : UINT64_MAX;
    return number > -9223372036854775808.0 ? (uint64_t)(int64_t)number : (uint64_t)INT64_MIN;
}

static int bad_option(lua_State *lua, char option)
{
    return luaL_argerror(lua, 1, lua_pushfstring(lua, "invalid format option '%c'", option));
}

static int struct_pack(lua_State *lua)
{
    struct format f = {luaL_checkstring(lua, 1), host_is_little(), 1};
    luaL_Buffer out;
    size_t total = 0;
    int argument = 2;
    lua_pushnil(lua); /* what a missing argument is */
    luaL_buffinit(lua, &out);
    while (*f.at) {
        char option = *f.at++;
        if (is_setting(lua, &f, option))
            continue;
        size_t size = item_size(lua, &f, option);
        for (size_t pad = padding(total, size, &f, option); pad > 0; pad--, total++)
            luaL_addchar(&out, 0);
        switch (option) {
        case 'b': case 'B': case 'h': case 'H': case 'l': case 'L': case 'T': case 'i': case 'I':
            put_integer(&out, integer_of(lua, argument++), size, f.little);
            break;
        case 'x':
            luaL_addchar(&out, 0);
            break;
        case 'f': {
            float value = (float)luaL_checknumber(lua, argument++);
            put_raw(&out, &value, size, f.little);
            break;
        }
        case 'd': {
            double value = luaL_checknumber(lua, argument++);
            put_raw(&out, &value, size, f.little);
            break;
        }
        case 'c': case 's': {
            size_t length;
            const char *text = luaL_checklstring(lua, argument++, &length);
            if (option == 's' || size == 0)
                size = length;
            luaL_argcheck(lua, length >= size, argument, "string too short");
            luaL_addlstring(&out, text, size);
            if (option == 's') {
                luaL_addchar(&out, 0);
                size++;
            }
            break;
        }
        default:
            return bad_option(lua, option);
        }
        total += size;
    }
    luaL_pushresult(&out);
    return 1;
}

static uint64_t get_integer(const uint8_t *data, size_t size, bool little)
{
    uint64_t value = 0;
    for (size_t i = 0; i < size; i++)
        value = value << 8 | data[little ? size - 1 - i : i];
    return value;
}

static void push_integer(lua_State *lua, uint64_t value, size_t size, bool is_signed)
{
    if (!is_signed || size == 0) {
        lua_pushnumber(lua, (lua_Number)value);
        return;
    }
    unsigned unused = size < sizeof(value) ? (unsigned)(64 - 8 * size) : 0;
    lua_pushnumber(lua, (lua_Number)((int64_t)(value << unused) >> unused));
}

static void get_raw(const uint8_t *data, void *out, size_t size, bool little)
{
    uint8_t *to = out;
    for (size_t i = 0; i < size; i++)
        to[i] = data[little == host_is_little() ? i : size - 1 - i];
}

static int struct_unpack(lua_State *lua)
{
    struct format f = {luaL_checkstring(lua, 1), host_is_little(), 1};
    size_t data_size;
    const uint8_t *data = (const uint8_t *)luaL_checklstring(lua, 2, &data_size);
    lua_Integer start = luaL_optinteger(lua, 3, 1);
    luaL_argcheck(lua, start != 0, 3, "offset must be 1 or greater");
    size_t at = (size_t)start - 1; /* a negative one: far behind the end */
    int results = 0;
    lua_settop(lua, 2);
    while (*f.at) {
        char option = *f.at++;
        if (is_setting(lua, &f, option))
            continue;
        size_t size = item_size(lua, &f, option);
        size_t pad = padding(at, size, &f, option);
        luaL_argcheck(lua, at <= data_size && pad + size <= data_size - at, 2, "data string too short");
        at += pad;
        luaL_checkstack(lua, 2, "too many results");
        switch (option) {
        case 'b': case 'B': case 'h': case 'H': case 'l': case 'L': case 'T': case 'i': case 'I':
            push_integer(lua, get_integer(data + at, size, f.little), size, islower((unsigned char)option));
            results++;
            break;
        case 'x':
            break;
        case 'f': {
            float value;
            get_raw(data + at, &value, size, f.little);
            lua_pushnumber(lua, value);
            results++;
            break;
        }
        case 'd': {
            double value;
            get_raw(data + at, &value, size, f.little);
            lua_pushnumber(lua, value);
            results++;
            break;
        }
        case 'c':
            if (size == 0) {
                if (!results || !lua_isnumber(lua, -1))
                    luaL_error(lua, "format 'c0' needs a previous size");
                lua_Number wanted = lua_tonumber(lua, -1);
                lua_pop(lua, 1);
                results--;
                luaL_argcheck(lua, wanted >= 0 && wanted <= (lua_Number)(data_size - at), 2, "data string too short");
                size = (size_t)wanted;
            }
            lua_pushlstring(lua, (const char *)data + at, size);
            results++;
            break;
        case 's': {
            const uint8_t *end = memchr(data + at, 0, data_size - at);
            if (!end)
                luaL_error(lua, "unfinished string in data");
            size = (size_t)(end - (data + at)) + 1;
            lua_pushlstring(lua, (const char *)data + at, size - 1);
            results++;
            break;
        }
        default:
            return bad_option(lua, option);
        }
        at += size;
    }
    lua_pushinteger(lua, (lua_Integer)at + 1);
    return results + 1;
}

static int struct_size(lua_State *lua)
{
    struct format f = {luaL_checkstring(lua, 1), host_is_little(), 1};
    size_t at = 0;
    while (*f.at) {
        char option = *f.at++;
        if (is_setting(lua, &f, option))
            continue;
        size_t size = item_size(lua, &f, option);
        if (option == 's' || (option == 'c' && size == 0))
            return luaL_argerror(lua, 1, option == 's' ? "option 's' has no fixed size" : "option 'c0' has no fixed size");
        if (!isalnum((unsigned char)option))
            return bad_option(lua, option); /* letters that mean nothing have no size */
        at += padding(at, size, &f, option) + size;
    }
    lua_pushinteger(lua, (lua_Integer)at);
    return 1;
}

int luaopen_struct(lua_State *lua)
{
    static const luaL_Reg functions[] = {{"pack", struct_pack}, {"unpack", struct_unpack}, {"size", struct_size}, {NULL, NULL}};
    lua_newtable(lua);
    luaL_register(lua, NULL, functions);
    return 1;
}
