/* large_value.h -- a value that takes long to copy is copied in parts, between which others are served (call_goes_on). */
#ifndef HF_CMD_LARGE_VALUE_H
#define HF_CMD_LARGE_VALUE_H

#include "cmd/args.h"
#include "engine/strings.h"

#define LARGE_VALUE ((size_t)4 << 20) /* below that it is a matter of a millisecond or two */

bool large_value_set(struct call *c, size_t key, bytes value, const struct set_options *o, struct set_result *result) HF_CHECK;

/* string_set of that key. False: refused and replied, or it ends here (call_goes_on). */
HF_CHECK static inline bool value_set(struct call *c, size_t key, bytes value, const struct set_options *o, struct set_result *result)
{
    if (HF_UNLIKELY(value.size >= LARGE_VALUE))
        return large_value_set(c, key, value, o, result);
    return !arg_refused(c, string_set(c->txn, call_key(c, key), value, o, result));
}

#endif
