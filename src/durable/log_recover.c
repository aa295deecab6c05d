/* log_recover.c -- reads the log back on all threads, and seals what it accepted.
 *
 * Segment by segment: read (chunks on all threads), walk the group headers (one thread:
 * the chain is serial and short), verify the groups (all threads, any order), apply (all
 * threads at once, each walks every record in order). What ends the log and what is damage
 * is decided by segment_scan_is_damaged; docs/format/log.md has the rule.
 *
 * Never appends and never trusts the page cache: the accepted part that no fsync is known
 * to cover goes to a new segment, in the next epoch, fsynced before anyone is served.
 */
#include "durable/segment_file.h"

#include "base/memory.h"
#include "os/os.h"
#include "os/thread.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>

#define READ_CHUNK (4u << 20)
#define RECOVER_THREADS_MAX 256

struct found_segment {
    uint64_t number, size;
    struct segment_header header;
    const char *problem; /* the header is damaged */
};

struct recovery {
    const struct log_recover *how;
    char *detail;
    size_t detail_size;
    struct found_segment *segments;
    size_t count, first; /* reading begins at `first` */
    uint64_t bytes_done, bytes_total;
    uint64_t number_next; /* above every file of the directory, also those of another log */

    /* the segment at hand */
    int file;
    uint8_t *data;
    struct segment_scan scan;
    _Atomic uint64_t next; /* chunk or group to be taken by a thread */
    _Atomic int read_error;
    _Atomic bool abort;
    _Atomic uint64_t bad_group; /* the first one found so far */
    struct os_mutex bad_lock;
    uint64_t bad_offset, bad_lsn;
    const char *bad_problem;
    status results[RECOVER_THREADS_MAX];
};

/* --- all threads ------------------------------------------------------------------ */

struct task { struct recovery *r; void (*run)(struct recovery *r, int thread); int thread; };

static void *task_run(void *context)
{
    struct task *t = context;
    t->run(t->r, t->thread);
    return NULL;
}

static void on_all_threads(struct recovery *r, void (*run)(struct recovery *r, int thread))
{
    os_thread threads[RECOVER_THREADS_MAX];
    struct task tasks[RECOVER_THREADS_MAX];
    atomic_store(&r->next, 0);
    for (int i = 1; i < r->how->threads; i++) {
        tasks[i] = (struct task){r, run, i};
        threads[i] = thread_start("hf-recover", task_run, &tasks[i]);
    }
    run(r, 0);
    for (int i = 1; i < r->how->threads; i++)
        thread_join(threads[i]);
}

static void read_chunks(struct recovery *r, int thread)
{
    (void)thread;
    for (;;) {
        uint64_t at = atomic_fetch_add(&r->next, READ_CHUNK);
        if (at >= r->scan.size)
            return;
        uint64_t left = r->scan.size - at, size = left < READ_CHUNK ? left : READ_CHUNK;
        int64_t got = OS.pread(r->file, r->data + at, size, at);
        if (got >= 0 && (uint64_t)got < size)
            memset(r->data + at + got, 0, size - (uint64_t)got);
        if (got < 0)
            atomic_store(&r->read_error, (int)got);
    }
}

static void verify_groups(struct recovery *r, int thread)
{
    (void)thread;
    for (;;) {
        uint64_t i = atomic_fetch_add(&r->next, 1), offset = 0, lsn = 0;
        if (i >= r->scan.count || i > atomic_load(&r->bad_group))
            return;
        const char *problem = group_verify(r->data, &r->scan.groups[i], &offset, &lsn);
        if (!problem)
            continue;
        os_mutex_lock(&r->bad_lock);
        if (i < atomic_load(&r->bad_group)) {
            atomic_store(&r->bad_group, i);
            r->bad_offset = offset;
            r->bad_lsn = lsn;
            r->bad_problem = problem;
        }
        os_mutex_unlock(&r->bad_lock);
    }
}

static status apply_group(struct recovery *r, int thread, const struct segment_group *g)
{
    uint64_t offset = g->offset + GROUP_HEADER_SIZE, lsn = g->header.first_lsn;
    for (uint32_t n = 0; n < g->header.records; n++) {
        struct record_view v;
        const char *problem = record_decode(r->data + offset, r->scan.size - offset, lsn, &v);
        hf_assert(!problem); /* verified before */
        if (lsn >= r->how->from_lsn) {
            struct log_record record = {
                .lsn = lsn, .next_lsn = v.next_lsn, .epoch = v.epoch, .time_ms = v.time_ms,
                .kind = (enum record_kind)v.kind, .slot = v.slot, .body = v.body};
            status result = r->how->each(r->how->context, thread, &record);
            if (result != HF_OK)
                return result;
        }
        offset += v.disk_size;
        lsn = v.next_lsn;
    }
    return HF_OK;
}

static void apply_groups(struct recovery *r, int thread)
{
    for (size_t i = 0; i < r->scan.count && !atomic_load(&r->abort); i++) {
        r->results[thread] = apply_group(r, thread, &r->scan.groups[i]);
        if (r->results[thread] != HF_OK)
            atomic_store(&r->abort, true);
    }
}

/* --- finding the segments --------------------------------------------------------- */

static status damaged(struct recovery *r, uint64_t number, uint64_t offset, uint64_t lsn,
                      const char *problem)
{
    char path[SEGMENT_PATH_MAX];
    segment_path(path, r->how->dir, number);
    snprintf(r->detail, r->detail_size,
             "file %s, offset %" PRIu64 ", record at lsn %" PRIu64 ": %s", path, offset, lsn, problem);
    return HF_ERR_CORRUPT;
}

static status io_failed(struct recovery *r, const char *what, int64_t error)
{
    snprintf(r->detail, r->detail_size, "%s in %s: %s", what, r->how->dir, strerror((int)-error));
    return error == -ENOSPC || error == -EDQUOT ? HF_ERR_DISK_FULL : HF_ERR_IO;
}

static status segment_look(struct recovery *r, uint64_t number)
{
    char path[SEGMENT_PATH_MAX];
    uint8_t block[SEGMENT_BLOCK];
    struct found_segment s = {.number = number};
    segment_path(path, r->how->dir, number);
    int file = OS.open(path, O_RDONLY, 0);
    if (file < 0)
        return io_failed(r, "opening a log segment", file);
    int64_t got = OS.pread(file, block, sizeof(block), 0), size = OS.file_size(file);
    OS.close(file);
    if (got < 0 || size < 0)
        return io_failed(r, "reading a log segment", got < 0 ? got : size);
    s.size = (uint64_t)size;
    s.problem = segment_header_decode(block, (size_t)got, &s.header);
    if (!s.problem && s.header.log_id != r->how->log_id)
        return HF_OK; /* of another log */
    if (!s.problem && s.header.number != number)
        s.problem = "the segment carries another number than its name";
    r->segments[r->count++] = s;
    return HF_OK;
}

/* The last segment that begins at or below from_lsn; what stands before it is not needed. */
static status segments_order(struct recovery *r)
{
    bool found = false;
    for (size_t i = 0; i < r->count; i++) {
        if (!r->segments[i].problem && r->segments[i].header.first_lsn <= r->how->from_lsn) {
            r->first = i;
            found = true;
        }
    }
    for (size_t i = found ? r->first : 0; i < r->count; i++) {
        const struct found_segment *s = &r->segments[i];
        if (s->problem)
            return damaged(r, s->number, 0, s->header.first_lsn, s->problem);
        if (i > r->first && (s->header.first_lsn < s[-1].header.first_lsn ||
                             s->header.epoch < s[-1].header.epoch))
            return damaged(r, s->number, 0, s->header.first_lsn, "the segments are out of order");
        r->bytes_total += s->size;
    }
    if (r->count && !found)
        return damaged(r, r->segments[0].number, 0, r->how->from_lsn,
                       "the log begins above the position asked for; a segment is missing");
    return HF_OK;
}

static status segments_find(struct recovery *r)
{
    uint64_t *numbers = NULL;
    size_t count = 0;
    int listed = segment_numbers(r->how->dir, &numbers, &count);
    if (listed < 0)
        return io_failed(r, "listing the log's directory", listed);
    r->segments = mem_alloc((count + 1) * sizeof(*r->segments));
    status result = HF_OK;
    for (size_t i = 0; i < count && result == HF_OK; i++)
        result = segment_look(r, numbers[i]);
    r->number_next = count ? numbers[count - 1] + 1 : 1;
    mem_free(numbers);
    return result == HF_OK ? segments_order(r) : result;
}

/* --- one segment ------------------------------------------------------------------ */

static status segment_read(struct recovery *r, const struct found_segment *s)
{
    char path[SEGMENT_PATH_MAX];
    segment_path(path, r->how->dir, s->number);
    r->data = mem_try_alloc(s->size);
    if (!r->data)
        return HF_ERR_NO_MEMORY;
    r->scan = (struct segment_scan){.data = r->data, .size = s->size, .header = s->header};
    r->file = OS.open(path, O_RDONLY, 0);
    if (r->file < 0)
        return io_failed(r, "opening a log segment", r->file);
    atomic_store(&r->read_error, 0);
    on_all_threads(r, read_chunks);
    OS.close(r->file);
    int error = atomic_load(&r->read_error);
    return error ? io_failed(r, "reading a log segment", error) : HF_OK;
}

/* Walks, verifies, and decides where the segment ends. */
static status segment_check(struct recovery *r, const struct found_segment *s, const struct found_segment *next)
{
    uint64_t limit = next ? next->header.first_lsn : UINT64_MAX;
    segment_scan_run(&r->scan, limit);
    atomic_store(&r->bad_group, UINT64_MAX);
    r->bad_problem = NULL;
    on_all_threads(r, verify_groups);
    if (r->bad_problem)
        segment_scan_cut(&r->scan, (size_t)atomic_load(&r->bad_group), r->bad_problem);
    else
        r->bad_offset = segment_scan_next(&r->scan), r->bad_lsn = r->scan.end_lsn;
    const char *problem = r->scan.problem ? r->scan.problem : "a group is missing";
    if (!next)
        return segment_scan_is_damaged(&r->scan)
                   ? damaged(r, s->number, r->bad_offset, r->bad_lsn, problem) : HF_OK;
    if (r->scan.end_lsn < limit)
        return damaged(r, s->number, r->bad_offset, r->bad_lsn, problem);
    if (r->scan.end_lsn > limit || r->scan.end_chain != next->header.chain)
        return damaged(r, s->number, r->scan.end_offset, r->scan.end_lsn,
                       "the next segment does not continue this one");
    return HF_OK;
}

/* A seal with nothing but zeros up to its block's end. */
static bool ends_clean(const struct segment_scan *scan)
{
    return scan->count && scan->groups[scan->count - 1].header.flags & GROUP_SEAL &&
           segment_scan_next(scan) % SEGMENT_BLOCK == 0;
}

/* A torn tail is normal after a crash. But it may also be a flip in the last bytes of a log, so it is told where. */
static void tell_end(struct recovery *r, const struct found_segment *s)
{
    char path[SEGMENT_PATH_MAX], line[SEGMENT_PATH_MAX + 256];
    if (!r->scan.problem || !r->how->note || ends_clean(&r->scan))
        return;
    segment_path(path, r->how->dir, s->number);
    snprintf(line, sizeof(line), "The log ends in file %s, offset %" PRIu64 ", lsn %" PRIu64 ": %s. Nothing behind it was ever "
             "acknowledged as durable, as far as the log can tell.", path, r->bad_offset, r->bad_lsn, r->scan.problem);
    r->how->note(r->how->context, line);
}

static status segment_apply(struct recovery *r)
{
    for (int i = 0; i < r->how->threads; i++)
        r->results[i] = HF_OK;
    on_all_threads(r, apply_groups);
    for (int i = 0; i < r->how->threads; i++) {
        if (r->results[i] != HF_OK)
            return r->results[i];
    }
    return HF_OK;
}

static void start_note(struct recovery *r, struct log_start *start)
{
    const struct segment_scan *scan = &r->scan;
    start->lsn = scan->end_lsn;
    start->chain = scan->end_chain;
    start->epoch = scan->header.epoch + 1u;
    if (scan->header.time_ms > start->time_ms)
        start->time_ms = scan->header.time_ms;
    for (size_t i = 0; i < scan->count; i++) {
        if (scan->groups[i].header.time_ms > start->time_ms)
            start->time_ms = scan->groups[i].header.time_ms;
    }
}

/* --- sealing ---------------------------------------------------------------------- */

struct seal { struct segment_new fresh; uint64_t offset; struct group_header last; };

static int64_t seal_group(struct recovery *r, struct seal *seal, const struct segment_group *g)
{
    uint8_t block[SEGMENT_BLOCK] = {0};
    struct group_header h = g->header;
    h.segment = seal->fresh.header.number;
    h.epoch = seal->fresh.header.epoch;
    h.chain = seal->last.crc;
    h.durable_lsn = seal->fresh.header.first_lsn;
    group_header_encode(&h, block);
    int64_t put = OS.pwrite(seal->fresh.file, block, GROUP_HEADER_SIZE, seal->offset);
    seal->offset += GROUP_HEADER_SIZE;
    if (put >= 0)
        put = OS.pwrite(seal->fresh.file, r->data + g->offset + GROUP_HEADER_SIZE, h.disk_bytes, seal->offset);
    seal->offset += h.disk_bytes;
    seal->last = h;
    return put;
}

/* Zeros up to a block, and there an empty group that calls everything durable. */
static int64_t seal_end(struct seal *seal)
{
    uint8_t block[SEGMENT_BLOCK] = {0};
    uint64_t end = round_up(seal->offset, SEGMENT_BLOCK);
    int64_t put = OS.pwrite(seal->fresh.file, block, end - seal->offset, seal->offset);
    struct group_header h = {
        .log_id = seal->last.log_id, .segment = seal->last.segment, .epoch = seal->last.epoch,
        .chain = seal->last.crc, .first_lsn = seal->last.first_lsn + seal->last.lsn_bytes,
        .time_ms = seal->last.time_ms, .flags = GROUP_SEAL};
    h.durable_lsn = h.first_lsn;
    group_header_encode(&h, block);
    return put < 0 ? put : OS.pwrite(seal->fresh.file, block, sizeof(block), end);
}

/* Accepted groups of the last segment that no fsync is known to cover, into a new one. */
static status tail_seal(struct recovery *r, struct log_start *start)
{
    const struct segment_scan *scan = &r->scan;
    uint64_t mark = segment_scan_mark(scan);
    size_t i = 0;
    while (i < scan->count && scan->groups[i].header.first_lsn + scan->groups[i].header.lsn_bytes <= mark)
        i++;
    while (i < scan->count && scan->groups[i].header.records == 0)
        i++;
    if (i == scan->count)
        return HF_OK;
    const struct group_header *first = &scan->groups[i].header;
    struct segment_files files;
    int64_t done = segment_files_init(&files, r->how->dir, r->how->log_id, 0);
    if (done < 0)
        return io_failed(r, "sealing the end of the log", done);
    struct segment_header header = {
        .log_id = r->how->log_id, .number = start->segment, .first_lsn = first->first_lsn,
        .epoch_lsn = first->first_lsn, .time_ms = start->time_ms, .epoch = (uint32_t)start->epoch,
        .chain = first->chain};
    struct seal seal = {.offset = SEGMENT_BLOCK, .last = {.crc = first->chain}};
    done = segment_new_begin(&files, &header, &seal.fresh);
    if (done >= 0) {
        for (; i < scan->count && done >= 0; i++) {
            if (scan->groups[i].header.records)
                done = seal_group(r, &seal, &scan->groups[i]);
        }
        if (done >= 0)
            done = seal_end(&seal);
        if (done < 0) {
            segment_new_abort(&files, &seal.fresh);
        } else {
            done = segment_new_commit(&files, &seal.fresh);
            if (done == 0)
                OS.close(seal.fresh.file);
        }
    }
    segment_files_release(&files);
    if (done < 0)
        return io_failed(r, "sealing the end of the log", done);
    start->chain = seal.last.crc;
    start->segment++;
    start->epoch++;
    return HF_OK;
}

/* --- the door --------------------------------------------------------------------- */

static status recover_all(struct recovery *r, struct log_start *start)
{
    status result = segments_find(r);
    start->segment = r->number_next;
    for (size_t i = r->first; i < r->count && result == HF_OK; i++) {
        const struct found_segment *s = &r->segments[i], *next = i + 1 < r->count ? s + 1 : NULL;
        result = segment_read(r, s);
        if (result == HF_OK)
            result = segment_check(r, s, next);
        if (result == HF_OK)
            result = segment_apply(r);
        if (result == HF_OK) {
            start_note(r, start);
            if (!next) {
                tell_end(r, s);
                result = tail_seal(r, start);
            }
        }
        segment_scan_release(&r->scan);
        mem_free(r->data);
        r->data = NULL;
        r->bytes_done += s->size;
        if (r->how->progress)
            r->how->progress(r->how->context, r->bytes_done, r->bytes_total);
    }
    return result;
}

status log_recover(const struct log_recover *how, struct log_start *start, char *detail, size_t detail_size)
{
    hf_assert(how->threads >= 1 && how->threads <= RECOVER_THREADS_MAX);
    struct recovery *r = mem_zalloc(sizeof(*r));
    struct log_start end = {.epoch = 1};
    r->how = how;
    r->detail = detail;
    r->detail_size = detail_size;
    os_mutex_init(&r->bad_lock);
    status result = recover_all(r, &end);
    if (result == HF_OK && end.lsn < how->from_lsn) {
        snprintf(detail, detail_size, "the log in %s ends at lsn %" PRIu64 ", below %" PRIu64
                 " which was asked for", how->dir, end.lsn, how->from_lsn);
        result = HF_ERR_CORRUPT;
    }
    if (result == HF_OK)
        *start = end;
    os_mutex_release(&r->bad_lock);
    mem_free(r->segments);
    mem_free(r);
    return result;
}
