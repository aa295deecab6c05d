/* test_pairs.c -- the pairs of a small hash against a naive twin, and the block is never larger than its class.
 *
 * Method: random additions, changes and removals with sizes around those where a varint and an allocation class grow; after each
 * the block is checked, read in order, and compared with the twin. Each word is one letter many times, so its size and letter tell it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "data/small.h"
#include "types/pairs.h"

#define FIELDS 40u
#define STEPS 20000

static uint32_t seed = 7;

static uint32_t chance(uint32_t below)
{
    seed = seed * 1664525u + 1013904223u;
    return (seed >> 8) % below;
}

struct twin { unsigned field, letter; size_t size; };

static uint8_t letters[300];

static bytes field_of(unsigned number)
{
    static uint8_t text[4];
    text[0] = (uint8_t)('a' + number % 26), text[1] = (uint8_t)number, text[2] = 0, text[3] = '\n';
    return bytes_of(text, number % 4 + 2 > 4 ? 4 : number % 4 + 2);
}

static bytes value_of(const struct twin *one)
{
    memset(letters, (int)one->letter, one->size);
    return bytes_of(letters, one->size);
}

static void compare(const struct pairs *all, const struct twin *twins, size_t count)
{
    struct pair p;
    size_t offset = 0, bytes_in = 0;
    pairs_check(all);
    assert_int_equal(pairs_count(all), count);
    for (size_t i = 0; i < count; i++, offset = p.end) {
        assert_true(pairs_at(all, offset, &p));
        assert_true(bytes_equal(p.field, field_of(twins[i].field)));
        assert_true(bytes_equal(p.value, value_of(&twins[i])));
        bytes_in += pair_size(p.field, p.value);
    }
    assert_false(pairs_at(all, offset, &p));
    assert_int_equal(bytes_in, pairs_size(all));
    assert_int_equal(pairs_memory(all), bytes_in ? small_class_size(bytes_in + 8) : 0);
}

static void pairs_are_those_of_the_twin(void **state)
{
    static const size_t sizes[] = {0, 1, 7, 8, 60, 127, 128, 129, 300};
    struct pairs *all = NULL;
    struct twin twins[FIELDS];
    size_t count = 0;
    for (int step = 0; step < STEPS; step++) {
        struct twin one = {chance(FIELDS), 'A' + chance(26), sizes[chance(sizeof(sizes) / sizeof(*sizes))]};
        struct pair p;
        size_t at = 0;
        while (at < count && twins[at].field != one.field)
            at++;
        assert_int_equal(pairs_find(all, field_of(one.field), &p), at < count);
        if (at == count) {
            all = pairs_add(all, field_of(one.field), value_of(&one));
            twins[count++] = one;
        } else if (chance(3) > step / 4000 % 3u) {
            all = pairs_set(all, &p, value_of(&one));
            twins[at] = one;
        } else {
            all = pairs_remove(all, &p);
            memmove(&twins[at], &twins[at + 1], (--count - at) * sizeof(*twins));
        }
        compare(all, twins, count);
        struct pairs *copy = pairs_dup(all);
        if (step % 50 == 0)
            compare(copy, twins, count);
        pairs_free(copy);
    }
    while (pairs_count(all) > 0) {
        struct pair p;
        assert_true(pairs_at(all, 0, &p));
        all = pairs_remove(all, &p);
    }
    assert_null(all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(pairs_are_those_of_the_twin)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
