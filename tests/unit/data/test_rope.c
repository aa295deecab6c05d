/* test_rope.c -- large strings in chunks, here of 24 bytes, so that everything crosses many edges.
 *
 * Method: random writes, cuts, clones and shares on a few ropes go to plain arrays as well; after each step the ropes are read
 * in full and in parts and checked. In some rounds an allocation fails: then nothing may have changed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/memory.h"

static int allocations_left = -1; /* -1: as many as are asked for */

static bool allocation_fails(void)
{
    if (allocations_left == 0)
        return true;
    allocations_left -= allocations_left > 0;
    return false;
}

static void *try_alloc(size_t size) { return allocation_fails() ? NULL : mem_alloc(size); }
static void *try_realloc(void *block, size_t size) { return allocation_fails() ? NULL : mem_realloc(block, size); }

#define ROPE_CHUNK ((size_t)24)
#define mem_try_alloc try_alloc
#define mem_try_realloc try_realloc
#include "data/rope.c"

#define ROPES 4
#define SIZE_MOST 700

struct twin { struct rope *rope; uint8_t bytes[SIZE_MOST]; size_t size; };

static uint64_t seed = 4711;

static size_t random_below(size_t n)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return n ? (size_t)(seed % n) : 0;
}

static void compare(const struct twin *t)
{
    uint8_t read[SIZE_MOST];
    rope_check(t->rope);
    assert_int_equal(t->rope->size, t->size);
    rope_read(t->rope, 0, t->size, read);
    assert_memory_equal(read, t->bytes, t->size);
    if (t->size) {
        size_t from = random_below(t->size), most = 1 + random_below(60);
        bytes run = rope_run(t->rope, from, most);
        assert_true(run.size > 0 && run.size <= most);
        assert_memory_equal(run.data, t->bytes + from, run.size);
    }
    bytes view = rope_view(t->rope);
    assert_int_equal(view.size, t->size);
    assert_true((view.data != NULL) == (t->size <= ROPE_CHUNK));
}

static void make(struct twin *t)
{
    t->size = random_below(100);
    for (size_t i = 0; i < t->size; i++)
        t->bytes[i] = (uint8_t)random_below(256);
    t->rope = rope_new(bytes_of(t->bytes, t->size));
    assert_non_null(t->rope);
}

/* As the engine does: what is shared is cloned first. */
static bool own(struct twin *t)
{
    if (!rope_is_shared(t->rope))
        return true;
    struct rope *copy = rope_clone(t->rope);
    if (!copy)
        return false;
    rope_unref(t->rope);
    t->rope = copy;
    return true;
}

static void write_some(struct twin *t)
{
    uint8_t content[120];
    size_t size = random_below(random_below(4) ? 20 : sizeof(content));
    size_t offset = random_below(3) ? random_below(t->size + 1) : random_below(SIZE_MOST - sizeof(content));
    offset = random_below(3) ? offset : t->size;
    if (offset + size > SIZE_MOST)
        return;
    for (size_t i = 0; i < size; i++)
        content[i] = (uint8_t)(1 + random_below(255));
    if (!own(t) || !rope_write(t->rope, offset, bytes_of(content, size)))
        return;
    if (size && offset > t->size)
        memset(t->bytes + t->size, 0, offset - t->size);
    memcpy(t->bytes + offset, content, size);
    t->size = size && offset + size > t->size ? offset + size : t->size;
}

static void step(struct twin *twins)
{
    struct twin *t = &twins[random_below(ROPES)], *other = &twins[random_below(ROPES)];
    switch (random_below(10)) {
    case 0:
        if (t != other && random_below(2)) {
            rope_unref(other->rope);
            *other = *t;
            rope_ref(t->rope);
        }
        break;
    case 1:
        if (own(t)) {
            size_t size = random_below(t->size + 1);
            rope_cut(t->rope, size);
            t->size = size;
        }
        break;
    case 2:
        if (random_below(5) == 0) {
            size_t budget = 0;
            while (!rope_unref_some(t->rope, &budget))
                budget = 1 + random_below(3);
            make(t);
        }
        break;
    default:
        write_some(t);
    }
}

static void reads_as_what_was_written(void **state)
{
    struct twin twins[ROPES];
    for (size_t i = 0; i < ROPES; i++)
        make(&twins[i]);
    for (int round = 0; round < 40000; round++) {
        bool fails = random_below(4) == 0 && random_below(10) > 2;
        if (fails) {
            allocations_left = (int)random_below(3);
            write_some(&twins[random_below(ROPES)]);
            allocations_left = -1;
        } else {
            step(twins);
        }
        for (size_t i = 0; i < ROPES; i++)
            compare(&twins[i]);
    }
    for (size_t i = 0; i < ROPES; i++)
        rope_unref(twins[i].rope);
}

static void a_write_into_a_clone_copies_one_chunk(void **state)
{
    uint8_t content[10 * ROPE_CHUNK];
    memset(content, 'a', sizeof(content));
    struct rope *first = rope_new(bytes_of(content, sizeof(content))), *second = rope_clone(first);
    assert_true(rope_write(second, 5 * ROPE_CHUNK + 3, BYTES("xyz")));
    for (size_t i = 0; i < 10; i++)
        assert_int_equal(first->chunks[i] == second->chunks[i], i != 5);
    assert_true(rope_write(second, second->size, BYTES("end")));
    assert_ptr_equal(first->chunks[9], second->chunks[9]);
    assert_int_equal(first->size, sizeof(content));
    assert_int_equal(first->chunks[5]->data[3], 'a');
    rope_unref(first);
    rope_check(second);
    rope_unref(second);
}

static void a_gap_takes_no_memory(void **state)
{
    struct rope *r = rope_new(BYTES("begin"));
    size_t before = rope_memory(r);
    assert_true(rope_write(r, 1000 * ROPE_CHUNK, BYTES("end")));
    assert_int_equal(r->zero_count, 999);
    assert_true(rope_memory(r) < before + 4 * ROPE_CHUNK + 1600 * sizeof(struct rope_chunk *));
    rope_check(r);
    struct rope *copy = rope_clone(r);
    assert_true(rope_write(copy, 500 * ROPE_CHUNK, BYTES("m")));
    assert_int_equal(rope_run(r, 500 * ROPE_CHUNK, 1).data[0], 0);
    assert_int_equal(rope_run(copy, 500 * ROPE_CHUNK, 1).data[0], 'm');
    assert_int_equal(rope_run(copy, 501 * ROPE_CHUNK, 1).data[0], 0);
    rope_unref(r);
    rope_unref(copy);
}

/* What a rope is made of in parts is what it is when it is made at once; where an allocation fails, the rest of it goes back. */
static void in_parts_it_is_the_same(void **state)
{
    uint8_t bytes_in[5 * ROPE_CHUNK];
    (void)state;
    for (size_t i = 0; i < sizeof(bytes_in); i++)
        bytes_in[i] = (uint8_t)random_below(256);
    for (size_t size = 1; size <= sizeof(bytes_in); size++) {
        struct twin t = {.rope = rope_begin(size), .size = size};
        memcpy(t.bytes, bytes_in, size);
        for (size_t at = 0; at < size; at += ROPE_CHUNK) {
            bytes chunk = bytes_of(bytes_in + at, size - at < ROPE_CHUNK ? size - at : ROPE_CHUNK);
            allocations_left = 0;
            assert_false(rope_add(t.rope, chunk));
            allocations_left = -1;
            assert_true(rope_add(t.rope, chunk));
        }
        compare(&t);
        rope_unref(t.rope);
    }
    rope_unref(rope_begin(100));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_as_what_was_written),
        cmocka_unit_test(a_write_into_a_clone_copies_one_chunk),
        cmocka_unit_test(a_gap_takes_no_memory),
        cmocka_unit_test(in_parts_it_is_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
