/* dump.c -- lru_crawler metadump and mgdump: a line for each item, for tools that copy or look through a cache.
 *
 * The walk is that of SCAN: what is there from beginning to end is told exactly once, what comes or goes meanwhile may be.
 * One run tells a slice; then other connections have their turn, and a client that does not read is waited for, with no
 * lock held. Keys of Redis that are no strings are passed over.
 */
#include "proto/memcached/handlers.h"
#include "proto/memcached/numbers.h"
#include "proto/memcached/storage.h"

#define SLICE 256

static bool is_copied(const struct call *c, bytes key) { return key.size <= MEMCACHED_KEY_MAX && buf_try_reserve(c->reply->out, 3 * key.size + 256); }

static void put_metadata(void *context, bytes key, const struct item *item, size_t memory)
{
    struct call *c = context;
    struct buf *out = c->reply->out;
    uint64_t now_ms = txn_now_ms(c->txn);
    if (!is_copied(c, key))
        return;
    buf_append(out, "key=", 4);
    memcached_put_encoded(out, key);
    memcached_put_facts(out, item, item->deadline_ms ? (int64_t)((item->deadline_ms + 999) / 1000) : -1, now_ms / 1000 - item->idle_seconds, memory);
}

static bool is_plain(bytes key)
{
    for (size_t i = 0; i < key.size; i++) {
        if (key.data[i] <= ' ' || key.data[i] == 0x7f)
            return false;
    }
    return key.size > 0;
}

static void put_request(void *context, bytes key, const struct item *item, size_t memory)
{
    struct call *c = context;
    (void)item;
    (void)memory;
    if (!is_copied(c, key))
        return;
    buf_append(c->reply->out, "mg ", 3);
    bool plain = is_plain(key);
    memcached_put_key(c->reply->out, key, !plain);
    buf_append(c->reply->out, plain ? "\r\n" : " b\r\n", plain ? 2 : 4);
}

static void dump(struct call *c, void (*each)(void *, bytes, const struct item *, size_t), const char *end)
{
    struct memcached *m = memcached_of(c);
    m->walk = item_scan(c->txn, c->session->db, m->walk, SLICE, each, c);
    if (m->walk)
        m->skip = 0; /* once more */
    else
        memcached_line_aloud(c, end);
}

/* ---- stats cachedump: as much as fits ---- */

#define CACHEDUMP_MAX (2u << 20)

struct cachedump { struct call *call; uint64_t left; size_t begin; bool full; };

static void put_entry(void *context, bytes key, const struct item *item, size_t memory)
{
    struct cachedump *d = context;
    struct buf *out = d->call->reply->out;
    (void)memory;
    d->full |= d->left == 0 || out->size - d->begin + key.size + 64 > CACHEDUMP_MAX;
    if (d->full || !is_copied(d->call, key))
        return;
    d->left--;
    buf_append(out, "ITEM ", 5);
    buf_append_bytes(out, key);
    buf_printf(out, " [%zu b; %llu s]\r\n", item->value.size, (unsigned long long)((item->deadline_ms + 999) / 1000));
}

void memcached_cachedump(struct call *c)
{
    uint32_t most = 0;
    bool numeric = memcached_u32(c->argv[1], &most);
    hf_assert(numeric);
    struct cachedump d = {.call = c, .left = most ? most : UINT64_MAX, .begin = c->reply->out->size};
    uint64_t cursor = 0;
    do
        cursor = item_scan(c->txn, c->session->db, cursor, SLICE, put_entry, &d);
    while (cursor && !d.full);
    memcached_line_aloud(c, "END");
}

void memcached_metadump(struct call *c) { dump(c, put_metadata, "END"); }
void memcached_mgdump(struct call *c) { dump(c, put_request, "EN"); }
