/* large_value.h -- a value that takes long to make or to copy is set in chunks, between which others are served (call_goes_on). */
#ifndef HF_CMD_LARGE_VALUE_H
#define HF_CMD_LARGE_VALUE_H

#include "cmd/args.h"
#include "engine/strings.h"

#define LARGE_VALUE ((size_t)4 << 20) /* below that it is a matter of a millisecond or two */

/* Where a value comes from: `size` of its bytes from `at` on, valid until the next call. work: of a chunk, as for call_goes_on. */
struct value_source {
    size_t size, work; /* size: more than ENTRY_INLINE_MAX */
    bytes (*chunk)(void *context, size_t at, size_t size);
    void *context;
};

/* These are string_set of that key. False: refused and replied, or it ends here (call_goes_on). */
bool large_value_set(struct call *c, size_t key, const struct value_source *source, const struct set_options *o,
                     struct set_result *result) HF_CHECK;
bool large_value_copy(struct call *c, size_t key, bytes value, const struct set_options *o, struct set_result *result) HF_CHECK;

HF_CHECK static inline bool value_set(struct call *c, size_t key, bytes value, const struct set_options *o, struct set_result *result)
{
    if (HF_UNLIKELY(value.size >= LARGE_VALUE))
        return large_value_copy(c, key, value, o, result);
    return !arg_refused(c, string_set(c->txn, call_key(c, key), value, o, result));
}

#endif
