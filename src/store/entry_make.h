/* entry_make.h -- from what stood on disk or in a request to a block in a heap.
 *
 * Threads: the heap's worker. Memory: the block (and the rope made for a large string) is
 * the caller's, who gives it to a table or back with entry_free.
 */
#ifndef HF_STORE_ENTRY_MAKE_H
#define HF_STORE_ENTRY_MAKE_H

#include "data/slab.h"
#include "store/entry.h"

/* Makes the block of a decoded image (entry_decode, with its key set): ENC_OBJECT adopts `object`,
 * bytes above ENTRY_INLINE_MAX become a rope, all else stands in the block. The image is
 * changed to what was written. NULL: no memory, nothing is taken. */
struct entry *entry_from_image(struct slab_heap *heap, struct entry_image *image, void *object) HF_CHECK;

#endif
