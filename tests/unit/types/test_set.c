/* test_set.c -- goal: struct set is the set it says it is, in each of its forms and between them.
 *
 * Method: random operations against a naive twin (an array searched in order), by the direct calls and by
 * changes, compared after each round; the forms at their limits; encode and decode, also of damaged bytes; shares
 * changed apart; random positions counted.
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
#include "types/set.h"

#define TWIN_MAX 4096

/* Members are known by a number; what text it stands for is the kind's. */
enum kind { SMALL_INTS, WIDE_INTS, TEXTS, MIXED };

static bytes member_of(enum kind kind, uint32_t number, char out[32])
{
    int64_t wide = (int64_t)(((uint64_t)number - 4) * UINT64_C(0x123456789abcd));
    switch (kind) {
    case SMALL_INTS:
        return bytes_of(out, (size_t)snprintf(out, 32, "%d", (int)number - 20));
    case WIDE_INTS:
        return bytes_of(out, (size_t)snprintf(out, 32, "%lld", (long long)wide));
    case TEXTS:
        return bytes_of(out, (size_t)snprintf(out, 32, "m%u", number));
    default:
        return member_of(number % 3 == 0 ? TEXTS : number % 3 == 1 ? SMALL_INTS : WIDE_INTS, number, out);
    }
}

struct twin {
    enum kind kind;
    size_t count;
    uint32_t members[TWIN_MAX];
};

static size_t twin_index(const struct twin *t, uint32_t number)
{
    size_t i = 0;
    while (i < t->count && t->members[i] != number)
        i++;
    return i;
}

static void compare(const struct set *s, const struct twin *t)
{
    char text[32], digits[NUMBER_TEXT_MAX];
    set_ops.check(s);
    assert_int_equal(set_count(s), t->count);
    assert_int_equal(set_ops.is_empty(s), t->count == 0);
    for (size_t i = 0; i < t->count; i++)
        assert_true(set_has(s, member_of(t->kind, t->members[i], text)));
    struct set_cursor c = {0};
    bytes member;
    uint64_t position = 0;
    while (set_next(s, &c, &member))
        assert_true(bytes_equal(member, set_at(s, position++, digits)));
    assert_int_equal(position, t->count);
}

static void step_direct(struct set *s, struct twin *t, uint32_t number, bool adds)
{
    char text[32];
    bytes member = member_of(t->kind, number, text);
    size_t at = twin_index(t, number);
    bool was_there = at < t->count;
    assert_int_equal(set_has(s, member), was_there);
    if (adds) {
        assert_int_equal(set_add(s, member), !was_there);
        if (!was_there)
            t->members[t->count++] = number;
    } else {
        assert_int_equal(set_remove(s, member), was_there);
        if (was_there)
            t->members[at] = t->members[--t->count];
    }
}

/* A change of several members, one of them twice. */
static void step_change(struct set *s, struct twin *t, uint32_t number_max, bool adds)
{
    struct buf change;
    size_t before = t->count;
    buf_init(&change, SIZE_MAX);
    (adds ? set_change_add : set_change_remove)(&change);
    for (size_t i = next_random() % 4 + 1; i > 0; i--) {
        char text[32];
        uint32_t number = (uint32_t)(next_random() % number_max);
        size_t at = twin_index(t, number);
        for (int twice = 0; twice < 2; twice++)
            set_change_member(&change, member_of(t->kind, number, text));
        if (adds && at == t->count)
            t->members[t->count++] = number;
        else if (!adds && at < t->count)
            t->members[at] = t->members[--t->count];
    }
    assert_int_equal(set_ops.apply(s, buf_view(&change)), t->count == before ? HF_ERR_CORRUPT : HF_OK);
    buf_release(&change);
}

static void round_trip(const struct set *s, const struct twin *t)
{
    struct buf out;
    buf_init(&out, 64u << 20);
    set_ops.encode(s, &out);
    void *copy = NULL;
    assert_int_equal(set_ops.decode(buf_view(&out), &copy), HF_OK);
    compare(copy, t);
    assert_string_equal(set_ops.encoding(copy), set_ops.encoding(s));
    set_free(copy);
    buf_release(&out);
}

static void run_model(enum kind kind, uint32_t number_max, int rounds)
{
    struct twin *t = mem_zalloc(sizeof(*t)), *before = mem_zalloc(sizeof(*before));
    for (int life = 0; life < 4; life++) {
        struct set *s = set_new();
        *t = (struct twin){.kind = kind};
        for (int round = 0; round < rounds; round++) {
            unsigned add_percent = (round / 3) % 2 ? 25 : 75; /* grows, then shrinks */
            struct set *share = set_ops.share(s);
            *before = *t;
            for (uint32_t i = 0; i < number_max; i++) {
                bool adds = next_random() % 100 < add_percent;
                if (i % 4)
                    step_direct(s, t, (uint32_t)(next_random() % number_max), adds);
                else
                    step_change(s, t, number_max, adds);
            }
            compare(s, t);
            compare(share, before);
            if (t->count > 0)
                round_trip(s, t);
            set_ops.free(share);
        }
        set_ops.free(s);
    }
    mem_free(t);
    mem_free(before);
}

static void every_form_is_the_twin(void **state)
{
    (void)state;
    random_state = 1;
    run_model(SMALL_INTS, 400, 12);
    run_model(WIDE_INTS, 400, 12);
    run_model(TEXTS, 120, 12);
    run_model(MIXED, 120, 12);
    run_model(TEXTS, 1500, 8);
    run_model(MIXED, 1500, 8);
    run_model(SMALL_INTS, 1500, 8); /* across the limit of 512 */
}

static void changes_to_a_share_stay_there(void **state)
{
    (void)state;
    static const uint32_t sizes[] = {5, 100, 2000};
    random_state = 2;
    for (int kind = SMALL_INTS; kind <= MIXED; kind++) {
        for (size_t i = 0; i < 3; i++) {
            struct twin *t = mem_zalloc(sizeof(*t)), *u = mem_zalloc(sizeof(*u));
            struct set *s = set_new();
            t->kind = (enum kind)kind;
            for (uint32_t n = 0; n < sizes[i]; n++)
                step_direct(s, t, n, true);
            struct set *share = set_ops.share(s);
            assert_string_equal(set_ops.encoding(share), set_ops.encoding(s));
            *u = *t;
            for (uint32_t n = 0; n < sizes[i] / 2; n++)
                step_direct(share, u, n, false);
            step_direct(share, u, sizes[i] + 1, true);
            for (uint32_t n = sizes[i]; n > sizes[i] / 2; n--)
                step_direct(s, t, n - 1, false);
            compare(share, u);
            compare(s, t);
            set_ops.free(s);
            compare(share, u);
            size_t budget = 0;
            for (int slice = 0; !set_ops.free_some(share, &budget); slice++) {
                assert_true(slice < 100000);
                budget = 1;
            }
            mem_free(t);
            mem_free(u);
        }
    }
}

static bool is(const struct set *s, const char *encoding)
{
    set_ops.check(s);
    return strcmp(set_ops.encoding(s), encoding) == 0;
}

static void form_follows_the_limits(void **state)
{
    (void)state;
    char text[32], digits[NUMBER_TEXT_MAX];
    struct set *s = set_new();
    for (uint32_t i = 0; i < 512; i++)
        set_add(s, member_of(SMALL_INTS, 511 - i, text));
    assert_true(is(s, "intset"));
    for (uint32_t i = 0; i < 512; i++) /* ascending by number, not by text */
        assert_true(bytes_equal(set_at(s, i, digits), member_of(SMALL_INTS, i, text)));
    assert_false(set_add(s, BYTES("0")));
    assert_true(is(s, "intset"));
    assert_true(set_add(s, BYTES("100000")));
    assert_true(is(s, "hashtable"));
    assert_true(set_remove(s, BYTES("100000")));
    assert_true(is(s, "hashtable")); /* never back */
    set_free(s);

    static const char *const no_ints[] = {"a", "", "01", "-0", "+1", " 1", "1 ", "9223372036854775808", "1.0"};
    for (size_t i = 0; i < sizeof(no_ints) / sizeof(no_ints[0]); i++) {
        s = set_new();
        assert_true(set_add(s, BYTES("9223372036854775807")));
        assert_true(set_add(s, BYTES("-9223372036854775808")));
        assert_true(is(s, "intset"));
        assert_false(set_has(s, bytes_str(no_ints[i])));
        assert_false(set_remove(s, bytes_str(no_ints[i])));
        assert_true(set_add(s, bytes_str(no_ints[i])));
        assert_true(is(s, "hashtable"));
        assert_int_equal(set_count(s), 3);
        assert_true(set_has(s, BYTES("-9223372036854775808")));
        set_free(s);
    }
}

/* The middle form is not told by its name; but only a dict can be extended. */
static bool is_dict(const struct set *s)
{
    struct set_limits before = set_limits;
    set_limits.ints_max = 0;
    struct set *copy = set_try_extend(s);
    set_limits = before;
    set_free(copy);
    return copy != NULL;
}

static void small_sets_are_packed(void **state)
{
    (void)state;
    struct set_limits before = set_limits;
    uint8_t big[65];
    char text[32];
    memset(big, 'x', sizeof(big));
    struct set *s = set_new();
    for (uint32_t i = 0; i < 127; i++)
        set_add(s, member_of(TEXTS, i, text));
    set_add(s, bytes_of(big, 64));
    assert_in_range(set_ops.memory(s), 127 * 4 + 64, 127 * 5 + 400);
    assert_false(is_dict(s));
    set_add(s, member_of(TEXTS, 127, text)); /* the 129th */
    assert_true(is_dict(s));
    set_free(s);

    s = set_new();
    set_add(s, bytes_of(big, 65));
    set_add(s, BYTES(""));
    assert_int_equal(set_count(s), 2);
    assert_true(is_dict(s));
    set_ops.check(s);
    set_free(s);

    set_limits = (struct set_limits){0, 0, 0};
    s = set_new();
    set_add(s, BYTES("1"));
    assert_true(is(s, "hashtable"));
    set_free(s);
    set_limits = before;
}

static void an_extended_copy_leaves_the_original(void **state)
{
    (void)state;
    char text[32];
    struct set *s = set_new();
    for (uint32_t i = 0; i < 512; i++) {
        set_add(s, member_of(TEXTS, i, text));
        assert_null(set_try_extend(s));
    }
    set_add(s, BYTES("one more"));
    struct set *copy = set_try_extend(s);
    assert_non_null(copy);
    set_add(copy, BYTES("another"));
    assert_int_equal(set_count(copy), 514);
    assert_int_equal(set_count(s), 513);
    set_free(s);
    set_ops.check(copy);
    set_free(copy);
}

/* -- scan -- */

static unsigned seen[20000];

static uint32_t number_in(bytes member)
{
    char text[32] = {0};
    assert_true(member.size > 1 && member.size < sizeof(text));
    memcpy(text, member.data, member.size);
    unsigned long number = strtoul(text + 1, NULL, 10);
    assert_true(number < sizeof(seen) / sizeof(seen[0]));
    return (uint32_t)number;
}

static void mark(void *context, bytes member)
{
    seen[number_in(member)]++;
    ++*(size_t *)context;
}

static void scan_shows_what_stays(void **state)
{
    (void)state;
    random_state = 3;
    for (int round = 0; round < 10; round++) {
        struct set *s = set_new();
        char text[32];
        uint32_t stay = 200, others = (uint32_t)(next_random() % 5000), changed = 0;
        bool grows = round % 2;
        for (uint32_t i = 0; i < stay; i++)
            set_add(s, member_of(TEXTS, i, text));
        for (uint32_t i = 0; !grows && i < others; i++)
            set_add(s, member_of(TEXTS, stay + i, text));
        memset(seen, 0, sizeof(seen));
        uint64_t cursor = 0;
        size_t shown = 0, steps = 0;
        do {
            cursor = set_scan(s, cursor, 1 + next_random() % 40, mark, &shown);
            for (uint32_t i = 0; i < 100 && changed < others; i++, changed++) {
                bytes member = member_of(TEXTS, stay + changed, text);
                if (grows)
                    set_add(s, member);
                else
                    set_remove(s, member);
            }
            assert_true(cursor < UINT64_C(1) << 53 && ++steps < 20000);
        } while (cursor != 0);
        for (uint32_t i = 0; i < stay; i++)
            assert_int_equal(seen[i], 1);
        assert_int_equal(set_scan(s, UINT64_MAX, 10, mark, &shown), 0);
        set_free(s);
    }
}

/* -- hostile bytes -- */

static void damage(const struct set *s)
{
    struct buf out;
    buf_init(&out, 1 << 20);
    set_ops.encode(s, &out);
    void *object;
    for (size_t size = 0; size < out.size; size++)
        assert_int_equal(set_ops.decode(bytes_of(out.data, size), &object), HF_ERR_CORRUPT);
    for (size_t at = 0; at < out.size; at++) { /* any result, but only HF_OK or CORRUPT, and no misstep */
        for (int bit = 0; bit < 8; bit++) {
            out.data[at] ^= (uint8_t)(1 << bit);
            status result = set_ops.decode(buf_view(&out), &object);
            assert_true(result == HF_OK || result == HF_ERR_CORRUPT);
            if (result == HF_OK) {
                set_ops.check(object);
                set_ops.free(object);
            }
            out.data[at] ^= (uint8_t)(1 << bit);
        }
    }
    buf_release(&out);
}

#define REFUSED(text) assert_int_equal(set_ops.decode(BYTES(text), &object), HF_ERR_CORRUPT)

static void damaged_forms_are_refused(void **state)
{
    (void)state;
    struct set *s = set_new();
    void *object;
    set_add(s, BYTES("-300"));
    set_add(s, BYTES("7"));
    set_add(s, BYTES("123456789012"));
    damage(s);
    set_add(s, BYTES("text"));
    damage(s);
    set_free(s);
    REFUSED("");
    REFUSED("\1");
    REFUSED("\1\0");                              /* empty */
    REFUSED("\2\0");
    REFUSED("\3\1\1a");                           /* no such form */
    REFUSED("\1\2\2\0");                          /* not ascending */
    REFUSED("\1\2\2\xff\xff\xff\xff\xff\xff\xff\xff\xff\1"); /* beyond 64 bits */
    REFUSED("\1\1\2\2");                          /* rest */
    REFUSED("\2\2\1a\1a");                        /* twice */
    REFUSED("\2\1\1a!");                          /* rest */
    REFUSED("\2\x81\0\1a");                       /* overlong */
    REFUSED("\2\xff\xff\xff\xff\x0f\1a");         /* more members than bytes */
    REFUSED("\2\1\xff\xff\xff\xff\x0f\1a");
}

static void damaged_changes_are_refused(void **state)
{
    (void)state;
    static const struct { const char *text; size_t size; } bad[] = {
        {"", 0}, {"\1", 1}, {"\2", 1}, {"\3\1x", 3}, {"\0\1x", 3}, {"\1\2x", 3}, {"\1\1a", 3}, {"\1\1a\1a", 5}, {"\2\1x", 3},
        {"\1\1x\5y", 5}, {"\2\1a\5y", 5}, {"\1\x81\0x", 4}};
    for (int form = 0; form < 3; form++) {
        struct set *s = set_new();
        char text[32];
        set_add(s, BYTES("a"));
        for (uint32_t i = 0; form == 1 && i < 300; i++)
            set_add(s, member_of(TEXTS, i, text));
        uint64_t count = set_count(s);
        for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
            assert_int_equal(set_ops.apply(s, bytes_of(bad[i].text, bad[i].size)), HF_ERR_CORRUPT);
        assert_int_equal(set_count(s), count);
        assert_true(set_has(s, BYTES("a")));
        assert_int_equal(set_ops.apply(s, BYTES("\1\1a\1x")), HF_OK); /* one of them is new */
        assert_int_equal(set_count(s), count + 1);
        set_free(s);
    }
}

static void positions_show_each_member_once(void **state)
{
    (void)state;
    for (uint32_t count = 10; count <= 1000; count *= 10) {
        struct set *s = set_new();
        char text[32], digits[NUMBER_TEXT_MAX];
        for (uint32_t i = 0; i < count; i++)
            set_add(s, member_of(TEXTS, i, text));
        memset(seen, 0, sizeof(seen));
        for (uint64_t i = 0; i < count; i++)
            seen[number_in(set_at(s, i, digits))]++;
        for (uint32_t i = 0; i < count; i++)
            assert_int_equal(seen[i], 1);
        set_free(s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_form_is_the_twin),
        cmocka_unit_test(changes_to_a_share_stay_there),
        cmocka_unit_test(form_follows_the_limits),
        cmocka_unit_test(small_sets_are_packed),
        cmocka_unit_test(an_extended_copy_leaves_the_original),
        cmocka_unit_test(scan_shows_what_stays),
        cmocka_unit_test(damaged_forms_are_refused),
        cmocka_unit_test(damaged_changes_are_refused),
        cmocka_unit_test(positions_show_each_member_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
