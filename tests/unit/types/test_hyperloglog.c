/* test_hyperloglog.c -- goal: both forms hold the registers that were raised, with the bytes that redis-server makes.
 *
 * Method: random raises against an array of registers, compared after each batch through the calls that read a value;
 * values recorded from redis-server 7.0.15; estimates of known counts; damaged values through every call.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "../support/random.h"

#include "base/memory.h"
#include "types/hyperloglog.h"

static uint8_t registers[HLL_REGISTERS], read_back[HLL_REGISTERS];

static void make(struct buf *h)
{
    buf_init(h, HLL_SPARSE_SIZE_MAX * 2);
    hll_make(h);
    memset(registers, 0, sizeof(registers));
}

static void compare(const struct buf *h)
{
    uint64_t count;
    assert_true(hll_is_valid(buf_view(h)));
    memset(read_back, 0, sizeof(read_back));
    assert_true(hll_merge(read_back, buf_view(h)));
    assert_memory_equal(read_back, registers, sizeof(registers));
    assert_true(hll_count(buf_view(h), &count));
    assert_int_equal(count, hll_count_registers(registers));
}

/* Neighbours are raised often, and to few values: runs are cut and joined. */
static void raise_some(struct buf *h, uint32_t spread, uint8_t value_max, int times)
{
    for (int i = 0; i < times; i++) {
        uint32_t index = (uint32_t)(next_random() % spread * 7919 % HLL_REGISTERS / 16 * 16 + next_random() % 16);
        uint8_t value = (uint8_t)(next_random() % value_max + 1);
        assert_int_equal(hll_raise(h, index, value), registers[index] < value ? HLL_CHANGED : HLL_SAME);
        if (registers[index] < value)
            registers[index] = value;
    }
    compare(h);
}

static void registers_are_the_array(void **state)
{
    (void)state;
    static const struct { uint32_t spread; uint8_t value_max; uint64_t sparse_max; } cases[] = {
        {20, 3, 3000}, {200, 2, 3000}, {1000, 32, 3000}, {16384, 51, 3000}, {16384, 3, 20000}, {5, 40, 3000}, {100, 3, 18}};
    random_state = 1;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct buf h;
        make(&h);
        hll_sparse_bytes_max = cases[i].sparse_max;
        for (int batch = 0; batch < 60; batch++)
            raise_some(&h, cases[i].spread, cases[i].value_max, batch * 3);
        assert_true(hll_make_dense(&h));
        assert_int_equal(h.size, HLL_DENSE_SIZE);
        compare(&h);
        raise_some(&h, cases[i].spread, 63, 100);
        buf_release(&h);
    }
    hll_sparse_bytes_max = 3000;
}

static void dense_follows_the_limit(void **state)
{
    (void)state;
    struct buf h;
    make(&h);
    assert_int_equal(hll_raise(&h, 5, 32), HLL_CHANGED);
    assert_false(hll_is_dense(buf_view(&h)));
    assert_int_equal(hll_raise(&h, 6, 33), HLL_CHANGED); /* no sparse code for it */
    assert_true(hll_is_dense(buf_view(&h)));
    buf_release(&h);

    make(&h);
    size_t largest = 0;
    for (uint32_t i = 0; i < HLL_REGISTERS && !hll_is_dense(buf_view(&h)); i += 2) {
        largest = h.size;
        hll_raise(&h, i, 1);
    }
    assert_true(hll_is_dense(buf_view(&h)));
    assert_in_range(largest, 2998, 3000);
    buf_release(&h);
}

#define ADD(h, text) assert_int_equal(hll_add(h, BYTES(text)), HLL_CHANGED)

static void bytes_are_those_of_redis(void **state)
{
    (void)state;
    static const uint8_t empty[] = "HYLL\x01\0\0\0\0\0\0\0\0\0\0\0\x7f\xff";
    static const uint8_t abc[] = "HYLL\x01\0\0\0\0\0\0\0\0\0\0\x80\x60\xf3\x80\x50\xb1\x84\x4b\xfb\x80\x42\x5a";
    struct buf h;
    uint64_t count;
    make(&h);
    assert_int_equal(h.size, sizeof(empty) - 1);
    assert_memory_equal(h.data, empty, h.size);
    ADD(&h, "a");
    ADD(&h, "b");
    ADD(&h, "c");
    assert_int_equal(hll_add(&h, BYTES("b")), HLL_SAME);
    assert_false(hll_has_surely(buf_view(&h), BYTES("b")));
    hll_forget_count(&h);
    assert_int_equal(h.size, sizeof(abc) - 1);
    assert_memory_equal(h.data, abc, h.size);
    assert_false(hll_cached_count(buf_view(&h), &count));
    assert_true(hll_count(buf_view(&h), &count));
    assert_int_equal(count, 3);
    hll_encode_count(count, h.data + HLL_COUNT_OFFSET);
    assert_true(hll_cached_count(buf_view(&h), &count));
    assert_int_equal(count, 3);
    assert_true(hll_make_dense(&h));
    assert_true(hll_has_surely(buf_view(&h), BYTES("b")));
    assert_false(hll_has_surely(buf_view(&h), BYTES("d")));
    buf_release(&h);
}

static void estimates_are_near(void **state)
{
    (void)state;
    struct buf h;
    make(&h);
    for (uint64_t i = 1, next = 1; i <= 1000000; i++) {
        char text[32];
        uint64_t count;
        hll_add(&h, bytes_of(text, (size_t)snprintf(text, sizeof(text), "element:%llu", (unsigned long long)i)));
        if (i < next)
            continue;
        assert_true(hll_count(buf_view(&h), &count));
        assert_in_range(count, i - i * 4 / 100, i + i * 4 / 100); /* five standard errors */
        next *= 10;
    }
    buf_release(&h);
}

/* Every call must come back; what it says of a damaged value is free, but a valid one stays valid. */
static void use(struct buf *h)
{
    uint64_t count;
    if (!hll_is_valid(buf_view(h)))
        return;
    bool whole = hll_count(buf_view(h), &count);
    memset(read_back, 0, sizeof(read_back));
    assert_int_equal(hll_merge(read_back, buf_view(h)), whole);
    size_t offset = HLL_HEADER_SIZE;
    struct hll_run run;
    while (!hll_is_dense(buf_view(h)) && hll_next_run(buf_view(h), &offset, &run))
        assert_true(offset <= h->size);
    for (uint32_t i = 0; i < 20; i++) {
        enum hll_result result = hll_raise(h, (uint32_t)(next_random() % HLL_REGISTERS), (uint8_t)(next_random() % 34 + 1));
        assert_true(!whole || result != HLL_DAMAGED);
    }
    hll_forget_count(h);
    assert_int_equal(hll_make_dense(h), whole || hll_is_dense(buf_view(h)));
}

static void damaged_values_do_no_harm(void **state)
{
    (void)state;
    random_state = 5;
    for (int round = 0; round < 3000; round++) {
        struct buf h, copy;
        make(&h);
        for (uint64_t i = next_random() % 40; i > 0; i--)
            hll_raise(&h, (uint32_t)(next_random() % 300), (uint8_t)(next_random() % 3 + 1));
        buf_init(&copy, HLL_SPARSE_SIZE_MAX * 2);
        buf_append_bytes(&copy, buf_view(&h));
        copy.size -= next_random() % 3 ? 0 : next_random() % copy.size;
        for (uint64_t i = next_random() % 4; i > 0 && copy.size; i--)
            copy.data[next_random() % copy.size] = (uint8_t)next_random();
        for (uint64_t i = next_random() % 3; i > 0; i--)
            buf_append_u8(&copy, (uint8_t)next_random());
        use(&copy);
        buf_release(&copy);
        buf_release(&h);
    }
}

static void headers_are_checked(void **state)
{
    (void)state;
    assert_false(hll_is_valid(BYTES("")));
    assert_false(hll_is_valid(BYTES("HYLL\1\0\0\0\0\0\0\0\0\0\0")));
    assert_true(hll_is_valid(BYTES("HYLL\1\0\0\0\0\0\0\0\0\0\0\0")));
    assert_false(hll_is_valid(BYTES("HYLM\1\0\0\0\0\0\0\0\0\0\0\0")));
    assert_false(hll_is_valid(BYTES("HYLL\2\0\0\0\0\0\0\0\0\0\0\0")));
    assert_false(hll_is_valid(BYTES("HYLL\0\0\0\0\0\0\0\0\0\0\0\0x")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(registers_are_the_array),
        cmocka_unit_test(dense_follows_the_limit),
        cmocka_unit_test(bytes_are_those_of_redis),
        cmocka_unit_test(estimates_are_near),
        cmocka_unit_test(damaged_values_do_no_harm),
        cmocka_unit_test(headers_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
