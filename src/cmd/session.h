/* session.h -- what a connection is to the commands: state that outlives one command.
 *
 * Owner: the connection's worker. Other threads reach a session only through host.h.
 */
#ifndef HF_CMD_SESSION_H
#define HF_CMD_SESSION_H

#include "base/arena.h"
#include "cmd/reply.h"
#include "store/key.h"

#include <stdatomic.h>

struct acl_user;
struct dict;
struct replica; /* replicas.h */
struct tracking; /* tracking.h */
struct script_locks;
struct waiter; /* engine/wait.h */
struct watch;
struct talk;    /* talk.h */
struct transfer; /* transfer.h */
struct watcher; /* engine/internal.h: registrations of WATCH */

struct queued_command { const struct command *command; bytes *argv; size_t argc; };

struct session {
    uint64_t id;
    uint32_t db;
    bool authenticated;
    const struct acl_user *user; /* a count of it (acl.h); NULL: before there are users, nothing is refused */
    uint64_t acl_pass;        /* the version of the users under which nothing is refused to it; 0: look */
    uint64_t acl_seen;        /* the version that `user` is from */
    bool close_after_reply;   /* QUIT, protocol error, CLIENT KILL of oneself */
    bool no_touch, no_evict;
    enum { REPLY_ON, REPLY_OFF, REPLY_SKIP_NEXT, REPLY_SKIP } reply_mode; /* CLIENT REPLY */
    bool pushed;              /* the running command has answered with pushes, which no CLIENT REPLY silences */
    int durability;           /* enum durability: the wait of this connection */
    struct reply reply;
    struct key expected;      /* what its next command probably asks for, located ahead (exec_expect); name.data NULL: nothing */
    /* MULTI */
    bool in_multi, multi_aborted;
    bool strict, multi_strict; /* CLIENT STRICT; MULTI STRICT: an error undoes the whole transaction (ADR 0007) */
    struct queued_command *queue;
    size_t queue_count, queue_capacity, queue_bytes, queue_words;
    struct arena queue_arena; /* the words of the queue */
    struct watch *watches;    /* NULL: none */
    struct watcher *watcher;  /* of `watches`, dirty: the next EXEC replies nil; NULL: has never watched */
    size_t watch_bytes;       /* what `watches` takes */
    /* names shown by CLIENT LIST: "" when unset */
    char name[128], lib_name[64], lib_version[64];
    const char *last_command; /* full name, lower case; static */
    bool in_script;           /* what a script's commands see: no connection's own */
    void *connection;         /* the net layer's own */
    void *protocol;           /* the protocol's own; NULL: RESP */
    bool over_tls;
    bool is_local;            /* from this machine: loopback, or the unix socket */
    const char *address;      /* the peer's, as CLIENT LIST shows it; NULL: none */
    const char *local_address; /* that of this server, likewise */
    unsigned worker;          /* the number of its worker */
    size_t listens, topic_bytes; /* how many topics, and the length of their names in memory */
    bool monitors;            /* MONITOR: is shown every command */
    bool looks_on;            /* MONITOR, or a replica: it may not touch keys */
    bool is_told;             /* a protocol tells it of others, so it is never idle */
    bool findable;            /* tracking: its worker finds it by its number */
    struct replica *replica;  /* NULL: it has never said that it is one */
    struct tracking *tracking; /* client-side caching; NULL: never asked for */
    struct dict *topics;      /* pubsub: what it listens to, by enum topic_kind; NULL: nothing */
    /* waiting for a key (EXEC_WAITING) */
    struct waiter *waiter;    /* NULL: not waiting */
    uint64_t wait_until_us;   /* monotonic; 0: as long as it takes */
    uint64_t await_lsn, await_offset, await_until_us, await_look_us; /* WAIT, WAITAOF: for what, until when, and the pause before the next look */
    bool wait_over;           /* the time is up: the command runs once more and may not wait */
    struct talk *talk;        /* with another server, which its command waits for; NULL: none */
    struct transfer *transfer; /* the data set, which it waits for and is sent (SYNC); NULL: none */
    struct script_locks *script; /* exec_script: what its script has to lock; NULL: none is under way */
    uint64_t sleep_until_us;  /* DEBUG SLEEP, CLIENT PAUSE: this connection is served again after (monotonic) */
};

void session_init(struct session *s, uint64_t id, const struct reply_ops *ops, struct buf *out);
void session_reset(struct session *s);   /* RESET: as new, unwatched */
void session_leave(struct session *s);   /* closed: no message reaches it any more */
void session_release(struct session *s); /* unwatches; frees the queue */
static inline bool session_is_strict(const struct session *s) { return s->strict || s->multi_strict; }
/* To a channel, pattern or shard channel. */
static inline bool session_listens(const struct session *s) { return s->listens > 0; }
void session_unwatch(struct session *s); /* forgets every WATCH; never waits; watch.c */
bool session_is_dirty(const struct session *s); /* a watched key has changed */

#endif
