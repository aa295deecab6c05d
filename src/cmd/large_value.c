/* large_value.c -- the chunks of a large string are made before it is set: until then nothing has changed. */
#include "cmd/large_value.h"

#include "data/rope.h"

#define CHUNK_WORK 128u

/* NULL: no memory. False: it ends here. */
static bool copy_chunks(struct call *c, bytes value, struct rope **made)
{
    struct rope *r = rope_begin(value.size);
    for (size_t at = 0, size; r && at < value.size; at += size) {
        size = value.size - at < ROPE_CHUNK ? value.size - at : ROPE_CHUNK;
        bool goes_on = call_goes_on(c, CHUNK_WORK);
        if (!goes_on || !rope_add(r, bytes_of(value.data + at, size))) {
            rope_unref(r);
            r = NULL;
        }
        if (!goes_on)
            return false;
    }
    *made = r;
    return true;
}

bool large_value_set(struct call *c, size_t key, bytes value, const struct set_options *o, struct set_result *result)
{
    struct set_options options = *o;
    if (!copy_chunks(c, value, &options.rope))
        return false;
    status s = options.rope ? string_set(c->txn, call_key(c, key), value, &options, result) : HF_ERR_NO_MEMORY;
    if (options.rope)
        rope_unref(options.rope);
    return !arg_refused(c, s);
}
