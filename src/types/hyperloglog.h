/* hyperloglog.h -- estimated counts of distinct elements, in the string form that Redis documents.
 *
 * The value is an ordinary string: 16 bytes of header ("HYLL", encoding, 3 unused bytes, the cached
 * count: 8 bytes, little-endian, the top bit says that it is out of date), then 16384 registers of 6 bits, either packed
 * ("dense", always 12288 bytes) or as a run-length code ("sparse"). The bytes are those that redis-server 7.0 makes
 * of the same commands, so that values travel both ways.
 *
 * Strings come from clients: every call checks what it reads, and says so when a value is damaged.
 */
#ifndef HF_TYPES_HYPERLOGLOG_H
#define HF_TYPES_HYPERLOGLOG_H

#include "base/buf.h"

#define HLL_REGISTERS 16384u
#define HLL_HEADER_SIZE 16u
#define HLL_DENSE_SIZE (HLL_HEADER_SIZE + HLL_REGISTERS * 6 / 8)
#define HLL_SPARSE_SIZE_MAX (HLL_HEADER_SIZE + HLL_REGISTERS * 2) /* a valid one is never larger */

enum hll_result { HLL_SAME, HLL_CHANGED, HLL_DAMAGED };

/* 3000 as in Redis; set at start and by CONFIG SET. Above it a sparse value becomes dense. */
extern uint64_t hll_sparse_bytes_max;

bool hll_is_valid(bytes value);  /* by its header and, when dense, its size; the runs of a sparse one are not looked at */
bool hll_is_dense(bytes value);
void hll_make(struct buf *out);  /* appends an empty one, sparse */

/* True: adding the element would change nothing, which is seen at once of a dense value. */
bool hll_has_surely(bytes value, bytes element);

/* These change a valid value. */
enum hll_result hll_add(struct buf *h, bytes element);
enum hll_result hll_raise(struct buf *h, uint32_t index, uint8_t value); /* a register, to at least this: 1 to 63 */
bool hll_make_dense(struct buf *h);    /* false: damaged */
void hll_forget_count(struct buf *h);  /* after a change: the cached count is out of date */

/* The estimate as the header holds it; false: it is out of date. */
bool hll_cached_count(bytes value, uint64_t *count);
void hll_encode_count(uint64_t count, uint8_t out[8]); /* what stands at offset 8 */
#define HLL_COUNT_OFFSET 8u

/* False: damaged. */
bool hll_count(bytes value, uint64_t *count);
bool hll_merge(uint8_t registers[HLL_REGISTERS], bytes value); /* raises each register */
uint64_t hll_count_registers(const uint8_t registers[HLL_REGISTERS]);

/* Walks the runs of a sparse value; *offset begins at HLL_HEADER_SIZE. False: the end, or what is left is no run. */
struct hll_run {
    uint32_t length;
    uint8_t value; /* 0: registers that are 0 */
    uint8_t size;  /* of its code, in bytes */
};
bool hll_next_run(bytes value, size_t *offset, struct hll_run *run);

/* Where an element falls, and what its register is raised to. */
void hll_place(bytes element, uint32_t *index, uint8_t *value);

#endif
