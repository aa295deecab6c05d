/* handlers.h -- prototypes of all handlers, made from the rows, and how they answer. */
#ifndef HF_PROTO_MEMCACHED_HANDLERS_H
#define HF_PROTO_MEMCACHED_HANDLERS_H

#include "engine/items.h"
#include "proto/memcached/memcached.h"

#define COMMAND(id, name, handler, ...) void handler(struct call *c);
#include "proto/memcached/memcached.def"
#undef COMMAND

void memcached_line(struct call *c, const char *line); /* unless the client wants no answer */
/* item_line.c. Encoded: as in a URI, all but letters, digits, - . _ ~ as %XX. Facts: to the end of a line; exp -1: never. */
void memcached_put_key(struct buf *out, bytes key, bool base64);
void memcached_put_encoded(struct buf *out, bytes key);
void memcached_put_facts(struct buf *out, const struct item *item, int64_t exp, uint64_t la, size_t memory);
void memcached_line_aloud(struct call *c, const char *line);
bool memcached_refused(struct call *c, status s) HF_CHECK; /* true: the error was answered */

#endif
