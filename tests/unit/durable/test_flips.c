/* test_flips.c -- every flipped bit of every file of a data directory is found, and named with file and offset.
 *
 * Goal: a single flipped bit anywhere in a 32 KiB log (of commit and of interval mode), in a 32 KiB
 * snapshot or in the identity file is refused by name, with the offset of the part that holds it: group, record,
 * padding, block. One exception, which loses nothing: a flip inside the final seal of a log looks like a
 * seal that was torn; all records are there, and the same words are told as a note.
 * Method: the library makes the directory on the simulated disk (support/recorder.h); bits are
 * flipped in its memory. All 8 bits of all headers and one bit, chosen by a seed, of every other
 * byte; HOLDFAST_FLIPS=all: all bits of all bytes. Where a flip must be found is computed
 * from the sound file.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "../support/recorder.h"
#include "../support/small_library.h"
#include "../support/stride.h"
#include "durable/segment.h"
#include "durable/snapshot_file.h"

#include <stdlib.h>

#define DATA_DIR REC_ROOT "/data"
#define LOG_SIZE (32u << 10)
#define PARTS_MAX 4096

/* --- files on the simulated disk --------------------------------------------------------- */

static struct rec_file *file_named(const char *part, char path[REC_PATH_MAX])
{
    for (size_t i = 0; i < rec.disk->live.count; i++) {
        struct rec_name *n = &rec.disk->live.at[i];
        if (n->file && strstr(n->path, part)) {
            memcpy(path, n->path, REC_PATH_MAX);
            return n->file;
        }
    }
    return NULL;
}

static hf_db *open_db(int durability, char *detail, size_t size)
{
    hf_options options = {.dir = DATA_DIR, .durability = durability};
    hf_db *db = NULL;
    detail[0] = 0;
    return hf_open(&options, &db, detail, size) == 0 ? db : NULL;
}

static void set_many(hf_db *db, unsigned first, unsigned count, size_t size)
{
    char name[32], *value = malloc(size + 1);
    uint64_t random = first;
    for (unsigned i = first; i < first + count; i++) {
        hf_txn *t;
        snprintf(name, sizeof(name), "key-%u", i);
        hf_slice key = {name, strlen(name)};
        for (size_t k = 0; k < size; k++)
            value[k] = (char)rec_next(&random);
        assert_int_equal(hf_begin(db, &key, 1, &t), 0);
        assert_int_equal(i % 3 ? hf_set(t, key, (hf_slice){value, size}, 0)
                               : hf_hash_set(t, key, (hf_slice){"field", 5}, (hf_slice){value, size}), 0);
        assert_int_equal(hf_commit(t), 0);
    }
    free(value);
}

static void choose_sizes(void)
{
    small_options.segment_size = 256 << 10;
    small_options.ring_size = 512 << 10;
    small_options.interval_ms = 1000;
}

/* --- which bits, and which part of the file they are in ------------------------------------ */

struct part { uint64_t offset; bool header; };
static struct part parts[PARTS_MAX];
static size_t part_count;

static void part_add(uint64_t offset, bool header)
{
    hf_assert(part_count < PARTS_MAX && (part_count == 0 || parts[part_count - 1].offset <= offset));
    if (part_count && parts[part_count - 1].offset == offset)
        part_count--;
    parts[part_count++] = (struct part){offset, header};
}

static const struct part *part_of(uint64_t at)
{
    size_t i = part_count;
    while (i > 0 && parts[i - 1].offset > at)
        i--;
    return &parts[i - 1];
}

static bool wanted(uint64_t at, unsigned bit, bool header)
{
    const char *all = getenv("HOLDFAST_FLIPS");
    uint64_t seed = at + 77;
    return header || (all && strcmp(all, "all") == 0) || rec_next(&seed) % 8 == bit;
}

/* "... file PATH ... offset N ...": the number; UINT64_MAX: it does not name both. */
static uint64_t named_offset(const char *text, const char *path)
{
    const char *offset = strstr(text, "offset ");
    return strstr(text, path) && offset ? strtoull(offset + 7, NULL, 10) : UINT64_MAX;
}

/* --- the log -------------------------------------------------------------------------------- */

static status count_record(void *context, int thread, const struct log_record *record)
{
    (void)thread;
    (void)record;
    ++*(uint64_t *)context;
    return HF_OK;
}

static char noted[4096];

static void note(void *context, const char *line)
{
    (void)context;
    snprintf(noted, sizeof(noted), "%s", line);
}

static struct { uint64_t log_id, records; } the_log;

static status recover(char *detail, size_t size)
{
    struct log_start start;
    uint64_t records = 0;
    struct log_recover how = {.dir = DATA_DIR, .log_id = the_log.log_id, .threads = 1, .each = count_record, .note = note,
                              .context = &records};
    detail[0] = noted[0] = 0;
    status s = log_recover(&how, &start, detail, size);
    the_log.records = records;
    return s;
}

/* Parts of the sound log: segment header, then for each group header, records, padding. Returns where the last group begins. */
static uint64_t log_parts(const uint8_t *data, size_t size)
{
    struct segment_scan scan = {.data = data, .size = size};
    uint64_t seal;
    assert_null(segment_header_decode(data, size, &scan.header));
    segment_scan_run(&scan, UINT64_MAX);
    assert_null(scan.problem);
    part_count = 0;
    part_add(0, true);
    part_add(64, false);
    for (size_t i = 0; i < scan.count; i++) {
        const struct segment_group *g = &scan.groups[i];
        uint64_t offset = g->offset + GROUP_HEADER_SIZE, lsn = g->header.first_lsn;
        part_add(g->offset, true);
        for (uint32_t n = 0; n < g->header.records; n++) {
            struct record_view v;
            assert_null(record_decode(data + offset, size - offset, lsn, &v));
            part_add(offset, true);
            part_add(offset + RECORD_HEADER_SIZE, false);
            offset += v.disk_size;
            lsn = v.next_lsn;
        }
        part_add(offset, false);
    }
    assert_true(scan.count > 2 && scan.groups[scan.count - 1].header.flags & GROUP_SEAL);
    the_log.log_id = scan.header.log_id;
    seal = scan.groups[scan.count - 1].offset;
    segment_scan_release(&scan);
    return seal;
}

/* The part's own place: a segment header at 0, the body of a record with its header. */
static uint64_t place_to_name(uint64_t at)
{
    const struct part *p = part_of(at);
    if (p->offset == 64)
        return 0;
    if (!p->header && p > parts && p[-1].header && p->offset == p[-1].offset + RECORD_HEADER_SIZE)
        return p[-1].offset;
    return p->offset;
}

static void forget_sealed_copies(const char *keep)
{
    for (size_t i = rec.disk->live.count; i-- > 0;) {
        if (strstr(rec.disk->live.at[i].path, "/log-") && strcmp(rec.disk->live.at[i].path, keep) != 0)
            rec_unlink(rec.disk->live.at[i].path);
    }
}

/* A log of exactly LOG_SIZE, cleanly closed: one segment. */
static struct rec_file *make_log(int durability, char path[REC_PATH_MAX])
{
    char detail[512];
    choose_sizes();
    rec_set_fault(REC_BIT(REC_OPEN), "log-fill.new", 1, UINT64_MAX, -EROFS); /* no spare: the file ends where the log does */
    struct rec_file *file = NULL;
    for (unsigned count = 5; count < 400; count++) {
        rec_insert(rec_disk_new());
        hf_db *db = open_db(durability, detail, sizeof(detail));
        if (!db)
            fail_msg("%s", detail);
        set_many(db, 0, count, durability == HF_DURABILITY_COMMIT ? 700 : 300);
        hf_close(db);
        file = file_named("/log-0", path);
        if (file->live.size >= LOG_SIZE)
            break;
    }
    rec_clear_fault();
    return file;
}

static void flip_the_log(int durability)
{
    char path[REC_PATH_MAX], detail[1024];
    uint64_t flips = 0, refused = 0, told = 0, records;
    rec_start();
    struct rec_file *file = make_log(durability, path);
    uint8_t *data = file->live.data;
    size_t size = file->live.size;
    uint64_t seal = log_parts(data, size);
    forget_sealed_copies(path);
    assert_int_equal(size, LOG_SIZE);
    assert_int_equal(recover(detail, sizeof(detail)), HF_OK);
    assert_int_equal(noted[0], 0);
    records = the_log.records;
    for (size_t at = 0; at < size; at += stride()) {
        uint64_t place = place_to_name(at);
        for (unsigned bit = 0; bit < 8; bit++) {
            if (!wanted(at, bit, part_of(at)->header))
                continue;
            data[at] ^= (uint8_t)(1 << bit);
            status s = recover(detail, sizeof(detail));
            data[at] ^= (uint8_t)(1 << bit);
            flips++;
            bool in_seal = at >= seal;
            if (s == HF_OK && (!in_seal || !noted[0] || the_log.records != records))
                fail_msg("bit %u of byte %zu went unnoticed; %llu of %llu records", bit, at,
                         (unsigned long long)the_log.records, (unsigned long long)records);
            const char *words = s == HF_OK ? noted : detail;
            uint64_t named = named_offset(words, path);
            if ((s != HF_OK && s != HF_ERR_CORRUPT) || named != place)
                fail_msg("bit %u of byte %zu, in the part at %llu: status %d: %s", bit, at, (unsigned long long)place, s, words);
            refused += s != HF_OK;
            told += s == HF_OK;
            if (s == HF_OK)
                forget_sealed_copies(path);
        }
    }
    print_message("log of %zu bytes, %llu records: %llu flips, %llu refused, %llu in the seal told; all with file and offset\n",
                  size, (unsigned long long)records, (unsigned long long)flips, (unsigned long long)refused,
                  (unsigned long long)told);
    rec_stop();
}

static void test_every_flip_in_a_commit_log(void **state)
{
    (void)state;
    flip_the_log(HF_DURABILITY_COMMIT);
}

static void test_every_flip_in_an_interval_log(void **state)
{
    (void)state;
    flip_the_log(HF_DURABILITY_INTERVAL);
}

/* --- the snapshot ------------------------------------------------------------------------------ */

/* Loads it as a start does, up to the first damage. */
static status load(uint64_t log_id, uint64_t secret, char *detail, size_t size)
{
    struct store *store = store_new(secret);
    struct slab_heap *heap = slab_heap_new(store->slab);
    struct snapshot_load l = {.dir = DATA_DIR, .log_id = log_id, .store = store, .threads = 1, .heaps = &heap};
    detail[0] = 0;
    status s = snapshot_load(&l, detail, size);
    if (s == HF_OK)
        snapshot_ranges_free(l.ranges);
    store_free(store);
    return s;
}

static void test_every_flip_in_a_snapshot(void **state)
{
    char path[REC_PATH_MAX], detail[1024];
    uint64_t flips = 0;
    (void)state;
    rec_start();
    choose_sizes();
    hf_db *db = open_db(HF_DURABILITY_COMMIT, detail, sizeof(detail));
    if (!db)
        fail_msg("%s", detail);
    set_many(db, 0, 60, 500);
    assert_int_equal(hf_snapshot(db), 0);
    hf_close(db);
    struct rec_file *file = file_named("/snapshot-", path);
    assert_true(file->live.size >= LOG_SIZE);
    static struct snapshot_file f;
    assert_int_equal(snapshot_file_open(&f, path, detail, sizeof(detail)), HF_OK);
    part_count = 0;
    part_add(0, true);
    for (uint64_t i = 0; i < f.footer.blocks; i++) {
        part_add(f.offsets[i], true);
        part_add(f.offsets[i] + SNAPSHOT_BLOCK_HEADER, false);
    }
    struct snapshot_block last = snapshot_file_block(&f, f.footer.blocks - 1);
    part_add(f.offsets[f.footer.blocks - 1] + SNAPSHOT_BLOCK_HEADER + last.stored_size, true); /* index and footer */
    uint64_t log_id = f.header.log_id, secret = f.header.secret;
    snapshot_file_close(&f);
    assert_int_equal(load(log_id, secret, detail, sizeof(detail)), HF_OK);
    for (size_t at = 0; at < file->live.size; at += stride()) {
        for (unsigned bit = 0; bit < 8; bit++) {
            if (!wanted(at, bit, part_of(at)->header))
                continue;
            file->live.data[at] ^= (uint8_t)(1 << bit);
            status s = load(log_id, secret, detail, sizeof(detail));
            file->live.data[at] ^= (uint8_t)(1 << bit);
            flips++;
            if (s != HF_ERR_CORRUPT && !(s == HF_ERR_INVALID && strstr(detail, "version")))
                fail_msg("bit %u of byte %zu went unnoticed: status %d, %s", bit, at, s, detail);
            uint64_t named = named_offset(detail, path);
            if (named == UINT64_MAX || part_of(named)->offset > at)
                fail_msg("bit %u of byte %zu: %s", bit, at, detail);
        }
    }
    print_message("snapshot of %zu bytes: %llu flips, all refused with file and offset\n", file->live.size,
                  (unsigned long long)flips);
    rec_stop();
}

/* --- the identity ------------------------------------------------------------------------------- */

static void test_every_flip_in_the_identity(void **state)
{
    char path[REC_PATH_MAX], detail[1024];
    (void)state;
    rec_start();
    choose_sizes();
    hf_db *db = open_db(HF_DURABILITY_COMMIT, detail, sizeof(detail));
    if (!db)
        fail_msg("%s", detail);
    set_many(db, 0, 3, 10);
    hf_close(db);
    struct rec_file *file = file_named("/holdfast.id", path);
    for (size_t at = 0; at < file->live.size; at += stride()) {
        for (unsigned bit = 0; bit < 8; bit++) {
            file->live.data[at] ^= (uint8_t)(1 << bit);
            db = open_db(HF_DURABILITY_COMMIT, detail, sizeof(detail));
            file->live.data[at] ^= (uint8_t)(1 << bit);
            if (db || named_offset(detail, path) != 0)
                fail_msg("bit %u of byte %zu went unnoticed: %s", bit, at, detail);
        }
    }
    db = open_db(HF_DURABILITY_COMMIT, detail, sizeof(detail));
    assert_non_null(db);
    hf_close(db);
    print_message("identity of %zu bytes: %zu flips, all refused with file and offset\n", file->live.size, file->live.size * 8);
    rec_stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_flip_in_a_commit_log),
        cmocka_unit_test(test_every_flip_in_an_interval_log),
        cmocka_unit_test(test_every_flip_in_a_snapshot),
        cmocka_unit_test(test_every_flip_in_the_identity),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
