/* rdb_reader.h -- what reads a payload of the dump format: a cursor, and the primitives that move it.
 *
 * Private to rdb/. Strings are views into the payload, or stand in `text` (compressed, integers) until the next string; a
 * container stands in `blob` while it is walked. What can be claimed without being sent is bounded: a count by the bytes
 * that follow, compressed text by its size. False: damage, and the cursor stands anywhere.
 */
#ifndef HF_RDB_RDB_READER_H
#define HF_RDB_RDB_READER_H

#include "rdb/rdb_form.h"
#include "types/stream.h"

struct reader {
    bytes in;
    struct buf text, blob, head, out;
    uint64_t count;  /* elements in out */
    struct stream_id first, newest; /* of a stream: its oldest entry, and the newest ever */
    bytes string;    /* the value, of that type */
    void *object;    /* the collection, when it is built at once */
    struct patience *patience;
};

HF_CHECK bool rdb_take(bytes *in, size_t size, const uint8_t **at);
HF_CHECK bool rdb_take_length(bytes *in, uint64_t *length);
/* Of things that take a byte or more each. */
HF_CHECK bool rdb_take_count(bytes *in, uint64_t *count);
HF_CHECK bool rdb_take_string(bytes *in, struct buf *room, bytes *text);

static inline bool rdb_read_text(struct reader *r, bytes *text)
{
    return patience_lasts(r->patience, 2) && rdb_take_string(&r->in, &r->text, text);
}
static inline bool rdb_read_blob(struct reader *r, bytes *blob)
{
    return patience_lasts(r->patience, 2) && rdb_take_string(&r->in, &r->blob, blob);
}
HF_CHECK bool rdb_read_u64(struct reader *r, uint64_t *value);

/* rdb_read_stream.c: a stream's elements to `out`, its head to `head`. */
HF_CHECK bool rdb_read_stream(struct reader *r, enum rdb_form form);

#endif
