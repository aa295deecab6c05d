/* introspect.c -- COMMAND: the table, told to clients (COMMAND DOCS stands in docs.c).
 *
 * Everything replied here is derived from the rows; a new row needs nothing in this file.
 */
#include "base/glob.h"
#include "base/memory.h"
#include "cmd/args.h"
#include "cmd/category.h"
#include "cmd/handlers.h"

#include <stdio.h>

void cmd_module_list(struct call *c) { reply_array(c->reply, 0); }

/* ---- lists of words ---- */

#define WORDS_MAX 16

struct words {
    bytes words[WORDS_MAX];
    size_t count;
};

static void words_add(struct words *w, bytes word)
{
    hf_assert(w->count < WORDS_MAX);
    w->words[w->count++] = word;
}

/* Cuts at a separator; empty pieces are dropped. */
static void words_split(struct words *w, const char *text, const char *separator)
{
    for (text += strspn(text, separator); *text; text += strspn(text, separator)) {
        size_t size = strcspn(text, separator);
        words_add(w, bytes_of(text, size));
        text += size;
    }
}

static void reply_word_set(struct reply *r, const struct words *w, const char *prefix)
{
    char text[64];
    r->ops->set(r, w->count);
    for (size_t i = 0; i < w->count; i++) {
        snprintf(text, sizeof(text), "%s" WORD_FORMAT, prefix, WORD(w->words[i]));
        reply_simple(r, text);
    }
}

/* ---- one command ---- */

/* In the order of Redis. Flag 0: a word of the row (told). */
static const struct {
    uint32_t flag;
    const char *word;
} flag_words[] = {
    {CMD_WRITE, "write"},       {CMD_READ, "readonly"},      {CMD_GROWS, "denyoom"},
    {CMD_ADMIN, "admin"},       {CMD_PUBSUB, "pubsub"},      {CMD_NO_SCRIPT, "noscript"},
    {CMD_BLOCKING, "blocking"}, {CMD_LOADING, "loading"},    {CMD_STALE, "stale"},
    {0, "skip_monitor"},        {CMD_SKIP_SLOWLOG, "skip_slowlog"}, {0, "asking"},
    {CMD_FAST, "fast"},         {CMD_NO_AUTH, "no_auth"},    {CMD_KEYS_OPTIONAL, "no_mandatory_keys"},
    {0, "no_async_loading"},    {CMD_NO_MULTI, "no_multi"},  {CMD_ALLOW_BUSY, "allow_busy"},
};

/* A container says nothing about its subcommands. */
static uint32_t flags_of(const struct command *row)
{
    return row->handler || row->flags & CMD_WORDS ? row->flags : 0;
}

static void reply_flags(struct reply *r, const struct command *row)
{
    struct words w = {.count = 0};
    for (size_t i = 0; i < sizeof(flag_words) / sizeof(flag_words[0]); i++) {
        if (flag_words[i].flag ? flags_of(row) & flag_words[i].flag : row->told && strstr(row->told, flag_words[i].word))
            words_add(&w, bytes_str(flag_words[i].word));
    }
    if (row->keys.counted || row->keys.behind || row->flags & CMD_HIDDEN_KEYS)
        words_add(&w, BYTES("movablekeys"));
    reply_word_set(r, &w, "");
}

static void categories_of(const struct command *row, struct words *w)
{
    uint32_t set = command_categories(row);
    for (size_t i = 0; i < category_count(); i++) {
        if (set >> i & 1)
            words_add(w, bytes_str(category_name(i)));
    }
}

/* How the keys of a row are used, one text per key spec. */
static void key_uses_of(const struct command *row, struct words *uses)
{
    if (!command_has_keys(row))
        return;
    if (row->key_use)
        words_split(uses, row->key_use, ";");
    else
        words_add(uses, row->flags & CMD_WRITE ? BYTES("RW access update") : BYTES("RO access"));
}

void reply_key_use(struct reply *r, bytes use)
{
    char text[64];
    struct words flags = {.count = 0};
    snprintf(text, sizeof(text), WORD_FORMAT, WORD(use));
    words_split(&flags, text, " ");
    reply_word_set(r, &flags, "");
}

static void reply_named_int(struct reply *r, const char *name, int64_t value)
{
    reply_text(r, name);
    reply_int(r, value);
}

/* From a word on: the n-th of those that keys stand behind. */
static void reply_search_word(struct reply *r, const struct key_range *keys, size_t n)
{
    struct words words = {.count = 0};
    words_split(&words, keys->behind, " ");
    reply_text(r, "keyword");
    reply_text(r, "spec");
    reply_map(r, 2);
    reply_text(r, "keyword");
    reply_bulk(r, words.words[n < words.count ? n : words.count - 1]);
    reply_named_int(r, "startfrom", keys->from);
}

static void reply_spec_head(struct reply *r, bytes use, const char *note, int first, const struct key_range *behind, size_t n)
{
    reply_map(r, note ? 4 : 3);
    if (note) {
        reply_text(r, "notes");
        reply_text(r, note);
    }
    reply_text(r, "flags");
    reply_key_use(r, use);
    reply_text(r, "begin_search");
    reply_map(r, 2);
    reply_text(r, "type");
    if (behind) {
        reply_search_word(r, behind, n);
    } else {
        reply_text(r, "index");
        reply_text(r, "spec");
        reply_map(r, 1);
        reply_named_int(r, "index", first);
    }
    reply_text(r, "find_keys");
    reply_map(r, 2);
    reply_text(r, "type");
}

static void reply_spec_counted(struct reply *r, const struct command *row, bytes use, const char *note)
{
    reply_spec_head(r, use, note, row->keys.counted, NULL, 0);
    reply_text(r, "keynum");
    reply_text(r, "spec");
    reply_map(r, 3);
    reply_named_int(r, "keynumidx", 0);
    reply_named_int(r, "firstkey", 1);
    reply_named_int(r, "keystep", 1);
}

static void reply_spec_range(struct reply *r, int last, int step, int limit)
{
    reply_text(r, "range");
    reply_text(r, "spec");
    reply_map(r, 3);
    reply_named_int(r, "lastkey", last);
    reply_named_int(r, "keystep", step);
    reply_named_int(r, "limit", limit);
}

/* The last spec is of the counted keys, if there are any. Several before it mean one key each, in a row, and the last of
 * them all that follow where the range is open; a single one covers the whole range. */
static void reply_key_spec(struct reply *r, const struct command *row, const struct words *uses, size_t index)
{
    const struct key_range *keys = &row->keys;
    size_t fixed = keys->behind && !keys->half ? 1 : 0; /* specs in front of those behind words */
    bool behind = keys->behind && index >= fixed, alone = uses->count == (keys->counted ? 2 : 1);
    int last = keys->last < 0 ? keys->last : keys->last - keys->first;
    const char *note = index == 0 ? row->key_note : NULL;
    if (keys->counted && index == uses->count - 1) {
        reply_spec_counted(r, row, uses->words[index], note);
        return;
    }
    reply_spec_head(r, uses->words[index], note, keys->first + (int)index * keys->step, behind ? keys : NULL, index - fixed);
    bool is_open = alone || (keys->last == -1 && !keys->behind && index == uses->count - 1);
    reply_spec_range(r, behind && (keys->half || keys->rest) ? -1 : is_open ? last : 0, alone && !keys->half ? keys->step : 1,
                     behind && keys->half ? 2 : 0);
}

/* Where such keys stand is not known. */
static void reply_unknown_spec(struct reply *r, bytes use, const char *note)
{
    static const char *const parts[] = {"begin_search", "find_keys"};
    reply_map(r, 4);
    reply_text(r, "notes");
    reply_text(r, note);
    reply_text(r, "flags");
    reply_key_use(r, use);
    for (size_t i = 0; i < 2; i++) {
        reply_text(r, parts[i]);
        reply_map(r, 2);
        reply_text(r, "type");
        reply_text(r, "unknown");
        reply_text(r, "spec");
        reply_map(r, 0);
    }
}

/* Those of SORT and SORT_RO: BY and GET name keys by elements, and STORE may stand anywhere. */
static void reply_hidden_specs(struct reply *r, const struct command *row, const struct words *uses)
{
    reply_key_spec(r, row, uses, 0);
    reply_unknown_spec(r, BYTES("RO access"), "Keys that BY and GET make of the elements: known once the command runs.");
    if (uses->count > 1)
        reply_unknown_spec(r, uses->words[1], "The key behind STORE, which may stand anywhere behind the first one.");
}

static void reply_specs(struct reply *r, const struct command *row)
{
    struct words uses = {.count = 0};
    bool hidden = row->flags & CMD_HIDDEN_KEYS;
    key_uses_of(row, &uses);
    r->ops->set(r, row->shards_to ? 1 : uses.count + hidden);
    if (row->shards_to) {
        reply_spec_head(r, BYTES("not_key"), NULL, 1, NULL, 0);
        reply_spec_range(r, row->shards_to < 0 ? -1 : 0, 1, 0);
    } else if (hidden) {
        reply_hidden_specs(r, row, &uses);
    } else {
        for (size_t i = 0; i < uses.count; i++)
            reply_key_spec(r, row, &uses, i);
    }
}

static size_t sub_count(const struct command *row)
{
    size_t count = 0;
    while (command_subs(row) && command_subs(row)[count].name)
        count++;
    return count;
}

static void reply_command(struct reply *r, const struct command *row)
{
    struct words categories = {.count = 0}, tips = {.count = 0};
    bool shards = row->shards_to != 0;
    categories_of(row, &categories);
    words_split(&tips, row->tips ? row->tips : "", " ");
    reply_array(r, 10);
    reply_text(r, row->full_name);
    reply_int(r, row->arity);
    reply_flags(r, row);
    reply_int(r, shards ? 1 : row->keys.first);
    reply_int(r, shards ? row->shards_to : row->keys.last);
    reply_int(r, shards ? 1 : row->keys.step);
    reply_word_set(r, &categories, "@");
    r->ops->set(r, tips.count);
    for (size_t i = 0; i < tips.count; i++)
        reply_bulk(r, tips.words[i]);
    reply_specs(r, row);
    r->ops->set(r, sub_count(row));
    for (size_t i = 0; i < sub_count(row); i++)
        reply_command(r, &row->subcommands[i]);
}

/* ---- COMMAND and its subcommands ---- */

static void reply_all_commands(struct call *c)
{
    reply_array(c->reply, command_count());
    for (size_t i = 0; i < command_count(); i++)
        reply_command(c->reply, command_at(i));
}

void cmd_command(struct call *c)
{
    reply_all_commands(c);
}

void cmd_command_count(struct call *c)
{
    reply_int(c->reply, (int64_t)command_count());
}

void cmd_command_info(struct call *c)
{
    if (c->argc == 2) {
        reply_all_commands(c);
        return;
    }
    reply_array(c->reply, c->argc - 2);
    for (size_t i = 2; i < c->argc; i++) {
        const struct command *row = command_find_full(c->argv[i]);
        if (row)
            reply_command(c->reply, row);
        else
            reply_null(c->reply);
    }
}

struct list_filter {
    enum { LIST_ALL, LIST_MODULE, LIST_CATEGORY, LIST_PATTERN } kind;
    bytes word;
};

static bool take_list_filter(struct call *c, struct list_filter *filter)
{
    *filter = (struct list_filter){.kind = LIST_ALL};
    if (c->argc == 2)
        return true;
    if (c->argc != 5 || !bytes_is_word(c->argv[2], "FILTERBY"))
        return false;
    filter->word = c->argv[4];
    filter->kind = bytes_is_word(c->argv[3], "MODULE")    ? LIST_MODULE
                   : bytes_is_word(c->argv[3], "ACLCAT")  ? LIST_CATEGORY
                   : bytes_is_word(c->argv[3], "PATTERN") ? LIST_PATTERN
                                                          : LIST_ALL;
    return filter->kind != LIST_ALL;
}

static bool is_listed(const struct list_filter *filter, const struct command *row)
{
    switch (filter->kind) {
    case LIST_ALL:
        return true;
    case LIST_MODULE:
        return false; /* there are no modules */
    case LIST_PATTERN:
        return glob_match(filter->word, bytes_str(row->full_name), true);
    case LIST_CATEGORY:
        return category_find(filter->word) >= 0 && command_categories(row) >> category_find(filter->word) & 1;
    }
    return false;
}

/* Counts the rows that the filter lets through, and replies their names if asked. */
static size_t walk_list(struct call *c, const struct list_filter *filter, bool reply_names)
{
    size_t count = 0;
    for (struct command_walk w = {0}; command_next(&w);) {
        if (!is_listed(filter, w.row))
            continue;
        count++;
        if (reply_names)
            reply_text(c->reply, w.row->full_name);
    }
    return count;
}

void cmd_command_list(struct call *c)
{
    struct list_filter filter;
    if (!take_list_filter(c, &filter)) {
        reply_status(c->reply, HF_ERR_SYNTAX);
        return;
    }
    reply_array(c->reply, walk_list(c, &filter, false));
    walk_list(c, &filter, true);
}
