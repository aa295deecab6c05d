/* stream.c -- entries: a tree by id. The order is ms; the payload of an entry is
 *
 *   | bits, 1 byte | seq, varint, unless it is 0 | pairs |
 *
 *   bits   ENTRY_BEGINS_NODE; ENTRY_HAS_SEQ; from ENTRY_LIST on the number of its list of fields and one, 0: it has none
 *   pairs  with a list: for each of its fields the sized value. Without: how many (varint), then sized fields and values in turn
 *
 * Node marks: an entry begins a node when the one before is full at that time. When it goes, the mark passes to the next
 * entry, unless that begins a node itself. So the nodes' number is that of the marks, and the oldest entry always has one.
 */
#include "types/stream_private.h"

#include "base/memory.h"

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

static const uint8_t *get_seq(const uint8_t *payload, uint64_t *seq)
{
    *seq = 0;
    return payload[0] & ENTRY_HAS_SEQ ? varint_get(payload + 1, seq) : payload + 1;
}

static int compare_seq(bytes payload, bytes key)
{
    uint64_t mine, other;
    get_seq(payload.data, &mine);
    memcpy(&other, key.data, sizeof(other));
    return mine < other ? -1 : mine > other;
}

static bool locate(const struct stream *s, struct stream_id id, uint64_t *position, struct tree_element *e)
{
    return tree_find(&s->entries, id.ms, bytes_of(&id.seq, sizeof(id.seq)), position, e);
}

/* The list that an entry uses; -1: none. */
static int list_of(const uint8_t *payload) { return payload[0] / ENTRY_LIST - 1; }

static struct stream_entry entry_of(const struct stream *s, struct tree_element e)
{
    struct stream_entry out = {.id.ms = e.order, .begins_node = e.payload.data[0] & ENTRY_BEGINS_NODE};
    const uint8_t *rest = get_seq(e.payload.data, &out.id.seq);
    int list = list_of(e.payload.data);
    if (list >= 0)
        out.body.fields = field_lists_view(s->fields, (unsigned)list, &out.pairs);
    else
        rest = varint_get(rest, &out.pairs);
    out.body.shared = list >= 0;
    out.body.rest = bytes_of(rest, e.payload.size - (size_t)(rest - e.payload.data));
    return out;
}

struct stream_entry newest_entry(const struct stream *s)
{
    return entry_of(s, tree_at(&s->entries, stream_count(s) - 1));
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
    *out = entry_of(s, e);
    return true;
}

bool stream_seek(const struct stream *s, uint64_t position, struct stream_cursor *c, struct stream_entry *out)
{
    struct tree_element e;
    bool found = tree_seek(&s->entries, position, &c->tree, &e);
    c->of = s;
    if (found)
        *out = entry_of(s, e);
    return found;
}

bool stream_next(struct stream_cursor *c, struct stream_entry *out)
{
    struct tree_element e;
    bool found = tree_next(&c->tree, &e);
    if (found)
        *out = entry_of(c->of, e);
    return found;
}

bool stream_previous(struct stream_cursor *c, struct stream_entry *out)
{
    struct tree_element e;
    bool found = tree_previous(&c->tree, &e);
    if (found)
        *out = entry_of(c->of, e);
    return found;
}

bool stream_pair_next(struct stream_pairs *body, bytes *field, bytes *value)
{
    bytes *fields = body->shared ? &body->fields : &body->rest;
    return fields->size && varint_try_take_bytes(fields, field) && varint_try_take_bytes(&body->rest, value);
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

/* The list for an entry to come: one that others use, or a new one when the newest entry has these fields, too. -1: none. */
static int choose_list(struct stream *s, uint64_t pairs, bytes body)
{
    int list = field_lists_find(s->fields, pairs, body);
    if (list >= 0 || stream_count(s) == 0)
        return list;
    struct stream_entry before = newest_entry(s);
    bytes field, other, value;
    if (before.body.shared || before.pairs != pairs)
        return -1;
    for (struct stream_pairs ours = {.rest = body}; stream_pair_next(&ours, &field, &value);) {
        if (!stream_pair_next(&before.body, &other, &value) || !bytes_equal(field, other))
            return -1;
    }
    return field_lists_add(&s->fields, pairs, body);
}

static void append_values(struct buf *out, bytes body)
{
    bytes field, value;
    for (struct stream_pairs p = {.rest = body}; stream_pair_next(&p, &field, &value);)
        varint_append_bytes(out, value);
}

void append_entry(struct stream *s, struct stream_id id, bool begins_node, bytes pairs_and_body)
{
    struct buf payload;
    uint64_t pairs;
    const uint8_t *at = varint_get(pairs_and_body.data, &pairs);
    bytes body = bytes_of(at, pairs_and_body.size - (size_t)(at - pairs_and_body.data));
    int list = choose_list(s, pairs, body);
    begins_node |= stream_count(s) == 0;
    buf_init(&payload, SIZE_MAX);
    buf_append_u8(&payload, (uint8_t)(begins_node * ENTRY_BEGINS_NODE + (id.seq != 0) * ENTRY_HAS_SEQ + (list + 1) * ENTRY_LIST));
    if (id.seq)
        varint_append(&payload, id.seq);
    if (list >= 0) {
        append_values(&payload, body);
        field_lists_use(s->fields, (unsigned)list);
    } else {
        buf_append_bytes(&payload, pairs_and_body);
    }
    tree_insert(&s->entries, stream_count(s), id.ms, bytes_of(payload.data, payload.size));
    buf_release(&payload);
    node_add(s, id, begins_node, pairs, body);
}

/* The entry at this position is about to be the first of its node. */
static void mark_node(struct stream *s, uint64_t position)
{
    struct tree_element e = tree_at(&s->entries, position);
    uint8_t *copy = mem_alloc(e.payload.size);
    memcpy(copy, e.payload.data, e.payload.size);
    copy[0] |= ENTRY_BEGINS_NODE;
    tree_replace(&s->entries, position, bytes_of(copy, e.payload.size));
    mem_free(copy);
}

static bool is_marked(const struct stream *s, uint64_t position)
{
    return tree_at(&s->entries, position).payload.data[0] & ENTRY_BEGINS_NODE;
}

/* The entry with this payload is about to go. */
static void leave_list(struct stream *s, const uint8_t *payload)
{
    int list = list_of(payload);
    if (list >= 0)
        field_lists_unuse(s->fields, (unsigned)list);
}

static void remove_entry(struct stream *s, uint64_t position)
{
    bool newest = position + 1 == stream_count(s);
    if (is_marked(s, position)) {
        if (!newest && !is_marked(s, position + 1))
            mark_node(s, position + 1);
        else
            node_drop(s, newest);
    }
    leave_list(s, tree_at(&s->entries, position).payload.data);
    tree_remove(&s->entries, position, 1);
    if (position < s->state.oldest_node)
        node_shrink_oldest(s, 1);
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
    if (!varint_try_take(&in, &pairs) || !body_is_sound(in, pairs) || pairs_and_body.size > ENTRY_SIZE_MAX)
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
    for (uint64_t i = 0; i < count && more; i++, more = tree_next(&c, &e)) {
        s->state.nodes -= e.payload.data[0] & ENTRY_BEGINS_NODE;
        leave_list(s, e.payload.data);
    }
    if (count < stream_count(s) && !is_marked(s, count)) {
        mark_node(s, count);
        s->state.nodes++;
    }
    tree_remove(&s->entries, 0, count);
    node_shrink_oldest(s, count);
    return HF_OK;
}

static status apply_set_id(struct stream *s, bytes in)
{
    struct stream_id last, max_deleted;
    uint64_t added;
    if (!take_id(&in, &last) || !varint_try_take(&in, &added) || !take_id(&in, &max_deleted) || in.size)
        return HF_ERR_CORRUPT;
    if (stream_count(s) && stream_id_compare(last, newest_entry(s).id) < 0)
        return HF_ERR_CORRUPT;
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

void stream_change_add(struct buf *out, const struct stream *s, struct stream_id id, uint64_t pairs, size_t size)
{
    buf_append_u8(out, CHANGE_ADD);
    buf_append_u8(out, !s || stream_count(s) == 0 || node_is_full(s, size));
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
    field_lists_free(((struct stream *)object)->fields);
    mem_free(object);
    return true;
}

static void ops_free(void *object)
{
    const struct tree *trees[TREES];
    trees_of(object, trees);
    for (int i = 0; i < TREES; i++)
        tree_clear((struct tree *)trees[i]);
    field_lists_free(((struct stream *)object)->fields);
    mem_free(object);
}

static void *ops_share(const void *object)
{
    const struct tree *trees[TREES];
    struct stream *copy = mem_alloc(sizeof(*copy));
    *copy = *(const struct stream *)object;
    copy->fields = field_lists_dup(copy->fields);
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
    size_t sum = sizeof(struct stream) + field_lists_memory(((const struct stream *)object)->fields);
    trees_of(object, trees);
    for (int i = 0; i < TREES; i++)
        sum += tree_memory(trees[i]);
    return sum;
}

static status ops_decode(bytes in, void **object)
{
    struct stream *s = stream_new();
    if (!stream_decode(s, &in)) {
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

static void check_entry(const struct stream *s, struct stream_entry e, uint64_t uses[FIELD_LISTS_MAX])
{
    bytes field, value;
    uint64_t pairs = 0;
    hf_assert(stream_id_compare(e.id, s->state.last) <= 0 && e.pairs > 0);
    for (uint32_t i = 0; e.body.shared && i < s->fields->count; i++)
        uses[i] += s->fields->at[i].list && s->fields->at[i].list->data == e.body.fields.data;
    while (stream_pair_next(&e.body, &field, &value))
        pairs++;
    hf_assert(pairs == e.pairs && e.body.rest.size == 0);
}

static void ops_check(const void *object)
{
    const struct stream *s = object;
    const struct tree *trees[TREES];
    struct stream_cursor c;
    struct stream_entry e;
    uint64_t nodes = 0, oldest = 0, uses[FIELD_LISTS_MAX] = {0};
    trees_of(s, trees);
    for (int i = 0; i < TREES; i++)
        tree_check(trees[i]);
    for (bool more = stream_seek(s, 0, &c, &e); more; more = stream_next(&c, &e)) {
        hf_assert(nodes > 0 || e.begins_node);
        check_entry(s, e, uses);
        nodes += e.begins_node;
        oldest += nodes == 1;
    }
    hf_assert(nodes == s->state.nodes && oldest == s->state.oldest_node);
    for (uint32_t i = 0; s->fields && i < s->fields->count; i++)
        hf_assert(uses[i] == (s->fields->at[i].list ? s->fields->at[i].uses : 0) && (uses[i] || !s->fields->at[i].list));
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
    .encode = stream_encode,
    .decode = ops_decode,
    .encoding = ops_encoding,
    .check = ops_check,
};
