/* expire.c -- how long keys live: EXPIRE and TTL in all their forms. */
#include "cmd/args.h"
#include "cmd/handlers.h"
#include "engine/events.h"
#include "engine/keys.h"

static bool take_conditions(struct call *c, unsigned *conditions)
{
    *conditions = 0;
    for (size_t i = 3; i < c->argc; i++) {
        if (bytes_is_word(c->argv[i], "NX"))
            *conditions |= DEADLINE_NX;
        else if (bytes_is_word(c->argv[i], "XX"))
            *conditions |= DEADLINE_XX;
        else if (bytes_is_word(c->argv[i], "GT"))
            *conditions |= DEADLINE_GT;
        else if (bytes_is_word(c->argv[i], "LT"))
            *conditions |= DEADLINE_LT;
        else {
            bytes word = arg_without_line_end(c, i);
            reply_errorf(c->reply, "ERR Unsupported option " WORD_FORMAT, WORD_WHOLE(word));
            return false;
        }
    }
    if ((*conditions & DEADLINE_NX) && (*conditions & ~(unsigned)DEADLINE_NX)) {
        reply_errorf(c->reply, "ERR NX and XX, GT or LT options at the same time are not compatible");
        return false;
    }
    if ((*conditions & DEADLINE_GT) && (*conditions & DEADLINE_LT)) {
        reply_errorf(c->reply, "ERR GT and LT options at the same time are not compatible");
        return false;
    }
    return true;
}

/* Unlike SET's times these may lie in the past: the key is then removed. */
static void expire(struct call *c, int64_t scale, bool relative)
{
    unsigned conditions;
    int64_t when;
    if (!take_conditions(c, &conditions) || !arg_int(c, 2, &when))
        return;
    if (__builtin_mul_overflow(when, scale, &when) ||
        __builtin_add_overflow(when, relative ? (int64_t)txn_now_ms(c->txn) : 0, &when)) {
        reply_errorf(c->reply, "ERR invalid expire time in '%s' command", c->command->full_name);
        return;
    }
    uint64_t deadline_ms = when > 0 ? (uint64_t)when : 1; /* 0 would say: none */
    bool done = key_set_deadline(c->txn, call_key(c, 0), deadline_ms, conditions);
    if (done)
        txn_event(c->txn, call_key(c, 0), EVENT_GENERIC, deadline_ms <= txn_now_ms(c->txn) ? "del" : "expire");
    reply_int(c->reply, done);
}

void cmd_expire(struct call *c)
{
    expire(c, 1000, true);
}

void cmd_pexpire(struct call *c)
{
    expire(c, 1, true);
}

void cmd_expireat(struct call *c)
{
    expire(c, 1000, false);
}

void cmd_pexpireat(struct call *c)
{
    expire(c, 1, false);
}

/* -2: no such key; -1: it has no deadline. */
static void reply_lifetime(struct call *c, bool in_seconds, bool relative)
{
    struct key_info info;
    key_info(c->txn, call_key(c, 0), &info);
    key_looked_up(c->txn, call_key(c, 0), info.found);
    if (!info.found || info.deadline_ms == 0) {
        reply_int(c->reply, info.found ? -1 : -2);
        return;
    }
    uint64_t from = relative ? txn_now_ms(c->txn) : 0;
    uint64_t ms = info.deadline_ms > from ? info.deadline_ms - from : 0;
    reply_int(c->reply, (int64_t)(in_seconds ? (ms + 500) / 1000 : ms));
}

void cmd_ttl(struct call *c)
{
    reply_lifetime(c, true, true);
}

void cmd_pttl(struct call *c)
{
    reply_lifetime(c, false, true);
}

void cmd_expiretime(struct call *c)
{
    reply_lifetime(c, true, false);
}

void cmd_pexpiretime(struct call *c)
{
    reply_lifetime(c, false, false);
}

void cmd_persist(struct call *c)
{
    bool done = key_persist(c->txn, call_key(c, 0));
    if (done)
        txn_event(c->txn, call_key(c, 0), EVENT_GENERIC, "persist");
    reply_int(c->reply, done);
}
