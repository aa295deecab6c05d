/* snapshot_file.c -- finding, opening and reading snapshot files.
 *
 * The newest published file counts, and only that one: the log below it may be gone, so
 * a damaged newest file is an error, never a reason to take an older one.
 */
#include "durable/snapshot_file.h"

#include "base/crc.h"
#include "base/memory.h"
#include "base/number.h"
#include "os/os.h"

#include <fcntl.h>
#include <lz4.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

status snapshot_fail(status s, char *detail, size_t detail_size, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    if (detail_size)
        vsnprintf(detail, detail_size, format, args);
    va_end(args);
    return s;
}

/* -- names -- */

void snapshot_path(char out[SNAPSHOT_PATH_MAX], const char *dir, uint64_t number, bool temporary)
{
    snprintf(out, SNAPSHOT_PATH_MAX, "%s/snapshot-%016llu.hfs%s", dir, (unsigned long long)number,
             temporary ? ".tmp" : "");
}

bool snapshot_name_parse(const char *name, uint64_t *number, bool *temporary)
{
    static const char prefix[] = "snapshot-";
    if (strncmp(name, prefix, sizeof(prefix) - 1) != 0)
        return false;
    const char *digits = name + sizeof(prefix) - 1;
    size_t count = strspn(digits, "0123456789");
    if (count < 16 || count > 20)
        return false;
    uint64_t value = 0;
    for (size_t i = 0; i < count; i++) {
        if (__builtin_mul_overflow(value, 10, &value) || __builtin_add_overflow(value, digits[i] - '0', &value))
            return false;
    }
    bool unfinished = strcmp(digits + count, ".hfs.tmp") == 0;
    if (!unfinished && strcmp(digits + count, ".hfs") != 0)
        return false;
    *number = value;
    *temporary = unfinished;
    return true;
}

struct names { uint64_t *numbers; size_t count; bool with_temporary; struct buf paths; const char *dir; uint64_t below; };

static void collect_published(void *context, const char *name)
{
    struct names *names = context;
    uint64_t number;
    bool temporary;
    if (!snapshot_name_parse(name, &number, &temporary) || temporary)
        return;
    if ((names->count & (names->count - 1)) == 0)
        names->numbers = mem_realloc(names->numbers, (names->count ? names->count * 2 : 1) * sizeof(uint64_t));
    names->numbers[names->count++] = number;
}

static int newest_first(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x < y) - (x > y);
}

static void collect_old(void *context, const char *name)
{
    struct names *names = context;
    uint64_t number;
    bool temporary;
    if (snapshot_name_parse(name, &number, &temporary) && (temporary || number < names->below))
        buf_append(&names->paths, name, strlen(name) + 1);
}

void snapshot_clean(const char *dir, uint64_t number)
{
    struct names names = {.below = number};
    buf_init(&names.paths, SIZE_MAX);
    if (OS.list_dir(dir, collect_old, &names) == 0) {
        for (size_t at = 0; at < names.paths.size;) {
            const char *name = (const char *)names.paths.data + at;
            char path[SNAPSHOT_PATH_MAX];
            snprintf(path, sizeof(path), "%s/%s", dir, name);
            OS.unlink(path); /* one that stays is unlinked next time */
            at += strlen(name) + 1;
        }
    }
    buf_release(&names.paths);
}

/* -- header, footer, index -- */

static status damaged(const struct snapshot_file *f, uint64_t offset, const char *what, char *detail, size_t detail_size)
{
    return snapshot_fail(HF_ERR_CORRUPT, detail, detail_size, "%s: damaged at offset %llu: %s", f->path,
                         (unsigned long long)offset, what);
}

static status unreadable(const struct snapshot_file *f, uint64_t offset, int error, char *detail, size_t detail_size)
{
    return snapshot_fail(HF_ERR_IO, detail, detail_size, "%s: cannot be read at offset %llu: %s", f->path,
                         (unsigned long long)offset, strerror(error));
}

static status read_exactly(const struct snapshot_file *f, void *out, size_t size, uint64_t offset, char *detail,
                           size_t detail_size)
{
    int64_t got = OS.pread(f->file, out, size, offset);
    if (got < 0)
        return unreadable(f, offset, (int)-got, detail, detail_size);
    if ((size_t)got < size)
        return damaged(f, offset + (uint64_t)got, "the file ends here", detail, detail_size);
    return HF_OK;
}

/* Opens path and checks the header. */
static status open_header(struct snapshot_file *f, const char *path, size_t *header_size, char *detail, size_t detail_size)
{
    uint8_t first[SNAPSHOT_HEADER_MAX];
    *f = (struct snapshot_file){.file = -1};
    snprintf(f->path, sizeof(f->path), "%s", path);
    f->file = OS.open(path, O_RDONLY, 0);
    if (f->file < 0)
        return snapshot_fail(HF_ERR_IO, detail, detail_size, "%s: cannot be opened: %s", path, strerror(-f->file));
    int64_t got = OS.pread(f->file, first, sizeof(first), 0);
    int64_t size = OS.file_size(f->file);
    if (got < 0 || size < 0)
        return unreadable(f, 0, (int)(got < 0 ? -got : -size), detail, detail_size);
    f->size = (uint64_t)size;
    switch (snapshot_header_decode(bytes_of(first, (size_t)got), &f->header, header_size)) {
    case SNAPSHOT_HEADER_OK:
        return HF_OK;
    case SNAPSHOT_HEADER_VERSION:
        return snapshot_fail(HF_ERR_INVALID, detail, detail_size, "%s: format version %u is not known to this holdfast",
                             path, get_u32(first + 8));
    default:
        return damaged(f, 0, "the header's checksum or a field does not hold", detail, detail_size);
    }
}

static status read_index(struct snapshot_file *f, size_t header_size, char *detail, size_t detail_size)
{
    uint8_t last[SNAPSHOT_FOOTER];
    if (f->size < header_size + SNAPSHOT_FOOTER)
        return damaged(f, f->size, "the file ends before its footer", detail, detail_size);
    uint64_t footer_at = f->size - SNAPSHOT_FOOTER;
    status s = read_exactly(f, last, sizeof(last), footer_at, detail, detail_size);
    if (s != HF_OK)
        return s;
    if (!snapshot_footer_decode(last, &f->footer))
        return damaged(f, footer_at, "no valid footer stands here", detail, detail_size);
    uint64_t blocks = f->footer.blocks;
    if (blocks > (footer_at - header_size) / (2 * SNAPSHOT_BLOCK_HEADER))
        return damaged(f, footer_at, "more blocks than the file has room for", detail, detail_size);
    uint64_t index_size = blocks * SNAPSHOT_BLOCK_HEADER, index_at = footer_at - index_size;
    f->index = mem_try_alloc(index_size);
    f->offsets = mem_try_alloc((blocks + 1) * sizeof(uint64_t));
    if (!f->index || !f->offsets)
        return snapshot_fail(HF_ERR_NO_MEMORY, detail, detail_size, "%s: no memory for the index", f->path);
    s = read_exactly(f, f->index, index_size, index_at, detail, detail_size);
    if (s != HF_OK)
        return s;
    if (crc32c(0, f->index, index_size) != f->footer.index_crc)
        return damaged(f, index_at, "the checksum of the index does not hold", detail, detail_size);
    uint64_t offset = header_size;
    for (uint64_t i = 0; i < blocks; i++) {
        struct snapshot_block b;
        f->offsets[i] = offset;
        if (!snapshot_block_decode(f->index + i * SNAPSHOT_BLOCK_HEADER, &b) || b.number != i ||
            b.stored_size > index_at - offset || index_at - offset - b.stored_size < SNAPSHOT_BLOCK_HEADER ||
            b.raw_size / 256 > b.stored_size)
            return damaged(f, index_at + i * SNAPSHOT_BLOCK_HEADER, "an entry of the index does not hold", detail,
                           detail_size);
        offset += SNAPSHOT_BLOCK_HEADER + b.stored_size;
    }
    if (offset != index_at)
        return damaged(f, offset, "the blocks do not end where the index begins", detail, detail_size);
    return HF_OK;
}

status snapshot_file_open(struct snapshot_file *f, const char *path, char *detail, size_t detail_size)
{
    size_t header_size = 0;
    status s = open_header(f, path, &header_size, detail, detail_size);
    if (s == HF_OK)
        s = read_index(f, header_size, detail, detail_size);
    if (s != HF_OK)
        snapshot_file_close(f);
    return s;
}

void snapshot_file_close(struct snapshot_file *f)
{
    if (f->file >= 0)
        OS.close(f->file);
    mem_free(f->index);
    mem_free(f->offsets);
    f->file = -1;
    f->index = NULL;
    f->offsets = NULL;
}

/* The newest file of this log; with_index: open whole, else only its header is wanted. */
static status open_newest(struct snapshot_file *f, const char *dir, uint64_t log_id, bool with_index, bool *found,
                          char *detail, size_t detail_size)
{
    struct names names = {0};
    status s = HF_OK;
    bool mine = false;
    int listed = OS.list_dir(dir, collect_published, &names);
    if (listed < 0)
        s = snapshot_fail(HF_ERR_IO, detail, detail_size, "%s: cannot be listed: %s", dir, strerror(-listed));
    else if (names.count)
        qsort(names.numbers, names.count, sizeof(uint64_t), newest_first);
    for (size_t i = 0; s == HF_OK && !mine && i < names.count; i++) {
        char path[SNAPSHOT_PATH_MAX];
        size_t header_size = 0;
        snapshot_path(path, dir, names.numbers[i], false);
        s = open_header(f, path, &header_size, detail, detail_size);
        mine = s == HF_OK && f->header.log_id == log_id;
        if (mine && f->header.number != names.numbers[i])
            s = damaged(f, 32, "the header's number is not that of the name", detail, detail_size);
        if (s == HF_OK && mine && with_index)
            s = read_index(f, header_size, detail, detail_size);
        if (s != HF_OK || !mine)
            snapshot_file_close(f);
    }
    mem_free(names.numbers);
    if (s == HF_OK)
        *found = mine;
    return s;
}

status snapshot_file_newest(struct snapshot_file *f, const char *dir, uint64_t log_id, bool *found, char *detail,
                            size_t detail_size)
{
    return open_newest(f, dir, log_id, true, found, detail, detail_size);
}

status snapshot_peek(const char *dir, uint64_t log_id, bool *found, uint64_t *secret, char *detail, size_t detail_size)
{
    struct snapshot_file f;
    bool there = false;
    status s = open_newest(&f, dir, log_id, false, &there, detail, detail_size);
    if (s != HF_OK)
        return s;
    if (there) {
        *secret = f.header.secret;
        snapshot_file_close(&f);
    }
    *found = there;
    return HF_OK;
}

/* -- blocks -- */

struct snapshot_block snapshot_file_block(const struct snapshot_file *f, uint64_t i)
{
    struct snapshot_block b;
    bool valid = snapshot_block_decode(f->index + i * SNAPSHOT_BLOCK_HEADER, &b);
    hf_assert(valid); /* checked when the index was read */
    return b;
}

static bool ensure(uint8_t **data, size_t *capacity, size_t size)
{
    if (*capacity >= size)
        return true;
    mem_free(*data);
    size_t wanted = size < SNAPSHOT_BLOCK_TARGET * 4 ? SNAPSHOT_BLOCK_TARGET * 4 : size;
    *data = mem_try_alloc(wanted);
    *capacity = *data ? wanted : 0;
    return *data;
}

status snapshot_file_read(const struct snapshot_file *f, uint64_t i, struct snapshot_scratch *scratch, bytes *payload,
                          char *detail, size_t detail_size)
{
    struct snapshot_block b = snapshot_file_block(f, i);
    uint64_t at = f->offsets[i];
    size_t size = SNAPSHOT_BLOCK_HEADER + b.stored_size;
    if (!ensure(&scratch->stored, &scratch->stored_capacity, size) ||
        (b.compression == SNAPSHOT_LZ4 && !ensure(&scratch->raw, &scratch->raw_capacity, b.raw_size)))
        return snapshot_fail(HF_ERR_NO_MEMORY, detail, detail_size, "%s: no memory for the block at offset %llu", f->path,
                             (unsigned long long)at);
    status s = read_exactly(f, scratch->stored, size, at, detail, detail_size);
    if (s != HF_OK)
        return s;
    if (memcmp(scratch->stored, f->index + i * SNAPSHOT_BLOCK_HEADER, SNAPSHOT_BLOCK_HEADER) != 0)
        return damaged(f, at, "a block's header is not the one in the index", detail, detail_size);
    const uint8_t *stored = scratch->stored + SNAPSHOT_BLOCK_HEADER;
    if (crc32c(0, stored, b.stored_size) != b.payload_crc && !os_bug(BUG_BLOCK_CRC))
        return damaged(f, at, "a block's checksum does not hold", detail, detail_size);
    if (b.compression == SNAPSHOT_PLAIN) {
        *payload = bytes_of(stored, b.stored_size);
        return HF_OK;
    }
    if (b.raw_size > LZ4_MAX_INPUT_SIZE || b.stored_size > LZ4_MAX_INPUT_SIZE ||
        LZ4_decompress_safe((const char *)stored, (char *)scratch->raw, (int)b.stored_size, (int)b.raw_size) !=
            (int)b.raw_size)
        return damaged(f, at, "a block does not decompress", detail, detail_size);
    *payload = bytes_of(scratch->raw, b.raw_size);
    return HF_OK;
}

void snapshot_scratch_release(struct snapshot_scratch *scratch)
{
    mem_free(scratch->stored);
    mem_free(scratch->raw);
    *scratch = (struct snapshot_scratch){0};
}
