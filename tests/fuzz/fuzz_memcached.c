/* fuzz_memcached.c -- the parsers of memcached's protocols: any bytes, in any pieces, give the same commands.
 *
 * The first byte says how: bit 0 not logged in, the others the size of the pieces. What ends a connection for its length alone
 * depends on what has arrived, so a stream that ends is compared up to there.
 */
#include "../unit/support/memcached_stream.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct stream whole, pieces;
    static bool ready;
    if (!ready) {
        command_table_init();
        memcached_init(0);
        ready = true;
    }
    if (size < 2)
        return 0;
    bool authenticated = !(data[0] & 1);
    size_t piece = (size_t)(data[0] >> 1) + 1;
    uint8_t *copy = mem_alloc(size - 1); /* its end is the end of memory */
    memcpy(copy, data + 1, size - 1);
    bytes guess = memcached_protocol.likely_key(bytes_of(copy, size - 1));
    hf_assert(guess.size == 0 || (guess.data >= copy && guess.data + guess.size <= copy + (size - 1)));
    stream_init(&whole);
    stream_init(&pieces);
    stream_run(&whole, bytes_of(copy, size - 1), size, authenticated, false);
    stream_run(&pieces, bytes_of(copy, size - 1), piece, authenticated, true);
    size_t common = whole.found.size < pieces.found.size ? whole.found.size : pieces.found.size;
    hf_assert(memcmp(whole.found.data ? whole.found.data : copy, pieces.found.data ? pieces.found.data : copy, common) == 0);
    hf_assert(whole.ended || pieces.ended || whole.found.size == pieces.found.size);
    stream_release(&whole);
    stream_release(&pieces);
    mem_free(copy);
    return 0;
}
