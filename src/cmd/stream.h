/* stream.h -- what the stream commands share: ids in words, entries in replies, changes. */
#ifndef HF_CMD_STREAM_H
#define HF_CMD_STREAM_H

#include "cmd/args.h"
#include "engine/events.h"
#include "engine/objects.h"
#include "types/stream.h"

/* "ms" or "ms-seq"; a missing seq is missing_seq. Never "-" or "+". */
bool stream_id_parse(bytes word, uint64_t missing_seq, struct stream_id *id);
/* The same with the error reply. */
bool arg_stream_id(struct call *c, size_t index, struct stream_id *id);
/* The ends of an interval, both inclusive then: "-", "+", "(id". */
bool arg_stream_start(struct call *c, size_t index, struct stream_id *start);
bool arg_stream_interval(struct call *c, size_t start_index, size_t end_index, struct stream_id *start, struct stream_id *end);
/* The first position of the interval, and how many entries of it to take. */
uint64_t stream_interval(const struct stream *s, struct stream_id start, struct stream_id end, uint64_t *count);

#define STREAM_ID_TEXT 48
size_t stream_id_text(char text[STREAM_ID_TEXT], struct stream_id id); /* "ms-seq"; its size */
/* The ids of words from..argc - 1, ascending, none twice, in the txn's arena; *count: how many. NULL: the error was replied. */
struct stream_id *arg_stream_ids(struct call *c, size_t from, size_t *count);
size_t sort_stream_ids(struct stream_id *ids, size_t count); /* ascending, none twice; how many are left */
void reply_stream_id(struct reply *r, struct stream_id id);
void reply_stream_entry(struct reply *r, const struct stream_entry *e);
/* Entries from a position on, or backwards from it. */
void reply_stream_entries(struct call *c, const struct stream *s, uint64_t position, uint64_t count, bool backwards);

bool view_stream(struct call *c, const struct key *k, const struct stream **s); /* *s NULL: absent */
bool find_stream(struct call *c, const struct key *k, struct object_ref *o);
bool read_stream(struct call *c, const struct key *k, struct object_ref *o); /* the same, counted as a read */
/* Makes the change and empties the buffer. False: the error was replied. */
bool change_stream(struct call *c, struct object_ref *o, struct buf *change);
/* The same for groups and the newest id: WATCH does not count these, as in Redis. */
bool change_stream_unwatched(struct call *c, struct object_ref *o, struct buf *change);
static inline const struct stream *stream_of(const struct object_ref *o) { return o->object; }

/* What becomes of pending entries when their entry goes. */
enum stream_references {
    REFERENCES_KEEP,  /* they stay pending */
    REFERENCES_DROP,  /* nobody has them pending any more */
    REFERENCES_NONE,  /* only entries go that every group has read and acknowledged */
};
bool is_references_word(bytes word, enum stream_references *how); /* KEEPREF, DELREF, ACKED */
/* Pending in a group, or not yet delivered to one. */
bool stream_is_referenced(const struct stream *s, struct stream_id id);
/* REFERENCES_DROP: of these ids, which ascend; of the entries that there are up to an id. False: the error was replied. */
bool drop_references(struct call *c, struct object_ref *o, const struct stream_id *ids, size_t count);
bool drop_references_to(struct call *c, struct object_ref *o, struct stream_id last);
/* Removes from the pending ones of a group those of these ids that are; they ascend, none twice. Returns how many, or a negative
 * number: the error was replied. */
int64_t acknowledge(struct call *c, struct object_ref *o, const struct stream_group *g, const struct stream_id *ids, size_t count);

/* A consumer that is there counts as seen now. */
void see_consumer(struct call *c, struct object_ref *o, const struct stream_group *g, bytes name);
/* The consumer of a group, made if it is new; it counts as seen now. False: the error was replied. */
bool meet_consumer(struct call *c, struct object_ref *o, const struct stream_group *g, bytes name, struct stream_consumer *out);

/* How many entries up to id (the last one that a group has read) have ever been; STREAM_READ_UNKNOWN. */
int64_t stream_distance(const struct stream *s, struct stream_id id);
/* Whether something was deleted at or behind id. */
bool stream_has_gaps_from(const struct stream *s, struct stream_id id);
struct stream_id stream_first_id(const struct stream *s); /* 0-0: empty */

#endif
