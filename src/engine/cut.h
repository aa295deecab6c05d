/* cut.h -- all databases as they were at one moment, key by key, while everybody goes on changing them.
 *
 * A snapshot's ranges are each of their own time, and its log makes one cut of them (durable/snapshot.h). Whoever has no log to
 * replay, a replica, needs the cut itself. So a change first hands over what it is about to change: the hash range of the
 * key, some entries, unless it has been handed over already. One thread walks over the rest. Each range is handed
 * over once, as it was when the cut began, by whoever comes first.
 *
 * Small values are copied, large ones shared (types/type.h). What changes hand over waits in memory until the thread takes it;
 * above CUT_WAITING_MAX the cut is given up. A database that is emptied stays until the cuts have walked over it, all that there are.
 *
 * Threads: cut_begin under the gate; cut_next and cut_end one thread; cut_before whoever holds the stripe.
 */
#ifndef HF_ENGINE_CUT_H
#define HF_ENGINE_CUT_H

#include "engine/internal.h"

#define CUT_WAITING_MAX (UINT64_C(256) << 20)

struct cut;

struct cut_key { /* ends with the call that it was given to */
    uint32_t db;
    bytes name;
    uint64_t deadline_ms;
    enum type type;
    bytes text;   /* of a string */
    void *object; /* of all others: a share, which may be changed */
};

struct cut *cut_begin(struct engine *e);
uint64_t cut_lsn(const struct cut *c); /* it shows nothing behind this position */
/* The next part; each is called once for every key, in no order. *more false: that was all. HF_ERR_NO_MEMORY: it was given up. */
status cut_next(struct cut *c, void (*each)(void *context, const struct cut_key *k), void *context, bool *more) HF_CHECK;
void cut_end(struct cut *c); /* at any time; frees it */

/* The stripe is locked: what this key's entry holds, or that there is none, is about to change. */
void cuts_before(struct engine *e, struct stripe *s, uint32_t db_id, uint64_t hash);
static inline void cut_before(struct engine *e, struct stripe *s, uint32_t db_id, uint64_t hash)
{
    if (HF_UNLIKELY(atomic_load_explicit(&e->cuts, memory_order_acquire) != NULL))
        cuts_before(e, s, db_id, hash);
}
/* The stripe is locked, and this table of it is about to leave it, its database has been emptied. True: cuts have taken it over. */
bool cuts_keep(struct engine *e, const struct stripe *s, struct table *t);
void cuts_wait(struct engine *e); /* until there is none: the engine is being closed */

#endif
