/* strings.h -- typed operations on string keys. Keys must be locked by the txn.
 *
 * Every operation returns HF_ERR_WRONGTYPE for a key of another type unless it says
 * otherwise, and then has changed nothing.
 */
#ifndef HF_ENGINE_STRINGS_H
#define HF_ENGINE_STRINGS_H

#include "engine/txn.h"

#define STRING_SIZE_MAX (512u << 20) /* Redis' proto-max-bulk-len default */

/* proto-max-bulk-len, as far as it is below that: to what size commands may make a string grow. Any thread. */
extern uint64_t string_growth_max;
static inline uint64_t string_may_grow_to(void) { return __atomic_load_n(&string_growth_max, __ATOMIC_RELAXED); }

/* A string's text: a view into the entry, or the digits of an integer. string_look gives a large one as the rope that it is. */
struct text {
    bool found;
    bytes view; /* empty when absent; data NULL: in `rope`, and only the size says something */
    union {
        char digits[24];
        struct rope *rope;
    };
};

/* Of text in any form: the bytes from offset on that lie in one run, at most `most`; offset < size. */
bytes text_run(const struct text *t, size_t offset, size_t most);
void text_read(const struct text *t, size_t offset, size_t size, uint8_t *out); /* all of them are there */
/* Those of [offset, offset + size) that there are; copied to `room` only if they lie in two runs. */
bytes text_part(const struct text *t, size_t offset, size_t size, uint8_t *room);

enum set_when { SET_ALWAYS, SET_IF_ABSENT, SET_IF_PRESENT };

struct set_options {
    enum set_when when;
    bool keep_deadline;
    bool raw;              /* kept as bytes even when it reads as an integer; OBJECT ENCODING says raw */
    struct rope *rope;     /* instead of the bytes, more than ENTRY_INLINE_MAX of them; the caller keeps its count */
    bool get_old;          /* fill result->old; WRONGTYPE if the old value is no string */
    uint64_t deadline_ms;  /* 0: none. One in the past: the key is removed instead. */
};

struct set_result {
    bool done;       /* false: NX or XX refused */
    struct text old; /* when get_old; in the txn's arena */
};

/* Overwrites a key of any type. */
status string_set(struct txn *t, const struct key *k, bytes value, const struct set_options *o, struct set_result *result) HF_CHECK;
/* The text in whatever form it has: for whatever large strings are usual with. */
status string_look(struct txn *t, const struct key *k, struct text *out) HF_CHECK;
status string_look_aside(struct txn *t, const struct key *k, struct text *out) HF_CHECK; /* as string_peek */
/* The text in one run: a large one is put together in the txn's arena. */
status string_get(struct txn *t, const struct key *k, struct text *out) HF_CHECK;
status string_peek(struct txn *t, const struct key *k, struct text *out) HF_CHECK; /* for a command that writes: not counted as a read */
status string_append(struct txn *t, const struct key *k, bytes tail, size_t *size) HF_CHECK;
/* Zero-fills a gap. An empty value changes nothing and reports the current size. */
status string_set_range(struct txn *t, const struct key *k, uint64_t offset, bytes value, size_t *size) HF_CHECK;
/* Zero-fills the string up to size; an absent key is created. Never shortens. From now on OBJECT ENCODING
 * says raw, as Redis does of strings that are written in place, even when nothing else has changed. */
status string_grow(struct txn *t, const struct key *k, uint64_t size, bool *grew) HF_CHECK;
status string_incr_by(struct txn *t, const struct key *k, int64_t delta, int64_t *result) HF_CHECK;
/* *result: text in the txn's arena, as INCRBYFLOAT replies. */
status string_incr_float(struct txn *t, const struct key *k, long double delta, bytes *result) HF_CHECK;

#endif
