/* stream_groups.c -- groups, consumers and what is pending: five trees beside the entries.
 *
 * Groups and consumers have numbers, unique in their stream, under which the other trees keep what belongs to them: a
 * group's pending entries are one range of `pending`, a consumer's one range of `owned`. Each pending entry stands in
 * both. Names are found by binary search, in their order, which is also the order in which Redis lists them.
 */
#include "types/stream_private.h"

#include "base/memory.h"

/* ---- payloads ---- */

static bytes name_of(bytes payload)
{
    uint32_t size;
    memcpy(&size, payload.data, sizeof(size));
    return bytes_of(payload.data + sizeof(size), size);
}

static int compare_name(bytes payload, bytes key) { return bytes_compare(name_of(payload), key); }
static int compare_id(bytes payload, bytes key) { return memcmp(payload.data, key.data, ID_SIZE); }

/* A sized name and a record behind it. */
static void named(struct buf *out, bytes name, const void *record, size_t size)
{
    uint32_t name_size = (uint32_t)name.size;
    buf_init(out, SIZE_MAX);
    buf_append(out, &name_size, sizeof(name_size));
    buf_append_bytes(out, name);
    buf_append(out, record, size);
}

static const uint8_t *behind_name(bytes payload)
{
    bytes name = name_of(payload);
    return name.data + name.size;
}

void groups_init(struct stream *s)
{
    s->next_number = 1;
    s->groups = tree_make(compare_name);
    s->consumers = tree_make(compare_name);
    s->people = tree_make(compare_id);
    s->pending = tree_make(compare_id);
    s->owned = tree_make(compare_id);
}

/* How many elements of this order there are, and where they begin. */
static uint64_t range_of(const struct tree *t, uint64_t order, uint64_t *first)
{
    *first = tree_lower(t, order);
    return tree_lower(t, order + 1) - *first;
}

/* ---- reading ---- */

static struct stream_group group_of(bytes payload)
{
    struct group_record r;
    memcpy(&r, behind_name(payload), sizeof(r));
    return (struct stream_group){name_of(payload), r.number, r.last, r.read};
}

uint64_t stream_group_count(const struct stream *s) { return tree_count(&s->groups); }

struct stream_group stream_group_at(const struct stream *s, uint64_t position)
{
    return group_of(tree_at(&s->groups, position).payload);
}

bool stream_group_find(const struct stream *s, bytes name, struct stream_group *out)
{
    uint64_t position;
    struct tree_element e;
    if (!tree_find(&s->groups, 0, name, &position, &e))
        return false;
    *out = group_of(e.payload);
    return true;
}

static const uint8_t no_id[ID_SIZE];

#define PERSON_HEAD (ID_SIZE + 16u)

/* Both times and the name stand behind sixteen zero bytes, which tree_find compares. */
struct stream_consumer stream_consumer_of(const struct stream *s, uint64_t number)
{
    uint64_t position;
    struct tree_element e;
    bool found = tree_find(&s->people, number, bytes_of(no_id, ID_SIZE), &position, &e);
    hf_assert(found);
    struct stream_consumer c = {.number = number};
    memcpy(&c.seen_ms, e.payload.data + ID_SIZE, sizeof(c.seen_ms));
    memcpy(&c.active_ms, e.payload.data + ID_SIZE + 8, sizeof(c.active_ms));
    c.name = bytes_of(e.payload.data + PERSON_HEAD, e.payload.size - PERSON_HEAD);
    return c;
}

static struct stream_consumer consumer_of(const struct stream *s, bytes payload)
{
    uint64_t number;
    memcpy(&number, behind_name(payload), sizeof(number));
    return stream_consumer_of(s, number);
}

uint64_t stream_consumer_count(const struct stream *s, uint64_t group)
{
    uint64_t first;
    return range_of(&s->consumers, group, &first);
}

struct stream_consumer stream_consumer_at(const struct stream *s, uint64_t group, uint64_t position)
{
    return consumer_of(s, tree_at(&s->consumers, tree_lower(&s->consumers, group) + position).payload);
}

bool stream_consumer_find(const struct stream *s, uint64_t group, bytes name, struct stream_consumer *out)
{
    uint64_t position;
    struct tree_element e;
    if (!tree_find(&s->consumers, group, name, &position, &e))
        return false;
    *out = consumer_of(s, e.payload);
    return true;
}

static struct stream_pending pending_of(bytes payload)
{
    struct pending_record r;
    memcpy(&r, payload.data + ID_SIZE, sizeof(r));
    return (struct stream_pending){id_get(payload.data), r.consumer, r.delivered_ms, r.deliveries};
}

static bool locate(const struct tree *t, uint64_t order, struct stream_id id, uint64_t *position, struct tree_element *e)
{
    uint8_t key[ID_SIZE];
    id_put(key, id);
    return tree_find(t, order, bytes_of(key, ID_SIZE), position, e);
}

static uint64_t position_in(const struct tree *t, uint64_t order, struct stream_id id)
{
    uint64_t position;
    locate(t, order, id, &position, NULL);
    return position - tree_lower(t, order);
}

uint64_t stream_pending_count(const struct stream *s, uint64_t group)
{
    uint64_t first;
    return range_of(&s->pending, group, &first);
}

struct stream_pending stream_pending_at(const struct stream *s, uint64_t group, uint64_t position)
{
    return pending_of(tree_at(&s->pending, tree_lower(&s->pending, group) + position).payload);
}

uint64_t stream_pending_position(const struct stream *s, uint64_t group, struct stream_id id)
{
    return position_in(&s->pending, group, id);
}

bool stream_pending_find(const struct stream *s, uint64_t group, struct stream_id id, struct stream_pending *out)
{
    uint64_t position;
    struct tree_element e;
    if (!locate(&s->pending, group, id, &position, &e))
        return false;
    *out = pending_of(e.payload);
    return true;
}

uint64_t stream_owned_count(const struct stream *s, uint64_t consumer)
{
    uint64_t first;
    return range_of(&s->owned, consumer, &first);
}

struct stream_id stream_owned_at(const struct stream *s, uint64_t consumer, uint64_t position)
{
    return id_get(tree_at(&s->owned, tree_lower(&s->owned, consumer) + position).payload.data);
}

uint64_t stream_owned_position(const struct stream *s, uint64_t consumer, struct stream_id id)
{
    return position_in(&s->owned, consumer, id);
}

/* ---- changing ---- */

void person_put(struct stream *s, uint64_t number, bytes name, uint64_t seen_ms, int64_t active_ms)
{
    struct buf payload;
    uint64_t position;
    buf_init(&payload, SIZE_MAX);
    buf_append(&payload, no_id, ID_SIZE);
    buf_append(&payload, &seen_ms, sizeof(seen_ms));
    buf_append(&payload, &active_ms, sizeof(active_ms));
    buf_append_bytes(&payload, name);
    bytes all = bytes_of(payload.data, payload.size);
    if (tree_find(&s->people, number, bytes_of(no_id, ID_SIZE), &position, NULL))
        tree_replace(&s->people, position, all);
    else
        tree_insert(&s->people, position, number, all);
    buf_release(&payload);
}

void stream_note_seen(struct stream *s, uint64_t consumer, uint64_t now_ms)
{
    struct stream_consumer c = stream_consumer_of(s, consumer);
    struct buf name;
    buf_init(&name, SIZE_MAX);
    buf_append_bytes(&name, c.name);
    person_put(s, consumer, bytes_of(name.data, name.size), now_ms, c.active_ms);
    buf_release(&name);
}

void group_put(struct stream *s, bytes name, const struct group_record *r)
{
    struct buf payload;
    uint64_t position;
    named(&payload, name, r, sizeof(*r));
    bytes all = bytes_of(payload.data, payload.size);
    if (tree_find(&s->groups, 0, name, &position, NULL))
        tree_replace(&s->groups, position, all);
    else
        tree_insert(&s->groups, position, 0, all);
    buf_release(&payload);
}

uint64_t consumer_add(struct stream *s, uint64_t group, bytes name, uint64_t seen_ms, int64_t active_ms)
{
    struct buf payload;
    uint64_t position, number = s->next_number++;
    named(&payload, name, &number, sizeof(number));
    bool found = tree_find(&s->consumers, group, name, &position, NULL);
    hf_assert(!found);
    tree_insert(&s->consumers, position, group, bytes_of(payload.data, payload.size));
    buf_release(&payload);
    person_put(s, number, name, seen_ms, active_ms);
    return number;
}

static void disown(struct stream *s, uint64_t consumer, struct stream_id id)
{
    uint64_t position;
    bool found = locate(&s->owned, consumer, id, &position, NULL);
    hf_assert(found);
    tree_remove(&s->owned, position, 1);
}

void pending_put(struct stream *s, uint64_t group, struct stream_id id, const struct pending_record *r)
{
    uint64_t position;
    struct tree_element e;
    uint8_t payload[ID_SIZE + sizeof(*r)];
    id_put(payload, id);
    memcpy(payload + ID_SIZE, r, sizeof(*r));
    bool moves = true, found = locate(&s->pending, group, id, &position, &e);
    if (found) {
        uint64_t owner = pending_of(e.payload).consumer;
        moves = owner != r->consumer;
        if (moves)
            disown(s, owner, id);
        tree_replace(&s->pending, position, bytes_of(payload, sizeof(payload)));
    } else {
        tree_insert(&s->pending, position, group, bytes_of(payload, sizeof(payload)));
    }
    if (moves) {
        locate(&s->owned, r->consumer, id, &position, NULL);
        tree_insert(&s->owned, position, r->consumer, bytes_of(payload, ID_SIZE));
    }
}

static void remove_pending(struct stream *s, uint64_t group, struct stream_id id)
{
    uint64_t position;
    struct tree_element e;
    bool found = locate(&s->pending, group, id, &position, &e);
    hf_assert(found);
    disown(s, pending_of(e.payload).consumer, id);
    tree_remove(&s->pending, position, 1);
}

static void remove_range(struct tree *t, uint64_t order)
{
    uint64_t first, count = range_of(t, order, &first);
    if (count)
        tree_remove(t, first, count);
}

/* The consumer's record and what it owns; not its name. */
static void remove_person(struct stream *s, uint64_t number)
{
    remove_range(&s->owned, number);
    remove_range(&s->people, number);
}

/* ---- applying ---- */

static status apply_group(struct stream *s, bytes in)
{
    bytes name;
    struct stream_group old;
    struct group_record r = {0};
    uint64_t read; /* 0: unknown, else one more */
    if (!varint_try_take_bytes(&in, &name) || !take_id(&in, &r.last) || !varint_try_take(&in, &read) || in.size ||
        name.size > NAME_MAX_BYTES || read > READ_MAX)
        return HF_ERR_CORRUPT;
    r.read = (int64_t)(read - 1);
    r.number = stream_group_find(s, name, &old) ? old.number : s->next_number++;
    group_put(s, name, &r);
    return HF_OK;
}

static status apply_group_remove(struct stream *s, bytes in)
{
    bytes name;
    struct stream_group g;
    uint64_t position, first;
    if (!varint_try_take_bytes(&in, &name) || in.size || !stream_group_find(s, name, &g))
        return HF_ERR_CORRUPT;
    uint64_t count = range_of(&s->consumers, g.number, &first);
    for (uint64_t i = 0; i < count; i++)
        remove_person(s, stream_consumer_at(s, g.number, i).number);
    remove_range(&s->consumers, g.number);
    remove_range(&s->pending, g.number);
    tree_find(&s->groups, 0, name, &position, NULL);
    tree_remove(&s->groups, position, 1);
    return HF_OK;
}

HF_CHECK static bool take_group(const struct stream *s, bytes *in, struct stream_group *g)
{
    bytes name;
    return varint_try_take_bytes(in, &name) && stream_group_find(s, name, g);
}

static status apply_consumer(struct stream *s, bytes in)
{
    struct stream_group g;
    struct stream_consumer c;
    bytes name;
    uint64_t seen_ms;
    if (!take_group(s, &in, &g) || !varint_try_take_bytes(&in, &name) || !varint_try_take(&in, &seen_ms) || in.size ||
        name.size > NAME_MAX_BYTES)
        return HF_ERR_CORRUPT;
    if (stream_consumer_find(s, g.number, name, &c))
        person_put(s, c.number, name, seen_ms, c.active_ms);
    else
        consumer_add(s, g.number, name, seen_ms, STREAM_NEVER);
    return HF_OK;
}

static status apply_consumer_remove(struct stream *s, bytes in)
{
    struct stream_group g;
    struct stream_consumer c;
    bytes name;
    uint64_t position;
    if (!take_group(s, &in, &g) || !varint_try_take_bytes(&in, &name) || in.size || !stream_consumer_find(s, g.number, name, &c))
        return HF_ERR_CORRUPT;
    uint64_t count = stream_owned_count(s, c.number);
    for (uint64_t i = 0; i < count; i++) {
        bool found = locate(&s->pending, g.number, stream_owned_at(s, c.number, i), &position, NULL);
        hf_assert(found);
        tree_remove(&s->pending, position, 1);
    }
    tree_find(&s->consumers, g.number, name, &position, NULL);
    tree_remove(&s->consumers, position, 1);
    remove_person(s, c.number);
    return HF_OK;
}

static status apply_ack(struct stream *s, bytes in)
{
    struct stream_group g;
    struct stream_pending p;
    struct stream_id id, before = {0, 0};
    bool first = true;
    if (!take_group(s, &in, &g) || in.size == 0)
        return HF_ERR_CORRUPT;
    for (bytes rest = in; rest.size; before = id, first = false) {
        if (!take_id(&rest, &id) || !stream_pending_find(s, g.number, id, &p) || (!first && stream_id_compare(id, before) <= 0))
            return HF_ERR_CORRUPT;
    }
    while (in.size && take_id(&in, &id))
        remove_pending(s, g.number, id);
    return HF_OK;
}

bool delivery_take(bytes *in, struct stream_id *id, struct pending_record *r)
{
    return take_id(in, id) && varint_try_take(in, &r->delivered_ms) && varint_try_take(in, &r->deliveries);
}

/* Logs of before there was an active time have no other delivery than `again`, so the first one is what it began with. */
static status apply_deliver(struct stream *s, bytes in, bool again)
{
    struct stream_group g;
    struct stream_consumer c;
    bytes name;
    uint64_t seen_ms;
    struct stream_id id;
    struct pending_record r;
    if (!take_group(s, &in, &g) || !varint_try_take_bytes(&in, &name) || !varint_try_take(&in, &seen_ms) || in.size == 0 ||
        seen_ms > INT64_MAX || !stream_consumer_find(s, g.number, name, &c))
        return HF_ERR_CORRUPT;
    for (bytes rest = in; rest.size;) {
        if (!delivery_take(&rest, &id, &r))
            return HF_ERR_CORRUPT;
    }
    person_put(s, c.number, name, seen_ms, again && c.active_ms != STREAM_NEVER ? c.active_ms : (int64_t)seen_ms);
    r.consumer = c.number;
    while (in.size && delivery_take(&in, &id, &r))
        pending_put(s, g.number, id, &r);
    return HF_OK;
}

status groups_apply(struct stream *s, enum stream_change change, bytes rest)
{
    switch (change) {
    case CHANGE_GROUP: return apply_group(s, rest);
    case CHANGE_GROUP_REMOVE: return apply_group_remove(s, rest);
    case CHANGE_CONSUMER: return apply_consumer(s, rest);
    case CHANGE_CONSUMER_REMOVE: return apply_consumer_remove(s, rest);
    case CHANGE_ACK: return apply_ack(s, rest);
    case CHANGE_DELIVER_AGAIN: return apply_deliver(s, rest, true);
    case CHANGE_DELIVER: return apply_deliver(s, rest, false);
    default: return HF_ERR_CORRUPT;
    }
}

/* ---- writing changes ---- */

void stream_change_group(struct buf *out, bytes group, struct stream_id last, int64_t read)
{
    buf_append_u8(out, CHANGE_GROUP);
    varint_append_bytes(out, group);
    stream_change_id(out, last);
    varint_append(out, (uint64_t)read + 1);
}

void stream_change_group_remove(struct buf *out, bytes group)
{
    buf_append_u8(out, CHANGE_GROUP_REMOVE);
    varint_append_bytes(out, group);
}

static void change_of_consumer(struct buf *out, enum stream_change change, bytes group, bytes consumer)
{
    buf_append_u8(out, (uint8_t)change);
    varint_append_bytes(out, group);
    varint_append_bytes(out, consumer);
}

void stream_change_consumer(struct buf *out, bytes group, bytes consumer, uint64_t seen_ms)
{
    change_of_consumer(out, CHANGE_CONSUMER, group, consumer);
    varint_append(out, seen_ms);
}

void stream_change_consumer_remove(struct buf *out, bytes group, bytes consumer)
{
    change_of_consumer(out, CHANGE_CONSUMER_REMOVE, group, consumer);
}

void stream_change_ack(struct buf *out, bytes group)
{
    buf_append_u8(out, CHANGE_ACK);
    varint_append_bytes(out, group);
}

void stream_change_deliver(struct buf *out, bytes group, bytes consumer, uint64_t seen_ms)
{
    change_of_consumer(out, CHANGE_DELIVER, group, consumer);
    varint_append(out, seen_ms);
}

void stream_change_deliver_again(struct buf *out, bytes group, bytes consumer, uint64_t seen_ms)
{
    change_of_consumer(out, CHANGE_DELIVER_AGAIN, group, consumer);
    varint_append(out, seen_ms);
}

void stream_change_delivery(struct buf *out, struct stream_id id, uint64_t delivered_ms, uint64_t deliveries)
{
    stream_change_id(out, id);
    varint_append(out, delivered_ms);
    varint_append(out, deliveries);
}

/* ---- invariants ---- */

void groups_check(const struct stream *s)
{
    uint64_t consumers = 0, pending = 0;
    for (uint64_t i = 0; i < stream_group_count(s); i++) {
        struct stream_group g = stream_group_at(s, i);
        consumers += stream_consumer_count(s, g.number);
        for (uint64_t k = 0; k < stream_consumer_count(s, g.number); k++) {
            struct stream_consumer c = stream_consumer_at(s, g.number, k);
            for (uint64_t n = 0; n < stream_owned_count(s, c.number); n++) {
                struct stream_pending p;
                bool found = stream_pending_find(s, g.number, stream_owned_at(s, c.number, n), &p);
                hf_assert(found && p.consumer == c.number);
                pending++;
            }
        }
    }
    hf_assert(consumers == tree_count(&s->consumers) && consumers == tree_count(&s->people));
    hf_assert(pending == tree_count(&s->pending) && pending == tree_count(&s->owned));
}
