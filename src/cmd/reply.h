/* reply.h -- reply events: what a handler says, without knowing the protocol.
 *
 * A protocol provides struct reply_ops; the events arrive in RESP3's terms and the
 * protocol words them (RESP2 turns maps into flat arrays, nulls into "$-1", ...).
 * Owner: the connection; one thread. Views are copied before the call returns.
 */
#ifndef HF_CMD_REPLY_H
#define HF_CMD_REPLY_H

#include "base/buf.h"
#include "base/status.h"

struct reply;
struct rope;
struct rope_part;

struct reply_ops {
    void (*simple)(struct reply *r, bytes text);              /* +OK */
    void (*error)(struct reply *r, bytes line);               /* "ERR text": CR, LF, NUL become spaces */
    void (*integer)(struct reply *r, int64_t value);
    void (*bulk)(struct reply *r, bytes value);
    void (*verbatim)(struct reply *r, const char *format3, bytes text); /* RESP2: bulk */
    void (*dbl)(struct reply *r, double value);                /* RESP2: bulk */
    void (*boolean)(struct reply *r, bool value);              /* RESP2: 1 or 0 */
    void (*null)(struct reply *r);                             /* RESP2: $-1 */
    void (*null_array)(struct reply *r);                       /* RESP2: *-1; RESP3: _ */
    void (*array)(struct reply *r, size_t count);              /* count elements follow */
    void (*map)(struct reply *r, size_t pairs);                /* RESP2: array of 2 * pairs */
    void (*set)(struct reply *r, size_t count);
    void (*big_number)(struct reply *r, bytes digits);          /* RESP2: bulk */
    void (*number)(struct reply *r, bytes text);               /* a double in digits of its own; RESP2: bulk */
    void (*push)(struct reply *r, size_t count);               /* out of band; RESP2: an array */
    void (*rope)(struct reply *r, const struct rope_part *part); /* bulk, of a large string; NULL: there is no better way than bulk */
    void (*attribute)(struct reply *r, size_t pairs);          /* of the reply behind it; RESP2 has none: do not call */
};

struct reply {
    const struct reply_ops *ops;
    struct buf *out;    /* where the protocol writes */
    uint64_t errors;    /* error replies so far, for statistics */
    int version;        /* 2 or 3: the protocol's; handlers ask only where Redis documents a different shape */
};

static inline void reply_simple(struct reply *r, const char *text) { r->ops->simple(r, bytes_str(text)); }
static inline void reply_ok(struct reply *r) { r->ops->simple(r, BYTES("OK")); }
static inline void reply_int(struct reply *r, int64_t value) { r->ops->integer(r, value); }
static inline void reply_bulk(struct reply *r, bytes value) { r->ops->bulk(r, value); }
/* That part of a large text, as a bulk. goes_on is asked after each piece; false: what was replied is thrown away, it may end there. */
struct rope_part {
    const struct rope *rope; /* NULL: of these bytes */
    const uint8_t *bytes;
    size_t offset, size;
    bool (*goes_on)(void *context);
    void *context;
};
void rope_part_read(const struct rope_part *part, size_t from, size_t size, uint8_t *out); /* those behind the first `from` of it */
void reply_rope(struct reply *r, const struct rope_part *part);
static inline void reply_text(struct reply *r, const char *text) { r->ops->bulk(r, bytes_str(text)); }
static inline void reply_null(struct reply *r) { r->ops->null(r); }
static inline void reply_null_array(struct reply *r) { r->ops->null_array(r); }
static inline void reply_array(struct reply *r, size_t count) { r->ops->array(r, count); }
static inline void reply_map(struct reply *r, size_t pairs) { r->ops->map(r, pairs); }
static inline void reply_set(struct reply *r, size_t count) { r->ops->set(r, count); }
/* What follows is as long as it is: the file of a replica. A reply may otherwise be cut where the client's output limit ends, and its
 * connection with it. */
static inline void reply_unbound(struct reply *r) { r->out->size_max = r->out->size_max ? SIZE_MAX : 0; }
void reply_error_line(struct reply *r, const char *line);
/* For an error that a script passes on: it was counted where it happened, or it is counted now. A zero stands behind the line. */
void reply_error_passed_on(struct reply *r, bytes line, bool is_counted);
/* A whole line, its first word included ("ERR ..."), with printf; at most 1,000 bytes. */
void reply_errorf(struct reply *r, const char *format, ...) HF_PRINTF(2, 3);
void reply_status(struct reply *r, status s); /* the row of errors.def */

/* Error replies of all threads by their first word, for INFO. */
#define ERROR_WORDS_MAX 64 /* further words are not counted one by one */
struct error_count { char word[32]; uint64_t count; };
size_t reply_error_counts(struct error_count out[ERROR_WORDS_MAX], uint64_t *total); /* by rising word */
void reply_error_counts_reset(void);

#endif
