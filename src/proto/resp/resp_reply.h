/* resp_reply.h -- reply events as RESP2 or RESP3, by reply->version.
 *
 * Each event reserves once and appends. When memory for a reply is refused, the
 * output is cut there for good: resp_reply_overflowed tells, and the connection must
 * close, since its stream has a hole.
 */
#ifndef HF_PROTO_RESP_REPLY_H
#define HF_PROTO_RESP_REPLY_H

#include "cmd/reply.h"

extern const struct reply_ops resp_reply_ops;

static inline bool resp_reply_overflowed(const struct buf *out) { return out->size_max == 0; }

#endif
