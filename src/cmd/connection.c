/* connection.c -- commands about the connection itself; CLIENT is in client.c. */
#include "base/number.h"
#include "cmd/acl.h"
#include "cmd/args.h"
#include "cmd/client.h"
#include "cmd/cluster.h"
#include "cmd/handlers.h"

/* What clients that look for features are told. */
#define COMPATIBLE_VERSION "7.2.4"

void cmd_ping(struct call *c)
{
    if (c->argc > 2)
        arg_wrong_count(c);
    else if (session_listens(c->session) && c->reply->version == 2) {
        reply_array(c->reply, 2);
        reply_text(c->reply, "pong");
        reply_bulk(c->reply, c->argc == 2 ? c->argv[1] : BYTES(""));
    } else if (c->argc == 2)
        reply_bulk(c->reply, c->argv[1]);
    else
        reply_simple(c->reply, "PONG");
}

void cmd_echo(struct call *c)
{
    reply_bulk(c->reply, c->argv[1]);
}

void cmd_select(struct call *c)
{
    uint32_t db;
    if (!arg_db(c, 1, &db))
        return;
    if (db && cluster_on) {
        reply_errorf(c->reply, "ERR SELECT is not allowed in cluster mode");
        return;
    }
    c->session->db = db;
    reply_ok(c->reply);
}

void cmd_quit(struct call *c)
{
    c->session->close_after_reply = true;
    reply_ok(c->reply);
}

void cmd_reset(struct call *c)
{
    session_reset(c->session);
    reply_simple(c->reply, "RESET");
}

/* ---- AUTH and HELLO ---- */

/* Replies the error itself. */
static bool authenticate(struct call *c, bytes user, bytes password)
{
    if (acl_session_login(c->session, user, password, c->argv))
        return true;
    reply_error_line(c->reply, "WRONGPASS invalid username-password pair or user is disabled.");
    return false;
}

/* Any password would do for the default user: whoever gives one alone expects more. */
static bool default_needs_none(void)
{
    const struct acl_user *u = acl_find(BYTES("default"));
    bool none = u && u->nopass;
    acl_user_unref(u);
    return none;
}

void cmd_auth(struct call *c)
{
    if (c->argc > 3)
        reply_status(c->reply, HF_ERR_SYNTAX);
    else if (c->argc == 2 && default_needs_none())
        reply_errorf(c->reply,
                     "ERR AUTH <password> called without any password configured for the default user. "
                     "Are you sure your configuration is correct?");
    else if (authenticate(c, c->argc == 3 ? c->argv[1] : BYTES("default"), c->argv[c->argc - 1]))
        reply_ok(c->reply);
}

struct hello {
    int version;
    bool has_auth, has_name;
    bytes user, password, name;
};

static bool take_hello_version(struct call *c, struct hello *h)
{
    int64_t version;
    if (!number_parse_int(c->argv[1], &version)) {
        reply_errorf(c->reply, "ERR Protocol version is not an integer or out of range");
        return false;
    }
    if (version != 2 && version != 3) {
        reply_error_line(c->reply, "NOPROTO unsupported protocol version");
        return false;
    }
    h->version = (int)version;
    return true;
}

static bool take_hello_options(struct call *c, struct hello *h)
{
    for (size_t i = 2; i < c->argc; i++) {
        size_t more = c->argc - 1 - i;
        if (bytes_is_word(c->argv[i], "AUTH") && more >= 2) {
            h->has_auth = true;
            h->user = c->argv[++i];
            h->password = c->argv[++i];
        } else if (bytes_is_word(c->argv[i], "SETNAME") && more >= 1) {
            h->has_name = true;
            h->name = c->argv[++i];
            if (!client_name_fits(c, h->name))
                return false;
        } else {
            reply_errorf(c->reply, "ERR Syntax error in HELLO option '" WORD_FORMAT "'", WORD_WHOLE(c->argv[i]));
            return false;
        }
    }
    return true;
}

static void reply_hello(struct call *c)
{
    struct reply *r = c->reply;
    reply_map(r, 7);
    reply_text(r, "server");
    reply_text(r, "redis");
    reply_text(r, "version");
    reply_text(r, COMPATIBLE_VERSION);
    reply_text(r, "proto");
    reply_int(r, r->version);
    reply_text(r, "id");
    reply_int(r, (int64_t)c->session->id);
    reply_text(r, "mode");
    reply_text(r, cluster_on ? "cluster" : "standalone");
    reply_text(r, "role");
    reply_text(r, "master");
    reply_text(r, "modules");
    reply_array(r, 0);
}

void cmd_hello(struct call *c)
{
    struct hello h = {.version = c->reply->version};
    if (c->argc > 1 && (!take_hello_version(c, &h) || !take_hello_options(c, &h)))
        return;
    if (h.has_auth && !authenticate(c, h.user, h.password))
        return;
    if (!c->session->authenticated && !acl_is_open()) {
        reply_error_line(c->reply,
                         "NOAUTH HELLO must be called with the client already authenticated, otherwise the "
                         "HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client "
                         "and select the RESP protocol version at the same time");
        return;
    }
    if (h.has_name)
        client_set_name(c->session, h.name);
    c->reply->version = h.version;
    reply_hello(c);
}
