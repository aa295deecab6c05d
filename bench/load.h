/* load.h -- the parts of holdfast-load and what they share.
 *
 *   load.c           options, threads, the report
 *   load_run.c       one thread: connections, closed loop, open loop
 *   load_protocol.c  requests built beforehand, replies counted as they come
 *
 * Times are nanoseconds of CLOCK_MONOTONIC.
 */
#ifndef HF_BENCH_LOAD_H
#define HF_BENCH_LOAD_H

#include "load_histogram.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

#define LOAD_KEY_MAX 1024u
#define LOAD_DRAIN_NS 10000000000u /* how long the end waits for replies that are due */
#define LOAD_TEXT_MAX 200u

enum load_protocol { PROTOCOL_RESP, PROTOCOL_MEMCACHED };
enum load_operation { OPERATION_GET, OPERATION_SET, OPERATION_MIXED, OPERATION_PING, OPERATION_COMMAND };
enum load_order { ORDER_UNIFORM, ORDER_ZIPF, ORDER_SEQUENTIAL };

struct load_options {
    const char *host, *password, *command;
    uint64_t port, threads, connections, pipeline;
    uint64_t keys, key_size, value_size, operations, seed;
    double rate, seconds, get_share, skew; /* rate 0: closed loop; operations 0 and seconds 0: no limit */
    enum load_protocol protocol;
    enum load_operation operation;
    enum load_order order;
    bool fill, json;
};

/* ---- load_protocol.c ---- */

#define LOAD_PLACES_MAX 8u

/* One request of a kind: one command, or several that count as one operation. The last `digits` (0: it has no key) of
 * each of its keys end at a place; all get the same number. */
struct request {
    uint8_t *data;
    size_t size, places[LOAD_PLACES_MAX];
    unsigned place_count, digits, replies;
};

/* Makes what o->operation needs; values of o->value_size bytes. */
struct request request_new(const struct load_options *o, enum load_operation operation);
/* What o->command says. */
struct request request_of_commands(const struct load_options *o);
/* Writes the key's number over its digits. at: where a copy of the request begins. */
void request_set_key(const struct request *r, uint8_t *at, uint64_t number);

struct reply_counts {
    uint64_t misses, errors;
    char first_error[LOAD_TEXT_MAX]; /* "" while there is none */
};

/* Where a stream of replies stands; zeroed at the start. */
struct reply_reader {
    enum load_protocol protocol;
    uint8_t hit[24];           /* the expected head of a hit (RESP) */
    size_t hit_size, value_size;
    size_t skip;               /* bytes of a value still to pass */
    unsigned replies;          /* of one request (RESP) */
    uint64_t partial, owed;    /* replies of a request so far; elements of arrays that are still to be passed over */
    bool hit_open;             /* memcached: the END of a hit is still to come */
    uint8_t line[LOAD_TEXT_MAX]; /* the start of a line that was cut; what is too long for it is dropped */
    size_t line_size;
    bool line_cut;
};

void reader_init(struct reply_reader *r, const struct load_options *o);
/* How many requests were answered in these bytes; -1: this is not the protocol, counts->first_error says where. */
int64_t reader_feed(struct reply_reader *r, const uint8_t *data, size_t size, struct reply_counts *counts);

/* ---- load_run.c ---- */

struct load_conn {
    int fd;
    bool watches_writable;
    unsigned in_flight;
    uint8_t *out;            /* room for `pipeline` requests */
    size_t out_size, out_sent;
    uint64_t batch_ns;       /* closed loop: when this batch was sent */
    uint64_t *intended_ns;   /* open loop: ring of `pipeline` */
    unsigned first;          /* of that ring */
    struct reply_reader reader;
};

struct load_thread {
    pthread_t thread;
    const struct load_options *options;
    unsigned number;
    struct load_conn *conns;
    unsigned conn_count;
    int epoll;
    uint64_t random;
    double zipf_zeta;
    uint64_t next_key, key_step; /* ORDER_SEQUENTIAL */
    uint64_t limit;              /* operations of this thread */
    uint64_t start_ns, stop_ns;  /* stop_ns UINT64_MAX: by count only */
    struct request get, set, ping, command;

    /* results, for whoever joined the thread */
    uint64_t sent, done, unfinished, end_ns, cpu_ns;
    struct histogram latency;
    struct reply_counts counts;
    char failure[512]; /* "" : it ran to its end */
};

uint64_t load_now_ns(void);
/* Connects conn_count connections; false: t->failure says why. */
bool load_thread_open(struct load_thread *t);
void load_thread_close(struct load_thread *t);
void *load_thread_run(void *thread);
/* The sum that a zipf draw needs. */
double zipf_zeta(uint64_t count, double skew);

#endif
