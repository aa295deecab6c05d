/* tree.h -- a counted, ordered sequence of byte strings: the one structure behind every large collection.
 *
 * A B+ tree. An element is a 64-bit order key and a payload. Every inner node knows how many
 * elements stand below each child, so an element is found by position as well as by key, in
 * O(log n). Lists use positions only; sorted sets, streams and dicts also search.
 *
 * Nodes are counted. tree_share takes the root, O(1); a change copies the nodes on its path
 * that somebody else holds too, and nothing else. Snapshots, COPY and undo are shares.
 *
 * A small tree is one leaf of its exact size, so that it serves as the packed form too. An element costs one byte beside its payload,
 * and as many for its order as it differs from its neighbours' (tree_leaf.h).
 * Payloads above TREE_INLINE_MAX stand outside the leaf, counted too; copying a leaf never
 * copies them.
 *
 * Threads: a struct tree has one owner at a time (the stripe's lock); nodes may be
 * held by trees of different threads, and are then never changed.
 * Views end with the next change of the tree they came from.
 */
#ifndef HF_DATA_TREE_H
#define HF_DATA_TREE_H

#include "base/bytes.h"

#define TREE_INLINE_MAX 254u
#define TREE_PAYLOAD_MAX UINT32_MAX

struct tree_node;

/* How elements of equal order are told apart: by what the payload holds against a search
 * key, <0, 0, >0. NULL: the tree is a sequence, its order keys are 0 and not stored. */
typedef int tree_compare(bytes payload, bytes key);

struct tree {
    struct tree_node *root;  /* NULL: empty */
    tree_compare *compare;
};

struct tree_element {
    uint64_t order;
    bytes payload;
};

static inline struct tree tree_make(tree_compare *compare) { return (struct tree){NULL, compare}; }

/* The same elements, O(1). Later changes of either are not seen by the other. */
struct tree tree_share(const struct tree *t);
/* Drops this tree's hold: frees all nodes that nobody else holds, at once. */
void tree_clear(struct tree *t);
/* The same in slices: frees until *budget nodes are gone (it counts down); false: more to do, call again. */
bool tree_clear_some(struct tree *t, size_t *budget);

uint64_t tree_count(const struct tree *t);  /* O(1) */
size_t tree_memory(const struct tree *t);   /* bytes of all nodes and payloads, shared or not; O(1) */

/* By position: 0 <= position < count (insert: <= count). */
struct tree_element tree_at(const struct tree *t, uint64_t position);
void tree_insert(struct tree *t, uint64_t position, uint64_t order, bytes payload);
void tree_replace(struct tree *t, uint64_t position, bytes payload); /* same order, same place under compare */
void tree_remove(struct tree *t, uint64_t position, uint64_t count); /* a range: O(log n + leaves) */

/* By key; compare is set. Position of the first element that is not below (order, key):
 * the element itself when true, where it would stand when false. position and found may be NULL. */
bool tree_find(const struct tree *t, uint64_t order, bytes key, uint64_t *position, struct tree_element *found);

/* Puts the payload, for which compare says 0 against the key, in its place, or over the element that is there. True: it is new. One way
 * down the tree, where tree_find and tree_insert are two. */
bool tree_put(struct tree *t, uint64_t order, bytes key, bytes payload);

/* Position of the first element whose order is not below this one. */
uint64_t tree_lower(const struct tree *t, uint64_t order);

/* A walk from any position, either way. It ends with the next change of the tree. */
#define TREE_DEPTH_MAX 16
struct tree_cursor {
    const struct tree_node *path[TREE_DEPTH_MAX];
    uint16_t at[TREE_DEPTH_MAX];
    uint16_t start;      /* of the payload in its leaf */
    uint16_t depth;      /* of the leaf */
};
/* False: no element there. */
bool tree_seek(const struct tree *t, uint64_t position, struct tree_cursor *c, struct tree_element *e);
bool tree_next(struct tree_cursor *c, struct tree_element *e);
bool tree_previous(struct tree_cursor *c, struct tree_element *e);

void tree_check(const struct tree *t); /* asserts every invariant: counts, sizes, order, fill */

#endif
