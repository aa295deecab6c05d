/* test_list.c -- goal: struct list is the sequence it says it is, whatever changes reach it.
 *
 * Method: random changes against a naive twin (an array of small values), compared by position and by walks both
 * ways; shares that must not move when the original does; encoded forms and changes cut short, bent byte by byte, or
 * beyond the end, which must be refused with nothing changed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "../support/random.h"

#include "base/memory.h"
#include "types/list.h"
#include "types/varint.h"

#define TWIN_MAX 20000
#define VALUE_MAX 700

struct twin {
    size_t count;
    uint32_t values[TWIN_MAX];
};

static size_t below(size_t n)
{
    return (size_t)(next_random() % n);
}

/* The bytes of a value are known by its number: mostly short, some beyond what a leaf takes inline, some empty. */
static bytes value_of(uint32_t number, uint8_t out[VALUE_MAX])
{
    size_t size = number % 17 == 0 ? 257 + number % 400 : number % 23;
    for (size_t i = 0; i < size; i++)
        out[i] = (uint8_t)(number >> (8 * (i % 4)));
    return bytes_of(out, size);
}

static bool is_value(bytes seen, uint32_t number)
{
    uint8_t scratch[VALUE_MAX];
    return bytes_equal(seen, value_of(number, scratch));
}

/* ---- the twin ---- */

static void twin_insert(struct twin *t, size_t at, uint32_t number)
{
    assert_true(t->count < TWIN_MAX);
    memmove(t->values + at + 1, t->values + at, (t->count - at) * sizeof(*t->values));
    t->values[at] = number;
    t->count++;
}

static void twin_remove(struct twin *t, size_t at, size_t count)
{
    memmove(t->values + at, t->values + at + count, (t->count - at - count) * sizeof(*t->values));
    t->count -= count;
}

static void compare(const void *l, const struct twin *t)
{
    struct list_cursor c;
    bytes value = {0};
    list_ops.check(l);
    assert_int_equal(list_count(l), t->count);
    assert_int_equal(list_ops.is_empty(l), t->count == 0);
    for (size_t i = 0; i < t->count; i += 1 + t->count / 50)
        assert_true(is_value(list_at(l, i), t->values[i]));
    size_t i = 0;
    for (bool more = list_seek(l, 0, &c, &value); more; more = list_next(&c, &value))
        assert_true(i < t->count && is_value(value, t->values[i++]));
    assert_int_equal(i, t->count);
    if (t->count == 0)
        return;
    size_t from = i = below(t->count) + 1;
    for (bool more = list_seek(l, from - 1, &c, &value); more; more = list_previous(&c, &value))
        assert_true(i > 0 && is_value(value, t->values[--i]));
    assert_int_equal(i, 0);
    assert_false(list_seek(l, t->count, &c, &value));
}

/* ---- changes on both ---- */

static void apply(void *l, struct buf *change)
{
    assert_int_equal(list_ops.apply(l, buf_view(change)), HF_OK);
    buf_release(change);
}

static void push_both(void *l, struct twin *t, enum list_end end, size_t count)
{
    uint8_t (*bodies)[VALUE_MAX] = mem_alloc(count * sizeof(*bodies));
    bytes *values = mem_alloc(count * sizeof(*values));
    struct buf change;
    buf_init(&change, SIZE_MAX);
    for (size_t i = 0; i < count; i++) {
        uint32_t number = (uint32_t)next_random();
        values[i] = value_of(number, bodies[i]);
        twin_insert(t, end == LIST_HEAD ? 0 : t->count, number);
    }
    list_change_push(&change, end, values, count);
    apply(l, &change);
    mem_free(values);
    mem_free(bodies);
}

static void put_both(void *l, struct twin *t, bool insert)
{
    uint8_t body[VALUE_MAX];
    uint32_t number = (uint32_t)next_random();
    struct buf change;
    buf_init(&change, SIZE_MAX);
    if (insert) {
        size_t at = below(t->count + 1);
        list_change_insert(&change, at, value_of(number, body));
        twin_insert(t, at, number);
    } else {
        size_t at = below(t->count);
        list_change_set(&change, at, value_of(number, body));
        t->values[at] = number;
    }
    apply(l, &change);
}

/* Up to `runs` runs in one change. */
static void remove_both(void *l, struct twin *t, size_t runs, size_t size_max)
{
    uint64_t end = 0, starts[8], sizes[8];
    size_t used = 0;
    struct buf change;
    buf_init(&change, SIZE_MAX);
    list_change_remove_begin(&change);
    while (used < runs && end < t->count) {
        starts[used] = end + below(t->count - end);
        size_t most = t->count - (size_t)starts[used];
        sizes[used] = 1 + below(most < size_max ? most : size_max);
        list_change_remove_run(&change, &end, starts[used], sizes[used]);
        used++;
    }
    while (used-- > 0)
        twin_remove(t, (size_t)starts[used], (size_t)sizes[used]);
    apply(l, &change);
}

static void step(void *l, struct twin *t, size_t most, bool growing)
{
    size_t kind = below(10);
    bool pushes = t->count == 0 || (growing ? kind < 6 : kind < 2);
    if (pushes && t->count + 8 < most)
        push_both(l, t, below(2) ? LIST_HEAD : LIST_TAIL, 1 + below(8));
    else if (t->count == 0)
        return;
    else if (kind < 8 && t->count + 1 < most)
        put_both(l, t, below(2));
    else
        remove_both(l, t, 1 + below(8), growing ? 2 : 1 + below(most / 10));
}

static void round_trip(const void *l, const struct twin *t)
{
    struct buf out, again;
    void *copy = NULL;
    buf_init(&out, SIZE_MAX);
    buf_init(&again, SIZE_MAX);
    list_ops.encode(l, &out);
    assert_int_equal(list_ops.decode(buf_view(&out), &copy), HF_OK);
    compare(copy, t);
    list_ops.encode(copy, &again);
    assert_true(bytes_equal(buf_view(&out), buf_view(&again)));
    list_ops.free(copy);
    buf_release(&out);
    buf_release(&again);
}

static void run_model(uint64_t seed, size_t most, int rounds, int steps)
{
    struct twin *t = mem_zalloc(sizeof(*t));
    void *l = list_ops.create();
    random_state = seed;
    for (int round = 0; round < rounds; round++) {
        for (int i = 0; i < steps; i++)
            step(l, t, most, round / 2 % 2 == 0);
        compare(l, t);
        if (t->count)
            round_trip(l, t);
    }
    while (t->count)
        remove_both(l, t, 8, t->count);
    compare(l, t);
    list_ops.free(l);
    mem_free(t);
}

static void small_lists_are_the_twin(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 30; seed++)
        run_model(seed, 40, 40, 5);
}

static void large_lists_are_the_twin(void **state)
{
    (void)state;
    run_model(100, 600, 60, 60);
    run_model(101, 15000, 24, 1500);
}

/* ---- shares ---- */

static void a_share_stays_what_it_was(void **state)
{
    (void)state;
    enum { SHARES = 6 };
    struct twin *t = mem_zalloc((SHARES + 1) * sizeof(*t));
    void *l = list_ops.create(), *shares[SHARES];
    random_state = 7;
    for (int i = 0; i < SHARES; i++) {
        for (int j = 0; j < 300; j++)
            step(l, &t[SHARES], 3000, true);
        shares[i] = list_ops.share(l);
        t[i] = t[SHARES];
    }
    for (int j = 0; j < 300; j++)
        step(l, &t[SHARES], 3000, j % 2);
    for (int j = 0; j < 100; j++)
        step(shares[2], &t[2], 3000, false); /* a share is an object like any other */
    compare(l, &t[SHARES]);
    list_ops.free(l);
    for (int i = 0; i < SHARES; i++) {
        size_t budget = 0;
        compare(shares[i], &t[i]);
        do {
            budget = 10;
        } while (!list_ops.free_some(shares[i], &budget));
    }
    mem_free(t);
}

/* ---- hostile bytes ---- */

static void *list_of_three(void)
{
    static const bytes values[] = {{(const uint8_t *)"one", 3}, {(const uint8_t *)"", 0}, {(const uint8_t *)"three", 5}};
    struct buf change;
    void *l = list_ops.create();
    buf_init(&change, SIZE_MAX);
    list_change_push(&change, LIST_TAIL, values, 3);
    apply(l, &change);
    return l;
}

static void check_three(const void *l)
{
    assert_int_equal(list_count(l), 3);
    assert_true(bytes_equal(list_at(l, 0), BYTES("one")));
    assert_true(bytes_equal(list_at(l, 1), BYTES("")));
    assert_true(bytes_equal(list_at(l, 2), BYTES("three")));
}

static void damaged_forms_are_refused(void **state)
{
    (void)state;
    struct buf out;
    void *l = list_of_three(), *copy;
    buf_init(&out, SIZE_MAX);
    list_ops.encode(l, &out);
    for (size_t size = 0; size < out.size; size++) {
        uint8_t *exact = mem_alloc(size + 1); /* so that a read beyond the end is seen */
        memcpy(exact, out.data, size);
        assert_int_equal(list_ops.decode(bytes_of(exact, size), &copy), HF_ERR_CORRUPT);
        mem_free(exact);
    }
    buf_append_u8(&out, 0);
    assert_int_equal(list_ops.decode(buf_view(&out), &copy), HF_ERR_CORRUPT); /* one too many */
    out.size--;
    for (size_t i = 0; i < out.size; i++) {
        for (int bit = 0; bit < 8; bit++) {
            out.data[i] ^= (uint8_t)(1 << bit);
            if (list_ops.decode(buf_view(&out), &copy) == HF_OK) {
                list_ops.check(copy);
                assert_true(list_count(copy) > 0);
                list_ops.free(copy);
            }
            out.data[i] ^= (uint8_t)(1 << bit);
        }
    }
    buf_reset(&out);
    varint_append(&out, UINT64_MAX); /* a count that nothing backs */
    assert_int_equal(list_ops.decode(buf_view(&out), &copy), HF_ERR_CORRUPT);
    buf_reset(&out);
    varint_append(&out, 0);
    assert_int_equal(list_ops.decode(buf_view(&out), &copy), HF_ERR_CORRUPT);
    buf_release(&out);
    list_ops.free(l);
}

static void misfit_changes_change_nothing(void **state)
{
    (void)state;
#define CHANGE(literal) {(const uint8_t *)(literal), sizeof(literal) - 1}
    static const bytes misfits[] = {
        CHANGE(""), CHANGE("\0"), CHANGE("\6\0"), CHANGE("\377"), CHANGE("\1"), CHANGE("\2"), /* no kind, no element */
        CHANGE("\1\3ab"), CHANGE("\2\1a\3bc"), CHANGE("\2\200\0"),    /* an element cut short, behind a whole one; overlong */
        CHANGE("\3\4\1a"), CHANGE("\3\0\1ab"), CHANGE("\3\0"),        /* INSERT beyond the end, with more behind, with nothing */
        CHANGE("\4\3\1a"), CHANGE("\4\0\1ab"), CHANGE("\4"),          /* SET likewise */
        CHANGE("\5"), CHANGE("\5\0"), CHANGE("\5\0\0"), CHANGE("\5\0\4"), CHANGE("\5\3\1"), CHANGE("\5\4\1"),
        CHANGE("\5\0\1\2\1"), CHANGE("\5\0\1\0\3"), CHANGE("\5\0\1\0"), CHANGE("\5\0\1\0\0"), /* the second run misfits */
        CHANGE("\5\1\377\377\377\377\377\377\377\377\377\1"), CHANGE("\5\377\377\377\377\377\377\377\377\377\1\2"),
        CHANGE("\3\377\377\377\377\377\377\377\377\377\1\0"), CHANGE("\4\377\377\377\377\377\377\377\377\377\1\0"),
    };
    void *l = list_of_three();
    for (size_t i = 0; i < sizeof(misfits) / sizeof(misfits[0]); i++) {
        uint8_t *exact = mem_alloc(misfits[i].size + 1);
        memcpy(exact, misfits[i].data, misfits[i].size);
        if (list_ops.apply(l, bytes_of(exact, misfits[i].size)) != HF_ERR_CORRUPT)
            fail_msg("misfit %zu was taken", i);
        mem_free(exact);
        list_ops.check(l);
        check_three(l);
    }
    list_ops.free(l);
}

/* Random bytes behind each kind: taken or refused, the list stays whole. */
static void random_changes_keep_it_whole(void **state)
{
    (void)state;
    void *l = list_of_three();
    random_state = 11;
    for (int i = 0; i < 200000; i++) {
        uint8_t change[12];
        size_t size = 1 + below(sizeof(change));
        change[0] = (uint8_t)(1 + below(5));
        for (size_t j = 1; j < size; j++)
            change[j] = (uint8_t)(below(4) ? below(4) : next_random());
        uint64_t before = list_count(l);
        status s = list_ops.apply(l, bytes_of(change, size));
        assert_true(s == HF_OK || (s == HF_ERR_CORRUPT && list_count(l) == before));
        if (i % 1000 == 0)
            list_ops.check(l);
    }
    list_ops.free(l);
}

/* What is written in docs/format/values.md, byte for byte. */
static void bytes_are_as_documented(void **state)
{
    (void)state;
    static const bytes values[] = {{(const uint8_t *)"a", 1}, {(const uint8_t *)"bc", 2}};
    struct buf out;
    uint64_t end = 0;
    void *l = list_ops.create();
    buf_init(&out, SIZE_MAX);
    list_change_push(&out, LIST_HEAD, values, 2);
    assert_true(bytes_equal(buf_view(&out), BYTES("\1\1a\2bc")));
    assert_int_equal(list_ops.apply(l, buf_view(&out)), HF_OK);
    assert_true(bytes_equal(list_at(l, 0), BYTES("bc")));
    buf_reset(&out);
    list_change_push(&out, LIST_TAIL, values, 2);
    assert_true(bytes_equal(buf_view(&out), BYTES("\2\1a\2bc")));
    assert_int_equal(list_ops.apply(l, buf_view(&out)), HF_OK);
    buf_reset(&out);
    list_change_insert(&out, 1, values[1]);
    assert_true(bytes_equal(buf_view(&out), BYTES("\3\1\2bc")));
    buf_reset(&out);
    list_change_set(&out, 1, values[1]);
    assert_true(bytes_equal(buf_view(&out), BYTES("\4\1\2bc")));
    buf_reset(&out);
    list_ops.encode(l, &out);
    assert_true(bytes_equal(buf_view(&out), BYTES("\4\2bc\1a\1a\2bc")));
    buf_reset(&out);
    list_change_remove_begin(&out);
    list_change_remove_run(&out, &end, 0, 1);
    list_change_remove_run(&out, &end, 2, 2);
    assert_true(bytes_equal(buf_view(&out), BYTES("\5\0\1\1\2")));
    assert_int_equal(list_ops.apply(l, buf_view(&out)), HF_OK);
    assert_int_equal(list_count(l), 1);
    assert_true(bytes_equal(list_at(l, 0), BYTES("a")));
    buf_release(&out);
    list_ops.free(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(small_lists_are_the_twin),
        cmocka_unit_test(large_lists_are_the_twin),
        cmocka_unit_test(a_share_stays_what_it_was),
        cmocka_unit_test(damaged_forms_are_refused),
        cmocka_unit_test(misfit_changes_change_nothing),
        cmocka_unit_test(random_changes_keep_it_whole),
        cmocka_unit_test(bytes_are_as_documented),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
