/* sync.c -- SYNC and PSYNC: the whole data set as one file, with which a replica begins to follow (docs/adr/0016).
 *
 * The file is an RDB file: header, libraries of functions, then database by database each key with its deadline,
 * and a checksum (docs/format/dump.md). It is made with the gate held, so it is one cut, and the stream of commands
 * (cmd/feed.h) begins exactly behind it. `redis-cli --rdb` and --functions-rdb ask for the file alone, or for a part of it. Another way would be to read a snapshot's
 * file; the values would have to be taken apart all the same.
 */
#include "base/number.h"
#include "cmd/args.h"
#include "cmd/handlers.h"
#include "cmd/replicas.h"
#include "cmd/scan.h"
#include "engine/engine.h"
#include "engine/keys.h"
#include "engine/objects.h"
#include "engine/strings.h"
#include "rdb/rdb.h"
#include "script/function_private.h"

#include <stdio.h>

enum { STEP = 1000 };

struct file {
    struct call *call;
    bool timeless; /* for a replica, which may know no deadlines of fields */
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
        (f->timeless ? rdb_dump_object_timeless : rdb_dump_object)(&f->value, (enum type)info.type, object);
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

static status make_file(struct file *f)
{
    const struct replica *known = f->call->session->replica;
    struct txn *t = f->call->txn;
    status s = HF_OK;
    rdb_file_begin(&f->out);
    for (const struct library *l = libraries; l && !(known && known->no_functions); l = l->next)
        rdb_dump_library(&f->out, bytes_of(l->source, l->source_size));
    for (uint32_t db = 0; db < engine_databases(txn_engine(t)) && s == HF_OK && !(known && known->no_keys); db++)
        s = put_database(f, db);
    rdb_file_end(&f->out);
    return s;
}

/* announce: PSYNC, which is told the stream's name and the offset of what follows the file. */
static void send_file(struct call *c, bool announce)
{
    const struct replica *known = c->session->replica;
    bool follows = announce || !known || !known->file_only;
    struct file f = {.call = c, .timeless = follows, .names = {.arena = txn_arena(c->txn)}};
    if (session_follows(c->session)) /* a second time: nothing is said, it gets what it gets already */
        return;
    txn_only_looks(c->txn);
    buf_init(&f.out, SIZE_MAX);
    buf_init(&f.value, SIZE_MAX);
    status s = make_file(&f);
    if (s == HF_OK) {
        reply_unbound(c->reply);
        uint64_t offset = follows ? replicas_follow(c) : 0;
        if (announce) {
            char line[96];
            snprintf(line, sizeof(line), "FULLRESYNC %s %llu", replicas_id(), (unsigned long long)offset);
            reply_simple(c->reply, line);
        }
        reply_bulk(c->reply, buf_view(&f.out));
        c->reply->out->size -= 2; /* a file ends without the CR LF of a bulk reply */
    } else {
        reply_status(c->reply, s);
    }
    buf_release(&f.value);
    buf_release(&f.out);
}

void cmd_sync(struct call *c) { send_file(c, false); }

/* Offsets count from 1 in its words, of the byte that comes next. */
static bool goes_on(struct call *c, int64_t next)
{
    return bytes_equal(c->argv[1], bytes_str(replicas_id())) && next > 0 && !session_follows(c->session) &&
           replicas_continue(c, (uint64_t)next - 1);
}

void cmd_psync(struct call *c)
{
    int64_t next;
    if (!arg_int(c, 2, &next) || goes_on(c, next))
        return;
    if (!session_follows(c->session) && !bytes_starts_with(c->argv[1], BYTES("?")))
        atomic_fetch_add(&replicas_counts.refused, 1);
    send_file(c, true);
}
