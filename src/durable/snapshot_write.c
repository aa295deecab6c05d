/* snapshot_write.c -- the walk over the store, and the file it makes.
 *
 *   one hold of a stripe's lock          outside it
 *   capture: lsn, ranges, entries   ->   emit: ranges into the block, full blocks to the file
 *
 * A hold captures one table's next hash range, about 256 entries or 64 KiB; of a large string or
 * collection it takes a share, which is encoded outside: what a hold copies does not grow with a value. Tables may come and go between
 * holds: the one in progress is looked up by its id each time, and when it has gone, the
 * rest of its hashes is captured as empty. A stripe ends with the hold that finds no
 * table left; its lsn then speaks for every table that the stripe did not have.
 *
 * A range that is larger than a block goes on in the next one: the same bounds again.
 *
 * Without a log the tail (tail.h) is written out between holds, in blocks of its own, so that it
 * does not pile up in memory; the rest follows the last capture.
 */
#include "durable/snapshot_file.h"

#include "base/crc.h"
#include "base/memory.h"
#include "durable/effect.h"
#include "os/latency.h"
#include "os/os.h"
#include "types/type.h"

#include <fcntl.h>
#include <lz4.h>

#define HOLD_ENTRIES 256u
#define HOLD_BYTES (64u << 10)
#define WALK_ENTRIES 16u              /* between two looks at HOLD_BYTES */
#define SHARE_ABOVE ENTRY_INLINE_MAX  /* bytes of memory: smaller values are encoded within the hold */
#define SYNC_BYTES (32u << 20) /* so that the last fdatasync does not stall the log's */
#define KEPT_CAPACITY (1u << 20)
#define HASH_LAST UINT32_MAX

/* A large value, held by a share of its own. Its payload belongs at `offset` of the captured bytes, where the
 * head of that payload stands; `entries`: how many there are up to this one. */
struct mark { size_t offset, head_size; uint32_t entries; enum type type; struct rope *rope; void *object; };

/* What one hold took. */
struct capture {
    struct snapshot_range range; /* size and entries: without what the marks hold */
    bool has_range;
    bool stripe_done;
    uint64_t lsn;
    struct buf bytes;
    struct mark *marks;
    size_t mark_count, mark_capacity;
    struct buf scratch;
};

struct writer {
    struct snapshot_write *w;
    char *detail;
    size_t detail_size;
    char path[SNAPSHOT_PATH_MAX];
    int file;
    uint64_t offset, synced;
    struct capture capture;
    /* where the walk stands in its stripe */
    bool in_table;
    uint32_t db_id;
    uint64_t from;
    uint32_t *done;
    size_t done_count, done_capacity;
    /* the block being filled; its first bytes are left for the header */
    struct buf block;
    uint16_t stripe_first, stripe_last;
    uint32_t ranges;
    struct buf stored, index;
    struct snapshot_footer footer;
    uint64_t keys_total;
    struct buf tail;    /* taken, and being written */
    uint64_t tail_at;   /* its position */
};

/* -- under the lock -- */

/* The payload of an entry up to where its value begins: that of the same entry with an empty value. */
static void encode_head(const struct entry *e, struct buf *out)
{
    uint64_t room[8];
    struct entry_image image = entry_read(e);
    size_t at = out->size;
    image.encoding = ENC_BYTES;
    image.key = image.value = BYTES("");
    hf_assert(entry_image_size(&image) <= sizeof(room));
    entry_write((struct entry *)room, &image);
    entry_encode((struct entry *)room, out);
    if (entry_encoding(e) == ENC_OBJECT)
        out->data[at] = e->kind;
}

static bool is_large(const struct entry *e)
{
    switch (entry_encoding(e)) {
    case ENC_ROPE:
        return ((const struct rope *)entry_pointer(e))->size > SHARE_ABOVE;
    case ENC_OBJECT:
        return type_ops_of((int)entry_type(e))->memory(entry_pointer(e)) > SHARE_ABOVE;
    default:
        return false;
    }
}

static void mark_share(struct capture *c, const struct entry *e)
{
    if (c->mark_count == c->mark_capacity) {
        c->mark_capacity = c->mark_capacity ? c->mark_capacity * 2 : 16;
        c->marks = mem_realloc(c->marks, c->mark_capacity * sizeof(*c->marks));
    }
    struct mark *m = &c->marks[c->mark_count++];
    *m = (struct mark){.offset = c->bytes.size, .entries = c->range.entries, .type = entry_type(e)};
    if (entry_encoding(e) == ENC_ROPE)
        m->rope = rope_ref(entry_pointer(e));
    else
        m->object = type_ops_of((int)m->type)->share(entry_pointer(e));
    encode_head(e, &c->bytes);
    m->head_size = c->bytes.size - m->offset;
}

static void capture_entry(void *context, struct entry *e, uint64_t hash)
{
    struct capture *c = context;
    bytes key = entry_key(e);
    (void)hash;
    c->range.entries++;
    put_varint(&c->bytes, key.size);
    buf_append_bytes(&c->bytes, key);
    if (is_large(e)) {
        mark_share(c, e);
        return;
    }
    buf_reset(&c->scratch);
    entry_encode(e, &c->scratch);
    put_varint(&c->bytes, c->scratch.size);
    buf_append_bytes(&c->bytes, buf_view(&c->scratch));
}

static bool is_done(const struct writer *x, uint32_t db_id)
{
    for (size_t i = 0; i < x->done_count; i++) {
        if (x->done[i] == db_id)
            return true;
    }
    return false;
}

/* The next table of the stripe that has not been captured; NULL: none. */
static struct table *next_table(const struct writer *x, const struct stripe *s)
{
    if (s->table && !is_done(x, s->table->db_id))
        return s->table;
    for (uint32_t i = 0; i < s->other_count; i++) {
        if (!is_done(x, s->others[i]->db_id))
            return s->others[i];
    }
    return NULL;
}

static void table_done(struct writer *x)
{
    if (x->done_count == x->done_capacity) {
        x->done_capacity = x->done_capacity ? x->done_capacity * 2 : 16;
        x->done = mem_realloc(x->done, x->done_capacity * sizeof(*x->done));
    }
    x->done[x->done_count++] = x->db_id;
    x->in_table = false;
}

static void capture_range(struct writer *x, struct table *t)
{
    struct capture *c = &x->capture;
    uint64_t end = UINT64_C(1) << 32, first = x->from;
    c->has_range = true;
    if (!t) /* dropped since the last hold: all of its effects stand in the log below lsn */
        x->from = end;
    else
        c->range.table_entries = t->count < UINT32_MAX ? (uint32_t)t->count : UINT32_MAX;
    while (x->from < end && c->range.entries < HOLD_ENTRIES && c->bytes.size < HOLD_BYTES)
        x->from = table_walk(t, x->from, WALK_ENTRIES, capture_entry, c);
    c->range.kind = SNAPSHOT_RANGE;
    c->range.db_id = x->db_id;
    c->range.first = (uint32_t)first;
    c->range.last = (uint32_t)(x->from - 1);
    if (x->from == end)
        table_done(x);
}

static uint64_t position(const struct snapshot_write *w)
{
    return w->log ? log_tail(w->log) : w->tail ? tail_end(w->tail) : 0;
}

static void capture_hold(struct writer *x, struct stripe *s)
{
    struct capture *c = &x->capture;
    c->range = (struct snapshot_range){.stripe = (uint16_t)s->number};
    c->has_range = false;
    c->mark_count = 0;
    buf_reset(&c->bytes);
    stripe_lock_wait(s);
    uint64_t begin_us = latency_begin_us();
    os_sched_point(SCHED_CAPTURE);
    c->lsn = c->range.lsn = position(x->w);
    struct table *t = x->in_table ? stripe_table(s, x->db_id) : next_table(x, s);
    if (!x->in_table && t) {
        x->in_table = true;
        x->db_id = t->db_id;
        x->from = 0;
    }
    if (x->in_table)
        capture_range(x, t);
    c->stripe_done = !x->in_table && !next_table(x, s);
    stripe_unlock(s);
    latency_end(LATENCY_CAPTURE, begin_us);
    if (c->bytes.size > x->w->hold_bytes_max)
        x->w->hold_bytes_max = c->bytes.size;
}

/* -- blocks, outside the lock -- */

static status write_failed(struct writer *x, const char *what, int error)
{
    return snapshot_fail(HF_ERR_IO, x->detail, x->detail_size, "%s: cannot be %s at offset %llu: %s", x->path, what,
                         (unsigned long long)x->offset, strerror(-error));
}

static status write_bytes(struct writer *x, bytes data)
{
    int64_t put = OS.pwrite(x->file, data.data, data.size, x->offset);
    if (put < 0)
        return write_failed(x, "written", (int)put);
    x->offset += data.size;
    if (x->offset - x->synced >= SYNC_BYTES) {
        int synced = OS.fdatasync(x->file);
        if (synced < 0)
            return write_failed(x, "synced", synced);
        x->synced = x->offset;
    }
    return HF_OK;
}

static void block_reset(struct writer *x)
{
    buf_reset(&x->block);
    buf_shrink(&x->block, KEPT_CAPACITY);
    buf_reserve(&x->block, SNAPSHOT_BLOCK_HEADER);
    x->block.size = SNAPSHOT_BLOCK_HEADER;
    x->ranges = 0;
}

/* Compresses raw into x->stored behind room for the header; false: it would not shrink
 * by a tenth, or the room for it is not to be had. */
static bool block_compress(struct writer *x, bytes raw)
{
    if (raw.size < 64 || raw.size > LZ4_MAX_INPUT_SIZE)
        return false;
    size_t sample = raw.size < SNAPSHOT_BLOCK_TARGET ? raw.size : SNAPSHOT_BLOCK_TARGET;
    size_t room = raw.size - raw.size / 10;
    buf_reset(&x->stored);
    if (!buf_try_reserve(&x->stored, SNAPSHOT_BLOCK_HEADER + room))
        return false;
    char *out = (char *)x->stored.data + SNAPSHOT_BLOCK_HEADER;
    if (raw.size > 8 * sample && /* a huge value: ask its beginning first */
        LZ4_compress_default((const char *)raw.data, out, (int)sample, (int)(sample - sample / 10)) <= 0)
        return false;
    int size = LZ4_compress_default((const char *)raw.data, out, (int)raw.size, (int)room);
    if (size <= 0)
        return false;
    x->stored.size = SNAPSHOT_BLOCK_HEADER + (size_t)size;
    return true;
}

static status block_flush(struct writer *x)
{
    bytes raw = bytes_of(x->block.data + SNAPSHOT_BLOCK_HEADER, x->block.size - SNAPSHOT_BLOCK_HEADER);
    if (raw.size == 0)
        return HF_OK;
    struct snapshot_block b = {.stripe_first = x->stripe_first, .stripe_last = x->stripe_last,
                               .number = x->footer.blocks, .raw_size = raw.size, .ranges = x->ranges};
    bool compressed = block_compress(x, raw);
    struct buf *out = compressed ? &x->stored : &x->block;
    b.compression = compressed ? SNAPSHOT_LZ4 : SNAPSHOT_PLAIN;
    b.stored_size = out->size - SNAPSHOT_BLOCK_HEADER;
    b.payload_crc = crc32c(0, out->data + SNAPSHOT_BLOCK_HEADER, b.stored_size);
    snapshot_block_encode(out->data, &b);
    buf_append(&x->index, out->data, SNAPSHOT_BLOCK_HEADER);
    x->footer.blocks++;
    status s = write_bytes(x, buf_view(out));
    buf_reset(&x->stored);
    buf_shrink(&x->stored, KEPT_CAPACITY);
    block_reset(x);
    return s;
}

/* Begins a range in the block; returns where its header stands. */
static size_t range_open(struct writer *x, uint16_t stripe)
{
    if (x->ranges == 0)
        x->stripe_first = stripe;
    x->stripe_last = stripe;
    x->ranges++;
    size_t at = x->block.size;
    buf_reserve(&x->block, SNAPSHOT_RANGE_HEADER);
    x->block.size += SNAPSHOT_RANGE_HEADER;
    return at;
}

static void range_close(struct writer *x, size_t at, const struct snapshot_range *range)
{
    struct snapshot_range r = *range;
    r.size = x->block.size - at - SNAPSHOT_RANGE_HEADER;
    snapshot_range_encode(x->block.data + at, &r);
    x->footer.ranges++;
    x->footer.entries += r.entries;
    x->footer.lsn_lowest = r.lsn < x->footer.lsn_lowest ? r.lsn : x->footer.lsn_lowest;
    x->footer.lsn_highest = r.lsn > x->footer.lsn_highest ? r.lsn : x->footer.lsn_highest;
}

/* The payload of a large value, its size in front. */
static void emit_share(struct writer *x, const struct mark *m)
{
    uint8_t room[10];
    struct buf *out = &x->block, size = {.data = room, .capacity = sizeof(room), .size_max = sizeof(room)};
    bytes head = bytes_of(x->capture.bytes.data + m->offset, m->head_size);
    if (m->rope) {
        put_varint(out, head.size + m->rope->size);
        buf_append_bytes(out, head);
        put_rope(out, m->rope);
        return;
    }
    size_t at = out->size;
    buf_append_bytes(out, head);
    type_ops_of((int)m->type)->encode(m->object, out);
    put_varint(&size, out->size - at);
    buf_reserve(out, size.size);
    memmove(out->data + at + size.size, out->data + at, out->size - at);
    memcpy(out->data + at, room, size.size);
    out->size += size.size;
}

static status emit_range(struct writer *x)
{
    const struct capture *c = &x->capture;
    struct snapshot_range range = c->range;
    size_t taken = 0, next = 0, at = range_open(x, range.stripe);
    uint32_t entries = 0;
    for (; next < c->mark_count; next++) {
        const struct mark *m = &c->marks[next];
        if (m->offset > taken)
            buf_append(&x->block, c->bytes.data + taken, m->offset - taken);
        emit_share(x, m);
        taken = m->offset + m->head_size;
        if (x->block.size >= SNAPSHOT_BLOCK_TARGET && taken < c->bytes.size) {
            range.entries = m->entries - entries;
            entries = m->entries;
            range_close(x, at, &range);
            status s = block_flush(x);
            if (s != HF_OK)
                return s;
            at = range_open(x, range.stripe);
        }
    }
    if (taken < c->bytes.size)
        buf_append(&x->block, c->bytes.data + taken, c->bytes.size - taken);
    range.entries = c->range.entries - entries;
    range_close(x, at, &range);
    return x->block.size >= SNAPSHOT_BLOCK_TARGET ? block_flush(x) : HF_OK;
}

static void emit_rest(struct writer *x)
{
    struct snapshot_range rest = {.kind = SNAPSHOT_REST, .stripe = x->capture.range.stripe, .lsn = x->capture.lsn};
    range_close(x, range_open(x, rest.stripe), &rest);
}

/* Records from the front of `from` that make a block. */
static status emit_tail_block(struct writer *x, bytes *from)
{
    struct snapshot_range range = {.kind = SNAPSHOT_TAIL, .lsn = x->tail_at};
    bytes left = *from, record;
    while (left.size && from->size - left.size < SNAPSHOT_BLOCK_TARGET) {
        bool whole = take_bytes(&left, &record);
        hf_assert(whole);
        range.entries++;
    }
    status s = block_flush(x);
    if (s != HF_OK)
        return s;
    size_t at = range_open(x, 0);
    x->stripe_last = STRIPE_COUNT - 1;
    range.size = from->size - left.size;
    buf_append(&x->block, from->data, range.size);
    snapshot_range_encode(x->block.data + at, &range);
    x->footer.ranges++;
    x->tail_at += range.size;
    *from = left;
    return block_flush(x);
}

/* Moves the tail to the file. `all`: however little it is. */
static status emit_tail(struct writer *x, bool all)
{
    struct snapshot_write *w = x->w;
    if (!w->tail || (!all && tail_end(w->tail) - x->tail_at < SNAPSHOT_BLOCK_TARGET))
        return HF_OK;
    buf_reset(&x->tail);
    buf_shrink(&x->tail, KEPT_CAPACITY);
    if (!tail_take(w->tail, &x->tail))
        return snapshot_fail(HF_ERR_IO, x->detail, x->detail_size, "%s: more was written during the snapshot than %u MB of "
                             "memory hold and the disk took", x->path, (unsigned)(TAIL_BYTES_MAX >> 20));
    bytes left = buf_view(&x->tail);
    status s = HF_OK;
    while (s == HF_OK && left.size)
        s = emit_tail_block(x, &left);
    return s;
}

static void capture_drop(struct capture *c)
{
    for (size_t i = 0; i < c->mark_count; i++) {
        if (c->marks[i].rope)
            rope_unref(c->marks[i].rope);
        else
            type_ops_of((int)c->marks[i].type)->free(c->marks[i].object);
    }
    c->mark_count = 0;
    mem_tell(); /* this thread frees what workers have counted as in use */
    buf_reset(&c->bytes);
    buf_reset(&c->scratch);
    buf_shrink(&c->bytes, KEPT_CAPACITY);
    buf_shrink(&c->scratch, KEPT_CAPACITY);
}

/* -- the whole -- */

static status write_stripe(struct writer *x, struct stripe *s)
{
    struct snapshot_write *w = x->w;
    x->done_count = 0;
    do {
        if (w->cancelled && w->cancelled(w->context))
            return snapshot_fail(HF_ERR_IO, x->detail, x->detail_size, "the snapshot was cancelled");
        capture_hold(x, s);
        status result = x->capture.has_range ? emit_range(x) : HF_OK;
        capture_drop(&x->capture);
        if (result == HF_OK)
            result = emit_tail(x, false);
        if (result != HF_OK)
            return result;
        if (w->progress)
            w->progress(w->context, x->footer.entries,
                        x->footer.entries > x->keys_total ? x->footer.entries : x->keys_total);
    } while (!x->capture.stripe_done);
    emit_rest(x);
    return HF_OK;
}

static uint64_t count_keys(struct store *store)
{
    uint64_t total = 0;
    for (uint32_t i = 0; i < STRIPE_COUNT; i++) {
        struct stripe *s = &store->stripes[i];
        stripe_lock_wait(s);
        total += s->table ? s->table->count : 0;
        for (uint32_t k = 0; k < s->other_count; k++)
            total += s->others[k]->count;
        stripe_unlock(s);
    }
    return total;
}

static status write_header(struct writer *x)
{
    struct snapshot_write *w = x->w;
    struct snapshot_header *h = mem_zalloc(sizeof(*h));
    struct buf first;
    h->log_id = w->log_id;
    h->number = w->number;
    h->secret = w->store->secret;
    h->stripe_count = STRIPE_COUNT;
    h->has_tail = w->tail != NULL;
    h->start_lsn = position(w);
    if (w->read_map)
        w->read_map(w->context, &h->map);
    if (w->read_map && h->map.lsn < h->start_lsn)
        h->start_lsn = h->map.lsn;
    w->trim_lsn = h->start_lsn;
    x->footer.lsn_highest = h->start_lsn;
    x->footer.lsn_lowest = UINT64_MAX;
    buf_init(&first, SIZE_MAX);
    snapshot_header_encode(&first, h);
    status s = write_bytes(x, buf_view(&first));
    buf_release(&first);
    mem_free(h);
    return s;
}

static status write_end(struct writer *x)
{
    uint8_t last[SNAPSHOT_FOOTER];
    status s = block_flush(x);
    if (s != HF_OK)
        return s;
    x->footer.index_crc = crc32c(0, x->index.data, x->index.size);
    snapshot_footer_encode(last, &x->footer);
    buf_append(&x->index, last, sizeof(last));
    return write_bytes(x, buf_view(&x->index));
}

static status publish(struct writer *x)
{
    struct snapshot_write *w = x->w;
    char name[SNAPSHOT_PATH_MAX];
    snapshot_path(name, w->dir, w->number, false);
    int result = OS.fdatasync(x->file);
    if (result < 0)
        return write_failed(x, "synced", result);
    os_sched_point(SCHED_PUBLISH);
    if (w->log && !os_bug(BUG_MANIFEST_EARLY)) {
        status s = log_wait_durable(w->log, x->footer.lsn_highest);
        if (s != HF_OK)
            return snapshot_fail(s, x->detail, x->detail_size, "%s: the log did not become durable up to %llu", x->path,
                                 (unsigned long long)x->footer.lsn_highest);
    }
    result = OS.rename(x->path, name);
    if (result < 0)
        return write_failed(x, "renamed into place", result);
    result = OS.sync_dir(w->dir);
    if (result < 0) /* the file is whole and may stay; whether its name lasts is not known */
        return snapshot_fail(HF_ERR_IO, x->detail, x->detail_size, "%s: the directory cannot be synced: %s", w->dir,
                             strerror(-result));
    return HF_OK;
}

static status write_all(struct writer *x)
{
    if (x->w->tail)
        tail_begin(x->w->tail);
    status s = write_header(x);
    for (uint32_t i = 0; s == HF_OK && i < STRIPE_COUNT; i++)
        s = write_stripe(x, &x->w->store->stripes[i]);
    if (x->w->tail)
        tail_seal(x->w->tail);
    if (s == HF_OK)
        s = emit_tail(x, true);
    if (x->w->tail)
        x->footer.lsn_highest = x->tail_at;
    if (s == HF_OK)
        s = write_end(x);
    return s == HF_OK ? publish(x) : s;
}

static void writer_release(struct writer *x)
{
    buf_release(&x->capture.bytes);
    buf_release(&x->capture.scratch);
    mem_free(x->capture.marks);
    mem_free(x->done);
    buf_release(&x->block);
    buf_release(&x->stored);
    buf_release(&x->index);
    buf_release(&x->tail);
}

status snapshot_write(struct snapshot_write *w, char *detail, size_t detail_size)
{
    struct writer x = {.w = w, .detail = detail, .detail_size = detail_size};
    snapshot_path(x.path, w->dir, w->number, true);
    x.file = OS.open(x.path, O_RDWR | O_CREAT | O_TRUNC, 0640);
    if (x.file < 0)
        return write_failed(&x, "created", x.file);
    buf_init(&x.capture.bytes, SIZE_MAX);
    buf_init(&x.capture.scratch, SIZE_MAX);
    buf_init(&x.block, SIZE_MAX);
    buf_init(&x.stored, SIZE_MAX);
    buf_init(&x.index, SIZE_MAX);
    buf_init(&x.tail, SIZE_MAX);
    block_reset(&x);
    x.keys_total = w->progress ? count_keys(w->store) : 0;
    status s = write_all(&x);
    OS.close(x.file);
    if (s != HF_OK)
        OS.unlink(x.path);
    w->keys = x.footer.entries;
    w->bytes = x.offset;
    writer_release(&x);
    return s;
}
