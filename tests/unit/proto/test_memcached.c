/* test_memcached.c -- memcached's parsers: rows and words of requests, at every cut; numbers and base64. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "../support/memcached_stream.h"

#include <stdio.h>

#include "proto/memcached/meta.h"
#include "proto/memcached/numbers.h"

static int setup(void **state)
{
    (void)state;
    command_table_init();
    memcached_init(0);
    return 0;
}

static void expect(const char *request, enum memcached_row row, bool quiet, size_t count, const char *const *words)
{
    struct stream s, wanted;
    struct protocol_command p = {.row = memcached_row(row), .quiet = quiet};
    stream_init(&s);
    stream_init(&wanted);
    stream_run(&s, bytes_str(request), SIZE_MAX, true, false);
    for (size_t i = 0; i < count; i++)
        protocol_word(&wanted.words, bytes_str(words[i]));
    stream_note(&wanted, &p);
    if (!bytes_equal(buf_view(&s.found), buf_view(&wanted.found)))
        fail_msg("%s", request);
    stream_release(&s);
    stream_release(&wanted);
}

#define EXPECT(request, row, quiet, ...) \
    expect(request, ROW_##row, quiet, sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *), (const char *[]){__VA_ARGS__})

static void test_words(void **state)
{
    (void)state;
    EXPECT("get a b\r\n", GET, false, "get", "a", "b");
    EXPECT("  gets   a \n", GETS, false, "gets", "a");
    EXPECT("set k 1 2 3\r\nabc\r\n", SET, false, "set", "k", "1", "2", "3", "abc");
    EXPECT("cas k 1 2 0 9 noreply\r\n\r\n", CAS, true, "cas", "k", "1", "2", "0", "9", "");
    EXPECT("set k 1 2 3\r\nabcde", SAY, false, "error", "CLIENT_ERROR bad data chunk");
    EXPECT("set k 1 2\r\n", SAY, false, "error", "ERROR");
    EXPECT("delete k 0 noreply\r\n", DELETE, true, "delete", "k");
    EXPECT("incr k x noreply\r\n", SAY, true, "error", "CLIENT_ERROR invalid numeric delta argument");
    EXPECT("mg a2V5 b v k\r\n", MG, false, "mg", "key", "b", "v", "k");
    EXPECT("mg key q T5\r\n", MG_TOUCH, true, "mg", "key", "q", "T5");
    EXPECT("mg key N5 R2\r\n", MG_MAKE, false, "mg", "key", "N5", "R2");
    EXPECT("mg key v v\r\n", SAY, false, "error", "CLIENT_ERROR duplicate flag");
    EXPECT("ms k 2 c\r\nhi\r\n", MS, false, "ms", "k", "2", "c", "hi");
    EXPECT("gat 5 a b\r\n", GAT, false, "gat", "5", "a", "b");
    EXPECT("flush_all 0 noreply\r\n", FLUSH_ALL, true, "flush_all");
    EXPECT("flush_all 5\r\n", FLUSH_LATER, false, "flush_all", "5");
    EXPECT("stats reset\r\n", STATS_RESET, false, "stats", "reset");
    EXPECT("stats detail on\r\n", STATS_DETAIL_SET, false, "stats", "detail", "on");
    EXPECT("stats detail dump\r\n", STATS_DETAIL, false, "stats", "detail", "dump");
    EXPECT("stats cachedump 1 20\r\n", CACHEDUMP, false, "stats", "20");
    EXPECT("stats cachedump 64 20\r\n", SAY, false, "error", "CLIENT_ERROR Illegal slab id");
    EXPECT("watch fetchers noreply\r\n", WATCH, true, "watch", "fetchers", "noreply");
}

/* Up to 64 bytes a line is split at once, beyond by its words: the words are the same, wherever the spaces stand. */
static void test_words_of_every_length(void **state)
{
    (void)state;
    char line[256], first[96], second[96];
    for (int a = 1; a <= 75; a++) {
        for (int b = 1; b <= 12; b++) {
            for (int gap = 1; gap <= 3; gap++) {
                memset(first, 'a', sizeof(first));
                memset(second, 'b', sizeof(second));
                first[a] = second[b] = 0;
                snprintf(line, sizeof(line), "get%*s%s%*s%s%s", gap, "", first, 4 - gap, "", second, gap == 2 ? " \r\n" : "\n");
                EXPECT(line, GET, false, "get", first, second);
            }
        }
    }
    for (size_t size = 1; size <= 70; size++) { /* a line ends at a NUL */
        memset(line, 'k', sizeof(line));
        memcpy(line, "get ", 4);
        memcpy(line + 4 + size, "\0x y\r\n", 6);
        memcpy(first, line + 4, size);
        first[size] = 0;
        struct stream s, wanted;
        struct protocol_command get = {.row = memcached_row(ROW_GET)};
        stream_init(&s);
        stream_init(&wanted);
        stream_run(&s, bytes_of(line, 4 + size + 6), SIZE_MAX, true, false);
        protocol_word(&wanted.words, BYTES("get"));
        protocol_word(&wanted.words, bytes_str(first));
        stream_note(&wanted, &get);
        assert_true(bytes_equal(buf_view(&s.found), buf_view(&wanted.found)));
        stream_release(&s);
        stream_release(&wanted);
    }
}

static const char text_session[] =
    "get a\r\nset k 0 0 5\r\na\r\nbc\r\nset k 0 0 1 noreply\r\nxyz\r\nms AQID 3 b T5 I\r\nabc\r\nms k 2 v v\r\nhi\r\nmg k s v t q Oabc\r\n"
    "set toolarge 0 0 2000000\r\nget b\r\nma k N0 J5 D3 MD\r\nmd k C5 I\r\nme k\r\nmn\r\nbogus\r\n\r\nverbosity 1\r\ntouch k 5\r\n"
    "stats detail on\r\nstats detail\r\nstats cachedump 1 0\r\nappend toolarge 0 0 1500000 noreply\r\n";

static void compare_cuts(bytes input, bool authenticated)
{
    struct stream whole;
    stream_init(&whole);
    stream_run(&whole, input, SIZE_MAX, authenticated, false);
    assert_true(whole.found.size > 0);
    for (size_t piece = 1; piece < input.size; piece++) {
        struct stream s;
        stream_init(&s);
        stream_run(&s, input, piece, authenticated, piece % 2);
        if (!bytes_equal(buf_view(&s.found), buf_view(&whole.found)))
            fail_msg("pieces of %zu", piece);
        stream_release(&s);
    }
    stream_release(&whole);
}

static void test_text_cut(void **state)
{
    (void)state;
    compare_cuts(bytes_of(text_session, sizeof(text_session) - 1), true);
    compare_cuts(BYTES("get a\r\nset x 0 0 9\r\nuser pass\r\nset x 0 0 4\r\nuser\r\nversion\r\n"), false);
}

static void test_binary_cut(void **state)
{
    (void)state;
    static const uint8_t packets[] =
        "\x80\x00\0\x01\0\0\0\0\0\0\0\x01zzzz\0\0\0\0\0\0\0\0k"                              /* get */
        "\x80\x11\0\x01\x08\0\0\0\0\0\0\x0b" "abcd\0\0\0\0\0\0\0\0\0\0\0\x07\0\0\0\x05kvw"   /* setq */
        "\x80\x30\0\0\0\0\0\0\0\0\0\x04" "abcd\0\0\0\0\0\0\0\0what"                           /* unknown, its body is skipped */
        "\x80\x0a\0\0\0\0\0\0\0\0\0\0" "abcd\0\0\0\0\0\0\0\0"                                 /* noop */
        "\x80\x01\0\x01\x08\0\0\0\0\x20\0\0" "abcd\0\0\0\0\0\0\0\0\0\0\0\x07\0\0\0\x05kvw";   /* set of 2 MiB: too large */
    compare_cuts(bytes_of(packets, sizeof(packets) - 1), true);
}

static void test_numbers(void **state)
{
    (void)state;
    uint64_t wide;
    uint32_t small;
    int32_t number;
    assert_true(memcached_u64(BYTES("18446744073709551615"), &wide) && wide == UINT64_MAX);
    assert_false(memcached_u64(BYTES("18446744073709551616"), &wide));
    assert_false(memcached_u64(BYTES(""), &wide));
    assert_false(memcached_u64(BYTES("-1"), &wide));
    assert_false(memcached_u64(BYTES("1a"), &wide));
    assert_true(memcached_u64(BYTES(" +7 x"), &wide) && wide == 7);
    assert_true(memcached_u64(BYTES("7\0x"), &wide) && wide == 7);
    assert_true(memcached_u32(BYTES("4294967296"), &small) && small == 0);
    assert_true(memcached_i32(BYTES("-5"), &number) && number == -5);
    assert_false(memcached_i32(BYTES("9223372036854775808"), &number));
}

static void test_base64(void **state)
{
    (void)state;
    uint8_t in[64], text[100], out[100];
    for (size_t size = 1; size < sizeof(in); size++) {
        for (size_t i = 0; i < size; i++)
            in[i] = (uint8_t)(size * 37 + i * 101);
        size_t put = base64_encode(bytes_of(in, size), text);
        assert_int_equal(put, 4 * ((size + 2) / 3));
        assert_int_equal(base64_decode(bytes_of(text, put), out), size);
        assert_memory_equal(out, in, size);
    }
    assert_int_equal(base64_decode(BYTES("abc"), out), SIZE_MAX);
    assert_int_equal(base64_decode(BYTES("ab!="), out), SIZE_MAX);
    assert_int_equal(base64_decode(BYTES("a=bc"), out), SIZE_MAX);
    assert_int_equal(base64_decode(BYTES(""), out), SIZE_MAX);
}

static void test_likely_key(void **state)
{
    (void)state;
    uint8_t packet[24 + 4 + 3] = {0x80, 0, 0, 3, 4};
    memcpy(packet + 28, "key", 3);
    assert_true(bytes_equal(memcached_protocol.likely_key(BYTES("get key\r\n")), BYTES("key")));
    assert_true(bytes_equal(memcached_protocol.likely_key(BYTES("set key 0 0 1\r\nx\r\n")), BYTES("key")));
    assert_true(bytes_equal(memcached_protocol.likely_key(bytes_of(packet, sizeof(packet))), BYTES("key")));
    for (size_t cut = 1; cut < sizeof(packet); cut++)
        assert_int_equal(memcached_protocol.likely_key(bytes_of(packet, cut)).size, 0);
    assert_int_equal(memcached_protocol.likely_key(BYTES("version\r\n")).size, 0);
    assert_int_equal(memcached_protocol.likely_key(BYTES("get ")).size, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_words), cmocka_unit_test(test_words_of_every_length), cmocka_unit_test(test_text_cut), cmocka_unit_test(test_binary_cut),
        cmocka_unit_test(test_numbers), cmocka_unit_test(test_base64), cmocka_unit_test(test_likely_key),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
