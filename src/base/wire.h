/* wire.h -- little-endian numbers in byte buffers, for every disk format. */
#ifndef HF_BASE_WIRE_H
#define HF_BASE_WIRE_H

#include <stdint.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "holdfast is written for little-endian CPUs");

static inline void put_u16(void *p, uint16_t v) { memcpy(p, &v, 2); }
static inline void put_u32(void *p, uint32_t v) { memcpy(p, &v, 4); }
static inline void put_u64(void *p, uint64_t v) { memcpy(p, &v, 8); }
static inline uint16_t get_u16(const void *p) { uint16_t v; memcpy(&v, p, 2); return v; }
static inline uint32_t get_u32(const void *p) { uint32_t v; memcpy(&v, p, 4); return v; }
static inline uint64_t get_u64(const void *p) { uint64_t v; memcpy(&v, p, 8); return v; }

#endif
