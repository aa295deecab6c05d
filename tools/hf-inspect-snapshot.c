/* hf-inspect-snapshot.c -- `hf-inspect snapshot`: header, blocks and ranges of snapshot files.
 *
 * With -v every entry too. Reads through durable/snapshot_file.h, the code that loads them, so what is
 * printed is what a start would see. Exit code as in hf-inspect.c.
 */
#include "hf-inspect.h"

#include "base/crc.h"
#include "durable/effect.h"
#include "durable/snapshot_file.h"
#include "types/type.h"

#include <inttypes.h>
#include <stdio.h>

#define DETAIL_SIZE 4608

struct totals { uint64_t ranges, entries; };

static int failed(status s, const char *detail)
{
    fflush(stdout);
    fprintf(stderr, "hf-inspect: %s\n", detail);
    return s == HF_ERR_CORRUPT ? 1 : 2;
}

static int block_damaged(const struct snapshot_file *f, uint64_t i, const char *what)
{
    fflush(stdout);
    fprintf(stderr, "hf-inspect: %s: damaged at offset %" PRIu64 ": %s\n", f->path, f->offsets[i], what);
    return 1;
}

static void header_print(const struct snapshot_file *f)
{
    const struct snapshot_header *h = &f->header;
    printf("snapshot %s number=%" PRIu64 " log=%016" PRIx64 " start=%" PRIu64 " stripes=%" PRIu32
           " map-lsn=%" PRIu64 " next-id=%" PRIu32 " map=",
           f->path, h->number, h->log_id, h->start_lsn, h->stripe_count, h->map.lsn, h->map.next_id);
    for (uint32_t i = 0; i < h->map.count; i++)
        printf("%s%" PRIu32, i ? "," : "", h->map.ids[i]);
    printf("%s\n", h->map.count ? "" : "-");
}

static void key_print(bytes key)
{
    putchar('"');
    for (size_t i = 0; i < key.size; i++) {
        uint8_t c = key.data[i];
        if (c >= ' ' && c < 127 && c != '"' && c != '\\')
            putchar(c);
        else
            printf("\\x%02x", c);
    }
    putchar('"');
}

static bool entry_print(bytes *in, const struct snapshot_range *r, bool verbose)
{
    struct entry_image image;
    void *object = NULL;
    bytes key, payload;
    if (!take_bytes(in, &key) || !take_bytes(in, &payload) || key_slot(key) >> STRIPE_SHIFT != r->stripe ||
        entry_decode(payload, &image, &object) != HF_OK)
        return false;
    if (object)
        type_ops_of((int)image.type)->free(object);
    if (!verbose)
        return true;
    printf("    entry key=");
    key_print(key);
    printf(" type=%s bytes=%zu", type_name((int)image.type), payload.size);
    if (image.deadline_ms)
        printf(" deadline=%" PRIu64, image.deadline_ms);
    if (image.has_version)
        printf(" version=%" PRIu64, image.version);
    if (image.has_flags)
        printf(" flags=%" PRIu32, image.flags);
    printf("\n");
    return true;
}

static bool tail_print(const struct snapshot_range *r, bytes records, bool verbose)
{
    printf("  tail lsn=%" PRIu64 " records=%" PRIu32 " bytes=%" PRIu64 "\n", r->lsn, r->entries, r->size);
    for (uint32_t i = 0; i < r->entries; i++) {
        bytes effects;
        struct effect f;
        if (!take_bytes(&records, &effects))
            return false;
        while (effects.size) {
            if (effect_next(&effects, &f) != HF_OK)
                return false;
            if (!verbose)
                continue;
            printf("    effect kind=%d db-id=%" PRIu32 " key=", (int)f.kind, f.db_id);
            key_print(f.key);
            printf("\n");
        }
    }
    return records.size == 0;
}

static bool range_print(const struct snapshot_range *r, bytes entries, bool verbose)
{
    if (r->kind == SNAPSHOT_TAIL)
        return tail_print(r, entries, verbose);
    if (r->kind == SNAPSHOT_REST)
        printf("  rest stripe=%u lsn=%" PRIu64 "\n", r->stripe, r->lsn);
    else
        printf("  range stripe=%u db-id=%" PRIu32 " hash=%08" PRIx32 "-%08" PRIx32 " lsn=%" PRIu64 " entries=%" PRIu32
               " bytes=%" PRIu64 "\n", r->stripe, r->db_id, r->first, r->last, r->lsn, r->entries, r->size);
    for (uint32_t i = 0; i < r->entries; i++) {
        if (!entry_print(&entries, r, verbose))
            return false;
    }
    return entries.size == 0;
}

static int block_print(const struct snapshot_file *f, uint64_t i, struct snapshot_scratch *scratch, bool verbose,
                       struct totals *totals)
{
    char detail[DETAIL_SIZE] = "";
    struct snapshot_block b = snapshot_file_block(f, i);
    struct snapshot_range r;
    bytes in, entries;
    printf("block offset=%" PRIu64 " number=%" PRIu64 " stripes=%u-%u ranges=%" PRIu32 " raw=%" PRIu64 " stored=%" PRIu64
           " %s crc=%08" PRIx32 "\n", f->offsets[i], i, b.stripe_first, b.stripe_last, b.ranges, b.raw_size,
           b.stored_size, b.compression == SNAPSHOT_LZ4 ? "lz4" : "plain", b.payload_crc);
    status s = snapshot_file_read(f, i, scratch, &in, detail, sizeof(detail));
    if (s != HF_OK)
        return failed(s, detail);
    for (uint32_t k = 0; k < b.ranges; k++) {
        if (!snapshot_range_take(&in, &r, &entries))
            return block_damaged(f, i, "a range's header does not hold");
        if (!range_print(&r, entries, verbose))
            return block_damaged(f, i, "an entry does not hold");
        totals->ranges++;
        totals->entries += r.kind == SNAPSHOT_TAIL ? 0 : r.entries;
    }
    return in.size ? block_damaged(f, i, "more bytes than ranges") : 0;
}

static int file_print(const char *path, bool verbose)
{
    char detail[DETAIL_SIZE] = "";
    static struct snapshot_file f; /* too large for the stack; the tool has one thread */
    struct snapshot_scratch scratch = {0};
    struct totals totals = {0};
    status s = snapshot_file_open(&f, path, detail, sizeof(detail));
    if (s != HF_OK)
        return failed(s, detail);
    int result = 0;
    header_print(&f);
    for (uint64_t i = 0; i < f.footer.blocks && result == 0; i++)
        result = block_print(&f, i, &scratch, verbose, &totals);
    if (result == 0 && (totals.ranges != f.footer.ranges || totals.entries != f.footer.entries)) {
        fflush(stdout);
        fprintf(stderr, "hf-inspect: %s: damaged at offset %" PRIu64 ": the footer counts otherwise\n", path,
                f.size - SNAPSHOT_FOOTER);
        result = 1;
    }
    if (result == 0)
        printf("footer blocks=%" PRIu64 " ranges=%" PRIu64 " entries=%" PRIu64 " lsn=%" PRIu64 "-%" PRIu64
               " bytes=%" PRIu64 "\n", f.footer.blocks, f.footer.ranges, f.footer.entries, f.footer.lsn_lowest,
               f.footer.lsn_highest, f.size);
    snapshot_scratch_release(&scratch);
    snapshot_file_close(&f);
    return result;
}

int snapshot_inspect(int argc, char **argv)
{
    bool verbose = argc > 0 && strcmp(argv[0], "-v") == 0;
    int worst = argc > verbose ? 0 : 2;
    for (int i = verbose; i < argc; i++) {
        int result = file_print(argv[i], verbose);
        worst = result > worst ? result : worst;
    }
    if (argc <= verbose)
        fprintf(stderr, "hf-inspect: snapshot: which file?\n");
    return worst;
}
