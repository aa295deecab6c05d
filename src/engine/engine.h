/* engine.h -- the database: one store, one log, snapshots. What the server opens.
 *
 * engine_open recovers before it returns (progress through on_progress). Workers then
 * each make a struct exec (cmd/exec.h); engine_close needs them all gone.
 */
#ifndef HF_ENGINE_ENGINE_H
#define HF_ENGINE_ENGINE_H

#include "durable/log.h"
#include "store/key.h"

struct engine;
struct event; /* engine/internal.h: a list */

struct engine_config {
    const char *dir;             /* data directory; made if absent; locked exclusively */
    uint32_t databases;          /* 16 */
    unsigned workers;            /* at most WORKERS_MAX */
    enum durability durability;  /* NONE: memory only, unless the directory holds a log */
    size_t ring_size;            /* 0: default */
    uint64_t segment_size;       /* 0: default */
    uint32_t interval_ms;        /* 0: default */
    uint64_t interval_bytes;     /* 0: default */
    uint64_t maxmemory;          /* 0: none */
    bool auto_snapshot;          /* when the log outgrows the data */
    /* Log positions or state moved, or the gate opened: wake every worker. Any thread. */
    void (*wake_workers)(void *context);
    void (*on_progress)(void *context, const char *what, uint64_t done, uint64_t total);
    void (*on_log_line)(void *context, int level, const char *line); /* level: 0 debug 1 verbose 2 notice 3 warning */
    void *context;
};

#define WORKERS_MAX 64

/* What goes first when maxmemory is reached: bits. 0: nothing. */
enum eviction_policy { EVICT_LRU = 1, EVICT_LFU = 2, EVICT_RANDOM = 4, EVICT_TTL = 8, EVICT_ALL_KEYS = 16 /* else: those with a deadline */ };

struct eviction_settings { _Atomic uint32_t policy, samples, lfu_log_factor, lfu_decay_min; }; /* policy: of enum eviction_policy */

status engine_open(const struct engine_config *config, struct engine **out, char *detail, size_t detail_size) HF_CHECK;
void engine_close(struct engine *e); /* everything acknowledged or published is on disk after */

/* Positions up to which replies may leave. UINT64_MAX in a memory-only server. */
uint64_t engine_written(const struct engine *e);
uint64_t engine_durable(const struct engine *e);
bool engine_logged(const struct engine *e);
uint64_t engine_identity(const struct engine *e); /* random, kept in the data directory */
struct log *engine_log(struct engine *e); /* NULL when memory only */
void engine_set_maxmemory(struct engine *e, uint64_t bytes);
uint64_t engine_maxmemory(const struct engine *e);
void engine_set_eviction(struct engine *e, uint32_t policy, uint32_t samples, uint32_t lfu_log_factor, uint32_t lfu_decay_min);

status engine_snapshot_start(struct engine *e);  /* HF_ERR_EXISTS: one runs already */
/* After all that is written now: when one runs, another follows it (*scheduled). */
void engine_snapshot_follow(struct engine *e, bool *scheduled);
status engine_snapshot_wait(struct engine *e);   /* for the one that runs, or starts one */

struct txn;

/* Sums of what each worker counts, since the start. */
struct engine_counts {
    uint64_t hits, misses, expired, evicted;
    uint64_t expired_fields;                 /* of hashes */
    uint64_t freed;                          /* values and tables, in slices */
    uint64_t expire_ticks, expire_capped;    /* time of removing what is due; turns that did not get to the end */
};

struct engine_stats {
    uint64_t keys, keys_with_deadline, used_memory, used_memory_peak, index_memory;
    uint64_t held_memory;          /* pages of entries and of the index */
    uint64_t slab_memory;          /* what is used of them */
    uint64_t uncounted_memory;     /* not against maxmemory: the log's ring, beside used_memory, and copies of large records, in it */
    uint64_t free_slices, free_slice_max; /* since the start: how many slices, the bytes of the largest */
    uint64_t freeing;              /* values and tables that are being freed in slices */
    uint64_t over_ms, over_total_ms; /* above maxmemory: since when it is now, and in all */
    uint64_t changes_since_snapshot;
    struct engine_counts counts;
    uint64_t snapshot_last_s, snapshot_last_duration_ms, snapshot_last_bytes, snapshot_hold_bytes_max;
    uint64_t snapshot_running_ms, snapshots; /* since when; how many were written since the start */
    bool snapshot_running, snapshot_last_failed, snapshot_follows /* another one follows */;
    double snapshot_progress;
    uint64_t recovery_ms, recovered_keys, recovered_records;
};
/* These two lock every stripe, one at a time, except those that t holds: the transaction that the caller runs
 * (then it owns the gate, CMD_WALKS; else two of them may wait for each other), or NULL. */
void engine_stats(struct engine *e, struct txn *t, struct engine_stats *out);
/* now_ms: for how long keys have to live; keyspace_release frees it. */
struct keyspace {
    struct db_counts { uint64_t keys, with_deadline, ttl_ms_avg; } *databases;
    double stale_percent;          /* of the keys with a deadline, in samples: past it and not removed yet */
    uint64_t awaited, awaited_any; /* keys that commands wait for; of these, those that wait for any change */
};
void engine_keyspace(struct engine *e, struct txn *t, uint64_t now_ms, struct keyspace *out);
void keyspace_release(struct keyspace *k);
struct db_memory { uint64_t keys, index, wheels; };
void engine_db_memory(struct engine *e, struct txn *t, uint32_t db, struct db_memory *out); /* locks as they do */
void engine_counts(struct engine *e, struct engine_counts *out); /* no lock */
uint64_t engine_snapshot_last_s(struct engine *e);
uint32_t engine_databases(const struct engine *e);

#endif
