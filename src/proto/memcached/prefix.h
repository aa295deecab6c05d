/* prefix.h -- `stats detail`: how often keys are asked for, by what stands before their first colon.
 *
 * Any thread. Keys without a colon are not counted, and no new prefix beyond PREFIXES_MAX of them.
 */
#ifndef HF_PROTO_MEMCACHED_PREFIX_H
#define HF_PROTO_MEMCACHED_PREFIX_H

#include "base/buf.h"
#include "proto/memcached/observe.h"

#define PREFIXES_MAX 10000

enum prefix_event { PREFIX_MISS, PREFIX_HIT, PREFIX_SET, PREFIX_DELETE };

void prefix_count_one(bytes key, enum prefix_event event);

static inline void prefix_count(bytes key, enum prefix_event event)
{
    if (memcached_observes(COUNT_PREFIXES))
        prefix_count_one(key, event);
}

void prefix_switch(bool on); /* what was counted stays */
void prefix_forget(void);
void prefix_dump(struct buf *out); /* a line each, and END */

#endif
