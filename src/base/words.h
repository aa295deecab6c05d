/* words.h -- a line of redis.conf, or the first of a script, as words: blanks separate, quotes group.
 *
 * "..." knows \n \r \t \b \a \\ \" and \xHH; '...' knows \' only. After a closing
 * quote comes a blank or the end. Words may hold any byte but NUL.
 */
#ifndef HF_BASE_WORDS_H
#define HF_BASE_WORDS_H

#include "base/buf.h"

#define WORDS_MAX 512

struct words {
    char *items[WORDS_MAX];
    size_t count;
};

/* False: unbalanced quotes, a NUL, or too many words; nothing to release then. */
bool words_split(struct words *w, bytes line);
void words_release(struct words *w);
/* The value as a word that words_split reads back; quoted only when it must be. */
void word_quote(const char *value, struct buf *out);

#endif
