/* host.h -- what commands ask of the server around them: connections, settings,
 * statistics, its life. The server fills one struct host; tests may use a stub.
 *
 * Threads: callable from any worker, unless said.
 */
#ifndef HF_CMD_HOST_H
#define HF_CMD_HOST_H

#include "base/buf.h"
#include "base/status.h"

struct message;
struct session;
struct txn;

struct kill_filter { /* unset: NULL or 0 */
    uint64_t id;
    const char *address, *local_address;
    bytes user;
    bool has_user;
    int type;          /* 0 any, 1 normal, 2 master, 3 replica, 4 pubsub */
    uint64_t max_age_s;
    bool skip_me;
    uint64_t my_id;
};

struct engine_stats;
struct memory_facts { /* bytes, beside what the engine counts */
    uint64_t rss, startup;                /* of the process; used_memory when the server had started */
    uint64_t clients, scripts, functions; /* buffers of all connections; scripts kept by EVAL; libraries */
    uint64_t replicas, backlog;           /* of clients: for those that follow; the part of the stream that is kept */
    uint64_t active, resident;            /* pages that hold something, and those that the allocators have from the system */
};

/* How the server is to end; the first four are the words of shutdown-on-sigterm and shutdown-on-sigint, too. */
enum end_how { END_SAVE = 1, END_NOSAVE = 2, END_NOW = 4, END_FORCE = 8, END_ABORT = 16 };

struct host {
    /* settings (server/config): names are matched as Redis does, case-insensitive */
    void (*config_get)(bytes pattern, void (*each)(void *context, bytes name, bytes value), void *context);
    /* all or nothing; on refusal error is the whole text after "ERR ", as Redis words it */
    bool (*config_set)(const bytes *names, const bytes *values, size_t count, char *error, size_t error_size);
    status (*config_rewrite)(bool all, char *error, size_t error_size);
    /* connections (net) */
    void (*client_info)(const struct session *s, struct buf *out); /* one line of CLIENT LIST, own worker only */
    /* CLIENT LIST over all workers: lines are snapshots kept by each worker. */
    void (*client_list)(struct buf *out, const uint64_t *ids, size_t id_count, int type);
    void (*listener_list)(struct buf *out); /* a line "fd=N addr=A" for each socket that accepts connections */
    size_t (*client_kill)(const struct kill_filter *filter);
    /* A message to a worker's listeners (pubsub.h); takes over one hold. Never waits. */
    void (*post)(unsigned worker, struct message *m);
    int (*client_worker)(uint64_t id); /* -1: no such client */
    struct session *(*session_find)(unsigned worker, uint64_t id); /* by that worker only; NULL: none */
    /* From inside a long script or command: the calling worker serves its other connections for a moment. False: the server stops. */
    bool (*serve_aside)(unsigned worker);
    void (*aside_over)(unsigned worker); /* it has ended */
    void (*transfer)(struct session *s);   /* its s->transfer is sent from now on; it runs nothing else until then. Own worker only */
    bool (*client_unblock)(uint64_t id, bool error); /* false: no such client, or it does not wait */
    size_t (*client_count)(void);
    void (*users_changed)(void); /* every worker ends those of its connections that acl_session_keeps does not; never waits */
    void (*client_pause)(uint64_t until_ms, bool writes_only); /* until: OS.monotonic_us() / 1000; 0: unpause */
    void (*log_line)(int level, const char *line); /* 0 debug 1 verbose 2 notice 3 warning */
    bool (*debug_allowed)(bool is_local); /* enable-debug-command */
    /* life (server) */
    void (*info)(struct txn *t, const bytes *sections, size_t count, struct buf *out); /* t: the caller's; count 0: default */
    void (*memory_facts)(const struct engine_stats *engine, struct memory_facts *out);
    void (*reset_stats)(void);
    status (*snapshot_start)(void);          /* BGSAVE; HF_ERR_EXISTS when one runs */
    bool (*snapshot_follow)(void);           /* BGREWRITEAOF; true: once the one that runs has ended */
    status (*snapshot_wait)(void);           /* SAVE: blocks the worker until published */
    uint64_t (*snapshot_last_s)(void);       /* LASTSAVE, unix seconds */
    /* TLS: the files again, for new connections. On failure error says why, and what stood stays. */
    enum tls_refreshed { TLS_OFF, TLS_REFRESHED, TLS_KEPT } (*tls_refresh)(char *error, size_t error_size);
    bool (*tls_facts)(uint64_t *refused, uint64_t *age_s); /* handshakes that failed; since the files were read. False: there is no TLS */
    bool (*shutdown)(unsigned how); /* enum end_how. False: cannot save, or was aborted; END_ABORT: there is nothing to abort */
};

extern const struct host *host; /* set before the first command */

#endif
