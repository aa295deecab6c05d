/* pubsub.h -- channels, patterns and shard channels: who listens, and the way of a message.
 *
 * Two tables. The routing table, shared, says for each name how many connections of each worker
 * listen. The listeners' table, one per worker and touched by it alone, says which ones. A
 * message goes to the inbox of each worker that has listeners, once; that worker hands it to them.
 * Messages to one channel are posted under one lock, so all listeners see them in the same order.
 *
 * A message waits for the log as a reply does: until `lsn` is safe (message.h).
 */
#ifndef HF_CMD_PUBSUB_H
#define HF_CMD_PUBSUB_H

#include "cmd/session.h"

enum topic_kind { TOPIC_CHANNEL, TOPIC_PATTERN, TOPIC_SHARD, TOPIC_KINDS };

/* By the session's own worker. True: that changed something. */
bool pubsub_subscribe(struct session *s, enum topic_kind kind, bytes name);
bool pubsub_unsubscribe(struct session *s, enum topic_kind kind, bytes name);
void pubsub_leave(struct session *s); /* all of them: RESET, close */
size_t pubsub_count(const struct session *s, enum topic_kind kind);
/* What UNSUBSCRIBE without names leaves: the n-th name; false: no such. */
bool pubsub_name(const struct session *s, enum topic_kind kind, size_t n, bytes *name);
/* The number that a (un)subscribe reply shows: channels and patterns, or shard channels. */
size_t pubsub_shown_count(const struct session *s, enum topic_kind kind);

/* How many would get it; publish also posts it. Any thread, under stripe locks too. */
size_t pubsub_receivers(enum topic_kind kind, bytes channel);
size_t pubsub_publish(enum topic_kind kind, bytes channel, bytes payload, uint64_t lsn);

/* PUBSUB: names with listeners (pattern NULL: all), and how many listeners a name has. */
void pubsub_walk(enum topic_kind kind, void (*each)(void *context, bytes name), void *context);
size_t pubsub_listeners(enum topic_kind kind, bytes name);
size_t pubsub_topics(enum topic_kind kind);

/* notify-keyspace-events: false, and nothing changed: a letter that is none. */
bool pubsub_notify_parse(bytes letters, uint32_t *flags);
void pubsub_notify_word(uint32_t flags, char out[32]); /* the canonical letters */
struct engine;
void pubsub_notify_set(struct engine *e, uint32_t flags);

#endif
