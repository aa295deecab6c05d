/* test_engine.c -- opening, refusing, recovering: the engine's edges.
 *
 * Goal: a directory has one owner; a memory-only library does not open a directory with a log;
 * each damaged bit of holdfast.id is found and named; what is recovered from snapshot and log
 * equals what was there, with the default sizes on a true disk too; recovered again and
 * again it stays the same.
 * Method: example cases on the simulated disk of support/recorder.h, whose bytes a test can flip, and
 * on a directory below /tmp.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "../support/recorder.h"
#include "../support/small_library.h"
#include "../support/model.h"

#define DATA_DIR REC_ROOT "/data"

static char detail[512];

static hf_status try_open(const char *dir, int durability, hf_db **db)
{
    hf_options options = {.dir = dir, .durability = durability};
    memset(detail, 0, sizeof(detail));
    return hf_open(&options, db, detail, sizeof(detail));
}

static hf_db *open_db(const char *dir, int durability)
{
    hf_db *db = NULL;
    if (try_open(dir, durability, &db) != 0)
        fail_msg("%s", detail);
    return db;
}

static void put(hf_db *db, const char *name, const char *value)
{
    hf_txn *t;
    hf_slice key = model_text(name);
    assert_int_equal(hf_begin(db, &key, 1, &t), 0);
    assert_int_equal(hf_set(t, key, model_text(value), 0), 0);
    assert_int_equal(hf_commit(t), 0);
}

static bool holds(hf_db *db, const char *name, const char *value)
{
    hf_txn *t;
    hf_slice key = model_text(name), got;
    int found = 0;
    assert_int_equal(hf_begin(db, &key, 1, &t), 0);
    assert_int_equal(hf_get(t, key, &got, &found), 0);
    bool same = found && got.size == strlen(value) && memcmp(got.data, value, got.size) == 0;
    hf_rollback(t);
    return same;
}

static int on_recorder(void **state)
{
    (void)state;
    small_options.segment_size = 64 << 10;
    small_options.ring_size = 256 << 10;
    small_options.interval_ms = 5;
    rec_start();
    return 0;
}

static int off_recorder(void **state)
{
    (void)state;
    rec_stop();
    return 0;
}

/* --- doors ----------------------------------------------------------------------------- */

static void test_one_owner(void **state)
{
    (void)state;
    hf_db *db = open_db(DATA_DIR, HF_DURABILITY_COMMIT), *other = NULL;
    put(db, "a", "1");
    for (int durability = 0; durability < 3; durability++) {
        assert_int_equal(try_open(DATA_DIR, durability, &other), HF_ERR_LOCKED);
        assert_null(other);
        assert_non_null(strstr(detail, DATA_DIR));
        assert_non_null(strstr(detail, "in use by another holdfast"));
    }
    put(db, "a", "2");
    hf_close(db);
    db = open_db(DATA_DIR, HF_DURABILITY_COMMIT);
    assert_true(holds(db, "a", "2"));
    hf_close(db);
}

static void test_memory_only_refuses_a_log(void **state)
{
    (void)state;
    hf_db *db = open_db(DATA_DIR, HF_DURABILITY_COMMIT), *other = NULL;
    put(db, "a", "1");
    hf_close(db);
    assert_int_equal(try_open(DATA_DIR, HF_DURABILITY_NONE, &other), HF_ERR_INVALID);
    assert_null(other);
    assert_non_null(strstr(detail, "holds a log"));
    assert_non_null(strstr(detail, DATA_DIR));
    db = open_db(DATA_DIR, HF_DURABILITY_INTERVAL); /* the refusal let go of the lock and harmed nothing */
    assert_true(holds(db, "a", "1"));
    hf_close(db);
}

/* A directory that cannot be listed may hold a log: no guess. */
static void test_memory_only_does_not_guess(void **state)
{
    (void)state;
    hf_db *db = open_db(DATA_DIR, HF_DURABILITY_COMMIT), *other = NULL;
    hf_close(db);
    rec_set_fault(REC_BIT(REC_LIST_DIR), NULL, 1, 1, -EIO);
    assert_int_not_equal(try_open(DATA_DIR, HF_DURABILITY_NONE, &other), 0);
    assert_null(other);
    assert_true(detail[0]);
    rec_clear_fault();
}

static void test_memory_only_keeps_nothing(void **state)
{
    (void)state;
    hf_db *db = open_db(DATA_DIR, HF_DURABILITY_NONE);
    put(db, "a", "1");
    assert_true(holds(db, "a", "1"));
    hf_close(db);
    assert_null(rec_find(&rec.disk->live, DATA_DIR "/holdfast.id"));
    db = open_db(DATA_DIR, HF_DURABILITY_NONE);
    assert_false(holds(db, "a", "1"));
    hf_close(db);
}

static void test_no_directory_for_it(void **state)
{
    (void)state;
    hf_db *db = NULL;
    assert_int_equal(try_open(REC_ROOT "/no/such/place", HF_DURABILITY_COMMIT, &db), HF_ERR_IO);
    assert_null(db);
    assert_non_null(strstr(detail, REC_ROOT "/no/such/place"));
}

/* --- the identity -------------------------------------------------------------------------- */

static struct rec_bytes *identity(void)
{
    struct rec_name *n = rec_find(&rec.disk->live, DATA_DIR "/holdfast.id");
    assert_non_null(n);
    return &n->file->live;
}

static void test_every_flip_in_the_identity_is_found(void **state)
{
    (void)state;
    hf_db *db = open_db(DATA_DIR, HF_DURABILITY_COMMIT);
    put(db, "a", "1");
    hf_close(db);
    for (size_t bit = 0; bit < identity()->size * 8; bit++) {
        identity()->data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        db = NULL;
        assert_int_equal(try_open(DATA_DIR, HF_DURABILITY_COMMIT, &db), HF_ERR_CORRUPT);
        assert_null(db);
        assert_non_null(strstr(detail, "holdfast.id"));
        identity()->data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    db = open_db(DATA_DIR, HF_DURABILITY_COMMIT);
    assert_true(holds(db, "a", "1"));
    hf_close(db);
}

static void test_a_cut_identity_is_found(void **state)
{
    (void)state;
    hf_db *db = open_db(DATA_DIR, HF_DURABILITY_COMMIT);
    hf_close(db);
    for (size_t size = identity()->size; size-- > 0;) {
        db = NULL;
        rec_resize(identity(), size);
        assert_int_equal(try_open(DATA_DIR, HF_DURABILITY_COMMIT, &db), HF_ERR_CORRUPT);
        assert_null(db);
    }
}

/* Without its identity a log is somebody else's: to begin anew beside it would lose it silently. */
static void test_a_log_without_identity_is_not_ignored(void **state)
{
    (void)state;
    hf_db *db = open_db(DATA_DIR, HF_DURABILITY_COMMIT);
    put(db, "a", "1");
    hf_close(db);
    rec_unlink(DATA_DIR "/holdfast.id");
    db = NULL;
    assert_int_equal(try_open(DATA_DIR, HF_DURABILITY_COMMIT, &db), HF_ERR_CORRUPT);
    assert_null(db);
    assert_non_null(strstr(detail, "holdfast.id"));
}

/* --- recovery ------------------------------------------------------------------------------- */

static void check(struct model *m, hf_db *db, const char *when)
{
    if (!model_check(m, db, m->tried, false))
        fail_msg("%s: %s", when, m->detail);
}

static void steps(struct model *m, hf_db *db, int count)
{
    for (int i = 0; i < count; i++) {
        enum model_outcome outcome = model_step(m, db, 10);
        assert_true(outcome == MODEL_COMMITTED || outcome == MODEL_ROLLED_BACK);
    }
    m->acked = m->tried;
}

static void snapshot_and_log(const char *dir, int durability)
{
    struct model models[2];
    hf_db *db = open_db(dir, durability);
    model_init(&models[0], 0, 4);
    model_init(&models[1], 1, 4);
    models[0].large = true;
    for (int round = 0; round < 6; round++) {
        steps(&models[0], db, 60); /* before the snapshot only, after it only, and both */
        if (round % 2)
            steps(&models[1], db, 30);
        if (round % 3 < 2)
            assert_int_equal(hf_snapshot(db), 0);
        steps(&models[0], db, round % 2 ? 40 : 0);
        steps(&models[1], db, round % 4 ? 0 : 20);
        for (int again = 0; again < 2; again++) {
            hf_close(db);
            db = open_db(dir, durability);
            check(&models[0], db, "reopened");
            check(&models[1], db, "reopened");
        }
    }
    hf_close(db);
    model_free(&models[0]);
    model_free(&models[1]);
}

static void test_snapshot_and_log(void **state)
{
    (void)state;
    snapshot_and_log(DATA_DIR, HF_DURABILITY_COMMIT);
    rec_insert(rec_disk_new());
    snapshot_and_log(DATA_DIR, HF_DURABILITY_INTERVAL);
}

static void test_trimmed_segments_go(void **state)
{
    (void)state;
    struct model m;
    hf_db *db = open_db(DATA_DIR, HF_DURABILITY_COMMIT);
    size_t most = 0;
    model_init(&m, 0, 12);
    for (int round = 0; round < 10; round++) {
        steps(&m, db, 150);
        assert_int_equal(hf_snapshot(db), 0);
        size_t segments = 0, snapshots = 0;
        pthread_mutex_lock(&rec.lock);
        for (size_t i = 0; i < rec.disk->live.count; i++) {
            segments += strstr(rec.disk->live.at[i].path, "/log-0") != NULL;
            snapshots += strstr(rec.disk->live.at[i].path, "/snapshot-") != NULL;
        }
        pthread_mutex_unlock(&rec.lock);
        assert_int_equal(snapshots, 1);
        most = segments > most ? segments : most;
    }
    assert_true(most <= 2);
    check(&m, db, "in memory");
    hf_close(db);
    db = open_db(DATA_DIR, HF_DURABILITY_COMMIT);
    check(&m, db, "reopened");
    hf_close(db);
    model_free(&m);
}

/* A past deadline is no longer there after a reopening either; a future one is. */
static void test_deadlines_survive(void **state)
{
    (void)state;
    hf_db *db = open_db(DATA_DIR, HF_DURABILITY_COMMIT);
    hf_slice keys[] = {model_text("short"), model_text("long")}, value;
    hf_txn *t;
    int found;
    uint64_t now = OS.wall_ms();
    assert_int_equal(hf_begin(db, keys, 2, &t), 0);
    assert_int_equal(hf_set(t, keys[0], model_text("x"), now + 50), 0);
    assert_int_equal(hf_set(t, keys[1], model_text("x"), now + 1000000), 0);
    assert_int_equal(hf_commit(t), 0);
    assert_int_equal(hf_snapshot(db), 0);
    usleep(80000);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(hf_begin(db, keys, 2, &t), 0);
        assert_int_equal(hf_get(t, keys[0], &value, &found), 0);
        assert_int_equal(found, 0);
        assert_int_equal(hf_get(t, keys[1], &value, &found), 0);
        assert_int_equal(found, 1);
        hf_rollback(t);
        hf_close(db);
        db = open_db(DATA_DIR, HF_DURABILITY_COMMIT);
    }
    hf_close(db);
}

static void test_keys_that_begin_did_not_name(void **state)
{
    (void)state;
    hf_db *db = open_db(DATA_DIR, HF_DURABILITY_COMMIT);
    hf_slice named = model_text("{x}named"), elsewhere = model_text("elsewhere"), neighbour = model_text("{x}other"), value;
    hf_txn *t;
    int found;
    assert_int_equal(hf_begin(db, &named, 1, &t), 0);
    assert_int_equal(hf_set(t, named, model_text("1"), 0), 0);
    assert_int_equal(hf_set(t, elsewhere, model_text("1"), 0), HF_INVALID_STATUS);
    assert_int_equal(hf_get(t, elsewhere, &value, &found), HF_INVALID_STATUS);
    assert_int_equal(hf_set(t, neighbour, model_text("1"), 0), HF_INVALID_STATUS); /* in the same stripe */
    assert_int_equal(hf_commit(t), 0);
    assert_true(holds(db, "{x}named", "1"));
    assert_false(holds(db, "elsewhere", "1"));
    assert_int_equal(hf_begin(db, NULL, 0, &t), 0);
    assert_int_equal(hf_get(t, named, &value, &found), HF_INVALID_STATUS);
    assert_int_equal(hf_commit(t), 0);
    hf_close(db);
}

/* --- a true disk, the default sizes ------------------------------------------------------------ */

static void remove_one(void *context, const char *name)
{
    char path[512];
    snprintf(path, sizeof(path), "%s/%s", (const char *)context, name);
    unlink(path);
}

static void test_true_disk(void **state)
{
    (void)state;
    char dir[] = "/tmp/hf-engine-XXXXXX";
    assert_non_null(mkdtemp(dir));
    memset(&small_options, 0, sizeof(small_options));
    snapshot_and_log(dir, HF_DURABILITY_INTERVAL);
    hf_db *db = open_db(dir, HF_DURABILITY_COMMIT), *other = NULL;
    assert_int_equal(try_open(dir, HF_DURABILITY_COMMIT, &other), HF_ERR_LOCKED);
    hf_close(db);
    os_kernel.list_dir(dir, remove_one, dir);
    rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_one_owner, on_recorder, off_recorder),
        cmocka_unit_test_setup_teardown(test_memory_only_refuses_a_log, on_recorder, off_recorder),
        cmocka_unit_test_setup_teardown(test_memory_only_does_not_guess, on_recorder, off_recorder),
        cmocka_unit_test_setup_teardown(test_memory_only_keeps_nothing, on_recorder, off_recorder),
        cmocka_unit_test_setup_teardown(test_no_directory_for_it, on_recorder, off_recorder),
        cmocka_unit_test_setup_teardown(test_every_flip_in_the_identity_is_found, on_recorder, off_recorder),
        cmocka_unit_test_setup_teardown(test_a_cut_identity_is_found, on_recorder, off_recorder),
        cmocka_unit_test_setup_teardown(test_a_log_without_identity_is_not_ignored, on_recorder, off_recorder),
        cmocka_unit_test_setup_teardown(test_snapshot_and_log, on_recorder, off_recorder),
        cmocka_unit_test_setup_teardown(test_trimmed_segments_go, on_recorder, off_recorder),
        cmocka_unit_test_setup_teardown(test_deadlines_survive, on_recorder, off_recorder),
        cmocka_unit_test_setup_teardown(test_keys_that_begin_did_not_name, on_recorder, off_recorder),
        cmocka_unit_test(test_true_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
