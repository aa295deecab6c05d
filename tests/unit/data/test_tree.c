/* test_tree.c -- goal: the tree is the sequence, and the ordered set, that it says it is, and shares
 * never see each other's changes.
 *
 * Method: random operations against a naive twin (an array), compared whole after each round; shares taken at
 * random with a copy of the twin of that moment and compared later; ranges, large payloads, equal orders. The sanitizer build finds what is not
 * given back. Two threads drop and read shares while a third changes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdlib.h>

#include "../support/random.h"

#include "data/dict.h"
#include "data/tree.h"

#define TWIN_MAX 6000
#define SHARES 4

struct twin_item { uint64_t order; uint32_t number, size; };
struct twin { size_t count; struct twin_item at[TWIN_MAX]; };

/* The first four bytes are the number, so that equal orders have an order of their own. */
static bytes payload_of(const struct twin_item *i, uint8_t out[4096])
{
    for (uint32_t k = 0; k < i->size; k++)
        out[k] = (uint8_t)(i->number * 31 + k);
    for (int k = 0; k < 4; k++)
        out[k] = (uint8_t)(i->number >> (24 - 8 * k));
    return bytes_of(out, i->size);
}

static int compare_numbers(bytes payload, bytes key)
{
    return memcmp(payload.data, key.data, 4);
}

static uint32_t any_size(void)
{
    switch (next_random() % 20) {
    case 0: return 255 + (uint32_t)(next_random() % 3000);
    case 1: return 254;
    default: return 4 + (uint32_t)(next_random() % (next_random() % 2 ? 40 : 2));
    }
}

/* As hashes are, where a search starts at a guess that is nearly right; else the guess is often wrong. */
static bool spread_evenly;

/* Orders near each other, with zeros at the end, and far apart: leaves hold them in frames of all widths. */
static uint64_t any_order(void)
{
    static uint64_t time = UINT64_C(1) << 40;
    if (spread_evenly)
        return next_random();
    switch (next_random() % 64) {
    case 0: return next_random();
    case 1: return next_random() % 2 ? UINT64_MAX : 0;
    case 2: return (UINT64_C(1) << 63) + (next_random() % 1000 << 40);
    case 3: return (UINT64_C(1) << 63) + 1;
    case 4: case 5: case 6: case 7: return time += next_random() % 3;
    case 8: return time - next_random() % 100000;
    default: return next_random() % 50 << (next_random() % 2 ? 20 : 0);
    }
}

static void compare(const struct tree *t, const struct twin *w)
{
    uint8_t room[4096];
    struct tree_cursor c;
    struct tree_element e;
    tree_check(t);
    assert_int_equal(tree_count(t), w->count);
    bool more = tree_seek(t, 0, &c, &e);
    for (size_t i = 0; i < w->count; i++) {
        assert_true(more);
        assert_true(bytes_equal(e.payload, payload_of(&w->at[i], room)));
        assert_int_equal(e.order, t->compare ? w->at[i].order : 0);
        more = tree_next(&c, &e);
    }
    assert_false(more);
    for (size_t i = w->count; i-- > 0;) {
        if (i + 1 == w->count)
            more = tree_seek(t, i, &c, &e);
        else
            more = tree_previous(&c, &e);
        assert_true(more && bytes_equal(e.payload, payload_of(&w->at[i], room)));
    }
    assert_false(w->count && tree_previous(&c, &e));
}

static void twin_insert(struct twin *w, size_t i, struct twin_item item)
{
    memmove(&w->at[i + 1], &w->at[i], (w->count - i) * sizeof(item));
    w->at[i] = item;
    w->count++;
}

static void twin_remove(struct twin *w, size_t i, size_t count)
{
    memmove(&w->at[i], &w->at[i + count], (w->count - i - count) * sizeof(w->at[0]));
    w->count -= count;
}

static size_t place_of(const struct twin *w, struct twin_item item)
{
    size_t i = 0;
    while (i < w->count && (w->at[i].order < item.order || (w->at[i].order == item.order && w->at[i].number < item.number)))
        i++;
    return i;
}

static void insert_one(struct tree *t, struct twin *w)
{
    uint8_t room[4096];
    struct twin_item item = {any_order(), (uint32_t)next_random(), any_size()};
    size_t i;
    if (w->count == TWIN_MAX)
        return;
    if (t->compare) {
        uint64_t position;
        i = place_of(w, item);
        if (i < w->count && w->at[i].order == item.order && w->at[i].number == item.number)
            return;
        assert_false(tree_find(t, item.order, payload_of(&item, room), &position, NULL));
        assert_int_equal(position, i);
    } else {
        uint64_t where = next_random() % 4;
        i = where == 0 ? 0 : where == 1 ? w->count : next_random() % (w->count + 1);
        item.order = 0;
    }
    if (t->compare && next_random() % 2)
        assert_true(tree_put(t, item.order, payload_of(&item, room), payload_of(&item, room)));
    else
        tree_insert(t, i, item.order, payload_of(&item, room));
    twin_insert(w, i, item);
}

static void one_step(struct tree *t, struct twin *w, unsigned growth)
{
    uint8_t room[4096];
    uint64_t what = next_random() % 100;
    if (what < growth || w->count == 0) {
        insert_one(t, w);
    } else if (what < 90) {
        size_t i = next_random() % w->count, count = next_random() % 8 ? 1 : next_random() % (w->count - i) / 3 + 1;
        tree_remove(t, i, count);
        twin_remove(w, i, count);
    } else if (what < 97) {
        size_t i = next_random() % w->count;
        if (!t->compare)
            w->at[i].number = (uint32_t)next_random();
        if (next_random() % 2)
            w->at[i].size = any_size();
        if (t->compare && next_random() % 2)
            assert_false(tree_put(t, w->at[i].order, payload_of(&w->at[i], room), payload_of(&w->at[i], room)));
        else
            tree_replace(t, i, payload_of(&w->at[i], room));
    } else {
        size_t i = next_random() % w->count;
        struct tree_element e = tree_at(t, i);
        assert_true(bytes_equal(e.payload, payload_of(&w->at[i], room)));
        if (t->compare) {
            uint64_t position;
            assert_true(tree_find(t, w->at[i].order, payload_of(&w->at[i], room), &position, &e));
            assert_int_equal(position, i);
            size_t first = i;
            while (first > 0 && w->at[first - 1].order == w->at[i].order)
                first--;
            assert_int_equal(tree_lower(t, w->at[i].order), first);
        }
    }
}

static void random_rounds(tree_compare *order, uint64_t seed)
{
    static struct twin w, shared_twin[SHARES];
    struct tree t = tree_make(order), shared[SHARES];
    bool taken[SHARES] = {false};
    random_state = seed;
    w.count = 0;
    for (int round = 0; round < 60; round++) {
        unsigned growth = round % 20 < 12 ? 75 : 30;
        for (int step = 0; step < 200; step++)
            one_step(&t, &w, growth);
        compare(&t, &w);
        size_t n = next_random() % SHARES;
        if (taken[n]) {
            compare(&shared[n], &shared_twin[n]);
            size_t budget = next_random() % 5;
            while (!tree_clear_some(&shared[n], &budget))
                budget = 1 + next_random() % 3;
        }
        taken[n] = true;
        shared[n] = tree_share(&t);
        shared_twin[n] = w;
    }
    for (int n = 0; n < SHARES; n++) {
        if (taken[n]) {
            compare(&shared[n], &shared_twin[n]);
            tree_clear(&shared[n]);
        }
    }
    compare(&t, &w);
    tree_clear(&t);
}

static void a_sequence_is_its_twin(void **state)
{
    for (uint64_t seed = 1; seed <= 6; seed++)
        random_rounds(NULL, seed);
}

static void an_ordered_tree_is_its_twin(void **state)
{
    for (uint64_t seed = 1; seed <= 6; seed++)
        random_rounds(compare_numbers, seed);
    spread_evenly = true;
    for (uint64_t seed = 7; seed <= 9; seed++)
        random_rounds(compare_numbers, seed);
    spread_evenly = false;
}

static void appending_and_prepending_fill_leaves(void **state)
{
    struct tree t = tree_make(NULL);
    for (uint32_t i = 0; i < 100000; i++)
        tree_insert(&t, i, 0, bytes_of(&i, sizeof(i)));
    assert_true(tree_memory(&t) < 100000 * (4 + 1) * 11 / 10);
    tree_check(&t);
    tree_clear(&t);
    for (uint32_t i = 0; i < 100000; i++)
        tree_insert(&t, 0, 0, bytes_of(&i, sizeof(i)));
    assert_true(tree_memory(&t) < 100000 * (4 + 1) * 11 / 10);
    tree_check(&t);
    for (uint64_t left = 100000; left > 0; left--)
        tree_remove(&t, 0, 1);
    assert_null(t.root);
}

/* A thousand neighbours of one byte each share a leaf; one order far off would make all of them wide. */
static void orders_that_do_not_fit_a_frame_split_the_leaf(void **state)
{
    struct tree t = tree_make(compare_numbers);
    uint8_t number[4] = {0};
    const uint64_t start = UINT64_C(1) << 50;
    for (uint64_t i = 0; i < 250; i++) {
        number[3] = (uint8_t)i;
        tree_insert(&t, i, start + (i << 32), bytes_of(number, 4));
    }
    assert_true(tree_memory(&t) <= 2048);
    for (uint64_t i = 0; i < 250; i += 7) {
        uint64_t position, order = start + (i << 32) + 1 + i;
        assert_false(tree_find(&t, order, bytes_of(number, 4), &position, NULL));
        tree_insert(&t, position, order, bytes_of(number, 4));
        tree_check(&t);
        assert_true(tree_find(&t, order, bytes_of(number, 4), &position, NULL));
    }
    tree_insert(&t, 0, 0, bytes_of(number, 4));
    tree_insert(&t, tree_count(&t), UINT64_MAX, bytes_of(number, 4));
    tree_check(&t);
    assert_int_equal(tree_at(&t, 0).order, 0);
    assert_int_equal(tree_at(&t, tree_count(&t) - 1).order, UINT64_MAX);
    assert_int_equal(tree_lower(&t, start), 1);
    tree_clear(&t);
}

/* ---- threads ---- */

static struct tree handed[64];

static void *read_and_drop(void *from)
{
    for (size_t i = (size_t)(uintptr_t)from; i < 64; i += 2) {
        struct tree_cursor c;
        struct tree_element e;
        uint64_t count = 0;
        for (bool more = tree_seek(&handed[i], 0, &c, &e); more; more = tree_next(&c, &e))
            count++;
        assert_int_equal(count, tree_count(&handed[i]));
        tree_clear(&handed[i]);
    }
    return NULL;
}

static void shares_live_on_other_threads(void **state)
{
    struct tree t = tree_make(NULL);
    pthread_t readers[2];
    random_state = 5;
    for (uint32_t i = 0; i < 5000; i++)
        tree_insert(&t, i, 0, bytes_of(&i, sizeof(i)));
    for (size_t i = 0; i < 64; i++)
        handed[i] = tree_share(&t);
    for (size_t i = 0; i < 2; i++)
        pthread_create(&readers[i], NULL, read_and_drop, (void *)(uintptr_t)i);
    for (uint32_t i = 0; i < 20000; i++)
        tree_replace(&t, next_random() % 5000, bytes_of(&i, sizeof(i)));
    for (size_t i = 0; i < 2; i++)
        pthread_join(readers[i], NULL);
    tree_check(&t);
    tree_clear(&t);
}

/* ---- dict ---- */

struct seen { uint8_t times[5000]; };

static void note(void *context, bytes member, bytes value)
{
    uint32_t number;
    assert_int_equal(member.size, 4);
    memcpy(&number, member.data, 4);
    assert_true(bytes_equal(member, value));
    ((struct seen *)context)->times[number]++;
}

static void a_dict_keeps_members_and_scans_each_once(void **state)
{
    static struct seen seen;
    struct dict d = dict_make();
    bytes value, member;
    for (uint32_t i = 0; i < 5000; i++) {
        assert_true(dict_set(&d, bytes_of(&i, 4), BYTES("old")));
        assert_false(dict_set(&d, bytes_of(&i, 4), bytes_of(&i, 4)));
    }
    dict_check(&d);
    struct dict share = dict_share(&d);
    for (uint32_t i = 1; i < 5000; i += 2)
        assert_true(dict_remove(&d, bytes_of(&i, 4)));
    for (uint32_t i = 0; i < 5000; i++)
        assert_int_equal(dict_get(&d, bytes_of(&i, 4), &value), i % 2 == 0);
    assert_int_equal(dict_count(&d), 2500);
    assert_int_equal(dict_count(&share), 5000);
    /* members that come and go between the steps do not hide or repeat the others */
    uint64_t cursor = 0, steps = 0;
    do {
        cursor = dict_scan(&d, cursor, 10, note, &seen);
        assert_true(cursor < UINT64_C(1) << 53);
        uint32_t other = 1 + 2 * (uint32_t)(steps++ % 2000);
        if (steps % 2)
            dict_set(&d, bytes_of(&other, 4), bytes_of(&other, 4));
        else
            dict_remove(&d, bytes_of(&other, 4));
    } while (cursor);
    for (uint32_t i = 0; i < 5000; i += 2)
        assert_int_equal(seen.times[i], 1);
    assert_true(dict_at(&d, 7, &member, &value) && !dict_at(&d, dict_count(&d), &member, &value));
    dict_check(&d);
    dict_check(&share);
    dict_clear(&d);
    dict_clear(&share);
}

static void odd_members_and_values(void **state)
{
    struct dict d = dict_make();
    static uint8_t large[70000];
    bytes value;
    assert_false(dict_get(&d, BYTES("x"), &value));
    assert_true(dict_set(&d, BYTES(""), BYTES("")));
    assert_true(dict_set(&d, bytes_of(large, sizeof(large)), bytes_of(large, 300)));
    assert_false(dict_set(&d, BYTES(""), bytes_of(large, sizeof(large))));
    assert_true(dict_get(&d, BYTES(""), &value) && value.size == sizeof(large));
    assert_true(dict_get(&d, bytes_of(large, sizeof(large)), &value) && value.size == 300);
    dict_check(&d);
    assert_true(dict_remove(&d, BYTES("")));
    assert_false(dict_remove(&d, BYTES("")));
    dict_clear(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sequence_is_its_twin),
        cmocka_unit_test(an_ordered_tree_is_its_twin),
        cmocka_unit_test(appending_and_prepending_fill_leaves),
        cmocka_unit_test(orders_that_do_not_fit_a_frame_split_the_leaf),
        cmocka_unit_test(shares_live_on_other_threads),
        cmocka_unit_test(a_dict_keeps_members_and_scans_each_once),
        cmocka_unit_test(odd_members_and_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
