/* rdb_form.h -- what the reader and the writer of the dump format share: numbers of forms, and the two packed containers.
 *
 * Facts: the forms as Redis 7.0 and 7.4 write them, seen in payloads of DUMP; sizes and bits are in docs/format/dump.md.
 */
#ifndef HF_RDB_RDB_FORM_H
#define HF_RDB_RDB_FORM_H

#include "base/buf.h"
#include "base/number.h"
#include "base/patience.h"

enum rdb_form {
    FORM_STRING = 0, FORM_LIST = 1, FORM_SET = 2, FORM_ZSET_TEXT = 3, FORM_HASH = 4, FORM_ZSET = 5,
    FORM_HASH_ZIPMAP = 9, FORM_LIST_ZIPLIST = 10, FORM_SET_INTS = 11, FORM_ZSET_ZIPLIST = 12, FORM_HASH_ZIPLIST = 13,
    FORM_LIST_ZIPLISTS = 14, FORM_STREAM = 15, FORM_HASH_LISTPACK = 16, FORM_ZSET_LISTPACK = 17, FORM_LIST_LISTPACKS = 18,
    FORM_STREAM_2 = 19, FORM_SET_LISTPACK = 20, FORM_STREAM_3 = 21, FORM_HASH_TIMES_OLD = 22, FORM_HASH_TIMES_LISTPACK_OLD = 23,
    FORM_HASH_TIMES = 24, FORM_HASH_TIMES_LISTPACK = 25, FORM_COUNT,
    FORM_LIBRARY = 245
};

enum { FOOTER = 10 };
enum { LENGTH_14 = 1, LENGTH_32 = 0x80, LENGTH_64 = 0x81, LENGTH_CODED = 3 };      /* top two bits, or the byte */
enum { CODED_I8 = 0, CODED_I16 = 1, CODED_I32 = 2, CODED_LZF = 3 };
enum { NODE_PLAIN = 1, NODE_PACKED = 2 };                                          /* of FORM_LIST_LISTPACKS */
enum { STREAM_DELETED = 1, STREAM_SAME_FIELDS = 2 };                               /* flags of an entry */

uint64_t rdb_crc64_of(bytes data, struct patience *p); /* of all of it, from 0 */

/* ---- packed.c: elements one after the other in a string ---- */

enum packed_kind { PACKED_ZIPLIST, PACKED_LISTPACK };
enum packed_step { PACKED_ITEM, PACKED_END, PACKED_BAD };

struct packed {
    enum packed_kind kind;
    bytes rest;
    uint32_t left;      /* elements that the head promises */
    bool counted;       /* the head knew the number */
    size_t before;      /* bytes of the element before */
};

struct packed_item {
    bool is_int;
    int64_t number;
    bytes text;         /* of either kind; an integer's stands in digits, so it moves with the struct */
    char digits[NUMBER_TEXT_MAX];
};

HF_CHECK bool packed_open(struct packed *p, enum packed_kind kind, bytes blob);
enum packed_step packed_next(struct packed *p, struct packed_item *item);

/* Writes a listpack at the end of out, which it may share with others: begin, elements, end. */
struct listpack { struct buf *out; size_t start; uint32_t count; };
struct listpack listpack_begin(struct buf *out);
void listpack_add(struct listpack *l, bytes text);
void listpack_add_int(struct listpack *l, int64_t value);
void listpack_end(struct listpack *l);

/* u32 sizes as the head says; `width` bytes each. False: it is none. */
HF_CHECK bool packed_ints_open(bytes blob, size_t *width, size_t *count);
int64_t packed_ints_at(bytes blob, size_t width, size_t index);

/* Big-endian, as lengths and ids of streams are written. */
static inline uint64_t get_big(const uint8_t *p, size_t size)
{
    uint64_t value = 0;
    for (size_t i = 0; i < size; i++)
        value = value << 8 | p[i];
    return value;
}

static inline void append_big(struct buf *out, uint64_t value, size_t size)
{
    for (size_t i = size; i-- > 0;)
        buf_append_u8(out, (uint8_t)(value >> 8 * i));
}

#endif
