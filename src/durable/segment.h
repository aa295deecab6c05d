/* segment.h -- the bytes of a log segment: headers, groups, records, and where they end.
 *
 * Pure: encodes into and decodes from memory, no files. Every number read is checked
 * before it is used, so any bytes may be handed in. The writer, recovery and hf-inspect
 * share this file. A `const char *` result is what is wrong, or NULL.
 * Tables and the rule for the end of the log: docs/format/log.md.
 */
#ifndef HF_DURABLE_SEGMENT_H
#define HF_DURABLE_SEGMENT_H

#include "base/assert.h"
#include "base/bytes.h"
#include "durable/log.h"

#define SEGMENT_BLOCK 4096u
#define SEGMENT_VERSION 1u
#define GROUP_HEADER_SIZE 80u
#define GROUP_SEAL 1u
#define RECORD_INDIRECT 1u
#define RECORD_INDIRECT_SPACE (RECORD_HEADER_SIZE + 8u) /* of lsn and of ring */

struct segment_header {
    uint64_t log_id, number, first_lsn, epoch_lsn, time_ms;
    uint32_t epoch, chain, crc;
};

struct group_header {
    uint64_t log_id, segment, first_lsn, durable_lsn, time_ms;
    uint32_t epoch, chain, crc;
    uint32_t disk_bytes, lsn_bytes, records, records_crc;
    uint16_t flags;
};

/* A record on disk; body is a view of the segment's memory. */
struct record_view {
    uint64_t lsn, next_lsn, time_ms;
    uint32_t epoch, crc;
    uint16_t slot;
    uint8_t kind, flags;
    size_t disk_size; /* with padding */
    bytes body;
};

struct segment_group { uint64_t offset; struct group_header header; };

/* What stands in a segment. Groups up to `count` follow each other without a gap; those
 * up to `found` were met behind the end and only tell what must have been durable. */
struct segment_scan {
    const uint8_t *data;
    size_t size;
    struct segment_header header;
    struct segment_group *groups; /* owned */
    size_t count, found, capacity;
    uint64_t end_offset, end_lsn;
    uint32_t end_chain;
    const char *problem; /* what stopped the walk; NULL at zeros, at the limit, at the end of the file */
};

static inline uint64_t round_up(uint64_t n, uint64_t unit) { return (n + unit - 1) & ~(unit - 1); }

void segment_header_encode(struct segment_header *h, uint8_t out[SEGMENT_BLOCK]); /* sets h->crc */
const char *segment_header_decode(const void *data, size_t size, struct segment_header *h) HF_CHECK;
void group_header_encode(struct group_header *h, uint8_t out[GROUP_HEADER_SIZE]); /* sets h->crc */
const char *group_header_decode(const uint8_t *p, size_t room, struct group_header *h) HF_CHECK;

/* The CRC of a record but for its lsn; then with it. p: the header, its first 20 bytes set. */
uint32_t record_crc_before_lsn(uint64_t log_id, const uint8_t *p, const uint8_t *body, size_t body_size);
uint32_t record_crc_with_lsn(uint32_t crc, uint64_t lsn);

/* Structure only, no CRC. */
const char *record_decode(const uint8_t *p, size_t room, uint64_t lsn, struct record_view *v) HF_CHECK;
/* Everything in a group against its header; at a problem *bad_offset, *bad_lsn say where. */
const char *group_verify(const uint8_t *data, const struct segment_group *g, uint64_t *bad_offset,
                         uint64_t *bad_lsn) HF_CHECK;

/* Walks the group headers up to `limit` (the next segment's first lsn, or UINT64_MAX).
 * The segment's header must have been decoded into scan->header. */
void segment_scan_run(struct segment_scan *scan, uint64_t limit);
void segment_scan_cut(struct segment_scan *scan, size_t group, const char *problem); /* ends before it */
uint64_t segment_scan_mark(const struct segment_scan *scan); /* the highest durable lsn anyone names */
uint64_t segment_scan_next(const struct segment_scan *scan); /* offset at which the group after the end must stand */
bool segment_scan_is_damaged(const struct segment_scan *scan); /* the end is not a torn tail */
void segment_scan_release(struct segment_scan *scan);

#endif
