/* test_usage.c -- usage texts read as COMMAND DOCS tells them, and those of all rows agree with arity and keys.
 *
 * Goal: one text of a row serves people and programs, so it must be unambiguous and true. Method: small texts beside what
 * is read from them, written as one line; texts that break the grammar; then every row: the words that its usage needs at
 * least, and whether it takes more, are its arity, and its keys stand where usage has them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cmd/command.h"
#include "cmd/usage.h"

#include <stdio.h>

static struct arena arena;
static struct buf text;

static int set_up(void **state)
{
    arena_init(&arena);
    buf_init(&text, 1 << 16);
    command_table_init();
    return 0;
}

static int tear_down(void **state)
{
    arena_release(&arena);
    buf_release(&text);
    return 0;
}

/* ---- what is read, as a line ---- */

static void write_down(const struct usage *first)
{
    for (const struct usage *u = first; u; u = u->next) {
        buf_printf(&text, "%s%.*s:%s", u == first ? "" : " ", (int)u->name.size, (const char *)u->name.data, usage_type_name(u->type));
        if (u->token.data)
            buf_printf(&text, "='%.*s'", (int)u->token.size, (const char *)u->token.data);
        if (u->key_spec >= 0)
            buf_printf(&text, "#%d", u->key_spec);
        if (u->since.size)
            buf_printf(&text, "@%.*s", (int)u->since.size, (const char *)u->since.data);
        if (u->deprecated_since.size)
            buf_printf(&text, "-%.*s", (int)u->deprecated_since.size, (const char *)u->deprecated_since.data);
        buf_printf(&text, "%s%s%s", u->optional ? "?" : "", u->multiple ? "+" : "", u->multiple_token ? "T" : "");
        if (u->parts) {
            buf_printf(&text, "(");
            write_down(u->parts);
            buf_printf(&text, ")");
        }
    }
}

static const char *read_as_line(const char *usage)
{
    struct usage *first = NULL;
    buf_reset(&text);
    if (usage_read(usage, &arena, &first))
        write_down(first);
    else
        buf_printf(&text, "bad");
    buf_append_u8(&text, 0);
    return (const char *)text.data;
}

static void texts_are_read(void **state)
{
    static const struct {
        const char *usage, *arguments;
    } cases[] = {
        {"", ""},
        {"key value", "key:key#0 value:string"},
        {"key [count]", "key:key#0 count:integer?"},
        {"key{:string} index{:double}", "key:string index:double"},
        {"field{:key} key", "field:key#0 key:key#1"},
        {"key1 key2{#0}", "key1:key#0 key2:key#0"},
        {"[GET{get-it @6.2.0}] [OLD{-2.8.0}]", "get-it:pure-token='GET'@6.2.0? old:pure-token='OLD'-2.8.0?"},
        {"[COUNT count]", "count:integer='COUNT'?"},
        {"NO ONE", "no:pure-token='NO' one:pure-token='ONE'"},
        {"MATCH{m} pattern", "m:pure-token='MATCH' pattern:pattern"},
        {"\"\"{empty} value", "empty:pure-token='' value:string"},
        {"[NX | XX]{condition}", "condition:oneof?(nx:pure-token='NX' xx:pure-token='XX')"},
        {"<key | a b>", "key_a_b:oneof(key:key#0 a_b:block(a:string b:string))"},
        {"TYPE <A | B>", "a_b:oneof='TYPE'(a:pure-token='A' b:pure-token='B')"},
        {"[LIMIT (offset count)]", "offset_count:block='LIMIT'?(offset:integer count:integer)"},
        {"[COUNT count [ANY]]{count}", "count:block?(count:integer='COUNT' any:pure-token='ANY'?)"},
        {"(pattern) [(pattern) ...]", "pattern:block+(pattern:pattern)"},
        {"key [key ...] destination", "key:key#0+ destination:key#1"},
        {"[arg [arg ...]]", "arg:string?+"},
        {"[arg ...]", "arg:string?+"},
        {"arg ...", "arg:string+"},
        {"<a ... | b>", "a_b:oneof(a:string+ b:string)"},
        {"key value{@2.0.0} [key value ...]", "key_value:block+(key:key#0 value:string@2.0.0)"},
        {"a b [a b ...]{data} c", "data:block+(a:string b:string) c:string"},
        {"[GET pattern{#1} [GET pattern ...]]", "pattern:pattern='GET'#1?+T"},
        {"[KEYS key [key ...]]", "key:key='KEYS'#0?+"},
        {"GET key ...", "key:key='GET'#0+T"},
        {"GET key [PUT key ...]", "key:key='GET'#0 key:key='PUT'#1?+T"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        if (strcmp(read_as_line(cases[i].usage), cases[i].arguments) != 0)
            fail_msg("\"%s\" is read as %s, not %s", cases[i].usage, (const char *)text.data, cases[i].arguments);
    }
}

static void broken_texts_are_refused(void **state)
{
    static const char *const cases[] = {"[",  "]",   "[a",  "a]",      "<a | >", "<",     "a}",       "a | b",
                                        "()", "(a",  "a)",  "a{:nice}", "a{",     "...",   "[...]",    "A{:integer}", "a{#}", "a{#x}",
                                        "[]", "<a]", "[a>", "a{b",      "(a | b)"};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        if (strcmp(read_as_line(cases[i]), "bad") != 0)
            fail_msg("\"%s\" is read as %s", cases[i], (const char *)text.data);
    }
}

static void people_see_no_notes(void **state)
{
    usage_show("key (a [B{b @1.0.0}]){c} [<D | E>{d} ...]", &text);
    buf_append_u8(&text, 0);
    assert_string_equal((const char *)text.data, "key a [B] [<D | E> ...]");
}

/* ---- all rows ---- */

/* Rows that take words which the documentation of Redis has not, or fewer than it has. */
static const char *const looser[] = {"quit", "replconf", "geohash", "geopos", "pfmerge", "client|kill", "psync"};

static bool is_looser(const struct command *row)
{
    for (size_t i = 0; i < sizeof(looser) / sizeof(looser[0]); i++) {
        if (strcmp(row->full_name, looser[i]) == 0)
            return true;
    }
    return false;
}

/* Words of a piece at least and at most; -1: no end. */
struct width {
    int least, most;
};

static int sum(int a, int b) { return a < 0 || b < 0 ? -1 : a + b; }

static struct width width_of(const struct usage *u);

static struct width width_of_parts(const struct usage *u)
{
    struct width all = {0, 0};
    for (const struct usage *p = u->parts; p; p = p->next) {
        struct width one = width_of(p);
        if (u->type == USAGE_BLOCK)
            all = (struct width){all.least + one.least, sum(all.most, one.most)};
        else if (p == u->parts)
            all = one;
        else
            all = (struct width){one.least < all.least ? one.least : all.least,
                                 one.most < 0 || all.most < 0 ? -1 : one.most > all.most ? one.most : all.most};
    }
    return all;
}

static struct width width_of(const struct usage *u)
{
    struct width w = u->parts ? width_of_parts(u) : (struct width){1, 1};
    if (u->token.data && u->type != USAGE_TOKEN)
        w = (struct width){w.least + 1, sum(w.most, 1)};
    return (struct width){u->optional ? 0 : w.least, u->multiple ? -1 : w.most};
}

static void check_arity(const struct command *row, const struct usage *first, int name_words)
{
    struct usage all = {.type = USAGE_BLOCK, .parts = (struct usage *)first};
    struct width w = width_of_parts(&all);
    int words = w.least + name_words;
    int arity = w.least == w.most ? words : -words;
    if (row->arity != arity && !is_looser(row) && !row->subcommands)
        fail_msg("%s: arity %d, but usage \"%s\" says %d", row->full_name, row->arity, row->usage, arity);
    if (row->arity == arity && is_looser(row))
        fail_msg("%s is not looser than its usage", row->full_name);
}

static void count_keys(const struct usage *first, int *keys)
{
    for (const struct usage *u = first; u; u = u->next) {
        *keys += u->type == USAGE_KEY;
        count_keys(u->parts, keys);
    }
}

/* Which word the first key is; 0: its place depends on the words before it. */
static int first_key_at(const struct usage *first, int at)
{
    for (const struct usage *u = first; u; u = u->next) {
        int keys = 0;
        struct width w = width_of(u);
        count_keys(u->parts, &keys);
        if (u->type == USAGE_KEY)
            return u->token.data ? 0 : at;
        if (keys)
            return u->token.data ? 0 : first_key_at(u->parts, at);
        if (w.least != w.most)
            return 0;
        at += w.least;
    }
    return 0;
}

static void check_keys(const struct command *row, const struct usage *first, int name_words)
{
    int keys = 0;
    count_keys(first, &keys);
    if ((keys > 0) != command_has_keys(row))
        fail_msg("%s: usage \"%s\" has %d keys", row->full_name, row->usage, keys);
    if (!first)
        return;
    int at = first_key_at(first, name_words);
    if (row->keys.first ? row->keys.first != at : at == name_words)
        fail_msg("%s: usage \"%s\", first key %d", row->full_name, row->usage, row->keys.first);
}

static void check_row(const struct command *row, int name_words)
{
    struct usage *first;
    if (!usage_read(row->usage, &arena, &first))
        fail_msg("%s: usage \"%s\" breaks the grammar", row->full_name, row->usage);
    check_arity(row, first, name_words);
    check_keys(row, first, name_words);
    if (!row->deprecated_since != !row->replaced_by)
        fail_msg("%s is replaced, but since when or by what?", row->full_name);
    arena_reset(&arena);
}

static void rows_agree_with_their_usage(void **state)
{
    for (size_t i = 0; i < command_count(); i++) {
        const struct command *row = command_at(i);
        check_row(row, 1);
        for (const struct command *sub = row->subcommands; sub && sub->name; sub++)
            check_row(sub, 2);
    }
}

/* "7.2.0", and behind it what changed. */
static bool is_version(const char *word)
{
    int a, b, c, size = 0;
    return sscanf(word, "%d.%d.%d%n", &a, &b, &c, &size) == 3 && (word[size] == 0 || word[size] == ' ');
}

static void check_versions(const struct command *row)
{
    if (!row->since || !is_version(row->since))
        fail_msg("%s: since when?", row->full_name);
    for (const char *line = row->history; line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
        if (!is_version(line) || !strchr(line, ' '))
            fail_msg("%s: history \"%s\"", row->full_name, line);
    }
}

static void versions_are_versions(void **state)
{
    for (struct command_walk w = {0}; command_next(&w);)
        check_versions(w.row);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(texts_are_read, set_up, tear_down),
        cmocka_unit_test_setup_teardown(broken_texts_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(people_see_no_notes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(rows_agree_with_their_usage, set_up, tear_down),
        cmocka_unit_test_setup_teardown(versions_are_versions, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
