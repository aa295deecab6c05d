/* stream_groups_encode.c -- groups, their consumers and what is pending as they are on disk: docs/format/values.md. */
#include "types/stream_private.h"

static void encode_consumer(const struct stream *s, const struct stream_group *g, struct stream_consumer c, struct buf *out)
{
    uint64_t count = stream_owned_count(s, c.number);
    varint_append_bytes(out, c.name);
    varint_append(out, c.seen_ms);
    varint_append(out, count);
    for (uint64_t i = 0; i < count; i++) {
        struct stream_pending p;
        bool found = stream_pending_find(s, g->number, stream_owned_at(s, c.number, i), &p);
        hf_assert(found);
        stream_change_delivery(out, p.id, p.delivered_ms, p.deliveries);
    }
}

HF_CHECK static bool take_consumer(struct stream *s, const struct stream_group *g, bytes *in)
{
    bytes name;
    uint64_t seen_ms, count;
    struct stream_consumer c;
    struct stream_pending p;
    struct stream_id id;
    if (!varint_try_take_bytes(in, &name) || name.size > NAME_MAX_BYTES || !varint_try_take(in, &seen_ms) ||
        seen_ms > INT64_MAX || !varint_try_take(in, &count) || stream_consumer_find(s, g->number, name, &c))
        return false;
    struct pending_record r = {.consumer = consumer_add(s, g->number, name, seen_ms, (int64_t)seen_ms)};
    for (; count > 0; count--) {
        if (!delivery_take(in, &id, &r) || stream_pending_find(s, g->number, id, &p))
            return false;
        pending_put(s, g->number, id, &r);
    }
    return true;
}

HF_CHECK static bool take_whole_group(struct stream *s, bytes *in)
{
    bytes name;
    struct group_record r = {0};
    struct stream_group g;
    uint64_t read, consumers;
    if (!varint_try_take_bytes(in, &name) || name.size > NAME_MAX_BYTES || !take_id(in, &r.last) || !varint_try_take(in, &read) ||
        read > READ_MAX || !varint_try_take(in, &consumers) || stream_group_find(s, name, &g))
        return false;
    r.read = (int64_t)(read - 1);
    r.number = s->next_number++;
    group_put(s, name, &r);
    bool found = stream_group_find(s, name, &g);
    hf_assert(found);
    for (; consumers > 0; consumers--) {
        if (!take_consumer(s, &g, in))
            return false;
    }
    return true;
}

/* Behind all groups, so that values of before have none: then each consumer was active when it was seen. */
static void encode_active_times(const struct stream *s, struct buf *out)
{
    for (uint64_t i = 0; i < stream_group_count(s); i++) {
        uint64_t group = stream_group_at(s, i).number, consumers = stream_consumer_count(s, group);
        for (uint64_t k = 0; k < consumers; k++)
            varint_append(out, (uint64_t)(stream_consumer_at(s, group, k).active_ms + 1));
    }
}

void groups_encode(const struct stream *s, struct buf *out)
{
    uint64_t groups = stream_group_count(s);
    varint_append(out, groups);
    for (uint64_t i = 0; i < groups; i++) {
        struct stream_group g = stream_group_at(s, i);
        uint64_t consumers = stream_consumer_count(s, g.number);
        varint_append_bytes(out, g.name);
        stream_change_id(out, g.last);
        varint_append(out, (uint64_t)g.read + 1);
        varint_append(out, consumers);
        for (uint64_t k = 0; k < consumers; k++)
            encode_consumer(s, &g, stream_consumer_at(s, g.number, k), out);
    }
    encode_active_times(s, out);
}

HF_CHECK static bool take_active_time(struct stream *s, struct stream_consumer c, bytes *in)
{
    uint64_t active;
    struct buf name;
    if (!varint_try_take(in, &active) || active > INT64_MAX)
        return false;
    buf_init(&name, SIZE_MAX);
    buf_append_bytes(&name, c.name);
    person_put(s, c.number, buf_view(&name), c.seen_ms, (int64_t)active - 1);
    buf_release(&name);
    return true;
}

HF_CHECK static bool take_active_times(struct stream *s, bytes *in)
{
    for (uint64_t i = 0; i < stream_group_count(s); i++) {
        uint64_t group = stream_group_at(s, i).number, consumers = stream_consumer_count(s, group);
        for (uint64_t k = 0; k < consumers; k++) {
            if (!take_active_time(s, stream_consumer_at(s, group, k), in))
                return false;
        }
    }
    return true;
}

bool groups_decode(struct stream *s, bytes *in)
{
    uint64_t groups;
    if (!varint_try_take(in, &groups))
        return false;
    for (; groups > 0; groups--) {
        if (!take_whole_group(s, in))
            return false;
    }
    return in->size == 0 || take_active_times(s, in);
}
