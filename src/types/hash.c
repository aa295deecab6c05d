/* hash.c -- two forms of one map.
 *
 * Packed: one buffer of pairs [varint field size][field][varint value size][value]...,
 * in order of arrival. At a few hundred short pairs a linear search costs about as much as
 * hashing and two cache misses, and the form has no pointers to pay for.
 *
 * Dict: linear hashing (Litwin 1980) over chained nodes. There is always a number of
 * buckets N = 2^level + split; when there are more fields than buckets, the one
 * bucket `split` is divided in two and N grows by one, so no insertion ever moves more
 * than one chain. Buckets live in segments of doubling size that are never moved:
 *
 *     segment 0: buckets 0..63    1: 64..127    2: 128..255    3: 256..511 ...
 *
 * Scan: a bucket holds the hashes that share their low bits. Read backwards (bit 0 first)
 * these are one contiguous range of the reversed hash space, and splitting or merging
 * only cuts or joins ranges. So the cursor is a position in reversed hash space: whatever
 * the table did between two steps, each field present throughout is shown exactly once.
 *
 * Considered: Redis' two tables with incremental rehash (two lookups during growth, more
 * state), and a table per power of two moved at once (a stall at millions of fields).
 */
#include "types/hash.h"

#include "base/memory.h"
#include "os/os.h"
#include "types/varint.h"

#include <pthread.h>

#ifndef XXH_INLINE_ALL
#define XXH_INLINE_ALL
#endif
#include <xxhash.h>

#define SEGMENT_FIRST 64u /* buckets in segment 0, and the fewest there are */
#define SEGMENTS_MAX 27   /* 64 << 26 = 2^32 buckets */
#define PACKED_SIZE_MAX (1u << 20)

struct node {
    struct node *next;
    uint32_t hash;
    uint32_t field_size, value_size;
    uint8_t data[]; /* field, then value */
};

struct dict {
    uint32_t bucket_count; /* N */
    uint32_t level_mask;   /* 2^level - 1; N is in [2^level, 2^(level+1)] */
    size_t bytes;          /* of all nodes and segments */
    struct node **segments[SEGMENTS_MAX];
};

struct hash {
    size_t count;
    struct dict *dict; /* NULL: packed */
    uint8_t *pairs;    /* packed only */
    uint32_t size, capacity;
};

struct hash_limits hash_limits = {512, 64}; /* the defaults of Redis */

static uint32_t limit_entries(void)
{
    return __atomic_load_n(&hash_limits.packed_entries_max, __ATOMIC_RELAXED);
}

static uint32_t limit_value(void)
{
    return __atomic_load_n(&hash_limits.packed_value_max, __ATOMIC_RELAXED);
}

/* -- hashing of fields, keyed per process against chosen collisions -- */

static uint8_t secret[192];
static pthread_once_t secret_once = PTHREAD_ONCE_INIT;

static void secret_make(void)
{
    OS.random(secret, sizeof(secret));
}

static uint32_t field_hash(bytes field)
{
    pthread_once(&secret_once, secret_make);
    return (uint32_t)XXH3_64bits_withSecret(field.data, field.size, secret, sizeof(secret));
}

static uint32_t reverse32(uint32_t v)
{
    v = (v >> 1 & 0x55555555u) | (v & 0x55555555u) << 1;
    v = (v >> 2 & 0x33333333u) | (v & 0x33333333u) << 2;
    v = (v >> 4 & 0x0f0f0f0fu) | (v & 0x0f0f0f0fu) << 4;
    return __builtin_bswap32(v);
}

/* -- nodes -- */

static bytes node_field(const struct node *n)
{
    return (bytes){n->data, n->field_size};
}

static bytes node_value(const struct node *n)
{
    return (bytes){n->data + n->field_size, n->value_size};
}

static size_t node_bytes(const struct node *n)
{
    return sizeof(*n) + (size_t)n->field_size + n->value_size;
}

static struct node *node_new(uint32_t hash, bytes field, bytes value)
{
    struct node *n = mem_alloc(sizeof(*n) + field.size + value.size);
    n->next = NULL;
    n->hash = hash;
    n->field_size = (uint32_t)field.size;
    n->value_size = (uint32_t)value.size;
    if (field.size)
        memcpy(n->data, field.data, field.size);
    if (value.size)
        memcpy(n->data + field.size, value.data, value.size);
    return n;
}

/* -- buckets -- */

static unsigned segment_of(uint32_t bucket)
{
    return bucket < SEGMENT_FIRST ? 0 : 26u - (unsigned)__builtin_clz(bucket);
}

static uint32_t segment_start(unsigned segment)
{
    return segment == 0 ? 0 : SEGMENT_FIRST << (segment - 1);
}

static size_t segment_buckets(unsigned segment)
{
    return segment == 0 ? SEGMENT_FIRST : segment_start(segment);
}

static struct node **bucket_at(const struct dict *d, uint32_t bucket)
{
    unsigned segment = segment_of(bucket);
    return &d->segments[segment][bucket - segment_start(segment)];
}

/* The low bits that decide the bucket of this hash: all hashes that agree in them share it. */
static uint32_t bucket_mask(const struct dict *d, uint32_t hash)
{
    uint32_t split = d->bucket_count - (d->level_mask + 1); /* buckets below it are divided already */
    return (hash & d->level_mask) < split ? d->level_mask << 1 | 1 : d->level_mask;
}

static uint32_t bucket_of(const struct dict *d, uint32_t hash)
{
    return hash & bucket_mask(d, hash);
}

static void segment_add(struct dict *d, unsigned segment)
{
    size_t size = segment_buckets(segment) * sizeof(struct node *);
    d->segments[segment] = mem_zalloc(size);
    d->bytes += size;
}

static void segment_drop(struct dict *d, unsigned segment)
{
    mem_free(d->segments[segment]);
    d->segments[segment] = NULL;
    d->bytes -= segment_buckets(segment) * sizeof(struct node *);
}

/* One more bucket: divides the bucket that the new one takes over from. */
static void dict_split(struct dict *d)
{
    uint32_t bucket = d->bucket_count;
    if (bucket == UINT32_MAX)
        return;
    unsigned segment = segment_of(bucket);
    if (!d->segments[segment])
        segment_add(d, segment);
    if (bucket == d->level_mask * 2 + 2) /* all are divided: the next level begins */
        d->level_mask = d->level_mask << 1 | 1;
    d->bucket_count++;
    struct node **from = bucket_at(d, bucket & d->level_mask), **to = bucket_at(d, bucket);
    while (*from) {
        struct node *n = *from;
        if (bucket_of(d, n->hash) == bucket) {
            *from = n->next;
            n->next = NULL;
            *to = n;
            to = &n->next;
        } else {
            from = &n->next;
        }
    }
}

/* One bucket less: the last one joins the one that it came from. */
static void dict_merge(struct dict *d)
{
    if (d->bucket_count == d->level_mask + 1)
        d->level_mask >>= 1;
    uint32_t bucket = d->bucket_count - 1;
    struct node *chain = *bucket_at(d, bucket);
    *bucket_at(d, bucket) = NULL;
    struct node **to = bucket_at(d, bucket & d->level_mask);
    while (*to)
        to = &(*to)->next;
    *to = chain;
    d->bucket_count = bucket;
    unsigned segment = segment_of(bucket);
    if (bucket == segment_start(segment))
        segment_drop(d, segment);
}

static struct dict *dict_new(void)
{
    struct dict *d = mem_zalloc(sizeof(*d));
    d->bucket_count = SEGMENT_FIRST;
    d->level_mask = SEGMENT_FIRST / 2 - 1;
    d->bytes = sizeof(*d);
    segment_add(d, 0);
    return d;
}

static void dict_free(struct dict *d)
{
    for (uint32_t bucket = 0; bucket < d->bucket_count; bucket++) {
        for (struct node *n = *bucket_at(d, bucket), *next; n; n = next) {
            next = n->next;
            mem_free(n);
        }
    }
    for (unsigned segment = 0; segment < SEGMENTS_MAX; segment++)
        mem_free(d->segments[segment]);
    mem_free(d);
}

/* The link that points to the field's node, or the NULL at the end of its chain. */
static struct node **dict_link(const struct dict *d, uint32_t hash, bytes field)
{
    struct node **link = bucket_at(d, bucket_of(d, hash));
    while (*link && ((*link)->hash != hash || !bytes_equal(node_field(*link), field)))
        link = &(*link)->next;
    return link;
}

/* A field that is known to be absent. */
static void dict_add(struct dict *d, size_t count_after, bytes field, bytes value)
{
    struct node *n = node_new(field_hash(field), field, value);
    struct node **link = bucket_at(d, bucket_of(d, n->hash));
    n->next = *link;
    *link = n;
    d->bytes += node_bytes(n);
    if (count_after > d->bucket_count)
        dict_split(d);
}

static void dict_replace(struct dict *d, struct node **link, bytes value)
{
    struct node *n = *link;
    size_t before = node_bytes(n);
    if (n->value_size != value.size) {
        n = mem_realloc(n, sizeof(*n) + (size_t)n->field_size + value.size);
        n->value_size = (uint32_t)value.size;
        *link = n;
    }
    if (value.size)
        memcpy(n->data + n->field_size, value.data, value.size);
    d->bytes += node_bytes(n) - before;
}

static void dict_unlink(struct dict *d, struct node **link, size_t count_after)
{
    struct node *n = *link;
    *link = n->next;
    d->bytes -= node_bytes(n);
    mem_free(n);
    for (int steps = 0; steps < 8 && d->bucket_count > SEGMENT_FIRST && count_after < d->bucket_count / 4; steps++)
        dict_merge(d);
}

static const struct node *dict_first_from(const struct dict *d, uint32_t bucket)
{
    for (; bucket < d->bucket_count; bucket++) {
        const struct node *n = *bucket_at(d, bucket);
        if (n)
            return n;
    }
    return NULL;
}

/* -- packed pairs -- */

struct pair {
    bytes field, value;
    size_t start, end; /* bytes of the pair in the buffer */
};

/* Reads the pair at an offset; false at the end. */
static bool packed_pair(const struct hash *h, size_t offset, struct pair *p)
{
    if (offset >= h->size)
        return false;
    uint64_t size;
    const uint8_t *at = varint_get(h->pairs + offset, &size);
    p->field = (bytes){at, (size_t)size};
    at = varint_get(at + size, &size);
    p->value = (bytes){at, (size_t)size};
    p->start = offset;
    p->end = (size_t)(at + size - h->pairs);
    return true;
}

static bool packed_find(const struct hash *h, bytes field, struct pair *p)
{
    for (size_t offset = 0; packed_pair(h, offset, p); offset = p->end)
        if (bytes_equal(p->field, field))
            return true;
    return false;
}

static size_t pair_size(bytes field, bytes value)
{
    return varint_size(field.size) + field.size + varint_size(value.size) + value.size;
}

/* Makes room of `size` bytes at an offset where `old_size` bytes stand. */
static void packed_splice(struct hash *h, size_t offset, size_t old_size, size_t size)
{
    size_t total = h->size - old_size + size;
    if (total > h->capacity) {
        h->capacity = (uint32_t)((total + total / 8 + 31) & ~(size_t)31);
        h->pairs = mem_realloc(h->pairs, h->capacity);
    }
    memmove(h->pairs + offset + size, h->pairs + offset + old_size, h->size - offset - old_size);
    h->size = (uint32_t)total;
    if (total < h->capacity / 4) {
        h->capacity = (uint32_t)((total + 31) & ~(size_t)31);
        h->pairs = mem_realloc(h->pairs, h->capacity);
    }
}

static void packed_write(struct hash *h, size_t offset, bytes field, bytes value)
{
    uint8_t *at = varint_put(h->pairs + offset, field.size);
    if (field.size)
        memcpy(at, field.data, field.size);
    at = varint_put(at + field.size, value.size);
    if (value.size)
        memcpy(at, value.data, value.size);
}

static void packed_set_value(struct hash *h, const struct pair *p, bytes value)
{
    size_t from = p->start + varint_size(p->field.size) + p->field.size;
    packed_splice(h, from, p->end - from, varint_size(value.size) + value.size);
    uint8_t *at = varint_put(h->pairs + from, value.size);
    if (value.size)
        memcpy(at, value.data, value.size);
}

static bool fits_packed(const struct hash *h, size_t count, bytes field, bytes value)
{
    return count <= limit_entries() && field.size <= limit_value() && value.size <= limit_value() &&
           h->size + pair_size(field, value) <= PACKED_SIZE_MAX;
}

static void convert_to_dict(struct hash *h)
{
    struct dict *d = dict_new();
    struct pair p;
    size_t count = 0;
    for (size_t offset = 0; packed_pair(h, offset, &p); offset = p.end)
        dict_add(d, ++count, p.field, p.value);
    hf_assert(count == h->count);
    mem_free(h->pairs);
    h->pairs = NULL;
    h->size = h->capacity = 0;
    h->dict = d;
}

/* -- the map -- */

struct hash *hash_new(void)
{
    return mem_zalloc(sizeof(struct hash));
}

void hash_free(struct hash *h)
{
    if (!h)
        return;
    if (h->dict)
        dict_free(h->dict);
    mem_free(h->pairs);
    mem_free(h);
}

size_t hash_count(const struct hash *h)
{
    return h->count;
}

bool hash_get(const struct hash *h, bytes field, bytes *value)
{
    if (h->dict) {
        const struct node *n = *dict_link(h->dict, field_hash(field), field);
        if (n)
            *value = node_value(n);
        return n != NULL;
    }
    struct pair p;
    if (!packed_find(h, field, &p))
        return false;
    *value = p.value;
    return true;
}

bool hash_set(struct hash *h, bytes field, bytes value)
{
    hf_assert(field.size <= UINT32_MAX && value.size <= UINT32_MAX);
    struct pair p = {0};
    bool is_new = false;
    if (!h->dict) {
        is_new = !packed_find(h, field, &p);
        if (fits_packed(h, h->count + is_new, field, value)) {
            if (is_new) {
                size_t end = h->size;
                packed_splice(h, end, 0, pair_size(field, value));
                packed_write(h, end, field, value);
                h->count++;
            } else {
                packed_set_value(h, &p, value);
            }
            return is_new;
        }
        convert_to_dict(h);
    }
    struct node **link = dict_link(h->dict, field_hash(field), field);
    if (*link) {
        dict_replace(h->dict, link, value);
        return false;
    }
    dict_add(h->dict, ++h->count, field, value);
    return true;
}

bool hash_remove(struct hash *h, bytes field)
{
    if (h->dict) {
        struct node **link = dict_link(h->dict, field_hash(field), field);
        if (!*link)
            return false;
        dict_unlink(h->dict, link, --h->count);
        return true;
    }
    struct pair p;
    if (!packed_find(h, field, &p))
        return false;
    packed_splice(h, p.start, p.end - p.start, 0);
    h->count--;
    return true;
}

/* -- walking -- */

/* Position: packed, the offset of the next pair; dict, the node shown last. */
bool hash_next(const struct hash *h, uint64_t *position, bytes *field, bytes *value)
{
    if (!h->dict) {
        struct pair p;
        if (!packed_pair(h, (size_t)*position, &p))
            return false;
        *position = p.end;
        *field = p.field;
        *value = p.value;
        return true;
    }
    const struct node *last = (const struct node *)(uintptr_t)*position;
    const struct node *n = !last        ? dict_first_from(h->dict, 0)
                           : last->next ? last->next
                                        : dict_first_from(h->dict, bucket_of(h->dict, last->hash) + 1);
    if (!n)
        return false;
    *position = (uintptr_t)n;
    *field = node_field(n);
    *value = node_value(n);
    return true;
}

uint64_t hash_scan(const struct hash *h, uint64_t cursor, size_t count,
                   void (*each)(void *context, bytes field, bytes value), void *context)
{
    if (!h->dict) {
        struct pair p;
        for (size_t offset = 0; packed_pair(h, offset, &p); offset = p.end)
            each(context, p.field, p.value);
        return 0;
    }
    /* count buckets that hold something, and no more than ten empty ones for each. */
    uint64_t place = cursor;
    size_t shown = 0, visited = 0, visited_max = count < SIZE_MAX / 10 ? count * 10 : SIZE_MAX;
    while (place <= UINT32_MAX && (shown == 0 || (shown < count && visited < visited_max))) {
        uint32_t hash = reverse32((uint32_t)place);
        uint32_t mask = bucket_mask(h->dict, hash);
        for (const struct node *n = *bucket_at(h->dict, hash & mask); n; n = n->next) {
            if (reverse32(n->hash) < place)
                continue; /* shown before its bucket was merged with this one */
            each(context, node_field(n), node_value(n));
            shown++;
        }
        visited++;
        place = (uint64_t)(reverse32(hash & mask) | reverse32(~mask)) + 1;
    }
    return place > UINT32_MAX ? 0 : place;
}

static uint64_t mix(uint64_t v)
{
    v += 0x9e3779b97f4a7c15u;
    v = (v ^ v >> 30) * 0xbf58476d1ce4e5b9u;
    v = (v ^ v >> 27) * 0x94d049bb133111ebu;
    return v ^ v >> 31;
}

/* Large dicts: a random place (bucket, depth) is tried until one is taken, so each
 * field is equally likely whatever its chain. Depth 16 at load <= 1 misses a node with a chance
 * of 10^-14; the last resort takes any. */
static const struct node *dict_random(const struct dict *d, uint64_t random)
{
    for (int tries = 0; tries < 2000; tries++) {
        random = mix(random);
        const struct node *n = *bucket_at(d, (uint32_t)((random >> 32) * d->bucket_count >> 32));
        for (unsigned depth = random & 15; n && depth > 0; depth--)
            n = n->next;
        if (n)
            return n;
    }
    const struct node *n = dict_first_from(d, (uint32_t)((mix(random) >> 32) * d->bucket_count >> 32));
    return n ? n : dict_first_from(d, 0);
}

bool hash_random(const struct hash *h, uint64_t random, bytes *field, bytes *value)
{
    if (h->count == 0)
        return false;
    if (h->dict && h->count > SEGMENT_FIRST * 4) {
        const struct node *n = dict_random(h->dict, random);
        *field = node_field(n);
        *value = node_value(n);
        return true;
    }
    uint64_t position = 0;
    for (uint64_t skip = mix(random) % h->count + 1; skip > 0; skip--) {
        bool more = hash_next(h, &position, field, value);
        hf_assert(more);
    }
    return true;
}

/* -- changes -- */

enum { CHANGE_SET = 1, CHANGE_REMOVE = 2 };

void hash_change_set(struct buf *out, bytes field, bytes value)
{
    buf_append_u8(out, CHANGE_SET);
    varint_append_bytes(out, field);
    varint_append_bytes(out, value);
}

void hash_change_remove(struct buf *out, bytes field)
{
    buf_append_u8(out, CHANGE_REMOVE);
    varint_append_bytes(out, field);
}

static status ops_apply(void *object, bytes change)
{
    bytes field, value, rest = bytes_of(change.data + 1, change.size - 1);
    if (change.size == 0 || !varint_try_take_bytes(&rest, &field))
        return HF_ERR_CORRUPT;
    if (change.data[0] == CHANGE_SET) {
        if (!varint_try_take_bytes(&rest, &value) || rest.size)
            return HF_ERR_CORRUPT;
        hash_set(object, field, value);
        return HF_OK;
    }
    if (change.data[0] != CHANGE_REMOVE || rest.size)
        return HF_ERR_CORRUPT;
    return hash_remove(object, field) ? HF_OK : HF_ERR_CORRUPT;
}

/* -- rows of type_ops; encoded form: docs/format/values.md, "hash" -- */

static void *ops_create(void)
{
    return hash_new();
}

static void ops_free(void *object)
{
    hash_free(object);
}

static bool ops_free_some(void *object, size_t *budget)
{
    hash_free(object);
    *budget -= *budget > 0;
    return true;
}

static void *ops_share(const void *object)
{
    const struct hash *h = object;
    struct hash *copy = hash_new();
    uint64_t position = 0;
    bytes field, value;
    while (hash_next(h, &position, &field, &value))
        hash_set(copy, field, value);
    return copy;
}

static bool ops_is_empty(const void *object)
{
    return hash_count(object) == 0;
}

static size_t ops_memory(const void *object)
{
    const struct hash *h = object;
    return sizeof(*h) + h->capacity + (h->dict ? h->dict->bytes : 0);
}

static void ops_encode(const void *object, struct buf *out)
{
    const struct hash *h = object;
    varint_append(out, h->count);
    uint64_t position = 0;
    bytes field, value;
    while (hash_next(h, &position, &field, &value)) {
        varint_append(out, field.size);
        buf_append_bytes(out, field);
        varint_append(out, value.size);
        buf_append_bytes(out, value);
    }
}

static status decode_pairs(struct hash *h, bytes in, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        bytes field, value;
        if (!varint_try_take_bytes(&in, &field) || !varint_try_take_bytes(&in, &value) ||
            field.size > UINT32_MAX || value.size > UINT32_MAX)
            return HF_ERR_CORRUPT;
        if (!hash_set(h, field, value))
            return HF_ERR_CORRUPT; /* the field came twice */
    }
    return in.size == 0 ? HF_OK : HF_ERR_CORRUPT;
}

static status ops_decode(bytes in, void **object)
{
    uint64_t count;
    if (!varint_try_take(&in, &count) || count == 0 || count > in.size / 2)
        return HF_ERR_CORRUPT;
    struct hash *h = hash_new();
    status s = decode_pairs(h, in, count);
    if (s == HF_OK)
        *object = h;
    else
        hash_free(h);
    return s;
}

static const char *ops_encoding(const void *object)
{
    return ((const struct hash *)object)->dict ? "hashtable" : "listpack";
}

static void check_dict(const struct hash *h)
{
    const struct dict *d = h->dict;
    hf_assert(d->bucket_count >= SEGMENT_FIRST && d->bucket_count > d->level_mask);
    hf_assert(d->bucket_count <= (uint64_t)d->level_mask * 2 + 2);
    size_t count = 0, held = sizeof(*d);
    for (uint32_t bucket = 0; bucket < d->bucket_count; bucket++) {
        for (const struct node *n = *bucket_at(d, bucket); n; n = n->next) {
            hf_assert(n->hash == field_hash(node_field(n)));
            hf_assert(bucket_of(d, n->hash) == bucket);
            count++;
            held += node_bytes(n);
        }
    }
    for (unsigned segment = 0; segment < SEGMENTS_MAX; segment++) {
        bool needed = segment_start(segment) < d->bucket_count;
        hf_assert(needed == (d->segments[segment] != NULL));
        if (needed)
            held += segment_buckets(segment) * sizeof(struct node *);
    }
    hf_assert(count == h->count && held == d->bytes);
}

static void ops_check(const void *object)
{
    const struct hash *h = object;
    if (h->dict) {
        hf_assert(!h->pairs && h->size == 0 && h->capacity == 0);
        check_dict(h);
        return;
    }
    hf_assert(h->size <= h->capacity);
    size_t count = 0, offset = 0;
    for (struct pair p; packed_pair(h, offset, &p); offset = p.end, count++) {
        struct pair first;
        bool found = packed_find(h, p.field, &first);
        hf_assert(found && first.start == p.start); /* no field twice */
    }
    hf_assert(offset == h->size && count == h->count);
}

const struct type_ops hash_ops = {
    .name = "hash",
    .size = sizeof(struct hash),
    .create = ops_create,
    .free = ops_free,
    .free_some = ops_free_some,
    .share = ops_share,
    .apply = ops_apply,
    .is_empty = ops_is_empty,
    .memory = ops_memory,
    .encode = ops_encode,
    .decode = ops_decode,
    .encoding = ops_encoding,
    .check = ops_check,
};
