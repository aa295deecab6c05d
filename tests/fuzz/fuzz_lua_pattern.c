/* fuzz_lua_pattern.c -- string.find, match, gmatch, gsub of scripts: any pattern over any text, as Lua's own functions say.
 *
 * The first byte is the call and its number; then the pattern, the replacement, the subject, each but the last ended by 0xff.
 */
#include "../unit/support/pattern_twin.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bytes cut(bytes *in)
{
    const uint8_t *end = in->size ? memchr(in->data, 0xff, in->size) : NULL;
    bytes part = bytes_of(in->data, end ? (size_t)(end - in->data) : in->size);
    *in = bytes_of(end ? end + 1 : in->data + in->size, in->size - part.size - (end != NULL));
    return part;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf ours, theirs;
    if (size == 0 || size > 400)
        return 0;
    bytes in = bytes_of(data + 1, size - 1);
    bytes pattern = cut(&in), extra = cut(&in);
    buf_init(&ours, SIZE_MAX);
    buf_init(&theirs, SIZE_MAX);
    bool same = twin_agrees((enum twin_call)(data[0] % TWIN_CALLS), in, pattern, extra, data[0] / TWIN_CALLS - 18, &ours, &theirs);
    hf_assert(same);
    buf_release(&ours);
    buf_release(&theirs);
    return 0;
}
