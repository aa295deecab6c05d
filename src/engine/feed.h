/* feed.h -- what a transaction tells those who follow this server: the commands that make the same changes elsewhere.
 *
 * The executor notes what each command has changed (cmd/feed.h); here stand the notes, and those that the engine makes by
 * itself: keys and fields whose time is over, keys that were evicted. Collected in order, handed over when the transaction
 * commits, under its locks and with its position; dropped with a rollback. While nobody follows nothing is collected, and
 * only the ways of keys that go by themselves ask.
 */
#ifndef HF_ENGINE_FEED_H
#define HF_ENGINE_FEED_H

#include "engine/internal.h"

struct feed_note {
    struct delivery delivery;
    uint32_t unit;  /* notes of one unit belong together: all or nothing */
    uint32_t db;
    bool told;      /* the listener's own */
    bytes text;     /* the words as RESP: an array of bulk strings */
};

static inline bool engine_is_fed(const struct engine *e)
{
    return HF_UNLIKELY(atomic_load_explicit(&e->on_feed, memory_order_relaxed) != NULL);
}

/* The caller has asked engine_is_fed. The words are copied. */
void txn_feed(struct txn *t, uint32_t db, const bytes *words, size_t count);
void txn_feed_unit(struct txn *t); /* what follows is a unit of its own */
struct feed_note *feed_note_next(const struct feed_note *note); /* of the same transaction; NULL: the last one */

/* Nobody's command: the key has gone by itself, or fields of it that are due. These changes are no effects of the command
 * that met them (txn_own_changes). */
void txn_feed_gone(struct txn *t, const struct key *k);
void txn_feed_fields_due(struct txn *t, const struct key *k, const void *hash); /* before they go */

void txn_observe(struct txn *t, uint64_t lsn); /* the reply shows what has this position */

/* Of the commands themselves: compare before and after one. */
static inline uint64_t txn_own_changes(const struct txn *t) { return t->changes - t->changes_by_time; }


/* tell NULL: nobody follows any more. Switched on while the gate is held, so that no transaction is half collected. */
void engine_feed(struct engine *e, void (*tell)(struct feed_note *note, uint64_t lsn));

#endif
