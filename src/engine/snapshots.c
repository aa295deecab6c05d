/* snapshots.c -- when snapshots are taken, and what follows one.
 *
 * One snapshot at a time, on its own thread. A published snapshot trims the log below
 * its lowest capture and deletes older snapshots; a failed one changes nothing, and the
 * keeper tries again with back-off. The keeper starts one by itself when the log
 * written since the last one outgrows twice the data.
 */
#include "engine/internal.h"

#include "base/memory.h"
#include "os/os.h"

#include <stdio.h>

#define KEEPER_PERIOD_US 200000
#define LOG_BEFORE_SNAPSHOT_MIN (UINT64_C(256) << 20)

static void log_line(const struct engine *e, int level, const char *line)
{
    if (e->config.on_log_line)
        e->config.on_log_line(e->config.context, level, line);
}

static void read_map(void *context, struct snapshot_map *map)
{
    struct engine *e = context;
    spin_lock(&e->map_lock);
    while (e->map_pending) { /* what a crash may take back does not belong into a snapshot */
        spin_unlock(&e->map_lock);
        thread_yield();
        spin_lock(&e->map_lock);
    }
    map->next_id = e->db_next_id;
    map->count = e->config.databases;
    memcpy(map->ids, e->db_ids, e->config.databases * sizeof(*map->ids));
    map->lsn = e->log ? log_tail(e->log) : tail_end(&e->tail);
    spin_unlock(&e->map_lock);
}

static void progress(void *context, uint64_t done, uint64_t total)
{
    struct engine *e = context;
    atomic_store_explicit(&e->snapshot_done_keys, done, memory_order_relaxed);
    atomic_store_explicit(&e->snapshot_total_keys, total, memory_order_relaxed);
    if (e->config.on_progress)
        e->config.on_progress(e->config.context, "saving the snapshot", done, total);
}

static bool cancelled(void *context)
{
    struct engine *e = context;
    return atomic_load_explicit(&e->stopping, memory_order_relaxed);
}

static uint64_t bytes_logged(const struct engine *e)
{
    struct log_stats stats = {0};
    if (e->log)
        log_stats(e->log, &stats);
    return stats.bytes_written;
}

static uint64_t changes(const struct engine *e)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i <= WORKERS_MAX; i++)
        sum += atomic_load_explicit(&e->workers[i].changes, memory_order_relaxed);
    return sum;
}

static status start_locked(struct engine *e);

static void *snapshot_thread(void *context)
{
    struct engine *e = context;
    char detail[512] = "", line[768];
    uint64_t begun = OS.monotonic_us(), logged = bytes_logged(e), changes_before = changes(e);
    struct snapshot_write w = {.dir = e->dir, .log_id = e->log_id, .number = e->snapshot_number + 1, .store = e->store,
                               .log = e->log, .tail = e->log ? NULL : &e->tail, .read_map = read_map, .progress = progress, .cancelled = cancelled, .context = e};
    status s = engine_save_identity(e, detail, sizeof(detail));
    if (s == HF_OK)
        s = snapshot_write(&w, detail, sizeof(detail));
    uint64_t took_ms = (OS.monotonic_us() - begun) / 1000;
    if (s == HF_OK) {
        if (e->log)
            log_trim(e->log, w.trim_lsn);
        snapshot_clean(e->dir, w.number);
        snprintf(line, sizeof(line), "Snapshot saved: %llu keys, %.1f MB in %.2f s", (unsigned long long)w.keys,
                 (double)w.bytes / 1e6, (double)took_ms / 1e3);
        log_line(e, 2, line);
    } else if (!cancelled(e)) {
        snprintf(line, sizeof(line), "Snapshot failed: %s (%s). The previous snapshot and the log are kept, nothing is lost.",
                 status_text(s), detail);
        log_line(e, 3, line);
    }
    os_mutex_lock(&e->snapshot_lock);
    e->snapshot_running = false;
    e->snapshot_failed = s != HF_OK;
    e->snapshot_generation++;
    if (s == HF_OK) {
        e->snapshot_number = w.number;
        e->snapshot_count++;
        e->snapshot_last_s = OS.wall_ms() / 1000;
        e->snapshot_last_ms = took_ms;
        e->snapshot_last_bytes = w.bytes;
        e->snapshot_hold_bytes_max = w.hold_bytes_max;
        e->log_at_snapshot = logged;
        atomic_store(&e->changes_at_snapshot, changes_before);
    }
    if (e->snapshot_follows && !cancelled(e)) {
        e->snapshot_follows = false;
        (void)start_locked(e);
    }
    os_cond_broadcast(&e->snapshot_done);
    os_mutex_unlock(&e->snapshot_lock);
    return NULL;
}

static status start_locked(struct engine *e)
{
    if (e->snapshot_running)
        return HF_ERR_EXISTS;
    e->snapshot_running = true;
    e->snapshot_started_us = OS.monotonic_us();
    thread_detach(thread_start("hf-snapshot", snapshot_thread, e));
    return HF_OK;
}

status engine_snapshot_start(struct engine *e)
{
    os_mutex_lock(&e->snapshot_lock);
    status s = start_locked(e);
    os_mutex_unlock(&e->snapshot_lock);
    return s;
}

void engine_snapshot_follow(struct engine *e, bool *scheduled)
{
    os_mutex_lock(&e->snapshot_lock);
    *scheduled = start_locked(e) == HF_ERR_EXISTS;
    e->snapshot_follows |= *scheduled;
    os_mutex_unlock(&e->snapshot_lock);
}

status engine_snapshot_wait(struct engine *e)
{
    os_mutex_lock(&e->snapshot_lock);
    uint64_t generation = e->snapshot_generation;
    (void)start_locked(e); /* one that runs already serves as well */
    while (e->snapshot_generation == generation)
        os_cond_wait(&e->snapshot_done, &e->snapshot_lock);
    status s = e->snapshot_failed ? HF_ERR_IO : HF_OK;
    os_mutex_unlock(&e->snapshot_lock);
    return s;
}

static void *keeper_thread(void *context)
{
    struct engine *e = context;
    unsigned wait = 0;
    while (!atomic_load(&e->stopping)) {
        parking_sleep(&e->keeper_parking, KEEPER_PERIOD_US);
        if (wait > 0 && --wait > 0)
            continue;
        os_mutex_lock(&e->snapshot_lock);
        uint64_t limit = e->snapshot_last_bytes * 2;
        limit = limit < LOG_BEFORE_SNAPSHOT_MIN ? LOG_BEFORE_SNAPSHOT_MIN : limit;
        bool due = !e->snapshot_running && bytes_logged(e) - e->log_at_snapshot > limit;
        if (due && !atomic_load(&e->stopping)) {
            wait = e->snapshot_failed ? 50 : 0;
            (void)start_locked(e);
        }
        os_mutex_unlock(&e->snapshot_lock);
    }
    return NULL;
}

void snapshots_start_keeper(struct engine *e)
{
    if (!e->log || !e->config.auto_snapshot)
        return;
    e->keeper = thread_start("hf-keeper", keeper_thread, e);
    e->keeper_running = true;
}

void snapshots_stop_keeper(struct engine *e)
{
    atomic_store(&e->stopping, true);
    if (e->keeper_running) {
        parking_wake(&e->keeper_parking);
        thread_join(e->keeper);
    }
    os_mutex_lock(&e->snapshot_lock);
    while (e->snapshot_running)
        os_cond_wait(&e->snapshot_done, &e->snapshot_lock);
    os_mutex_unlock(&e->snapshot_lock);
}
