/* migrate.c -- MIGRATE: keys go to another server, which has them before they go here (docs/adr/0015).
 *
 * The first run makes the commands for the target, RESTORE for each key, under the locks of the keys, and waits for the
 * conversation (talk.h), without locks. Who wants to change one of the keys meanwhile waits, unless it is a script that did not name
 * them, or empties the database: so each key is watched. When the answers are there the command runs again and removes each
 * key that the target has taken and nobody has changed; those that were changed are sent again, to replace what was taken.
 *
 *   parse, dump, watch -> talk -> remove what was taken -> reply
 *                          ^        | some were changed, at most ROUNDS_MAX times
 *                          +--------+
 */
#include "cmd/args.h"
#include "cmd/cluster.h"
#include "cmd/dump.h"
#include "cmd/exec_private.h"
#include "cmd/handlers.h"
#include "cmd/slowlog.h"
#include "cmd/talk.h"

#include "base/memory.h"
#include "base/number.h"
#include "engine/events.h"
#include "engine/keys.h"

#include <stdio.h>

#define ROUNDS_MAX 8
#define TIMEOUT_DEFAULT_MS 1000
#define TIMEOUT_MAX_MS INT64_C(1000000000000)
#define KEY_WORD 3u
#define OPTIONS_FROM 6u

struct options {
    bool copy, replace;
    bytes user, password; /* data NULL: none */
    bool has_keys;
    size_t keys_from;
    int64_t timeout_ms, database;
};

enum fate { NOT_SENT, SENT, TAKEN, DONE };

struct moving { /* a key of the command */
    enum fate fate;
    struct watch *watch;
};

struct migration {
    struct talk talk; /* the first member */
    unsigned worker;  /* of its session */
    bool copy, retried;
    bool unwelcome;   /* AUTH or SELECT was refused: whatever it says of a key, it does not have it */
    int rounds;
    size_t greetings; /* answers before those to RESTORE */
    size_t *sent;     /* the key of each RESTORE */
    size_t sent_count, key_count;
    char *refusal;    /* the first one; NULL: none */
    char *host;
    struct moving keys[];
};

/* ---- words ---- */

const char *migrate_key_use(const bytes *argv, size_t argc)
{
    (void)argv, (void)argc;
    return "RW access delete";
}

/* The words that AUTH and AUTH2 take are no options. */
bool migrate_is_secret(const bytes *argv, size_t argc, size_t i)
{
    for (size_t at = OPTIONS_FROM; at < argc && at <= i && !bytes_is_word(argv[at], "KEYS"); at++) {
        size_t values = bytes_is_word(argv[at], "AUTH") ? 1 : bytes_is_word(argv[at], "AUTH2") ? 2 : 0;
        if (i > at && i <= at + values)
            return true;
        at += values;
    }
    return false;
}

static bool refuse_syntax(struct call *c)
{
    reply_status(c->reply, HF_ERR_SYNTAX);
    return false;
}

static bool parse_words(struct call *c, struct options *o)
{
    const bytes *argv = c->argv;
    for (size_t i = OPTIONS_FROM; i < c->argc && !o->has_keys; i++) {
        size_t more = c->argc - i - 1;
        if (bytes_is_word(argv[i], "COPY")) {
            o->copy = true;
        } else if (bytes_is_word(argv[i], "REPLACE")) {
            o->replace = true;
        } else if (bytes_is_word(argv[i], "AUTH") && more >= 1) {
            o->password = argv[++i];
        } else if (bytes_is_word(argv[i], "AUTH2") && more >= 2) {
            o->user = argv[++i];
            o->password = argv[++i];
        } else if (bytes_is_word(argv[i], "KEYS") && argv[KEY_WORD].size) {
            reply_errorf(c->reply, "ERR When using MIGRATE KEYS option, the key argument must be set to the empty string");
            return false;
        } else if (bytes_is_word(argv[i], "KEYS")) {
            o->has_keys = true;
            o->keys_from = i + 1;
        } else {
            return refuse_syntax(c);
        }
    }
    return true;
}

static bool parse(struct call *c, struct options *o)
{
    if (!parse_words(c, o) || !arg_int(c, 5, &o->timeout_ms) || !arg_int(c, 4, &o->database))
        return false;
    if (o->timeout_ms <= 0)
        o->timeout_ms = TIMEOUT_DEFAULT_MS;
    if (o->timeout_ms > TIMEOUT_MAX_MS)
        o->timeout_ms = TIMEOUT_MAX_MS;
    return true;
}

/* What is no port is one where nobody listens. */
static unsigned port_of(bytes word)
{
    int64_t port;
    return number_parse_int(word, &port) && port >= 0 && port <= 65535 ? (unsigned)port : 0;
}

/* ---- life ---- */

static void forget_watches(struct migration *m)
{
    for (size_t i = 0; i < m->key_count; i++) {
        if (m->keys[i].watch) {
            m->keys[i].watch->sibling = NULL;
            watches_leave(m->keys[i].watch, m->worker);
        }
        m->keys[i].watch = NULL;
    }
}

static void migration_free(struct talk *t)
{
    struct migration *m = (struct migration *)t;
    forget_watches(m);
    talk_release(t);
    mem_free(m->sent);
    mem_free(m->refusal);
    mem_free(m->host);
    mem_free(m);
}

static char *text_of(bytes word)
{
    char *text = mem_alloc(word.size + 1);
    if (word.size)
        memcpy(text, word.data, word.size);
    text[word.size] = 0;
    return text;
}

/* A line that is neither a status nor an error does not come from such a server: nothing is believed to be there. */
static bool take_answer(struct talk *t, size_t index, bytes line)
{
    struct migration *m = (struct migration *)t;
    uint8_t kind = line.size ? line.data[0] : 0;
    bool greeting = index < m->greetings;
    if (kind != '-' && kind != '+')
        return false;
    if (kind == '-' && !m->refusal)
        m->refusal = text_of(bytes_of(line.data + 1, line.size - 1));
    if (greeting && kind == '-')
        m->unwelcome = true;
    if (!greeting && kind == '+' && !m->unwelcome)
        m->keys[m->sent[index - m->greetings]].fate = TAKEN;
    return true;
}

static struct migration *migration_new(struct call *c, const struct options *o)
{
    struct migration *m = mem_zalloc(sizeof(*m) + c->key_count * sizeof(m->keys[0]));
    talk_init(&m->talk);
    m->host = text_of(c->argv[1]);
    m->talk.host = m->host;
    m->talk.port = port_of(c->argv[2]);
    m->talk.timeout_us = (uint64_t)o->timeout_ms * 1000;
    m->talk.answer = take_answer;
    m->talk.release = migration_free;
    m->worker = c->session->worker;
    m->copy = o->copy;
    m->key_count = c->key_count;
    m->sent = mem_alloc((c->key_count + 1) * sizeof(*m->sent));
    c->session->talk = &m->talk;
    return m;
}

/* ---- what is sent ---- */

static void put_head(struct buf *out, char kind, size_t number)
{
    buf_append_u8(out, (uint8_t)kind);
    buf_append_uint(out, number);
    buf_append(out, "\r\n", 2);
}

static void put_word(struct buf *out, bytes word)
{
    put_head(out, '$', word.size);
    buf_append_bytes(out, word);
    buf_append(out, "\r\n", 2);
}

static void put_number(struct buf *out, uint64_t number)
{
    char text[24];
    put_word(out, bytes_of(text, (size_t)snprintf(text, sizeof(text), "%llu", (unsigned long long)number)));
}

static void put_greetings(struct migration *m, const struct options *o)
{
    struct buf *out = &m->talk.out;
    char database[24];
    if (o->password.data) {
        put_head(out, '*', o->user.data ? 3 : 2);
        put_word(out, BYTES("AUTH"));
        if (o->user.data)
            put_word(out, o->user);
        put_word(out, o->password);
        m->greetings++;
    }
    put_head(out, '*', 2);
    put_word(out, BYTES("SELECT"));
    put_word(out, bytes_of(database, (size_t)snprintf(database, sizeof(database), "%lld", (long long)o->database)));
    m->greetings++;
    m->talk.expected = m->greetings;
}

/* Milliseconds, at least one; 0: it lives for ever. */
static uint64_t time_to_live(struct call *c, uint64_t deadline_ms)
{
    uint64_t now_ms = txn_now_ms(c->txn);
    return !deadline_ms ? 0 : deadline_ms > now_ms ? deadline_ms - now_ms : 1;
}

static void watch(struct call *c, struct moving *one, const struct key *k)
{
    one->watch = watch_add_locked(c->exec->engine, k, mem_zalloc(sizeof(struct watcher)));
}

/* Adds the command for key number i, which is there. False: refused, with a reply. */
static bool put_key(struct call *c, struct migration *m, size_t i, uint64_t deadline_ms, bool replace)
{
    struct buf *out = &m->talk.out, payload;
    const struct key *k = call_key(c, i);
    buf_init(&payload, SIZE_MAX);
    bool ok = dump_key(c, k, NULL, &payload);
    if (ok) {
        put_head(out, '*', replace ? 5 : 4);
        put_word(out, cluster_on ? BYTES("RESTORE-ASKING") : BYTES("RESTORE"));
        put_word(out, k->name);
        put_number(out, time_to_live(c, deadline_ms));
        put_word(out, buf_view(&payload));
        if (replace)
            put_word(out, BYTES("REPLACE"));
        m->sent[m->sent_count++] = i;
        m->talk.expected++;
        m->keys[i].fate = SENT;
        if (!m->copy)
            watch(c, &m->keys[i], k);
    }
    buf_release(&payload);
    return ok;
}

static bool is_there(struct call *c, size_t i, uint64_t *deadline_ms)
{
    struct key_info info;
    key_info(c->txn, call_key(c, i), &info);
    *deadline_ms = info.deadline_ms;
    return info.found;
}

static size_t count_there(struct call *c)
{
    size_t count = 0;
    for (size_t i = 0; i < c->key_count; i++)
        count += key_exists(c->txn, call_key(c, i));
    for (size_t i = 0; i < c->key_count; i++) {
        if (!key_exists(c->txn, call_key(c, i)))
            key_looked_up(c->txn, call_key(c, i), false); /* the others are counted as they are dumped */
    }
    return count;
}

static void wait_for_answers(struct call *c, const struct migration *m)
{
    if (m->copy)
        c->key_count = 0; /* nothing is held */
    talk_wait(c);
}

/* ---- the first run ---- */

static void begin(struct call *c)
{
    struct options o = {0};
    if (!parse(c, &o))
        return;
    if ((o.has_keys && o.keys_from == c->argc) || !count_there(c)) {
        reply_simple(c->reply, "NOKEY");
        return;
    }
    if (!c->may_wait) {
        reply_errorf(c->reply, "ERR MIGRATE waits for its target, which is not possible inside a transaction or script");
        return;
    }
    struct migration *m = migration_new(c, &o);
    put_greetings(m, &o);
    for (size_t i = 0; i < c->key_count; i++) {
        uint64_t deadline_ms;
        if (is_there(c, i, &deadline_ms) && !put_key(c, m, i, deadline_ms, o.replace)) {
            talk_drop(c->session);
            return;
        }
    }
    wait_for_answers(c, m);
}

/* ---- when the answers are there ---- */

/* Ends the watch, whose stripe is locked. True: the key has been changed since it was sent. */
static bool was_changed(struct moving *one)
{
    struct watcher *watcher = one->watch->watcher;
    bool dirty = atomic_load(&watcher->dirty);
    watch_remove_locked(one->watch);
    mem_free(watcher);
    one->watch = NULL;
    return dirty;
}

static void remove_key(struct call *c, size_t i)
{
    if (key_remove(c->txn, call_key(c, i)))
        txn_event(c->txn, call_key(c, i), EVENT_GENERIC, "del");
}

/* Removes what the target has and nobody has changed; returns how many have to be sent again: they stay TAKEN. */
static size_t settle(struct call *c, struct migration *m)
{
    size_t changed = 0;
    uint64_t deadline_ms;
    for (size_t i = 0; i < m->key_count; i++) {
        struct moving *one = &m->keys[i];
        bool dirty = one->watch && was_changed(one);
        if (one->fate != TAKEN || m->copy)
            continue;
        if (dirty && is_there(c, i, &deadline_ms)) {
            changed++;
            continue;
        }
        if (!dirty)
            remove_key(c, i);
        one->fate = DONE;
    }
    return changed;
}

/* One more round for those that were changed. False: refused, with a reply. */
static bool send_again(struct call *c, struct migration *m)
{
    uint64_t deadline_ms;
    talk_go_on(&m->talk);
    m->greetings = m->sent_count = 0;
    m->rounds++;
    for (size_t i = 0; i < m->key_count; i++) {
        if (m->keys[i].fate == TAKEN && is_there(c, i, &deadline_ms) && !put_key(c, m, i, deadline_ms, true))
            return false;
    }
    return true;
}

static void reply_failure(struct call *c, const struct talk *t)
{
    if (t->fault == TALK_CONNECTING)
        reply_errorf(c->reply, "IOERR error or timeout connecting to the client");
    else
        reply_errorf(c->reply, "IOERR error or timeout %s to target instance", t->fault == TALK_WRITING ? "writing" : "reading");
}

static bool may_retry(const struct migration *m)
{
    const struct talk *t = &m->talk;
    return t->state == TALK_FAILED && t->fault != TALK_CONNECTING && !t->late && !m->retried && !m->rounds && t->answered <= m->greetings;
}

static void finish(struct call *c)
{
    struct migration *m = (struct migration *)c->session->talk;
    if (!talk_is_over(&m->talk)) {
        wait_for_answers(c, m);
        return;
    }
    if (may_retry(m) && !m->refusal) {
        m->retried = true;
        talk_again(&m->talk);
        wait_for_answers(c, m);
        return;
    }
    size_t changed = settle(c, m);
    bool again = changed && !m->refusal && m->talk.state == TALK_DONE && m->rounds < ROUNDS_MAX;
    if (again && send_again(c, m)) {
        wait_for_answers(c, m);
        return;
    }
    if (m->refusal)
        reply_errorf(c->reply, "ERR Target instance replied with error: %s", m->refusal);
    else if (m->talk.state == TALK_FAILED)
        reply_failure(c, &m->talk);
    else if (changed && !again)
        reply_errorf(c->reply, "IOERR keys were changed while they moved; they are here, and the target has older ones");
    else if (!again)
        reply_ok(c->reply);
    talk_drop(c->session);
}

void cmd_migrate(struct call *c)
{
    if (call_is_over(c) && c->session->talk) {
        finish(c);
        return;
    }
    talk_drop(c->session);
    begin(c);
}
