/* crc.c -- table-driven checksums, and SSE 4.2 where the CPU has it.
 *
 * Tables are computed once at start (constructor), eight per polynomial, so that
 * eight bytes are folded per step (Kounavis and Berry, "A Systematic Approach to
 * Building High Performance Software-Based CRC Generators").
 */
#include "base/crc.h"

#if defined(__x86_64__)
#include <nmmintrin.h>
#endif

static uint32_t table32[8][256];
static uint16_t table16[8][256];
static bool has_hardware_crc;

__attribute__((constructor)) static void crc_tables_init(void)
{
    for (unsigned i = 0; i < 256; i++) {
        uint32_t c = i;
        uint16_t s = (uint16_t)(i << 8);
        for (int bit = 0; bit < 8; bit++) {
            c = c & 1 ? (c >> 1) ^ 0x82f63b78u : c >> 1;
            s = (uint16_t)(s & 0x8000 ? (s << 1) ^ 0x1021 : s << 1);
        }
        table32[0][i] = c;
        table16[0][i] = s;
    }
    for (unsigned i = 0; i < 256; i++) {
        for (int k = 1; k < 8; k++) {
            uint32_t c = table32[k - 1][i];
            uint16_t s = table16[k - 1][i];
            table32[k][i] = (c >> 8) ^ table32[0][c & 0xff];
            table16[k][i] = (uint16_t)((s << 8) ^ table16[0][s >> 8]);
        }
    }
#if defined(__x86_64__)
    has_hardware_crc = __builtin_cpu_supports("sse4.2");
#endif
}

static uint32_t crc32c_table(uint32_t crc, const uint8_t *p, size_t size)
{
    while (size >= 8) {
        uint32_t low, high;
        memcpy(&low, p, 4);
        memcpy(&high, p + 4, 4);
        low ^= crc;
        crc = table32[7][low & 0xff] ^ table32[6][(low >> 8) & 0xff] ^
              table32[5][(low >> 16) & 0xff] ^ table32[4][low >> 24] ^ table32[3][high & 0xff] ^
              table32[2][(high >> 8) & 0xff] ^ table32[1][(high >> 16) & 0xff] ^
              table32[0][high >> 24];
        p += 8;
        size -= 8;
    }
    while (size--)
        crc = (crc >> 8) ^ table32[0][(crc ^ *p++) & 0xff];
    return crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t crc32c_hardware(uint32_t crc, const uint8_t *p,
                                                                  size_t size)
{
    uint64_t wide = crc;
    while (size >= 8) {
        uint64_t word;
        memcpy(&word, p, 8);
        wide = _mm_crc32_u64(wide, word);
        p += 8;
        size -= 8;
    }
    crc = (uint32_t)wide;
    if (size & 4) {
        uint32_t word;
        memcpy(&word, p, 4);
        crc = _mm_crc32_u32(crc, word);
        p += 4;
        size -= 4;
    }
    while (size--)
        crc = _mm_crc32_u8(crc, *p++);
    return crc;
}
#endif

uint32_t crc32c(uint32_t crc, const void *data, size_t size)
{
#if defined(__x86_64__)
    if (has_hardware_crc)
        return ~crc32c_hardware(~crc, data, size);
#endif
    return ~crc32c_table(~crc, data, size);
}

uint16_t crc16(const void *data, size_t size)
{
    const uint8_t *p = data;
    uint16_t crc = 0;
    while (size >= 8) {
        crc = (uint16_t)(table16[7][p[0] ^ (crc >> 8)] ^ table16[6][p[1] ^ (crc & 0xff)] ^
                         table16[5][p[2]] ^ table16[4][p[3]] ^ table16[3][p[4]] ^
                         table16[2][p[5]] ^ table16[1][p[6]] ^ table16[0][p[7]]);
        p += 8;
        size -= 8;
    }
    while (size--)
        crc = (uint16_t)((crc << 8) ^ table16[0][((crc >> 8) ^ *p++) & 0xff]);
    return crc;
}

uint16_t key_slot(bytes key)
{
    const uint8_t *open = key.size ? memchr(key.data, '{', key.size) : NULL;
    if (open) {
        size_t rest = key.size - (size_t)(open + 1 - key.data);
        const uint8_t *close = rest ? memchr(open + 1, '}', rest) : NULL;
        if (close && close != open + 1)
            key = bytes_of(open + 1, (size_t)(close - open - 1));
    }
    return crc16(key.data, key.size) & (SLOT_COUNT - 1);
}
