/* config.c -- CONFIG: settings are the server's; here are only words and replies. */
#include "base/arena.h"
#include "cmd/args.h"
#include "cmd/handlers.h"

#define CONFIG_ERROR_MAX 512

struct setting {
    bytes name;
    bytes value;
    struct setting *next;
};

/* Settings found so far, each once, in the order they were found. */
struct settings {
    struct arena arena;
    struct setting *first, **last;
    size_t count;
};

static bool same_word(bytes a, bytes b)
{
    if (a.size != b.size)
        return false;
    for (size_t i = 0; i < a.size; i++) {
        if ((a.data[i] | 32) != (b.data[i] | 32))
            return false;
    }
    return true;
}

static void add_setting(void *context, bytes name, bytes value)
{
    struct settings *found = context;
    for (const struct setting *s = found->first; s; s = s->next) {
        if (same_word(s->name, name))
            return;
    }
    struct setting *s = arena_alloc(&found->arena, sizeof(*s));
    *s = (struct setting){arena_dup(&found->arena, name), arena_dup(&found->arena, value), NULL};
    *found->last = s;
    found->last = &s->next;
    found->count++;
}

void cmd_config_get(struct call *c)
{
    struct settings found = {0};
    found.last = &found.first;
    arena_init(&found.arena);
    for (size_t i = 2; i < c->argc; i++)
        host->config_get(c->argv[i], add_setting, &found);
    reply_map(c->reply, found.count);
    for (const struct setting *s = found.first; s; s = s->next) {
        reply_bulk(c->reply, s->name);
        reply_bulk(c->reply, s->value);
    }
    arena_release(&found.arena);
}

void cmd_config_set(struct call *c)
{
    char error[CONFIG_ERROR_MAX] = "";
    struct arena arena;
    size_t count = (c->argc - 2) / 2;
    if (c->argc % 2 != 0) {
        reply_status(c->reply, HF_ERR_SYNTAX);
        return;
    }
    arena_init(&arena);
    bytes *names = arena_alloc(&arena, count * sizeof(*names));
    bytes *values = arena_alloc(&arena, count * sizeof(*values));
    for (size_t i = 0; i < count; i++) {
        names[i] = c->argv[2 + 2 * i];
        values[i] = c->argv[3 + 2 * i];
    }
    if (host->config_set(names, values, count, error, sizeof(error)))
        reply_ok(c->reply);
    else
        reply_errorf(c->reply, "ERR %s", error);
    arena_release(&arena);
}

static void reply_rewritten(struct call *c, status s, const char *error)
{
    if (s != HF_OK && error[0])
        reply_errorf(c->reply, "ERR %s", error);
    else if (!arg_refused(c, s))
        reply_ok(c->reply);
}

void cmd_config_rewrite(struct call *c)
{
    char error[CONFIG_ERROR_MAX] = "";
    reply_rewritten(c, host->config_rewrite(false, error, sizeof(error)), error);
}

void cmd_debug_config_rewrite(struct call *c)
{
    char error[CONFIG_ERROR_MAX] = "";
    reply_rewritten(c, host->config_rewrite(true, error, sizeof(error)), error);
}

void cmd_config_resetstat(struct call *c)
{
    host->reset_stats();
    reply_ok(c->reply);
}
