/* log.h -- the write-ahead log: one ordered stream of records for the process.
 *
 * A position (lsn) is a logical byte offset of the record stream. Records are
 * placed in a ring by the workers while they hold their stripe locks; a log thread
 * frames the published prefix into groups, writes and fsyncs them.
 *
 * Always true: durable_lsn <= written_lsn <= published prefix <= tail; bytes in the
 * ring are kept until durable. Positions never run backwards, across restarts too.
 *
 * A worker, per batch:    log_credit_take -> (locks) log_append ... (unlock) -> log_credit_return
 *                         at the end of the batch: log_kick.
 * Threads: log_append, credit, positions: any worker. Everything else: as stated.
 * Disk format: docs/format/log.md. Rules: R5 to R7, R14, R15 of the design.
 */
#ifndef HF_DURABLE_LOG_H
#define HF_DURABLE_LOG_H

#include "base/bytes.h"
#include "base/status.h"

#include <stdatomic.h>

struct log;

enum durability { DURABILITY_NONE = 0, DURABILITY_INTERVAL = 1, DURABILITY_COMMIT = 2 };

enum record_kind { RECORD_EFFECTS = 1, RECORD_DB_MAP = 2 }; /* on disk: never renumber */

#define RECORD_HEADER_SIZE 32u     /* room the caller leaves in front of the body */
#define RECORD_SIZE_MAX (1u << 30) /* header and body */
#define RECORD_DIRECT_MAX (64u << 10) /* larger ones are referenced from the ring and cost a header of lsn space */

struct log_config {
    const char *dir;
    uint64_t log_id;             /* random, kept in the data directory */
    enum durability mode;        /* of the server: INTERVAL or COMMIT */
    size_t ring_size;            /* power of two; default 8 MiB */
    uint64_t segment_size;       /* default 64 MiB */
    uint32_t interval_ms;        /* fsync window of `interval`; default 1000 */
    uint64_t interval_bytes;     /* and in bytes; default 64 MiB */
    uint64_t disk_budget;        /* bytes of log kept before credit shrinks; 0: no limit */
    /* Called after written_lsn or durable_lsn moved, or the state changed: by the log thread, or by the worker that has written
     * (inside log_kick). */
    void (*moved)(void *context);
    void *context;
};

/* FULL: the disk had no room for a write, or it has none left for what is not written yet. */
enum log_state { LOG_OK = 0, LOG_FULL = 1, LOG_BROKEN = 2 };

/* Where recovery ended; the writer starts here in a new epoch (docs/format/log.md). */
struct log_start { uint64_t lsn, epoch, segment; uint32_t chain; uint64_t time_ms; };

status log_open(const struct log_config *config, const struct log_start *start, struct log **out) HF_CHECK;
void log_close(struct log *log); /* writes and fsyncs everything published, then stops */

/* Bytes of ring that `bound` bytes of record will take at most. */
bool log_credit_take(struct log *log, size_t bound);   /* false: no room now; try again after moved() */
/* For a record that may be larger than RECORD_DIRECT_MAX, beside its credit: can the disk take it? Asks the system. */
bool log_disk_takes(struct log *log, uint64_t size);
void log_credit_return(struct log *log, size_t bound);
/* The caller holds this credit still, and may have appended what it was for: does it stand for as much once more? Writes nothing
 * that others read. False: return it and take anew. */
bool log_credit_renew(const struct log *log, size_t bound);

/* Reserves, copies and publishes one record under credit. `record` is header room and
 * body; the header is filled in here. The body's own CRC is computed before reserving.
 * time_ms: transaction time. Returns the position after the record: the lsn to wait for.
 * Caller holds the locks that order it. Cannot fail. */
uint64_t log_append(struct log *log, enum record_kind kind, uint16_t slot, uint64_t time_ms,
                    uint8_t *record, size_t size);
/* End of a batch. Interval mode: writes the published prefix inline when nobody else is
 * writing. Commit mode: wakes the log thread. */
void log_kick(struct log *log);
void log_sync_now(struct log *log); /* asks for an fsync without waiting for the interval */

/* Bytes of large records that are not durable yet, in copies beside the ring: a part of mem_in_use. */
uint64_t log_copies(const struct log *log);
uint64_t log_tail(const struct log *log);    /* next position to be reserved */
uint64_t log_written(const struct log *log); /* everything below is in the file (page cache) */
uint64_t log_durable(const struct log *log); /* everything below is on disk */
enum log_state log_state(const struct log *log);
/* Since when what is appended cannot be made durable (monotonic microseconds); 0: it can. */
uint64_t log_failed_since_us(const struct log *log);
/* Blocks the calling thread until durable_lsn >= lsn; for SAVE, shutdown, the library and tests. */
status log_wait_durable(struct log *log, uint64_t lsn) HF_CHECK;
/* The same for written_lsn: safe from a crash of the process. For the library in `interval`. */
status log_wait_written(struct log *log, uint64_t lsn) HF_CHECK;
uint64_t log_time_ms(const struct log *log); /* highest transaction time logged */

/* Segments wholly below lsn are recycled. Called when a snapshot is published. */
void log_trim(struct log *log, uint64_t below_lsn);
void log_set_interval(struct log *log, uint32_t interval_ms);

struct log_stats {
    uint64_t bytes_written, groups, fsyncs, records, disk_bytes, fsync_us_last, fsync_us_max;
    uint64_t durable_lag_ms, durable_lag_bytes, io_errors;
};
void log_stats(const struct log *log, struct log_stats *out);

/* Recovery: reads every verified record from lsn `from` up to the end, on `threads`
 * threads. each() is called on every thread for every record, in log order: it applies
 * the effects whose stripe belongs to that thread. Never writes, except to seal the
 * accepted tail into a new file (R6), which it does before it returns.
 * A torn tail beyond the durable end is normal; damage before it is HF_ERR_CORRUPT with
 * file, offset and record in `detail`. */
struct log_record { uint64_t lsn, next_lsn, epoch, time_ms; enum record_kind kind; uint16_t slot; bytes body; };
struct log_recover {
    const char *dir;
    uint64_t log_id;
    uint64_t from_lsn;
    int threads;
    status (*each)(void *context, int thread, const struct log_record *record);
    void (*progress)(void *context, uint64_t bytes_done, uint64_t bytes_total);
    /* Where the log ends, when bytes that make no group stand behind it; not called after a clean end. May be NULL. */
    void (*note)(void *context, const char *line);
    void *context;
};
status log_recover(const struct log_recover *how, struct log_start *start, char *detail, size_t detail_size) HF_CHECK;

#endif
