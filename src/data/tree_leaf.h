/* tree_leaf.h -- what a leaf of a tree looks like; for tree.c and tree_leaf.c alone.
 *
 * A leaf has payloads from the front of its room and two tables from its back, so that an element costs one byte and its order:
 *
 *   | payload 0 | payload 1 | ... | free | order n-1 ... order 0 | size n-1 ... size 0 |
 *
 *   size   one byte: of the payload, up to TREE_INLINE_MAX; SIZE_BIG: a pointer to a counted block stands there
 *   order  `width` bytes, little-endian: (order - base) >> shift. Base, width and shift are the leaf's frame: neighbours in order have
 *          much in common (times of a stream, scores that are whole numbers), and a sequence, whose orders are all 0, has width 0
 *
 * Orders are found by binary search. Where a payload starts is the sum of the sizes before it, or behind it: at most
 * some hundred bytes are added up, eight at a time; a walk just adds one size per step.
 *
 * An order that the frame cannot hold gives the leaf a new frame (a copy of its tables), with room on the side where it grows.
 */
#ifndef HF_DATA_TREE_LEAF_H
#define HF_DATA_TREE_LEAF_H

#include "base/assert.h"
#include "data/tree.h"

#include <limits.h>
#include <stdatomic.h>
#include <stddef.h>

#define SIZE_BIG (TREE_INLINE_MAX + 1)
#define LEAF_SIZE_MAX 2048u /* an allocation class, header included */

struct tree_node {
    _Atomic uint32_t holders;
    uint16_t level; /* 0: leaf */
    uint16_t count; /* items, or children */
};

struct frame {
    uint64_t base;
    uint8_t width, shift; /* bytes, bits */
};

struct leaf {
    struct tree_node head;
    uint64_t outside; /* bytes of its big payloads */
    uint64_t base;
    uint16_t room, used; /* used: by payloads */
    uint8_t width, shift;
    uint8_t data[];
};
#define LEAF_HEADER ((unsigned)offsetof(struct leaf, data))
#define LEAF_ROOM (LEAF_SIZE_MAX - LEAF_HEADER)
_Static_assert(offsetof(struct leaf, data) >= 8 + offsetof(struct leaf, base), "an order is read with up to 8 bytes before it");

struct big {
    _Atomic uint32_t holders;
    uint32_t size;
    uint8_t data[];
};

/* What goes into a leaf. */
struct item {
    uint64_t order;
    bytes payload;   /* inline, or */
    struct big *big; /* counted already */
};

static inline unsigned leaf_size(const struct leaf *l, unsigned i) { return l->data[l->room - 1u - i]; }
static inline unsigned leaf_item_size(const struct leaf *l, unsigned i)
{
    unsigned size = leaf_size(l, i);
    return size == SIZE_BIG ? (unsigned)sizeof(struct big *) : size;
}
static inline unsigned item_size(const struct item *item)
{
    return item->big ? (unsigned)sizeof(item->big) : (unsigned)item->payload.size;
}

/* In units of the frame. */
static inline uint64_t leaf_stored_order(const struct leaf *l, unsigned i)
{
    uint64_t stored;
    if (l->width == 0)
        return 0;
    memcpy(&stored, l->data + l->room - l->head.count - i * (unsigned)l->width - 8, 8); /* the last of these bytes are its own */
    return stored >> (64 - 8 * l->width);
}
static inline uint64_t leaf_order(const struct leaf *l, unsigned i) { return l->base + (leaf_stored_order(l, i) << l->shift); }
static inline struct frame leaf_frame(const struct leaf *l) { return (struct frame){l->base, l->width, l->shift}; }

unsigned leaf_start(const struct leaf *l, unsigned i); /* of a payload; i == count: behind the last */
static inline struct tree_element leaf_element_at(const struct leaf *l, unsigned i, unsigned start)
{
    struct tree_element e = {.order = leaf_order(l, i), .payload = bytes_of(l->data + start, leaf_size(l, i))};
    if (e.payload.size == SIZE_BIG) {
        const struct big *b;
        memcpy(&b, l->data + start, sizeof(b));
        e.payload = bytes_of(b->data, b->size);
    }
    return e;
}
static inline struct tree_element leaf_element(const struct leaf *l, unsigned i) { return leaf_element_at(l, i, leaf_start(l, i)); }

/* Bytes that so many items take in this frame. */
static inline unsigned leaf_need(unsigned used, unsigned count, struct frame f) { return used + count * (1u + f.width); }
static inline unsigned leaf_needs(const struct leaf *l) { return leaf_need(l->used, l->head.count, leaf_frame(l)); }

/* The room to ask for: a lone leaf, which is the packed form of a small collection, is as small as an allocation can be; the leaves of a larger
 * tree come in few sizes, so that what one gives back serves the next. */
unsigned leaf_room_for(unsigned need, bool lone);

struct leaf *leaf_new(unsigned room, struct frame f);
/* The same items in other room, in a frame that holds their orders; `hold` counts what they point to. */
struct leaf *leaf_copy(const struct leaf *l, unsigned room, struct frame f, bool hold);
void leaf_drop_bigs(struct leaf *l);
void big_drop(struct big *b);

bool frame_holds(struct frame f, uint64_t order);
/* The tightest for items [first, end). */
struct frame leaf_frame_of(const struct leaf *l, unsigned first, unsigned end);
/* For all items and one more that the leaf's own frame does not hold. */
struct frame leaf_frame_with(const struct leaf *l, uint64_t order);
struct frame leaf_frame_of_both(const struct leaf *a, const struct leaf *b);

/* Items [first, end), appended to a leaf that has room and a frame for them; `hold` counts what they point to. */
void leaf_append(struct leaf *to, const struct leaf *from, unsigned first, unsigned end, bool hold);
void leaf_put(struct leaf *l, unsigned i, const struct item *item); /* there is room, the frame holds it */
void leaf_cut(struct leaf *l, unsigned first, unsigned count);
#define LEAF_NO_GUESS UINT_MAX
#define LEAF_NEAR 12u /* items to either side of a guess that are looked at: twice the usual error among a hundred hashes */
/* The first item that is not below (order, *key); no key: whose order is not below. *equal: it is just that.
 * guess: about where it is, which spares most of the search when right; LEAF_NO_GUESS. */
unsigned leaf_find(const struct leaf *l, tree_compare *compare, uint64_t order, const bytes *key, unsigned guess, bool *equal);
void leaf_check(const struct leaf *l, bool sequence);

#endif
