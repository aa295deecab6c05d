/* scan.h -- what SCAN and its kin share: cursor, options, and the reply. */
#ifndef HF_CMD_SCAN_H
#define HF_CMD_SCAN_H

#include "cmd/command.h"

struct scan_options {
    bool has_pattern, has_type;
    bool no_values; /* HSCAN */
    bytes pattern, type;
    size_t count;
};

/* Copies of words, grown inside a transaction's arena. Start with {.arena = a}. */
struct word_list {
    struct arena *arena;
    bytes *words;
    size_t count, capacity;
};

void word_list_add(struct word_list *list, bytes word);

/* These two reply the error and return false. */
bool scan_take_cursor(struct call *c, size_t index, uint64_t *cursor);
enum scan_kind { SCAN_KEYS, SCAN_FIELDS, SCAN_MEMBERS };
bool scan_take_options(struct call *c, size_t from, enum scan_kind kind, struct scan_options *options);
bool scan_matches(const struct scan_options *options, bytes word);
/* A large COUNT goes in steps, between which others are served:
 *     do cursor = x_scan(..., cursor, step = scan_step(&options), ...); while (scan_goes_on(c, &options, cursor, step)); */
static inline size_t scan_step(const struct scan_options *options) { return options->count < 256 ? options->count : 256; }
bool scan_goes_on(struct call *c, struct scan_options *options, uint64_t cursor, size_t step);
/* The next cursor and the words found; list NULL: none. */
void scan_reply(struct call *c, uint64_t cursor, const struct word_list *list);

#endif
