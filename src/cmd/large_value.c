/* large_value.c -- the chunks of a large string are made before it is set: until then nothing has changed. */
#include "cmd/large_value.h"

#include "data/rope.h"

#define COPY_WORK 128u

/* NULL: no memory. False: it ends here. */
static bool make_chunks(struct call *c, const struct value_source *source, struct rope **made)
{
    struct rope *r = rope_begin(source->size);
    for (size_t at = 0, size; r && at < source->size; at += size) {
        size = source->size - at < ROPE_CHUNK ? source->size - at : ROPE_CHUNK;
        bool goes_on = call_goes_on(c, source->work);
        if (!goes_on || !rope_add(r, source->chunk(source->context, at, size))) {
            rope_unref(r);
            r = NULL;
        }
        if (!goes_on)
            return false;
    }
    *made = r;
    return true;
}

bool large_value_set(struct call *c, size_t key, const struct value_source *source, const struct set_options *o, struct set_result *result)
{
    struct set_options options = *o;
    if (!make_chunks(c, source, &options.rope))
        return false;
    status s = options.rope ? string_set(c->txn, call_key(c, key), BYTES(""), &options, result) : HF_ERR_NO_MEMORY;
    if (options.rope)
        rope_unref(options.rope);
    return !arg_refused(c, s);
}

static bytes part_of(void *value, size_t at, size_t size) { return bytes_of(((const bytes *)value)->data + at, size); }

bool large_value_copy(struct call *c, size_t key, bytes value, const struct set_options *o, struct set_result *result)
{
    return large_value_set(c, key, &(struct value_source){value.size, COPY_WORK, part_of, &value}, o, result);
}
