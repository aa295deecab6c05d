/* await.c -- WAIT and WAITAOF: waiting for what was written so far to be safe elsewhere, on replicas and on disk.
 *
 * A replica has what was written when it says that it has run the stream up to where it stood as the wait began; it is asked. The log's
 * durable mark and what replicas said are looked at again and again, each time a little later; an fsync that is not due (durability
 * interval) is asked for.
 */
#include "base/number.h"
#include "cmd/args.h"
#include "cmd/feed.h"
#include "cmd/handlers.h"
#include "cmd/replicas.h"
#include "engine/engine.h"
#include "os/os.h"

#define LOOK_FIRST_US 500u
#define LOOK_MAX_US 16000u

static bool take_timeout(struct call *c, size_t at, uint64_t *us)
{
    int64_t ms;
    if (!number_parse_int(c->argv[at], &ms))
        reply_errorf(c->reply, "ERR timeout is not an integer or out of range");
    else if (ms < 0)
        reply_errorf(c->reply, "ERR timeout is negative");
    else {
        *us = (double)ms < WAIT_SECONDS_MAX * 1000 ? (uint64_t)ms * 1000 : 0; /* 0: for ever */
        return true;
    }
    return false;
}

static void begin(struct call *c, uint64_t timeout_us)
{
    struct session *s = c->session;
    struct log *log = engine_log(txn_engine(c->txn));
    if (call_is_over(c))
        return;
    s->await_lsn = log ? log_tail(log) : 0;
    s->await_offset = feed_offset();
    s->await_until_us = timeout_us ? OS.monotonic_us() + timeout_us : 0;
    s->await_look_us = LOOK_FIRST_US;
}

/* Waits once more, until the next look or the end of the time. False: the time is up, or this call may not wait. */
static bool wait_more(struct call *c, bool looks)
{
    struct session *s = c->session;
    uint64_t now_us = OS.monotonic_us(), left_us = s->await_until_us > now_us ? s->await_until_us - now_us : 0;
    bool looked = call_is_over(c) && s->wait_until_us && now_us >= s->wait_until_us; /* else CLIENT UNBLOCK has ended it */
    if (!(c->may_wait || looked) || (s->await_until_us && !left_us))
        return false;
    if (looks && (!s->await_until_us || left_us > s->await_look_us)) {
        left_us = s->await_look_us;
        s->await_look_us = left_us * 2 < LOOK_MAX_US ? left_us * 2 : LOOK_MAX_US;
    }
    c->waits = true;
    c->wait_seconds = (double)left_us / 1e6;
    return true;
}

/* While there are any; else none will say anything. */
static bool looks_at_replicas(void) { return atomic_load(&feed_followers) != 0; }

/* How many have it; those that have not are asked once, when the wait begins. */
static int64_t ask_replicas(struct call *c, int64_t wanted)
{
    int64_t acked = (int64_t)replicas_acked(c->session->await_offset);
    if (acked < wanted && !call_is_over(c))
        replicas_ask();
    return acked;
}

void cmd_wait(struct call *c)
{
    int64_t replicas;
    uint64_t timeout_us;
    if (!arg_int(c, 1, &replicas) || !take_timeout(c, 2, &timeout_us))
        return;
    begin(c, timeout_us);
    int64_t acked = ask_replicas(c, replicas);
    if (acked >= replicas || !wait_more(c, looks_at_replicas()))
        reply_int(c->reply, acked);
}

void cmd_waitaof(struct call *c)
{
    int64_t local, replicas;
    uint64_t timeout_us;
    struct log *log = engine_log(txn_engine(c->txn));
    if (!arg_int(c, 1, &local))
        return;
    if (local < 0 || local > 1) {
        reply_errorf(c->reply, "ERR value is out of range, value must between 0 and 1");
        return;
    }
    if (!arg_int_from(c, 2, 0, "ERR value is out of range, must be positive", &replicas) || !take_timeout(c, 3, &timeout_us))
        return;
    if (local && !log) {
        reply_errorf(c->reply, "ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.");
        return;
    }
    begin(c, timeout_us);
    bool safe = log && log_durable(log) >= c->session->await_lsn;
    bool looks = local && !safe;
    if (looks)
        log_sync_now(log);
    if ((looks || replicas) && wait_more(c, looks)) /* a replica of Redis 7.0 does not say what it has on disk */
        return;
    reply_array(c->reply, 2);
    reply_int(c->reply, safe);
    reply_int(c->reply, 0);
}
