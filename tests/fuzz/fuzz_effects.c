/* fuzz_effects.c -- the body of a log record: every effect is refused or is what would be written again.
 *
 * A value that is put holds its type's invariants; what an effect says in bytes has one form only.
 */
#include "base/assert.h"
#include "base/buf.h"
#include "durable/effect.h"
#include "types/type.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define DATABASES 64

static void check_put(bytes payload)
{
    struct entry_image image;
    void *object = NULL;
    if (entry_decode(payload, &image, &object) != HF_OK || !object)
        return;
    const struct type_ops *ops = type_ops_of((int)image.type);
    hf_assert(image.encoding == ENC_OBJECT && ops);
    ops->check(object);
    ops->free(object);
}

static void check_map(const struct effect *f, struct buf *again)
{
    uint32_t ids[DATABASES], next_id, count;
    if (effect_db_map_read(f->a, &next_id, ids, DATABASES, &count) != HF_OK)
        return;
    hf_assert(count <= DATABASES);
    effect_db_map(again, next_id, ids, count);
}

static void write_again(const struct effect *f, struct buf *out)
{
    switch (f->kind) {
    case EFFECT_REMOVE: effect_remove(out, f->db_id, f->key); break;
    case EFFECT_DEADLINE: effect_deadline(out, f->db_id, f->key, f->number); break;
    case EFFECT_VERSION: effect_version(out, f->db_id, f->key, f->number); break;
    case EFFECT_APPEND: effect_append(out, f->db_id, f->key, f->a); break;
    case EFFECT_RANGE: effect_range(out, f->db_id, f->key, f->number, f->a); break;
    case EFFECT_CHANGE: effect_change(out, f->db_id, f->key, (int)f->number, f->a); break;
    case EFFECT_PUT: check_put(f->a); break;
    case EFFECT_DB_MAP: check_map(f, out); break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    bytes in = bytes_of(data, size), before = in;
    struct effect f;
    struct buf again;
    buf_init(&again, SIZE_MAX);
    while (in.size && effect_next(&in, &f) == HF_OK) {
        hf_assert(in.size < before.size);
        buf_reset(&again);
        write_again(&f, &again);
        hf_assert(again.size == 0 || bytes_equal(buf_view(&again), bytes_of(before.data, before.size - in.size)));
        before = in;
    }
    buf_release(&again);
    return 0;
}
