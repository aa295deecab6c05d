/* inbox.h -- messages to one worker from any thread: a lock-free stack and a wake-up.
 *
 * Push never waits. The owner takes everything at once, in the order it was pushed.
 * Only the push onto an empty inbox signals, so a busy worker costs its senders
 * nothing. A node is in at most one inbox, and its memory outlives its delivery.
 */
#ifndef HF_NET_INBOX_H
#define HF_NET_INBOX_H

#include "os/thread.h"

#include <stddef.h>

struct inbox_node {
    struct inbox_node *next;
    enum { INBOX_WAKE, INBOX_SOCKET, INBOX_SERVED, INBOX_MESSAGE } kind; /* a parked connection may run; a socket to adopt; a waiter's reply; for listeners */
};

struct inbox {
    _Atomic(struct inbox_node *) top;
    int wakefd;
};

static inline void inbox_push(struct inbox *in, struct inbox_node *node)
{
    os_sched_point(SCHED_WAKE);
    struct inbox_node *top = atomic_load_explicit(&in->top, memory_order_relaxed);
    do
        node->next = top;
    while (!atomic_compare_exchange_weak_explicit(&in->top, &top, node, memory_order_release, memory_order_relaxed));
    if (!top)
        wakefd_signal(in->wakefd);
}

/* Oldest first; NULL: empty. */
static inline struct inbox_node *inbox_take(struct inbox *in)
{
    if (!atomic_load_explicit(&in->top, memory_order_relaxed))
        return NULL;
    struct inbox_node *node = atomic_exchange_explicit(&in->top, NULL, memory_order_acquire), *list = NULL;
    while (node) {
        struct inbox_node *next = node->next;
        node->next = list;
        list = node;
        node = next;
    }
    return list;
}

#endif
