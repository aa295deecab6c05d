/* tracking_table.c -- shards by key, each a dict of sorted lists of sessions. */
#include "cmd/tracking_table.h"

#include "base/memory.h"
#include "cmd/pointers.h"
#include "os/thread.h"

#define SHARDS 64u

struct holders { size_t count, capacity; struct holder *at; };

static struct shard { _Alignas(64) struct spin lock; struct dict keys; bool made; } shards[SHARDS];
static _Atomic uint64_t key_count, item_count;

static struct shard *shard_of(bytes key)
{
    uint32_t hash = 2166136261u; /* FNV-1a: only spreads the locks */
    for (size_t i = 0; i < key.size; i++)
        hash = (hash ^ key.data[i]) * 16777619u;
    return &shards[hash % SHARDS];
}

/* Where the session stands, or would. */
static size_t place_of(const struct holders *h, uint64_t session)
{
    size_t low = 0, high = h->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (h->at[middle].session < session)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void insert(struct holders *h, size_t at, const struct holder *holder)
{
    if (h->count == h->capacity) {
        h->capacity = h->capacity ? h->capacity * 2 : 1;
        h->at = mem_realloc(h->at, h->capacity * sizeof(*h->at));
    }
    memmove(&h->at[at + 1], &h->at[at], (h->count - at) * sizeof(*h->at));
    h->at[at] = *holder;
    h->count++;
    atomic_fetch_add(&item_count, 1);
}

bool holders_add(bytes key, const struct holder *holder)
{
    struct shard *s = shard_of(key);
    spin_lock(&s->lock);
    if (!s->made)
        s->keys = dict_make();
    s->made = true;
    struct holders *h = dict_pointer(&s->keys, key);
    bool fresh = !h;
    if (fresh) {
        h = mem_zalloc(sizeof(*h));
        dict_set_pointer(&s->keys, key, h);
        atomic_fetch_add(&key_count, 1);
    }
    size_t at = place_of(h, holder->session);
    if (at == h->count || h->at[at].session != holder->session)
        insert(h, at, holder);
    spin_unlock(&s->lock);
    return fresh;
}

static void holders_free(struct holders *h)
{
    atomic_fetch_sub(&item_count, h->count);
    atomic_fetch_sub(&key_count, 1);
    mem_free(h->at);
    mem_free(h);
}

/* The shard is locked; its lists stay sorted and each session is told once. */
static void take_locked(struct shard *s, bytes key, struct holders *h, void (*each)(void *context, const struct holder *holder),
                        void *context)
{
    for (size_t i = 0; i < h->count; i++)
        each(context, &h->at[i]);
    holders_free(h);
    dict_remove(&s->keys, key);
}

void holders_take(bytes key, void (*each)(void *context, const struct holder *holder), void *context)
{
    struct shard *s = shard_of(key);
    spin_lock(&s->lock);
    struct holders *h = s->made ? dict_pointer(&s->keys, key) : NULL;
    if (h)
        take_locked(s, key, h, each, context);
    spin_unlock(&s->lock);
}

bool holders_take_any(bytes *key, void (*each)(void *context, const struct holder *holder), void *context)
{
    static _Atomic uint32_t turn;
    uint32_t first = atomic_fetch_add_explicit(&turn, 1, memory_order_relaxed);
    for (uint32_t i = 0; i < SHARDS; i++) {
        struct shard *s = &shards[(first + i) % SHARDS];
        bytes name, value;
        spin_lock(&s->lock);
        bool found = s->made && dict_at(&s->keys, 0, &name, &value);
        if (found) {
            uint8_t *copy = mem_alloc(name.size + 1); /* the view ends with the removal */
            if (name.size)
                memcpy(copy, name.data, name.size);
            *key = bytes_of(copy, name.size);
            take_locked(s, *key, pointer_of(value), each, context);
            mem_free(copy);
        }
        spin_unlock(&s->lock);
        if (found)
            return true;
    }
    return false;
}

void holders_clear(void)
{
    for (uint32_t i = 0; i < SHARDS; i++) {
        struct shard *s = &shards[i];
        struct dict_cursor cursor = {0};
        bytes name, value;
        spin_lock(&s->lock);
        while (s->made && dict_next(&s->keys, &cursor, &name, &value))
            holders_free(pointer_of(value));
        if (s->made)
            dict_clear(&s->keys);
        spin_unlock(&s->lock);
    }
}

uint64_t holders_keys(void) { return atomic_load(&key_count); }
uint64_t holders_items(void) { return atomic_load(&item_count); }
