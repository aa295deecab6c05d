/* test_latency.c -- goal: what is noted of an event is what took too long, the worst of each second, the newest 160 seconds.
 *
 * Method: a clock of the test's own; a second that is repeated, more seconds than there is room for, thresholds.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "os/latency.h"
#include "os/os.h"

static uint64_t now_ms;
static struct os os;

static uint64_t test_wall_ms(void) { return now_ms; }

static int begin(void **state)
{
    (void)state;
    os = OS;
    os.wall_ms = test_wall_ms;
    os_current = &os;
    atomic_store(&latency_threshold_ms, 10);
    for (enum latency_event e = 0; e < LATENCY_EVENTS; e++)
        latency_reset(e);
    return 0;
}

static void nothing_below_the_threshold_or_while_off(void **state)
{
    struct latency_series s;
    (void)state;
    latency_note(LATENCY_COMMAND, 9999);
    atomic_store(&latency_threshold_ms, 0);
    latency_note(LATENCY_COMMAND, 1000000);
    latency_copy(LATENCY_COMMAND, &s);
    assert_int_equal(s.count, 0);
    assert_false(latency_reset(LATENCY_COMMAND));
}

static void a_second_has_one_sample_its_worst(void **state)
{
    struct latency_series s;
    (void)state;
    now_ms = 5000000;
    latency_note(LATENCY_FSYNC, 10000);
    latency_note(LATENCY_FSYNC, 30999);
    latency_note(LATENCY_FSYNC, 20000);
    now_ms += 1000;
    latency_note(LATENCY_FSYNC, 12000);
    latency_copy(LATENCY_FSYNC, &s);
    assert_int_equal(s.count, 2);
    assert_int_equal(s.samples[0].ms, 30);
    assert_int_equal(s.samples[0].time_s, 5000);
    assert_int_equal(s.samples[1].ms, 12);
    assert_int_equal(s.max_ms, 30);
    latency_copy(LATENCY_COMMAND, &s);
    assert_int_equal(s.count, 0);
    assert_true(latency_reset(LATENCY_FSYNC));
    latency_copy(LATENCY_FSYNC, &s);
    assert_int_equal(s.count, 0);
    assert_int_equal(s.max_ms, 0);
}

static void the_oldest_seconds_go_and_the_longest_ever_stays(void **state)
{
    struct latency_series s;
    (void)state;
    latency_note(LATENCY_EXPIRE, 99000000);
    for (uint64_t i = 1; i <= LATENCY_SAMPLES + 5; i++) {
        now_ms += 1000;
        latency_note(LATENCY_EXPIRE, (100 + i) * 1000);
    }
    latency_copy(LATENCY_EXPIRE, &s);
    assert_int_equal(s.count, LATENCY_SAMPLES);
    assert_int_equal(s.max_ms, 99000);
    for (uint64_t i = 0; i < LATENCY_SAMPLES; i++)
        assert_int_equal(s.samples[i].ms, 106 + i);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(nothing_below_the_threshold_or_while_off, begin),
        cmocka_unit_test_setup(a_second_has_one_sample_its_worst, begin),
        cmocka_unit_test_setup(the_oldest_seconds_go_and_the_longest_ever_stays, begin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
