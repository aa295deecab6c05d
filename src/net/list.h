/* list.h -- doubly linked rings with the link inside the member. One thread. */
#ifndef HF_NET_LIST_H
#define HF_NET_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct link { struct link *next, *previous; }; /* a member outside any list: next NULL */

#define LIST_OF(pointer, type, member) ((type *)(void *)((char *)(pointer) - offsetof(type, member)))

static inline void list_init(struct link *head) { head->next = head->previous = head; }
static inline bool list_empty(const struct link *head) { return head->next == head; }
static inline bool list_has(const struct link *member) { return member->next != NULL; }

static inline void list_append(struct link *head, struct link *member)
{
    if (member->next)
        return;
    member->previous = head->previous;
    member->next = head;
    head->previous->next = member;
    head->previous = member;
}

static inline void list_remove(struct link *member)
{
    if (!member->next)
        return;
    member->previous->next = member->next;
    member->next->previous = member->previous;
    member->next = member->previous = NULL;
}

/* Moves every member of `from` to the empty list `to`. */
static inline void list_move(struct link *from, struct link *to)
{
    list_init(to);
    if (list_empty(from))
        return;
    to->next = from->next;
    to->previous = from->previous;
    to->next->previous = to->previous->next = to;
    list_init(from);
}

#endif
