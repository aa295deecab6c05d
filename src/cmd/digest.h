/* digest.h -- digests as lower-case hexadecimal text: of passwords and of scripts. */
#ifndef HF_CMD_DIGEST_H
#define HF_CMD_DIGEST_H

#include "base/bytes.h"

#include <openssl/evp.h>

/* `text` is the size of the digest's text; out has room for its NUL, too. */
void digest_hex(const EVP_MD *kind, bytes data, size_t text, char *out);

#endif
