/* stripe.c -- waiting for a stripe without sleeping in it. */
#include "store/stripe.h"

#define SPIN_TRIES 64

bool stripe_try_lock_spin(struct stripe *s)
{
    for (int i = 0; i < SPIN_TRIES; i++) {
        cpu_relax();
        if (atomic_load_explicit(&s->lock, memory_order_relaxed) == 0 && stripe_try_lock_once(s))
            return true;
    }
    return false;
}

void stripe_lock_wait(struct stripe *s)
{
    while (!stripe_try_lock(s))
        thread_yield();
}

bool stripe_park(struct stripe *s, struct park_node *node)
{
    spin_lock(&s->park_lock);
    uint32_t held = atomic_load_explicit(&s->lock, memory_order_relaxed);
    while (held != 0 && !atomic_compare_exchange_weak(&s->lock, &held, 3)) {
    }
    if (held != 0) {
        struct park_node **last = &s->parked;
        while (*last)
            last = &(*last)->next;
        node->next = NULL;
        node->state = 1;
        *last = node;
    }
    spin_unlock(&s->park_lock);
    return held != 0;
}

void stripe_unlock_parked(struct stripe *s)
{
    spin_lock(&s->park_lock);
    struct park_node *node = s->parked;
    s->parked = NULL;
    while (node) {
        struct park_node *next = node->next;
        node->state = 0;
        node->wake(node);
        node = next;
    }
    spin_unlock(&s->park_lock);
}

bool stripe_unpark(struct stripe *s, struct park_node *node)
{
    spin_lock(&s->park_lock);
    bool found = node->state == 1;
    for (struct park_node **at = &s->parked; found && *at; at = &(*at)->next) {
        if (*at == node) {
            *at = node->next;
            break;
        }
    }
    node->state = 0;
    spin_unlock(&s->park_lock);
    return found;
}

struct table *stripe_table_slow(const struct stripe *s, uint32_t db_id)
{
    for (uint32_t i = 0; i < s->other_count; i++) {
        if (s->others[i]->db_id == db_id)
            return s->others[i];
    }
    return NULL;
}
