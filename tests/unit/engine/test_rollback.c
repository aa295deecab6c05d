/* test_rollback.c -- a transaction rolled back has not been.
 *
 * Goal: after hf_rollback every key holds what it held (value, type, deadline), in memory and
 * after a reopening; in the log there is nothing of it. A failing operation inside a
 * transaction changes nothing, and what follows it counts.
 * Method: random transactions of all operations (support/model.h), most of them rolled back; the
 * model forgets those. After each the keys are compared. On the simulated disk of
 * support/recorder.h, also memory only.
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

static hf_db *open_db(int durability)
{
    char detail[512] = "";
    hf_options options = {.dir = DATA_DIR, .durability = durability};
    hf_db *db = NULL;
    if (hf_open(&options, &db, detail, sizeof(detail)) != 0)
        fail_msg("%s", detail);
    return db;
}

static int setup(void **state)
{
    (void)state;
    small_options.segment_size = 256 << 10;
    small_options.ring_size = 512 << 10;
    small_options.interval_ms = 5;
    rec_start();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    rec_stop();
    return 0;
}

static void compare(struct model *m, hf_db *db, uint64_t seed, int step)
{
    if (!model_check(m, db, m->tried, false))
        fail_msg("seed %llu, step %d: %s", (unsigned long long)seed, step, m->detail);
}

static void random_transactions(int durability, uint64_t seeds, int steps)
{
    for (uint64_t seed = 1; seed <= seeds; seed++) {
        struct model m;
        model_init(&m, 0, seed);
        m.large = seed % 2;
        hf_db *db = open_db(durability);
        struct model_key empty[MODEL_KEYS] = {0};
        size_t row;
        assert_true(model_matches(&m, empty, 0, &row));
        for (int i = 0; i < steps; i++) {
            unsigned percent = i % 50 < 10 ? 0 : 90;
            enum model_outcome outcome = model_step(&m, db, percent);
            assert_true(outcome == MODEL_COMMITTED || outcome == MODEL_ROLLED_BACK);
            compare(&m, db, seed, i);
            if (durability != HF_DURABILITY_NONE && i % 100 == 99) {
                hf_close(db);
                db = open_db(durability);
                compare(&m, db, seed, i);
            }
        }
        hf_close(db);
        model_free(&m);
        rec_insert(rec_disk_new());
    }
}

static void test_random_in_memory(void **state)
{
    (void)state;
    random_transactions(HF_DURABILITY_NONE, 10, 400);
}

static void test_random_with_log(void **state)
{
    (void)state;
    random_transactions(HF_DURABILITY_INTERVAL, 4, 400);
    random_transactions(HF_DURABILITY_COMMIT, 4, 400);
}

static void test_snapshot_after_rollbacks(void **state)
{
    (void)state;
    struct model m;
    model_init(&m, 0, 99);
    hf_db *db = open_db(HF_DURABILITY_COMMIT);
    for (int i = 0; i < 200; i++) {
        model_step(&m, db, 50);
        if (i % 40 == 20)
            assert_int_equal(hf_snapshot(db), 0);
    }
    compare(&m, db, 99, 200);
    assert_int_equal(hf_snapshot(db), 0);
    hf_close(db);
    db = open_db(HF_DURABILITY_COMMIT);
    compare(&m, db, 99, 201);
    hf_close(db);
    model_free(&m);
}

/* Many keys made, changed and removed in one transaction; the index grows under it. */
static void test_rollback_of_many_keys(void **state)
{
    enum { MANY = 3000 };
    (void)state;
    hf_db *db = open_db(HF_DURABILITY_COMMIT);
    static char names[MANY][24];
    static hf_slice keys[MANY];
    hf_txn *t;
    for (int i = 0; i < MANY; i++) {
        snprintf(names[i], sizeof(names[i]), "{one}:%d", i); /* one stripe */
        keys[i] = model_text(names[i]);
    }
    assert_int_equal(hf_begin(db, keys, MANY, &t), 0);
    for (int i = 0; i < MANY; i += 3)
        assert_int_equal(hf_set(t, keys[i], model_text("before"), 0), 0);
    assert_int_equal(hf_commit(t), 0);
    assert_int_equal(hf_begin(db, keys, MANY, &t), 0);
    for (int i = 0; i < MANY; i++) {
        int done;
        if (i % 2)
            assert_int_equal(hf_append(t, keys[i], model_text("-after")), 0);
        else if (i % 5)
            assert_int_equal(hf_hash_set(t, keys[i], model_text("f"), model_text("v")), i % 3 ? 0 : HF_ERR_WRONGTYPE);
        else
            assert_int_equal(hf_remove(t, keys[i], &done), 0);
    }
    hf_rollback(t);
    for (int again = 0; again < 2; again++) {
        assert_int_equal(hf_begin(db, keys, MANY, &t), 0);
        for (int i = 0; i < MANY; i++) {
            hf_slice value;
            int found = 0;
            assert_int_equal(hf_get(t, keys[i], &value, &found), 0);
            assert_int_equal(found, i % 3 == 0);
            if (found)
                assert_true(value.size == 6 && memcmp(value.data, "before", 6) == 0);
        }
        hf_rollback(t);
        hf_close(db);
        db = open_db(HF_DURABILITY_COMMIT);
    }
    hf_close(db);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_random_in_memory, setup, teardown),
        cmocka_unit_test_setup_teardown(test_random_with_log, setup, teardown),
        cmocka_unit_test_setup_teardown(test_snapshot_after_rollbacks, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rollback_of_many_keys, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
