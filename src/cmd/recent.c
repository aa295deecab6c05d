/* recent.c -- a list, cut behind its newest entries. */
#include "cmd/recent.h"

static struct recent_entry *cut_locked(struct recent *l, uint64_t keep)
{
    struct recent_entry **at = &l->newest;
    if (l->length <= keep)
        return NULL;
    for (uint64_t i = 0; i < keep; i++)
        at = &(*at)->next;
    struct recent_entry *rest = *at;
    *at = NULL;
    l->length = keep;
    return rest;
}

struct recent_entry *recent_add_locked(struct recent *l, struct recent_entry *e)
{
    e->next = l->newest;
    l->newest = e;
    l->length++;
    return cut_locked(l, l->length_max);
}

void recent_free(const struct recent *l, struct recent_entry *first)
{
    while (first) {
        struct recent_entry *next = first->next;
        l->free_one(first);
        first = next;
    }
}

void recent_set_length(struct recent *l, uint64_t entries)
{
    spin_lock(&l->lock);
    l->length_max = entries;
    struct recent_entry *rest = cut_locked(l, entries);
    spin_unlock(&l->lock);
    recent_free(l, rest);
}

void recent_clear(struct recent *l)
{
    spin_lock(&l->lock);
    struct recent_entry *rest = cut_locked(l, 0);
    spin_unlock(&l->lock);
    recent_free(l, rest);
}

uint64_t recent_length(struct recent *l)
{
    spin_lock(&l->lock);
    uint64_t length = l->length;
    spin_unlock(&l->lock);
    return length;
}
