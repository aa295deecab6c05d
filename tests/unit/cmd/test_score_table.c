/* test_score_table.c -- what is put in is found again with its score, and only that, in the order in which it came. */
#include "cmd/score_table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

#define MEMBERS 5000

static size_t name(char out[64], unsigned i)
{
    return (size_t)snprintf(out, 64, i % 3 ? "%u" : "a longer member, which stays where it is %u", i);
}

static void members_are_found_again(void **unused)
{
    static char names[MEMBERS][64];
    struct arena arena;
    struct score_table t = {.arena = &arena};
    bool is_new;
    (void)unused;
    arena_init(&arena);
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < MEMBERS; i++) {
            char digits[64]; /* gone with the next one, as a cursor's are */
            size_t size = name(i % 3 ? digits : names[i], i);
            double *score = score_table_at(&t, bytes_of(i % 3 ? digits : names[i], size), &is_new);
            assert_true(is_new == (round == 0));
            if (is_new)
                *score = 0;
            *score += i;
        }
    }
    assert_int_equal(t.count, MEMBERS);
    for (unsigned i = 0; i < MEMBERS; i++) {
        char text[64];
        assert_true(bytes_equal(t.items[i].member, bytes_of(text, name(text, i))));
        assert_true(t.items[i].score == 3.0 * i);
    }
    *score_table_at(&t, BYTES(""), &is_new) = 7;
    assert_true(is_new);
    assert_true(*score_table_at(&t, BYTES(""), &is_new) == 7 && !is_new);
    arena_release(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(members_are_found_again)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
