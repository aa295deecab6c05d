/* patience.h -- asked in each round of a loop that may take long, and in no other place.
 *
 * Whoever hands it down decides what happens meanwhile (cmd: others are served, call_goes_on), and may end the loop: it returns at
 * once then, and says nothing of what it has found; is_over tells why. NULL: nobody is asked.
 */
#ifndef HF_BASE_PATIENCE_H
#define HF_BASE_PATIENCE_H

#include "base/assert.h"

#include <stdbool.h>
#include <stddef.h>

struct patience {
    bool (*goes_on)(void *context, size_t work); /* work: of this round, about as many tenths of a microsecond */
    void *context;
    bool is_over;
};

HF_CHECK static inline bool patience_lasts(struct patience *p, size_t work)
{
    if (!p)
        return true;
    p->is_over = p->is_over || !p->goes_on(p->context, work);
    return !p->is_over;
}

#endif
