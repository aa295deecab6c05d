/* load_run.c -- one thread's connections, driven to the end of the run.
 *
 * Closed loop: a connection sends `pipeline` requests, waits for all replies, sends the next. Latency is from
 * the send of a batch to the arrival of each reply.
 * Open loop: operation i has an intended time, start + i / rate, whatever the server does. It is sent on the
 * next connection with room (fewer than `pipeline` in flight), late if there is none, and its latency
 * counts from the intended time. So a stall of the server shows in every operation that it delayed, not in
 * one per connection (no coordinated omission). What has no reply at the end counts with its age.
 * Either way the clock is read once for all bytes that arrive together.
 */
#include "load.h"

#include "base/assert.h"
#include "base/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define EVENTS 128
#define READ_SIZE (256u << 10)
#define TIMER_SLACK_NS 1000
#define IDLE_WAIT_NS 100000000u

uint64_t load_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static uint64_t cpu_ns(void)
{
    struct timespec used;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
    return (uint64_t)used.tv_sec * 1000000000u + (uint64_t)used.tv_nsec;
}

static bool failed(struct load_thread *t, const char *what, const char *why)
{
    if (!t->failure[0])
        snprintf(t->failure, sizeof(t->failure), "%.280s: %.180s", what, why);
    return false;
}

/* ---- which key ---- */

static uint64_t random_next(struct load_thread *t)
{
    uint64_t x = t->random += 0x9e3779b97f4a7c15u; /* splitmix64 */
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

static uint64_t random_below(struct load_thread *t, uint64_t limit)
{
    return (uint64_t)((unsigned __int128)random_next(t) * limit >> 64);
}

static double random_share(struct load_thread *t)
{
    return (double)(random_next(t) >> 11) * 0x1p-53;
}

/* Exact for the first million ranks, an integral beyond. */
double zipf_zeta(uint64_t count, double skew)
{
    uint64_t exact = count < 1000000 ? count : 1000000;
    double sum = 0;
    for (uint64_t i = 1; i <= exact; i++)
        sum += pow((double)i, -skew);
    if (count > exact)
        sum += (pow((double)count + 0.5, 1 - skew) - pow((double)exact + 0.5, 1 - skew)) / (1 - skew);
    return sum;
}

/* Gray et al., "Quickly generating billion-record synthetic databases" (1994): one power a draw. The rank is
 * scattered, so that hot keys are no neighbours. */
static uint64_t zipf_below(struct load_thread *t, uint64_t limit)
{
    double skew = t->options->skew, u = random_share(t), uz = u * t->zipf_zeta, count = (double)limit;
    uint64_t rank;
    if (uz < 1) {
        rank = 0;
    } else if (uz < 1 + pow(0.5, skew)) {
        rank = 1;
    } else {
        double eta = (1 - pow(2 / count, 1 - skew)) / (1 - (1 + pow(0.5, skew)) / t->zipf_zeta);
        rank = (uint64_t)(count * pow(eta * u - eta + 1, 1 / (1 - skew)));
    }
    rank = rank < limit ? rank : limit - 1;
    return (uint64_t)((unsigned __int128)(rank * 0x9e3779b97f4a7c15u) * limit >> 64);
}

static uint64_t next_key(struct load_thread *t)
{
    uint64_t key, keys = t->options->keys;
    switch (t->options->order) {
    case ORDER_UNIFORM:
        return random_below(t, keys);
    case ORDER_ZIPF:
        return zipf_below(t, keys);
    default:
        key = t->next_key;
        t->next_key += t->key_step;
        return key % keys;
    }
}

/* ---- connections ---- */

static int connect_one(const struct addrinfo *list)
{
    int fd = -1, error = ECONNREFUSED;
    for (const struct addrinfo *a = list; a && fd < 0; a = a->ai_next) {
        fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol);
        if (fd >= 0 && connect(fd, a->ai_addr, a->ai_addrlen) < 0) {
            error = errno;
            close(fd);
            fd = -1;
        }
    }
    return fd >= 0 ? fd : -error;
}

/* The socket is still blocking here. */
static bool authenticate(struct load_thread *t, int fd)
{
    const char *password = t->options->password;
    char line[256];
    struct timeval patience = {.tv_sec = 5};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    int size = snprintf(line, sizeof(line), "*2\r\n$4\r\nAUTH\r\n$%zu\r\n%s\r\n", strlen(password), password);
    if (size >= (int)sizeof(line))
        return failed(t, "AUTH", "the password is too long");
    if (send(fd, line, (size_t)size, MSG_NOSIGNAL) != size)
        return failed(t, "AUTH", strerror(errno));
    ssize_t got = recv(fd, line, sizeof(line) - 1, 0);
    if (got <= 0)
        return failed(t, "AUTH", got < 0 ? strerror(errno) : "the server closed the connection");
    line[got] = '\0';
    line[strcspn(line, "\r\n")] = '\0';
    return line[0] == '+' || failed(t, "AUTH", line);
}

static void conn_make(struct load_thread *t, struct load_conn *c, int fd)
{
    const struct load_options *o = t->options;
    size_t stride = t->set.size > t->get.size ? t->set.size : t->get.size;
    stride = stride > t->ping.size ? stride : t->ping.size;
    stride = stride > t->command.size ? stride : t->command.size;
    *c = (struct load_conn){.fd = fd, .out = mem_alloc(o->pipeline * stride)};
    c->intended_ns = mem_alloc(o->pipeline * sizeof(*c->intended_ns));
    reader_init(&c->reader, o);
}

bool load_thread_open(struct load_thread *t)
{
    const struct load_options *o = t->options;
    struct addrinfo *list, hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    char port[16];
    snprintf(port, sizeof(port), "%u", (unsigned)o->port);
    int error = getaddrinfo(o->host, port, &hints, &list);
    if (error)
        return failed(t, o->host, gai_strerror(error));
    t->get = request_new(o, OPERATION_GET);
    t->set = request_new(o, OPERATION_SET);
    t->ping = request_new(o, OPERATION_PING);
    t->command = request_of_commands(o);
    t->conns = mem_zalloc(t->conn_count * sizeof(*t->conns));
    t->epoll = epoll_create1(EPOLL_CLOEXEC);
    for (unsigned i = 0; i < t->conn_count; i++)
        t->conns[i].fd = -1;
    for (unsigned i = 0; i < t->conn_count && !t->failure[0]; i++) {
        int fd = connect_one(list), yes = 1;
        if (fd < 0) {
            char where[300];
            snprintf(where, sizeof(where), "cannot connect to %.200s:%s", o->host, port);
            failed(t, where, strerror(-fd));
            break;
        }
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
        conn_make(t, &t->conns[i], fd);
        if (o->password && !authenticate(t, fd))
            break;
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = &t->conns[i]};
        if (fcntl(fd, F_SETFL, O_NONBLOCK) < 0 || epoll_ctl(t->epoll, EPOLL_CTL_ADD, fd, &event) < 0)
            failed(t, "epoll", strerror(errno));
    }
    freeaddrinfo(list);
    return !t->failure[0];
}

void load_thread_close(struct load_thread *t)
{
    for (unsigned i = 0; t->conns && i < t->conn_count; i++) {
        if (t->conns[i].fd >= 0)
            close(t->conns[i].fd);
        mem_free(t->conns[i].out);
        mem_free(t->conns[i].intended_ns);
    }
    mem_free(t->conns);
    mem_free(t->get.data);
    mem_free(t->set.data);
    mem_free(t->ping.data);
    mem_free(t->command.data);
    close(t->epoll);
}

/* ---- sending ---- */

static const struct request *next_request(struct load_thread *t)
{
    switch (t->options->operation) {
    case OPERATION_GET: return &t->get;
    case OPERATION_SET: return &t->set;
    case OPERATION_PING: return &t->ping;
    case OPERATION_COMMAND: return &t->command;
    default: return random_share(t) < t->options->get_share ? &t->get : &t->set;
    }
}

static void append_request(struct load_thread *t, struct load_conn *c)
{
    const struct request *r = next_request(t);
    uint8_t *at = c->out + c->out_size;
    memcpy(at, r->data, r->size);
    if (r->digits)
        request_set_key(r, at, next_key(t));
    c->out_size += r->size;
    c->in_flight++;
    t->sent++;
}

static void watch_writable(struct load_thread *t, struct load_conn *c, bool on)
{
    struct epoll_event event = {.events = on ? EPOLLIN | EPOLLOUT : EPOLLIN, .data.ptr = c};
    if (c->watches_writable != on && epoll_ctl(t->epoll, EPOLL_CTL_MOD, c->fd, &event) == 0)
        c->watches_writable = on;
}

static bool flush(struct load_thread *t, struct load_conn *c)
{
    while (c->out_sent < c->out_size) {
        ssize_t put = send(c->fd, c->out + c->out_sent, c->out_size - c->out_sent, MSG_NOSIGNAL);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0 && errno == EAGAIN) {
            watch_writable(t, c, true);
            return true;
        }
        if (put < 0)
            return failed(t, "send", strerror(errno));
        c->out_sent += (size_t)put;
    }
    c->out_size = c->out_sent = 0;
    watch_writable(t, c, false);
    return true;
}

static bool may_send(const struct load_thread *t, uint64_t now)
{
    return t->sent < t->limit && now < t->stop_ns;
}

static bool send_batch(struct load_thread *t, struct load_conn *c, uint64_t now)
{
    hf_assert(c->in_flight == 0 && c->out_size == 0);
    while (c->in_flight < t->options->pipeline && t->sent < t->limit)
        append_request(t, c);
    c->batch_ns = now;
    return flush(t, c);
}

/* ---- open loop ---- */

/* The threads take turns: operation i of this one is number i * threads + number of all. */
static uint64_t intended_ns(const struct load_thread *t, uint64_t i)
{
    const struct load_options *o = t->options;
    return t->start_ns + (uint64_t)((double)(i * o->threads + t->number) * (1e9 / o->rate));
}

/* Sends what is due while there is room. */
static bool dispatch(struct load_thread *t, uint64_t now)
{
    unsigned at = (unsigned)(t->sent % t->conn_count), full = 0;
    unsigned pipeline = (unsigned)t->options->pipeline;
    while (full < t->conn_count && t->sent < t->limit && intended_ns(t, t->sent) <= now) {
        struct load_conn *c = &t->conns[at];
        at = at + 1 < t->conn_count ? at + 1 : 0;
        if (c->in_flight == pipeline || c->out_sent) {
            full++;
            continue;
        }
        full = 0;
        c->intended_ns[(c->first + c->in_flight) % pipeline] = intended_ns(t, t->sent);
        append_request(t, c);
    }
    for (unsigned i = 0; i < t->conn_count; i++) {
        if (t->conns[i].out_size && !t->conns[i].watches_writable && !flush(t, &t->conns[i]))
            return false;
    }
    return true;
}

static void count_open(struct load_thread *t, struct load_conn *c, uint64_t replies, uint64_t now)
{
    for (uint64_t i = 0; i < replies; i++) {
        uint64_t intended = c->intended_ns[c->first];
        c->first = c->first + 1 < t->options->pipeline ? c->first + 1 : 0;
        histogram_add(&t->latency, now - intended, 1);
    }
}

/* Open loop: what is owed counts with its age. */
static void count_unfinished(struct load_thread *t, uint64_t now)
{
    for (unsigned i = 0; i < t->conn_count; i++) {
        struct load_conn *c = &t->conns[i];
        t->unfinished += c->in_flight;
        if (t->options->rate > 0)
            count_open(t, c, c->in_flight, now);
        else if (c->in_flight)
            histogram_add(&t->latency, now - c->batch_ns, c->in_flight);
    }
    for (uint64_t i = t->sent; t->options->rate > 0 && i < t->limit && intended_ns(t, i) < now; i++) {
        histogram_add(&t->latency, now - intended_ns(t, i), 1);
        t->unfinished++;
    }
}

/* ---- the loop ---- */

static bool receive(struct load_thread *t, struct load_conn *c, uint8_t *room)
{
    ssize_t got = recv(c->fd, room, READ_SIZE, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return true;
    if (got <= 0)
        return failed(t, "the server", got < 0 ? strerror(errno) : "closed the connection");
    uint64_t now = load_now_ns();
    int64_t replies = reader_feed(&c->reader, room, (size_t)got, &t->counts);
    if (replies < 0)
        return failed(t, "the server", t->counts.first_error);
    if (replies > c->in_flight)
        return failed(t, "the server", "more replies than requests");
    if (replies == 0)
        return true;
    if (t->options->rate > 0)
        count_open(t, c, (uint64_t)replies, now);
    else
        histogram_add(&t->latency, now - c->batch_ns, (uint64_t)replies);
    c->in_flight -= (unsigned)replies;
    t->done += (uint64_t)replies;
    t->end_ns = now;
    if (t->options->rate == 0 && c->in_flight == 0 && may_send(t, now))
        return send_batch(t, c, now);
    return true;
}

static uint64_t wait_ns(const struct load_thread *t, uint64_t now)
{
    if (t->options->rate == 0 || t->sent == t->limit)
        return IDLE_WAIT_NS;
    uint64_t next = intended_ns(t, t->sent);
    if (next <= now) /* due, and no room: a reply will make some */
        return IDLE_WAIT_NS;
    return next - now < IDLE_WAIT_NS ? next - now : IDLE_WAIT_NS;
}

static int wait_events(struct load_thread *t, struct epoll_event *events, uint64_t now)
{
    uint64_t wait = wait_ns(t, now);
    struct timespec timeout = {.tv_sec = (time_t)(wait / 1000000000u), .tv_nsec = (long)(wait % 1000000000u)};
    int count = epoll_pwait2(t->epoll, events, EVENTS, &timeout, NULL);
    if (count < 0 && errno == ENOSYS) /* before Linux 5.11: to the millisecond, then awake */
        count = epoll_wait(t->epoll, events, EVENTS, (int)(wait / 1000000u));
    return count < 0 && errno == EINTR ? 0 : count;
}

static bool handle(struct load_thread *t, const struct epoll_event *event, uint8_t *room)
{
    struct load_conn *c = event->data.ptr;
    if (event->events & EPOLLOUT && !flush(t, c))
        return false;
    return !(event->events & ~(uint32_t)EPOLLOUT) || receive(t, c, room);
}

static bool over(const struct load_thread *t, uint64_t now)
{
    bool issued = t->options->rate > 0 ? t->sent == t->limit : !may_send(t, now);
    return issued && t->done == t->sent;
}

/* By when everything must have been answered. */
static uint64_t patience_end(const struct load_thread *t)
{
    uint64_t last = t->options->rate > 0 ? intended_ns(t, t->limit) : t->stop_ns;
    return last < UINT64_MAX - LOAD_DRAIN_NS ? last + LOAD_DRAIN_NS : UINT64_MAX;
}

static void drive(struct load_thread *t, uint8_t *room)
{
    struct epoll_event events[EVENTS];
    bool open = t->options->rate > 0;
    uint64_t now = load_now_ns(), give_up = patience_end(t);
    for (unsigned i = 0; !open && i < t->conn_count && may_send(t, now); i++) {
        if (!send_batch(t, &t->conns[i], now))
            return;
    }
    while (!over(t, now) && now < give_up) {
        if (open && !dispatch(t, now))
            return;
        int count = wait_events(t, events, now);
        if (count < 0) {
            failed(t, "epoll", strerror(errno));
            return;
        }
        for (int i = 0; i < count; i++) {
            if (!handle(t, &events[i], room))
                return;
        }
        now = load_now_ns();
    }
    count_unfinished(t, now);
}

void *load_thread_run(void *thread)
{
    struct load_thread *t = thread;
    uint8_t *room = mem_alloc(READ_SIZE);
    prctl(PR_SET_TIMERSLACK, TIMER_SLACK_NS, 0, 0, 0);
    uint64_t before = cpu_ns();
    t->end_ns = t->start_ns;
    drive(t, room);
    t->cpu_ns = cpu_ns() - before;
    mem_free(room);
    return NULL;
}
