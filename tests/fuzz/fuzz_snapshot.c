/* fuzz_snapshot.c -- a snapshot file of any bytes is loaded whole or refused by name.
 *
 * Input: the number of databases in the map (one byte, four bytes each), then blocks: a header as it stands on disk and what it
 * says is stored. Checksums, sizes, the index and the footer are mended, so that mutations reach what lies behind them; the
 * file then goes through the loader itself.
 */
#include "base/assert.h"
#include "base/crc.h"
#include "durable/snapshot_format.h"
#include "os/os.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define LOG_ID 5u
#define SECRET 9u
#define RAW_MAX (1u << 20) /* a header may claim more, and costs as much memory; the time is better spent */

static char dir[64], path[128];

static void remove_dir(void)
{
    unlink(path);
    rmdir(dir);
}

static void make_dir(void)
{
    if (dir[0])
        return;
    snprintf(dir, sizeof(dir), "%s/hf-fuzz-XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    hf_assert(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/snapshot-%016llx.hfs", dir, 1ULL);
    atexit(remove_dir);
}

static void put_header(bytes *in, struct buf *out)
{
    struct snapshot_header *h = calloc(1, sizeof(*h));
    hf_assert(h);
    *h = (struct snapshot_header){.log_id = LOG_ID, .number = 1, .secret = SECRET, .stripe_count = STRIPE_COUNT};
    h->map.count = in->size && in->data[0] < in->size / 4 ? in->data[0] & 15 : 0;
    h->has_tail = in->size && in->data[0] & 128;
    for (uint32_t i = 0; i < h->map.count; i++)
        h->map.ids[i] = get_u32(in->data + 1 + i * 4);
    size_t used = in->size ? 1 + h->map.count * 4 : 0;
    *in = bytes_of(in->data + used, in->size - used);
    snapshot_header_encode(out, h);
    free(h);
}

static bool put_block(bytes *in, struct buf *out, struct buf *index, struct snapshot_footer *footer)
{
    struct snapshot_block b;
    uint8_t header[SNAPSHOT_BLOCK_HEADER];
    if (in->size < SNAPSHOT_BLOCK_HEADER)
        return false;
    const uint8_t *p = in->data;
    b = (struct snapshot_block){.stripe_first = get_u16(p + 12), .stripe_last = get_u16(p + 14), .number = footer->blocks,
                                .raw_size = get_u32(p + 24) % RAW_MAX, .stored_size = get_u32(p + 32), .ranges = get_u32(p + 40),
                                .compression = (enum snapshot_compression)(get_u32(p + 44) & 1)};
    size_t room = in->size - SNAPSHOT_BLOCK_HEADER;
    b.stored_size = b.stored_size < room ? b.stored_size : room;
    b.raw_size = b.compression == SNAPSHOT_PLAIN ? b.stored_size : b.raw_size;
    b.payload_crc = crc32c(0, p + SNAPSHOT_BLOCK_HEADER, b.stored_size);
    snapshot_block_encode(header, &b);
    buf_append(out, header, sizeof(header));
    buf_append(out, p + SNAPSHOT_BLOCK_HEADER, b.stored_size);
    buf_append(index, header, sizeof(header));
    footer->blocks++;
    footer->ranges += b.ranges;
    *in = bytes_of(p + SNAPSHOT_BLOCK_HEADER + b.stored_size, room - b.stored_size);
    return true;
}

static void make_file(bytes in)
{
    struct buf out, index;
    uint8_t last[SNAPSHOT_FOOTER];
    struct snapshot_footer footer = {.entries = in.size ? in.data[in.size - 1] : 0};
    buf_init(&out, SIZE_MAX);
    buf_init(&index, SIZE_MAX);
    put_header(&in, &out);
    while (put_block(&in, &out, &index, &footer))
        ;
    footer.index_crc = crc32c(0, index.data, index.size);
    snapshot_footer_encode(last, &footer);
    buf_append_bytes(&out, buf_view(&index));
    buf_append(&out, last, sizeof(last));
    FILE *file = fopen(path, "w");
    hf_assert(file && fwrite(out.data, 1, out.size, file) == out.size);
    fclose(file);
    buf_release(&out);
    buf_release(&index);
}

static status ignore_record(void *context, int thread, const struct log_record *record)
{
    (void)context;
    (void)thread;
    hf_assert(record->next_lsn > record->lsn);
    return HF_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char detail[512] = "";
    make_dir();
    make_file(bytes_of(data, size));
    struct store *store = store_new(SECRET);
    struct slab_heap *heap = slab_heap_new(store->slab);
    struct snapshot_load l = {.dir = dir, .log_id = LOG_ID, .store = store, .threads = 1, .heaps = &heap, .each = ignore_record};
    status s = snapshot_load(&l, detail, sizeof(detail));
    hf_assert(s == HF_OK ? l.found : s != HF_ERR_CORRUPT || strstr(detail, "snapshot-"));
    if (s == HF_OK && l.has_tail) {
        s = snapshot_load_tail(&l, detail, sizeof(detail));
        hf_assert(s == HF_OK || s == HF_ERR_CORRUPT);
    }
    snapshot_ranges_free(l.ranges);
    store_free(store);
    return 0;
}
