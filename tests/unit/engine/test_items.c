/* test_items.c -- client flags and versions of strings.
 *
 * Goal: a version lives exactly as long as its value, whatever changes that and in whatever way; it, the marks and the client
 * flags are there again after a restart, from the log and from a snapshot; no number comes twice.
 * Method: operations of the engine on one key at a time, each in a transaction, on the simulated disk of support/recorder.h.
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
#include "engine/strings.h"

#define NOW 1700000000000u

/* The keys of the transaction under way, all locked. */
static struct key keys[2];

static void begin(const char *first, const char *second)
{
    txn_reset(t, NOW);
    txn_locate(engine, 0, bytes_str(first), &keys[0]);
    txn_locate(engine, 0, bytes_str(second ? second : first), &keys[1]);
    txn_lock_add(t, keys[0].stripe);
    txn_lock_add(t, keys[1].stripe);
    assert_int_equal(txn_lock_all(t), -1);
}

static void put(const char *key, const char *value, const struct item_fields *fields)
{
    begin(key, NULL);
    assert_int_equal(item_put(t, &keys[0], bytes_str(value), fields, NULL), HF_OK);
    txn_commit_lsn(t);
}

static struct item look(const char *key)
{
    struct item item = {0};
    begin(key, NULL);
    assert_int_equal(item_get(t, &keys[0], &item), HF_OK);
    txn_commit_lsn(t);
    return item;
}

static size_t memory(const char *key)
{
    begin(key, NULL);
    size_t size = item_memory(t, &keys[0]);
    txn_commit_lsn(t);
    return size;
}

static uint64_t version(const char *key)
{
    uint64_t v = 0;
    begin(key, NULL);
    assert_int_equal(item_version(t, &keys[0], &v), HF_OK);
    txn_commit_lsn(t);
    assert_true(v > 0 && v <= ITEM_VERSION_MAX);
    return v;
}

static const char long_value[40000] = {[0 ... 39998] = 'v'};

enum alteration { SET, APPEND, RANGE, RANGE_INSIDE, INCR, INCR_FLOAT, GROW, CHANGE_COUNT };

static void alter(enum alteration how, const char *key)
{
    struct set_result set;
    size_t size;
    int64_t sum;
    bool grew;
    bytes text;
    status s = HF_OK;
    begin(key, NULL);
    switch (how) {
    case SET: s = string_set(t, &keys[0], BYTES("17"), &(struct set_options){0}, &set); break;
    case APPEND: s = string_append(t, &keys[0], BYTES("1"), &size); break;
    case RANGE: s = string_set_range(t, &keys[0], 1, BYTES("2345"), &size); break;
    case RANGE_INSIDE: s = string_set_range(t, &keys[0], 0, BYTES("3"), &size); break;
    case INCR: s = string_incr_by(t, &keys[0], 1, &sum); break;
    case INCR_FLOAT: s = string_incr_float(t, &keys[0], 1, &text); break;
    case GROW: s = string_grow(t, &keys[0], 50000, &grew); break;
    case CHANGE_COUNT: break;
    }
    assert_int_equal(s, HF_OK);
    txn_commit_lsn(t);
}

static void test_fields_cost_nothing_unused(void **state)
{
    (void)state;
    put("plain", "some value", &(struct item_fields){0});
    put("flags", "some value", &(struct item_fields){.flags = 7});
    version("flags");
    struct item plain = look("plain"), other = look("flags");
    assert_int_equal(plain.version, 0);
    assert_int_equal(plain.flags, 0);
    assert_int_equal(other.flags, 7);
    assert_true(memory("flags") >= memory("plain") + 8);
}

static void test_any_change_ends_the_version(void **state)
{
    (void)state;
    for (int large = 0; large < 2; large++) {
        for (enum alteration how = SET; how < CHANGE_COUNT; how++) {
            if (large && (how == INCR || how == INCR_FLOAT))
                continue;
            put("k", large ? long_value : how == RANGE_INSIDE ? "abc" : "12", &(struct item_fields){.flags = 9});
            uint64_t before = version("k");
            assert_int_equal(look("k").version, before);
            alter(how, "k");
            if (how == RANGE_INSIDE || how == GROW)
                alter(how, "k");
            struct item after = look("k");
            assert_int_equal(after.version, 0);
            assert_int_equal(after.flags, how == SET ? 0 : 9);
            reopen(false);
            assert_int_equal(look("k").version, 0);
            assert_true(version("k") > before);
        }
    }
}

static void test_deadline_keeps_it(void **state)
{
    (void)state;
    put("k", "v", &(struct item_fields){.flags = 3});
    uint64_t v = version("k");
    begin("k", NULL);
    assert_true(key_set_deadline(t, &keys[0], NOW + 5000, 0));
    txn_commit_lsn(t);
    struct item item = look("k");
    assert_int_equal(item.version, v);
    assert_int_equal(item.flags, 3);
    assert_int_equal(item.deadline_ms, NOW + 5000);
    begin("k", NULL);
    assert_true(key_persist(t, &keys[0]));
    txn_commit_lsn(t);
    assert_int_equal(look("k").version, v);
}

static void test_over_a_restart(void **state)
{
    (void)state;
    for (int snapshot = 0; snapshot < 2; snapshot++) {
        put("k", "v", &(struct item_fields){.flags = UINT32_MAX, .deadline_ms = UINT64_C(4000000000000)});
        put("marked", "v", &(struct item_fields){.marks = ITEM_CLAIMED});
        put("given", "v", &(struct item_fields){.version = ITEM_VERSION_MAX, .marks = ITEM_STALE});
        uint64_t v = version("k");
        reopen(snapshot);
        struct item item = look("k");
        assert_int_equal(item.version, v);
        assert_int_equal(item.flags, UINT32_MAX);
        assert_int_equal(item.deadline_ms, UINT64_C(4000000000000));
        assert_int_equal(look("marked").marks, ITEM_CLAIMED);
        assert_int_equal(look("given").version, ITEM_VERSION_MAX);
        assert_int_equal(look("given").marks, ITEM_STALE);
        put("k", "w", &(struct item_fields){0});
        assert_true(look("k").version > v); /* one that had a version gets the next one at once */
    }
}

static void test_mark(void **state)
{
    (void)state;
    put("k", "v", &(struct item_fields){.flags = 1});
    uint64_t v = version("k");
    begin("k", NULL);
    assert_int_equal(item_mark(t, &keys[0], v, ITEM_STALE | ITEM_CLAIMED), HF_OK);
    txn_commit_lsn(t);
    reopen(false);
    struct item item = look("k");
    assert_int_equal(item.version, v);
    assert_int_equal(item.marks, ITEM_STALE | ITEM_CLAIMED);
    begin("k", NULL);
    assert_int_equal(item_mark(t, &keys[0], 0, 0), HF_OK);
    txn_commit_lsn(t);
    assert_true(look("k").version > v);
    assert_int_equal(look("k").marks, 0);
}

static void test_copies_have_flags_and_no_version(void **state)
{
    (void)state;
    bool done;
    put("a", "v", &(struct item_fields){.flags = 5});
    version("a");
    begin("a", "b");
    assert_int_equal(key_copy(t, &keys[0], &keys[1], true, &done), HF_OK);
    txn_commit_lsn(t);
    assert_int_equal(look("b").flags, 5);
    assert_int_equal(look("b").version, 0);
    version("b");
    begin("b", "c");
    assert_int_equal(key_rename(t, &keys[0], &keys[1], false, &done), HF_OK);
    txn_commit_lsn(t);
    reopen(false);
    assert_false(look("b").found);
    assert_int_equal(look("c").flags, 5);
    assert_int_equal(look("c").version, 0);
}

static void test_fetched_until_changed(void **state)
{
    (void)state;
    put("k", "abc", &(struct item_fields){0});
    assert_false(look("k").fetched);
    begin("k", NULL);
    item_access(t, &keys[0]);
    txn_commit_lsn(t);
    assert_true(look("k").fetched);
    version("k");
    assert_true(look("k").fetched);
    alter(APPEND, "k");
    assert_false(look("k").fetched);
}

static void test_past_deadline(void **state)
{
    (void)state;
    put("k", "v", &(struct item_fields){0});
    put("k", "w", &(struct item_fields){.deadline_ms = NOW - 1});
    assert_false(look("k").found);
}

/* Nothing is logged for a transaction that may not change anything, and the number serves until the restart. */
static void test_version_without_credit(void **state)
{
    (void)state;
    uint64_t v;
    put("k", "v", &(struct item_fields){0});
    begin("k", NULL);
    t->may_change = false;
    assert_int_equal(item_version(t, &keys[0], &v), HF_OK);
    assert_int_equal(t->record.size, RECORD_HEADER_SIZE);
    txn_commit_lsn(t);
    assert_int_equal(look("k").version, v);
    reopen(false);
    assert_int_equal(look("k").version, 0);
    assert_true(version("k") != v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_fields_cost_nothing_unused, one_engine_setup, one_engine_teardown),
        cmocka_unit_test_setup_teardown(test_any_change_ends_the_version, one_engine_setup, one_engine_teardown),
        cmocka_unit_test_setup_teardown(test_deadline_keeps_it, one_engine_setup, one_engine_teardown),
        cmocka_unit_test_setup_teardown(test_over_a_restart, one_engine_setup, one_engine_teardown),
        cmocka_unit_test_setup_teardown(test_mark, one_engine_setup, one_engine_teardown),
        cmocka_unit_test_setup_teardown(test_copies_have_flags_and_no_version, one_engine_setup, one_engine_teardown),
        cmocka_unit_test_setup_teardown(test_fetched_until_changed, one_engine_setup, one_engine_teardown),
        cmocka_unit_test_setup_teardown(test_past_deadline, one_engine_setup, one_engine_teardown),
        cmocka_unit_test_setup_teardown(test_version_without_credit, one_engine_setup, one_engine_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
