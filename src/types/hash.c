/* hash.c -- two forms of one map.
 *
 * Packed: one buffer of pairs [varint field size][field][varint value size][value]...,
 * in order of arrival. At a few hundred short pairs a linear search costs about as much as
 * hashing and two cache misses, and the form has no pointers to pay for.
 *
 * Dict: data/dict.h, a counted tree in hash order; shares, scans and random fields are its.
 *
 * Deadlines of fields stand beside either form (field_times.h), so a hash without any pays a pointer.
 */
#include "types/hash.h"

#include "base/memory.h"
#include "base/random.h"
#include "data/dict.h"
#include "types/field_times.h"
#include "types/varint.h"

#define PACKED_SIZE_MAX (1u << 20)

struct hash {
    size_t count;
    bool large;        /* dict; else pairs */
    bool timed;        /* a field has, or has had, a deadline */
    union {
        struct dict dict;
        struct {
            uint8_t *pairs;
            uint32_t size, capacity;
        };
    };
    struct field_times *times; /* NULL: no field has a deadline */
};
_Static_assert(sizeof(struct hash) <= 48, "an allocation class: deadlines cost a hash without them nothing");

struct hash_limits hash_limits = {512, 64}; /* the defaults of Redis */

static uint32_t limit_entries(void)
{
    return __atomic_load_n(&hash_limits.packed_entries_max, __ATOMIC_RELAXED);
}

static uint32_t limit_value(void)
{
    return __atomic_load_n(&hash_limits.packed_value_max, __ATOMIC_RELAXED);
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
        h->capacity = (uint32_t)mem_class_size(total);
        h->pairs = mem_realloc(h->pairs, h->capacity);
    }
    memmove(h->pairs + offset + size, h->pairs + offset + old_size, h->size - offset - old_size);
    h->size = (uint32_t)total;
    if (total < h->capacity / 4) {
        h->capacity = (uint32_t)mem_class_size(total + 1);
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
    struct pair p;
    struct dict dict = dict_make();
    for (size_t offset = 0; packed_pair(h, offset, &p); offset = p.end)
        dict_set(&dict, p.field, p.value);
    hf_assert(dict_count(&dict) == h->count);
    mem_free(h->pairs);
    h->dict = dict;
    h->large = true;
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
    if (h->large)
        dict_clear(&h->dict);
    else
        mem_free(h->pairs);
    field_times_free(h->times);
    mem_free(h);
}

size_t hash_count(const struct hash *h)
{
    return h->count;
}

bool hash_get(const struct hash *h, bytes field, bytes *value)
{
    if (h->large)
        return dict_get(&h->dict, field, value);
    struct pair p;
    if (!packed_find(h, field, &p))
        return false;
    *value = p.value;
    return true;
}

/* -- deadlines -- */

uint64_t hash_deadline(const struct hash *h)
{
    uint64_t deadline;
    bytes field;
    return h->times && field_times_first(h->times, &deadline, &field) ? deadline : 0;
}

uint64_t hash_field_deadline(const struct hash *h, bytes field)
{
    return h->times ? field_times_get(h->times, field) : 0;
}

size_t hash_due_count(const struct hash *h, uint64_t now_ms)
{
    return h->times ? field_times_due(h->times, now_ms) : 0;
}

void hash_due_each(const struct hash *h, uint64_t now_ms, void (*each)(void *context, bytes field), void *context)
{
    if (h->times)
        field_times_due_each(h->times, now_ms, each, context);
}

static void drop_empty_times(struct hash *h)
{
    if (field_times_count(h->times) > 0)
        return;
    field_times_free(h->times);
    h->times = NULL;
}

/* 0: none. The field is there. */
static void set_deadline(struct hash *h, bytes field, uint64_t deadline_ms)
{
    if (!h->times && !deadline_ms)
        return;
    if (!h->times)
        h->times = field_times_new();
    h->timed = true;
    field_times_set(h->times, field, deadline_ms);
    drop_empty_times(h);
}

/* -- changing -- */

/* The deadline is left as it is. */
static bool set_value(struct hash *h, bytes field, bytes value)
{
    hf_assert(field.size <= UINT32_MAX && value.size <= UINT32_MAX);
    struct pair p = {0};
    bool is_new = false;
    if (!h->large) {
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
    is_new = dict_set(&h->dict, field, value);
    h->count += is_new;
    return is_new;
}

bool hash_set(struct hash *h, bytes field, bytes value)
{
    set_deadline(h, field, 0);
    return set_value(h, field, value);
}

static bool remove_value(struct hash *h, bytes field)
{
    if (h->large) {
        bool removed = dict_remove(&h->dict, field);
        h->count -= removed;
        return removed;
    }
    struct pair p;
    if (!packed_find(h, field, &p))
        return false;
    packed_splice(h, p.start, p.end - p.start, 0);
    h->count--;
    return true;
}

bool hash_remove(struct hash *h, bytes field)
{
    set_deadline(h, field, 0);
    return remove_value(h, field);
}

/* -- walking -- */

/* Position: packed, the offset of the next pair; dict, that of the next field in hash order. */
bool hash_next(const struct hash *h, uint64_t *position, bytes *field, bytes *value)
{
    if (h->large)
        return dict_at(&h->dict, (*position)++, field, value);
    struct pair p;
    if (!packed_pair(h, (size_t)*position, &p))
        return false;
    *position = p.end;
    *field = p.field;
    *value = p.value;
    return true;
}

uint64_t hash_scan(const struct hash *h, uint64_t cursor, size_t count,
                   void (*each)(void *context, bytes field, bytes value), void *context)
{
    if (!h->large) {
        struct pair p;
        for (size_t offset = 0; packed_pair(h, offset, &p); offset = p.end)
            each(context, p.field, p.value);
        return 0;
    }
    return dict_scan(&h->dict, cursor, count, each, context);
}

bool hash_random(const struct hash *h, uint64_t random, bytes *field, bytes *value)
{
    if (h->count == 0)
        return false;
    uint64_t place = random_mix(random + RANDOM_STEP) % h->count, position = 0;
    if (h->large)
        return dict_at(&h->dict, place, field, value);
    for (uint64_t skip = place + 1; skip > 0; skip--) {
        bool more = hash_next(h, &position, field, value);
        hf_assert(more);
    }
    return true;
}

/* -- changes -- */

enum { CHANGE_SET = 1, CHANGE_REMOVE = 2, CHANGE_UPDATE = 3, CHANGE_DEADLINE = 4, CHANGE_EXPIRE = 5 };

static void change_pair(struct buf *out, uint8_t kind, bytes field, bytes value)
{
    buf_append_u8(out, kind);
    varint_append_bytes(out, field);
    varint_append_bytes(out, value);
}

void hash_change_set(struct buf *out, bytes field, bytes value) { change_pair(out, CHANGE_SET, field, value); }
void hash_change_update(struct buf *out, bytes field, bytes value) { change_pair(out, CHANGE_UPDATE, field, value); }
void hash_change_field(struct buf *out, bytes field) { varint_append_bytes(out, field); }

void hash_change_remove(struct buf *out, bytes field)
{
    buf_append_u8(out, CHANGE_REMOVE);
    varint_append_bytes(out, field);
}

void hash_change_deadline(struct buf *out, uint64_t ms)
{
    buf_append_u8(out, CHANGE_DEADLINE);
    varint_append(out, ms);
}

void hash_change_expire(struct buf *out, uint64_t now_ms)
{
    buf_append_u8(out, CHANGE_EXPIRE);
    varint_append(out, now_ms);
}

static status apply_pair(struct hash *h, uint8_t kind, bytes rest)
{
    bytes field, value, old;
    if (!varint_try_take_bytes(&rest, &field) || !varint_try_take_bytes(&rest, &value) || rest.size)
        return HF_ERR_CORRUPT;
    if (kind == CHANGE_SET)
        hash_set(h, field, value);
    else if (hash_get(h, field, &old))
        set_value(h, field, value);
    else
        return HF_ERR_CORRUPT;
    return HF_OK;
}

static status apply_remove(struct hash *h, bytes rest)
{
    bytes field;
    if (!varint_try_take_bytes(&rest, &field) || rest.size)
        return HF_ERR_CORRUPT;
    return hash_remove(h, field) ? HF_OK : HF_ERR_CORRUPT;
}

static bool has_fields(const struct hash *h, bytes list)
{
    bytes field, value;
    bool fits = list.size > 0;
    while (fits && list.size)
        fits = varint_try_take_bytes(&list, &field) && hash_get(h, field, &value);
    return fits;
}

static status apply_deadline(struct hash *h, bytes rest)
{
    uint64_t ms;
    bytes field;
    if (!varint_try_take(&rest, &ms) || ms > FIELD_TIME_MAX || !has_fields(h, rest))
        return HF_ERR_CORRUPT;
    while (varint_try_take_bytes(&rest, &field))
        set_deadline(h, field, ms);
    return HF_OK;
}

static void expire_field(void *context, bytes field)
{
    bool removed = remove_value(context, field);
    hf_assert(removed);
}

static status apply_expire(struct hash *h, bytes rest)
{
    uint64_t now_ms;
    if (!varint_try_take(&rest, &now_ms) || rest.size || now_ms > FIELD_TIME_MAX || !hash_due_count(h, now_ms))
        return HF_ERR_CORRUPT;
    field_times_expire(h->times, now_ms, expire_field, h);
    drop_empty_times(h);
    return HF_OK;
}

static status ops_apply(void *object, bytes change)
{
    if (change.size == 0)
        return HF_ERR_CORRUPT;
    bytes rest = bytes_of(change.data + 1, change.size - 1);
    switch (change.data[0]) {
    case CHANGE_SET:
    case CHANGE_UPDATE:
        return apply_pair(object, change.data[0], rest);
    case CHANGE_REMOVE:
        return apply_remove(object, rest);
    case CHANGE_DEADLINE:
        return apply_deadline(object, rest);
    case CHANGE_EXPIRE:
        return apply_expire(object, rest);
    default:
        return HF_ERR_CORRUPT;
    }
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
    struct hash *h = object;
    if (h->large && !dict_clear_some(&h->dict, budget))
        return false;
    if (h->large) {
        h->large = false;
        h->pairs = NULL;
    }
    if (!field_times_free_some(h->times, budget))
        return false;
    h->times = NULL;
    hash_free(h);
    return true;
}

static void *ops_share(const void *object)
{
    const struct hash *h = object;
    struct hash *copy = mem_alloc(sizeof(*copy));
    *copy = *h;
    if (h->large) {
        copy->dict = dict_share(&h->dict);
    } else {
        copy->pairs = mem_alloc(h->capacity + 1);
        if (h->size)
            memcpy(copy->pairs, h->pairs, h->size);
    }
    if (h->times)
        copy->times = field_times_share(h->times);
    return copy;
}

static bool ops_is_empty(const void *object)
{
    return hash_count(object) == 0;
}

static size_t ops_memory(const void *object)
{
    const struct hash *h = object;
    return sizeof(*h) + (h->large ? dict_memory(&h->dict) : h->capacity) + (h->times ? field_times_memory(h->times) : 0);
}

static void ops_encode(const void *object, struct buf *out)
{
    const struct hash *h = object;
    if (h->timed)
        buf_append_u8(out, 0);
    varint_append(out, h->count);
    uint64_t position = 0;
    bytes field, value;
    while (hash_next(h, &position, &field, &value)) {
        varint_append(out, field.size);
        buf_append_bytes(out, field);
        varint_append(out, value.size);
        buf_append_bytes(out, value);
        if (h->timed)
            varint_append(out, hash_field_deadline(h, field));
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
        uint64_t deadline = 0;
        if (h->timed && (!varint_try_take(&in, &deadline) || deadline > FIELD_TIME_MAX))
            return HF_ERR_CORRUPT;
        set_deadline(h, field, deadline);
    }
    return in.size == 0 ? HF_OK : HF_ERR_CORRUPT;
}

static status ops_decode(bytes in, void **object)
{
    uint64_t count;
    bool timed = in.size && in.data[0] == 0;
    if (timed)
        in = bytes_of(in.data + 1, in.size - 1);
    if (!varint_try_take(&in, &count) || count == 0 || count > in.size / 2)
        return HF_ERR_CORRUPT;
    struct hash *h = hash_new();
    h->timed = timed;
    status s = decode_pairs(h, in, count);
    if (s == HF_OK)
        *object = h;
    else
        hash_free(h);
    return s;
}

static const char *ops_encoding(const void *object)
{
    const struct hash *h = object;
    return h->large ? "hashtable" : h->timed ? "listpackex" : "listpack";
}

static uint64_t ops_deadline(const void *object)
{
    return hash_deadline(object);
}

static void check_times(const struct hash *h)
{
    uint64_t position = 0, timed = 0;
    bytes field, value;
    if (!h->times)
        return;
    field_times_check(h->times);
    while (hash_next(h, &position, &field, &value))
        timed += field_times_get(h->times, field) != 0;
    hf_assert(h->timed && timed > 0 && timed == field_times_count(h->times));
}

static void ops_check(const void *object)
{
    const struct hash *h = object;
    check_times(h);
    if (h->large) {
        hf_assert(dict_count(&h->dict) == h->count);
        dict_check(&h->dict);
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
    .deadline = ops_deadline,
};
