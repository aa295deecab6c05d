/* function.c -- libraries of functions: FUNCTION and FCALL.
 *
 * A library is source text, kept as data (engine/system.h), so that it is there after a restart. The registry below
 * knows the names of libraries and functions; it changes under the gate, and commands read it inside their
 * batch, so it needs no lock. Each state loads all libraries when the registry's generation has moved. Variables that a
 * library keeps in its closures are therefore the state's own: not shared between workers and not durable.
 */
#include "base/glob.h"
#include "base/memory.h"
#include "base/number.h"
#include "cmd/args.h"
#include "cmd/exec_private.h"
#include "cmd/handlers.h"
#include "engine/system.h"
#include "os/os.h"
#include "script/function_private.h"
#include "script/shebang.h"

#include <ctype.h>
#include <stdio.h>

enum function_flags { NO_WRITES = 1, ALLOW_OOM = 2, ALLOW_STALE = 4, NO_CLUSTER = 8, ALLOW_CROSS_SLOT = 16 };

static const struct { const char *name; unsigned flag; } flag_names[] = {
    {"no-writes", NO_WRITES}, {"allow-oom", ALLOW_OOM}, {"allow-stale", ALLOW_STALE}, {"no-cluster", NO_CLUSTER},
    {"allow-cross-slot-keys", ALLOW_CROSS_SLOT},
};
#define FLAG_COUNT (sizeof(flag_names) / sizeof(flag_names[0]))

struct library *libraries; /* in order of their names */
static uint64_t generation = 1;
static _Atomic uint64_t library_count, function_count, library_bytes; /* of the registry; INFO reads them at any time */

/* ---- the registry ---- */

void library_free(struct library *l)
{
    for (size_t i = 0; l && i < l->count; i++) {
        mem_free(l->functions[i].name);
        mem_free(l->functions[i].description);
    }
    if (!l)
        return;
    mem_free(l->functions);
    mem_free(l->source);
    mem_free(l->name);
    mem_free(l);
}

struct library *library_find(bytes name)
{
    struct library *l = libraries;
    while (l && !bytes_equal(bytes_str(l->name), name))
        l = l->next;
    return l;
}

static void count_library(const struct library *l, uint64_t one)
{
    library_count += one;
    function_count += one * l->count;
    library_bytes += one * l->source_size;
}

static void put(struct library *l)
{
    struct library **at = &libraries;
    while (*at && strcmp((*at)->name, l->name) < 0)
        at = &(*at)->next;
    l->next = *at;
    *at = l;
    generation++;
    count_library(l, 1);
}

static void take_out(struct library *l)
{
    struct library **at = &libraries;
    while (*at != l)
        at = &(*at)->next;
    *at = l->next;
    generation++;
    count_library(l, UINT64_MAX); /* one less */
}

struct exchange { struct library *old, *new; };

static void exchange_over(void *context, bool undone)
{
    struct exchange *x = context;
    if (undone && x->new)
        take_out(x->new);
    if (undone && x->old)
        put(x->old);
    library_free(undone ? x->new : x->old);
}

void library_exchange(struct call *c, struct library *old, struct library *new)
{
    struct exchange *x = arena_alloc(txn_arena(c->txn), sizeof(*x));
    *x = (struct exchange){old, new};
    if (old)
        take_out(old);
    if (new)
        put(new);
    if (!txn_on_end(c->txn, exchange_over, x))
        exchange_over(x, false);
}

void script_library_stats(uint64_t *count, uint64_t *functions, uint64_t *bytes_held)
{
    *count = library_count;
    *functions = function_count;
    *bytes_held = library_bytes;
}

struct function *function_find(bytes name, struct library **of)
{
    for (struct library *l = libraries; l; l = l->next) {
        for (size_t i = 0; i < l->count; i++) {
            if (bytes_is_word(name, l->functions[i].name)) { /* in any case, as in Redis */
                *of = l;
                return &l->functions[i];
            }
        }
    }
    return NULL;
}

/* ---- loading into a state ---- */

static char loading_mark; /* registry: the library being loaded */

static struct library *library_being_loaded(lua_State *lua)
{
    lua_pushlightuserdata(lua, &loading_mark);
    lua_rawget(lua, LUA_REGISTRYINDEX);
    struct library *l = lua_touserdata(lua, -1);
    lua_pop(lua, 1);
    return l;
}

static bool name_is_plain(const char *name)
{
    for (const char *at = name; *at; at++) {
        if (!isalnum((unsigned char)*at) && *at != '_')
            return false;
    }
    return *name != 0;
}

static unsigned take_flags(lua_State *lua, int index)
{
    unsigned flags = 0;
    for (int i = 1;; i++) {
        lua_rawgeti(lua, index, i);
        if (lua_isnil(lua, -1)) {
            lua_pop(lua, 1);
            return flags;
        }
        const char *word = lua_tostring(lua, -1);
        size_t n = 0;
        while (n < FLAG_COUNT && word && strcmp(flag_names[n].name, word) != 0)
            n++;
        if (!word || n == FLAG_COUNT)
            raise_error(lua, "unknown flag given");
        flags |= flag_names[n].flag;
        lua_pop(lua, 1);
    }
}

/* The named form: one table. Leaves name, callback and description (or nil) as 1, 2 and 3. */
static void take_named(lua_State *lua, unsigned *flags)
{
    enum { NAME = 2, CALLBACK = 3, DESCRIPTION = 4 };
    lua_settop(lua, DESCRIPTION);
    lua_pushnil(lua);
    while (lua_next(lua, 1)) {
        if (lua_type(lua, -2) != LUA_TSTRING)
            raise_error(lua, "named argument key given to redis.register_function is not a string");
        const char *key = lua_tostring(lua, -2);
        if (strcasecmp(key, "function_name") == 0) {
            if (!lua_isstring(lua, -1))
                raise_error(lua, "function_name argument given to redis.register_function must be a string");
            lua_pushvalue(lua, -1);
            lua_replace(lua, NAME);
        } else if (strcasecmp(key, "description") == 0) {
            if (!lua_isstring(lua, -1))
                raise_error(lua, "description argument given to redis.register_function must be a string");
            lua_pushvalue(lua, -1);
            lua_replace(lua, DESCRIPTION);
        } else if (strcasecmp(key, "callback") == 0) {
            if (!lua_isfunction(lua, -1))
                raise_error(lua, "callback argument given to redis.register_function must be a function");
            lua_pushvalue(lua, -1);
            lua_replace(lua, CALLBACK);
        } else if (strcasecmp(key, "flags") == 0) {
            if (!lua_istable(lua, -1))
                raise_error(lua, "flags argument to redis.register_function must be a table representing function flags");
            *flags = take_flags(lua, lua_gettop(lua));
        } else {
            raise_error(lua, "unknown argument given to redis.register_function");
        }
        lua_pop(lua, 1);
    }
    if (lua_isnil(lua, NAME))
        raise_error(lua, "redis.register_function must get a function name argument");
    if (lua_isnil(lua, CALLBACK))
        raise_error(lua, "redis.register_function must get a callback argument");
    lua_remove(lua, 1);
}

/* redis.register_function: into the library being loaded, and the state's table of functions. */
int script_register_function(lua_State *lua)
{
    struct library *l = library_being_loaded(lua);
    unsigned flags = 0;
    int count = lua_gettop(lua);
    if (!l)
        return raise_error(lua, "redis.register_function can only be called on FUNCTION LOAD command");
    if (count < 1 || count > 2)
        return raise_error(lua, "wrong number of arguments to redis.register_function");
    if (count == 1) {
        if (!lua_istable(lua, 1))
            return raise_error(lua, "calling redis.register_function with a single argument is only applicable to Lua table (representing named arguments).");
        take_named(lua, &flags);
    } else if (!lua_isstring(lua, 1)) {
        return raise_error(lua, "first argument to redis.register_function must be a string");
    } else if (!lua_isfunction(lua, 2)) {
        return raise_error(lua, "second argument to redis.register_function must be a function");
    }
    size_t size;
    const char *name = lua_tolstring(lua, 1, &size);
    if (strlen(name) != size || !name_is_plain(name))
        return raise_error(lua, "Library names can only contain letters, numbers, or underscores(_) and must be at least one character long");
    for (size_t i = 0; i < l->count; i++) {
        if (strcasecmp(l->functions[i].name, name) == 0)
            return raise_error(lua, "Function already exists in the library");
    }
    lua_settop(lua, 3);
    const char *description = lua_tostring(lua, 3);
    l->functions = mem_realloc(l->functions, (l->count + 1) * sizeof(*l->functions));
    l->functions[l->count++] = (struct function){mem_strdup(name), description ? mem_strdup(description) : NULL, flags};
    lua_getfield(lua, LUA_REGISTRYINDEX, "functions");
    lua_pushvalue(lua, 1);
    lua_pushvalue(lua, 2);
    lua_rawset(lua, -3);
    return 0;
}

/* Runs a library's code; its functions register themselves. False: the error is on the stack. */
static bool run_library(struct state *s, struct run *run, struct library *l, bytes code)
{
    lua_State *lua = s->lua;
    if (!state_compile(lua, code, "@user_function"))
        return false;
    lua_pushlightuserdata(lua, &loading_mark);
    lua_pushlightuserdata(lua, l);
    lua_rawset(lua, LUA_REGISTRYINDEX);
    s->run = run;
    api_for_loading(lua, true);
    bool ran = state_pcall(s, 0, 0, 0) == 0;
    api_for_loading(lua, false);
    s->run = NULL;
    state_recover(s);
    lua_pushlightuserdata(lua, &loading_mark);
    lua_pushnil(lua);
    lua_rawset(lua, LUA_REGISTRYINDEX);
    return ran;
}

void new_function_table(lua_State *lua)
{
    lua_newtable(lua);
    lua_setfield(lua, LUA_REGISTRYINDEX, "functions");
}

/* The state knows all functions of the registry. */
static void refresh(struct state *s, struct call *c)
{
    if (s->generation == generation)
        return;
    lua_settop(s->lua, 0);
    new_function_table(s->lua);
    for (const struct library *l = libraries; l; l = l->next) {
        struct run run = {.loading = true, .script = {.call = c}};
        struct library again = {.name = l->name};
        bytes code;
        char error[256], *name = NULL;
        bool good = shebang_parse_library(bytes_of(l->source, l->source_size), &name, &code, error) && run_library(s, &run, &again, code);
        mem_free(name);
        if (!good && host->log_line)
            host->log_line(3, "a function library that loaded before does not load now; its functions are not there on this worker");
        for (size_t i = 0; i < again.count; i++) {
            mem_free(again.functions[i].name);
            mem_free(again.functions[i].description);
        }
        mem_free(again.functions);
        lua_settop(s->lua, 0);
    }
    s->generation = generation;
}

static const char *error_text(lua_State *lua)
{
    if (lua_istable(lua, -1)) { /* raw: a metatable's function would run unprotected */
        lua_pushliteral(lua, "err");
        lua_rawget(lua, -2);
    }
    const char *text = lua_tostring(lua, -1);
    return text ? text : "unknown error";
}

struct library *library_make(struct state *s, struct call *c, bytes source, bool must_be_new)
{
    bytes code;
    char error[256], *name;
    if (!shebang_parse_library(source, &name, &code, error)) {
        reply_errorf(c->reply, "ERR %s", error);
        return NULL;
    }
    struct library *l = mem_zalloc(sizeof(*l));
    l->name = name;
    l->source = mem_alloc(source.size);
    memcpy(l->source, source.data, source.size);
    l->source_size = source.size;
    struct run run = {.loading = true, .script = {.call = c}, .started_us = OS.monotonic_us()};
    if (!name_is_plain(l->name)) {
        reply_errorf(c->reply, "ERR Library names can only contain letters, numbers, or underscores(_) and must be at least one character long");
    } else if (must_be_new && library_find(bytes_str(l->name))) {
        reply_errorf(c->reply, "ERR Library '%s' already exists", l->name);
    } else if (!state_compile_only(s->lua, code)) {
        reply_errorf(c->reply, "ERR Error compiling function: %s", error_text(s->lua));
    } else if (!run_library(s, &run, l, code)) {
        const char *prefix = lua_istable(s->lua, -1) ? "" : "ERR ";
        reply_errorf(c->reply, "ERR Error registering functions: %s%s", prefix, error_text(s->lua));
    } else if (l->count == 0) {
        reply_errorf(c->reply, "ERR No functions registered");
    } else {
        lua_settop(s->lua, 0);
        return l;
    }
    lua_settop(s->lua, 0);
    library_free(l);
    return NULL;
}

/* ---- FUNCTION ---- */

static bool clashes(struct call *c, const struct library *l, const struct library *replaced)
{
    for (size_t i = 0; i < l->count; i++) {
        struct library *of;
        if (function_find(bytes_str(l->functions[i].name), &of) && of != replaced) {
            reply_errorf(c->reply, "ERR Function %s already exists", l->functions[i].name);
            return true;
        }
    }
    return false;
}

void cmd_function_load(struct call *c)
{
    bool replace = false;
    for (size_t i = 2; i + 1 < c->argc; i++) {
        if (!bytes_is_word(c->argv[i], "REPLACE")) {
            bytes word = arg_without_line_end(c, i);
            reply_errorf(c->reply, "ERR Unknown option given: " WORD_FORMAT, WORD_WHOLE(word));
            return;
        }
        replace = true;
    }
    struct state *s = state_of(c);
    bytes source = c->argv[c->argc - 1];
    s->generation = 0; /* what it registers goes through the state; everything is loaded again after */
    new_function_table(s->lua);
    struct library *l = library_make(s, c, source, !replace);
    if (!l)
        return;
    struct library *old = library_find(bytes_str(l->name));
    if (clashes(c, l, old) || arg_refused(c, system_put(c->txn, SYSTEM_LIBRARY, bytes_str(l->name), source))) {
        library_free(l);
        return;
    }
    library_exchange(c, old, l);
    reply_text(c->reply, l->name);
}

static void drop(struct call *c, struct library *l)
{
    system_remove(c->txn, SYSTEM_LIBRARY, bytes_str(l->name));
    library_exchange(c, l, NULL);
}

void cmd_function_delete(struct call *c)
{
    struct library *l = library_find(c->argv[2]);
    if (!l) {
        reply_errorf(c->reply, "ERR Library not found");
        return;
    }
    drop(c, l);
    reply_ok(c->reply);
}

void cmd_function_flush(struct call *c)
{
    if (c->argc > 3) {
        reply_errorf(c->reply, "ERR unknown subcommand or wrong number of arguments for '%.*s'. Try FUNCTION HELP.",
                     (int)(c->argv[1].size < 128 ? c->argv[1].size : 128), (const char *)c->argv[1].data);
        return;
    }
    if (c->argc == 3 && !bytes_is_word(c->argv[2], "ASYNC") && !bytes_is_word(c->argv[2], "SYNC")) {
        reply_errorf(c->reply, "ERR FUNCTION FLUSH only supports SYNC|ASYNC option");
        return;
    }
    while (libraries)
        drop(c, libraries);
    reply_ok(c->reply);
}

static void reply_function(struct reply *r, const struct function *f)
{
    size_t flags = 0;
    for (size_t i = 0; i < FLAG_COUNT; i++)
        flags += (f->flags & flag_names[i].flag) != 0;
    reply_map(r, 3);
    reply_text(r, "name");
    reply_text(r, f->name);
    reply_text(r, "description");
    if (f->description)
        reply_text(r, f->description);
    else
        reply_null(r);
    reply_text(r, "flags");
    r->ops->set(r, flags);
    for (size_t i = 0; i < FLAG_COUNT; i++) {
        if (f->flags & flag_names[i].flag)
            reply_simple(r, flag_names[i].name);
    }
}

static void reply_library(struct reply *r, const struct library *l, bool with_code)
{
    reply_map(r, with_code ? 4 : 3);
    reply_text(r, "library_name");
    reply_text(r, l->name);
    reply_text(r, "engine");
    reply_text(r, "LUA");
    reply_text(r, "functions");
    reply_array(r, l->count);
    for (size_t i = 0; i < l->count; i++)
        reply_function(r, &l->functions[i]);
    if (with_code) {
        reply_text(r, "library_code");
        reply_bulk(r, bytes_of(l->source, l->source_size));
    }
}

void cmd_function_list(struct call *c)
{
    bool with_code = false;
    const bytes *pattern = NULL;
    size_t count = 0;
    for (size_t i = 2; i < c->argc; i++) {
        if (!with_code && bytes_is_word(c->argv[i], "WITHCODE")) {
            with_code = true;
        } else if (!pattern && bytes_is_word(c->argv[i], "LIBRARYNAME")) {
            if (i + 1 >= c->argc) {
                reply_errorf(c->reply, "ERR library name argument was not given");
                return;
            }
            pattern = &c->argv[++i];
        } else {
            reply_errorf(c->reply, "ERR Unknown argument " WORD_FORMAT, WORD_WHOLE(c->argv[i]));
            return;
        }
    }
    for (const struct library *l = libraries; l; l = l->next)
        count += !pattern || glob_match(*pattern, bytes_str(l->name), true);
    reply_array(c->reply, count);
    for (const struct library *l = libraries; l; l = l->next) {
        if (!pattern || glob_match(*pattern, bytes_str(l->name), true))
            reply_library(c->reply, l, with_code);
    }
}

void cmd_function_stats(struct call *c)
{
    reply_map(c->reply, 2);
    reply_text(c->reply, "running_script");
    run_describe(c);
    reply_text(c->reply, "engines");
    reply_map(c->reply, 1);
    reply_text(c->reply, "LUA");
    reply_map(c->reply, 2);
    reply_text(c->reply, "libraries_count");
    reply_int(c->reply, (int64_t)library_count);
    reply_text(c->reply, "functions_count");
    reply_int(c->reply, (int64_t)function_count);
}

void cmd_function_kill(struct call *c)
{
    run_kill(c, false);
}

/* ---- FCALL ---- */

bool function_may_write(bytes name)
{
    struct library *l;
    const struct function *f = function_find(name, &l);
    return !f || !(f->flags & NO_WRITES);
}

static void call_function(struct call *c, bool read_only)
{
    size_t keys;
    struct library *l;
    const struct function *f = function_find(c->argv[1], &l);
    if (!f) {
        reply_errorf(c->reply, "ERR Function not found");
        return;
    }
    int64_t number;
    if (!number_parse_int(c->argv[2], &number)) {
        reply_errorf(c->reply, "ERR Bad number of keys provided");
        return;
    }
    if (!script_take_keys(c, &keys))
        return;
    if (cluster_refuses_flag(f->flags & NO_CLUSTER, c->reply))
        return;
    if (!(f->flags & (NO_WRITES | ALLOW_OOM)) && call_is_out_of_memory(c)) {
        reply_status(c->reply, HF_ERR_OOM);
        return;
    }
    if (!(f->flags & NO_WRITES) && call_lacks_replicas(c))
        return;
    if (read_only && !(f->flags & NO_WRITES)) {
        reply_errorf(c->reply, "ERR Can not execute a script with write flag using *_ro command.");
        return;
    }
    struct state *s = state_of(c);
    if (s->run) {
        script_nested(c);
        return;
    }
    refresh(s, c);
    struct run run = {.is_eval = false};
    run_begin(s, &run, c, f->name);
    run.script.read_only = f->flags & NO_WRITES;
    run.script.allow_oom = f->flags & ALLOW_OOM;
    run.script.cluster.one_slot = !(f->flags & ALLOW_CROSS_SLOT);
    lua_getfield(s->lua, LUA_REGISTRYINDEX, "functions");
    lua_getfield(s->lua, -1, f->name);
    lua_remove(s->lua, -2);
    script_push_words(s->lua, c->argv + 3, keys);
    script_push_words(s->lua, c->argv + 3 + keys, c->argc - 3 - keys);
    run_call(s, &run, 2);
    run_end(s);
}

void cmd_fcall(struct call *c) { call_function(c, false); }
void cmd_fcall_ro(struct call *c) { call_function(c, true); }

/* ---- at start ---- */

static void load_one(void *context, bytes name, bytes source)
{
    struct call *c = context;
    (void)name;
    struct library *l = library_make(state_of(c), c, source, false);
    if (l)
        put(l);
}

/* Errors go to the log: a library that does not load stays stored and is shown there. */
static void log_error(struct reply *r, bytes line)
{
    char text[512];
    (void)r;
    snprintf(text, sizeof(text), "a stored function library does not load: " WORD_FORMAT, WORD(line));
    if (host && host->log_line)
        host->log_line(3, text);
}

void script_load_libraries(struct engine *e)
{
    exec_script_writes = script_may_write;
    exec_script_tend = script_tend;
    static const struct reply_ops ops = {.error = log_error};
    struct session session = {0};
    struct reply reply = {.ops = &ops, .version = 2};
    struct call c = {.session = &session, .reply = &reply};
    struct state *s = state_of(&c);
    new_function_table(s->lua);
    system_walk(e, SYSTEM_LIBRARY, load_one, &c);
    s->generation = 0;
}
