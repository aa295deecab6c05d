/* dict.c -- members in a sorted array of (hash, member): small tables only, until the tree stands.
 *
 * The payload of an element is one block: member size, member, value.
 */
#include "data/dict.h"

#include "base/memory.h"

#ifndef XXH_INLINE_ALL
#define XXH_INLINE_ALL
#endif
#include <xxhash.h>

struct item { uint64_t hash; size_t member_size, value_size; uint8_t data[]; };
struct tree_node { uint64_t count, capacity; struct item **at; size_t memory; };

struct dict dict_make(void) { return (struct dict){{NULL, NULL}}; }

static uint64_t hash_of(bytes member) { return XXH3_64bits(member.data, member.size); }

static int compare(const struct item *i, uint64_t hash, bytes member)
{
    if (i->hash != hash)
        return i->hash < hash ? -1 : 1;
    return bytes_compare(bytes_of(i->data, i->member_size), member);
}

static bool find(const struct dict *d, uint64_t hash, bytes member, uint64_t *place)
{
    const struct tree_node *n = d->tree.root;
    uint64_t low = 0, high = n ? n->count : 0;
    while (low < high) {
        uint64_t middle = (low + high) / 2;
        int order = compare(n->at[middle], hash, member);
        if (order == 0) {
            *place = middle;
            return true;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    *place = low;
    return false;
}

static struct item *item_new(uint64_t hash, bytes member, bytes value)
{
    struct item *i = mem_alloc(sizeof(*i) + member.size + value.size);
    *i = (struct item){hash, member.size, value.size};
    if (member.size)
        memcpy(i->data, member.data, member.size);
    if (value.size)
        memcpy(i->data + member.size, value.data, value.size);
    return i;
}

void dict_clear(struct dict *d)
{
    struct tree_node *n = d->tree.root;
    for (uint64_t i = 0; n && i < n->count; i++)
        mem_free(n->at[i]);
    if (n)
        mem_free(n->at);
    mem_free(n);
    d->tree.root = NULL;
}

bool dict_clear_some(struct dict *d, size_t *budget)
{
    dict_clear(d);
    *budget -= *budget > 0;
    return true;
}

struct dict dict_share(const struct dict *d)
{
    struct dict copy = dict_make();
    struct dict_cursor c = {0};
    bytes member, value;
    while (dict_next(d, &c, &member, &value))
        dict_set(&copy, member, value);
    return copy;
}

uint64_t dict_count(const struct dict *d) { return d->tree.root ? d->tree.root->count : 0; }
size_t dict_memory(const struct dict *d) { return d->tree.root ? sizeof(*d->tree.root) + d->tree.root->memory : 0; }

static void show(const struct item *i, bytes *member, bytes *value)
{
    *member = bytes_of(i->data, i->member_size);
    *value = bytes_of(i->data + i->member_size, i->value_size);
}

bool dict_get(const struct dict *d, bytes member, bytes *value)
{
    uint64_t place;
    bytes found;
    if (!find(d, hash_of(member), member, &place))
        return false;
    if (value)
        show(d->tree.root->at[place], &found, value);
    return true;
}

bool dict_set(struct dict *d, bytes member, bytes value)
{
    uint64_t hash = hash_of(member), place;
    bool found = find(d, hash, member, &place);
    struct item *item = item_new(hash, member, value);
    if (!d->tree.root)
        d->tree.root = mem_zalloc(sizeof(*d->tree.root));
    struct tree_node *n = d->tree.root;
    if (found) {
        mem_free(n->at[place]);
        n->at[place] = item;
        return false;
    }
    if (n->count == n->capacity) {
        n->capacity = n->capacity ? n->capacity * 2 : 4;
        n->at = mem_realloc(n->at, n->capacity * sizeof(struct item *));
    }
    memmove(n->at + place + 1, n->at + place, (n->count - place) * sizeof(struct item *));
    n->at[place] = item;
    n->count++;
    return true;
}

bool dict_remove(struct dict *d, bytes member)
{
    uint64_t place;
    if (!find(d, hash_of(member), member, &place))
        return false;
    struct tree_node *n = d->tree.root;
    mem_free(n->at[place]);
    n->count--;
    memmove(n->at + place, n->at + place + 1, (n->count - place) * sizeof(struct item *));
    if (n->count == 0)
        dict_clear(d);
    return true;
}

bool dict_at(const struct dict *d, uint64_t position, bytes *member, bytes *value)
{
    if (position >= dict_count(d))
        return false;
    show(d->tree.root->at[position], member, value);
    return true;
}

bool dict_next(const struct dict *d, struct dict_cursor *c, bytes *member, bytes *value)
{
    uint64_t at = c->started ? c->tree.at[0] : 0;
    c->started = true;
    c->tree.at[0] = (uint16_t)(at + 1);
    return dict_at(d, at, member, value);
}
