/* cluster.h -- cluster-enabled yes: a cluster of one node, which owns all slots. Clients for clusters work with it, and what a
 * cluster refuses is refused, so that an application that passes here passes on several nodes.
 *
 * Threads: `on` is set before the first command and stays; the rest is behind a lock.
 */
#ifndef HF_CMD_CLUSTER_H
#define HF_CMD_CLUSTER_H

#include "cmd/command.h"

#define CLUSTER_SLOTS 16384u
#define CLUSTER_ID_SIZE 40

extern bool cluster_on;

void cluster_start(uint64_t identity); /* identity: the data directory's; the node keeps its name over restarts */
/* Where clients are sent to; ip "": where they are connected to; hostname "": there is none; bus_port 0: 10000 above. */
struct cluster_place {
    bytes ip, hostname; /* copied */
    uint16_t port, tls_port, bus_port; /* tls_port: for clients over TLS; one that is 0 is replaced by the other */
    enum cluster_endpoint { ENDPOINT_IP, ENDPOINT_HOSTNAME, ENDPOINT_UNKNOWN } endpoint; /* which of them CLUSTER SLOTS gives */
};
void cluster_announce(const struct cluster_place *place);

/* Do these words (EXEC: those queued) name keys of different slots? Then the error is replied. */
bool cluster_refuses(struct session *s, const struct command *row, const bytes *argv, size_t argc);

/* What a script may do in a cluster: each of its commands has keys of one slot, and all have the same one when `one_slot` is set
 * (scripts with a shebang, and functions, without the flag allow-cross-slot-keys). The slot is that of the keys it declares, or of
 * its transaction; CLUSTER_SLOTS: none yet. */
struct cluster_script { uint16_t slot; bool one_slot; };
void cluster_script_begin(struct cluster_script *k, const struct session *s, const struct command *row, const bytes *argv, size_t argc);
bool cluster_refuses_script(struct cluster_script *k, const struct command *row, const bytes *argv, size_t argc, struct reply *r);
bool cluster_refuses_flag(bool no_cluster, struct reply *r); /* true: replied */

#endif
