/* test_clock.c -- what an entry remembers of its use: idle time across the wrap of its seconds, and the counting of uses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "store/clock.h"

#define NOW_MS UINT64_C(1700000000123)
#define HOUR_MS UINT64_C(3600000)

static uint32_t random_state = 7;

static uint32_t roll(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 17;
    random_state ^= random_state << 5;
    return random_state;
}

static void idle_time_survives_the_wrap_of_the_seconds(void **state)
{
    (void)state;
    for (uint64_t at = NOW_MS - 5000; at < NOW_MS + (UINT64_C(1) << 24) * 1000; at += 99991000)
        assert_int_equal(clock_idle_s(clock_new(at), at + 12345), (at + 12345) / 1000 - at / 1000);
}

static void a_new_entry_counts_five(void **state)
{
    (void)state;
    assert_int_equal(clock_uses(clock_new(NOW_MS), NOW_MS, 1), 5);
    assert_int_equal(clock_uses(clock_used(clock_new(NOW_MS), NOW_MS, 1, 10, UINT32_MAX), NOW_MS, 1), 6); /* the first is certain */
}

/* With the default factor some thousand uses make about 18 to 20, a hundred thousand about 255 * 0.55. */
static uint32_t count_after(uint32_t uses, uint32_t factor)
{
    uint32_t clock = clock_new(NOW_MS);
    for (uint32_t i = 0; i < uses; i++)
        clock = clock_used(clock, NOW_MS, 1, factor, roll());
    return clock_uses(clock, NOW_MS, 1);
}

static void the_count_is_a_logarithm(void **state)
{
    (void)state;
    uint32_t hundred = 0, thousand = 0, many = 0;
    for (int i = 0; i < 40; i++) {
        hundred += count_after(100, 10);
        thousand += count_after(1000, 10);
        many += count_after(100000, 10);
    }
    assert_in_range(hundred / 40, 8, 12);
    assert_in_range(thousand / 40, 17, 21);
    assert_in_range(many / 40, 135, 155);
    assert_int_equal(count_after(1000, 0), 255); /* factor 0: each use counts, up to the end */
    assert_true(count_after(1000, 100) < count_after(1000, 1));
}

static void minutes_without_use_take_away(void **state)
{
    (void)state;
    uint32_t clock = clock_make(NOW_MS, 100);
    assert_int_equal(clock_uses(clock, NOW_MS + 10 * 60000, 1), 90);
    assert_int_equal(clock_uses(clock, NOW_MS + 10 * 60000, 5), 98);
    assert_int_equal(clock_uses(clock, NOW_MS + 10 * 60000, 0), 100);
    assert_int_equal(clock_uses(clock, NOW_MS + 3 * HOUR_MS, 1), 0);
    /* A minute is one of the clock's, not one since the use. */
    assert_int_equal(clock_uses(clock_make(59999, 9), 60000, 1), 8);
    assert_int_equal(clock_uses(clock_make(60000, 9), 119999, 1), 9);
    /* What has faded is what the next use adds to. */
    assert_int_equal(clock_uses(clock_used(clock, NOW_MS + 98 * 60000, 1, 10, 0), NOW_MS + 98 * 60000, 1), 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(idle_time_survives_the_wrap_of_the_seconds),
        cmocka_unit_test(a_new_entry_counts_five),
        cmocka_unit_test(the_count_is_a_logarithm),
        cmocka_unit_test(minutes_without_use_take_away),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
