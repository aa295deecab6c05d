/* resp_parse.h -- the words of a request, from bytes that arrive in any pieces.
 *
 * Pure: no socket, no clock. The input of a call begins at the first byte of the
 * command under way and holds everything received of it so far; the caller drops
 * bytes only as *used says. Feeding byte by byte gives the same words and the same
 * errors as all at once, and no payload byte is looked at twice: a parser remembers
 * where it stands (offsets, so the input may move between calls).
 *
 *   START -> '*': COUNT -> LENGTH -> PAYLOAD -> LENGTH ... -> done
 *         -> anything else: LINE (an inline command) -> done
 *
 * Memory: words are views into the input, or, for inline words with quotes, into
 * words->text; they end with the input, the next parse that grows the array, or the
 * reset of the arena.
 */
#ifndef HF_PROTO_RESP_PARSE_H
#define HF_PROTO_RESP_PARSE_H

#include "base/arena.h"
#include "base/assert.h"

enum parse_result {
    PARSE_DONE, /* *used bytes are one command; no words: an empty line or "*0", nothing to run */
    PARSE_MORE, /* come again with more bytes; *used is 0 */
    PARSE_BAD,  /* parser->error says why ("" : drop the connection without a word) */
};

#define RESP_LINE_MAX 65536u       /* inline commands, counts and lengths */
#define RESP_ARGS_MAX 1048576u
#define RESP_BULK_MAX (512u << 20) /* default of proto-max-bulk-len */

struct resp_limits {
    size_t bulk_max;
    size_t args_max;
    bool authenticated; /* false: at most 10 words of 16 KiB, as Redis */
};

/* The caller's array of words; one array may hold the words of many commands. */
struct resp_words {
    bytes *items;
    size_t count, capacity;
    struct arena *text; /* unquoted words of inline commands */
};

void resp_words_release(struct resp_words *w);

struct resp_span { size_t offset, size; };

struct resp_parser {
    int stage;
    size_t at;       /* where the next piece begins */
    size_t scanned;  /* no line end before this */
    size_t args_left, payload_size;
    struct resp_span *spans; /* words of an incomplete command */
    size_t span_count, span_capacity;
    char error[96];  /* the text after "ERR " */
};

void resp_parser_init(struct resp_parser *p);
void resp_parser_reset(struct resp_parser *p); /* forgets the command under way */
void resp_parser_release(struct resp_parser *p);

/* Appends the words of one command to `words`. */
enum parse_result resp_parse(struct resp_parser *p, const struct resp_limits *limits, bytes input,
                             struct resp_words *words, size_t *used) HF_CHECK;
/* A guess at the key of the command that begins here: its second word; empty: none. */
bytes resp_likely_key(bytes input);
/* After PARSE_MORE: how large the input must be before anything new can be said. */
size_t resp_parser_needs(const struct resp_parser *p);

#endif
