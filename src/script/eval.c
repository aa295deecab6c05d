/* eval.c -- EVAL and its relatives, and the cache of scripts.
 *
 * The cache, shared by all workers, holds sources by digest; each state compiles what it runs and keeps
 * it until SCRIPT FLUSH moves the generation. The cache is as volatile as Redis': clients load scripts again.
 */
#include "base/memory.h"
#include "base/number.h"
#include "cmd/args.h"
#include "cmd/digest.h"
#include "cmd/handlers.h"
#include "data/dict.h"
#include "os/thread.h"
#include "script/script.h"
#include "script/shebang.h"

#include <stdio.h>

#define SOURCE_MAX (16u << 20)

/* ---- digests ---- */

void sha1_hex(bytes text, char out[SHA1_TEXT + 1]) { digest_hex(EVP_sha1(), text, SHA1_TEXT, out); }

static void lower_digest(bytes word, char out[SHA1_TEXT + 1])
{
    for (size_t i = 0; i < SHA1_TEXT; i++)
        out[i] = (char)(word.data[i] >= 'A' && word.data[i] <= 'Z' ? word.data[i] + 32 : word.data[i]);
    out[SHA1_TEXT] = 0;
}

/* ---- the cache ---- */

static struct spin cache_lock;
static struct dict cache; /* digest -> source */
static bool cache_made;
static _Atomic uint64_t cache_bytes, cache_count, cache_generation = 1;

static void cache_put(const char *digest, bytes source)
{
    spin_lock(&cache_lock);
    if (!cache_made)
        cache = dict_make();
    cache_made = true;
    if (dict_set(&cache, bytes_of(digest, SHA1_TEXT), source)) {
        cache_bytes += source.size;
        cache_count++;
    }
    spin_unlock(&cache_lock);
}

/* The source's copy is the caller's (mem_free), NULL: not there. */
static uint8_t *cache_get(const char *digest, size_t *size)
{
    bytes source;
    uint8_t *copy = NULL;
    spin_lock(&cache_lock);
    if (cache_made && dict_get(&cache, bytes_of(digest, SHA1_TEXT), &source)) {
        copy = mem_alloc(source.size + 1);
        if (source.size)
            memcpy(copy, source.data, source.size);
        *size = source.size;
    }
    spin_unlock(&cache_lock);
    return copy;
}

static bool cache_has(const char *digest)
{
    spin_lock(&cache_lock);
    bool found = cache_made && dict_get(&cache, bytes_of(digest, SHA1_TEXT), NULL);
    spin_unlock(&cache_lock);
    return found;
}

void script_cache_stats(uint64_t *count, uint64_t *bytes_held)
{
    *count = cache_count;
    *bytes_held = cache_bytes;
}

/* ---- compiling ---- */

/* The state's table of compiled scripts, on the stack; emptied when the cache has been flushed. */
static void push_compiled(struct state *s)
{
    lua_State *lua = s->lua;
    lua_getfield(lua, LUA_REGISTRYINDEX, "scripts");
    uint64_t generation = cache_generation;
    if (lua_isnil(lua, -1) || s->cache_generation != generation) {
        lua_pop(lua, 1);
        lua_newtable(lua);
        lua_pushvalue(lua, -1);
        lua_setfield(lua, LUA_REGISTRYINDEX, "scripts");
        s->cache_generation = generation;
    }
}

/* Pushes {function, flags...} as a function; false: the error was replied. */
static bool push_script(struct state *s, struct call *c, const char *digest, bytes source, struct shebang *flags)
{
    lua_State *lua = s->lua;
    char error[256];
    bytes code;
    if (!shebang_parse(source, flags, &code, error)) {
        reply_errorf(c->reply, "ERR %s", error);
        return false;
    }
    push_compiled(s);
    lua_getfield(lua, -1, digest);
    if (lua_isfunction(lua, -1)) {
        lua_remove(lua, -2);
        return true;
    }
    lua_pop(lua, 1);
    if (!state_compile(lua, code, "@user_script")) {
        reply_errorf(c->reply, "ERR Error compiling script (new function): %s", lua_tostring(lua, -1));
        lua_settop(lua, 0);
        return false;
    }
    lua_pushvalue(lua, -1);
    lua_setfield(lua, -3, digest);
    lua_remove(lua, -2);
    return true;
}

/* ---- EVAL ---- */

void script_push_words(lua_State *lua, const bytes *words, size_t count)
{
    lua_createtable(lua, count < INT32_MAX ? (int)count : 0, 0);
    for (size_t i = 0; i < count; i++) {
        lua_pushlstring(lua, words[i].size ? (const char *)words[i].data : "", words[i].size);
        lua_rawseti(lua, -2, (int)i + 1);
    }
}

bool script_take_keys(struct call *c, size_t *count)
{
    int64_t number;
    if (!arg_int(c, 2, &number))
        return false;
    if (number > (int64_t)c->argc - 3)
        reply_errorf(c->reply, "ERR Number of keys can't be greater than number of args");
    else if (number < 0)
        reply_errorf(c->reply, "ERR Number of keys can't be negative");
    else {
        *count = (size_t)number;
        return true;
    }
    return false;
}

bool script_may_write(const struct command *row, const bytes *argv, size_t argc)
{
    struct shebang flags;
    bytes code, source = argc > 1 ? argv[1] : BYTES("");
    char error[256], digest[SHA1_TEXT + 1];
    uint8_t *copy = NULL;
    if (row->handler == cmd_fcall)
        return function_may_write(source);
    if (row->handler == cmd_evalsha) {
        size_t size = 0;
        if (source.size == SHA1_TEXT) {
            lower_digest(source, digest);
            copy = cache_get(digest, &size);
        }
        source = bytes_of(copy, size);
    }
    bool writes = !source.size || !shebang_parse(source, &flags, &code, error) || !flags.no_writes;
    mem_free(copy);
    return writes;
}

static void eval_source(struct call *c, const char *digest, bytes source, bool read_only)
{
    struct shebang flags;
    size_t keys;
    if (!script_take_keys(c, &keys))
        return;
    struct state *s = state_of(c);
    if (s->run) {
        script_nested(c);
        return;
    }
    if (!push_script(s, c, digest, source, &flags))
        return;
    cache_put(digest, source);
    if (cluster_refuses_flag(flags.no_cluster, c->reply)) {
        lua_pop(s->lua, 1);
        return;
    }
    if (flags.present && !flags.no_writes && !flags.allow_oom && call_is_out_of_memory(c)) {
        lua_pop(s->lua, 1);
        reply_status(c->reply, HF_ERR_OOM);
        return;
    }
    if (flags.present && !flags.no_writes && call_lacks_replicas(c)) {
        lua_pop(s->lua, 1);
        return;
    }
    if (read_only && flags.present && !flags.no_writes) {
        lua_pop(s->lua, 1);
        reply_errorf(c->reply, "ERR Can not execute a script with write flag using *_ro command.");
        return;
    }
    struct run run = {.is_eval = true};
    run_begin(s, &run, c, digest);
    run.script.read_only = read_only || flags.no_writes;
    run.script.allow_oom = flags.allow_oom;
    run.script.cluster.one_slot = flags.present && !flags.allow_cross_slot;
    script_push_words(s->lua, c->argv + 3, keys);
    lua_setglobal(s->lua, "KEYS");
    script_push_words(s->lua, c->argv + 3 + keys, c->argc - 3 - keys);
    lua_setglobal(s->lua, "ARGV");
    run_call(s, &run, 0);
    lua_pushnil(s->lua); /* another script, or a function, is not to see them */
    lua_setglobal(s->lua, "KEYS");
    lua_pushnil(s->lua);
    lua_setglobal(s->lua, "ARGV");
    run_end(s);
}

static void eval(struct call *c, bool read_only)
{
    char digest[SHA1_TEXT + 1];
    if (c->argv[1].size > SOURCE_MAX) {
        reply_errorf(c->reply, "ERR the script is larger than 16 MiB");
        return;
    }
    sha1_hex(c->argv[1], digest);
    eval_source(c, digest, c->argv[1], read_only);
}

static void evalsha(struct call *c, bool read_only)
{
    char digest[SHA1_TEXT + 1];
    size_t size;
    uint8_t *source = NULL;
    if (c->argv[1].size == SHA1_TEXT) {
        lower_digest(c->argv[1], digest);
        source = cache_get(digest, &size);
    }
    size_t keys;
    if (!source) {
        if (c->argv[1].size != SHA1_TEXT || script_take_keys(c, &keys)) /* a bad number of keys is told first */
            reply_error_line(c->reply, "NOSCRIPT No matching script. Please use EVAL.");
        return;
    }
    eval_source(c, digest, bytes_of(source, size), read_only);
    mem_free(source);
}

void cmd_eval(struct call *c) { eval(c, false); }
void cmd_eval_ro(struct call *c) { eval(c, true); }
void cmd_evalsha(struct call *c) { evalsha(c, false); }
void cmd_evalsha_ro(struct call *c) { evalsha(c, true); }

/* ---- SCRIPT ---- */

void cmd_script_load(struct call *c)
{
    char digest[SHA1_TEXT + 1];
    struct shebang flags;
    struct state *s = state_of(c);
    if (c->argv[2].size > SOURCE_MAX) {
        reply_errorf(c->reply, "ERR the script is larger than 16 MiB");
        return;
    }
    sha1_hex(c->argv[2], digest);
    int top = lua_gettop(s->lua);
    if (!push_script(s, c, digest, c->argv[2], &flags))
        return;
    lua_settop(s->lua, top);
    cache_put(digest, c->argv[2]);
    reply_text(c->reply, digest);
}

void cmd_script_exists(struct call *c)
{
    reply_array(c->reply, c->argc - 2);
    for (size_t i = 2; i < c->argc; i++) {
        char digest[SHA1_TEXT + 1];
        bool found = c->argv[i].size == SHA1_TEXT;
        if (found) {
            lower_digest(c->argv[i], digest);
            found = cache_has(digest);
        }
        reply_int(c->reply, found);
    }
}

/* With the lock held, or alone. */
static void cache_empty(void)
{
    if (cache_made)
        dict_clear(&cache);
    cache_bytes = cache_count = 0;
}

void script_cache_release(void)
{
    cache_empty();
}

void cmd_script_flush(struct call *c)
{
    if (c->argc > 3 || (c->argc == 3 && !bytes_is_word(c->argv[2], "ASYNC") && !bytes_is_word(c->argv[2], "SYNC"))) {
        reply_errorf(c->reply, "ERR SCRIPT FLUSH only support SYNC|ASYNC option");
        return;
    }
    spin_lock(&cache_lock);
    cache_empty();
    cache_generation++;
    spin_unlock(&cache_lock);
    state_flush();
    reply_ok(c->reply);
}

void cmd_script_kill(struct call *c)
{
    run_kill(c, true);
}

void cmd_script_debug(struct call *c)
{
    if (bytes_is_word(c->argv[2], "NO"))
        reply_ok(c->reply);
    else if (bytes_is_word(c->argv[2], "YES") || bytes_is_word(c->argv[2], "SYNC"))
        reply_errorf(c->reply, "ERR scripts cannot be stepped through here; write with redis.log instead");
    else
        reply_errorf(c->reply, "ERR Use SCRIPT DEBUG YES/SYNC/NO");
}
