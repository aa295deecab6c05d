/* conn_file.c -- connections that are sent a data set (cmd/transfer.h): SYNC, PSYNC.
 *
 *   waits, looking now and then (a line end each second shows that it is alive) -> "$size", then the file, a piece in the output
 *   at a time -> what was held behind it -> an ordinary connection again
 *
 * The output holds one piece, so a slow reader costs that and what is held for it, which the limits are about.
 */
#include "net/worker.h"

#include "cmd/replicas.h"
#include "cmd/transfer.h"
#include "durable/log.h"
#include "os/os.h"

#include <stdio.h>

#define PIECE (256u << 10)
#define LOOK_US 5000u
#define NUDGE_US 1000000u

void conn_transfer(struct session *s)
{
    struct conn *c = s->connection;
    c->blocked |= BLOCKED_FILE;
    s->transfer->nudged_us = c->worker->now_us;
    timer_set(&c->worker->timers, &c->timer, c->worker->now_us + LOOK_US);
}

static void flush_soon(struct conn *c) { list_append(&c->worker->flush, &c->flush); }

static void wait_on(struct conn *c)
{
    struct transfer *t = c->session.transfer;
    uint64_t now_us = c->worker->now_us;
    if (now_us - t->nudged_us >= NUDGE_US) {
        size_t begin = c->output.size;
        buf_append(&c->output, "\n", 1);
        conn_mark(c, begin, 0, 0);
        t->nudged_us = now_us;
        flush_soon(c);
    }
    timer_set(&c->worker->timers, &c->timer, now_us + LOOK_US);
}

static void begin(struct conn *c)
{
    struct transfer *t = c->session.transfer;
    size_t begin = c->output.size;
    t->begun = true;
    buf_printf(&c->output, "$%llu\r\n", (unsigned long long)t->size);
    conn_mark(c, begin, c->session.durability == DURABILITY_NONE ? 0 : t->lsn, 0);
    flush_soon(c);
}

void conn_file_look(struct conn *c)
{
    const struct transfer *t = c->session.transfer;
    int state = atomic_load(&t->state);
    if (state == TRANSFER_FAILED) {
        net_log(c->worker->net, 3, "client id=%llu addr=%s closed: the data set cannot be sent, %s", (unsigned long long)c->session.id,
                c->record.address, t->detail);
        conn_close(c);
    } else if (state == TRANSFER_MAKING) {
        wait_on(c);
    } else if (!t->begun) {
        begin(c);
    } else {
        flush_soon(c);
    }
}

static void over(struct conn *c)
{
    struct transfer *t = c->session.transfer;
    if (session_follows(&c->session))
        c->session.replica->file_end = c->output_base + c->output.size;
    if (t->held.size) {
        size_t begin = c->output.size;
        buf_append_bytes(&c->output, buf_view(&t->held));
        conn_mark(c, begin, c->session.durability == DURABILITY_NONE ? 0 : t->held_lsn, 0);
    }
    transfer_drop(&c->session);
    timer_cancel(&c->worker->timers, &c->timer);
    flush_soon(c);
    conn_unblock(c, BLOCKED_FILE);
}

void conn_file_more(struct conn *c)
{
    struct transfer *t = c->session.transfer;
    if (!t->begun || c->closing)
        return;
    uint64_t left = t->size - t->sent;
    if (left == 0) {
        over(c);
        return;
    }
    size_t size = left < PIECE ? (size_t)left : PIECE;
    buf_reserve(&c->output, size);
    int64_t got = OS.pread(t->file, c->output.data + c->output.size, size, t->sent);
    if (got <= 0) {
        net_log(c->worker->net, 3, "client id=%llu addr=%s closed: its file cannot be read: %s", (unsigned long long)c->session.id,
                c->record.address, got < 0 ? strerror((int)-got) : "it is too short");
        conn_close(c);
        return;
    }
    c->output.size += (size_t)got;
    t->sent += (uint64_t)got;
    if (c->writable) /* the next piece in the next step: others come first */
        timer_set(&c->worker->timers, &c->timer, c->worker->now_us);
}

size_t conn_file_held(const struct conn *c) { return c->session.transfer->held.capacity; }
