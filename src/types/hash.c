/* hash.c -- two forms of one map.
 *
 * Packed: one block of pairs in order of arrival (pairs.h). At a few hundred short pairs a linear search costs about as much as
 * hashing and two cache misses, and the form has no pointers to pay for.
 *
 * Dict: data/dict.h, a counted tree in hash order; shares, scans and random fields are its.
 *
 * A hash is one word that says which: of a small one, every byte beside the pairs counts.
 *
 *   0 --> nothing yet    word --> struct pairs    word + LARGE --> struct dict
 *   word + TIMED --> struct timed, with a word for the fields, and their deadlines (field_times.h)
 */
#include "types/hash.h"

#include "base/memory.h"
#include "base/random.h"
#include "data/dict.h"
#include "types/field_times.h"
#include "types/pairs.h"
#include "types/varint.h"

#define PACKED_SIZE_MAX (1u << 20)

enum { LARGE = 1, TIMED = 2 };

struct hash { uintptr_t word; };
struct timed { uintptr_t word; struct field_times *times; }; /* NULL: no field has a deadline any more */

static struct timed *timed_of(const struct hash *h) { return h->word & TIMED ? (struct timed *)(h->word - TIMED) : NULL; }
static uintptr_t *fields_of(struct hash *h) { return h->word & TIMED ? &timed_of(h)->word : &h->word; }
static uintptr_t fields(const struct hash *h) { return h->word & TIMED ? timed_of(h)->word : h->word; }
static bool is_large(const struct hash *h) { return (fields(h) & LARGE) != 0; }
static struct dict *dict_of(const struct hash *h) { return (struct dict *)(fields(h) - LARGE); }
static struct field_times *times_of(const struct hash *h) { return h->word & TIMED ? timed_of(h)->times : NULL; }

static struct pairs *pairs_of(const struct hash *h) { return (struct pairs *)fields(h); } /* NULL: none */

struct hash_limits hash_limits = {512, 64}; /* the defaults of Redis */

static uint32_t limit_entries(void)
{
    return __atomic_load_n(&hash_limits.packed_entries_max, __ATOMIC_RELAXED);
}

static uint32_t limit_value(void)
{
    return __atomic_load_n(&hash_limits.packed_value_max, __ATOMIC_RELAXED);
}

/* -- the two forms -- */

static bool fits_packed(const struct hash *h, size_t count, bytes field, bytes value)
{
    return count <= limit_entries() && field.size <= limit_value() && value.size <= limit_value() &&
           pairs_size(pairs_of(h)) + pair_size(field, value) <= PACKED_SIZE_MAX;
}

static void convert_to_dict(struct hash *h)
{
    const struct pairs *all = pairs_of(h);
    struct pair p;
    struct dict *dict = mem_alloc(sizeof(*dict));
    *dict = dict_make();
    for (size_t offset = 0; pairs_at(all, offset, &p); offset = p.end)
        dict_set(dict, p.field, p.value);
    hf_assert(dict_count(dict) == pairs_count(all));
    pairs_free(pairs_of(h));
    *fields_of(h) = (uintptr_t)dict + LARGE;
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
    if (is_large(h)) {
        dict_clear(dict_of(h));
        mem_free(dict_of(h));
    } else {
        pairs_free(pairs_of(h));
    }
    field_times_free(times_of(h));
    mem_free(timed_of(h));
    mem_free(h);
}

size_t hash_count(const struct hash *h)
{
    return is_large(h) ? dict_count(dict_of(h)) : pairs_count(pairs_of(h));
}

bool hash_get(const struct hash *h, bytes field, bytes *value)
{
    if (is_large(h))
        return dict_get(dict_of(h), field, value);
    struct pair p;
    if (!pairs_find(pairs_of(h), field, &p))
        return false;
    *value = p.value;
    return true;
}

/* -- deadlines -- */

uint64_t hash_deadline(const struct hash *h)
{
    const struct field_times *times = times_of(h);
    uint64_t deadline;
    bytes field;
    return times && field_times_first(times, &deadline, &field) ? deadline : 0;
}

uint64_t hash_field_deadline(const struct hash *h, bytes field)
{
    const struct field_times *times = times_of(h);
    return times ? field_times_get(times, field) : 0;
}

size_t hash_due_count(const struct hash *h, uint64_t now_ms)
{
    const struct field_times *times = times_of(h);
    return times ? field_times_due(times, now_ms) : 0;
}

void hash_due_each(const struct hash *h, uint64_t now_ms, void (*each)(void *context, bytes field), void *context)
{
    const struct field_times *times = times_of(h);
    if (times)
        field_times_due_each(times, now_ms, each, context);
}

/* From now on it has, or has had, deadlines. */
static struct timed *become_timed(struct hash *h)
{
    if (!(h->word & TIMED)) {
        struct timed *timed = mem_alloc(sizeof(*timed));
        *timed = (struct timed){h->word, NULL};
        h->word = (uintptr_t)timed + TIMED;
    }
    return timed_of(h);
}

static void drop_empty_times(struct hash *h)
{
    struct timed *timed = timed_of(h);
    if (field_times_count(timed->times) > 0)
        return;
    field_times_free(timed->times);
    timed->times = NULL;
}

/* 0: none. The field is there. */
static void set_deadline(struct hash *h, bytes field, uint64_t deadline_ms)
{
    if (!times_of(h) && !deadline_ms)
        return;
    struct timed *timed = become_timed(h);
    if (!timed->times)
        timed->times = field_times_new();
    field_times_set(timed->times, field, deadline_ms);
    drop_empty_times(h);
}

/* -- changing -- */

/* The deadline is left as it is. */
static bool set_value(struct hash *h, bytes field, bytes value)
{
    hf_assert(field.size <= UINT32_MAX && value.size <= UINT32_MAX);
    struct pair p = {0};
    if (!is_large(h)) {
        struct pairs *all = pairs_of(h);
        bool is_new = !pairs_find(all, field, &p);
        if (fits_packed(h, pairs_count(all) + is_new, field, value)) {
            *fields_of(h) = (uintptr_t)(is_new ? pairs_add(all, field, value) : pairs_set(all, &p, value));
            return is_new;
        }
        convert_to_dict(h);
    }
    return dict_set(dict_of(h), field, value);
}

bool hash_set(struct hash *h, bytes field, bytes value)
{
    set_deadline(h, field, 0);
    return set_value(h, field, value);
}

static bool remove_value(struct hash *h, bytes field)
{
    if (is_large(h))
        return dict_remove(dict_of(h), field);
    struct pair p;
    if (!pairs_find(pairs_of(h), field, &p))
        return false;
    *fields_of(h) = (uintptr_t)pairs_remove(pairs_of(h), &p);
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
    if (is_large(h))
        return dict_at(dict_of(h), (*position)++, field, value);
    struct pair p;
    if (!pairs_at(pairs_of(h), (size_t)*position, &p))
        return false;
    *position = p.end;
    *field = p.field;
    *value = p.value;
    return true;
}

uint64_t hash_scan(const struct hash *h, uint64_t cursor, size_t count,
                   void (*each)(void *context, bytes field, bytes value), void *context)
{
    if (!is_large(h)) {
        struct pair p;
        for (size_t offset = 0; pairs_at(pairs_of(h), offset, &p); offset = p.end)
            each(context, p.field, p.value);
        return 0;
    }
    return dict_scan(dict_of(h), cursor, count, each, context);
}

bool hash_random(const struct hash *h, uint64_t random, bytes *field, bytes *value)
{
    if (hash_count(h) == 0)
        return false;
    uint64_t place = random_mix(random + RANDOM_STEP) % hash_count(h), position = 0;
    if (is_large(h))
        return dict_at(dict_of(h), place, field, value);
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
    field_times_expire(times_of(h), now_ms, expire_field, h);
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
    if (is_large(h)) {
        struct dict *dict = dict_of(h);
        if (!dict_clear_some(dict, budget))
            return false;
        mem_free(dict);
        *fields_of(h) = 0;
    }
    if (!field_times_free_some(times_of(h), budget))
        return false;
    if (timed_of(h))
        timed_of(h)->times = NULL;
    hash_free(h);
    return true;
}

static uintptr_t share_fields(const struct hash *h)
{
    if (is_large(h)) {
        struct dict *dict = mem_alloc(sizeof(*dict));
        *dict = dict_share(dict_of(h));
        return (uintptr_t)dict + LARGE;
    }
    return (uintptr_t)pairs_dup(pairs_of(h));
}

static void *ops_share(const void *object)
{
    const struct hash *h = object;
    struct hash *copy = hash_new();
    copy->word = share_fields(h);
    if (h->word & TIMED)
        become_timed(copy)->times = times_of(h) ? field_times_share(times_of(h)) : NULL;
    return copy;
}

static bool ops_is_empty(const void *object)
{
    return hash_count(object) == 0;
}

static size_t ops_memory(const void *object)
{
    const struct hash *h = object;
    size_t memory = sizeof(*h) + (is_large(h) ? sizeof(struct dict) + dict_memory(dict_of(h)) : pairs_memory(pairs_of(h)));
    if (timed_of(h))
        memory += sizeof(struct timed) + (times_of(h) ? field_times_memory(times_of(h)) : 0);
    return memory;
}

static void ops_encode(const void *object, struct buf *out)
{
    const struct hash *h = object;
    bool timed = (h->word & TIMED) != 0;
    if (timed)
        buf_append_u8(out, 0);
    varint_append(out, hash_count(h));
    uint64_t position = 0;
    bytes field, value;
    while (hash_next(h, &position, &field, &value)) {
        varint_append(out, field.size);
        buf_append_bytes(out, field);
        varint_append(out, value.size);
        buf_append_bytes(out, value);
        if (timed)
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
        if (h->word & TIMED && (!varint_try_take(&in, &deadline) || deadline > FIELD_TIME_MAX))
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
    if (timed)
        become_timed(h);
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
    return is_large(h) ? "hashtable" : h->word & TIMED ? "listpackex" : "listpack";
}

static uint64_t ops_deadline(const void *object)
{
    return hash_deadline(object);
}

static void check_times(const struct hash *h)
{
    const struct field_times *times = times_of(h);
    uint64_t position = 0, timed = 0;
    bytes field, value;
    if (!times)
        return;
    field_times_check(times);
    while (hash_next(h, &position, &field, &value))
        timed += field_times_get(times, field) != 0;
    hf_assert(timed > 0 && timed == field_times_count(times));
}

static void ops_check(const void *object)
{
    const struct hash *h = object;
    check_times(h);
    if (is_large(h)) {
        dict_check(dict_of(h));
        return;
    }
    pairs_check(pairs_of(h));
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
