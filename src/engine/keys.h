/* keys.h -- operations on keys of any type, and on databases. */
#ifndef HF_ENGINE_KEYS_H
#define HF_ENGINE_KEYS_H

#include "engine/txn.h"

/* What a key is; absent keys have found = false. Counts as a read, not as an access. */
struct key_info {
    bool found;
    int type;              /* enum type */
    const char *encoding;  /* as OBJECT ENCODING says it */
    uint64_t deadline_ms;  /* 0: none */
    uint32_t idle_seconds;
    uint32_t frequency;
    size_t memory;         /* bytes held by the key and its value */
    size_t index_memory;   /* its share of the index */
};

void key_info(struct txn *t, const struct key *k, struct key_info *out);
bool key_exists(struct txn *t, const struct key *k);
void key_looked_up(struct txn *t, const struct key *k, bool found); /* by a command that reads: counted, a miss is told */
bool key_read(struct txn *t, const struct key *k); /* key_exists for such a command */
bool key_touch(struct txn *t, const struct key *k); /* exists, and now counts as accessed */
bool key_remove(struct txn *t, const struct key *k);
/* As if the last access of the key, which is there, had been so long ago; how often it was used. Neither is logged. */
void key_set_idle(struct txn *t, const struct key *k, uint64_t seconds);
void key_set_frequency(struct txn *t, const struct key *k, uint8_t frequency);

enum { DEADLINE_NX = 1, DEADLINE_XX = 2, DEADLINE_GT = 4, DEADLINE_LT = 8 };
/* False: absent, or the condition refused. A deadline in the past removes the key (true). */
bool key_set_deadline(struct txn *t, const struct key *k, uint64_t deadline_ms, unsigned conditions);
bool key_persist(struct txn *t, const struct key *k); /* true: had a deadline */

/* *done false: if_absent and the target exists. from == to is the caller's to word. */
status key_rename(struct txn *t, const struct key *from, const struct key *to, bool if_absent, bool *done) HF_CHECK; /* HF_ERR_NO_SUCH_KEY */
status key_copy(struct txn *t, const struct key *from, const struct key *to, bool replace, bool *done) HF_CHECK; /* absent source: done false */
status key_move(struct txn *t, const struct key *from, const struct key *to, bool *done) HF_CHECK; /* other database, target must be absent */

/* Databases, by number. The caller holds the gate (CMD_GATE). */
void db_flush(struct txn *t, uint32_t db);
/* Emptied when the time has come, whatever is in it then, also when that is after a restart; 0: never mind. The last call counts. */
status db_flush_later(struct txn *t, uint32_t db, uint64_t at_ms) HF_CHECK;
void db_flush_all(struct txn *t);
void db_swap(struct txn *t, uint32_t a, uint32_t b);

/* Whole keyspace: exact per key, not one cut (outside the gate). These lock stripes
 * one after the other by themselves, waiting briefly for each: call without locks, or
 * with the gate held. */
uint64_t db_size(struct txn *t, uint32_t db);
uint64_t db_deadline_count(struct txn *t, uint32_t db);
uint64_t db_place_count(struct txn *t, uint32_t db); /* of the index, for keys that are there or may come */
/* One step of SCAN: at least one bucket, about count keys; returns the next cursor (below 2^53), 0 at the end. */
uint64_t db_scan(struct txn *t, uint32_t db, uint64_t cursor, size_t count,
                 void (*each)(void *context, bytes key, int type), void *context);
/* Keys of the 16 slots beside this one, its own among them, until *enough (the caller's count) has reached `count`. */
void db_scan_slot(struct txn *t, uint32_t db, uint16_t slot, uint64_t count, void (*each)(void *context, bytes key, int type),
                  void *context, const uint64_t *enough);
bool db_random_key(struct txn *t, uint32_t db, bytes *name); /* in the txn's arena */

#endif
