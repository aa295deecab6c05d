/* test_rdb.c -- the checksum is the documented one; saved fuzz inputs and hand-made payloads read as they should.
 *
 * Whole values against a real Redis are the work of tests/blackbox/dump.py.
 */
#include "base/memory.h"
#include "rdb/rdb.h"
#include "rdb/rdb_form.h"
#include "types/list.h"
#include "types/type.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

static void test_checksum(void **state)
{
    assert_int_equal(rdb_crc64(0, BYTES("123456789")), UINT64_C(0xe9c6d914c4b8d9ca));
    assert_int_equal(rdb_crc64(rdb_crc64(0, BYTES("1234")), BYTES("56789")), UINT64_C(0xe9c6d914c4b8d9ca));
}

static void test_footer(void **state)
{
    struct buf payload;
    bytes body;
    buf_init(&payload, SIZE_MAX);
    rdb_dump_string(&payload, BYTES("hello"));
    assert_true(rdb_open(buf_view(&payload), NULL, &body));
    assert_int_equal(body.size, 7);
    for (size_t i = 0; i < payload.size * 8; i++) {
        payload.data[i / 8] ^= (uint8_t)(1 << i % 8);
        assert_false(rdb_open(buf_view(&payload), NULL, &body));
        payload.data[i / 8] ^= (uint8_t)(1 << i % 8);
    }
    for (size_t size = 0; size < payload.size; size++)
        assert_false(rdb_open(bytes_of(payload.data, size), NULL, &body));
    buf_release(&payload);
}

/* Every size and every integer at a border of the encodings comes out of a listpack as it went in. */
static void test_listpack(void **state)
{
    static const int64_t numbers[] = {0, 127, 128, -1, 4095, -4096, 32767, 32768, -32768, -32769, INT32_MAX, INT32_MIN, INT64_MAX, INT64_MIN};
    static const size_t sizes[] = {0, 1, 63, 64, 126, 127, 128, 4095, 4096, 16380, 16384, 70000};
    struct buf out;
    struct packed p;
    struct packed_item item;
    uint8_t *text = mem_zalloc(70000);
    buf_init(&out, SIZE_MAX);
    struct listpack l = listpack_begin(&out);
    for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++)
        listpack_add_int(&l, numbers[i]);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++)
        listpack_add(&l, bytes_of(text, sizes[i]));
    listpack_end(&l);
    assert_true(packed_open(&p, PACKED_LISTPACK, buf_view(&out)));
    for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++) {
        assert_int_equal(packed_next(&p, &item), PACKED_ITEM);
        assert_true(item.is_int && item.number == numbers[i]);
    }
    for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
        assert_int_equal(packed_next(&p, &item), PACKED_ITEM);
        assert_true(!item.is_int && item.text.size == sizes[i]);
    }
    assert_int_equal(packed_next(&p, &item), PACKED_END);
    buf_release(&out);
    mem_free(text);
}

static void test_claims_are_bounded(void **state)
{
    /* 2^32 members, 2^63 members, a compressed string of 512 MiB in three bytes */
    static const bytes bodies[] = {{(const uint8_t *)"\x01\x80\xff\xff\xff\xff\x01" "a", sizeof("\x01\x80\xff\xff\xff\xff\x01" "a") - 1}, {(const uint8_t *)"\x01\x81\x80\0\0\0\0\0\0\0\x01" "a", sizeof("\x01\x81\x80\0\0\0\0\0\0\0\x01" "a") - 1},
                                   {(const uint8_t *)"\x00\xc3\x03\x80\x20\x00\x00\x00\x00" "aa", sizeof("\x00\xc3\x03\x80\x20\x00\x00\x00\x00" "aa") - 1}};
    struct rdb_value value;
    for (size_t i = 0; i < sizeof(bodies) / sizeof(*bodies); i++)
        assert_int_equal(rdb_read_value(bodies[i], NULL, &value), HF_ERR_CORRUPT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_checksum), cmocka_unit_test(test_footer), cmocka_unit_test(test_listpack),
        cmocka_unit_test(test_claims_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
