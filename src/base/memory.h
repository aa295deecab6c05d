/* memory.h -- allocation for everything but entry blocks.
 *
 * The plain calls do not fail: the process stops with a message. A size chosen by
 * a client goes through mem_try_alloc, which can say no.
 *
 * Accounting: each thread counts what it has allocated and freed, without looking at anybody else's counter, and
 * tells it to a shared sum from time to time (mem_tell): a worker when it is 64 KiB or its housekeeping comes.
 */
#ifndef HF_BASE_MEMORY_H
#define HF_BASE_MEMORY_H

#include "base/assert.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

void *mem_alloc(size_t size) __attribute__((malloc));
void *mem_zalloc(size_t size) __attribute__((malloc));
void *mem_realloc(void *block, size_t size);
void *mem_try_alloc(size_t size) HF_CHECK;
void *mem_try_realloc(void *block, size_t size) HF_CHECK; /* NULL: the block stays */
/* Whole pages of zeros for what has one fixed size for life and is no data: not counted as in use. */
void *mem_map(size_t size) __attribute__((malloc));
void mem_unmap(void *pages, size_t size);
/* Pages that grow without being copied, and go back at once; counted as in use. Sizes are multiples of MEM_PAGE. pages NULL: none
 * before. NULL: no memory, what there was stays. */
#define MEM_PAGE ((size_t)4096)
void *mem_try_resize_pages(void *pages, size_t before, size_t size) HF_CHECK;
void mem_free_pages(void *pages, size_t size); /* also a part of them, from either end */
void *mem_alloc_aligned(size_t alignment, size_t size);
void mem_free(void *block);
/* What an allocation of so many bytes takes: sizes come four to a doubling, and those up to 128 by 16. A structure that grows asks
 * for all of it, so that nothing is held in vain. size > 0. */
size_t mem_class_size(size_t size);
/* Bytes handed out: what all threads have told, and what the caller has not told yet. */
size_t mem_in_use(void);
int64_t mem_untold(void); /* of the calling thread: allocated less freed since it last told */
void mem_tell(void);      /* threads that live long call it now and then; thread_start does at a thread's end */
struct mem_pages { size_t active, resident; }; /* bytes in pages that hold something, and in all pages that are held */
struct mem_pages mem_pages(void);
bool mem_allocator_report(void (*write)(void *context, const char *text), void *context); /* false: this allocator has none */
void mem_purge_in_background(void); /* once, at the start: unused memory goes back also while nothing is allocated or freed */
void mem_give_back(void); /* asks the allocator to return unused memory to the system now: MEMORY PURGE */
char *mem_strdup(const char *text);

#endif
