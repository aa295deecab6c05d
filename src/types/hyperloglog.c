/* hyperloglog.c -- Flajolet's HyperLogLog with the estimator of Ertl.
 *
 * An element's 64-bit hash: the low 14 bits choose a register, which holds the highest rank seen; the rank is the number of
 * the lowest one among the other 50 bits, from 1.
 *
 * Estimate: "New cardinality estimation algorithms for HyperLogLog sketches" (Otmar Ertl, 2017), algorithm 6: a
 * histogram of the ranks and two series. No tables of empirical corrections are needed.
 *
 * Sparse code, one run each: 00llllll (zeros, length l + 1), 01llllll llllllll (zeros, length l + 1, high byte first),
 * 1vvvvvll (value v + 1, length l + 1). Raising a register cuts its run in up to three and then joins equal
 * neighbours among the five runs from the one before. That is what Redis does; joining more would be smaller, and
 * different bytes.
 */
#include "types/hyperloglog.h"

#include "base/wire.h"

#include <math.h>

#define INDEX_BITS 14
#define RANK_BITS (64 - INDEX_BITS)
#define RANK_MAX (RANK_BITS + 1)
#define REGISTER_MAX 63 /* six bits: what a client wrote by itself may be above RANK_MAX */
#define ALPHA_INFINITE 0.721347520444481703680 /* 1 / (2 ln 2) */

#define ENCODING_OFFSET 4
#define ENCODING_DENSE 0
#define ENCODING_SPARSE 1
#define SPARSE_VALUE_MAX 32
#define VALUE_RUN_MAX 4
#define SHORT_ZEROS_MAX 64
#define JOIN_RUNS 5 /* looked at after a change */

uint64_t hll_sparse_bytes_max = 3000; /* the default of Redis */

static const uint8_t magic[4] = {'H', 'Y', 'L', 'L'};

/* ---- the hash: MurmurHash64A (Austin Appleby, public domain) ---- */

static uint64_t murmur64a(bytes key, uint64_t seed)
{
    const uint64_t m = UINT64_C(0xc6a4a7935bd1e995);
    uint64_t hash = seed ^ key.size * m;
    size_t whole = key.size & ~(size_t)7, rest = key.size & 7;
    for (size_t i = 0; i < whole; i += 8) {
        uint64_t word = get_u64(key.data + i) * m;
        hash = (hash ^ (word ^ word >> 47) * m) * m;
    }
    if (rest) {
        uint64_t word = 0;
        for (size_t i = rest; i-- > 0;)
            word = word << 8 | key.data[whole + i];
        hash = (hash ^ word) * m;
    }
    hash = (hash ^ hash >> 47) * m;
    return hash ^ hash >> 47;
}

void hll_place(bytes element, uint32_t *index, uint8_t *value)
{
    uint64_t hash = murmur64a(element, 0xadc83b19);
    *index = (uint32_t)(hash & (HLL_REGISTERS - 1));
    uint64_t rest = hash >> INDEX_BITS | UINT64_C(1) << RANK_BITS; /* the rank ends there at last */
    *value = (uint8_t)(__builtin_ctzll(rest) + 1);
}

/* ---- header ---- */

bool hll_is_dense(bytes value)
{
    return value.data[ENCODING_OFFSET] == ENCODING_DENSE;
}

bool hll_is_valid(bytes value)
{
    return value.size >= HLL_HEADER_SIZE && memcmp(value.data, magic, sizeof(magic)) == 0 &&
           value.data[ENCODING_OFFSET] <= ENCODING_SPARSE && (!hll_is_dense(value) || value.size == HLL_DENSE_SIZE);
}

bool hll_cached_count(bytes value, uint64_t *count)
{
    *count = get_u64(value.data + HLL_COUNT_OFFSET);
    return !(*count >> 63);
}

void hll_encode_count(uint64_t count, uint8_t out[8])
{
    put_u64(out, count);
}

void hll_forget_count(struct buf *h)
{
    h->data[HLL_COUNT_OFFSET + 7] |= 0x80;
}

/* ---- dense registers: 6 bits each, from the low bits of a byte on ---- */

static uint8_t dense_get(const uint8_t *registers, uint32_t index)
{
    uint32_t bit = index * 6, at = bit / 8, shift = bit % 8;
    uint32_t window = registers[at];
    if (shift > 2)
        window |= (uint32_t)registers[at + 1] << 8;
    return window >> shift & 63;
}

static void dense_set(uint8_t *registers, uint32_t index, uint8_t value)
{
    uint32_t bit = index * 6, at = bit / 8, shift = bit % 8;
    registers[at] = (uint8_t)((registers[at] & ~(63u << shift)) | (uint32_t)value << shift);
    if (shift > 2)
        registers[at + 1] = (uint8_t)((registers[at + 1] & ~(63u >> (8 - shift))) | (uint32_t)value >> (8 - shift));
}

/* Four registers fill three bytes. */
static void dense_unpack(const uint8_t *registers, uint32_t group, uint8_t out[4])
{
    const uint8_t *in = registers + group * 3;
    uint32_t window = in[0] | (uint32_t)in[1] << 8 | (uint32_t)in[2] << 16;
    for (int i = 0; i < 4; i++)
        out[i] = window >> (6 * i) & 63;
}

static enum hll_result dense_raise(struct buf *h, uint32_t index, uint8_t value)
{
    uint8_t *registers = h->data + HLL_HEADER_SIZE;
    if (dense_get(registers, index) >= value)
        return HLL_SAME;
    dense_set(registers, index, value);
    return HLL_CHANGED;
}

bool hll_has_surely(bytes value, bytes element)
{
    uint32_t index;
    uint8_t rank;
    if (!hll_is_dense(value))
        return false;
    hll_place(element, &index, &rank);
    return dense_get(value.data + HLL_HEADER_SIZE, index) >= rank;
}

/* ---- sparse runs ---- */

bool hll_next_run(bytes value, size_t *offset, struct hll_run *run)
{
    if (*offset >= value.size)
        return false;
    uint8_t code = value.data[*offset];
    if (code & 0x80) {
        *run = (struct hll_run){(code & 3u) + 1, (uint8_t)((code >> 2 & 31) + 1), 1};
    } else if (!(code & 0x40)) {
        *run = (struct hll_run){code + 1u, 0, 1};
    } else {
        if (*offset + 1 >= value.size)
            return false;
        *run = (struct hll_run){((code & 63u) << 8 | value.data[*offset + 1]) + 1, 0, 2};
    }
    *offset += run->size;
    return true;
}

static uint8_t value_code(uint8_t value, uint32_t length)
{
    return (uint8_t)(0x80 | (value - 1) << 2 | (length - 1));
}

/* Writes a run of `length`, none for 0; returns the place after it. */
static uint8_t *put_run(uint8_t *out, uint8_t value, uint32_t length)
{
    if (length == 0)
        return out;
    if (value) {
        *out++ = value_code(value, length);
    } else if (length <= SHORT_ZEROS_MAX) {
        *out++ = (uint8_t)(length - 1);
    } else {
        *out++ = (uint8_t)(0x40 | (length - 1) >> 8);
        *out++ = (uint8_t)(length - 1);
    }
    return out;
}

void hll_make(struct buf *out)
{
    uint8_t value[HLL_HEADER_SIZE + 2] = {0};
    memcpy(value, magic, sizeof(magic));
    value[ENCODING_OFFSET] = ENCODING_SPARSE;
    put_run(value + HLL_HEADER_SIZE, 0, HLL_REGISTERS);
    buf_append(out, value, sizeof(value));
}

/* Shows every run of a sparse value; they cover all registers exactly, or it is damaged (false). */
static bool each_run(bytes value, void (*show)(void *context, uint32_t first, uint32_t length, uint8_t rank), void *context)
{
    uint32_t index = 0;
    struct hll_run run;
    size_t offset = HLL_HEADER_SIZE;
    while (hll_next_run(value, &offset, &run)) {
        if (run.length > HLL_REGISTERS - index)
            return false;
        show(context, index, run.length, run.value);
        index += run.length;
    }
    return index == HLL_REGISTERS && offset == value.size;
}

static void set_run(void *context, uint32_t first, uint32_t length, uint8_t rank)
{
    for (uint32_t i = first; rank && i < first + length; i++)
        dense_set(context, i, rank);
}

bool hll_make_dense(struct buf *h)
{
    uint8_t registers[HLL_DENSE_SIZE - HLL_HEADER_SIZE] = {0};
    if (hll_is_dense(buf_view(h)))
        return true;
    if (!each_run(buf_view(h), set_run, registers))
        return false;
    h->data[ENCODING_OFFSET] = ENCODING_DENSE;
    h->size = HLL_HEADER_SIZE;
    buf_append(h, registers, sizeof(registers));
    return true;
}

static void splice(struct buf *h, size_t offset, size_t old_size, const uint8_t *bytes_in, size_t size)
{
    if (size > old_size)
        buf_reserve(h, size - old_size);
    memmove(h->data + offset + size, h->data + offset + old_size, h->size - offset - old_size);
    memcpy(h->data + offset, bytes_in, size);
    h->size = h->size - old_size + size;
}

/* Joins equal neighbours from the run at an offset on. */
static void join_runs(struct buf *h, size_t offset)
{
    struct hll_run run, next;
    for (int looks = 0; looks < JOIN_RUNS; looks++) {
        size_t behind = offset;
        if (!hll_next_run(buf_view(h), &behind, &run))
            return;
        size_t end = behind;
        if (run.value && hll_next_run(buf_view(h), &end, &next) && next.value == run.value &&
            run.length + next.length <= VALUE_RUN_MAX) {
            uint8_t joined = value_code(run.value, run.length + next.length);
            splice(h, offset, 2, &joined, 1);
        } else {
            offset = behind;
        }
    }
}

/* Becomes dense, with the register raised. */
static enum hll_result promote(struct buf *h, uint32_t index, uint8_t value)
{
    return hll_make_dense(h) ? dense_raise(h, index, value) : HLL_DAMAGED;
}

static enum hll_result sparse_raise(struct buf *h, uint32_t index, uint8_t value)
{
    size_t before = HLL_HEADER_SIZE, at = before, behind = before; /* the run before, the one of the register, the next */
    uint32_t first = 0;
    struct hll_run run;
    if (value > SPARSE_VALUE_MAX)
        return promote(h, index, value);
    while (hll_next_run(buf_view(h), &behind, &run) && index >= first + run.length) {
        first += run.length;
        before = at;
        at = behind;
    }
    if (behind == at)
        return HLL_DAMAGED; /* the runs ended too early */
    if (run.value >= value)
        return HLL_SAME;
    uint8_t code[5], *end = put_run(code, run.value, index - first);
    end = put_run(end, value, 1);
    end = put_run(end, run.value, first + run.length - 1 - index);
    size_t size = (size_t)(end - code);
    if (size > run.size && h->size + size - run.size > __atomic_load_n(&hll_sparse_bytes_max, __ATOMIC_RELAXED))
        return promote(h, index, value);
    splice(h, at, run.size, code, size);
    join_runs(h, before);
    return HLL_CHANGED;
}

enum hll_result hll_raise(struct buf *h, uint32_t index, uint8_t value)
{
    hf_assert(index < HLL_REGISTERS && value >= 1 && value <= REGISTER_MAX);
    if (hll_is_dense(buf_view(h)))
        return dense_raise(h, index, value);
    return h->size <= HLL_SPARSE_SIZE_MAX ? sparse_raise(h, index, value) : HLL_DAMAGED;
}

enum hll_result hll_add(struct buf *h, bytes element)
{
    uint32_t index;
    uint8_t value;
    hll_place(element, &index, &value);
    return hll_raise(h, index, value);
}

/* ---- estimates ---- */

static double sigma(double x)
{
    double y = 1, sum = x, last;
    if (x == 1.)
        return INFINITY;
    do {
        x *= x;
        last = sum;
        sum += x * y;
        y += y;
    } while (sum != last);
    return sum;
}

static double tau(double x)
{
    double y = 1, sum = 1 - x, last;
    if (x == 0. || x == 1.)
        return 0.;
    do {
        x = sqrt(x);
        last = sum;
        y *= 0.5;
        sum -= pow(1 - x, 2) * y;
    } while (sum != last);
    return sum / 3;
}

struct histogram { uint32_t count[64]; };

static void count_run(void *context, uint32_t first, uint32_t length, uint8_t rank)
{
    struct histogram *histogram = context;
    (void)first;
    histogram->count[rank & 63] += length;
}

static uint64_t estimate(const struct histogram *h)
{
    double m = HLL_REGISTERS, z = m * tau((m - h->count[RANK_MAX]) / m);
    for (int rank = RANK_BITS; rank >= 1; rank--) {
        z += h->count[rank];
        z *= 0.5;
    }
    z += m * sigma(h->count[0] / m);
    return (uint64_t)llroundl(ALPHA_INFINITE * m * m / z);
}

bool hll_count(bytes value, uint64_t *count)
{
    struct histogram histogram = {{0}};
    if (hll_is_dense(value)) {
        for (uint32_t group = 0; group < HLL_REGISTERS / 4; group++) {
            uint8_t ranks[4];
            dense_unpack(value.data + HLL_HEADER_SIZE, group, ranks);
            for (int i = 0; i < 4; i++)
                histogram.count[ranks[i]]++;
        }
    } else if (!each_run(value, count_run, &histogram)) {
        return false;
    }
    *count = estimate(&histogram);
    return true;
}

uint64_t hll_count_registers(const uint8_t registers[HLL_REGISTERS])
{
    struct histogram histogram = {{0}};
    for (uint32_t i = 0; i < HLL_REGISTERS; i++)
        histogram.count[registers[i] & 63]++;
    return estimate(&histogram);
}

static void raise_run(void *context, uint32_t first, uint32_t length, uint8_t rank)
{
    uint8_t *registers = context;
    for (uint32_t i = first; i < first + length; i++)
        registers[i] = registers[i] > rank ? registers[i] : rank;
}

bool hll_merge(uint8_t registers[HLL_REGISTERS], bytes value)
{
    if (!hll_is_dense(value))
        return each_run(value, raise_run, registers);
    for (uint32_t group = 0; group < HLL_REGISTERS / 4; group++) {
        uint8_t ranks[4];
        dense_unpack(value.data + HLL_HEADER_SIZE, group, ranks);
        for (uint32_t i = 0; i < 4; i++)
            raise_run(registers, group * 4 + i, 1, ranks[i]);
    }
    return true;
}
