/* txn.h -- one transaction on the engine: locks, effects, undo.
 *
 * Journey: txn_reset, txn_locate and txn_lock_add for each key, txn_lock_all (may say busy), operations
 * (strings.h, keys.h, hashes.h, ...), then txn_commit_lsn or txn_rollback_all, which unlock. The functions of
 * that frame stand in internal.h: commands see what is below.
 *
 * Always true: operations touch only stripes that are locked; an operation that
 * returns a status other than HF_OK has changed nothing; the log record of a
 * transaction is placed before its first stripe is unlocked.
 * Owner: one worker thread; reused for every transaction of that worker. Views
 * that operations hand out end at commit.
 */
#ifndef HF_ENGINE_TXN_H
#define HF_ENGINE_TXN_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/status.h"
#include "store/key.h"

struct engine;
struct txn;

struct txn *txn_new(struct engine *engine);
void txn_free(struct txn *t);

/* Hashes and places a key of database number db. */
void txn_locate(const struct engine *engine, uint32_t db, bytes name, struct key *key);

/* Now, frozen for the transaction: unix time in ms, never below the last logged time. */
uint64_t txn_now_ms(const struct txn *t);
/* Memory that lives until the transaction ends. */
struct arena *txn_arena(struct txn *t);
struct engine *txn_engine(struct txn *t);
/* Now as another time, from here on; returns the one before. 0: keys past their deadline are found as long as nobody has removed
 * them. For DEBUG, which restores it. */
uint64_t txn_swap_now(struct txn *t, uint64_t now_ms);
/* What is past its deadline counts as absent, and stays; no use of a key is noted. A snapshot may read beside it. */
void txn_only_looks(struct txn *t);

/* For a change beside the keyspace that was made already: called when the transaction is undone, in reverse order of the
 * changes, or has committed and is unlocked. The context lives as long. False: this transaction keeps no undo; what was
 * changed stays, nothing is called. */
bool txn_on_end(struct txn *t, void (*over)(void *context, bool undone), void *context);

/* Something to hand over (an event, a message, the reply of a served waiter) when the transaction commits: called
 * in order, after its record has its place (lsn; 0: nothing to wait for) and before its locks open. A rollback drops
 * it. The memory lives at least as long: the txn's arena will do. */
struct delivery {
    struct delivery *next;
    void (*deliver)(struct txn *t, struct delivery *d, uint64_t lsn);
};
void txn_deliver(struct txn *t, struct delivery *d);
void txn_deliver_behind(struct txn *t, struct delivery *earlier, struct delivery *d); /* NULL: as the first one */

#endif
