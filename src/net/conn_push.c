/* conn_push.c -- pushes on their way into a connection's output: messages, invalidations, lines.
 *
 * As a rule a push is written behind the replies and marked at once. While a command of the connection is in the middle of its work, and
 * others are served (worker_aside.c), the output is the command's: what arrives is kept (its session's reply.out says where), and
 * told when the command is over, before all that arrives later:
 *
 *   connection that caches:  what was kept | reply | the invalidations of it once more
 *   any other:               reply | what was kept
 *
 * An invalidation that came while the command ran may be older or newer than what the reply shows, so it stands on both sides.
 */
#include "net/worker.h"

#include "durable/log.h"
#include "proto/resp/resp_reply.h"

#define KEPT_BYTES (16u << 10) /* of a buffer, for the next time */

void conn_keep_pushes(struct conn *c, struct pushes *p) { c->session.reply.out = &p->text; }

void conn_end_keeping(struct conn *c) { c->session.reply.out = &c->output; }

static bool keeps(const struct conn *c) { return c->session.reply.out != &c->output; }

static void keep(struct pushes *p, size_t begin, uint64_t lsn, enum push_kind kind)
{
    if (kind == PUSH_INVALIDATION)
        buf_append(&p->again, p->text.data + begin, p->text.size - begin);
    p->lsn = lsn > p->lsn ? lsn : p->lsn;
}

void conn_pushed(struct session *s, size_t begin, uint64_t lsn, enum push_kind kind)
{
    struct conn *c = s->connection;
    struct worker *w = c->worker;
    size_t unsent = conn_unsent(c);
    lsn = s->durability == DURABILITY_NONE ? 0 : lsn;
    if (HF_UNLIKELY(keeps(c))) {
        keep((struct pushes *)s->reply.out, begin, lsn, kind); /* its first member */
        unsent += s->reply.out->size;
    } else {
        conn_mark(c, begin, lsn, 0);
        list_append(&w->flush, &c->flush);
    }
    conn_note_memory(c);
    uint64_t hard = atomic_load_explicit(&conn_output_limits(c)->hard, memory_order_relaxed);
    if (HF_UNLIKELY((hard && conn_judged(c, unsent) > hard) || resp_reply_overflowed(&c->output)) && !atomic_load(&c->record.kill)) {
        counter_add(&w->stats.output_closed, 1);
        net_log(w->net, 3, "client id=%llu addr=%s closed: it listens too slowly, its output limit was reached (%zu bytes)",
                (unsigned long long)s->id, c->record.address, unsent);
        atomic_store(&c->record.kill, true); /* not here: the caller walks its listeners */
        atomic_store(&w->kill_asked, true);
    }
}

/* Where the output ends for good (buf_append_or_end) its connection is closed by whoever looks next. */
size_t conn_tell_before(struct conn *c, size_t before)
{
    const struct pushes *p = &c->worker->pushes;
    size_t kept = p->text.size, reply = c->output.size - before;
    if (!c->output.size_max || !buf_try_reserve(&c->output, kept)) {
        c->output.size_max = 0;
        return before;
    }
    memmove(c->output.data + before + kept, c->output.data + before, reply);
    memcpy(c->output.data + before, p->text.data, kept);
    c->output.size = before + kept;
    conn_mark(c, before, p->lsn, 0);
    c->output.size += reply;
    return before + kept;
}

static void forget(struct pushes *p)
{
    buf_reset(&p->text);
    buf_reset(&p->again);
    buf_shrink(&p->text, KEPT_BYTES);
    buf_shrink(&p->again, KEPT_BYTES);
    p->lsn = 0;
}

void conn_tell_behind(struct conn *c, bool told_before)
{
    struct pushes *p = &c->worker->pushes;
    size_t begin = c->output.size;
    bytes text = buf_view(told_before ? &p->again : &p->text);
    if (!c->dead && text.size && buf_append_or_end(&c->output, text))
        conn_mark(c, begin, p->lsn, 0);
    forget(p);
    if (!c->dead)
        conn_note_memory(c);
}
