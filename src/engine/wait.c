/* wait.c -- lists of waiters, one per stripe, oldest first.
 *
 * A stripe's list serves all its keys: a changer compares key hashes along it, and only
 * when the list is not empty.
 */
#include "engine/wait.h"

#include "base/memory.h"
#include "engine/internal.h"

struct waiter *waiter_new(const bytes *argv, size_t argc, const struct key *keys, size_t key_count)
{
    size_t text = 0;
    for (size_t i = 0; i < argc; i++)
        text += argv[i].size;
    for (size_t i = 0; i < key_count; i++)
        text += keys[i].name.size;
    struct waiter *w = mem_zalloc(sizeof(*w) + key_count * sizeof(w->links[0]) + argc * sizeof(bytes) + text);
    uint8_t *at = (uint8_t *)&w->links[key_count] + argc * sizeof(bytes);
    w->argv = (bytes *)&w->links[key_count];
    w->argc = argc;
    w->link_count = key_count;
    for (size_t i = 0; i < argc; i++) {
        w->argv[i] = bytes_of(at, argv[i].size);
        if (argv[i].size)
            memcpy(at, argv[i].data, argv[i].size);
        at += argv[i].size;
    }
    for (size_t i = 0; i < key_count; i++) {
        w->links[i] = (struct wait_link){.waiter = w, .key = keys[i]};
        w->links[i].key.name = bytes_of(at, keys[i].name.size);
        if (keys[i].name.size)
            memcpy(at, keys[i].name.data, keys[i].name.size);
        at += keys[i].name.size;
    }
    buf_init(&w->reply, SIZE_MAX);
    return w;
}

void waiter_free(struct waiter *w)
{
    buf_release(&w->reply);
    mem_free(w);
}

void waiter_list_locked(struct engine *e, struct waiter *w)
{
    for (size_t i = 0; i < w->link_count; i++) {
        struct wait_link *link = &w->links[i];
        struct stripe *s = &e->store->stripes[link->key.stripe];
        if (!s->waiters)
            s->waiters = mem_zalloc(sizeof(struct wait_list));
        struct wait_list *list = s->waiters;
        link->listed = true;
        if (os_bug(BUG_WAITER_KEYS) && i > 0)
            link->key.hash++; /* never found */
        if (os_bug(BUG_WAITER_ORDER) && list->first) { /* in front */
            link->next = list->first;
            list->first = list->first->previous = link;
            continue;
        }
        link->next = NULL;
        link->previous = list->last;
        if (list->last)
            list->last->next = link;
        else
            list->first = link;
        list->last = link;
    }
}

static void unlist_link(struct engine *e, struct wait_link *link)
{
    struct stripe *s = &e->store->stripes[link->key.stripe];
    struct wait_list *list = s->waiters;
    link->listed = false;
    if (link->previous)
        link->previous->next = link->next;
    else
        list->first = link->next;
    if (link->next)
        link->next->previous = link->previous;
    else
        list->last = link->previous;
    if (!list->first) {
        mem_free(list);
        s->waiters = NULL;
    }
}

void waiter_unlist_locked(struct engine *e, struct waiter *w)
{
    for (size_t i = 0; i < w->link_count; i++)
        unlist_link(e, &w->links[i]);
}

bool waiter_withdraw(struct waiter *w)
{
    for (;;) {
        uint32_t waiting = WAIT_WAITING;
        if (atomic_compare_exchange_strong(&w->state, &waiting, WAIT_WITHDRAWN))
            return true;
        if (waiting != WAIT_CLAIMED)
            return false;
        os_sched_point(SCHED_LOCK);
        thread_yield(); /* a changer is running it, for microseconds */
    }
}

bool waiter_unlist_free(struct engine *e, struct waiter *w)
{
    bool all = true;
    for (size_t i = 0; i < w->link_count; i++) {
        struct wait_link *link = &w->links[i];
        struct stripe *s = &e->store->stripes[link->key.stripe];
        if (!link->listed)
            continue;
        if (!stripe_try_lock(s)) {
            all = false;
            continue;
        }
        unlist_link(e, link);
        stripe_unlock(s);
    }
    return all;
}

struct wait_link *wait_next(struct engine *e, const struct key *k, struct wait_link *after)
{
    const struct wait_list *list = e->store->stripes[k->stripe].waiters;
    struct wait_link *at = after ? after->next : list ? list->first : NULL;
    for (; at; at = at->next) {
        if (at->key.hash == k->hash && e->db_ids[at->key.db] == e->db_ids[k->db] && bytes_equal(at->key.name, k->name))
            return at;
    }
    return NULL;
}
