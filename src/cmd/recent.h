/* recent.h -- a bounded list of what happened lately, the newest first: SLOWLOG's and ACL LOG's.
 *
 * Threads: any, behind the list's lock. What falls off its end is freed by whoever added or shortened, outside of the lock.
 */
#ifndef HF_CMD_RECENT_H
#define HF_CMD_RECENT_H

#include "os/thread.h"

#include <stddef.h>

struct recent_entry { struct recent_entry *next; }; /* the first member of what is listed */

struct recent {
    struct spin lock; /* guards all but free_one */
    struct recent_entry *newest;
    uint64_t length, length_max;
    void (*free_one)(struct recent_entry *e);
};

/* Adds in front; returns what is too much, for recent_free once the lock is released. */
struct recent_entry *recent_add_locked(struct recent *l, struct recent_entry *e);
void recent_free(const struct recent *l, struct recent_entry *first); /* and all behind it; NULL is fine */
void recent_set_length(struct recent *l, uint64_t entries);
void recent_clear(struct recent *l);
uint64_t recent_length(struct recent *l);

#endif
