/* timers.h -- the deadlines of a worker's waiting connections: a binary heap, soonest first.
 *
 * A connection is in it at most once; timer_index says where (0: not in it). Owner: the worker.
 */
#ifndef HF_NET_TIMERS_H
#define HF_NET_TIMERS_H

#include <stddef.h>
#include <stdint.h>

struct timer { uint64_t at_us; size_t index; }; /* embedded; index 0: not set */

struct timers { struct timer **heap; size_t count, capacity; }; /* heap[1..count] */

void timers_release(struct timers *t);
void timer_set(struct timers *t, struct timer *timer, uint64_t at_us); /* also moves one that is set */
void timer_cancel(struct timers *t, struct timer *timer);
/* The soonest, NULL: none. */
struct timer *timers_first(const struct timers *t);

#endif
