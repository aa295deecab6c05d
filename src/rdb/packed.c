/* packed.c -- ziplist, listpack and intset: small collections in one string.
 *
 * Both lists are a head, elements and a byte 255. An element of a ziplist begins with the size of the one before it, one of a
 * listpack ends with its own size, to be read backwards. The reader walks forward, and holds every such size against the
 * bytes that it saw; the count in the head too, when the head has one (65535: too many to say).
 */
#include "base/wire.h"
#include "rdb/rdb_form.h"

enum { END = 255, LISTPACK_HEAD = 6, ZIPLIST_HEAD = 10, COUNT_UNKNOWN = UINT16_MAX, ZIPLIST_WIDE = 254 };

static bool take(bytes *in, size_t size, const uint8_t **at)
{
    if (in->size < size)
        return false;
    *at = in->data;
    *in = (bytes){in->data + size, in->size - size};
    return true;
}

static void set_int(struct packed_item *item, int64_t value)
{
    item->is_int = true;
    item->number = value;
    item->text = bytes_of(item->digits, number_format_int(item->digits, value));
}

/* Little-endian two's complement. */
static bool take_int(bytes *in, size_t size, struct packed_item *item)
{
    const uint8_t *at;
    uint64_t value = 0;
    if (!take(in, size, &at))
        return false;
    memcpy(&value, at, size);
    unsigned shift = (unsigned)(64 - 8 * size);
    set_int(item, (int64_t)(value << shift) >> shift);
    return true;
}

static bool take_text(bytes *in, uint64_t size, struct packed_item *item)
{
    const uint8_t *at;
    if (size > in->size || !take(in, (size_t)size, &at))
        return false;
    item->is_int = false;
    item->text = bytes_of(at, (size_t)size);
    return true;
}

/* ---- reading ---- */

bool packed_open(struct packed *p, enum packed_kind kind, bytes blob)
{
    size_t head = kind == PACKED_ZIPLIST ? ZIPLIST_HEAD : LISTPACK_HEAD;
    if (blob.size < head + 1 || get_u32(blob.data) != blob.size || blob.data[blob.size - 1] != END)
        return false;
    uint16_t count = get_u16(blob.data + head - 2);
    *p = (struct packed){.kind = kind, .rest = bytes_of(blob.data + head, blob.size - head - 1),
                         .left = count, .counted = count != COUNT_UNKNOWN};
    return true;
}

static size_t back_size(size_t size)
{
    return size <= 127 ? 1 : size < 16383 ? 2 : size < 2097151 ? 3 : size < 268435455 ? 4 : 5;
}

/* Seven bits a byte, the highest first; all but the first have the top bit. */
static void back_write(uint8_t *out, size_t size, size_t width)
{
    for (size_t i = 0; i < width; i++)
        out[i] = (uint8_t)((size >> 7 * (width - 1 - i) & 127) | (i ? 128 : 0));
}

static bool listpack_item(bytes *in, struct packed_item *item)
{
    const uint8_t *at;
    if (!take(in, 1, &at))
        return false;
    uint8_t first = *at;
    if (first < 0x80) {
        set_int(item, first);
        return true;
    }
    if (first < 0xC0)
        return take_text(in, first & 63, item);
    if (first < 0xF0) {
        if (!take(in, 1, &at))
            return false;
        if (first >= 0xE0)
            return take_text(in, (uint64_t)(first & 15) << 8 | *at, item);
        int64_t value = (first & 31) << 8 | *at;
        set_int(item, value >= 4096 ? value - 8192 : value);
        return true;
    }
    if (first == 0xF0)
        return take(in, 4, &at) && take_text(in, get_u32(at), item);
    static const uint8_t widths[] = {2, 3, 4, 8};
    return first <= 0xF4 && take_int(in, widths[first - 0xF1], item);
}

static bool listpack_next(struct packed *p, struct packed_item *item)
{
    bytes in = p->rest;
    const uint8_t *at;
    uint8_t back[5];
    if (!listpack_item(&in, item))
        return false;
    size_t size = p->rest.size - in.size, width = back_size(size);
    back_write(back, size, width);
    if (!take(&in, width, &at) || memcmp(at, back, width) != 0)
        return false;
    p->rest = in;
    return true;
}

static bool ziplist_item(bytes *in, struct packed_item *item)
{
    const uint8_t *at;
    if (!take(in, 1, &at))
        return false;
    uint8_t first = *at;
    switch (first >> 6) {
    case 0:
        return take_text(in, first & 63, item);
    case 1:
        return take(in, 1, &at) && take_text(in, (uint64_t)(first & 63) << 8 | *at, item);
    case 2:
        return take(in, 4, &at) && take_text(in, get_big(at, 4), item);
    default:
        break;
    }
    switch (first) {
    case 0xC0:
        return take_int(in, 2, item);
    case 0xD0:
        return take_int(in, 4, item);
    case 0xE0:
        return take_int(in, 8, item);
    case 0xF0:
        return take_int(in, 3, item);
    case 0xFE:
        return take_int(in, 1, item);
    default: /* 0xF1 to 0xFD: 0 to 12 */
        set_int(item, (first & 15) - 1);
        return first > 0xF0 && first < 0xFE;
    }
}

static bool ziplist_next(struct packed *p, struct packed_item *item)
{
    bytes in = p->rest;
    const uint8_t *at;
    if (!take(&in, 1, &at))
        return false;
    size_t before = *at;
    if (before == ZIPLIST_WIDE) {
        if (!take(&in, 4, &at))
            return false;
        before = get_u32(at);
    }
    if (before != p->before || !ziplist_item(&in, item))
        return false;
    p->before = p->rest.size - in.size;
    p->rest = in;
    return true;
}

enum packed_step packed_next(struct packed *p, struct packed_item *item)
{
    if (p->rest.size == 0)
        return p->counted && p->left ? PACKED_BAD : PACKED_END;
    if (p->counted && p->left-- == 0)
        return PACKED_BAD;
    return (p->kind == PACKED_ZIPLIST ? ziplist_next : listpack_next)(p, item) ? PACKED_ITEM : PACKED_BAD;
}

bool packed_ints_open(bytes blob, size_t *width, size_t *count)
{
    if (blob.size < 8)
        return false;
    *width = get_u32(blob.data);
    *count = get_u32(blob.data + 4);
    return (*width == 2 || *width == 4 || *width == 8) && *count == (blob.size - 8) / *width && (blob.size - 8) % *width == 0;
}

int64_t packed_ints_at(bytes blob, size_t width, size_t index)
{
    bytes rest = bytes_of(blob.data + 8 + index * width, width);
    struct packed_item item;
    bool taken = take_int(&rest, width, &item);
    hf_assert(taken);
    return item.number;
}

/* ---- writing ---- */

struct listpack listpack_begin(struct buf *out)
{
    struct listpack l = {.out = out, .start = out->size};
    static const uint8_t head[LISTPACK_HEAD];
    buf_append(out, head, sizeof(head));
    return l;
}

static void end_item(struct listpack *l, size_t from)
{
    uint8_t back[5];
    size_t size = l->out->size - from, width = back_size(size);
    back_write(back, size, width);
    buf_append(l->out, back, width);
    l->count++;
}

void listpack_add(struct listpack *l, bytes text)
{
    size_t from = l->out->size;
    if (text.size < 64) {
        buf_append_u8(l->out, (uint8_t)(0x80 | text.size));
    } else if (text.size < 4096) {
        buf_append_u8(l->out, (uint8_t)(0xE0 | text.size >> 8));
        buf_append_u8(l->out, (uint8_t)text.size);
    } else {
        uint32_t size = (uint32_t)text.size;
        buf_append_u8(l->out, 0xF0);
        buf_append(l->out, &size, sizeof(size));
    }
    buf_append_bytes(l->out, text);
    end_item(l, from);
}

void listpack_add_int(struct listpack *l, int64_t value)
{
    size_t from = l->out->size;
    if (value >= 0 && value < 128) {
        buf_append_u8(l->out, (uint8_t)value);
    } else {
        size_t width = value == (int16_t)value ? 2 : value == (int32_t)value ? 4 : 8;
        buf_append_u8(l->out, width == 2 ? 0xF1 : width == 4 ? 0xF3 : 0xF4);
        buf_append(l->out, &value, width);
    }
    end_item(l, from);
}

void listpack_end(struct listpack *l)
{
    buf_append_u8(l->out, END);
    put_u32(l->out->data + l->start, (uint32_t)(l->out->size - l->start));
    put_u16(l->out->data + l->start + 4, (uint16_t)(l->count < COUNT_UNKNOWN ? l->count : COUNT_UNKNOWN));
}
