/* getkeys.c -- COMMAND GETKEYS and GETKEYSANDFLAGS: which of these words are keys, if they were a command.
 *
 * The words need not make a command that could run, and Redis then reads some of them another way than the command itself: a
 * list of streams without an id for each ends in the middle; a number of keys that is none ("01", " 2") counts for what its first digits
 * say, with nothing known of how the keys are used; both are cut to 32 bits. So these answers are made here, and locks and rights are
 * none of their business (command_locked_positions).
 */
#include "base/memory.h"
#include "base/number.h"
#include "cmd/args.h"
#include "cmd/handlers.h"

#include <stdlib.h>

struct described {
    const struct command *row;
    const bytes *argv; /* of the described command */
    size_t argc;
    uint32_t *at;      /* where its keys stand; room for all words */
    size_t count;
    bool bare;         /* how they are used is not said */
};

static void add(struct described *d, size_t first, size_t count)
{
    for (size_t i = 0; i < count; i++)
        d->at[d->count++] = (uint32_t)(first + i);
}

/* What the first characters of a word say. */
static int32_t first_number(bytes word)
{
    char text[NUMBER_TEXT_MAX + 8];
    size_t size = word.size < sizeof(text) - 1 ? word.size : sizeof(text) - 1;
    if (size)
        memcpy(text, word.data, size);
    text[size] = 0;
    return (int32_t)strtol(text, NULL, 10);
}

static void find_counted(struct described *d)
{
    size_t at = (size_t)d->row->keys.counted, key = (size_t)d->row->keys.first;
    int64_t number = 0, most = (int64_t)(d->argc - at - 1), count = 0;
    if (number_parse_int(d->argv[at], &number) && number >= 0)
        count = (int32_t)number;
    if (count < 1 || count > most) {
        d->bare = true;
        count = first_number(d->argv[at]);
    }
    if (count < 1 || count > most)
        return;
    if (key && !d->bare)
        add(d, key, 1);
    add(d, at + 1, (size_t)count);
    if (key && d->bare)
        add(d, key, 1);
}

static void find_streams(struct described *d)
{
    size_t at = (size_t)d->row->keys.from;
    while (at < d->argc && !bytes_is_word(d->argv[at], d->row->keys.behind))
        at++;
    if (at < d->argc)
        add(d, at + 1, (d->argc - at - 1) / 2);
}

static size_t spec_count(const struct command *row)
{
    size_t count = 1;
    for (const char *at = row->key_use; at && (at = strchr(at, ';')) != NULL; at++)
        count++;
    return count;
}

static void find_keys(struct described *d)
{
    const struct key_range *range = &d->row->keys;
    if (range->counted)
        find_counted(d);
    else if (range->half)
        find_streams(d);
    else
        d->count = command_key_positions(d->row, d->argv, d->argc, d->at);
    if (range->first && range->last == -1 && d->count < spec_count(d->row)) /* PFMERGE without a source */
        d->count = 0;
}

/* False: the error was replied. */
static bool describe(struct call *c, struct described *d)
{
    d->argv = c->argv + 2;
    d->argc = c->argc - 2;
    d->row = command_find(d->argv[0]);
    if (d->row && command_subs(d->row))
        d->row = d->argc > 1 ? command_find_sub(d->row, d->argv[1]) : NULL;
    if (!d->row)
        reply_errorf(c->reply, "ERR Invalid command specified");
    else if (!command_has_keys(d->row))
        reply_errorf(c->reply, "ERR The command has no key arguments");
    else if (!command_arity_fits(d->row, d->argc))
        reply_errorf(c->reply, "ERR Invalid number of arguments specified for command");
    else {
        find_keys(d);
        if (d->count > 0 || d->row->flags & CMD_KEYS_OPTIONAL)
            return true;
        reply_errorf(c->reply, "ERR Invalid arguments specified for command");
    }
    return false;
}

static void reply_described(struct call *c, bool with_flags)
{
    struct described d = {.at = mem_alloc(c->argc * sizeof(*d.at))};
    bool known = describe(c, &d);
    if (known)
        reply_array(c->reply, d.count);
    for (size_t i = 0; known && i < d.count; i++) {
        if (with_flags)
            reply_array(c->reply, 2);
        reply_bulk(c->reply, d.argv[d.at[i]]);
        if (with_flags)
            reply_key_use(c->reply, d.bare ? BYTES("") : command_key_use(d.row, d.argv, d.argc, i));
    }
    mem_free(d.at);
}

void cmd_command_getkeys(struct call *c) { reply_described(c, false); }
void cmd_command_getkeysandflags(struct call *c) { reply_described(c, true); }
