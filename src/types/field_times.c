/* field_times.c -- a dict and a tree that say the same. */
#include "types/field_times.h"

#include "base/assert.h"
#include "base/memory.h"
#include "base/wire.h"

struct field_times {
    struct dict of;    /* field -> deadline, 8 bytes */
    struct tree order; /* order: deadline, payload: field */
};

struct field_times *field_times_new(void)
{
    struct field_times *t = mem_alloc(sizeof(*t));
    *t = (struct field_times){dict_make(), tree_make(bytes_compare)};
    return t;
}

void field_times_free(struct field_times *t)
{
    if (!t)
        return;
    dict_clear(&t->of);
    tree_clear(&t->order);
    mem_free(t);
}

bool field_times_free_some(struct field_times *t, size_t *budget)
{
    if (!t)
        return true;
    if (!dict_clear_some(&t->of, budget) || !tree_clear_some(&t->order, budget))
        return false;
    mem_free(t);
    return true;
}

struct field_times *field_times_share(const struct field_times *t)
{
    struct field_times *share = mem_alloc(sizeof(*share));
    *share = (struct field_times){dict_share(&t->of), tree_share(&t->order)};
    return share;
}

uint64_t field_times_count(const struct field_times *t)
{
    return dict_count(&t->of);
}

size_t field_times_memory(const struct field_times *t)
{
    return sizeof(*t) + dict_memory(&t->of) + tree_memory(&t->order);
}

uint64_t field_times_get(const struct field_times *t, bytes field)
{
    bytes value;
    return dict_get(&t->of, field, &value) ? get_u64(value.data) : 0;
}

void field_times_set(struct field_times *t, bytes field, uint64_t deadline_ms)
{
    uint64_t old = field_times_get(t, field), position;
    uint8_t value[8];
    if (old == deadline_ms)
        return;
    if (old) {
        bool found = tree_find(&t->order, old, field, &position, NULL);
        hf_assert(found);
        tree_remove(&t->order, position, 1);
    }
    if (!deadline_ms) {
        dict_remove(&t->of, field);
        return;
    }
    tree_find(&t->order, deadline_ms, field, &position, NULL);
    tree_insert(&t->order, position, deadline_ms, field);
    put_u64(value, deadline_ms);
    dict_set(&t->of, field, bytes_of(value, sizeof(value)));
}

bool field_times_first(const struct field_times *t, uint64_t *deadline_ms, bytes *field)
{
    if (tree_count(&t->order) == 0)
        return false;
    struct tree_element first = tree_at(&t->order, 0);
    *deadline_ms = first.order;
    *field = first.payload;
    return true;
}

uint64_t field_times_due(const struct field_times *t, uint64_t now_ms)
{
    return tree_lower(&t->order, now_ms + 1);
}

void field_times_due_each(const struct field_times *t, uint64_t now_ms, void (*each)(void *context, bytes field), void *context)
{
    uint64_t due = field_times_due(t, now_ms);
    struct tree_cursor cursor;
    struct tree_element e;
    bool more = due && tree_seek(&t->order, 0, &cursor, &e);
    for (uint64_t i = 0; i < due && more; i++, more = tree_next(&cursor, &e))
        each(context, e.payload);
}

void field_times_expire(struct field_times *t, uint64_t now_ms, void (*each)(void *context, bytes field), void *context)
{
    uint64_t due = field_times_due(t, now_ms);
    struct tree_cursor cursor;
    struct tree_element e;
    bool more = due && tree_seek(&t->order, 0, &cursor, &e);
    for (uint64_t i = 0; i < due; i++, more = tree_next(&cursor, &e)) {
        hf_assert(more);
        each(context, e.payload);
        dict_remove(&t->of, e.payload);
    }
    if (due)
        tree_remove(&t->order, 0, due);
}

void field_times_check(const struct field_times *t)
{
    struct tree_cursor cursor;
    struct tree_element e;
    dict_check(&t->of);
    tree_check(&t->order);
    hf_assert(dict_count(&t->of) == tree_count(&t->order));
    for (bool more = tree_seek(&t->order, 0, &cursor, &e); more; more = tree_next(&cursor, &e))
        hf_assert(field_times_get(t, e.payload) == e.order && e.order > 0);
}
