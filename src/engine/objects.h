/* objects.h -- operations on collections of any type.
 *
 * Journey: object_find, read through the type's own header (types/list.h, ...), make
 * changes with object_change, then object_close, which removes the key of an empty one.
 * All keys are locked (the executor did). A change is logged, and undone by a rollback,
 * without the caller's doing. Between changes views into the object end.
 */
#ifndef HF_ENGINE_OBJECTS_H
#define HF_ENGINE_OBJECTS_H

#include "engine/txn.h"
#include "store/entry.h"

struct table;
struct stripe;

struct object_ref {
    const struct key *key;
    enum type type;
    void *object;       /* NULL: the key is absent */
    struct stripe *stripe;
    struct table *table; /* NULL: the key's (stripe, database) has none yet */
    uint32_t db_id;
};

/* HF_ERR_WRONGTYPE: the key holds another type. Absent: HF_OK, object NULL. */
status object_find(struct txn *t, const struct key *k, enum type type, struct object_ref *out) HF_CHECK;
/* The same for commands that only read: counts a hit or a miss. Returns the object, NULL: absent. */
status object_view(struct txn *t, const struct key *k, enum type type, const void **object) HF_CHECK;
/* The same for a key that may be of one of several types; *type: which. */
status object_view_any(struct txn *t, const struct key *k, const enum type *types, size_t count, enum type *type, const void **object) HF_CHECK;
/* Applies a change that fits (asserted); an absent key is created first. */
status object_change(struct txn *t, struct object_ref *o, bytes change) HF_CHECK;
/* The same for what WATCH does not count as a change, as in Redis: a stream's groups. A key that is created counts. */
status object_change_unwatched(struct txn *t, struct object_ref *o, bytes change) HF_CHECK;
/* For a command that counts as a change although it changed nothing (LTRIM that keeps all): tells WATCH, logs nothing. */
void object_touch(struct txn *t, const struct object_ref *o);
/* After the last change: an empty object goes, and its key. True: it went. */
bool object_close(struct txn *t, struct object_ref *o);
/* Puts a whole new object under the key, replacing what is there, without deadline (the *STORE commands). Takes the object.
 * An empty one just removes the key. *removed (may be NULL): a key was there and is gone. */
status object_store(struct txn *t, const struct key *k, enum type type, void *object, bool *removed) HF_CHECK;
/* Frees one that stands under no key, a large one in slices. */
void object_drop(struct txn *t, enum type type, void *object);

#endif
