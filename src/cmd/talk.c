/* talk.c -- one conversation: resolve, connect, send, read lines; each step does what is possible at once.
 *
 * Whether a connection stands shows when it takes bytes, or refuses them: there is nothing else to ask for. A failure before the
 * first byte was taken is one of writing, as Redis words it; of connecting it is only when no answer came in time.
 */
#include "cmd/talk.h"

#include "base/memory.h"
#include "os/os.h"
#include "os/thread.h"

#include <errno.h>

#define LOOK_US 1000u
#define RESOLVING_MAX 32u
#define PIECES_MAX 32 /* of a step, so that one conversation does not hold up others */
#define READ_SIZE 4096

/* ---- names ---- */

/* Shared by the talk and the thread; whoever lets go last frees it. */
struct resolving {
    _Atomic unsigned holders;
    _Atomic int result; /* 1: under way */
    char address[128];
    char host[];
};

static _Atomic unsigned resolving_now;

static void resolving_leave(struct resolving *r)
{
    if (atomic_fetch_sub(&r->holders, 1) == 1)
        mem_free(r);
}

static void *resolve(void *context)
{
    struct resolving *r = context;
    atomic_store(&r->result, OS.resolve(r->host, r->address, sizeof(r->address)));
    resolving_leave(r);
    atomic_fetch_sub(&resolving_now, 1);
    return NULL;
}

static bool resolve_start(struct talk *t)
{
    size_t size = strlen(t->host) + 1;
    if (atomic_fetch_add(&resolving_now, 1) >= RESOLVING_MAX) {
        atomic_fetch_sub(&resolving_now, 1);
        return false;
    }
    struct resolving *r = t->resolving = mem_zalloc(sizeof(*r) + size);
    memcpy(r->host, t->host, size);
    atomic_store(&r->holders, 2);
    atomic_store(&r->result, 1);
    thread_detach(thread_start("resolve", resolve, r));
    return true;
}

/* ---- life ---- */

void talk_init(struct talk *t)
{
    *t = (struct talk){.fd = -1};
    buf_init(&t->out, SIZE_MAX);
}

static void hang_up(struct talk *t)
{
    if (t->fd >= 0)
        OS.close(t->fd); /* and leaves the network's set */
    t->fd = -1;
    t->watched = false;
    if (t->resolving)
        resolving_leave(t->resolving);
    t->resolving = NULL;
}

void talk_release(struct talk *t)
{
    hang_up(t);
    buf_release(&t->out);
}

void talk_again(struct talk *t)
{
    hang_up(t);
    t->state = TALK_NEW;
    t->sent = t->answered = t->lines.size = 0;
    t->deadline_us = 0;
    t->late = false;
}

void talk_go_on(struct talk *t)
{
    hf_assert(t->state == TALK_DONE);
    t->state = TALK_OPEN;
    t->sent = t->answered = t->expected = 0;
    t->deadline_us = 0;
    buf_reset(&t->out);
}

void talk_fail(struct talk *t, enum talk_fault fault)
{
    t->state = TALK_FAILED;
    t->fault = fault;
    hang_up(t);
}

void talk_wait(struct call *c)
{
    c->waits = true;
    c->wait_seconds = 0; /* the network keeps the time */
}

void talk_drop(struct session *s)
{
    struct talk *t = s->talk;
    s->talk = NULL;
    if (t)
        t->release(t);
}

/* ---- the answers ---- */

size_t talk_lines_take(struct talk_lines *l, bytes data, bool *complete, bytes *line)
{
    const uint8_t *end = data.size ? memchr(data.data, '\n', data.size) : NULL;
    size_t size = end ? (size_t)(end - data.data) : data.size;
    size_t room = TALK_LINE_MAX + 1 - l->size, kept = size < room ? size : room; /* and its CR */
    if (kept)
        memcpy(l->line + l->size, data.data, kept);
    l->size += kept;
    *complete = end != NULL;
    if (!end)
        return size;
    if (l->size && l->line[l->size - 1] == '\r')
        l->size--;
    *line = bytes_of(l->line, l->size < TALK_LINE_MAX ? l->size : TALK_LINE_MAX);
    l->size = 0;
    return size + 1;
}

static bool take_answers(struct talk *t, bytes data)
{
    while (data.size && t->answered < t->expected) {
        bool complete;
        bytes line = {NULL, 0};
        size_t taken = talk_lines_take(&t->lines, data, &complete, &line);
        data = bytes_of(data.data + taken, data.size - taken);
        if (complete && !t->answer(t, t->answered++, line))
            return false;
    }
    return true;
}

/* ---- steps ---- */

/* True: something has moved. */
static bool send_some(struct talk *t)
{
    struct iovec part = {t->out.data + t->sent, t->out.size - t->sent};
    if (!part.iov_len)
        return false;
    int64_t put = OS.send(t->fd, &part, 1);
    if (put < 0 && put != -EAGAIN)
        talk_fail(t, TALK_WRITING);
    if (put <= 0)
        return false;
    t->sent += (size_t)put;
    return true;
}

static bool receive_some(struct talk *t)
{
    uint8_t data[READ_SIZE];
    if (!t->sent) /* it may not stand yet, and nobody answers what was not asked */
        return false;
    int64_t got = OS.recv(t->fd, data, sizeof(data));
    if (got == -EAGAIN)
        return false;
    if (got <= 0 || !take_answers(t, bytes_of(data, (size_t)got))) {
        talk_fail(t, TALK_READING);
        return false;
    }
    if (t->answered == t->expected && t->sent == t->out.size)
        t->state = TALK_DONE;
    return true;
}

static void open_to(struct talk *t, const char *address)
{
    t->fd = OS.connect(address, t->port);
    if (t->fd < 0)
        talk_fail(t, TALK_CONNECTING);
    else
        t->state = TALK_OPEN;
}

/* An address of numbers is no name. */
static void begin(struct talk *t)
{
    t->fd = OS.connect(t->host, t->port);
    if (t->fd >= 0)
        t->state = TALK_OPEN;
    else if (t->fd == -EINVAL && resolve_start(t))
        t->state = TALK_RESOLVING;
    else
        talk_fail(t, TALK_CONNECTING);
    if (t->fd < 0)
        t->fd = -1;
}

static void look_for_address(struct talk *t)
{
    char address[sizeof(t->resolving->address)];
    int result = atomic_load(&t->resolving->result);
    if (result > 0)
        return;
    memcpy(address, t->resolving->address, sizeof(address));
    resolving_leave(t->resolving);
    t->resolving = NULL;
    if (result == 0)
        open_to(t, address);
    else
        talk_fail(t, TALK_CONNECTING);
}

static enum talk_fault late_fault(const struct talk *t)
{
    return !t->sent ? TALK_CONNECTING : t->sent < t->out.size ? TALK_WRITING : TALK_READING;
}

void talk_step(struct talk *t, uint64_t now_us)
{
    bool moved = t->deadline_us == 0;
    int pieces = 0;
    if (t->state == TALK_NEW) {
        begin(t);
        moved = true;
    }
    if (t->state == TALK_RESOLVING)
        look_for_address(t);
    for (bool more = true; t->state == TALK_OPEN && more && pieces < PIECES_MAX; pieces++) {
        more = send_some(t);
        more |= t->state == TALK_OPEN && receive_some(t);
        moved |= more;
    }
    if (moved)
        t->deadline_us = now_us + t->timeout_us;
    if (!talk_is_over(t) && now_us >= t->deadline_us) {
        t->late = true;
        talk_fail(t, late_fault(t));
    }
    bool soon = t->state == TALK_RESOLVING || pieces == PIECES_MAX;
    t->look_us = soon ? now_us + (pieces ? 0 : LOOK_US) : t->deadline_us;
}
