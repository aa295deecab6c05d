/* intset.h -- a sorted array of distinct 64-bit integers, in as few bytes each as they need.
 *
 * The small form of a set whose members are all integers. All numbers have the width of the
 * widest that was ever in it: 2, 4 or 8 bytes. Meant for some hundred numbers: adding and removing move
 * the rest of the array. Owner: the set that holds it.
 */
#ifndef HF_TYPES_INTSET_H
#define HF_TYPES_INTSET_H

#include "base/bytes.h"

struct intset {
    void *numbers;              /* ascending; NULL while nothing was ever added */
    uint32_t count, capacity;   /* numbers, not bytes */
    uint32_t width;             /* bytes of a number; 0 with numbers NULL */
};

void intset_release(struct intset *s);
struct intset intset_dup(const struct intset *s);
bool intset_has(const struct intset *s, int64_t value);
bool intset_add(struct intset *s, int64_t value);    /* true: it is new */
bool intset_remove(struct intset *s, int64_t value); /* false: was absent */
int64_t intset_at(const struct intset *s, uint32_t index);
size_t intset_memory(const struct intset *s);
void intset_check(const struct intset *s);

#endif
