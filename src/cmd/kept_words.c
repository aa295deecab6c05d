/* kept_words.c -- one buffer for all words of a command. */
#include "cmd/kept_words.h"

void kept_words_init(struct kept_words *k, size_t size_max)
{
    buf_init(&k->bytes, size_max);
    k->count = 0;
}

void kept_words_release(struct kept_words *k)
{
    buf_release(&k->bytes);
    k->count = 0;
}

bool kept_words_try_add(struct kept_words *k, bytes word)
{
    if (!buf_try_reserve(&k->bytes, sizeof(word.size) + word.size))
        return false;
    buf_append(&k->bytes, &word.size, sizeof(word.size));
    buf_append_bytes(&k->bytes, word);
    k->count++;
    return true;
}

void kept_words_reply(const struct kept_words *k, struct reply *r)
{
    const uint8_t *at = k->bytes.data;
    reply_array(r, k->count);
    for (size_t i = 0; i < k->count; i++) {
        size_t size;
        memcpy(&size, at, sizeof(size));
        reply_bulk(r, bytes_of(at + sizeof(size), size));
        at += sizeof(size) + size;
    }
}
