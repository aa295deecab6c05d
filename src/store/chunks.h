/* chunks.h -- where the chunks of all tables' indexes come from: a slab of their own.
 *
 * Together they fill huge pages, so that a find misses the TLB less often, and what the index takes is known exactly.
 * Threads: any; a spin lock guards the heap. Memory: a chunk belongs to the table that took it.
 */
#ifndef HF_STORE_CHUNKS_H
#define HF_STORE_CHUNKS_H

#include <stdint.h>

struct bucket;
struct chunks;

struct chunks *chunks_new(void);
void chunks_free(struct chunks *c);

struct bucket *chunks_take(struct chunks *c); /* CHUNK_BUCKETS empty buckets */
void chunks_give(struct chunks *c, struct bucket *chunk);
uint64_t chunks_held(struct chunks *c);         /* in pages */
uint64_t chunks_memory(const struct chunks *c); /* bytes taken; no lock */

#endif
