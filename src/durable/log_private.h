/* log_private.h -- what log.c (ring, credit, doors) and log_writer.c (files, threads) share.
 *
 * Always true, with the writer lock held:
 *   1. freed <= durable <= file_lsn <= tail, and while OK written <= file_lsn;
 *   2. ring bytes outside [freed, tail) are zero;
 *   3. credit outstanding, less what its holders have used, plus (tail - freed) fits the ring;
 *   4. what that credit may still append fits below room_lsn: the disk has room for it.
 *
 *           segment_failed                 segment_failed (EIO ...)
 *      OK ------------------> FULL     OK ------------------------> BROKEN
 *       ^   (ENOSPC, EDQUOT)    |       ^                              |
 *       +------- log_heal ------+       +---------- log_heal ----------+
 */
#ifndef HF_DURABLE_LOG_PRIVATE_H
#define HF_DURABLE_LOG_PRIVATE_H

#include "durable/segment_file.h"
#include "os/thread.h"

#define GROUP_BYTES_MAX (1u << 20)
#define GROUP_BYTES_INLINE (256u << 10) /* more is left to the log thread */
#define CACHE_LINE 64

_Static_assert(GROUP_BYTES_INLINE > 2 * RECORD_DIRECT_MAX, "a direct record fits an inline group");

/* An fdatasync asked of the helper; the log thread moves IDLE -> ASKED and DONE -> IDLE. */
enum sync_state { SYNC_IDLE, SYNC_ASKED, SYNC_DONE };

struct log {
    /* immutable after log_open */
    struct log_config config;
    uint8_t *ring;
    uint64_t ring_mask;
    struct segment_files files;
    os_thread thread, helper;

    /* any worker */
    _Alignas(CACHE_LINE) _Atomic uint64_t tail;
    _Alignas(CACHE_LINE) _Atomic uint64_t outstanding; /* ring bytes promised to batches */
    _Alignas(CACHE_LINE) _Atomic uint64_t freed; /* ring bytes below are zero and free */
    _Atomic uint64_t written, durable, time_ms, credit_limit;
    _Atomic uint64_t room_lsn;   /* UINT64_MAX while the disk has plenty of free space */
    _Atomic uint32_t epoch;
    _Atomic int state;
    _Atomic uint64_t failed_since_us; /* 0 while OK */
    _Atomic bool starved; /* someone was refused credit since the last call of moved() */
    _Alignas(CACHE_LINE) struct parking parking; /* of the log thread */
    _Atomic bool pending, sync_wanted, notify, stop;
    _Atomic int sync_state;
    _Atomic int64_t sync_result;
    _Atomic uint32_t interval_ms;
    _Atomic uint64_t indirect_live;   /* indirect records in the ring */
    _Atomic uint64_t indirect_extra;  /* what they take on disk beyond their share of the ring */
    _Atomic uint64_t unsynced_us;     /* when the oldest byte above durable was written; 0: none */

    /* the writer lock: workers only ever try it */
    _Alignas(CACHE_LINE) struct os_mutex writer;
    uint8_t *staging; /* one group and its padding */
    int file;         /* the active segment */
    bool prepared;    /* it is written up to its size already */
    uint64_t number, offset;
    uint64_t segment_limit; /* the size at which the next one is begun */
    uint64_t file_lsn;  /* everything below is in the file */
    uint64_t epoch_lsn; /* where this epoch began */
    uint32_t chain, durable_chain;
    uint64_t time_written;
    uint64_t sync_lsn, sync_started_us; /* what the running fdatasync covers */
    uint32_t sync_chain;
    int sync_file;
    uint64_t mark_lsn;      /* the durable lsn that the file itself proclaims */
    uint64_t idle_since_us; /* the last fsync or write */
    uint64_t thread_due_us; /* until when the log thread sleeps, if nobody wakes it */
    bool has_plenty;        /* of free disk space, when last asked */
    uint64_t left_bytes;    /* free then */
    uint64_t plenty_us, plenty_bytes; /* when that was: time, bytes_written */

    /* log thread */
    uint64_t heal_at_us, heal_delay_us;
    bool want_sync;

    struct parking helper_parking;
    _Atomic bool helper_stop;

    struct os_mutex wait_lock; /* log_wait_durable */
    struct os_cond wait_moved;
    _Atomic uint32_t waiters;

    /* counters */
    _Atomic uint64_t bytes_written, groups, fsyncs, records, fsync_us_last, fsync_us_max, io_errors;
};

/* log.c */
void log_ring_copy_out(const struct log *log, uint8_t *to, uint64_t lsn, uint64_t size);
void log_ring_free(struct log *log, uint64_t to_lsn); /* zeroes and gives back [freed, to_lsn) */
static inline _Atomic uint64_t *log_word(const struct log *log, uint64_t lsn)
{
    return (_Atomic uint64_t *)(void *)(log->ring + (lsn & log->ring_mask));
}

/* log_writer.c */
void log_write_inline(struct log *log);
int log_segment_open(struct log *log, uint64_t number); /* the first segment; -errno */
void log_threads_start(struct log *log);
void log_threads_stop(struct log *log);
void log_limit_update(struct log *log); /* disk budget */
void log_room_update(struct log *log, bool ask); /* room_lsn; ask: the system, if that was long ago. The writer lock is held */

#endif
