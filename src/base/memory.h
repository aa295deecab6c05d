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
size_t mem_in_use(void); /* bytes handed out by the allocator, for statistics */
char *mem_strdup(const char *text);

#endif
