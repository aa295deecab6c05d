/* tree.c -- a B+ tree with counted nodes.
 *
 * Leaves: tree_leaf.h. Inner: for each child its node, the order of its first element and the number of elements below, so a
 * step down reads one node only.
 *
 * Changes go down recursively by slot (the pointer that holds the node): `own` first makes the node
 * this tree's alone, copying it if somebody else holds it. Insertion may return a new right neighbour, which
 * the parent takes in. Removal drops whole subtrees, then joins what became small with a neighbour. A split at the
 * very end or the very front leaves the old node full, so appending fills leaves.
 */
#include "data/tree.h"

#include "base/memory.h"
#include "data/tree_leaf.h"

#define FANOUT 31u /* an inner node fills an allocation */

struct child {
    struct tree_node *node;
    uint64_t order, elements, memory;
};

struct inner {
    struct tree_node head;
    uint64_t elements, memory; /* below, this node included */
    struct child at[FANOUT];
};
_Static_assert(sizeof(struct inner) <= 1024, "an allocation class");

static struct leaf *leaf_of(struct tree_node *n) { return (struct leaf *)n; }
static struct inner *inner_of(struct tree_node *n) { return (struct inner *)n; }
static const struct leaf *leaf_view(const struct tree_node *n) { return (const struct leaf *)n; }
static const struct inner *inner_view(const struct tree_node *n) { return (const struct inner *)n; }

/* ---- nodes ---- */

static uint64_t elements_of(const struct tree_node *n) { return n->level ? inner_view(n)->elements : n->count; }

static uint64_t memory_of(const struct tree_node *n)
{
    return n->level ? inner_view(n)->memory : LEAF_HEADER + leaf_view(n)->room + leaf_view(n)->outside;
}

static struct inner *inner_new(unsigned level, unsigned count)
{
    struct inner *n = mem_alloc(sizeof(*n));
    hf_assert(level < TREE_DEPTH_MAX);
    atomic_init(&n->head.holders, 1);
    n->head.level = (uint16_t)level;
    n->head.count = (uint16_t)count;
    return n;
}

static bool is_alone(const struct tree_node *n)
{
    return atomic_load_explicit(&((struct tree_node *)(uintptr_t)n)->holders, memory_order_acquire) == 1;
}

static void drop(struct tree_node *n)
{
    if (!is_alone(n) && atomic_fetch_sub_explicit(&n->holders, 1, memory_order_acq_rel) != 1)
        return;
    if (n->level == 0)
        leaf_drop_bigs(leaf_of(n));
    for (unsigned i = 0; n->level && i < n->count; i++)
        drop(inner_of(n)->at[i].node);
    mem_free(n);
}

/* The node in the slot becomes this tree's alone. */
static void own(struct tree_node **slot)
{
    struct tree_node *n = *slot;
    if (is_alone(n))
        return;
    if (n->level == 0) {
        *slot = &leaf_copy(leaf_of(n), leaf_of(n)->room, leaf_frame(leaf_of(n)), true)->head; /* the same room: parents know it */
    } else {
        struct inner *copy = inner_new(n->level, n->count);
        const size_t behind = offsetof(struct inner, elements); /* holders can change meanwhile, nothing else of a shared node */
        memcpy((char *)copy + behind, (const char *)n + behind, sizeof(*copy) - behind);
        for (unsigned i = 0; i < n->count; i++)
            atomic_fetch_add_explicit(&copy->at[i].node->holders, 1, memory_order_relaxed);
        *slot = &copy->head;
    }
    drop(n);
}

static void sum_up(struct inner *n)
{
    n->elements = 0;
    n->memory = sizeof(*n);
    for (unsigned i = 0; i < n->head.count; i++) {
        n->elements += n->at[i].elements;
        n->memory += n->at[i].memory;
    }
}

static void child_refresh(struct child *c)
{
    c->elements = elements_of(c->node);
    c->memory = memory_of(c->node);
    c->order = c->node->level ? inner_view(c->node)->at[0].order : leaf_order(leaf_view(c->node), 0);
}

/* The one child that has changed. */
static void child_changed(struct inner *n, struct child *c)
{
    n->elements -= c->elements;
    n->memory -= c->memory;
    child_refresh(c);
    n->elements += c->elements;
    n->memory += c->memory;
}

/* ---- insertion ---- */

/* Where a full leaf is cut: at an end if that is where it grows, else in the middle of its bytes. */
static unsigned cut_of(const struct leaf *l, unsigned i)
{
    unsigned count = l->head.count, cut = 0, bytes_before = 0;
    if (i == 0 || i == count)
        return i;
    while (cut + 1 < count && (cut == 0 || bytes_before < leaf_needs(l) / 2))
        bytes_before += leaf_item_size(l, cut++) + 1 + l->width;
    return cut;
}

/* Items [first, end) in a leaf of their own, with room for one more if there is one to come. */
static struct leaf *part_of(const struct leaf *l, unsigned first, unsigned end, const struct item *more)
{
    unsigned used = leaf_start(l, end) - leaf_start(l, first), count = end - first;
    struct frame f = count ? leaf_frame_of(l, first, end) : (struct frame){.base = more->order};
    unsigned need = leaf_need(used + (more ? item_size(more) : 0), count + (more != NULL), f);
    struct leaf *part = leaf_new(leaf_room_for(need < LEAF_ROOM ? need : LEAF_ROOM, false), f);
    leaf_append(part, l, first, end, false);
    return part;
}

/* The leaf with one more item, which may be a larger block. NULL: it would be too large. */
static struct leaf *leaf_try_put(struct leaf *l, unsigned i, const struct item *item, bool lone)
{
    bool holds = frame_holds(leaf_frame(l), item->order);
    struct frame f = holds ? leaf_frame(l) : leaf_frame_with(l, item->order);
    unsigned need = leaf_need(l->used + item_size(item), l->head.count + 1u, f);
    if (need > LEAF_ROOM)
        return NULL;
    if (need > l->room || !holds) {
        struct leaf *fresh = leaf_copy(l, need > l->room ? leaf_room_for(need, lone) : l->room, f, false);
        mem_free(l);
        l = fresh;
    }
    leaf_put(l, i, item);
    return l;
}

/* The leaf in the slot is ours. Returns its new right neighbour, if it had to be split. *placed is false when the item does not fit
 * into its half, for its order makes all others of that half wider: the leaf is split, to be tried again. Alone at an end it always fits. */
static struct tree_node *leaf_insert(struct tree_node **slot, unsigned i, const struct item *item, bool lone, bool *placed)
{
    struct leaf *l = leaf_of(*slot), *fresh = leaf_try_put(l, i, item, lone);
    if (fresh) {
        *slot = &fresh->head;
        return NULL;
    }
    unsigned cut = cut_of(l, i), count = l->head.count;
    bool to_right = i > cut || (i == cut && cut == count);
    struct leaf *left = part_of(l, 0, cut, to_right ? NULL : item), *right = part_of(l, cut, count, to_right ? item : NULL);
    struct leaf **target = to_right ? &right : &left;
    mem_free(l);
    fresh = leaf_try_put(*target, to_right ? i - cut : i, item, false);
    *placed = fresh != NULL;
    if (fresh)
        *target = fresh;
    *slot = &left->head;
    return &right->head;
}

static void put_child(struct inner *n, unsigned i, struct child c)
{
    memmove(&n->at[i + 1], &n->at[i], (n->head.count - i) * sizeof(c));
    n->at[i] = c;
    n->head.count++;
}

/* Takes in a new child behind child i. Returns a right neighbour of this node, if it had to be split. */
static struct tree_node *take_in(struct inner *n, unsigned i, struct tree_node *fresh)
{
    struct child c = {.node = fresh};
    child_refresh(&c);
    if (n->head.count < FANOUT) {
        put_child(n, i + 1, c);
        sum_up(n);
        return NULL;
    }
    unsigned cut = i + 1 == FANOUT ? FANOUT : i == 0 ? 1 : FANOUT / 2;
    struct inner *right = inner_new(n->head.level, FANOUT - cut);
    memcpy(right->at, &n->at[cut], (FANOUT - cut) * sizeof(c));
    n->head.count = (uint16_t)cut;
    if (i + 1 > cut || cut == FANOUT)
        put_child(right, i + 1 - cut, c);
    else
        put_child(n, i + 1, c);
    sum_up(n);
    sum_up(right);
    return &right->head;
}

/* The child that holds the position (for an insertion also: behind its last element). Makes position relative. */
static unsigned child_of(const struct inner *n, uint64_t *position, bool inserting)
{
    unsigned i = 0;
    while (i + 1 < n->head.count && *position >= n->at[i].elements + inserting)
        *position -= n->at[i++].elements;
    return i;
}

static struct tree_node *insert(struct tree_node **slot, uint64_t position, const struct item *item, bool lone, bool *placed)
{
    own(slot);
    if ((*slot)->level == 0)
        return leaf_insert(slot, (unsigned)position, item, lone, placed);
    struct inner *n = inner_of(*slot);
    unsigned i = child_of(n, &position, true);
    struct tree_node *fresh = insert(&n->at[i].node, position, item, false, placed);
    child_changed(n, &n->at[i]);
    return fresh ? take_in(n, i, fresh) : NULL;
}

/* The root has a right neighbour: both get a new root above them. */
static void grow(struct tree *t, struct tree_node *right)
{
    struct inner *root = inner_new(t->root->level + 1u, 2);
    root->at[0].node = t->root;
    root->at[1].node = right;
    child_refresh(&root->at[0]);
    child_refresh(&root->at[1]);
    sum_up(root);
    t->root = &root->head;
}

void tree_insert(struct tree *t, uint64_t position, uint64_t order, bytes payload)
{
    struct item item = {.order = t->compare ? order : 0, .payload = payload};
    hf_assert(position <= tree_count(t) && payload.size <= TREE_PAYLOAD_MAX);
    if (payload.size > TREE_INLINE_MAX) {
        item.big = mem_alloc(sizeof(*item.big) + payload.size);
        atomic_init(&item.big->holders, 1);
        item.big->size = (uint32_t)payload.size;
        memcpy(item.big->data, payload.data, payload.size);
    }
    if (!t->root) {
        struct frame f = {.base = item.order};
        t->root = &leaf_new(leaf_room_for(leaf_need(item_size(&item), 1, f), true), f)->head;
    }
    for (bool placed = false; !placed;) {
        placed = true;
        struct tree_node *right = insert(&t->root, position, &item, true, &placed);
        if (right)
            grow(t, right);
    }
}

/* ---- removal ---- */

static void cut_leaf(struct tree_node **slot, unsigned first, unsigned count, bool lone)
{
    struct leaf *l = leaf_of(*slot);
    leaf_cut(l, first, count);
    if (!l->head.count || l->room <= 2 * leaf_needs(l) + 64)
        return;
    struct frame f = leaf_frame_of(l, 0, l->head.count);
    unsigned room = leaf_room_for(leaf_need(l->used, l->head.count, f), lone);
    if (room >= l->room)
        return;
    *slot = &leaf_copy(l, room, f, false)->head;
    mem_free(l);
}

static bool is_small(const struct tree_node *n)
{
    return n->level ? n->count < FANOUT / 4 : leaf_needs(leaf_view(n)) < LEAF_ROOM / 4;
}

/* NULL: together they are too large for one. */
static struct leaf *joined(const struct leaf *a, const struct leaf *b)
{
    struct frame f = leaf_frame_of_both(a, b);
    unsigned need = leaf_need(a->used + b->used, (unsigned)a->head.count + b->head.count, f);
    return need <= LEAF_ROOM * 3 / 4 ? leaf_new(leaf_room_for(need, false), f) : NULL;
}

/* Joins child i with the one behind it if both fit into one node. */
static bool join(struct inner *n, unsigned i)
{
    struct tree_node *a = n->at[i].node, *b = n->at[i + 1].node;
    struct leaf *both = a->level ? NULL : joined(leaf_of(a), leaf_of(b));
    if (a->level ? a->count + b->count > FANOUT : !both)
        return false;
    own(&n->at[i].node);
    own(&n->at[i + 1].node);
    a = n->at[i].node;
    b = n->at[i + 1].node;
    if (a->level) {
        memcpy(&inner_of(a)->at[a->count], inner_of(b)->at, b->count * sizeof(struct child));
        a->count = (uint16_t)(a->count + b->count);
        sum_up(inner_of(a));
    } else {
        leaf_append(both, leaf_of(a), 0, a->count, false);
        leaf_append(both, leaf_of(b), 0, b->count, false);
        mem_free(a);
        n->at[i].node = &both->head;
    }
    mem_free(b);
    child_refresh(&n->at[i]);
    n->head.count--;
    memmove(&n->at[i + 1], &n->at[i + 2], (n->head.count - i - 1) * sizeof(struct child));
    return true;
}

static void tidy(struct inner *n, unsigned first)
{
    for (unsigned i = first > 0 ? first - 1 : 0; i + 1 < n->head.count && i <= first + 1;) {
        if ((!is_small(n->at[i].node) && !is_small(n->at[i + 1].node)) || !join(n, i))
            i++;
    }
}

/* Never all of the node's elements. */
static void cut_range(struct tree_node **slot, uint64_t position, uint64_t count, bool lone)
{
    own(slot);
    if ((*slot)->level == 0) {
        cut_leaf(slot, (unsigned)position, (unsigned)count, lone);
        return;
    }
    struct inner *n = inner_of(*slot);
    unsigned first = child_of(n, &position, false), kept = first;
    for (unsigned i = first; i < n->head.count; i++) {
        struct child *c = &n->at[i];
        uint64_t here = count < c->elements - position ? count : c->elements - position;
        if (here == c->elements) {
            drop(c->node);
        } else {
            if (here) {
                cut_range(&c->node, position, here, false);
                child_refresh(c);
            }
            n->at[kept++] = *c;
        }
        count -= here;
        position = 0;
    }
    n->head.count = (uint16_t)kept;
    tidy(n, first < kept ? first : kept - 1);
    sum_up(n);
}

void tree_remove(struct tree *t, uint64_t position, uint64_t count)
{
    hf_assert(position <= tree_count(t) && count <= tree_count(t) - position);
    if (count == 0)
        return;
    if (count == tree_count(t)) {
        tree_clear(t);
        return;
    }
    cut_range(&t->root, position, count, true);
    while (t->root->level > 0 && t->root->count == 1) {
        struct tree_node *old = t->root; /* ours: cut_range went through it */
        t->root = inner_of(old)->at[0].node;
        mem_free(old);
    }
}

void tree_replace(struct tree *t, uint64_t position, bytes payload)
{
    struct tree_element old = tree_at(t, position);
    uint64_t order = old.order;
    if (old.payload.size != payload.size || payload.size > TREE_INLINE_MAX) {
        tree_remove(t, position, 1);
        tree_insert(t, position, order, payload);
        return;
    }
    struct tree_node **slot = &t->root;
    for (;;) {
        own(slot);
        if ((*slot)->level == 0)
            break;
        struct inner *n = inner_of(*slot);
        slot = &n->at[child_of(n, &position, false)].node;
    }
    struct leaf *l = leaf_of(*slot);
    if (payload.size)
        memcpy(l->data + leaf_start(l, (unsigned)position), payload.data, payload.size);
}

/* ---- the whole ---- */

struct tree tree_share(const struct tree *t)
{
    if (t->root)
        atomic_fetch_add_explicit(&t->root->holders, 1, memory_order_relaxed);
    return *t;
}

void tree_clear(struct tree *t)
{
    if (t->root)
        drop(t->root);
    t->root = NULL;
}

/* Takes children off the end until there are none. False: the budget is used up. */
static bool clear_some(struct tree_node *n, size_t *budget)
{
    if (n->level == 0 || !is_alone(n)) {
        if (*budget == 0)
            return false;
        --*budget;
        drop(n);
        return true;
    }
    while (n->count > 0) {
        if (!clear_some(inner_of(n)->at[n->count - 1].node, budget))
            return false;
        n->count--;
    }
    mem_free(n);
    return true;
}

bool tree_clear_some(struct tree *t, size_t *budget)
{
    if (t->root && !clear_some(t->root, budget))
        return false;
    t->root = NULL;
    return true;
}

uint64_t tree_count(const struct tree *t) { return t->root ? elements_of(t->root) : 0; }
size_t tree_memory(const struct tree *t) { return t->root ? memory_of(t->root) : 0; }

/* ---- reading ---- */

struct tree_element tree_at(const struct tree *t, uint64_t position)
{
    hf_assert(position < tree_count(t));
    const struct tree_node *n = t->root;
    while (n->level > 0)
        n = inner_view(n)->at[child_of(inner_view(n), &position, false)].node;
    return leaf_element(leaf_view(n), (unsigned)position);
}

static const struct leaf *leftmost(const struct tree_node *n)
{
    while (n->level > 0)
        n = inner_view(n)->at[0].node;
    return leaf_view(n);
}

/* The last child whose first element is below what is looked for, or equal to it; the first one if none is. */
static unsigned child_for(const struct tree *t, const struct inner *n, uint64_t order, const bytes *key)
{
    unsigned low = 0, high = n->head.count; /* the answer is in [low, high) */
    while (high - low > 1) {
        unsigned middle = (low + high) / 2;
        const struct child *c = &n->at[middle];
        bool right;
        if (c->order != order || !key) {
            right = c->order < order;
        } else {
            right = t->compare(leaf_element_at(leftmost(c->node), 0, 0).payload, *key) <= 0;
        }
        if (right)
            low = middle;
        else
            high = middle;
    }
    return low;
}

static bool find(const struct tree *t, uint64_t order, const bytes *key, uint64_t *position, struct tree_element *found)
{
    const struct tree_node *n = t->root;
    uint64_t before = 0;
    *position = 0;
    if (!n)
        return false;
    while (n->level > 0) {
        unsigned i = child_for(t, inner_view(n), order, key);
        for (unsigned k = 0; k < i; k++)
            before += inner_view(n)->at[k].elements;
        n = inner_view(n)->at[i].node;
    }
    bool equal;
    unsigned i = leaf_find(leaf_view(n), t->compare, order, key, &equal);
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
        c->at[d] = (uint16_t)child_of(inner_view(n), &position, false);
        n = inner_view(n)->at[c->at[d]].node;
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
        const struct tree_node *below = inner_view(c->path[d])->at[c->at[d]].node;
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
    uint64_t elements = 0, memory = sizeof(struct inner);
    hf_assert(n->count > 0 && n->count <= FANOUT);
    for (unsigned i = 0; i < n->count; i++) {
        struct child now = inner_view(n)->at[i], *c = &now;
        child_refresh(c);
        hf_assert(c->node->level + 1 == n->level && memcmp(c, &inner_view(n)->at[i], sizeof(*c)) == 0);
        hf_assert(i == 0 || inner_view(n)->at[i - 1].order <= c->order);
        check_node(c->node, sequence);
        elements += c->elements;
        memory += c->memory;
    }
    hf_assert(elements == inner_view(n)->elements && memory == inner_view(n)->memory);
}

void tree_check(const struct tree *t)
{
    if (t->root)
        check_node(t->root, !t->compare);
    hf_assert(!t->root || t->root->level == 0 || t->root->count > 1);
}
