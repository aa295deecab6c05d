/* test_buf.c -- goal: a buffer holds what was appended and not dropped, whatever its size; large ones give memory back from the front.
 * Method: a counter's numbers go in at one end and come out at the other, across the size from which a buffer has pages. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/memory.h"

enum { BIG = 24 << 20 };

static void put(struct buf *b, uint32_t *next, size_t size)
{
    for (size_t i = 0; i < size; i += sizeof(*next), (*next)++)
        buf_append(b, next, sizeof(*next));
}

static void expect(const struct buf *b, size_t at, uint32_t first)
{
    for (; at < b->size; at += sizeof(first), first++)
        assert_memory_equal(b->data + at, &first, sizeof(first));
}

static void what_is_dropped_is_gone_and_the_rest_stays(void **state)
{
    struct buf b;
    uint32_t next = 0;
    size_t sent = 0, gone = 0, before = mem_in_use();
    (void)state;
    buf_init(&b, SIZE_MAX);
    put(&b, &next, 1 << 20);
    assert_false(b.has_pages);
    put(&b, &next, BIG);
    assert_true(b.has_pages);
    expect(&b, 0, 0);
    assert_true(mem_in_use() - before >= BIG);
    for (int i = 0; i < 100; i++) { /* sent in pieces of odd sizes, while more comes */
        sent += 4 * 50001;
        size_t dropped = buf_drop(&b, sent);
        assert_true(dropped <= sent);
        sent -= dropped;
        gone += dropped;
        assert_true(sent < MEM_PAGE);
        put(&b, &next, 4 * 1000);
    }
    expect(&b, sent + (4 - (gone + sent) % 4) % 4, (uint32_t)((gone + sent + 3) / 4));
    assert_true(mem_in_use() - before < BIG);
    b.size = 0;
    buf_shrink(&b, 0);
    assert_int_equal(mem_in_use(), before);
    put(&b, &next, 400);
    assert_int_equal(buf_drop(&b, 100), 100); /* a small one drops all of it */
    assert_int_equal(b.size, 300);
    buf_release(&b);
    assert_int_equal(mem_in_use(), before);
}

static void the_maximum_holds_and_a_refusal_changes_nothing(void **state)
{
    struct buf b;
    uint32_t next = 0;
    (void)state;
    buf_init(&b, BIG);
    put(&b, &next, BIG);
    assert_false(buf_try_reserve(&b, 1));
    assert_int_equal(b.size, BIG);
    expect(&b, 0, 0);
    b.size = b.capacity;
    while (b.size) { /* to the last page */
        if (!buf_drop(&b, b.size < (5 << 20) ? b.size : 5 << 20))
            break;
    }
    assert_true(b.capacity > 0);
    buf_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_dropped_is_gone_and_the_rest_stays),
        cmocka_unit_test(the_maximum_holds_and_a_refusal_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
