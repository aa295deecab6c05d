/* test_zset.c -- goal: a sorted set is the map and the order that it says it is, in both forms.
 *
 * Method: random changes, through apply, against a naive twin (an array kept sorted); ranks, lower bounds
 * and walks compared after each round; shares compared later with the twin of their moment; encode and decode,
 * also of hostile bytes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>

#include "../support/random.h"

#include "base/buf.h"
#include "types/zset.h"

#define TWIN_MAX 1200

struct row { double score; char name[80]; };
struct twin { size_t count; struct row rows[TWIN_MAX]; };

static int order(const struct row *a, const struct row *b)
{
    if (a->score != b->score)
        return a->score < b->score ? -1 : 1;
    return bytes_compare(bytes_str(a->name), bytes_str(b->name));
}

static size_t twin_find(const struct twin *t, const char *name)
{
    size_t i = 0;
    while (i < t->count && strcmp(t->rows[i].name, name) != 0)
        i++;
    return i;
}

static void twin_remove(struct twin *t, size_t at, size_t count)
{
    memmove(&t->rows[at], &t->rows[at + count], (t->count - at - count) * sizeof(struct row));
    t->count -= count;
}

static void twin_set(struct twin *t, struct row r)
{
    size_t i = twin_find(t, r.name);
    if (i < t->count)
        twin_remove(t, i, 1);
    for (i = 0; i < t->count && order(&t->rows[i], &r) < 0;)
        i++;
    memmove(&t->rows[i + 1], &t->rows[i], (t->count - i) * sizeof(r));
    t->rows[i] = r;
    t->count++;
}

static double any_score(void)
{
    static const double few[] = {0, 1, -1, 0.5, INFINITY, -INFINITY, 1e308, -1e-300, 4503599627370497.0};
    return next_random() % 3 ? few[next_random() % 9] : (double)(int64_t)(next_random() % 100) - 50;
}

static struct row any_row(unsigned names)
{
    struct row r = {.score = any_score()};
    snprintf(r.name, sizeof(r.name), "m%u", (unsigned)(next_random() % names));
    return r;
}

static void apply(struct zset *z, struct buf *change)
{
    assert_int_equal(zset_ops.apply(z, buf_view(change)), HF_OK);
    buf_release(change);
}

static void one_step(struct zset *z, struct twin *t, unsigned names)
{
    struct buf change;
    buf_init(&change, SIZE_MAX);
    struct row r = any_row(names);
    uint64_t what = next_random() % 10;
    size_t at = twin_find(t, r.name);
    if (what < 6 && t->count < TWIN_MAX) {
        zset_change_set(&change);
        zset_change_scored(&change, bytes_str(r.name), r.score);
        twin_set(t, r);
    } else if (what < 9 && at < t->count) {
        zset_change_remove(&change);
        zset_change_member(&change, bytes_str(r.name));
        twin_remove(t, at, 1);
    } else if (t->count > 4 && what == 9 && next_random() % 8 == 0) {
        size_t first = next_random() % t->count, count = 1 + next_random() % (t->count - first) / 3;
        zset_change_remove_ranks(&change, first, count);
        twin_remove(t, first, count);
    } else {
        return;
    }
    apply(z, &change);
}

static void compare(const struct zset *z, const struct twin *t)
{
    struct zset_cursor c;
    struct scored one;
    zset_ops.check(z);
    assert_int_equal(zset_count(z), t->count);
    bool more = zset_seek(z, 0, &c, &one);
    for (size_t i = 0; i < t->count; i++) {
        uint64_t rank;
        double score;
        assert_true(more && bytes_equal(one.member, bytes_str(t->rows[i].name)));
        assert_true(one.score == t->rows[i].score);
        assert_true(zset_rank(z, one.member, &rank, &score) && rank == i && score == one.score);
        more = zset_next(&c, &one);
    }
    assert_false(more);
    for (int k = 0; k < 20; k++) {
        double score = any_score();
        uint64_t below = 0, equal = 0;
        for (size_t i = 0; i < t->count; i++) {
            below += t->rows[i].score < score;
            equal += t->rows[i].score <= score;
        }
        assert_int_equal(zset_below_score(z, score, false), below);
        assert_int_equal(zset_below_score(z, score, true), equal);
    }
}

static void it_is_its_twin(void **state)
{
    static struct twin t, then;
    for (uint64_t seed = 1; seed <= 8; seed++) {
        struct zset *z = zset_new(), *share = NULL;
        unsigned names = seed % 2 ? 60 : 1000;
        random_state = seed;
        t.count = 0;
        for (int round = 0; round < 20; round++) {
            for (int step = 0; step < 150; step++)
                one_step(z, &t, names);
            compare(z, &t);
            if (share) {
                compare(share, &then);
                zset_free(share);
            }
            share = zset_ops.share(z);
            then = t;
        }
        assert_string_equal(zset_ops.encoding(z), names > 128 ? "skiplist" : "listpack");
        compare(share, &then);
        size_t budget = 1;
        while (!zset_ops.free_some(share, &budget))
            budget = 2;
        zset_free(z);
    }
}

static void long_members_and_many_make_it_large(void **state)
{
    struct zset *z = zset_new();
    char name[80];
    memset(name, 'x', sizeof(name));
    zset_set(z, bytes_of(name, 64), 1);
    assert_string_equal(zset_ops.encoding(z), "listpack");
    zset_set(z, bytes_of(name, 65), 1);
    assert_string_equal(zset_ops.encoding(z), "skiplist");
    assert_true(zset_remove(z, bytes_of(name, 65)));
    assert_string_equal(zset_ops.encoding(z), "skiplist");
    assert_false(zset_remove(z, bytes_of(name, 65)));
    assert_int_equal(zset_below_member(z, BYTES("a"), true), 0);
    assert_int_equal(zset_below_member(z, BYTES("y"), false), 1);
    zset_free(z);
}

static void zero_has_no_sign(void **state)
{
    struct zset *z = zset_new();
    zset_set(z, BYTES("b"), -0.0);
    zset_set(z, BYTES("a"), 0.0);
    assert_true(bytes_equal(zset_at(z, 0).member, BYTES("a")));
    assert_false(signbit(zset_at(z, 1).score));
    assert_int_equal(zset_below_score(z, -0.0, false), 0);
    assert_int_equal(zset_below_score(z, 0.0, true), 2);
    zset_free(z);
}

static void encoded_and_back(void **state)
{
    static struct twin t;
    struct zset *z = zset_new();
    struct buf out;
    void *again;
    buf_init(&out, SIZE_MAX);
    random_state = 3;
    t.count = 0;
    for (int i = 0; i < 500; i++)
        one_step(z, &t, 400);
    zset_ops.encode(z, &out);
    assert_int_equal(zset_ops.decode(buf_view(&out), &again), HF_OK);
    compare(again, &t);
    zset_free(again);
    for (size_t size = 0; size < out.size; size++) /* cut short: refused, nothing built */
        assert_int_equal(zset_ops.decode(bytes_of(out.data, size), &again), HF_ERR_CORRUPT);
    buf_append_u8(&out, 0);
    assert_int_equal(zset_ops.decode(buf_view(&out), &again), HF_ERR_CORRUPT);
    buf_release(&out);
    zset_free(z);
}

static void hostile_bytes_change_nothing(void **state)
{
    static const uint8_t nan_score[] = {1, 0, 0, 0, 0, 0, 0, 0xf8, 0x7f, 1, 'a'};
    static const uint8_t twice[] = {2, 0, 0, 0, 0, 0, 0, 0, 0, 1, 'a', 0, 0, 0, 0, 0, 0, 0, 0, 1, 'a'};
    static const struct { const char *bytes; size_t size; } changes[] = {
        {"", 0}, {"\x00", 1}, {"\x01", 1}, {"\x09x", 2}, {"\x02\x01q", 3}, {"\x02", 1}, {"\x03\x00\x02", 3}, {"\x03\x01\x01", 3},
        {"\x03\x00\x00", 3}, {"\x03\x00\x01\x00", 4}, {(const char *)nan_score, sizeof(nan_score)},
        {"\x01\x00\x00\x00\x00\x00\x00\x00\x00\x05x", 11},
    };
    struct zset *z = zset_new();
    void *again;
    zset_set(z, BYTES("a"), 1);
    for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
        assert_int_equal(zset_ops.apply(z, bytes_of(changes[i].bytes, changes[i].size)), HF_ERR_CORRUPT);
        assert_int_equal(zset_count(z), 1);
    }
    assert_int_equal(zset_ops.decode(bytes_of(nan_score, sizeof(nan_score)), &again), HF_ERR_CORRUPT);
    assert_int_equal(zset_ops.decode(bytes_of(twice, sizeof(twice)), &again), HF_ERR_CORRUPT);
    zset_free(z);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_its_twin),
        cmocka_unit_test(long_members_and_many_make_it_large),
        cmocka_unit_test(zero_has_no_sign),
        cmocka_unit_test(encoded_and_back),
        cmocka_unit_test(hostile_bytes_change_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
