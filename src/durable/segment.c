/* segment.c -- encoding, decoding and the walk. Offsets are those of docs/format/log.md. */
#include "durable/segment.h"

#include "base/crc.h"
#include "base/memory.h"
#include "base/wire.h"
#include "os/thread.h"

static const char segment_magic[8] = {'H', 'F', 'L', 'O', 'G', 'S', 'E', 'G'};
static const char group_magic[4] = {'H', 'F', 'G', 'R'};

_Static_assert(RECORD_HEADER_SIZE == 32 && GROUP_HEADER_SIZE % 8 == 0, "docs/format/log.md");

static bool is_zero(const uint8_t *p, size_t size)
{
    return size == 0 || (p[0] == 0 && memcmp(p, p + 1, size - 1) == 0);
}

static uint32_t segment_header_crc(const uint8_t *p)
{
    return crc32c(crc32c(0, p, 12), p + 16, SEGMENT_BLOCK - 16);
}

void segment_header_encode(struct segment_header *h, uint8_t out[SEGMENT_BLOCK])
{
    memset(out, 0, SEGMENT_BLOCK);
    memcpy(out, segment_magic, 8);
    put_u32(out + 8, SEGMENT_VERSION);
    put_u64(out + 16, h->log_id);
    put_u64(out + 24, h->number);
    put_u32(out + 32, h->epoch);
    put_u32(out + 36, h->chain);
    put_u64(out + 40, h->first_lsn);
    put_u64(out + 48, h->epoch_lsn);
    put_u64(out + 56, h->time_ms);
    h->crc = segment_header_crc(out);
    put_u32(out + 12, h->crc);
}

const char *segment_header_decode(const void *data, size_t size, struct segment_header *h)
{
    const uint8_t *p = data;
    if (size < SEGMENT_BLOCK)
        return "the segment header is cut off";
    if (memcmp(p, segment_magic, 8) != 0)
        return "not a log segment";
    if (get_u32(p + 8) != SEGMENT_VERSION)
        return "a log segment of an unknown version";
    if (get_u32(p + 12) != segment_header_crc(p))
        return "the checksum of the segment header does not hold";
    if (!is_zero(p + 64, SEGMENT_BLOCK - 64))
        return "reserved bytes of the segment header are in use";
    *h = (struct segment_header){
        .log_id = get_u64(p + 16), .number = get_u64(p + 24), .first_lsn = get_u64(p + 40),
        .epoch_lsn = get_u64(p + 48), .time_ms = get_u64(p + 56), .epoch = get_u32(p + 32),
        .chain = get_u32(p + 36), .crc = get_u32(p + 12)};
    return h->first_lsn % 8 ? "the first lsn is not aligned" : NULL;
}

void group_header_encode(struct group_header *h, uint8_t out[GROUP_HEADER_SIZE])
{
    memset(out, 0, GROUP_HEADER_SIZE);
    memcpy(out, group_magic, 4);
    put_u64(out + 8, h->log_id);
    put_u32(out + 16, h->epoch);
    put_u32(out + 20, h->chain);
    put_u64(out + 24, h->segment);
    put_u64(out + 32, h->first_lsn);
    put_u64(out + 40, h->durable_lsn);
    put_u64(out + 48, h->time_ms);
    put_u32(out + 56, h->disk_bytes);
    put_u32(out + 60, h->lsn_bytes);
    put_u32(out + 64, h->records);
    put_u32(out + 68, h->records_crc);
    put_u16(out + 72, SEGMENT_VERSION);
    put_u16(out + 74, h->flags);
    h->crc = crc32c(0, out + 8, GROUP_HEADER_SIZE - 8);
    put_u32(out + 4, h->crc);
}

const char *group_header_decode(const uint8_t *p, size_t room, struct group_header *h)
{
    if (room < GROUP_HEADER_SIZE || memcmp(p, group_magic, 4) != 0)
        return "no group header";
    if (get_u32(p + 4) != crc32c(0, p + 8, GROUP_HEADER_SIZE - 8) && !os_bug(BUG_GROUP_CRC))
        return "the checksum of the group header does not hold";
    if (get_u16(p + 72) != SEGMENT_VERSION || get_u16(p + 74) > GROUP_SEAL || get_u32(p + 76) != 0)
        return "a group of an unknown version";
    *h = (struct group_header){
        .log_id = get_u64(p + 8), .epoch = get_u32(p + 16), .chain = get_u32(p + 20),
        .segment = get_u64(p + 24), .first_lsn = get_u64(p + 32), .durable_lsn = get_u64(p + 40),
        .time_ms = get_u64(p + 48), .disk_bytes = get_u32(p + 56), .lsn_bytes = get_u32(p + 60),
        .records = get_u32(p + 64), .records_crc = get_u32(p + 68), .crc = get_u32(p + 4),
        .flags = get_u16(p + 74)};
    if (h->disk_bytes % 8 || h->lsn_bytes % 8 || h->first_lsn % 8)
        return "a length of the group is not aligned";
    if (h->first_lsn > UINT64_MAX / 2)
        return "the lsn of the group is out of range";
    if ((h->records == 0) != (h->lsn_bytes == 0) || (h->records == 0) != (h->disk_bytes == 0))
        return "the lengths of the group contradict each other";
    return h->disk_bytes > room - GROUP_HEADER_SIZE ? "the group is cut off" : NULL;
}

uint32_t record_crc_before_lsn(uint64_t log_id, const uint8_t *p, const uint8_t *body, size_t body_size)
{
    uint8_t fixed[28];
    put_u64(fixed, log_id);
    memcpy(fixed + 8, p, 20);
    return crc32c(crc32c(0, body, body_size), fixed, sizeof(fixed));
}

uint32_t record_crc_with_lsn(uint32_t crc, uint64_t lsn)
{
    return crc32c(crc, &lsn, 8);
}

const char *record_decode(const uint8_t *p, size_t room, uint64_t lsn, struct record_view *v)
{
    if (room < RECORD_HEADER_SIZE)
        return "a record header is cut off";
    uint32_t size = get_u32(p);
    if (size < RECORD_HEADER_SIZE || size > RECORD_SIZE_MAX)
        return "the size of a record is out of range";
    size_t disk_size = round_up(size, 8);
    if (disk_size > room)
        return "a record is cut off";
    *v = (struct record_view){
        .lsn = get_u64(p + 24), .time_ms = get_u64(p + 8), .epoch = get_u32(p + 16),
        .crc = get_u32(p + 20), .slot = get_u16(p + 6), .kind = p[4], .flags = p[5],
        .disk_size = disk_size, .body = {p + RECORD_HEADER_SIZE, size - RECORD_HEADER_SIZE}};
    if (v->lsn != lsn)
        return "the lsn of a record is not the next one";
    if (v->kind == 0 || v->flags > RECORD_INDIRECT)
        return "the kind or the flags of a record are unknown";
    v->next_lsn = lsn + (v->flags & RECORD_INDIRECT ? RECORD_INDIRECT_SPACE : disk_size);
    return NULL;
}

const char *group_verify(const uint8_t *data, const struct segment_group *g, uint64_t *bad_offset,
                         uint64_t *bad_lsn)
{
    const struct group_header *h = &g->header;
    uint64_t offset = g->offset + GROUP_HEADER_SIZE, end = offset + h->disk_bytes;
    uint64_t lsn = h->first_lsn;
    uint32_t crcs = 0;
    for (uint32_t i = 0; i < h->records; i++) {
        struct record_view v;
        const uint8_t *p = data + offset;
        *bad_offset = offset;
        *bad_lsn = lsn;
        const char *problem = record_decode(p, end - offset, lsn, &v);
        if (problem)
            return problem;
        if (v.epoch > h->epoch || v.time_ms > h->time_ms)
            return "a record is newer than its group";
        uint32_t crc = record_crc_before_lsn(h->log_id, p, v.body.data, v.body.size);
        if (record_crc_with_lsn(crc, lsn) != v.crc && !os_bug(BUG_RECORD_CRC))
            return "the checksum of a record does not hold";
        size_t used = RECORD_HEADER_SIZE + v.body.size;
        if (!is_zero(p + used, v.disk_size - used))
            return "the padding of a record is not zero";
        crcs = crc32c(crcs, &v.crc, 4);
        offset += v.disk_size;
        lsn = v.next_lsn;
    }
    *bad_offset = g->offset;
    *bad_lsn = h->first_lsn;
    if (offset != end || lsn != h->first_lsn + h->lsn_bytes || crcs != h->records_crc)
        return "the records are not those of the group header";
    return NULL;
}

static void scan_add(struct segment_scan *scan, uint64_t offset, const struct group_header *h)
{
    if (scan->found == scan->capacity) {
        scan->capacity = scan->capacity ? scan->capacity * 2 : 64;
        scan->groups = mem_realloc(scan->groups, scan->capacity * sizeof(*scan->groups));
    }
    scan->groups[scan->found++] = (struct segment_group){offset, *h};
}

static bool belongs(const struct segment_scan *scan, const struct group_header *h)
{
    return h->log_id == scan->header.log_id && h->segment == scan->header.number &&
           h->epoch == scan->header.epoch;
}

/* Where the group after `offset` must stand: here, or behind zeros on the next block. */
static uint64_t group_place(const struct segment_scan *scan, uint64_t offset)
{
    uint64_t block = round_up(offset, SEGMENT_BLOCK);
    if (block != offset && block <= scan->size && is_zero(scan->data + offset, block - offset))
        return block;
    return offset;
}

static const char *next_group(struct segment_scan *scan, uint64_t offset, struct group_header *h)
{
    const char *problem = group_header_decode(scan->data + offset, scan->size - offset, h);
    if (problem)
        return problem;
    if (!belongs(scan, h))
        return "a group of an older segment";
    if (h->first_lsn != scan->end_lsn)
        return "the lsn of a group is not the next one";
    if (h->chain != scan->end_chain)
        return "the chain of groups is broken";
    return h->durable_lsn > h->first_lsn ? "a group is durable before itself" : NULL;
}

/* Headers of this segment behind the end: a damaged or torn group hides them from the walk. */
static void scan_behind(struct segment_scan *scan, uint64_t offset)
{
    for (; offset + GROUP_HEADER_SIZE <= scan->size; offset += 8) {
        struct group_header h;
        if (memcmp(scan->data + offset, group_magic, 4) != 0)
            continue;
        if (group_header_decode(scan->data + offset, scan->size - offset, &h) || !belongs(scan, &h))
            continue;
        scan_add(scan, offset, &h);
        offset += round_up(GROUP_HEADER_SIZE + (uint64_t)h.disk_bytes, 8) - 8;
    }
}

void segment_scan_run(struct segment_scan *scan, uint64_t limit)
{
    scan->end_offset = SEGMENT_BLOCK;
    scan->end_lsn = scan->header.first_lsn;
    scan->end_chain = scan->header.chain;
    while (scan->end_lsn < limit && scan->end_offset < scan->size) {
        uint64_t offset = group_place(scan, scan->end_offset);
        struct group_header h;
        if (offset >= scan->size)
            break;
        scan->problem = next_group(scan, offset, &h);
        if (scan->problem)
            break;
        scan_add(scan, offset, &h);
        scan->count++;
        scan->end_offset = offset + GROUP_HEADER_SIZE + h.disk_bytes;
        scan->end_lsn += h.lsn_bytes;
        if (h.records)
            scan->end_chain = h.crc;
    }
    if (scan->end_lsn >= limit)
        return;
    scan_behind(scan, scan->end_offset);
    if (scan->problem && is_zero(scan->data + scan->end_offset, scan->size - scan->end_offset))
        scan->problem = NULL;
}

void segment_scan_cut(struct segment_scan *scan, size_t group, const char *problem)
{
    scan->count = group;
    scan->problem = problem;
    scan->end_offset = scan->groups[group].offset;
    scan->end_lsn = scan->groups[group].header.first_lsn;
    scan->end_chain = scan->groups[group].header.chain;
}

uint64_t segment_scan_mark(const struct segment_scan *scan)
{
    uint64_t mark = scan->header.first_lsn;
    for (size_t i = 0; i < scan->found; i++) {
        if (scan->groups[i].header.durable_lsn > mark)
            mark = scan->groups[i].header.durable_lsn;
    }
    return mark;
}

uint64_t segment_scan_next(const struct segment_scan *scan)
{
    return group_place(scan, scan->end_offset);
}

bool segment_scan_is_damaged(const struct segment_scan *scan)
{
    if (segment_scan_mark(scan) > scan->end_lsn)
        return true;
    bool fresh_block = scan->end_offset % SEGMENT_BLOCK == 0 ||
                       group_place(scan, scan->end_offset) != scan->end_offset;
    for (size_t i = scan->count; i < scan->found; i++) {
        const struct segment_group *later = &scan->groups[i];
        if (later->offset <= scan->end_offset || later->header.durable_lsn < scan->end_lsn)
            continue;
        if (!fresh_block || later->header.first_lsn == scan->end_lsn)
            return true;
    }
    return false;
}

void segment_scan_release(struct segment_scan *scan)
{
    mem_free(scan->groups);
    *scan = (struct segment_scan){0};
}
