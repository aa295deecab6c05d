/* conn.c -- a connection's life, its reads and its sends. */
#include "net/worker.h"

#include "cmd/acl.h"
#include "cmd/replicas.h"

#include "base/memory.h"
#include "engine/engine.h"
#include "engine/wait.h"
#include "os/os.h"
#include "proto/resp/resp_reply.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#define LAST_READS 16 /* of the shared buffer, in a step of a drain */
#define UNAUTHENTICATED_QUERY_MAX (16u << 10)
#define SEND_COMPACT (64u << 10)
#define SEND_MOST ((size_t)1 << 20) /* in one call: it goes on as long as the peer reads */
#define OUTPUT_KEPT (16u << 10) /* a busy connection keeps this much, an idle one nothing */
#define INPUT_KEPT (64u << 10)
#define INPUT_STEP_MAX (1u << 20)

static const char protected_text[] =
    "-DENIED holdfast is running in protected mode because protected mode is enabled and no password is set for the "
    "default user. In this mode connections are only accepted from the loopback interface. If you want to connect from "
    "external computers, do one of these: 1) connect from the same host and send CONFIG SET protected-mode no, making "
    "sure that the server is not reachable from the internet; 2) set protected-mode to no in the configuration file, or "
    "start with --protected-mode no; 3) set a password (requirepass) for the default user.\r\n";

static struct conn *turn_away(struct worker *w, int fd, const char *text)
{
    struct iovec part = {(void *)(uintptr_t)text, strlen(text)};
    OS.send(fd, &part, 1); /* best effort: the socket is new and its buffer empty */
    OS.close(fd);
    counter_add(&w->stats.rejected, 1);
    atomic_fetch_sub(&w->net->connections, 1);
    return NULL;
}

void net_served(struct waiter *waiter)
{
    struct conn *c = waiter->owner;
    inbox_push(&c->worker->inbox, &c->served);
}

static void park_wake(struct park_node *node)
{
    struct conn *c = LIST_OF(node, struct conn, park);
    inbox_push(&c->worker->inbox, &c->wake);
}

struct conn *conn_open(struct worker *w, int fd, struct door door)
{
    const struct net_limits *limits = w->net->limits;
    const struct protocol *protocol = door.protocol;
    struct tls_context *context = door.tls ? net_tls() : NULL;
    struct peer peer;
    socket_prepare(fd, door.is_unix, atomic_load(&limits->tcp_keepalive_s), &peer);
    counter_add(&w->stats.received, 1);
    bool open_to_all = acl_is_open();
    if ((door.tls && !context) || (!peer.loopback && open_to_all && atomic_load(&limits->protected_mode))) {
        tls_context_unref(context);
        return turn_away(w, fd, door.tls ? "" : protocol ? protocol->closed_to_all : protected_text);
    }
    struct conn *c = mem_zalloc(sizeof(*c));
    c->worker = w;
    c->fd = fd;
    c->tls = context ? tls_new(context, fd) : NULL;
    tls_context_unref(context);
    c->writable = true;
    buf_init(&c->input, CONN_BUFFER_MAX);
    buf_init(&c->output, CONN_BUFFER_MAX);
    resp_parser_init(&c->parser);
    uint64_t id = atomic_fetch_add(&w->net->next_id, 1) + 1;
    session_init(&c->session, id, &resp_reply_ops, &c->output);
    c->session.durability = atomic_load_explicit(&w->net->default_durability, memory_order_relaxed);
    c->session.connection = c;
    c->session.worker = w->number;
    c->session.over_tls = door.tls;
    c->park.wake = park_wake;
    c->wake.kind = INBOX_WAKE;
    c->served.kind = INBOX_SERVED;
    c->created_us = c->active_us = w->now_us;
    c->record.id = id;
    c->record.fd = fd;
    c->record.created_us = w->now_us;
    c->record.redirect = -1;
    c->record.flags = door.is_unix ? RECORD_UNIX : 0;
    memcpy(c->record.address, peer.address, PEER_TEXT_MAX);
    c->session.address = c->record.address;
    c->session.is_local = peer.loopback;
    memcpy(c->record.local, peer.local, PEER_TEXT_MAX);
    c->session.local_address = c->record.local;
    c->protocol = protocol;
    if (protocol) {
        c->session.protocol = protocol->open(&c->session, fd);
        c->session.reply.ops = protocol->ops;
        c->session.db = protocol->database;
    }
    client_record_refresh(c);
    registry_add(w, c);
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = c};
    if (epoll_ctl(w->epoll, EPOLL_CTL_ADD, fd, &event) < 0) {
        net_log(w->net, 3, "epoll_ctl: %s", strerror(errno));
        conn_close(c);
        return NULL;
    }
    return c;
}

void conn_close(struct conn *c)
{
    struct worker *w = c->worker;
    if (c->dead)
        return;
    c->dead = true;
    session_leave(&c->session);
    if (c->protocol)
        c->protocol->leave(c->session.protocol, w->draining ? END_SHUTDOWN : c->end);
    registry_remove(w, c);
    conn_forget_memory(c);
    if (HF_UNLIKELY(c->tls != NULL)) {
        tls_free(c->tls);
        c->tls = NULL;
    }
    OS.close(c->fd); /* leaves the epoll set by itself */
    list_remove(&c->ready);
    list_remove(&c->flush);
    list_remove(&c->sleeping);
    if (list_has(&c->gated))
        counter_add(&w->stats.gated_now, (uint64_t)-1);
    list_remove(&c->gated);
    if (c->blocked & BLOCKED_PARKED)
        counter_add(&w->stats.parked_now, (uint64_t)-1);
    if (c->blocked & BLOCKED_WAITING && w->aside_now)
        c->waits_on = true;
    else if (c->blocked & BLOCKED_WAITING)
        conn_wait_close(c);
    if (c->blocked & BLOCKED_PAUSED)
        counter_add(&w->stats.paused_now, (uint64_t)-1);
    if (c->blocked & BLOCKED_FILE)
        timer_cancel(&w->timers, &c->timer);
    list_append(&w->graveyard, &c->graveyard);
    atomic_fetch_sub(&w->net->connections, 1);
}

bool conn_bury(struct conn *c)
{
    if (HF_UNLIKELY(c->waits_on)) {
        c->waits_on = false;
        conn_wait_close(c);
    }
    bool withdrawn = (c->wake_due || c->resumed) && exec_unpark(c->worker->exec, &c->park);
    c->resumed = false;
    if ((c->wake_due && !withdrawn) || c->session.waiter)
        return false;
    if (c->protocol)
        c->protocol->close(c->session.protocol);
    session_release(&c->session);
    acl_user_unref(c->record.user);
    resp_parser_release(&c->parser);
    buf_release(&c->input);
    buf_release(&c->output);
    mem_free(c->marks);
    mem_free(c);
    return true;
}

void conn_schedule(struct conn *c)
{
    if (!c->dead && !c->blocked && !c->closing && (c->more || (c->readable && !c->worker->draining)))
        list_append(&c->worker->ready, &c->ready);
}

void conn_unblock(struct conn *c, enum conn_blocked why)
{
    if (!(c->blocked & why))
        return;
    if (why == BLOCKED_PARKED)
        counter_add(&c->worker->stats.parked_now, (uint64_t)-1);
    if (why == BLOCKED_PAUSED)
        counter_add(&c->worker->stats.paused_now, (uint64_t)-1);
    c->blocked &= ~(unsigned)why;
    if (c->worker->draining && !c->blocked && !c->more) {
        c->closing = true;
        list_append(&c->worker->flush, &c->flush);
    }
    conn_schedule(c);
}

static size_t input_left(const struct conn *c) { return c->input.size - c->input_at; }

/* The own input, from where the parser stands. */
static void run_input(struct conn *c)
{
    c->input_at += conn_run(c, c->input.data + c->input_at, input_left(c));
    if (!c->dead && c->input_at == c->input.size) {
        buf_reset(&c->input);
        c->input_at = 0;
    }
}

static void refuse_query(struct conn *c)
{
    struct worker *w = c->worker;
    counter_add(&w->stats.query_closed, 1);
    net_log(w->net, 3, "client id=%llu addr=%s closed: its query buffer limit was reached (%zu bytes)",
            (unsigned long long)c->session.id, c->record.address, input_left(c));
    conn_close(c);
}

/* For what is missing of a large word, at most doubling at a time: in the end there is room for it and little more. */
static bool make_input_room(struct conn *c)
{
    struct buf *b = &c->input;
    size_t needs = c->protocol ? c->protocol->needs(c->session.protocol) : resp_parser_needs(&c->parser);
    size_t missing = needs > b->size ? needs - b->size : 0;
    if (missing <= READ_MIN)
        return buf_try_reserve(b, READ_MIN);
    size_t step = missing < INPUT_STEP_MAX ? missing : INPUT_STEP_MAX, twice = b->capacity * 2;
    if (b->capacity - b->size >= step)
        return true;
    size_t capacity = b->size + step;
    capacity = capacity > twice ? capacity : twice < needs ? twice : needs;
    return buf_try_fit(b, mem_class_size(capacity));
}

/* Where the next bytes go: the worker's shared buffer, or behind an incomplete command. */
static uint8_t *read_room(struct conn *c, size_t *size)
{
    if (c->input.size == 0) {
        *size = READ_SHARED;
        return c->worker->shared;
    }
    if (c->input_at) {
        buf_consume(&c->input, c->input_at);
        c->input_at = 0;
    }
    if (!make_input_room(c))
        return NULL;
    *size = c->input.capacity - c->input.size;
    if (*size > INPUT_STEP_MAX)
        *size = INPUT_STEP_MAX;
    return c->input.data + c->input.size;
}

static void received(struct conn *c, const uint8_t *data, size_t size)
{
    struct worker *w = c->worker;
    if (data != w->shared) {
        c->input.size += size;
        run_input(c);
        return;
    }
    size_t used = conn_run(c, data, size);
    if (!c->dead && !c->closing && used < size) {
        if (buf_try_reserve(&c->input, size - used))
            buf_append(&c->input, data + used, size - used);
        else
            refuse_query(c);
    }
}

inline void conn_received(struct conn *c, size_t size)
{
    struct worker *w = c->worker;
    c->reads_little = size <= READ_LITTLE;
    c->active_us = w->now_us;
    counter_add(&w->stats.bytes_in, size);
    counter_add(&w->stats.reads, 1);
}

size_t conn_receive(struct conn *c, uint8_t *data, size_t size)
{
    if (HF_UNLIKELY(c->tls != NULL))
        return conn_tls_receive(c, data, size);
    int64_t got = OS.recv(c->fd, data, size);
    if (got > 0) {
        if ((size_t)got < size && !c->hung_up)
            c->readable = false; /* a short read emptied the socket; more makes a new edge */
        conn_received(c, (size_t)got);
        return (size_t)got;
    }
    if (got == -EAGAIN) {
        c->readable = false;
    } else if (got == 0) { /* half closed: what it asked is still answered */
        c->readable = false;
        c->closing = true;
        c->end = END_NORMAL;
    } else {
        conn_close(c);
    }
    return 0;
}

static void read_socket(struct conn *c)
{
    size_t size = 0;
    if (HF_UNLIKELY(c->tls != NULL) && !conn_tls_has_turn(c))
        return;
    uint8_t *data = read_room(c, &size);
    if (!data) {
        refuse_query(c);
        return;
    }
    if (data != c->worker->shared && HF_UNLIKELY(atomic_load_explicit(&c->worker->net->limits->clients_memory_max, memory_order_relaxed) != 0)) {
        conn_note_memory(c);
        worker_mark_excess(c->worker);
        if (atomic_load(&c->record.kill))
            return;
    }
    size_t got = conn_receive(c, data, size);
    if (got == 0)
        return;
    received(c, data, got);
    uint64_t most = atomic_load_explicit(&c->worker->net->limits->query_buffer_max, memory_order_relaxed);
    if (!c->dead && (input_left(c) > most || (!c->session.authenticated && input_left(c) > UNAUTHENTICATED_QUERY_MAX)))
        refuse_query(c);
}

void conn_serve(struct conn *c)
{
    struct worker *w = c->worker;
    w->serving = c;
    if (c->more)
        run_input(c);
    bool has_to_wait = c->more && exec_is_late(w->exec); /* what it has sent is enough for the next turn */
    if (!c->dead && !c->blocked && !c->closing && !has_to_wait && c->readable && !w->draining)
        read_socket(c);
    w->serving = NULL;
    if (c->dead)
        return;
    if (w->draining && !c->blocked && !c->more)
        c->closing = true;
    if (HF_UNLIKELY(atomic_load_explicit(&w->net->limits->clients_memory_max, memory_order_relaxed) != 0))
        buf_shrink(&c->input, INPUT_KEPT); /* what is judged should be in use */
    client_record_refresh(c);
    if (c->output.size || c->closing)
        list_append(&w->flush, &c->flush);
    conn_schedule(c);
}

static void sent_all(struct conn *c)
{
    c->output_base += c->output.size;
    c->sent = 0;
    buf_reset(&c->output);
    buf_shrink(&c->output, OUTPUT_KEPT);
}

/* Everything is sent. Bytes that are unread at the close, or come behind it, reset the connection, and what the peer has not taken by then is
 * lost; in a drain, in which a pipeline is cut, it is waited for. */
static void leave(struct conn *c)
{
    struct worker *w = c->worker;
    for (int reads = 0; c->readable && !c->dead && reads < (w->draining ? LAST_READS : 1); reads++)
        conn_receive(c, w->shared, READ_SHARED);
    if (c->dead)
        return;
    c->lingers = w->draining && OS.unsent(c->fd) > 0;
    if (!c->lingers)
        conn_close(c);
}

/* -EAGAIN: nothing; another error: the connection is broken. */
static inline int64_t send_some(struct conn *c, size_t size)
{
    if (HF_UNLIKELY(c->tls != NULL)) /* perhaps only what is encrypted already */
        return conn_tls_send(c, size ? c->output.data + c->sent : NULL, size);
    size_t some = size < SEND_MOST ? size : SEND_MOST;
    struct iovec part = {c->output.data + c->sent, some};
    int64_t put = OS.send(c->fd, &part, 1);
    if (put < (int64_t)some)
        c->writable = false; /* the next edge says when */
    else if (some < size)
        list_append(&c->worker->flush_on, &c->flush);
    return put;
}

void conn_flush(struct conn *c)
{
    const uint8_t *output = c->output.data;
    conn_open_gate(c);
    size_t open = (size_t)(c->open_end > c->output_base ? c->open_end - c->output_base : 0);
    if (c->writable && (open > c->sent || HF_UNLIKELY(conn_tls_waits(c)))) {
        int64_t put = send_some(c, open > c->sent ? open - c->sent : 0);
        if (put < 0 && put != -EAGAIN) {
            conn_close(c);
            return;
        }
        if (put > 0) {
            c->sent += (size_t)put;
            counter_add(&c->worker->stats.bytes_out, (uint64_t)put);
            if (session_follows(&c->session))
                counter_add(&c->worker->stats.replica_bytes_out, (uint64_t)put);
            counter_add(&c->worker->stats.writes, 1);
        }
    }
    atomic_store_explicit(&c->record.output, conn_unsent(c), memory_order_relaxed);
    if (session_follows(&c->session) && c->output_base + c->sent >= c->session.replica->file_end)
        replicas_online(&c->session);
    if (c->sent == c->output.size) {
        sent_all(c);
        if (HF_UNLIKELY(c->blocked & BLOCKED_FILE))
            conn_file_more(c);
        if (c->dead)
            return;
        if (c->closing) {
            if (HF_LIKELY(c->tls == NULL) || conn_tls_end(c))
                leave(c);
            return;
        }
    } else if (c->sent > SEND_COMPACT && (c->output.has_pages || c->sent > c->output.size / 2)) {
        size_t dropped = buf_drop(&c->output, c->sent);
        c->output_base += dropped;
        c->sent -= dropped;
    }
    if (HF_UNLIKELY(c->output.data != output))
        conn_note_memory(c);
    if (c->blocked & BLOCKED_OUTPUT &&
        conn_unsent(c) <= atomic_load_explicit(&c->worker->net->limits->held_max, memory_order_relaxed) / 2)
        conn_unblock(c, BLOCKED_OUTPUT);
}

void conn_tend(struct conn *c)
{
    struct worker *w = c->worker;
    const struct net_limits *limits = w->net->limits;
    uint64_t idle_us = w->now_us - c->active_us;
    uint64_t timeout_us = (uint64_t)atomic_load(&limits->timeout_s) * 1000000;
    uint64_t login_us = (uint64_t)atomic_load(&limits->unauthenticated_s) * 1000000;
    bool shakes = conn_tls_shakes(c);
    bool late = (!c->session.authenticated || shakes) && login_us && w->now_us - c->created_us > login_us;
    bool follows = session_follows(&c->session), lost = follows && !replicas_tend(&c->session);
    bool idle = timeout_us && idle_us > timeout_us && !c->blocked && c->output.size == 0 && !c->session.is_told && !follows;
    if (idle || late || lost) {
        c->end = idle ? END_IDLE : END_ERROR;
        counter_add(shakes ? &w->stats.tls_refused : &w->stats.idle_closed, 1);
        net_log(w->net, 1, "client id=%llu addr=%s closed: %s", (unsigned long long)c->session.id, c->record.address,
                shakes ? "its TLS handshake did not end in time" : late ? "it did not authenticate in time" : lost ? "a replica that says nothing" : "idle");
        conn_close(c);
        return;
    }
    const struct output_limits *output = conn_output_limits(c);
    uint64_t soft = atomic_load(&output->soft);
    size_t open = conn_judged(c, c->open_end > c->output_base + c->sent ? (size_t)(c->open_end - c->output_base - c->sent) : 0);
    if (soft == 0 || open <= soft) {
        c->soft_since_us = 0;
    } else if (c->soft_since_us == 0) {
        c->soft_since_us = w->now_us;
    } else if (w->now_us - c->soft_since_us > (uint64_t)atomic_load(&output->soft_s) * 1000000) {
        counter_add(&w->stats.output_closed, 1);
        net_log(w->net, 3, "client id=%llu addr=%s closed: above its soft output limit for too long",
                (unsigned long long)c->session.id, c->record.address);
        conn_close(c);
        return;
    }
    buf_shrink(&c->input, idle_us > 1000000 ? 0 : INPUT_KEPT);
    if (idle_us > 1000000)
        buf_shrink(&c->output, 0);
    if (c->tls) {
        tls_shrink(c->tls);
        c->tls_bytes = tls_memory(c->tls);
    }
    conn_note_memory(c);
}
