/* tail.h -- what a memory-only server changes while its snapshot is captured (R3).
 *
 * A fuzzy snapshot needs the effects that came after each capture, else it holds half a
 * transaction. A logged server has them in its log; one without a log notes them here, from
 * before the first capture to after the last, and the snapshot takes them into its file.
 *
 * A record's position is the number of bytes noted before it; a capture notes the end read under
 * its stripe's lock; an effect is replayed when its record's position is not below that. Who
 * asks tail_is_noting while holding all its stripes, and notes before it unlocks, is in the
 * file whole or not at all, and so is whoever it depends on: those before the seal are in.
 *
 * Threads: tail_note any worker; the others the thread that writes the snapshot.
 */
#ifndef HF_DURABLE_TAIL_H
#define HF_DURABLE_TAIL_H

#include "base/buf.h"
#include "os/thread.h"

#define TAIL_BYTES_MAX (UINT64_C(256) << 20) /* not yet taken; above, the snapshot is given up */

struct tail {
    struct spin lock;
    _Atomic bool noting;
    _Atomic uint64_t end;  /* position behind the last record */
    struct buf bytes;      /* what has not been taken; guarded by lock */
    bool overflowed;       /* guarded by lock */
};

void tail_init(struct tail *t);
void tail_release(struct tail *t);

static inline bool tail_is_noting(const struct tail *t)
{
    return HF_UNLIKELY(atomic_load_explicit(&t->noting, memory_order_relaxed));
}

/* One transaction's effects. Its stripes are locked. */
void tail_note(struct tail *t, bytes effects);

void tail_begin(struct tail *t); /* positions count from 0 */
static inline uint64_t tail_end(const struct tail *t) { return atomic_load(&t->end); }
/* Swaps what has been noted into `out` (empty); records: varint size, then the effects. False:
 * too much was noted for the memory it may take. */
bool tail_take(struct tail *t, struct buf *out) HF_CHECK;
void tail_seal(struct tail *t);  /* nothing is noted from here on */

#endif
