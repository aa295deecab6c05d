/* items.h -- strings with client flags and a version: what a protocol with compare-and-set asks for.
 *
 * A version is a number of 62 bits that no other value of the key ever had. It is made when somebody asks for it, logged,
 * and lives as long as the value: whatever changes the value, through any protocol, ends it; a new deadline does not. A
 * key whose version nobody asked for has none and pays nothing; the same holds for client flags of 0. Beside the
 * number stand two marks, which end with the value, too. RENAME and COPY take client flags along, but no version.
 *
 * Keys must be locked by the txn; HF_ERR_WRONGTYPE for a key of another type, which is then unchanged. No version is logged
 * while the transaction may not change anything (txn.may_change): after a crash it is unknown then, and a compare fails.
 */
#ifndef HF_ENGINE_ITEMS_H
#define HF_ENGINE_ITEMS_H

#include "engine/txn.h"

#define ITEM_VERSION_MAX ((UINT64_C(1) << 62) - 1)

/* What a protocol may note about a value: it is outdated, and somebody has been told to make a new one. */
enum item_mark { ITEM_STALE = 1, ITEM_CLAIMED = 2 };

struct item {
    bool found;
    bool expired;          /* not found, because its deadline had passed */
    bool fetched;          /* item_access has counted it since the value was set; not kept over a restart */
    bytes value;           /* a view, or `digits` */
    uint32_t flags;
    uint64_t version;      /* 0: none was made */
    unsigned marks;        /* of enum item_mark */
    uint64_t deadline_ms;  /* 0: none */
    uint32_t idle_seconds; /* since it was last used */
    char digits[24];
};

/* Counts neither as a lookup nor as a use. */
status item_get(struct txn *t, const struct key *k, struct item *out) HF_CHECK;
size_t item_memory(struct txn *t, const struct key *k); /* what it takes; it is there */
/* db_scan for items: keys of another type are passed over. */
uint64_t item_scan(struct txn *t, uint32_t db, uint64_t cursor, size_t count,
                   void (*each)(void *context, bytes key, const struct item *item, size_t memory), void *context);
void item_count_lookup(struct txn *t, bool hit); /* keyspace_hits, keyspace_misses */
void item_access(struct txn *t, const struct key *k); /* it has been used, and fetched; it is there */
/* The same for what is found, in one step: *out shows it as it was before. */
status item_use(struct txn *t, const struct key *k, struct item *out) HF_CHECK;

struct item_fields {
    uint32_t flags;
    uint64_t deadline_ms;  /* 0: none. One in the past: the key is removed instead */
    uint64_t version;      /* the number to have; 0: a new one if `versioned`, or if the value before had one */
    bool versioned;
    unsigned marks;
    bool fetched;
};
/* Replaces the whole entry. *version: that of the new value, 0: none; NULL: not asked for. */
status item_put(struct txn *t, const struct key *k, bytes value, const struct item_fields *fields, uint64_t *version) HF_CHECK;
/* The value's version, made if it has none. */
status item_version(struct txn *t, const struct key *k, uint64_t *version) HF_CHECK;
/* Sets number (0: a new one) and marks of the value, which stays. */
status item_mark(struct txn *t, const struct key *k, uint64_t version, unsigned marks) HF_CHECK;
uint64_t item_version_next(struct engine *e);
/* Was this number given out for an earlier value? One without a number is younger than all that have one. */
bool item_is_younger(const struct engine *e, const struct item *item, uint64_t version);

/* Whom to tell of each item that is evicted: in its transaction, before it goes. NULL: nobody. */
typedef void item_eviction(struct txn *t, const struct key *k, const struct item *item);
void items_watch_evictions(struct engine *e, item_eviction *tell);
struct entry;
void item_evicted(struct txn *t, const struct key *k, const struct entry *e); /* while somebody is told */

/* Replay of item_version and item_mark. */
status item_recover_version(struct txn *t, const struct key *k, uint64_t field) HF_CHECK;
/* Once recovered, up to this time: later numbers are above all that were logged. Returns the time in ms at which the log goes on. */
uint64_t items_start(struct engine *e, uint64_t recovered_ms);

#endif
