/* stream_nodes.c -- where Redis would begin a node: what XTRIM with ~ may cut, and XINFO counts.
 *
 * Redis keeps a node as a listpack that begins with the fields of its first entry. Nothing is kept that way here, but its size is
 * reckoned as if it were, so that nodes begin at the same entries: each word costs its bytes and one to ten more, a number
 * that is written as such 2 to 10 bytes; an entry with the fields of the first one goes without them.
 */
#include "types/stream_private.h"

#include "base/crc.h"
#include "base/number.h"

struct stream_limits stream_limits = {100, 4096};

#define NODE_SIZE_MAX (UINT64_C(1) << 30)
#define LISTPACK_FRAME 7u /* its head and its end */

static uint64_t limit_of(const uint32_t *limit)
{
    return __atomic_load_n(limit, __ATOMIC_RELAXED);
}

/* ---- sizes in a listpack ---- */

/* Each item ends with its own size, seven bits a byte. */
static uint64_t with_size(uint64_t size) { return size + varint_size(size); }

static uint64_t int_size(int64_t value)
{
    static const struct { int64_t limit; uint8_t size; } forms[] = {
        {INT64_C(1) << 12, 2}, {INT64_C(1) << 15, 3}, {INT64_C(1) << 23, 4}, {INT64_C(1) << 31, 5}};
    if (value >= 0 && value < 128)
        return with_size(1);
    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        if (value >= -forms[i].limit && value < forms[i].limit)
            return with_size(forms[i].size);
    }
    return with_size(9);
}

static uint64_t word_size(bytes word)
{
    int64_t value;
    if (number_parse_int(word, &value))
        return int_size(value);
    return with_size(word.size + (word.size < 64 ? 1 : word.size < 4096 ? 2 : 5));
}

static uint64_t words_size(bytes body, bool fields, bool values)
{
    struct stream_pairs p = {.rest = body};
    bytes field, value;
    uint64_t size = 0;
    while (stream_pair_next(&p, &field, &value))
        size += (fields ? word_size(field) : 0) + (values ? word_size(value) : 0);
    return size;
}

/* ---- the newest node ---- */

bool node_is_full(const struct stream *s, size_t size)
{
    uint64_t size_max = limit_of(&stream_limits.node_bytes_max), entries_max = limit_of(&stream_limits.node_entries_max);
    if (size_max == 0 || size_max > NODE_SIZE_MAX)
        size_max = NODE_SIZE_MAX;
    return s->tail_bytes + int_size(s->tail_entries) + size >= size_max || (entries_max && s->tail_entries >= entries_max);
}

/* Tells lists of fields from each other, as far as a size is worth it. */
static uint32_t mark_of(uint64_t pairs, bytes body)
{
    struct stream_pairs p = {.rest = body};
    bytes field, value;
    uint32_t mark = (uint32_t)pairs;
    while (stream_pair_next(&p, &field, &value))
        mark = crc32c(mark + (uint32_t)field.size, field.data, field.size);
    return mark;
}

void node_add(struct stream *s, struct stream_id id, bool begins_node, uint64_t pairs, bytes body)
{
    uint32_t mark = mark_of(pairs, body);
    uint64_t size = s->tail_bytes, count = pairs < INT64_MAX / 4 ? pairs : INT64_MAX / 4;
    if (begins_node) {
        s->state.nodes++;
        s->tail_first = id;
        s->tail_fields = mark;
        s->tail_entries = 0;
        size = LISTPACK_FRAME + int_size(0) + int_size((int64_t)count) + words_size(body, true, false) + int_size(0);
    }
    bool same = mark == s->tail_fields;
    size += int_size(0) + int_size((int64_t)(id.ms - s->tail_first.ms)) + int_size((int64_t)(id.seq - s->tail_first.seq)) +
            words_size(body, !same, true) + (same ? int_size((int64_t)count + 3) : int_size((int64_t)count) + int_size(2 * (int64_t)count + 4));
    s->tail_bytes = size < UINT32_MAX ? (uint32_t)size : UINT32_MAX;
    s->tail_entries++;
    s->state.oldest_node += s->state.nodes == 1;
}

void node_drop(struct stream *s, bool newest)
{
    s->state.nodes--;
    if (newest)
        s->tail_entries = s->tail_bytes = UINT32_MAX; /* the one before was full */
}

/* ---- the oldest node ---- */

/* The oldest node is another one. */
static void measure_oldest(struct stream *s)
{
    struct tree_cursor c;
    struct tree_element e;
    uint64_t at = 0;
    for (bool more = tree_seek(&s->entries, 0, &c, &e); more && (at == 0 || !(e.payload.data[0] & ENTRY_BEGINS_NODE)); more = tree_next(&c, &e))
        at++;
    s->state.oldest_node = at;
}

void node_shrink_oldest(struct stream *s, uint64_t count)
{
    if (count < s->state.oldest_node)
        s->state.oldest_node -= count;
    else
        measure_oldest(s);
}
