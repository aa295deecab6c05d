/* conn_gate.c -- which bytes of the output may leave: R1, and R15 when the log fails.
 *
 * Marks open in order. A log that fails heals by itself, as a rule within half a second, and what
 * is held is then durable after all; so replies stay held that long. When it has failed for
 * longer than failed_hold_ms, every held reply becomes one error, "outcome unknown" (the command has run,
 * and a later heal makes it durable; a restart before that forgets it). Held pushes are
 * dropped: nobody counts them. Replies that wait for nothing but those before them stay as they are.
 */
#include "net/worker.h"

#include "cmd/replicas.h"
#include "durable/log.h"

static bool mark_is_open(const struct conn *c, const struct mark *m)
{
    if (os_bug(BUG_ACK_UNWRITTEN))
        return true;
    return m->lsn <= (m->commit ? c->worker->durable : c->worker->written);
}

static struct mark *first_mark(const struct conn *c) { return &c->marks[c->mark_first]; }

static void drop_first_mark(struct conn *c)
{
    c->mark_first = (c->mark_first + 1) & (c->mark_capacity - 1);
    c->mark_count--;
}

/* Everything behind open_end, mark by mark: kept, or one error for each reply. */
static void give_up_held(struct conn *c)
{
    if (c->protocol || session_follows(&c->session) || c->blocked & BLOCKED_FILE) { /* it knows no word for that: the connection ends, as unknown as its outcome */
        c->output.size = (size_t)(c->open_end - c->output_base);
        c->mark_count = 0;
        c->closing = true;
        return;
    }
    status s = c->worker->log_state == LOG_FULL ? HF_ERR_FULL_UNKNOWN : HF_ERR_IO_UNKNOWN;
    size_t at = (size_t)(c->open_end - c->output_base);
    struct buf out;
    buf_init(&out, c->output.size_max);
    buf_append(&out, c->output.data, at);
    for (; c->mark_count; drop_first_mark(c)) {
        const struct mark *m = first_mark(c);
        size_t end = (size_t)(m->end - c->output_base);
        if (mark_is_open(c, m))
            buf_append(&out, c->output.data + at, end - at);
        for (uint32_t i = 0; i < m->replies && !mark_is_open(c, m); i++)
            buf_printf(&out, "-%s %s\r\n", status_word(s), status_text(s));
        at = end;
    }
    buf_append(&out, c->output.data + at, c->output.size - at);
    buf_release(&c->output);
    c->output = out;
}

void conn_open_gate(struct conn *c)
{
    struct worker *w = c->worker;
    for (; c->mark_count && mark_is_open(c, first_mark(c)); drop_first_mark(c))
        c->open_end = first_mark(c)->end;
    if (c->mark_count && worker_gives_up(w))
        give_up_held(c);
    if (c->mark_count == 0) {
        c->open_end = c->output_base + c->output.size;
        if (list_has(&c->gated)) {
            list_remove(&c->gated);
            counter_add(&w->stats.gated_now, (uint64_t)-1);
        }
    } else if (!list_has(&c->gated)) {
        list_append(&w->gated, &c->gated);
        counter_add(&w->stats.gated_now, 1);
    }
}
