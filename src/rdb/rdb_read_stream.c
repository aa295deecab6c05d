/* rdb_read_stream.c -- streams of the dump format: listpacks of entries, then groups, what is pending, consumers.
 *
 * Entries stand as differences to the first of their listpack, deleted ones among them; a consumer's pending entries name ids
 * that its group's list must hold, each exactly once.
 */
#include "rdb/rdb_reader.h"

#include "base/memory.h"
#include "base/wire.h"
#include "types/varint.h"

struct node {
    struct stream_id first;
    struct packed at;
    struct buf fields;        /* of the first entry: varint_append_bytes each */
    uint64_t field_count, live, deleted;
    size_t size;              /* of the listpack */
    struct buf entry;         /* scratch */
    bool begins;              /* no live entry of it yet */
};

static bool next_int(struct packed *p, int64_t *value)
{
    struct packed_item item;
    if (packed_next(p, &item) != PACKED_ITEM || !item.is_int)
        return false;
    *value = item.number;
    return true;
}

/* An unsigned one. */
static bool next_count(struct packed *p, uint64_t *value)
{
    int64_t number;
    return next_int(p, &number) && number >= 0 && (*value = (uint64_t)number, true);
}

static bool read_id(struct reader *r, struct stream_id *id)
{
    const uint8_t *at;
    if (!rdb_take(&r->in, 16, &at))
        return false;
    *id = (struct stream_id){get_big(at, 8), get_big(at + 8, 8)};
    return true;
}

static bool read_id_lengths(struct reader *r, struct stream_id *id)
{
    return rdb_take_length(&r->in, &id->ms) && rdb_take_length(&r->in, &id->seq);
}

static bool node_open(struct reader *r, struct node *n)
{
    bytes key, blob;
    struct packed_item item;
    int64_t zero;
    if (!rdb_read_text(r, &key) || key.size != 16)
        return false;
    n->first = (struct stream_id){get_big(key.data, 8), get_big(key.data + 8, 8)};
    n->begins = true;
    buf_reset(&n->fields);
    if (!rdb_read_blob(r, &blob) || !packed_open(&n->at, PACKED_LISTPACK, blob) || !next_count(&n->at, &n->live) ||
        !next_count(&n->at, &n->deleted) || !next_count(&n->at, &n->field_count))
        return false;
    n->size = blob.size;
    for (uint64_t i = 0; i < n->field_count; i++) {
        if (packed_next(&n->at, &item) != PACKED_ITEM)
            return false;
        varint_append_bytes(&n->fields, item.text);
    }
    return next_int(&n->at, &zero) && zero == 0;
}

static bool take_pairs(struct node *n, bool same, uint64_t pairs)
{
    struct packed_item item;
    bytes fields = buf_view(&n->fields), field;
    for (uint64_t i = 0; i < pairs; i++) {
        if (same) {
            bool taken = varint_try_take_bytes(&fields, &field);
            hf_assert(taken);
        } else if (packed_next(&n->at, &item) != PACKED_ITEM) {
            return false;
        } else {
            field = item.text;
        }
        varint_append_bytes(&n->entry, field);
        if (packed_next(&n->at, &item) != PACKED_ITEM)
            return false;
        varint_append_bytes(&n->entry, item.text);
    }
    return true;
}

/* One entry, or a deleted one, of which nothing is kept. */
static bool take_entry(struct reader *r, struct node *n, bool *deleted)
{
    int64_t flags, ms, seq;
    uint64_t pairs = n->field_count, words;
    if (!next_int(&n->at, &flags) || !next_int(&n->at, &ms) || !next_int(&n->at, &seq))
        return false;
    bool same = flags & STREAM_SAME_FIELDS;
    if (!same && !next_count(&n->at, &pairs))
        return false;
    buf_reset(&n->entry);
    buf_append_u8(&n->entry, n->begins);
    varint_append(&n->entry, pairs);
    if (pairs == 0 || !take_pairs(n, same, pairs) || !next_count(&n->at, &words))
        return false;
    *deleted = flags & STREAM_DELETED;
    if (*deleted)
        return true;
    struct stream_id id = {n->first.ms + (uint64_t)ms, n->first.seq + (uint64_t)seq};
    if (r->count == 0)
        r->first = id;
    stream_change_id(&r->out, id);
    varint_append_bytes(&r->out, buf_view(&n->entry));
    n->begins = false;
    r->count++;
    return true;
}

static bool node_read(struct reader *r, struct node *n)
{
    uint64_t live = 0, gone = 0;
    bool deleted;
    if (!node_open(r, n))
        return false;
    while (n->at.rest.size) {
        if (!take_entry(r, n, &deleted))
            return false;
        gone += deleted;
        live += !deleted;
    }
    return live == n->live && gone == n->deleted;
}

struct pending { struct stream_id id; uint64_t time, deliveries; bool owned; };

/* Those of a group, in the order of ids. NULL with *count > 0: damage. */
static struct pending *read_pending(struct reader *r, uint64_t *count)
{
    if (!rdb_take_count(&r->in, count) || *count > r->in.size / 25)
        return NULL;
    struct pending *all = mem_alloc((size_t)(*count + 1) * sizeof(*all));
    for (uint64_t i = 0; i < *count; i++) {
        all[i].owned = false;
        if (!read_id(r, &all[i].id) || !rdb_read_u64(r, &all[i].time) || !rdb_take_length(&r->in, &all[i].deliveries) ||
            (i && stream_id_compare(all[i].id, all[i - 1].id) <= 0)) {
            mem_free(all);
            return NULL;
        }
    }
    return all;
}

static struct pending *find_pending(struct pending *all, uint64_t count, struct stream_id id)
{
    uint64_t low = 0, high = count;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        int order = stream_id_compare(all[middle].id, id);
        if (order == 0)
            return &all[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

static bool read_consumer(struct reader *r, struct buf *active_times, struct pending *all, uint64_t all_count)
{
    bytes name;
    uint64_t seen, active = 0, count;
    struct stream_id id;
    if (!rdb_read_text(r, &name))
        return false;
    varint_append_bytes(&r->out, name);
    if (!rdb_read_u64(r, &seen) || (active_times && !rdb_read_u64(r, &active)) || !rdb_take_count(&r->in, &count))
        return false;
    if (active_times)
        varint_append(active_times, active + 1); /* -1 is never */
    varint_append(&r->out, seen);
    varint_append(&r->out, count);
    for (; count > 0; count--) {
        struct pending *one = read_id(r, &id) ? find_pending(all, all_count, id) : NULL;
        if (!one || one->owned)
            return false;
        one->owned = true;
        stream_change_id(&r->out, id);
        varint_append(&r->out, one->time);
        varint_append(&r->out, one->deliveries);
    }
    return true;
}

static bool read_consumers(struct reader *r, struct buf *active_times, struct pending *all, uint64_t all_count)
{
    uint64_t consumers;
    if (!rdb_take_count(&r->in, &consumers))
        return false;
    varint_append(&r->out, consumers);
    for (; consumers > 0; consumers--) {
        if (!read_consumer(r, active_times, all, all_count))
            return false;
    }
    for (uint64_t i = 0; i < all_count; i++) {
        if (!all[i].owned)
            return false;
    }
    return true;
}

/* How many entries a group has read, of which the old form says nothing: what can be known when every entry that
 * was ever added is still there, as Redis takes it for such streams. */
static uint64_t guess_read(const struct reader *r, struct stream_id last)
{
    int to_newest = stream_id_compare(last, r->newest);
    if (r->count == 0)
        return 0;
    if (to_newest >= 0)
        return to_newest == 0 ? r->count : (uint64_t)STREAM_READ_UNKNOWN;
    int to_first = stream_id_compare(last, r->first);
    return to_first < 0 ? 0 : to_first == 0 ? 1 : (uint64_t)STREAM_READ_UNKNOWN;
}

/* active_times: what the form says of them is put there; NULL: nothing. */
static bool read_group(struct reader *r, enum rdb_form form, struct buf *active_times)
{
    bytes name;
    struct stream_id last;
    uint64_t read = (uint64_t)STREAM_READ_UNKNOWN, count;
    if (!rdb_read_text(r, &name))
        return false;
    varint_append_bytes(&r->out, name);
    if (!read_id_lengths(r, &last) || (form != FORM_STREAM && !rdb_take_length(&r->in, &read)))
        return false;
    if (form == FORM_STREAM)
        read = guess_read(r, last);
    stream_change_id(&r->out, last);
    varint_append(&r->out, read + 1);
    struct pending *all = read_pending(r, &count);
    bool sound = all && read_consumers(r, active_times, all, count);
    mem_free(all);
    return sound;
}

static bool read_nodes(struct reader *r, struct node *last)
{
    uint64_t nodes;
    if (!rdb_take_count(&r->in, &nodes))
        return false;
    for (; nodes > 0; nodes--) {
        if (!node_read(r, last))
            return false;
    }
    return true;
}

static bool read_entries(struct reader *r, enum rdb_form form)
{
    struct node last = {0};
    struct stream_id first, max_deleted = STREAM_ID_MIN;
    uint64_t length, added = 0;
    buf_init(&last.fields, SIZE_MAX);
    buf_init(&last.entry, SIZE_MAX);
    bool sound = read_nodes(r, &last) && rdb_take_length(&r->in, &length) && length == r->count && read_id_lengths(r, &r->newest) &&
                 (form == FORM_STREAM ||
                  (read_id_lengths(r, &first) && read_id_lengths(r, &max_deleted) && rdb_take_length(&r->in, &added)));
    if (sound) {
        stream_change_id(&r->head, r->newest);
        stream_change_id(&r->head, max_deleted);
        varint_append(&r->head, form == FORM_STREAM ? r->count : added);
        varint_append(&r->head, last.live + last.deleted);
        varint_append(&r->head, last.size);
    }
    buf_release(&last.fields);
    buf_release(&last.entry);
    return sound;
}

static bool read_groups(struct reader *r, enum rdb_form form, struct buf *active_times)
{
    uint64_t groups;
    if (!rdb_take_count(&r->in, &groups))
        return false;
    varint_append(&r->out, groups);
    for (; groups > 0; groups--) {
        if (!read_group(r, form, active_times))
            return false;
    }
    return true;
}

bool rdb_read_stream(struct reader *r, enum rdb_form form)
{
    struct buf active_times;
    buf_init(&active_times, SIZE_MAX);
    bool sound = read_entries(r, form) && read_groups(r, form, form == FORM_STREAM_3 ? &active_times : NULL);
    buf_append_bytes(&r->out, buf_view(&active_times));
    buf_release(&active_times);
    return sound;
}
