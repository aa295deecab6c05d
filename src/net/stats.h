/* stats.h -- the counters of the network layer, for INFO. Any thread. */
#ifndef HF_NET_STATS_H
#define HF_NET_STATS_H

#include <stdint.h>

struct net_stats {
    uint64_t connections_received, connections_rejected, connections_now;
    uint64_t commands, bytes_in, bytes_out, replica_bytes_out;      /* the last: to those that follow, and in bytes_out, too */
    uint64_t reads, writes, reads_aside, writes_aside; /* calls that moved bytes; of these, by other workers than the first */
    uint64_t parks;                 /* commands that waited for a lock or for credit */
    uint64_t protocol_errors;
    uint64_t query_limit_closed, output_limit_closed, idle_closed;
    uint64_t tls_refused;           /* handshakes that failed, were late, or too large */
    uint64_t clients_memory, evicted; /* held by all connections; closed because that was too much */
    uint64_t accept_errors;
    uint64_t parked_now, gated_now, waiting_now; /* connections waiting: for a lock; for the log with a reply; for a key */
    uint64_t paused_now;            /* for the end of CLIENT PAUSE */
    uint64_t step_us_max;           /* the longest step of a worker since the start: nobody was served meanwhile by it */
    uint64_t commands_per_second, bytes_in_per_second, bytes_out_per_second, replica_bytes_out_per_second; /* of the last second */
};

/* Of the connections as they are: how many listen to topics, watch keys, wait with an end; the largest buffers of the last seconds;
 * what is held for those that follow. */
struct client_totals { uint64_t listening, watching, timed, input_max, output_max, replicas_memory; };

void net_client_totals(struct client_totals *out);
void net_stats(struct net_stats *out);
void net_stats_reset(void); /* CONFIG RESETSTAT: totals count from zero */

#endif
