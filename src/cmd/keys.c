/* keys.c -- commands on keys of any type, and on databases.
 *
 * Lifetimes are in expire.c, walks over the keyspace in scan.c.
 */
#include "engine/items.h"
#include "engine/keys.h"

#include "base/number.h"
#include "cmd/args.h"
#include "cmd/cluster.h"
#include "cmd/handlers.h"
#include "engine/events.h"
#include "engine/engine.h"
#include "engine/strings.h"
#include "types/type.h"

#include <stdio.h>

#define SHARED_INTEGER_MAX 9999

static void count_keys(struct call *c, bool (*each)(struct txn *t, const struct key *k))
{
    int64_t count = 0;
    for (size_t i = 0; i < c->key_count && call_goes_on(c, 4); i++) {
        call_near(c, i);
        count += each(c->txn, call_key(c, i));
    }
    reply_int(c->reply, count);
}

static bool remove_key(struct txn *t, const struct key *k)
{
    bool removed = key_remove(t, k);
    if (removed)
        txn_event(t, k, EVENT_GENERIC, "del");
    return removed;
}

void cmd_del(struct call *c)
{
    count_keys(c, remove_key);
}

void cmd_exists(struct call *c)
{
    count_keys(c, key_read);
}

void cmd_touch(struct call *c)
{
    count_keys(c, key_touch);
}

void cmd_type(struct call *c)
{
    struct key_info info;
    key_info(c->txn, call_key(c, 0), &info);
    key_looked_up(c->txn, call_key(c, 0), info.found);
    reply_simple(c->reply, info.found ? type_name(info.type) : "none");
}

/* ---- from key to key ---- */

/* *done false without an error: the target stands. */
static bool rename_key(struct call *c, bool if_absent, bool *done)
{
    if (bytes_equal(c->argv[1], c->argv[2])) {
        *done = !if_absent;
        return key_exists(c->txn, call_key(c, 0)) || !arg_refused(c, HF_ERR_NO_SUCH_KEY);
    }
    if (arg_refused(c, key_rename(c->txn, call_key(c, 0), call_key(c, 1), if_absent, done)))
        return false;
    if (*done) {
        txn_event(c->txn, call_key(c, 0), EVENT_GENERIC, "rename_from");
        txn_event(c->txn, call_key(c, 1), EVENT_GENERIC, "rename_to");
    }
    return true;
}

void cmd_rename(struct call *c)
{
    bool done;
    if (rename_key(c, false, &done))
        reply_ok(c->reply);
}

void cmd_renamenx(struct call *c)
{
    bool done;
    if (rename_key(c, true, &done))
        reply_int(c->reply, done);
}

/* Key 1 was located in the database that DB names. */
void cmd_copy(struct call *c)
{
    uint32_t db = c->session->db;
    bool replace = false, done;
    for (size_t i = 3; i < c->argc; i++) {
        if (bytes_is_word(c->argv[i], "REPLACE")) {
            replace = true;
        } else if (bytes_is_word(c->argv[i], "DB") && i + 1 < c->argc) {
            if (!arg_db(c, ++i, &db))
                return;
            if (db && cluster_on) {
                reply_errorf(c->reply, "ERR Copying to another database is not allowed in cluster mode");
                return;
            }
        } else {
            reply_status(c->reply, HF_ERR_SYNTAX);
            return;
        }
    }
    if (db == c->session->db && bytes_equal(c->argv[1], c->argv[2]))
        reply_status(c->reply, HF_ERR_SAME_OBJECT);
    else if (!arg_refused(c, key_copy(c->txn, call_key(c, 0), call_key(c, 1), replace, &done))) {
        if (done)
            txn_event(c->txn, call_key(c, 1), EVENT_GENERIC, "copy_to");
        reply_int(c->reply, done);
    }
}

/* Key 1 was located in the other database. */
void cmd_move(struct call *c)
{
    uint32_t db;
    bool done;
    if (cluster_on) {
        reply_errorf(c->reply, "ERR MOVE is not allowed in cluster mode");
        return;
    }
    if (!arg_db(c, 2, &db))
        return;
    if (db == c->session->db)
        reply_status(c->reply, HF_ERR_SAME_OBJECT);
    else if (!arg_refused(c, key_move(c->txn, call_key(c, 0), call_key(c, 1), &done))) {
        if (done) {
            txn_event(c->txn, call_key(c, 0), EVENT_GENERIC, "move_from");
            txn_event(c->txn, call_key(c, 1), EVENT_GENERIC, "move_to");
        }
        reply_int(c->reply, done);
    }
}

/* ---- OBJECT and MEMORY: how a key is kept ---- */

/* False: absent, replied as null. */
static bool look_at_key(struct call *c, struct key_info *info)
{
    key_info(c->txn, call_key(c, 0), info);
    if (!info->found)
        reply_null(c->reply);
    return info->found;
}

/* Counted as a read, but a miss is told nobody. */
static bool look_at_object(struct call *c, struct key_info *info)
{
    bool found = look_at_key(c, info);
    item_count_lookup(c->txn, found);
    return found;
}

void cmd_object_encoding(struct call *c)
{
    struct key_info info;
    if (look_at_object(c, &info))
        reply_text(c->reply, info.encoding);
}

static void note_lfu(void *context, bytes name, bytes value)
{
    (void)name;
    *(bool *)context = value.size > 3 && memcmp(value.data + value.size - 3, "lfu", 3) == 0;
}

static bool policy_is_lfu(void)
{
    bool lfu = false;
    if (host && host->config_get)
        host->config_get(BYTES("maxmemory-policy"), note_lfu, &lfu);
    return lfu;
}

static void note_unshared(void *context, bytes name, bytes value)
{
    bool policy = bytes_equal(name, BYTES("maxmemory-policy"));
    bool matters = policy ? value.size > 3 && (memcmp(value.data + value.size - 3, "lru", 3) == 0 || memcmp(value.data + value.size - 3, "lfu", 3) == 0)
                          : !bytes_equal(value, BYTES("0"));
    *(int *)context += matters;
}

/* Redis keeps one object for each small integer, unless keys are to be told apart by their last use; clients see that. */
static bool is_shared_integer(struct call *c, const struct key_info *info)
{
    struct text text;
    int64_t value;
    int unshared = 0;
    if (strcmp(info->encoding, "int") != 0 || string_get(c->txn, call_key(c, 0), &text) != HF_OK ||
        !number_parse_int(text.view, &value) || value < 0 || value > SHARED_INTEGER_MAX)
        return false;
    if (host && host->config_get) {
        host->config_get(BYTES("maxmemory"), note_unshared, &unshared);
        host->config_get(BYTES("maxmemory-policy"), note_unshared, &unshared);
    }
    return unshared < 2;
}

void cmd_object_refcount(struct call *c)
{
    struct key_info info;
    if (look_at_object(c, &info))
        reply_int(c->reply, is_shared_integer(c, &info) ? INT32_MAX : 1);
}

#define POLICY_ADVICE                                                                                        \
    " Please note that when switching between policies at runtime LRU and LFU data will take some time to "  \
    "adjust."

void cmd_object_freq(struct call *c)
{
    struct key_info info;
    if (!look_at_object(c, &info))
        return;
    if (policy_is_lfu())
        reply_int(c->reply, info.frequency);
    else
        reply_errorf(
            c->reply,
            "ERR An LFU maxmemory policy is not selected, access frequency not tracked." POLICY_ADVICE);
}

void cmd_object_idletime(struct call *c)
{
    struct key_info info;
    if (!look_at_object(c, &info))
        return;
    if (policy_is_lfu())
        reply_errorf(c->reply,
                     "ERR An LFU maxmemory policy is selected, idle time not tracked." POLICY_ADVICE);
    else
        reply_int(c->reply, info.idle_seconds);
}

/* ---- databases ---- */

void cmd_dbsize(struct call *c)
{
    reply_int(c->reply, (int64_t)db_size(c->txn, c->session->db));
}

void cmd_randomkey(struct call *c)
{
    bytes name;
    if (db_random_key(c->txn, c->session->db, &name))
        reply_bulk(c->reply, name);
    else
        reply_null(c->reply);
}

/* ASYNC and SYNC are the same here: keys vanish at once, memory returns in the background. */
static bool take_flush_mode(struct call *c)
{
    if (c->argc == 1 ||
        (c->argc == 2 && (bytes_is_word(c->argv[1], "SYNC") || bytes_is_word(c->argv[1], "ASYNC"))))
        return true;
    reply_status(c->reply, HF_ERR_SYNTAX);
    return false;
}

void cmd_flushdb(struct call *c)
{
    if (!take_flush_mode(c))
        return;
    db_flush(c->txn, c->session->db);
    reply_ok(c->reply);
}

void cmd_flushall(struct call *c)
{
    if (!take_flush_mode(c))
        return;
    db_flush_all(c->txn);
    reply_ok(c->reply);
}

/* Both words are read before either range is checked, as Redis does. */
void cmd_swapdb(struct call *c)
{
    int64_t a, b;
    uint32_t databases = engine_databases(txn_engine(c->txn));
    if (cluster_on) {
        reply_errorf(c->reply, "ERR SWAPDB is not allowed in cluster mode");
    } else if (!number_parse_int(c->argv[1], &a) || a != (int32_t)a) {
        reply_errorf(c->reply, "ERR invalid first DB index");
    } else if (!number_parse_int(c->argv[2], &b) || b != (int32_t)b) {
        reply_errorf(c->reply, "ERR invalid second DB index");
    } else if (a < 0 || b < 0 || a >= databases || b >= databases) {
        reply_status(c->reply, HF_ERR_DB_INDEX);
    } else {
        if (a != b)
            db_swap(c->txn, (uint32_t)a, (uint32_t)b);
        reply_ok(c->reply);
    }
}
