/* type.h -- what the engine knows of a collection type, and nothing more.
 *
 * A row per type, indexed by its permanent number (enum type in store/entry.h;
 * numbered here as plain ints because types/ stands below store/). Strings have no
 * row: their bytes are in the entry.
 *
 * A collection is changed in one way only: `apply` of a change, a byte string whose first byte
 * says what (docs/format/values.md lists them by type). The same bytes are the effect in the
 * log, so a command and its replay run the same code. A type's header offers a
 * function per change that appends its bytes (list_change_push, ...).
 * Encoded forms are documented in docs/format/values.md and stored on disk.
 *
 * Threads: an object belongs to its entry and is touched only under that stripe's lock;
 * a share may be read, encoded and freed by another thread.
 */
#ifndef HF_TYPES_TYPE_H
#define HF_TYPES_TYPE_H

#include "base/buf.h"
#include "base/status.h"

struct type_ops {
    const char *name;                                  /* the word that TYPE replies */
    size_t size;                                       /* of the object's struct, which can be moved: no pointer into itself */
    void *(*create)(void);                             /* empty */
    void (*free)(void *object);
    /* In slices: false when *budget (about a microsecond each) is used up; true: it is gone. */
    bool (*free_some)(void *object, size_t *budget);
    /* The same content as an object of its own; O(1), or bounded by the packed limits. */
    void *(*share)(const void *object);
    /* Makes the change. Hostile bytes, or a change that does not fit this object (an absent member, an index
     * beyond the end): HF_ERR_CORRUPT and nothing changed. The object may end up empty. */
    status (*apply)(void *object, bytes change);
    bool (*is_empty)(const void *object);              /* an empty one is removed with its key; a stream never says so */
    size_t (*memory)(const void *object);              /* bytes held, for accounting; O(1) */
    void (*encode)(const void *object, struct buf *out);
    status (*decode)(bytes in, void **object);         /* hostile input: checked, bounded */
    const char *(*encoding)(const void *object);       /* the word of OBJECT ENCODING */
    void (*check)(const void *object);                 /* asserts every invariant */
    uint64_t (*deadline)(const void *object);          /* unix ms when the first part of it expires, 0: never; NULL: never for any */
};

/* NULL for numbers without a row. */
const struct type_ops *type_ops_of(int type);
const char *type_name(int type);

#endif
