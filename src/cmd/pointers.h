/* pointers.h -- a dict whose values are pointers. */
#ifndef HF_CMD_POINTERS_H
#define HF_CMD_POINTERS_H

#include "base/status.h"
#include "data/dict.h"

static inline void *pointer_of(bytes value)
{
    void *pointer;
    hf_assert(value.size == sizeof(pointer));
    memcpy(&pointer, value.data, sizeof(pointer));
    return pointer;
}

/* NULL: no such. */
static inline void *dict_pointer(const struct dict *d, bytes name)
{
    bytes value;
    return dict_get(d, name, &value) ? pointer_of(value) : NULL;
}

static inline void dict_set_pointer(struct dict *d, bytes name, const void *pointer)
{
    dict_set(d, name, bytes_of(&pointer, sizeof(pointer)));
}

#endif
