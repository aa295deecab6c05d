/* test_powercut.c -- the promise of the library: what hf_commit said is on disk after the power went.
 *
 * Goal: after a power cut at any moment a reopened library holds, for each thread, every
 * transaction whose hf_commit returned 0, the one in flight whole or not at all, and nothing
 * else. In interval mode: the same after a crash of the process; after a power cut a
 * prefix of each thread's commits.
 * Method: two threads run random transactions (support/model.h) on a simulated disk
 * (support/recorder.h), often beside a third that takes snapshots, so that the log is trimmed
 * and its segments are recycled. The disk forks at the k-th change or at a random moment. What
 * an hf_commit answers after the cut counts for nothing. The fork is opened, compared, and
 * used on up to the next cut, so that crashes follow on crashes. Two forks of each cut,
 * with other bytes lost, are compared.
 * The oracle is proven by disks that lie: losses must be found.
 * HOLDFAST_CUTS: number of cuts in commit mode; HOLDFAST_SEED: the first seed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "../support/recorder.h"
#include "../support/small_library.h"
#include "../support/model.h"

#define THREADS 2
#define CUTS_IN_A_ROW 5
#define DATA_DIR REC_ROOT "/data"
#define CUTS_DEFAULT 300

struct run {
    hf_db *db;
    bool snapshots;
    uint64_t random;
    struct model models[THREADS];
    _Atomic uint64_t snapshots_taken;
    char detail[512];
};

struct worker { struct run *run; struct model *model; };

static void *work(void *context)
{
    struct worker *w = context;
    struct model *m = w->model;
    while (!atomic_load(&rec.cut) && m->tried < 3000 && !m->wrong) {
        enum model_outcome outcome = model_step(m, w->run->db, 10);
        bool before_cut = !atomic_load(&rec.cut);
        if (outcome == MODEL_COMMITTED && before_cut)
            m->acked = m->tried;
        else if ((outcome == MODEL_REFUSED || outcome == MODEL_UNKNOWN) && before_cut)
            model_wrong(m, "a healthy disk, and yet no commit", 0, 0);
    }
    return NULL;
}

static void *snap(void *context)
{
    struct run *r = context;
    while (!atomic_load(&rec.cut)) {
        if (hf_snapshot(r->db) == 0)
            atomic_fetch_add(&r->snapshots_taken, 1);
    }
    return NULL;
}

static bool open_it(struct run *r, int durability)
{
    hf_options options = {.dir = DATA_DIR, .durability = durability};
    hf_status s = hf_open(&options, &r->db, r->detail, sizeof(r->detail));
    if (s != 0)
        r->db = NULL;
    return s == 0;
}

/* Is what the inserted disk holds what it must hold? On true the library is open. */
static bool check(struct run *r, int durability, bool lossy, bool adopt)
{
    if (!open_it(r, durability))
        return false;
    for (int i = 0; i < THREADS; i++) {
        struct model *m = &r->models[i];
        if (!model_check(m, r->db, lossy ? 0 : m->acked, adopt)) {
            snprintf(r->detail, sizeof(r->detail), "%s", m->detail);
            hf_close(r->db);
            r->db = NULL;
            return false;
        }
    }
    return true;
}

/* Runs until the cut comes. */
static void run_to_cut(struct run *r, bool crash)
{
    pthread_t threads[THREADS], snapper = 0;
    struct worker workers[THREADS];
    bool by_count = rec_next(&r->random) % 2;
    unsigned sync_us = rec_next(&r->random) % 3 ? (unsigned)(rec_next(&r->random) % 300) : 0;
    pthread_mutex_lock(&rec.lock);
    rec.sync_us = sync_us;
    pthread_mutex_unlock(&rec.lock);
    rec_arm(by_count ? 1 + rec_next(&r->random) % 300 : 0, crash, crash ? 1 : 2, rec_next(&r->random));
    for (int i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){r, &r->models[i]};
        threads[i] = thread_start("worker", work, &workers[i]);
    }
    if (r->snapshots)
        snapper = thread_start("snapper", snap, r);
    unsigned patience = by_count ? 20000 : (unsigned)(rec_next(&r->random) % 12000);
    for (unsigned waited = 0; waited < patience && !atomic_load(&rec.cut); waited += 200)
        usleep(200);
    rec_cut();
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    if (r->snapshots)
        pthread_join(snapper, NULL);
    hf_close(r->db);
    r->db = NULL;
}

static void choose_sizes(struct run *r)
{
    static const uint64_t segments[] = {16 << 10, 64 << 10, 256 << 10};
    small_options.segment_size = segments[rec_next(&r->random) % 3];
    small_options.ring_size = rec_next(&r->random) % 2 ? 128 << 10 : 512 << 10;
    small_options.interval_ms = 2 + (uint32_t)(rec_next(&r->random) % 20);
}

enum lie { LIE_NONE, LIE_FDATASYNC, LIE_SYNC_DIR };

/* A fresh store and several cuts; false: r->detail says what was lost. */
static bool round_of_cuts(struct run *r, uint64_t seed, int durability, bool crash, enum lie lie, int cuts)
{
    bool lossy = durability == HF_DURABILITY_INTERVAL && !crash, good = true;
    r->random = seed;
    rec_start();
    rec.random = seed;
    rec.lie_fdatasync = lie == LIE_FDATASYNC;
    rec.lie_sync_dir = lie == LIE_SYNC_DIR;
    r->snapshots = rec_next(&r->random) % 3 != 0;
    for (unsigned i = 0; i < THREADS; i++) {
        model_init(&r->models[i], i, seed);
        r->models[i].large = seed % 3 == 0;
    }
    choose_sizes(r);
    good = open_it(r, durability);
    for (int cut = 0; cut < cuts && good; cut++) {
        run_to_cut(r, crash);
        for (int i = 0; i < THREADS && good; i++) {
            good = !r->models[i].wrong;
            if (!good)
                snprintf(r->detail, sizeof(r->detail), "%s", r->models[i].detail);
        }
        choose_sizes(r);
        rec.sync_us = 0;
        for (int f = rec.cut_forks - 1; f >= 0; f--) {
            struct rec_disk *fork = rec.forks[f];
            if (!good) {
                rec_disk_free(fork);
                continue;
            }
            rec_insert(fork);
            good = check(r, durability, lossy, f == 0);
            if (good && f > 0)
                hf_close(r->db);
        }
        if (good && cut % 2 && rec_next(&r->random) % 2) { /* now and then a clean end, which loses nothing */
            hf_close(r->db);
            good = check(r, durability, false, true);
        }
    }
    if (good)
        hf_close(r->db);
    for (unsigned i = 0; i < THREADS; i++)
        model_free(&r->models[i]);
    rec_stop();
    return good;
}

static uint64_t number_from(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text && *text ? strtoull(text, NULL, 10) : otherwise;
}

static void many(int durability, bool crash, uint64_t cuts)
{
    uint64_t seed = number_from("HOLDFAST_SEED", 1), failures = 0, taken = 0;
    for (uint64_t done = 0; done < cuts; done += CUTS_IN_A_ROW, seed++) {
        if (done && done % 250 == 0)
            print_message("%llu cuts\n", (unsigned long long)done);
        struct run r = {0};
        if (!round_of_cuts(&r, seed, durability, crash, LIE_NONE, CUTS_IN_A_ROW)) {
            print_error("seed %llu: %s\n", (unsigned long long)seed, r.detail);
            failures++;
        }
        taken += atomic_load(&r.snapshots_taken);
    }
    print_message("%llu snapshots beside\n", (unsigned long long)taken);
    assert_int_equal(failures, 0);
}

static void test_commit_survives_power_cuts(void **state)
{
    (void)state;
    many(HF_DURABILITY_COMMIT, false, number_from("HOLDFAST_CUTS", CUTS_DEFAULT));
}

static void test_commit_survives_crashes_of_the_process(void **state)
{
    (void)state;
    many(HF_DURABILITY_COMMIT, true, number_from("HOLDFAST_CUTS", CUTS_DEFAULT) / 10);
}

static void test_interval_survives_crashes_of_the_process(void **state)
{
    (void)state;
    many(HF_DURABILITY_INTERVAL, true, number_from("HOLDFAST_CUTS", CUTS_DEFAULT) / 3);
}

static void test_interval_power_cut_leaves_a_prefix(void **state)
{
    (void)state;
    many(HF_DURABILITY_INTERVAL, false, number_from("HOLDFAST_CUTS", CUTS_DEFAULT) / 3);
}

/* --- the oracle can fail ------------------------------------------------------------------ */

static void expect_losses(enum lie lie)
{
    int found = 0;
    for (uint64_t seed = 1; seed <= 10; seed++) {
        struct run r = {0};
        if (!round_of_cuts(&r, seed, HF_DURABILITY_COMMIT, false, lie, CUTS_IN_A_ROW)) {
            assert_true(r.detail[0]); /* and says what */
            found++;
        }
    }
    print_message("found in %d of 10 rounds\n", found);
    assert_true(found >= 8);
}

static void test_a_lying_fdatasync_is_found(void **state)
{
    (void)state;
    expect_losses(LIE_FDATASYNC);
}

static void test_a_lying_sync_dir_is_found(void **state)
{
    (void)state;
    expect_losses(LIE_SYNC_DIR);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_commit_survives_power_cuts),
        cmocka_unit_test(test_commit_survives_crashes_of_the_process),
        cmocka_unit_test(test_interval_survives_crashes_of_the_process),
        cmocka_unit_test(test_interval_power_cut_leaves_a_prefix),
        cmocka_unit_test(test_a_lying_fdatasync_is_found),
        cmocka_unit_test(test_a_lying_sync_dir_is_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
