/* client.c -- CLIENT: this connection, and the others through host.h. */
#include "cmd/client.h"

#include "base/memory.h"
#include "base/number.h"
#include "cmd/acl.h"
#include "cmd/args.h"
#include "cmd/handlers.h"
#include "engine/engine.h"
#include "os/os.h"

#define CLIENT_LIST_MAX (256u << 20)
#define ADDRESS_MAX     128

static void reply_syntax(struct call *c)
{
    reply_status(c->reply, HF_ERR_SYNTAX);
}

/* ---- names ---- */

/* Printable, no space: a name that CLIENT LIST can show unquoted. */
static bool is_plain(bytes text)
{
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] < '!' || text.data[i] > '~')
            return false;
    }
    return true;
}

static void set_text(char *out, bytes text)
{
    if (text.size)
        memcpy(out, text.data, text.size);
    out[text.size] = 0;
}

bool client_name_fits(struct call *c, bytes name)
{
    size_t size_max = sizeof(c->session->name) - 1;
    if (!is_plain(name))
        reply_errorf(c->reply, "ERR Client names cannot contain spaces, newlines or special characters.");
    else if (name.size > size_max)
        reply_errorf(c->reply, "ERR Client names cannot be longer than %zu bytes.", size_max);
    else
        return true;
    return false;
}

void client_set_name(struct session *s, bytes name)
{
    hf_assert(name.size < sizeof(s->name));
    set_text(s->name, name);
}

void cmd_client_setname(struct call *c)
{
    if (!client_name_fits(c, c->argv[2]))
        return;
    client_set_name(c->session, c->argv[2]);
    reply_ok(c->reply);
}

void cmd_client_getname(struct call *c)
{
    if (c->session->name[0])
        reply_text(c->reply, c->session->name);
    else
        reply_null(c->reply);
}

void cmd_client_setinfo(struct call *c)
{
    struct session *s = c->session;
    bool is_version = bytes_is_word(c->argv[2], "LIB-VER");
    size_t size_max = sizeof(s->lib_name) - 1;
    _Static_assert(sizeof(s->lib_name) == sizeof(s->lib_version), "one limit for both");
    if (!is_version && !bytes_is_word(c->argv[2], "LIB-NAME")) {
        reply_errorf(c->reply, "ERR Unrecognized option '" WORD_FORMAT "'", WORD_WHOLE(c->argv[2]));
    } else if (!is_plain(c->argv[3])) {
        reply_errorf(c->reply, "ERR " WORD_FORMAT " cannot contain spaces, newlines or special characters.",
                     WORD_WHOLE(c->argv[2]));
    } else if (c->argv[3].size > size_max) {
        reply_errorf(c->reply, "ERR " WORD_FORMAT " cannot be longer than %zu bytes.", WORD_WHOLE(c->argv[2]),
                     size_max);
    } else {
        set_text(is_version ? s->lib_version : s->lib_name, c->argv[3]);
        reply_ok(c->reply);
    }
}

/* ---- this connection ---- */

void cmd_client_id(struct call *c)
{
    reply_int(c->reply, (int64_t)c->session->id);
}

/* exec silences the replies; the handlers only set the mode. */
void cmd_client_reply(struct call *c)
{
    struct session *s = c->session;
    if (bytes_is_word(c->argv[2], "ON")) {
        s->reply_mode = REPLY_ON;
        reply_ok(c->reply);
    } else if (bytes_is_word(c->argv[2], "OFF")) {
        s->reply_mode = REPLY_OFF;
    } else if (bytes_is_word(c->argv[2], "SKIP")) {
        if (s->reply_mode != REPLY_OFF)
            s->reply_mode = REPLY_SKIP_NEXT;
    } else {
        reply_syntax(c);
        return;
    }
    if (s->in_multi && !bytes_is_word(c->argv[2], "ON")) /* EXEC has said how many replies there are */
        reply_ok(c->reply);
}

/* How long replies wait (R2); the log is the server's business. Stays until the next choice, also over RESET. */
void cmd_client_durability(struct call *c)
{
    static const char *const words[] = {[DURABILITY_NONE] = "none", [DURABILITY_INTERVAL] = "interval",
                                        [DURABILITY_COMMIT] = "commit"};
    if (c->argc == 2) {
        reply_text(c->reply, words[c->session->durability]);
        return;
    }
    int chosen = 0;
    while (chosen <= DURABILITY_COMMIT && !bytes_is_word(c->argv[2], words[chosen]))
        chosen++;
    if (c->argc > 3 || chosen > DURABILITY_COMMIT) {
        reply_syntax(c);
    } else if (chosen != DURABILITY_NONE && !engine_logged(txn_engine(c->txn))) {
        reply_errorf(c->reply, "ERR this server keeps everything in memory only: there is no log to wait for");
    } else {
        c->session->durability = chosen;
        reply_ok(c->reply);
    }
}

/* ADR 0007. */
void cmd_client_strict(struct call *c)
{
    bool on = c->argc == 3 && bytes_is_word(c->argv[2], "ON");
    if (c->argc == 2) {
        reply_text(c->reply, c->session->strict ? "on" : "off");
    } else if (c->argc > 3 || (!on && !bytes_is_word(c->argv[2], "OFF"))) {
        reply_syntax(c);
    } else {
        c->session->strict = on;
        reply_ok(c->reply);
    }
}

static void take_switch(struct call *c, bool *setting)
{
    bool on = bytes_is_word(c->argv[2], "ON");
    if (!on && !bytes_is_word(c->argv[2], "OFF")) {
        reply_syntax(c);
        return;
    }
    *setting = on;
    reply_ok(c->reply);
}

void cmd_client_no_evict(struct call *c)
{
    take_switch(c, &c->session->no_evict);
}

void cmd_client_no_touch(struct call *c)
{
    take_switch(c, &c->session->no_touch);
}

/* ---- all connections ---- */

void cmd_client_info(struct call *c)
{
    struct buf line;
    buf_init(&line, CLIENT_LIST_MAX);
    host->client_info(c->session, &line);
    c->reply->ops->verbatim(c->reply, "txt", buf_view(&line));
    buf_release(&line);
}

/* The number of struct kill_filter.type; 0: unknown, and replied so. */
static int take_client_type(struct call *c, bytes word)
{
    static const struct {
        const char *word;
        int type;
    } types[] = {{"normal", 1}, {"master", 2}, {"replica", 3}, {"slave", 3}, {"pubsub", 4}};
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        if (bytes_is_word(word, types[i].word))
            return types[i].type;
    }
    reply_errorf(c->reply, "ERR Unknown client type '" WORD_FORMAT "'", WORD_WHOLE(word));
    return 0;
}

static void reply_client_list(struct call *c, const uint64_t *ids, size_t id_count, int type)
{
    struct buf lines;
    buf_init(&lines, CLIENT_LIST_MAX);
    host->client_list(&lines, ids, id_count, type);
    c->reply->ops->verbatim(c->reply, "txt", buf_view(&lines));
    buf_release(&lines);
}

static void reply_clients_by_id(struct call *c)
{
    size_t count = c->argc - 3;
    uint64_t *ids = mem_alloc(count * sizeof(*ids));
    bool parsed = true;
    for (size_t i = 0; i < count && parsed; i++) {
        int64_t id = 0;
        parsed = number_parse_int(c->argv[i + 3], &id);
        ids[i] = (uint64_t)id; /* negative: nobody has it */
    }
    if (parsed)
        reply_client_list(c, ids, count, 0);
    else
        reply_errorf(c->reply, "ERR Invalid client ID");
    mem_free(ids);
}

void cmd_client_list(struct call *c)
{
    if (c->argc == 2) {
        reply_client_list(c, NULL, 0, 0);
    } else if (c->argc == 4 && bytes_is_word(c->argv[2], "TYPE")) {
        int type = take_client_type(c, c->argv[3]);
        if (type)
            reply_client_list(c, NULL, 0, type);
    } else if (c->argc > 3 && bytes_is_word(c->argv[2], "ID")) {
        reply_clients_by_id(c);
    } else {
        reply_syntax(c);
    }
}

struct kill_words {
    struct kill_filter filter;
    char address[ADDRESS_MAX], local_address[ADDRESS_MAX];
};

/* An address too long to be one fits nobody: an empty text says the same. */
static const char *take_address(char out[ADDRESS_MAX], bytes word)
{
    set_text(out, word.size < ADDRESS_MAX ? word : BYTES(""));
    return out;
}

static bool take_kill_number(struct call *c, bytes word, const char *what, uint64_t *value)
{
    int64_t number;
    if (!number_parse_int(word, &number) || number <= 0) {
        reply_errorf(c->reply, "ERR %s should be greater than 0", what);
        return false;
    }
    *value = (uint64_t)number;
    return true;
}

static bool take_kill_filter(struct call *c, bytes name, bytes value, struct kill_words *w)
{
    if (bytes_is_word(name, "ID"))
        return take_kill_number(c, value, "client-id", &w->filter.id);
    if (bytes_is_word(name, "MAXAGE"))
        return take_kill_number(c, value, "maxage", &w->filter.max_age_s);
    if (bytes_is_word(name, "TYPE"))
        return (w->filter.type = take_client_type(c, value)) != 0;
    if (bytes_is_word(name, "ADDR")) {
        w->filter.address = take_address(w->address, value);
        return true;
    }
    if (bytes_is_word(name, "LADDR")) {
        w->filter.local_address = take_address(w->local_address, value);
        return true;
    }
    if (bytes_is_word(name, "USER")) {
        const struct acl_user *u = acl_find(value);
        if (!u)
            reply_errorf(c->reply, "ERR No such user '" WORD_FORMAT "'", WORD_WHOLE(value));
        acl_user_unref(u);
        w->filter.user = value;
        w->filter.has_user = u != NULL;
        return u != NULL;
    }
    bool yes = bytes_is_word(value, "YES");
    if (!bytes_is_word(name, "SKIPME") || (!yes && !bytes_is_word(value, "NO"))) {
        reply_syntax(c);
        return false;
    }
    w->filter.skip_me = yes;
    return true;
}

/* Old form: one address, which may be one's own. New form: filters with values. */
void cmd_client_kill(struct call *c)
{
    struct kill_words w = {.filter = {.skip_me = c->argc > 3, .my_id = c->session->id}};
    if (c->argc == 3) {
        w.filter.address = take_address(w.address, c->argv[2]);
        if (w.address[0] && host->client_kill(&w.filter) > 0)
            reply_ok(c->reply);
        else
            reply_errorf(c->reply, "ERR No such client");
        return;
    }
    for (size_t i = 2; i < c->argc; i += 2) {
        if (i + 1 >= c->argc) {
            reply_syntax(c);
            return;
        }
        if (!take_kill_filter(c, c->argv[i], c->argv[i + 1], &w))
            return;
    }
    reply_int(c->reply, (int64_t)host->client_kill(&w.filter));
}

void cmd_client_unblock(struct call *c)
{
    int64_t id;
    bool error = c->argc == 4 && bytes_is_word(c->argv[3], "ERROR");
    if (c->argc == 4 && !error && !bytes_is_word(c->argv[3], "TIMEOUT"))
        reply_errorf(c->reply, "ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR");
    else if (c->argc > 4)
        reply_errorf(c->reply, "ERR unknown subcommand or wrong number of arguments for '" WORD_FORMAT "'. Try CLIENT HELP.",
                     WORD(c->argv[1]));
    else if (arg_int(c, 2, &id))
        reply_int(c->reply, host->client_unblock((uint64_t)id, error));
}

/* An end beyond the 63 bits of a clock is no pause at all, as in Redis. */
void cmd_client_pause(struct call *c)
{
    int64_t timeout_ms, end_ms;
    bool writes_only = c->argc > 3 && bytes_is_word(c->argv[3], "WRITE");
    if (c->argc > 4)
        reply_errorf(c->reply,
                     "ERR unknown subcommand or wrong number of arguments for '" WORD_FORMAT
                     "'. Try CLIENT HELP.",
                     WORD_WHOLE(c->argv[1]));
    else if (c->argc == 4 && !writes_only && !bytes_is_word(c->argv[3], "ALL"))
        reply_errorf(c->reply, "ERR CLIENT PAUSE mode must be WRITE or ALL");
    else if (!number_parse_int(c->argv[2], &timeout_ms))
        reply_errorf(c->reply, "ERR timeout is not an integer or out of range");
    else if (timeout_ms < 0)
        reply_errorf(c->reply, "ERR timeout is negative");
    else {
        if (!__builtin_add_overflow((int64_t)OS.wall_ms(), timeout_ms, &end_ms))
            host->client_pause(OS.monotonic_us() / 1000 + (uint64_t)timeout_ms, writes_only);
        reply_ok(c->reply);
    }
}

void cmd_client_unpause(struct call *c)
{
    host->client_pause(0, false);
    reply_ok(c->reply);
}
