/* api.c -- the table `redis` (also `server`) of scripts. */
#include "script/script.h"

#include "base/memory.h"
#include "base/number.h"
#include "cmd/acl_user.h"
#include "cmd/args.h"
#include "os/os.h"

#include <math.h>
#include <stdio.h>

#define CALL_WORDS_MAX (1 << 20)

/* ---- redis.call and redis.pcall ---- */

/* Numbers as Lua itself would print them, whole ones without an exponent. */
static const char *word_of(lua_State *lua, int index, size_t *size)
{
    if (lua_type(lua, index) == LUA_TNUMBER) {
        char text[64];
        lua_Number number = lua_tonumber(lua, index);
        if (number == floor(number) && fabs(number) < 1e17)
            snprintf(text, sizeof(text), "%.0f", number);
        else
            snprintf(text, sizeof(text), "%.17g", number);
        lua_pushstring(lua, text);
        lua_replace(lua, index);
    }
    return lua_type(lua, index) == LUA_TSTRING ? lua_tolstring(lua, index, size) : NULL;
}

/* The table on top is an error: raised, with call; returned, with pcall. */
static int error_result(lua_State *lua, bool raise)
{
    return raise ? lua_error(lua) : 1;
}

/* Strict: the error on top ends the script, whoever would catch it. */
static int give_up(lua_State *lua, struct run *run)
{
    run->failed = run->unwinding = true;
    lua_setfield(lua, LUA_REGISTRYINDEX, "failure");
    lua_pushliteral(lua, "the script is being unwound");
    return lua_error(lua);
}

static int run_command(lua_State *lua, bool raise)
{
    struct run *run = state_run(lua);
    int argc = lua_gettop(lua);
    if (!run || run->loading) {
        push_error(lua, "ERR redis.call can only be called inside a script invocation");
        return error_result(lua, raise);
    }
    if (argc == 0) {
        push_error(lua, "ERR Please specify at least one argument for this redis lib call");
        return error_result(lua, raise);
    }
    bytes *argv = lua_newuserdata(lua, (size_t)argc * sizeof(*argv)); /* collected, should an error pass by */
    for (int i = 0; i < argc; i++) {
        size_t size = 0;
        const char *text = word_of(lua, i + 1, &size);
        if (!text) {
            push_error(lua, "ERR Lua redis lib command arguments must be strings or integers");
            return error_result(lua, raise);
        }
        argv[i] = bytes_of(text, size);
    }
    struct lua_reply *reply = lua_newuserdata(lua, sizeof(*reply));
    int before = lua_gettop(lua);
    bool limited; /* a command holds locks and memory while it replies: no error passes through it */
    struct state *s = state_unlimit(lua, &limited);
    lua_reply_init(reply, s, lua, run->resp);
    enum script_step step = script_call(&run->script, argv, (size_t)argc, &reply->reply);
    bool fits = state_limit_again(s, limited);
    if (step == SCRIPT_RESTART) {
        run->unwinding = true;
        lua_pushliteral(lua, "the script runs again");
        return lua_error(lua);
    }
    if (!fits || reply->too_large)
        return state_exhaust(lua);
    hf_assert(lua_gettop(lua) == before + 1 || reply->too_deep);
    if (reply->too_deep)
        return raise_error(lua, "the reply is nested too deeply");
    if (!reply->reply.errors || !lua_istable(lua, -1))
        return 1;
    lua_pushliteral(lua, "err"); /* an array may hold errors and is none itself */
    lua_rawget(lua, -2);
    bool is_error = lua_isstring(lua, -1);
    lua_pop(lua, 1);
    if (is_error && run->script.session.strict)
        return give_up(lua, run);
    return is_error ? error_result(lua, raise) : 1;
}

static int api_call(lua_State *lua) { return run_command(lua, true); }
static int api_pcall(lua_State *lua) { return run_command(lua, false); }

/* ---- the rest ---- */

static int one_text(lua_State *lua, const char *field)
{
    if (lua_gettop(lua) != 1 || lua_type(lua, 1) != LUA_TSTRING) {
        push_error(lua, "ERR wrong number or type of arguments");
        return 1;
    }
    lua_newtable(lua);
    lua_pushvalue(lua, 1);
    lua_setfield(lua, -2, field);
    return 1;
}

/* A text of one word has no error code and gets ERR; a leading minus is allowed. */
static int api_error_reply(lua_State *lua)
{
    if (lua_gettop(lua) != 1 || lua_type(lua, 1) != LUA_TSTRING)
        return one_text(lua, "err");
    size_t size;
    const char *text = lua_tolstring(lua, 1, &size);
    bool minus = size > 0 && text[0] == '-';
    lua_newtable(lua);
    if (strchr(text, ' '))
        lua_pushlstring(lua, text + minus, size - minus);
    else
        lua_pushfstring(lua, "ERR %s", text + minus);
    lua_setfield(lua, -2, "err");
    return 1;
}

static int api_status_reply(lua_State *lua) { return one_text(lua, "ok"); }

static int api_sha1hex(lua_State *lua)
{
    char hex[SHA1_TEXT + 1];
    size_t size;
    if (lua_gettop(lua) != 1)
        return raise_error(lua, "wrong number of arguments");
    const char *text = lua_tolstring(lua, 1, &size);
    sha1_hex(text ? bytes_of(text, size) : BYTES(""), hex);
    lua_pushstring(lua, hex);
    return 1;
}

static int api_log(lua_State *lua)
{
    int count = lua_gettop(lua);
    if (count < 2)
        return raise_error(lua, "redis.log() requires two arguments or more.");
    if (!lua_isnumber(lua, 1))
        return raise_error(lua, "First argument must be a number (log level).");
    int level = (int)lua_tonumber(lua, 1);
    if (level < 0 || level > 3)
        return raise_error(lua, "Invalid debug level.");
    luaL_Buffer text;
    luaL_buffinit(lua, &text);
    for (int i = 2; i <= count; i++) {
        if (i > 2)
            luaL_addchar(&text, ' ');
        size_t size;
        const char *word = lua_tolstring(lua, i, &size);
        if (word)
            luaL_addlstring(&text, word, size);
    }
    luaL_pushresult(&text);
    if (host->log_line)
        host->log_line(level, lua_tostring(lua, -1));
    return 0;
}

static int api_setresp(lua_State *lua)
{
    if (lua_gettop(lua) != 1)
        return raise_error(lua, "redis.setresp() requires one argument.");
    int version = (int)lua_tonumber(lua, 1);
    if (version != 2 && version != 3)
        return raise_error(lua, "RESP version must be 2 or 3.");
    struct run *run = state_run(lua);
    if (run)
        run->resp = version;
    return 0;
}

static int api_replicate_commands(lua_State *lua)
{
    lua_pushboolean(lua, 1); /* effects are what is logged, always */
    return 1;
}

static int api_set_repl(lua_State *lua)
{
    if (lua_gettop(lua) != 1)
        return raise_error(lua, "redis.set_repl() requires two arguments.");
    int flags = (int)lua_tonumber(lua, 1);
    if (flags < 0 || flags > 3)
        return raise_error(lua, "Invalid replication flags. Use REPL_AOF, REPL_REPLICA, REPL_ALL or REPL_NONE.");
    return 0;
}

/* Scripts are not stepped through here; a breakpoint that nobody watches goes on. */
static int api_breakpoint(lua_State *lua)
{
    lua_pushboolean(lua, 0);
    return 1;
}

static int api_debug(lua_State *lua)
{
    (void)lua;
    return 0;
}

/* May the user whose script this is run these words? */
static int api_acl_check_cmd(lua_State *lua)
{
    struct run *run = state_run(lua);
    int argc = lua_gettop(lua);
    if (argc == 0)
        return raise_error(lua, "Please specify at least one argument for this redis lib call");
    bytes *argv = lua_newuserdata(lua, (size_t)argc * sizeof(*argv));
    for (int i = 0; i < argc; i++) {
        size_t size = 0;
        const char *text = word_of(lua, i + 1, &size);
        if (!text)
            return raise_error(lua, "redis.acl_check_cmd() command arguments must be strings or integers");
        argv[i] = bytes_of(text, size);
    }
    const struct command *row = command_find(argv[0]);
    if (row && row->subcommands && argc > 1)
        row = command_find_sub(row, argv[1]);
    if (!row)
        return raise_error(lua, "Invalid command passed to redis.acl_check_cmd()");
    const struct acl_user *user = run ? run->script.session.user : NULL;
    size_t at;
    lua_pushboolean(lua, !user || acl_user_check(user, row, argv, (size_t)argc, &at) == ACL_ALLOWED);
    return 1;
}

/* The sequence of drand48, as scripts with a seed have it in Redis. */
#define CHANCE_MAX INT32_MAX

static uint64_t chance = 0x1234abcd330e;

static lua_Number chance_next(void)
{
    uint64_t x = __atomic_load_n(&chance, __ATOMIC_RELAXED);
    x = (x * 0x5deece66d + 11) & ((UINT64_C(1) << 48) - 1);
    __atomic_store_n(&chance, x, __ATOMIC_RELAXED);
    return (lua_Number)((int64_t)(x >> 17) % CHANCE_MAX) / CHANCE_MAX;
}

static int math_random(lua_State *lua)
{
    lua_Number unit = chance_next();
    switch (lua_gettop(lua)) {
    case 0:
        lua_pushnumber(lua, unit);
        return 1;
    case 1: {
        int high = luaL_checkint(lua, 1);
        luaL_argcheck(lua, 1 <= high, 1, "interval is empty");
        lua_pushnumber(lua, floor(unit * high) + 1);
        return 1;
    }
    case 2: {
        int low = luaL_checkint(lua, 1), high = luaL_checkint(lua, 2);
        luaL_argcheck(lua, low <= high, 2, "interval is empty");
        lua_pushnumber(lua, floor(unit * ((lua_Number)high - low + 1)) + low);
        return 1;
    }
    default:
        return luaL_error(lua, "wrong number of arguments");
    }
}

static int math_randomseed(lua_State *lua)
{
    uint32_t seed = (uint32_t)luaL_checkint(lua, 1);
    __atomic_store_n(&chance, (uint64_t)seed << 16 | 0x330e, __ATOMIC_RELAXED);
    return 0;
}

static const luaL_Reg functions[] = {
    {"call", api_call},
    {"pcall", api_pcall},
    {"error_reply", api_error_reply},
    {"status_reply", api_status_reply},
    {"sha1hex", api_sha1hex},
    {"log", api_log},
    {"setresp", api_setresp},
    {"replicate_commands", api_replicate_commands},
    {"set_repl", api_set_repl},
    {"breakpoint", api_breakpoint},
    {"debug", api_debug},
    {"acl_check_cmd", api_acl_check_cmd},
    {NULL, NULL},
};

static const struct { const char *name; int value; } numbers[] = {
    {"LOG_DEBUG", 0},  {"LOG_VERBOSE", 1}, {"LOG_NOTICE", 2}, {"LOG_WARNING", 3}, {"REPL_NONE", 0},
    {"REPL_AOF", 1},   {"REPL_SLAVE", 2},  {"REPL_REPLICA", 2}, {"REPL_ALL", 3},  {"REDIS_VERSION_NUM", 0x070204},
};

static void add_numbers(lua_State *lua)
{
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        lua_pushinteger(lua, numbers[i].value);
        lua_setfield(lua, -2, numbers[i].name);
    }
    lua_pushliteral(lua, "7.2.4");
    lua_setfield(lua, -2, "REDIS_VERSION");
}

/* Not there while a library loads: what is random may not shape it, and it may not reach behind its globals. */
static const char *const not_for_loading[] = {"math", "getmetatable", "setmetatable"};

void api_for_loading(lua_State *lua, bool loading)
{
    for (size_t i = 0; i < sizeof(not_for_loading) / sizeof(*not_for_loading); i++) {
        const char *name = not_for_loading[i];
        if (loading) {
            lua_getglobal(lua, name);
            lua_setfield(lua, LUA_REGISTRYINDEX, name);
            lua_pushnil(lua);
        } else {
            lua_getfield(lua, LUA_REGISTRYINDEX, name);
        }
        lua_setglobal(lua, name);
    }
    if (loading) {
        lua_getglobal(lua, "redis");
        lua_setfield(lua, LUA_REGISTRYINDEX, "full_api");
    }
    lua_getfield(lua, LUA_REGISTRYINDEX, loading ? "loading_api" : "full_api");
    lua_pushvalue(lua, -1);
    lua_setglobal(lua, "redis");
    lua_setglobal(lua, "server");
}

void api_open(lua_State *lua)
{
    lua_newtable(lua);
    luaL_register(lua, NULL, functions);
    add_numbers(lua);
    lua_pushvalue(lua, -1);
    lua_setglobal(lua, "redis");
    lua_setglobal(lua, "server");
    lua_newtable(lua);
    lua_pushcfunction(lua, script_register_function);
    lua_setfield(lua, -2, "register_function");
    lua_pushcfunction(lua, api_log);
    lua_setfield(lua, -2, "log");
    add_numbers(lua);
    state_protect_strictly(lua);
    lua_setfield(lua, LUA_REGISTRYINDEX, "loading_api");
    lua_getglobal(lua, "math");
    lua_pushcfunction(lua, math_random);
    lua_setfield(lua, -2, "random");
    lua_pushcfunction(lua, math_randomseed);
    lua_setfield(lua, -2, "randomseed");
    lua_pop(lua, 1);
}
