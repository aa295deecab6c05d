/* acl_commands.c -- ACL and its subcommands; ACL LOG is in acl_log.c. */
#include "base/memory.h"
#include "cmd/acl.h"
#include "cmd/args.h"
#include "cmd/category.h"
#include "cmd/handlers.h"
#include "os/os.h"

#include <stdio.h>

#define PASSWORD_BITS_MAX 4096

static void reply_too_many(struct call *c)
{
    reply_errorf(c->reply, "ERR unknown subcommand or wrong number of arguments for '" WORD_FORMAT "'. Try ACL HELP.",
                 WORD_WHOLE(c->argv[1]));
}

void cmd_acl_whoami(struct call *c) { reply_text(c->reply, acl_session_name(c->session)); }

/* ---- changing users ---- */

static void set_user(struct call *c, struct arena *arena)
{
    bytes *rules = arena_alloc(arena, c->argc * sizeof(*rules)), bad;
    size_t count;
    enum acl_error error;
    if (!acl_join_selectors(arena, c->argv + 3, c->argc - 3, rules, &count, &bad))
        reply_errorf(c->reply, "ERR Unmatched parenthesis in acl selector starting at '" WORD_FORMAT "'.", WORD_WHOLE(bad));
    else if (!acl_set_user(c->argv[2], rules, count, &error, &bad))
        reply_errorf(c->reply, "ERR Error in ACL SETUSER modifier '" WORD_FORMAT "': %s", WORD_WHOLE(bad), acl_error_text(error));
    else
        reply_ok(c->reply);
}

void cmd_acl_setuser(struct call *c)
{
    struct arena arena;
    if (c->argv[2].size > ACL_NAME_MAX) {
        reply_errorf(c->reply, "ERR Usernames can't be longer than %d bytes", ACL_NAME_MAX);
        return;
    }
    if (!acl_name_fits(c->argv[2])) {
        reply_errorf(c->reply, "ERR Usernames can't contain spaces or null characters");
        return;
    }
    arena_init(&arena);
    set_user(c, &arena);
    arena_release(&arena);
}

void cmd_acl_deluser(struct call *c)
{
    int64_t deleted = 0;
    for (size_t i = 2; i < c->argc; i++) {
        if (bytes_equal(c->argv[i], BYTES("default"))) {
            reply_errorf(c->reply, "ERR The 'default' user cannot be removed");
            return;
        }
    }
    for (size_t i = 2; i < c->argc; i++) {
        bool own = c->session->user && bytes_equal(c->argv[i], c->session->user->name);
        if (!acl_delete_user(c->argv[i]))
            continue;
        deleted++;
        c->session->close_after_reply |= own;
    }
    reply_int(c->reply, deleted);
}

static bool has_file(struct call *c)
{
    if (acl_file_path()[0])
        return true;
    reply_errorf(c->reply, "ERR This Redis instance is not configured to use an ACL file. You may want to specify users via the "
                           "ACL SETUSER command and then issue a CONFIG REWRITE (assuming you have a Redis configuration file set) "
                           "in order to store users in the Redis configuration.");
    return false;
}

void cmd_acl_load(struct call *c)
{
    struct buf error;
    if (!has_file(c))
        return;
    buf_init(&error, SIZE_MAX);
    if (acl_file_load(&error)) {
        reply_ok(c->reply);
    } else {
        buf_append_u8(&error, 0);
        reply_errorf(c->reply, "ERR %s", (const char *)error.data);
    }
    buf_release(&error);
}

void cmd_acl_save(struct call *c)
{
    if (!has_file(c))
        return;
    if (acl_file_save() == 0)
        reply_ok(c->reply);
    else
        reply_errorf(c->reply, "ERR There was an error trying to save the ACLs. Please check the server logs for more information");
}

/* ---- telling about users ---- */

typedef void describe(const struct acl_selector *s, struct buf *out);

static void reply_described(struct reply *r, const char *field, describe *words, const struct acl_selector *s)
{
    struct buf text;
    buf_init(&text, SIZE_MAX);
    words(s, &text);
    reply_text(r, field);
    reply_bulk(r, buf_view(&text));
    buf_release(&text);
}

static void reply_selector(struct reply *r, const struct acl_selector *s)
{
    reply_described(r, "commands", acl_describe_commands, s);
    reply_described(r, "keys", acl_describe_keys, s);
    reply_described(r, "channels", acl_describe_channels, s);
}

static void reply_flags(struct reply *r, const struct acl_user *u)
{
    static const char *const payload[] = {NULL, "sanitize-payload", "skip-sanitize-payload"};
    reply_text(r, "flags");
    reply_set(r, 1 + u->nopass + (u->payload != ACL_PAYLOAD_DEFAULT));
    reply_text(r, u->on ? "on" : "off");
    if (u->nopass)
        reply_text(r, "nopass");
    if (payload[u->payload])
        reply_text(r, payload[u->payload]);
}

static void reply_user(struct reply *r, const struct acl_user *u)
{
    size_t selectors = 0;
    reply_map(r, 6);
    reply_flags(r, u);
    reply_text(r, "passwords");
    reply_array(r, u->passwords.count);
    for (size_t i = 0; i < u->passwords.count; i++)
        reply_bulk(r, u->passwords.items[i].text);
    reply_selector(r, &u->first);
    for (const struct acl_selector *s = u->first.next; s; s = s->next)
        selectors++;
    reply_text(r, "selectors");
    reply_array(r, selectors);
    for (const struct acl_selector *s = u->first.next; s; s = s->next) {
        reply_map(r, 3);
        reply_selector(r, s);
    }
}

void cmd_acl_getuser(struct call *c)
{
    const struct acl_user *u = acl_find(c->argv[2]);
    if (u)
        reply_user(c->reply, u);
    else
        reply_null(c->reply);
    acl_user_unref(u);
}

static void reply_all(struct call *c, bool whole)
{
    size_t count;
    const struct acl_user **all = acl_all(&count);
    reply_array(c->reply, count);
    for (size_t i = 0; i < count; i++) {
        struct buf line;
        buf_init(&line, SIZE_MAX);
        if (whole)
            buf_append_bytes(&line, BYTES("user "));
        buf_append_bytes(&line, all[i]->name);
        if (whole) {
            buf_append_u8(&line, ' ');
            acl_user_describe(all[i], &line);
        }
        reply_bulk(c->reply, buf_view(&line));
        buf_release(&line);
        acl_user_unref(all[i]);
    }
    mem_free(all);
}

void cmd_acl_list(struct call *c) { reply_all(c, true); }
void cmd_acl_users(struct call *c) { reply_all(c, false); }

/* ---- the rest ---- */

static size_t list_category(struct call *c, unsigned number, bool reply_names)
{
    size_t count = 0;
    for (struct command_walk w = {0}; command_next(&w);) {
        if (!(command_categories(w.row) >> number & 1))
            continue;
        count++;
        if (reply_names)
            reply_text(c->reply, w.row->full_name);
    }
    return count;
}

void cmd_acl_cat(struct call *c)
{
    if (c->argc > 3) {
        reply_too_many(c);
    } else if (c->argc == 3) {
        int number = category_find(c->argv[2]);
        if (number < 0) {
            reply_errorf(c->reply, "ERR Unknown category '" WORD_FORMAT "'", WORD(c->argv[2]));
            return;
        }
        reply_array(c->reply, list_category(c, (unsigned)number, false));
        list_category(c, (unsigned)number, true);
    } else {
        reply_array(c->reply, category_count());
        for (size_t i = 0; i < category_count(); i++)
            reply_text(c->reply, category_name(i));
    }
}

void cmd_acl_genpass(struct call *c)
{
    int64_t bits = 256;
    uint8_t random[PASSWORD_BITS_MAX / 8 + 1];
    char text[PASSWORD_BITS_MAX / 4 + 3];
    if (c->argc > 3) {
        reply_too_many(c);
        return;
    }
    if (c->argc == 3 && !arg_int(c, 2, &bits))
        return;
    if (bits <= 0 || bits > PASSWORD_BITS_MAX) {
        reply_errorf(c->reply, "ERR ACL GENPASS argument must be the number of bits for the output password, a positive number up to %d",
                     PASSWORD_BITS_MAX);
        return;
    }
    size_t digits = ((size_t)bits + 3) / 4;
    OS.random(random, (digits + 1) / 2);
    for (size_t i = 0; i < digits; i += 2)
        snprintf(text + i, 3, "%02x", random[i / 2]);
    reply_bulk(c->reply, bytes_of(text, digits));
}

/* The row of the words behind the user's name; NULL: the error was replied. */
static const struct command *find_tried(struct call *c)
{
    const struct command *row = command_find(c->argv[3]);
    if (row && row->subcommands && c->argc > 4)
        row = command_find_sub(row, c->argv[4]);
    if (!row)
        reply_errorf(c->reply, "ERR Command '" WORD_FORMAT "' not found", WORD_WHOLE(c->argv[3]));
    else if (!command_arity_fits(row, c->argc - 3))
        reply_errorf(c->reply, "ERR wrong number of arguments for '%s' command", row->full_name);
    else
        return row;
    return NULL;
}

static void reply_verdict(struct call *c, enum acl_verdict verdict, const struct command *row, bytes word)
{
    struct buf line;
    if (verdict == ACL_ALLOWED) {
        reply_ok(c->reply);
        return;
    }
    buf_init(&line, SIZE_MAX);
    if (verdict == ACL_DENIED_COMMAND) {
        buf_printf(&line, "This user has no permissions to run the '%s' command", row->full_name);
    } else {
        buf_append_bytes(&line, BYTES("This user has no permissions to access the '"));
        buf_append_bytes(&line, word);
        buf_printf(&line, "' %s", verdict == ACL_DENIED_KEY ? "key" : "channel");
    }
    reply_bulk(c->reply, buf_view(&line));
    buf_release(&line);
}

void cmd_acl_dryrun(struct call *c)
{
    const struct acl_user *u = acl_find(c->argv[2]);
    size_t at;
    if (!u) {
        reply_errorf(c->reply, "ERR User '" WORD_FORMAT "' not found", WORD_WHOLE(c->argv[2]));
        return;
    }
    const struct command *row = find_tried(c);
    if (row) {
        enum acl_verdict verdict = acl_user_check(u, row, c->argv + 3, c->argc - 3, &at);
        reply_verdict(c, verdict, row, c->argv[3 + at]);
    }
    acl_user_unref(u);
}
