/* test_acl.c -- goal: a user's rules mean what they say, read back as the same user, and no row on data escapes the check of keys. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "cmd/acl.h"
#include "cmd/category.h"

static int set_up(void **state)
{
    (void)state;
    command_table_init();
    return 0;
}

static struct acl_user *user_of(const char *const *rules)
{
    struct acl_user *u = acl_user_new(BYTES("u"), false);
    for (; *rules; rules++)
        assert_int_equal(acl_user_apply(u, bytes_str(*rules), false), ACL_OK);
    return u;
}

#define USER(...) user_of((const char *const[]){__VA_ARGS__, NULL})

static enum acl_verdict ask(const struct acl_user *u, const char *line)
{
    bytes argv[16];
    size_t argc = 0, at;
    for (; *line; line += strspn(line, " ")) {
        size_t size = strcspn(line, " ");
        argv[argc++] = bytes_of(line, size);
        line += size;
    }
    const struct command *row = command_find(argv[0]);
    if (row->subcommands && argc > 1)
        row = command_find_sub(row, argv[1]);
    assert_non_null(row);
    return acl_user_check(u, row, argv, argc, &at);
}

static void expect_text(const struct acl_user *u, const char *want)
{
    struct buf text;
    buf_init(&text, SIZE_MAX);
    acl_user_describe(u, &text);
    buf_append_u8(&text, 0);
    assert_string_equal((const char *)text.data, want);
    buf_release(&text);
}

static void a_new_user_may_do_nothing(void **state)
{
    (void)state;
    struct acl_user *u = USER("on");
    assert_int_equal(ask(u, "GET a"), ACL_DENIED_COMMAND);
    assert_int_equal(ask(u, "AUTH x"), ACL_ALLOWED);
    assert_false(acl_password_fits(u, BYTES("")));
    expect_text(u, "on resetchannels -@all");
    acl_user_unref(u);
}

static void keys_need_all_rights_in_one_pattern(void **state)
{
    (void)state;
    struct acl_user *u = USER("+@all", "%R~r*", "%W~w*", "%R~*x", "%W~*x", "%R~half", "%W~hal?");
    assert_int_equal(ask(u, "GET r1"), ACL_ALLOWED);
    assert_int_equal(ask(u, "SET r1 v"), ACL_DENIED_KEY);
    assert_int_equal(ask(u, "SET w1 v"), ACL_ALLOWED);
    assert_int_equal(ask(u, "SET w1 v GET"), ACL_DENIED_KEY);
    assert_int_equal(ask(u, "SET ax v GET"), ACL_ALLOWED); /* the same pattern twice is one of both rights */
    assert_int_equal(ask(u, "SET half v GET"), ACL_DENIED_KEY);
    assert_int_equal(ask(u, "COPY r1 w1"), ACL_ALLOWED);
    assert_int_equal(ask(u, "COPY w1 r1"), ACL_DENIED_KEY);
    assert_int_equal(ask(u, "SORT r1 STORE w1 STORE r1"), ACL_DENIED_KEY);
    assert_int_equal(ask(u, "EXISTS w1"), ACL_ALLOWED);
    acl_user_unref(u);
}

static void selectors_do_not_add_up(void **state)
{
    (void)state;
    struct acl_user *u = USER("+get", "~a", "(+set ~b)", "(+mget ~a)");
    assert_int_equal(ask(u, "GET a"), ACL_ALLOWED);
    assert_int_equal(ask(u, "SET b 1"), ACL_ALLOWED);
    assert_int_equal(ask(u, "GET b"), ACL_DENIED_KEY);
    assert_int_equal(ask(u, "MGET a b"), ACL_DENIED_KEY);
    assert_int_equal(ask(u, "DEL a"), ACL_DENIED_COMMAND);
    expect_text(u, "off ~a resetchannels -@all +get (~b resetchannels -@all +set) (~a resetchannels -@all +mget)");
    acl_user_unref(u);
}

static void rules_about_the_same_replace_each_other(void **state)
{
    (void)state;
    struct acl_user *u = USER("+@read", "-get", "+get", "+config|get", "+config", "-config|set", "+select|0", "+@READ");
    expect_text(u, "off resetchannels -@all +get +config -config|set +select|0 +@read");
    assert_int_equal(ask(u, "CONFIG SET a b"), ACL_DENIED_COMMAND);
    assert_int_equal(ask(u, "CONFIG GET a"), ACL_ALLOWED);
    assert_int_equal(ask(u, "SELECT 0"), ACL_ALLOWED);
    assert_int_equal(ask(u, "SELECT 1"), ACL_DENIED_COMMAND);
    acl_user_unref(u);
}

static void passwords_are_hashes(void **state)
{
    (void)state;
    struct acl_user *u = USER(">abc", ">abc", ">other", "<other");
    assert_true(acl_password_fits(u, BYTES("abc")));
    assert_false(acl_password_fits(u, BYTES("other")));
    expect_text(u, "off #ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad resetchannels -@all");
    assert_int_equal(acl_user_apply(u, BYTES("<other"), false), ACL_NO_PASSWORD);
    assert_int_equal(acl_user_apply(u, BYTES("#ABC"), false), ACL_BAD_HASH);
    assert_false(acl_password_fits(NULL, BYTES("abc")));
    acl_user_unref(u);
}

/* A snapshot that somebody holds does not see what its copy becomes. */
static void copies_are_their_own(void **state)
{
    (void)state;
    struct acl_user *u = USER("+@all", "~a", "&c", "(+get ~b)", ">x"), *copy = acl_user_copy(u);
    assert_int_equal(acl_user_apply(copy, BYTES("reset"), false), ACL_OK);
    assert_int_equal(acl_user_apply(copy, BYTES("~*"), false), ACL_OK);
    assert_int_equal(ask(u, "SET a 1"), ACL_ALLOWED);
    assert_int_equal(ask(u, "SET b 1"), ACL_DENIED_KEY);
    assert_true(acl_user_hears(u, BYTES("c"), false));
    assert_false(acl_user_hears(copy, BYTES("c"), false));
    acl_user_unref(u);
    acl_user_unref(copy);
}

/* Whoever adds a row says its keys: else only users of all keys may run it. */
static void every_row_on_data_says_its_keys(void **state)
{
    (void)state;
    for (size_t i = 0; i < command_count(); i++) {
        const struct command *row = command_at(i);
        bool data = row->handler && row->flags & (CMD_READ | CMD_WRITE) && !(row->flags & (CMD_WALKS | CMD_GATE | CMD_NO_TXN));
        if (data && !command_has_keys(row))
            fail_msg("%s reads or writes keys that its row does not say", row->name);
        for (size_t n = 0; command_has_keys(row) && n < 3; n++) {
            bytes argv[4] = {BYTES("x"), BYTES("x"), BYTES("x"), BYTES("x")};
            key_use_rights(command_key_use(row, argv, 4, n)); /* asserts that it can be read */
        }
    }
}

static void categories_are_named(void **state)
{
    (void)state;
    for (size_t i = 0; i < category_count(); i++)
        assert_int_equal(category_find(bytes_str(category_name(i))), (int)i);
    assert_int_equal(category_find(BYTES("nosuch")), -1);
    assert_true(command_categories(command_find(BYTES("SORT"))) >> category_find(BYTES("list")) & 1);
    assert_false(command_categories(command_find(BYTES("EVAL_RO"))) >> category_find(BYTES("read")) & 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_user_may_do_nothing),
        cmocka_unit_test(keys_need_all_rights_in_one_pattern),
        cmocka_unit_test(selectors_do_not_add_up),
        cmocka_unit_test(rules_about_the_same_replace_each_other),
        cmocka_unit_test(passwords_are_hashes),
        cmocka_unit_test(copies_are_their_own),
        cmocka_unit_test(every_row_on_data_says_its_keys),
        cmocka_unit_test(categories_are_named),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
