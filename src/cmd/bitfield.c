/* bitfield.c -- BITFIELD and BITFIELD_RO: integers of 1 to 64 bits inside a string.
 *
 * All words are read before anything is done. With a SET or INCRBY among them the string first grows to hold the
 * farthest field written, whether or not that write then fails by its overflow rule, as in Redis.
 *
 * Overflow: the exact result is computed in 128 bits; when it is outside the field's range, the rule that stands before
 * the operation wraps it (keeps the low bits), saturates it, or fails it.
 */
#include "base/bits.h"
#include "base/number.h"
#include "cmd/args.h"
#include "cmd/bitmap.h"
#include "cmd/handlers.h"
#include "engine/events.h"
#include "engine/strings.h"

enum verb { FIELD_GET, FIELD_SET, FIELD_INCRBY };
enum overflow { OVERFLOW_WRAP, OVERFLOW_SAT, OVERFLOW_FAIL };

struct operation {
    enum verb verb;
    enum overflow overflow;
    bool is_signed;
    unsigned width;
    uint64_t offset;
    int64_t operand;
};

struct program {
    struct operation *operations;
    size_t count, writes;
    uint64_t size_needed; /* bytes */
};

/* Bytes that a string has which holds the field. */
static uint64_t end_of(const struct operation *o)
{
    return (o->offset + o->width - 1) / 8 + 1;
}

/* ---- words ---- */

static bool take_overflow(struct call *c, size_t index, enum overflow *overflow)
{
    static const char *const names[] = {"WRAP", "SAT", "FAIL"};
    for (int i = 0; i < 3; i++) {
        if (bytes_is_word(c->argv[index], names[i])) {
            *overflow = (enum overflow)i;
            return true;
        }
    }
    reply_errorf(c->reply, "ERR Invalid OVERFLOW type specified");
    return false;
}

/* i1 to i64, u1 to u63: an unsigned reply of 64 bits would not fit the protocol's integers. */
static bool take_encoding(struct call *c, size_t index, struct operation *o)
{
    bytes word = c->argv[index];
    int64_t width = 0;
    o->is_signed = word.size && word.data[0] == 'i';
    if ((o->is_signed || (word.size && word.data[0] == 'u')) &&
        number_parse_int(bytes_of(word.data + 1, word.size - 1), &width) && width >= 1 && width <= (o->is_signed ? 64 : 63)) {
        o->width = (unsigned)width;
        return true;
    }
    reply_errorf(c->reply, "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.");
    return false;
}

static bool take_verb(bytes word, enum verb *verb)
{
    static const char *const names[] = {"GET", "SET", "INCRBY"};
    for (int i = 0; i < 3; i++) {
        if (bytes_is_word(word, names[i])) {
            *verb = (enum verb)i;
            return true;
        }
    }
    return false;
}

/* Takes the words of one operation from *index on. */
static bool take_operation(struct call *c, size_t *index, struct operation *o, struct program *p)
{
    size_t at = *index, words = take_verb(c->argv[at], &o->verb) ? (o->verb == FIELD_GET ? 3 : 4) : SIZE_MAX;
    if (words > c->argc - at) {
        reply_status(c->reply, HF_ERR_SYNTAX);
        return false;
    }
    if (!take_encoding(c, at + 1, o) || !bitmap_take_offset(c, at + 2, o->width, &o->offset))
        return false;
    *index += words;
    if (o->verb == FIELD_GET)
        return true;
    p->writes++;
    if (end_of(o) > p->size_needed)
        p->size_needed = end_of(o);
    return arg_int(c, at + 3, &o->operand);
}

static bool take_program(struct call *c, struct program *p)
{
    struct operation next = {.overflow = OVERFLOW_WRAP};
    *p = (struct program){.operations = arena_alloc(txn_arena(c->txn), c->argc * sizeof(*p->operations))};
    for (size_t i = 2; i < c->argc;) {
        if (bytes_is_word(c->argv[i], "OVERFLOW") && i + 1 < c->argc) {
            if (!take_overflow(c, i + 1, &next.overflow))
                return false;
            i += 2;
            continue;
        }
        if (!take_operation(c, &i, &next, p))
            return false;
        p->operations[p->count++] = next;
    }
    return true;
}

/* ---- running ---- */

static int64_t value_of(const struct operation *o, uint64_t bits)
{
    if (o->is_signed && o->width < 64 && bits >> (o->width - 1))
        bits |= UINT64_MAX << o->width;
    return (int64_t)bits;
}

/* SET of a number so low that the highest one is not an int64 away from it: Redis saturates it to the highest. */
static bool counts_as_high(const struct operation *o, __int128 exact, __int128 most)
{
    return exact > most || (o->verb == FIELD_SET && most - exact > INT64_MAX);
}

/* False: it does not fit and must fail. SET of a negative number in an unsigned field counts as one that is too large. */
static bool fit(const struct operation *o, __int128 exact, uint64_t *bits)
{
    __int128 most = ((__int128)1 << (o->is_signed ? o->width - 1 : o->width)) - 1, least = o->is_signed ? -most - 1 : 0;
    bool fits = exact >= least && exact <= most;
    if (!fits && o->overflow == OVERFLOW_FAIL)
        return false;
    if (!fits && o->overflow == OVERFLOW_SAT)
        exact = counts_as_high(o, exact, most) ? most : least;
    *bits = (uint64_t)exact;
    if (o->width < 64)
        *bits &= (UINT64_C(1) << o->width) - 1;
    return true;
}

static __int128 exact_result(const struct operation *o, int64_t old)
{
    if (o->verb == FIELD_INCRBY)
        return (__int128)old + o->operand;
    return o->is_signed ? (__int128)o->operand : (__int128)(uint64_t)o->operand;
}

struct outcome { bool succeeded, changed; };

/* there: the bytes that the field touches, as far as they exist. Always replies one element. A write that changes nothing may still make the string longer. */
static void run_write(struct call *c, const struct operation *o, bytes there, struct outcome *outcome)
{
    uint64_t old_bits = bits_get(there, o->offset % 8, o->width), bits = 0;
    int64_t old = value_of(o, old_bits);
    uint8_t out[BITS_FIELD_BYTES];
    size_t size;
    bool grew = false, fits = fit(o, exact_result(o, old), &bits), changes = fits && bits != old_bits;
    status s;
    if (changes) {
        size = bits_put(there, o->offset % 8, o->width, bits, out);
        s = string_set_range(c->txn, call_key(c, 0), o->offset / 8, bytes_of(out, size), &size);
    } else {
        s = string_grow(c->txn, call_key(c, 0), end_of(o), &grew);
    }
    if (arg_refused(c, s))
        return;
    outcome->succeeded |= fits;
    outcome->changed |= changes || grew;
    if (fits)
        reply_int(c->reply, o->verb == FIELD_SET ? old : value_of(o, bits));
    else
        reply_null(c->reply);
}

static void run_program(struct call *c, const struct program *p, bool grew)
{
    struct outcome outcome = {.changed = grew};
    struct text text;
    reply_array(c->reply, p->count);
    for (size_t i = 0; i < p->count; i++) {
        const struct operation *o = &p->operations[i];
        status s = string_look_aside(c->txn, call_key(c, 0), &text); /* a write ends the view */
        hf_assert(s == HF_OK);
        uint8_t room[BITS_FIELD_BYTES];
        bytes there = text_part(&text, o->offset / 8, sizeof(room), room);
        if (o->verb == FIELD_GET)
            reply_int(c->reply, value_of(o, bits_get(there, o->offset % 8, o->width)));
        else
            run_write(c, o, there, &outcome);
    }
    if (outcome.succeeded && outcome.changed)
        txn_event(c->txn, call_key(c, 0), EVENT_STRING, "setbit");
}

/* A single write makes the string as long as it needs by itself, in one effect. */
static void run_bitfield(struct call *c, bool may_write)
{
    struct program program;
    struct text text;
    bool grew = false;
    if (!take_program(c, &program))
        return;
    if (program.writes && !may_write) {
        reply_errorf(c->reply, "ERR BITFIELD_RO only supports the GET subcommand");
        return;
    }
    if (arg_refused(c, program.writes > 1    ? string_grow(c->txn, call_key(c, 0), program.size_needed, &grew)
                       : program.writes == 1 ? string_look_aside(c->txn, call_key(c, 0), &text)
                                             : string_look(c->txn, call_key(c, 0), &text)))
        return;
    run_program(c, &program, grew);
}

void cmd_bitfield(struct call *c)
{
    run_bitfield(c, true);
}

void cmd_bitfield_ro(struct call *c)
{
    run_bitfield(c, false);
}

/* Only GETs: it reads. What is none counts as a change. */
const char *bitfield_key_use(const bytes *argv, size_t argc)
{
    for (size_t i = 2; i < argc;) {
        if (bytes_is_word(argv[i], "GET") && argc - i > 2)
            i += 3;
        else if (bytes_is_word(argv[i], "OVERFLOW") && argc - i > 1)
            i += 2;
        else
            return "RW access update";
    }
    return "RO access";
}
