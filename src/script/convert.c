/* convert.c -- replies to Lua values and Lua values to replies, as Redis documents the pairs.
 *
 * Replies arrive as events; a frame per open array or map counts what is still to come, and
 * each finished value goes into the innermost open table.
 */
#include "script/script.h"

#include "base/buf.h"
#include "base/number.h"

#include <math.h>

#define VALUE_COST 32

enum { FRAME_ARRAY, FRAME_MAP, FRAME_SET, FRAME_ATTRIBUTE };

static struct lua_reply *of(struct reply *r) { return (struct lua_reply *)r; /* its first member */ }

void push_error(lua_State *lua, const char *text)
{
    lua_newtable(lua);
    lua_pushstring(lua, text);
    lua_setfield(lua, -2, "err");
}

/* Room for a value of the reply, `size` bytes of text in it; false: the reply is refused, nothing of it is pushed any more. The
 * limit is kept here: no allocation may fail while a command runs (state_unlimit). */
static bool has_room(struct lua_reply *r, size_t size)
{
    if (r->too_deep || r->too_large)
        return false;
    r->too_large = !state_has_room(r->state, size);
    lua_checkstack(r->lua, 8); /* false behind thousands of arguments, where Lua's own reserve does for what is no table */
    return !r->too_large;
}

/* The value on top is complete: into the innermost table, closing those that are full. */
static void finished(struct lua_reply *r)
{
    lua_State *lua = r->lua;
    while (r->depth > 0) {
        struct lua_frame *f = &r->frames[r->depth - 1];
        if (f->kind == FRAME_ARRAY || f->kind == FRAME_ATTRIBUTE) {
            lua_rawseti(lua, -2, ++f->index);
        } else if (f->kind == FRAME_SET) {
            lua_pushboolean(lua, 1);
            lua_rawset(lua, -3);
        } else if (!f->has_key) {
            f->has_key = true;
            return; /* the key stays on the stack until its value is there */
        } else {
            f->has_key = false;
            lua_rawset(lua, -3);
            f->left--;
        }
        if (f->kind != FRAME_MAP)
            f->left--;
        if (f->left > 0)
            return;
        r->depth--;
        if (f->kind == FRAME_ATTRIBUTE) { /* scripts do not see it: the reply follows */
            lua_pop(lua, 1);
            return;
        }
        if (f->kind != FRAME_ARRAY) /* {map = table}, {set = table} */
            lua_setfield(lua, -2, f->kind == FRAME_MAP ? "map" : "set");
    }
}

static void open_table(struct lua_reply *r, size_t count, int kind)
{
    lua_State *lua = r->lua;
    if (!has_room(r, 0) || !lua_checkstack(lua, 8) || r->depth == SCRIPT_DEPTH_MAX) {
        r->too_deep = !r->too_large;
        return;
    }
    if (kind == FRAME_MAP || kind == FRAME_SET)
        lua_newtable(lua);
    lua_createtable(lua, kind == FRAME_ARRAY && count < 4096 ? (int)count : 0, 0);
    r->frames[r->depth++] = (struct lua_frame){.left = count, .kind = kind};
    if (count == 0) {
        r->depth--;
        if (kind != FRAME_ARRAY)
            lua_setfield(lua, -2, kind == FRAME_MAP ? "map" : "set");
        finished(r);
    }
}

static void put_field(struct reply *reply, const char *field, bytes text)
{
    struct lua_reply *r = of(reply);
    if (!has_room(r, text.size))
        return;
    lua_newtable(r->lua);
    lua_pushlstring(r->lua, (const char *)text.data, text.size);
    lua_setfield(r->lua, -2, field);
    finished(r);
}

static void on_simple(struct reply *reply, bytes text) { put_field(reply, "ok", text); }
/* With Redis' own mark: a script that passes the error on does not count it again. */
static void on_error(struct reply *reply, bytes line)
{
    struct lua_reply *r = of(reply);
    if (!has_room(r, line.size))
        return;
    lua_newtable(r->lua);
    lua_pushlstring(r->lua, (const char *)line.data, line.size);
    lua_setfield(r->lua, -2, "err");
    lua_pushboolean(r->lua, true);
    lua_setfield(r->lua, -2, "ignore_error_stats_update");
    finished(r);
}

static void on_integer(struct reply *reply, int64_t value)
{
    if (!has_room(of(reply), 0))
        return;
    lua_pushnumber(of(reply)->lua, (lua_Number)value);
    finished(of(reply));
}

static void on_bulk(struct reply *reply, bytes value)
{
    if (!has_room(of(reply), value.size))
        return;
    lua_pushlstring(of(reply)->lua, value.size ? (const char *)value.data : "", value.size);
    finished(of(reply));
}

static void on_verbatim(struct reply *reply, const char *format3, bytes text)
{
    lua_State *lua = of(reply)->lua;
    if (reply->version < 3) {
        on_bulk(reply, text);
        return;
    }
    if (!has_room(of(reply), text.size))
        return;
    lua_newtable(lua);
    lua_newtable(lua);
    lua_pushlstring(lua, (const char *)text.data, text.size);
    lua_setfield(lua, -2, "string");
    lua_pushlstring(lua, format3, 3);
    lua_setfield(lua, -2, "format");
    lua_setfield(lua, -2, "verbatim_string");
    finished(of(reply));
}

static void on_double(struct reply *reply, double value)
{
    lua_State *lua = of(reply)->lua;
    if (!has_room(of(reply), 0))
        return;
    if (reply->version < 3) {
        char text[40];
        lua_pushlstring(lua, text, number_format_double(text, value));
    } else {
        lua_newtable(lua);
        lua_pushnumber(lua, value);
        lua_setfield(lua, -2, "double");
    }
    finished(of(reply));
}

static void on_number(struct reply *reply, bytes text)
{
    double value = 0;
    if (reply->version >= 3 && number_parse_double(text, &value))
        on_double(reply, value);
    else
        on_bulk(reply, text);
}

static void on_big_number(struct reply *reply, bytes digits)
{
    if (reply->version < 3)
        on_bulk(reply, digits);
    else
        put_field(reply, "big_number", digits);
}

static void on_boolean(struct reply *reply, bool value)
{
    if (!has_room(of(reply), 0))
        return;
    if (reply->version < 3)
        lua_pushnumber(of(reply)->lua, value);
    else
        lua_pushboolean(of(reply)->lua, value);
    finished(of(reply));
}

static void on_null(struct reply *reply)
{
    if (!has_room(of(reply), 0))
        return;
    if (reply->version < 3)
        lua_pushboolean(of(reply)->lua, 0);
    else
        lua_pushnil(of(reply)->lua);
    finished(of(reply));
}

static void on_array(struct reply *reply, size_t count) { open_table(of(reply), count, FRAME_ARRAY); }

static void on_map(struct reply *reply, size_t pairs)
{
    if (reply->version < 3)
        open_table(of(reply), pairs * 2, FRAME_ARRAY);
    else
        open_table(of(reply), pairs, FRAME_MAP);
}

static void on_set(struct reply *reply, size_t count)
{
    open_table(of(reply), count, reply->version < 3 ? FRAME_ARRAY : FRAME_SET);
}

static void on_attribute(struct reply *reply, size_t pairs)
{
    open_table(of(reply), pairs * 2, FRAME_ATTRIBUTE);
}

static const struct reply_ops to_lua = {
    .simple = on_simple, .error = on_error, .integer = on_integer, .bulk = on_bulk, .verbatim = on_verbatim,
    .dbl = on_double, .number = on_number, .boolean = on_boolean, .null = on_null, .null_array = on_null, .array = on_array,
    .map = on_map, .set = on_set, .push = on_array, .attribute = on_attribute, .big_number = on_big_number,
};

void lua_reply_init(struct lua_reply *r, const struct state *s, lua_State *lua, int resp)
{
    *r = (struct lua_reply){.reply = {.ops = &to_lua, .version = resp}, .lua = lua, .state = s};
}

/* ---- the other way ---- */

static bytes text_at(lua_State *lua, int index)
{
    size_t size;
    const char *text = lua_tolstring(lua, index, &size);
    return bytes_of(text, size);
}

/* The raw field of the table on top, if it has the type: pushed. */
static bool push_field(lua_State *lua, const char *name, int type)
{
    lua_pushstring(lua, name);
    lua_rawget(lua, -2);
    if (lua_type(lua, -1) == type)
        return true;
    lua_pop(lua, 1);
    return false;
}

/* The string on top, without line ends: it may be any. */
static void big_number_to_reply(lua_State *lua, struct reply *r)
{
    bytes given = text_at(lua, -1);
    char *line = lua_newuserdata(lua, given.size + 1);
    for (size_t i = 0; i < given.size; i++)
        line[i] = given.data[i] == '\r' || given.data[i] == '\n' ? ' ' : (char)given.data[i];
    r->ops->big_number(r, bytes_of(line, given.size));
    lua_pop(lua, 1);
}

static void array_to_reply(lua_State *lua, struct reply *r, int depth);

static void value_to_reply(lua_State *lua, struct reply *r, int depth);

static void pairs_to_reply(lua_State *lua, struct reply *r, bool is_map, int depth)
{
    size_t count = 0;
    lua_pushnil(lua);
    while (lua_next(lua, -2)) {
        count++;
        lua_pop(lua, 1);
    }
    if (is_map)
        r->ops->map(r, count);
    else
        r->ops->set(r, count);
    lua_pushnil(lua);
    while (lua_next(lua, -2)) {
        lua_pushvalue(lua, -2);
        value_to_reply(lua, r, depth + 1); /* the key's copy */
        if (is_map)
            value_to_reply(lua, r, depth + 1);
        else
            lua_pop(lua, 1);
    }
    lua_pop(lua, 1);
}

/* The table on top. False: it lacks the format or the string, and is still there. */
static bool verbatim_to_reply(lua_State *lua, struct reply *r)
{
    char format[4] = "   "; /* three characters always */
    if (!push_field(lua, "format", LUA_TSTRING))
        return false;
    bytes text = text_at(lua, -1);
    memcpy(format, text.data, text.size < 3 ? text.size : 3);
    lua_pop(lua, 1);
    if (!push_field(lua, "string", LUA_TSTRING))
        return false;
    r->ops->verbatim(r, format, text_at(lua, -1));
    lua_pop(lua, 2);
    return true;
}

/* A table: an error, a status, a RESP3 type by its one field, or an array up to its first nil. */
static void table_to_reply(lua_State *lua, struct reply *r, int depth)
{
    if (push_field(lua, "err", LUA_TSTRING)) {
        bytes text = text_at(lua, -1);
        lua_pushliteral(lua, "ignore_error_stats_update");
        lua_rawget(lua, -3);
        reply_error_passed_on(r, text, lua_toboolean(lua, -1));
        lua_pop(lua, 3);
    } else if (push_field(lua, "ok", LUA_TSTRING)) {
        r->ops->simple(r, text_at(lua, -1));
        lua_pop(lua, 2);
    } else if (push_field(lua, "double", LUA_TNUMBER)) {
        r->ops->dbl(r, lua_tonumber(lua, -1));
        lua_pop(lua, 2);
    } else if (push_field(lua, "map", LUA_TTABLE)) {
        pairs_to_reply(lua, r, true, depth);
        lua_pop(lua, 1);
    } else if (push_field(lua, "set", LUA_TTABLE)) {
        pairs_to_reply(lua, r, false, depth);
        lua_pop(lua, 1);
    } else if (push_field(lua, "big_number", LUA_TSTRING)) {
        big_number_to_reply(lua, r);
        lua_pop(lua, 2);
    } else if (push_field(lua, "verbatim_string", LUA_TTABLE)) {
        if (!verbatim_to_reply(lua, r)) {
            lua_pop(lua, 1);
            array_to_reply(lua, r, depth);
        } else {
            lua_pop(lua, 1);
        }
    } else {
        array_to_reply(lua, r, depth);
    }
}

static void array_to_reply(lua_State *lua, struct reply *r, int depth)
{
    size_t count = 0;
    for (;; count++) {
        lua_rawgeti(lua, -1, (int)count + 1);
        bool end = lua_isnil(lua, -1);
        lua_pop(lua, 1);
        if (end)
            break;
    }
    reply_array(r, count);
    for (size_t i = 1; i <= count; i++) {
        lua_rawgeti(lua, -1, (int)i);
        value_to_reply(lua, r, depth + 1);
    }
    lua_pop(lua, 1);
}

/* Tables may share others, and what is small in memory be endless as a reply: it takes time as any work of the script, and
 * more room than scripts have of memory it does not get. Both may end the run and not return. */
static void charge_value(lua_State *lua, const struct reply *r)
{
    const struct run *run = state_run(lua);
    size_t size = lua_type(lua, -1) == LUA_TSTRING ? lua_objlen(lua, -1) : 0;
    run_charge(lua, size + VALUE_COST);
    if (r->out->size - run->reply_start + size > script_memory_limit())
        state_exhaust(lua);
}

static void value_to_reply(lua_State *lua, struct reply *r, int depth)
{
    if (depth > 0)
        charge_value(lua, r);
    if (depth > SCRIPT_DEPTH_MAX || !lua_checkstack(lua, 8)) {
        reply_error_line(r, "ERR reached lua stack limit");
        lua_pop(lua, 1);
        return;
    }
    switch (lua_type(lua, -1)) {
    case LUA_TSTRING:
        reply_bulk(r, text_at(lua, -1));
        break;
    case LUA_TBOOLEAN:
        if (state_run(lua)->resp == 3)
            r->ops->boolean(r, lua_toboolean(lua, -1));
        else if (lua_toboolean(lua, -1))
            reply_int(r, 1);
        else
            reply_null(r);
        break;
    case LUA_TNUMBER: {
        lua_Number number = lua_tonumber(lua, -1);
        /* As a C cast would, without its undefined cases. */
        int64_t integer = isnan(number) || number >= 9.2233720368547758e18 || number < -9.2233720368547758e18
                              ? INT64_MIN
                              : (int64_t)number;
        reply_int(r, integer);
        break;
    }
    case LUA_TTABLE:
        table_to_reply(lua, r, depth);
        return;
    default:
        reply_null(r);
    }
    lua_pop(lua, 1);
}

static int convert_table(lua_State *lua)
{
    struct reply *r = lua_touserdata(lua, 2);
    lua_settop(lua, 1);
    value_to_reply(lua, r, 0);
    return 0;
}

bool lua_try_to_reply(struct state *s, struct reply *r)
{
    lua_State *lua = s->lua;
    if (!lua_istable(lua, -1)) {
        value_to_reply(lua, r, 0);
        return true;
    }
    s->run->reply_start = r->out->size;
    lua_pushcfunction(lua, convert_table);
    lua_insert(lua, -2);
    lua_pushlightuserdata(lua, r);
    if (!state_pcall(s, 2, 0, 0))
        return true;
    r->out->size = s->run->reply_start;
    return false;
}
