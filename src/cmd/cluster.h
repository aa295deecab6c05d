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
/* Where clients are sent to; ip "": where they are connected to; bus_port 0: 10000 above. */
void cluster_announce(bytes ip, uint16_t port, uint16_t bus_port);

/* Do these words (EXEC: those queued) name keys of different slots? Then the error is replied. */
bool cluster_refuses(struct session *s, const struct command *row, const bytes *argv, size_t argc);

#endif
