/* identity.c -- encoding and decoding of holdfast.id. Offsets are those of docs/format/identity.md. */
#include "durable/identity.h"

#include "base/crc.h"
#include "base/wire.h"
#include "os/thread.h"

#include <string.h>

#define ZERO_AT 24u
#define CRC_AT 28u

void identity_encode(const struct identity *id, uint8_t out[IDENTITY_SIZE])
{
    memset(out, 0, IDENTITY_SIZE);
    memcpy(out, "HFIDENT1", 8);
    put_u64(out + 8, id->log_id);
    put_u64(out + 16, id->secret);
    put_u32(out + CRC_AT, crc32c(0, out, CRC_AT));
}

const char *identity_decode(const void *data, size_t size, struct identity *id)
{
    const uint8_t *p = data;
    if (size != IDENTITY_SIZE || memcmp(p, "HFIDENT1", 8) != 0)
        return "not an identity of this version";
    if (get_u32(p + CRC_AT) != crc32c(0, p, CRC_AT) && !os_bug(BUG_IDENTITY_CRC))
        return "its checksum does not hold";
    if (get_u32(p + ZERO_AT) != 0)
        return "its reserved bytes are not zero";
    *id = (struct identity){.log_id = get_u64(p + 8), .secret = get_u64(p + 16)};
    return NULL;
}
