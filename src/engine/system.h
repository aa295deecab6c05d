/* system.h -- state of the server that is data as well: function libraries, users. Kept as strings
 * in a database of its own, which no client can select and no FLUSHALL empties, so log, snapshots
 * and recovery carry it like any key.
 *
 * Changes: in a transaction that holds the gate. Reading: inside a batch, or before workers run.
 */
#ifndef HF_ENGINE_SYSTEM_H
#define HF_ENGINE_SYSTEM_H

#include "engine/txn.h"

/* The first byte of the name, on disk: never reuse. */
enum system_kind { SYSTEM_LIBRARY = 'f', SYSTEM_USER = 'u', SYSTEM_FLUSH = 'e' /* flush.c: no name; u32 database, u64 unix time in ms */ };

status system_put(struct txn *t, enum system_kind kind, bytes name, bytes value) HF_CHECK;
bool system_remove(struct txn *t, enum system_kind kind, bytes name);
void system_walk(struct engine *e, enum system_kind kind, void (*each)(void *context, bytes name, bytes value), void *context);

#endif
