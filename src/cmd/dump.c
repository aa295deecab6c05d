/* dump.c -- DUMP and RESTORE: a value as a payload that Redis reads, and back (src/rdb). */
#include "cmd/dump.h"

#include "base/number.h"
#include "cmd/args.h"
#include "cmd/handlers.h"
#include "cmd/large_value.h"
#include "engine/events.h"
#include "engine/keys.h"
#include "engine/objects.h"
#include "engine/strings.h"
#include "rdb/rdb.h"
#include "types/type.h"

bool dump_key(struct call *c, const struct key *k, struct patience *p, struct buf *out)
{
    struct key_info info;
    struct text text;
    const void *object;
    key_info(c->txn, k, &info);
    if (info.found && info.type != TYPE_STRING) {
        if (arg_refused(c, object_view(c->txn, k, (enum type)info.type, &object)))
            return false;
        rdb_dump_object(out, (enum type)info.type, object, p);
        return !p || !p->is_over;
    }
    if (arg_refused(c, string_look(c->txn, k, &text))) /* an absent one counts as a miss */
        return false;
    if (text.found && text.view.data)
        rdb_dump_string(out, text.view);
    else if (text.found)
        rdb_dump_rope(out, text.rope, p);
    return !p || !p->is_over;
}

static bool goes_on(void *call, size_t work) { return call_goes_on(call, work); }

#define DROP_PIECE ((size_t)4 << 20)

/* Pages go back to the system piece by piece, too. */
static void release_slowly(struct call *c, struct buf *b)
{
    while (b->size > DROP_PIECE && buf_drop(b, DROP_PIECE) == DROP_PIECE && call_goes_on(c, CALL_WORK_MAX))
        ;
    buf_release(b);
}

void cmd_dump(struct call *c)
{
    struct buf payload;
    struct patience p = {.goes_on = goes_on, .context = c};
    buf_init(&payload, SIZE_MAX);
    if (dump_key(c, call_key(c, 0), &p, &payload)) {
        if (payload.size)
            reply_rope(c->reply, &(struct rope_part){.bytes = payload.data, .size = payload.size, .goes_on = call_piece_goes_on, .context = c});
        else
            reply_null(c->reply);
    }
    release_slowly(c, &payload);
}

/* ---- RESTORE ---- */

struct restore {
    bool replace, absolute;
    int64_t ttl, idle, frequency; /* idle, frequency: -1 when not said */
};

static bool parse_access(struct call *c, size_t i, int64_t max, const char *error, int64_t *value)
{
    if (!arg_int(c, i, value))
        return false;
    if (*value >= 0 && *value <= max)
        return true;
    reply_errorf(c->reply, "%s", error);
    return false;
}

static bool parse_options(struct call *c, struct restore *o)
{
    for (size_t i = 4; i < c->argc; i++) {
        bool more = i + 1 < c->argc;
        if (bytes_is_word(c->argv[i], "REPLACE")) {
            o->replace = true;
        } else if (bytes_is_word(c->argv[i], "ABSTTL")) {
            o->absolute = true;
        } else if (bytes_is_word(c->argv[i], "IDLETIME") && more && o->frequency < 0) {
            if (!parse_access(c, ++i, INT64_MAX, "ERR Invalid IDLETIME value, must be >= 0", &o->idle))
                return false;
        } else if (bytes_is_word(c->argv[i], "FREQ") && more && o->idle < 0) {
            if (!parse_access(c, ++i, 255, "ERR Invalid FREQ value, must be >= 0 and <= 255", &o->frequency))
                return false;
        } else {
            reply_status(c->reply, HF_ERR_SYNTAX);
            return false;
        }
    }
    return true;
}

/* Unix ms, 0: none; false: beyond what a deadline can be. */
static bool deadline_of(struct call *c, const struct restore *o, uint64_t *deadline)
{
    int64_t at = o->ttl;
    if (at && !o->absolute && __builtin_add_overflow(at, (int64_t)txn_now_ms(c->txn), &at)) {
        reply_errorf(c->reply, "ERR Invalid TTL value, must be >= 0");
        return false;
    }
    *deadline = (uint64_t)at;
    return true;
}

/* False: refused and replied, or it ends here (call_goes_on). */
static bool store_value(struct call *c, struct rdb_value *value, uint64_t deadline)
{
    struct set_options options = {.deadline_ms = deadline};
    struct set_result result;
    if (value->type == TYPE_STRING)
        return value_set(c, 0, value->text, &options, &result);
    void *object = value->object;
    value->object = NULL; /* taken */
    status s = object_store(c->txn, call_key(c, 0), value->type, object, NULL);
    if (s == HF_OK && deadline)
        key_set_deadline(c->txn, call_key(c, 0), deadline, 0);
    return !arg_refused(c, s);
}

static void free_value(struct rdb_value *value)
{
    if (value->object)
        type_ops_of((int)value->type)->free(value->object);
    buf_release(&value->room);
}

/* A value whose time has passed: as if it had come and gone. */
static void restore_expired(struct call *c)
{
    if (key_remove(c->txn, call_key(c, 0)))
        txn_event(c->txn, call_key(c, 0), EVENT_GENERIC, "del");
    reply_ok(c->reply);
}

static void restore_value(struct call *c, const struct restore *o, struct rdb_value *value)
{
    uint64_t deadline;
    if (!deadline_of(c, o, &deadline))
        return;
    if (deadline && deadline <= txn_now_ms(c->txn)) {
        restore_expired(c);
        return;
    }
    bool replaces = key_exists(c->txn, call_key(c, 0));
    if (!store_value(c, value, deadline))
        return;
    if (replaces) /* in Redis the old one goes first */
        txn_event(c->txn, call_key(c, 0), EVENT_NEW, "new");
    if (o->idle >= 0)
        key_set_idle(c->txn, call_key(c, 0), (uint64_t)o->idle);
    if (o->frequency >= 0)
        key_set_frequency(c->txn, call_key(c, 0), (uint8_t)o->frequency);
    txn_event(c->txn, call_key(c, 0), EVENT_GENERIC, "restore");
    reply_ok(c->reply);
}

void cmd_restore(struct call *c)
{
    struct restore o = {.idle = -1, .frequency = -1};
    struct rdb_value value = {0};
    struct patience p = {.goes_on = goes_on, .context = c};
    bytes body;
    if (!parse_options(c, &o))
        return;
    if (!o.replace && key_exists(c->txn, call_key(c, 0))) {
        reply_errorf(c->reply, "BUSYKEY Target key name already exists.");
        return;
    }
    if (!arg_int(c, 2, &o.ttl))
        return;
    const char *error = NULL;
    if (o.ttl < 0)
        error = "ERR Invalid TTL value, must be >= 0";
    else if (!rdb_open(c->argv[3], &p, &body))
        error = "ERR DUMP payload version or checksum are wrong";
    else if (rdb_read_value(body, &p, &value) != HF_OK)
        error = "ERR Bad data format";
    if (!error)
        restore_value(c, &o, &value);
    else if (!p.is_over)
        reply_error_line(c->reply, error);
    free_value(&value);
}
