/* docs.c -- COMMAND DOCS: the rows as clients and redis-cli read them.
 *
 * Built from the row each time: nobody asks often, and nothing is kept. What is replied has Redis' form; the sentences are
 * those of the rows.
 */
#include "cmd/handlers.h"
#include "cmd/usage.h"

static void reply_named_text(struct reply *r, const char *name, const char *value)
{
    reply_text(r, name);
    reply_text(r, value);
}

static void reply_named_bytes(struct reply *r, const char *name, bytes value)
{
    reply_text(r, name);
    reply_bulk(r, value);
}

/* ---- arguments ---- */

static void reply_arguments(struct reply *r, const struct usage *first);

static void reply_argument_flags(struct reply *r, const struct usage *u)
{
    reply_text(r, "flags");
    r->ops->set(r, (size_t)u->optional + u->multiple + u->multiple_token);
    if (u->optional)
        reply_simple(r, "optional");
    if (u->multiple)
        reply_simple(r, "multiple");
    if (u->multiple_token)
        reply_simple(r, "multiple_token");
}

static void reply_argument(struct reply *r, const struct usage *u)
{
    bool flags = u->optional || u->multiple;
    reply_map(r, (size_t)2 + (u->key_spec >= 0) + (u->token.data != NULL) + (u->since.size > 0) + (u->deprecated_since.size > 0) +
                     flags + (u->parts != NULL));
    reply_named_bytes(r, "name", u->name);
    reply_named_text(r, "type", usage_type_name(u->type));
    if (u->key_spec >= 0) {
        reply_text(r, "key_spec_index");
        reply_int(r, u->key_spec);
    }
    if (u->token.data)
        reply_named_bytes(r, "token", u->token);
    if (u->since.size)
        reply_named_bytes(r, "since", u->since);
    if (u->deprecated_since.size)
        reply_named_bytes(r, "deprecated_since", u->deprecated_since);
    if (flags)
        reply_argument_flags(r, u);
    if (u->parts) {
        reply_text(r, "arguments");
        reply_arguments(r, u->parts);
    }
}

static void reply_arguments(struct reply *r, const struct usage *first)
{
    size_t count = 0;
    for (const struct usage *u = first; u; u = u->next)
        count++;
    reply_array(r, count);
    for (const struct usage *u = first; u; u = u->next)
        reply_argument(r, u);
}

/* ---- a row ---- */

/* Lines of "version what changed". */
static void reply_history(struct reply *r, const char *text)
{
    size_t lines = 1;
    for (const char *at = text; *at; at++)
        lines += *at == '\n';
    reply_text(r, "history");
    r->ops->set(r, lines);
    for (size_t i = 0; i < lines; i++) {
        size_t size = strcspn(text, "\n"), version = strcspn(text, " ");
        reply_array(r, 2);
        reply_bulk(r, bytes_of(text, version));
        reply_bulk(r, bytes_of(text + version + 1, size - version - 1));
        text += size + 1;
    }
}

static void reply_doc_flag(struct reply *r, const char *flag)
{
    reply_text(r, "doc_flags");
    r->ops->set(r, 1);
    reply_simple(r, flag);
}

static void reply_replacement(struct reply *r, const struct command *row)
{
    reply_doc_flag(r, "deprecated");
    reply_named_text(r, "deprecated_since", row->deprecated_since);
    reply_named_text(r, "replaced_by", row->replaced_by);
}

static void reply_docs(struct reply *r, const struct command *row, struct arena *arena);

static void reply_sub_docs(struct reply *r, const struct command *subs, struct arena *arena)
{
    size_t count = 0;
    while (subs[count].name)
        count++;
    reply_text(r, "subcommands");
    reply_map(r, count);
    for (size_t i = 0; i < count; i++)
        reply_docs(r, &subs[i], arena);
}

static void reply_docs(struct reply *r, const struct command *row, struct arena *arena)
{
    const struct command *subs = command_subs(row);
    struct usage *arguments;
    arena_reset(arena);
    bool read = usage_read(row->usage, arena, &arguments);
    hf_assert(read); /* test_usage.c reads all */
    reply_text(r, row->full_name);
    reply_map(r, (size_t)4 + row->internal + (row->replaced_by ? 3 : 0) + (row->history != NULL) + (arguments != NULL) + (subs != NULL));
    reply_named_text(r, "summary", row->summary);
    reply_named_text(r, "since", row->since);
    reply_named_text(r, "group", row->group);
    reply_named_text(r, "complexity", row->cost);
    if (row->internal)
        reply_doc_flag(r, "syscmd");
    if (row->replaced_by)
        reply_replacement(r, row);
    if (row->history)
        reply_history(r, row->history);
    if (arguments) {
        reply_text(r, "arguments");
        reply_arguments(r, arguments);
    }
    if (subs)
        reply_sub_docs(r, subs, arena);
}

static void reply_all_docs(struct reply *r, struct arena *arena)
{
    reply_map(r, command_count());
    for (size_t i = 0; i < command_count(); i++)
        reply_docs(r, command_at(i), arena);
}

static void reply_named_docs(struct call *c, struct arena *arena)
{
    size_t known = 0;
    for (size_t i = 2; i < c->argc; i++)
        known += command_find_full(c->argv[i]) != NULL;
    reply_map(c->reply, known);
    for (size_t i = 2; i < c->argc; i++) {
        const struct command *row = command_find_full(c->argv[i]);
        if (row)
            reply_docs(c->reply, row, arena);
    }
}

void cmd_command_docs(struct call *c)
{
    struct arena arena;
    arena_init(&arena);
    if (c->argc == 2)
        reply_all_docs(c->reply, &arena);
    else
        reply_named_docs(c, &arena);
    arena_release(&arena);
}
