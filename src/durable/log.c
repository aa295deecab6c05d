/* log.c -- the ring: credit, append, positions; and the doors of log.h.
 *
 * A slot of the ring begins with the record's first eight bytes (size, kind, flags, slot),
 * the ready word. It is stored last, with release; 0 means "reserved, not published yet".
 * Records hold hostile bytes, so a ring range is zeroed before it is given back as credit.
 * Positions are multiples of 8: the ready word never splits at the end of the ring, the
 * rest of a record is copied in up to two parts.
 *
 * Why a late reserver may use bytes freed after it took credit: the chain of
 * read-modify-writes on `tail` carries the acquire of whoever saw the freed bytes first.
 *
 * Credit also stands for disk: only what is prepared (the rest of the active segment, the spare) counts, or what
 * is free when that is too little to prepare, unless the file system has plenty; so a full disk is met before a command
 * runs, not after.
 *
 * Credit is charged at a quarter more than asked: a record of 33 bytes takes 40, and a
 * batch's bound does not say into how many records it falls. Bounds above half the
 * ring cost half the ring; large records take 40 bytes then, and medium ones
 * go the same way when the ring is nearly full, so that the ring cannot overflow.
 */
#include "durable/log_private.h"

#include "base/crc.h"
#include "base/memory.h"
#include "base/wire.h"
#include "os/os.h"

#include <errno.h>

#define RING_SIZE_MIN (64u << 10)
#define INDIRECT_WHEN_TIGHT 1024u /* records from this size leave a nearly full ring alone */
#define WAIT_FAILED_MAX_US 5000000u
#define WAIT_LOOK_US 50000u
#define COPIES_MAX_RINGS 8u /* as large as so many rings may the copies of large records be, and one more of any size */
#define CREDIT_COST_MAX (2 * RECORD_DIRECT_MAX) /* of one command; above what credit_cost says of any */

static uint64_t credit_cost(const struct log *log, size_t bound)
{
    uint64_t half = log->config.ring_size / 2, cost = bound + bound / 4 + 8;
    return bound > half || cost > half ? half : cost;
}

/* The position at which the disk would stand if everything appended were written in full. */
static uint64_t room_taken(const struct log *log)
{
    return atomic_load(&log->tail) + atomic_load_explicit(&log->indirect_extra, memory_order_relaxed);
}

uint64_t log_copies(const struct log *log) { return atomic_load_explicit(&log->indirect_extra, memory_order_relaxed); }

static bool credit_fits(const struct log *log, uint64_t others, uint64_t cost)
{
    if (HF_UNLIKELY(log_copies(log) > COPIES_MAX_RINGS * log->config.ring_size))
        return false;
    uint64_t used = others + atomic_load(&log->tail) - atomic_load(&log->freed);
    if (HF_UNLIKELY(others + room_taken(log) + cost > atomic_load_explicit(&log->room_lsn, memory_order_relaxed)))
        return false;
    return used + cost <= (used ? atomic_load(&log->credit_limit) : log->config.ring_size);
}

static void credit_give(struct log *log, uint64_t cost)
{
    atomic_fetch_sub(&log->outstanding, cost);
    if (HF_UNLIKELY(atomic_load(&log->starved)) && atomic_exchange(&log->starved, false)) {
        atomic_store(&log->notify, true);
        parking_wake(&log->parking);
    }
}

/* What counts is the look after the exchange: whoever returned credit before it has moved
 * the tail already, whoever takes after it sees ours. (Looking only before would let a
 * batch take, append and return between the look and the exchange, unnoticed.) The look
 * before refuses without touching anything. */
static bool credit_try(struct log *log, uint64_t cost)
{
    uint64_t others = atomic_load(&log->outstanding);
    while (credit_fits(log, others, cost)) {
        if (!atomic_compare_exchange_weak(&log->outstanding, &others, others + cost))
            continue;
        if (HF_LIKELY(credit_fits(log, others, cost)))
            return true;
        credit_give(log, cost);
        others = atomic_load(&log->outstanding);
    }
    return false;
}

bool log_credit_take(struct log *log, size_t bound)
{
    if (HF_UNLIKELY(atomic_load_explicit(&log->state, memory_order_relaxed) != LOG_OK))
        return false;
    uint64_t cost = credit_cost(log, bound);
    if (HF_LIKELY(credit_try(log, cost)))
        return true;
    atomic_store(&log->starved, true); /* before the second look: else the news could pass between */
    if (credit_try(log, cost))
        return true;
    parking_wake(&log->parking);
    return false;
}

bool log_disk_takes(struct log *log, uint64_t size)
{
    int64_t left = OS.disk_free(log->config.dir);
    uint64_t prepared = atomic_load(&log->files.spare_ready) ? log->config.segment_size : 0;
    return left < 0 || (uint64_t)left + prepared >= size + log->config.segment_size;
}

void log_credit_return(struct log *log, size_t bound)
{
    credit_give(log, credit_cost(log, bound));
}

/* Ours is part of `outstanding` all the time, so whoever takes credit counts it, beside what we have appended; and we count
 * theirs, or they look after we have. */
bool log_credit_renew(const struct log *log, size_t bound)
{
    uint64_t cost = credit_cost(log, bound);
    return atomic_load_explicit(&log->state, memory_order_relaxed) == LOG_OK &&
           credit_fits(log, atomic_load(&log->outstanding) - cost, cost);
}

static void ring_copy_in(struct log *log, uint64_t lsn, const uint8_t *from, size_t size)
{
    uint64_t at = lsn & log->ring_mask, first = log->config.ring_size - at;
    if (HF_LIKELY(size <= first)) {
        memcpy(log->ring + at, from, size);
    } else {
        memcpy(log->ring + at, from, first);
        memcpy(log->ring, from + first, size - first);
    }
}

void log_ring_copy_out(const struct log *log, uint8_t *to, uint64_t lsn, uint64_t size)
{
    uint64_t at = lsn & log->ring_mask, first = log->config.ring_size - at;
    if (first > size)
        first = size;
    memcpy(to, log->ring + at, first);
    memcpy(to + first, log->ring, size - first);
}

/* A copy is counted as in use before it counts as a copy, and after: so what is in use without them is never thought too little. */
static void indirect_free(struct log *log, uint64_t from, uint64_t to)
{
    uint64_t freed = 0;
    while (from < to) {
        uint64_t word = atomic_load_explicit(log_word(log, from), memory_order_acquire);
        if (word == 0)
            break;
        if ((word >> 40 & RECORD_INDIRECT) == 0) {
            from += round_up((uint32_t)word, 8);
            continue;
        }
        uint8_t *copy;
        log_ring_copy_out(log, (uint8_t *)&copy, from + RECORD_HEADER_SIZE, sizeof(copy));
        mem_free(copy);
        freed += round_up((uint32_t)word, 8) - RECORD_INDIRECT_SPACE;
        atomic_fetch_sub(&log->indirect_live, 1);
        from += RECORD_INDIRECT_SPACE;
    }
    mem_tell();
    atomic_fetch_sub(&log->indirect_extra, freed);
}

void log_ring_free(struct log *log, uint64_t to_lsn)
{
    uint64_t from = atomic_load(&log->freed), size = to_lsn - from;
    if (atomic_load(&log->indirect_live))
        indirect_free(log, from, to_lsn);
    uint64_t at = from & log->ring_mask, first = log->config.ring_size - at;
    if (first > size)
        first = size;
    memset(log->ring + at, 0, first);
    memset(log->ring, 0, size - first);
    atomic_store(&log->freed, to_lsn);
}

static void time_raise(struct log *log, uint64_t time_ms)
{
    uint64_t highest = atomic_load_explicit(&log->time_ms, memory_order_relaxed);
    while (time_ms > highest && !atomic_compare_exchange_weak(&log->time_ms, &highest, time_ms)) {
    }
}

static bool goes_indirect(const struct log *log, size_t size)
{
    if (HF_LIKELY(size < INDIRECT_WHEN_TIGHT))
        return false;
    uint64_t used = atomic_load(&log->tail) - atomic_load(&log->freed);
    return size > RECORD_DIRECT_MAX || used + size > log->config.ring_size / 8 * 7;
}

uint64_t log_append(struct log *log, enum record_kind kind, uint16_t slot, uint64_t time_ms,
                    uint8_t *record, size_t size)
{
    hf_assert(size >= RECORD_HEADER_SIZE && size <= RECORD_SIZE_MAX && kind != 0);
    bool indirect = goes_indirect(log, size);
    uint64_t padded = round_up(size, 8), space = indirect ? RECORD_INDIRECT_SPACE : padded;
    uint64_t word = size | (uint64_t)kind << 32 | (indirect ? (uint64_t)RECORD_INDIRECT << 40 : 0) |
                    (uint64_t)slot << 48;
    put_u64(record, word);
    put_u64(record + 8, time_ms);
    put_u32(record + 16, atomic_load_explicit(&log->epoch, memory_order_relaxed));
    uint32_t crc = record_crc_before_lsn(log->config.log_id, record, record + RECORD_HEADER_SIZE,
                                         size - RECORD_HEADER_SIZE);
    uint8_t *copy = NULL;
    if (HF_UNLIKELY(indirect)) {
        copy = mem_alloc(padded);
        memset(copy + padded - 8, 0, 8);
        memcpy(copy, record, size);
        mem_tell();
        atomic_fetch_add(&log->indirect_live, 1);
        atomic_fetch_add(&log->indirect_extra, padded - RECORD_INDIRECT_SPACE);
    }
    time_raise(log, time_ms);

    os_sched_point(SCHED_RESERVE);
    uint64_t lsn = atomic_fetch_add_explicit(&log->tail, space, memory_order_acq_rel);
    hf_assert(lsn + space - atomic_load_explicit(&log->freed, memory_order_acquire) <=
              log->config.ring_size); /* appended without credit */
    put_u32(record + 20, record_crc_with_lsn(crc, lsn));
    put_u64(record + 24, lsn);
    if (os_bug(BUG_PUBLISH_FIRST))
        atomic_store_explicit(log_word(log, lsn), word, memory_order_release);
    os_sched_point(SCHED_PUBLISH);
    if (HF_UNLIKELY(indirect)) {
        memcpy(copy, record, RECORD_HEADER_SIZE);
        ring_copy_in(log, lsn + 8, record + 8, RECORD_HEADER_SIZE - 8);
        ring_copy_in(log, lsn + RECORD_HEADER_SIZE, (const uint8_t *)&copy, sizeof(copy));
    } else {
        ring_copy_in(log, lsn + 8, record + 8, size - 8);
    }
    os_sched_point(SCHED_PUBLISH);
    atomic_store_explicit(log_word(log, lsn), word, memory_order_release);
    return lsn + space;
}

void log_kick(struct log *log)
{
    uint64_t tail = atomic_load_explicit(&log->tail, memory_order_relaxed);
    if (tail == atomic_load_explicit(&log->written, memory_order_relaxed))
        return;
    os_sched_point(SCHED_WAKE);
    if (log->config.mode == DURABILITY_INTERVAL)
        log_write_inline(log);
    else
        parking_wake(&log->parking);
}

void log_sync_now(struct log *log)
{
    atomic_store(&log->sync_wanted, true);
    parking_wake(&log->parking);
}

uint64_t log_tail(const struct log *log) { return atomic_load(&log->tail); }
uint64_t log_written(const struct log *log) { return atomic_load_explicit(&log->written, memory_order_acquire); }
uint64_t log_durable(const struct log *log) { return atomic_load_explicit(&log->durable, memory_order_acquire); }

/* No room is left, and none can be prepared. */
static bool is_out_of_room(const struct log *log)
{
    return room_taken(log) + CREDIT_COST_MAX > atomic_load(&log->room_lsn) && atomic_load(&log->files.fill_refused);
}

enum log_state log_state(const struct log *log)
{
    enum log_state state = (enum log_state)atomic_load(&log->state);
    return state == LOG_OK && HF_UNLIKELY(is_out_of_room(log)) ? LOG_FULL : state;
}

uint64_t log_time_ms(const struct log *log) { return atomic_load(&log->time_ms); }

uint64_t log_failed_since_us(const struct log *log)
{
    return atomic_load_explicit(&log->failed_since_us, memory_order_relaxed);
}

/* A failed log heals by itself within a second as a rule; after five the caller hears of it. */
static status wait_for(struct log *log, uint64_t (*position)(const struct log *), uint64_t lsn, bool sync)
{
    uint64_t failed_since = 0;
    status result = HF_OK;
    atomic_fetch_add(&log->waiters, 1);
    os_mutex_lock(&log->wait_lock);
    while (position(log) < lsn) {
        enum log_state state = log_state(log);
        uint64_t now = OS.monotonic_us();
        if (state == LOG_OK)
            failed_since = 0;
        else if (failed_since == 0)
            failed_since = now;
        else if (now - failed_since > WAIT_FAILED_MAX_US) {
            result = state == LOG_FULL ? HF_ERR_DISK_FULL : HF_ERR_LOG_BROKEN;
            break;
        }
        if (sync)
            log_sync_now(log);
        os_cond_wait_us(&log->wait_moved, &log->wait_lock, WAIT_LOOK_US);
    }
    os_mutex_unlock(&log->wait_lock);
    atomic_fetch_sub(&log->waiters, 1);
    return result;
}

status log_wait_durable(struct log *log, uint64_t lsn)
{
    return wait_for(log, log_durable, lsn, true);
}

status log_wait_written(struct log *log, uint64_t lsn)
{
    return log_written(log) >= lsn ? HF_OK : wait_for(log, log_written, lsn, false);
}

void log_trim(struct log *log, uint64_t below_lsn)
{
    segment_trim(&log->files, below_lsn);
    log_limit_update(log);
    atomic_store(&log->notify, true);
    parking_wake(&log->parking);
}

void log_set_interval(struct log *log, uint32_t interval_ms)
{
    atomic_store(&log->interval_ms, interval_ms);
    parking_wake(&log->parking);
}

void log_stats(const struct log *log, struct log_stats *out)
{
    uint64_t now = OS.monotonic_us(), since = atomic_load(&log->unsynced_us);
    uint64_t durable = log_durable(log), tail = log_tail(log);
    *out = (struct log_stats){
        .bytes_written = atomic_load(&log->bytes_written), .groups = atomic_load(&log->groups),
        .fsyncs = atomic_load(&log->fsyncs), .records = atomic_load(&log->records),
        .disk_bytes = atomic_load(&log->files.disk_bytes),
        .fsync_us_last = atomic_load(&log->fsync_us_last),
        .fsync_us_max = atomic_load(&log->fsync_us_max),
        .durable_lag_ms = since && now > since ? (now - since) / 1000 : 0,
        .durable_lag_bytes = tail - durable, .io_errors = atomic_load(&log->io_errors)};
}

static void log_release(struct log *log)
{
    indirect_free(log, atomic_load(&log->freed), atomic_load(&log->tail)); /* of a log closed broken */
    mem_unmap(log->ring, log->config.ring_size);
    mem_free(log->staging);
    os_mutex_release(&log->writer);
    os_mutex_release(&log->wait_lock);
    os_cond_release(&log->wait_moved);
    mem_free((void *)log->config.dir);
    mem_free(log);
}

static bool config_is_valid(const struct log_config *c, const struct log_start *start)
{
    return c->ring_size >= RING_SIZE_MIN && (c->ring_size & (c->ring_size - 1)) == 0 &&
           c->segment_size >= 2 * SEGMENT_BLOCK && c->segment_size % SEGMENT_BLOCK == 0 &&
           c->mode != DURABILITY_NONE && start->lsn % 8 == 0 && start->epoch > 0 &&
           start->epoch < UINT32_MAX;
}

static struct log *log_new(const struct log_config *config, const struct log_start *start)
{
    struct log *log = mem_alloc_aligned(CACHE_LINE, sizeof(*log));
    memset(log, 0, sizeof(*log));
    log->config = *config;
    log->config.dir = mem_strdup(config->dir);
    log->ring_mask = config->ring_size - 1;
    log->ring = mem_map(config->ring_size);
    log->staging = mem_alloc_aligned(SEGMENT_BLOCK, GROUP_BYTES_MAX + 2 * SEGMENT_BLOCK);
    os_mutex_init(&log->writer);
    os_mutex_init(&log->wait_lock);
    os_cond_init(&log->wait_moved);
    log->tail = log->freed = log->written = log->durable = start->lsn;
    log->file_lsn = log->epoch_lsn = log->mark_lsn = start->lsn;
    log->chain = log->durable_chain = start->chain;
    log->time_ms = log->time_written = start->time_ms;
    log->epoch = (uint32_t)start->epoch;
    log->interval_ms = config->interval_ms;
    log->credit_limit = config->ring_size;
    log->room_lsn = start->lsn;
    log->segment_limit = config->segment_size;
    log->file = -1;
    return log;
}

status log_open(const struct log_config *config, const struct log_start *start, struct log **out)
{
    struct log_config c = *config;
    if (c.ring_size == 0)
        c.ring_size = 8u << 20;
    if (c.segment_size == 0)
        c.segment_size = 64u << 20;
    if (c.interval_bytes == 0)
        c.interval_bytes = 64u << 20;
    if (!config_is_valid(&c, start))
        return HF_ERR_INVALID;
    struct log *log = log_new(&c, start);
    int result = segment_files_init(&log->files, c.dir, c.log_id, c.segment_size);
    if (result == 0) {
        result = log_segment_open(log, start->segment);
        if (result < 0)
            segment_files_release(&log->files);
    }
    if (result < 0) {
        log_release(log);
        return result == -ENOSPC || result == -EDQUOT ? HF_ERR_DISK_FULL : HF_ERR_IO;
    }
    log_limit_update(log);
    log_room_update(log, true);
    log_threads_start(log);
    *out = log;
    return HF_OK;
}

void log_close(struct log *log)
{
    log_threads_stop(log);
    segment_files_release(&log->files);
    log_release(log);
}
