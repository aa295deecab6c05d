/* varint.h -- unsigned numbers of 1 to 10 bytes: seven bits a byte, lowest first, the
 * top bit set on all but the last (LEB128). One form per number: a longer one is refused.
 */
#ifndef HF_TYPES_VARINT_H
#define HF_TYPES_VARINT_H

#include "base/buf.h"

#define VARINT_SIZE_MAX 10

static inline size_t varint_size(uint64_t value)
{
    size_t size = 1;
    for (; value >= 128; value >>= 7)
        size++;
    return size;
}

/* Returns the byte after. The caller has varint_size bytes of room. */
static inline uint8_t *varint_put(uint8_t *out, uint64_t value)
{
    for (; value >= 128; value >>= 7)
        *out++ = (uint8_t)(value | 128);
    *out++ = (uint8_t)value;
    return out;
}

static inline void varint_append(struct buf *out, uint64_t value)
{
    uint8_t scratch[VARINT_SIZE_MAX];
    buf_append(out, scratch, (size_t)(varint_put(scratch, value) - scratch));
}

/* A size, then the bytes. */
static inline void varint_append_bytes(struct buf *out, bytes value)
{
    varint_append(out, value.size);
    buf_append_bytes(out, value);
}

/* For bytes written by varint_put in this process: returns the byte after. */
static inline const uint8_t *varint_get(const uint8_t *in, uint64_t *value)
{
    uint64_t result = *in & 127;
    for (unsigned shift = 7; *in++ & 128; shift += 7)
        result |= (uint64_t)(*in & 127) << shift;
    *value = result;
    return in;
}

/* For bytes of unknown origin: takes one number off the front of *in, or changes
 * nothing and says false. */
HF_CHECK static inline bool varint_try_take(bytes *in, uint64_t *value)
{
    uint64_t result = 0;
    for (size_t i = 0; i < in->size && i < VARINT_SIZE_MAX; i++) {
        uint8_t byte = in->data[i];
        if (i == VARINT_SIZE_MAX - 1 && byte > 1)
            return false;
        result |= (uint64_t)(byte & 127) << (7 * i);
        if (byte & 128)
            continue;
        if (byte == 0 && i > 0)
            return false; /* overlong */
        *in = (bytes){in->data + i + 1, in->size - i - 1};
        *value = result;
        return true;
    }
    return false;
}

/* A varint size and that many bytes, off the front of *in; or false and no change. */
HF_CHECK static inline bool varint_try_take_bytes(bytes *in, bytes *out)
{
    bytes rest = *in;
    uint64_t size;
    if (!varint_try_take(&rest, &size) || size > rest.size)
        return false;
    *out = (bytes){rest.data, (size_t)size};
    *in = (bytes){rest.data + size, rest.size - (size_t)size};
    return true;
}

#endif
