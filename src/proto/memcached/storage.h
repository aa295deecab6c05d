/* storage.h -- what memcached's commands do to a key, whatever form they came in.
 *
 * A status other than HF_OK has changed nothing; it is WRONGTYPE for a key of Redis that is no string.
 */
#ifndef HF_PROTO_MEMCACHED_STORAGE_H
#define HF_PROTO_MEMCACHED_STORAGE_H

#include "base/counter.h"
#include "cmd/command.h"
#include "engine/items.h"

enum store_mode { STORE_SET, STORE_ADD, STORE_REPLACE, STORE_APPEND, STORE_PREPEND, STORE_CAS };
enum store_result { STORED, NOT_STORED, EXISTS, MISSING };

struct storing {
    enum store_mode mode;
    bytes value;
    uint32_t flags;
    int64_t exptime;
    uint64_t cas;          /* to compare with; 0: none, but CAS always compares */
    uint64_t new_version;  /* the number to have; 0: the engine's */
    bool takes_older;      /* CAS with a number below today's stores, too, as a stale value with the deadline of today's */
    bool wants_version;
};

/* item_get and item_use, told to those who watch. */
status memcached_find(struct call *c, const struct key *k, struct item *item) HF_CHECK;
status memcached_use(struct call *c, const struct key *k, struct item *item) HF_CHECK;

status memcached_store(struct call *c, const struct storing *s, enum store_result *result, uint64_t *version) HF_CHECK;

enum delta_result { DELTA_OK, DELTA_MISSING, DELTA_NOT_NUMBER, DELTA_EXISTS };
struct delta {
    bool down;
    uint64_t amount;
    uint64_t cas;          /* 0: whatever is there */
    uint64_t new_version;
    bool wants_version;
    bool begins;           /* one that is missing is made: no miss */
};
/* *value, *version: the new ones. */
status memcached_delta(struct call *c, const struct delta *d, enum delta_result *result, uint64_t *value, uint64_t *version) HF_CHECK;

/* What was missing begins with this number. */
status memcached_begin_number(struct call *c, uint64_t value, const struct item_fields *fields, uint64_t *version) HF_CHECK;

/* Unix time in ms for a time of memcached; 0: never; one in the past: at once. Negative is for those that know signs. */
uint64_t memcached_deadline(uint64_t now_ms, int64_t exptime);
uint64_t memcached_ttl(uint64_t now_ms, uint64_t deadline_ms); /* seconds left, rounded up */
/* The item's deadline, tells of it; it is there. */
void memcached_set_deadline(struct call *c, const struct key *k, uint64_t deadline_ms);
void memcached_remove(struct call *c, const struct key *k);

/* A value that is larger than an item may be: what a set was to replace goes. */
status memcached_refuse_large(struct call *c, const char *command) HF_CHECK;

/* Counts of this worker, for stats. */
struct memcached_counts {
    _Alignas(64) _Atomic uint64_t cmd_get, cmd_set, cmd_flush, cmd_touch, cmd_meta;
    _Atomic uint64_t get_hits, get_misses, get_expired, delete_hits, delete_misses, incr_hits, incr_misses, decr_hits, decr_misses;
    _Atomic uint64_t cas_hits, cas_misses, cas_badval, touch_hits, touch_misses, auth_cmds, auth_errors, store_too_large, store_no_memory, total_items;
};
struct memcached_counts *memcached_counts(const struct call *c);
void memcached_count_no_memory(const struct session *s); /* a command was refused for want of it */
static inline void memcached_count(_Atomic uint64_t *counter) { counter_add(counter, 1); }
/* Of all workers, less what stats reset forgot. */
void memcached_counts_sum(struct memcached_counts *out);
void memcached_counts_reset(void);

#endif
