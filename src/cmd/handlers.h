/* handlers.h -- the prototype of every handler, from the rows themselves. */
#ifndef HF_CMD_HANDLERS_H
#define HF_CMD_HANDLERS_H

#include "cmd/command.h"

#define COMMAND(word, function, ...) command_handler function;
#define CONTAINER(word, ...)
#include "cmd/acl.def"
#include "cmd/bitmap.def"
#include "cmd/client.def"
#include "cmd/cluster.def"
#include "cmd/config.def"
#include "cmd/connection.def"
#include "cmd/debug.def"
#include "cmd/geo.def"
#include "cmd/hash.def"
#include "cmd/hyperloglog.def"
#include "cmd/introspect.def"
#include "cmd/function.def"
#include "cmd/keys.def"
#include "cmd/list.def"
#include "cmd/memory.def"
#include "cmd/module.def"
#include "cmd/object.def"
#include "cmd/publish.def"
#include "cmd/pubsub.def"
#include "cmd/script.def"
#include "cmd/scripting.def"
#include "cmd/server.def"
#include "cmd/set.def"
#include "cmd/slowlog.def"
#include "cmd/latency.def"
#include "cmd/stream.def"
#include "cmd/string.def"
#include "cmd/transaction.def"
#include "cmd/xgroup.def"
#include "cmd/xinfo.def"
#include "cmd/zset.def"
#undef COMMAND
#undef CONTAINER

/* How a key is used where that depends on the words (command.h). */
const char *set_key_use(const bytes *argv, size_t argc);
const char *bitfield_key_use(const bytes *argv, size_t argc);
const char *migrate_key_use(const bytes *argv, size_t argc);
bool migrate_is_secret(const bytes *argv, size_t argc, size_t i); /* word i is a name or password of AUTH */

#endif
