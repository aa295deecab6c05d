/* percentiles.h -- latency-tracking-info-percentiles, and INFO latencystats, which shows them. */
#ifndef HF_SERVER_PERCENTILES_H
#define HF_SERVER_PERCENTILES_H

#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>

#define PERCENTILES_MAX 64

/* Words of 0 to 100. False: `reason` says why. */
bool percentiles_parse(const char *text, double out[PERCENTILES_MAX], size_t *count, char *reason, size_t reason_size);
void percentiles_word(const double *percents, size_t count, char *out, size_t size); /* as CONFIG GET shows them */
void info_latencystats(struct buf *out); /* a line for each command that has run */

#endif
