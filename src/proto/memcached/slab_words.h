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

/* Of lru, slabs, extstore, lru_crawler, refresh_certs, shutdown; token[0] is that name. The line to answer. *quiet: noreply holds it back. */
const char *slab_words_answer(const bytes *token, size_t count, bool *quiet);

/* "all", "hash", or numbers of classes with commas between. Class 1 holds all items. */
enum slab_classes { CLASSES_WRONG, CLASSES_NONE, CLASSES_EMPTY, CLASSES_WITH_ITEMS };
enum slab_classes slab_words_classes(bytes list);

#endif
