/* server.h -- the one running server: what main.c, host.c and info.c share.
 *
 * Immutable between start and stop, except what is marked atomic. One per process,
 * because struct host's calls carry no context.
 */
#ifndef HF_SERVER_SERVER_H
#define HF_SERVER_SERVER_H

#include "base/buf.h"
#include "cmd/host.h"
#include "engine/engine.h"
#include "net/net.h"

#include <stdatomic.h>

struct server {
    struct engine *engine;
    struct net *net;
    struct net_limits limits;
    unsigned workers;
    uint64_t started_us;              /* monotonic */
    _Atomic uint64_t started_memory;  /* used_memory then; 0 until the workers have theirs, and one may ask earlier */
    uint64_t started_s;               /* unix time */
    char run_id[41], replication_id[41];
    char executable[4096];
    _Atomic unsigned shutdown;        /* enum end_how; stop.c's */
};

extern struct server server;

/* host.c */
void host_bind(void);                 /* fills struct host */
void host_apply_settings(void);       /* all LIVE settings, once at start */
void host_apply_engine(void);         /* those that need the engine, once it is open */
/* info.c */
void info_write(struct txn *t, const bytes *sections, size_t count, struct buf *out);
void info_reset(void);
void info_memory_facts(const struct engine_stats *engine, struct memory_facts *out);

#endif
