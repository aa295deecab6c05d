/* stream_private.h -- struct stream, shared by stream.c and stream_groups.c. */
#ifndef HF_TYPES_STREAM_PRIVATE_H
#define HF_TYPES_STREAM_PRIVATE_H

#include "types/stream.h"
#include "types/stream_fields.h"
#include "types/varint.h"

struct stream {
    struct stream_state state;
    uint32_t tail_entries, tail_bytes; /* of the newest node as Redis would have it; without its count */
    struct stream_id tail_first;       /* what it began with */
    uint32_t tail_fields;              /* a mark of that entry's fields */
    uint64_t next_number;              /* for groups and consumers */
    struct field_lists *fields; /* NULL: none yet */
    struct tree entries;    /* order: ms. ENTRY_* bits, seq (varint, unless 0), then the pairs: stream.c */
    struct tree groups;     /* order: 0. sized name, struct group_record */
    struct tree consumers;  /* order: the group's number. sized name, the consumer's number */
    struct tree people;     /* order: the consumer's number. 16 zero bytes, seen_ms, active_ms, name */
    struct tree pending;    /* order: the group's number. id (16, big-endian), struct pending_record */
    struct tree owned;      /* order: the consumer's number. id (16, big-endian) */
};

/* Bits of an entry: stream.c. */
enum { ENTRY_BEGINS_NODE = 1, ENTRY_HAS_SEQ = 2, ENTRY_LIST = 4 };
_Static_assert((FIELD_LISTS_MAX + 1) * ENTRY_LIST <= 256, "the number of a list stands in the bits");

#define ID_SIZE 16u
#define ENTRY_SIZE_MAX (TREE_PAYLOAD_MAX - 1 - VARINT_SIZE_MAX) /* of pairs */

/* On disk: never renumber. */
enum stream_change {
    CHANGE_ADD = 1, CHANGE_DELETE, CHANGE_TRIM, CHANGE_SET_ID, CHANGE_GROUP, CHANGE_GROUP_REMOVE, CHANGE_CONSUMER,
    CHANGE_CONSUMER_REMOVE, CHANGE_ACK, CHANGE_DELIVER_AGAIN, CHANGE_DELIVER,
};

void id_put(uint8_t out[ID_SIZE], struct stream_id id);
struct stream_id id_get(const uint8_t in[ID_SIZE]);
bool take_id(bytes *in, struct stream_id *id) HF_CHECK;
struct stream *stream_new(void);
/* Fields and values as stream_pair_next takes them, to the end of the bytes. */
bool body_is_sound(bytes body, uint64_t pairs) HF_CHECK;
void append_entry(struct stream *s, struct stream_id id, bool begins_node, bytes pairs_and_body);
struct stream_entry newest_entry(const struct stream *s); /* there is one */

/* stream_nodes.c */
bool node_is_full(const struct stream *s, size_t size) HF_CHECK; /* for one more entry whose words have this size */
void node_add(struct stream *s, struct stream_id id, bool begins_node, uint64_t pairs, bytes body);
void node_drop(struct stream *s, bool newest);                 /* its last entry is about to go */
void node_shrink_oldest(struct stream *s, uint64_t count);     /* so many entries have gone from the oldest node on */

/* stream_encode.c */
void stream_encode(const void *object, struct buf *out);
bool stream_decode(struct stream *s, bytes *in) HF_CHECK;

/* stream_groups.c: changes 5 to 11 */
#define READ_MAX ((uint64_t)INT64_MAX + 1) /* on disk: one more, so that 0 is unknown */
#define NAME_MAX_BYTES (UINT32_MAX - 64u)

struct group_record { uint64_t number; struct stream_id last; int64_t read; };
struct pending_record { uint64_t consumer, delivered_ms, deliveries; };

void groups_init(struct stream *s);
status groups_apply(struct stream *s, enum stream_change change, bytes rest) HF_CHECK;
void groups_check(const struct stream *s);
void group_put(struct stream *s, bytes name, const struct group_record *r);
void person_put(struct stream *s, uint64_t number, bytes name, uint64_t seen_ms, int64_t active_ms); /* the name is no view of s */
uint64_t consumer_add(struct stream *s, uint64_t group, bytes name, uint64_t seen_ms, int64_t active_ms); /* its number */
void pending_put(struct stream *s, uint64_t group, struct stream_id id, const struct pending_record *r);
bool delivery_take(bytes *in, struct stream_id *id, struct pending_record *r) HF_CHECK;

/* stream_groups_encode.c */
void groups_encode(const struct stream *s, struct buf *out);
bool groups_decode(struct stream *s, bytes *in) HF_CHECK;

#endif
