/* conn_ahead.c -- connections that send one command at a time are read together, before their turns.
 *
 * A key's bucket and entry are mostly not in the caches, and one command alone cannot hide that. So the next
 * connections of a batch read first, each into its own input; the keys that they seem to ask for are requested from
 * memory together; then each has its turn as one whose input holds a command (c->more). What can happen to such a
 * connection meanwhile is what can happen to any. Those that send much at once are left out: their pipeline is a batch
 * of its own, and the shared buffer takes it in one read.
 */
#include "net/worker.h"

static bool may_read(const struct conn *c)
{
    return c->reads_little && c->readable && !c->more && !c->blocked && !c->closing && !c->hung_up && c->input.size == 0;
}

static bool read_one(struct conn *c)
{
    if (!buf_try_fit(&c->input, READ_AHEAD))
        return false;
    size_t got = conn_receive(c, c->input.data, READ_AHEAD);
    c->input.size = got;
    c->more = got != 0;
    return c->more;
}

void conn_read_ahead(struct worker *w)
{
    struct session *sessions[AHEAD_COUNT];
    bytes keys[AHEAD_COUNT];
    size_t count = 0;
    struct link *at = w->turn.next;
    if (at->next == &w->turn || w->draining || atomic_load_explicit(&w->net->limits->clients_memory_max, memory_order_relaxed) != 0)
        return;
    for (unsigned i = 0; i < AHEAD_COUNT && at != &w->turn; i++) {
        struct conn *c = LIST_OF(at, struct conn, ready);
        at = at->next; /* before it may die */
        if (!may_read(c) || !read_one(c))
            continue;
        bytes key = c->protocol ? c->protocol->likely_key(buf_view(&c->input)) : resp_likely_key(buf_view(&c->input));
        sessions[count] = &c->session;
        keys[count] = key;
        count += key.size != 0;
    }
    if (count > 1)
        exec_expect(w->exec, sessions, keys, count);
}
