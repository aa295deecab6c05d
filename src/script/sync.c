/* sync.c -- SYNC and PSYNC: the whole data set as one file, with which a replica begins to follow (docs/adr/0016).
 *
 * The file is an RDB file: header, libraries of functions, then the keys of all databases with their deadlines,
 * and a checksum (docs/format/dump.md). The gate is held for a moment: a cut begins (engine/cut.h), and the stream of commands
 * (cmd/feed.h) exactly behind it. Then a thread writes the cut into a file, some hundred keys at a time, and the network
 * sends that (cmd/transfer.h). `redis-cli --rdb` and --functions-rdb ask for the file alone, or for a part of it.
 */
#include "base/memory.h"
#include "base/number.h"
#include "cmd/args.h"
#include "cmd/handlers.h"
#include "cmd/host.h"
#include "cmd/replicas.h"
#include "cmd/transfer.h"
#include "engine/cut.h"
#include "rdb/rdb.h"
#include "script/function_private.h"
#include "types/hash.h"

#include <stdio.h>

enum { PIECE = 1 << 20 };

struct making { /* of the thread; freed by it */
    struct transfer *transfer;
    struct cut *cut;
    bool times;      /* a replica may know no deadlines of fields */
    uint64_t now_ms; /* what is due then has no place in it */
    uint32_t db;     /* the keys before were of this one */
    uint64_t crc;    /* of what has been written */
    struct buf out;
};

/* False: there is nothing left of it. */
static bool without_due_fields(const struct making *m, void *hash)
{
    size_t due = hash_due_count(hash, m->now_ms);
    if (due == 0 || due == hash_count(hash))
        return due == 0;
    struct buf change;
    buf_init(&change, SIZE_MAX);
    hash_change_expire(&change, m->now_ms);
    status s = hash_ops.apply(hash, buf_view(&change));
    hf_assert(s == HF_OK);
    buf_release(&change);
    return true;
}

static void put_key(void *context, const struct cut_key *k)
{
    struct making *m = context;
    if ((k->deadline_ms && k->deadline_ms <= m->now_ms) || (k->type == TYPE_HASH && !without_due_fields(m, k->object)))
        return;
    if (k->db != m->db)
        rdb_file_database(&m->out, m->db = k->db);
    if (k->type == TYPE_STRING)
        rdb_file_string(&m->out, k->name, k->deadline_ms, k->text);
    else
        rdb_file_object(&m->out, k->name, k->deadline_ms, k->type, k->object, m->times);
}

static bool write_out(struct making *m)
{
    m->crc = rdb_crc64(m->crc, buf_view(&m->out));
    bool written = transfer_write(m->transfer, buf_view(&m->out));
    buf_reset(&m->out);
    buf_shrink(&m->out, 2 * PIECE);
    return written;
}

static bool write_keys(struct making *m)
{
    for (bool more = m->cut != NULL; more;) {
        status s = cut_next(m->cut, put_key, m, &more);
        if (s != HF_OK) {
            transfer_failed(m->transfer, "cannot keep up with what changes meanwhile", 0);
            return false;
        }
        if (atomic_load(&m->transfer->unwanted) || (m->out.size >= PIECE && !write_out(m)))
            return false;
    }
    return true;
}

static void *make_file(void *context)
{
    struct making *m = context;
    bool done = atomic_load(&m->transfer->state) == TRANSFER_MAKING && write_keys(m);
    if (m->cut)
        cut_end(m->cut);
    if (done) {
        rdb_file_end(&m->out, m->crc);
        if (write_out(m))
            transfer_ready(m->transfer);
    }
    buf_release(&m->out);
    transfer_unref(m->transfer);
    mem_free(m);
    return NULL;
}

/* The gate is held. */
static void begin_file(struct call *c, bool times)
{
    const struct replica *known = c->session->replica;
    struct making *m = mem_zalloc(sizeof(*m));
    struct engine *e = txn_engine(c->txn);
    m->cut = known && known->no_keys ? NULL : cut_begin(e);
    m->transfer = c->session->transfer = transfer_new(e->dir, m->cut ? cut_lsn(m->cut) : 0);
    m->times = times;
    m->now_ms = txn_now_ms(c->txn);
    m->db = UINT32_MAX;
    buf_init(&m->out, SIZE_MAX);
    rdb_file_begin(&m->out);
    for (const struct library *l = libraries; l && !(known && known->no_functions); l = l->next)
        rdb_dump_library(&m->out, bytes_of(l->source, l->source_size));
    host->transfer(c->session);
    thread_detach(thread_start("hf-sync", make_file, m));
}

/* announce: PSYNC, which is told the stream's name and the offset of what follows the file. */
static void send_file(struct call *c, bool announce)
{
    const struct replica *known = c->session->replica;
    bool follows = announce || !known || !known->file_only;
    if (session_follows(c->session)) /* a second time: nothing is said, it gets what it gets already */
        return;
    txn_only_looks(c->txn);
    uint64_t offset = follows ? replicas_follow(c) : 0;
    begin_file(c, !follows);
    if (announce) {
        char line[96];
        snprintf(line, sizeof(line), "FULLRESYNC %s %llu", replicas_id(), (unsigned long long)offset);
        reply_simple(c->reply, line);
    }
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
