/* holdfast.h -- the database as a library: open, transaction, typed operations, close.
 *
 * A transaction locks the keys it names at hf_begin, sees nobody else's unfinished
 * work, and is all or nothing. hf_commit returns when the change is as safe as its
 * durability says. The library needs no server, no socket, no thread of yours.
 *
 * Threads: one hf_db may be used by any number of threads, each transaction by one.
 * Memory: an hf_slice handed out belongs to the transaction and ends with it.
 * Errors: 0 is success; everything else is an hf_status whose text hf_strerror gives.
 * Not found is a result (found = 0), never an error.
 */
#ifndef HOLDFAST_H
#define HOLDFAST_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef int hf_status;
typedef struct hf_db hf_db;
typedef struct hf_txn hf_txn;
typedef struct hf_slice { const void *data; size_t size; } hf_slice;

enum { HF_DURABILITY_NONE = 0, HF_DURABILITY_INTERVAL = 1, HF_DURABILITY_COMMIT = 2 };

typedef struct hf_options {
    const char *dir;      /* made if absent; locked exclusively */
    int durability;       /* HF_DURABILITY_*; NONE keeps everything in memory only */
    uint64_t maxmemory;   /* bytes; 0: no limit */
} hf_options;

/* On failure *db is untouched and `detail` says why and what to do. */
hf_status hf_open(const hf_options *options, hf_db **db, char *detail, size_t detail_size);
/* Everything committed is on disk afterwards. No transaction may be open. */
void hf_close(hf_db *db);
/* Blocks until a snapshot is published. */
hf_status hf_snapshot(hf_db *db);
const char *hf_strerror(hf_status status);

/* Begins a transaction over these keys (database 0); operations on others return HF_INVALID. */
hf_status hf_begin(hf_db *db, const hf_slice *keys, size_t count, hf_txn **txn);
hf_status hf_commit(hf_txn *txn);   /* ends the transaction, also on failure */
void hf_rollback(hf_txn *txn);      /* ends it; nothing happened */

hf_status hf_get(hf_txn *txn, hf_slice key, hf_slice *value, int *found);
hf_status hf_set(hf_txn *txn, hf_slice key, hf_slice value, uint64_t deadline_ms); /* unix ms, 0: keeps for ever */
hf_status hf_append(hf_txn *txn, hf_slice key, hf_slice tail);
hf_status hf_incr_by(hf_txn *txn, hf_slice key, int64_t delta, int64_t *result);
hf_status hf_remove(hf_txn *txn, hf_slice key, int *removed);
hf_status hf_expire_at(hf_txn *txn, hf_slice key, uint64_t deadline_ms, int *set); /* 0: persist */
hf_status hf_hash_set(hf_txn *txn, hf_slice key, hf_slice field, hf_slice value);
hf_status hf_hash_get(hf_txn *txn, hf_slice key, hf_slice field, hf_slice *value, int *found);
hf_status hf_hash_remove(hf_txn *txn, hf_slice key, hf_slice field, int *removed);

extern const hf_status HF_INVALID_STATUS; /* a key that hf_begin did not name */

#ifdef __cplusplus
}
#endif
#endif
