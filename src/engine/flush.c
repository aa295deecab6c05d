/* flush.c -- a database that is to be emptied at a time: noted like any key, so that a restart does not forget it.
 *
 * The note is an entry of the system database. Memory has a copy for those who look whether it is time (cmd/exec_later.c), which
 * follows at the commit. Both change under the gate only. Emptying takes the note away in the same record.
 */
#include "engine/internal.h"
#include "engine/keys.h"
#include "engine/system.h"
#include "base/wire.h"
#include "os/os.h"

#define NOTE_SIZE 12

struct flush_note { struct delivery delivery; uint32_t db; uint64_t at_ms; };

static void remember(struct engine *e, uint32_t db, uint64_t at_ms)
{
    atomic_store(&e->flush_db, db);
    atomic_store(&e->flush_at_ms, at_ms);
}

static void deliver(struct txn *t, struct delivery *d, uint64_t lsn)
{
    const struct flush_note *n = (const struct flush_note *)d; /* its first member */
    (void)lsn;
    remember(t->engine, n->db, n->at_ms);
}

status db_flush_later(struct txn *t, uint32_t db, uint64_t at_ms)
{
    uint8_t value[NOTE_SIZE];
    status s = HF_OK;
    put_u32(value, db);
    put_u64(value + 4, at_ms);
    if (at_ms)
        s = system_put(t, SYSTEM_FLUSH, (bytes){0}, bytes_of(value, sizeof(value)));
    else
        system_remove(t, SYSTEM_FLUSH, (bytes){0});
    if (s != HF_OK)
        return s;
    struct flush_note *n = arena_alloc(&t->arena, sizeof(*n));
    *n = (struct flush_note){.delivery.deliver = deliver, .db = db, .at_ms = at_ms};
    txn_deliver(t, &n->delivery);
    return HF_OK;
}

/* ---- at the start ---- */

static void take_note(void *context, bytes name, bytes value)
{
    struct engine *e = context;
    if (name.size || value.size != NOTE_SIZE)
        return;
    uint32_t db = get_u32(value.data);
    if (db < e->config.databases)
        remember(e, db, get_u64(value.data + 4));
}

void flush_recover(struct engine *e)
{
    system_walk(e, SYSTEM_FLUSH, take_note, e);
    uint64_t at_ms = atomic_load(&e->flush_at_ms), now_ms = OS.wall_ms();
    if (at_ms == 0 || at_ms > now_ms)
        return;
    if (e->log && !log_credit_take(e->log, RECORD_DIRECT_MAX))
        return; /* the first worker will do it */
    struct txn *t = txn_new(e);
    txn_reset(t, now_ms);
    db_flush(t, atomic_load(&e->flush_db));
    status s = db_flush_later(t, 0, 0);
    hf_assert(s == HF_OK); /* nothing is put */
    txn_commit_lsn(t);
    txn_free(t);
    if (e->log)
        log_credit_return(e->log, RECORD_DIRECT_MAX);
}
