/* stream_fields.c -- a few counted lists; found by comparing, since there are at most sixteen. */
#include "types/stream_fields.h"

#include "base/memory.h"
#include "types/varint.h"

#include <stdatomic.h>

static bool take_pair(bytes *body, bytes *field)
{
    bytes value;
    return varint_try_take_bytes(body, field) && varint_try_take_bytes(body, &value);
}

static bool has_fields(const struct field_list *list, uint64_t pairs, bytes body)
{
    const uint8_t *at = list->data;
    bytes field;
    if (list->pairs != pairs)
        return false;
    while (body.size && take_pair(&body, &field)) {
        uint64_t size;
        at = varint_get(at, &size);
        if (size != field.size || memcmp(at, field.data, field.size) != 0)
            return false;
        at += size;
    }
    return true;
}

int field_lists_find(const struct field_lists *lists, uint64_t pairs, bytes body)
{
    for (uint32_t i = 0; lists && i < lists->count; i++) {
        if (lists->at[i].list && has_fields(lists->at[i].list, pairs, body))
            return (int)i;
    }
    return -1;
}

static struct field_list *list_new(uint64_t pairs, bytes body)
{
    struct field_list *list = mem_alloc(sizeof(*list) + FIELD_LIST_SIZE_MAX);
    uint8_t *end = list->data, *limit = end + FIELD_LIST_SIZE_MAX;
    bytes field;
    while (body.size && take_pair(&body, &field)) {
        if (field.size + VARINT_SIZE_MAX > (size_t)(limit - end)) {
            mem_free(list);
            return NULL;
        }
        end = varint_put(end, field.size);
        if (field.size)
            memcpy(end, field.data, field.size);
        end += field.size;
    }
    atomic_init(&list->holders, 1);
    list->pairs = (uint32_t)pairs;
    list->size = (uint32_t)(end - list->data);
    return mem_realloc(list, sizeof(*list) + list->size);
}

static size_t table_size(uint32_t count) { return sizeof(struct field_lists) + count * sizeof(struct field_list_use); }

int field_lists_add(struct field_lists **lists, uint64_t pairs, bytes body)
{
    uint32_t count = *lists ? (*lists)->count : 0, place = 0;
    while (place < count && (*lists)->at[place].list)
        place++;
    struct field_list *list = place < FIELD_LISTS_MAX ? list_new(pairs, body) : NULL;
    if (!list)
        return -1;
    if (place == count) {
        *lists = mem_realloc(*lists, table_size(count + 1));
        (*lists)->count = count + 1;
    }
    (*lists)->at[place] = (struct field_list_use){list, 0};
    return (int)place;
}

static void drop(struct field_list *list)
{
    if (list && atomic_fetch_sub_explicit(&list->holders, 1, memory_order_acq_rel) == 1)
        mem_free(list);
}

void field_lists_use(struct field_lists *lists, unsigned number) { lists->at[number].uses++; }

void field_lists_unuse(struct field_lists *lists, unsigned number)
{
    hf_assert(lists->at[number].uses > 0);
    if (--lists->at[number].uses > 0)
        return;
    drop(lists->at[number].list);
    lists->at[number].list = NULL;
}

struct field_lists *field_lists_dup(const struct field_lists *lists)
{
    if (!lists)
        return NULL;
    struct field_lists *copy = mem_alloc(table_size(lists->count));
    memcpy(copy, lists, table_size(lists->count));
    for (uint32_t i = 0; i < copy->count; i++) {
        if (copy->at[i].list)
            atomic_fetch_add_explicit(&copy->at[i].list->holders, 1, memory_order_relaxed);
    }
    return copy;
}

void field_lists_free(struct field_lists *lists)
{
    for (uint32_t i = 0; lists && i < lists->count; i++)
        drop(lists->at[i].list);
    mem_free(lists);
}

size_t field_lists_memory(const struct field_lists *lists)
{
    size_t sum = lists ? table_size(lists->count) : 0;
    for (uint32_t i = 0; lists && i < lists->count; i++) {
        if (lists->at[i].list)
            sum += sizeof(*lists->at[i].list) + lists->at[i].list->size;
    }
    return sum;
}
