/* numbers.h -- numbers as memcached reads them: as strtol does, up to the end of the word, a space or a NUL.
 *
 * So "+5", " 5" and "5 x" are 5; a minus sign is refused only where the result would be negative; 32-bit forms drop the high bits.
 */
#ifndef HF_PROTO_MEMCACHED_NUMBERS_H
#define HF_PROTO_MEMCACHED_NUMBERS_H

#include "base/assert.h"
#include "base/bytes.h"

bool memcached_u64(bytes word, uint64_t *value) HF_CHECK;
bool memcached_u32(bytes word, uint32_t *value) HF_CHECK;
bool memcached_i32(bytes word, int32_t *value) HF_CHECK;

/* Base64 of RFC 4648 with padding. Room: 4 * ((size + 2) / 3), and 3 * (size / 4); returns the size, SIZE_MAX: not base64. */
size_t base64_encode(bytes in, uint8_t *out);
size_t base64_decode(bytes in, uint8_t *out);

#endif
