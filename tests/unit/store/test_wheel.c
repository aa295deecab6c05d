/* test_wheel.c -- the timing wheel against a list: nothing early, nothing lost, any clock.
 *
 * Items are given again when they fire before their deadline, as the table does it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "store/wheel.h"

#include <stdlib.h>

static uint64_t random_state = 3;

static uint64_t roll(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state * UINT64_C(0x2545F4914F6CDD1D);
}

#define ITEMS 500u

static void add(struct wheel *w, uint32_t item, uint64_t deadline)
{
    unsigned slot = wheel_slot_for(w, deadline);
    assert_true(slot < WHEEL_SLOTS);
    assert_true(wheel_slot_time(w, slot) <= deadline || wheel_slot_time(w, slot) == wheel_slot_time(w, wheel_slot_for(w, 0)));
    wheel_add(w, slot, item);
}

static void run(unsigned steps)
{
    uint64_t deadlines[ITEMS] = {0}, now = roll() % 2 ? UINT64_C(1700000000000) : 0;
    struct wheel *w = wheel_new(0);
    for (unsigned i = 0; i < steps; i++) {
        for (uint64_t n = roll() % 20; n; n--) {
            uint32_t item = (uint32_t)(roll() % ITEMS);
            if (!deadlines[item]) {
                deadlines[item] = now + 1 + (roll() >> (63 - roll() % 44));
                add(w, item, deadlines[item]);
            }
        }
        uint64_t next = wheel_next(w), earliest = UINT64_MAX;
        for (unsigned k = 0; k < ITEMS; k++)
            earliest = deadlines[k] && deadlines[k] < earliest ? deadlines[k] : earliest;
        assert_true(next <= earliest);
        assert_true((next == UINT64_MAX) == (earliest == UINT64_MAX));
        now = roll() % 3 && next != UINT64_MAX && next > now ? next : now + (roll() >> (63 - roll() % 40));
        uint32_t item;
        unsigned slot;
        while (wheel_take(w, now, &item, &slot)) {
            assert_true(item < ITEMS && deadlines[item]);
            if (deadlines[item] <= now)
                deadlines[item] = 0;
            else
                add(w, item, deadlines[item]);
        }
        assert_false(wheel_take(w, now / 2, &item, &slot)); /* a clock that steps back */
        for (unsigned k = 0; k < ITEMS; k++)
            assert_true(deadlines[k] == 0 || deadlines[k] > now);
    }
    wheel_free(w);
}

static void nothing_fires_early_or_is_lost(void **state)
{
    (void)state;
    for (int i = 0; i < 20; i++)
        run(1000);
}

static void a_cleared_wheel_is_empty_and_can_be_used(void **state)
{
    (void)state;
    struct wheel *w = wheel_new(0);
    uint64_t empty = wheel_memory(w);
    uint32_t item;
    unsigned slot;
    for (uint32_t i = 0; i < 1000; i++)
        wheel_add(w, wheel_slot_for(w, i * 1000), i);
    assert_true(wheel_memory(w) > empty);
    wheel_clear(w);
    assert_int_equal(wheel_memory(w), empty);
    assert_true(wheel_next(w) == UINT64_MAX);
    wheel_add(w, wheel_slot_for(w, 77), 5);
    assert_false(wheel_take(w, 63, &item, &slot));
    assert_true(wheel_take(w, 77, &item, &slot));
    assert_int_equal(item, 5);
    assert_false(wheel_take(w, 1u << 30, &item, &slot));
    wheel_free(w);
}

/* Each item is met, whatever its slot; the first ones are those that fire next. */
static void any_item_can_be_picked(void **state)
{
    (void)state;
    struct wheel *w = wheel_new(0);
    bool met[ITEMS] = {0};
    uint32_t item, count = 0;
    assert_false(wheel_pick(w, roll(), false, &item));
    assert_false(wheel_pick(w, roll(), true, &item));
    for (uint32_t i = 0; i < ITEMS; i++)
        wheel_add(w, wheel_slot_for(w, 100 + (uint64_t)i * i * i), i);
    for (int i = 0; i < 200000; i++) {
        assert_true(wheel_pick(w, roll(), false, &item) && item < ITEMS);
        count += !met[item];
        met[item] = true;
        assert_true(wheel_pick(w, roll(), true, &item) && item < 4); /* those share its slot */
    }
    assert_true(count > ITEMS * 9 / 10);
    wheel_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_fires_early_or_is_lost),
        cmocka_unit_test(a_cleared_wheel_is_empty_and_can_be_used),
        cmocka_unit_test(any_item_can_be_picked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
