/* worker.h -- one event loop: sockets, inbox, timers, a batch of commands, flushes.
 *
 * A step: wait (at most as told) -> events, inbox, timers fill the ready list -> one
 * batch runs it -> flush -> housekeeping. Between steps nothing of a command is in the
 * worker, so one thread can step many workers in turn.
 *
 * Sockets are edge-triggered for both directions: a connection that must not be read
 * (parked, held replies) is simply not read, without a system call.
 */
#ifndef HF_NET_WORKER_H
#define HF_NET_WORKER_H

#include "base/counter.h"
#include "net/conn.h"
#include "net/net.h"
#include "net/tls.h"

#define RUN_CHUNK 64              /* commands parsed, prefetched and run together */
#define READ_SHARED (64u << 10)   /* one per worker: idle connections hold no input memory */
#define READ_MIN (16u << 10)
#define READ_AHEAD 1024           /* what a connection reads at most before its turn */
#define READ_LITTLE 256           /* more than that at once is left to the shared buffer */
#define AHEAD_COUNT EXPECT_MAX    /* so many connections read together */

struct worker_stats { /* written by the owner only */
    _Atomic uint64_t received, rejected, commands, bytes_in, bytes_out, replica_bytes_out, parks, protocol_errors;
    _Atomic uint64_t query_closed, output_closed, idle_closed, accept_errors, tls_refused, parked_now, gated_now, waiting_now, paused_now;
    _Atomic uint64_t reads, writes;
    _Atomic uint64_t clients_memory, evicted; /* what its connections hold; those that it has asked to end for all that is held */
    _Atomic uint64_t step_us_max; /* the longest step, without its wait for events */
};

#define PEAK_SECONDS 8u
struct peaks { /* of buffers: a slot for each of the last seconds; written by the owner only */
    _Atomic uint64_t input[PEAK_SECONDS], output[PEAK_SECONDS], second[PEAK_SECONDS];
};

enum pause_mode { PAUSE_NONE, PAUSE_WRITES, PAUSE_ALL };

struct worker {
    struct net *net;
    unsigned number;
    struct exec *exec;
    int epoll;
    struct inbox inbox;
    _Atomic bool wants_wake; /* set before a sleep with gated replies or a shut gate (net_wake_workers) */
    _Atomic bool kill_asked, unblock_asked, users_changed;
    bool user_due;           /* that of a connection in the middle of its command has yet to be looked at */
    bool draining, drained;

    uint64_t now_us;         /* monotonic, of this step */
    uint64_t written, durable;
    int log_state;           /* enum log_state, as last seen */
    uint64_t log_failed_us;  /* since when it is not LOG_OK; 0: it is */
    uint64_t housekeeping_us, tend_us, accept_again_us, accept_told_us, evict_again_us;
    uint64_t chunk;          /* counts chunks of commands, for merging marks */
    enum pause_mode pause;
    bool gate_shut, listening;
    struct listeners *listeners; /* that it watches */

    struct link ready, turn, flush, flush_on, gated, sleeping, graveyard; /* turn: ready ones of the batch that runs; flush_on: go on in the next step */
    struct timers timers;
    uint64_t shakes_us;      /* the step that `shakes` is of */
    unsigned shakes;         /* handshakes of TLS that it has taken further */
    struct registry registry;
    size_t tend_at;
    struct conn *serving;
    size_t running;          /* bytes of the commands of `serving` that were taken together; 0: none runs */
    size_t ghosts;           /* dead connections whose wake-up is on its way */

    /* what a batch works with; swapped for that of `aside` while a long script's batch is interrupted */
    uint8_t *shared;         /* READ_SHARED bytes */
    struct resp_words words;
    struct arena text;
    struct parsed_command *batch; /* RUN_CHUNK */
    struct pushes pushes;    /* for `serving`, while its command is in the middle of its work; else empty */

    struct worker_aside *aside; /* NULL until first needed */
    bool aside_now;          /* inside worker_aside_step */

    struct peaks peaks;
    _Alignas(64) struct worker_stats stats;
};

struct net {
    struct net_limits *limits;
    struct engine *engine;
    _Atomic int default_durability;
    void (*on_log_line)(void *context, int level, const char *line);
    void *context;
    struct listeners *listeners; /* the newest; net_listen's */
    unsigned worker_count;
    struct worker *workers[64];
    os_thread threads[64];
    _Atomic bool stopping;
    _Atomic uint64_t stop_at_us;
    _Atomic uint64_t next_id;
    _Atomic uint32_t next_worker;
    _Atomic uint64_t connections;
    _Atomic uint64_t pause_until_ms;
    _Atomic bool pause_writes_only;
    struct spin evicting; /* somebody looks for the largest clients */
    /* sampled once a second by worker 0 */
    uint64_t sample_us, sample_commands, sample_in, sample_out, sample_replica_out;
    _Atomic uint64_t commands_per_second, in_per_second, out_per_second, replica_out_per_second;
    struct net_stats zero; /* what CONFIG RESETSTAT forgot */
};

status worker_new(struct net *n, unsigned number, struct worker **out) HF_CHECK;
void worker_free(struct worker *w);
/* One iteration; waits only in epoll_wait, at most timeout_ms (-1: as long as nothing is due). */
void worker_step(struct worker *w, int timeout_ms);
/* From inside a script that this worker runs: one step for the other connections, without waiting. False: the server stops. */
bool worker_aside_step(struct worker *w);
void worker_aside_over(struct worker *w); /* the script has ended */
void worker_aside_free(struct worker *w);
/* The parts of a step that worker_aside.c takes, too. */
int worker_take_events(struct worker *w, int wait_ms); /* how many there were */
void worker_take_inbox(struct worker *w);               /* what has arrived till now */
void worker_update_pause(struct worker *w);             /* CLIENT PAUSE, as it is now */
void worker_take_kills(struct worker *w);
void worker_take_user_changes(struct worker *w);
bool worker_look_at_log(struct worker *w);
void worker_flush(struct worker *w, bool moved);
void *worker_main(void *worker);
void worker_limit_clients(struct worker *w);    /* maxmemory-clients: ends the largest; between two connections */
void worker_mark_excess(struct worker *w);      /* the same, but those of its own that have to go stay until the step's end */
bool worker_gives_up(const struct worker *w);   /* the log has failed for too long: held replies become errors */
int worker_watch_talk(struct worker *w, int fd, struct conn *c); /* its events call conn_talk; -errno: they do not */
bool worker_is_current(const struct worker *w); /* whether the calling thread steps it */

struct net *net_running(void); /* NULL: none */
struct tls_context *net_tls(void); /* a count of it; NULL: none */
void net_sum(const struct net *n, struct net_stats *out);
void net_sample(struct net *n, uint64_t now_us);
void net_log(const struct net *n, int level, const char *format, ...) HF_PRINTF(3, 4);

#endif
