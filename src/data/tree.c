/* tree.c -- a B+ tree with counted nodes.
 *
 * Leaf: items from the front of its room, their 16-bit offsets from its back. An item is
 * [order, 8 bytes, unless the tree is a sequence][payload]; its size is the distance to the next offset, so
 * an element costs 2 bytes beside itself. A payload above TREE_INLINE_MAX is a pointer to a counted
 * block, marked in the offset's top bit.
 *
 * Inner: for each child its node, the order of its first element and the number of elements below, so a
 * step down reads one node only.
 *
 * Changes go down recursively by slot (the pointer that holds the node): `own` first makes the node
 * this tree's alone, copying it if somebody else holds it. Insertion may return a new right neighbour, which
 * the parent takes in. Removal drops whole subtrees, then joins what became small with a neighbour. A split at the
 * very end or the very front leaves the old node full, so appending fills leaves.
 */
#include "data/tree.h"

#include "base/assert.h"
#include "base/memory.h"

#include <stdatomic.h>
#include <stddef.h>

#define LEAF_SIZE_MAX 2048u /* an allocation class, header included */
#define FANOUT 32u
#define BIG 0x8000u /* in an offset: the payload is a pointer */

struct tree_node {
    _Atomic uint32_t holders;
    uint16_t level; /* 0: leaf */
    uint16_t count; /* items, or children */
    uint64_t elements, memory; /* below, this node included */
};

struct leaf {
    struct tree_node head;
    uint16_t room, used;
    uint8_t data[];
};
#define LEAF_HEADER ((unsigned)offsetof(struct leaf, data))
#define LEAF_ROOM (LEAF_SIZE_MAX - LEAF_HEADER) /* for items and offsets */

struct child {
    struct tree_node *node;
    uint64_t order, elements, memory;
};

struct inner {
    struct tree_node head;
    struct child at[FANOUT];
};

struct big {
    _Atomic uint32_t holders;
    uint32_t size;
    uint8_t data[];
};

/* What goes into a leaf. */
struct item {
    uint64_t order;
    bytes payload;      /* inline, or */
    struct big *big;    /* counted already */
    bool ordered;
};

static struct leaf *leaf_of(struct tree_node *n) { return (struct leaf *)n; }
static struct inner *inner_of(struct tree_node *n) { return (struct inner *)n; }
static const struct leaf *leaf_view(const struct tree_node *n) { return (const struct leaf *)n; }
static const struct inner *inner_view(const struct tree_node *n) { return (const struct inner *)n; }

/* ---- items ---- */

static uint16_t *offset_at(struct leaf *l, unsigned i)
{
    return (uint16_t *)(void *)(l->data + l->room) - 1 - i;
}

static uint16_t offset_of(const struct leaf *l, unsigned i)
{
    return ((const uint16_t *)(const void *)(l->data + l->room))[-1 - (int)i];
}

static unsigned item_start(const struct leaf *l, unsigned i)
{
    return i < l->head.count ? offset_of(l, i) & ~BIG : l->used;
}

static struct big *big_of(const struct leaf *l, unsigned i, unsigned order_size)
{
    struct big *b;
    memcpy(&b, l->data + item_start(l, i) + order_size, sizeof(b));
    return b;
}

static uint64_t order_of(const struct leaf *l, unsigned i)
{
    uint64_t order;
    memcpy(&order, l->data + item_start(l, i), sizeof(order));
    return order;
}

static struct tree_element element_of(const struct leaf *l, unsigned i, bool sequence)
{
    unsigned start = item_start(l, i), order_size = sequence ? 0 : 8;
    struct tree_element e = {.order = sequence ? 0 : order_of(l, i)};
    if (offset_of(l, i) & BIG) {
        const struct big *b = big_of(l, i, order_size);
        e.payload = bytes_of(b->data, b->size);
    } else {
        e.payload = bytes_of(l->data + start + order_size, item_start(l, i + 1) - start - order_size);
    }
    return e;
}

static unsigned item_size(const struct item *item)
{
    return (item->ordered ? 8 : 0) + (item->big ? (unsigned)sizeof(item->big) : (unsigned)item->payload.size);
}

static void big_drop(struct big *b)
{
    if (atomic_fetch_sub_explicit(&b->holders, 1, memory_order_acq_rel) == 1)
        mem_free(b);
}

/* ---- nodes ---- */

/* With at least so much room, and all of it that the allocation has: a leaf grows from class to class. */
static struct leaf *leaf_new(unsigned room)
{
    size_t size = mem_class_size(LEAF_HEADER + room);
    struct leaf *l = mem_alloc(size);
    l->head = (struct tree_node){.holders = 1, .memory = size};
    l->room = (uint16_t)(size - LEAF_HEADER);
    l->used = 0;
    return l;
}

static bool is_alone(const struct tree_node *n)
{
    return atomic_load_explicit(&((struct tree_node *)(uintptr_t)n)->holders, memory_order_acquire) == 1;
}

static void drop(struct tree_node *n, bool sequence)
{
    if (!is_alone(n) && atomic_fetch_sub_explicit(&n->holders, 1, memory_order_acq_rel) != 1)
        return;
    if (n->level > 0) {
        for (unsigned i = 0; i < n->count; i++)
            drop(inner_of(n)->at[i].node, sequence);
    } else {
        for (unsigned i = 0; i < n->count; i++) {
            if (offset_of(leaf_of(n), i) & BIG)
                big_drop(big_of(leaf_of(n), i, sequence ? 0 : 8));
        }
    }
    mem_free(n);
}

/* Items [from, to) with their order, appended to another leaf that has room; counts what they point to. */
static void copy_items(const struct leaf *from, unsigned first, unsigned end, struct leaf *to, bool sequence, bool hold)
{
    unsigned start = item_start(from, first), size = item_start(from, end) - start;
    memcpy(to->data + to->used, from->data + start, size);
    for (unsigned i = first; i < end; i++) {
        uint16_t offset = offset_of(from, i);
        *offset_at(to, to->head.count++) = (uint16_t)(((offset & ~BIG) - start + to->used) | (offset & BIG));
        if (offset & BIG) {
            struct big *b = big_of(from, i, sequence ? 0 : 8);
            to->head.memory += sizeof(*b) + b->size;
            if (hold)
                atomic_fetch_add_explicit(&b->holders, 1, memory_order_relaxed);
        }
    }
    to->used = (uint16_t)(to->used + size);
    to->head.elements += end - first;
}

static unsigned leaf_need(const struct leaf *l) { return l->used + 2u * l->head.count; }

static struct leaf *leaf_copy(const struct leaf *l, unsigned room, bool sequence, bool hold)
{
    struct leaf *copy = leaf_new(room);
    copy_items(l, 0, l->head.count, copy, sequence, hold);
    return copy;
}

/* The node in the slot becomes this tree's alone. */
static void own(struct tree_node **slot, bool sequence)
{
    struct tree_node *n = *slot;
    if (is_alone(n))
        return;
    if (n->level == 0) {
        *slot = &leaf_copy(leaf_of(n), leaf_of(n)->room, sequence, true)->head; /* the same room: parents know it */
    } else {
        struct inner *copy = mem_alloc(sizeof(*copy));
        const size_t behind = offsetof(struct tree_node, level); /* holders can change meanwhile, nothing else of a shared node */
        memcpy((char *)copy + behind, (const char *)n + behind, sizeof(*copy) - behind);
        atomic_init(&copy->head.holders, 1);
        for (unsigned i = 0; i < n->count; i++)
            atomic_fetch_add_explicit(&copy->at[i].node->holders, 1, memory_order_relaxed);
        *slot = &copy->head;
    }
    drop(n, sequence);
}

static uint64_t first_order(const struct tree_node *n, bool sequence)
{
    if (sequence)
        return 0;
    return n->level ? inner_view(n)->at[0].order : order_of(leaf_view(n), 0);
}

static void sum_up(struct inner *n)
{
    n->head.elements = 0;
    n->head.memory = sizeof(*n);
    for (unsigned i = 0; i < n->head.count; i++) {
        n->head.elements += n->at[i].elements;
        n->head.memory += n->at[i].memory;
    }
}

static void child_refresh(struct child *c, bool sequence)
{
    c->elements = c->node->elements;
    c->memory = c->node->memory;
    c->order = first_order(c->node, sequence);
}

/* ---- insertion ---- */

static void leaf_put(struct leaf *l, unsigned i, const struct item *item)
{
    unsigned start = item_start(l, i), size = item_size(item);
    memmove(l->data + start + size, l->data + start, l->used - start);
    for (unsigned k = l->head.count; k > i; k--)
        *offset_at(l, k) = (uint16_t)(*offset_at(l, k - 1) + size);
    uint8_t *at = l->data + start;
    if (item->ordered) {
        memcpy(at, &item->order, 8);
        at += 8;
    }
    if (item->big)
        memcpy(at, &item->big, sizeof(item->big));
    else if (item->payload.size)
        memcpy(at, item->payload.data, item->payload.size);
    *offset_at(l, i) = (uint16_t)(start | (item->big ? BIG : 0));
    l->used = (uint16_t)(l->used + size);
    l->head.count++;
    l->head.elements++;
    l->head.memory += item->big ? sizeof(*item->big) + item->big->size : 0;
}

/* Where a full leaf is cut: at an end if that is where it grows, else in the middle of its bytes. */
static unsigned cut_of(const struct leaf *l, unsigned i)
{
    unsigned count = l->head.count, cut = count / 2;
    if (i == 0 || i == count)
        return i;
    while (cut > 1 && item_start(l, cut) + 2 * cut > LEAF_ROOM / 2)
        cut--;
    while (cut + 1 < count && item_start(l, cut + 1) + 2 * cut < LEAF_ROOM / 2)
        cut++;
    return cut;
}

static struct tree_node *leaf_split(struct tree_node **slot, unsigned i, const struct item *item, bool sequence)
{
    struct leaf *l = leaf_of(*slot);
    unsigned cut = cut_of(l, i), count = l->head.count, need = item_size(item) + 2;
    bool to_right = i > cut || (i == cut && cut == count);
    unsigned left_need = item_start(l, cut) + 2 * cut + (to_right ? 0 : need);
    unsigned right_need = l->used - item_start(l, cut) + 2 * (count - cut) + (to_right ? need : 0);
    struct leaf *left = leaf_new(left_need), *right = leaf_new(right_need);
    copy_items(l, 0, cut, left, sequence, false);
    copy_items(l, cut, count, right, sequence, false);
    mem_free(l);
    leaf_put(to_right ? right : left, to_right ? i - cut : i, item);
    *slot = &left->head;
    return &right->head;
}

/* The leaf in the slot is ours. Returns its new right neighbour, if it had to be split. */
static struct tree_node *leaf_insert(struct tree_node **slot, unsigned i, const struct item *item, bool sequence)
{
    struct leaf *l = leaf_of(*slot);
    unsigned need = leaf_need(l) + item_size(item) + 2;
    if (need > l->room) {
        if (need > LEAF_ROOM)
            return leaf_split(slot, i, item, sequence);
        struct leaf *larger = leaf_copy(l, need, sequence, false);
        mem_free(l);
        *slot = &larger->head;
        l = larger;
    }
    leaf_put(l, i, item);
    return NULL;
}

/* Takes in a new child behind child i. Returns a right neighbour of this node, if it had to be split. */
static struct tree_node *take_in(struct inner *n, unsigned i, struct tree_node *fresh, bool sequence)
{
    struct child c = {.node = fresh};
    child_refresh(&c, sequence);
    if (n->head.count < FANOUT) {
        memmove(&n->at[i + 2], &n->at[i + 1], (n->head.count - i - 1) * sizeof(c));
        n->at[i + 1] = c;
        n->head.count++;
        return NULL;
    }
    struct inner *right = mem_alloc(sizeof(*right));
    unsigned cut = i + 1 == FANOUT ? FANOUT : i == 0 ? 1 : FANOUT / 2;
    right->head = (struct tree_node){.holders = 1, .level = n->head.level, .count = (uint16_t)(FANOUT - cut)};
    memcpy(right->at, &n->at[cut], (FANOUT - cut) * sizeof(c));
    n->head.count = (uint16_t)cut;
    if (i + 1 > cut || cut == FANOUT) {
        unsigned at = i + 1 - cut;
        memmove(&right->at[at + 1], &right->at[at], (right->head.count - at) * sizeof(c));
        right->at[at] = c;
        right->head.count++;
    } else {
        memmove(&n->at[i + 2], &n->at[i + 1], (n->head.count - i - 1) * sizeof(c));
        n->at[i + 1] = c;
        n->head.count++;
    }
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

static struct tree_node *insert(struct tree_node **slot, uint64_t position, const struct item *item, bool sequence)
{
    own(slot, sequence);
    if ((*slot)->level == 0)
        return leaf_insert(slot, (unsigned)position, item, sequence);
    struct inner *n = inner_of(*slot);
    unsigned i = child_of(n, &position, true);
    struct tree_node *fresh = insert(&n->at[i].node, position, item, sequence);
    child_refresh(&n->at[i], sequence);
    struct tree_node *right = fresh ? take_in(n, i, fresh, sequence) : NULL;
    sum_up(n);
    return right;
}

void tree_insert(struct tree *t, uint64_t position, uint64_t order, bytes payload)
{
    bool sequence = !t->compare;
    struct item item = {.order = order, .payload = payload, .ordered = !sequence};
    hf_assert(position <= tree_count(t) && payload.size <= TREE_PAYLOAD_MAX);
    if (payload.size > TREE_INLINE_MAX) {
        item.big = mem_alloc(sizeof(*item.big) + payload.size);
        item.big->holders = 1;
        item.big->size = (uint32_t)payload.size;
        memcpy(item.big->data, payload.data, payload.size);
    }
    if (!t->root)
        t->root = &leaf_new(item_size(&item) + 2)->head;
    struct tree_node *right = insert(&t->root, position, &item, sequence);
    if (!right)
        return;
    struct inner *root = mem_alloc(sizeof(*root));
    root->head = (struct tree_node){.holders = 1, .level = (uint16_t)(t->root->level + 1), .count = 2};
    hf_assert(root->head.level < TREE_DEPTH_MAX);
    root->at[0].node = t->root;
    root->at[1].node = right;
    child_refresh(&root->at[0], sequence);
    child_refresh(&root->at[1], sequence);
    sum_up(root);
    t->root = &root->head;
}

/* ---- removal ---- */

static void leaf_cut(struct tree_node **slot, unsigned first, unsigned count, bool sequence)
{
    struct leaf *l = leaf_of(*slot);
    for (unsigned i = first; i < first + count; i++) {
        if (offset_of(l, i) & BIG) {
            struct big *b = big_of(l, i, sequence ? 0 : 8);
            l->head.memory -= sizeof(*b) + b->size;
            big_drop(b);
        }
    }
    unsigned start = item_start(l, first), end = item_start(l, first + count), size = end - start;
    memmove(l->data + start, l->data + end, l->used - end);
    for (unsigned i = first + count; i < l->head.count; i++)
        *offset_at(l, i - count) = (uint16_t)(*offset_at(l, i) - size);
    l->used = (uint16_t)(l->used - size);
    l->head.count = (uint16_t)(l->head.count - count);
    l->head.elements -= count;
    if (l->head.count && l->room > 2 * leaf_need(l) + 64) {
        *slot = &leaf_copy(l, leaf_need(l), sequence, false)->head;
        mem_free(l);
    }
}

static bool is_small(const struct tree_node *n)
{
    return n->level ? n->count < FANOUT / 4 : leaf_need(leaf_view(n)) < LEAF_ROOM / 4;
}

/* Joins child i with the one behind it if both fit into one node. */
static bool join(struct inner *n, unsigned i, bool sequence)
{
    struct tree_node *a = n->at[i].node, *b = n->at[i + 1].node;
    if (a->level ? a->count + b->count > FANOUT
                 : leaf_need(leaf_of(a)) + leaf_need(leaf_of(b)) > LEAF_ROOM * 3 / 4)
        return false;
    own(&n->at[i].node, sequence);
    own(&n->at[i + 1].node, sequence);
    a = n->at[i].node;
    b = n->at[i + 1].node;
    if (a->level) {
        memcpy(&inner_of(a)->at[a->count], inner_of(b)->at, b->count * sizeof(struct child));
        a->count = (uint16_t)(a->count + b->count);
        sum_up(inner_of(a));
    } else {
        struct leaf *joined = leaf_new(leaf_need(leaf_of(a)) + leaf_need(leaf_of(b)));
        copy_items(leaf_of(a), 0, a->count, joined, sequence, false);
        copy_items(leaf_of(b), 0, b->count, joined, sequence, false);
        mem_free(a);
        n->at[i].node = &joined->head;
    }
    mem_free(b);
    child_refresh(&n->at[i], sequence);
    n->head.count--;
    memmove(&n->at[i + 1], &n->at[i + 2], (n->head.count - i - 1) * sizeof(struct child));
    return true;
}

static void tidy(struct inner *n, unsigned first, bool sequence)
{
    for (unsigned i = first > 0 ? first - 1 : 0; i + 1 < n->head.count && i <= first + 1;) {
        if ((!is_small(n->at[i].node) && !is_small(n->at[i + 1].node)) || !join(n, i, sequence))
            i++;
    }
}

/* Never all of the node's elements. */
static void cut_range(struct tree_node **slot, uint64_t position, uint64_t count, bool sequence)
{
    own(slot, sequence);
    if ((*slot)->level == 0) {
        leaf_cut(slot, (unsigned)position, (unsigned)count, sequence);
        return;
    }
    struct inner *n = inner_of(*slot);
    unsigned first = child_of(n, &position, false), kept = first;
    for (unsigned i = first; i < n->head.count; i++) {
        struct child *c = &n->at[i];
        uint64_t here = count < c->elements - position ? count : c->elements - position;
        if (here == c->elements) {
            drop(c->node, sequence);
        } else {
            if (here) {
                cut_range(&c->node, position, here, sequence);
                child_refresh(c, sequence);
            }
            n->at[kept++] = *c;
        }
        count -= here;
        position = 0;
    }
    n->head.count = (uint16_t)kept;
    tidy(n, first < kept ? first : kept - 1, sequence);
    sum_up(n);
}

void tree_remove(struct tree *t, uint64_t position, uint64_t count)
{
    bool sequence = !t->compare;
    hf_assert(position <= tree_count(t) && count <= tree_count(t) - position);
    if (count == 0)
        return;
    if (count == tree_count(t)) {
        tree_clear(t);
        return;
    }
    cut_range(&t->root, position, count, sequence);
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
    bool sequence = !t->compare;
    if (old.payload.size != payload.size || payload.size > TREE_INLINE_MAX) {
        tree_remove(t, position, 1);
        tree_insert(t, position, order, payload);
        return;
    }
    struct tree_node **slot = &t->root;
    for (;;) {
        own(slot, sequence);
        if ((*slot)->level == 0)
            break;
        struct inner *n = inner_of(*slot);
        slot = &n->at[child_of(n, &position, false)].node;
    }
    struct leaf *l = leaf_of(*slot);
    if (payload.size)
        memcpy(l->data + item_start(l, (unsigned)position) + (sequence ? 0 : 8), payload.data, payload.size);
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
        drop(t->root, !t->compare);
    t->root = NULL;
}

/* Takes children off the end until there are none. False: the budget is used up. */
static bool clear_some(struct tree_node *n, size_t *budget, bool sequence)
{
    if (n->level == 0 || !is_alone(n)) {
        if (*budget == 0)
            return false;
        --*budget;
        drop(n, sequence);
        return true;
    }
    while (n->count > 0) {
        if (!clear_some(inner_of(n)->at[n->count - 1].node, budget, sequence))
            return false;
        n->count--;
    }
    mem_free(n);
    return true;
}

bool tree_clear_some(struct tree *t, size_t *budget)
{
    if (t->root && !clear_some(t->root, budget, !t->compare))
        return false;
    t->root = NULL;
    return true;
}

uint64_t tree_count(const struct tree *t) { return t->root ? t->root->elements : 0; }
size_t tree_memory(const struct tree *t) { return t->root ? t->root->memory : 0; }

/* ---- reading ---- */

struct tree_element tree_at(const struct tree *t, uint64_t position)
{
    hf_assert(position < tree_count(t));
    const struct tree_node *n = t->root;
    while (n->level > 0)
        n = inner_view(n)->at[child_of(inner_view(n), &position, false)].node;
    return element_of(leaf_view(n), (unsigned)position, !t->compare);
}

static const struct leaf *leftmost(const struct tree_node *n)
{
    while (n->level > 0)
        n = inner_view(n)->at[0].node;
    return leaf_view(n);
}

/* Against the element's own (order, payload): is it below (order, key)? No key: below order. */
static bool is_below(const struct tree *t, const struct leaf *l, unsigned i, uint64_t order, const bytes *key)
{
    uint64_t mine = order_of(l, i);
    if (mine != order || !key)
        return mine < order;
    return t->compare(element_of(l, i, false).payload, *key) < 0;
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
            const struct leaf *l = leftmost(c->node);
            right = t->compare(element_of(l, 0, false).payload, *key) <= 0;
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
    const struct leaf *l = leaf_view(n);
    unsigned low = 0, high = n->count;
    while (low < high) {
        unsigned middle = (low + high) / 2;
        if (is_below(t, l, middle, order, key))
            low = middle + 1;
        else
            high = middle;
    }
    *position = before + low;
    if (!key || low == n->count || order_of(l, low) != order)
        return false;
    struct tree_element e = element_of(l, low, false);
    if (t->compare(e.payload, *key) != 0)
        return false;
    if (found)
        *found = e;
    return true;
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
    c->sequence = !t->compare;
    c->depth = n->level;
    for (unsigned d = 0; n->level > 0; d++) {
        c->path[d] = n;
        c->at[d] = (uint16_t)child_of(inner_view(n), &position, false);
        n = inner_view(n)->at[c->at[d]].node;
    }
    c->path[c->depth] = n;
    c->at[c->depth] = (uint16_t)position;
    *e = element_of(leaf_view(n), (unsigned)position, c->sequence);
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
    while (c->at[d] + 1u >= c->path[d]->count) {
        if (d-- == 0)
            return false;
    }
    c->at[d]++;
    descend(c, d, false);
    *e = element_of(leaf_view(c->path[c->depth]), c->at[c->depth], c->sequence);
    return true;
}

bool tree_previous(struct tree_cursor *c, struct tree_element *e)
{
    unsigned d = c->depth;
    while (c->at[d] == 0) {
        if (d-- == 0)
            return false;
    }
    c->at[d]--;
    descend(c, d, true);
    *e = element_of(leaf_view(c->path[c->depth]), c->at[c->depth], c->sequence);
    return true;
}

/* ---- invariants ---- */

static void check_leaf(const struct leaf *l, bool sequence)
{
    uint64_t memory = LEAF_HEADER + l->room;
    hf_assert(leaf_need(l) <= l->room && l->head.elements == l->head.count && l->head.count > 0);
    for (unsigned i = 0; i < l->head.count; i++) {
        hf_assert(item_start(l, i) <= item_start(l, i + 1));
        hf_assert(sequence || i == 0 || order_of(l, i - 1) <= order_of(l, i));
        if (offset_of(l, i) & BIG) {
            const struct big *b = big_of(l, i, sequence ? 0 : 8);
            hf_assert(b->size > TREE_INLINE_MAX && b->holders > 0);
            memory += sizeof(*b) + b->size;
        }
    }
    hf_assert(memory == l->head.memory);
}

static void check_node(const struct tree_node *n, bool sequence)
{
    hf_assert(((struct tree_node *)(uintptr_t)n)->holders > 0);
    if (n->level == 0) {
        check_leaf(leaf_view(n), sequence);
        return;
    }
    uint64_t elements = 0, memory = sizeof(struct inner);
    hf_assert(n->count > 0 && n->count <= FANOUT);
    for (unsigned i = 0; i < n->count; i++) {
        const struct child *c = &inner_view(n)->at[i];
        hf_assert(c->node->level + 1 == n->level && c->elements == c->node->elements && c->memory == c->node->memory);
        hf_assert(c->order == first_order(c->node, sequence));
        hf_assert(i == 0 || inner_view(n)->at[i - 1].order <= c->order);
        check_node(c->node, sequence);
        elements += c->elements;
        memory += c->node->memory;
    }
    hf_assert(elements == n->elements && memory == n->memory);
}

void tree_check(const struct tree *t)
{
    if (t->root)
        check_node(t->root, !t->compare);
    hf_assert(!t->root || t->root->level == 0 || t->root->count > 1);
}
