/* slab.h -- the heap of entry blocks: 8-byte classes, 40-bit references.
 *
 * One reserved address range holds every block, so a block is named by 5 bytes:
 * (address - base) / 8. Pages of 64 KiB hold blocks of one class and carry no header;
 * what is known of a page stands in an array beside the range. Blocks above
 * SLAB_BLOCK_MAX take whole pages.
 *
 * Threads: each worker allocates from its own slab_heap. A block may be released by
 * any heap: one of another worker travels back through that heap's remote list.
 * Always true: a page belongs to one heap; a page's used counts blocks handed out or on a remote list, the bytes used
 * only those handed out.
 */
#ifndef HF_DATA_SLAB_H
#define HF_DATA_SLAB_H

#include "base/assert.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct slab;
struct slab_heap;

#define SLAB_BLOCK_MAX 32768u
#define SLAB_REF_BITS 40

struct slab *slab_new(void);
void slab_free(struct slab *s); /* gives the whole range back; every heap ends with it */
struct slab_heap *slab_heap_new(struct slab *s);

void *slab_alloc(struct slab_heap *h, size_t size) HF_CHECK; /* NULL: no memory; size > 0 */
void slab_release(struct slab_heap *h, void *block);
size_t slab_usable_size(const struct slab *s, const void *block);
/* Bytes in blocks handed out and in pages held, over all heaps; any thread. The heaps are not stopped for it. */
void slab_stats(struct slab *s, uint64_t *used, uint64_t *held);
/* The same without looking at every heap: what their owners have told, to which the caller adds what its own has not. */
uint64_t slab_told(const struct slab *s);
int64_t slab_heap_untold(const struct slab_heap *h);
void slab_heap_tell(struct slab_heap *h);
/* Takes back blocks that other heaps have released, at most so many; true: there are more. */
bool slab_heap_tend(struct slab_heap *h, unsigned most);

/* Less than a sixteenth of the range is left: slab_alloc may soon say NULL. */
bool slab_is_nearly_full(struct slab *s);

uint8_t *slab_base(const struct slab *s);
bool slab_holds(const struct slab *s, const void *address); /* it is within the range */

#endif
