/* test_flush.c -- a database that is to be emptied at a time.
 *
 * Goal: what was asked for happens, once, whether the engine runs when the time comes or is opened later, from the log and from a
 * snapshot; the last word counts. Other databases keep their keys.
 * Method: the engine on the simulated disk of support/recorder.h, with its clock: opening looks at the time by itself, and what
 * the executor does when it is time is seen by its looking at flush_at_ms.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "../support/one_engine.h"

#include "engine/internal.h"
#include "engine/items.h"
#include "engine/keys.h"

static uint64_t now_ms(void) { return OS.wall_ms(); }

static void put(uint32_t db, const char *name)
{
    struct key k;
    txn_reset(t, now_ms());
    txn_locate(engine, db, bytes_str(name), &k);
    txn_lock_add(t, k.stripe);
    assert_int_equal(txn_lock_all(t), -1);
    assert_int_equal(item_put(t, &k, BYTES("v"), &(struct item_fields){0}, NULL), HF_OK);
    txn_commit_lsn(t);
}

static uint64_t count(uint32_t db)
{
    txn_reset(t, now_ms());
    uint64_t keys = db_size(t, db);
    txn_commit_lsn(t);
    return keys;
}

static void flush_at(uint32_t db, uint64_t at_ms)
{
    txn_reset(t, now_ms());
    assert_int_equal(db_flush_later(t, db, at_ms), HF_OK);
    txn_commit_lsn(t);
    assert_int_equal(engine->flush_at_ms, at_ms);
}

static void overdue_at_the_opening(bool snapshot)
{
    put(1, "a");
    put(2, "b");
    flush_at(1, now_ms());
    assert_int_equal(count(1), 1); /* nobody has looked yet */
    reopen(snapshot);
    assert_int_equal(count(1), 0);
    assert_int_equal(count(2), 1);
    assert_int_equal(engine->flush_at_ms, 0);
    put(1, "a");
    reopen(false);
    assert_int_equal(count(1), 1); /* once */
}

static void test_what_is_overdue_happens_at_the_opening(void **state)
{
    (void)state;
    overdue_at_the_opening(false);
    overdue_at_the_opening(true);
}

static void test_what_is_not_due_waits(void **state)
{
    (void)state;
    uint64_t at_ms = now_ms() + 1000000;
    put(3, "a");
    flush_at(3, at_ms);
    for (int snapshot = 0; snapshot < 2; snapshot++) {
        reopen(snapshot);
        assert_int_equal(count(3), 1);
        assert_int_equal(engine->flush_at_ms, at_ms);
        assert_int_equal(engine->flush_db, 3);
    }
}

static void test_the_last_word_counts(void **state)
{
    (void)state;
    put(0, "a");
    flush_at(0, now_ms());
    flush_at(0, now_ms() + 1000000);
    reopen(false);
    assert_int_equal(count(0), 1);
    flush_at(0, 0);
    reopen(false);
    assert_int_equal(engine->flush_at_ms, 0);
    assert_int_equal(count(0), 1);
}

static void test_a_database_that_is_no_more_is_left_alone(void **state)
{
    char detail[512];
    (void)state;
    put(0, "a");
    flush_at(3, now_ms());
    close_engine();
    struct engine_config config = {.dir = DATA_DIR, .databases = 2, .workers = 1, .durability = DURABILITY_COMMIT,
                                   .ring_size = 512 << 10, .segment_size = 256 << 10};
    assert_int_equal(engine_open(&config, &engine, detail, sizeof(detail)), HF_OK);
    t = txn_new(engine);
    assert_int_equal(count(0), 1);
    assert_int_equal(engine->flush_at_ms, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_what_is_overdue_happens_at_the_opening, one_engine_setup, one_engine_teardown),
        cmocka_unit_test_setup_teardown(test_what_is_not_due_waits, one_engine_setup, one_engine_teardown),
        cmocka_unit_test_setup_teardown(test_the_last_word_counts, one_engine_setup, one_engine_teardown),
        cmocka_unit_test_setup_teardown(test_a_database_that_is_no_more_is_left_alone, one_engine_setup, one_engine_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
