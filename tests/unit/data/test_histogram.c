/* test_histogram.c -- goal: every number lands in a bucket that holds it and is at most 1/32 of it wide; sums and percentiles are those of
 * the sorted numbers; a reset starts from zero.
 *
 * Method: all edges of powers of two, random numbers against a sorted array.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "../support/random.h"

#include "data/histogram.h"

static void check_bucket(uint64_t value)
{
    size_t bucket = histogram_bucket(value);
    assert_true(bucket < HISTOGRAM_BUCKETS);
    assert_true(histogram_lowest(bucket) <= value && value <= histogram_highest(bucket));
    assert_true(histogram_highest(bucket) - histogram_lowest(bucket) <= value / 32);
    assert_true(value == 0 || histogram_bucket(histogram_lowest(bucket)) == bucket);
}

static void buckets_hold_their_numbers(void **state)
{
    (void)state;
    for (uint64_t value = 1; value < 5000; value++)
        check_bucket(value);
    for (unsigned power = 1; power < HISTOGRAM_POWERS; power++) {
        uint64_t edge = UINT64_C(1) << power;
        check_bucket(edge);
        check_bucket(edge - 1 ? edge - 1 : 1);
        check_bucket(edge + edge / 3);
    }
    for (size_t b = 1; b < HISTOGRAM_BUCKETS; b++)
        assert_int_equal(histogram_lowest(b), histogram_highest(b - 1) + 1);
    assert_int_equal(histogram_bucket(UINT64_MAX), HISTOGRAM_BUCKETS - 1);
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

#define COUNT 5000

static void percentiles_are_those_of_the_sorted_numbers(void **state)
{
    static uint64_t values[COUNT], sums[HISTOGRAM_BUCKETS];
    struct histogram *h = histogram_new();
    (void)state;
    random_state = 7;
    for (size_t i = 0; i < COUNT; i++) {
        values[i] = next_random() >> (20 + next_random() % 40);
        histogram_add(h, values[i]);
    }
    qsort(values, COUNT, sizeof(values[0]), by_value);
    assert_int_equal(histogram_sum(h, sums), COUNT);
    assert_int_equal(histogram_percentile(sums, COUNT, 0), histogram_bucket(values[0]));
    assert_int_equal(histogram_percentile(sums, COUNT, 50), histogram_bucket(values[COUNT / 2 - 1]));
    assert_int_equal(histogram_percentile(sums, COUNT, 99.9), histogram_bucket(values[COUNT - COUNT / 1000 - 1]));
    assert_int_equal(histogram_percentile(sums, COUNT, 100), histogram_bucket(values[COUNT - 1]));
    histogram_free(h);
}

static void a_reset_starts_from_zero(void **state)
{
    static uint64_t sums[HISTOGRAM_BUCKETS];
    struct histogram *h = histogram_new();
    (void)state;
    histogram_add(h, 100);
    histogram_reset(h);
    assert_int_equal(histogram_sum(h, sums), 0);
    histogram_add(h, 100);
    histogram_add(h, 5);
    memset(sums, 0, sizeof(sums));
    assert_int_equal(histogram_sum(h, sums), 2);
    assert_int_equal(sums[histogram_bucket(100)], 1);
    histogram_reset(h);
    memset(sums, 0, sizeof(sums));
    assert_int_equal(histogram_sum(h, sums), 0);
    histogram_free(h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(buckets_hold_their_numbers),
        cmocka_unit_test(percentiles_are_those_of_the_sorted_numbers),
        cmocka_unit_test(a_reset_starts_from_zero),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
