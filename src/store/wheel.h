/* wheel.h -- a hierarchical timing wheel of bucket numbers.
 *
 * 8 levels of 64 slots; level L counts in 64^L ms. An item fires when its slot begins;
 * whoever fires it looks at the bucket and enrols it again if something is still to
 * come, which is also how items move down the levels. Guarded by the stripe's lock.
 */
#ifndef HF_STORE_WHEEL_H
#define HF_STORE_WHEEL_H

#include <stdbool.h>
#include <stdint.h>

struct wheel;

#define WHEEL_SLOTS 512u

struct wheel *wheel_new(uint64_t now_ms);
void wheel_free(struct wheel *w);
/* The slot (0..511) where an item with this deadline belongs now. */
unsigned wheel_slot_for(const struct wheel *w, uint64_t deadline_ms);
uint64_t wheel_slot_time(const struct wheel *w, unsigned slot); /* when it fires */
void wheel_add(struct wheel *w, unsigned slot, uint32_t item);
void wheel_clear(struct wheel *w); /* drops all items; time stays */
uint64_t wheel_next(const struct wheel *w); /* time of the next slot to fire, UINT64_MAX: empty */
/* Takes one item whose slot has begun by now_ms; false: none, and time has moved to now_ms. */
bool wheel_take(struct wheel *w, uint64_t now_ms, uint32_t *item, unsigned *slot);
/* One item, left where it is: of the slot that fires first, or of any. False: empty. Items of a full slot are not all
 * equally likely. */
bool wheel_pick(const struct wheel *w, uint64_t random, bool first, uint32_t *item);
uint64_t wheel_memory(const struct wheel *w);

#endif
