/* net.h -- connections and the workers that serve them.
 *
 * Any thread may call net_wake_workers and change struct net_limits; net_start and
 * net_stop are called once each, by the main thread. One net per process: the tables
 * of struct host carry no context, so the running one is found through a global.
 */
#ifndef HF_NET_NET_H
#define HF_NET_NET_H

#include "base/status.h"
#include "net/stats.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct engine;
struct net;
struct protocol; /* proto/protocol.h */
struct tls_context;

/* Settings that may change while it runs; the server's config rows write them. */
struct net_limits {
    _Atomic uint32_t maxclients;             /* 10000 */
    _Atomic uint32_t timeout_s;              /* idle connections are closed after; 0: never */
    _Atomic uint32_t tcp_keepalive_s;        /* 300; 0: off */
    _Atomic uint32_t unauthenticated_s;      /* 10: time to AUTH */
    _Atomic bool protected_mode;             /* true */
    _Atomic uint64_t query_buffer_max;       /* client-query-buffer-limit, 1 GiB */
    _Atomic uint64_t bulk_max;               /* proto-max-bulk-len, 512 MiB */
    struct output_limits {                   /* client-output-buffer-limit, 0: none */
        _Atomic uint64_t hard, soft;         /* bytes */
        _Atomic uint32_t soft_s;             /* longer above soft than this: closed */
    } output[3];                             /* normal and replica: 256 MiB, 64 MiB, 60 s; pubsub: 32 MiB, 8 MiB, 60 s */
    _Atomic uint32_t failed_hold_ms;         /* how long replies are held while the log fails: 1000 */
    _Atomic int64_t clients_memory_max;      /* maxmemory-clients: above it the largest are closed. 0: none; below 0: percent of maxmemory */
    _Atomic uint64_t held_max;               /* unsent or gated bytes above which a connection is not read: 1 MiB */
};

void net_limits_init(struct net_limits *limits); /* the defaults above */

enum output_class { OUTPUT_NORMAL, OUTPUT_PUBSUB, OUTPUT_REPLICA };

struct net_config {
    const char *const *binds;       /* addresses; a leading '-': may be missing; "*" and "::*" as Redis; none: no TCP */
    size_t bind_count;
    uint16_t port;                  /* 0: no TCP */
    uint16_t other_port;            /* of `other`, on the same addresses; 0: none */
    const struct protocol *other;   /* a protocol beside RESP */
    uint16_t tls_port, other_tls_port; /* the same, over TLS (net_set_tls); 0: none */
    const char *unix_path;          /* NULL or "": none */
    unsigned unix_mode;             /* 0: what the umask leaves */
    int backlog;                    /* 511 */
    unsigned workers;               /* 1 .. WORKERS_MAX; the engine's number */
    struct net_limits *limits;      /* outlives the net */
    struct engine *engine;
    int default_durability;         /* enum durability of a new connection */
    void (*on_log_line)(void *context, int level, const char *line); /* levels as engine_config; may be NULL */
    void *context;
};

/* Binds, starts the workers, and accepts. On failure `detail` says which address and why. */
status net_start(const struct net_config *config, struct net **out, char *detail, size_t detail_size) HF_CHECK;

/* Listens where `config` says instead: of it only the addresses, ports and backlog count; the unix socket stays. When it
 * returns, what is not listened on any more refuses connections; those that stand go on. On failure nothing has changed.
 * By one worker at a time. */
status net_listen(struct net *n, const struct net_config *config, char *detail, size_t detail_size) HF_CHECK;

/* What TLS connections begin with from now on; a count of it is taken. NULL: none begins. Any thread, also before net_start. */
void net_set_tls(struct tls_context *context);

/* enum durability of connections from now on. */
void net_set_durability(struct net *n, int durability);

/* Replies may leave, or the gate opened: struct engine_config's wake_workers. The
 * context is not looked at; before net_start and after net_stop it does nothing. */
void net_wake_workers(void *context);

/* host.h's serve_aside and aside_over: the calling thread is the worker's. */
bool net_serve_aside(unsigned worker);
void net_aside_over(unsigned worker);

#ifdef HF_SIM
void net_forget(void); /* the process of before has crashed; nobody runs in it */
#endif

/* Stops accepting and reading, finishes what has arrived whole, sends what may be sent,
 * waits until the other machines have taken it, closes; after drain_ms closes the rest as they stand. Joins the workers and frees
 * everything: the engine can close after it. */
void net_stop(struct net *n, unsigned drain_ms);

#endif
