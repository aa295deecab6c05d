/* snapshot_format.c -- fields at their offsets, as docs/format/snapshot.md lists them. */
#include "durable/snapshot_format.h"

#include "base/crc.h"
#include "base/wire.h"

static const uint8_t header_magic[8] = {'H', 'F', 'S', 'N', 'A', 'P', 'S', 'H'};
static const uint8_t footer_magic[8] = {'H', 'F', 'S', 'N', 'A', 'P', 'F', 'T'};
static const uint8_t block_magic[4] = {'H', 'F', 'S', 'B'};
static const uint8_t end_magic[4] = {'H', 'F', 'E', 'S'};

#define MAP_CAPACITY (sizeof(((struct snapshot_map *)0)->ids) / sizeof(uint32_t))
_Static_assert(SNAPSHOT_HEADER_MAX == SNAPSHOT_HEADER_FIXED + MAP_CAPACITY * 4, "a whole map fits the header");
_Static_assert(STRIPE_COUNT <= UINT16_MAX, "stripes have two bytes");

/* Bytes 12-15 hold the sum of all others. */
static uint32_t header_crc(const uint8_t *p, size_t size)
{
    return crc32c(crc32c(0, p, 12), p + 16, size - 16);
}

void snapshot_header_encode(struct buf *out, const struct snapshot_header *h)
{
    size_t size = SNAPSHOT_HEADER_FIXED + h->map.count * 4;
    hf_assert(h->map.count <= MAP_CAPACITY);
    buf_reserve(out, size);
    uint8_t *p = out->data + out->size;
    memset(p, 0, size);
    memcpy(p, header_magic, 8);
    put_u32(p + 8, h->has_tail ? SNAPSHOT_VERSION_TAIL : SNAPSHOT_VERSION);
    put_u32(p + 16, (uint32_t)size);
    put_u32(p + 20, h->stripe_count);
    put_u64(p + 24, h->log_id);
    put_u64(p + 32, h->number);
    put_u64(p + 40, h->secret);
    put_u64(p + 48, h->start_lsn);
    put_u64(p + 56, h->map.lsn);
    put_u32(p + 64, h->map.next_id);
    put_u32(p + 68, h->map.count);
    for (uint32_t i = 0; i < h->map.count; i++)
        put_u32(p + SNAPSHOT_HEADER_FIXED + i * 4, h->map.ids[i]);
    put_u32(p + 12, header_crc(p, size));
    out->size += size;
}

enum snapshot_header_state snapshot_header_decode(bytes in, struct snapshot_header *h, size_t *size)
{
    const uint8_t *p = in.data;
    if (in.size < SNAPSHOT_HEADER_FIXED || memcmp(p, header_magic, 8) != 0)
        return SNAPSHOT_HEADER_DAMAGED;
    *size = get_u32(p + 16);
    if (*size < SNAPSHOT_HEADER_FIXED || *size > in.size || get_u32(p + 12) != header_crc(p, *size))
        return SNAPSHOT_HEADER_DAMAGED;
    if (get_u32(p + 8) != SNAPSHOT_VERSION && get_u32(p + 8) != SNAPSHOT_VERSION_TAIL)
        return SNAPSHOT_HEADER_VERSION;
    *h = (struct snapshot_header){.stripe_count = get_u32(p + 20), .log_id = get_u64(p + 24), .number = get_u64(p + 32),
                                  .secret = get_u64(p + 40), .start_lsn = get_u64(p + 48),
                                  .has_tail = get_u32(p + 8) == SNAPSHOT_VERSION_TAIL};
    h->map.lsn = get_u64(p + 56);
    h->map.next_id = get_u32(p + 64);
    h->map.count = get_u32(p + 68);
    if (h->map.count > MAP_CAPACITY || *size != SNAPSHOT_HEADER_FIXED + h->map.count * 4 ||
        h->stripe_count != STRIPE_COUNT)
        return SNAPSHOT_HEADER_DAMAGED;
    for (uint32_t i = 0; i < h->map.count; i++)
        h->map.ids[i] = get_u32(p + SNAPSHOT_HEADER_FIXED + i * 4);
    return SNAPSHOT_HEADER_OK;
}

void snapshot_block_encode(uint8_t out[SNAPSHOT_BLOCK_HEADER], const struct snapshot_block *b)
{
    memcpy(out, block_magic, 4);
    put_u32(out + 8, b->payload_crc);
    put_u16(out + 12, b->stripe_first);
    put_u16(out + 14, b->stripe_last);
    put_u64(out + 16, b->number);
    put_u64(out + 24, b->raw_size);
    put_u64(out + 32, b->stored_size);
    put_u32(out + 40, b->ranges);
    put_u32(out + 44, b->compression);
    put_u32(out + 4, crc32c(0, out + 8, SNAPSHOT_BLOCK_HEADER - 8));
}

bool snapshot_block_decode(const uint8_t in[SNAPSHOT_BLOCK_HEADER], struct snapshot_block *b)
{
    if (memcmp(in, block_magic, 4) != 0 || get_u32(in + 4) != crc32c(0, in + 8, SNAPSHOT_BLOCK_HEADER - 8) ||
        get_u32(in + 44) > SNAPSHOT_LZ4)
        return false;
    *b = (struct snapshot_block){.payload_crc = get_u32(in + 8), .stripe_first = get_u16(in + 12),
                                 .stripe_last = get_u16(in + 14), .number = get_u64(in + 16),
                                 .raw_size = get_u64(in + 24), .stored_size = get_u64(in + 32),
                                 .ranges = get_u32(in + 40),
                                 .compression = (enum snapshot_compression)get_u32(in + 44)};
    return b->stripe_first <= b->stripe_last && b->stripe_last < STRIPE_COUNT && b->ranges > 0 &&
           (b->compression != SNAPSHOT_PLAIN || b->raw_size == b->stored_size);
}

void snapshot_range_encode(uint8_t out[SNAPSHOT_RANGE_HEADER], const struct snapshot_range *r)
{
    put_u16(out, r->stripe);
    put_u16(out + 2, (uint16_t)r->kind);
    put_u32(out + 4, r->db_id);
    put_u32(out + 8, r->first);
    put_u32(out + 12, r->last);
    put_u64(out + 16, r->lsn);
    put_u64(out + 24, r->size);
    put_u32(out + 32, r->entries);
    put_u32(out + 36, r->table_entries);
}

bool snapshot_range_take(bytes *in, struct snapshot_range *r, bytes *entries)
{
    const uint8_t *p = in->data;
    if (in->size < SNAPSHOT_RANGE_HEADER)
        return false;
    *r = (struct snapshot_range){.stripe = get_u16(p), .kind = (enum snapshot_range_kind)get_u16(p + 2),
                                 .db_id = get_u32(p + 4), .first = get_u32(p + 8), .last = get_u32(p + 12),
                                 .lsn = get_u64(p + 16), .size = get_u64(p + 24), .entries = get_u32(p + 32),
                                 .table_entries = get_u32(p + 36)};
    bool rest = r->kind == SNAPSHOT_REST, tail = r->kind == SNAPSHOT_TAIL;
    if ((!rest && !tail && r->kind != SNAPSHOT_RANGE) || r->stripe >= STRIPE_COUNT || r->first > r->last ||
        r->size > in->size - SNAPSHOT_RANGE_HEADER || (r->entries == 0) != (r->size == 0) ||
        (rest && (r->db_id | r->first | r->last | r->size | r->table_entries)) ||
        (tail && (r->stripe | r->db_id | r->first | r->last | r->table_entries || r->entries == 0)))
        return false;
    *entries = bytes_of(p + SNAPSHOT_RANGE_HEADER, r->size);
    *in = bytes_of(p + SNAPSHOT_RANGE_HEADER + r->size, in->size - SNAPSHOT_RANGE_HEADER - r->size);
    return true;
}

void snapshot_footer_encode(uint8_t out[SNAPSHOT_FOOTER], const struct snapshot_footer *f)
{
    memset(out, 0, SNAPSHOT_FOOTER);
    memcpy(out, footer_magic, 8);
    put_u64(out + 8, f->blocks);
    put_u64(out + 16, f->ranges);
    put_u64(out + 24, f->entries);
    put_u64(out + 32, f->lsn_lowest);
    put_u64(out + 40, f->lsn_highest);
    put_u32(out + 48, f->index_crc);
    put_u32(out + 64, crc32c(0, out, 64));
    memcpy(out + 68, end_magic, 4);
}

bool snapshot_footer_decode(const uint8_t in[SNAPSHOT_FOOTER], struct snapshot_footer *f)
{
    if (memcmp(in, footer_magic, 8) != 0 || memcmp(in + 68, end_magic, 4) != 0 ||
        get_u32(in + 64) != crc32c(0, in, 64) || get_u32(in + 52) || get_u64(in + 56))
        return false;
    *f = (struct snapshot_footer){.blocks = get_u64(in + 8), .ranges = get_u64(in + 16), .entries = get_u64(in + 24),
                                  .lsn_lowest = get_u64(in + 32), .lsn_highest = get_u64(in + 40),
                                  .index_crc = get_u32(in + 48)};
    return true;
}
