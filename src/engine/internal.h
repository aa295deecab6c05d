/* internal.h -- the engine's own structs, shared by the files of this folder and the executor.
 *
 * Lock order: gate, stripes ascending, then nothing.
 */
#ifndef HF_ENGINE_INTERNAL_H
#define HF_ENGINE_INTERNAL_H

#include "base/counter.h"
#include "base/memory.h"
#include "durable/effect.h"
#include "durable/identity.h"
#include "durable/log.h"
#include "durable/snapshot.h"
#include "engine/engine.h"
#include "engine/txn.h"
#include "store/clock.h"
#include "store/entry_make.h"
#include "store/store.h"

#define DATABASES_MAX 1024u
#define SYSTEM_DB DATABASES_MAX /* behind the databases that clients select (system.h) */
#define SYSTEM_DB_ID (UINT32_MAX - 1)

struct worker_slot {                /* one per worker, cache lines of its own */
    _Alignas(64) _Atomic uint32_t in_batch;
    _Atomic uint64_t long_since;    /* 0, or a command of this batch takes long: when the batch began (os/ticks.h) */
    _Atomic uint64_t gate_asked;    /* while it owns the gate: since when */
    _Atomic uint64_t hits, misses, expired, changes, evicted, expired_fields;
    _Atomic uint64_t expire_ticks, expire_capped; /* os/ticks.h; turns of expire_slice that ended early */
};

struct cut;
struct event;
struct change;
struct item;
struct feed_note;

struct dropped { struct dropped *next; struct table *table; }; /* a table out of its stripe, to be freed in slices */
struct dropped_object { struct dropped_object *next; enum type type; void *object; }; /* a large collection or string, likewise */

struct engine {
    struct engine_config config;
    char *dir;
    int lock_file;
    struct store *store;
    struct log *log;                /* NULL: memory only */
    struct cut *_Atomic cuts;       /* NULL: none is being taken (cut.h); changed under cuts_lock */
    void (*_Atomic on_change)(struct txn *t, struct change *change, uint64_t lsn); /* NULL: nobody caches (events.h) */
    void (*_Atomic on_feed)(struct feed_note *note, uint64_t lsn); /* NULL: nobody follows (feed.h) */
    struct tail tail;               /* memory only: what changes while a snapshot is written */
    struct spin cuts_lock;
    _Atomic unsigned cuts_ending;   /* out of the list, and not freed yet */
    struct slab_heap *heaps[WORKERS_MAX + 2]; /* workers, then library and recovery */
    struct slab_heap *spare_heap;   /* for threads that are no workers; guarded by spare_lock */
    struct spin spare_lock;

    /* database number -> internal id. Changed under the gate and map_lock; read inside a batch. */
    struct spin map_lock;
    uint32_t db_ids[DATABASES_MAX + 1];
    uint32_t db_next_id;
    bool map_pending;               /* changed by a transaction that has no place in the log yet; guarded by map_lock */
    _Atomic uint64_t map_lsn;       /* position of the last change: reads of any key wait for it */
    struct spin dropped_lock;
    struct dropped *dropped;        /* guarded by dropped_lock, and so is: */
    struct dropped_object *dropped_objects;

    /* gate: owner + 1, and who is inside a batch. GATE_OPEN: the owner waits for commands that take long, and others go in meanwhile */
#define GATE_OPEN UINT32_C(0x80000000)
    _Atomic uint32_t gate_owner;
    struct worker_slot workers[WORKERS_MAX + 1]; /* last: everyone who is no worker */
    struct watch *watches_left[WORKERS_MAX]; /* cmd/watch: by the sessions of each worker, in stripes that were busy; that worker's */

    _Atomic uint64_t time_high;     /* highest transaction time seen */
    _Atomic uint64_t flush_at_ms;   /* when a database is to be emptied (keys.h, db_flush_later); 0: none is */
    _Atomic uint32_t flush_db;
    _Atomic uint64_t version_last;  /* of items.h; at the start above all that was ever given out */
    _Atomic unsigned expiry_rests;  /* reasons, of enum expiry_rest: then keys expire only when they are seen */
    _Atomic uint64_t maxmemory;     /* 0: no limit */
    uint64_t ring_memory;           /* not in the account: the log's, of a fixed size */
    struct eviction_settings eviction;
    uint64_t *emptied_lsn;          /* by stripe, under its lock: what its tables that were given up had as their last position */
    _Atomic uint64_t over_since_us, over_total_us; /* above maxmemory: since when (0: it is not), and before that */
    _Atomic uint64_t freeing, freed; /* entries and large collections in the lists of dropped ones, and since the start out of them */
    _Atomic uint64_t free_slices, free_slice_max; /* how many there were, and the most bytes that one freed */
    _Atomic uint32_t dropped_any;    /* how long the two lists are, and who has just taken one */

    _Atomic uint32_t event_classes; /* of enum event_class: what somebody listens to */
    void (*_Atomic on_event)(const struct event *event, uint64_t lsn);
    void (*_Atomic on_item_evicted)(struct txn *t, const struct key *k, const struct item *item); /* NULL: nobody is told (items.h) */

    /* snapshots */
    struct os_mutex snapshot_lock;
    struct os_cond snapshot_done;
    _Atomic bool snapshot_running; /* changed under the lock */
    bool snapshot_failed, snapshot_cancel, snapshot_follows; /* another one is wanted after it */
    uint64_t snapshot_number, snapshot_generation, snapshot_count, snapshot_started_us;
    uint64_t snapshot_last_s, snapshot_last_ms, snapshot_last_bytes, snapshot_hold_bytes_max;
    _Atomic uint64_t snapshot_done_keys, snapshot_total_keys;
    uint64_t log_id;
    uint8_t identity[IDENTITY_SIZE]; /* holdfast.id; memory only: written with the first snapshot */
    bool identity_saved;
    uint64_t log_at_snapshot;
    os_thread keeper;               /* starts snapshots when the log outgrows the data */
    bool keeper_running;
    _Atomic bool stopping;
    struct parking keeper_parking;
    uint64_t recovery_ms, recovered_keys;
    _Atomic uint64_t recovered_records;
    _Atomic uint64_t used_peak, changes_at_snapshot;
};

struct touched { struct table *table; uint64_t hash; };

enum undo_kind { UNDO_ENTRY, UNDO_DEADLINE, UNDO_OBJECT, UNDO_BYTES, UNDO_MAP, UNDO_CALL };

struct undo {
    struct undo *next;
    enum undo_kind kind;
    bool shallow_old, shallow_new;  /* the block shares its value with another one */
    struct stripe *stripe;
    uint32_t db_id;
    uint64_t hash;
    bytes key;
    struct entry *old;
    uint64_t deadline_ms;
    enum type type;
    void *object, *share; /* the object of before, and what it held */
    bytes overwritten;    /* of a large string changed in place: what stood at offset; and its size */
    uint64_t offset, size;
    uint32_t *ids, next_id;
    void (*over)(void *context, bool undone); /* of something beside the keyspace (txn_on_end) */
    void *context;
};

struct shadow { struct shadow *next; enum type type; void *object; }; /* what a transaction sees that may not remove what is due */

struct ready_key { struct ready_key *next; struct key key; }; /* changed, and somebody waits for it */

struct txn {
    struct engine *engine;
    struct slab_heap *heap;
    struct worker_slot *slot_stats;
    uint64_t now_ms, clock_ms; /* the second is the time also while recovering, when no deadline passes */
    uint32_t chance;    /* of an entry's count of uses to rise */
    bool counts_uses;   /* the eviction policy asks for it */
    bool untouching;    /* CLIENT NO-TOUCH: reads leave no trace in an entry's clock */
    bool noting;        /* has a record: for the log, or for the tail of a snapshot (set with the locks) */
    bool may_give_up;   /* runs again from its beginning when it gives up: a walk over all stripes */
    int busy_stripe;    /* it has given up at this one; -1: no */
    bool may_change;    /* has log credit: observed expiry is removed and logged */
    bool undoing;       /* keep undo */
    bool map_changed;
    bool recovering;    /* keys carry internal ids, nothing is logged, no deadline passes */
    uint32_t *dropped_ids; /* databases emptied by this transaction: detached at commit */
    size_t dropped_count;
    uint16_t slot;
    bool slot_known;
    struct buf record;  /* RECORD_HEADER_SIZE, then effects; unused when memory only */
    struct touched *touched;
    size_t touched_count, touched_capacity;
    uint64_t observed_lsn;
    uint16_t *locked;   /* stripes held, ascending */
    size_t locked_count, locked_capacity;
    bool single;        /* exactly locked[0], kept out of the array path */
    struct undo *undo, *undo_floor; /* the floor: where the innermost point stands */
    struct arena arena;
    void *client;       /* whose commands these are, for whom on_change tells; NULL: the server's own */
    bool observing;     /* removes what is due, serves a waiter: a change by nobody, or by somebody else */
    uint64_t changes, changes_by_time; /* the second: of keys and fields that were met past their deadline */
    uint32_t feed_unit; /* of feed.h */
    uint32_t due_met;   /* keys that were asked for and past their deadline, ever */
    struct shadow *shadows;
    struct delivery *deliveries, *deliveries_last;
    struct ready_key *ready, *ready_last; /* in the order of their changes; the executor serves them */
};

/* Where a key is. table NULL: the (stripe, database) has none. */
struct spot {
    struct stripe *stripe;
    struct table *table;
    struct place place;
    uint32_t db_id;
};

/* txn.c */
void txn_reset(struct txn *t, uint64_t now_ms);
void txn_lock_add(struct txn *t, uint16_t stripe);          /* collects; any order, duplicates allowed */
void txn_lock_add_all(struct txn *t, const uint16_t *stripes, size_t count);
void txn_lock_added(struct txn *t, uint16_t stripe);        /* one more, locked by the caller while others are held */
int txn_lock_all(struct txn *t);                            /* -1: all held; else the busy stripe, none held */
void txn_lock_all_wait(struct txn *t);
uint64_t txn_commit_lsn(struct txn *t);                     /* logs, stamps, unlocks; what the reply waits for */
void txn_rollback_all(struct txn *t);
void txn_restart(struct txn *t); /* after a rollback: the same transaction, from its beginning; keeps the clock and the arena */
/* One command of several steps, of which a later one may be refused: undone up to the point, the rest of the transaction
 * stays. Nothing but txn_point_undo or txn_point_keep may follow on the point's steps. */
struct txn_point { struct undo *undo; size_t record_size, touched_count; uint64_t changes; struct delivery *deliveries_last; struct ready_key *ready_last;
                   struct undo *floor; bool undoing; };
void txn_point_set(struct txn *t, struct txn_point *point);
void txn_point_undo(struct txn *t, const struct txn_point *point);
void txn_point_keep(struct txn *t, const struct txn_point *point);
void txn_unlock_all(struct txn *t);

struct entry *txn_find(struct txn *t, const struct key *k, struct spot *spot); /* live entry or NULL */
void txn_changed(struct txn *t, const struct key *k, struct spot *spot);       /* stamps and watches */
void txn_changed_unwatched(struct txn *t, const struct key *k, struct spot *spot);
/* Readers wait for this transaction's record, too; txn_changed implies it. */
void txn_stamp_later(struct txn *t, const struct key *k, const struct spot *spot);
void txn_ready(struct txn *t, const struct key *k); /* whoever waits for it is run before the commit */
bool txn_logs(const struct txn *t);
/* Puts an entry for the key, replacing what is there; logs a PUT when `log`. */
status txn_put(struct txn *t, const struct key *k, struct spot *spot, const struct entry_image *image, void *object, bool log) HF_CHECK;
/* Links a block made by the caller; shared: its value belongs to another block until that one is removed. Logs a PUT. */
status txn_adopt(struct txn *t, const struct key *k, struct spot *spot, struct entry *fresh, bool shared) HF_CHECK;
void txn_remove(struct txn *t, const struct key *k, struct spot *spot, bool log, bool shallow);
struct undo *txn_undo_push(struct txn *t, enum undo_kind kind, const struct key *k, const struct spot *spot);
/* A block that shares the value of the old one (deadline added or removed). */
status txn_reblock(struct txn *t, const struct key *k, struct spot *spot, uint64_t deadline_ms) HF_CHECK;
/* The same for any fields; the image's value is that of the old block. */
status txn_reblock_as(struct txn *t, const struct key *k, struct spot *spot, const struct entry_image *image) HF_CHECK;
void txn_access(struct txn *t, struct entry *e);

/* keyspace_hits and keyspace_misses. */
static inline void txn_count_lookup(struct txn *t, bool hit)
{
    counter_add(hit ? &t->slot_stats->hits : &t->slot_stats->misses, 1);
}

/* A string in one run; a large one is put together in the arena. */
bytes string_flat(const struct entry *e, char digits[24], struct arena *arena);
/* The form that a string has in its entry: a 64-bit integer where it reads as one (kept in *number), else its bytes. */
void string_form(struct entry_image *image, bytes value, int64_t *number);

/* watch.c: registrations of WATCH, kept in stripes */
struct watcher {
    _Atomic bool dirty; /* set by any worker, under the lock of a stripe that lists one of its watches */
    size_t count;       /* of its watches; touched by the worker of its session only */
};
struct watch {
    struct watch *next, *previous;  /* in the stripe's list */
    struct watch *sibling;          /* the session's next */
    struct engine *engine;
    struct watcher *watcher;
    uint32_t db;
    uint16_t stripe;
    uint64_t hash;
    bool was_expired;               /* SWAPDB brought a key past its deadline: its removal is no change */
    bytes key;                      /* memory of its own, behind the struct */
};
struct watch *watch_add_locked(struct engine *e, const struct key *k, struct watcher *watcher);
void watch_remove_locked(struct watch *w); /* frees it */
static inline size_t watch_memory(const struct watch *w) { return mem_class_size(sizeof(*w) + w->key.size); }
/* Whoever watches the key is told, at commit if the transaction can be undone. */
void watch_touch_locked(struct txn *t, struct stripe *s, uint32_t db_id, bytes key);
/* Whoever watches a key that is in one of the two databases; ids: by number, as they were before the change. */
void watch_tell_database_locked(struct stripe *s, const uint32_t *ids, uint32_t db_id, uint32_t other_id, uint64_t now_ms);

/* apply.c */
/* Applies the effects of a record whose stripe belongs to this thread (stripe % threads). t: recovering. */
status apply_record(struct engine *e, int thread, int threads, struct txn *t, const struct snapshot_ranges *ranges,
                    uint64_t map_lsn, const struct log_record *record);

/* objects.c: parts of a collection that expire by themselves (fields of a hash) */
/* The entry with what is due removed from its collection, logged and told; NULL: nothing was left, the key is gone. */
struct entry *object_expire_parts(struct txn *t, const struct key *k, struct spot *spot);
/* Lets the wheel know of the entry's first part to expire; it is in the table. */
void object_enrol(struct stripe *s, struct table *table, const struct key *k, struct entry *e);
/* All that it holds is due. */
bool object_is_over(const struct txn *t, const struct entry *e);
void shadows_free(struct txn *t);

/* engine.c */
status engine_save_identity(struct engine *e, char *detail, size_t size) HF_CHECK;

/* databases.c */
/* db_scan with what the keys hold; under the lock of their stripe. */
uint64_t db_scan_entries(struct txn *t, uint32_t db, uint64_t cursor, size_t count, void (*each)(void *context, struct entry *e), void *context);
/* A stripe that the transaction (NULL: none) holds already is left as it is. True: locked now. */
bool walk_lock(const struct txn *t, struct stripe *s);
/* The same for a transaction that may give up. False: it has, since the stripe stays busy; it returns at once, and runs again. */
bool walk_enter(struct txn *t, struct stripe *s, bool *locked);
/* DATABASES_MAX: none, its database has been emptied, or is the system's. Inside a batch: the map stands still. */
uint32_t db_number(const struct engine *e, uint32_t db_id);
void databases_detach(struct engine *e, uint32_t db_id); /* gate held, or no workers yet */
void databases_detach_unmapped(struct engine *e);        /* at the end of recovery */
void databases_drop(struct engine *e, struct table *table); /* out of its stripe: freed in slices */
#define DROPPED_BYTES (8u << 10) /* a collection of this size is freed in slices, too */
void databases_drop_object(struct engine *e, enum type type, void *object);
bool databases_free_slice(struct engine *e, struct slab_heap *heap); /* true: more to do */
/* Frees a block that is in no table any more; a large collection in it goes in slices, later. */
void engine_entry_free(struct engine *e, struct slab_heap *heap, struct entry *old);

/* expire.c */
/* flush.c: what db_flush_later has noted, once recovered; what is overdue is done before anybody reads. */
void flush_recover(struct engine *e);

uint64_t expire_slice(struct engine *e, struct txn *t, unsigned worker, unsigned workers, uint64_t wall_ms);

/* snapshots.c */
void snapshots_start_keeper(struct engine *e);
void snapshots_stop_keeper(struct engine *e);

#endif
