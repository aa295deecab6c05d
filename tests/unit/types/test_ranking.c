/* test_ranking.c -- a ranking against a naive twin, in every form of its scores, and no byte more than they need.
 *
 * Method: random additions, moves and removals. Scores come from families (whole numbers, decimals, large and tiny ones, infinities), one after the
 * other and mixed, so that blocks go from form to form and from frame to frame, members from none to some hundred bytes. After each
 * change the block is checked and compared with the twin, member by member and bit by bit.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>

#include "../support/random.h"

#include "data/small.h"
#include "types/ranking.h"

#define TWIN_MAX 150u

struct row { double score; size_t size; uint8_t name[400]; };
struct twin { size_t count; struct row rows[TWIN_MAX]; };

static bytes member_of(const struct row *r) { return bytes_of(r->name, r->size); }

static int order(const struct row *a, const struct row *b)
{
    if (a->score != b->score)
        return a->score < b->score ? -1 : 1;
    return bytes_compare(member_of(a), member_of(b));
}

static size_t twin_find(const struct twin *t, bytes member)
{
    size_t i = 0;
    while (i < t->count && !bytes_equal(member_of(&t->rows[i]), member))
        i++;
    return i;
}

static void twin_remove(struct twin *t, size_t at, size_t count)
{
    memmove(&t->rows[at], &t->rows[at + count], (t->count - at - count) * sizeof(struct row));
    t->count -= count;
}

static void twin_put(struct twin *t, const struct row *r)
{
    size_t i = 0;
    while (i < t->count && order(&t->rows[i], r) < 0)
        i++;
    memmove(&t->rows[i + 1], &t->rows[i], (t->count - i) * sizeof(*r));
    t->rows[i] = *r;
    t->count++;
}

#define FAMILIES 9u

static double score_of_family(unsigned family)
{
    static const double odd[] = {INFINITY, -INFINITY, 5e-324, -5e-324, 1.7976931348623157e308, 0.1, 1e-7, 9007199254740992.0, -9007199254740992.0,
                                 9007199254740994.0, 2251799813685248.5, 2251799813685247.5, 1125899906842623.125, 0};
    int64_t near = (int64_t)(next_random() % 1000) - 500;
    switch (family) {
    case 0: return (double)near;
    case 1: return (double)(next_random() % 1000000);
    case 2: return (double)near / 10;
    case 3: return (double)near / 100;
    case 4: return (double)near / 1000;
    case 5: return 1.7e12 + (double)(next_random() % 100000);
    case 6: return 1.7e9 + (double)(next_random() % 100000) / 1024;
    case 7: return odd[next_random() % (sizeof(odd) / sizeof(*odd))];
    default: return (double)(int64_t)next_random() * 0x1p-20;
    }
}

static void name_row(struct row *r, unsigned names)
{
    unsigned number = (unsigned)(next_random() % names);
    r->size = number == 0 ? 0 : number % 16 == 1 ? 300 + number % 50 : 2 + number % 9;
    memset(r->name, 'm', sizeof(r->name));
    for (size_t i = r->size; i > 0 && number; i--, number /= 200)
        r->name[i - 1] = (uint8_t)(number % 200);
}

static void compare(const struct ranking *r, const struct twin *t)
{
    struct ranking_cursor c;
    struct scored one;
    ranking_check(r);
    assert_int_equal(ranking_count(r), t->count);
    bool more = ranking_seek(r, 0, &c, &one);
    for (size_t i = 0; i < t->count; i++, more = ranking_next(&c, &one)) {
        assert_true(more && bytes_equal(one.member, member_of(&t->rows[i])));
        assert_memory_equal(&one.score, &t->rows[i].score, sizeof(double));
    }
    assert_false(more);
    more = ranking_seek(r, t->count ? t->count - 1 : 0, &c, &one);
    for (size_t i = t->count; i > 0; i--, more = ranking_previous(&c, &one))
        assert_true(more && bytes_equal(one.member, member_of(&t->rows[i - 1])));
    assert_false(more);
}

static void compare_bounds(const struct ranking *r, const struct twin *t, double score)
{
    unsigned below = 0, equal = 0;
    for (size_t i = 0; i < t->count; i++) {
        below += t->rows[i].score < score;
        equal += t->rows[i].score <= score;
    }
    assert_int_equal(ranking_below_score(r, score, false), below);
    assert_int_equal(ranking_below_score(r, score, true), equal);
}

static struct ranking *one_step(struct ranking *r, struct twin *t, unsigned family, unsigned names)
{
    struct row row = {.score = score_of_family(family) + 0.0};
    struct ranking_place place;
    double old;
    name_row(&row, names);
    size_t at = twin_find(t, member_of(&row));
    assert_int_equal(ranking_find(r, member_of(&row), &place, &old), at < t->count);
    compare_bounds(r, t, row.score);
    if (t->count && next_random() % 8 == 0) {
        size_t first = next_random() % t->count, count = next_random() % 40 ? 1 : 1 + next_random() % (t->count - first);
        twin_remove(t, first, count);
        return ranking_remove(r, (unsigned)first, (unsigned)count);
    }
    if (at < t->count) {
        assert_true(place.index == at && old == t->rows[at].score);
        if (old == row.score)
            return r;
        twin_remove(t, at, 1);
        r = ranking_try_move(r, place, (struct scored){member_of(&row), row.score});
    } else if (t->count < TWIN_MAX) {
        r = ranking_try_add(r, (struct scored){member_of(&row), row.score});
    } else {
        return r;
    }
    assert_non_null(r);
    twin_put(t, &row);
    return r;
}

static void it_is_its_twin(void **state)
{
    static struct twin t, then;
    (void)state;
    for (uint64_t seed = 1; seed <= 4 * FAMILIES; seed++) {
        struct ranking *r = NULL, *copy = NULL;
        unsigned names = seed % 3 ? 40 : 400;
        random_state = seed;
        t.count = 0;
        for (unsigned step = 0; step < 400; step++) {
            unsigned family = seed <= FAMILIES ? (unsigned)seed - 1 : step / 50 % 2 ? (unsigned)(seed % FAMILIES) : (unsigned)(next_random() % FAMILIES);
            r = one_step(r, &t, family, names);
            compare(r, &t);
            if (step % 50 == 0) {
                copy = ranking_dup(r);
                then = t;
            } else if (step % 50 == 49) {
                compare(copy, &then);
                ranking_free(copy);
            }
        }
        ranking_free(r);
    }
}

/* Header, base, sizes, scores, members. */
static void no_byte_more_than_needed(void **state)
{
    static const struct { double first, step; size_t base, bits; } rows[] = {
        {0, 1, 0, 5},        /* 0 .. 19 */
        {1e6, 50000, 0, 21}, /* up to 1,950,000: as wide as their differences, so the base is 0 */
        {1700000000, 3, 4, 6}, {-19, 1, 1, 5}, {0.5, 0.25, 0, 10}, {1700000000.125, 0.001, 6, 5},
        {5, 0, 1, 0},        /* all the same */
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct ranking *r = NULL;
        char name[16];
        for (int k = 0; k < 20; k++) {
            double score = nearbyint((rows[i].first + k * rows[i].step) * 1000) / 1000;
            int size = snprintf(name, sizeof(name), "member:%d", k);
            r = ranking_try_add(r, (struct scored){bytes_of(name, (size_t)size), score});
        }
        size_t size = 8 + rows[i].base + 3 + (20 * rows[i].bits + 7) / 8 + 170;
        assert_int_equal(ranking_memory(r), small_class_size(size));
        ranking_free(r);
    }
}

static void a_wide_score_that_leaves_is_forgotten(void **state)
{
    struct ranking *r = NULL;
    (void)state;
    for (int k = 0; k < 17; k++) {
        uint8_t name = (uint8_t)k;
        r = ranking_try_add(r, (struct scored){bytes_of(&name, 1), k == 16 ? INFINITY : k});
    }
    size_t wide = ranking_memory(r);
    r = ranking_remove(r, 16, 1);
    assert_true(ranking_memory(r) + 7 * 16 < wide);
    ranking_free(r);
}

static void too_large_changes_nothing(void **state)
{
    static uint8_t long_member[RANKING_SIZE_MAX + 1];
    struct ranking *r = NULL, *fresh;
    unsigned count = 0;
    (void)state;
    assert_null(ranking_try_add(NULL, (struct scored){bytes_of(long_member, sizeof(long_member)), 1}));
    for (;; count++) {
        memcpy(long_member, &count, sizeof(count));
        fresh = ranking_try_add(r, (struct scored){bytes_of(long_member, 6000), 1});
        if (!fresh)
            break;
        r = fresh;
    }
    assert_int_equal(count, RANKING_SIZE_MAX / 6000);
    ranking_check(r);
    assert_int_equal(ranking_count(r), count);
    ranking_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_its_twin),
        cmocka_unit_test(no_byte_more_than_needed),
        cmocka_unit_test(a_wide_score_that_leaves_is_forgotten),
        cmocka_unit_test(too_large_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
