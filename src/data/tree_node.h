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

/* Where in leaf i the order will be, if orders are spread evenly, as hashes are; LEAF_NO_GUESS: nothing is known. */
static inline unsigned child_guess(const struct inner *n, unsigned i, uint64_t order)
{
    if (n->head.level > 1 || i + 1u >= n->head.count || order <= n->orders[i] || order >= n->orders[i + 1])
        return LEAF_NO_GUESS;
    double share = (double)(order - n->orders[i]) / (double)(n->orders[i + 1] - n->orders[i]);
    return (unsigned)(share * (double)n->counts[i]);
}

/* Bytes that an order of leaf i takes, probably. */
static inline unsigned child_width(const struct inner *n, unsigned i)
{
    uint64_t span = n->orders[i + 1] - n->orders[i];
    return (unsigned)(71 - __builtin_clzll(span) - __builtin_ctzll(span)) / 8;
}

static inline void prefetch_lines(const char *from, const char *end)
{
    for (; from < end; from += CACHE_LINE)
        __builtin_prefetch(from);
}

/* Asks for what a search in child i reads first, all at once; one after the other, each line would be waited for. Of an inner node: the head and
 * the orders. Of a leaf: the head, the orders about the guess, and the sizes that are added up; without a guess, both tables. */
static inline void child_prefetch(const struct inner *n, unsigned i, unsigned guess)
{
    const char *child = (const char *)n->nodes[i];
    __builtin_prefetch(child);
    if (n->head.level > 1) {
        prefetch_lines(child + offsetof(struct inner, orders), child + offsetof(struct inner, counts));
        return;
    }
    size_t size = n->memories[i], count = n->counts[i];
    if (size > LEAF_SIZE_MAX) /* with payloads outside: where the leaf ends is not known here */
        return;
    const char *end = child + size;
    if (guess == LEAF_NO_GUESS) {
        prefetch_lines(count * LEAF_TABLES_TYPICAL < size ? end - count * LEAF_TABLES_TYPICAL : child, end);
        return;
    }
    unsigned width = child_width(n, i), first = guess > LEAF_NEAR ? guess - LEAF_NEAR : 0;
    prefetch_lines(end - count - (guess + LEAF_NEAR) * width, end - count - first * width);
    __builtin_prefetch(end - 1);
    __builtin_prefetch(end - 1 - guess);
}

/* The child that holds the position (for an insertion also: behind its last element). Makes position relative. */
unsigned inner_at(const struct inner *n, uint64_t *position, bool inserting);
/* The last child whose first element is below what is looked for, or equal to it; the first one if none is. No key: below order. */
unsigned inner_find(const struct inner *n, tree_compare *compare, uint64_t order, const bytes *key);

#endif
