/* snapshot_load.c -- blocks into the store, on all cores.
 *
 * Thread i owns the stripes with number % threads == i: it reads the blocks that hold
 * some of them, in file order, and inserts their entries; so no stripe is locked and
 * nothing is shared but the count of keys. A stripe's entries arrive in hash order, which keeps
 * its table and the blocks it fills in the cache.
 *
 * Every block belongs to at least one thread, which verifies it; a first failure stops
 * the others. What was learned of the ranges is checked as a whole at the end: each table's
 * must cover all hashes, each stripe must have its end. A tail is replayed after that: its
 * blocks once more, every thread all of them, each taking the effects on its stripes.
 */
#include "durable/snapshot_file.h"

#include "base/memory.h"
#include "durable/effect.h"
#include "os/os.h"
#include "os/thread.h"
#include "store/clock.h"
#include "store/entry_make.h"
#include "types/type.h"

#include <stdlib.h>

#define DETAIL_SIZE 512

struct loaded_range { uint64_t lsn; uint32_t db_id, first, last; };

struct stripe_ranges {
    struct loaded_range *list; /* by db id, then by hash */
    uint32_t count, capacity;
    bool ended;
    uint64_t rest_lsn;
};

struct snapshot_ranges { struct stripe_ranges stripes[STRIPE_COUNT]; };

struct loading {
    struct snapshot_load *load;
    struct snapshot_file file;
    struct snapshot_ranges *ranges;
    _Atomic bool failed;
    _Atomic uint64_t keys;
    uint32_t clock;
};

struct loader {
    struct loading *loading;
    int number;
    status result;
    char detail[DETAIL_SIZE];
    uint64_t ranges_seen, tail_at;
    struct snapshot_scratch scratch;
};

/* -- ranges -- */

uint64_t snapshot_capture_lsn(const struct snapshot_ranges *r, uint32_t stripe, uint32_t db_id, uint64_t hash)
{
    const struct stripe_ranges *s = &r->stripes[stripe];
    uint64_t wanted = (uint64_t)db_id << 32 | hash >> 32;
    uint32_t low = 0, high = s->count; /* the first range that begins after wanted */
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        const struct loaded_range *at = &s->list[middle];
        if (((uint64_t)at->db_id << 32 | at->first) <= wanted)
            low = middle + 1;
        else
            high = middle;
    }
    return low > 0 && s->list[low - 1].db_id == db_id ? s->list[low - 1].lsn : s->rest_lsn;
}

void snapshot_ranges_free(struct snapshot_ranges *r)
{
    for (uint32_t i = 0; r && i < STRIPE_COUNT; i++)
        mem_free(r->stripes[i].list);
    mem_free(r);
}

/* Notes a range; one that goes on from the last, or repeats it, with the same lsn becomes part of it. */
static bool note_range(struct stripe_ranges *s, const struct snapshot_range *r)
{
    if (s->ended)
        return false;
    if (r->kind == SNAPSHOT_REST) {
        s->ended = true;
        s->rest_lsn = r->lsn;
        return true;
    }
    struct loaded_range *last = s->count ? &s->list[s->count - 1] : NULL;
    if (last && last->db_id == r->db_id && last->lsn == r->lsn) {
        if (r->last == last->last && r->first >= last->first)
            return true; /* the same range, continued */
        if (last->last != UINT32_MAX && r->first == last->last + 1) {
            last->last = r->last;
            return true;
        }
        return false;
    }
    if (s->count == s->capacity) {
        s->capacity = s->capacity ? s->capacity * 2 : 4;
        s->list = mem_realloc(s->list, s->capacity * sizeof(*s->list));
    }
    s->list[s->count++] = (struct loaded_range){.lsn = r->lsn, .db_id = r->db_id, .first = r->first, .last = r->last};
    return true;
}

static int by_db_and_hash(const void *a, const void *b)
{
    const struct loaded_range *x = a, *y = b;
    if (x->db_id != y->db_id)
        return x->db_id < y->db_id ? -1 : 1;
    return (x->first > y->first) - (x->first < y->first);
}

/* Sorts, and checks that every table's ranges cover all hashes once. */
static bool finish_ranges(struct stripe_ranges *s)
{
    if (s->count)
        qsort(s->list, s->count, sizeof(*s->list), by_db_and_hash);
    for (uint32_t i = 0; i < s->count; i++) {
        const struct loaded_range *r = &s->list[i], *previous = i ? r - 1 : NULL;
        bool first = !previous || previous->db_id != r->db_id;
        bool last = i + 1 == s->count || r[1].db_id != r->db_id;
        if ((first ? r->first != 0 : r->first != (uint64_t)previous->last + 1) || (last && r->last != UINT32_MAX))
            return false;
    }
    if (s->count)
        s->list = mem_realloc(s->list, s->count * sizeof(*s->list));
    return s->ended;
}

/* -- entries -- */

static status damaged_block(struct loader *x, uint64_t block, const char *what)
{
    const struct snapshot_file *f = &x->loading->file;
    return snapshot_fail(HF_ERR_CORRUPT, x->detail, DETAIL_SIZE, "%s: damaged: the block at offset %llu: %s", f->path,
                         (unsigned long long)f->offsets[block], what);
}

static status load_entry(struct loader *x, const struct snapshot_range *r, struct table *t, bytes *in, uint64_t block)
{
    struct store *store = x->loading->load->store;
    struct slab_heap *heap = x->loading->load->heaps[x->number];
    struct entry_image image;
    void *object = NULL;
    bytes key, payload;
    if (!take_bytes(in, &key) || !take_bytes(in, &payload) || key.size > KEY_SIZE_MAX)
        return damaged_block(x, block, "an entry's size does not hold");
    uint64_t hash = store_hash(store, key);
    if (hash >> 32 < r->first || hash >> 32 > r->last)
        return damaged_block(x, block, "a key is outside of its range");
    status s = entry_decode(payload, &image, &object);
    if (s != HF_OK)
        return s == HF_ERR_CORRUPT ? damaged_block(x, block, "an entry's value does not hold") : s;
    image.key = key;
    image.clock = x->loading->clock;
    struct entry *e = entry_from_image(heap, &image, object);
    if (!e) {
        if (object)
            type_ops_of((int)image.type)->free(object);
        return snapshot_fail(HF_ERR_NO_MEMORY, x->detail, DETAIL_SIZE, "no memory for the entries of the snapshot");
    }
    table_insert(t, hash, e, 0);
    return HF_OK;
}

static status load_range(struct loader *x, const struct snapshot_range *r, bytes entries, uint64_t block)
{
    struct store *store = x->loading->load->store;
    uint64_t keys_max = x->loading->file.footer.entries, room = r->table_entries;
    if (!note_range(&x->loading->ranges->stripes[r->stripe], r))
        return damaged_block(x, block, "a range overlaps another");
    x->ranges_seen++;
    if (r->entries == 0)
        return HF_OK; /* empty tables are not made */
    struct table *t = stripe_table_make(store, &store->stripes[r->stripe], r->db_id);
    if (t->count == 0)
        table_reserve(t, room < keys_max ? room : keys_max);
    for (uint32_t i = 0; i < r->entries; i++) {
        status s = load_entry(x, r, t, &entries, block);
        if (s != HF_OK)
            return s;
    }
    if (entries.size)
        return damaged_block(x, block, "more bytes than entries");
    atomic_fetch_add_explicit(&x->loading->keys, r->entries, memory_order_relaxed);
    return HF_OK;
}

static bool is_mine(const struct loader *x, uint32_t stripe)
{
    return stripe % (uint32_t)x->loading->load->threads == (uint32_t)x->number;
}

static bool block_is_mine(const struct loader *x, const struct snapshot_block *b)
{
    for (uint32_t stripe = b->stripe_first; stripe <= b->stripe_last; stripe++) {
        if (is_mine(x, stripe))
            return true;
    }
    return false;
}

static status load_block(struct loader *x, uint64_t i, const struct snapshot_block *b)
{
    bytes in, entries;
    struct snapshot_range r;
    status s = snapshot_file_read(&x->loading->file, i, &x->scratch, &in, x->detail, DETAIL_SIZE);
    if (s != HF_OK)
        return s;
    uint32_t stripe = b->stripe_first;
    for (uint32_t k = 0; k < b->ranges; k++) {
        if (!snapshot_range_take(&in, &r, &entries) || r.stripe < stripe || r.stripe > b->stripe_last ||
            (r.kind == SNAPSHOT_TAIL && !x->loading->file.header.has_tail))
            return damaged_block(x, i, "a range's header does not hold");
        stripe = r.stripe;
        if (r.kind == SNAPSHOT_TAIL)
            x->ranges_seen += x->number == 0;
        else if (is_mine(x, stripe))
            s = load_range(x, &r, entries, i);
        if (s != HF_OK)
            return s;
    }
    return in.size ? damaged_block(x, i, "more bytes than ranges") : HF_OK;
}

static void *loader_run(void *context)
{
    struct loader *x = context;
    struct loading *l = x->loading;
    for (uint64_t i = 0; i < l->file.footer.blocks && x->result == HF_OK; i++) {
        struct snapshot_block b = snapshot_file_block(&l->file, i);
        if (!block_is_mine(x, &b))
            continue;
        if (atomic_load_explicit(&l->failed, memory_order_relaxed))
            break;
        x->result = load_block(x, i, &b);
        if (x->number == 0 && l->load->progress)
            l->load->progress(l->load->context, atomic_load_explicit(&l->keys, memory_order_relaxed),
                              l->file.footer.entries);
    }
    if (x->result != HF_OK)
        atomic_store_explicit(&l->failed, true, memory_order_relaxed);
    for (uint32_t stripe = (uint32_t)x->number; stripe < STRIPE_COUNT; stripe += (uint32_t)l->load->threads)
        stripe_deadline_update(&l->load->store->stripes[stripe]);
    snapshot_scratch_release(&x->scratch);
    return NULL;
}

/* -- the tail -- */

static status replay_records(struct loader *x, bytes in, uint64_t count, uint64_t block)
{
    struct snapshot_load *load = x->loading->load;
    size_t size = in.size;
    uint64_t at = x->tail_at;
    for (uint64_t i = 0; i < count; i++) {
        struct log_record record = {.lsn = at + (size - in.size), .kind = RECORD_EFFECTS};
        if (!take_bytes(&in, &record.body))
            return damaged_block(x, block, "a record's size does not hold");
        record.next_lsn = at + (size - in.size);
        status s = load->each(load->context, x->number, &record);
        if (s != HF_OK)
            return s == HF_ERR_CORRUPT ? damaged_block(x, block, "an effect does not hold") : s;
    }
    x->tail_at += size;
    return in.size ? damaged_block(x, block, "more bytes than records") : HF_OK;
}

static status replay_block(struct loader *x, uint64_t i)
{
    struct snapshot_block b = snapshot_file_block(&x->loading->file, i);
    struct snapshot_range r;
    bytes in, records;
    if (b.stripe_first != 0 || b.stripe_last != STRIPE_COUNT - 1)
        return HF_OK;
    status s = snapshot_file_read(&x->loading->file, i, &x->scratch, &in, x->detail, DETAIL_SIZE);
    for (uint32_t k = 0; s == HF_OK && k < b.ranges; k++) {
        bool taken = snapshot_range_take(&in, &r, &records);
        hf_assert(taken); /* checked by load_block */
        if (r.kind != SNAPSHOT_TAIL)
            continue;
        if (r.lsn != x->tail_at)
            return damaged_block(x, i, "a part of the tail is missing");
        s = replay_records(x, records, r.entries, i);
    }
    return s;
}

static void *replayer_run(void *context)
{
    struct loader *x = context;
    struct loading *l = x->loading;
    for (uint64_t i = 0; i < l->file.footer.blocks && x->result == HF_OK; i++)
        x->result = replay_block(x, i);
    if (x->result == HF_OK && x->tail_at != l->file.footer.lsn_highest)
        x->result = snapshot_fail(HF_ERR_CORRUPT, x->detail, DETAIL_SIZE, "%s: damaged: offset %llu: the tail ends at %llu",
                                  l->file.path, (unsigned long long)(l->file.size - SNAPSHOT_FOOTER),
                                  (unsigned long long)x->tail_at);
    snapshot_scratch_release(&x->scratch);
    return NULL;
}

/* -- the whole -- */

/* Runs `run` on every thread; *ranges: how many they have seen. */
static status on_all_threads(struct loading *l, void *(*run)(void *), uint64_t *ranges, char *detail, size_t detail_size)
{
    int threads = l->load->threads;
    struct loader *loaders = mem_zalloc((size_t)threads * sizeof(*loaders));
    os_thread *running = mem_zalloc((size_t)threads * sizeof(*running));
    status s = HF_OK;
    *ranges = 0;
    for (int i = 0; i < threads; i++) {
        loaders[i] = (struct loader){.loading = l, .number = i};
        if (i > 0)
            running[i] = thread_start("hf-load", run, &loaders[i]);
    }
    run(&loaders[0]);
    for (int i = 0; i < threads; i++) {
        if (i > 0)
            thread_join(running[i]);
        *ranges += loaders[i].ranges_seen;
        if (s == HF_OK && loaders[i].result != HF_OK)
            s = snapshot_fail(loaders[i].result, detail, detail_size, "%s", loaders[i].detail);
    }
    mem_free(running);
    mem_free(loaders);
    return s;
}

static status run_loaders(struct loading *l, char *detail, size_t detail_size)
{
    uint64_t ranges;
    status s = on_all_threads(l, loader_run, &ranges, detail, detail_size);
    if (s == HF_OK && (ranges != l->file.footer.ranges || atomic_load(&l->keys) != l->file.footer.entries))
        s = snapshot_fail(HF_ERR_CORRUPT, detail, detail_size, "%s: damaged: offset %llu: the footer counts otherwise",
                          l->file.path, (unsigned long long)(l->file.size - SNAPSHOT_FOOTER));
    return s;
}

static status check_ranges(struct loading *l, char *detail, size_t detail_size)
{
    for (uint32_t i = 0; i < STRIPE_COUNT; i++) {
        if (!finish_ranges(&l->ranges->stripes[i]))
            return snapshot_fail(HF_ERR_CORRUPT, detail, detail_size,
                                 "%s: damaged: offset 0: the ranges of stripe %u do not cover it", l->file.path, i);
    }
    return HF_OK;
}

status snapshot_load(struct snapshot_load *load, char *detail, size_t detail_size)
{
    struct loading *l = mem_zalloc(sizeof(*l));
    bool found = false;
    status s = snapshot_file_newest(&l->file, load->dir, load->log_id, &found, detail, detail_size);
    load->found = false;
    if (s == HF_OK && found) {
        hf_assert(load->threads > 0 && load->store->secret == l->file.header.secret);
        l->load = load;
        l->ranges = mem_zalloc(sizeof(*l->ranges));
        l->clock = clock_new(OS.wall_ms()); /* as if just written */
        s = run_loaders(l, detail, detail_size);
        if (s == HF_OK)
            s = check_ranges(l, detail, detail_size);
        if (s == HF_OK) {
            load->found = true;
            load->number = l->file.header.number;
            load->has_tail = l->file.header.has_tail;
            load->from_lsn = load->has_tail ? (l->file.footer.lsn_highest + 7) / 8 * 8 : l->file.header.start_lsn;
            load->keys = l->file.footer.entries;
            load->map = l->file.header.map;
            load->ranges = l->ranges;
            l->ranges = NULL;
            if (load->progress)
                load->progress(load->context, load->keys, load->keys);
        }
        snapshot_ranges_free(l->ranges);
        snapshot_file_close(&l->file);
    }
    mem_free(l);
    return s;
}

status snapshot_load_tail(struct snapshot_load *load, char *detail, size_t detail_size)
{
    char path[SNAPSHOT_PATH_MAX];
    struct loading *l = mem_zalloc(sizeof(*l));
    uint64_t ranges;
    l->load = load;
    snapshot_path(path, load->dir, load->number, false);
    status s = snapshot_file_open(&l->file, path, detail, detail_size);
    if (s == HF_OK) {
        s = on_all_threads(l, replayer_run, &ranges, detail, detail_size);
        snapshot_file_close(&l->file);
    }
    mem_free(l);
    return s;
}
