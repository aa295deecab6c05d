/* watch.h -- `watch`: a connection that is told, a line each, what others fetch and store, what is evicted, who comes and goes.
 *
 * Lines of a command leave when it commits (what is undone is not told), and wait for no log, as those of MONITOR. What is
 * kept for those who read is bounded twice: lines on their way to a worker (else they are dropped), and the output of a
 * connection that watches (else they are skipped, and it is told how many when it reads on). Nobody waits for a watcher.
 * Threads: any worker; a watcher belongs to that of its connection.
 */
#ifndef HF_PROTO_MEMCACHED_WATCH_H
#define HF_PROTO_MEMCACHED_WATCH_H

#include "proto/memcached/memcached.h"
#include "proto/memcached/observe.h"
#include "proto/memcached/storage.h"

#define WATCH_KEPT_MAX (256u << 10)   /* bytes of output that a watcher has not taken */
#define WATCH_QUEUED_MAX (1u << 20)   /* bytes of lines on their way to a worker */

/* Call these while somebody watches the stream (memcached_observes). */
void watch_item_get(struct call *c, bytes key, const struct item *item);
struct watched_store { const char *status, *command; uint64_t ttl_s; size_t size; bool placed; /* in a class */ };
void watch_item_store(struct call *c, bytes key, const struct watched_store *store);
void watch_connection(const struct memcached *m, const char *reason); /* NULL: it is new */

void watch_leave(struct memcached *m); /* the connection ends */

struct watch_counts { uint64_t watchers, written, dropped, sent, skipped; };
void watch_counts(struct watch_counts *out);
void watch_counts_reset(void);

#endif
