/* prefix.c -- see prefix.h. The counts of a prefix are the value of a member: four numbers. */
#include "proto/memcached/prefix.h"

#include "data/dict.h"
#include "os/thread.h"

struct counts { uint64_t gets, hits, sets, deletes; };

static struct spin lock;
static struct dict all;  /* guarded by lock; made with the first prefix */
static bool made;

void prefix_count_one(bytes key, enum prefix_event event)
{
    const uint8_t *colon = memchr(key.data, ':', key.size), *nul = memchr(key.data, 0, key.size);
    struct counts c = {0};
    bytes value;
    if (!colon || (nul && nul < colon))
        return;
    bytes prefix = bytes_of(key.data, (size_t)(colon - key.data));
    spin_lock(&lock);
    if (!made)
        all = dict_make();
    made = true;
    bool known = dict_get(&all, prefix, &value);
    if (known)
        memcpy(&c, value.data, sizeof(c));
    c.gets += event == PREFIX_MISS || event == PREFIX_HIT;
    c.hits += event == PREFIX_HIT;
    c.sets += event == PREFIX_SET;
    c.deletes += event == PREFIX_DELETE;
    if (known || dict_count(&all) < PREFIXES_MAX)
        dict_set(&all, prefix, bytes_of(&c, sizeof(c)));
    spin_unlock(&lock);
}

void prefix_switch(bool on)
{
    if (on)
        atomic_fetch_or(&memcached_observed, COUNT_PREFIXES);
    else
        atomic_fetch_and(&memcached_observed, ~(uint32_t)COUNT_PREFIXES);
}

void prefix_forget(void)
{
    spin_lock(&lock);
    if (made)
        dict_clear(&all);
    spin_unlock(&lock);
}

void prefix_dump(struct buf *out)
{
    struct dict_cursor at = {0};
    bytes prefix, value;
    spin_lock(&lock);
    struct dict now = made ? dict_share(&all) : dict_make();
    spin_unlock(&lock);
    while (dict_next(&now, &at, &prefix, &value)) {
        struct counts c;
        memcpy(&c, value.data, sizeof(c));
        buf_append(out, "PREFIX ", 7);
        buf_append_bytes(out, prefix);
        buf_printf(out, " get %llu hit %llu set %llu del %llu\r\n", (unsigned long long)c.gets, (unsigned long long)c.hits,
                   (unsigned long long)c.sets, (unsigned long long)c.deletes);
    }
    dict_clear(&now);
    buf_append(out, "END\r\n", 5);
}
