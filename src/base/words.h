/* words.h -- a line of redis.conf, or the first of a script, as words: blanks separate, quotes group.
 *
 * "..." knows \n \r \t \b \a \\ \" and \xHH; '...' knows \' only. After a closing
 * quote comes a blank or the end. Words may hold any byte but NUL.
 */
#ifndef HF_BASE_WORDS_H
#define HF_BASE_WORDS_H

#include "base/buf.h"

#define WORDS_MAX 65536 /* a user may have thousands of patterns; the first line of a script is a stranger's */

struct words {
    char **items;
    size_t count;
};

/* The value of a hexadecimal digit, or -1. */
static inline int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* What stands for this letter behind a backslash; other bytes stand for themselves. */
static inline uint8_t unescaped(uint8_t c)
{
    switch (c) {
    case 'n': return '\n';
    case 'r': return '\r';
    case 't': return '\t';
    case 'b': return '\b';
    case 'a': return '\a';
    default: return c;
    }
}

/* False: unbalanced quotes, a NUL, or too many words; nothing to release then. */
bool words_split(struct words *w, bytes line);
void words_release(struct words *w);
/* The value in double quotes, as a word that words_split reads back; escaped as Redis writes it. */
void word_quote(const char *value, struct buf *out);

#endif
