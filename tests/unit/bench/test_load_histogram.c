/* test_load_histogram.c -- classes cover every value once, percentiles are near the truth.
 *
 * Method: class and top of class are checked against each other at every border; percentiles of random
 * values over nine powers of ten are compared with those of the sorted list.
 */
#include "../../../bench/load_histogram.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void classes_are_contiguous(void **state)
{
    for (unsigned i = 0; i < HISTOGRAM_CLASSES; i++) {
        uint64_t top = histogram_top(i);
        assert_int_equal(histogram_class(top), i);
        if (i + 1 < HISTOGRAM_CLASSES)
            assert_int_equal(histogram_class(top + 1), i + 1);
    }
    assert_int_equal(histogram_top(HISTOGRAM_CLASSES - 1), HISTOGRAM_VALUE_MAX);
}

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static void percentiles_are_within_a_class(void **state)
{
    enum { COUNT = 20000 };
    static struct histogram h, part;
    static uint64_t values[COUNT];
    static const double shares[] = {0, 0.001, 0.5, 0.9, 0.99, 0.999, 1};
    unsigned seed = 7;
    for (unsigned i = 0; i < COUNT; i++) {
        values[i] = (uint64_t)rand_r(&seed) >> (i % 31);
        values[i] *= i % 7 ? 1 : 331;
        histogram_add(i % 2 ? &h : &part, values[i], 1);
    }
    histogram_merge(&h, &part);
    qsort(values, COUNT, sizeof(values[0]), compare);
    assert_int_equal(h.count, COUNT);
    assert_int_equal(h.max, values[COUNT - 1]);
    for (unsigned i = 0; i < sizeof(shares) / sizeof(shares[0]); i++) {
        unsigned rank = (unsigned)(shares[i] * COUNT);
        uint64_t truth = values[rank ? rank - 1 : 0], told = histogram_percentile(&h, shares[i]);
        assert_true(told >= truth && told <= truth + truth / 128);
    }
}

static void long_waits_count_as_the_longest(void **state)
{
    static struct histogram h;
    histogram_add(&h, UINT64_MAX, 3);
    assert_int_equal(h.count, 3);
    assert_int_equal(histogram_percentile(&h, 0.5), HISTOGRAM_VALUE_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(classes_are_contiguous),
        cmocka_unit_test(percentiles_are_within_a_class),
        cmocka_unit_test(long_waits_count_as_the_longest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
