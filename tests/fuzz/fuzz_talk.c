/* fuzz_talk.c -- what another server answers, cut anywhere, is the lines that a naive reading finds, none longer than is kept.
 *
 * The first byte seeds the cuts, the rest is the stream.
 */
#include "base/memory.h"
#include "cmd/talk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The next line of the whole, without its end; false: none is complete. */
static bool next_line(const uint8_t *data, size_t size, size_t *at, bytes *line)
{
    const uint8_t *begin = data + *at, *end = size > *at ? memchr(begin, '\n', size - *at) : NULL;
    if (!end)
        return false;
    *at = (size_t)(end - data) + 1;
    size_t length = (size_t)(end - begin);
    if (length <= TALK_LINE_MAX + 1 && length && begin[length - 1] == '\r')
        length--;
    *line = bytes_of(begin, length < TALK_LINE_MAX ? length : TALK_LINE_MAX);
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct talk_lines *l = mem_zalloc(sizeof(*l));
    uint32_t seed = size ? data[0] * 2654435761u : 0;
    size_t at = 1, naive = 1;
    while (at < size) {
        seed = seed * 1664525u + 1013904223u;
        size_t most = size - at, piece = 1 + (seed >> 16) % 700;
        if (piece > most)
            piece = most;
        uint8_t *copy = mem_alloc(piece); /* exact sizes: a read beyond the end shows */
        memcpy(copy, data + at, piece);
        bool complete;
        bytes line, wanted;
        size_t taken = talk_lines_take(l, bytes_of(copy, piece), &complete, &line);
        hf_assert(taken > 0 && taken <= piece && (complete || taken == piece));
        if (complete)
            hf_assert(next_line(data, size, &naive, &wanted) && bytes_equal(line, wanted) && naive == at + taken);
        at += taken;
        mem_free(copy);
    }
    bytes left;
    hf_assert(!size || !next_line(data, size, &naive, &left));
    mem_free(l);
    return 0;
}
