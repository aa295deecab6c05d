/* clients.h -- what the rest of the server may see and do about connections: CLIENT
 * LIST, INFO, KILL, PAUSE. The functions fit struct host.
 *
 * Each worker has a registry: an array of its connections under a spin lock. Its owner
 * refreshes a connection's record after serving it: numbers are relaxed atomics, texts
 * change under the lock. Others read under the lock; so a line is a snapshot, at most
 * one step old.
 */
#ifndef HF_NET_CLIENTS_H
#define HF_NET_CLIENTS_H

#include "cmd/host.h"
#include "net/listener.h"
#include "os/thread.h"

#include <stdatomic.h>

struct acl_user;
struct conn;
struct waiter;
struct worker;

struct client_record {
    uint64_t id;
    int fd;
    uint64_t created_us;
    char address[PEER_TEXT_MAX], local[PEER_TEXT_MAX];
    char name[128], lib_name[64], lib_version[64]; /* guarded by the registry's lock */
    const struct acl_user *user;      /* a count of it; guarded by the registry's lock */
    _Atomic uint64_t active_us;
    _Atomic uint32_t db;
    _Atomic int32_t multi;            /* queued commands; -1: not in MULTI */
    _Atomic uint32_t resp;
    _Atomic uint64_t multi_memory, query, query_free, output, output_memory, memory;
    _Atomic(const char *) command;
    _Atomic uint16_t flags;           /* of enum record_flags */
    _Atomic bool kill;                /* another worker asks for its end */
    struct waiter *waiter;            /* of a command that waits for a key; guarded by the registry's lock */
    _Atomic int64_t redirect;         /* of invalidations; -1: none are asked for */
    _Atomic uint32_t channels, patterns, shards; /* that it listens to */
    _Atomic uint32_t unblock;         /* of enum unblock: another worker has withdrawn the waiter */
};

enum unblock { UNBLOCK_NONE, UNBLOCK_TIMEOUT, UNBLOCK_ERROR };

enum record_flags { RECORD_BLOCKED = 1, RECORD_CLOSING = 2, RECORD_UNIX = 4, RECORD_NO_EVICT = 8, RECORD_NO_TOUCH = 16,
                    RECORD_TRACKING = 32, RECORD_BROKEN = 64, RECORD_BCAST = 128, RECORD_MONITOR = 256, RECORD_DIRTY = 512,
                    RECORD_WATCHING = 1024, RECORD_TIMED = 2048, RECORD_REPLICA = 4096 };

struct registry {
    struct spin lock;
    struct conn **items;
    size_t count, capacity;
};

void registry_add(struct worker *w, struct conn *c);
void registry_remove(struct worker *w, struct conn *c);
void client_record_refresh(struct conn *c); /* owner */

void net_client_info(const struct session *s, struct buf *out); /* a line with its '\n' */
void net_client_list(struct buf *out, const uint64_t *ids, size_t id_count, int type);
void net_listener_list(struct buf *out); /* of the calling worker; "fd=N addr=A" and '\n' for each */
size_t net_client_kill(const struct kill_filter *filter);
size_t net_client_count(void);
void net_users_changed(void);
int net_client_worker(uint64_t id);       /* -1: no such client */
struct session *net_session_find(unsigned worker, uint64_t id);
bool net_client_unblock(uint64_t id, bool error); /* false: it does not wait */
void net_post(unsigned worker, struct message *m);
void conn_transfer(struct session *s); /* its s->transfer is sent from now on (conn_file.c) */
void net_client_pause(uint64_t until_ms, bool writes_only); /* until_ms: monotonic; 0: go on */

#endif
