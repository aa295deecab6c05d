/* dump.c -- lru_crawler metadump and mgdump: a line for each item, for tools that copy or look through a cache.
 *
 * The walk is that of SCAN: what is there from beginning to end is told exactly once, what comes or goes meanwhile may be.
 * One run tells a slice; then other connections have their turn, and a client that does not read is waited for, with no
 * lock held. Keys of Redis that are no strings are passed over.
 */
#include "proto/memcached/handlers.h"
#include "proto/memcached/storage.h"

#define SLICE 256

/* As in a URI: all but letters, digits, - . _ ~ as %XX. */
static void put_encoded(struct buf *out, bytes key)
{
    static const char hex[] = "0123456789ABCDEF";
    for (size_t i = 0; i < key.size; i++) {
        uint8_t c = key.data[i];
        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_' || c == '~') {
            buf_append_u8(out, c);
        } else {
            buf_append_u8(out, '%');
            buf_append_u8(out, (uint8_t)hex[c >> 4]);
            buf_append_u8(out, (uint8_t)hex[c & 15]);
        }
    }
}

static bool is_copied(const struct call *c, bytes key) { return key.size <= MEMCACHED_KEY_MAX && buf_try_reserve(c->reply->out, 3 * key.size + 256); }

static void put_metadata(void *context, bytes key, const struct item *item, size_t memory)
{
    struct call *c = context;
    struct buf *out = c->reply->out;
    uint64_t now_ms = txn_now_ms(c->txn);
    if (!is_copied(c, key))
        return;
    buf_append(out, "key=", 4);
    put_encoded(out, key);
    buf_append(out, " exp=", 5);
    buf_append_int(out, item->deadline_ms ? (int64_t)((item->deadline_ms + 999) / 1000) : -1);
    buf_printf(out, " la=%llu cas=%llu fetch=%s cls=1 size=%zu\r\n", (unsigned long long)(now_ms / 1000 - item->idle_seconds),
               (unsigned long long)item->version, item->fetched ? "yes" : "no", memory);
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

void memcached_metadump(struct call *c) { dump(c, put_metadata, "END"); }
void memcached_mgdump(struct call *c) { dump(c, put_request, "EN"); }
