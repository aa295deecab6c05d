/* fuzz_log.c -- a segment of the log: groups and records from any bytes.
 *
 * Input: a byte of what is left as it is, then the bytes behind the segment's header. Checksums would stop
 * every mutation at once, so they, the chain and the identity are mended before the walk unless that byte says not to. What the
 * walk accepts lies within the segment and is read again without a fault, as recovery does.
 */
#include "base/assert.h"
#include "base/crc.h"
#include "base/memory.h"
#include "base/wire.h"
#include "durable/effect.h"
#include "durable/segment.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { LEAVE_ALL = 1, LEAVE_LSN = 2, LEAVE_CHAIN = 4, LEAVE_RECORDS = 8 };

/* The records of a group that ends at `end`; returns the lsn behind them. */
static uint64_t mend_records(uint8_t *data, uint64_t offset, uint64_t end, uint8_t *group, uint64_t lsn, unsigned leave)
{
    uint32_t crcs = 0, records = 0;
    while (end - offset >= RECORD_HEADER_SIZE) {
        struct record_view v;
        uint8_t *p = data + offset;
        if (!(leave & LEAVE_LSN))
            put_u64(p + 24, lsn);
        if (record_decode(p, end - offset, lsn, &v) != NULL)
            break;
        uint32_t crc = record_crc_with_lsn(record_crc_before_lsn(get_u64(group + 8), p, v.body.data, v.body.size), lsn);
        put_u32(p + 20, crc);
        crcs = crc32c(crcs, &crc, 4);
        offset += v.disk_size;
        lsn = v.next_lsn;
        records++;
    }
    if (leave & LEAVE_RECORDS)
        return lsn;
    put_u32(group + 60, (uint32_t)(lsn - get_u64(group + 32)));
    put_u32(group + 64, records);
    put_u32(group + 68, crcs);
    return lsn;
}

static void mend(uint8_t *data, size_t size, const struct segment_header *h, unsigned leave)
{
    uint64_t offset = SEGMENT_BLOCK, lsn = h->first_lsn;
    uint32_t chain = h->crc;
    while (size - offset >= GROUP_HEADER_SIZE && !(leave & LEAVE_ALL)) {
        uint8_t *p = data + offset;
        uint64_t room = size - offset - GROUP_HEADER_SIZE, disk_bytes = get_u32(p + 56);
        put_u64(p + 8, h->log_id);
        put_u32(p + 16, h->epoch);
        put_u64(p + 24, h->number);
        if (!(leave & LEAVE_CHAIN))
            put_u32(p + 20, chain);
        if (!(leave & LEAVE_LSN))
            put_u64(p + 32, lsn);
        disk_bytes = disk_bytes < room ? disk_bytes : room;
        lsn = mend_records(data, offset + GROUP_HEADER_SIZE, offset + GROUP_HEADER_SIZE + disk_bytes, p, lsn, leave);
        chain = crc32c(0, p + 8, GROUP_HEADER_SIZE - 8);
        put_u32(p + 4, chain);
        offset += GROUP_HEADER_SIZE + disk_bytes;
    }
}

static void read_records(const struct segment_scan *scan, const struct segment_group *g)
{
    uint64_t offset = g->offset + GROUP_HEADER_SIZE, lsn = g->header.first_lsn;
    for (uint32_t i = 0; i < g->header.records; i++) {
        struct record_view v;
        struct effect f;
        const char *problem = record_decode(scan->data + offset, scan->size - offset, lsn, &v);
        hf_assert(!problem);
        for (bytes in = v.body; in.size && effect_next(&in, &f) == HF_OK;)
            ;
        offset += v.disk_size;
        lsn = v.next_lsn;
    }
}

static void check_scan(struct segment_scan *scan)
{
    hf_assert(scan->count <= scan->found && scan->end_offset <= scan->size);
    uint64_t before = 0;
    for (size_t i = 0; i < scan->count; i++) {
        const struct segment_group *g = &scan->groups[i];
        uint64_t bad_offset, bad_lsn;
        hf_assert(g->offset >= before && g->offset + GROUP_HEADER_SIZE + g->header.disk_bytes <= scan->size);
        before = g->offset + GROUP_HEADER_SIZE + g->header.disk_bytes;
        if (!group_verify(scan->data, g, &bad_offset, &bad_lsn)) {
            read_records(scan, g);
            continue;
        }
        hf_assert(bad_offset < scan->size);
        segment_scan_cut(scan, i, "does not hold");
        hf_assert(scan->count == i);
    }
    (void)segment_scan_mark(scan);
    (void)segment_scan_next(scan);
    (void)segment_scan_is_damaged(scan);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct segment_header made = {.log_id = 77, .number = 3, .first_lsn = 64, .epoch_lsn = 64, .epoch = 2}, read;
    if (size == 0)
        return 0;
    size_t total = SEGMENT_BLOCK + size - 1;
    uint8_t *segment = mem_alloc(total);
    segment_header_encode(&made, segment);
    memcpy(segment + SEGMENT_BLOCK, data + 1, size - 1);
    mend(segment, total, &made, data[0]);
    const char *problem = segment_header_decode(segment, total, &read);
    hf_assert(!problem && read.crc == made.crc);
    struct segment_scan scan = {.data = segment, .size = total, .header = read};
    segment_scan_run(&scan, UINT64_MAX);
    check_scan(&scan);
    segment_scan_release(&scan);
    mem_free(segment);
    return 0;
}
