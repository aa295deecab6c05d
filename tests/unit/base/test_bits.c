/* test_bits.c -- goal: counting, searching and fields agree with one bit at a time.
 *
 * Method: random bytes (mostly all zeros or all ones, so that runs are long), random ranges, against loops over single bits.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "../support/random.h"

#include "base/bits.h"

#define SIZE_MOST 100

static bytes random_bytes(uint8_t data[SIZE_MOST])
{
    size_t size = next_random() % SIZE_MOST + 1;
    uint8_t fill = next_random() % 2 ? 0xff : 0;
    bool runs = next_random() % 4 != 0;
    for (size_t i = 0; i < size; i++)
        data[i] = runs && next_random() % 40 ? fill : (uint8_t)next_random();
    return bytes_of(data, size);
}

static bool bit_of(bytes b, uint64_t i)
{
    return i / 8 < b.size && b.data[i / 8] >> (7 - i % 8) & 1;
}

static void ranges_agree_with_single_bits(void **state)
{
    (void)state;
    uint8_t data[SIZE_MOST];
    for (int round = 0; round < 20000; round++) {
        bytes b = random_bytes(data);
        uint64_t to = next_random() % (b.size * 8), from = next_random() % (to + 1), count = 0, found[2] = {BITS_NONE, BITS_NONE};
        for (uint64_t i = from; i <= to; i++) {
            bool bit = bit_of(b, i);
            count += bit;
            if (found[bit] == BITS_NONE)
                found[bit] = i;
        }
        assert_int_equal(bits_count(b, from, to), count);
        assert_int_equal(bits_find(b, false, from, to), found[0]);
        assert_int_equal(bits_find(b, true, from, to), found[1]);
    }
}

static void fields_agree_with_single_bits(void **state)
{
    (void)state;
    uint8_t data[SIZE_MOST + 16] = {0}, copy[SIZE_MOST + 16];
    for (int round = 0; round < 20000; round++) {
        bytes b = random_bytes(data);
        unsigned count = (unsigned)(next_random() % 64 + 1);
        uint64_t offset = next_random() % (b.size * 8), expected = 0, value = next_random();
        for (unsigned i = 0; i < count; i++)
            expected = expected << 1 | bit_of(b, offset + i);
        assert_true(bits_get(b, offset, count) == expected);

        uint8_t out[BITS_FIELD_BYTES];
        size_t size = bits_put(b, offset, count, value, out);
        memset(copy, 0, sizeof(copy));
        memcpy(copy, data, b.size);
        memcpy(copy + offset / 8, out, size);
        bytes changed = bytes_of(copy, sizeof(copy));
        for (uint64_t i = 0; i < sizeof(copy) * 8; i++) {
            bool inside = i >= offset && i < offset + count;
            assert_int_equal(bit_of(changed, i), inside ? value >> (count - 1 - (i - offset)) & 1 : bit_of(b, i));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranges_agree_with_single_bits),
        cmocka_unit_test(fields_agree_with_single_bits),
    };
    random_state = 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
