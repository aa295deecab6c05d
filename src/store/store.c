/* store.c -- making tables and freeing entries. */
#include "store/store.h"

#ifndef XXH_INLINE_ALL
#define XXH_INLINE_ALL
#endif
#include <xxhash.h>

#include "base/crc.h"
#include "base/memory.h"
#include "types/type.h"

uint64_t store_hash(const struct store *s, bytes key)
{
    return XXH3_64bits_withSeed(key.data, key.size, s->secret);
}

static uint64_t hash_for_table(const void *context, bytes key)
{
    return store_hash(context, key);
}

void store_locate(const struct store *s, bytes name, struct key *key)
{
    key->name = name;
    key->hash = store_hash(s, name);
    key->slot = key_slot(name);
    key->stripe = key->slot >> STRIPE_SHIFT;
}

struct store *store_new(uint64_t secret)
{
    struct store *s = mem_zalloc(sizeof(*s));
    s->slab = slab_new();
    s->chunks = chunks_new();
    s->secret = secret;
    s->stripes = mem_alloc_aligned(64, STRIPE_COUNT * sizeof(struct stripe));
    memset(s->stripes, 0, STRIPE_COUNT * sizeof(struct stripe));
    for (uint32_t i = 0; i < STRIPE_COUNT; i++) {
        s->stripes[i].number = i;
        atomic_init(&s->stripes[i].deadline_next, UINT64_MAX);
    }
    return s;
}

static void free_values(struct table *t)
{
    struct entry *taken[256];
    for (size_t count; (count = table_take_some(t, taken, 256));) {
        for (size_t i = 0; i < count; i++) {
            if (entry_encoding(taken[i]) == ENC_ROPE)
                rope_unref(entry_pointer(taken[i]));
            else if (entry_encoding(taken[i]) == ENC_OBJECT)
                type_ops_of((int)entry_type(taken[i]))->free(entry_pointer(taken[i]));
        }
    }
    table_free(t);
}

void store_free(struct store *s)
{
    for (uint32_t i = 0; i < STRIPE_COUNT; i++) {
        struct stripe *stripe = &s->stripes[i];
        if (stripe->table)
            free_values(stripe->table);
        for (uint32_t k = 0; k < stripe->other_count; k++)
            free_values(stripe->others[k]);
        mem_free(stripe->others);
    }
    mem_free(s->stripes);
    chunks_free(s->chunks);
    slab_free(s->slab);
    mem_free(s);
}

struct table *stripe_table_make(struct store *store, struct stripe *s, uint32_t db_id)
{
    struct table *t = stripe_table(s, db_id);
    if (t)
        return t;
    t = table_new(hash_for_table, store, slab_base(store->slab), store->chunks, db_id, s->number);
    if (!s->table) {
        s->table = t;
    } else {
        s->others = mem_realloc(s->others, (s->other_count + 1) * sizeof(struct table *));
        s->others[s->other_count++] = t;
    }
    return t;
}

struct table *stripe_table_detach(struct stripe *s, uint32_t db_id)
{
    struct table *t = stripe_table(s, db_id);
    if (!t)
        return NULL;
    if (t == s->table) {
        s->table = s->other_count ? s->others[--s->other_count] : NULL;
        return t;
    }
    for (uint32_t i = 0; i < s->other_count; i++) {
        if (s->others[i] == t) {
            s->others[i] = s->others[--s->other_count];
            break;
        }
    }
    return t;
}

void stripe_deadline_update(struct stripe *s)
{
    uint64_t earliest = s->table ? table_next_deadline(s->table) : UINT64_MAX;
    for (uint32_t i = 0; i < s->other_count; i++) {
        uint64_t next = table_next_deadline(s->others[i]);
        earliest = next < earliest ? next : earliest;
    }
    atomic_store_explicit(&s->deadline_next, earliest, memory_order_relaxed);
}

void entry_free(struct slab_heap *heap, struct entry *e)
{
    if (entry_encoding(e) == ENC_ROPE)
        rope_unref(entry_pointer(e));
    else if (entry_encoding(e) == ENC_OBJECT)
        type_ops_of((int)entry_type(e))->free(entry_pointer(e));
    slab_release(heap, e);
}

uint64_t entry_memory(const struct store *s, const struct entry *e)
{
    uint64_t size = slab_usable_size(s->slab, e);
    if (entry_encoding(e) == ENC_ROPE)
        size += rope_memory(entry_pointer(e));
    else if (entry_encoding(e) == ENC_OBJECT)
        size += type_ops_of((int)entry_type(e))->memory(entry_pointer(e));
    return size;
}
