/* fuzz_glob.c -- patterns: within their bytes, in bounded time, and true to what a few of them must say.
 *
 * Input: a byte with the pattern's size, the pattern, the text. What ignores case matches all that minds it (but for sets,
 * where a range may fold to another one); a text with every byte escaped matches itself and nothing else.
 */
#include "base/assert.h"
#include "base/buf.h"
#include "base/glob.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_escaped(bytes text, bytes other)
{
    struct buf escaped;
    buf_init(&escaped, SIZE_MAX);
    for (size_t i = 0; i < text.size; i++) {
        buf_append_u8(&escaped, '\\');
        buf_append_u8(&escaped, text.data[i]);
    }
    hf_assert(glob_match(buf_view(&escaped), text, false));
    hf_assert(glob_match(buf_view(&escaped), other, false) == bytes_equal(text, other));
    buf_release(&escaped);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0 || data[0] > size - 1)
        return 0;
    bytes pattern = bytes_of(data + 1, data[0]), text = bytes_of(data + 1 + data[0], size - 1 - data[0]);
    if (glob_match(pattern, text, false) && (pattern.size == 0 || !memchr(pattern.data, '[', pattern.size)))
        hf_assert(glob_match(pattern, text, true));
    check_escaped(text, pattern);
    hf_assert(glob_match(BYTES("*"), text, false));
    return 0;
}
