/* test_pattern.c -- Lua's patterns: what Lua itself says, for random ones, and an end for those that have none.
 *
 * Goal:   find, match, gmatch, gsub answer as Lua's own functions, error texts included, whatever the pattern; a subject of any
 *         size and a pattern of any size need a bounded C stack; steps are charged.
 * Method: patterns from an alphabet in which every item, quantifier, capture and malformation is frequent, subjects of few letters;
 *         each call in both libraries (support/pattern_twin.h).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "script/pattern.h"
#include "support/pattern_twin.h"
#include "support/random.h"

static const char *const pieces[] = {
    "a", "b", "c", ".", "%a", "%d", "%s", "%w", "%W", "%A", "%p", "%x", "%z", "%u", "%l", "%c", "[ab]", "[^a]", "[a-c]", "[%w_]", "[^%s]", "[]]",
    "[^]a]", "[a-]", "[%]]", "[a%-c]", "(", ")", "()", "(a", "b)", "(.-)", "(a*)", "%1", "%2", "%0", "%9", "%b()", "%bab", "%baa", "%b", "%ba",
    "%f[a]", "%f[%w]", "%f[^a]", "%f", "%f[%z]", "*", "+", "-", "?", ".*", ".-", ".+", ".?", "a*", "a-", "[ab]*", "%w-", "^", "$", "%", "[", "]",
    "%%", "%.", "-", "[a", "[^", "1", " ", "((((", "))))", "aa",
};
static const char letters[] = "aaabbbcc()01 .-%_AB\n]";

static size_t random_below(size_t n) { return next_random() % n; }

static bytes random_pattern(uint8_t *out)
{
    size_t size = 0;
    if (random_below(6) == 0)
        out[size++] = '^';
    for (size_t n = random_below(7); n > 0; n--) {
        const char *piece = pieces[random_below(sizeof(pieces) / sizeof(*pieces))];
        memcpy(out + size, piece, strlen(piece));
        size += strlen(piece);
    }
    if (random_below(6) == 0)
        out[size++] = '$';
    if (random_below(40) == 0)
        out[random_below(size + 1)] = 0;
    return bytes_of(out, size);
}

static bytes random_text(uint8_t *out, size_t most)
{
    size_t size = random_below(most + 1);
    for (size_t i = 0; i < size; i++)
        out[i] = random_below(50) ? (uint8_t)letters[random_below(sizeof(letters) - 1)] : (uint8_t)random_below(256);
    return bytes_of(out, size);
}

static void random_patterns(void **unused)
{
    static const char replacing[] = "%0%1%2%9%%ax%(";
    struct buf ours, theirs;
    uint8_t pattern_bytes[128], subject_bytes[64], extra_bytes[16];
    buf_init(&ours, SIZE_MAX);
    buf_init(&theirs, SIZE_MAX);
    for (uint64_t seed = 1; seed <= 30000; seed++) {
        random_state = seed;
        bytes pattern = random_pattern(pattern_bytes), subject = random_text(subject_bytes, random_below(40));
        bytes extra = bytes_of(extra_bytes, random_below(8));
        for (size_t i = 0; i < extra.size; i++)
            extra_bytes[i] = (uint8_t)replacing[random_below(sizeof(replacing) - 1)];
        int number = random_below(3) ? 0 : (int)random_below(24) - 12;
        enum twin_call call = (enum twin_call)random_below(TWIN_CALLS);
        if (!twin_agrees(call, subject, pattern, extra, number, &ours, &theirs))
            fail_msg("seed %d, call %d of '%.*s', pattern '%.*s', '%.*s', %d: %.*s and not %.*s", (int)seed, (int)call, (int)subject.size,
                     (const char *)subject.data, (int)pattern.size, (const char *)pattern.data, (int)extra.size, (const char *)extra.data,
                     number, (int)ours.size, (const char *)ours.data, (int)theirs.size, (const char *)theirs.data);
    }
    buf_release(&ours);
    buf_release(&theirs);
}

/* Each of these takes Lua longer than anybody waits; here the run is ended, and says so. */
static void endless_patterns_end(void **unused)
{
    static const char *const endless[] = {"a*a*a*a*a*a*a*b", ".-.-.-.-.-.-.-b", "(.-)(.-)(.-)(.-)(.-)(.-)b", "a?a*a-a*a?a*a-b"};
    struct state *s = twin_ours();
    uint8_t subject[4000];
    memset(subject, 'a', sizeof(subject));
    for (size_t i = 0; i < sizeof(endless) / sizeof(*endless); i++) {
        twin_run = (struct run){.loading = true, .started_us = OS.monotonic_us() - 450000}; /* of half a second that FUNCTION LOAD has */
        s->run = &twin_run;
        int failed = state_pcall(s, twin_push_call(s->lua, true, TWIN_MATCH, bytes_of(subject, sizeof(subject)), bytes_str(endless[i]),
                                                   bytes_str(""), 0), LUA_MULTRET, 0);
        assert_true(failed);
        assert_non_null(strstr(lua_tostring(s->lua, -1), "timeout"));
        lua_settop(s->lua, 0);
        s->run = NULL;
    }
}

/* Lua's own would need a frame of the C stack for each item. */
static void long_patterns_match(void **unused)
{
    static const struct { const char *item, *text; size_t matched; } long_ones[] = {{"a?", "a", 100000}, {"a*", "", 0}, {"a-", "a", 0}, {".", "x", 100000}};
    struct buf pattern, subject;
    for (size_t i = 0; i < sizeof(long_ones) / sizeof(*long_ones); i++) {
        size_t end;
        struct pattern p;
        lua_State *lua = twin_ours()->lua;
        buf_init(&pattern, SIZE_MAX);
        buf_init(&subject, SIZE_MAX);
        for (int n = 0; n < 100000; n++) {
            buf_append(&pattern, long_ones[i].item, strlen(long_ones[i].item));
            buf_append(&subject, long_ones[i].text, strlen(long_ones[i].text));
        }
        pattern_begin(&p, lua, buf_view(&subject), buf_view(&pattern));
        assert_true(pattern_match(&p, 0, 0, &end));
        assert_int_equal(end, long_ones[i].matched);
        lua_settop(lua, 0);
        buf_release(&pattern);
        buf_release(&subject);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_patterns),
        cmocka_unit_test(endless_patterns_end),
        cmocka_unit_test(long_patterns_match),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
