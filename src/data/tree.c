/* tree.c -- a B+ tree with counted nodes.
 *
 * Leaves: tree_leaf.h. Inner nodes: tree_node.h; a step down reads one node only. Reading: tree_read.c.
 *
 * Changes go down recursively by slot (the pointer that holds the node): `own` first makes the node
 * this tree's alone, copying it if somebody else holds it. Insertion may return a new right neighbour, which
 * the parent takes in. Removal drops whole subtrees, then joins what became small with a neighbour. A split at the
 * very end or the very front leaves the old node full, so appending fills leaves.
 */
#include "data/tree.h"

#include "base/memory.h"
#include "data/tree_node.h"

/* ---- nodes ---- */

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
        drop(inner_of(n)->nodes[i]);
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
            atomic_fetch_add_explicit(&copy->nodes[i]->holders, 1, memory_order_relaxed);
        *slot = &copy->head;
    }
    drop(n);
}

/* Children [first, first + count) of a node, to another place or node. */
static void children_copy(struct inner *to, unsigned at, const struct inner *from, unsigned first, unsigned count)
{
    memmove(&to->orders[at], &from->orders[first], count * sizeof(to->orders[0]));
    memmove(&to->counts[at], &from->counts[first], count * sizeof(to->counts[0]));
    memmove(&to->memories[at], &from->memories[first], count * sizeof(to->memories[0]));
    memmove(&to->nodes[at], &from->nodes[first], count * sizeof(struct tree_node *));
}

static void sum_up(struct inner *n)
{
    n->elements = 0;
    n->memory = sizeof(*n);
    for (unsigned i = 0; i < n->head.count; i++) {
        n->elements += n->counts[i];
        n->memory += n->memories[i];
    }
}

static void child_refresh(struct inner *n, unsigned i)
{
    n->counts[i] = node_elements(n->nodes[i]);
    n->memories[i] = node_memory(n->nodes[i]);
    n->orders[i] = node_order(n->nodes[i]);
}

/* The one child that has changed. */
static void child_changed(struct inner *n, unsigned i)
{
    n->elements -= n->counts[i];
    n->memory -= n->memories[i];
    child_refresh(n, i);
    n->elements += n->counts[i];
    n->memory += n->memories[i];
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

static void put_child(struct inner *n, unsigned i, struct tree_node *child)
{
    children_copy(n, i + 1, n, i, n->head.count - i);
    n->nodes[i] = child;
    child_refresh(n, i);
    n->head.count++;
}

/* Takes in a new child behind child i. Returns a right neighbour of this node, if it had to be split. */
static struct tree_node *take_in(struct inner *n, unsigned i, struct tree_node *fresh)
{
    if (n->head.count < FANOUT) {
        put_child(n, i + 1, fresh);
        sum_up(n);
        return NULL;
    }
    unsigned cut = i + 1 == FANOUT ? FANOUT : i == 0 ? 1 : FANOUT / 2;
    struct inner *right = inner_new(n->head.level, FANOUT - cut);
    children_copy(right, 0, n, cut, FANOUT - cut);
    n->head.count = (uint16_t)cut;
    if (i + 1 > cut || cut == FANOUT)
        put_child(right, i + 1 - cut, fresh);
    else
        put_child(n, i + 1, fresh);
    sum_up(n);
    sum_up(right);
    return &right->head;
}

/* An element on its way to its leaf. */
struct placing {
    struct item item;
    tree_compare *compare;
    const bytes *key;  /* its place is found by (order, key); NULL: by position */
    uint64_t position;
    unsigned guess;    /* by key: see leaf_find */
    bool replaces;     /* the element there: by position; by key it is found out */
    bool lone, placed;
};

/* Into a leaf that is ours: over what stands there, or as one more. */
static struct tree_node *place(struct tree_node **slot, struct placing *p)
{
    struct leaf *l = leaf_of(*slot);
    bool there = p->replaces;
    unsigned i = (unsigned)p->position;
    if (p->key)
        i = l->head.count ? leaf_find(l, p->compare, p->item.order, p->key, p->guess, &there) : 0;
    if (there && !p->item.big && leaf_size(l, i) == p->item.payload.size) {
        if (p->item.payload.size)
            memcpy(l->data + leaf_start(l, i), p->item.payload.data, p->item.payload.size);
        p->replaces = true;
        return NULL;
    }
    if (there) {
        p->item.order = leaf_order(l, i);
        leaf_cut(l, i, 1);
        p->replaces = true;
    }
    return leaf_insert(slot, i, &p->item, p->lone, &p->placed);
}

static struct tree_node *insert(struct tree_node **slot, struct placing *p)
{
    own(slot);
    if ((*slot)->level == 0)
        return place(slot, p);
    struct inner *n = inner_of(*slot);
    unsigned i = p->key ? inner_find(n, p->compare, p->item.order, p->key) : inner_at(n, &p->position, !p->replaces);
    p->guess = p->key ? child_guess(n, i, p->item.order) : LEAF_NO_GUESS;
    child_prefetch(n, i, p->guess);
    p->lone = false;
    struct tree_node *fresh = insert(&n->nodes[i], p);
    child_changed(n, i);
    return fresh ? take_in(n, i, fresh) : NULL;
}

/* The root has a right neighbour: both get a new root above them. */
static void grow(struct tree *t, struct tree_node *right)
{
    struct inner *root = inner_new(t->root->level + 1u, 0);
    put_child(root, 0, t->root);
    put_child(root, 1, right);
    sum_up(root);
    t->root = &root->head;
}

/* True: it replaced one. */
static bool put(struct tree *t, struct placing p, bytes payload)
{
    struct item *item = &p.item;
    hf_assert(payload.size <= TREE_PAYLOAD_MAX);
    item->payload = payload;
    if (payload.size > TREE_INLINE_MAX) {
        item->big = mem_alloc(sizeof(*item->big) + payload.size);
        atomic_init(&item->big->holders, 1);
        item->big->size = (uint32_t)payload.size;
        memcpy(item->big->data, payload.data, payload.size);
    }
    if (!t->root) {
        struct frame f = {.base = item->order};
        t->root = &leaf_new(leaf_room_for(leaf_need(item_size(item), 1, f), true), f)->head;
    }
    bool replaced = false;
    for (uint64_t position = p.position; !p.placed; p.position = position) {
        p.placed = p.lone = true;
        struct tree_node *right = insert(&t->root, &p);
        if (right)
            grow(t, right);
        replaced |= p.replaces;
        p.replaces = false; /* if it was not placed: what it replaces is gone */
    }
    return replaced;
}

void tree_insert(struct tree *t, uint64_t position, uint64_t order, bytes payload)
{
    hf_assert(position <= tree_count(t));
    put(t, (struct placing){.item.order = t->compare ? order : 0, .position = position}, payload);
}

void tree_replace(struct tree *t, uint64_t position, bytes payload)
{
    hf_assert(position < tree_count(t));
    put(t, (struct placing){.position = position, .replaces = true}, payload);
}

bool tree_put(struct tree *t, uint64_t order, bytes key, bytes payload)
{
    return !put(t, (struct placing){.item.order = order, .compare = t->compare, .key = &key, .guess = LEAF_NO_GUESS}, payload);
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
    struct tree_node *a = n->nodes[i], *b = n->nodes[i + 1];
    struct leaf *both = a->level ? NULL : joined(leaf_of(a), leaf_of(b));
    if (a->level ? a->count + b->count > FANOUT : !both)
        return false;
    own(&n->nodes[i]);
    own(&n->nodes[i + 1]);
    a = n->nodes[i];
    b = n->nodes[i + 1];
    if (a->level) {
        children_copy(inner_of(a), a->count, inner_of(b), 0, b->count);
        a->count = (uint16_t)(a->count + b->count);
        sum_up(inner_of(a));
    } else {
        leaf_append(both, leaf_of(a), 0, a->count, false);
        leaf_append(both, leaf_of(b), 0, b->count, false);
        mem_free(a);
        n->nodes[i] = &both->head;
    }
    mem_free(b);
    child_refresh(n, i);
    n->head.count--;
    children_copy(n, i + 1, n, i + 2, n->head.count - i - 1);
    return true;
}

static void tidy(struct inner *n, unsigned first)
{
    for (unsigned i = first > 0 ? first - 1 : 0; i + 1 < n->head.count && i <= first + 1;) {
        if ((!is_small(n->nodes[i]) && !is_small(n->nodes[i + 1])) || !join(n, i))
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
    unsigned first = inner_at(n, &position, false), kept = first;
    for (unsigned i = first; i < n->head.count; i++) {
        uint64_t here = count < n->counts[i] - position ? count : n->counts[i] - position;
        if (here == n->counts[i]) {
            drop(n->nodes[i]);
        } else {
            if (here) {
                cut_range(&n->nodes[i], position, here, false);
                child_refresh(n, i);
            }
            children_copy(n, kept++, n, i, 1);
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
        t->root = inner_of(old)->nodes[0];
        mem_free(old);
    }
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
        if (!clear_some(inner_of(n)->nodes[n->count - 1], budget))
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
