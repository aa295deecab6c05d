/* meta.h -- the flags of the meta commands: one letter each, some with a token behind it. */
#ifndef HF_PROTO_MEMCACHED_META_H
#define HF_PROTO_MEMCACHED_META_H

#include "base/assert.h"
#include "base/bytes.h"

#define META_OPAQUE_MAX 32 /* with its letter */

struct meta_flags {
    bool base64_last; /* no error behind it: what is wrong with the key is told, if anything is */
    bool base64, quiet, value, no_update, stale, remove_value, long_opaque;
    bool has_ttl, has_vivify, has_recache, has_cas, has_new_cas;
    char mode; /* of M; 0: none */
    int32_t ttl, vivify, recache;
    uint32_t client_flags;
    uint64_t cas, new_cas, delta, initial;
};

/* NULL, or the line that says what is wrong. */
const char *meta_parse(const bytes *tokens, size_t count, struct meta_flags *f) HF_CHECK;
bool meta_mode_of_set(char mode); /* 0 is one */

#endif
