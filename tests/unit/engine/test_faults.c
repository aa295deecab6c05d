/* test_faults.c -- a disk that fails does not lose what was promised, and does not stop the library.
 *
 * Goal: whatever call fails, once or for a while, with EIO or ENOSPC: the process lives, no
 * commit that returned 0 is lost, and when the disk is well again commits succeed within
 * about a second. An open that fails says why, and a later one works.
 * Method: on the simulated disk of support/recorder.h the n-th call of one kind fails, for n = 1, 2, 3 ...
 * without a gap, until runs meet no fault any more. After each run the power is cut, and the store is
 * compared with the model. A commit that returned an error may be there or not. Healing waits for
 * the clock, so most runs have a fast one, and a thread that wakes the log.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "../support/recorder.h"
#include "../support/small_library.h"
#include "../support/stride.h"
#include "../support/model.h"

#define DATA_DIR REC_ROOT "/data"
#define STEPS 40
#define SPEED 20
#define WITHOUT_MAX 3 /* so many runs in a row without a fault end a series */
#define HEAL_MS 2500 /* the promise is a second; sanitizers and busy machines take longer */

static char detail[512];

static hf_status open_db(int durability, hf_db **db)
{
    hf_options options = {.dir = DATA_DIR, .durability = durability};
    detail[0] = 0;
    return hf_open(&options, db, detail, sizeof(detail));
}

static uint64_t now_ms(void) { return os_kernel.monotonic_us() / 1000; }

/* Steps once; true if it was committed. */
static bool step(struct model *m, hf_db *db)
{
    enum model_outcome outcome = model_step(m, db, 0);
    if (outcome == MODEL_COMMITTED)
        m->acked = m->tried;
    return outcome == MODEL_COMMITTED;
}

static void check_model(struct model *m, const char *what, uint64_t n)
{
    if (m->wrong)
        fail_msg("%s, call %llu: %s", what, (unsigned long long)n, m->detail);
}

/* Works until a commit succeeds; the time that it took. */
static uint64_t wait_for_health(struct model *m, hf_db *db)
{
    uint64_t begun = now_ms();
    while (!step(m, db) && now_ms() - begun < 4 * HEAL_MS)
        usleep(5000);
    return now_ms() - begun;
}

static void small(void)
{
    small_options.segment_size = 16 << 10;
    small_options.ring_size = 256 << 10;
    small_options.interval_ms = 5;
}

/* Wakes the log's thread all the time: with a fast clock it heals at once. */
struct prodder { struct log *log; _Atomic bool stop; pthread_t thread; };

static void *prod(void *context)
{
    struct prodder *p = context;
    while (!atomic_load(&p->stop)) {
        log_sync_now(p->log);
        usleep(500);
    }
    return NULL;
}

static void prod_start(struct prodder *p, hf_db *db)
{
    *p = (struct prodder){.log = db->engine->log};
    p->thread = thread_start("prodder", prod, p);
}

static void prod_stop(struct prodder *p)
{
    atomic_store(&p->stop, true);
    pthread_join(p->thread, NULL);
}

struct plan { const char *what; uint32_t calls; const char *path; uint64_t from, count; int error, durability; bool snapshots; };

/* After a power cut the store is one of the states that it may be in. */
static void cut_and_compare(struct model *m, const struct plan *p, int durability)
{
    hf_db *db;
    rec_insert(rec.forks[0]);
    hf_status s = open_db(durability, &db);
    if (s != 0)
        fail_msg("%s, call %llu: not to be opened after the cut: %s", p->what, (unsigned long long)p->from, detail);
    if (!model_check(m, db, durability == HF_DURABILITY_COMMIT ? m->acked : 0, false))
        fail_msg("%s, call %llu, error %d: %s", p->what, (unsigned long long)p->from, p->error, m->detail);
    hf_close(db);
}

/* Opens a store, meets the fault while working, heals. Returns how many calls failed. */
static uint64_t run(const struct plan *p)
{
    struct model m;
    struct prodder prodder;
    hf_db *db;
    small();
    rec_start();
    rec.speed = SPEED;
    rec_arm(0, false, 1, p->from * 31 + p->calls);
    model_init(&m, 0, p->from);
    m.large = p->from % 4 == 0;
    assert_int_equal(open_db(p->durability, &db), 0);
    prod_start(&prodder, db);
    for (int i = 0; i < 5; i++)
        assert_true(step(&m, db));
    rec_set_fault(p->calls, p->path, p->from, p->count, p->error);
    uint64_t begun = now_ms();
    for (int i = 0; i < STEPS && now_ms() - begun < 500; i++) {
        step(&m, db);
        if (i == STEPS / 2 && p->snapshots)
            (void)hf_snapshot(db); /* may fail; harms nothing */
        check_model(&m, p->what, p->from);
    }
    uint64_t hits = rec_clear_fault(), took = wait_for_health(&m, db);
    if (took > HEAL_MS)
        fail_msg("%s, call %llu: no commit for %llu ms after the fault", p->what, (unsigned long long)p->from,
                 (unsigned long long)took);
    if (p->snapshots)
        assert_int_equal(hf_snapshot(db), 0);
    assert_true(step(&m, db));
    check_model(&m, p->what, p->from);
    if (!model_check(&m, db, m.tried, false)) /* memory holds all, whatever the disk did */
        fail_msg("%s, call %llu: in memory: %s", p->what, (unsigned long long)p->from, m.detail);
    rec_cut();
    prod_stop(&prodder);
    hf_close(db);
    cut_and_compare(&m, p, p->durability);
    model_free(&m);
    rec_stop();
    return hits;
}

/* n = 1, 2, 3 ... without a gap, until runs meet no fault any more. */
static void each_in_turn(const char *what, uint32_t calls, uint64_t count, int error, int durability)
{
    for (int snapshots = 0; snapshots < 2; snapshots++) { /* what a snapshot holds, the log may have lost unnoticed */
        uint64_t most = 0;
        for (uint64_t n = 1; n <= most + WITHOUT_MAX * stride(); n += stride()) {
            struct plan p = {what, calls, NULL, n, count, error, durability, snapshots};
            if (run(&p))
                most = n;
        }
        print_message("%s%s: calls 1 to %llu each failed\n", what, snapshots ? ", with snapshots" : "", (unsigned long long)most);
        assert_true(most > 0 || !snapshots);
    }
}

static void test_one_failing_write(void **state)
{
    (void)state;
    each_in_turn("pwrite, EIO once", REC_BIT(REC_PWRITE), 1, -EIO, HF_DURABILITY_COMMIT);
    each_in_turn("pwrite, ENOSPC for 5 calls", REC_BIT(REC_PWRITE), 5, -ENOSPC, HF_DURABILITY_COMMIT);
    each_in_turn("pwrite, EIO once, interval", REC_BIT(REC_PWRITE), 1, -EIO, HF_DURABILITY_INTERVAL);
}

static void test_one_failing_fdatasync(void **state)
{
    (void)state;
    each_in_turn("fdatasync, EIO once", REC_BIT(REC_FDATASYNC), 1, -EIO, HF_DURABILITY_COMMIT);
    each_in_turn("fdatasync, EIO for 3 calls", REC_BIT(REC_FDATASYNC), 3, -EIO, HF_DURABILITY_COMMIT);
    each_in_turn("fdatasync, EIO once, interval", REC_BIT(REC_FDATASYNC), 1, -EIO, HF_DURABILITY_INTERVAL);
}

static void test_failing_names(void **state)
{
    (void)state;
    each_in_turn("open, EIO once", REC_BIT(REC_OPEN), 1, -EIO, HF_DURABILITY_COMMIT);
    each_in_turn("open, ENOSPC for 3 calls", REC_BIT(REC_OPEN), 3, -ENOSPC, HF_DURABILITY_COMMIT);
    each_in_turn("rename, EIO once", REC_BIT(REC_RENAME), 1, -EIO, HF_DURABILITY_COMMIT);
    each_in_turn("sync_dir, EIO once", REC_BIT(REC_SYNC_DIR), 1, -EIO, HF_DURABILITY_COMMIT);
    each_in_turn("sync_dir, EIO for 3 calls", REC_BIT(REC_SYNC_DIR), 3, -EIO, HF_DURABILITY_COMMIT);
    each_in_turn("unlink, EIO for 2 calls", REC_BIT(REC_UNLINK), 2, -EIO, HF_DURABILITY_COMMIT);
    each_in_turn("list_dir, EIO once", REC_BIT(REC_LIST_DIR), 1, -EIO, HF_DURABILITY_COMMIT);
}

static void *end_fault_later(void *context)
{
    usleep(200000);
    atomic_store((_Atomic uint64_t *)context, now_ms());
    rec_clear_fault();
    return NULL;
}

/* Everything that changes the disk fails for 200 ms of the true clock; then it all goes on within a second. */
static void test_a_dead_disk_comes_back(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        struct model m;
        hf_db *db;
        _Atomic uint64_t ended = 0;
        uint64_t healthy = 0;
        int error = i % 2 ? -ENOSPC : -EIO, durability = i / 2 ? HF_DURABILITY_INTERVAL : HF_DURABILITY_COMMIT;
        uint32_t calls = error == -ENOSPC ? REC_BIT(REC_PWRITE) | REC_BIT(REC_OPEN) : REC_CHANGES;
        small();
        rec_start();
        rec_arm(0, false, 1, (uint64_t)i);
        model_init(&m, 0, (uint64_t)i + 77);
        assert_int_equal(open_db(durability, &db), 0);
        for (int k = 0; k < 20; k++)
            assert_true(step(&m, db));
        rec_set_fault(calls, NULL, 1, UINT64_MAX, error);
        pthread_t ender = thread_start("ender", end_fault_later, &ended);
        while (healthy == 0) {
            bool was_over = atomic_load(&ended) != 0;
            if (step(&m, db) && (was_over || atomic_load(&ended)))
                healthy = now_ms();
            usleep(2000);
        }
        pthread_join(ender, NULL);
        check_model(&m, "a dead disk", (uint64_t)i);
        print_message("error %d: healthy after %llu ms\n", error, (unsigned long long)(healthy - ended));
        assert_true(healthy - ended <= HEAL_MS);
        for (int k = 0; k < 20; k++)
            assert_true(step(&m, db));
        rec_cut();
        hf_close(db);
        struct plan p = {"a dead disk", calls, NULL, 1, UINT64_MAX, error, durability};
        cut_and_compare(&m, &p, durability);
        model_free(&m);
        rec_stop();
    }
}

/* As long as the disk is dead commits are refused, with a word for it; nobody waits for ever. */
static void test_refusals_on_a_dead_disk(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct model m;
        struct prodder prodder;
        hf_db *db;
        hf_txn *t;
        hf_slice key = model_text("elsewhere");
        small();
        rec_start();
        rec.speed = SPEED;
        rec_arm(0, false, 1, 9);
        model_init(&m, 0, (uint64_t)i);
        assert_int_equal(open_db(HF_DURABILITY_COMMIT, &db), 0);
        prod_start(&prodder, db);
        for (int k = 0; k < 20; k++)
            assert_true(step(&m, db));
        rec_set_fault(REC_CHANGES, NULL, 1, UINT64_MAX, i ? -ENOSPC : -EIO);
        assert_int_equal(hf_begin(db, &key, 1, &t), 0);
        assert_int_equal(hf_set(t, key, model_text("x"), 0), 0);
        assert_int_equal(hf_commit(t), i ? HF_ERR_DISK_FULL : HF_ERR_LOG_BROKEN); /* may yet come true */
        assert_int_equal(hf_begin(db, &key, 1, &t), i ? HF_ERR_DISK_FULL : HF_ERR_LOG_BROKEN);
        rec_clear_fault();
        assert_true(wait_for_health(&m, db) <= HEAL_MS);
        assert_int_equal(hf_begin(db, &key, 1, &t), 0);
        int found = 0;
        hf_slice value;
        assert_int_equal(hf_get(t, key, &value, &found), 0);
        assert_int_equal(found, 1);
        hf_rollback(t);
        prod_stop(&prodder);
        rec_cut();
        hf_close(db);
        struct plan p = {.what = "refusals on a dead disk"};
        cut_and_compare(&m, &p, HF_DURABILITY_COMMIT);
        model_free(&m);
        rec_stop();
    }
}

/* The n-th call of an open fails: it says so, leaves nothing locked, and the next one finds everything. */
static void test_a_failing_open(void **state)
{
    static const int errors[] = {-EIO, -ENOSPC};
    (void)state;
    unsigned refused = 0, n = 0;
    for (unsigned fresh = 0; fresh < 2; fresh++) {
        for (n = 1; n < 400; n++) {
            struct model m;
            hf_db *db = NULL;
            small();
            rec_start();
            rec.speed = SPEED;
            model_init(&m, 0, n);
            if (!fresh) {
                assert_int_equal(open_db(HF_DURABILITY_COMMIT, &db), 0);
                for (int i = 0; i < 10; i++)
                    assert_true(step(&m, db));
                assert_int_equal(hf_snapshot(db), 0);
                for (int i = 0; i < 10; i++)
                    assert_true(step(&m, db));
                rec_arm(0, false, 1, n); /* cut, not closed: recovery has a tail to seal */
                rec_cut();
                hf_close(db);
                db = NULL;
                rec_insert(rec.forks[0]);
            }
            rec_set_fault((1u << REC_CALLS) - 1, NULL, n, 1, errors[n % 2]);
            hf_status s = open_db(HF_DURABILITY_COMMIT, &db);
            uint64_t hits = rec_clear_fault();
            if (s != 0) {
                refused++;
                assert_null(db);
                assert_true(detail[0]);
                assert_int_equal(open_db(HF_DURABILITY_COMMIT, &db), 0);
            }
            struct prodder prodder;
            bool whole = model_check(&m, db, m.acked, false);
            prod_start(&prodder, db);
            wait_for_health(&m, db); /* the fault may have hit the log's threads */
            prod_stop(&prodder);
            check_model(&m, "after a failed open", n);
            if (!whole || m.acked != m.tried)
                fail_msg("open, call %u, fresh %u: %s", n, fresh, m.detail);
            rec_arm(0, false, 1, n);
            rec_cut();
            hf_close(db);
            struct plan p = {"open", 0, NULL, n, 1, errors[n % 2], 0};
            cut_and_compare(&m, &p, HF_DURABILITY_COMMIT);
            model_free(&m);
            rec_stop();
            if (hits == 0)
                break;
        }
        print_message("%s: %u calls\n", fresh ? "fresh" : "with a log", n);
        assert_true(n > 10 && n < 400);
    }
    assert_true(refused > 10);
}

/* A disk that answers nothing any more: closing gives up in the end. */
static void test_close_on_a_dead_disk(void **state)
{
    (void)state;
    struct model m;
    hf_db *db;
    small();
    rec_start();
    rec.speed = SPEED;
    rec_arm(0, false, 1, 5);
    model_init(&m, 0, 5);
    assert_int_equal(open_db(HF_DURABILITY_COMMIT, &db), 0);
    for (int i = 0; i < 20; i++)
        assert_true(step(&m, db));
    rec_set_fault(REC_CHANGES, NULL, 1, UINT64_MAX, -EIO);
    step(&m, db);
    hf_close(db);
    rec_clear_fault();
    rec_cut();
    struct plan p = {.what = "close on a dead disk"};
    cut_and_compare(&m, &p, HF_DURABILITY_COMMIT);
    model_free(&m);
    rec_stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_failing_write),      cmocka_unit_test(test_one_failing_fdatasync),
        cmocka_unit_test(test_failing_names),          cmocka_unit_test(test_a_dead_disk_comes_back),
        cmocka_unit_test(test_refusals_on_a_dead_disk), cmocka_unit_test(test_a_failing_open),
        cmocka_unit_test(test_close_on_a_dead_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
