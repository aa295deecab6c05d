/* hyperloglog.c -- PFADD and its kin: strings through types/hyperloglog.h.
 *
 * A command works on a copy of the value and then writes back what differs, as ranges while the size is the
 * same, else as a whole. PFCOUNT reads, but keeps its estimate in the header, as Redis does, so that the next one is
 * O(1); when the log has no room just now, it does not.
 */
#include "types/hyperloglog.h"

#include "base/memory.h"
#include "cmd/args.h"
#include "cmd/handlers.h"
#include "engine/events.h"
#include "engine/strings.h"

#include <math.h>

#define RANGES_MAX 8 /* more differences are written as one value */
#define GAP_MAX 16   /* equal bytes inside a range */

struct working {
    struct text before;
    struct buf value;
};

static bool refuse_damaged(struct call *c)
{
    reply_error_line(c->reply, "INVALIDOBJ Corrupted HLL object detected");
    return false;
}

/* The string of a key; absent is fine. False: replied that it is something else. */
static bool view_value(struct call *c, size_t key, bool reads, struct text *text)
{
    if (arg_refused(c, (reads ? string_get : string_peek)(c->txn, call_key(c, key), text)))
        return false;
    if (!text->found || hll_is_valid(text->view))
        return true;
    reply_error_line(c->reply, "WRONGTYPE Key is not a valid HyperLogLog string value.");
    return false;
}

/* The same for a value that Redis then works on in place, which makes it raw for OBJECT ENCODING, whatever follows. */
static bool view_to_change(struct call *c, size_t key, bool reads, struct text *text)
{
    bool grew;
    return view_value(c, key, reads, text) && (!text->found || !arg_refused(c, string_grow(c->txn, call_key(c, key), 0, &grew)));
}

/* A copy of w->before to change; release it. One larger than any valid one is damaged, and not copied. */
static bool working_copy(struct call *c, struct working *w)
{
    if (w->before.found && w->before.view.size > HLL_SPARSE_SIZE_MAX)
        return refuse_damaged(c);
    buf_init(&w->value, HLL_SPARSE_SIZE_MAX * 2);
    buf_reserve(&w->value, w->before.view.size + 16);
    if (w->before.found)
        buf_append_bytes(&w->value, w->before.view);
    else
        hll_make(&w->value);
    return true;
}

static bool working_begin(struct call *c, size_t key, struct working *w)
{
    return view_to_change(c, key, false, &w->before) && working_copy(c, w);
}

struct difference { size_t from, to; };

/* The next stretch that differs, from `at` on; false: none. */
static bool next_difference(bytes a, bytes b, size_t at, struct difference *d)
{
    while (at < a.size && a.data[at] == b.data[at])
        at++;
    d->from = d->to = at;
    for (size_t equal = 0; at < a.size && equal <= GAP_MAX; at++) {
        equal = a.data[at] == b.data[at] ? equal + 1 : 0;
        if (!equal)
            d->to = at + 1;
    }
    return d->to > d->from;
}

static size_t differences(bytes before, bytes after, struct difference out[RANGES_MAX + 1])
{
    size_t count = 0;
    struct difference d = {0, 0};
    while (count <= RANGES_MAX && next_difference(before, after, d.to, &d))
        out[count++] = d;
    return count;
}

static status write_whole(struct call *c, size_t key, bytes value)
{
    struct set_result result;
    return string_set(c->txn, call_key(c, key), value, &(struct set_options){.raw = true, .keep_deadline = true}, &result);
}

/* The byte that tells that the count is out of date, as it stands already: a change for those who watch the key. */
static status write_same(struct call *c, size_t key, bytes value)
{
    size_t size;
    return string_set_range(c->txn, call_key(c, key), HLL_HEADER_SIZE - 1, bytes_of(value.data + HLL_HEADER_SIZE - 1, 1), &size);
}

static status write_back(struct call *c, size_t key, const struct working *w)
{
    struct difference ranges[RANGES_MAX + 1];
    bytes after = buf_view(&w->value);
    size_t size, count = RANGES_MAX + 1;
    status s = HF_OK;
    if (w->before.found && w->before.view.size == after.size)
        count = differences(w->before.view, after, ranges);
    if (count > RANGES_MAX)
        return write_whole(c, key, after);
    if (count == 0)
        return write_same(c, key, after);
    for (size_t i = 0; i < count && s == HF_OK; i++)
        s = string_set_range(c->txn, call_key(c, key), ranges[i].from,
                             bytes_of(after.data + ranges[i].from, ranges[i].to - ranges[i].from), &size);
    return s;
}

void cmd_pfadd(struct call *c)
{
    struct working w;
    size_t first = 2;
    if (!view_to_change(c, 0, false, &w.before))
        return;
    while (w.before.found && first < c->argc && hll_has_surely(w.before.view, c->argv[first]))
        first++;
    if (w.before.found && first == c->argc) { /* the usual end of adding to a full one: no copy */
        reply_int(c->reply, 0);
        return;
    }
    if (!working_copy(c, &w))
        return;
    bool changed = !w.before.found;
    enum hll_result result = HLL_SAME;
    for (size_t i = first; i < c->argc && result != HLL_DAMAGED; i++) {
        result = hll_add(&w.value, c->argv[i]);
        changed |= result == HLL_CHANGED;
    }
    if (changed)
        hll_forget_count(&w.value);
    if (result == HLL_DAMAGED) {
        refuse_damaged(c);
    } else if (!changed || !arg_refused(c, write_back(c, 0, &w))) {
        if (changed)
            txn_event(c->txn, call_key(c, 0), EVENT_STRING, "pfadd");
        reply_int(c->reply, changed);
    }
    buf_release(&w.value);
}

/* ---- PFCOUNT ---- */

static void keep_count(struct call *c, uint64_t count)
{
    uint8_t bytes_of_count[8];
    size_t size;
    if (!c->txn->may_change)
        return;
    hll_encode_count(count, bytes_of_count);
    status s = string_set_range(c->txn, call_key(c, 0), HLL_COUNT_OFFSET, bytes_of(bytes_of_count, 8), &size);
    (void)s; /* without memory the estimate is not kept */
}

static void count_one(struct call *c)
{
    struct text text;
    uint64_t count = 0;
    if (!view_to_change(c, 0, true, &text))
        return;
    if (text.found && !hll_cached_count(text.view, &count)) {
        if (text.view.size > HLL_SPARSE_SIZE_MAX || !hll_count(text.view, &count)) {
            refuse_damaged(c);
            return;
        }
        keep_count(c, count);
    }
    reply_int(c->reply, (int64_t)count);
}

/* False: replied the error. *dense: one of them is. */
static bool merge_all(struct call *c, uint8_t *registers, bool *dense)
{
    for (size_t i = 0; i < c->key_count; i++) {
        struct text text;
        if (!view_value(c, i, true, &text))
            return false;
        if (!text.found)
            continue;
        *dense |= hll_is_dense(text.view);
        if (text.view.size > HLL_SPARSE_SIZE_MAX || !hll_merge(registers, text.view))
            return refuse_damaged(c);
    }
    return true;
}

static uint8_t *registers_new(struct call *c)
{
    uint8_t *registers = arena_alloc(txn_arena(c->txn), HLL_REGISTERS);
    memset(registers, 0, HLL_REGISTERS);
    return registers;
}

void cmd_pfcount(struct call *c)
{
    bool dense = false;
    if (c->key_count == 1) {
        count_one(c);
        return;
    }
    uint8_t *registers = registers_new(c);
    if (merge_all(c, registers, &dense))
        reply_int(c->reply, (int64_t)hll_count_registers(registers));
}

/* ---- PFMERGE ---- */

static bool raise_all(struct buf *value, const uint8_t *registers)
{
    for (uint32_t i = 0; i < HLL_REGISTERS; i++) {
        if (registers[i] && hll_raise(value, i, registers[i]) == HLL_DAMAGED)
            return false;
    }
    hll_forget_count(value);
    return true;
}

void cmd_pfmerge(struct call *c)
{
    bool dense = false;
    struct working w;
    uint8_t *registers = registers_new(c);
    if (!merge_all(c, registers, &dense) || !working_begin(c, 0, &w))
        return;
    if ((dense && !hll_make_dense(&w.value)) || !raise_all(&w.value, registers)) {
        refuse_damaged(c);
    } else if (!arg_refused(c, write_back(c, 0, &w))) {
        txn_event(c->txn, call_key(c, 0), EVENT_STRING, "pfadd");
        reply_ok(c->reply);
    }
    buf_release(&w.value);
}

/* ---- PFDEBUG, PFSELFTEST ---- */

static void reply_runs(struct call *c, bytes value)
{
    struct hll_run run;
    struct buf text;
    size_t offset = HLL_HEADER_SIZE;
    if (hll_is_dense(value)) {
        reply_errorf(c->reply, "ERR HLL encoding is not sparse");
        return;
    }
    buf_init(&text, SIZE_MAX);
    while (hll_next_run(value, &offset, &run)) {
        if (run.value)
            buf_printf(&text, "v:%u,%u ", run.value, run.length);
        else
            buf_printf(&text, "%c:%u ", run.size == 2 ? 'Z' : 'z', run.length);
    }
    if (offset < value.size) /* half a code: Redis takes a 0 for the other half */
        buf_printf(&text, "Z:%u ", ((value.data[offset] & 63u) << 8) + 1);
    reply_bulk(c->reply, bytes_of(text.data, text.size ? text.size - 1 : 0));
    buf_release(&text);
}

static void reply_registers(struct call *c, bytes value)
{
    uint8_t *registers = registers_new(c);
    bool whole = hll_merge(registers, value);
    hf_assert(whole); /* it is dense */
    reply_array(c->reply, HLL_REGISTERS);
    for (uint32_t i = 0; i < HLL_REGISTERS; i++)
        reply_int(c->reply, registers[i]);
}

/* GETREG and TODENSE make the value dense. */
static void make_dense(struct call *c, bool replies_registers)
{
    struct working w;
    if (!working_begin(c, 0, &w))
        return;
    bool was_dense = hll_is_dense(buf_view(&w.value));
    if (!hll_make_dense(&w.value))
        refuse_damaged(c);
    else if (was_dense || !arg_refused(c, write_back(c, 0, &w))) {
        if (replies_registers)
            reply_registers(c, buf_view(&w.value));
        else
            reply_int(c->reply, !was_dense);
    }
    buf_release(&w.value);
}

void cmd_pfdebug(struct call *c)
{
    struct text text;
    bytes what = c->argv[1];
    if (!view_to_change(c, 0, false, &text))
        return;
    if (!text.found)
        reply_errorf(c->reply, "ERR The specified key does not exist");
    else if (bytes_is_word(what, "GETREG") || bytes_is_word(what, "TODENSE"))
        make_dense(c, bytes_is_word(what, "GETREG"));
    else if (bytes_is_word(what, "DECODE"))
        reply_runs(c, text.view);
    else if (bytes_is_word(what, "ENCODING"))
        reply_simple(c->reply, hll_is_dense(text.view) ? "dense" : "sparse");
    else
        reply_errorf(c->reply, "ERR Unknown PFDEBUG subcommand '" WORD_FORMAT "'", WORD_WHOLE(what));
}

/* Adds numbers to a sparse and to a dense value. False: their registers part, or the estimate is off by more than six standard
 * errors (0.81 % each). */
static bool estimates_hold(struct buf *sparse, struct buf *dense)
{
    for (uint32_t i = 1, next = 1; i <= 100000; i++) {
        uint64_t element = i * UINT64_C(0x9e3779b97f4a7c15), count, other;
        bytes word = bytes_of(&element, sizeof(element));
        if (hll_add(sparse, word) != hll_add(dense, word))
            return false;
        if (i < next)
            continue;
        if (!hll_count(buf_view(sparse), &count) || !hll_count(buf_view(dense), &other) || count != other ||
            fabs((double)count - i) > ceil(i * 6 * 0.0081))
            return false;
        next *= 10;
    }
    return true;
}

void cmd_pfselftest(struct call *c)
{
    struct buf sparse, dense;
    buf_init(&sparse, HLL_SPARSE_SIZE_MAX);
    buf_init(&dense, HLL_SPARSE_SIZE_MAX);
    hll_make(&sparse);
    hll_make(&dense);
    if (hll_make_dense(&dense) && estimates_hold(&sparse, &dense))
        reply_ok(c->reply);
    else
        reply_errorf(c->reply, "ERR TESTFAILED a sparse and a dense value part, or an estimate is off");
    buf_release(&sparse);
    buf_release(&dense);
}
