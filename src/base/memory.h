/* memory.h -- allocation for everything but entry blocks.
 *
 * The plain calls do not fail: the process stops with a message. A size chosen by
 * a client goes through mem_try_alloc, which can say no.
 */
#ifndef HF_BASE_MEMORY_H
#define HF_BASE_MEMORY_H

#include "base/assert.h"

#include <stddef.h>

void *mem_alloc(size_t size) __attribute__((malloc));
void *mem_zalloc(size_t size) __attribute__((malloc));
void *mem_realloc(void *block, size_t size);
void *mem_try_alloc(size_t size) HF_CHECK;
void *mem_try_realloc(void *block, size_t size) HF_CHECK; /* NULL: the block stays */
void *mem_alloc_aligned(size_t alignment, size_t size);
void mem_free(void *block);
/* What an allocation of so many bytes takes: sizes come four to a doubling, and those up to 128 by 16. A structure that grows asks
 * for all of it, so that nothing is held in vain. size > 0. */
size_t mem_class_size(size_t size);
size_t mem_in_use(void); /* bytes handed out by the allocator, for statistics */
char *mem_strdup(const char *text);

#endif
