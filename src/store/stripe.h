/* stripe.h -- one lock's worth of the keyspace: a range of cluster slots.
 *
 * The hot part is one cache line: lock, table of the busiest database, earliest
 * deadline, watch list. A contended lock never puts a thread to sleep: the command is
 * parked here and posted back to its worker at unlock (R8).
 * Threads: any thread may lock any stripe; several in ascending order.
 */
#ifndef HF_STORE_STRIPE_H
#define HF_STORE_STRIPE_H

#include "os/thread.h"
#include "store/table.h"

/* A parked command: how it comes back. The owner of the connection owns it. wake is
 * called once, on the unlocking thread, and only posts a message. Other fields: ours. */
struct park_node {
    struct park_node *next;
    void (*wake)(struct park_node *node);
    _Atomic uint32_t state; /* 1 while parked; guarded by the stripe's park_lock */
    uint32_t stripe;
};

struct stripe {
    _Atomic uint32_t lock;           /* 0 free, 1 held, 3 held and commands are parked */
    uint32_t other_count;            /* tables of further databases */
    struct table *table;             /* first table made; NULL: none yet */
    struct table **others;
    _Atomic uint64_t deadline_next;  /* earliest time with expiry work; read without the lock */
    void *watches;                   /* engine/watch: registrations on keys of this stripe */
    struct park_node *parked;             /* FIFO, guarded by park_lock */
    struct spin park_lock;
    uint32_t number;
    void *waiters;                   /* engine/wait: commands that wait for keys of this stripe */
};
_Static_assert(sizeof(struct stripe) == 64, "the hot part of a stripe is one cache line");

static inline bool stripe_try_lock_once(struct stripe *s)
{
    uint32_t unlocked = 0;
    os_sched_point(SCHED_LOCK);
    if (os_bug(BUG_STRIPE_LOCK))
        return true;
    return atomic_compare_exchange_strong_explicit(&s->lock, &unlocked, 1, memory_order_acquire, memory_order_relaxed);
}

bool stripe_try_lock_spin(struct stripe *s); /* about 2 microseconds */
void stripe_lock_wait(struct stripe *s);     /* for threads that may wait: snapshot, housekeeping, library */
void stripe_unlock_parked(struct stripe *s);

static inline bool stripe_try_lock(struct stripe *s)
{
    return HF_LIKELY(stripe_try_lock_once(s)) || stripe_try_lock_spin(s);
}

static inline void stripe_unlock(struct stripe *s)
{
    if (HF_UNLIKELY(atomic_exchange_explicit(&s->lock, 0, memory_order_release) == 3))
        stripe_unlock_parked(s);
    os_sched_point(SCHED_UNLOCK);
}

/* False: the lock became free meanwhile, try again. */
bool stripe_park(struct stripe *s, struct park_node *node);
/* Withdraws a parked command; false: wake has been called. */
bool stripe_unpark(struct stripe *s, struct park_node *node);

/* The table of a database id; NULL: none. Caller holds the lock. */
struct table *stripe_table_slow(const struct stripe *s, uint32_t db_id);
static inline struct table *stripe_table(const struct stripe *s, uint32_t db_id)
{
    return HF_LIKELY(s->table && s->table->db_id == db_id) ? s->table : stripe_table_slow(s, db_id);
}

#endif
