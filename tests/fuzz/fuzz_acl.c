/* fuzz_acl.c -- any rules make a user or an error, and a user's line makes the same user again.
 *
 * The input is cut into rules at newlines. After each the user is described, its description read into another user,
 * whose description must be the same; and both must say the same of some commands.
 */
#include "base/assert.h"
#include "cmd/acl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void describe(const struct acl_user *u, struct buf *out)
{
    buf_init(out, SIZE_MAX);
    acl_user_describe(u, out);
}

static size_t cut(bytes text, uint8_t at, bytes *words, size_t most)
{
    size_t count = 0;
    for (size_t i = 0; i < text.size && count < most;) {
        const uint8_t *end = memchr(text.data + i, at, text.size - i);
        size_t length = end ? (size_t)(end - text.data) - i : text.size - i;
        words[count++] = bytes_of(text.data + i, length);
        i += length + 1;
    }
    return count;
}

#define RULES_MAX 64

static void compare(const struct acl_user *u)
{
    static const char *const tried[][3] = {{"GET", "a", "b"}, {"SET", "key", "GET"}, {"CONFIG", "GET", "x"}, {"PUBLISH", "c", "m"},
                                           {"PSUBSCRIBE", "c*", "d"}, {"SELECT", "0", "0"}, {"COPY", "a", "b"}};
    struct buf line, again;
    struct arena arena;
    bytes bad;
    arena_init(&arena);
    describe(u, &line);
    bytes *words = arena_alloc(&arena, (line.size + 1) * sizeof(*words)), *rules = arena_alloc(&arena, (line.size + 1) * sizeof(*rules));
    size_t count = cut(buf_view(&line), ' ', words, line.size + 1);
    bool joined = acl_join_selectors(&arena, words, count, rules, &count, &bad);
    hf_assert(joined);
    struct acl_user *copy = acl_user_new(BYTES("copy"), false);
    for (size_t i = 0; i < count; i++) {
        enum acl_error error = acl_user_apply(copy, rules[i], false);
        hf_assert(error == ACL_OK);
    }
    describe(copy, &again);
    hf_assert(bytes_equal(buf_view(&line), buf_view(&again)));
    for (size_t i = 0; i < sizeof(tried) / sizeof(tried[0]); i++) {
        bytes argv[3] = {bytes_str(tried[i][0]), bytes_str(tried[i][1]), bytes_str(tried[i][2])};
        const struct command *row = command_find(argv[0]);
        size_t at, at_copy;
        if (row->subcommands)
            row = command_find_sub(row, argv[1]);
        hf_assert(acl_user_check(u, row, argv, 3, &at) == acl_user_check(copy, row, argv, 3, &at_copy));
    }
    acl_user_unref(copy);
    buf_release(&line);
    buf_release(&again);
    arena_release(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    bytes rules[RULES_MAX];
    command_table_init();
    size_t count = cut(bytes_of(data, size), '\n', rules, RULES_MAX);
    struct acl_user *u = acl_user_new(BYTES("u"), false);
    for (size_t i = 0; i < count; i++) {
        struct acl_user *next = acl_user_copy(u);
        if (acl_user_apply(next, rules[i], false) == ACL_OK) {
            acl_user_unref(u);
            u = next;
        } else {
            acl_user_unref(next);
        }
    }
    compare(u);
    acl_user_unref(u);
    return 0;
}
