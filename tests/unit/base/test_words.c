/* test_words.c -- goal: the quoting of redis.conf, and every value quoted reads back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/words.h"

static void expect(const char *line, size_t count, const char *first, const char *last)
{
    struct words w;
    assert_true(words_split(&w, bytes_str(line)));
    assert_int_equal(w.count, count);
    if (count) {
        assert_string_equal(w.items[0], first);
        assert_string_equal(w.items[count - 1], last);
    }
    words_release(&w);
}

static void blanks_separate_and_quotes_group(void **state)
{
    (void)state;
    expect("", 0, NULL, NULL);
    expect("   \t\r", 0, NULL, NULL);
    expect("port 6379\r", 2, "port", "6379");
    expect("save \"\"", 2, "save", "");
    expect("requirepass 'it\\'s'", 2, "requirepass", "it's");
    expect("x \"a b\\n\\x41\\\"\"", 2, "x", "a b\nA\"");
    expect("x 'a\\n'", 2, "x", "a\\n");
    expect("bind 127.0.0.1 -::1", 3, "bind", "-::1");
}

static void what_is_open_is_refused(void **state)
{
    (void)state;
    struct words w;
    assert_false(words_split(&w, BYTES("x \"open")));
    assert_false(words_split(&w, BYTES("x 'open")));
    assert_false(words_split(&w, BYTES("x \"a\"b")));
    assert_false(words_split(&w, BYTES("x \"\\x00\"")));
    assert_false(words_split(&w, BYTES("x a\0b")));
}

static void quoted_words_read_back(void **state)
{
    (void)state;
    static const char *const values[] = {"", "plain", "with blank", "#", "quo\"te", "it's", "back\\slash",
                                         "\x01\x7f\xff", "new\nline"};
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        struct buf b;
        struct words w;
        buf_init(&b, 1024);
        word_quote(values[i], &b);
        assert_true(words_split(&w, buf_view(&b)));
        assert_int_equal(w.count, 1);
        assert_string_equal(w.items[0], values[i]);
        words_release(&w);
        buf_release(&b);
    }
}

static void quotes_are_those_of_redis(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 1024);
    word_quote("a b\n\r\t\a\b\\\"'\x01\xff", &b);
    buf_append_u8(&b, 0);
    assert_string_equal((char *)b.data, "\"a b\\n\\r\\t\\a\\b\\\\\\\"'\\x01\\xff\"");
    buf_release(&b);
}

static void thousands_of_words_fit(void **state)
{
    (void)state;
    struct buf b;
    struct words w;
    buf_init(&b, SIZE_MAX);
    for (int i = 0; i < WORDS_MAX; i++)
        buf_printf(&b, "~%d ", i);
    assert_true(words_split(&w, buf_view(&b)));
    assert_int_equal(w.count, WORDS_MAX);
    assert_string_equal(w.items[WORDS_MAX - 1], "~65535");
    words_release(&w);
    buf_append_u8(&b, 'x');
    assert_false(words_split(&w, buf_view(&b)));
    buf_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blanks_separate_and_quotes_group),
        cmocka_unit_test(what_is_open_is_refused),
        cmocka_unit_test(quoted_words_read_back),
        cmocka_unit_test(quotes_are_those_of_redis),
        cmocka_unit_test(thousands_of_words_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
