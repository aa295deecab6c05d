/* latency.h -- what took long lately, by kind of event, for LATENCY.
 *
 * Off at first: then a look costs one load. Threads: any; what is too long is rare enough for one lock.
 */
#ifndef HF_OS_LATENCY_H
#define HF_OS_LATENCY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum latency_event {
#define EVENT(id, name, advice) LATENCY_##id,
#include "os/latency.def"
#undef EVENT
    LATENCY_EVENTS
};

#define LATENCY_SAMPLES 160 /* kept of each event: the worst one of a second, of the seconds that had any */

struct latency_sample { uint64_t time_s, ms; };
struct latency_series {
    uint64_t max_ms;             /* since the last reset */
    size_t count;                /* 0: never seen */
    struct latency_sample samples[LATENCY_SAMPLES]; /* the oldest first */
};

extern _Atomic uint64_t latency_threshold_ms; /* 0: off */

static inline bool latency_is_on(void) { return atomic_load_explicit(&latency_threshold_ms, memory_order_relaxed) != 0; }
void latency_note(enum latency_event event, uint64_t us); /* kept when it is on and this is not below the threshold */

/* From a look at the clock to another: 0 while it is off. */
uint64_t latency_begin_us(void);
void latency_end(enum latency_event event, uint64_t begin_us);

const char *latency_name(enum latency_event event);
const char *latency_advice(enum latency_event event);
void latency_copy(enum latency_event event, struct latency_series *out);
bool latency_reset(enum latency_event event); /* false: there was nothing */

#endif
