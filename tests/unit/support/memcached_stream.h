/* memcached_stream.h -- a stream of requests through memcached's parser, in pieces, as one list of what was found. */
#ifndef HF_TEST_MEMCACHED_STREAM_H
#define HF_TEST_MEMCACHED_STREAM_H

#include "base/memory.h"
#include "proto/memcached/memcached.h"

struct stream {
    void *state;
    struct resp_words words;
    struct arena text;
    struct buf found; /* row, quiet, skip, number of words; each word with its size */
    bool ended;       /* nonsense: the connection ends */
};

static inline void stream_init(struct stream *s)
{
    *s = (struct stream){.state = memcached_protocol.open(NULL, -1)};
    arena_init(&s->text);
    s->words.text = &s->text;
    buf_init(&s->found, SIZE_MAX);
}

static inline void stream_release(struct stream *s)
{
    memcached_protocol.close(s->state);
    resp_words_release(&s->words);
    arena_release(&s->text);
    buf_release(&s->found);
}

static inline void stream_note(struct stream *s, const struct protocol_command *p)
{
    buf_append(&s->found, &p->row, sizeof(p->row));
    buf_append_u8(&s->found, p->quiet);
    buf_append(&s->found, &p->skip, sizeof(p->skip));
    buf_append(&s->found, &s->words.count, sizeof(s->words.count));
    for (size_t i = 0; i < s->words.count; i++) {
        buf_append(&s->found, &s->words.items[i].size, sizeof(size_t));
        buf_append_bytes(&s->found, s->words.items[i]);
    }
}

/* Parses what stands in the input; returns how much of it is done. twice: each command comes again, as of a parked one. */
static inline size_t stream_take(struct stream *s, bytes input, bool authenticated, bool twice)
{
    struct protocol_limits limits = {.authenticated = authenticated};
    size_t at = 0;
    while (at < input.size && !s->ended) {
        struct protocol_command p = {0};
        size_t used = 0;
        s->words.count = 0;
        enum parse_result result = memcached_protocol.parse(s->state, &limits, bytes_of(input.data + at, input.size - at), &s->words, &p, &used);
        s->ended = result == PARSE_BAD;
        hf_assert(used <= input.size - at);
        if (result != PARSE_DONE) {
            hf_assert(result == PARSE_BAD || memcached_protocol.needs(s->state) > input.size - at);
            break;
        }
        if (s->words.count && twice) {
            size_t again;
            memcached_protocol.reset(s->state);
            s->words.count = 0;
            result = memcached_protocol.parse(s->state, &limits, bytes_of(input.data + at, input.size - at), &s->words, &p, &again);
            hf_assert(result == PARSE_DONE && again == used);
        }
        at += used;
        if (s->words.count) {
            memcached_protocol.begin(s->state, &p);
            stream_note(s, &p);
        }
    }
    return at;
}

/* The whole input, `piece` bytes at a time. */
static inline void stream_run(struct stream *s, bytes input, size_t piece, bool authenticated, bool twice)
{
    size_t done = 0;
    for (size_t seen = 0; seen < input.size && !s->ended;) {
        seen = input.size - seen < piece ? input.size : seen + piece;
        done += stream_take(s, bytes_of(input.data + done, seen - done), authenticated, twice);
        if (seen == input.size)
            break;
    }
}

#endif
