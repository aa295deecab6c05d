/* small_library.h -- the library with segments, ring and interval of a test's choice.
 *
 * hf_options has no such knobs. So this compiles src/engine/library.c once more, under
 * other names, with engine_open replaced by one that sets them; the hf_ functions of the
 * test are these.
 */
#ifndef HF_TEST_SMALL_LIBRARY_H
#define HF_TEST_SMALL_LIBRARY_H

#include "engine/internal.h"

static struct { uint64_t segment_size; size_t ring_size; uint32_t interval_ms; } small_options;

__attribute__((unused)) static status small_engine_open(const struct engine_config *config, struct engine **out,
                                                        char *detail, size_t size)
{
    struct engine_config c = *config;
    c.segment_size = small_options.segment_size;
    c.ring_size = small_options.ring_size;
    c.interval_ms = small_options.interval_ms;
    return engine_open(&c, out, detail, size);
}

#define engine_open small_engine_open
#define hf_open small_hf_open
#define hf_close small_hf_close
#define hf_snapshot small_hf_snapshot
#define hf_strerror small_hf_strerror
#define hf_begin small_hf_begin
#define hf_commit small_hf_commit
#define hf_rollback small_hf_rollback
#define hf_get small_hf_get
#define hf_set small_hf_set
#define hf_append small_hf_append
#define hf_incr_by small_hf_incr_by
#define hf_remove small_hf_remove
#define hf_expire_at small_hf_expire_at
#define hf_hash_set small_hf_hash_set
#define hf_hash_get small_hf_hash_get
#define hf_hash_remove small_hf_hash_remove
#define HF_INVALID_STATUS SMALL_HF_INVALID_STATUS
#include "../../../src/engine/library.c"
#undef engine_open

#endif
