/* rdb.h -- values in the dump format of Redis, so that they move both ways: DUMP and RESTORE, FUNCTION DUMP and RESTORE.
 *
 * A payload is a body, then a footer of ten bytes: u16 version of the format, u64 CRC-64 of all before it. The body of
 * a value is a byte that says its form, then the form. Written is version 10, what Redis 7.0 writes and reads (12, what Redis
 * 7.4 reads, for hashes of which fields have deadlines), in the plain forms: strings after a count, streams in listpacks. Read
 * is every form up to version 12 but those of modules, checked byte by byte.
 * docs/format/dump.md describes what is written and read.
 */
#ifndef HF_RDB_RDB_H
#define HF_RDB_RDB_H

#include "base/buf.h"
#include "base/patience.h"
#include "base/status.h"
#include "store/entry.h"

#define RDB_STRING_MAX (512u << 20)

struct rope;

/* CRC-64 of Jones, reflected, starting from 0; continues from crc. */
uint64_t rdb_crc64(uint64_t crc, bytes data);

/* out is empty before; a payload has no maximum: init the buf with SIZE_MAX. Once a patience is over what stands in out is nothing. */
void rdb_dump_string(struct buf *out, bytes text);
void rdb_dump_rope(struct buf *out, const struct rope *text, struct patience *p); /* a large string */
void rdb_dump_object(struct buf *out, enum type type, const void *object, struct patience *p);
/* The same without the deadlines of fields, for a reader that knows none (Redis before 7.4). */
void rdb_dump_object_timeless(struct buf *out, enum type type, const void *object);
/* Sources of function libraries: one after the other, then the footer. */
void rdb_dump_library(struct buf *out, bytes source);
void rdb_dump_end_libraries(struct buf *out);

/* A whole file, in pieces that are appended to out: begin, rdb_dump_library and databases with keys in any number, end. deadline_ms
 * 0: none; times: with the deadlines of fields. crc: of all pieces before this one (rdb_crc64). */
void rdb_file_begin(struct buf *out);
void rdb_file_database(struct buf *out, uint32_t number);
void rdb_file_string(struct buf *out, bytes name, uint64_t deadline_ms, bytes text);
void rdb_file_object(struct buf *out, bytes name, uint64_t deadline_ms, enum type type, const void *object, bool times);
void rdb_file_end(struct buf *out, uint64_t crc);

/* Footer and version hold: *body is what stands before. False: another version, or damage. */
HF_CHECK bool rdb_open(bytes payload, struct patience *p, bytes *body);

struct rdb_value {
    enum type type;
    bytes text;      /* of a string: in the body, or in room */
    struct buf room; /* the caller's to release */
    void *object;    /* of all others: the caller's */
};
/* HF_ERR_CORRUPT: no value, or the patience is over; nothing made. */
status rdb_read_value(bytes body, struct patience *p, struct rdb_value *out) HF_CHECK;

/* Takes one library off the front of *body. HF_ERR_NOT_FOUND: something else stands there. The source is
 * appended to text. At the end of the body: ask no more. */
status rdb_read_library(bytes *body, struct buf *text) HF_CHECK;

#endif
