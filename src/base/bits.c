/* bits.c -- counting and searching by words of 8 bytes, the ragged ends by bytes. */
#include "base/bits.h"

#include "base/assert.h"

/* The bits of byte `index` that lie inside the range. */
static uint8_t mask_of(uint64_t index, uint64_t from, uint64_t to)
{
    uint8_t mask = 0xff;
    if (index == from / 8)
        mask &= (uint8_t)(0xff >> from % 8);
    if (index == to / 8)
        mask &= (uint8_t)(0xff << (7 - to % 8));
    return mask;
}

static uint64_t word_at(const uint8_t *data)
{
    uint64_t word;
    memcpy(&word, data, sizeof(word));
    return word;
}

static inline __attribute__((always_inline)) uint64_t count_words(const uint8_t *data, uint64_t words)
{
    uint64_t count = 0;
    for (uint64_t i = 0; i < words; i++)
        count += (uint64_t)__builtin_popcountll(word_at(data + i * 8));
    return count;
}

#if defined(__x86_64__)
__attribute__((target("popcnt"))) static uint64_t count_words_popcnt(const uint8_t *data, uint64_t words)
{
    return count_words(data, words);
}
#endif

static uint64_t count_whole(const uint8_t *data, uint64_t size)
{
    uint64_t count = 0, words = size / 8;
#if defined(__x86_64__)
    if (__builtin_cpu_supports("popcnt"))
        count = count_words_popcnt(data, words);
    else
#endif
        count = count_words(data, words);
    for (uint64_t i = words * 8; i < size; i++)
        count += (uint64_t)__builtin_popcount(data[i]);
    return count;
}

uint64_t bits_count(bytes b, uint64_t from, uint64_t to)
{
    uint64_t first = from / 8, last = to / 8;
    hf_assert(from <= to && last < b.size);
    uint64_t count = (uint64_t)__builtin_popcount(b.data[first] & mask_of(first, from, to));
    if (last > first) {
        count += count_whole(b.data + first + 1, last - first - 1);
        count += (uint64_t)__builtin_popcount(b.data[last] & mask_of(last, from, to));
    }
    return count;
}

uint64_t bits_find(bytes b, bool bit, uint64_t from, uint64_t to)
{
    uint64_t last = to / 8, unwanted = bit ? 0 : UINT64_MAX;
    hf_assert(from <= to && last < b.size);
    for (uint64_t i = from / 8; i <= last; i++) {
        while (i > from / 8 && i + 8 <= last && word_at(b.data + i) == unwanted)
            i += 8;
        uint8_t found = (uint8_t)(b.data[i] ^ (uint8_t)unwanted) & mask_of(i, from, to);
        if (found)
            return i * 8 + (uint64_t)__builtin_clz(found) - 24;
    }
    return BITS_NONE;
}

static unsigned __int128 window_of(bytes b, uint64_t first, uint64_t last)
{
    unsigned __int128 window = 0;
    for (uint64_t i = first; i <= last; i++)
        window = window << 8 | (i < b.size ? b.data[i] : 0);
    return window;
}

uint64_t bits_get(bytes b, uint64_t offset, unsigned count)
{
    uint64_t end = offset + count - 1;
    hf_assert(count >= 1 && count <= 64);
    uint64_t value = (uint64_t)(window_of(b, offset / 8, end / 8) >> (7 - end % 8));
    return count == 64 ? value : value & ((UINT64_C(1) << count) - 1);
}

size_t bits_put(bytes b, uint64_t offset, unsigned count, uint64_t value, uint8_t out[BITS_FIELD_BYTES])
{
    uint64_t end = offset + count - 1, first = offset / 8, last = end / 8;
    unsigned shift = 7 - (unsigned)(end % 8);
    hf_assert(count >= 1 && count <= 64);
    unsigned __int128 mask = (((unsigned __int128)1 << count) - 1) << shift;
    unsigned __int128 window = window_of(b, first, last);
    window = (window & ~mask) | ((unsigned __int128)value << shift & mask);
    size_t size = (size_t)(last - first + 1);
    for (size_t i = size; i-- > 0; window >>= 8)
        out[i] = (uint8_t)window;
    return size;
}
