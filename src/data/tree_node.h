/* tree_node.h -- inner nodes of a tree; for tree.c and tree_read.c alone.
 *
 * Of each child: its node, the order of its first element and the elements and bytes below, each in an array of its own, since a step down by
 * key looks at orders, one by position at counts, and neither at the rest.
 */
#ifndef HF_DATA_TREE_NODE_H
#define HF_DATA_TREE_NODE_H

#include "data/tree_leaf.h"

#define CACHE_LINE 64u
#define LEAF_TABLES_TYPICAL 7u /* bytes an element: its size, an order of six */
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

/* Asks for what a search in child i reads first, all at once: an inner node's orders, a leaf's header and tables. One after the other, each
 * would be waited for. */
static inline void child_prefetch(const struct inner *n, unsigned i)
{
    const char *child = (const char *)n->nodes[i];
    size_t size = n->memories[i], from = offsetof(struct inner, orders), end = offsetof(struct inner, counts);
    __builtin_prefetch(child);
    if (n->head.level == 1) {
        size_t tables = n->counts[i] * LEAF_TABLES_TYPICAL;
        if (size > LEAF_SIZE_MAX) /* with payloads outside: where the leaf ends is not known here */
            return;
        from = tables < size ? size - tables : 0;
        end = size;
    }
    for (; from < end; from += CACHE_LINE)
        __builtin_prefetch(child + from);
}

/* The child that holds the position (for an insertion also: behind its last element). Makes position relative. */
unsigned inner_at(const struct inner *n, uint64_t *position, bool inserting);
/* The last child whose first element is below what is looked for, or equal to it; the first one if none is. No key: below order. */
unsigned inner_find(const struct inner *n, tree_compare *compare, uint64_t order, const bytes *key);

#endif
