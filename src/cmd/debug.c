/* debug.c -- DEBUG: what test suites of clients and of the server ask for. Rows: debug.def. Digests: debug_digest.c. */
#include "base/glob.h"
#include "base/memory.h"
#include "base/number.h"
#include "cmd/args.h"
#include "cmd/exec.h"
#include "cmd/exec_script.h"
#include "cmd/handlers.h"
#include "engine/engine.h"
#include "engine/keys.h"
#include "engine/objects.h"
#include "engine/strings.h"
#include "engine/system.h"
#include "engine/values.h"
#include "os/os.h"
#include "rdb/rdb.h"

#include <stdio.h>

#define SLEEP_SECONDS_MAX 86400
#define MATCH_LENGTH_MAX (1 << 20)
#define POPULATE_KEYS_MAX 10000000
#define POPULATE_BYTES_MAX (INT64_C(4) << 30)
#define DUMP_FRAME 11 /* the byte of the form, and the footer */

static void debug_unknown(struct call *c)
{
    reply_errorf(c->reply, "ERR unknown subcommand or wrong number of arguments for '" WORD_FORMAT "'. Try DEBUG HELP.",
                 WORD(c->argv[1]));
}

/* A word that is none of the rows, or too few or many behind it. */
void cmd_debug(struct call *c)
{
    debug_unknown(c);
}

void cmd_debug_sleep(struct call *c)
{
    long double seconds;
    if (!number_parse_float(c->argv[2], &seconds)) {
        reply_status(c->reply, HF_ERR_NOT_FLOAT);
        return;
    }
    if (seconds > SLEEP_SECONDS_MAX)
        seconds = SLEEP_SECONDS_MAX;
    if (seconds > 0)
        exec_sleeps(c->exec, c->session, (uint64_t)(seconds * 1000000));
    reply_ok(c->reply);
}

/* Bytes of the value as DUMP writes it, without the frame around it. */
static bool dumped_size(struct call *c, const struct key_info *info, size_t *size)
{
    struct buf payload;
    struct text text;
    const void *object;
    bool is_string = info->type == TYPE_STRING;
    if (arg_refused(c, is_string ? string_get(c->txn, call_key(c, 0), &text)
                                 : object_view(c->txn, call_key(c, 0), (enum type)info->type, &object)))
        return false;
    buf_init(&payload, SIZE_MAX);
    if (is_string)
        rdb_dump_string(&payload, text.view);
    else
        rdb_dump_object(&payload, (enum type)info->type, object, NULL);
    *size = payload.size - DUMP_FRAME;
    buf_release(&payload);
    return true;
}

static void reply_object(struct call *c, uint64_t now_ms)
{
    struct key_info info;
    char line[256];
    size_t size;
    key_info(c->txn, call_key(c, 0), &info);
    if (!info.found) {
        reply_status(c->reply, HF_ERR_NO_SUCH_KEY);
        return;
    }
    if (!dumped_size(c, &info, &size))
        return;
    uint64_t used_s = now_ms / 1000 - info.idle_seconds;
    snprintf(line, sizeof(line), "Value at:0x%llx refcount:1 encoding:%s serializedlength:%zu lru:%llu lru_seconds_idle:%u",
             (unsigned long long)call_key(c, 0)->hash, info.encoding, size, (unsigned long long)(used_s & 0xffffff),
             info.idle_seconds);
    reply_simple(c->reply, line);
}

/* Shows a key past its deadline, too, and leaves it there. */
void cmd_debug_object(struct call *c)
{
    uint64_t now_ms = txn_swap_now(c->txn, 0);
    reply_object(c, now_ms);
    txn_swap_now(c->txn, now_ms);
}

/* ---- tables ---- */

void cmd_debug_htstats(struct call *c)
{
    int64_t db;
    struct buf out;
    if (!arg_int(c, 2, &db))
        return;
    if (db < 0 || db >= engine_databases(txn_engine(c->txn))) {
        reply_errorf(c->reply, "ERR Out of range database");
        return;
    }
    uint64_t keys = db_size(c->txn, (uint32_t)db), deadlines = db_deadline_count(c->txn, (uint32_t)db);
    buf_init(&out, 4096);
    buf_printf(&out, "[Dictionary HT]\nHash table 0 stats (main hash table):\n");
    if (keys)
        buf_printf(&out, " table size: %llu\n number of elements: %llu\n", (unsigned long long)db_place_count(c->txn, (uint32_t)db),
                   (unsigned long long)keys);
    else
        buf_printf(&out, "No stats available for empty dictionaries\n");
    buf_printf(&out, "[Expires HT]\n number of elements: %llu, in wheels\n", (unsigned long long)deadlines);
    reply_bulk(c->reply, buf_view(&out));
    buf_release(&out);
}

/* Every collection is an array or a tree. */
void cmd_debug_htstats_key(struct call *c)
{
    if (key_exists(c->txn, call_key(c, 0)))
        reply_errorf(c->reply, "ERR The value stored at the specified key is not represented using an hash table");
    else
        reply_status(c->reply, HF_ERR_NO_SUCH_KEY);
}

/* ---- the process ends, as if it had a bug ---- */

static int *volatile nowhere;

void cmd_debug_segfault(struct call *c)
{
    (void)c;
    *nowhere = 1;
}

void cmd_debug_panic(struct call *c)
{
    (void)c;
    hf_assert(!"DEBUG PANIC");
}

/* ---- values built anew ---- */

static void reply_rebuilt(struct call *c)
{
    if (!arg_refused(c, values_rebuild(c->txn)))
        reply_ok(c->reply);
}

static void count_one(void *context, bytes name, bytes value)
{
    (void)name;
    (void)value;
    ++*(size_t *)context;
}

static bool holds_anything(struct call *c)
{
    size_t libraries = 0;
    uint64_t keys = 0;
    system_walk(txn_engine(c->txn), SYSTEM_LIBRARY, count_one, &libraries);
    for (uint32_t db = 0; db < engine_databases(txn_engine(c->txn)); db++)
        keys += db_size(c->txn, db);
    return libraries || keys;
}

void cmd_debug_reload(struct call *c)
{
    bool saves = true, flushes = true, merges = false;
    for (size_t i = 2; i < c->argc; i++) {
        if (bytes_is_word(c->argv[i], "NOSAVE")) {
            saves = false;
        } else if (bytes_is_word(c->argv[i], "NOFLUSH")) {
            flushes = false;
        } else if (bytes_is_word(c->argv[i], "MERGE")) {
            merges = true;
        } else {
            reply_errorf(c->reply, "ERR DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE options.");
            return;
        }
    }
    if (saves && arg_refused(c, host->snapshot_wait()))
        return;
    if (!flushes && !merges && holds_anything(c)) /* what is loaded is there already */
        reply_errorf(c->reply, "ERR Error trying to load the RDB dump, check server logs.");
    else
        reply_rebuilt(c);
}

/* The reply waits for the disk like that of any reader of all keys. */
void cmd_debug_loadaof(struct call *c)
{
    reply_rebuilt(c);
}

/* ---- switches ---- */

void cmd_debug_set_active_expire(struct call *c)
{
    int64_t on;
    if (!arg_int(c, 2, &on))
        return;
    engine_rest_expiry(txn_engine(c->txn), EXPIRY_NOT_ACTIVE, !on);
    reply_ok(c->reply);
}

void cmd_debug_pause_cron(struct call *c)
{
    int64_t on;
    if (!arg_int(c, 2, &on))
        return;
    engine_rest_expiry(txn_engine(c->txn), EXPIRY_PAUSED, on);
    reply_ok(c->reply);
}

void cmd_debug_disable_deny_scripts(struct call *c)
{
    int64_t on;
    if (!arg_int(c, 2, &on))
        return;
    atomic_store(&script_denies_nothing, on != 0);
    reply_ok(c->reply);
}

/* A number, with a unit of bytes if it likes. */
void cmd_debug_packed_threshold(struct call *c)
{
    bytes word = c->argv[2];
    size_t digits = 0;
    while (digits < word.size && word.data[digits] >= '0' && word.data[digits] <= '9')
        digits++;
    bytes unit = bytes_of(word.data + digits, word.size - digits);
    bool known = unit.size == 0 || bytes_is_word(unit, "b") || bytes_is_word(unit, "k") || bytes_is_word(unit, "kb") ||
                 bytes_is_word(unit, "m") || bytes_is_word(unit, "mb") || bytes_is_word(unit, "g") || bytes_is_word(unit, "gb");
    if (digits > 0 && known)
        reply_ok(c->reply);
    else
        reply_errorf(c->reply, "ERR argument must be a memory value bigger than 1 and smaller than 4gb");
}

/* ---- many keys at once ---- */

/* One key, unless it is there: the value is padded or cut to the size; 0: as it is. */
static bool populate_one(struct call *c, bytes prefix, uint64_t number, size_t size)
{
    struct arena *arena = txn_arena(c->txn);
    char text[NUMBER_TEXT_MAX + 8];
    struct set_result result;
    struct key key;
    size_t text_size = (size_t)snprintf(text, sizeof(text), "value:%llu", (unsigned long long)number);
    char *name = arena_alloc(arena, prefix.size + NUMBER_TEXT_MAX + 1);
    if (prefix.size)
        memcpy(name, prefix.data, prefix.size);
    name[prefix.size] = ':';
    size_t name_size = prefix.size + 1 + number_format_uint(name + prefix.size + 1, number);
    txn_locate(txn_engine(c->txn), c->session->db, bytes_of(name, name_size), &key);
    if (call_lock_stripes(c, &key.stripe, 1) != SCRIPT_DONE)
        return false;
    size = size ? size : text_size;
    char *value = arena_alloc(arena, size);
    memset(value, 0, size);
    memcpy(value, text, text_size < size ? text_size : size);
    return !arg_refused(c, string_set(c->txn, &key, bytes_of(value, size), &(struct set_options){.when = SET_IF_ABSENT}, &result));
}

void cmd_debug_populate(struct call *c)
{
    static const char not_positive[] = "ERR value is out of range, must be positive";
    int64_t count, size = 0;
    if (c->argc > 5) {
        debug_unknown(c);
        return;
    }
    if (!arg_int_from(c, 2, 0, not_positive, &count) || (c->argc > 4 && !arg_int_from(c, 4, 0, not_positive, &size)))
        return;
    if (size > STRING_SIZE_MAX || (count && size > POPULATE_BYTES_MAX / count) || count > POPULATE_KEYS_MAX) {
        reply_errorf(c->reply, "ERR that is more than DEBUG POPULATE makes at once: %d keys, 4 GiB", POPULATE_KEYS_MAX);
        return;
    }
    bytes prefix = c->argc > 3 ? c->argv[3] : BYTES("key");
    for (int64_t i = 0; i < count; i++) {
        if (!populate_one(c, prefix, (uint64_t)i, (size_t)size))
            return;
    }
    reply_ok(c->reply);
}

/* ---- small things ---- */

void cmd_debug_stringmatch(struct call *c)
{
    int64_t length;
    if (!arg_int(c, 2, &length))
        return;
    if (length < 0 || length > MATCH_LENGTH_MAX) {
        reply_status(c->reply, HF_ERR_NOT_INTEGER);
        return;
    }
    uint8_t *text = mem_alloc((size_t)length + 1);
    memset(text, 'a', (size_t)length);
    reply_int(c->reply, glob_match(c->argv[3], bytes_of(text, (size_t)length), false));
    mem_free(text);
}

void cmd_debug_error(struct call *c)
{
    c->reply->ops->error(c->reply, c->argv[2]);
    c->reply->errors++;
}

void cmd_debug_log(struct call *c)
{
    char line[512];
    snprintf(line, sizeof(line), "DEBUG LOG: " WORD_FORMAT, WORD(c->argv[2]));
    host->log_line(3, line);
    reply_ok(c->reply);
}

static void protocol_aggregate(struct reply *r)
{
    for (int i = 0; i < 3; i++)
        reply_int(r, i);
}

static void protocol_map(struct reply *r)
{
    reply_map(r, 3);
    for (int i = 0; i < 3; i++) {
        reply_int(r, i);
        r->ops->boolean(r, i == 1);
    }
}

static void protocol_push(struct reply *r)
{
    if (r->version < 3) {
        reply_errorf(r, "ERR RESP2 is not supported by this command");
        return;
    }
    r->ops->push(r, 2);
    reply_text(r, "server-cpu-usage");
    reply_int(r, 42);
    reply_text(r, "Some real reply following the push reply");
}

static void protocol_attribute(struct reply *r)
{
    if (r->version >= 3) {
        r->ops->attribute(r, 1);
        reply_text(r, "key-popularity");
        reply_array(r, 2);
        reply_text(r, "key:123");
        reply_int(r, 90);
    }
    reply_text(r, "Some real reply following the attribute");
}

void cmd_debug_protocol(struct call *c)
{
    struct reply *r = c->reply;
    bytes type = c->argv[2];
    if (bytes_is_word(type, "string")) {
        reply_text(r, "Hello World");
    } else if (bytes_is_word(type, "integer")) {
        reply_int(r, 12345);
    } else if (bytes_is_word(type, "double")) {
        r->ops->dbl(r, 3.141);
    } else if (bytes_is_word(type, "null")) {
        reply_null(r);
    } else if (bytes_is_word(type, "array")) {
        reply_array(r, 3);
        protocol_aggregate(r);
    } else if (bytes_is_word(type, "set")) {
        reply_set(r, 3);
        protocol_aggregate(r);
    } else if (bytes_is_word(type, "map")) {
        protocol_map(r);
    } else if (bytes_is_word(type, "attrib")) {
        protocol_attribute(r);
    } else if (bytes_is_word(type, "push")) {
        protocol_push(r);
    } else if (bytes_is_word(type, "true") || bytes_is_word(type, "false")) {
        r->ops->boolean(r, bytes_is_word(type, "true"));
    } else if (bytes_is_word(type, "verbatim")) {
        r->ops->verbatim(r, "txt", BYTES("This is a verbatim\nstring"));
    } else if (bytes_is_word(type, "bignum")) {
        r->ops->big_number(r, BYTES("1234567999999999999999999999999999999"));
    } else {
        reply_errorf(r, "ERR Wrong protocol type name. Please use one of the following: "
                        "string|integer|double|bignum|null|array|set|map|attrib|push|verbatim|true|false");
    }
}
