/* bytes.h -- a borrowed view of memory: a pointer and a size.
 *
 * Never freed, never NUL-terminated; NUL bytes are ordinary bytes. A view ends
 * when the memory under it does: whoever hands one out says how long that is.
 */
#ifndef HF_BASE_BYTES_H
#define HF_BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct bytes {
    const uint8_t *data;
    size_t size;
} bytes;

/* A view of a string literal, without its NUL. */
#define BYTES(literal) ((bytes){(const uint8_t *)("" literal), sizeof(literal) - 1})

static inline bytes bytes_of(const void *data, size_t size)
{
    return (bytes){(const uint8_t *)data, size};
}

static inline bytes bytes_str(const char *text)
{
    return (bytes){(const uint8_t *)text, strlen(text)};
}

static inline bool bytes_equal(bytes a, bytes b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

static inline bool bytes_starts_with(bytes whole, bytes start)
{
    return whole.size >= start.size && bytes_equal(bytes_of(whole.data, start.size), start);
}

/* ASCII case-insensitive equality with a lower- or upper-case C string. */
bool bytes_is_word(bytes a, const char *word);

/* memcmp order, a prefix before its extensions. */
int bytes_compare(bytes a, bytes b);

#endif
