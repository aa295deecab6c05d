/* fuzz_lua.c -- the libraries of scripts that read and write bytes: cjson, cmsgpack, struct, and payloads of FUNCTION RESTORE.
 *
 * The first byte says which: 'j' a JSON text, 'm' a MessagePack one, 's' a format, a zero and a record, 'v' a program that builds
 * a value, which all of them then write, 'f' libraries. What was read can be written, and what was written can be read, to the
 * same size.
 */
#include "lua_state.h"

#include "rdb/rdb.h"
#include "script/shebang.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Calls library.name with the `arguments` values on top; false: an error, which is dropped. */
static bool call(struct state *s, const char *library, const char *name, int arguments, int results)
{
    lua_State *lua = s->lua;
    push_function(lua, library, name);
    lua_insert(lua, -1 - arguments);
    if (state_pcall(s, arguments, results, 0) == 0)
        return true;
    hf_assert(lua_isstring(lua, -1) || lua_istable(lua, -1));
    lua_pop(lua, 1);
    return false;
}

static void push_bytes(lua_State *lua, bytes text) { lua_pushlstring(lua, (const char *)text.data, text.size); }

/* Writes what is on top and reads that again; false: refused. */
static bool turn_round(struct state *s, const char *library, const char *write, const char *read, size_t *written)
{
    if (!call(s, library, write, 1, 1))
        return false;
    hf_assert(lua_isstring(s->lua, -1));
    *written = lua_objlen(s->lua, -1);
    return call(s, library, read, 1, 1);
}

/* A copy of the value on top. What is too deep for MessagePack is written as nil, which the next writing leaves out: from then on
 * nothing changes. JSON's own numbers of nan and inf are read and not written. */
static void write_and_read(struct state *s, const char *library, const char *write, const char *read, bool is_packed)
{
    size_t first, second, third;
    int top = lua_gettop(s->lua);
    lua_pushvalue(s->lua, -1);
    if (turn_round(s, library, write, read, &first)) {
        bool good = turn_round(s, library, write, read, &second);
        hf_assert(good || run.exhausted);
        good = good && turn_round(s, library, write, read, &third);
        hf_assert(good || run.exhausted);
        hf_assert(!good || !is_packed || second == third);
    }
    lua_settop(s->lua, top);
}

static void json(struct state *s, bytes text)
{
    push_bytes(s->lua, text);
    if (call(s, "cjson", "decode", 1, 1))
        write_and_read(s, "cjson", "encode", "decode", false);
}

static void msgpack(struct state *s, bytes text)
{
    static const char *const limited[] = {"unpack_one", "unpack_limit"};
    lua_State *lua = s->lua;
    for (int i = 0; i < 2; i++) {
        push_bytes(lua, text);
        lua_pushinteger(lua, text.size ? text.data[0] % 16 : 0);
        call(s, "cmsgpack", limited[i], 2, LUA_MULTRET);
        lua_settop(lua, 0);
    }
    push_bytes(lua, text);
    if (!call(s, "cmsgpack", "unpack", 1, LUA_MULTRET))
        return;
    for (; lua_gettop(lua) > 0; lua_pop(lua, 1))
        write_and_read(s, "cmsgpack", "pack", "unpack", true);
}

static void record(struct state *s, bytes in)
{
    lua_State *lua = s->lua;
    const uint8_t *zero = in.size ? memchr(in.data, 0, in.size) : NULL;
    bytes format = bytes_of(in.data, zero ? (size_t)(zero - in.data) : in.size), text = bytes_of(in.data + in.size, 0);
    if (zero)
        text = bytes_of(zero + 1, in.size - format.size - 1);
    lua_Number fixed = -1;
    push_bytes(lua, format);
    if (call(s, "struct", "size", 1, 1)) {
        fixed = lua_tonumber(lua, -1);
        lua_pop(lua, 1);
    }
    push_bytes(lua, format);
    push_bytes(lua, format);
    push_bytes(lua, text);
    if (!call(s, "struct", "unpack", 2, LUA_MULTRET))
        return;
    hf_assert(fixed < 0 || (fixed <= (lua_Number)text.size && lua_tonumber(lua, -1) == fixed + 1));
    lua_pop(lua, 1); /* where the next record would begin */
    if (call(s, "struct", "pack", lua_gettop(lua), 1))
        hf_assert(fixed < 0 || (lua_Number)lua_objlen(lua, -1) == fixed);
}

/* A value that no library has read; its items one by one into a record whose format is in front of it. */
static void value(struct state *s, bytes in)
{
    lua_State *lua = s->lua;
    struct source source = {in.data, in.data + in.size};
    bytes format = next_text(&source, 15);
    if (!push_value(s, &source))
        return;
    write_and_read(s, "cjson", "encode", "decode", false);
    lua_settop(lua, 1);
    write_and_read(s, "cmsgpack", "pack", "unpack", true);
    lua_settop(lua, 1);
    push_bytes(lua, format);
    int count = lua_istable(lua, 1) ? (int)lua_objlen(lua, 1) : 0;
    for (int i = 1; i <= count && i < 50; i++)
        lua_rawgeti(lua, 1, i);
    call(s, "struct", "pack", lua_gettop(lua) - 1, 1);
}

static void first_line(bytes source)
{
    struct shebang flags;
    char error[256];
    bytes code;
    if (shebang_parse(source, &flags, &code, error))
        hf_assert(code.size <= source.size);
    else
        hf_assert(error[0] && memchr(error, 0, sizeof(error)));
}

static void libraries(bytes body)
{
    struct buf source;
    first_line(body);
    buf_init(&source, SIZE_MAX);
    while (body.size) {
        const uint8_t *before = body.data;
        buf_reset(&source);
        if (rdb_read_library(&body, &source) != HF_OK)
            break;
        hf_assert(body.data > before);
        first_line(buf_view(&source));
    }
    buf_release(&source);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    bytes in = bytes_of(data + 1, size - 1);
    struct state *s = fuzz_state();
    if (data[0] == 'j')
        json(s, in);
    else if (data[0] == 'm')
        msgpack(s, in);
    else if (data[0] == 's')
        record(s, in);
    else if (data[0] == 'v')
        value(s, in);
    else if (data[0] == 'f')
        libraries(in);
    fuzz_state_end(s);
    return 0;
}
