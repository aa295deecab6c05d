/* tree_node.h -- inner nodes of a tree; for tree.c and tree_read.c alone.
 *
 * Of each child: its node, the order of its first element and the elements and bytes below, each in an array of its own, since a step down by
 * key looks at orders, one by position at counts, and neither at the rest.
 */
#ifndef HF_DATA_TREE_NODE_H
#define HF_DATA_TREE_NODE_H

#include "data/tree_leaf.h"

#define FANOUT 31u /* an inner node fills an allocation */

struct inner {
    struct tree_node head;
    uint64_t elements, memory; /* below, this node included */
    uint64_t orders[FANOUT], counts[FANOUT], memories[FANOUT];
    struct tree_node *nodes[FANOUT];
};
_Static_assert(sizeof(struct inner) <= 1024, "an allocation class");

static inline struct leaf *leaf_of(struct tree_node *n) { return (struct leaf *)n; }
static inline struct inner *inner_of(struct tree_node *n) { return (struct inner *)n; }
static inline const struct leaf *leaf_view(const struct tree_node *n) { return (const struct leaf *)n; }
static inline const struct inner *inner_view(const struct tree_node *n) { return (const struct inner *)n; }

static inline uint64_t node_elements(const struct tree_node *n) { return n->level ? inner_view(n)->elements : n->count; }
static inline uint64_t node_memory(const struct tree_node *n)
{
    return n->level ? inner_view(n)->memory : LEAF_HEADER + leaf_view(n)->room + leaf_view(n)->outside;
}
static inline uint64_t node_order(const struct tree_node *n) { return n->level ? inner_view(n)->orders[0] : leaf_order(leaf_view(n), 0); }

/* The child that holds the position (for an insertion also: behind its last element). Makes position relative. */
unsigned inner_at(const struct inner *n, uint64_t *position, bool inserting);
/* The last child whose first element is below what is looked for, or equal to it; the first one if none is. No key: below order. */
unsigned inner_find(const struct inner *n, tree_compare *compare, uint64_t order, const bytes *key);

#endif
