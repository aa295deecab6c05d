/* small.h -- the heap of small blocks that change their size often: the packed forms of small collections.
 *
 * Up to SMALL_MAX bytes a block is of a class of 8 bytes (above 256: of 16) from one slab for the whole process; the allocator's classes, four to a
 * doubling, cost a packed form about a tenth more. Larger blocks are the allocator's. Calls do not fail.
 *
 * Threads: any; each has a heap of the slab for its life, and whoever frees a block may be another one than who took it. Accounting is
 * that of base/memory: each thread counts for itself and tells a shared sum.
 */
#ifndef HF_DATA_SMALL_H
#define HF_DATA_SMALL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SMALL_MAX 512u

size_t small_class_size(size_t size); /* what a block of so many bytes takes, all of which may be used; size > 0 */
void *small_alloc(size_t size) __attribute__((malloc));
void small_free(void *block); /* NULL is fine */

/* Bytes handed out of the slab: what all threads have told, and what the caller has not told yet. */
size_t small_in_use(void);
int64_t small_untold(void);
void small_tell(void);
void small_stats(uint64_t *used, uint64_t *held); /* as slab_stats */
/* Takes back blocks of the caller's heap that others have freed, at most so many; true: there are more. */
bool small_tend(unsigned most);

#endif
