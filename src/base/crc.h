/* crc.h -- the two checksums of the product.
 *
 * crc32c: Castagnoli polynomial (RFC 3720, appendix B.4), detects every single-bit
 * error and every burst of up to 32 bits. On x86-64 the CPU's own instruction.
 * crc16: CRC-16/XMODEM, the hash of Redis Cluster's key slots (Redis Cluster
 * specification, "Key distribution model").
 */
#ifndef HF_BASE_CRC_H
#define HF_BASE_CRC_H

#include "base/bytes.h"

/* Continues from crc (0 to start); crc32c(crc32c(0, a), b) = crc32c(0, a . b). */
uint32_t crc32c(uint32_t crc, const void *data, size_t size);

#define SLOT_COUNT 16384u
uint16_t crc16(const void *data, size_t size);
/* The cluster slot of a key: CRC16 of the key, or of its {tag} when it has one. */
uint16_t key_slot(bytes key);

#endif
