/* exec_breathe.c -- a command that takes long lets the worker's other connections be served between its steps (docs/adr/0010).
 *
 * Its locks stay held, so its reply is one moment of its keys; who needs them waits. What would take long beside it gives up instead, as a
 * walk that meets a busy stripe does, and runs again behind it: so at most one command is in the middle of its work on a worker.
 *
 * Who wants to run alone waits for the long commands that were there before, and lets everybody in meanwhile (exec_gate.c). What has begun later
 * gives up likewise, once it is all that is waited for: it runs again behind who is alone.
 */
#include "cmd/exec_private.h"

#include "os/ticks.h"

#ifdef HF_SIM /* no command takes long there: each does */
#define FIRST_US  0u
#define PERIOD_US 0u
#define BESIDE_US 0u
#else
#define FIRST_US  4000u /* most commands are over by then */
#define PERIOD_US 1000u
#define BESIDE_US 2000u /* for all that is served in one turn; what began before that goes on until it asks */
#endif

/* As often as needed, and nobody sees it. What never runs aside has not been made for it. */
static bool can_give_up(const struct call *c)
{
    return c->txn->changes == 0 && c->txn->touched_count == 0 && !c->session->in_multi && !c->session->in_script &&
           !(c->command->flags & (CMD_GATE | CMD_SCRIPT | CMD_ADMIN | CMD_BLOCKING | CMD_TALKS));
}

static bool give_up(const struct call *c)
{
    c->txn->busy_stripe = BUSY_BESIDE;
    return false;
}

bool call_gave_up(const struct call *c) { return c->txn->busy_stripe == BUSY_BESIDE; }

bool exec_breathe(struct call *c)
{
    struct exec *x = c->exec;
    c->work = 0;
    if (!x) /* a waiter that is served */
        return true;
    uint64_t now = ticks_now(), took = now - x->began;
    if (HF_UNLIKELY(x->aside))
        return took < ticks_of_us(BESIDE_US) || !can_give_up(c) || give_up(c);
    if (took < ticks_of_us(x->breathes ? PERIOD_US : FIRST_US) || !host || !host->serve_aside)
        return true;
    if (HF_UNLIKELY(exec_gate_waits_for(x)) && can_give_up(c))
        return give_up(c);
    x->breathes = true;
    host->serve_aside(x->worker);
    x->began = ticks_now();
    x->ticks += x->began - now; /* the time of others is not this command's */
    return true;
}

void exec_breathe_over(struct exec *x)
{
    x->breathes = false;
    host->aside_over(x->worker);
}
