/* dict.c -- a tree in the order of a keyed hash. */
#include "data/dict.h"

#include "base/assert.h"
#include "base/memory.h"
#include "os/os.h"

#include <pthread.h>

#ifndef XXH_INLINE_ALL
#define XXH_INLINE_ALL
#endif
#include <xxhash.h>

#define CURSOR_BITS 52 /* below 2^53: some clients hold a cursor in a double */
#define CURSOR_SHIFT (64 - CURSOR_BITS)
#define SIZE_MAX_BYTES 5

/* -- payload: varint member size (LEB128, seven bits a byte), member, value -- */

static bytes member_of(bytes payload, bytes *value)
{
    size_t size = 0, at = 0;
    unsigned shift = 0;
    do {
        size |= (size_t)(payload.data[at] & 127) << shift;
        shift += 7;
    } while (payload.data[at++] & 128);
    if (value)
        *value = bytes_of(payload.data + at + size, payload.size - at - size);
    return bytes_of(payload.data + at, size);
}

static int compare(bytes payload, bytes key)
{
    return bytes_compare(member_of(payload, NULL), key);
}

/* -- hashing, keyed per process against chosen collisions -- */

static uint8_t secret[192];
static pthread_once_t secret_once = PTHREAD_ONCE_INIT;

static void secret_make(void)
{
    OS.random(secret, sizeof(secret));
}

static uint64_t hash_of(bytes member)
{
    return XXH3_64bits_withSecret(member.data, member.size, secret, sizeof(secret));
}

uint64_t dict_hash(bytes member)
{
    pthread_once(&secret_once, secret_make);
    return hash_of(member);
}

struct dict dict_make(void)
{
    pthread_once(&secret_once, secret_make);
    return (struct dict){tree_make(compare)};
}

struct dict dict_share(const struct dict *d) { return (struct dict){tree_share(&d->tree)}; }
void dict_clear(struct dict *d) { tree_clear(&d->tree); }
bool dict_clear_some(struct dict *d, size_t *budget) { return tree_clear_some(&d->tree, budget); }
uint64_t dict_count(const struct dict *d) { return tree_count(&d->tree); }
size_t dict_memory(const struct dict *d) { return tree_memory(&d->tree); }

bool dict_get(const struct dict *d, bytes member, bytes *value)
{
    struct tree_element e;
    if (!d->tree.root || !tree_find(&d->tree, hash_of(member), member, NULL, &e))
        return false;
    if (value)
        member_of(e.payload, value);
    return true;
}

bool dict_set(struct dict *d, bytes member, bytes value)
{
    uint8_t few[512], *payload = few;
    size_t at = 0, total = SIZE_MAX_BYTES + member.size + value.size;
    if (total > sizeof(few))
        payload = mem_alloc(total);
    for (size_t size = member.size; ; size >>= 7) {
        payload[at++] = (uint8_t)(size < 128 ? size : (size | 128));
        if (size < 128)
            break;
    }
    if (member.size)
        memcpy(payload + at, member.data, member.size);
    if (value.size)
        memcpy(payload + at + member.size, value.data, value.size);
    bytes whole = bytes_of(payload, at + member.size + value.size);
    bool is_new = tree_put(&d->tree, hash_of(member), member, whole);
    if (payload != few)
        mem_free(payload);
    return is_new;
}

bool dict_remove(struct dict *d, bytes member)
{
    uint64_t position;
    if (!tree_find(&d->tree, hash_of(member), member, &position, NULL))
        return false;
    tree_remove(&d->tree, position, 1);
    return true;
}

bool dict_at(const struct dict *d, uint64_t position, bytes *member, bytes *value)
{
    if (position >= dict_count(d))
        return false;
    *member = member_of(tree_at(&d->tree, position).payload, value);
    return true;
}

bool dict_next(const struct dict *d, struct dict_cursor *c, bytes *member, bytes *value)
{
    struct tree_element e;
    bool more = c->started ? tree_next(&c->tree, &e) : tree_seek(&d->tree, 0, &c->tree, &e);
    c->started = true;
    if (more)
        *member = member_of(e.payload, value);
    return more;
}

uint64_t dict_scan(const struct dict *d, uint64_t cursor, size_t count,
                   void (*each)(void *context, bytes member, bytes value), void *context)
{
    struct tree_cursor c;
    struct tree_element e;
    if (cursor >> CURSOR_BITS || !tree_seek(&d->tree, tree_lower(&d->tree, cursor << CURSOR_SHIFT), &c, &e))
        return 0;
    for (size_t shown = 0;;) {
        uint64_t place = e.order >> CURSOR_SHIFT;
        bytes value, member = member_of(e.payload, &value);
        each(context, member, value);
        shown++;
        if (!tree_next(&c, &e))
            return 0;
        if (shown >= count && e.order >> CURSOR_SHIFT != place)
            return e.order >> CURSOR_SHIFT;
    }
}

void dict_check(const struct dict *d)
{
    struct tree_cursor c;
    struct tree_element e;
    tree_check(&d->tree);
    for (bool more = tree_seek(&d->tree, 0, &c, &e); more; more = tree_next(&c, &e))
        hf_assert(e.order == hash_of(member_of(e.payload, NULL)));
}
