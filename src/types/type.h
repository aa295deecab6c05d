/* type.h -- what the engine knows of a collection type, and nothing more.
 *
 * A row per type, indexed by its permanent number (enum type in store/entry.h;
 * numbered here as plain ints because types/ stands below store/). Strings have no
 * row: their bytes are in the entry.
 * Encoded forms are documented in docs/format/values.md and stored on disk.
 */
#ifndef HF_TYPES_TYPE_H
#define HF_TYPES_TYPE_H

#include "base/buf.h"
#include "base/status.h"

struct type_ops {
    const char *name;                                  /* the word that TYPE replies */
    void (*free)(void *object);
    size_t (*memory)(const void *object);              /* bytes held, for accounting */
    void (*encode)(const void *object, struct buf *out);
    status (*decode)(bytes in, void **object);         /* hostile input: checked, bounded */
    const char *(*encoding)(const void *object);       /* the word of OBJECT ENCODING */
    void (*check)(const void *object);                 /* asserts every invariant */
};

/* NULL for numbers without a row. */
const struct type_ops *type_ops_of(int type);
const char *type_name(int type);

#endif
