/* usage.h -- the `usage` of a row, read as the arguments that COMMAND DOCS tells.
 *
 * One text serves people and programs. Between words stands one space; the pieces are:
 *
 *     word             an argument. One without lower-case letters is a token, typed as it stands; "" is the empty one
 *     TOKEN piece      the token belongs to the argument, <...> or (...) behind it
 *     [ ... ]          may be left out
 *     < A | B >        one of several, each a piece or a row of them; [A | B] likewise
 *     ( ... )          a row of pieces as one; people see no parentheses
 *     piece ...        one or more of it
 *     X [X ...]        the same, as people write it: what the brackets hold stands before them, with or without its token
 *     {...}            about the piece in front; people do not see it. Any of: its name, where it is not the usual one;
 *                      @6.2.0 since when it is there; -6.2.0 since when it should not be used; :integer its type;
 *                      #1 the key spec that it belongs to
 *
 * Usual names: of an argument the word, of a token its lower case, of a row or a choice the names of its parts with '_'
 * between. Usual types are those of usage.c's table. Usual key specs are counted from 0, one per argument of type key.
 */
#ifndef HF_CMD_USAGE_H
#define HF_CMD_USAGE_H

#include "base/arena.h"
#include "base/buf.h"

enum usage_type {
    USAGE_STRING,
    USAGE_INTEGER,
    USAGE_DOUBLE,
    USAGE_KEY,
    USAGE_PATTERN,
    USAGE_UNIX_TIME,
    USAGE_TOKEN,
    USAGE_ONE_OF,
    USAGE_BLOCK,
    USAGE_TYPES
};

struct usage {
    bytes name;
    bytes token;                  /* data NULL: none */
    enum usage_type type;
    bool optional, multiple, multiple_token; /* multiple_token: each time with the token before it */
    bytes since, deprecated_since; /* empty: as the command */
    int key_spec;                 /* -1: none */
    struct usage *parts;          /* of a row or a choice */
    struct usage *next;
};

/* The arguments, in memory of the arena and views of the text; *first is NULL where there are none. False: the text breaks
 * the grammar (a test reads those of all rows). */
HF_CHECK bool usage_read(const char *text, struct arena *arena, struct usage **first);
const char *usage_type_name(enum usage_type type); /* "pure-token", as COMMAND DOCS has it */
/* Appends the text as people see it. */
void usage_show(const char *text, struct buf *out);

#endif
