/* test_talk.c -- the answers of another server mean the same however they are cut.
 *
 * Method: lines, long ones and empty ones among them, are taken whole and in pieces of every size; what is kept of each, and how
 * many bytes were taken, must be what a naive reading of the whole says.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cmd/talk.h"

#include <stdio.h>

static char whole[8192];
static size_t whole_size;
static char seen[8192];
static size_t seen_size;

static void note(bytes line)
{
    assert_true(seen_size + line.size + 1 <= sizeof(seen));
    if (line.size)
        memcpy(seen + seen_size, line.data, line.size);
    seen[seen_size + line.size] = '\n';
    seen_size += line.size + 1;
}

static void take_in_pieces(size_t piece)
{
    struct talk_lines l = {.size = 0};
    seen_size = 0;
    for (size_t at = 0; at < whole_size;) {
        size_t size = whole_size - at < piece ? whole_size - at : piece;
        bool complete;
        bytes line;
        size_t taken = talk_lines_take(&l, bytes_of(whole + at, size), &complete, &line);
        assert_true(taken > 0 && taken <= size);
        assert_true(complete || taken == size);
        at += taken;
        if (complete)
            note(line);
    }
}

static void add(const char *text, size_t size)
{
    memcpy(whole + whole_size, text, size);
    whole_size += size;
}

static void any_cut_gives_the_same_lines(void **state)
{
    static char longest[3000], wanted[8192];
    memset(longest, 'x', sizeof(longest));
    add("+OK\r\n-ERR bad\r\n\r\n\n:1\n\r\r\n", 24);
    add(longest, TALK_LINE_MAX - 1), add("\r\n", 2);
    add(longest, TALK_LINE_MAX), add("\r\n", 2);
    add(longest, TALK_LINE_MAX), add("\n", 1);
    add(longest, sizeof(longest)), add("\r\n+end\r\nnever ended", 19);
    snprintf(wanted, sizeof(wanted), "+OK\n-ERR bad\n\n\n:1\n\r\n%.*s\n%.*s\n%.*s\n%.*s\n+end\n", (int)TALK_LINE_MAX - 1, longest,
             (int)TALK_LINE_MAX, longest, (int)TALK_LINE_MAX, longest, (int)TALK_LINE_MAX, longest);
    for (size_t piece = 1; piece <= whole_size; piece++) {
        take_in_pieces(piece);
        assert_int_equal(seen_size, strlen(wanted));
        assert_memory_equal(seen, wanted, seen_size);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(any_cut_gives_the_same_lines)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
