/* zset.h -- what the files of sorted-set commands share. */
#ifndef HF_CMD_ZSET_H
#define HF_CMD_ZSET_H

#include "cmd/command.h"
#include "engine/objects.h"
#include "types/zset.h"

/* NULL: the key is absent. False: it holds another type, and the error was replied. */
bool zset_view(struct call *c, size_t key, const struct zset **z);
bool zset_open(struct call *c, size_t key, struct object_ref *o);
static inline struct zset *zset_of(const struct object_ref *o) { return o->object; }

void reply_score(struct call *c, double score);
/* A member, and with its score: flat in RESP2, a pair of its own in RESP3. */
void reply_scored(struct call *c, struct scored one, bool with_score);
/* The header of `count` of those. */
void reply_scored_array(struct call *c, size_t count, bool with_scores);
/* "WITHSCORES" and its kin: a double, or the error replied. */
bool arg_score(struct call *c, size_t index, double *score);

/* What GEOADD does: ZADD of `count` members, each behind its two coordinates from word `first` on. */
void zset_add_places(struct call *c, size_t first, bool nx, bool xx, bool ch, const double *scores, size_t count);
/* Makes the change, tells of it, and removes the key when it is empty. */
void zset_remove_range(struct call *c, struct object_ref *o, uint64_t first, uint64_t count, const char *event);
/* Replaces the key by what was collected: a whole new set; takes it. Replies its count and tells. */
void zset_store(struct call *c, size_t key, struct zset *z, const char *event);

#endif
