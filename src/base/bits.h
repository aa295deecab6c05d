/* bits.h -- bytes as a row of bits; bit 0 is the highest of byte 0, as Redis counts them. */
#ifndef HF_BASE_BITS_H
#define HF_BASE_BITS_H

#include "base/bytes.h"

#define BITS_NONE UINT64_MAX
#define BITS_FIELD_BYTES 9 /* a field of 64 bits touches at most so many */

/* Both ends are part of the range: from <= to < 8 * size. */
uint64_t bits_count(bytes b, uint64_t from, uint64_t to);                /* of ones */
uint64_t bits_find(bytes b, bool bit, uint64_t from, uint64_t to);       /* the first such bit, or BITS_NONE */

/* A field of 1 to 64 bits, the highest first; bits beyond the end are 0. */
uint64_t bits_get(bytes b, uint64_t offset, unsigned count);
/* The bytes that the field touches, from byte offset / 8 on, as they are once it holds the low bits of value.
 * Returns how many. */
size_t bits_put(bytes b, uint64_t offset, unsigned count, uint64_t value, uint8_t out[BITS_FIELD_BYTES]);

#endif
