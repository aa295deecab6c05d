/* scan.c -- KEYS, SCAN, and what HSCAN shares with them. */
#include "cmd/scan.h"

#include "base/glob.h"
#include "base/number.h"
#include "cmd/args.h"
#include "cmd/handlers.h"
#include "engine/keys.h"
#include "types/type.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>

#define SCAN_COUNT_DEFAULT 10
#define SCAN_CURSOR_END    (UINT64_C(1) << 53) /* db_scan hands out smaller ones */
#define KEYS_STEP          256

void word_list_add(struct word_list *list, bytes word)
{
    if (list->count == list->capacity) {
        size_t capacity = list->capacity ? list->capacity * 2 : 32;
        bytes *words = arena_alloc(list->arena, capacity * sizeof(*words));
        if (list->count)
            memcpy(words, list->words, list->count * sizeof(*words));
        list->words = words;
        list->capacity = capacity;
    }
    list->words[list->count++] = arena_dup(list->arena, word);
}

/* As lenient as Redis, which reads it with strtoul: a sign and leading zeros pass, and nothing behind a NUL byte is seen. */
bool scan_take_cursor(struct call *c, size_t index, uint64_t *cursor)
{
    char text[64];
    bytes word = c->argv[index];
    const void *nul = word.size ? memchr(word.data, 0, word.size) : NULL;
    if (nul)
        word.size = (size_t)((const uint8_t *)nul - (const uint8_t *)word.data);
    if (word.size < sizeof(text) && !(word.size && isspace(word.data[0]))) {
        if (word.size)
            memcpy(text, word.data, word.size);
        text[word.size] = 0;
        char *end;
        errno = 0;
        uint64_t value = strtoull(text, &end, 10);
        if ((size_t)(end - text) == word.size && errno != ERANGE) {
            *cursor = value;
            return true;
        }
    }
    reply_errorf(c->reply, "ERR invalid cursor");
    return false;
}

bool scan_take_options(struct call *c, size_t from, enum scan_kind kind, struct scan_options *options)
{
    *options = (struct scan_options){.count = SCAN_COUNT_DEFAULT};
    for (size_t i = from; i < c->argc; i += 2) {
        bool has_value = i + 1 < c->argc;
        if (has_value && bytes_is_word(c->argv[i], "COUNT")) {
            int64_t count;
            if (!arg_int(c, i + 1, &count))
                return false;
            if (count >= 1) {
                options->count = (size_t)count;
                continue;
            }
        } else if (has_value && bytes_is_word(c->argv[i], "MATCH")) {
            options->pattern = c->argv[i + 1];
            options->has_pattern = !bytes_equal(options->pattern, BYTES("*"));
            continue;
        } else if (has_value && kind == SCAN_KEYS && bytes_is_word(c->argv[i], "TYPE")) {
            options->type = c->argv[i + 1];
            options->has_type = true;
            continue;
        } else if (kind == SCAN_FIELDS && bytes_is_word(c->argv[i], "NOVALUES")) {
            options->no_values = true;
            i--; /* a word alone */
            continue;
        }
        reply_status(c->reply, HF_ERR_SYNTAX);
        return false;
    }
    return true;
}

bool scan_matches(const struct scan_options *options, bytes word)
{
    return !options->has_pattern || glob_match(options->pattern, word, false);
}

bool scan_goes_on(struct call *c, struct scan_options *options, uint64_t cursor, size_t step)
{
    options->count -= step;
    return cursor && options->count && call_goes_on(c, step);
}

void scan_reply(struct call *c, uint64_t cursor, const struct word_list *list)
{
    char digits[NUMBER_TEXT_MAX];
    size_t count = list ? list->count : 0;
    reply_array(c->reply, 2);
    reply_bulk(c->reply, bytes_of(digits, number_format_uint(digits, cursor)));
    reply_array(c->reply, count);
    for (size_t i = 0; i < count && call_goes_on(c, 1); i++)
        reply_bulk(c->reply, list->words[i]);
}

struct key_scan {
    const struct scan_options *options;
    struct word_list found;
};

static void scan_key(void *context, bytes key, int type)
{
    struct key_scan *scan = context;
    if (scan->options->has_type && !bytes_is_word(scan->options->type, type_name(type)))
        return;
    if (scan_matches(scan->options, key))
        word_list_add(&scan->found, key);
}

void cmd_scan(struct call *c)
{
    uint64_t cursor;
    struct scan_options options;
    if (!scan_take_cursor(c, 1, &cursor) || !scan_take_options(c, 2, SCAN_KEYS, &options))
        return;
    struct key_scan scan = {&options, {.arena = txn_arena(c->txn)}};
    size_t step;
    if (cursor >= SCAN_CURSOR_END) {
        cursor = 0; /* not one of ours: the walk is over */
    } else {
        do
            cursor = db_scan(c->txn, c->session->db, cursor, step = scan_step(&options), scan_key, &scan);
        while (scan_goes_on(c, &options, cursor, step));
    }
    scan_reply(c, cursor, &scan.found);
}

void cmd_keys(struct call *c)
{
    struct scan_options options = {.pattern = c->argv[1],
                                   .has_pattern = !bytes_equal(c->argv[1], BYTES("*"))};
    struct key_scan scan = {&options, {.arena = txn_arena(c->txn)}};
    uint64_t cursor = 0;
    do
        cursor = db_scan(c->txn, c->session->db, cursor, KEYS_STEP, scan_key, &scan);
    while (cursor && call_goes_on(c, KEYS_STEP));
    reply_array(c->reply, scan.found.count);
    for (size_t i = 0; i < scan.found.count && call_goes_on(c, 1); i++)
        reply_bulk(c->reply, scan.found.words[i]);
}
