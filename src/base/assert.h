/* assert.h -- hf_assert stops the process when holdfast itself is wrong.
 *
 * On in release builds too: stopping is kinder to data than going on. Bytes from
 * a client or a disk are never asserted on; they get a status.
 */
#ifndef HF_BASE_ASSERT_H
#define HF_BASE_ASSERT_H

#define hf_assert(condition)                                                                       \
    (__builtin_expect(!!(condition), 1) ? (void)0 : hf_assert_failed(#condition, __FILE__, __LINE__))

_Noreturn void hf_assert_failed(const char *condition, const char *file, int line);

#define HF_LIKELY(x) __builtin_expect(!!(x), 1)
#define HF_UNLIKELY(x) __builtin_expect(!!(x), 0)

#define HF_INLINE static inline __attribute__((always_inline)) /* where a call would cost more than the body */
/* Reads what other threads may be writing, and can do with any value. */
#define HF_RACES_BY_DESIGN __attribute__((no_sanitize("thread")))

/* Results that must be looked at. */
#define HF_CHECK __attribute__((warn_unused_result))
#define HF_PRINTF(text_at, first) __attribute__((__format__(__printf__, text_at, first)))

#endif
