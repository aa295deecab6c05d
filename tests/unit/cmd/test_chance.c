/* test_chance.c -- goal: positions picked by chance are distinct, in range, and fair.
 *
 * Method: each way of picking (a large part and a small part of all) many times over, every position counted; bounds of six
 * standard deviations.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "cmd/chance.h"

#define SIZE_MOST 1000

static void pick(uint64_t size, uint64_t count, unsigned times, unsigned counts[SIZE_MOST])
{
    struct chance chance = {12345 + size};
    struct arena arena;
    arena_init(&arena);
    memset(counts, 0, SIZE_MOST * sizeof(*counts));
    for (unsigned i = 0; i < times; i++) {
        bool taken[SIZE_MOST] = {false};
        uint64_t *positions = chance_positions(&chance, NULL, &arena, size, count);
        for (uint64_t k = 0; k < count; k++) {
            assert_true(positions[k] < size && !taken[positions[k]]);
            taken[positions[k]] = true;
            counts[positions[k]]++;
        }
        arena_reset(&arena);
    }
    arena_release(&arena);
}

static void positions_are_distinct_and_fair(void **state)
{
    (void)state;
    static const struct { uint64_t size, count; } cases[] = {
        {1, 1}, {1, 0}, {10, 1}, {10, 5}, {10, 9}, {10, 10}, {100, 3}, {100, 12}, {100, 13}, {1000, 60}, {1000, 700}};
    unsigned counts[SIZE_MOST];
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint64_t size = cases[i].size, count = cases[i].count;
        unsigned expected = 900, times = count ? (unsigned)(expected * size / count) : 10;
        pick(size, count, times, counts);
        for (uint64_t position = 0; position < size && count; position++)
            assert_in_range(counts[position], count == size ? times : 720, count == size ? times : 1080);
    }
}

static void draws_below_a_bound_are_fair(void **state)
{
    (void)state;
    struct chance chance = {99};
    unsigned counts[7] = {0};
    for (int i = 0; i < 7000; i++)
        counts[chance_below(&chance, 7)]++;
    for (int i = 0; i < 7; i++)
        assert_in_range(counts[i], 820, 1180);
    assert_int_equal(chance_below(&chance, 1), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(positions_are_distinct_and_fair),
        cmocka_unit_test(draws_below_a_bound_are_fair),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
