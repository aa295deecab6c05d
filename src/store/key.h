/* key.h -- a key of a request, located once: its bytes, hash, slot and stripe. */
#ifndef HF_STORE_KEY_H
#define HF_STORE_KEY_H

#include "base/bytes.h"

struct key {
    bytes name;      /* borrowed from the request */
    uint64_t hash;   /* keyed; the high half orders the index */
    uint32_t db;     /* database number (not internal id) */
    uint16_t slot;   /* cluster slot, 0..16383 */
    uint16_t stripe; /* slot >> STRIPE_SHIFT */
};

#endif
