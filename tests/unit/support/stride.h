/* stride.h -- for tests that make every call fail, or flip every bit, in turn: HOLDFAST_STRIDE takes each n-th only.
 *
 * All are taken by default. script/test strides under ThreadSanitizer, where the figure is threads, not bits; the release and the
 * AddressSanitizer builds take all there, and script/soak does everywhere.
 */
#ifndef HF_TEST_STRIDE_H
#define HF_TEST_STRIDE_H

#include <stdint.h>
#include <stdlib.h>

static inline uint64_t stride(void)
{
    const char *text = getenv("HOLDFAST_STRIDE");
    uint64_t n = text ? strtoull(text, NULL, 10) : 1;
    return n ? n : 1;
}

#endif
