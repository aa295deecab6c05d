/* entry.c -- writing and reading entry blocks. */
#include "store/entry.h"

#include "types/type.h"

static uint8_t image_fields(const struct entry_image *image)
{
    bool wide = image->key.size > UINT8_MAX || image->value.size > UINT8_MAX;
    return (uint8_t)((image->deadline_ms ? FIELD_DEADLINE : 0) | (image->has_version ? FIELD_VERSION : 0) |
                     (image->has_flags ? FIELD_FLAGS : 0) | (wide ? FIELD_WIDE : 0) | (image->raw ? FIELD_RAW : 0) | (image->has_parts ? FIELD_PARTS : 0) |
                     (image->fetched ? FIELD_FETCHED : 0) |
                     (image->deadline_ms >> 48 ? FIELD_LONG_DEADLINE : 0));
}

size_t entry_image_size(const struct entry_image *image)
{
    return sizeof(struct entry) + entry_fields_size(image_fields(image)) + image->key.size + image->value.size;
}

void entry_write(struct entry *block, const struct entry_image *image)
{
    uint8_t fields = image_fields(image);
    uint8_t *p = (uint8_t *)(block + 1);
    *block = (struct entry){.kind = (uint8_t)(image->type | image->encoding << 4), .fields = fields, .clock = image->clock};
    if (fields & FIELD_WIDE) {
        put_u32(p, (uint32_t)image->key.size);
        put_u32(p + 4, (uint32_t)image->value.size);
        p += 8;
    } else {
        block->key_size = (uint8_t)image->key.size;
        block->value_size = (uint8_t)image->value.size;
    }
    if (fields & FIELD_DEADLINE) {
        size_t size = fields & FIELD_LONG_DEADLINE ? 8 : 6;
        memcpy(p, &image->deadline_ms, size);
        p += size;
    }
    if (fields & FIELD_VERSION) {
        put_u64(p, image->version);
        p += 8;
    }
    if (fields & FIELD_FLAGS) {
        put_u32(p, image->flags);
        p += 4;
    }
    if (image->key.size)
        memcpy(p, image->key.data, image->key.size);
    if (image->value.size)
        memcpy(p + image->key.size, image->value.data, image->value.size);
}

uint64_t entry_wake(const struct entry *e)
{
    uint64_t own = entry_deadline(e);
    uint64_t first = e->fields & FIELD_PARTS ? type_ops_of((int)entry_type(e))->deadline(entry_pointer(e)) : 0;
    return !own || (first && first < own) ? first : own;
}

void entry_set_deadline(struct entry *e, uint64_t ms)
{
    hf_assert(entry_deadline_fits(e, ms) && ms > 0);
    memcpy((uint8_t *)(e + 1) + (e->fields & FIELD_WIDE ? 8 : 0), &ms, e->fields & FIELD_LONG_DEADLINE ? 8 : 6);
}

void entry_set_version(struct entry *e, uint64_t version)
{
    hf_assert(e->fields & FIELD_VERSION);
    put_u64((uint8_t *)(e + 1) + entry_fields_size(e->fields & (uint8_t)~(FIELD_VERSION | FIELD_FLAGS)), version);
}

void entry_forget_version(struct entry *e)
{
    e->fields &= (uint8_t)~FIELD_FETCHED;
    if (e->fields & FIELD_VERSION)
        entry_set_version(e, 0);
}
