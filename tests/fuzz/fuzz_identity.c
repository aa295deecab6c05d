/* fuzz_identity.c -- holdfast.id from any bytes: what is accepted is what encoding gives, to the bit.
 *
 * Input: the file. It is decoded as it is, then with magic and checksum mended, which every mutation would break.
 */
#include "base/crc.h"
#include "base/wire.h"
#include "durable/identity.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void decode(const uint8_t *data, size_t size)
{
    struct identity id;
    uint8_t again[IDENTITY_SIZE];
    if (identity_decode(data, size, &id) != NULL)
        return;
    hf_assert(size == IDENTITY_SIZE);
    identity_encode(&id, again);
    hf_assert(memcmp(again, data, IDENTITY_SIZE) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t mended[2 * IDENTITY_SIZE];
    decode(data, size);
    if (size < IDENTITY_SIZE || size > sizeof(mended))
        return 0;
    memcpy(mended, data, size);
    memcpy(mended, "HFIDENT1", 8);
    put_u32(mended + IDENTITY_SIZE - 4, crc32c(0, mended, IDENTITY_SIZE - 4));
    decode(mended, size);
    return 0;
}
