/* stream_trim.h -- the options by which XADD and XTRIM remove the oldest entries. */
#ifndef HF_CMD_STREAM_TRIM_H
#define HF_CMD_STREAM_TRIM_H

#include "cmd/stream.h"

struct stream_trim {
    enum { TRIM_NOTHING, TRIM_LENGTH, TRIM_ID } by;
    bool approximate, limited;
    enum stream_references references;
    int64_t length, limit;
    struct stream_id id;
};

/* Word i is one of MAXLEN, MINID, LIMIT, which have a word behind them, KEEPREF, DELREF, ACKED. */
bool is_trim_option(const struct call *c, size_t i);
/* Takes it, leaves *i on its last word. These reply the error, then false. */
bool take_trim_option(struct call *c, size_t *i, struct stream_trim *t);
bool check_trim(struct call *c, struct stream_trim *t, bool adds); /* once all are taken */
bool trim_stream(struct call *c, struct object_ref *o, const struct stream_trim *t, struct buf *change, uint64_t *count);

#endif
