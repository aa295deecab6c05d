/* values.h -- walks over all values of whole databases, for DEBUG: digests, and values built anew.
 *
 * Both lock stripes one after the other by themselves: call without locks, or with the gate held.
 */
#ifndef HF_ENGINE_VALUES_H
#define HF_ENGINE_VALUES_H

#include "engine/txn.h"
#include "store/entry.h"

struct value_view { /* ends with the call that it is given to */
    bytes key, text;     /* text: of a string */
    enum type type;
    const void *object;  /* of all others */
    uint64_t deadline_ms;
};

/* Every key that is not due. */
void values_walk(struct txn *t, uint32_t db, void (*each)(void *context, const struct value_view *v), void *context);
/* The gate is held: each collection is put in place of itself, decoded from its encoded form. HF_ERR_CORRUPT: one could not
 * be read back; it stays as it was. */
status values_rebuild(struct txn *t) HF_CHECK;
/* For as long as there is a reason, keys that are due stay until somebody looks at them. */
enum expiry_rest { EXPIRY_NOT_ACTIVE = 1, EXPIRY_PAUSED = 2 };
void engine_rest_expiry(struct engine *e, enum expiry_rest reason, bool on);

#endif
