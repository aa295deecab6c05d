/* test_latency_graph.c -- goal: LATENCY GRAPH draws what redis-server 7.0.15 drew of the same samples. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "cmd/latency_graph.h"

#define DASHES "--------------------------------------------------------------------------------\n"

static void expect(const struct latency_series *s, uint64_t now_s, const char *picture)
{
    struct buf out;
    buf_init(&out, 1 << 20);
    latency_graph("command", s, now_s, &out);
    buf_append(&out, "", 1);
    assert_string_equal((const char *)out.data, picture);
    buf_release(&out);
}

static void draws_as_redis(void **state)
{
    const struct latency_series s = {.max_ms = 150, .count = 9,
        .samples = {{1051, 10}, {1052, 20}, {1053, 50}, {1054, 30}, {1055, 100}, {1056, 130}, {1057, 2}, {1058, 91}, {1059, 150}}};
    (void)state;
    expect(&s, 1106, "command - high 150 ms, low 2 ms (all time high 150 ms)\n" DASHES
                     "     o  #\n    o| o|\n  _ || ||\n_o|#||_||\n         \n555555444\n543210987\nsssssssss\n");
}

static void one_sample_lies_at_the_bottom(void **state)
{
    const struct latency_series s = {.max_ms = 70, .count = 1, .samples = {{1000, 50}}};
    (void)state;
    expect(&s, 1000, "command - high 50 ms, low 50 ms (all time high 70 ms)\n" DASHES " \n \n \n_\n \n0\ns\n");
}

static void ages_have_units_and_their_own_length(void **state)
{
    const struct latency_series s = {.max_ms = 9, .count = 4, .samples = {{0, 9}, {90000, 9}, {93000, 9}, {100000, 9}}};
    (void)state;
    expect(&s, 172805, "command - high 9 ms, low 9 ms (all time high 9 ms)\n" DASHES
                       "    \n    \n    \n____\n    \n2222\nd320\n hhh\n");
}

static void eighty_columns_beside_each_other(void **state)
{
    struct latency_series s = {.max_ms = 1, .count = 81};
    struct buf out;
    (void)state;
    for (size_t i = 0; i < 81; i++)
        s.samples[i] = (struct latency_sample){1000 + i, 1};
    buf_init(&out, 1 << 20);
    latency_graph("command", &s, 1080, &out);
    static const char last[] = "\n\n \n \n \n_\n \n0\ns\n";
    assert_memory_equal(out.data + out.size - (sizeof(last) - 1), last, sizeof(last) - 1);
    buf_release(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(draws_as_redis),
        cmocka_unit_test(one_sample_lies_at_the_bottom),
        cmocka_unit_test(ages_have_units_and_their_own_length),
        cmocka_unit_test(eighty_columns_beside_each_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
