/* identity.h -- holdfast.id: which log and which hash secret a data directory belongs to.
 *
 * Pure, like segment.h. Table: docs/format/identity.md.
 */
#ifndef HF_DURABLE_IDENTITY_H
#define HF_DURABLE_IDENTITY_H

#include "base/assert.h"

#include <stddef.h>
#include <stdint.h>

#define IDENTITY_SIZE 32u

struct identity { uint64_t log_id, secret; };

void identity_encode(const struct identity *id, uint8_t out[IDENTITY_SIZE]);
/* What is wrong, or NULL. */
const char *identity_decode(const void *data, size_t size, struct identity *id) HF_CHECK;

#endif
