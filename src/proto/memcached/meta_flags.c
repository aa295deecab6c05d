/* meta_flags.c -- flags of the meta commands, from words. */
#include "proto/memcached/meta.h"

#include "engine/items.h"
#include "proto/memcached/lines.h"
#include "proto/memcached/numbers.h"

#define BAD_TOKEN "CLIENT_ERROR bad token in command line format"

static const char INVALID_FLAG[] = "CLIENT_ERROR invalid flag"; /* the others behind it are not looked at */

static const char *take_i32(bytes token, int32_t *value, bool *given)
{
    *given = true;
    return memcached_i32(token, value) ? NULL : BAD_TOKEN;
}

static const char *take_u64(bytes token, uint64_t *value, const char *error)
{
    return memcached_u64(token, value) ? NULL : error;
}

/* One flag; token: what stands behind its letter. */
static const char *take_flag(uint8_t letter, bytes token, struct meta_flags *f)
{
    switch (letter) {
    case 'b': f->base64 = true; return NULL;
    case 'q': f->quiet = true; return NULL;
    case 'v': f->value = true; return NULL;
    case 'u': f->no_update = true; return NULL;
    case 'I': f->stale = true; return NULL;
    case 'x': f->remove_value = true; return NULL;
    case 'O': f->long_opaque = token.size >= META_OPAQUE_MAX; return NULL;
    case 'N': return take_i32(token, &f->vivify, &f->has_vivify);
    case 'T': return take_i32(token, &f->ttl, &f->has_ttl);
    case 'R': return take_i32(token, &f->recache, &f->has_recache);
    case 'F': return memcached_u32(token, &f->client_flags) ? NULL : LINE_BAD_FORMAT;
    case 'C': f->has_cas = true; return take_u64(token, &f->cas, BAD_TOKEN);
    case 'E':
        f->has_new_cas = true;
        return memcached_u64(token, &f->new_cas) && f->new_cas <= ITEM_VERSION_MAX ? NULL : BAD_TOKEN;
    case 'J': return take_u64(token, &f->initial, "CLIENT_ERROR invalid numeric initial value");
    case 'D': return take_u64(token, &f->delta, "CLIENT_ERROR invalid numeric delta value");
    case 'M':
        f->mode = token.size == 1 ? (char)token.data[0] : 0;
        return token.size == 1 ? NULL : "CLIENT_ERROR incorrect length for M token";
    case 'c': case 'f': case 'h': case 'k': case 'l': case 's': case 't': case 'L': case 'P': return NULL;
    default: return INVALID_FLAG;
    }
}

const char *meta_parse(const bytes *tokens, size_t count, struct meta_flags *f)
{
    uint8_t seen[128] = {0};
    const char *error = NULL; /* the last one that is not the end of it */
    *f = (struct meta_flags){.delta = 1};
    for (size_t i = 0; i < count; i++) {
        uint8_t letter = tokens[i].data[0];
        bool again = letter >= 127 || seen[letter]++;
        const char *wrong = again ? "CLIENT_ERROR duplicate flag" : take_flag(letter, bytes_of(tokens[i].data + 1, tokens[i].size - 1), f);
        f->base64_last = letter == 'b' || (f->base64_last && !wrong);
        if (again || wrong == INVALID_FLAG) {
            f->base64_last = false;
            return wrong;
        }
        error = wrong ? wrong : error;
    }
    return error;
}

bool meta_mode_of_set(char mode)
{
    return !mode || mode == 'E' || mode == 'A' || mode == 'P' || mode == 'R' || mode == 'S';
}
