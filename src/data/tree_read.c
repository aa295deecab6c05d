/* tree_read.c -- finding and walking, by position and by key; what always holds. */
#include "data/tree_node.h"

uint64_t tree_count(const struct tree *t) { return t->root ? node_elements(t->root) : 0; }
size_t tree_memory(const struct tree *t) { return t->root ? node_memory(t->root) : 0; }

/* ---- reading ---- */

struct tree_element tree_at(const struct tree *t, uint64_t position)
{
    hf_assert(position < tree_count(t));
    const struct tree_node *n = t->root;
    while (n->level > 0)
        n = inner_view(n)->nodes[inner_at(inner_view(n), &position, false)];
    return leaf_element(leaf_view(n), (unsigned)position);
}

static const struct leaf *leftmost(const struct tree_node *n)
{
    while (n->level > 0)
        n = inner_view(n)->nodes[0];
    return leaf_view(n);
}

unsigned inner_at(const struct inner *n, uint64_t *position, bool inserting)
{
    unsigned i = 0, last = n->head.count - 1u;
    uint64_t before_last = n->elements - n->counts[last];
    if (*position >= before_last + inserting) { /* where collections grow */
        *position -= before_last;
        return last;
    }
    while (*position >= n->counts[i] + inserting)
        *position -= n->counts[i++];
    return i;
}

unsigned inner_find(const struct inner *n, tree_compare *compare, uint64_t order, const bytes *key)
{
    unsigned low = 0;
    for (unsigned left = n->head.count; left > 1; left -= left / 2) /* no jump depends on what is compared */
        low += n->orders[low + left / 2] < order ? left / 2 : 0;
    if (!key || low + 1u == n->head.count || n->orders[low + 1] != order)
        return low;
    unsigned high = low + 1; /* equal orders: by payload; the answer is in [low, high) */
    while (high < n->head.count && n->orders[high] == order)
        high++;
    while (high - low > 1) {
        unsigned middle = (low + high) / 2;
        if (compare(leaf_element_at(leftmost(n->nodes[middle]), 0, 0).payload, *key) <= 0)
            low = middle;
        else
            high = middle;
    }
    return low;
}

/* position may be NULL: nothing is counted then. */
static bool find(const struct tree *t, uint64_t order, const bytes *key, uint64_t *position, struct tree_element *found)
{
    const struct tree_node *n = t->root;
    uint64_t before = 0;
    unsigned guess = LEAF_NO_GUESS;
    bool equal = false;
    while (n && n->level > 0) {
        unsigned i = inner_find(inner_view(n), t->compare, order, key);
        for (unsigned k = 0; position && k < i; k++)
            before += inner_view(n)->counts[k];
        guess = child_guess(inner_view(n), i, order);
        child_prefetch(inner_view(n), i, guess);
        n = inner_view(n)->nodes[i];
    }
    unsigned i = n ? leaf_find(leaf_view(n), t->compare, order, key, guess, &equal) : 0;
    if (position)
        *position = before + i;
    if (equal && found)
        *found = leaf_element(leaf_view(n), i);
    return equal;
}

bool tree_find(const struct tree *t, uint64_t order, bytes key, uint64_t *position, struct tree_element *found)
{
    return find(t, order, &key, position, found);
}

uint64_t tree_lower(const struct tree *t, uint64_t order)
{
    uint64_t position;
    find(t, order, NULL, &position, NULL);
    return position;
}

bool tree_seek(const struct tree *t, uint64_t position, struct tree_cursor *c, struct tree_element *e)
{
    if (position >= tree_count(t))
        return false;
    const struct tree_node *n = t->root;
    c->depth = n->level;
    for (unsigned d = 0; n->level > 0; d++) {
        c->path[d] = n;
        c->at[d] = (uint16_t)inner_at(inner_view(n), &position, false);
        n = inner_view(n)->nodes[c->at[d]];
    }
    c->path[c->depth] = n;
    c->at[c->depth] = (uint16_t)position;
    c->start = (uint16_t)leaf_start(leaf_view(n), (unsigned)position);
    *e = leaf_element_at(leaf_view(n), (unsigned)position, c->start);
    return true;
}

/* Down from depth d, along the first or the last children. */
static void descend(struct tree_cursor *c, unsigned d, bool last)
{
    for (; d < c->depth; d++) {
        const struct tree_node *below = inner_view(c->path[d])->nodes[c->at[d]];
        c->path[d + 1] = below;
        c->at[d + 1] = last ? (uint16_t)(below->count - 1) : 0;
    }
}

bool tree_next(struct tree_cursor *c, struct tree_element *e)
{
    unsigned d = c->depth;
    const struct leaf *l = leaf_view(c->path[d]);
    if (c->at[d] + 1u < l->head.count) {
        c->start = (uint16_t)(c->start + leaf_item_size(l, c->at[d]++));
    } else {
        while (c->at[d] + 1u >= c->path[d]->count) {
            if (d-- == 0)
                return false;
        }
        c->at[d]++;
        descend(c, d, false);
        c->start = 0;
        l = leaf_view(c->path[c->depth]);
    }
    *e = leaf_element_at(l, c->at[c->depth], c->start);
    return true;
}

bool tree_previous(struct tree_cursor *c, struct tree_element *e)
{
    unsigned d = c->depth;
    const struct leaf *l = leaf_view(c->path[d]);
    unsigned end = c->start;
    if (c->at[d] > 0) {
        c->at[d]--;
    } else {
        while (c->at[d] == 0) {
            if (d-- == 0)
                return false;
        }
        c->at[d]--;
        descend(c, d, true);
        l = leaf_view(c->path[c->depth]);
        end = l->used;
    }
    unsigned i = c->at[c->depth];
    c->start = (uint16_t)(end - leaf_item_size(l, i));
    *e = leaf_element_at(l, i, c->start);
    return true;
}

/* ---- invariants ---- */

static void check_node(const struct tree_node *n, bool sequence)
{
    hf_assert(((struct tree_node *)(uintptr_t)n)->holders > 0);
    if (n->level == 0) {
        leaf_check(leaf_view(n), sequence);
        return;
    }
    const struct inner *inner = inner_view(n);
    uint64_t elements = 0, memory = sizeof(*inner);
    hf_assert(n->count > 0 && n->count <= FANOUT);
    for (unsigned i = 0; i < n->count; i++) {
        const struct tree_node *below = inner->nodes[i];
        hf_assert(below->level + 1 == n->level && inner->counts[i] == node_elements(below));
        hf_assert(inner->memories[i] == node_memory(below) && inner->orders[i] == node_order(below));
        hf_assert(i == 0 || inner->orders[i - 1] <= inner->orders[i]);
        check_node(below, sequence);
        elements += inner->counts[i];
        memory += inner->memories[i];
    }
    hf_assert(elements == inner->elements && memory == inner->memory);
}

void tree_check(const struct tree *t)
{
    if (t->root)
        check_node(t->root, !t->compare);
    hf_assert(!t->root || t->root->level == 0 || t->root->count > 1);
}
