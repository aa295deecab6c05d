/* test_recent.c -- the list keeps the newest entries, in their order, and frees each of the others once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cmd/recent.h"

#include <stdbool.h>
#include <string.h>

#define ENTRIES 50

static struct one { struct recent_entry entry; bool freed; } ones[ENTRIES];

static void free_one(struct recent_entry *e)
{
    struct one *one = (struct one *)e;
    assert_false(one->freed);
    one->freed = true;
}

static void add(struct recent *l, int number)
{
    spin_lock(&l->lock);
    struct recent_entry *rest = recent_add_locked(l, &ones[number].entry);
    spin_unlock(&l->lock);
    recent_free(l, rest);
}

/* The newest ones up to `newest` are listed, `count` of them, and no other lives. */
static void expect_listed(struct recent *l, int newest, uint64_t count)
{
    struct recent_entry *e = l->newest;
    assert_int_equal(recent_length(l), count);
    for (int i = newest; i >= 0; i--) {
        bool listed = (uint64_t)(newest - i) < count;
        assert_int_equal(ones[i].freed, !listed);
        if (!listed)
            continue;
        assert_ptr_equal(e, &ones[i].entry);
        e = e->next;
    }
    assert_null(e);
}

static void the_newest_are_kept(void **state)
{
    struct recent l = {.length_max = 8, .free_one = free_one};
    memset(ones, 0, sizeof(ones));
    for (int i = 0; i < 20; i++) {
        add(&l, i);
        expect_listed(&l, i, i < 8 ? (uint64_t)i + 1 : 8);
    }
    recent_set_length(&l, 3);
    expect_listed(&l, 19, 3);
    recent_set_length(&l, 5);
    for (int i = 20; i < 24; i++)
        add(&l, i);
    expect_listed(&l, 23, 5);
    recent_clear(&l);
    expect_listed(&l, 23, 0);
}

static void a_list_of_none_keeps_none(void **state)
{
    struct recent l = {.length_max = 0, .free_one = free_one};
    memset(ones, 0, sizeof(ones));
    add(&l, 0);
    expect_listed(&l, 0, 0);
    recent_clear(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_newest_are_kept),
        cmocka_unit_test(a_list_of_none_keeps_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
