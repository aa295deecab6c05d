/* kept_words.h -- words of a command copied one behind the other, to be replied later as an array. */
#ifndef HF_CMD_KEPT_WORDS_H
#define HF_CMD_KEPT_WORDS_H

#include "base/buf.h"
#include "cmd/reply.h"

struct kept_words {
    struct buf bytes; /* of each its size_t size, then itself */
    size_t count;
};

void kept_words_init(struct kept_words *k, size_t size_max); /* bytes of all, sizes included */
void kept_words_release(struct kept_words *k);
bool kept_words_try_add(struct kept_words *k, bytes word) HF_CHECK; /* false: beyond size_max */
void kept_words_reply(const struct kept_words *k, struct reply *r);

#endif
