/* fuzz_resp.c -- any bytes, cut anywhere, mean what they mean in one piece.
 *
 * The first byte seeds the cuts and says whether the peer has authenticated; the rest is
 * the stream. Words and errors of both readings must agree.
 */
#include "base/assert.h"
#include "base/memory.h"
#include "proto/resp/resp_parse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A digest of every word, command end and error. step 0: everything at once. */
static uint64_t read_stream(const uint8_t *data, size_t size, uint32_t seed, bool authenticated)
{
    struct resp_parser p;
    struct arena arena;
    struct resp_words words = {.text = &arena};
    struct resp_limits limits = {.bulk_max = 1 << 20, .args_max = 1 << 16, .authenticated = authenticated};
    uint64_t digest = 1469598103934665603u;
    arena_init(&arena);
    resp_parser_init(&p);
    size_t at = 0, have = seed ? 0 : size;
    for (;;) {
        uint8_t *copy = mem_alloc(have - at + 1); /* exact sizes: a read beyond the end shows */
        if (have > at)
            memcpy(copy, data + at, have - at);
        bytes guess = have > at ? resp_likely_key(bytes_of(copy, have - at)) : bytes_of(copy, 0);
        hf_assert(guess.size == 0 || (guess.data >= copy && guess.data + guess.size <= copy + (have - at)));
        size_t used = 0;
        words.count = 0;
        enum parse_result r = resp_parse(&p, &limits, bytes_of(copy, have - at), &words, &used);
        hf_assert(used <= have - at && (r == PARSE_DONE) == (used > 0));
        for (size_t i = 0; r == PARSE_DONE && i < words.count; i++) {
            for (size_t k = 0; k < words.items[i].size; k++)
                digest = (digest ^ words.items[i].data[k]) * 1099511628211u;
            digest = (digest ^ 256 ^ words.items[i].size << 9) * 1099511628211u;
        }
        mem_free(copy);
        at += used;
        if (r == PARSE_BAD) {
            for (const char *e = p.error; *e; e++)
                digest = (digest ^ (uint8_t)*e) * 1099511628211u;
            break;
        }
        if (r == PARSE_DONE && words.count)
            digest = (digest ^ 511) * 1099511628211u;
        if (r == PARSE_MORE) {
            if (have == size)
                break;
            seed = seed * 1664525 + 1013904223;
            have += 1 + (seed >> 24) % 7;
            have = have > size ? size : have;
        }
    }
    resp_words_release(&words);
    resp_parser_release(&p);
    arena_release(&arena);
    return digest;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    bool authenticated = data[0] & 1;
    uint64_t whole = read_stream(data + 1, size - 1, 0, authenticated);
    uint64_t cut = read_stream(data + 1, size - 1, data[0] | 1u, authenticated);
    hf_assert(whole == cut);
    return 0;
}
