/* engine.c -- opening, recovering, closing.
 *
 * Opening: lock the directory, read its identity, load the newest snapshot, replay the
 * log behind it, start the log writer in a new epoch. A memory-only server does not
 * open a directory that holds a log, because what it changed would be undone by the log at
 * the next start.
 */
#include "engine/cut.h"
#include "engine/internal.h"
#include "engine/items.h"

#include "base/memory.h"
#include "data/small.h"
#include "durable/identity.h"
#include "os/os.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#define RING_DEFAULT ((size_t)8 << 20)
#define SEGMENT_DEFAULT (UINT64_C(64) << 20)

static status lock_directory(struct engine *e, char *detail, size_t size)
{
    char path[4096];
    int made = OS.mkdir(e->dir, 0750);
    if (made < 0 && made != -EEXIST) {
        snprintf(detail, size, "the data directory %s cannot be made: %s", e->dir, strerror(-made));
        return HF_ERR_IO;
    }
    snprintf(path, sizeof(path), "%s/holdfast.lock", e->dir);
    e->lock_file = OS.open(path, O_RDWR | O_CREAT, 0640);
    if (e->lock_file < 0) {
        snprintf(detail, size, "%s cannot be opened: %s", path, strerror(-e->lock_file));
        return HF_ERR_IO;
    }
    if (OS.lock_file(e->lock_file) < 0) {
        snprintf(detail, size, "the data directory %s is in use by another holdfast; stop it, or choose another --dir", e->dir);
        return HF_ERR_LOCKED;
    }
    return HF_OK;
}

/* Makes the data directory's own name durable: what is fsynced in it is lost with it. */
static int sync_parent(const char *dir)
{
    char parent[4096];
    size_t size = strlen(dir);
    while (size > 1 && dir[size - 1] == '/')
        size--;
    while (size > 0 && dir[size - 1] != '/')
        size--;
    while (size > 1 && dir[size - 1] == '/')
        size--;
    snprintf(parent, sizeof(parent), "%.*s", size ? (int)size : 1, size ? dir : ".");
    int result = OS.sync_dir(parent);
    return result == -EACCES || result == -EPERM ? 0 : result; /* not ours to open; then not ours to have made */
}

struct contents { bool log, snapshot; };

static void find_contents(void *context, const char *name)
{
    struct contents *c = context;
    c->log |= strncmp(name, "log-", 4) == 0;
    c->snapshot |= strncmp(name, "snapshot-", 9) == 0;
}

static status look_into(const struct engine *e, struct contents *found, char *detail, size_t size)
{
    *found = (struct contents){0};
    int listed = OS.list_dir(e->dir, find_contents, found);
    if (listed < 0)
        snprintf(detail, size, "the data directory %s cannot be listed: %s", e->dir, strerror(-listed));
    return listed < 0 ? HF_ERR_IO : HF_OK;
}

status engine_save_identity(struct engine *e, char *detail, size_t size)
{
    if (e->identity_saved)
        return HF_OK;
    int result = sync_parent(e->dir);
    if (result == 0)
        result = os_publish_file(e->dir, "holdfast.id", e->identity, IDENTITY_SIZE);
    e->identity_saved = result == 0;
    if (result < 0)
        snprintf(detail, size, "%s/holdfast.id: %s", e->dir, strerror(-result));
    return result < 0 ? HF_ERR_IO : HF_OK;
}

static status read_identity(struct engine *e, uint64_t *secret, char *detail, size_t size)
{
    char path[4096];
    void *data = NULL;
    size_t length = 0;
    struct identity id = {0};
    snprintf(path, sizeof(path), "%s/holdfast.id", e->dir);
    int result = os_read_file(path, IDENTITY_SIZE, &data, &length);
    if (result == -ENOENT) {
        struct contents has; /* a fresh identity would make them somebody else's, and so lose them silently */
        status s = look_into(e, &has, detail, size);
        if (s == HF_OK && (has.snapshot || (has.log && e->config.durability != DURABILITY_NONE))) {
            snprintf(detail, size, "%s is missing, and %s holds a %s that cannot be read without it; restore the file, or "
                     "choose another --dir", path, e->dir, has.log ? "log" : "snapshot");
            s = HF_ERR_CORRUPT;
        }
        if (s != HF_OK)
            return s;
        OS.random(&id, sizeof(id));
        identity_encode(&id, e->identity);
        result = 0;
        if (e->config.durability != DURABILITY_NONE) /* memory only: with the first snapshot */
            s = engine_save_identity(e, detail, size);
        if (s != HF_OK)
            return s;
    } else if (result == 0) {
        const char *problem = identity_decode(data, length, &id);
        if (!problem)
            memcpy(e->identity, data, IDENTITY_SIZE);
        e->identity_saved = !problem;
        mem_free(data);
        if (problem) {
            snprintf(detail, size, "%s is damaged at offset 0: %s", path, problem);
            return HF_ERR_CORRUPT;
        }
    }
    if (result < 0) {
        snprintf(detail, size, "%s: %s", path, strerror(-result));
        return HF_ERR_IO;
    }
    e->log_id = id.log_id;
    *secret = id.secret;
    return HF_OK;
}

struct recovery {
    struct engine *engine;
    struct txn *txns[WORKERS_MAX];
    struct snapshot_load load;
    int threads;
};

static status replay(void *context, int thread, const struct log_record *record)
{
    struct recovery *r = context;
    if (thread == 0)
        atomic_fetch_add_explicit(&r->engine->recovered_records, 1, memory_order_relaxed);
    if (record->kind != RECORD_EFFECTS)
        return HF_ERR_CORRUPT;
    return apply_record(r->engine, thread, r->threads, r->txns[thread], r->load.ranges, r->load.map.lsn, record);
}

static void log_progress(void *context, uint64_t done, uint64_t total)
{
    struct engine *e = ((struct recovery *)context)->engine;
    if (e->config.on_progress)
        e->config.on_progress(e->config.context, "replaying the log", done, total);
}

static void log_note(void *context, const char *line)
{
    struct engine *e = ((struct recovery *)context)->engine;
    if (e->config.on_log_line)
        e->config.on_log_line(e->config.context, 2, line);
}

static void load_progress(void *context, uint64_t done, uint64_t total)
{
    struct engine *e = ((struct recovery *)context)->engine;
    if (e->config.on_progress)
        e->config.on_progress(e->config.context, "loading the snapshot", done, total);
}

static void map_init(struct engine *e, const struct snapshot_load *load)
{
    for (uint32_t i = 0; i < DATABASES_MAX; i++)
        e->db_ids[i] = UINT32_MAX;
    e->db_ids[SYSTEM_DB] = SYSTEM_DB_ID;
    e->db_next_id = 0;
    if (load->found) {
        memcpy(e->db_ids, load->map.ids, load->map.count * sizeof(*load->map.ids));
        e->db_next_id = load->map.next_id;
        return;
    }
    for (uint32_t i = 0; i < e->config.databases; i++)
        e->db_ids[i] = i;
    e->db_next_id = e->config.databases;
}

/* More databases than the map knows get fresh ids; fewer in the configuration hide none. */
static void map_complete(struct engine *e)
{
    for (uint32_t i = 0; i < DATABASES_MAX; i++) {
        if (e->db_ids[i] != UINT32_MAX && i >= e->config.databases)
            e->config.databases = i + 1;
    }
    for (uint32_t i = 0; i < e->config.databases; i++) {
        if (e->db_ids[i] == UINT32_MAX)
            e->db_ids[i] = e->db_next_id++;
    }
}

/* A memory-only server continues no log, and the snapshot of a logged one is nothing without its log. */
static status check_fit(const struct engine *e, const struct contents *has, bool found, bool has_tail, char *detail, size_t size)
{
    if (e->config.durability != DURABILITY_NONE || (!has->log && (!found || has_tail)))
        return HF_OK;
    if (has->log)
        snprintf(detail, size, "%s holds a log, and a memory-only server would not continue it; start with --durability "
                 "interval or commit, or choose another --dir", e->dir);
    else
        snprintf(detail, size, "the snapshot in %s belongs to a log that is missing; restore the log, or choose another --dir",
                 e->dir);
    return has->log ? HF_ERR_INVALID : HF_ERR_CORRUPT;
}

static status load_and_replay(struct engine *e, struct recovery *r, struct log_start *start, char *detail, size_t size)
{
    struct contents has;
    status s = look_into(e, &has, detail, size);
    if (s == HF_OK)
        s = check_fit(e, &has, false, false, detail, size);
    if (s == HF_OK)
        s = snapshot_load(&r->load, detail, size);
    if (s == HF_OK)
        s = check_fit(e, &has, r->load.found, r->load.has_tail, detail, size);
    if (s != HF_OK)
        return s;
    map_init(e, &r->load);
    e->snapshot_number = r->load.number;
    e->recovered_keys = r->load.keys;
    if (r->load.has_tail)
        s = snapshot_load_tail(&r->load, detail, size);
    if (s != HF_OK || e->config.durability == DURABILITY_NONE)
        return s;
    if (r->load.has_tail && !has.log) { /* its first log */
        *start = (struct log_start){.lsn = r->load.from_lsn, .epoch = 1, .segment = 1};
        return HF_OK;
    }
    struct log_recover how = {.dir = e->dir, .log_id = e->log_id, .from_lsn = r->load.from_lsn, .threads = r->threads,
                              .each = replay, .progress = log_progress, .note = log_note, .context = r};
    return log_recover(&how, start, detail, size);
}

static status recover(struct engine *e, struct log_start *start, char *detail, size_t size)
{
    struct recovery r = {.engine = e, .threads = (int)e->config.workers < 2 ? 2 : (int)e->config.workers};
    r.load = (struct snapshot_load){.dir = e->dir, .log_id = e->log_id, .store = e->store, .threads = r.threads,
                                    .heaps = e->heaps, .each = replay, .progress = load_progress, .context = &r};
    for (int i = 0; i < r.threads; i++) {
        r.txns[i] = txn_new(e);
        r.txns[i]->heap = e->heaps[i];
        r.txns[i]->recovering = true;
        r.txns[i]->clock_ms = OS.wall_ms();
    }
    status s = load_and_replay(e, &r, start, detail, size);
    for (int i = 0; i < r.threads; i++)
        txn_free(r.txns[i]);
    if (r.load.ranges)
        snapshot_ranges_free(r.load.ranges);
    if (s != HF_OK)
        return s;
    map_complete(e);
    databases_detach_unmapped(e);
    return HF_OK;
}

static void log_moved(void *context)
{
    struct engine *e = context;
    if (e->config.wake_workers)
        e->config.wake_workers(e->config.context);
}

static status open_log(struct engine *e, const struct log_start *start)
{
    const struct engine_config *c = &e->config;
    struct log_config config = {.dir = e->dir, .log_id = e->log_id, .mode = c->durability,
                                .ring_size = c->ring_size ? c->ring_size : RING_DEFAULT,
                                .segment_size = c->segment_size ? c->segment_size : SEGMENT_DEFAULT,
                                .interval_ms = c->interval_ms ? c->interval_ms : 1000,
                                .interval_bytes = c->interval_bytes ? c->interval_bytes : UINT64_C(64) << 20,
                                .moved = log_moved, .context = e};
    e->ring_memory = config.ring_size;
    return log_open(&config, start, &e->log);
}

static void engine_release(struct engine *e)
{
    if (e->store) {
        while (databases_free_slice(e, e->spare_heap)) {
        }
        store_free(e->store);
    }
    if (e->lock_file >= 0)
        OS.close(e->lock_file);
    os_mutex_release(&e->snapshot_lock);
    os_cond_release(&e->snapshot_done);
    tail_release(&e->tail);
    mem_free(e->emptied_lsn);
    mem_free(e->dir);
    mem_free(e);
}

status engine_open(const struct engine_config *config, struct engine **out, char *detail, size_t size)
{
    struct engine *e = mem_alloc_aligned(64, sizeof(*e));
    struct log_start start = {0};
    uint64_t secret = 0, begun = OS.monotonic_us();
    memset(e, 0, sizeof(*e));
    tail_init(&e->tail);
    e->emptied_lsn = mem_zalloc(STRIPE_COUNT * sizeof(*e->emptied_lsn));
    e->config = *config;
    e->lock_file = -1;
    if (e->config.workers == 0 || e->config.workers > WORKERS_MAX)
        e->config.workers = 1;
    if (e->config.databases == 0 || e->config.databases > DATABASES_MAX)
        e->config.databases = 16;
    atomic_store(&e->maxmemory, config->maxmemory);
    e->dir = mem_strdup(config->dir ? config->dir : ".");
    os_mutex_init(&e->snapshot_lock);
    os_cond_init(&e->snapshot_done);
    if (size)
        detail[0] = 0;
    status s = lock_directory(e, detail, size);
    if (s == HF_OK)
        s = read_identity(e, &secret, detail, size);
    if (s == HF_OK) {
        e->store = store_new(secret);
        for (unsigned i = 0; i < e->config.workers || i < 2; i++)
            e->heaps[i] = slab_heap_new(e->store->slab);
        e->spare_heap = slab_heap_new(e->store->slab);
        s = recover(e, &start, detail, size);
    }
    for (unsigned i = 0; s == HF_OK && i < WORKERS_MAX + 2; i++) {
        if (e->heaps[i])
            slab_heap_tell(e->heaps[i]);
    }
    small_tell();
    engine_set_eviction(e, 0, 5, 10, 1);
    start.time_ms = items_start(e, start.time_ms);
    atomic_store(&e->time_high, start.time_ms);
    if (s == HF_OK && e->config.durability != DURABILITY_NONE)
        s = open_log(e, &start);
    if (s != HF_OK) {
        if (size && !detail[0])
            snprintf(detail, size, "%s: %s", e->dir, status_text(s));
        engine_release(e);
        return s;
    }
    e->snapshot_last_s = OS.wall_ms() / 1000;
    e->recovery_ms = (OS.monotonic_us() - begun) / 1000;
    flush_recover(e);
    snapshots_start_keeper(e);
    *out = e;
    return HF_OK;
}

void engine_close(struct engine *e)
{
    snapshots_stop_keeper(e);
    cuts_wait(e);
    if (e->log)
        log_close(e->log);
    e->log = NULL;
    engine_release(e);
}

uint64_t engine_written(const struct engine *e) { return e->log ? log_written(e->log) : UINT64_MAX; }
uint64_t engine_durable(const struct engine *e)
{
    if (os_bug(BUG_ACK_EARLY))
        return engine_written(e);
    return e->log ? log_durable(e->log) : UINT64_MAX;
}
uint64_t engine_identity(const struct engine *e) { return e->log_id; }
bool engine_logged(const struct engine *e) { return e->log != NULL; }
struct log *engine_log(struct engine *e) { return e->log; }
uint32_t engine_databases(const struct engine *e) { return e->config.databases; }
static uint64_t counter(_Atomic uint64_t *c) { return atomic_load_explicit(c, memory_order_relaxed); }

void engine_counts(struct engine *e, struct engine_counts *out)
{
    *out = (struct engine_counts){.freed = counter(&e->freed)};
    for (unsigned i = 0; i <= WORKERS_MAX; i++) {
        struct worker_slot *w = &e->workers[i];
        out->hits += counter(&w->hits);
        out->misses += counter(&w->misses);
        out->expired += counter(&w->expired);
        out->evicted += counter(&w->evicted);
        out->expired_fields += counter(&w->expired_fields);
        out->expire_ticks += counter(&w->expire_ticks);
        out->expire_capped += counter(&w->expire_capped);
    }
}

uint64_t engine_snapshot_last_s(struct engine *e)
{
    os_mutex_lock(&e->snapshot_lock);
    uint64_t last_s = e->snapshot_last_s;
    os_mutex_unlock(&e->snapshot_lock);
    return last_s;
}

void engine_db_memory(struct engine *e, struct txn *t, uint32_t db, struct db_memory *out)
{
    *out = (struct db_memory){0};
    for (uint32_t i = 0; i < STRIPE_COUNT; i++) {
        struct stripe *s = &e->store->stripes[i];
        bool locked;
        if (!walk_enter(t, s, &locked))
            break;
        struct table *table = stripe_table(s, e->db_ids[db]);
        if (table) {
            uint64_t wheels = table_wheel_memory(table);
            out->keys += table->count;
            out->wheels += wheels;
            out->index += table_index_memory(table) - wheels;
        }
        if (locked)
            stripe_unlock(s);
    }
}

static void add_table(struct engine_stats *out, const struct table *t)
{
    out->index_memory += table_index_memory(t);
    if (t->db_id == SYSTEM_DB_ID)
        return;
    out->keys += t->count;
    out->keys_with_deadline += t->deadline_count;
}

void engine_stats(struct engine *e, struct txn *t, struct engine_stats *out)
{
    uint64_t held, small, small_held;
    *out = (struct engine_stats){0};
    for (uint32_t i = 0; i < STRIPE_COUNT; i++) {
        struct stripe *s = &e->store->stripes[i];
        bool locked;
        if (!walk_enter(t, s, &locked))
            break;
        if (s->table)
            add_table(out, s->table);
        for (uint32_t k = 0; k < s->other_count; k++)
            add_table(out, s->others[k]);
        if (locked)
            stripe_unlock(s);
    }
    engine_counts(e, &out->counts);
    out->freeing = counter(&e->freeing);
    out->free_slices = counter(&e->free_slices);
    out->free_slice_max = counter(&e->free_slice_max);
    uint64_t over_since_us = counter(&e->over_since_us);
    out->over_ms = over_since_us ? (OS.monotonic_us() - over_since_us) / 1000 : 0;
    out->over_total_ms = counter(&e->over_total_us) / 1000 + out->over_ms;
    out->uncounted_memory = e->ring_memory + (e->log ? log_copies(e->log) : 0);
    for (unsigned i = 0; i <= WORKERS_MAX; i++)
        out->changes_since_snapshot += atomic_load_explicit(&e->workers[i].changes, memory_order_relaxed);
    out->changes_since_snapshot -= atomic_load(&e->changes_at_snapshot);
    slab_stats(e->store->slab, &out->slab_memory, &held);
    small_stats(&small, &small_held);
    out->slab_memory += chunks_memory(e->store->chunks) + small;
    out->held_memory = held + chunks_held(e->store->chunks) + small_held;
    out->used_memory = out->slab_memory + mem_in_use();
    if (out->used_memory > atomic_load(&e->used_peak))
        atomic_store(&e->used_peak, out->used_memory);
    out->used_memory_peak = atomic_load(&e->used_peak);
    os_mutex_lock(&e->snapshot_lock);
    out->snapshot_running = e->snapshot_running;
    out->snapshot_follows = e->snapshot_follows;
    out->snapshot_running_ms = e->snapshot_running ? (OS.monotonic_us() - e->snapshot_started_us) / 1000 : 0;
    out->snapshots = e->snapshot_count;
    out->snapshot_last_failed = e->snapshot_failed;
    out->snapshot_last_s = e->snapshot_last_s;
    out->snapshot_last_duration_ms = e->snapshot_last_ms;
    out->snapshot_last_bytes = e->snapshot_last_bytes;
    out->snapshot_hold_bytes_max = e->snapshot_hold_bytes_max;
    os_mutex_unlock(&e->snapshot_lock);
    uint64_t total = atomic_load(&e->snapshot_total_keys);
    out->snapshot_progress = total ? (double)atomic_load(&e->snapshot_done_keys) / (double)total : 0;
    out->recovery_ms = e->recovery_ms;
    out->recovered_keys = e->recovered_keys;
    out->recovered_records = atomic_load(&e->recovered_records);
}
