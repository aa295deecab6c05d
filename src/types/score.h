/* score.h -- scores as 64-bit numbers of the same order.
 *
 * The bits of a double, turned so that they sort as the numbers do: negative numbers inverted, the others with the top bit set.
 */
#ifndef HF_TYPES_SCORE_H
#define HF_TYPES_SCORE_H

#include <stdint.h>
#include <string.h>

#define SCORE_SIGN (UINT64_C(1) << 63)

static inline uint64_t score_order(double score)
{
    uint64_t bits;
    score += 0.0; /* -0 becomes 0 */
    memcpy(&bits, &score, sizeof(bits));
    return bits & SCORE_SIGN ? ~bits : bits | SCORE_SIGN;
}

static inline double score_of_order(uint64_t order)
{
    uint64_t bits = order & SCORE_SIGN ? order & ~SCORE_SIGN : ~order;
    double score;
    memcpy(&score, &bits, sizeof(score));
    return score;
}

#endif
