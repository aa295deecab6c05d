/* table.h -- the index of one (stripe, database): hash-ordered buckets, and the wheel
 * of their deadlines.
 *
 * A bucket is one cache line: ten tags, ten 5-byte references, and a meta word:
 *   bits 0-15   lsn page (lsn >> 12) of the last change of a key whose home it is
 *   bits 16-24  wheel slot where this bucket is enrolled, bit 25 enrolled
 *   bits 26-29  spill: greatest distance of a home key in a following bucket; 15: in the stash
 * Home = (high half of the hash * home count) >> 32, so buckets are in hash order at
 * any size, and growth copies runs of buckets behind a frontier, a few per change.
 *
 * Threads: guarded by the stripe's lock. Memory: the table owns its index, the entries
 * belong to whoever empties it (table_take_some).
 */
#ifndef HF_STORE_TABLE_H
#define HF_STORE_TABLE_H

#include "store/entry.h"
#include "store/key.h"

struct bucket {
    uint8_t tag[10];
    uint8_t ref[10][5];
    uint32_t meta;
} __attribute__((packed, aligned(64)));
_Static_assert(sizeof(struct bucket) == 64, "a bucket is a cache line");

#define BUCKET_ENTRIES 10u
#define CHUNK_BUCKETS 16u

struct chunks;

struct index {
    struct bucket **chunks;
    struct chunks *source; /* of chunks: shared by all tables of a store */
    uint32_t home_count;   /* buckets that keys have as home */
    uint32_t bucket_count; /* those and the tail; a multiple of CHUNK_BUCKETS */
    uint32_t stash_count, stash_capacity;
    uint64_t *stash;       /* references of entries that found no room near home */
};

struct wheel;

struct table {
    uint64_t (*hash_of)(const void *context, bytes key);
    const void *context;
    uint8_t *base;           /* of the slab */
    uint32_t db_id;
    uint32_t stagger;        /* first growth factor in 1/256 */
    struct index now, next;  /* next: while growing */
    bool growing;
    uint32_t frontier;       /* homes of now below it live in next */
    uint64_t taken;          /* table_take_some: buckets already emptied */
    uint64_t count, deadline_count;
    uint64_t entry_bytes;    /* slab bytes and values, kept by the caller through table_account */
    struct wheel *wheel;
};

/* Where an entry stands, or where an absent key has its home. */
struct place {
    struct entry *entry;   /* NULL: absent */
    struct bucket *bucket; /* holds entry; NULL for the stash */
    struct index *index;
    uint32_t number;       /* of bucket; or position in the stash */
    uint32_t at;           /* 0..9 */
};

struct table *table_new(uint64_t (*hash_of)(const void *, bytes), const void *context, uint8_t *slab_base,
                        struct chunks *chunks, uint32_t db_id, uint32_t stripe);
/* Makes room for so many keys at once. Only while empty; for loading in hash order, which would crowd
 * the first buckets of a table that still has to grow. */
void table_reserve(struct table *t, uint64_t count);
void table_free(struct table *t); /* must be empty of entries that anyone still wants */

/* The home bucket; after it arrived: the entry. change: as lines that will be written, taken from the other cores' caches. The
 * second one needs no lock: what it reads may be changing, or belong to another table by now, and is only a hint where to look. */
const struct bucket *table_prefetch(const struct table *t, uint64_t hash, bool change);
void bucket_prefetch_entry(const struct bucket *b, const uint8_t *slab_base, uint64_t hash, bool change);
bool table_find(struct table *t, bytes key, uint64_t hash, struct place *place);
/* The key must be absent. Also moves growth on. tail: the log's, for stamps. */
void table_insert(struct table *t, uint64_t hash, struct entry *e, uint64_t tail);
void table_replace(struct table *t, const struct place *p, struct entry *e); /* same key */
void table_remove(struct table *t, const struct place *p, uint64_t hash, uint64_t tail);
/* Enrols the deadline of the entry at p (after insert or change). */
void table_enrol(struct table *t, bytes key, uint64_t hash, uint64_t deadline_ms);

void table_stamp(struct table *t, uint64_t hash, uint64_t lsn);
void table_stamp_all(struct table *t, uint64_t lsn); /* of a new table */
uint64_t table_stamp_lsn(const struct table *t, uint64_t hash, uint64_t tail); /* at least the lsn of its last change */

/* The earliest time at which table_due has work; UINT64_MAX: none. */
uint64_t table_next_deadline(const struct table *t);
/* One bucket's worth of due keys: fills up to 10 entries (entry_wake has come), re-enrols the rest; false: nothing more to
 * fire at now_ms. *count may be 0 with true: call again. The caller removes the entries, or
 * enrols them again. */
bool table_due(struct table *t, uint64_t now_ms, struct entry *due[BUCKET_ENTRIES], unsigned *count);

/* Walk in hash order: calls each for the entries with high hash half in [from, to of the home bucket];
 * returns the first high hash half not visited, UINT64_C(1) << 32 at the end. */
uint64_t table_walk(struct table *t, uint64_t from, size_t at_least,
                    void (*each)(void *context, struct entry *e, uint64_t hash), void *context);
/* Calls each for the entries with a deadline in one bucket, chosen by chance among those that the wheel knows; first: among those
 * that it looks at next. False: it knows none. Some of the entries may have been met before. */
bool table_sample_deadlines(struct table *t, uint64_t random, bool first, void (*each)(void *context, struct entry *e, uint64_t hash),
                            void *context);
struct entry *table_random(struct table *t, uint64_t random); /* NULL: empty */
/* Freeing a dropped table in slices: hands out each entry once, a few buckets at a time; 0: all given.
 * max >= 256. The entries may be freed before the next call; nothing else may use the table. */
size_t table_take_some(struct table *t, struct entry **out, size_t max);
uint64_t table_index_memory(const struct table *t); /* wheel and all */
uint64_t table_wheel_memory(const struct table *t);
void table_check(struct table *t);

#endif
