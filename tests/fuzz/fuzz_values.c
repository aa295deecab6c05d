/* fuzz_values.c -- encoded collections of every type, and changes to them, as a disk may hand them in.
 *
 * Input: the type's number, two bytes of size, that many bytes of an encoded value (none: an empty one), then
 * changes, each with two bytes of size before it. A value is refused or sound, and encodes to what decodes to it again; a change is
 * made or refused, and then nothing has changed; a share never sees it.
 */
#include "base/assert.h"
#include "base/buf.h"
#include "base/wire.h"
#include "store/entry.h"
#include "types/type.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHANGES_MAX 64

static bytes take(bytes *in)
{
    size_t size = in->size < 2 ? 0 : get_u16(in->data);
    *in = in->size < 2 ? bytes_of(in->data, 0) : bytes_of(in->data + 2, in->size - 2);
    size = size < in->size ? size : in->size;
    bytes out = bytes_of(in->data, size);
    *in = bytes_of(in->data + size, in->size - size);
    return out;
}

static void encode(const struct type_ops *ops, const void *object, struct buf *out)
{
    buf_reset(out);
    ops->encode(object, out);
}

static void check_round_trip(int type, const void *object, struct buf *first, struct buf *second)
{
    const struct type_ops *ops = type_ops_of(type);
    void *again = NULL;
    ops->check(object);
    hf_assert(ops->memory(object) > 0 && ops->encoding(object));
    encode(ops, object, first);
    status s = ops->decode(buf_view(first), &again);
    hf_assert(s == HF_OK || ops->is_empty(object)); /* an empty one is never written */
    if (s != HF_OK)
        return;
    ops->check(again);
    encode(ops, again, second);
    hf_assert(first->size == second->size);
    if (type != TYPE_HASH && type != TYPE_SET) /* those with an order of their own */
        hf_assert(bytes_equal(buf_view(first), buf_view(second)));
    ops->free(again);
}

static void change(const struct type_ops *ops, void *object, bytes with, struct buf *before, struct buf *after)
{
    void *share = ops->share(object);
    encode(ops, object, before);
    status s = ops->apply(object, with);
    ops->check(object);
    encode(ops, share, after);
    hf_assert(bytes_equal(buf_view(before), buf_view(after)));
    encode(ops, object, after);
    hf_assert(s == HF_OK || bytes_equal(buf_view(before), buf_view(after)));
    ops->free(share);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct type_ops *ops = size ? type_ops_of(data[0]) : NULL;
    struct buf a, b;
    void *object = NULL;
    if (!ops)
        return 0;
    bytes in = bytes_of(data + 1, size - 1), value = take(&in);
    if (value.size == 0)
        object = ops->create();
    else if (ops->decode(value, &object) != HF_OK)
        return 0;
    buf_init(&a, SIZE_MAX);
    buf_init(&b, SIZE_MAX);
    if (value.size)
        check_round_trip(data[0], object, &a, &b);
    for (unsigned i = 0; in.size && i < CHANGES_MAX; i++)
        change(ops, object, take(&in), &a, &b);
    check_round_trip(data[0], object, &a, &b);
    ops->free(object);
    buf_release(&a);
    buf_release(&b);
    return 0;
}
