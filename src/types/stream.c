/* stream.c -- entries: a tree by id, each with its fields and values in one piece.
 *
 * Node marks: an entry begins a node when the one before is full at that time. When it goes, the mark passes to the next
 * entry, unless that begins a node itself. So the nodes' number is that of the marks, and the oldest entry always has one.
 */
#include "types/stream_private.h"

#include "base/memory.h"

struct stream_limits stream_limits = {100, 4096};

#define SEQ_SIZE 8u
#define BODY_AT (SEQ_SIZE + 1)

static uint64_t limit_of(const uint32_t *limit)
{
    uint32_t value = __atomic_load_n(limit, __ATOMIC_RELAXED);
    return value ? value : UINT64_MAX;
}

/* ---- ids ---- */

bool stream_id_next(struct stream_id *id)
{
    if (id->seq < UINT64_MAX) {
        id->seq++;
    } else if (id->ms < UINT64_MAX) {
        id->ms++;
        id->seq = 0;
    } else {
        return false;
    }
    return true;
}

bool stream_id_previous(struct stream_id *id)
{
    if (id->seq > 0) {
        id->seq--;
    } else if (id->ms > 0) {
        id->ms--;
        id->seq = UINT64_MAX;
    } else {
        return false;
    }
    return true;
}

static void number_put(uint8_t out[8], uint64_t value)
{
    for (int i = 7; i >= 0; i--, value >>= 8)
        out[i] = (uint8_t)value;
}

static uint64_t number_get(const uint8_t in[8])
{
    uint64_t value = 0;
    for (int i = 0; i < 8; i++)
        value = value << 8 | in[i];
    return value;
}

void id_put(uint8_t out[ID_SIZE], struct stream_id id)
{
    number_put(out, id.ms);
    number_put(out + 8, id.seq);
}

struct stream_id id_get(const uint8_t in[ID_SIZE])
{
    return (struct stream_id){number_get(in), number_get(in + 8)};
}

bool take_id(bytes *in, struct stream_id *id)
{
    return varint_try_take(in, &id->ms) && varint_try_take(in, &id->seq);
}

/* ---- reading ---- */

static int compare_seq(bytes payload, bytes key)
{
    return memcmp(payload.data, key.data, SEQ_SIZE);
}

static bool locate(const struct stream *s, struct stream_id id, uint64_t *position, struct tree_element *e)
{
    uint8_t seq[SEQ_SIZE];
    number_put(seq, id.seq);
    return tree_find(&s->entries, id.ms, bytes_of(seq, SEQ_SIZE), position, e);
}

static struct stream_entry entry_of(struct tree_element e)
{
    struct stream_entry out = {.id = {e.order, number_get(e.payload.data)}, .begins_node = e.payload.data[SEQ_SIZE]};
    const uint8_t *body = varint_get(e.payload.data + BODY_AT, &out.pairs);
    out.body = bytes_of(body, e.payload.size - (size_t)(body - e.payload.data));
    return out;
}

const struct stream_state *stream_state(const struct stream *s) { return &s->state; }
uint64_t stream_count(const struct stream *s) { return tree_count(&s->entries); }

bool stream_has(const struct stream *s, struct stream_id id)
{
    uint64_t position;
    return locate(s, id, &position, NULL);
}

uint64_t stream_position(const struct stream *s, struct stream_id id)
{
    uint64_t position;
    locate(s, id, &position, NULL);
    return position;
}

bool stream_find(const struct stream *s, struct stream_id id, struct stream_entry *out)
{
    uint64_t position;
    struct tree_element e;
    if (!locate(s, id, &position, &e))
        return false;
    *out = entry_of(e);
    return true;
}

bool stream_seek(const struct stream *s, uint64_t position, struct stream_cursor *c, struct stream_entry *out)
{
    struct tree_element e;
    bool found = tree_seek(&s->entries, position, &c->tree, &e);
    if (found)
        *out = entry_of(e);
    return found;
}

bool stream_next(struct stream_cursor *c, struct stream_entry *out)
{
    struct tree_element e;
    bool found = tree_next(&c->tree, &e);
    if (found)
        *out = entry_of(e);
    return found;
}

bool stream_previous(struct stream_cursor *c, struct stream_entry *out)
{
    struct tree_element e;
    bool found = tree_previous(&c->tree, &e);
    if (found)
        *out = entry_of(e);
    return found;
}

bool stream_pair_next(bytes *body, bytes *field, bytes *value)
{
    return body->size && varint_try_take_bytes(body, field) && varint_try_take_bytes(body, value);
}

bool body_is_sound(bytes body, uint64_t pairs)
{
    bytes word;
    uint64_t words = 0;
    for (; body.size; words++) {
        if (!varint_try_take_bytes(&body, &word))
            return false;
    }
    return pairs > 0 && words % 2 == 0 && words / 2 == pairs;
}

/* ---- changing entries ---- */

static bool node_is_full(const struct stream *s)
{
    return s->tail_entries >= limit_of(&stream_limits.node_entries_max) || s->tail_bytes >= limit_of(&stream_limits.node_bytes_max);
}

void append_entry(struct stream *s, struct stream_id id, bool begins_node, bytes pairs_and_body)
{
    struct buf payload;
    uint8_t head[BODY_AT];
    begins_node |= stream_count(s) == 0;
    number_put(head, id.seq);
    head[SEQ_SIZE] = begins_node;
    buf_init(&payload, SIZE_MAX);
    buf_append(&payload, head, sizeof(head));
    buf_append_bytes(&payload, pairs_and_body);
    tree_insert(&s->entries, stream_count(s), id.ms, bytes_of(payload.data, payload.size));
    buf_release(&payload);
    if (begins_node) {
        s->state.nodes++;
        s->tail_entries = s->tail_bytes = 0;
    }
    s->tail_entries++;
    s->tail_bytes = pairs_and_body.size < UINT32_MAX - s->tail_bytes ? s->tail_bytes + (uint32_t)pairs_and_body.size : UINT32_MAX;
}

/* The entry at this position is about to be the first of its node. */
static void mark_node(struct stream *s, uint64_t position)
{
    struct tree_element e = tree_at(&s->entries, position);
    uint8_t *copy = mem_alloc(e.payload.size);
    memcpy(copy, e.payload.data, e.payload.size);
    copy[SEQ_SIZE] = 1;
    tree_replace(&s->entries, position, bytes_of(copy, e.payload.size));
    mem_free(copy);
}

static bool is_marked(const struct stream *s, uint64_t position)
{
    return tree_at(&s->entries, position).payload.data[SEQ_SIZE];
}

static void remove_entry(struct stream *s, uint64_t position)
{
    bool last_of_node = position + 1 == stream_count(s) || is_marked(s, position + 1);
    if (is_marked(s, position)) {
        if (last_of_node)
            s->state.nodes--;
        else
            mark_node(s, position + 1);
    }
    tree_remove(&s->entries, position, 1);
}

static status apply_add(struct stream *s, bytes in)
{
    struct stream_id id;
    uint64_t pairs;
    if (in.size == 0)
        return HF_ERR_CORRUPT;
    uint8_t begins_node = in.data[0];
    in = bytes_of(in.data + 1, in.size - 1);
    if (begins_node > 1 || !take_id(&in, &id) || stream_id_compare(id, s->state.last) <= 0)
        return HF_ERR_CORRUPT;
    bytes pairs_and_body = in;
    if (!varint_try_take(&in, &pairs) || !body_is_sound(in, pairs) || pairs_and_body.size > TREE_PAYLOAD_MAX - BODY_AT)
        return HF_ERR_CORRUPT;
    append_entry(s, id, begins_node, pairs_and_body);
    s->state.last = id;
    s->state.added++;
    return HF_OK;
}

static status apply_delete(struct stream *s, bytes in)
{
    struct stream_id id, before = {0, 0};
    bool first = true;
    if (in.size == 0)
        return HF_ERR_CORRUPT;
    for (bytes rest = in; rest.size; before = id, first = false) {
        if (!take_id(&rest, &id) || !stream_has(s, id) || (!first && stream_id_compare(id, before) <= 0))
            return HF_ERR_CORRUPT;
    }
    while (in.size && take_id(&in, &id)) {
        remove_entry(s, stream_position(s, id));
        if (stream_id_compare(id, s->state.max_deleted) > 0)
            s->state.max_deleted = id;
    }
    return HF_OK;
}

static status apply_trim(struct stream *s, bytes in)
{
    uint64_t count;
    struct tree_cursor c;
    struct tree_element e;
    if (!varint_try_take(&in, &count) || in.size || count == 0 || count > stream_count(s))
        return HF_ERR_CORRUPT;
    bool more = tree_seek(&s->entries, 0, &c, &e);
    for (uint64_t i = 0; i < count && more; i++, more = tree_next(&c, &e))
        s->state.nodes -= e.payload.data[SEQ_SIZE];
    if (count < stream_count(s) && !is_marked(s, count)) {
        mark_node(s, count);
        s->state.nodes++;
    }
    tree_remove(&s->entries, 0, count);
    return HF_OK;
}

static status apply_set_id(struct stream *s, bytes in)
{
    struct stream_id last, max_deleted;
    uint64_t added;
    if (!take_id(&in, &last) || !varint_try_take(&in, &added) || !take_id(&in, &max_deleted) || in.size)
        return HF_ERR_CORRUPT;
    uint64_t count = stream_count(s);
    if (count) {
        struct stream_entry newest = entry_of(tree_at(&s->entries, count - 1));
        if (stream_id_compare(last, newest.id) < 0)
            return HF_ERR_CORRUPT;
    }
    s->state.last = last;
    s->state.added = added;
    s->state.max_deleted = max_deleted;
    return HF_OK;
}

static status ops_apply(void *object, bytes change)
{
    if (change.size == 0)
        return HF_ERR_CORRUPT;
    bytes rest = bytes_of(change.data + 1, change.size - 1);
    switch (change.data[0]) {
    case CHANGE_ADD: return apply_add(object, rest);
    case CHANGE_DELETE: return apply_delete(object, rest);
    case CHANGE_TRIM: return apply_trim(object, rest);
    case CHANGE_SET_ID: return apply_set_id(object, rest);
    default: return groups_apply(object, change.data[0], rest);
    }
}

/* ---- writing changes ---- */

void stream_change_id(struct buf *out, struct stream_id id)
{
    varint_append(out, id.ms);
    varint_append(out, id.seq);
}

void stream_change_add(struct buf *out, const struct stream *s, struct stream_id id, uint64_t pairs)
{
    buf_append_u8(out, CHANGE_ADD);
    buf_append_u8(out, !s || stream_count(s) == 0 || node_is_full(s));
    stream_change_id(out, id);
    varint_append(out, pairs);
}

void stream_change_pair(struct buf *out, bytes field, bytes value)
{
    varint_append_bytes(out, field);
    varint_append_bytes(out, value);
}

void stream_change_delete(struct buf *out) { buf_append_u8(out, CHANGE_DELETE); }

void stream_change_trim(struct buf *out, uint64_t count)
{
    buf_append_u8(out, CHANGE_TRIM);
    varint_append(out, count);
}

void stream_change_set_id(struct buf *out, struct stream_id last, uint64_t added, struct stream_id max_deleted)
{
    buf_append_u8(out, CHANGE_SET_ID);
    stream_change_id(out, last);
    varint_append(out, added);
    stream_change_id(out, max_deleted);
}

/* ---- rows of type_ops; encoded form: docs/format/values.md ---- */

struct stream *stream_new(void)
{
    struct stream *s = mem_zalloc(sizeof(*s));
    s->entries = tree_make(compare_seq);
    groups_init(s);
    return s;
}

#define TREES 6
static void trees_of(const struct stream *s, const struct tree *trees[TREES])
{
    const struct tree *all[TREES] = {&s->entries, &s->groups, &s->consumers, &s->people, &s->pending, &s->owned};
    memcpy(trees, all, sizeof(all));
}

static void *ops_create(void) { return stream_new(); }

static bool ops_free_some(void *object, size_t *budget)
{
    const struct tree *trees[TREES];
    trees_of(object, trees);
    for (int i = 0; i < TREES; i++) {
        if (!tree_clear_some((struct tree *)trees[i], budget))
            return false;
    }
    mem_free(object);
    return true;
}

static void ops_free(void *object)
{
    const struct tree *trees[TREES];
    trees_of(object, trees);
    for (int i = 0; i < TREES; i++)
        tree_clear((struct tree *)trees[i]);
    mem_free(object);
}

static void *ops_share(const void *object)
{
    const struct tree *trees[TREES];
    struct stream *copy = mem_alloc(sizeof(*copy));
    *copy = *(const struct stream *)object;
    trees_of(copy, trees);
    for (int i = 0; i < TREES; i++)
        *(struct tree *)trees[i] = tree_share(trees[i]);
    return copy;
}

static bool ops_is_empty(const void *object)
{
    (void)object;
    return false;
}

static size_t ops_memory(const void *object)
{
    const struct tree *trees[TREES];
    size_t sum = sizeof(struct stream);
    trees_of(object, trees);
    for (int i = 0; i < TREES; i++)
        sum += tree_memory(trees[i]);
    return sum;
}

static void ops_encode(const void *object, struct buf *out)
{
    const struct stream *s = object;
    struct tree_cursor c;
    struct tree_element e;
    stream_change_id(out, s->state.last);
    stream_change_id(out, s->state.max_deleted);
    varint_append(out, s->state.added);
    varint_append(out, s->tail_entries);
    varint_append(out, s->tail_bytes);
    varint_append(out, stream_count(s));
    for (bool more = tree_seek(&s->entries, 0, &c, &e); more; more = tree_next(&c, &e)) {
        stream_change_id(out, (struct stream_id){e.order, number_get(e.payload.data)});
        varint_append_bytes(out, bytes_of(e.payload.data + SEQ_SIZE, e.payload.size - SEQ_SIZE));
    }
    groups_encode(s, out);
}

static bool take_entry(struct stream *s, bytes *in)
{
    struct stream_id id;
    bytes payload;
    uint64_t pairs;
    if (!take_id(in, &id) || !varint_try_take_bytes(in, &payload) || payload.size < 2 || payload.data[0] > 1)
        return false;
    bytes body = bytes_of(payload.data + 1, payload.size - 1), pairs_and_body = body;
    uint64_t count = stream_count(s);
    if (!varint_try_take(&body, &pairs) || !body_is_sound(body, pairs) || payload.size > TREE_PAYLOAD_MAX - SEQ_SIZE ||
        stream_id_compare(id, s->state.last) > 0 || (count == 0 && !payload.data[0]))
        return false;
    if (count && stream_id_compare(id, entry_of(tree_at(&s->entries, count - 1)).id) <= 0)
        return false;
    append_entry(s, id, payload.data[0], pairs_and_body);
    return true;
}

static bool take_stream(struct stream *s, bytes *in)
{
    uint64_t count, tail_entries, tail_bytes;
    if (!take_id(in, &s->state.last) || !take_id(in, &s->state.max_deleted) || !varint_try_take(in, &s->state.added) ||
        !varint_try_take(in, &tail_entries) || !varint_try_take(in, &tail_bytes) || tail_entries > UINT32_MAX ||
        tail_bytes > UINT32_MAX || !varint_try_take(in, &count))
        return false;
    for (; count > 0; count--) {
        if (!take_entry(s, in))
            return false;
    }
    s->tail_entries = (uint32_t)tail_entries;
    s->tail_bytes = (uint32_t)tail_bytes;
    return groups_decode(s, in) && in->size == 0;
}

static status ops_decode(bytes in, void **object)
{
    struct stream *s = stream_new();
    if (!take_stream(s, &in)) {
        ops_free(s);
        return HF_ERR_CORRUPT;
    }
    *object = s;
    return HF_OK;
}

static const char *ops_encoding(const void *object)
{
    (void)object;
    return "stream";
}

static void ops_check(const void *object)
{
    const struct stream *s = object;
    const struct tree *trees[TREES];
    struct stream_cursor c;
    struct stream_entry e;
    uint64_t nodes = 0;
    trees_of(s, trees);
    for (int i = 0; i < TREES; i++)
        tree_check(trees[i]);
    for (bool more = stream_seek(s, 0, &c, &e); more; more = stream_next(&c, &e)) {
        hf_assert(nodes > 0 || e.begins_node);
        hf_assert(body_is_sound(e.body, e.pairs) && stream_id_compare(e.id, s->state.last) <= 0);
        nodes += e.begins_node;
    }
    hf_assert(nodes == s->state.nodes);
    groups_check(s);
}

const struct type_ops stream_ops = {
    .name = "stream",
    .size = sizeof(struct stream),
    .create = ops_create,
    .free = ops_free,
    .free_some = ops_free_some,
    .share = ops_share,
    .apply = ops_apply,
    .is_empty = ops_is_empty,
    .memory = ops_memory,
    .encode = ops_encode,
    .decode = ops_decode,
    .encoding = ops_encoding,
    .check = ops_check,
};
