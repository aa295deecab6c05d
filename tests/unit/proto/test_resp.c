/* test_resp.c -- requests in any pieces mean the same; errors and replies word for word. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/memory.h"
#include "proto/resp/resp_parse.h"
#include "proto/resp/resp_reply.h"

#include <math.h>
#include <stdio.h>

/* Feeds the text in pieces of `step` bytes from a fresh allocation each time (so a view that
 * outlives its input shows under a sanitizer); writes every word as "[word]", each command's
 * end as ";", and the error as "!text". */
static void transcript(const char *text, size_t size, size_t step, bool authenticated, struct buf *out)
{
    struct resp_parser p;
    struct arena arena;
    struct resp_words words = {.text = &arena};
    struct resp_limits limits = {1024, 100, authenticated};
    arena_init(&arena);
    resp_parser_init(&p);
    buf_init(out, 1 << 20);
    size_t at = 0, have = 0;
    for (;;) {
        char *copy = mem_alloc(have - at + 1);
        memcpy(copy, text + at, have - at);
        size_t used = 0;
        words.count = 0;
        enum parse_result r = resp_parse(&p, &limits, bytes_of(copy, have - at), &words, &used);
        for (size_t i = 0; r == PARSE_DONE && i < words.count; i++)
            buf_printf(out, "[%.*s]", (int)words.items[i].size, (const char *)words.items[i].data);
        mem_free(copy);
        at += used;
        if (r == PARSE_BAD) {
            buf_printf(out, "!%s", p.error);
            break;
        }
        if (r == PARSE_DONE && words.count)
            buf_printf(out, ";");
        if (r == PARSE_MORE) {
            assert_int_equal(used, 0);
            if (have == size)
                break;
            have = size - have < step ? size : have + step;
        }
    }
    buf_append_u8(out, 0);
    resp_words_release(&words);
    resp_parser_release(&p);
    arena_release(&arena);
}

static void expect(const char *text, size_t size, bool authenticated, const char *want)
{
    for (size_t step = 1; step <= size; step = step < 8 ? step + 1 : step * 2) {
        struct buf got;
        transcript(text, size, step, authenticated, &got);
        assert_string_equal((const char *)got.data, want);
        buf_release(&got);
    }
    struct buf whole;
    transcript(text, size, size, authenticated, &whole);
    assert_string_equal((const char *)whole.data, want);
    buf_release(&whole);
}

static const struct { const char *text, *want; } requests[] = {
    {"*1\r\n$4\r\nPING\r\n", "[PING];"},
    {"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$2\r\n\r\n\r\n", "[SET][k][\r\n];"},
    {"*2\r\n$3\r\nGET\r\n$0\r\n\r\n", "[GET][];"},
    {"*2\r\n$3\r\nGET\r\n$10\r\n0123456789\r\n*1\r\n$4\r\nPING\r\n", "[GET][0123456789];[PING];"},
    {"*0\r\n*-1\r\n\r\n\n*1\r\n$4\r\nPING\r\n", "[PING];"},
    {"PING\r\nping x\n", "[PING];[ping][x];"},
    {"  set \t a  b \r\n", "[set][a][b];"},
    {"set a \"x\\x41\\n\\t\\\"\\q\"\r\n", "[set][a][xA\n\t\"q];"},
    {"set a 'it\\'s \\n'\r\n", "[set][a][it's \\n];"},
    {"set pre\"fix\" \"\"\r\n", "[set][prefix][];"},
    {"set a \"x\r\n", "!Protocol error: unbalanced quotes in request"},
    {"set a \"x\"y\r\n", "!Protocol error: unbalanced quotes in request"},
    {"set a 'x'y\r\n", "!Protocol error: unbalanced quotes in request"},
    {"POST / HTTP/1.1\r\n", "!"},
    {"PING\r\nHost: me\r\n", "[PING];!"},
    {"*x\r\n", "!Protocol error: invalid multibulk length"},
    {"*01\r\n", "!Protocol error: invalid multibulk length"},
    {"*+1\r\n", "!Protocol error: invalid multibulk length"},
    {"*101\r\n", "!Protocol error: invalid multibulk length"},
    {"*99999999999999999999\r\n", "!Protocol error: invalid multibulk length"},
    {"*1\rx", "!Protocol error: invalid multibulk length"},
    {"*1\r\nx", "!Protocol error: expected '$', got 'x'"},
    {"*1\r\n:1\r\n", "!Protocol error: expected '$', got ':'"},
    {"*1\r\n$-1\r\n", "!Protocol error: invalid bulk length"},
    {"*1\r\n$x\r\n", "!Protocol error: invalid bulk length"},
    {"*1\r\n$1025\r\n", "!Protocol error: invalid bulk length"},
    {"*1\r\n$4\r\nPINGxx", "!Protocol error: expected CRLF after a bulk string"},
    {"*1\r\n$4\r\nPING\rx", "!Protocol error: expected CRLF after a bulk string"},
    {"*2\r\n$4\r\nECHO\r\n$4\r\nab", ""},
};

static void pieces_equal_the_whole(void **state)
{
    for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++)
        expect(requests[i].text, strlen(requests[i].text), true, requests[i].want);
}

static void strangers_get_less(void **state)
{
    const char *many = "*11\r\n", *large = "*1\r\n$16385\r\n", *fine = "*2\r\n$4\r\nAUTH\r\n$1\r\nx\r\n";
    expect(many, strlen(many), false, "!Protocol error: unauthenticated multibulk length");
    expect(fine, strlen(fine), false, "[AUTH][x];");
    struct resp_parser p;
    struct arena arena;
    struct resp_words words = {.text = &arena};
    struct resp_limits limits = {RESP_BULK_MAX, RESP_ARGS_MAX, false};
    size_t used;
    arena_init(&arena);
    resp_parser_init(&p);
    assert_int_equal(resp_parse(&p, &limits, bytes_str(large), &words, &used), PARSE_BAD);
    assert_string_equal(p.error, "Protocol error: unauthenticated bulk length");
    resp_parser_release(&p);
    arena_release(&arena);
}

static void endless_lines_are_refused(void **state)
{
    static const struct { const char *start, *want; } rows[] = {
        {"", "!Protocol error: too big inline request"},
        {"*", "!Protocol error: too big mbulk count string"},
        {"*1\r\n$", "!Protocol error: too big bulk count string"},
    };
    size_t size = RESP_LINE_MAX + 200;
    char *text = mem_alloc(size);
    for (size_t i = 0; i < 3; i++) {
        memset(text, '1', size);
        memcpy(text, rows[i].start, strlen(rows[i].start));
        for (size_t step = 1000; step <= size; step += size - 1000) {
            struct buf got;
            transcript(text, size, step, true, &got);
            assert_string_equal((const char *)got.data, rows[i].want);
            buf_release(&got);
        }
    }
    mem_free(text);
}

static void a_large_value_is_not_scanned_again(void **state)
{
    struct resp_parser p;
    struct resp_words words = {0};
    struct resp_limits limits = {RESP_BULK_MAX, RESP_ARGS_MAX, true};
    size_t used;
    const char *start = "*2\r\n$4\r\nECHO\r\n$1000\r\nabc";
    resp_parser_init(&p);
    assert_int_equal(resp_parse(&p, &limits, bytes_str(start), &words, &used), PARSE_MORE);
    assert_int_equal(resp_parser_needs(&p), strlen("*2\r\n$4\r\nECHO\r\n$1000\r\n") + 1002);
    resp_parser_release(&p);
    resp_words_release(&words);
}

static void each_event(struct reply *r)
{
    reply_ok(r);
    reply_simple(r, "PONG");
    r->ops->error(r, bytes_of("ERR a\r\nb\0c", 10));
    reply_int(r, 7);
    reply_int(r, -1234567890123456789);
    reply_bulk(r, BYTES("0123456789a"));
    reply_bulk(r, BYTES(""));
    r->ops->verbatim(r, "txt", BYTES("hi"));
    r->ops->dbl(r, 3.1);
    r->ops->dbl(r, -INFINITY);
    r->ops->number(r, BYTES("0.10"));
    r->ops->boolean(r, true);
    reply_null(r);
    r->ops->null_array(r);
    reply_array(r, 12);
    reply_map(r, 2);
    r->ops->set(r, 3);
}

static void replies_word_for_word(void **state)
{
    static const char *const want[] = {
        "+OK\r\n+PONG\r\n-ERR a  b c\r\n:7\r\n:-1234567890123456789\r\n$11\r\n0123456789a\r\n$0\r\n\r\n$2\r\nhi\r\n"
        "$18\r\n3.1000000000000001\r\n$4\r\n-inf\r\n$4\r\n0.10\r\n:1\r\n$-1\r\n*-1\r\n*12\r\n*4\r\n*3\r\n",
        "+OK\r\n+PONG\r\n-ERR a  b c\r\n:7\r\n:-1234567890123456789\r\n$11\r\n0123456789a\r\n$0\r\n\r\n=6\r\ntxt:hi\r\n"
        ",3.1000000000000001\r\n,-inf\r\n,0.10\r\n#t\r\n_\r\n_\r\n*12\r\n%2\r\n~3\r\n",
    };
    for (int version = 2; version <= 3; version++) {
        struct buf out;
        buf_init(&out, 4096);
        struct reply r = {.ops = &resp_reply_ops, .out = &out, .version = version};
        each_event(&r);
        buf_append_u8(&out, 0);
        assert_string_equal((const char *)out.data, want[version - 2]);
        buf_release(&out);
    }
}

static void a_reply_without_room_marks_the_output(void **state)
{
    struct buf out;
    char large[200] = {0};
    buf_init(&out, 64);
    struct reply r = {.ops = &resp_reply_ops, .out = &out, .version = 2};
    reply_bulk(&r, bytes_of(large, sizeof(large)));
    assert_true(resp_reply_overflowed(&out));
    assert_int_equal(out.size, 0);
    buf_release(&out);
}

/* Whole and cut anywhere: the guess is the key once it is there, and nothing before. */
static void a_likely_key_is_the_second_word(void **state)
{
    static const bytes whole[] = {BYTES("*2\r\n$3\r\nGET\r\n$3\r\nk$1\r\n"), BYTES("*3\r\n$3\r\nSET\r\n$3\r\nk$1\r\n$1\r\n$\r\n")};
    static const bytes others[] = {BYTES("*1\r\n$4\r\nPING\r\n"), BYTES("GET k\r\n"), BYTES("*2\r\n$3\r\nGET\r\n$99999999999999999999\r\nk\r\n"),
                                   BYTES("*2\r\n$0\r\n\r\n$1\r\nk\r\n"), BYTES("$"), BYTES("*2\r\n$")};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        assert_true(bytes_equal(resp_likely_key(whole[i]), BYTES("k$1")));
        for (size_t cut = 1; cut < 20; cut++)
            assert_int_equal(resp_likely_key(bytes_of(whole[i].data, cut)).size, 0);
    }
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        assert_int_equal(resp_likely_key(others[i]).size, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_equal_the_whole),
        cmocka_unit_test(strangers_get_less),
        cmocka_unit_test(endless_lines_are_refused),
        cmocka_unit_test(a_large_value_is_not_scanned_again),
        cmocka_unit_test(replies_word_for_word),
        cmocka_unit_test(a_reply_without_room_marks_the_output),
        cmocka_unit_test(a_likely_key_is_the_second_word),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
