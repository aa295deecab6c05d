/* stats.h -- what stats and its words say, for the text and the binary protocol. */
#ifndef HF_PROTO_MEMCACHED_STATS_H
#define HF_PROTO_MEMCACHED_STATS_H

#include "cmd/command.h"

typedef void stat_put(struct call *c, bytes name, bytes value);

/* False: no statistics of this name. "reset" puts none. */
bool stats_write(struct call *c, bytes what, stat_put *put) HF_CHECK;

/* flush_all: at once (delay 0), or when the time has come, which a later flush_all replaces. The caller holds the gate. */
status memcached_flush(struct call *c, int64_t delay) HF_CHECK;

#endif
