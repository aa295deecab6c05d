/* test_hash.c -- goal: struct hash is the map it says it is, in both forms.
 *
 * Method: random operations against a naive twin (an array searched in order), compared
 * after each step or round; encode and decode, also of damaged bytes; scans with changes between their steps.
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
#include "types/hash.h"

#define TWIN_MAX 4096

struct twin {
    size_t count;
    struct twin_row { uint32_t field, value; uint16_t value_size; uint64_t deadline; } rows[TWIN_MAX];
};

static bytes field_of(uint32_t number, char out[16])
{
    return bytes_of(out, (size_t)snprintf(out, 16, "f%u", number));
}

/* A value of any size, known by its number. */
static bytes value_of(uint32_t number, uint16_t size, uint8_t out[1024])
{
    for (size_t i = 0; i < size; i++)
        out[i] = (uint8_t)(number + i * 7);
    return bytes_of(out, size);
}

static struct twin_row *twin_find(struct twin *t, uint32_t field)
{
    for (size_t i = 0; i < t->count; i++)
        if (t->rows[i].field == field)
            return &t->rows[i];
    return NULL;
}

static void compare(const struct hash *h, struct twin *t)
{
    hash_ops.check(h);
    assert_int_equal(hash_count(h), t->count);
    uint64_t earliest = 0;
    for (size_t i = 0; i < t->count; i++) {
        char name[16];
        uint8_t scratch[1024];
        bytes value;
        assert_true(hash_get(h, field_of(t->rows[i].field, name), &value));
        assert_true(bytes_equal(value, value_of(t->rows[i].value, t->rows[i].value_size, scratch)));
        assert_int_equal(hash_field_deadline(h, field_of(t->rows[i].field, name)), t->rows[i].deadline);
        if (t->rows[i].deadline && (!earliest || t->rows[i].deadline < earliest))
            earliest = t->rows[i].deadline;
    }
    assert_int_equal(hash_deadline(h), earliest);
    uint64_t position = 0;
    size_t walked = 0;
    bytes field, value;
    while (hash_next(h, &position, &field, &value))
        walked++;
    assert_int_equal(walked, t->count);
}

static void step(struct hash *h, struct twin *t, uint32_t field_max, uint16_t value_max, unsigned set_percent)
{
    char name[16];
    uint8_t scratch[1024];
    uint32_t number = (uint32_t)(next_random() % field_max);
    bytes field = field_of(number, name);
    struct twin_row *row = twin_find(t, number);
    if (next_random() % 100 < set_percent) {
        struct twin_row wanted = {number, (uint32_t)next_random(), (uint16_t)(next_random() % (value_max + 1u)), 0};
        bool is_new = hash_set(h, field, value_of(wanted.value, wanted.value_size, scratch));
        assert_int_equal(is_new, row == NULL);
        if (!row)
            row = &t->rows[t->count++];
        *row = wanted;
    } else {
        assert_int_equal(hash_remove(h, field), row != NULL);
        if (row)
            *row = t->rows[--t->count];
    }
}

static void round_trip(const struct hash *h, struct twin *t)
{
    struct buf out;
    buf_init(&out, 64u << 20);
    hash_ops.encode(h, &out);
    void *copy = NULL;
    assert_int_equal(hash_ops.decode(buf_view(&out), &copy), HF_OK);
    compare(copy, t);
    hash_free(copy);
    buf_release(&out);
}

static void run_model(uint32_t field_max, uint16_t value_max, int rounds)
{
    struct twin *t = mem_zalloc(sizeof(*t));
    struct hash *h = hash_new();
    for (int round = 0; round < rounds; round++) {
        unsigned set_percent = (round / 3) % 2 ? 20 : 80; /* grows, then shrinks */
        for (uint32_t i = 0; i < field_max; i++)
            step(h, t, field_max, value_max, set_percent);
        compare(h, t);
        if (t->count > 0)
            round_trip(h, t);
    }
    hash_free(h);
    mem_free(t);
}

static void packed_is_the_twin(void **state)
{
    (void)state;
    random_state = 1;
    run_model(100, 64, 200);
}

static void dict_is_the_twin(void **state)
{
    (void)state;
    random_state = 2;
    run_model(3000, 200, 18);
}

/* -- deadlines, through changes as the log has them -- */

static void apply(struct hash *h, struct buf *change)
{
    assert_int_equal(hash_ops.apply(h, buf_view(change)), HF_OK);
    buf_release(change);
}

static void apply_refused(struct hash *h, struct twin *t, struct buf *change)
{
    assert_int_equal(hash_ops.apply(h, buf_view(change)), HF_ERR_CORRUPT);
    buf_release(change);
    assert_int_equal(hash_count(h), t->count);
}

static size_t twin_due(struct twin *t, uint64_t now, bool remove)
{
    size_t due = 0;
    for (size_t i = t->count; i-- > 0;) {
        if (!t->rows[i].deadline || t->rows[i].deadline > now)
            continue;
        due++;
        if (remove)
            t->rows[i] = t->rows[--t->count];
    }
    return due;
}

static void timed_step(struct hash *h, struct twin *t, uint32_t field_max, uint64_t *now)
{
    char name[16];
    uint8_t scratch[1024];
    uint32_t number = (uint32_t)(next_random() % field_max);
    bytes field = field_of(number, name);
    struct twin_row *row = twin_find(t, number);
    struct buf change;
    buf_init(&change, 4096);
    switch (next_random() % 8) {
    case 0: case 1: case 2: {
        struct twin_row wanted = {number, (uint32_t)next_random(), 9, 0};
        hash_change_set(&change, field, value_of(wanted.value, 9, scratch));
        apply(h, &change);
        *(row ? row : &t->rows[t->count++]) = wanted;
        break;
    }
    case 3: {
        uint32_t value = (uint32_t)next_random();
        hash_change_update(&change, field, value_of(value, 9, scratch));
        if (!row) {
            apply_refused(h, t, &change);
            break;
        }
        apply(h, &change);
        row->value = value;
        row->value_size = 9;
        break;
    }
    case 4: case 5: {
        uint64_t deadline = next_random() % 6 ? *now + 1 + next_random() % 50 : 0;
        hash_change_deadline(&change, deadline);
        hash_change_field(&change, field);
        if (!row) {
            apply_refused(h, t, &change);
            break;
        }
        apply(h, &change);
        row->deadline = deadline;
        break;
    }
    case 6:
        hash_change_remove(&change, field);
        if (!row) {
            apply_refused(h, t, &change);
            break;
        }
        apply(h, &change);
        *row = t->rows[--t->count];
        break;
    default:
        *now += next_random() % 3;
        assert_int_equal(hash_due_count(h, *now), twin_due(t, *now, false));
        hash_change_expire(&change, *now);
        if (twin_due(t, *now, true) == 0)
            apply_refused(h, t, &change);
        else
            apply(h, &change);
    }
}

static void run_timed(uint32_t field_max, int rounds)
{
    struct twin *t = mem_zalloc(sizeof(*t));
    struct hash *h = hash_new();
    uint64_t now = 1000;
    for (int round = 0; round < rounds; round++) {
        for (uint32_t i = 0; i < field_max; i++)
            timed_step(h, t, field_max, &now);
        struct hash *share = hash_ops.share(h);
        struct twin *kept = mem_alloc(sizeof(*kept));
        *kept = *t;
        for (int i = 0; i < 20; i++)
            timed_step(h, t, field_max, &now);
        compare(h, t);
        compare(share, kept); /* what the other did is not seen */
        if (kept->count)
            round_trip(share, kept);
        size_t budget = 1;
        while (!hash_ops.free_some(share, &budget))
            budget = 1;
        mem_free(kept);
    }
    hash_free(h);
    mem_free(t);
}

static void deadlines_are_the_twins_packed_and_large(void **state)
{
    (void)state;
    random_state = 5;
    run_timed(40, 300);
    run_timed(2000, 12);
}

static void encoding_tells_of_deadlines(void **state)
{
    (void)state;
    struct hash *h = hash_new();
    struct buf change, out;
    void *copy;
    hash_set(h, BYTES("f"), BYTES("v"));
    for (int round = 0; round < 2; round++) {
        buf_init(&change, 64);
        hash_change_deadline(&change, round ? 0 : 5000);
        hash_change_field(&change, BYTES("f"));
        apply(h, &change);
        assert_string_equal(hash_ops.encoding(h), "listpackex"); /* also when it has none any more */
    }
    buf_init(&out, 64);
    hash_ops.encode(h, &out);
    assert_int_equal(hash_ops.decode(buf_view(&out), &copy), HF_OK);
    assert_string_equal(hash_ops.encoding(copy), "listpackex");
    hash_free(copy);
    buf_release(&out);
    hash_free(h);
}

static void hostile_deadlines_are_refused(void **state)
{
    (void)state;
    struct hash *h = hash_new();
    hash_set(h, BYTES("f"), BYTES("v"));
    static const bytes changes[] = {
        {(const uint8_t *)"\4", 1}, {(const uint8_t *)"\4\5", 2}, {(const uint8_t *)"\4\5\1g", 4}, {(const uint8_t *)"\4\5\1f\1", 5},
        {(const uint8_t *)"\4\xff\xff\xff\xff\xff\xff\x7f\1f", 10}, {(const uint8_t *)"\5", 1}, {(const uint8_t *)"\5\1", 2},
        {(const uint8_t *)"\6\1f", 3}, {(const uint8_t *)"\3\1g\1v", 5}};
    for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++)
        assert_int_equal(hash_ops.apply(h, changes[i]), HF_ERR_CORRUPT);
    assert_int_equal(hash_deadline(h), 0);
    hash_ops.check(h);
    hash_free(h);
    void *object;
    assert_int_equal(hash_ops.decode(BYTES("\0\1\1f\1v"), &object), HF_ERR_CORRUPT);             /* no deadline */
    assert_int_equal(hash_ops.decode(BYTES("\0\1\1f\1v\0\0"), &object), HF_ERR_CORRUPT);         /* rest */
    assert_int_equal(hash_ops.decode(BYTES("\0\0"), &object), HF_ERR_CORRUPT);
    assert_int_equal(hash_ops.decode(BYTES("\0\1\1f\1v\xff\xff\xff\xff\xff\xff\x7f"), &object), HF_ERR_CORRUPT); /* too late */
}

static void form_follows_the_limits(void **state)
{
    (void)state;
    struct hash_limits before = hash_limits;
    hash_limits = (struct hash_limits){128, 64};
    struct hash *h = hash_new();
    char name[16];
    uint8_t scratch[1024];
    for (uint32_t i = 0; i < 128; i++)
        hash_set(h, field_of(i, name), value_of(i, 64, scratch));
    assert_string_equal(hash_ops.encoding(h), "listpack");
    hash_set(h, field_of(128, name), value_of(1, 1, scratch));
    assert_string_equal(hash_ops.encoding(h), "hashtable");
    for (uint32_t i = 0; i < 128; i++)
        assert_true(hash_remove(h, field_of(i, name)));
    assert_string_equal(hash_ops.encoding(h), "hashtable");
    hash_ops.check(h);
    hash_free(h);

    h = hash_new();
    hash_set(h, BYTES("f"), value_of(0, 64, scratch));
    assert_string_equal(hash_ops.encoding(h), "listpack");
    hash_set(h, BYTES("f"), value_of(0, 65, scratch));
    assert_string_equal(hash_ops.encoding(h), "hashtable");
    assert_int_equal(hash_count(h), 1);
    hash_free(h);
    hash_limits = before;
}

static void empty_words_and_nul_bytes_are_fields(void **state)
{
    (void)state;
    struct hash *h = hash_new();
    bytes value;
    assert_true(hash_set(h, BYTES(""), BYTES("")));
    assert_true(hash_set(h, BYTES("\0"), BYTES("\0x")));
    assert_false(hash_set(h, BYTES(""), BYTES("v")));
    assert_true(hash_get(h, BYTES(""), &value) && bytes_equal(value, BYTES("v")));
    assert_true(hash_get(h, BYTES("\0"), &value) && bytes_equal(value, BYTES("\0x")));
    assert_false(hash_get(h, BYTES("\0\0"), &value));
    hash_ops.check(h);
    hash_free(h);
}

/* -- scan: fields present throughout appear, while others come and go between steps -- */

static unsigned seen[20000];

static void mark(void *context, bytes field, bytes value)
{
    (void)value;
    char text[16] = {0};
    assert_true(field.size > 1 && field.size < sizeof(text));
    memcpy(text, field.data, field.size);
    unsigned long number = strtoul(text + 1, NULL, 10);
    assert_true(number < sizeof(seen) / sizeof(seen[0]));
    seen[number]++;
    ++*(size_t *)context;
}

static void scan_shows_what_stays(void **state)
{
    (void)state;
    random_state = 3;
    for (int round = 0; round < 40; round++) {
        struct hash *h = hash_new();
        char name[16];
        uint32_t stay = 200, others = (uint32_t)(next_random() % 15000);
        bool grows = round % 2;
        for (uint32_t i = 0; i < stay; i++)
            hash_set(h, field_of(i, name), BYTES("v"));
        for (uint32_t i = 0; !grows && i < others; i++)
            hash_set(h, field_of(stay + i, name), BYTES("v"));
        memset(seen, 0, sizeof(seen));
        uint64_t cursor = 0;
        size_t shown = 0;
        uint32_t changed = 0;
        do {
            cursor = hash_scan(h, cursor, 1 + next_random() % 40, mark, &shown);
            for (uint32_t i = 0; i < 500 && changed < others; i++, changed++) {
                bytes field = field_of(stay + changed, name);
                if (grows)
                    hash_set(h, field, BYTES("v"));
                else
                    hash_remove(h, field);
            }
        } while (cursor != 0);
        for (uint32_t i = 0; i < stay; i++)
            assert_int_equal(seen[i], 1);
        hash_ops.check(h);
        hash_free(h);
    }
}

static void scan_of_packed_is_one_step(void **state)
{
    (void)state;
    struct hash *h = hash_new();
    char name[16];
    size_t shown = 0;
    for (uint32_t i = 0; i < 100; i++)
        hash_set(h, field_of(i, name), BYTES("v"));
    memset(seen, 0, sizeof(seen));
    assert_int_equal(hash_scan(h, 0, 10, mark, &shown), 0);
    assert_int_equal(shown, 100);
    hash_free(h);
}

/* -- hostile bytes -- */

static void every_damaged_length_is_refused(void **state)
{
    (void)state;
    struct hash *h = hash_new();
    hash_set(h, BYTES("one"), BYTES("1"));
    hash_set(h, BYTES("two"), BYTES("22"));
    struct buf out;
    buf_init(&out, 1024);
    hash_ops.encode(h, &out);
    void *object;
    for (size_t size = 0; size < out.size; size++)
        assert_int_equal(hash_ops.decode(bytes_of(out.data, size), &object), HF_ERR_CORRUPT);
    for (size_t at = 0; at < out.size; at++) { /* any result, but only HF_OK or CORRUPT, and no misstep */
        for (int bit = 0; bit < 8; bit++) {
            out.data[at] ^= (uint8_t)(1 << bit);
            status s = hash_ops.decode(buf_view(&out), &object);
            assert_true(s == HF_OK || s == HF_ERR_CORRUPT);
            if (s == HF_OK) {
                hash_ops.check(object);
                hash_ops.free(object);
            }
            out.data[at] ^= (uint8_t)(1 << bit);
        }
    }
    assert_int_equal(hash_ops.decode(BYTES("\2\1a\1x\1a\1y"), &object), HF_ERR_CORRUPT);       /* twice */
    assert_int_equal(hash_ops.decode(BYTES("\1\1a\1x!"), &object), HF_ERR_CORRUPT);            /* rest */
    assert_int_equal(hash_ops.decode(BYTES("\0"), &object), HF_ERR_CORRUPT);                   /* empty */
    assert_int_equal(hash_ops.decode(BYTES("\x81\x00\1a\1x"), &object), HF_ERR_CORRUPT);       /* overlong */
    assert_int_equal(hash_ops.decode(BYTES("\xff\xff\xff\xff\x0f\1a\1x"), &object), HF_ERR_CORRUPT);
    hash_free(h);
    buf_release(&out);
}

static void random_fields_are_fair(void **state)
{
    (void)state;
    random_state = 4;
    for (uint32_t count = 10; count <= 1000; count *= 10) {
        struct hash *h = hash_new();
        char name[16];
        size_t shown = 0;
        for (uint32_t i = 0; i < count; i++)
            hash_set(h, field_of(i, name), BYTES("v"));
        memset(seen, 0, sizeof(seen));
        for (uint32_t i = 0; i < count * 100; i++) {
            bytes field, value;
            assert_true(hash_random(h, next_random(), &field, &value));
            mark(&shown, field, value);
        }
        for (uint32_t i = 0; i < count; i++)
            assert_in_range(seen[i], 40, 180); /* 100 expected, six standard deviations */
        hash_free(h);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(packed_is_the_twin),
        cmocka_unit_test(dict_is_the_twin),
        cmocka_unit_test(deadlines_are_the_twins_packed_and_large),
        cmocka_unit_test(encoding_tells_of_deadlines),
        cmocka_unit_test(hostile_deadlines_are_refused),
        cmocka_unit_test(form_follows_the_limits),
        cmocka_unit_test(empty_words_and_nul_bytes_are_fields),
        cmocka_unit_test(scan_shows_what_stays),
        cmocka_unit_test(scan_of_packed_is_one_step),
        cmocka_unit_test(every_damaged_length_is_refused),
        cmocka_unit_test(random_fields_are_fair),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
