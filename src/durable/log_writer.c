/* log_writer.c -- the ring's way to the disk: groups, fsync, segments, healing, two threads.
 *
 * The log thread frames what is published and makes it durable. In COMMIT mode it writes
 * and fsyncs by itself, without delay. In INTERVAL mode a worker writes inline at the end
 * of its batch, and the fdatasync is the helper's, so that groups go on being written
 * meanwhile; while it runs workers leave the writing to the log thread, because a pwrite
 * may have to wait for it. The helper also prepares the spare segment.
 *
 * No wake-up is lost: a worker that finds the writer lock taken has set `pending` before,
 * and whoever releases the lock looks at `pending` after (write_inline, log_step).
 *
 * The window of INTERVAL: the fsync starts at half of it (in time, in bytes, and at half
 * the ring, whose bytes are kept until durable); `written` stands still once the oldest
 * unsynced byte is older than the whole window, until the fsync is done.
 *
 * A file that failed once is never written nor fsynced again (log_private.h draws the states).
 * Its fate is decided by what is in the ring: [durable, published) goes to a new
 * segment in the next epoch; everything below was fsynced in blocks never touched since.
 */
#include "durable/log_private.h"

#include "base/crc.h"
#include "base/memory.h"
#include "os/latency.h"
#include "os/os.h"

#include <errno.h>

#define IDLE_SLEEP_US 10000000u
#define MARK_DELAY_US 1000000u
#define HEAL_DELAY_US 100000u
#define HEAL_DELAY_MAX_US 1000000u
#define FULL_DELAY_US 200000u
#define FILL_RETRY_US 300000u
#define INLINE_ROUNDS 2
#define BATCH_BYTES_MAX (8u << 20) /* written before an fsync in COMMIT mode */
#define PLENTY_BYTES (UINT64_C(256) << 20) /* beside two segments */
#define PLENTY_EVERY_US 1000000u           /* asked again after so long ... */
#define PLENTY_EVERY_BYTES (16u << 20)     /* ... and so much */
#define ROOM_MARGIN (1u << 20) /* headers and padding of groups on their way, and a segment's end that no record fits */

enum write_result { WRITE_DONE, WRITE_NOTHING, WRITE_NO_ROOM, WRITE_TOO_LARGE, WRITE_FAILED };

static void counter_add_shared(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

static bool is_ok(const struct log *log)
{
    return atomic_load(&log->state) == LOG_OK;
}

/* --- one group ------------------------------------------------------------------ */

/* A group in the making: records of the ring behind `from`, framed in log->staging. */
struct group {
    struct group_header header;
    uint64_t lsn;       /* next record */
    uint64_t run;       /* direct records from here to lsn are not copied yet */
    uint64_t used;      /* record bytes in the group so far, the run included */
    uint8_t *large;     /* the single record of a group too large for staging; borrowed */
};

static void group_flush_run(struct log *log, struct group *g)
{
    uint64_t size = g->lsn - g->run;
    log_ring_copy_out(log, log->staging + GROUP_HEADER_SIZE + g->used - size, g->run, size);
    g->run = g->lsn;
}

static uint32_t ring_u32(const struct log *log, uint64_t lsn)
{
    uint32_t value;
    memcpy(&value, log->ring + (lsn & log->ring_mask), 4);
    return value;
}

static void group_add(struct log *log, struct group *g, uint64_t word, uint64_t padded)
{
    uint32_t crc = ring_u32(log, g->lsn + 20);
    uint64_t time_ms;
    memcpy(&time_ms, log->ring + ((g->lsn + 8) & log->ring_mask), 8);
    if (time_ms > g->header.time_ms)
        g->header.time_ms = time_ms;
    g->header.records_crc = crc32c(g->header.records_crc, &crc, 4);
    g->header.records++;
    if (word >> 40 & RECORD_INDIRECT) {
        uint8_t *copy;
        log_ring_copy_out(log, (uint8_t *)&copy, g->lsn + RECORD_HEADER_SIZE, sizeof(copy));
        group_flush_run(log, g);
        if (padded <= GROUP_BYTES_MAX)
            memcpy(log->staging + GROUP_HEADER_SIZE + g->used, copy, padded);
        else
            g->large = copy;
        g->lsn += RECORD_INDIRECT_SPACE;
        g->run = g->lsn;
    } else {
        g->lsn += padded;
    }
    g->used += padded;
}

static void group_begin(struct log *log, struct group *g)
{
    *g = (struct group){.lsn = log->file_lsn, .run = log->file_lsn};
    g->header = (struct group_header){
        .log_id = log->config.log_id, .segment = log->number, .first_lsn = log->file_lsn,
        .durable_lsn = atomic_load(&log->durable), .time_ms = log->time_written,
        .epoch = atomic_load(&log->epoch), .chain = log->chain};
}

/* Takes published records while they fit `cap` bytes and the segment's room. */
static enum write_result group_collect(struct log *log, struct group *g, uint64_t cap)
{
    uint64_t tail = atomic_load_explicit(&log->tail, memory_order_acquire);
    uint64_t head = log->offset + GROUP_HEADER_SIZE;
    uint64_t room = head < log->segment_limit ? log->segment_limit - head : 0;
    bool first_of_segment = log->offset == SEGMENT_BLOCK;
    while (g->lsn < tail && !g->large) {
        uint64_t word = atomic_load_explicit(log_word(log, g->lsn), memory_order_acquire);
        if (word == 0)
            break;
        uint64_t padded = round_up((uint32_t)word, 8);
        if (g->used && (g->used + padded > cap || g->used + padded > room))
            break;
        if (!first_of_segment && g->used + padded > room)
            return WRITE_NO_ROOM;
        if (padded > cap && cap < GROUP_BYTES_MAX)
            return WRITE_TOO_LARGE;
        group_add(log, g, word, padded);
    }
    group_flush_run(log, g);
    return g->header.records ? WRITE_DONE : WRITE_NOTHING;
}

/* Header, records, and with `fresh` zeros up to the next block. */
static int64_t group_put(struct log *log, struct group *g, bool fresh)
{
    g->header.disk_bytes = (uint32_t)g->used;
    g->header.lsn_bytes = (uint32_t)(g->lsn - g->header.first_lsn);
    group_header_encode(&g->header, log->staging);
    uint64_t end = log->offset + GROUP_HEADER_SIZE + g->used;
    uint64_t padding = fresh ? round_up(end, SEGMENT_BLOCK) - end : 0;
    uint64_t staged = GROUP_HEADER_SIZE + (g->large ? 0 : g->used);
    int64_t put = 0;
    if (g->large) {
        put = OS.pwrite(log->file, g->large, g->used, log->offset + GROUP_HEADER_SIZE);
        if (put >= 0 && padding) {
            uint8_t zeros[SEGMENT_BLOCK] = {0};
            put = OS.pwrite(log->file, zeros, padding, end);
        }
    } else {
        memset(log->staging + staged, 0, padding);
        staged += padding;
    }
    if (put >= 0)
        put = OS.pwrite(log->file, log->staging, staged, log->offset);
    if (put < 0)
        return put;
    log->offset = end + padding;
    if (!log->prepared || log->offset > log->segment_limit)
        segment_note_size(&log->files, log->offset);
    counter_add_shared(&log->bytes_written, GROUP_HEADER_SIZE + g->used + padding);
    return 0;
}

static void log_fail(struct log *log, int64_t error);

static enum write_result group_write(struct log *log, uint64_t cap)
{
    struct group g;
    group_begin(log, &g);
    enum write_result result = group_collect(log, &g, cap);
    if (result != WRITE_DONE)
        return result;
    if (os_bug(BUG_ACK_UNWRITTEN))
        os_bug_pause(); /* between the acknowledgement and the write */
    uint64_t begin_us = latency_begin_us();
    int64_t put = group_put(log, &g, log->config.mode == DURABILITY_COMMIT);
    latency_end(LATENCY_WRITE, begin_us);
    if (put < 0) {
        log_fail(log, put);
        return WRITE_FAILED;
    }
    log->file_lsn = g.lsn;
    log->chain = g.header.crc;
    log->time_written = g.header.time_ms;
    log->idle_since_us = OS.monotonic_us();
    if (atomic_load(&log->unsynced_us) == 0)
        atomic_store(&log->unsynced_us, log->idle_since_us);
    counter_add_shared(&log->groups, 1);
    counter_add_shared(&log->records, g.header.records);
    return WRITE_DONE;
}

/* --- durable -------------------------------------------------------------------- */

static void written_set(struct log *log, uint64_t lsn)
{
    if (lsn > atomic_load(&log->written)) {
        atomic_store_explicit(&log->written, lsn, memory_order_release);
        atomic_store(&log->notify, true);
    }
}

/* INTERVAL: are the gates shut because the fsync is late? */
static bool window_is_over(struct log *log)
{
    uint64_t since = atomic_load(&log->unsynced_us);
    if (log->config.mode != DURABILITY_INTERVAL || since == 0)
        return false;
    return log->file_lsn - atomic_load(&log->durable) > log->config.interval_bytes ||
           OS.monotonic_us() - since >= (uint64_t)atomic_load(&log->interval_ms) * 1000;
}

static void written_update(struct log *log)
{
    if (!window_is_over(log))
        written_set(log, log->file_lsn);
}

static void durable_set(struct log *log, uint64_t lsn, uint32_t chain, uint64_t unsynced_us)
{
    if (lsn <= atomic_load(&log->durable))
        return;
    log->durable_chain = chain;
    atomic_store(&log->unsynced_us, unsynced_us);
    written_set(log, lsn);
    atomic_store_explicit(&log->durable, lsn, memory_order_release);
    atomic_store(&log->notify, true);
    log_ring_free(log, lsn);
    atomic_store(&log->starved, false); /* moved() tells whoever was refused */
}

static int64_t timed_fdatasync(struct log *log, int file)
{
    uint64_t start = OS.monotonic_us();
    int64_t result = os_bug(BUG_NO_FSYNC) ? 0 : OS.fdatasync(file);
    uint64_t took = OS.monotonic_us() - start;
    atomic_store(&log->fsync_us_last, took);
    if (took > atomic_load(&log->fsync_us_max))
        atomic_store(&log->fsync_us_max, took);
    latency_note(log->config.mode == DURABILITY_COMMIT ? LATENCY_FSYNC : LATENCY_FSYNC_BEHIND, took);
    counter_add_shared(&log->fsyncs, 1);
    return os_bug(BUG_FSYNC_ERROR) ? 0 : result;
}

/* Zeros up to the next block: what an fsync covers is never written again. */
static int64_t pad_to_block(struct log *log)
{
    uint64_t end = round_up(log->offset, SEGMENT_BLOCK);
    if (end == log->offset)
        return 0;
    memset(log->staging, 0, end - log->offset);
    int64_t put = OS.pwrite(log->file, log->staging, end - log->offset, log->offset);
    if (put >= 0)
        log->offset = end;
    return put;
}

/* Caller holds the lock; no fdatasync is running. */
static bool sync_here(struct log *log)
{
    int64_t result = pad_to_block(log);
    if (result >= 0)
        result = timed_fdatasync(log, log->file);
    if (result < 0) {
        log_fail(log, result);
        return false;
    }
    log->idle_since_us = OS.monotonic_us();
    durable_set(log, log->file_lsn, log->chain, 0);
    return true;
}

static void sync_ask_helper(struct log *log)
{
    int64_t put = pad_to_block(log);
    if (put < 0) {
        log_fail(log, put);
        return;
    }
    log->sync_lsn = log->file_lsn;
    log->sync_chain = log->chain;
    log->sync_file = log->file;
    log->sync_started_us = OS.monotonic_us();
    atomic_store(&log->sync_state, SYNC_ASKED);
    parking_wake(&log->helper_parking);
}

/* The helper's answer. A success counts even if the file has failed a write since. */
static void sync_collect(struct log *log)
{
    if (atomic_load(&log->sync_state) != SYNC_DONE)
        return;
    int64_t result = atomic_load(&log->sync_result);
    atomic_store(&log->sync_state, SYNC_IDLE);
    if (result < 0) {
        log_fail(log, result);
        return;
    }
    log->idle_since_us = OS.monotonic_us();
    durable_set(log, log->sync_lsn, log->sync_chain,
                log->file_lsn > log->sync_lsn ? log->sync_started_us : 0);
}

/* --- segments, failure, healing ------------------------------------------------- */

void log_limit_update(struct log *log)
{
    uint64_t ring = log->config.ring_size, budget = log->config.disk_budget, limit = ring;
    uint64_t disk = atomic_load(&log->files.disk_bytes);
    if (budget && disk > budget) { /* falls to a sixteenth at twice the budget */
        uint64_t over = disk - budget;
        limit = over >= budget ? 0 : ring / 1024 * ((budget - over) * 1024 / budget);
        if (limit < ring / 16)
            limit = ring / 16;
    }
    atomic_store(&log->credit_limit, limit);
}

static void plenty_ask(struct log *log)
{
    int64_t left = OS.disk_free(log->config.dir);
    log->left_bytes = left < 0 ? 0 : (uint64_t)left;
    log->has_plenty = left < 0 || (uint64_t)left >= PLENTY_BYTES + 2 * log->config.segment_size;
    log->plenty_us = OS.monotonic_us();
    log->plenty_bytes = atomic_load(&log->bytes_written);
}

static bool plenty_is_stale(const struct log *log)
{
    return !log->has_plenty || OS.monotonic_us() - log->plenty_us >= PLENTY_EVERY_US ||
           atomic_load(&log->bytes_written) - log->plenty_bytes >= PLENTY_EVERY_BYTES;
}

void log_room_update(struct log *log, bool ask)
{
    if (ask && plenty_is_stale(log))
        plenty_ask(log);
    uint64_t segment = log->config.segment_size, margin = segment / 4 < ROOM_MARGIN ? segment / 4 : ROOM_MARGIN;
    uint64_t room = 0, written = atomic_load(&log->bytes_written) - log->plenty_bytes;
    if (log->prepared && log->offset < log->segment_limit)
        room += log->segment_limit - log->offset;
    if (atomic_load(&log->files.spare_ready))
        room += segment - SEGMENT_BLOCK;
    else if (atomic_load(&log->files.fill_refused)) /* less than a segment is free: it is used as it stands */
        room += log->left_bytes > written ? log->left_bytes - written : 0;
    uint64_t lsn = log->has_plenty ? UINT64_MAX : log->file_lsn + (room > margin ? room - margin : 0);
    if (atomic_exchange(&log->room_lsn, lsn) < lsn)
        atomic_store(&log->notify, true);
}

/* The active segment would grow, and the disk may not let it: go on in the spare, whose blocks are there. */
static bool must_roll(const struct log *log)
{
    return !log->prepared && !log->has_plenty && atomic_load(&log->files.spare_ready);
}

static struct segment_header header_of(struct log *log, uint64_t number)
{
    return (struct segment_header){
        .log_id = log->config.log_id, .number = number, .first_lsn = log->file_lsn,
        .epoch_lsn = log->epoch_lsn, .time_ms = log->time_written,
        .epoch = atomic_load(&log->epoch), .chain = log->chain};
}

static void segment_adopt(struct log *log, const struct segment_new *fresh, uint64_t offset)
{
    if (log->file >= 0)
        OS.close(log->file);
    log->file = fresh->file;
    log->prepared = fresh->prepared;
    log->number = fresh->header.number;
    log->offset = offset;
    log->mark_lsn = fresh->header.first_lsn;
    log_limit_update(log);
}

/* Everything in the active segment is durable: its successor's header says so. */
int log_segment_open(struct log *log, uint64_t number)
{
    struct segment_header header = header_of(log, number);
    struct segment_new fresh;
    int result = segment_new_begin(&log->files, &header, &fresh);
    if (result == 0)
        result = segment_new_commit(&log->files, &fresh);
    if (result == 0)
        segment_adopt(log, &fresh, SEGMENT_BLOCK);
    return result;
}

static bool roll(struct log *log)
{
    if (log->file_lsn > atomic_load(&log->durable) && !sync_here(log))
        return false;
    int result = log_segment_open(log, log->number + 1);
    parking_wake(&log->helper_parking); /* prepare the next spare */
    if (result < 0)
        log_fail(log, result);
    return result == 0;
}

static void log_fail(struct log *log, int64_t error)
{
    bool full = error == -ENOSPC || error == -EDQUOT;
    counter_add_shared(&log->io_errors, 1);
    if (is_ok(log)) {
        segment_poison(&log->files);
        atomic_store(&log->failed_since_us, OS.monotonic_us());
        log->heal_delay_us = full ? FULL_DELAY_US : HEAL_DELAY_US;
    } else {
        log->heal_delay_us = full ? FULL_DELAY_US : log->heal_delay_us * 2;
        if (log->heal_delay_us > HEAL_DELAY_MAX_US)
            log->heal_delay_us = HEAL_DELAY_MAX_US;
    }
    log->heal_at_us = OS.monotonic_us() + log->heal_delay_us;
    atomic_store(&log->state, full ? LOG_FULL : LOG_BROKEN);
    atomic_store(&log->notify, true);
    parking_wake(&log->parking);
}

static void heal_failed(struct log *log, int64_t error)
{
    log->file_lsn = atomic_load(&log->durable);
    log_fail(log, error);
}

/* [durable, published) into a new segment of the next epoch, fsynced, and all is well again.
 * The state stays FULL or BROKEN until the end, so group_write's own log_fail is harmless. */
static void log_heal(struct log *log)
{
    if (atomic_load(&log->sync_state) != SYNC_IDLE)
        return; /* the helper still holds the old file; its answer wakes us */
    if (log->file >= 0)
        OS.close(log->file);
    log->file = -1;
    log->number++; /* never twice: the failed attempt may yet turn up on the disk */
    atomic_fetch_add(&log->epoch, 1);
    log->file_lsn = log->epoch_lsn = atomic_load(&log->durable);
    log->chain = log->durable_chain;
    struct segment_header header = header_of(log, log->number);
    struct segment_new fresh;
    int result = segment_new_begin(&log->files, &header, &fresh);
    if (result < 0) {
        heal_failed(log, result);
        return;
    }
    log->file = fresh.file;
    log->prepared = true; /* its size is noted at commit */
    log->offset = SEGMENT_BLOCK;
    enum write_result wrote;
    log->segment_limit = UINT64_MAX / 2; /* one segment, however long */
    do
        wrote = group_write(log, GROUP_BYTES_MAX);
    while (wrote == WRITE_DONE);
    log->segment_limit = log->config.segment_size;
    int64_t failed = wrote == WRITE_FAILED ? -EIO : pad_to_block(log);
    log->file = -1;
    if (failed < 0) {
        segment_new_abort(&log->files, &fresh);
        log->file_lsn = atomic_load(&log->durable);
        if (wrote != WRITE_FAILED)
            log_fail(log, failed);
        return;
    }
    counter_add_shared(&log->fsyncs, 1);
    result = segment_new_commit(&log->files, &fresh);
    if (result < 0) {
        heal_failed(log, result);
        return;
    }
    segment_adopt(log, &fresh, log->offset);
    segment_note_size(&log->files, log->offset);
    durable_set(log, log->file_lsn, log->chain, 0);
    atomic_store(&log->failed_since_us, 0);
    atomic_store(&log->state, LOG_OK);
    atomic_store(&log->notify, true);
}

/* An empty group that proclaims the durable lsn; on a block of its own, fsynced at once. */
static void mark_write(struct log *log, uint16_t flags)
{
    struct group g;
    group_begin(log, &g);
    g.header.flags = flags;
    int64_t put = group_put(log, &g, true);
    if (put >= 0)
        put = timed_fdatasync(log, log->file);
    if (put < 0)
        log_fail(log, put);
    else
        log->mark_lsn = atomic_load(&log->durable);
}

/* --- who is told, and what is due ------------------------------------------------- */

static void tell(struct log *log)
{
    if (!atomic_exchange(&log->notify, false))
        return;
    if (log->config.moved)
        log->config.moved(log->config.context);
    if (atomic_load(&log->waiters)) {
        os_mutex_lock(&log->wait_lock);
        os_cond_broadcast(&log->wait_moved);
        os_mutex_unlock(&log->wait_lock);
    }
}

/* INTERVAL: microseconds until the fsync is due, 0 if it is. */
static uint64_t sync_due_us(struct log *log)
{
    uint64_t since = atomic_load(&log->unsynced_us), now = OS.monotonic_us();
    uint64_t unsynced = log->file_lsn - atomic_load(&log->durable);
    uint64_t half = (uint64_t)atomic_load(&log->interval_ms) * 1000 / 2;
    if (log->want_sync || atomic_load(&log->starved) || unsynced >= log->config.ring_size / 2 ||
        unsynced >= log->config.interval_bytes / 2 || now >= since + half)
        return 0;
    return since + half - now;
}

/* INTERVAL: the log thread has to be woken, since it sleeps beyond the time of the next fsync. Caller holds the lock. */
static bool thread_sleeps_too_long(struct log *log)
{
    if (log->file_lsn == atomic_load(&log->durable))
        return false;
    uint64_t due = sync_due_us(log);
    return due == 0 || OS.monotonic_us() + due < log->thread_due_us;
}

/* --- workers -------------------------------------------------------------------- */

void log_write_inline(struct log *log)
{
    bool rest = false; /* something is left that only the log thread can do */
    atomic_store(&log->pending, true);
    for (int round = 0; !rest && round < INLINE_ROUNDS && atomic_load(&log->pending); round++) {
        if (!is_ok(log))
            return;
        if (atomic_load(&log->sync_state) != SYNC_IDLE)
            break;
        if (!os_mutex_try_lock(&log->writer))
            return; /* the holder looks at `pending` when it has unlocked */
        atomic_store(&log->pending, false);
        enum write_result result = !is_ok(log)       ? WRITE_NOTHING
                                   : must_roll(log) ? WRITE_NO_ROOM
                                                    : group_write(log, GROUP_BYTES_INLINE);
        log_room_update(log, false);
        if (result == WRITE_DONE || result == WRITE_NOTHING)
            written_update(log);
        rest = result == WRITE_NO_ROOM || result == WRITE_TOO_LARGE || atomic_load(&log->written) < log->file_lsn ||
               log->file_lsn < atomic_load(&log->tail) || thread_sleeps_too_long(log);
        os_mutex_unlock(&log->writer);
        atomic_thread_fence(memory_order_seq_cst);
    }
    if (rest || atomic_load(&log->pending))
        parking_wake(&log->parking);
    else
        tell(log);
}

/* --- the log thread ------------------------------------------------------------- */

static void write_all(struct log *log)
{
    uint64_t limit = atomic_load(&log->bytes_written) + BATCH_BYTES_MAX;
    bool grows = !log->prepared && atomic_load(&log->files.spare_ready);
    enum write_result result = WRITE_DONE;
    if (grows && (log->offset > SEGMENT_BLOCK || must_roll(log)) && atomic_load(&log->sync_state) == SYNC_IDLE &&
        log->file_lsn < atomic_load(&log->tail) && !roll(log))
        return;
    while (result == WRITE_DONE && atomic_load(&log->bytes_written) < limit) {
        result = group_write(log, GROUP_BYTES_MAX);
        if (result == WRITE_NO_ROOM && atomic_load(&log->sync_state) == SYNC_IDLE && roll(log))
            result = WRITE_DONE;
    }
}

static uint64_t earlier(uint64_t a, uint64_t b) { return a < b ? a : b; }

/* Makes durable what is due; returns how long the thread may sleep. */
static uint64_t sync_step(struct log *log)
{
    if (log->file_lsn == atomic_load(&log->durable)) {
        log->want_sync = false;
        uint64_t idle = OS.monotonic_us() - log->idle_since_us;
        if (log->mark_lsn == log->file_lsn)
            return IDLE_SLEEP_US;
        if (idle < MARK_DELAY_US)
            return MARK_DELAY_US - idle;
        mark_write(log, 0);
        return is_ok(log) ? IDLE_SLEEP_US : 0;
    }
    if (log->config.mode == DURABILITY_COMMIT) {
        written_set(log, log->file_lsn);
        sync_here(log);
        return 0; /* look at once for what came meanwhile */
    }
    written_update(log);
    if (atomic_load(&log->sync_state) != SYNC_IDLE)
        return IDLE_SLEEP_US;
    uint64_t due = sync_due_us(log);
    if (due)
        return due;
    log->want_sync = false;
    sync_ask_helper(log);
    return is_ok(log) ? IDLE_SLEEP_US : 0;
}

/* One turn; the lock is held inside only. */
static uint64_t log_step(struct log *log)
{
    uint64_t sleep = 0, now = OS.monotonic_us();
    os_mutex_lock(&log->writer);
    atomic_store(&log->pending, false);
    if (atomic_exchange(&log->sync_wanted, false)) /* before the write: covers what is published now */
        log->want_sync = true;
    sync_collect(log);
    if (!is_ok(log) && (now >= log->heal_at_us || atomic_load(&log->stop)))
        log_heal(log);
    if (is_ok(log)) {
        write_all(log);
        if (is_ok(log))
            sleep = sync_step(log);
    } else {
        sleep = log->heal_at_us > now ? log->heal_at_us - now : HEAL_DELAY_US;
    }
    log_room_update(log, true);
    log->thread_due_us = OS.monotonic_us() + sleep;
    os_mutex_unlock(&log->writer);
    atomic_thread_fence(memory_order_seq_cst);
    return atomic_load(&log->pending) && is_ok(log) ? 0 : sleep;
}

/* Everything published becomes durable, once more healing if need be; then the seal. */
static void log_finish(struct log *log)
{
    for (int tries = 0; tries < 4;) {
        atomic_store(&log->sync_wanted, true);
        log_step(log);
        tell(log);
        if (atomic_load(&log->sync_state) == SYNC_ASKED) {
            parking_sleep(&log->parking, MARK_DELAY_US);
            continue;
        }
        if (is_ok(log) && atomic_load(&log->durable) == atomic_load(&log->tail))
            break;
        tries += !is_ok(log) || log->file_lsn == atomic_load(&log->durable);
    }
    os_mutex_lock(&log->writer);
    if (is_ok(log) && atomic_load(&log->sync_state) == SYNC_IDLE)
        mark_write(log, GROUP_SEAL);
    os_mutex_unlock(&log->writer);
}

static void *log_thread_run(void *context)
{
    struct log *log = context;
    while (!atomic_load(&log->stop)) {
        uint64_t sleep = log_step(log);
        tell(log);
        if (sleep)
            parking_sleep(&log->parking, (uint32_t)earlier(sleep, IDLE_SLEEP_US));
    }
    log_finish(log);
    return NULL;
}

static void *log_helper_run(void *context)
{
    struct log *log = context;
    while (!atomic_load(&log->helper_stop)) {
        if (atomic_load(&log->sync_state) == SYNC_ASKED) {
            atomic_store(&log->sync_result, timed_fdatasync(log, log->sync_file));
            atomic_store(&log->sync_state, SYNC_DONE);
            parking_wake(&log->parking);
            continue;
        }
        bool had_spare = atomic_load(&log->files.spare_ready);
        int filled = segment_fill_step(&log->files);
        if ((!had_spare && atomic_load(&log->files.spare_ready)) || (filled < 0 && atomic_load(&log->files.fill_refused)))
            parking_wake(&log->parking); /* the room is another */
        if (filled <= 0)
            parking_sleep(&log->helper_parking, filled < 0 ? FILL_RETRY_US : IDLE_SLEEP_US);
    }
    return NULL;
}

void log_threads_start(struct log *log)
{
    log->idle_since_us = OS.monotonic_us();
    log->helper = thread_start("hf-log-helper", log_helper_run, log);
    log->thread = thread_start("hf-log", log_thread_run, log);
}

void log_threads_stop(struct log *log)
{
    atomic_store(&log->stop, true);
    parking_wake(&log->parking);
    thread_join(log->thread);
    atomic_store(&log->helper_stop, true);
    parking_wake(&log->helper_parking);
    thread_join(log->helper);
    if (log->file >= 0)
        OS.close(log->file);
}
