/* protocol.h -- what the network needs of a protocol beside RESP: a parser with rows of its own, and state of a connection.
 *
 * Parsing is pure: no socket, no clock; feeding byte by byte gives the same commands as all at once. Input that was parsed
 * may come again (a command was parked): what a command does to the stream behind it, it does in `begin`, when it runs.
 * Owner: the connection's worker. Words are views into the input, or into words->text.
 */
#ifndef HF_PROTO_PROTOCOL_H
#define HF_PROTO_PROTOCOL_H

#include "cmd/command.h"
#include "proto/resp/resp_parse.h"

/* One command, beside its words (argv[0] is a name, for SLOWLOG and MONITOR). */
struct protocol_command {
    const struct command *row;
    const uint8_t *head;  /* its first byte in the input */
    uint64_t skip;        /* bytes behind it that belong to no command; then nothing is parsed before it has run */
    size_t stays;         /* its bytes, when they are left in the input: it may run once more, after others had their turn */
    bool quiet;           /* the client wants no answer, or not every one */
};

struct protocol_limits { bool authenticated; };

/* Why a connection ended: its client had enough, or spoke nonsense, or was refused. */
enum protocol_end { END_ERROR, END_NORMAL, END_IDLE, END_SHUTDOWN };

struct protocol {
    const char *name;
    uint32_t database;
    const char *full, *closed_to_all; /* lines for those who are turned away: too many, protected mode */
    const struct reply_ops *ops; /* errors of the executor come through these; handlers write to reply->out */
    void *(*open)(struct session *s, int fd);
    void (*leave)(void *state, enum protocol_end why); /* closed: no message reaches it any more */
    void (*close)(void *state);
    void (*reset)(void *state);  /* forgets the command under way: its bytes come again */
    /* PARSE_DONE without words: nothing to run. PARSE_BAD: the connection ends, without a word. */
    enum parse_result (*parse)(void *state, const struct protocol_limits *limits, bytes input, struct resp_words *words,
                               struct protocol_command *out, size_t *used);
    /* A guess at the key of the command that begins here, without parsing it; empty: none. Only to have its memory at hand. */
    bytes (*likely_key)(bytes input);
    size_t (*needs)(const void *state); /* after PARSE_MORE: how large the input must be before anything new can be said */
    void (*begin)(void *state, const struct protocol_command *p); /* this one runs now; again if it was parked */
};

void protocol_more_words(struct resp_words *words); /* room for one more, at least */

/* Appends a word as the parsers do. */
static inline void protocol_word(struct resp_words *words, bytes word)
{
    if (HF_UNLIKELY(words->count == words->capacity))
        protocol_more_words(words);
    words->items[words->count++] = word;
}

#endif
