/* test_slab_words.c -- the answers to words about slabs and their like are those of memcached 1.6.18, which gave this table. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "proto/memcached/slab_words.h"

#define OK "OK"
#define WRONG "ERROR"
#define FORMAT "CLIENT_ERROR bad command line format"
#define BAD_CLASS "BADCLASS invalid class id"
#define OUT_OF_RANGE "BADCLASS invalid src or dst class id"

static const struct { const char *line, *answer; bool quiet; } table[] = {
    {"lru_crawler", WRONG}, {"lru_crawler enable", OK}, {"lru_crawler disable", OK}, {"lru_crawler enable x", WRONG},
    {"lru_crawler enable noreply", WRONG}, {"lru_crawler bogus 1", WRONG}, {"lru_crawler crawl", WRONG}, {"lru_crawler crawl all", OK},
    {"lru_crawler crawl 1", OK}, {"lru_crawler crawl 63", OK}, {"lru_crawler crawl 64", BAD_CLASS}, {"lru_crawler crawl 0,1", BAD_CLASS},
    {"lru_crawler crawl 1,a", BAD_CLASS}, {"lru_crawler crawl 1,,2", OK}, {"lru_crawler crawl ,", "NOTSTARTED no items to crawl"},
    {"lru_crawler crawl 1 noreply", WRONG}, {"lru_crawler sleep 1000000", OK}, {"lru_crawler sleep x", FORMAT},
    {"lru_crawler sleep 1000001", "CLIENT_ERROR sleep must be one second or less"}, {"lru_crawler tocrawl 5", OK}, {"lru_crawler tocrawl 5 x", WRONG},
    {"slabs", WRONG}, {"slabs reassign 1 2", "NOSPARE source class has no spare pages"}, {"slabs reassign 1", WRONG}, {"slabs reassign a b", FORMAT},
    {"slabs reassign 1 1", "SAME src and dst class are identical"}, {"slabs reassign -1 2", OUT_OF_RANGE}, {"slabs reassign 0 40", OUT_OF_RANGE},
    {"slabs reassign 1 4294967297", "SAME src and dst class are identical"}, {"slabs reassign 1 2 noreply", WRONG}, {"slabs reassign 1 noreply", FORMAT},
    {"slabs automove 2", OK}, {"slabs automove 3", WRONG}, {"slabs automove x", FORMAT}, {"slabs automove 1 noreply", OK, true},
    {"slabs automove ratio", WRONG}, {"slabs automove ratio .5", OK}, {"slabs automove ratio .5x", WRONG}, {"slabs bogus 1", WRONG},
    {"lru", WRONG}, {"lru x y", WRONG}, {"lru mode", WRONG}, {"lru mode flat", OK}, {"lru mode segmented x", OK}, {"lru mode flat noreply", OK, true},
    {"lru mode bogus noreply", WRONG, true}, {"lru tune 10 20 0.1 2", OK}, {"lru tune 10 20 0.1", WRONG}, {"lru tune 10 20 0x1 2", OK}, {"lru tune 10 20 1x 2", WRONG},
    {"lru tune 40 41 0.1 2", "ERROR hot and warm pcts must not exceed 80"}, {"lru tune 4294967295 5 0.1 2", OK}, {"lru tune 10 20 nan 2", OK},
    {"lru tune 10 20 0.1 0", "ERROR hot/warm age factors must be greater than 0"}, {"lru temp_ttl", WRONG}, {"lru temp_ttl -1", OK}, {"lru temp_ttl 5x", WRONG},
    {"extstore", WRONG}, {"extstore item_size", WRONG}, {"extstore item_size 1", OK}, {"extstore item_size -1", WRONG}, {"extstore drop_unread 1 x", OK},
    {"extstore max_frag 0.5", OK}, {"extstore max_frag x", WRONG}, {"extstore free_memchunks 63 1", OK}, {"extstore free_memchunks 64 1", WRONG},
    {"extstore free_memchunks 1 x", WRONG}, {"extstore bogus 1", WRONG}, {"extstore item_age 1 noreply", OK, true},
    {"shutdown", "ERROR: shutdown not enabled"}, {"shutdown graceful", "ERROR: shutdown not enabled"}, {"shutdown noreply", "ERROR: shutdown not enabled"},
};

static const struct { const char *name; slab_words_answer *answer; } commands[] = {
    {"lru_crawler", slab_words_lru_crawler}, {"slabs", slab_words_slabs}, {"lru", slab_words_lru}, {"extstore", slab_words_extstore},
    {"shutdown", slab_words_shutdown},
};

static slab_words_answer *command_of(bytes name)
{
    size_t i = 0;
    while (!bytes_equal(name, bytes_str(commands[i].name)))
        i++;
    return commands[i].answer;
}

static void test_answers(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        bytes token[8];
        size_t count = 0;
        for (const char *at = table[i].line; at; at = strchr(at, ' ')) {
            at += *at == ' ';
            token[count++] = bytes_of(at, strcspn(at, " "));
        }
        struct slab_words w = {token, count, false};
        const char *answer = command_of(token[0])(&w);
        if (strcmp(answer, table[i].answer) != 0 || w.quiet != table[i].quiet)
            fail_msg("%s: %s%s", table[i].line, answer, w.quiet ? " (held back)" : "");
    }
}

static void test_classes(void **state)
{
    (void)state;
    assert_int_equal(slab_words_classes(BYTES("all")), CLASSES_WITH_ITEMS);
    assert_int_equal(slab_words_classes(BYTES("hash")), CLASSES_WITH_ITEMS);
    assert_int_equal(slab_words_classes(BYTES("2,1")), CLASSES_WITH_ITEMS);
    assert_int_equal(slab_words_classes(BYTES("11,21")), CLASSES_EMPTY);
    assert_int_equal(slab_words_classes(BYTES("")), CLASSES_NONE);
    assert_int_equal(slab_words_classes(BYTES("1,0")), CLASSES_WRONG);
    assert_int_equal(slab_words_classes(BYTES("-1")), CLASSES_WRONG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_answers), cmocka_unit_test(test_classes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
