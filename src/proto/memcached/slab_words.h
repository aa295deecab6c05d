/* slab_words.h -- words about slabs, LRU lists, flash storage and certificates.
 *
 * holdfast has none of these. Tools set them before they go on, so each line is answered as memcached 1.6.18 answers it, what is wrong
 * with its words included, and nothing happens. Pure.
 */
#ifndef HF_PROTO_MEMCACHED_SLAB_WORDS_H
#define HF_PROTO_MEMCACHED_SLAB_WORDS_H

#include "base/assert.h"
#include "base/bytes.h"

#define SLAB_CLASSES_MAX 64 /* in memcached: 1 to 63 */

/* A line. token[0] is the command's name, by which the caller has chosen the function. */
struct slab_words {
    const bytes *token;
    size_t count;
    bool quiet; /* out: its last word, noreply, holds the answer back */
};

/* The line to answer. */
typedef const char *slab_words_answer(struct slab_words *w);
slab_words_answer slab_words_lru_crawler, slab_words_lru, slab_words_slabs, slab_words_extstore, slab_words_shutdown;

/* "all", "hash", or numbers of classes with commas between. Class 1 holds all items. */
enum slab_classes { CLASSES_WRONG, CLASSES_NONE, CLASSES_EMPTY, CLASSES_WITH_ITEMS };
enum slab_classes slab_words_classes(bytes list);

#endif
