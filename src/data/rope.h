/* rope.h -- a large string in counted chunks: shared as a whole or chunk by chunk, changed by copying what a change touches.
 *
 * A rope is a counted header with a directory of chunks of one size; the last one is as long as it needs. Whoever
 * wants to change a rope that others hold clones it, which shares all chunks: 8 bytes and a count for each 64 KiB. A chunk that somebody
 * else holds is copied by the first write into it. So APPEND to 100 MiB with a reader or a snapshot in the way copies one chunk.
 *
 * Bytes that nobody has written (a gap before a write far behind the end) are one chunk of zeros that all ropes share.
 *
 * Always true: chunk i holds bytes [i, i + 1) * ROPE_CHUNK of the string; each but the last one has room for all of them.
 * Threads: a rope is changed by one owner, who holds the only count; what is shared is never changed, and may be read
 * and given back by any thread.
 * Memory: a rope's address stays as long as it lives. Views end with the next change.
 * Considered: data/tree, whose counted nodes would make a clone O(log n); for at most 8,192 chunks a flat directory is
 * simpler, finds a byte by one division, and its clone takes some 20 microseconds for 100 MiB.
 */
#ifndef HF_DATA_ROPE_H
#define HF_DATA_ROPE_H

#include "base/assert.h"
#include "base/bytes.h"

#include <stdatomic.h>

struct rope_chunk {
    _Atomic uint32_t count;
    uint32_t unused;
    uint8_t data[];
};

#ifndef ROPE_CHUNK /* a test may want many edges */
#define ROPE_CHUNK ((size_t)65536 - sizeof(struct rope_chunk)) /* with its head one size class of the allocator */
#endif

struct rope {
    _Atomic uint32_t count;
    uint32_t chunk_count, directory_size, zero_count; /* chunks; room for so many; how many of them are the one of zeros */
    size_t size, last_capacity;                       /* bytes; room in the last chunk */
    struct rope_chunk **chunks;
};

struct rope *rope_new(bytes content);                /* count 1; NULL: no memory */
/* The same in parts: an empty one with room for so many bytes, then its chunks, each of ROPE_CHUNK bytes but the last one. Until
 * the first is there it may only be given back. */
struct rope *rope_begin(size_t size);
bool rope_add(struct rope *r, bytes chunk) HF_CHECK; /* false: no memory, and nothing has changed */
struct rope *rope_clone(const struct rope *r);       /* count 1, the same chunks; NULL: no memory */
struct rope *rope_ref(struct rope *r);
void rope_unref(struct rope *r);
/* The same in slices: frees until *budget chunks are gone (it counts down); false: more to do, call again. */
bool rope_unref_some(struct rope *r, size_t *budget);

static inline bool rope_is_shared(const struct rope *r) { return atomic_load_explicit(&r->count, memory_order_acquire) != 1; }
size_t rope_memory(const struct rope *r); /* shared chunks included; O(1) */

/* Of a rope that is not shared: writes at offset; a gap reads as zeros. False: no memory, and nothing has changed. */
bool rope_write(struct rope *r, size_t offset, bytes content) HF_CHECK;
/* Undo of a write: the bytes of before stand again at offset, and the size of before. Whoever has come to hold the rope since gives it up
 * in the same undo; chunks that clones hold stay as they are. Does not fail: what was written there is ours, but for such a clone. */
void rope_put_back(struct rope *r, size_t offset, bytes before, size_t size);
void rope_cut(struct rope *r, size_t size); /* not shared; no longer than size from now on */

/* The bytes from offset on that lie in one run, at most `most`; offset < size. */
static inline bytes rope_run(const struct rope *r, size_t offset, size_t most)
{
    size_t inside = offset % ROPE_CHUNK, left = r->size - offset, run = ROPE_CHUNK - inside;
    run = run < left ? run : left;
    return bytes_of(r->chunks[offset / ROPE_CHUNK]->data + inside, run < most ? run : most);
}

/* All of it, when it lies in one run; else data is NULL and only the size says something. */
static inline bytes rope_view(const struct rope *r)
{
    return bytes_of(r->chunk_count == 1 ? r->chunks[0]->data : NULL, r->size);
}

void rope_read(const struct rope *r, size_t offset, size_t size, uint8_t *out); /* offset + size <= r->size */

void rope_check(const struct rope *r); /* asserts what is always true */

#endif
