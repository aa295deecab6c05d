/* protocol.c -- the array of words, for parsers beside RESP. */
#include "proto/protocol.h"

#include "base/memory.h"

void protocol_more_words(struct resp_words *words)
{
    words->capacity = words->capacity ? words->capacity * 2 : 64;
    words->items = mem_realloc(words->items, words->capacity * sizeof(*words->items));
}
