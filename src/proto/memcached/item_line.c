/* item_line.c -- how lines name an item and tell of it: me, metadump, mgdump, watch. */
#include "proto/memcached/handlers.h"

#include "proto/memcached/numbers.h"

void memcached_put_key(struct buf *out, bytes key, bool base64)
{
    if (!base64) {
        buf_append_bytes(out, key);
        return;
    }
    buf_reserve(out, 4 * (key.size / 3 + 1));
    out->size += base64_encode(key, out->data + out->size);
}

void memcached_put_encoded(struct buf *out, bytes key)
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

void memcached_put_facts(struct buf *out, const struct item *item, int64_t exp, uint64_t la, size_t memory)
{
    buf_printf(out, " exp=%lld la=%llu cas=%llu fetch=%s cls=1 size=%zu\r\n", (long long)exp, (unsigned long long)la,
               (unsigned long long)item->version, item->fetched ? "yes" : "no", memory);
}
