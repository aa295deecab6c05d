/* bitmap.c -- SETBIT, GETBIT, BITCOUNT, BITPOS, BITOP: strings as rows of bits (base/bits.h).
 *
 * The checks come in the order of Redis 7.0: BITCOUNT and BITPOS look at the key before their ranges, so that an absent key
 * is answered whatever the range says.
 */
#include "base/bits.h"
#include "base/number.h"
#include "cmd/args.h"
#include "cmd/bitmap.h"
#include "cmd/handlers.h"
#include "cmd/large_value.h"
#include "data/rope.h"
#include "engine/events.h"
#include "engine/keys.h"
#include "engine/strings.h"

bool bitmap_take_offset(struct call *c, size_t index, unsigned unit, uint64_t *offset)
{
    int64_t value;
    bytes word = c->argv[index];
    bool in_units = unit && word.size && word.data[0] == '#';
    if (in_units)
        word = bytes_of(word.data + 1, word.size - 1);
    if (!number_parse_int(word, &value) || value < 0 ||
        (in_units && __builtin_mul_overflow(value, (int64_t)unit, &value)) || (uint64_t)value / 8 >= string_may_grow_to()) {
        reply_errorf(c->reply, "ERR bit offset is not an integer or out of range");
        return false;
    }
    *offset = (uint64_t)value;
    return true;
}

static bool get_text(struct call *c, struct text *text)
{
    return !arg_refused(c, string_look(c->txn, call_key(c, 0), text));
}

void cmd_getbit(struct call *c)
{
    uint64_t offset;
    struct text text;
    if (bitmap_take_offset(c, 2, 0, &offset) && get_text(c, &text))
        reply_int(c->reply, (int64_t)bits_get(text_part(&text, offset / 8, 1, NULL), offset % 8, 1));
}

void cmd_setbit(struct call *c)
{
    uint64_t offset;
    int64_t bit;
    struct text text;
    if (!bitmap_take_offset(c, 2, 0, &offset))
        return;
    if (!number_parse_int(c->argv[3], &bit) || bit < 0 || bit > 1) {
        reply_errorf(c->reply, "ERR bit is not an integer or out of range");
        return;
    }
    if (arg_refused(c, string_look_aside(c->txn, call_key(c, 0), &text)))
        return;
    bytes there = text_part(&text, offset / 8, 1, NULL);
    uint64_t old = bits_get(there, offset % 8, 1);
    uint8_t byte[BITS_FIELD_BYTES];
    size_t size = bits_put(there, offset % 8, 1, (uint64_t)bit, byte);
    bool grew;
    if ((uint64_t)bit == old && offset / 8 < text.view.size) {
        if (arg_refused(c, string_grow(c->txn, call_key(c, 0), 0, &grew)))
            return;
    } else {
        if (arg_refused(c, string_set_range(c->txn, call_key(c, 0), offset / 8, bytes_of(byte, size), &size)))
            return;
        txn_event(c->txn, call_key(c, 0), EVENT_STRING, "setbit");
    }
    reply_int(c->reply, (int64_t)old);
}

/* ---- ranges ---- */

/* Bits from and to, both inclusive; what the words name may begin or end outside. */
struct range {
    int64_t start, end;
    bool has_end, in_bits;
};

/* BYTE or BIT. */
static bool take_unit(struct call *c, size_t index, struct range *r)
{
    r->in_bits = bytes_is_word(c->argv[index], "BIT");
    if (r->in_bits || bytes_is_word(c->argv[index], "BYTE"))
        return true;
    reply_status(c->reply, HF_ERR_SYNTAX);
    return false;
}

/* False: no bit is in it. */
static bool clip(const struct range *r, size_t size, uint64_t *from, uint64_t *to)
{
    int64_t total = (int64_t)size * (r->in_bits ? 8 : 1), start = r->start, end = r->end;
    if (start < 0 && (start += total) < 0)
        start = 0;
    if (end < 0 && (end += total) < 0)
        end = 0;
    if (end >= total)
        end = total - 1;
    if (start > end)
        return false;
    *from = (uint64_t)start * (r->in_bits ? 1 : 8);
    *to = r->in_bits ? (uint64_t)end : (uint64_t)end * 8 + 7;
    return true;
}

/* The bits from *from to `to` that lie in one run of the text: from bit *first of it to *last. Moves *from behind them. */
static bytes next_bits(const struct text *text, uint64_t *from, uint64_t to, uint64_t *first, uint64_t *last)
{
    uint64_t begin = *from / 8 * 8;
    bytes run = text_run(text, *from / 8, SIZE_MAX);
    *first = *from - begin;
    *last = to - begin < run.size * 8 ? to - begin : run.size * 8 - 1;
    *from = begin + run.size * 8;
    return run;
}

#define RUN_WORK 64u /* of a chunk of a rope */

static uint64_t count_bits(struct call *c, const struct text *text, uint64_t from, uint64_t to)
{
    uint64_t count = 0, first, last;
    while (from <= to && call_goes_on(c, RUN_WORK)) {
        bytes run = next_bits(text, &from, to, &first, &last);
        count += bits_count(run, first, last);
    }
    return count;
}

static uint64_t find_bit(struct call *c, const struct text *text, bool bit, uint64_t from, uint64_t to)
{
    uint64_t first, last;
    while (from <= to && call_goes_on(c, RUN_WORK)) {
        uint64_t begin = from / 8 * 8;
        bytes run = next_bits(text, &from, to, &first, &last);
        uint64_t found = bits_find(run, bit, first, last);
        if (found != BITS_NONE)
            return begin + found;
    }
    return BITS_NONE;
}

void cmd_bitcount(struct call *c)
{
    struct text text;
    struct range range = {0, -1, true, false};
    uint64_t from, to;
    if (!get_text(c, &text))
        return;
    if (!text.found) {
        reply_int(c->reply, 0);
        return;
    }
    if (c->argc == 3 || c->argc > 5) {
        reply_status(c->reply, HF_ERR_SYNTAX);
        return;
    }
    if (c->argc > 3 && (!arg_int(c, 2, &range.start) || !arg_int(c, 3, &range.end)))
        return;
    if (c->argc > 3 && range.start < 0 && range.end < 0 && range.start > range.end) { /* before the unit is read */
        reply_int(c->reply, 0);
        return;
    }
    if (c->argc == 5 && !take_unit(c, 4, &range))
        return;
    reply_int(c->reply, clip(&range, text.view.size, &from, &to) ? (int64_t)count_bits(c, &text, from, to) : 0);
}

static bool take_search_range(struct call *c, struct range *r)
{
    *r = (struct range){0, -1, c->argc > 4, false};
    if (c->argc > 6) {
        reply_status(c->reply, HF_ERR_SYNTAX);
        return false;
    }
    return (c->argc < 4 || arg_int(c, 3, &r->start)) && (c->argc < 6 || take_unit(c, 5, r)) &&
           (c->argc < 5 || arg_int(c, 4, &r->end));
}

void cmd_bitpos(struct call *c)
{
    struct text text;
    struct range range;
    int64_t bit;
    uint64_t from, to, found = BITS_NONE;
    if (!arg_int(c, 2, &bit))
        return;
    if (bit != 0 && bit != 1) {
        reply_errorf(c->reply, "ERR The bit argument must be 1 or 0.");
        return;
    }
    if (!get_text(c, &text))
        return;
    if (!text.found) {
        reply_int(c->reply, bit ? -1 : 0);
        return;
    }
    if (!take_search_range(c, &range))
        return;
    bool any = clip(&range, text.view.size, &from, &to);
    if (any)
        found = find_bit(c, &text, bit == 1, from, to);
    if (found == BITS_NONE && any && bit == 0 && !range.has_end)
        found = (uint64_t)text.view.size * 8; /* a string that has no end given is followed by zeros */
    reply_int(c->reply, found == BITS_NONE ? -1 : (int64_t)found);
}

/* ---- BITOP ---- */

enum bit_operation { BIT_AND, BIT_OR, BIT_XOR, BIT_NOT, BIT_DIFF, BIT_DIFF1, BIT_ANDOR, BIT_ONE, BIT_OPERATIONS };

static const char *const bit_operations[BIT_OPERATIONS] = {"AND", "OR", "XOR", "NOT", "DIFF", "DIFF1", "ANDOR", "ONE"};

static bool take_operation(struct call *c, enum bit_operation *operation)
{
    for (int i = 0; i < BIT_OPERATIONS; i++) {
        if (bytes_is_word(c->argv[1], bit_operations[i])) {
            *operation = (enum bit_operation)i;
            return true;
        }
    }
    reply_status(c->reply, HF_ERR_SYNTAX);
    return false;
}

/* Those that hold the first string against all others. */
static bool has_first(enum bit_operation operation) { return operation == BIT_DIFF || operation == BIT_DIFF1 || operation == BIT_ANDOR; }

static bool check_sources(struct call *c, enum bit_operation operation, size_t count)
{
    if (operation == BIT_NOT && count != 1) {
        reply_errorf(c->reply, "ERR BITOP NOT must be called with a single source key.");
        return false;
    }
    if (has_first(operation) && count < 2) {
        reply_errorf(c->reply, "ERR BITOP %s must be called with at least two source keys.", bit_operations[operation]);
        return false;
    }
    return true;
}

static void combine_run(enum bit_operation operation, uint8_t *restrict out, bytes other)
{
    const uint8_t *restrict in = other.data;
    size_t i = 0;
    switch (operation) {
    case BIT_AND:
    case BIT_ANDOR:
        for (; i < other.size; i++)
            out[i] &= in[i];
        break;
    case BIT_XOR:
        for (; i < other.size; i++)
            out[i] ^= in[i];
        break;
    case BIT_NOT:
        for (; i < other.size; i++)
            out[i] = (uint8_t)~in[i];
        break;
    case BIT_DIFF: /* `out` is what is taken away */
        for (; i < other.size; i++)
            out[i] = (uint8_t)(in[i] & ~out[i]);
        break;
    case BIT_DIFF1:
        for (; i < other.size; i++)
            out[i] = (uint8_t)(out[i] & ~in[i]);
        break;
    default:
        for (; i < other.size; i++)
            out[i] |= in[i];
    }
}

/* How many of the `size` bytes from `at` on the text has. */
static size_t part_size(const struct text *text, size_t at, size_t size)
{
    size_t left = text->view.size > at ? text->view.size - at : 0;
    return left < size ? left : size;
}

/* The part of each operand that begins at `at` and is as long as `out`. Shorter ones are followed by zeros. */
static void combine(enum bit_operation operation, uint8_t *out, size_t at, size_t size, const struct text *other)
{
    size_t end = part_size(other, at, size);
    for (size_t done = 0; done < end;) {
        bytes run = text_run(other, at + done, end - done);
        combine_run(operation, out + done, run);
        done += run.size;
    }
    if (end < size && (operation == BIT_AND || operation == BIT_ANDOR || operation == BIT_DIFF))
        memset(out + end, 0, size - end);
}

static void begin_with(uint8_t *out, size_t at, size_t size, const struct text *first)
{
    size_t end = part_size(first, at, size);
    text_read(first, at, end, out);
    memset(out + end, 0, size - end);
}

/* Bits that exactly one string has; `more`, as large as `out`, collects those that several have. */
static void combine_one(uint8_t *restrict out, uint8_t *restrict more, size_t at, size_t size, const struct text *texts, size_t count)
{
    memset(more, 0, size);
    begin_with(out, at, size, &texts[0]);
    for (size_t n = 1; n < count; n++) {
        size_t end = part_size(&texts[n], at, size);
        for (size_t done = 0; done < end;) {
            bytes run = text_run(&texts[n], at + done, end - done);
            for (size_t i = 0; i < run.size; i++, done++) {
                more[done] |= out[done] & run.data[i];
                out[done] |= run.data[i];
            }
        }
    }
    combine_run(BIT_DIFF1, out, bytes_of(more, size));
}

static void combine_part(enum bit_operation operation, uint8_t *out, size_t at, size_t size, const struct text *texts, size_t count)
{
    if (operation == BIT_ONE) {
        combine_one(out, out + size, at, size, texts, count);
        return;
    }
    size_t from = has_first(operation) ? 1 : 0;
    enum bit_operation each = has_first(operation) ? BIT_OR : operation;
    begin_with(out, at, size, &texts[from]);
    for (size_t i = from + 1; i < count; i++)
        combine(each, out, at, size, &texts[i]);
    if (from || operation == BIT_NOT)
        combine(operation, out, at, size, &texts[0]);
}

struct operands { enum bit_operation operation; const struct text *texts; size_t count, size; /* of the longest */ uint8_t *room; };

static bytes combined(void *operands, size_t at, size_t size)
{
    const struct operands *o = operands;
    combine_part(o->operation, o->room, at, size, o->texts, o->count);
    return bytes_of(o->room, size);
}

/* False: refused, or it ends here. */
static bool store_combined(struct call *c, struct operands *o)
{
    static const struct set_options raw = {.raw = true};
    struct set_result result;
    bool is_large = o->size > ENTRY_INLINE_MAX;
    o->room = arena_alloc(txn_arena(c->txn), 2 * (is_large ? ROPE_CHUNK : o->size));
    if (is_large)
        return large_value_set(c, 0, &(struct value_source){o->size, RUN_WORK * (1 + o->count), combined, o}, &raw, &result);
    return !arg_refused(c, string_set(c->txn, call_key(c, 0), combined(o, 0, o->size), &raw, &result));
}

void cmd_bitop(struct call *c)
{
    enum bit_operation operation;
    size_t count = c->key_count - 1, size = 0;
    if (!take_operation(c, &operation) || !check_sources(c, operation, count))
        return;
    struct text *texts = arena_alloc(txn_arena(c->txn), count * sizeof(*texts));
    for (size_t i = 0; i < count; i++) {
        if (arg_refused(c, string_look(c->txn, call_key(c, i + 1), &texts[i])))
            return;
        if (texts[i].view.size > size)
            size = texts[i].view.size;
    }
    if (size) {
        if (!store_combined(c, &(struct operands){operation, texts, count, size, NULL}))
            return;
        txn_event(c->txn, call_key(c, 0), EVENT_STRING, "set");
        reply_int(c->reply, (int64_t)size);
        return;
    }
    if (key_remove(c->txn, call_key(c, 0)))
        txn_event(c->txn, call_key(c, 0), EVENT_GENERIC, "del");
    reply_int(c->reply, 0);
}
