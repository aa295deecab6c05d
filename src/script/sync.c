/* sync.c -- SYNC and REPLCONF, as far as a copy of the data set needs them: what `redis-cli --rdb` and --functions-rdb ask for.
 *
 * The reply of SYNC is one RDB file: header, libraries of functions, then database by database each key with its deadline,
 * and a checksum (docs/format/dump.md). REPLCONF rdb-filter-only leaves libraries or keys out. It runs with the gate, so the file is one cut. There is no replication: no command follows
 * the file. Another way would be to read a snapshot's file; the values would have to be taken apart all the same.
 */
#include "base/words.h"
#include "cmd/args.h"
#include "cmd/handlers.h"
#include "cmd/scan.h"
#include "engine/engine.h"
#include "engine/keys.h"
#include "engine/objects.h"
#include "engine/strings.h"
#include "rdb/rdb.h"
#include "script/function_private.h"

enum { STEP = 1000 };

struct file {
    struct call *call;
    struct buf out, value;
    struct word_list names;
};

static void note_name(void *context, bytes name, int type)
{
    (void)type;
    word_list_add(context, name);
}

static status put_key(struct file *f, const struct key *k, bytes name)
{
    struct txn *t = f->call->txn;
    struct key_info info;
    const void *object;
    struct text text;
    status s;
    key_info(t, k, &info);
    if (!info.found)
        return HF_OK;
    f->value.size = 0;
    if (info.type == TYPE_STRING) {
        if ((s = string_get(t, k, &text)) != HF_OK)
            return s;
        rdb_dump_string(&f->value, text.view);
    } else {
        if ((s = object_view(t, k, (enum type)info.type, &object)) != HF_OK)
            return s;
        rdb_dump_object(&f->value, (enum type)info.type, object);
    }
    rdb_file_key(&f->out, name, info.deadline_ms, buf_view(&f->value));
    return HF_OK;
}

static status put_database(struct file *f, uint32_t db)
{
    struct txn *t = f->call->txn;
    uint64_t cursor = 0;
    status s = HF_OK;
    if (!db_size(t, db))
        return HF_OK;
    rdb_file_database(&f->out, db);
    do {
        f->names.count = 0;
        cursor = db_scan(t, db, cursor, STEP, note_name, &f->names);
        for (size_t i = 0; i < f->names.count && s == HF_OK; i++) {
            struct key k;
            txn_locate(txn_engine(t), db, f->names.words[i], &k);
            s = put_key(f, &k, f->names.words[i]);
        }
    } while (cursor && s == HF_OK);
    return s;
}

void cmd_sync(struct call *c)
{
    struct file f = {.call = c, .names = {.arena = txn_arena(c->txn)}};
    status s = HF_OK;
    buf_init(&f.out, SIZE_MAX);
    buf_init(&f.value, SIZE_MAX);
    rdb_file_begin(&f.out);
    for (const struct library *l = libraries; l && !c->session->sync_no_functions; l = l->next)
        rdb_dump_library(&f.out, bytes_of(l->source, l->source_size));
    for (uint32_t db = 0; db < engine_databases(txn_engine(c->txn)) && s == HF_OK && !c->session->sync_no_keys; db++)
        s = put_database(&f, db);
    rdb_file_end(&f.out);
    if (s == HF_OK) {
        reply_bulk(c->reply, buf_view(&f.out));
        c->reply->out->size -= 2; /* a file ends without the CR LF of a bulk reply */
    } else {
        reply_status(c->reply, s);
    }
    buf_release(&f.value);
    buf_release(&f.out);
}

/* rdb-filter-only: the parts that the file is to have, which can be the functions alone; without a word it has no part. */
static bool filter(struct call *c, bytes parts)
{
    struct words w;
    bool known = true, functions = false;
    if (!words_split(&w, parts)) {
        reply_errorf(c->reply, "ERR Missing rdb-filter-only values");
        return false;
    }
    for (size_t i = 0; i < w.count && known; i++) {
        known = bytes_is_word(bytes_str(w.items[i]), "functions");
        functions = true;
        if (!known)
            reply_errorf(c->reply, "ERR Unsupported rdb-filter-only option: %.128s", w.items[i]);
    }
    words_release(&w);
    c->session->sync_no_keys = true;
    c->session->sync_no_functions = !known || !functions;
    return known;
}

/* One option and what is said of it; false: refused, with a reply. */
static bool note_option(struct call *c, bytes name, size_t value)
{
    int64_t number;
    if (bytes_is_word(name, "rdb-filter-only"))
        return filter(c, c->argv[value]);
    if (bytes_is_word(name, "listening-port"))
        return arg_int(c, value, &number);
    if (bytes_is_word(name, "rdb-only")) {
        if (!arg_int(c, value, &number))
            return false;
        if (number < 0 || number > 1) {
            reply_errorf(c->reply, "ERR value is out of range, value must between 0 and 1");
            return false;
        }
        return true;
    }
    if (bytes_is_word(name, "ip-address") || bytes_is_word(name, "capa"))
        return true;
    reply_errorf(c->reply, "ERR Unrecognized REPLCONF option: %.*s", (int)(name.size < 128 ? name.size : 128), (const char *)name.data);
    return false;
}

/* What a replica, or a tool that plays one, says of itself before SYNC. Only the filter changes the file. */
void cmd_replconf(struct call *c)
{
    if (c->argc % 2 == 0) {
        reply_status(c->reply, HF_ERR_SYNTAX);
        return;
    }
    for (size_t i = 1; i < c->argc; i += 2)
        if (!note_option(c, c->argv[i], i + 1))
            return;
    reply_ok(c->reply);
}
