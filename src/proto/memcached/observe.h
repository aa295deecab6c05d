/* observe.h -- whether anybody looks at what commands do: connections that watch (watch.h), counts by prefix (prefix.h).
 * One test of a word that hardly ever changes, while nobody does.
 */
#ifndef HF_PROTO_MEMCACHED_OBSERVE_H
#define HF_PROTO_MEMCACHED_OBSERVE_H

#include "base/status.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum observed { WATCH_FETCHERS = 1, WATCH_MUTATIONS = 2, WATCH_EVICTIONS = 4, WATCH_CONNEVENTS = 8, COUNT_PREFIXES = 16 };

extern _Atomic uint32_t memcached_observed; /* of enum observed */

static inline bool memcached_observes(uint32_t what)
{
    return HF_UNLIKELY(atomic_load_explicit(&memcached_observed, memory_order_relaxed) & what);
}

#endif
