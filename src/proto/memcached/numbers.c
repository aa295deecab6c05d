/* numbers.c -- see numbers.h. */
#include "proto/memcached/numbers.h"

#define DIGITS_SAFE 19 /* never more than 64 bits */

static bool is_space(uint8_t c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

/* False: no digits, beyond 64 bits, or something else than a space or a NUL behind them. */
static bool scan_any(bytes word, bool *negative, uint64_t *magnitude)
{
    size_t at = 0;
    uint64_t value = 0;
    for (uint8_t digit; at < word.size && at < DIGITS_SAFE && (digit = (uint8_t)(word.data[at] - '0')) <= 9; at++)
        value = value * 10 + digit;
    if (HF_LIKELY(at == word.size && at > 0)) { /* digits and nothing else */
        *negative = false;
        *magnitude = value;
        return true;
    }
    at = 0;
    value = 0;
    while (at < word.size && is_space(word.data[at]))
        at++;
    *negative = at < word.size && word.data[at] == '-';
    at += at < word.size && (word.data[at] == '-' || word.data[at] == '+');
    size_t first = at;
    for (; at < word.size && word.data[at] >= '0' && word.data[at] <= '9'; at++) {
        if (__builtin_mul_overflow(value, UINT64_C(10), &value) || __builtin_add_overflow(value, (uint64_t)(word.data[at] - '0'), &value))
            return false;
    }
    *magnitude = value;
    return at > first && (at == word.size || is_space(word.data[at]) || word.data[at] == 0);
}

/* Most numbers of most commands are one digit. */
static inline bool scan(bytes word, bool *negative, uint64_t *magnitude)
{
    if (word.size != 1 || (uint8_t)(word.data[0] - '0') > 9)
        return scan_any(word, negative, magnitude);
    *negative = false;
    *magnitude = (uint64_t)(word.data[0] - '0');
    return true;
}

bool memcached_u64(bytes word, uint64_t *value)
{
    bool negative;
    uint64_t magnitude;
    if (!scan(word, &negative, &magnitude))
        return false;
    uint64_t result = negative ? 0 - magnitude : magnitude;
    if (negative && result >> 63)
        return false;
    *value = result;
    return true;
}

bool memcached_u32(bytes word, uint32_t *value)
{
    uint64_t wide;
    if (!memcached_u64(word, &wide))
        return false;
    *value = (uint32_t)wide;
    return true;
}

bool memcached_i32(bytes word, int32_t *value)
{
    bool negative;
    uint64_t magnitude;
    if (!scan(word, &negative, &magnitude) || magnitude > (uint64_t)INT64_MAX + negative)
        return false;
    *value = (int32_t)(uint32_t)(negative ? 0 - magnitude : magnitude);
    return true;
}

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

size_t base64_encode(bytes in, uint8_t *out)
{
    size_t put = 0;
    for (size_t at = 0; at < in.size; at += 3) {
        size_t left = in.size - at;
        uint32_t three = (uint32_t)in.data[at] << 16 | (left > 1 ? (uint32_t)in.data[at + 1] << 8 : 0) | (left > 2 ? in.data[at + 2] : 0u);
        out[put++] = (uint8_t)alphabet[three >> 18];
        out[put++] = (uint8_t)alphabet[three >> 12 & 63];
        out[put++] = left > 1 ? (uint8_t)alphabet[three >> 6 & 63] : '=';
        out[put++] = left > 2 ? (uint8_t)alphabet[three & 63] : '=';
    }
    return put;
}

static int digit_of(uint8_t c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

size_t base64_decode(bytes in, uint8_t *out)
{
    size_t put = 0;
    if (in.size == 0 || in.size % 4)
        return SIZE_MAX;
    size_t padding = (in.data[in.size - 1] == '=') + (in.data[in.size - 1] == '=' && in.data[in.size - 2] == '=');
    for (size_t at = 0; at < in.size; at += 4) {
        uint32_t four = 0;
        for (size_t i = 0; i < 4; i++) {
            bool padded = at + i >= in.size - padding;
            int digit = padded ? 0 : digit_of(in.data[at + i]);
            if (digit < 0)
                return SIZE_MAX;
            four = four << 6 | (uint32_t)digit;
        }
        size_t count = at + 4 == in.size ? 3 - padding : 3;
        for (size_t i = 0; i < count; i++)
            out[put++] = (uint8_t)(four >> (16 - 8 * i));
    }
    return put;
}
