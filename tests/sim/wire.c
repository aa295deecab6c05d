/* wire.c -- sockets and epoll, as far as the workers use them.
 *
 * The product's net layer runs as it is; the linker (--wrap) hands its epoll, accept and close
 * to this file, and struct os its recv and send. Edges are reported once, as EPOLLET has it;
 * a listener and a wake-up descriptor are level-triggered. The way to the client has
 * room for out_room bytes.
 */
#include "sim.h"

#include "net/listener.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#define FIRST_FD 5000
#define ENDS_MAX 4096
#define BACKLOG_MAX 256

enum end_kind { END_NONE, END_POLLER, END_WAKE, END_LISTENER, END_SOCKET };

struct poller { bool listens; void *listener_data, *wake_data; struct end *wake; };

/* One descriptor of ours. */
struct end {
    enum end_kind kind;
    struct poller poller;
    struct poller *watched_by; /* END_WAKE */
    uint64_t count;            /* END_WAKE: signals */
    struct wire wire;
};

static struct { struct end *ends[ENDS_MAX]; int count, first; struct wire *backlog[BACKLOG_MAX]; int waiting; } net;

static struct end *end_new(enum end_kind kind, int *fd)
{
    struct end *e = calloc(1, sizeof(*e));
    hf_assert(e && net.count < ENDS_MAX);
    e->kind = kind;
    *fd = FIRST_FD + net.count;
    net.ends[net.count++] = e;
    return e;
}

static struct end *end_of(int fd)
{
    hf_assert(fd >= FIRST_FD && fd < FIRST_FD + net.count);
    return net.ends[fd - FIRST_FD];
}

bool wire_owns(int fd) { return fd >= FIRST_FD; }

struct wire *wire_of(int fd)
{
    hf_assert(end_of(fd)->kind == END_SOCKET);
    return &end_of(fd)->wire;
}

void wire_world_begin(void)
{
    net.first = net.count; /* descriptors of the dead are never asked for again */
    net.waiting = 0;
}

static void edge(struct wire *w, uint32_t events)
{
    w->pending |= events;
    if (w->poller)
        sim_wake(w->poller, 1);
}

/* ---- the client's end ---- */

struct wire *wire_connect(void)
{
    int fd;
    struct end *e = end_new(END_SOCKET, &fd);
    struct wire *w = &e->wire;
    w->fd = fd;
    w->out_room = sim_chance(DICE_WORK, 4) ? 64 + sim_random(DICE_WORK, 1024) : 1 << 20;
    buf_init(&w->in, SIZE_MAX);
    buf_init(&w->out, SIZE_MAX);
    hf_assert(net.waiting < BACKLOG_MAX);
    net.backlog[net.waiting++] = w;
    for (int i = net.first; i < net.count; i++) {
        if (net.ends[i]->kind == END_POLLER && net.ends[i]->poller.listens)
            sim_wake(&net.ends[i]->poller, 1);
    }
    return w;
}

/* The kernel's doing, so nobody sees it half done: growing counts memory, which is a scheduling point. */
static void put(struct buf *b, const void *data, size_t size)
{
    sim_undivided(true);
    buf_append(b, data, size);
    sim_undivided(false);
}

void wire_send(struct wire *w, const void *data, size_t size)
{
    put(&w->in, data, size);
    edge(w, EPOLLIN);
}

size_t wire_take(struct wire *w)
{
    size_t size = w->out.size - w->out_at;
    w->out_at = w->out.size;
    if (size && w->starved) {
        w->starved = false;
        edge(w, EPOLLOUT);
    }
    return size;
}

void wire_close(struct wire *w)
{
    w->client_closed = true;
    edge(w, EPOLLIN | EPOLLRDHUP | EPOLLHUP);
}

/* ---- the server's end ---- */

int64_t wire_recv(int fd, void *data, size_t size)
{
    struct wire *w = wire_of(fd);
    os_sched_point(SCHED_WAKE);
    size_t there = w->in.size - w->in_at, got = there < size ? there : size;
    if (got == 0)
        return w->client_closed ? 0 : -EAGAIN;
    memcpy(data, w->in.data + w->in_at, got);
    w->in_at += got;
    return (int64_t)got;
}

int wire_server_unsent(int fd)
{
    (void)fd;
    return 0;
}

int64_t wire_server_send(int fd, const struct iovec *parts, int count)
{
    struct wire *w = wire_of(fd);
    size_t sent = 0;
    os_sched_point(SCHED_WAKE);
    if (w->client_closed)
        return -EPIPE;
    for (int i = 0; i < count; i++) {
        size_t used = w->out.size - w->out_at, room = used < w->out_room ? w->out_room - used : 0;
        size_t size = parts[i].iov_len < room ? parts[i].iov_len : room;
        history_sent(w, parts[i].iov_base, size);
        put(&w->out, parts[i].iov_base, size);
        sent += size;
        if (size < parts[i].iov_len) {
            w->starved = true;
            break;
        }
    }
    sim_wake(w, 1);
    return sent ? (int64_t)sent : -EAGAIN;
}

int wire_server_close(int fd)
{
    struct wire *w = wire_of(fd);
    w->server_closed = true;
    w->poller = NULL;
    sim_wake(w, 1);
    return 0;
}

/* ---- the product's calls ---- */

int wakefd_open(void)
{
    int fd;
    end_new(END_WAKE, &fd);
    return fd;
}

void wakefd_signal(int fd)
{
    struct end *e = end_of(fd);
    os_sched_point(SCHED_WAKE);
    e->count++;
    if (e->watched_by)
        sim_wake(e->watched_by, 1);
    os_sched_point(SCHED_WAKE);
}

void wakefd_drain(int fd) { end_of(fd)->count = 0; }

int __wrap_epoll_create1(int flags);
int __wrap_epoll_ctl(int poller, int op, int fd, struct epoll_event *event);
int __wrap_epoll_wait(int poller, struct epoll_event *events, int max, int timeout_ms);
int __wrap_accept4(int fd, struct sockaddr *address, socklen_t *size, int flags);
int __wrap_close(int fd);
int __real_close(int fd);
status __wrap_listeners_open(struct listeners *l, const struct net_config *config, struct listeners *before, char *detail, size_t size);

int __wrap_epoll_create1(int flags)
{
    int fd;
    (void)flags;
    end_new(END_POLLER, &fd);
    return fd;
}

int __wrap_epoll_ctl(int poller, int op, int fd, struct epoll_event *event)
{
    struct poller *p = &end_of(poller)->poller;
    struct end *e = end_of(fd);
    if (e->kind == END_LISTENER) {
        p->listens = op == EPOLL_CTL_ADD;
        p->listener_data = event ? event->data.ptr : NULL;
    } else if (e->kind == END_WAKE) {
        e->watched_by = p;
        p->wake = e;
        p->wake_data = event->data.ptr;
    } else {
        e->wire.poller = p;
        e->wire.data = event->data.ptr;
        e->wire.pending |= EPOLLOUT | (e->wire.in.size > e->wire.in_at || e->wire.client_closed ? (uint32_t)EPOLLIN : 0);
    }
    return 0;
}

static int collect(struct poller *p, struct epoll_event *events, int max)
{
    int count = 0, span = net.count - net.first, turn = (int)sim_random(DICE_SCHED, (uint64_t)span);
    if (p->wake && p->wake->count && count < max)
        events[count++] = (struct epoll_event){.events = EPOLLIN, .data.ptr = p->wake_data};
    if (p->listens && net.waiting && count < max)
        events[count++] = (struct epoll_event){.events = EPOLLIN, .data.ptr = p->listener_data};
    for (int i = 0; i < span && count < max; i++) {
        struct wire *w = &net.ends[net.first + (turn + i) % span]->wire;
        if (w->poller != p || !w->pending)
            continue;
        events[count++] = (struct epoll_event){.events = w->pending, .data.ptr = w->data};
        w->pending = 0;
    }
    return count;
}

int __wrap_epoll_wait(int poller, struct epoll_event *events, int max, int timeout_ms)
{
    struct poller *p = &end_of(poller)->poller;
    uint64_t until = timeout_ms < 0 ? UINT64_MAX : sim.now + (uint64_t)timeout_ms * SIM_MS;
    os_sched_point(SCHED_WAKE);
    for (;;) {
        int count = collect(p, events, max);
        if (count || sim.now >= until)
            return count;
        sim_block(p, until == UINT64_MAX ? until : until - sim.now);
    }
}

int __wrap_accept4(int fd, struct sockaddr *address, socklen_t *size, int flags)
{
    (void)fd, (void)address, (void)size, (void)flags;
    os_sched_point(SCHED_WAKE);
    if (net.waiting == 0) {
        errno = EAGAIN;
        return -1;
    }
    struct wire *w = net.backlog[0];
    memmove(net.backlog, net.backlog + 1, (size_t)--net.waiting * sizeof(struct wire *));
    w->accepted = true;
    return w->fd;
}

int __wrap_close(int fd)
{
    if (!wire_owns(fd))
        return __real_close(fd);
    return end_of(fd)->kind == END_SOCKET ? wire_server_close(fd) : 0;
}

status __wrap_listeners_open(struct listeners *l, const struct net_config *config, struct listeners *before, char *detail, size_t size)
{
    (void)config, (void)before, (void)detail, (void)size;
    *l = (struct listeners){.count = 1};
    end_new(END_LISTENER, &l->items[0].fd);
    l->items[0].door.is_unix = true;
    return HF_OK;
}
