/* pattern_library.c -- string.find, match, gmatch, gsub: arguments, results and error texts of Lua 5.1 around pattern.h. */
#include "script/pattern.h"

#include "script/script.h"

#include <limits.h>
#include <string.h>

#define WINDOW ((size_t)1 << 20) /* of a text that is searched without a look at the clock */

static bytes check_text(lua_State *lua, int argument)
{
    size_t size;
    const char *text = luaL_checklstring(lua, argument, &size);
    return bytes_of(text, size);
}

/* ---- captures as values ---- */

/* Of the match from start to end; without captures, the first is all of it. */
static void push_capture(struct pattern *p, int i, size_t start, size_t end)
{
    if (i >= p->capture_count && i > 0)
        luaL_error(p->lua, "invalid capture index");
    size_t size = end - start;
    if (i < p->capture_count) {
        start = p->captures[i].start;
        size = p->captures[i].size;
    }
    if (size == CAPTURE_OPEN)
        luaL_error(p->lua, "unfinished capture");
    if (size == CAPTURE_POSITION)
        lua_pushinteger(p->lua, (lua_Integer)start + 1);
    else
        lua_pushlstring(p->lua, (const char *)p->subject.data + start, size);
}

static int push_captures(struct pattern *p, int count, size_t start, size_t end)
{
    luaL_checkstack(p->lua, count, "too many captures");
    for (int i = 0; i < count; i++)
        push_capture(p, i, start, end);
    return count;
}

static int push_match(struct pattern *p, size_t start, size_t end)
{
    return push_captures(p, p->capture_count ? p->capture_count : 1, start, end);
}

/* ---- find and match ---- */

/* Where the search begins: argument 3, from 1, or from the end below 0. */
static size_t first_place(lua_State *lua, size_t size)
{
    lua_Integer place = luaL_optinteger(lua, 3, 1);
    if (place < 0)
        place += (lua_Integer)size + 1;
    if (place < 1)
        return 0;
    return (size_t)place - 1 < size ? (size_t)place - 1 : size;
}

static bool is_plain(lua_State *lua, bytes text)
{
    return lua_toboolean(lua, 4) || strcspn((const char *)text.data, "^$*+?.([%-") == strlen((const char *)text.data);
}

static int find_plain(lua_State *lua, bytes subject, bytes text, size_t at)
{
    size_t window = text.size < WINDOW / 4 ? WINDOW : text.size * 4;
    for (; text.size <= subject.size - at; at += window) {
        size_t left = subject.size - at, size = window < left - text.size ? window + text.size : left;
        const uint8_t *found = text.size ? memmem(subject.data + at, size, text.data, text.size) : subject.data + at;
        if (found) {
            lua_pushinteger(lua, found - subject.data + 1);
            lua_pushinteger(lua, found - subject.data + (lua_Integer)text.size);
            return 2;
        }
        run_charge(lua, size);
        if (size == left)
            break;
    }
    lua_pushnil(lua);
    return 1;
}

/* The first match from *at on; a pattern that begins with a byte needs no look at others. */
static bool find_match(struct pattern *p, bool anchored, size_t *at, size_t *end)
{
    bytes subject = p->subject;
    int16_t first = anchored ? NO_BYTE : pattern_byte_at(p, 0);
    for (;; ++*at) {
        if (first != NO_BYTE) {
            const uint8_t *found = *at < subject.size ? memchr(subject.data + *at, first, subject.size - *at) : NULL;
            if (!found)
                return false;
            pattern_spend(p, (size_t)(found - subject.data) - *at);
            *at = (size_t)(found - subject.data);
        }
        if (pattern_match(p, anchored, *at, end))
            return true;
        if (anchored || *at >= subject.size)
            return false;
    }
}

static int search(lua_State *lua, bool finds)
{
    struct pattern p;
    bytes subject = check_text(lua, 1), text = check_text(lua, 2);
    size_t at = first_place(lua, subject.size), end;
    if (finds && is_plain(lua, text))
        return find_plain(lua, subject, text, at);
    bool anchored = text.size && text.data[0] == '^';
    pattern_begin(&p, lua, subject, text);
    if (!find_match(&p, anchored, &at, &end)) {
        lua_pushnil(lua);
        return 1;
    }
    if (!finds)
        return push_match(&p, at, end);
    lua_pushinteger(lua, (lua_Integer)at + 1);
    lua_pushinteger(lua, (lua_Integer)end);
    return 2 + push_captures(&p, p.capture_count, at, end);
}

static int string_find(lua_State *lua) { return search(lua, true); }
static int string_match(lua_State *lua) { return search(lua, false); }

/* ---- gmatch ---- */

/* Upvalues: the subject, the pattern, where to go on. */
static int next_match(lua_State *lua)
{
    struct pattern p;
    size_t size, end;
    const char *subject = lua_tolstring(lua, lua_upvalueindex(1), &size);
    bytes given = bytes_of(subject, size);
    const char *text = lua_tolstring(lua, lua_upvalueindex(2), &size);
    pattern_begin(&p, lua, given, bytes_of(text, size));
    size_t at = (size_t)lua_tointeger(lua, lua_upvalueindex(3));
    if (at > given.size || !find_match(&p, false, &at, &end))
        return 0;
    lua_pushinteger(lua, (lua_Integer)end + (end == at)); /* behind an empty match, not there again */
    lua_replace(lua, lua_upvalueindex(3));
    return push_match(&p, at, end);
}

static int string_gmatch(lua_State *lua)
{
    check_text(lua, 1);
    check_text(lua, 2);
    lua_settop(lua, 2);
    lua_pushinteger(lua, 0);
    lua_pushcclosure(lua, next_match, 3);
    return 1;
}

/* ---- gsub ---- */

/* A replacement's text: %1 to %9 are captures, %0 the match, % in front of another byte that byte. */
static void add_text(struct pattern *p, luaL_Buffer *out, size_t start, size_t end)
{
    size_t size;
    const char *text = lua_tolstring(p->lua, 3, &size);
    pattern_spend(p, size);
    for (size_t i = 0; i < size; i++) {
        if (text[i] != '%') {
            luaL_addchar(out, text[i]);
            continue;
        }
        i++; /* at the end: the zero that stands behind every text of Lua */
        if (text[i] == '0') {
            luaL_addlstring(out, (const char *)p->subject.data + start, end - start);
        } else if (text[i] > '0' && text[i] <= '9') {
            push_capture(p, text[i] - '1', start, end);
            luaL_addvalue(out);
        } else {
            luaL_addchar(out, text[i]);
        }
    }
}

/* What the function or table of argument 3 says for the match; false and nil: the match stays. */
static void add_value(struct pattern *p, luaL_Buffer *out, size_t start, size_t end)
{
    lua_State *lua = p->lua;
    if (lua_isfunction(lua, 3)) {
        lua_pushvalue(lua, 3);
        lua_call(lua, push_match(p, start, end), 1);
    } else {
        push_capture(p, 0, start, end);
        lua_gettable(lua, 3);
    }
    if (!lua_toboolean(lua, -1)) {
        lua_pop(lua, 1);
        lua_pushlstring(lua, (const char *)p->subject.data + start, end - start);
    } else if (!lua_isstring(lua, -1)) {
        luaL_error(lua, "invalid replacement value (a %s)", luaL_typename(lua, -1));
    }
    luaL_addvalue(out);
}

static void add_replacement(struct pattern *p, luaL_Buffer *out, size_t start, size_t end)
{
    if (lua_isstring(p->lua, 3))
        add_text(p, out, start, end);
    else
        add_value(p, out, start, end);
}

static int string_gsub(lua_State *lua)
{
    struct pattern p;
    luaL_Buffer out;
    bytes subject = check_text(lua, 1), text = check_text(lua, 2);
    int most = luaL_optint(lua, 4, (int)(subject.size + 1)), count = 0;
    luaL_argcheck(lua, lua_isstring(lua, 3) || lua_isfunction(lua, 3) || lua_istable(lua, 3), 3, "string/function/table expected");
    bool anchored = text.size && text.data[0] == '^';
    size_t at = 0, end;
    lua_settop(lua, 3);
    pattern_begin(&p, lua, subject, text);
    luaL_buffinit(lua, &out);
    while (count < most) {
        bool matched = pattern_match(&p, anchored, at, &end);
        if (matched) {
            count++;
            add_replacement(&p, &out, at, end);
        }
        if (matched && end > at)
            at = end;
        else if (at < subject.size)
            luaL_addchar(&out, (char)subject.data[at++]);
        else
            break;
        if (anchored)
            break;
    }
    luaL_addlstring(&out, (const char *)subject.data + at, subject.size - at);
    luaL_pushresult(&out);
    lua_pushinteger(lua, count);
    return 2;
}

void pattern_install(lua_State *lua)
{
    static const luaL_Reg functions[] = {{"find", string_find}, {"match", string_match}, {"gmatch", string_gmatch},
                                         {"gfind", string_gmatch}, {"gsub", string_gsub}, {NULL, NULL}};
    luaL_register(lua, NULL, functions);
}
