/* intset.c -- binary search in an array of one width.
 *
 * A number that does not fit makes the whole array wider once; it never becomes narrower
 * (a set that held a large number will hold one again). Room is kept for an eighth more.
 */
#include "types/intset.h"

#include "base/memory.h"

static uint32_t width_of(int64_t value)
{
    if (value >= INT16_MIN && value <= INT16_MAX)
        return 2;
    return value >= INT32_MIN && value <= INT32_MAX ? 4 : 8;
}

static int64_t load(const void *numbers, uint32_t width, uint32_t index)
{
    switch (width) {
    case 2:
        return ((const int16_t *)numbers)[index];
    case 4:
        return ((const int32_t *)numbers)[index];
    default:
        return ((const int64_t *)numbers)[index];
    }
}

static void store(void *numbers, uint32_t width, uint32_t index, int64_t value)
{
    switch (width) {
    case 2:
        ((int16_t *)numbers)[index] = (int16_t)value;
        break;
    case 4:
        ((int32_t *)numbers)[index] = (int32_t)value;
        break;
    default:
        ((int64_t *)numbers)[index] = value;
    }
}

int64_t intset_at(const struct intset *s, uint32_t index)
{
    hf_assert(index < s->count);
    return load(s->numbers, s->width, index);
}

/* The index of the first number that is not below value. */
static uint32_t lower_bound(const struct intset *s, int64_t value)
{
    uint32_t from = 0, to = s->count;
    if (to > 0 && load(s->numbers, s->width, to - 1) < value)
        return to; /* ascending arrival is common */
    while (from < to) {
        uint32_t middle = from + (to - from) / 2;
        if (load(s->numbers, s->width, middle) < value)
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

static bool stands_at(const struct intset *s, uint32_t index, int64_t value)
{
    return index < s->count && load(s->numbers, s->width, index) == value;
}

bool intset_has(const struct intset *s, int64_t value)
{
    return stands_at(s, lower_bound(s, value), value);
}

static void resize(struct intset *s, uint32_t capacity, uint32_t width)
{
    void *numbers = mem_alloc((size_t)capacity * width);
    if (width == s->width) {
        memcpy(numbers, s->numbers, (size_t)s->count * width);
    } else {
        for (uint32_t i = 0; i < s->count; i++)
            store(numbers, width, i, load(s->numbers, s->width, i));
    }
    mem_free(s->numbers);
    s->numbers = numbers;
    s->capacity = capacity;
    s->width = width;
}

static void move(struct intset *s, uint32_t to, uint32_t from)
{
    uint8_t *bytes_at = s->numbers;
    memmove(bytes_at + (size_t)to * s->width, bytes_at + (size_t)from * s->width, (size_t)(s->count - from) * s->width);
}

bool intset_add(struct intset *s, int64_t value)
{
    uint32_t index = lower_bound(s, value), width = width_of(value);
    if (stands_at(s, index, value))
        return false;
    hf_assert(s->count < UINT32_MAX / 2);
    bool wider = width > s->width;
    if (wider || s->count == s->capacity)
        resize(s, s->count + s->count / 8 + 4, wider ? width : s->width);
    move(s, index + 1, index);
    store(s->numbers, s->width, index, value);
    s->count++;
    return true;
}

bool intset_remove(struct intset *s, int64_t value)
{
    uint32_t index = lower_bound(s, value);
    if (!stands_at(s, index, value))
        return false;
    move(s, index, index + 1);
    s->count--;
    if (s->count < s->capacity / 4)
        resize(s, s->count + s->count / 8 + 4, s->width);
    return true;
}

struct intset intset_dup(const struct intset *s)
{
    struct intset copy = {0};
    if (s->count) {
        copy = (struct intset){mem_alloc((size_t)s->count * s->width), s->count, s->count, s->width};
        memcpy(copy.numbers, s->numbers, (size_t)s->count * s->width);
    }
    return copy;
}

void intset_release(struct intset *s)
{
    mem_free(s->numbers);
    *s = (struct intset){0};
}

size_t intset_memory(const struct intset *s)
{
    return (size_t)s->capacity * s->width;
}

void intset_check(const struct intset *s)
{
    hf_assert(s->count <= s->capacity && (s->numbers != NULL) == (s->width != 0));
    for (uint32_t i = 1; i < s->count; i++)
        hf_assert(intset_at(s, i - 1) < intset_at(s, i));
}
