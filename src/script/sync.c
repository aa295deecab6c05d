/* sync.c -- SYNC and REPLCONF, as far as a copy of the data set needs them: what `redis-cli --rdb` asks for.
 *
 * The reply of SYNC is one RDB file: header, libraries of functions, then database by database each key with its deadline,
 * and a checksum (docs/format/dump.md). It runs with the gate, so the file is one cut. There is no replication: no command follows
 * the file. Another way would be to read a snapshot's file; the values would have to be taken apart all the same.
 */
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
    for (const struct library *l = libraries; l; l = l->next)
        rdb_dump_library(&f.out, bytes_of(l->source, l->source_size));
    for (uint32_t db = 0; db < engine_databases(txn_engine(c->txn)) && s == HF_OK; db++)
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

/* What a replica, or a tool that plays one, says of itself before SYNC. Nothing of it changes the file. */
void cmd_replconf(struct call *c)
{
    int64_t port;
    static const char *const known[] = {"listening-port", "ip-address", "capa", "rdb-only"};
    if (c->argc % 2 == 0) {
        reply_status(c->reply, HF_ERR_SYNTAX);
        return;
    }
    for (size_t i = 1; i < c->argc; i += 2) {
        bool found = false;
        for (size_t n = 0; n < sizeof(known) / sizeof(*known); n++)
            found |= bytes_is_word(c->argv[i], known[n]);
        if (!found) {
            reply_errorf(c->reply, "ERR Unrecognized REPLCONF option: %.*s", (int)(c->argv[i].size < 128 ? c->argv[i].size : 128),
                         (const char *)c->argv[i].data);
            return;
        }
        if (bytes_is_word(c->argv[i], "listening-port") && !arg_int(c, i + 1, &port))
            return;
    }
    reply_ok(c->reply);
}
