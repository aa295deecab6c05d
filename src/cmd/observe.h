/* observe.h -- whether anybody watches what commands do: sessions that cache (tracking.h) or MONITOR (monitor.h).
 * One test per command while nobody does.
 */
#ifndef HF_CMD_OBSERVE_H
#define HF_CMD_OBSERVE_H

#include "base/status.h"

#include <stdatomic.h>

extern _Atomic uint32_t observer_count;

static inline bool observed(void)
{
    return HF_UNLIKELY(atomic_load_explicit(&observer_count, memory_order_relaxed) != 0);
}

#endif
