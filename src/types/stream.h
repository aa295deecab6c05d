/* stream.h -- entries in the order of their ids, and groups of consumers that share the reading of them.
 *
 * An entry is an id and pairs of a field and a value, and never changes. A group has read up to an id; what it has handed to a
 * consumer and nobody has acknowledged is pending: owned by that consumer, with the time and the number of its deliveries.
 * Everything stands in trees (data/tree.h), so a share is O(1) and positions are counted.
 *
 * In memory an entry is its id, as far as it differs from its neighbours' (data/tree_leaf.h), its values, and the number of a list of fields
 * that it shares with others (stream_fields.h), or its fields.
 *
 * Nodes: as Redis packs some 100 entries into a node and trims approximately by whole nodes, an entry remembers whether it
 * begins one (stream_nodes.c). Nothing else hangs on nodes.
 *
 * Terms and behaviour: the documentation of Redis on streams (redis.io/docs/data-types/streams).
 * Threads: as its entry (types/type.h). Views end with the next change.
 */
#ifndef HF_TYPES_STREAM_H
#define HF_TYPES_STREAM_H

#include "data/tree.h"
#include "types/type.h"

struct stream;

struct stream_id { uint64_t ms, seq; };
#define STREAM_ID_MIN ((struct stream_id){0, 0})
#define STREAM_ID_MAX ((struct stream_id){UINT64_MAX, UINT64_MAX})
static inline int stream_id_compare(struct stream_id a, struct stream_id b)
{
    return a.ms != b.ms ? (a.ms < b.ms ? -1 : 1) : a.seq != b.seq ? (a.seq < b.seq ? -1 : 1) : 0;
}
bool stream_id_next(struct stream_id *id);     /* false: it is the highest */
bool stream_id_previous(struct stream_id *id); /* false: it is the lowest */

/* 100, 4096 as in Redis; 0: no limit of this kind. Set at start and by CONFIG SET. */
extern struct stream_limits { uint32_t node_entries_max, node_bytes_max; } stream_limits;
extern const struct type_ops stream_ops;

/* ---- entries ---- */

struct stream_state {
    struct stream_id last, max_deleted; /* last: of the newest entry ever */
    uint64_t added;                     /* entries ever */
    uint64_t nodes, oldest_node;        /* how many; entries of the oldest one */
};
const struct stream_state *stream_state(const struct stream *s);
uint64_t stream_count(const struct stream *s);
bool stream_has(const struct stream *s, struct stream_id id);
uint64_t stream_position(const struct stream *s, struct stream_id id); /* of the first entry at or behind id */

struct stream_pairs { bytes fields, rest; bool shared; }; /* shared: rest holds the values only */
struct stream_entry {
    struct stream_id id;
    uint64_t pairs;
    struct stream_pairs body; /* of stream_pair_next */
    bool begins_node;
};
bool stream_find(const struct stream *s, struct stream_id id, struct stream_entry *out);
/* A walk from a position, either way; false: no entry there. */
struct stream_cursor { struct tree_cursor tree; const struct stream *of; };
bool stream_seek(const struct stream *s, uint64_t position, struct stream_cursor *c, struct stream_entry *out);
bool stream_next(struct stream_cursor *c, struct stream_entry *out);
bool stream_previous(struct stream_cursor *c, struct stream_entry *out);
/* Takes one pair off the front; false: none left. */
bool stream_pair_next(struct stream_pairs *body, bytes *field, bytes *value);

/* ---- groups ---- */

#define STREAM_READ_UNKNOWN (-1) /* entries_read: nobody can say */
#define STREAM_NEVER        (-1) /* active_ms */

struct stream_group {
    bytes name;
    uint64_t number;       /* its own within the stream */
    struct stream_id last; /* delivered */
    int64_t read;          /* how many entries up to `last` have ever been, or STREAM_READ_UNKNOWN */
};
struct stream_consumer {
    bytes name;
    uint64_t number;       /* its own within the stream */
    uint64_t seen_ms;      /* it tried to read or claim */
    int64_t active_ms;     /* and got something; STREAM_NEVER */
};
struct stream_pending {
    struct stream_id id;
    uint64_t consumer;     /* number */
    uint64_t delivered_ms, deliveries;
};

/* By position, in the order of names. */
uint64_t stream_group_count(const struct stream *s);
struct stream_group stream_group_at(const struct stream *s, uint64_t position);
bool stream_group_find(const struct stream *s, bytes name, struct stream_group *out);
uint64_t stream_consumer_count(const struct stream *s, uint64_t group);
struct stream_consumer stream_consumer_at(const struct stream *s, uint64_t group, uint64_t position);
bool stream_consumer_find(const struct stream *s, uint64_t group, bytes name, struct stream_consumer *out);
struct stream_consumer stream_consumer_of(const struct stream *s, uint64_t number);
/* Pending of a group, or of one of its consumers, by position in the order of ids. */
uint64_t stream_pending_count(const struct stream *s, uint64_t group);
struct stream_pending stream_pending_at(const struct stream *s, uint64_t group, uint64_t position);
uint64_t stream_pending_position(const struct stream *s, uint64_t group, struct stream_id id);
bool stream_pending_find(const struct stream *s, uint64_t group, struct stream_id id, struct stream_pending *out);
uint64_t stream_owned_count(const struct stream *s, uint64_t consumer);
struct stream_id stream_owned_at(const struct stream *s, uint64_t consumer, uint64_t position);
uint64_t stream_owned_position(const struct stream *s, uint64_t consumer, struct stream_id id);
/* Of memory only: the log learns of it with the consumer's next delivery. */
void stream_note_seen(struct stream *s, uint64_t consumer, uint64_t now_ms);

/* ---- changes: bytes for object_change (docs/format/values.md) ---- */

/* Followed by stream_change_pair for each pair; size: of all their words. The id is above the last one. s may be NULL: not there yet. */
void stream_change_add(struct buf *out, const struct stream *s, struct stream_id id, uint64_t pairs, size_t size);
void stream_change_pair(struct buf *out, bytes field, bytes value);
void stream_change_delete(struct buf *out);                    /* then stream_change_id, one or more: all are there */
void stream_change_trim(struct buf *out, uint64_t count);      /* from the oldest on; at most all */
void stream_change_set_id(struct buf *out, struct stream_id last, uint64_t added, struct stream_id max_deleted);
void stream_change_group(struct buf *out, bytes group, struct stream_id last, int64_t read); /* makes or moves it */
void stream_change_group_remove(struct buf *out, bytes group);
void stream_change_consumer(struct buf *out, bytes group, bytes consumer, uint64_t seen_ms); /* makes it, or it was seen */
void stream_change_consumer_remove(struct buf *out, bytes group, bytes consumer); /* with what it owns */
void stream_change_ack(struct buf *out, bytes group);          /* then ids: all are pending */
/* Then stream_change_delivery, one or more: pending for this consumer from now on, whoever owned it. The consumer was seen, and
 * is active: it got something; again: it only looked at what it has. */
void stream_change_deliver(struct buf *out, bytes group, bytes consumer, uint64_t seen_ms);
void stream_change_deliver_again(struct buf *out, bytes group, bytes consumer, uint64_t seen_ms);
void stream_change_delivery(struct buf *out, struct stream_id id, uint64_t delivered_ms, uint64_t deliveries);
void stream_change_id(struct buf *out, struct stream_id id);

#endif
