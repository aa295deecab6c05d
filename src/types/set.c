/* set.c -- three forms of one set.
 *
 * Ints: a sorted array (intset.h). Packed: one buffer of [varint size][member]... in order of
 * arrival; among a hundred short members a linear search costs about as much as hashing and two
 * cache misses. Dict: data/dict.h with empty values, where a share is O(1) and a random position O(log n).
 *
 * The form only ever moves on, ints to packed to dict: a set whose size swings about a limit
 * would else be rebuilt again and again. What stands on disk says whether it was ints, so that a
 * restart does not change what OBJECT ENCODING answers.
 *
 * Considered: the dict for the middle form too (a small one is a single leaf). It stores a hash of
 * 8 bytes with each member, twice the size of a short one.
 */
#include "types/set.h"

#include "base/memory.h"
#include "types/intset.h"
#include "types/varint.h"

#define PACKED_SIZE_MAX (1u << 20)
#define CURSOR_END (UINT64_C(1) << 53)

enum form { FORM_INTS, FORM_PACKED, FORM_DICT };

struct packed {
    uint8_t *data;
    uint32_t count, size, capacity; /* size, capacity: bytes */
};

struct set {
    enum form form;
    union {
        struct intset ints;
        struct packed packed;
        struct dict dict;
    };
};

struct set_limits set_limits = {512, 128, 64}; /* the defaults of Redis */

static uint32_t limit(const uint32_t *setting)
{
    uint32_t value = __atomic_load_n(setting, __ATOMIC_RELAXED);
    return value < SET_SMALL_MAX ? value : SET_SMALL_MAX;
}

/* -- packed -- */

/* Reads the member at an offset and moves the offset behind it; false at the end. */
static bool packed_next(const struct packed *p, uint64_t *offset, bytes *member)
{
    if (*offset >= p->size)
        return false;
    uint64_t size;
    const uint8_t *at = varint_get(p->data + *offset, &size);
    *member = bytes_of(at, (size_t)size);
    *offset = (uint64_t)(at + size - p->data);
    return true;
}

/* Where the member stands; false: nowhere. */
static bool packed_find(const struct packed *p, bytes member, uint64_t *start, uint64_t *end)
{
    bytes other;
    for (*start = *end = 0; packed_next(p, end, &other); *start = *end)
        if (bytes_equal(other, member))
            return true;
    return false;
}

static void packed_resize(struct packed *p, size_t capacity)
{
    p->capacity = (uint32_t)mem_class_size(capacity);
    p->data = mem_realloc(p->data, p->capacity);
}

/* A member that is known to be absent. */
static void packed_append(struct packed *p, bytes member)
{
    size_t size = p->size + varint_size(member.size) + member.size;
    if (size > p->capacity)
        packed_resize(p, size);
    uint8_t *at = varint_put(p->data + p->size, member.size);
    if (member.size)
        memcpy(at, member.data, member.size);
    p->size = (uint32_t)size;
    p->count++;
}

static bool packed_remove(struct packed *p, bytes member)
{
    uint64_t start, end;
    if (!packed_find(p, member, &start, &end))
        return false;
    memmove(p->data + start, p->data + end, p->size - end);
    p->size -= (uint32_t)(end - start);
    p->count--;
    if (p->size < p->capacity / 4)
        packed_resize(p, p->size + 1);
    return true;
}

static struct packed packed_dup(const struct packed *p)
{
    struct packed copy = {0};
    if (p->size) {
        packed_resize(&copy, p->size);
        memcpy(copy.data, p->data, p->size);
        copy.count = p->count;
        copy.size = p->size;
    }
    return copy;
}

/* -- the set -- */

struct set *set_new(void)
{
    return mem_zalloc(sizeof(struct set));
}

static void clear(struct set *s)
{
    switch (s->form) {
    case FORM_INTS:
        intset_release(&s->ints);
        break;
    case FORM_PACKED:
        mem_free(s->packed.data);
        break;
    case FORM_DICT:
        dict_clear(&s->dict);
    }
}

void set_free(struct set *s)
{
    if (!s)
        return;
    clear(s);
    mem_free(s);
}

uint64_t set_count(const struct set *s)
{
    switch (s->form) {
    case FORM_INTS:
        return s->ints.count;
    case FORM_PACKED:
        return s->packed.count;
    default:
        return dict_count(&s->dict);
    }
}

bool set_has(const struct set *s, bytes member)
{
    int64_t number;
    uint64_t start, end;
    switch (s->form) {
    case FORM_INTS:
        return number_parse_int(member, &number) && intset_has(&s->ints, number);
    case FORM_PACKED:
        return packed_find(&s->packed, member, &start, &end);
    default:
        return dict_get(&s->dict, member, NULL);
    }
}

static void convert_to_packed(struct set *s)
{
    struct packed packed = {0};
    struct set_cursor c = {0};
    bytes member;
    while (set_next(s, &c, &member))
        packed_append(&packed, member);
    clear(s);
    s->form = FORM_PACKED;
    s->packed = packed;
}

static void convert_to_dict(struct set *s)
{
    struct dict dict = dict_make();
    struct set_cursor c = {0};
    bytes member;
    while (set_next(s, &c, &member))
        dict_set(&dict, member, BYTES(""));
    clear(s);
    s->form = FORM_DICT;
    s->dict = dict;
}

/* Whether a set of `count` members can be packed when `member` is the new one. Those of an intset are short. */
static bool fits_packed(const struct set *s, uint64_t count, bytes member)
{
    size_t size = s->form == FORM_PACKED ? s->packed.size : s->ints.count * (size_t)NUMBER_TEXT_MAX;
    return count <= limit(&set_limits.packed_entries_max) && member.size <= limit(&set_limits.packed_value_max) &&
           size + member.size + VARINT_SIZE_MAX <= PACKED_SIZE_MAX;
}

bool set_add(struct set *s, bytes member)
{
    int64_t number;
    uint64_t start, end;
    hf_assert(member.size <= SET_MEMBER_MAX);
    if (s->form == FORM_INTS) {
        bool is_int = number_parse_int(member, &number);
        if (is_int && intset_has(&s->ints, number))
            return false;
        if (is_int && s->ints.count < limit(&set_limits.ints_max))
            return intset_add(&s->ints, number);
        if (fits_packed(s, s->ints.count + UINT64_C(1), member))
            convert_to_packed(s);
        else
            convert_to_dict(s);
    }
    if (s->form == FORM_PACKED) {
        if (packed_find(&s->packed, member, &start, &end))
            return false;
        if (fits_packed(s, s->packed.count + UINT64_C(1), member)) {
            packed_append(&s->packed, member);
            return true;
        }
        convert_to_dict(s);
    }
    return dict_set(&s->dict, member, BYTES(""));
}

bool set_remove(struct set *s, bytes member)
{
    int64_t number;
    switch (s->form) {
    case FORM_INTS:
        return number_parse_int(member, &number) && intset_remove(&s->ints, number);
    case FORM_PACKED:
        return packed_remove(&s->packed, member);
    default:
        return dict_remove(&s->dict, member);
    }
}

static struct set *share(const struct set *s)
{
    struct set *copy = set_new();
    copy->form = s->form;
    switch (s->form) {
    case FORM_INTS:
        copy->ints = intset_dup(&s->ints);
        break;
    case FORM_PACKED:
        copy->packed = packed_dup(&s->packed);
        break;
    case FORM_DICT:
        copy->dict = dict_share(&s->dict);
    }
    return copy;
}

struct set *set_try_extend(const struct set *s)
{
    if (s->form != FORM_DICT || dict_count(&s->dict) <= limit(&set_limits.ints_max))
        return NULL;
    return share(s);
}

/* -- walking -- */

/* c->at: ints, the index; packed, the offset. */
bool set_next(const struct set *s, struct set_cursor *c, bytes *member)
{
    bytes value;
    switch (s->form) {
    case FORM_INTS:
        if (c->at >= s->ints.count)
            return false;
        *member = set_at(s, c->at++, c->digits);
        return true;
    case FORM_PACKED:
        return packed_next(&s->packed, &c->at, member);
    default:
        return dict_next(&s->dict, &c->dict, member, &value);
    }
}

bytes set_at(const struct set *s, uint64_t position, char digits[NUMBER_TEXT_MAX])
{
    bytes member, value;
    uint64_t offset = 0;
    bool found = true;
    hf_assert(position < set_count(s));
    switch (s->form) {
    case FORM_INTS:
        return bytes_of(digits, number_format_int(digits, intset_at(&s->ints, (uint32_t)position)));
    case FORM_PACKED:
        for (uint64_t i = 0; i <= position && found; i++)
            found = packed_next(&s->packed, &offset, &member);
        break;
    case FORM_DICT:
        found = dict_at(&s->dict, position, &member, &value);
    }
    hf_assert(found);
    return member;
}

struct scan {
    void (*each)(void *context, bytes member);
    void *context;
};

static void scan_member(void *context, bytes member, bytes value)
{
    const struct scan *scan = context;
    (void)value;
    scan->each(scan->context, member);
}

/* The small forms are shown in one step. */
uint64_t set_scan(const struct set *s, uint64_t cursor, size_t count, void (*each)(void *context, bytes member),
                  void *context)
{
    if (s->form == FORM_DICT) {
        struct scan scan = {each, context};
        return cursor < CURSOR_END ? dict_scan(&s->dict, cursor, count, scan_member, &scan) : 0;
    }
    struct set_cursor c = {0};
    bytes member;
    while (set_next(s, &c, &member))
        each(context, member);
    return 0;
}

/* -- changes -- */

enum { CHANGE_ADD = 1, CHANGE_REMOVE = 2 };

void set_change_add(struct buf *out)
{
    buf_append_u8(out, CHANGE_ADD);
}

void set_change_remove(struct buf *out)
{
    buf_append_u8(out, CHANGE_REMOVE);
}

void set_change_member(struct buf *out, bytes member)
{
    varint_append_bytes(out, member);
}

static bool are_members(bytes rest)
{
    bytes member;
    while (rest.size) {
        if (!varint_try_take_bytes(&rest, &member) || member.size > SET_MEMBER_MAX)
            return false;
    }
    return true;
}

static status ops_apply(void *object, bytes change)
{
    struct set *s = object;
    bytes member;
    if (change.size == 0 || (change.data[0] != CHANGE_ADD && change.data[0] != CHANGE_REMOVE))
        return HF_ERR_CORRUPT;
    bool adds = change.data[0] == CHANGE_ADD, changed = false;
    bytes rest = bytes_of(change.data + 1, change.size - 1);
    if (!are_members(rest))
        return HF_ERR_CORRUPT;
    while (rest.size && varint_try_take_bytes(&rest, &member))
        changed |= adds ? set_add(s, member) : set_remove(s, member);
    return changed ? HF_OK : HF_ERR_CORRUPT;
}

/* -- encoded form: docs/format/values.md, "set" -- */

enum { ENCODED_INTS = 1, ENCODED_MEMBERS = 2 };

static uint64_t zigzag(int64_t v)
{
    return (uint64_t)v << 1 ^ (uint64_t)(v >> 63);
}

static int64_t unzigzag(uint64_t v)
{
    return (int64_t)(v >> 1 ^ (0 - (v & 1)));
}

static void encode_ints(const struct intset *ints, struct buf *out)
{
    for (uint32_t i = 0; i < ints->count; i++) {
        int64_t value = intset_at(ints, i);
        varint_append(out, i == 0 ? zigzag(value) : (uint64_t)value - (uint64_t)intset_at(ints, i - 1));
    }
}

static void ops_encode(const void *object, struct buf *out)
{
    const struct set *s = object;
    buf_append_u8(out, s->form == FORM_INTS ? ENCODED_INTS : ENCODED_MEMBERS);
    varint_append(out, set_count(s));
    if (s->form == FORM_INTS) {
        encode_ints(&s->ints, out);
        return;
    }
    struct set_cursor c = {0};
    bytes member;
    while (set_next(s, &c, &member))
        varint_append_bytes(out, member);
}

static status decode_ints(struct set *s, bytes in, uint64_t count)
{
    int64_t value = 0;
    char digits[NUMBER_TEXT_MAX];
    for (uint64_t i = 0; i < count; i++) {
        uint64_t number;
        if (!varint_try_take(&in, &number))
            return HF_ERR_CORRUPT;
        if (i == 0)
            value = unzigzag(number);
        else if (number == 0 || __builtin_add_overflow(value, number, &value))
            return HF_ERR_CORRUPT;
        set_add(s, bytes_of(digits, number_format_int(digits, value)));
    }
    return in.size == 0 ? HF_OK : HF_ERR_CORRUPT;
}

static status decode_members(struct set *s, bytes in, uint64_t count)
{
    bytes member;
    convert_to_packed(s);
    for (uint64_t i = 0; i < count; i++) {
        if (!varint_try_take_bytes(&in, &member) || member.size > SET_MEMBER_MAX)
            return HF_ERR_CORRUPT;
        if (!set_add(s, member))
            return HF_ERR_CORRUPT; /* it came twice */
    }
    return in.size == 0 ? HF_OK : HF_ERR_CORRUPT;
}

static status ops_decode(bytes in, void **object)
{
    uint64_t count;
    if (in.size == 0)
        return HF_ERR_CORRUPT;
    uint8_t what = in.data[0];
    in = bytes_of(in.data + 1, in.size - 1);
    if (!varint_try_take(&in, &count) || count == 0 || count > in.size)
        return HF_ERR_CORRUPT;
    struct set *s = set_new();
    status result = what == ENCODED_INTS      ? decode_ints(s, in, count)
                    : what == ENCODED_MEMBERS ? decode_members(s, in, count)
                                              : HF_ERR_CORRUPT;
    if (result == HF_OK)
        *object = s;
    else
        set_free(s);
    return result;
}

/* -- rows of type_ops -- */

static void *ops_create(void)
{
    return set_new();
}

static void ops_free(void *object)
{
    set_free(object);
}

static bool ops_free_some(void *object, size_t *budget)
{
    struct set *s = object;
    if (s->form == FORM_DICT && !dict_clear_some(&s->dict, budget))
        return false;
    set_free(s);
    *budget -= *budget > 0;
    return true;
}

static void *ops_share(const void *object)
{
    return share(object);
}

static bool ops_is_empty(const void *object)
{
    return set_count(object) == 0;
}

static size_t ops_memory(const void *object)
{
    const struct set *s = object;
    switch (s->form) {
    case FORM_INTS:
        return sizeof(*s) + intset_memory(&s->ints);
    case FORM_PACKED:
        return sizeof(*s) + s->packed.capacity;
    default:
        return sizeof(*s) + dict_memory(&s->dict);
    }
}

static const char *ops_encoding(const void *object)
{
    return ((const struct set *)object)->form == FORM_INTS ? "intset" : "hashtable";
}

static void check_packed(const struct packed *p)
{
    uint64_t offset = 0, before = 0, start, end;
    uint32_t count = 0;
    bytes member;
    hf_assert(p->size <= p->capacity);
    for (; packed_next(p, &offset, &member); before = offset, count++) {
        bool found = packed_find(p, member, &start, &end);
        hf_assert(found && start == before); /* none twice */
    }
    hf_assert(offset == p->size && count == p->count);
}

static void ops_check(const void *object)
{
    const struct set *s = object;
    struct set_cursor c = {0};
    bytes member, value;
    switch (s->form) {
    case FORM_INTS:
        intset_check(&s->ints);
        break;
    case FORM_PACKED:
        check_packed(&s->packed);
        break;
    case FORM_DICT:
        dict_check(&s->dict);
        while (dict_next(&s->dict, &c.dict, &member, &value))
            hf_assert(value.size == 0);
    }
}

const struct type_ops set_ops = {
    .name = "set",
    .size = sizeof(struct set),
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
