/* test_txn.c -- the stripes of a transaction.
 *
 * Goal: whichever stripes are named, in whatever order and however often, one by one or all at once, each is held once, in ascending
 * order, until the transaction ends; a busy one is named, and then none is held.
 * Method: a few named stripes and many random ones, against a naive set.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "../support/one_engine.h"
#include "../support/random.h"

#define NOW 1700000000000u

static void expect_held(const bool *named)
{
    size_t at = 0;
    for (unsigned stripe = 0; stripe < STRIPE_COUNT; stripe++) {
        struct stripe *s = &engine->store->stripes[stripe];
        if (named[stripe])
            assert_int_equal(t->locked[at++], stripe);
        bool is_free = stripe_try_lock_once(s);
        assert_int_equal(is_free, !named[stripe]);
        if (is_free)
            stripe_unlock(s);
    }
    assert_int_equal(t->locked_count, at);
}

static void test_each_stripe_is_held_once(void **state)
{
    static uint16_t stripes[3000];
    (void)state;
    for (unsigned round = 0; round < 300; round++) {
        bool named[STRIPE_COUNT] = {0};
        size_t count = next_random() % (round % 3 ? 80 : sizeof(stripes) / sizeof(*stripes));
        unsigned range = round % 2 ? STRIPE_COUNT : 40;
        txn_reset(t, NOW);
        for (unsigned i = next_random() % 4; i > 0; i--) {
            uint16_t one = (uint16_t)(next_random() % range);
            txn_lock_add(t, one);
            named[one] = true;
        }
        for (size_t i = 0; i < count; i++) {
            stripes[i] = (uint16_t)(next_random() % range);
            named[stripes[i]] = true;
        }
        txn_lock_add_all(t, stripes, count);
        assert_int_equal(txn_lock_all(t), -1);
        expect_held(named);
        txn_commit_lsn(t);
        expect_held((bool[STRIPE_COUNT]){0});
    }
}

static void test_a_busy_stripe_is_named(void **state)
{
    uint16_t stripes[STRIPE_COUNT];
    (void)state;
    for (unsigned i = 0; i < STRIPE_COUNT; i++)
        stripes[i] = (uint16_t)(STRIPE_COUNT - 1 - i);
    assert_true(stripe_try_lock_once(&engine->store->stripes[700]));
    txn_reset(t, NOW);
    txn_lock_add_all(t, stripes, STRIPE_COUNT);
    assert_int_equal(txn_lock_all(t), 700);
    stripe_unlock(&engine->store->stripes[700]);
    expect_held((bool[STRIPE_COUNT]){0});
    txn_lock_add_all(t, stripes, STRIPE_COUNT);
    assert_int_equal(txn_lock_all(t), -1);
    txn_rollback_all(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_stripe_is_held_once),
        cmocka_unit_test(test_a_busy_stripe_is_named),
    };
    return cmocka_run_group_tests(tests, one_engine_setup, one_engine_teardown);
}
