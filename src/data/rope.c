/* rope.c -- the directory, and who owns which chunk. */
#include "data/rope.h"

#include "base/memory.h"

#define DIRECTORY_MIN 4u

/* Held by nobody and never given back: its count stays as it is. */
static union {
    struct rope_chunk chunk;
    uint8_t room[sizeof(struct rope_chunk) + ROPE_CHUNK];
} zeros = {.chunk.count = 1};

static bool is_zeros(const struct rope_chunk *c) { return c == &zeros.chunk; }

static void chunk_ref(struct rope_chunk *c)
{
    if (!is_zeros(c))
        atomic_fetch_add_explicit(&c->count, 1, memory_order_relaxed);
}

static void chunk_unref(struct rope_chunk *c)
{
    if (!is_zeros(c) && atomic_fetch_sub_explicit(&c->count, 1, memory_order_acq_rel) == 1)
        mem_free(c);
}

static bool chunk_is_own(const struct rope_chunk *c)
{
    return !is_zeros(c) && atomic_load_explicit(&c->count, memory_order_acquire) == 1;
}

/* The bytes of chunk `index` in a rope of so many. */
static size_t chunk_size(size_t index, size_t size)
{
    size_t begin = index * ROPE_CHUNK;
    return size <= begin ? 0 : size - begin < ROPE_CHUNK ? size - begin : ROPE_CHUNK;
}

/* A copy of the first `used` bytes, zeros behind them, with room for `capacity`. */
static struct rope_chunk *chunk_new(const uint8_t *data, size_t used, size_t capacity)
{
    struct rope_chunk *c = mem_try_alloc(sizeof(*c) + capacity);
    if (!c)
        return NULL;
    atomic_init(&c->count, 1);
    c->unused = 0;
    if (used)
        memcpy(c->data, data, used);
    memset(c->data + used, 0, capacity - used);
    return c;
}

static bool directory_reserve(struct rope *r, size_t count)
{
    if (count <= r->directory_size)
        return true;
    size_t room = count + count / 2 > DIRECTORY_MIN ? count + count / 2 : DIRECTORY_MIN;
    struct rope_chunk **moved = mem_try_realloc(r->chunks, room * sizeof(struct rope_chunk *));
    if (!moved)
        return false;
    r->chunks = moved;
    r->directory_size = (uint32_t)room;
    return true;
}

static struct rope *rope_empty(size_t chunks)
{
    struct rope *r = mem_try_alloc(sizeof(*r));
    if (!r)
        return NULL;
    *r = (struct rope){.count = 1};
    r->chunks = mem_try_alloc(chunks * sizeof(struct rope_chunk *));
    if (!r->chunks) {
        mem_free(r);
        return NULL;
    }
    r->directory_size = (uint32_t)chunks;
    return r;
}

struct rope *rope_begin(size_t size) { return rope_empty(size ? (size - 1) / ROPE_CHUNK + 1 : 1); }

bool rope_add(struct rope *r, bytes chunk)
{
    hf_assert(r->size == r->chunk_count * ROPE_CHUNK && r->chunk_count < r->directory_size && chunk.size <= ROPE_CHUNK);
    struct rope_chunk *c = chunk_new(chunk.data, chunk.size, chunk.size);
    if (!c)
        return false;
    r->chunks[r->chunk_count++] = c;
    r->size += chunk.size;
    r->last_capacity = chunk.size;
    return true;
}

struct rope *rope_new(bytes content)
{
    struct rope *r = rope_begin(content.size);
    for (size_t at = 0; r && (at == 0 || at < content.size); at += ROPE_CHUNK) {
        size_t left = content.size - at;
        if (!rope_add(r, bytes_of(content.data + at, left < ROPE_CHUNK ? left : ROPE_CHUNK))) {
            rope_unref(r);
            return NULL;
        }
    }
    return r;
}

struct rope *rope_clone(const struct rope *r)
{
    struct rope *copy = rope_empty(r->chunk_count + 1);
    if (!copy)
        return NULL;
    for (size_t i = 0; i < r->chunk_count; i++) {
        chunk_ref(r->chunks[i]);
        copy->chunks[i] = r->chunks[i];
    }
    copy->chunk_count = r->chunk_count;
    copy->zero_count = r->zero_count;
    copy->size = r->size;
    copy->last_capacity = r->last_capacity;
    return copy;
}

struct rope *rope_ref(struct rope *r)
{
    atomic_fetch_add_explicit(&r->count, 1, memory_order_relaxed);
    return r;
}

/* The last holder takes the rope apart from its end. */
static bool release_some(struct rope *r, size_t *budget)
{
    while (r->chunk_count) {
        if (*budget == 0)
            return false;
        --*budget;
        chunk_unref(r->chunks[--r->chunk_count]);
    }
    mem_free(r->chunks);
    mem_free(r);
    return true;
}

bool rope_unref_some(struct rope *r, size_t *budget)
{
    /* While it is taken apart the count stays 1: nobody else can reach it. */
    if (rope_is_shared(r) && atomic_fetch_sub_explicit(&r->count, 1, memory_order_acq_rel) != 1)
        return true;
    atomic_store_explicit(&r->count, 1, memory_order_relaxed);
    return release_some(r, budget);
}

void rope_unref(struct rope *r)
{
    size_t all = SIZE_MAX;
    rope_unref_some(r, &all);
}

size_t rope_memory(const struct rope *r)
{
    size_t own = r->chunk_count - r->zero_count, size = own * (sizeof(struct rope_chunk) + ROPE_CHUNK);
    if (r->chunk_count && !is_zeros(r->chunks[r->chunk_count - 1]))
        size -= ROPE_CHUNK - r->last_capacity;
    return sizeof(*r) + r->directory_size * sizeof(struct rope_chunk *) + size;
}

/* Puts a chunk of our own in the place of one that we share, with room for `capacity`. */
static bool chunk_own(struct rope *r, size_t index, size_t used, size_t capacity)
{
    struct rope_chunk *old = r->chunks[index], *c = chunk_new(old->data, used, capacity);
    if (!c)
        return false;
    r->zero_count -= is_zeros(old);
    chunk_unref(old);
    r->chunks[index] = c;
    return true;
}

/* Room for the string's last chunk: one that grows will grow on. */
static size_t grown_capacity(const struct rope *r, size_t needed)
{
    if (r->size == 0)
        return needed;
    size_t more = mem_class_size(sizeof(struct rope_chunk) + needed + needed / 2) - sizeof(struct rope_chunk);
    return more < ROPE_CHUNK ? more : ROPE_CHUNK;
}

/* The present last chunk gets room for `capacity`; what stands behind its bytes reads as zeros. */
static bool last_reserve(struct rope *r, size_t capacity)
{
    size_t index = r->chunk_count - 1, used = chunk_size(index, r->size);
    struct rope_chunk *c = r->chunks[index];
    if (capacity <= r->last_capacity)
        return true;
    if (!chunk_is_own(c)) {
        if (!chunk_own(r, index, used, capacity))
            return false;
    } else {
        c = mem_try_realloc(c, sizeof(*c) + capacity);
        if (!c)
            return false;
        memset(c->data + used, 0, capacity - used);
        r->chunks[index] = c;
    }
    r->last_capacity = capacity;
    return true;
}

/* The directory reaches to `end`: the last chunk as large as it needs, the chunks of a gap as one of zeros. */
static bool extend(struct rope *r, size_t end)
{
    size_t chunks = (end - 1) / ROPE_CHUNK + 1, inside = end - (chunks - 1) * ROPE_CHUNK;
    if (chunks == r->chunk_count)
        return inside <= r->last_capacity || last_reserve(r, grown_capacity(r, inside));
    if (!directory_reserve(r, chunks) || (r->chunk_count && !last_reserve(r, ROPE_CHUNK)))
        return false;
    while (r->chunk_count < chunks) {
        r->chunks[r->chunk_count++] = &zeros.chunk;
        r->zero_count++;
        r->last_capacity = ROPE_CHUNK;
    }
    return true;
}

/* Every chunk of [offset, end) is ours alone. */
static bool own_range(struct rope *r, size_t offset, size_t end)
{
    for (size_t i = offset / ROPE_CHUNK; i <= (end - 1) / ROPE_CHUNK; i++) {
        if (chunk_is_own(r->chunks[i]))
            continue;
        bool last = i == r->chunk_count - 1;
        size_t needed = end - i * ROPE_CHUNK, capacity = last && r->size <= i * ROPE_CHUNK && needed < ROPE_CHUNK ? needed : ROPE_CHUNK;
        if (last && r->size > i * ROPE_CHUNK)
            capacity = r->last_capacity;
        if (!chunk_own(r, i, chunk_size(i, r->size), capacity))
            return false;
        if (last)
            r->last_capacity = capacity;
    }
    return true;
}

/* Nothing stands behind the end: what a longer string had there would be read when this one grows. */
static void clear_behind(struct rope *r, size_t size)
{
    size_t used = chunk_size(r->chunk_count - 1, size);
    struct rope_chunk *c = r->chunks[r->chunk_count - 1];
    if (chunk_is_own(c))
        memset(c->data + used, 0, r->last_capacity - used);
    else
        r->last_capacity = used; /* the next growth copies it */
}

static void drop_chunks(struct rope *r, size_t size)
{
    size_t chunks = size ? (size - 1) / ROPE_CHUNK + 1 : 1;
    if (r->chunk_count <= chunks)
        return;
    while (r->chunk_count > chunks) {
        struct rope_chunk *c = r->chunks[--r->chunk_count];
        r->zero_count -= is_zeros(c);
        chunk_unref(c);
    }
    r->last_capacity = ROPE_CHUNK;
}

static bool write_at(struct rope *r, size_t offset, bytes content)
{
    size_t end = offset + content.size;
    if (content.size == 0)
        return true;
    if ((end > r->size && !extend(r, end)) || !own_range(r, offset, end)) {
        drop_chunks(r, r->size);
        return false;
    }
    r->size = end > r->size ? end : r->size;
    for (size_t at = 0; at < content.size;) {
        size_t inside = (offset + at) % ROPE_CHUNK, part = ROPE_CHUNK - inside;
        part = part < content.size - at ? part : content.size - at;
        memcpy(r->chunks[(offset + at) / ROPE_CHUNK]->data + inside, content.data + at, part);
        at += part;
    }
    return true;
}

static void cut_at(struct rope *r, size_t size)
{
    if (size >= r->size)
        return;
    drop_chunks(r, size);
    clear_behind(r, size);
    r->size = size;
}

bool rope_write(struct rope *r, size_t offset, bytes content)
{
    hf_assert(!rope_is_shared(r));
    return write_at(r, offset, content);
}

void rope_cut(struct rope *r, size_t size)
{
    hf_assert(!rope_is_shared(r));
    cut_at(r, size);
}

void rope_put_back(struct rope *r, size_t offset, bytes before, size_t size)
{
    bool written = write_at(r, offset, before);
    hf_assert(written);
    cut_at(r, size);
}

void rope_read(const struct rope *r, size_t offset, size_t size, uint8_t *out)
{
    hf_assert(offset <= r->size && size <= r->size - offset);
    while (size) {
        bytes run = rope_run(r, offset, size);
        memcpy(out, run.data, run.size);
        out += run.size;
        offset += run.size;
        size -= run.size;
    }
}

void rope_check(const struct rope *r)
{
    size_t zero_count = 0, chunks = r->size ? (r->size - 1) / ROPE_CHUNK + 1 : 1;
    hf_assert(r->chunk_count == chunks && r->chunk_count <= r->directory_size);
    hf_assert(r->last_capacity >= chunk_size(chunks - 1, r->size) && r->last_capacity <= ROPE_CHUNK);
    for (size_t i = 0; i < chunks; i++) {
        zero_count += is_zeros(r->chunks[i]);
        hf_assert(atomic_load(&r->chunks[i]->count) >= 1);
    }
    hf_assert(zero_count == r->zero_count);
    const struct rope_chunk *last = r->chunks[chunks - 1];
    for (size_t at = chunk_size(chunks - 1, r->size); chunk_is_own(last) && at < r->last_capacity; at++)
        hf_assert(last->data[at] == 0);
}
