/* digest.c -- a digest, written out. */
#include "cmd/digest.h"

#include "base/assert.h"

#include <stdint.h>

void digest_hex(const EVP_MD *kind, bytes data, size_t text, char *out)
{
    static const char digits[] = "0123456789abcdef";
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    int made = EVP_Digest(data.data, data.size, digest, &size, kind, NULL);
    hf_assert(made && size == text / 2);
    for (unsigned i = 0; i < size; i++) {
        out[2 * i] = digits[digest[i] >> 4];
        out[2 * i + 1] = digits[digest[i] & 15];
    }
    out[text] = 0;
}
