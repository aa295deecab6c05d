/* conn_talk.c -- connections whose command talks to another server (cmd/talk.h): MIGRATE.
 *
 * The command waits as for a key; the socket of the talk stands in the worker's set beside those of clients, and each of
 * its events, or the time, takes the talk a step further, outside of all locks. When it is over the command runs again.
 */
#include "net/worker.h"

#include "cmd/talk.h"
#include "durable/log.h"
#include "engine/engine.h"
#include "os/os.h"

#define LOOK_US 1000u /* at the log; it has been woken by the batch that made the talk */

/* What the other server gets must not be what a crash here takes back (R1). */
static bool may_begin(const struct conn *c, const struct talk *t)
{
    bool commit = c->session.durability == DURABILITY_COMMIT;
    struct engine *e = c->worker->net->engine;
    return t->lsn <= (commit ? engine_durable(e) : engine_written(e));
}

void conn_talk(struct conn *c)
{
    struct worker *w = c->worker;
    struct talk *t = c->session.talk;
    if (c->dead || !t || !(c->blocked & BLOCKED_WAITING))
        return; /* an event of a talk that has just ended */
    if (worker_gives_up(w)) {
        conn_wait_over(c); /* the command is refused: the log takes nothing */
        return;
    }
    if (!may_begin(c, t)) {
        timer_set(&w->timers, &c->timer, OS.monotonic_us() + LOOK_US);
        return;
    }
    talk_step(t, OS.monotonic_us());
    if (t->fd >= 0 && !t->watched) {
        t->watched = worker_watch_talk(w, t->fd, c) == 0;
        if (!t->watched)
            talk_fail(t, TALK_CONNECTING);
    }
    if (talk_is_over(t))
        conn_wait_over(c);
    else
        timer_set(&w->timers, &c->timer, t->look_us);
}
