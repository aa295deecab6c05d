/* snapshot_format.h -- the bytes of a snapshot file: header, blocks, ranges, index, footer.
 *
 * The tables stand in docs/format/snapshot.md. Encoding and strict decoding only; no
 * file is touched here. Decoders say false for bytes that do not hold.
 */
#ifndef HF_DURABLE_SNAPSHOT_FORMAT_H
#define HF_DURABLE_SNAPSHOT_FORMAT_H

#include "base/buf.h"
#include "durable/snapshot.h"

#define SNAPSHOT_VERSION 1u
#define SNAPSHOT_VERSION_TAIL 2u /* the same, and a tail */
#define SNAPSHOT_HEADER_FIXED 72u
#define SNAPSHOT_HEADER_MAX (SNAPSHOT_HEADER_FIXED + 1024u * 4u)
#define SNAPSHOT_BLOCK_HEADER 48u
#define SNAPSHOT_RANGE_HEADER 40u
#define SNAPSHOT_FOOTER 72u
#define SNAPSHOT_BLOCK_TARGET (64u << 10) /* a block is closed when its payload has reached this */

/* On disk: never renumber. */
enum snapshot_compression { SNAPSHOT_PLAIN = 0, SNAPSHOT_LZ4 = 1 };
enum snapshot_range_kind {
    SNAPSHOT_RANGE = 1, /* entries of one hash range of one table */
    SNAPSHOT_REST = 2,  /* tables of this stripe that have no range were absent at lsn */
    SNAPSHOT_TAIL = 3,  /* records of the tail from position lsn on (durable/tail.h); in blocks of their own */
};

struct snapshot_header {
    uint64_t log_id, number, secret, start_lsn;
    uint32_t stripe_count;
    bool has_tail;
    struct snapshot_map map;
};

struct snapshot_block {
    uint32_t payload_crc;             /* of the stored bytes */
    uint16_t stripe_first, stripe_last;
    uint64_t number, raw_size, stored_size;
    uint32_t ranges;
    enum snapshot_compression compression;
};

struct snapshot_range {
    enum snapshot_range_kind kind;
    uint16_t stripe;
    uint32_t db_id, first, last;      /* high hash halves, both included */
    uint64_t lsn, size;               /* capture; bytes of entries that follow */
    uint32_t entries;                 /* TAIL: records */
    uint32_t table_entries;           /* of the whole table at capture: how much room to make */
};

struct snapshot_footer {
    uint64_t blocks, ranges, entries, lsn_lowest, lsn_highest;
    uint32_t index_crc;               /* of the block headers, one after the other */
};

/* What the first bytes say before a CRC can be checked. */
enum snapshot_header_state { SNAPSHOT_HEADER_OK, SNAPSHOT_HEADER_DAMAGED, SNAPSHOT_HEADER_VERSION };

void snapshot_header_encode(struct buf *out, const struct snapshot_header *h);
/* in: the file's first bytes, at most SNAPSHOT_HEADER_MAX; *size: of the header. */
enum snapshot_header_state snapshot_header_decode(bytes in, struct snapshot_header *h, size_t *size) HF_CHECK;

void snapshot_block_encode(uint8_t out[SNAPSHOT_BLOCK_HEADER], const struct snapshot_block *b);
bool snapshot_block_decode(const uint8_t in[SNAPSHOT_BLOCK_HEADER], struct snapshot_block *b) HF_CHECK;

void snapshot_range_encode(uint8_t out[SNAPSHOT_RANGE_HEADER], const struct snapshot_range *r);
/* Takes one range off the front of a block's payload; *entries views its entries. */
bool snapshot_range_take(bytes *in, struct snapshot_range *r, bytes *entries) HF_CHECK;

void snapshot_footer_encode(uint8_t out[SNAPSHOT_FOOTER], const struct snapshot_footer *f);
bool snapshot_footer_decode(const uint8_t in[SNAPSHOT_FOOTER], struct snapshot_footer *f) HF_CHECK;

#endif
