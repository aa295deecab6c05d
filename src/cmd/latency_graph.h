/* latency_graph.h -- the samples of an event as a picture of letters, for LATENCY GRAPH; in the form that Redis draws. */
#ifndef HF_CMD_LATENCY_GRAPH_H
#define HF_CMD_LATENCY_GRAPH_H

#include "base/buf.h"
#include "os/latency.h"

/* count is not 0. Behind the picture stands below each column how long ago it was. */
void latency_graph(const char *event, const struct latency_series *series, uint64_t now_s, struct buf *out);

#endif
