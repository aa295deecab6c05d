/* pairs.c -- small hashes: every change is one splice of the block. */
#include "types/pairs.h"

#include "base/assert.h"
#include "data/small.h"
#include "types/varint.h"

struct pairs {
    uint32_t size, count;
    uint8_t data[];
};

static size_t memory_of(uint32_t size) { return size ? small_class_size(sizeof(struct pairs) + size) : 0; }

uint32_t pairs_size(const struct pairs *all) { return all ? all->size : 0; }
uint32_t pairs_count(const struct pairs *all) { return all ? all->count : 0; }
size_t pairs_memory(const struct pairs *all) { return memory_of(pairs_size(all)); }

size_t pair_size(bytes field, bytes value)
{
    return varint_size(field.size) + field.size + varint_size(value.size) + value.size;
}

bool pairs_at(const struct pairs *all, size_t offset, struct pair *p)
{
    if (offset >= pairs_size(all))
        return false;
    uint64_t size;
    const uint8_t *at = varint_get(all->data + offset, &size);
    p->field = (bytes){at, (size_t)size};
    at = varint_get(at + size, &size);
    p->value = (bytes){at, (size_t)size};
    p->start = offset;
    p->end = (size_t)(at + size - all->data);
    return true;
}

bool pairs_find(const struct pairs *all, bytes field, struct pair *p)
{
    for (size_t offset = 0; pairs_at(all, offset, p); offset = p->end)
        if (bytes_equal(p->field, field))
            return true;
    return false;
}

/* Makes room of `size` bytes where `old_size` bytes stand; `more`: pairs. */
static struct pairs *splice(struct pairs *all, size_t offset, size_t old_size, size_t size, int more)
{
    uint32_t before = pairs_size(all), total = (uint32_t)(before - old_size + size), count = pairs_count(all) + (uint32_t)more;
    size_t behind = before - offset - old_size;
    if (!total) {
        small_free(all);
        return NULL;
    }
    struct pairs *fresh = all;
    if (memory_of(total) != memory_of(before))
        fresh = small_alloc(sizeof(*fresh) + total);
    if (behind)
        memmove(fresh->data + offset + size, all->data + offset + old_size, behind);
    if (fresh != all) {
        if (offset)
            memcpy(fresh->data, all->data, offset);
        small_free(all);
    }
    fresh->size = total;
    fresh->count = count;
    return fresh;
}

static uint8_t *put(uint8_t *at, bytes word)
{
    at = varint_put(at, word.size);
    if (word.size)
        memcpy(at, word.data, word.size);
    return at + word.size;
}

struct pairs *pairs_add(struct pairs *all, bytes field, bytes value)
{
    size_t end = pairs_size(all);
    all = splice(all, end, 0, pair_size(field, value), 1);
    put(put(all->data + end, field), value);
    return all;
}

struct pairs *pairs_set(struct pairs *all, const struct pair *p, bytes value)
{
    size_t from = p->start + varint_size(p->field.size) + p->field.size;
    all = splice(all, from, p->end - from, varint_size(value.size) + value.size, 0);
    put(all->data + from, value);
    return all;
}

struct pairs *pairs_remove(struct pairs *all, const struct pair *p) { return splice(all, p->start, p->end - p->start, 0, -1); }

void pairs_free(struct pairs *all) { small_free(all); }

struct pairs *pairs_dup(const struct pairs *all)
{
    if (!all)
        return NULL;
    struct pairs *copy = small_alloc(sizeof(*all) + all->size);
    memcpy(copy, all, sizeof(*all) + all->size);
    return copy;
}

void pairs_check(const struct pairs *all)
{
    size_t count = 0, offset = 0;
    for (struct pair p; pairs_at(all, offset, &p); offset = p.end, count++) {
        struct pair first;
        bool found = pairs_find(all, p.field, &first);
        hf_assert(found && first.start == p.start); /* no field twice */
    }
    hf_assert(offset == pairs_size(all) && count == pairs_count(all) && (!all || count > 0));
}
