/* worker.c -- the event loop.
 *
 * Lost wake-ups: a worker with gated replies or a shut gate sets wants_wake, looks
 * again, and only then sleeps; net_wake_workers moves its positions first, then looks
 * at the flag (both sides with a full fence). An awake worker is never signalled: it
 * reads the positions in every step.
 */
#include "net/worker.h"

#include "base/memory.h"
#include "cmd/acl.h"
#include "cmd/exec_script.h"
#include "cmd/message.h"
#include "engine/engine.h"
#include "os/os.h"
#include "proto/protocol.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define EVENTS 256
#define ACCEPTS 64           /* per listener and step */
#define ACCEPT_REST_US 100000 /* after "too many open files" and the like */
#define RETRY_MS 5           /* gate shut, or commands parked: the gate may open, credit return, without a wake */
#define WAIT_MAX_US 60000000
#define WORDS_KEPT 4096     /* beyond a second */
#define TEND_SLOW_US 1000000
#define TEND_FAST_US 100000
#define TEND_SLOW_COUNT 256  /* above: a tenth of the connections ten times a second */

/* The low bits of an event's pointer say what it points to. */
enum { TAG_CONN = 0, TAG_LISTENER = 1, TAG_WAKE = 2, TAG_TALK = 3, TAG_MASK = 3 };

static _Thread_local const struct worker *current_worker;

int worker_watch_talk(struct worker *w, int fd, struct conn *c)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
                                .data.u64 = (uint64_t)(uintptr_t)c | TAG_TALK};
    return epoll_ctl(w->epoll, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

bool worker_is_current(const struct worker *w) { return current_worker == w; }

/* ---- life ---- */

static void listen_start(struct worker *w)
{
    struct listeners *l = w->listeners;
    for (size_t i = 0; i < l->count; i++) {
        struct epoll_event event = {.events = EPOLLIN | EPOLLEXCLUSIVE,
                                    .data.u64 = (uint64_t)(uintptr_t)&l->items[i] | TAG_LISTENER};
        if (epoll_ctl(w->epoll, EPOLL_CTL_ADD, l->items[i].fd, &event) < 0)
            net_log(w->net, 3, "cannot watch a listening socket: %s", strerror(errno));
    }
    w->listening = true;
}

static void listen_stop(struct worker *w)
{
    struct listeners *l = w->listeners;
    for (size_t i = 0; w->listening && i < l->count; i++)
        epoll_ctl(w->epoll, EPOLL_CTL_DEL, l->items[i].fd, NULL);
    w->listening = false;
}

/* CONFIG SET port, bind: on to the newest set (listener.h). */
static void listen_elsewhere(struct worker *w)
{
    listen_stop(w);
    while (atomic_load(&w->listeners->next))
        w->listeners = listeners_leave(w->listeners);
    w->accept_again_us = 0;
    if (!w->draining)
        listen_start(w);
}

status worker_new(struct net *n, unsigned number, struct worker **out)
{
    struct worker *w = mem_alloc_aligned(64, sizeof(*w));
    memset(w, 0, sizeof(*w));
    w->net = n;
    w->number = number;
    w->inbox.wakefd = wakefd_open();
    w->epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = TAG_WAKE};
    if (w->inbox.wakefd < 0 || w->epoll < 0 || epoll_ctl(w->epoll, EPOLL_CTL_ADD, w->inbox.wakefd, &event) < 0) {
        if (w->inbox.wakefd >= 0)
            close(w->inbox.wakefd);
        if (w->epoll >= 0)
            close(w->epoll);
        mem_free(w);
        return HF_ERR_IO;
    }
    list_init(&w->ready);
    list_init(&w->turn);
    list_init(&w->flush);
    list_init(&w->flush_on);
    list_init(&w->gated);
    list_init(&w->sleeping);
    list_init(&w->graveyard);
    arena_init(&w->text);
    w->words.text = &w->text;
    w->shared = mem_alloc_aligned(64, READ_SHARED);
    w->batch = mem_alloc(RUN_CHUNK * sizeof(*w->batch));
    pushes_init(&w->pushes);
    w->exec = exec_new(n->engine, number);
    w->now_us = OS.monotonic_us();
    w->listeners = n->listeners;
    atomic_fetch_add(&n->listeners->users, 1);
    listen_start(w);
    *out = w;
    return HF_OK;
}

void worker_free(struct worker *w)
{
    hf_assert(w->registry.count == 0 && list_empty(&w->graveyard));
    worker_aside_free(w);
    exec_free(w->exec);
    close(w->epoll);
    close(w->inbox.wakefd);
    resp_words_release(&w->words);
    arena_release(&w->text);
    mem_free(w->shared);
    mem_free(w->batch);
    pushes_release(&w->pushes);
    mem_free(w->registry.items);
    timers_release(&w->timers);
    while (w->listeners)
        w->listeners = listeners_leave(w->listeners);
    mem_free(w);
}

/* ---- new connections ---- */

struct arrival { /* an accepted socket on its way to another worker */
    struct inbox_node node;
    int fd;
    struct door door;
};

static void adopt(struct worker *w, int fd, struct door door)
{
    if (w->draining) {
        OS.close(fd);
        atomic_fetch_sub(&w->net->connections, 1);
        return;
    }
    conn_open(w, fd, door);
}

/* Round robin over the workers, whoever accepted. */
static void place(struct worker *w, int fd, struct door door)
{
    struct net *n = w->net;
    static const char full[] = "-ERR max number of clients reached\r\n";
    if (atomic_fetch_add(&n->connections, 1) >= atomic_load(&n->limits->maxclients)) {
        const char *text = door.tls ? "" : door.protocol ? door.protocol->full : full;
        struct iovec part = {(void *)(uintptr_t)text, strlen(text)};
        OS.send(fd, &part, 1);
        OS.close(fd);
        atomic_fetch_sub(&n->connections, 1);
        counter_add(&w->stats.rejected, 1);
        return;
    }
    unsigned number = atomic_fetch_add_explicit(&n->next_worker, 1, memory_order_relaxed) % n->worker_count;
    if (number == w->number) {
        adopt(w, fd, door);
        return;
    }
    struct arrival *a = mem_alloc(sizeof(*a));
    *a = (struct arrival){{NULL, INBOX_SOCKET}, fd, door};
    inbox_push(&n->workers[number]->inbox, &a->node);
}

static __attribute__((noinline)) void accept_some(struct worker *w, const struct listener *l)
{
    for (int i = 0; i < ACCEPTS; i++) {
        int fd = listener_accept(l);
        if (fd == -EAGAIN)
            return;
        if (fd < 0) { /* no descriptors, no memory: rest, or the level-triggered listener spins */
            bool goes = fd == -EINVAL; /* another set replaces this one, or is about to */
            counter_add(&w->stats.accept_errors, !goes);
            if (!goes && w->now_us - w->accept_told_us > 5000000) {
                net_log(w->net, 3, "cannot accept connections: %s", strerror(-fd));
                w->accept_told_us = w->now_us;
            }
            listen_stop(w);
            w->accept_again_us = w->now_us + ACCEPT_REST_US;
            return;
        }
        place(w, fd, l->door);
    }
}

/* ---- what came in ---- */

struct post { struct inbox_node node; struct message *message; };

void net_post(unsigned worker, struct message *m)
{
    struct post *p = mem_alloc(sizeof(*p));
    *p = (struct post){{NULL, INBOX_MESSAGE}, m};
    inbox_push(&net_running()->workers[worker]->inbox, &p->node);
}

static void conn_event(struct conn *c, uint32_t events)
{
    if (c->dead)
        return;
    /* Also after a reset or a full close: read to the end first, what was asked still counts. */
    if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
        c->hung_up = true;
    if (c->hung_up && ((c->blocked & BLOCKED_WAITING && !c->session.talk) || c->blocked & BLOCKED_FILE)) { /* what it waits for belongs to somebody who can take it */
        conn_close(c);
        return;
    }
    if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
        c->readable = true;
    if (events & EPOLLOUT && !c->writable) {
        c->writable = true;
        list_append(&c->worker->flush, &c->flush);
    }
    conn_schedule(c);
}

/* The message that a dead connection was kept for has arrived. */
static void exhume(struct conn *c)
{
    if (list_has(&c->graveyard))
        return; /* it died in this step: bury() has not looked yet */
    c->worker->ghosts--;
    list_append(&c->worker->graveyard, &c->graveyard);
}

/* A user was changed or deleted: some of its connections may have to go. One that ends by itself still gets its answer. A command
 * that is in the middle of its work goes on as the user that it has begun as. */
void worker_take_user_changes(struct worker *w)
{
    if (HF_LIKELY(!atomic_load_explicit(&w->users_changed, memory_order_relaxed)) || !atomic_exchange(&w->users_changed, false))
        return;
    for (size_t i = w->registry.count; i-- > 0;) {
        struct conn *c = w->registry.items[i];
        if (HF_UNLIKELY(c->blocked & BLOCKED_SCRIPT))
            w->user_due = true;
        else if (!c->closing && !acl_session_keeps(&c->session))
            conn_close(c);
    }
}

static void take_nodes(struct worker *w, struct inbox_node *node)
{
    while (node) {
        struct inbox_node *next = node->next;
        if (node->kind == INBOX_SOCKET) {
            struct arrival *a = LIST_OF(node, struct arrival, node);
            adopt(w, a->fd, a->door);
            mem_free(a);
        } else if (node->kind == INBOX_MESSAGE) {
            struct post *p = LIST_OF(node, struct post, node);
            worker_take_user_changes(w); /* who may hear no more hears nothing that was sent after that */
            p->message->arrive(p->message, w->number, conn_pushed);
            message_release(p->message);
            mem_free(p);
        } else if (node->kind == INBOX_SERVED) {
            struct conn *c = LIST_OF(node, struct conn, served);
            if (c->dead) {
                exec_wait_end(w->exec, &c->session);
                exhume(c);
            } else {
                conn_served(c);
            }
        } else {
            struct conn *c = LIST_OF(node, struct conn, wake);
            c->wake_due = false;
            c->resumed = true;
            if (c->dead) {
                exhume(c);
            } else {
                c->more = true;
                conn_unblock(c, BLOCKED_PARKED);
            }
        }
        node = next;
    }
}

void worker_take_inbox(struct worker *w) { take_nodes(w, inbox_take(&w->inbox)); }

void worker_take_kills(struct worker *w)
{
    if (!atomic_exchange(&w->kill_asked, false))
        return;
    for (size_t i = w->registry.count; i-- > 0;) {
        struct conn *c = w->registry.items[i];
        if (atomic_load(&c->record.kill))
            conn_close(c); /* moves the last one here: walk backwards */
    }
}

void worker_update_pause(struct worker *w)
{
    struct net *n = w->net;
    uint64_t until = atomic_load_explicit(&n->pause_until_ms, memory_order_relaxed);
    if (HF_LIKELY(until == 0) || w->draining) {
        if (HF_UNLIKELY(w->pause != PAUSE_NONE))
            exec_set_paused(w->exec, false);
        w->pause = PAUSE_NONE;
        return;
    }
    bool over = w->now_us / 1000 >= until;
    w->pause = over ? PAUSE_NONE : atomic_load(&n->pause_writes_only) ? PAUSE_WRITES : PAUSE_ALL;
    exec_set_paused(w->exec, w->pause != PAUSE_NONE);
    if (over)
        atomic_compare_exchange_strong(&n->pause_until_ms, &until, 0);
}

static void wake_sleepers(struct worker *w)
{
    for (struct link *at = w->sleeping.next, *next; at != &w->sleeping; at = next) {
        struct conn *c = LIST_OF(at, struct conn, sleeping);
        next = at->next;
        if (c->blocked & BLOCKED_ASLEEP && (c->session.sleep_until_us <= w->now_us || w->draining))
            conn_unblock(c, BLOCKED_ASLEEP);
        if (c->blocked & BLOCKED_PAUSED && (w->pause == PAUSE_NONE || w->draining))
            conn_unblock(c, BLOCKED_PAUSED);
        if (!(c->blocked & (BLOCKED_ASLEEP | BLOCKED_PAUSED)))
            list_remove(&c->sleeping);
    }
}

static void end_waits(struct worker *w)
{
    struct timer *first;
    while ((first = timers_first(&w->timers)) != NULL && first->at_us <= w->now_us) {
        struct conn *c = LIST_OF(first, struct conn, timer);
        timer_cancel(&w->timers, first);
        if (HF_UNLIKELY(c->session.talk != NULL))
            conn_talk(c);
        else if (HF_UNLIKELY(c->session.transfer != NULL))
            conn_file_look(c);
        else
            conn_wait_over(c);
    }
}

static void take_unblocks(struct worker *w)
{
    if (!atomic_exchange(&w->unblock_asked, false))
        return;
    for (size_t i = 0; i < w->registry.count; i++) {
        struct conn *c = w->registry.items[i];
        uint32_t how = atomic_exchange(&c->record.unblock, 0);
        if (how)
            conn_unblocked(c, how == UNBLOCK_ERROR);
    }
}

/* ---- the batch ---- */

static void run_ready(struct worker *w)
{
    w->gate_shut = false;
    if (list_empty(&w->ready))
        return;
    if (!exec_batch_begin(w->exec)) {
        atomic_store(&w->wants_wake, true); /* from here on its opening wakes us; it may have opened just before */
        if (!exec_batch_begin(w->exec)) {
            w->gate_shut = true;
            if (atomic_load_explicit(&script_late, memory_order_relaxed))
                worker_aside_step(w); /* a script runs alone, beyond its time: it can be killed from here, too */
            return;
        }
    }
    list_move(&w->ready, &w->turn);
    for (unsigned i = 0; !list_empty(&w->turn); i++) {
        if (i % AHEAD_COUNT == 0)
            conn_read_ahead(w);
        if (HF_UNLIKELY(list_empty(&w->turn)))
            break;
        struct conn *c = LIST_OF(w->turn.next, struct conn, ready);
        list_remove(&c->ready);
        conn_serve(c);
        worker_limit_clients(w);
    }
    exec_batch_end(w->exec);
}

static uint64_t gives_up_us(const struct worker *w)
{
    return w->log_failed_us + (uint64_t)atomic_load(&w->net->limits->failed_hold_ms) * 1000;
}

bool worker_gives_up(const struct worker *w)
{
    return HF_UNLIKELY(w->log_failed_us != 0) && w->now_us >= gives_up_us(w);
}

/* True: the log moved since the last look, or has failed for too long. */
bool worker_look_at_log(struct worker *w)
{
    uint64_t written = engine_written(w->net->engine), durable = engine_durable(w->net->engine);
    bool moved = written != w->written || durable != w->durable;
    w->written = written;
    w->durable = durable;
    struct log *log = engine_log(w->net->engine);
    w->log_state = log ? (int)log_state(log) : LOG_OK;
    if (HF_LIKELY(w->log_state == LOG_OK))
        w->log_failed_us = 0;
    else if (w->log_failed_us == 0)
        w->log_failed_us = w->now_us;
    return moved || worker_gives_up(w);
}

void worker_flush(struct worker *w, bool moved)
{
    if (moved) {
        for (struct link *at = w->gated.next; at != &w->gated; at = at->next)
            list_append(&w->flush, &LIST_OF(at, struct conn, gated)->flush);
    }
    while (!list_empty(&w->flush)) {
        struct conn *c = LIST_OF(w->flush.next, struct conn, flush);
        list_remove(&c->flush);
        if (HF_UNLIKELY(c->blocked & BLOCKED_SCRIPT))
            continue; /* a reply is being written there; conn_serve lists it again */
        conn_flush(c);
    }
    if (HF_UNLIKELY(!list_empty(&w->flush_on)))
        list_move(&w->flush_on, &w->flush);
}

/* ---- housekeeping ---- */

static void raise_to(_Atomic uint64_t *peak, uint64_t value)
{
    if (value > atomic_load_explicit(peak, memory_order_relaxed))
        atomic_store_explicit(peak, value, memory_order_relaxed);
}

static void note_peaks(struct worker *w, const struct conn *c)
{
    struct peaks *p = &w->peaks;
    uint64_t second = w->now_us / 1000000;
    unsigned slot = (unsigned)(second % PEAK_SECONDS);
    if (atomic_load_explicit(&p->second[slot], memory_order_relaxed) != second) {
        atomic_store_explicit(&p->input[slot], 0, memory_order_relaxed);
        atomic_store_explicit(&p->output[slot], 0, memory_order_relaxed);
        atomic_store_explicit(&p->second[slot], second, memory_order_relaxed);
    }
    raise_to(&p->input[slot], c->input.capacity);
    raise_to(&p->output[slot], c->output.capacity);
}

static void tend(struct worker *w)
{
    if (w->now_us < w->tend_us)
        return;
    size_t count = w->registry.count, share = count > TEND_SLOW_COUNT ? count / 10 + 1 : count;
    w->tend_us = w->now_us + (count > TEND_SLOW_COUNT ? TEND_FAST_US : TEND_SLOW_US);
    for (; share > 0 && w->registry.count; share--) {
        w->tend_at = w->tend_at < w->registry.count ? w->tend_at : 0;
        size_t before = w->registry.count;
        note_peaks(w, w->registry.items[w->tend_at]);
        conn_tend(w->registry.items[w->tend_at]);
        w->tend_at += w->registry.count == before; /* a closed one has been replaced by the last */
    }
    if (w->words.capacity > WORDS_KEPT)
        resp_words_release(&w->words);
    if (w->number == 0)
        net_sample(w->net, w->now_us);
}

static void bury(struct worker *w)
{
    while (!list_empty(&w->graveyard)) {
        struct conn *c = LIST_OF(w->graveyard.next, struct conn, graveyard);
        list_remove(&c->graveyard);
        if (!conn_bury(c))
            w->ghosts++;
    }
}

static void drain(struct worker *w)
{
    struct net *n = w->net;
    if (!atomic_load_explicit(&n->stopping, memory_order_relaxed))
        return;
    bool first = !w->draining, late = w->now_us >= atomic_load(&n->stop_at_us);
    w->draining = true;
    if (first)
        listen_stop(w);
    for (size_t i = w->registry.count; i-- > 0;) {
        struct conn *c = w->registry.items[i];
        if (late) {
            conn_close(c);
        } else if (c->lingers) {
            list_append(&w->flush, &c->flush);
        } else if (!first) {
            continue;
        } else if (c->blocked & BLOCKED_FILE) {
            conn_close(c);
        } else if ((!c->blocked && !c->more) || c->blocked == BLOCKED_WAITING) {
            list_remove(&c->ready);
            c->closing = true;
            list_append(&w->flush, &c->flush);
        }
    }
    w->drained = w->registry.count == 0 && list_empty(&w->graveyard) && w->ghosts == 0;
}

static uint64_t sooner(uint64_t a, uint64_t b) { return a < b ? a : b; }

/* How long epoll may wait; announces a sleep that a log movement must end. */
static int prepare_wait(struct worker *w, int timeout_ms)
{
    if (!list_empty(&w->flush) || !list_empty(&w->graveyard) || (!list_empty(&w->ready) && !w->gate_shut))
        return 0;
    uint64_t until = w->housekeeping_us;
    if (w->registry.count || w->number == 0)
        until = sooner(until, w->tend_us);
    if (w->accept_again_us)
        until = sooner(until, w->accept_again_us);
    if (timers_first(&w->timers))
        until = sooner(until, timers_first(&w->timers)->at_us);
    for (struct link *at = w->sleeping.next; at != &w->sleeping; at = at->next) {
        const struct conn *c = LIST_OF(at, struct conn, sleeping);
        uint64_t wake_us = c->blocked & BLOCKED_ASLEEP ? c->session.sleep_until_us : w->now_us + 10000;
        until = sooner(until, wake_us);
    }
    if (w->draining)
        until = sooner(until, w->now_us + 10000);
    if (w->log_failed_us && !list_empty(&w->gated))
        until = sooner(until, gives_up_us(w));
    uint64_t wait_us = until > w->now_us ? until - w->now_us : 0;
    int wait_ms = wait_us < WAIT_MAX_US ? (int)((wait_us + 999) / 1000) : WAIT_MAX_US / 1000;
    bool parked = atomic_load_explicit(&w->stats.parked_now, memory_order_relaxed);
    if ((w->gate_shut || parked) && wait_ms > RETRY_MS)
        wait_ms = RETRY_MS;
    if (timeout_ms >= 0 && wait_ms > timeout_ms)
        wait_ms = timeout_ms;
    if (wait_ms > 0 && (parked || !list_empty(&w->gated))) {
        atomic_store(&w->wants_wake, true);
        atomic_thread_fence(memory_order_seq_cst);
        if (engine_written(w->net->engine) != w->written || engine_durable(w->net->engine) != w->durable || exec_owns_gate(w->exec))
            return 0;
    }
    return wait_ms;
}

int worker_take_events(struct worker *w, int wait_ms)
{
    struct epoll_event events[EVENTS];
    if (HF_UNLIKELY(atomic_load_explicit(&w->listeners->next, memory_order_relaxed) != NULL))
        listen_elsewhere(w);
    int count = epoll_wait(w->epoll, events, EVENTS, wait_ms);
    if (atomic_load_explicit(&w->wants_wake, memory_order_relaxed))
        atomic_store_explicit(&w->wants_wake, false, memory_order_relaxed);
    w->now_us = OS.monotonic_us();
    for (int i = 0; i < count; i++) {
        void *target = (void *)(uintptr_t)(events[i].data.u64 & ~(uint64_t)TAG_MASK);
        switch (events[i].data.u64 & TAG_MASK) {
        case TAG_CONN: conn_event(target, events[i].events); break;
        case TAG_LISTENER: accept_some(w, target); break;
        case TAG_WAKE: wakefd_drain(w->inbox.wakefd); break;
        case TAG_TALK: conn_talk(target); break;
        }
    }
    return count;
}

void worker_step(struct worker *w, int timeout_ms)
{
    current_worker = w;
    int count = worker_take_events(w, prepare_wait(w, timeout_ms));
    if (w->accept_again_us && w->now_us >= w->accept_again_us && !w->draining) {
        w->accept_again_us = 0;
        listen_start(w);
    }
    worker_take_user_changes(w);
    worker_take_inbox(w);
    take_unblocks(w);
    worker_take_kills(w);
    worker_update_pause(w);
    if (!list_empty(&w->sleeping))
        wake_sleepers(w);
    end_waits(w);
    bool moved = worker_look_at_log(w);
    run_ready(w);
    drain(w);
    moved |= worker_look_at_log(w);
    worker_limit_clients(w);
    worker_flush(w, moved);
    bury(w);
    tend(w);
    bool parked = atomic_load_explicit(&w->stats.parked_now, memory_order_relaxed);
    if (w->now_us >= w->housekeeping_us || (parked && (moved || count == 0 || exec_owns_gate(w->exec)))) /* wakes those that wait */
        w->housekeeping_us = w->now_us + (uint64_t)exec_housekeeping(w->exec) * 1000;
    uint64_t took_us = OS.monotonic_us() - w->now_us;
    if (HF_UNLIKELY(took_us > atomic_load_explicit(&w->stats.step_us_max, memory_order_relaxed)))
        atomic_store_explicit(&w->stats.step_us_max, took_us, memory_order_relaxed);
}

void *worker_main(void *worker)
{
    struct worker *w = worker;
    while (!w->drained)
        worker_step(w, -1);
    return NULL;
}
