/* list.c -- changes, their bytes and the encoded form of a list.
 *
 * A change is read twice: once to refuse what does not fit before anything has changed, once to
 * make it. Runs are removed from the last to the first, so that positions keep their meaning;
 * their gaps are kept on the way in an array, since varints cannot be read backwards.
 *
 * Considered: one splice (position, remove count, elements) for everything. A push to the tail would carry the
 * list's length, and LREM of many would be as many records; four kinds cost less.
 */
#include "types/list.h"

#include "base/memory.h"
#include "types/varint.h"

struct list { struct tree tree; };

/* On disk: never renumber. */
enum { CHANGE_PUSH_HEAD = 1, CHANGE_PUSH_TAIL = 2, CHANGE_INSERT = 3, CHANGE_SET = 4, CHANGE_REMOVE = 5 };

/* -- reading -- */

uint64_t list_count(const struct list *l)
{
    return tree_count(&l->tree);
}

bytes list_at(const struct list *l, uint64_t position)
{
    return tree_at(&l->tree, position).payload;
}

bool list_seek(const struct list *l, uint64_t position, struct list_cursor *c, bytes *value)
{
    struct tree_element e;
    if (!tree_seek(&l->tree, position, &c->tree, &e))
        return false;
    *value = e.payload;
    return true;
}

bool list_next(struct list_cursor *c, bytes *value)
{
    struct tree_element e;
    if (!tree_next(&c->tree, &e))
        return false;
    *value = e.payload;
    return true;
}

bool list_previous(struct list_cursor *c, bytes *value)
{
    struct tree_element e;
    if (!tree_previous(&c->tree, &e))
        return false;
    *value = e.payload;
    return true;
}

/* -- changes, written -- */

void list_change_push(struct buf *out, enum list_end end, const bytes *values, size_t count)
{
    hf_assert(count > 0);
    buf_append_u8(out, end == LIST_HEAD ? CHANGE_PUSH_HEAD : CHANGE_PUSH_TAIL);
    for (size_t i = 0; i < count; i++)
        varint_append_bytes(out, values[i]);
}

void list_change_insert(struct buf *out, uint64_t position, bytes value)
{
    buf_append_u8(out, CHANGE_INSERT);
    varint_append(out, position);
    varint_append_bytes(out, value);
}

void list_change_set(struct buf *out, uint64_t position, bytes value)
{
    buf_append_u8(out, CHANGE_SET);
    varint_append(out, position);
    varint_append_bytes(out, value);
}

void list_change_remove_begin(struct buf *out)
{
    buf_append_u8(out, CHANGE_REMOVE);
}

void list_change_remove_run(struct buf *out, uint64_t *end, uint64_t position, uint64_t count)
{
    hf_assert(position >= *end && count > 0);
    varint_append(out, position - *end);
    varint_append(out, count);
    *end = position + count;
}

/* -- changes, made -- */

static bool take_value(bytes *in, bytes *value)
{
    return varint_try_take_bytes(in, value) && value->size <= TREE_PAYLOAD_MAX;
}

void list_add(struct list *l, bytes value)
{
    hf_assert(value.size <= TREE_PAYLOAD_MAX);
    tree_insert(&l->tree, list_count(l), 0, value);
}

static status apply_push(struct list *l, enum list_end end, bytes in)
{
    bytes value, rest = in;
    if (in.size == 0)
        return HF_ERR_CORRUPT;
    while (rest.size) {
        if (!take_value(&rest, &value))
            return HF_ERR_CORRUPT;
    }
    while (in.size && take_value(&in, &value))
        tree_insert(&l->tree, end == LIST_HEAD ? 0 : list_count(l), 0, value);
    return HF_OK;
}

static status apply_at(struct list *l, uint8_t kind, bytes in)
{
    uint64_t position, count = list_count(l);
    bytes value;
    if (!varint_try_take(&in, &position) || !take_value(&in, &value) || in.size)
        return HF_ERR_CORRUPT;
    if (position > count || (position == count && kind == CHANGE_SET))
        return HF_ERR_CORRUPT;
    if (kind == CHANGE_INSERT)
        tree_insert(&l->tree, position, 0, value);
    else
        tree_replace(&l->tree, position, value);
    return HF_OK;
}

struct run { uint64_t position, count; };

/* Reads the next run behind `end`; false: damaged, or beyond `count` elements. */
static bool take_run(bytes *in, uint64_t *end, uint64_t count, struct run *run)
{
    uint64_t gap, size;
    if (!varint_try_take(in, &gap) || !varint_try_take(in, &size))
        return false;
    if (size == 0 || gap > count - *end || size > count - *end - gap)
        return false;
    *run = (struct run){*end + gap, size};
    *end = run->position + size;
    return true;
}

static status apply_remove(struct list *l, bytes in)
{
    uint64_t end = 0, count = list_count(l);
    size_t runs = 0;
    struct run run;
    bytes rest = in;
    for (; rest.size; runs++) {
        if (!take_run(&rest, &end, count, &run))
            return HF_ERR_CORRUPT;
    }
    if (runs == 0)
        return HF_ERR_CORRUPT;
    if (runs == 1) {
        tree_remove(&l->tree, run.position, run.count);
        return HF_OK;
    }
    struct run *all = mem_alloc(runs * sizeof(*all));
    end = 0;
    for (size_t i = 0; i < runs && take_run(&in, &end, count, &all[i]); i++) {
    }
    for (size_t i = runs; i-- > 0;)
        tree_remove(&l->tree, all[i].position, all[i].count);
    mem_free(all);
    return HF_OK;
}

static status ops_apply(void *object, bytes change)
{
    if (change.size == 0)
        return HF_ERR_CORRUPT;
    bytes rest = bytes_of(change.data + 1, change.size - 1);
    switch (change.data[0]) {
    case CHANGE_PUSH_HEAD:
        return apply_push(object, LIST_HEAD, rest);
    case CHANGE_PUSH_TAIL:
        return apply_push(object, LIST_TAIL, rest);
    case CHANGE_INSERT:
    case CHANGE_SET:
        return apply_at(object, change.data[0], rest);
    case CHANGE_REMOVE:
        return apply_remove(object, rest);
    default:
        return HF_ERR_CORRUPT;
    }
}

/* -- rows of type_ops; encoded form: docs/format/values.md, "list" -- */

static void *ops_create(void)
{
    struct list *l = mem_alloc(sizeof(*l));
    l->tree = tree_make(NULL);
    return l;
}

static void ops_free(void *object)
{
    struct list *l = object;
    tree_clear(&l->tree);
    mem_free(l);
}

static bool ops_free_some(void *object, size_t *budget)
{
    struct list *l = object;
    if (!tree_clear_some(&l->tree, budget))
        return false;
    mem_free(l);
    return true;
}

static void *ops_share(const void *object)
{
    const struct list *l = object;
    struct list *share = mem_alloc(sizeof(*share));
    share->tree = tree_share(&l->tree);
    return share;
}

static bool ops_is_empty(const void *object)
{
    return list_count(object) == 0;
}

static size_t ops_memory(const void *object)
{
    const struct list *l = object;
    return sizeof(*l) + tree_memory(&l->tree);
}

static void ops_encode(const void *object, struct buf *out)
{
    struct list_cursor c;
    bytes value;
    varint_append(out, list_count(object));
    for (bool more = list_seek(object, 0, &c, &value); more; more = list_next(&c, &value))
        varint_append_bytes(out, value);
}

static status ops_decode(bytes in, void **object)
{
    uint64_t count;
    bytes value;
    if (!varint_try_take(&in, &count) || count == 0 || count > in.size)
        return HF_ERR_CORRUPT;
    struct list *l = ops_create();
    uint64_t i = 0;
    for (; i < count && take_value(&in, &value); i++)
        tree_insert(&l->tree, i, 0, value);
    if (i < count || in.size) {
        ops_free(l);
        return HF_ERR_CORRUPT;
    }
    *object = l;
    return HF_OK;
}

static const char *ops_encoding(const void *object)
{
    (void)object;
    return "quicklist";
}

static void ops_check(const void *object)
{
    const struct list *l = object;
    hf_assert(l->tree.compare == NULL);
    tree_check(&l->tree);
}

const struct type_ops list_ops = {
    .name = "list",
    .size = sizeof(struct list),
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
