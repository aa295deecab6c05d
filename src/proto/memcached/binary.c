/* binary.c -- handlers of the binary protocol. Every answer carries the item's version, which is made for that. */
#include "proto/memcached/binary.h"

#include "base/number.h"
#include "cmd/acl.h"
#include "engine/keys.h"
#include "proto/memcached/handlers.h"
#include "proto/memcached/prefix.h"
#include "proto/memcached/stats.h"
#include "proto/memcached/storage.h"

#define NEVER_CREATE 0xffffffffu
#define MECHANISM_MAX 32 /* bytes of its name */

void binary_answer(const struct memcached *m, struct buf *out, enum binary_status code, bytes extras, bytes key, bytes value, uint64_t cas)
{
    uint8_t head[BINARY_HEADER] = {BINARY_RESPONSE, m->now.head[1]};
    binary_put_number(head + 2, key.size, 2);
    head[4] = (uint8_t)extras.size;
    binary_put_number(head + 6, code, 2);
    binary_put_number(head + 8, extras.size + key.size + value.size, 4);
    memcpy(head + 12, m->now.head + 12, 4);
    binary_put_number(head + 16, cas, 8);
    buf_append(out, head, sizeof(head));
    buf_append_bytes(out, extras);
    buf_append_bytes(out, key);
    buf_append_bytes(out, value);
}

static const char *text_of(enum binary_status code)
{
    switch (code) {
    case BINARY_NOT_FOUND: return "Not found";
    case BINARY_EXISTS: return "Data exists for key.";
    case BINARY_TOO_LARGE: return "Too large.";
    case BINARY_INVALID: return "Invalid arguments";
    case BINARY_NOT_STORED: return "Not stored.";
    case BINARY_NOT_NUMBER: return "Non-numeric server-side value for incr or decr";
    case BINARY_AUTH_ERROR: return "Auth failure.";
    case BINARY_UNKNOWN: return "Unknown command";
    case BINARY_NO_MEMORY: return "Out of memory";
    default: return "";
    }
}

void binary_error(const struct memcached *m, struct buf *out, enum binary_status code, bytes text)
{
    bool own = text.size == 0 || code == BINARY_NO_MEMORY || code == BINARY_AUTH_ERROR;
    binary_answer(m, out, code, (bytes){0}, (bytes){0}, own ? bytes_str(text_of(code)) : text, 0);
    if (code == BINARY_AUTH_ERROR && !m->session->authenticated)
        m->session->close_after_reply = true;
}

static enum binary_opcode opcode_of(const struct call *c) { return binary_loud(memcached_of(c)->now.head[1]); }
static uint64_t cas_of(const struct call *c) { return binary_number(memcached_of(c)->now.head + 16, 8); }
static bytes extras_of(const struct call *c) { return c->argv[2]; }

static void fail(struct call *c, enum binary_status code)
{
    binary_error(memcached_of(c), c->reply->out, code, (bytes){0});
}

/* What a quiet command leaves out. */
static void succeed(struct call *c, bytes value, uint64_t cas)
{
    if (!memcached_of(c)->now.quiet)
        binary_answer(memcached_of(c), c->reply->out, BINARY_OK, (bytes){0}, (bytes){0}, value, cas);
}

/* ---- get, touch ---- */

static void miss(struct call *c, bool with_key)
{
    if (memcached_of(c)->now.quiet)
        return;
    if (with_key)
        binary_answer(memcached_of(c), c->reply->out, BINARY_NOT_FOUND, (bytes){0}, call_key(c, 0)->name, (bytes){0}, 0);
    else
        fail(c, BINARY_NOT_FOUND);
}

static status find_with_version(struct call *c, const struct key *k, struct item *item)
{
    status s = memcached_find(c, k, item);
    if (s != HF_OK || !item->found || item->version)
        return s;
    s = item_version(c->txn, k, &item->version);
    return s == HF_OK ? item_get(c->txn, k, item) : s;
}

void binary_get(struct call *c)
{
    const struct key *k = call_key(c, 0);
    enum binary_opcode opcode = opcode_of(c);
    bool touches = extras_of(c).size > 0, with_key = opcode == OP_GETK || opcode == OP_GATK;
    struct memcached_counts *counts = memcached_counts(c);
    struct item item = {0};
    uint8_t flags[4];
    if (memcached_refused(c, find_with_version(c, k, &item)))
        return;
    item_count_lookup(c->txn, item.found);
    prefix_count(k->name, item.found ? PREFIX_HIT : PREFIX_MISS);
    memcached_count(touches ? &counts->cmd_touch : &counts->cmd_get);
    memcached_count(touches ? item.found ? &counts->touch_hits : &counts->touch_misses : item.found ? &counts->get_hits : &counts->get_misses);
    if (!item.found) {
        miss(c, with_key);
        return;
    }
    item_access(c->txn, k);
    if (!buf_try_reserve(c->reply->out, BINARY_HEADER + sizeof(flags) + k->name.size + item.value.size)) {
        fail(c, BINARY_NO_MEMORY);
        return;
    }
    binary_put_number(flags, item.flags, 4);
    binary_answer(memcached_of(c), c->reply->out, BINARY_OK, bytes_of(flags, 4), with_key ? k->name : (bytes){0},
                  opcode == OP_TOUCH ? (bytes){0} : item.value, item.version);
    if (touches)
        memcached_set_deadline(c, k, memcached_deadline(txn_now_ms(c->txn), (int64_t)binary_number(extras_of(c).data, 4)));
}

/* ---- stores ---- */

static enum store_mode mode_of(enum binary_opcode opcode, uint64_t cas)
{
    switch (opcode) {
    case OP_APPEND: return STORE_APPEND;
    case OP_PREPEND: return STORE_PREPEND;
    case OP_ADD: return cas ? STORE_CAS : STORE_ADD;
    case OP_REPLACE: return cas ? STORE_CAS : STORE_REPLACE;
    default: return cas ? STORE_CAS : STORE_SET;
    }
}

static enum binary_status code_of(enum store_mode mode, enum store_result result)
{
    if (result == EXISTS || (result == NOT_STORED && mode == STORE_ADD))
        return BINARY_EXISTS;
    if (result == MISSING || (result == NOT_STORED && mode == STORE_REPLACE))
        return BINARY_NOT_FOUND;
    return BINARY_NOT_STORED;
}

void binary_store(struct call *c)
{
    struct storing s = {.mode = mode_of(opcode_of(c), cas_of(c)), .value = c->argv[3], .cas = cas_of(c),
                      .wants_version = !memcached_of(c)->now.quiet};
    enum store_result result;
    uint64_t version;
    if (extras_of(c).size) {
        s.flags = (uint32_t)binary_number(extras_of(c).data, 4);
        s.exptime = (int64_t)binary_number(extras_of(c).data + 4, 4);
    }
    prefix_count(call_key(c, 0)->name, PREFIX_SET);
    if (memcached_refused(c, memcached_store(c, &s, &result, &version)))
        return;
    if (result == STORED)
        succeed(c, (bytes){0}, version);
    else
        fail(c, code_of(s.mode, result));
}

void binary_oversize(struct call *c)
{
    prefix_count(call_key(c, 0)->name, PREFIX_SET);
    if (!memcached_refused(c, memcached_refuse_large(c, opcode_of(c) == OP_SET ? "set" : "null")))
        fail(c, BINARY_TOO_LARGE);
}

void binary_delta(struct call *c)
{
    const uint8_t *extras = extras_of(c).data;
    struct delta d = {.down = opcode_of(c) == OP_DECREMENT, .amount = binary_number(extras, 8), .cas = cas_of(c), .wants_version = true};
    uint64_t initial = binary_number(extras + 8, 8), exptime = binary_number(extras + 16, 4), value = 0, version = 0;
    d.begins = exptime != NEVER_CREATE;
    enum delta_result result;
    uint8_t sum[8];
    if (memcached_refused(c, memcached_delta(c, &d, &result, &value, &version)))
        return;
    if (result == DELTA_MISSING && d.begins) {
        struct item_fields fields = {.deadline_ms = memcached_deadline(txn_now_ms(c->txn), (int64_t)exptime), .versioned = true};
        value = initial;
        if (memcached_refused(c, memcached_begin_number(c, value, &fields, &version)))
            return;
        result = DELTA_OK;
    }
    binary_put_number(sum, value, 8);
    if (result == DELTA_OK)
        succeed(c, bytes_of(sum, 8), version);
    else
        fail(c, result == DELTA_MISSING ? BINARY_NOT_FOUND : result == DELTA_EXISTS ? BINARY_EXISTS : BINARY_NOT_NUMBER);
}

void binary_delete(struct call *c)
{
    struct item item = {0};
    struct memcached_counts *counts = memcached_counts(c);
    prefix_count(call_key(c, 0)->name, PREFIX_DELETE);
    if (memcached_refused(c, memcached_find(c, call_key(c, 0), &item)))
        return;
    memcached_count(item.found ? &counts->delete_hits : &counts->delete_misses);
    if (!item.found || (cas_of(c) && cas_of(c) != item.version)) {
        fail(c, item.found ? BINARY_EXISTS : BINARY_NOT_FOUND);
        return;
    }
    memcached_remove(c, call_key(c, 0));
    succeed(c, (bytes){0}, 0);
}

/* ---- the whole, and the connection ---- */

void binary_flush(struct call *c)
{
    int64_t delay = extras_of(c).size ? (int64_t)binary_number(extras_of(c).data, 4) : 0;
    if (!memcached_refused(c, memcached_flush(c, delay)))
        succeed(c, (bytes){0}, 0);
}

static void put_stat(struct call *c, bytes name, bytes value)
{
    binary_answer(memcached_of(c), c->reply->out, BINARY_OK, (bytes){0}, name, value, 0);
}

void binary_stat(struct call *c)
{
    if (stats_write(c, c->argv[1], put_stat))
        put_stat(c, (bytes){0}, (bytes){0});
    else
        fail(c, BINARY_NOT_FOUND);
}

void binary_noop(struct call *c) { succeed(c, (bytes){0}, 0); }
void binary_version(struct call *c) { succeed(c, BYTES(MEMCACHED_VERSION), 0); }

void binary_quit(struct call *c)
{
    succeed(c, (bytes){0}, 0);
    c->session->close_after_reply = true;
}

void binary_mechanisms(struct call *c) { succeed(c, BYTES("PLAIN"), 0); }

/* PLAIN: who to be (ignored), who it is, password, each behind a NUL. */
static bool log_in(struct call *c, bytes data)
{
    const uint8_t *end = data.data + data.size;
    const uint8_t *first = memchr(data.data, 0, data.size);
    const uint8_t *second = first ? memchr(first + 1, 0, (size_t)(end - first - 1)) : NULL;
    return second && acl_session_login(c->session, bytes_of(first + 1, (size_t)(second - first - 1)),
                                       bytes_of(second + 1, (size_t)(end - second - 1)), c->argv);
}

/* A start without data is asked for it, and a step brings it, again when it was wrong. Whoever begins a login is nobody until it
 * has succeeded, as in memcached. */
void binary_auth(struct call *c)
{
    struct memcached *m = memcached_of(c);
    struct memcached_counts *counts = memcached_counts(c);
    bytes mechanism = c->argv[1], data = c->argv[3];
    bool starts = opcode_of(c) == OP_SASL_AUTH, plain = starts && bytes_is_word(mechanism, "plain"), goes_on = !starts && m->login_begun;
    if (mechanism.size > MECHANISM_MAX) {
        fail(c, BINARY_INVALID);
        return;
    }
    acl_session_init(c->session);
    m->login_begun = goes_on || (plain && data.size == 0);
    if (m->login_begun && starts) {
        binary_answer(m, c->reply->out, BINARY_AUTH_CONTINUE, (bytes){0}, (bytes){0}, (bytes){0}, 0);
        return;
    }
    memcached_count(&counts->auth_cmds);
    if ((plain || goes_on) && log_in(c, data)) {
        m->login_begun = false;
        succeed(c, BYTES("Authenticated"), 0);
        return;
    }
    memcached_count(&counts->auth_errors);
    binary_answer(m, c->reply->out, BINARY_AUTH_ERROR, (bytes){0}, (bytes){0}, BYTES("Auth failure."), 0);
}

/* Also to a login that is too long. */
void binary_say(struct call *c)
{
    if (c->argv[1].data[0] == BINARY_AUTH_ERROR)
        acl_session_init(c->session);
    binary_answer(memcached_of(c), c->reply->out, (enum binary_status)c->argv[1].data[0], (bytes){0}, (bytes){0},
                  bytes_str(text_of((enum binary_status)c->argv[1].data[0])), 0);
    if (c->argc > 2)
        c->session->close_after_reply = true;
}
