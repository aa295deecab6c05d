/* tree_leaf.c -- payloads, sizes and framed orders in one block (the layout: tree_leaf.h).
 *
 * The tables end at the back of the room and grow towards the payloads, sizes behind orders: one more size moves
 * the orders by a byte, one more order moves those of higher items by its width.
 */
#include "data/tree_leaf.h"

#include "base/memory.h"

/* ---- sizes ---- */

/* Of bytes whose sum is below 2^16. */
static unsigned sum_of(const uint8_t *at, unsigned count)
{
    const uint64_t even = 0x00ff00ff00ff00ff;
    uint64_t lanes = 0, eight;
    unsigned sum = 0;
    for (; count >= 8; count -= 8, at += 8) {
        memcpy(&eight, at, 8);
        lanes += (eight & even) + (eight >> 8 & even);
    }
    for (; count > 0; count--)
        sum += *at++;
    return sum + (unsigned)(lanes * 0x0001000100010001 >> 48);
}

/* Bytes of the payloads [first, end). */
static unsigned span_of(const struct leaf *l, unsigned first, unsigned end)
{
    if (!l->outside)
        return sum_of(l->data + l->room - end, end - first);
    unsigned sum = 0;
    for (unsigned i = first; i < end; i++)
        sum += leaf_item_size(l, i);
    return sum;
}

unsigned leaf_start(const struct leaf *l, unsigned i)
{
    return i <= l->head.count / 2u ? span_of(l, 0, i) : l->used - span_of(l, i, l->head.count);
}

static struct big *big_at(const struct leaf *l, unsigned start)
{
    struct big *b;
    memcpy(&b, l->data + start, sizeof(b));
    return b;
}

void big_drop(struct big *b)
{
    if (atomic_fetch_sub_explicit(&b->holders, 1, memory_order_acq_rel) == 1)
        mem_free(b);
}

static size_t big_memory(const struct big *b) { return sizeof(*b) + b->size; }

void leaf_drop_bigs(struct leaf *l)
{
    if (!l->outside)
        return;
    for (unsigned i = 0, start = 0; i < l->head.count; start += leaf_item_size(l, i++)) {
        if (leaf_size(l, i) == SIZE_BIG)
            big_drop(big_at(l, start));
    }
}

/* ---- frames ---- */

static unsigned width_of(uint64_t stored)
{
    unsigned width = 0;
    for (; stored; stored >>= 8)
        width++;
    return width;
}

static uint64_t below_shift(unsigned shift) { return (UINT64_C(1) << shift) - 1; }

bool frame_holds(struct frame f, uint64_t order)
{
    uint64_t above = order - f.base;
    return order >= f.base && !(above & below_shift(f.shift)) && (f.width == 8 || above >> f.shift >> 8 * f.width == 0);
}

/* base: the lowest order; bits: those of all distances to it together. */
static struct frame frame_over(uint64_t base, uint64_t highest, uint64_t bits)
{
    unsigned shift = bits ? (unsigned)__builtin_ctzll(bits) : 0;
    return (struct frame){base, (uint8_t)width_of((highest - base) >> shift), (uint8_t)shift};
}

static uint64_t distance_bits(const struct leaf *l, unsigned first, unsigned end, uint64_t base)
{
    uint64_t bits = 0;
    for (unsigned i = first; i < end; i++)
        bits |= leaf_order(l, i) - base;
    return bits;
}

struct frame leaf_frame_of(const struct leaf *l, unsigned first, unsigned end)
{
    if (l->width == 0 || first == end)
        return (struct frame){.base = l->base};
    uint64_t base = leaf_order(l, first);
    return frame_over(base, leaf_order(l, end - 1), distance_bits(l, first, end, base));
}

struct frame leaf_frame_of_both(const struct leaf *a, const struct leaf *b)
{
    uint64_t base = leaf_order(a, 0);
    return frame_over(base, leaf_order(b, b->head.count - 1u),
                      distance_bits(a, 0, a->head.count, base) | distance_bits(b, 0, b->head.count, base));
}

struct frame leaf_frame_with(const struct leaf *l, uint64_t order)
{
    unsigned count = l->head.count;
    if (count == 0)
        return (struct frame){.base = order};
    uint64_t lowest = leaf_order(l, 0), highest = leaf_order(l, count - 1), base = order < lowest ? order : lowest;
    if (order > highest)
        highest = order;
    struct frame f = frame_over(base, highest, distance_bits(l, 0, count, base) | (order - base));
    if (order >= lowest)
        return f;
    /* It grows downwards: all the room that the width gives lies below. */
    unsigned bits = 8u * f.width + f.shift;
    uint64_t span = bits < 64 ? below_shift(8u * f.width) << f.shift : UINT64_MAX;
    f.base = span < highest ? highest - span : highest & below_shift(f.shift);
    return f;
}

/* ---- leaves ---- */

unsigned leaf_room_for(unsigned need, bool lone)
{
    static const unsigned sizes[] = {512, 1024, 1536, LEAF_SIZE_MAX};
    size_t size = need + LEAF_HEADER;
    if (lone)
        return (unsigned)mem_class_size(size) - LEAF_HEADER;
    unsigned i = 0;
    while (sizes[i] < size)
        i++;
    return sizes[i] - LEAF_HEADER;
}

struct leaf *leaf_new(unsigned room, struct frame f)
{
    struct leaf *l = mem_alloc(LEAF_HEADER + room < sizeof(*l) ? sizeof(*l) : LEAF_HEADER + room);
    l->head.level = 0;
    l->head.count = 0;
    atomic_init(&l->head.holders, 1);
    l->outside = 0;
    l->base = f.base;
    l->width = f.width;
    l->shift = f.shift;
    l->room = (uint16_t)room;
    l->used = 0;
    return l;
}

static uint8_t *orders_end(struct leaf *l) { return l->data + l->room - l->head.count; }

static void order_put(struct leaf *l, unsigned i, uint64_t order)
{
    uint64_t stored = (order - l->base) >> l->shift;
    memcpy(orders_end(l) - (i + 1) * (unsigned)l->width, &stored, l->width);
}

/* The table grows by items without order yet. */
static void append_sizes(struct leaf *to, const struct leaf *from, unsigned first, unsigned end)
{
    unsigned more = end - first, orders = to->head.count * (unsigned)to->width;
    memmove(orders_end(to) - orders - more, orders_end(to) - orders, orders);
    memcpy(orders_end(to) - more, from->data + from->room - end, more);
    to->head.count = (uint16_t)(to->head.count + more);
}

static void copy_orders(struct leaf *to, unsigned at, const struct leaf *from, unsigned first, unsigned end)
{
    unsigned width = to->width;
    if (to->base == from->base && width == from->width && to->shift == from->shift) {
        memcpy(orders_end(to) - (at + end - first) * width, from->data + from->room - from->head.count - end * width,
               (end - first) * width);
        return;
    }
    for (unsigned i = first; i < end && width; i++)
        order_put(to, at + i - first, leaf_order(from, i));
}

void leaf_append(struct leaf *to, const struct leaf *from, unsigned first, unsigned end, bool hold)
{
    unsigned start = leaf_start(from, first), size = leaf_start(from, end) - start, at = to->head.count;
    memcpy(to->data + to->used, from->data + start, size);
    append_sizes(to, from, first, end);
    copy_orders(to, at, from, first, end);
    for (unsigned i = at, offset = to->used; i < to->head.count && from->outside; offset += leaf_item_size(to, i++)) {
        if (leaf_size(to, i) != SIZE_BIG)
            continue;
        struct big *b = big_at(to, offset);
        to->outside += big_memory(b);
        if (hold)
            atomic_fetch_add_explicit(&b->holders, 1, memory_order_relaxed);
    }
    to->used = (uint16_t)(to->used + size);
}

struct leaf *leaf_copy(const struct leaf *l, unsigned room, struct frame f, bool hold)
{
    struct leaf *copy = leaf_new(room, f);
    leaf_append(copy, l, 0, l->head.count, hold);
    return copy;
}

void leaf_put(struct leaf *l, unsigned i, const struct item *item)
{
    unsigned start = leaf_start(l, i), size = item_size(item), count = l->head.count, width = l->width;
    uint8_t *at = l->data + start, *sizes = l->data + l->room - count;
    memmove(at + size, at, l->used - start);
    memmove(sizes - count * width - width - 1, sizes - count * width, (count - i) * width);
    memmove(sizes - i * width - 1, sizes - i * width, i * width + count - i);
    if (item->big)
        memcpy(at, &item->big, sizeof(item->big));
    else if (item->payload.size)
        memcpy(at, item->payload.data, item->payload.size);
    l->data[l->room - 1u - i] = (uint8_t)(item->big ? SIZE_BIG : item->payload.size);
    l->used = (uint16_t)(l->used + size);
    l->head.count++;
    order_put(l, i, item->order);
    l->outside += item->big ? big_memory(item->big) : 0;
}

void leaf_cut(struct leaf *l, unsigned first, unsigned count)
{
    unsigned start = leaf_start(l, first), size = span_of(l, first, first + count), all = l->head.count, width = l->width;
    uint8_t *sizes = l->data + l->room - all;
    for (unsigned i = first, at = start; i < first + count && l->outside; at += leaf_item_size(l, i++)) {
        if (leaf_size(l, i) == SIZE_BIG) {
            struct big *b = big_at(l, at);
            l->outside -= big_memory(b);
            big_drop(b);
        }
    }
    memmove(l->data + start, l->data + start + size, l->used - start - size);
    memmove(sizes - first * width + count, sizes - first * width, first * width + all - first - count);
    memmove(sizes - all * width + count + count * width, sizes - all * width, (all - first - count) * width);
    l->used = (uint16_t)(l->used - size);
    l->head.count = (uint16_t)(all - count);
}

/* ---- search ---- */

/* The first item of [low, high) whose stored order is not below. */
static unsigned lower(const struct leaf *l, unsigned low, unsigned high, uint64_t stored)
{
    while (low < high) {
        unsigned middle = (low + high) / 2;
        if (leaf_stored_order(l, middle) < stored)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* As lower, when it is probably near the guess: all that are near are compared, without a jump that could be foretold wrongly. */
static unsigned lower_near(const struct leaf *l, unsigned guess, uint64_t stored)
{
    unsigned count = l->head.count;
    unsigned low = guess > LEAF_NEAR ? guess - LEAF_NEAR : 0, high = guess + LEAF_NEAR < count ? guess + LEAF_NEAR : count, at = low;
    for (unsigned i = low; i < high; i++)
        at += leaf_stored_order(l, i) < stored;
    if (at == low)
        return lower(l, 0, low, stored);
    return at == high ? lower(l, high, count, stored) : at;
}

unsigned leaf_find(const struct leaf *l, tree_compare *compare, uint64_t order, const bytes *key, unsigned guess, bool *equal)
{
    unsigned count = l->head.count;
    *equal = false;
    if (order < l->base)
        return 0;
    uint64_t above = order - l->base, stored = above >> l->shift;
    bool between = (above & below_shift(l->shift)) != 0;
    unsigned low = guess < count ? lower_near(l, guess, stored + between) : lower(l, 0, count, stored + between);
    if (!key || between || low == count || leaf_stored_order(l, low) != stored)
        return low;
    unsigned high = low + 1 == count || leaf_stored_order(l, low + 1) != stored ? low + 1 : count;
    if (high == count && stored < UINT64_MAX)
        high = lower(l, low + 1, count, stored + 1);
    while (low < high) { /* equal orders: by payload */
        unsigned middle = (low + high) / 2;
        int difference = compare(leaf_element(l, middle).payload, *key);
        if (difference == 0)
            *equal = true;
        if (difference < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* ---- invariants ---- */

void leaf_check(const struct leaf *l, bool sequence)
{
    uint64_t outside = 0;
    unsigned start = 0;
    hf_assert(l->head.count > 0 && leaf_needs(l) <= l->room && l->width <= 8);
    hf_assert(!sequence || (l->width == 0 && l->base == 0));
    for (unsigned i = 0; i < l->head.count; i++) {
        hf_assert(start == leaf_start(l, i));
        hf_assert(i == 0 || leaf_order(l, i - 1) <= leaf_order(l, i));
        if (leaf_size(l, i) == SIZE_BIG) {
            const struct big *b = big_at(l, start);
            hf_assert(b->size > TREE_INLINE_MAX && b->holders > 0);
            outside += big_memory(b);
        }
        start += leaf_item_size(l, i);
    }
    hf_assert(start == l->used && outside == l->outside);
}
