/* stream_encode.c -- a stream as it is on disk: docs/format/values.md. */
#include "types/stream_private.h"

/* On disk an entry has all of its fields. */
static void encode_entry(const struct stream_entry *e, struct buf *scratch, struct buf *out)
{
    struct stream_pairs body = e->body;
    bytes field, value;
    buf_reset(scratch);
    buf_append_u8(scratch, e->begins_node);
    varint_append(scratch, e->pairs);
    while (stream_pair_next(&body, &field, &value))
        stream_change_pair(scratch, field, value);
    stream_change_id(out, e->id);
    varint_append_bytes(out, buf_view(scratch));
}

void stream_encode(const void *object, struct buf *out)
{
    const struct stream *s = object;
    struct stream_cursor c;
    struct stream_entry e;
    struct buf scratch;
    stream_change_id(out, s->state.last);
    stream_change_id(out, s->state.max_deleted);
    varint_append(out, s->state.added);
    varint_append(out, s->tail_entries);
    varint_append(out, s->tail_bytes);
    varint_append(out, stream_count(s));
    buf_init(&scratch, SIZE_MAX);
    for (bool more = stream_seek(s, 0, &c, &e); more; more = stream_next(&c, &e))
        encode_entry(&e, &scratch, out);
    buf_release(&scratch);
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
    if (!varint_try_take(&body, &pairs) || !body_is_sound(body, pairs) || payload.size > ENTRY_SIZE_MAX ||
        stream_id_compare(id, s->state.last) > 0 || (count == 0 && !payload.data[0]))
        return false;
    if (count && stream_id_compare(id, newest_entry(s).id) <= 0)
        return false;
    append_entry(s, id, payload.data[0], pairs_and_body);
    return true;
}

bool stream_decode(struct stream *s, bytes *in)
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
