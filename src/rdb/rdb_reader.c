/* rdb_reader.c -- lengths and strings of the dump format, as docs/format/dump.md describes them. */
#include "rdb/rdb_reader.h"

#include "base/wire.h"
#include "rdb/rdb.h"

#include <lzf.h>

enum { LZF_RATIO_MAX = 256 };

bool rdb_take(bytes *in, size_t size, const uint8_t **at)
{
    if (in->size < size)
        return false;
    *at = in->data;
    *in = (bytes){in->data + size, in->size - size};
    return true;
}

/* *code: -1, or CODED_*: no length but a string in another form. */
static bool take_length_or_code(bytes *in, uint64_t *length, int *code)
{
    const uint8_t *at;
    *code = -1;
    if (!rdb_take(in, 1, &at))
        return false;
    uint8_t first = *at;
    switch (first >> 6) {
    case 0:
        *length = first;
        return true;
    case LENGTH_14:
        *length = (first & 63) << 8;
        return rdb_take(in, 1, &at) && (*length |= *at, true);
    case LENGTH_CODED:
        *code = first & 63;
        *length = 0;
        return *code <= CODED_LZF;
    default:
        break;
    }
    size_t width = first == LENGTH_32 ? 4 : 8;
    if ((first != LENGTH_32 && first != LENGTH_64) || !rdb_take(in, width, &at))
        return false;
    *length = get_big(at, width);
    return true;
}

bool rdb_take_length(bytes *in, uint64_t *length)
{
    int code;
    return take_length_or_code(in, length, &code) && code < 0;
}

bool rdb_take_count(bytes *in, uint64_t *count)
{
    return rdb_take_length(in, count) && *count <= in->size;
}

static bool take_compressed(bytes *in, struct buf *room, bytes *text)
{
    uint64_t packed, size;
    const uint8_t *at;
    if (!rdb_take_length(in, &packed) || !rdb_take_length(in, &size) || packed > in->size || size == 0 || size > RDB_STRING_MAX ||
        size / LZF_RATIO_MAX > packed || !rdb_take(in, (size_t)packed, &at))
        return false;
    buf_reset(room);
    buf_reserve(room, (size_t)size);
    *text = bytes_of(room->data, (size_t)size);
    return lzf_decompress(at, (unsigned)packed, room->data, (unsigned)size) == size;
}

bool rdb_take_string(bytes *in, struct buf *room, bytes *text)
{
    uint64_t size;
    int code;
    const uint8_t *at;
    if (!take_length_or_code(in, &size, &code))
        return false;
    if (code == CODED_LZF)
        return take_compressed(in, room, text);
    if (code < 0) {
        if (size > in->size || size > RDB_STRING_MAX || !rdb_take(in, (size_t)size, &at))
            return false;
        *text = bytes_of(at, (size_t)size);
        return true;
    }
    uint64_t raw = 0;
    size_t width = (size_t)1 << code;
    unsigned shift = (unsigned)(64 - 8 * width);
    if (!rdb_take(in, width, &at))
        return false;
    memcpy(&raw, at, width);
    buf_reset(room);
    buf_append_int(room, (int64_t)(raw << shift) >> shift);
    *text = buf_view(room);
    return true;
}

bool rdb_read_u64(struct reader *r, uint64_t *value)
{
    const uint8_t *at;
    return rdb_take(&r->in, 8, &at) && (*value = get_u64(at), true);
}
