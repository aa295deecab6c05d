/* slab_words.c -- what memcached says to words about its memory; a function per command, tables of words where nothing else differs. */
#include "proto/memcached/slab_words.h"

#include "proto/memcached/lines.h"
#include "proto/memcached/numbers.h"

#include <stdlib.h>

#define CLASSES_HERE 40          /* that memcached's default sizes give, the pool of free pages, 0, included */
#define CRAWLER_SLEEP_MAX 1000000 /* microseconds */
#define LRU_PERCENT_MAX 80

static bool is_word(const struct slab_words *w, size_t n, const char *word)
{
    return w->count > n && bytes_equal(w->token[n], bytes_str(word));
}

static void take_noreply(struct slab_words *w) { w->quiet = is_word(w, w->count - 1, "noreply"); }

static bool is_real(bytes word, double *value)
{
    char text[64], *end;
    if (word.size == 0 || word.size >= sizeof(text))
        return false;
    memcpy(text, word.data, word.size);
    text[word.size] = '\0';
    *value = strtod(text, &end);
    return end != text && *end == '\0';
}

enum slab_classes slab_words_classes(bytes list)
{
    enum slab_classes found = CLASSES_NONE;
    if (bytes_equal(list, BYTES("all")) || bytes_equal(list, BYTES("hash")))
        return CLASSES_WITH_ITEMS;
    for (size_t at = 0; at < list.size;) {
        const uint8_t *comma = memchr(list.data + at, ',', list.size - at);
        size_t end = comma ? (size_t)(comma - list.data) : list.size;
        uint32_t class = 0;
        if (end > at && (!memcached_u32(bytes_of(list.data + at, end - at), &class) || class < 1 || class >= SLAB_CLASSES_MAX))
            return CLASSES_WRONG;
        if (class == 1)
            found = CLASSES_WITH_ITEMS;
        else if (class && found == CLASSES_NONE)
            found = CLASSES_EMPTY;
        at = end + 1;
    }
    return found;
}

const char *slab_words_lru_crawler(struct slab_words *w)
{
    uint32_t number;
    if (w->count == 2)
        return is_word(w, 1, "enable") || is_word(w, 1, "disable") ? "OK" : "ERROR";
    if (w->count != 3)
        return "ERROR";
    if (is_word(w, 1, "crawl")) {
        enum slab_classes classes = slab_words_classes(w->token[2]);
        return classes == CLASSES_WRONG ? "BADCLASS invalid class id" : classes == CLASSES_NONE ? "NOTSTARTED no items to crawl" : "OK";
    }
    bool sleeps = is_word(w, 1, "sleep");
    if (!sleeps && !is_word(w, 1, "tocrawl"))
        return "ERROR";
    if (!memcached_u32(w->token[2], &number))
        return LINE_BAD_FORMAT;
    return sleeps && number > CRAWLER_SLEEP_MAX ? "CLIENT_ERROR sleep must be one second or less" : "OK";
}

static const char *reassign(const struct slab_words *w)
{
    int32_t from, to;
    if (!memcached_i32(w->token[2], &from) || !memcached_i32(w->token[3], &to))
        return LINE_BAD_FORMAT;
    if (from == to)
        return "SAME src and dst class are identical";
    if (from < 0 || from >= CLASSES_HERE || to < 0 || to >= CLASSES_HERE)
        return "BADCLASS invalid src or dst class id";
    return "NOSPARE source class has no spare pages";
}

const char *slab_words_slabs(struct slab_words *w)
{
    uint32_t level;
    double ratio;
    if (w->count == 4 && is_word(w, 1, "reassign"))
        return reassign(w);
    if (w->count < 3 || !is_word(w, 1, "automove"))
        return "ERROR";
    take_noreply(w);
    if (is_word(w, 2, "ratio"))
        return w->count > 3 && is_real(w->token[3], &ratio) ? "OK" : "ERROR";
    if (!memcached_u32(w->token[2], &level))
        return LINE_BAD_FORMAT;
    return level <= 2 ? "OK" : "ERROR";
}

static const char *tune(const struct slab_words *w)
{
    uint32_t hot, warm;
    double hot_factor, warm_factor;
    if (w->count < 6 || !memcached_u32(w->token[2], &hot) || !memcached_u32(w->token[3], &warm) || !is_real(w->token[4], &hot_factor) ||
        !is_real(w->token[5], &warm_factor))
        return "ERROR";
    if (hot + warm > LRU_PERCENT_MAX) /* modulo 2^32, as memcached adds them */
        return "ERROR hot and warm pcts must not exceed 80";
    return hot_factor <= 0 || warm_factor <= 0 ? "ERROR hot/warm age factors must be greater than 0" : "OK";
}

const char *slab_words_lru(struct slab_words *w)
{
    int32_t seconds;
    take_noreply(w);
    if (is_word(w, 1, "tune"))
        return tune(w);
    if (is_word(w, 1, "mode"))
        return is_word(w, 2, "flat") || is_word(w, 2, "segmented") ? "OK" : "ERROR";
    return is_word(w, 1, "temp_ttl") && w->count > 2 && memcached_i32(w->token[2], &seconds) ? "OK" : "ERROR";
}

const char *slab_words_extstore(struct slab_words *w)
{
    static const char *const numbers[] = {"item_size", "item_age", "low_ttl", "recache_rate", "compact_under", "drop_under", "max_sleep",
                                          "drop_unread"};
    uint32_t number, most;
    double part;
    take_noreply(w);
    if (w->count < 3)
        return "ERROR";
    if (is_word(w, 1, "max_frag"))
        return is_real(w->token[2], &part) ? "OK" : "ERROR";
    if (is_word(w, 1, "free_memchunks"))
        return w->count > 3 && memcached_u32(w->token[2], &number) && number < SLAB_CLASSES_MAX && memcached_u32(w->token[3], &most) ? "OK" : "ERROR";
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        if (is_word(w, 1, numbers[i]))
            return memcached_u32(w->token[2], &number) ? "OK" : "ERROR";
    }
    return "ERROR";
}

const char *slab_words_shutdown(struct slab_words *w)
{
    (void)w;
    return "ERROR: shutdown not enabled";
}
