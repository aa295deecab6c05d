/* bytes.c -- comparisons of byte views. */
#include "base/bytes.h"

static uint8_t lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c + 32) : c;
}

bool bytes_is_word(bytes a, const char *word)
{
    for (size_t i = 0; i < a.size; i++) {
        if (word[i] == 0 || lower(a.data[i]) != lower((uint8_t)word[i]))
            return false;
    }
    return word[a.size] == 0;
}

int bytes_compare(bytes a, bytes b)
{
    size_t shared = a.size < b.size ? a.size : b.size;
    int order = shared == 0 ? 0 : memcmp(a.data, b.data, shared);
    if (order != 0)
        return order;
    return a.size < b.size ? -1 : a.size > b.size;
}
