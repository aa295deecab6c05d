/* snapshot.h -- forkless, fuzzy snapshots of a store (docs/format/snapshot.md; R3).
 *
 * A capture unit is a hash range of one (stripe, database id) table, taken under one
 * lock hold, with capture_lsn = the log's tail read under that lock. Recovery
 * replays an effect on a key when record.lsn >= capture_lsn of the range that holds it.
 * The snapshot is published (renamed into place) only when durable_lsn >= the highest capture_lsn.
 * Without a log the records of that time are in the file itself (tail.h), so that it is a cut.
 * Threads: one writer at a time, its own thread; load uses `threads` threads.
 */
#ifndef HF_DURABLE_SNAPSHOT_H
#define HF_DURABLE_SNAPSHOT_H

#include "durable/log.h"
#include "durable/tail.h"
#include "store/store.h"

struct snapshot_map { uint32_t next_id, count, ids[1024]; uint64_t lsn; }; /* database numbers to ids, and when read */

struct snapshot_write {
    const char *dir;
    uint64_t log_id, number;     /* file snapshot-%016llu.hfs, number grows */
    struct store *store;
    struct log *log;             /* NULL: memory only */
    struct tail *tail;           /* without a log: begun, taken and sealed here */
    void (*read_map)(void *context, struct snapshot_map *map); /* atomic with the log's tail */
    void (*progress)(void *context, uint64_t done, uint64_t total); /* keys */
    bool (*cancelled)(void *context);
    void *context;
    /* out */
    uint64_t trim_lsn;           /* tail when it began, at most the lowest capture_lsn: the log below is not needed any more */
    uint64_t keys, bytes;
    uint64_t hold_bytes_max;     /* the most that was encoded or copied under one hold of a lock */
};
status snapshot_write(struct snapshot_write *w, char *detail, size_t detail_size) HF_CHECK;

/* What a loaded snapshot knows of its ranges, for replay. */
struct snapshot_ranges;
/* The lsn from which effects on this key are to be replayed: that of the range that held its hash, or, when the
 * stripe had no such table, that of the moment at which it had none. 0 when captured without a log. */
uint64_t snapshot_capture_lsn(const struct snapshot_ranges *r, uint32_t stripe, uint32_t db_id, uint64_t hash);
void snapshot_ranges_free(struct snapshot_ranges *r);

struct snapshot_load {
    const char *dir;
    uint64_t log_id;
    struct store *store;         /* empty; its secret is set from the snapshot's header beforehand */
    int threads;                 /* thread i loads the stripes with number % threads == i, with heaps[i] */
    struct slab_heap **heaps;
    /* snapshot_load_tail calls it on every thread for every record, in order, as log_recover does. */
    status (*each)(void *context, int thread, const struct log_record *record);
    void (*progress)(void *context, uint64_t done, uint64_t total); /* from the calling thread */
    void *context;
    /* out */
    bool found;                  /* a published snapshot was there */
    bool has_tail;               /* it was that of a memory-only server: complete without a log, which begins at from_lsn */
    uint64_t number, from_lsn, keys;
    struct snapshot_map map;
    struct snapshot_ranges *ranges;
};
/* Loads the newest published snapshot whole and verified; replay starts at from_lsn. Entries keep deadlines that
 * have passed. After a failure the store may hold a part. ranges: the caller's, snapshot_ranges_free. Damage: HF_ERR_CORRUPT with file and offset in detail. */
status snapshot_load(struct snapshot_load *l, char *detail, size_t detail_size) HF_CHECK;
/* After snapshot_load, when has_tail: replays the records that make the snapshot a cut. */
status snapshot_load_tail(struct snapshot_load *l, char *detail, size_t detail_size) HF_CHECK;
/* Reads the hash secret of the newest published snapshot, for making the store that it is loaded into. */
status snapshot_peek(const char *dir, uint64_t log_id, bool *found, uint64_t *secret, char *detail,
                     size_t detail_size) HF_CHECK;
/* Deletes published snapshots older than number and unfinished files. */
void snapshot_clean(const char *dir, uint64_t number);

#endif
