/* conn_tls.c -- connections with TLS: what differs of their reads, their sends and their end.
 *
 * `readable` says that a read may bring something: also while OpenSSL holds bytes for which no event comes any more. `writable` is the
 * socket's. What TLS itself has to say (its handshake, answers to key updates) leaves with the next flush.
 */
#include "net/worker.h"

#include "base/memory.h"

#include <errno.h>

#define SHAKES_MOST 4 /* of a step: each is up to milliseconds of arithmetic, and the others wait */

static void refused(struct conn *c)
{
    struct worker *w = c->worker;
    const struct tls *t = c->tls;
    counter_add(&w->stats.tls_refused, !t->ready);
    net_log(w->net, 1, "client id=%llu addr=%s closed: %s: %s", (unsigned long long)c->session.id, c->record.address,
            t->ready ? "TLS" : "TLS handshake", t->why);
    conn_close(c);
}

size_t conn_tls_receive(struct conn *c, uint8_t *data, size_t size)
{
    struct tls *t = c->tls;
    int64_t got = tls_receive(t, data, size);
    if (tls_unsent(t))
        list_append(&c->worker->flush, &c->flush);
    if (got > 0 || got == -EAGAIN) {
        c->readable = tls_holds(t) || c->hung_up;
    } else if (got == 0) { /* half closed: what it asked is still answered */
        c->readable = false;
        c->closing = true;
        c->end = END_NORMAL;
    } else if (t->why[0]) {
        refused(c);
    } else {
        conn_close(c);
    }
    if (got <= 0)
        return 0;
    c->tls_bytes = tls_memory(t);
    conn_received(c, (size_t)got);
    return (size_t)got;
}

int64_t conn_tls_send(struct conn *c, const uint8_t *data, size_t size)
{
    int64_t put = tls_send(c->tls, data, size);
    c->writable = !c->tls->full;
    c->tls_bytes = tls_memory(c->tls);
    if (put >= 0 && (size_t)put < size && c->writable)
        list_append(&c->worker->flush_on, &c->flush);
    return put;
}

bool conn_tls_end(struct conn *c)
{
    tls_end(c->tls);
    int64_t result = tls_send(c->tls, NULL, 0);
    c->writable = !c->tls->full;
    if (result < 0)
        conn_close(c); /* the socket has told of its reset, and tells of it only once */
    return !c->dead && !tls_unsent(c->tls);
}

bool conn_tls_waits(const struct conn *c) { return c->tls && tls_unsent(c->tls); }

bool conn_tls_shakes(const struct conn *c) { return c->tls && !c->tls->ready; }

bool conn_tls_has_turn(struct conn *c)
{
    struct worker *w = c->worker;
    if (c->tls->ready)
        return true;
    w->shakes = w->shakes_us == w->now_us ? w->shakes : 0;
    w->shakes_us = w->now_us;
    return ++w->shakes <= SHAKES_MOST;
}
