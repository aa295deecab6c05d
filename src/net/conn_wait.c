/* conn_wait.c -- connections whose command waits for a key (or for another server: conn_talk.c).
 *
 * The command stays at the front of the input. Served: its reply is appended and the command is skipped.
 * Time up: the command simply runs again and may not wait. The waiter's own state decides
 * between the two (engine/wait.h); a served message that is on its way keeps the connection's memory.
 */
#include "net/worker.h"

#include "cmd/reply.h"
#include "cmd/talk.h"
#include "durable/log.h"
#include "engine/wait.h"

static void show_waiter(struct conn *c, struct waiter *waiter)
{
    spin_lock(&c->worker->registry.lock);
    c->record.waiter = waiter;
    spin_unlock(&c->worker->registry.lock);
}

void conn_wait(struct conn *c, uint64_t lsn)
{
    struct worker *w = c->worker;
    c->blocked |= BLOCKED_WAITING;
    counter_add(&w->stats.waiting_now, 1);
    if (c->session.talk) { /* CLIENT UNBLOCK does not see it: what the target has done stays done */
        c->session.talk->lsn = lsn;
        timer_set(&w->timers, &c->timer, w->now_us); /* begins in the next step, outside of the batch */
        return;
    }
    show_waiter(c, c->session.waiter);
    if (c->session.wait_until_us)
        timer_set(&w->timers, &c->timer, c->session.wait_until_us);
}

static void wait_ends(struct conn *c)
{
    struct worker *w = c->worker;
    timer_cancel(&w->timers, &c->timer);
    counter_add(&w->stats.waiting_now, (uint64_t)-1);
    show_waiter(c, NULL);
    exec_wait_end(c->worker->exec, &c->session);
    c->more = true;
    client_record_refresh(c);
    conn_unblock(c, BLOCKED_WAITING);
}

static void answered(struct conn *c, size_t begin, uint64_t lsn)
{
    if (c->output.size != begin)
        conn_mark(c, begin, lsn, 1);
    c->skip = true;
    list_append(&c->worker->flush, &c->flush);
}

void conn_served(struct conn *c)
{
    struct session *s = &c->session;
    struct waiter *waiter = s->waiter;
    size_t begin = c->output.size;
    if (s->reply_mode == REPLY_ON && !buf_append_or_end(&c->output, buf_view(&waiter->reply))) {
        atomic_store(&c->record.kill, true);
        atomic_store(&c->worker->kill_asked, true);
    }
    answered(c, begin, s->durability == DURABILITY_NONE ? 0 : waiter->lsn);
    wait_ends(c);
}

void conn_wait_over(struct conn *c)
{
    if (!waiter_withdraw(c->session.waiter))
        return; /* served just now */
    c->session.wait_over = true;
    wait_ends(c);
}

/* The connection is out of the registry: nobody can unblock it any more. */
void conn_wait_close(struct conn *c)
{
    struct worker *w = c->worker;
    counter_add(&w->stats.waiting_now, (uint64_t)-1);
    timer_cancel(&w->timers, &c->timer);
    if (!c->session.waiter)
        return; /* the message came between its close and its burial */
    if (!atomic_load(&c->record.unblock) && !waiter_withdraw(c->session.waiter)) /* CLIENT UNBLOCK has withdrawn it already */
        return; /* served: the message comes */
    exec_wait_end(c->worker->exec, &c->session);
}

void conn_unblocked(struct conn *c, bool error)
{
    if (error) {
        size_t begin = c->output.size;
        reply_error_line(&c->session.reply, "UNBLOCKED client unblocked via CLIENT UNBLOCK");
        answered(c, begin, 0);
    } else {
        c->session.wait_over = true;
        c->session.wait_until_us = 0; /* not by the clock, even if the time is up by now: WAIT would only look, and wait on */
    }
    wait_ends(c);
}
