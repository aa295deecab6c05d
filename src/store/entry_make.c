/* entry_make.c -- choosing the form of a value in its block. */
#include "store/entry_make.h"

#include "types/type.h"

struct entry *entry_from_image(struct slab_heap *heap, struct entry_image *image, void *object)
{
    struct entry_image made = *image;
    struct rope *rope = NULL;
    if (made.encoding == ENC_OBJECT) {
        const struct type_ops *ops = type_ops_of((int)made.type);
        made.value = bytes_of(&object, sizeof(object));
        made.has_parts = ops && ops->deadline && ops->deadline(object);
    } else if (made.encoding == ENC_BYTES && made.value.size > ENTRY_INLINE_MAX) {
        rope = rope_new(made.value);
        if (!rope)
            return NULL;
        made.encoding = ENC_ROPE;
        made.value = bytes_of(&rope, sizeof(rope));
    }
    struct entry *e = slab_alloc(heap, entry_image_size(&made));
    if (!e) {
        if (rope)
            rope_unref(rope);
        return NULL;
    }
    entry_write(e, &made);
    image->encoding = made.encoding;
    image->value = entry_inline(e);
    return e;
}
