/* test_log.c -- src/durable/log.h against real files, failing disks and flipped bits.
 *
 * Every record's body is derived from (thread, sequence), so recovery can tell that each
 * thread's records came back whole, in order, none twice. Disks fail through a copy of
 * os_kernel with a call replaced.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/memory.h"
#include "base/wire.h"
#include "durable/segment_file.h"
#include "os/os.h"
#include "os/thread.h"
#include "../support/stride.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOG_ID 0x1122334455667788u
#define WRITERS_MAX 8

/* --- a directory of its own for each test ------------------------------------------ */

static char dir[64];

static void file_path(char out[SEGMENT_PATH_MAX], const char *name)
{
    snprintf(out, SEGMENT_PATH_MAX, "%s/%s", dir, name);
}

static void remove_one(void *context, const char *name)
{
    (void)context;
    char path[SEGMENT_PATH_MAX];
    file_path(path, name);
    unlink(path);
}

static void dir_clean(void) { os_kernel.list_dir(dir, remove_one, NULL); }

static int setup(void **state)
{
    (void)state;
    strcpy(dir, "/tmp/hf-test-log-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    os_current = &os_kernel;
    dir_clean();
    return rmdir(dir);
}

/* --- writing and reading back ------------------------------------------------------ */

static _Atomic int moved_count;

static void moved(void *context)
{
    (void)context;
    atomic_fetch_add(&moved_count, 1);
}

static struct log_config config_of(enum durability mode)
{
    return (struct log_config){
        .dir = dir, .log_id = LOG_ID, .mode = mode, .ring_size = 64u << 10, .segment_size = 1u << 20,
        .interval_ms = 50, .moved = moved};
}

static struct log *open_at(const struct log_config *config, const struct log_start *start)
{
    struct log *log = NULL;
    assert_int_equal(log_open(config, start, &log), HF_OK);
    return log;
}

static const struct log_start birth = {.epoch = 1, .segment = 1};

static void body_fill(uint8_t *body, size_t size, uint32_t thread, uint32_t sequence)
{
    put_u32(body, thread);
    put_u32(body + 4, sequence);
    for (size_t i = 8; i < size; i++)
        body[i] = (uint8_t)(thread * 31 + sequence * 7 + i);
}

static size_t size_of(uint32_t thread, uint32_t sequence)
{
    return 8 + (thread * 977 + sequence * 131) % 700;
}

static uint64_t append(struct log *log, uint32_t thread, uint32_t sequence, size_t body_size)
{
    size_t size = RECORD_HEADER_SIZE + body_size;
    uint8_t *record = mem_alloc(size);
    body_fill(record + RECORD_HEADER_SIZE, body_size, thread, sequence);
    while (!log_credit_take(log, size))
        usleep(100);
    uint64_t end = log_append(log, RECORD_EFFECTS, (uint16_t)(sequence & 0x3fff), 1000 + sequence, record, size);
    log_credit_return(log, size);
    log_kick(log);
    mem_free(record);
    return end;
}

/* What recovery saw, on one of its threads. */
struct seen {
    uint32_t next[WRITERS_MAX];
    uint64_t lsn, records, bad;
};
static struct seen seen[4];

static status see(void *context, int thread, const struct log_record *record)
{
    size_t (*size)(uint32_t, uint32_t) = context;
    struct seen *s = &seen[thread];
    uint8_t *expected = mem_alloc(record->body.size);
    uint32_t writer = get_u32(record->body.data), sequence = get_u32(record->body.data + 4);
    body_fill(expected, record->body.size, writer, sequence);
    if (writer >= WRITERS_MAX || sequence != s->next[writer] || record->kind != RECORD_EFFECTS ||
        memcmp(expected, record->body.data, record->body.size) != 0 || record->lsn < s->lsn ||
        record->time_ms != 1000 + sequence || (size && record->body.size != size(writer, sequence)))
        s->bad++;
    else
        s->next[writer]++;
    s->lsn = record->next_lsn;
    s->records++;
    mem_free(expected);
    return HF_OK;
}

static char detail[512];

static status recover(struct log_start *start, size_t (*size)(uint32_t, uint32_t))
{
    memset(seen, 0, sizeof(seen));
    detail[0] = 0;
    struct log_recover how = {.dir = dir, .log_id = LOG_ID, .threads = 3, .each = see, .context = (void *)size};
    status result = log_recover(&how, start, detail, sizeof(detail));
    for (int i = 1; result == HF_OK && i < how.threads; i++)
        assert_memory_equal(&seen[0], &seen[i], sizeof(seen[0]));
    return result;
}

static struct log_start recover_well(uint64_t records, size_t (*size)(uint32_t, uint32_t))
{
    struct log_start start;
    status result = recover(&start, size);
    if (result != HF_OK)
        fail_msg("recovery: %s", detail);
    assert_int_equal(seen[0].bad, 0);
    assert_int_equal(seen[0].records, records);
    return start;
}

/* --- tests ------------------------------------------------------------------------- */

struct writer { struct log *log; uint32_t thread, from, to; };

static void *writer_run(void *context)
{
    struct writer *w = context;
    for (uint32_t i = w->from; i < w->to; i++)
        append(w->log, w->thread, i, size_of(w->thread, i));
    return NULL;
}

/* Several writers, a 64 KiB ring that wraps hundreds of times, several segments, restarts. */
static void comes_back_whole(enum durability mode)
{
    enum { WRITERS = 4, RECORDS = 4000, ROUNDS = 3 };
    struct log_start start = birth;
    struct log_config config = config_of(mode);
    for (uint32_t round = 0; round < ROUNDS; round++) {
        struct log *log = open_at(&config, &start);
        struct writer writers[WRITERS];
        pthread_t threads[WRITERS];
        for (uint32_t i = 0; i < WRITERS; i++) {
            writers[i] = (struct writer){log, i, round * RECORDS, (round + 1) * RECORDS};
            threads[i] = thread_start("writer", writer_run, &writers[i]);
        }
        for (int i = 0; i < WRITERS; i++)
            pthread_join(threads[i], NULL);
        assert_int_equal(log_wait_durable(log, log_tail(log)), HF_OK);
        assert_int_equal(log_durable(log), log_tail(log));
        assert_int_equal(log_written(log), log_tail(log));
        assert_int_equal(log_time_ms(log), 1000 + (round + 1) * RECORDS - 1);
        uint64_t tail = log_tail(log), epoch = start.epoch;
        log_close(log);
        start = recover_well(WRITERS * RECORDS * (round + 1), size_of);
        assert_int_equal(start.lsn, tail);
        assert_int_equal(start.epoch, epoch + 1); /* sealed: nothing to copy */
        assert_int_equal(start.time_ms, 1000 + (round + 1) * RECORDS - 1);
    }
}

static void test_commit_comes_back_whole(void **state) { (void)state; comes_back_whole(DURABILITY_COMMIT); }
static void test_interval_comes_back_whole(void **state) { (void)state; comes_back_whole(DURABILITY_INTERVAL); }

static size_t large_size(uint32_t thread, uint32_t sequence)
{
    static const size_t sizes[] = {65504, 65505, 8, 1000, 300000, 65536, 3000000, 9, 1500000, 65503};
    (void)thread;
    return sizes[sequence % 10];
}

static void test_large_records(void **state)
{
    (void)state;
    for (int mode = DURABILITY_INTERVAL; mode <= DURABILITY_COMMIT; mode++) {
        struct log_config config = config_of((enum durability)mode);
        config.ring_size = 256u << 10;
        struct log *log = open_at(&config, &birth);
        uint64_t end = 0;
        for (uint32_t i = 0; i < 30; i++)
            end = append(log, 0, i, large_size(0, i));
        assert_int_equal(log_wait_durable(log, end), HF_OK);
        log_close(log);
        recover_well(30, large_size);
        dir_clean();
    }
}

static void test_refused_when_full_of_credit(void **state)
{
    (void)state;
    struct log_config config = config_of(DURABILITY_COMMIT);
    struct log *log = open_at(&config, &birth);
    assert_true(log_credit_take(log, 20000));
    assert_true(log_credit_take(log, 20000));
    assert_false(log_credit_take(log, 20000));
    assert_true(log_credit_renew(log, 20000)); /* what is held is counted once */
    int before = atomic_load(&moved_count);
    log_credit_return(log, 20000);
    for (int i = 0; i < 1000 && atomic_load(&moved_count) == before; i++)
        usleep(1000);
    assert_true(atomic_load(&moved_count) > before); /* who was refused hears of it */
    assert_true(log_credit_take(log, 20000));
    log_credit_return(log, 20000);
    log_credit_return(log, 20000);
    assert_true(log_credit_take(log, 1u << 30)); /* any record may be logged alone */
    log_credit_return(log, 1u << 30);
    log_close(log);
}

static struct os slow;
static _Atomic bool disk_hangs;

static int sync_late(int file)
{
    while (atomic_load(&disk_hangs))
        usleep(1000);
    return os_kernel.fdatasync(file);
}

/* Memory: while nothing gets durable, large records, which stand beside the ring, are refused at last, and then small ones, too. */
static void test_copies_are_limited(void **state)
{
    (void)state;
    slow = os_kernel;
    slow.fdatasync = sync_late;
    os_current = &slow;
    for (int mode = DURABILITY_INTERVAL; mode <= DURABILITY_COMMIT; mode++) {
        struct log_config config = config_of((enum durability)mode);
        struct log *log = open_at(&config, &birth);
        size_t size = RECORD_HEADER_SIZE + 200000, count = 0, in_use = mem_in_use();
        uint8_t *record = mem_zalloc(size);
        atomic_store(&disk_hangs, true);
        for (; count < 100 && log_credit_take(log, size); count++) {
            log_append(log, RECORD_EFFECTS, 1, 1000, record, size);
            log_credit_return(log, size);
            log_kick(log);
        }
        assert_in_range(count, 2, 8 * config.ring_size / size + 1);
        assert_in_range(log_copies(log), (count - 1) * size, count * (size + 8));
        assert_true(mem_in_use() >= in_use + log_copies(log)); /* copies are a part of what is in use */
        assert_false(log_credit_take(log, 100));
        int before = atomic_load(&moved_count);
        atomic_store(&disk_hangs, false);
        for (int i = 0; i < 20000 && !log_credit_take(log, size); i++)
            usleep(1000);
        assert_true(atomic_load(&moved_count) > before);
        log_credit_return(log, size);
        assert_int_equal(log_wait_durable(log, log_tail(log)), HF_OK);
        assert_int_equal(log_copies(log), 0);
        log_close(log);
        mem_free(record);
        dir_clean();
    }
    os_current = &os_kernel;
}

/* The last segment's bytes, to be changed and put back. */
static uint8_t *slurp(uint64_t number, size_t *size)
{
    char path[SEGMENT_PATH_MAX];
    void *data;
    segment_path(path, dir, number);
    assert_int_equal(os_read_file(path, (size_t)1 << 32, &data, size), 0);
    return data;
}

static void spill(uint64_t number, const uint8_t *data, size_t size)
{
    char path[SEGMENT_PATH_MAX];
    segment_path(path, dir, number);
    int file = open(path, O_RDWR | O_CREAT | O_TRUNC, 0640);
    assert_true(file >= 0);
    assert_int_equal(write(file, data, size), (ssize_t)size);
    close(file);
}

static struct os failing;

static int open_no_spare(const char *path, int flags, int mode)
{
    return strstr(path, "log-fill.new") ? -EROFS : os_kernel.open(path, flags, mode);
}

/* The log stays in its first segment: it would go on in the spare as soon as that is there. */
static void refuse_spare(void)
{
    failing = os_kernel;
    failing.open = open_no_spare;
    os_current = &failing;
}

/* A small log of `groups` commits in one segment; returns its bytes. */
static uint8_t *small_log(uint32_t groups, size_t *size)
{
    refuse_spare();
    struct log_config config = config_of(DURABILITY_COMMIT);
    struct log *log = open_at(&config, &birth);
    for (uint32_t i = 0; i < groups; i++)
        assert_int_equal(log_wait_durable(log, append(log, 0, i, 20 + i)), HF_OK);
    log_close(log);
    os_current = &os_kernel;
    return slurp(1, size);
}

static int sync_nothing(int file)
{
    (void)file;
    return 0;
}

static int sync_no_dir(const char *path)
{
    (void)path;
    return 0;
}

/* For tests that recover a thousand times; the disk is not what they are about. */
static void quick_disk(void)
{
    failing = os_kernel;
    failing.fdatasync = sync_nothing;
    failing.sync_dir = sync_no_dir;
    os_current = &failing;
}

/* Goal: no flip below the durable mark goes unnoticed. The log is sealed, so the mark is
 * its end; only flips in the seal itself (which holds nothing) may pass, and lose nothing. */
static void test_every_flipped_bit(void **state)
{
    (void)state;
    enum { GROUPS = 3 };
    size_t size;
    uint8_t *data = small_log(GROUPS, &size);
    struct log_start start;
    recover_well(GROUPS, NULL);
    assert_int_equal(size % SEGMENT_BLOCK, 0);
    size_t blocks = size / SEGMENT_BLOCK;
    quick_disk();
    assert_true(blocks == GROUPS + 2); /* header, a block each, seal */
    for (size_t at = 0; at < size; at += stride()) {
        bool sealing = at >= size - SEGMENT_BLOCK;
        for (int bit = 0; bit < 8; bit++) {
            if (at % SEGMENT_BLOCK > 256 && bit != (int)(at % 8)) /* long zeros: one bit each */
                continue;
            data[at] ^= (uint8_t)(1 << bit);
            spill(1, data, size);
            status result = recover(&start, NULL);
            data[at] ^= (uint8_t)(1 << bit);
            if (result == HF_OK) {
                if (!sealing)
                    fail_msg("bit %d of byte %zu went unnoticed", bit, at);
                assert_int_equal(seen[0].records, GROUPS);
                char path[SEGMENT_PATH_MAX];
                segment_path(path, dir, 2);
                unlink(path); /* the tail's copy */
            } else {
                assert_int_equal(result, HF_ERR_CORRUPT);
                assert_non_null(strstr(detail, "log-0000000000000001.seg, offset "));
            }
        }
    }
    mem_free(data);
}

/* Cut or zero the unsealed log at every byte: what remains is a prefix of commits,
 * never less than the highest durable mark that remains, and it can be cut again. */
static void test_torn_tail(void **state)
{
    (void)state;
    enum { GROUPS = 4 };
    size_t size;
    uint8_t *data = small_log(GROUPS, &size);
    uint8_t *torn = mem_alloc(size);
    quick_disk();
    size_t last = size - 2 * SEGMENT_BLOCK; /* the last commit group; the seal is torn off */
    for (size_t cut = last; cut < last + 400; cut++) {
        memcpy(torn, data, size);
        memset(torn + cut, cut % 2 ? 0xa5 : 0, size - cut);
        dir_clean();
        spill(1, torn, cut % 3 ? size : cut);
        struct log_start start;
        assert_int_equal(recover(&start, NULL), HF_OK);
        assert_int_equal(seen[0].bad, 0);
        uint64_t records = seen[0].records;
        assert_true(records == GROUPS || records == GROUPS - 1);
        if (cut >= last + GROUP_HEADER_SIZE + 56) /* header 32, body 23, padding 1 */
            assert_int_equal(records, GROUPS);
        else if (cut % 2)
            assert_int_equal(records, GROUPS - 1);
        struct log_start again;
        assert_int_equal(recover(&again, NULL), HF_OK);
        assert_int_equal(seen[0].records, records);
        assert_int_equal(again.lsn, start.lsn);
        assert_true(again.epoch >= start.epoch && again.segment >= start.segment);
    }
    mem_free(torn);
    mem_free(data);
}

/* Crash, cut, rewrite, crash again: the second life must not meet the first one's bytes. */
static void test_new_life_after_torn_tail(void **state)
{
    (void)state;
    size_t size;
    uint8_t *data = small_log(4, &size);
    memset(data + size - 2 * SEGMENT_BLOCK + 90, 0x5a, 20);
    spill(1, data, size - SEGMENT_BLOCK);
    struct log_start start = recover_well(3, NULL);
    struct log_config config = config_of(DURABILITY_COMMIT);
    struct log *log = open_at(&config, &start);
    for (uint32_t i = 3; i < 6; i++)
        assert_int_equal(log_wait_durable(log, append(log, 0, i, 20 + i)), HF_OK);
    log_close(log);
    start = recover_well(6, NULL);
    log = open_at(&config, &start);
    log_close(log);
    recover_well(6, NULL);
    mem_free(data);
}

/* --- failing disks ------------------------------------------------------------------ */

static _Atomic int fail_syncs, fail_writes, write_error;
static _Atomic uint32_t writes_seen;

static int sync_or_fail(int file)
{
    if (atomic_load(&fail_syncs) > 0 && atomic_fetch_sub(&fail_syncs, 1) > 0)
        return -EIO;
    return os_kernel.fdatasync(file);
}

static int64_t write_or_fail(int file, const void *data, size_t size, uint64_t offset)
{
    atomic_fetch_add(&writes_seen, 1);
    if (atomic_load(&fail_writes) > 0 && atomic_fetch_sub(&fail_writes, 1) > 0)
        return -atomic_load(&write_error);
    return os_kernel.pwrite(file, data, size, offset);
}

static void failing_disk(void)
{
    failing = os_kernel;
    failing.fdatasync = sync_or_fail;
    failing.pwrite = write_or_fail;
    atomic_store(&fail_syncs, 0);
    atomic_store(&fail_writes, 0);
    os_current = &failing;
}

static void heals(enum durability mode, int syncs, int writes, int error)
{
    failing_disk();
    struct log_config config = config_of(mode);
    struct log *log = open_at(&config, &birth);
    uint32_t next = 0;
    for (; next < 20; next++)
        append(log, 0, next, size_of(0, next));
    assert_int_equal(log_wait_durable(log, log_tail(log)), HF_OK);
    usleep(50000); /* the spare is filled */
    uint64_t durable = log_durable(log);
    atomic_store(&write_error, error);
    atomic_store(&fail_syncs, syncs ? INT32_MAX : 0); /* until the state has been looked at */
    atomic_store(&fail_writes, writes ? INT32_MAX : 0);
    uint64_t end = append(log, 0, next, size_of(0, next));
    next++;
    log_sync_now(log);
    for (int i = 0; i < 5000 && log_state(log) == LOG_OK; i++)
        usleep(200);
    assert_int_equal(log_state(log), error == ENOSPC ? LOG_FULL : LOG_BROKEN);
    assert_false(log_credit_take(log, 100));
    assert_int_equal(log_durable(log), durable);
    atomic_store(&fail_syncs, syncs - 1);
    atomic_store(&fail_writes, writes - 1);
    assert_int_equal(log_wait_durable(log, end), HF_OK);
    for (int i = 0; i < 5000 && log_state(log) != LOG_OK; i++)
        usleep(200);
    for (; next < 60; next++)
        append(log, 0, next, size_of(0, next));
    assert_int_equal(log_wait_durable(log, log_tail(log)), HF_OK);
    struct log_stats stats;
    log_stats(log, &stats);
    assert_true(stats.io_errors >= 1);
    log_close(log);
    os_current = &os_kernel;
    recover_well(60, size_of);
    dir_clean();
}

static void test_fsync_failure_heals(void **state)
{
    (void)state;
    for (int mode = DURABILITY_INTERVAL; mode <= DURABILITY_COMMIT; mode++) {
        heals((enum durability)mode, 1, 0, EIO);
        heals((enum durability)mode, 3, 0, EIO);
    }
}

static void test_write_failure_heals(void **state)
{
    (void)state;
    for (int mode = DURABILITY_INTERVAL; mode <= DURABILITY_COMMIT; mode++) {
        heals((enum durability)mode, 0, 1, EIO);
        heals((enum durability)mode, 0, 2, ENOSPC);
    }
}

/* The n-th write or fsync fails while writers go on; nothing acknowledged is lost. */
static void test_every_failure_in_turn(void **state)
{
    (void)state;
    for (int n = 0; n < 24; n++) {
        failing_disk();
        struct log_config config = config_of(n % 2 ? DURABILITY_COMMIT : DURABILITY_INTERVAL);
        config.segment_size = 64u << 10;
        config.interval_ms = 5;
        struct log *log = open_at(&config, &birth);
        atomic_store(&write_error, n % 3 ? EIO : ENOSPC);
        for (uint32_t i = 0; i < 400; i++) {
            if (i == (uint32_t)n * 13 + 7)
                atomic_store(n % 4 < 2 ? &fail_writes : &fail_syncs, 1);
            append(log, 0, i, size_of(0, i));
        }
        assert_int_equal(log_wait_durable(log, log_tail(log)), HF_OK);
        log_close(log);
        os_current = &os_kernel;
        recover_well(400, size_of);
        dir_clean();
    }
}

/* A crash instead of a close: the files as they stand at durable_lsn are copied away. */
static void test_acknowledged_survives_a_crash(void **state)
{
    (void)state;
    for (int mode = DURABILITY_INTERVAL; mode <= DURABILITY_COMMIT; mode++) {
        struct log_config config = config_of((enum durability)mode);
        refuse_spare();
        struct log *log = open_at(&config, &birth);
        for (uint32_t i = 0; i < 50; i++)
            append(log, 0, i, size_of(0, i));
        assert_int_equal(log_wait_durable(log, log_tail(log)), HF_OK);
        size_t size;
        uint8_t *data = slurp(1, &size);
        uint64_t tail = log_tail(log);
        log_close(log);
        os_current = &os_kernel;
        dir_clean();
        spill(1, data, size);
        mem_free(data);
        struct log_start start = recover_well(50, size_of);
        assert_int_equal(start.lsn, tail);
        assert_int_equal(start.segment, 3); /* 2 is the sealed copy */
        assert_int_equal(start.epoch, 3);
        start = recover_well(50, size_of);
        assert_int_equal(start.segment, 3);
        log_close(open_at(&config, &start));
        recover_well(50, size_of);
        dir_clean();
    }
}

static _Atomic bool hold_syncs;

static int sync_held(int file)
{
    while (atomic_load(&hold_syncs))
        usleep(500);
    return os_kernel.fdatasync(file);
}

static bool soon(uint64_t (*position)(const struct log *), struct log *log, uint64_t lsn, int ms)
{
    for (; ms > 0; ms--) {
        if (position(log) >= lsn)
            return true;
        usleep(1000);
    }
    return position(log) >= lsn;
}

/* written runs ahead of durable inside the window, and stands still outside of it. */
static void test_interval_window(void **state)
{
    (void)state;
    failing = os_kernel;
    failing.fdatasync = sync_held;
    os_current = &failing;
    struct log_config config = config_of(DURABILITY_INTERVAL);
    config.interval_ms = 1500;
    struct log *log = open_at(&config, &birth);
    atomic_store(&hold_syncs, true);
    uint64_t first = append(log, 0, 0, size_of(0, 0));
    assert_true(soon(log_written, log, first, 1000));
    assert_true(log_durable(log) < first);
    usleep(1700000);
    uint64_t late = append(log, 0, 1, size_of(0, 1));
    assert_false(soon(log_written, log, late, 100)); /* the gates are shut */
    assert_true(log_durable(log) < first);
    atomic_store(&hold_syncs, false);
    assert_true(soon(log_durable, log, late, 2000));
    assert_int_equal(log_written(log), late);
    log_close(log);
    os_current = &os_kernel;
    recover_well(2, size_of);
}

/* Small segments, trimmed behind a moving position and recycled: stale groups never show. */
static void test_recycled_segments(void **state)
{
    (void)state;
    struct log_config config = config_of(DURABILITY_COMMIT);
    config.segment_size = 64u << 10;
    struct log_start start = birth;
    uint64_t lsns[4000];
    uint32_t next = 0, from = 0;
    for (int round = 0; round < 6; round++) {
        struct log *log = open_at(&config, &start);
        for (int i = 0; i < 600; i++, next++) {
            lsns[next] = log_tail(log);
            append(log, 0, next, size_of(0, next));
            if (next % 100 == 99) {
                assert_int_equal(log_wait_durable(log, log_tail(log)), HF_OK);
                from = next - 50;
                log_trim(log, lsns[from]);
            }
        }
        struct log_stats stats;
        log_stats(log, &stats);
        assert_true(stats.disk_bytes < 12 * config.segment_size);
        log_close(log);
        memset(seen, 0, sizeof(seen));
        for (int t = 0; t < 2; t++)
            seen[t].next[0] = from;
        struct log_recover how = {.dir = dir, .log_id = LOG_ID, .threads = 2, .each = see,
                                  .from_lsn = lsns[from], .context = (void *)size_of};
        if (log_recover(&how, &start, detail, sizeof(detail)) != HF_OK)
            fail_msg("%s", detail);
        assert_int_equal(seen[0].bad, 0);
        assert_int_equal(seen[0].next[0], next);
        assert_int_equal(seen[1].next[0], next);
    }
    struct log_recover how = {.dir = dir, .log_id = LOG_ID, .threads = 1, .each = see};
    assert_int_equal(log_recover(&how, &start, detail, sizeof(detail)), HF_ERR_CORRUPT); /* trimmed away */
}

/* A power cut kept the name that the spare was given last, and lost that the spare was taken. */
static void test_spare_that_is_a_segment_too(void **state)
{
    (void)state;
    struct log_config config = config_of(DURABILITY_COMMIT);
    config.segment_size = 64u << 10;
    struct log_start start = birth;
    char segment[SEGMENT_PATH_MAX], spare[SEGMENT_PATH_MAX];
    snprintf(spare, sizeof(spare), "%s/log-spare.seg", dir);
    for (uint32_t next = 0; next < 4; next++) {
        struct log *log = open_at(&config, &start);
        append(log, 0, next, size_of(0, next));
        assert_int_equal(log_wait_durable(log, log_tail(log)), HF_OK);
        log_close(log);
        segment_path(segment, dir, start.segment);
        assert_int_equal(truncate(segment, (off_t)config.segment_size), 0); /* as if it had been prepared */
        unlink(spare);
        assert_int_equal(link(segment, spare), 0);
        start = recover_well(next + 1, size_of);
    }
}

static void test_empty_directory_and_other_logs(void **state)
{
    (void)state;
    struct log_start start;
    assert_int_equal(recover(&start, NULL), HF_OK);
    assert_int_equal(start.lsn, 0);
    assert_int_equal(start.epoch, 1);
    assert_int_equal(start.segment, 1);
    struct log_config config = config_of(DURABILITY_COMMIT);
    config.log_id = 7;
    struct log *log = open_at(&config, &start);
    append(log, 0, 0, 50);
    log_close(log);
    start = recover_well(0, NULL);
    assert_int_equal(start.segment, 2); /* never over a foreign file */
}

/* Damage in the middle segment, and a middle segment that is gone. */
static void test_damage_in_older_segments(void **state)
{
    (void)state;
    struct log_config config = config_of(DURABILITY_COMMIT);
    config.segment_size = 64u << 10;
    struct log *log = open_at(&config, &birth);
    for (uint32_t i = 0; i < 600; i++)
        append(log, 0, i, size_of(0, i));
    log_close(log);
    recover_well(600, size_of);
    size_t size;
    uint8_t *data = slurp(2, &size);
    struct log_start start;
    for (size_t at = 0; at < size / 2; at += 997) {
        data[at] ^= 0x10;
        spill(2, data, size);
        assert_int_equal(recover(&start, size_of), HF_ERR_CORRUPT);
        assert_non_null(strstr(detail, "log-0000000000000002.seg"));
        data[at] ^= 0x10;
    }
    remove_one(NULL, "log-0000000000000002.seg");
    assert_int_equal(recover(&start, size_of), HF_ERR_CORRUPT);
    mem_free(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_commit_comes_back_whole, setup, teardown),
        cmocka_unit_test_setup_teardown(test_interval_comes_back_whole, setup, teardown),
        cmocka_unit_test_setup_teardown(test_large_records, setup, teardown),
        cmocka_unit_test_setup_teardown(test_copies_are_limited, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refused_when_full_of_credit, setup, teardown),
        cmocka_unit_test_setup_teardown(test_every_flipped_bit, setup, teardown),
        cmocka_unit_test_setup_teardown(test_torn_tail, setup, teardown),
        cmocka_unit_test_setup_teardown(test_new_life_after_torn_tail, setup, teardown),
        cmocka_unit_test_setup_teardown(test_fsync_failure_heals, setup, teardown),
        cmocka_unit_test_setup_teardown(test_write_failure_heals, setup, teardown),
        cmocka_unit_test_setup_teardown(test_every_failure_in_turn, setup, teardown),
        cmocka_unit_test_setup_teardown(test_acknowledged_survives_a_crash, setup, teardown),
        cmocka_unit_test_setup_teardown(test_interval_window, setup, teardown),
        cmocka_unit_test_setup_teardown(test_recycled_segments, setup, teardown),
        cmocka_unit_test_setup_teardown(test_spare_that_is_a_segment_too, setup, teardown),
        cmocka_unit_test_setup_teardown(test_empty_directory_and_other_logs, setup, teardown),
        cmocka_unit_test_setup_teardown(test_damage_in_older_segments, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
