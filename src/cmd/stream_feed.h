/* stream_feed.h -- what the commands of streams say to replicas (feed.h): what was delivered to whom, and when.
 *
 * Each looks at the stream as it is after the change; ask call_is_fed before.
 */
#ifndef HF_CMD_STREAM_FEED_H
#define HF_CMD_STREAM_FEED_H

#include "cmd/feed.h"
#include "cmd/stream_trim.h"

/* XADD with the id that was given, and cut to the length that it has now. */
void say_added(struct call *c, const struct object_ref *o, struct stream_id id, size_t id_at, const struct stream_trim *trim);
void say_trimmed(struct call *c, const struct object_ref *o, const struct stream_trim *trim);
/* XCLAIM of each: it is pending for this consumer. */
void say_claims(struct call *c, const struct object_ref *o, bytes group, bytes consumer, const struct stream_id *ids, size_t count);
void say_group(struct call *c, const struct object_ref *o, bytes group); /* XGROUP SETID */
void say_consumer(struct call *c, const struct object_ref *o, bytes group, bytes consumer);
void say_acknowledged(struct call *c, const struct object_ref *o, bytes group, const struct stream_id *ids, size_t count);

#endif
