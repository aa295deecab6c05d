/* set.h -- distinct members of one key: integers, packed, or a dict.
 *
 * Integers ("intset") while every member reads as a 64-bit integer and there are at most
 * set_limits.ints_max; else packed while small; else a dict. A set never goes back to an earlier
 * form. Packed and dict both call themselves "hashtable", the word of Redis 7.0.
 * Owner: the entry; access under the stripe's lock. Views returned end with the next
 * change of this set.
 */
#ifndef HF_TYPES_SET_H
#define HF_TYPES_SET_H

#include "base/number.h"
#include "data/dict.h"
#include "types/type.h"

struct set;

#define SET_MEMBER_MAX (UINT32_MAX - 16u) /* bytes */
#define SET_SMALL_MAX 65536u              /* no small form holds more, whatever the limits say */

/* 512, 128, 64 as in Redis; set at start and by CONFIG SET */
extern struct set_limits { uint32_t ints_max, packed_entries_max, packed_value_max; } set_limits;
extern const struct type_ops set_ops;

struct set *set_new(void);
void set_free(struct set *s);
uint64_t set_count(const struct set *s);
bool set_has(const struct set *s, bytes member);
bool set_add(struct set *s, bytes member);    /* true: it is new */
bool set_remove(struct set *s, bytes member); /* false: was absent */
/* A new set of the same members to add to; O(1) for a dict. NULL: the result may be small again (Redis then
 * finds the smallest form that holds it), add the members one by one to an empty one. */
struct set *set_try_extend(const struct set *s);

/* The changes of a set: bytes for object_change (docs/format/values.md): one of these, then
 * each member. At least one member must be new, or be there; the others are passed over. */
void set_change_add(struct buf *out);
void set_change_remove(struct buf *out);
void set_change_member(struct buf *out, bytes member);

/* Walks all members in the order of their positions, integers ascending. Zeroed cursor first; false at the
 * end. A member is valid until the next call; no change to the set in between. */
struct set_cursor {
    uint64_t at;
    struct dict_cursor dict;
    char digits[NUMBER_TEXT_MAX];
};
bool set_next(const struct set *s, struct set_cursor *c, bytes *member);
/* The member at a position below the count; digits is room for an integer's text. */
bytes set_at(const struct set *s, uint64_t position, char digits[NUMBER_TEXT_MAX]);
/* One step of SSCAN: calls each for at least one and about count members; returns the
 * next cursor (below 2^53), 0 at the end. A member present throughout appears at least once. */
uint64_t set_scan(const struct set *s, uint64_t cursor, size_t count, void (*each)(void *context, bytes member),
                  void *context);

#endif
