/* fuzz_dump.c -- any body of a payload is a sound value or none.
 *
 * What is read holds its type's invariants, and moves on unchanged: dumped and read again it encodes to the same bytes.
 */
#include "base/assert.h"
#include "rdb/rdb.h"
#include "types/type.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void encode(const struct rdb_value *v, struct buf *out)
{
    buf_init(out, SIZE_MAX);
    if (v->type == TYPE_STRING)
        buf_append_bytes(out, v->text);
    else
        type_ops_of((int)v->type)->encode(v->object, out);
}

static void dump(const struct rdb_value *v, struct buf *out)
{
    buf_init(out, SIZE_MAX);
    if (v->type == TYPE_STRING)
        rdb_dump_string(out, v->text);
    else
        rdb_dump_object(out, v->type, v->object, NULL);
}

static void release(struct rdb_value *v)
{
    if (v->object)
        type_ops_of((int)v->type)->free(v->object);
    buf_release(&v->room);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct rdb_value first, second;
    struct buf payload, a, b;
    bytes body;
    if (rdb_read_value(bytes_of(data, size), NULL, &first) != HF_OK)
        return 0;
    if (first.object)
        type_ops_of((int)first.type)->check(first.object);
    dump(&first, &payload);
    bool opened = rdb_open(buf_view(&payload), NULL, &body);
    hf_assert(opened);
    status again = rdb_read_value(body, NULL, &second);
    hf_assert(again == HF_OK && second.type == first.type);
    if (first.type == TYPE_STRING || first.type == TYPE_LIST || first.type == TYPE_ZSET) { /* those with an order of their own */
        encode(&first, &a);
        encode(&second, &b);
        hf_assert(bytes_equal(buf_view(&a), buf_view(&b)));
        buf_release(&a);
        buf_release(&b);
    }
    release(&first);
    release(&second);
    buf_release(&payload);
    return 0;
}
