/* text_parse.c -- lines of the text and meta protocols, and the data behind some.
 *
 *   LINE -> a row and its words
 *        -> a row, and the size of its data: then the data and CR LF have to be there, too
 *        -> SAY: a line to answer, for what is wrong by its words alone, as memcached words it
 * Data behind a line that was refused is skipped when that is said (protocol_command.skip), so that it is not run as commands.
 */
#include "proto/memcached/memcached.h"

#include "proto/memcached/lines.h"
#include "proto/memcached/meta.h"
#include "proto/memcached/numbers.h"
#include "proto/memcached/slab_words.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#define SHORT_MAX 64  /* a line that is split by one word of bits */
#define TOKENS_MAX 23 /* further words of a line are looked at by commands of many keys only */
#define TOKENS_NAMED 6 /* that a parser may look at without asking whether they are there; empty then */
#define META_TOKENS_MAX 19
#define LONG_OPAQUE "CLIENT_ERROR opaque token too long"
#define TOO_LARGE "SERVER_ERROR object too large for cache"

struct text_command;

struct line {
    const struct protocol_limits *limits;
    struct memcached *parser;
    struct resp_words *words;
    struct protocol_command *out;
    bytes input, text;       /* text: without the line end */
    size_t size;             /* with it */
    bytes token[TOKENS_MAX];
    size_t count, rest;      /* rest: where the words behind these begin in text */
    size_t used;
    const struct text_command *command;
};

typedef enum parse_result line_parser(struct line *l, enum memcached_row row);

struct text_command {
    bytes name;
    line_parser *parse;
    enum memcached_row row;
    slab_words_answer *answer; /* of words about memory */
};

static enum parse_result done(struct line *l, enum memcached_row row)
{
    l->out->row = memcached_row(row);
    return PARSE_DONE;
}

static enum parse_result say(struct line *l, const char *text)
{
    l->words->items[l->words->count - 1] = BYTES("error"); /* in the place of the name */
    protocol_word(l->words, bytes_str(text));
    return done(l, ROW_SAY);
}

/* An answer that noreply does not hold back. */
static enum parse_result say_aloud(struct line *l, const char *text)
{
    l->out->quiet = false;
    return say(l, text);
}

static size_t next_token(bytes text, size_t at, bytes *token)
{
    while (at < text.size && text.data[at] == ' ')
        at++;
    const uint8_t *space = memchr(text.data + at, ' ', text.size - at);
    size_t end = space ? (size_t)(space - text.data) : text.size;
    *token = bytes_of(text.data + at, end - at);
    return end;
}

/* Where spaces and NUL bytes stand in a short text: bit i for byte i. */
static void find_breaks(bytes text, uint64_t *spaces, uint64_t *nuls)
{
    *spaces = *nuls = 0;
#if defined(__SSE2__)
    uint8_t block[SHORT_MAX] = {0};
    memcpy(block, text.data, text.size);
    for (size_t at = 0; at < text.size; at += 16) {
        __m128i sixteen = _mm_loadu_si128((const __m128i *)(const void *)(block + at));
        *spaces |= (uint64_t)(unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(sixteen, _mm_set1_epi8(' '))) << at;
        *nuls |= (uint64_t)(unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(sixteen, _mm_setzero_si128())) << at;
    }
#else
    for (size_t i = 0; i < text.size; i++) {
        *spaces |= (uint64_t)(text.data[i] == ' ') << i;
        *nuls |= (uint64_t)(text.data[i] == 0) << i;
    }
#endif
}

static void split_short(struct line *l)
{
    uint64_t spaces, nuls;
    find_breaks(l->text, &spaces, &nuls);
    uint64_t behind = l->text.size < SHORT_MAX ? ~UINT64_C(0) << l->text.size : 0;
    nuls |= behind;
    l->text.size = nuls ? (size_t)__builtin_ctzll(nuls) : SHORT_MAX;
    uint64_t breaks = spaces | nuls, words = ~breaks & ((nuls & (0 - nuls)) - 1); /* before the first NUL; all, if there is none */
    while (words && l->count < TOKENS_MAX) {
        size_t first = (size_t)__builtin_ctzll(words);
        uint64_t end = breaks & (~UINT64_C(0) << first);
        size_t last = end ? (size_t)__builtin_ctzll(end) : SHORT_MAX;
        l->token[l->count++] = bytes_of(l->text.data + first, last - first);
        l->rest = last;
        words = last < SHORT_MAX ? words & (~UINT64_C(0) << last) : 0;
    }
}

static void split_long(struct line *l)
{
    const uint8_t *nul = memchr(l->text.data, 0, l->text.size);
    if (nul)
        l->text.size = (size_t)(nul - l->text.data);
    for (bytes token; l->count < TOKENS_MAX; l->token[l->count++] = token) {
        size_t end = next_token(l->text, l->rest, &token);
        if (token.size == 0)
            break;
        l->rest = end;
    }
}

/* A line is text: it ends at a NUL. */
static void split(struct line *l)
{
    l->count = l->rest = 0;
    if (l->text.size <= SHORT_MAX)
        split_short(l);
    else
        split_long(l);
    for (size_t i = l->count; i < TOKENS_NAMED; i++)
        l->token[i] = (bytes){0};
}

static void take_noreply(struct line *l)
{
    l->out->quiet = bytes_equal(l->token[l->count - 1], BYTES("noreply"));
}

/* ---- keys ---- */

/* The name of the command is there. True: all keys are short enough. */
static bool take_keys(struct line *l, size_t first)
{
    size_t before = l->words->count, at = l->rest;
    for (size_t i = first; i < l->count; i++)
        protocol_word(l->words, l->token[i]);
    for (bytes key; l->count == TOKENS_MAX && (at = next_token(l->text, at, &key), key.size > 0);)
        protocol_word(l->words, key);
    for (size_t i = before; i < l->words->count; i++) {
        if (l->words->items[i].size > MEMCACHED_KEY_MAX) {
            l->words->count = before;
            return false;
        }
    }
    return true;
}

static enum parse_result parse_get(struct line *l, enum memcached_row row)
{
    if (l->count < 2)
        return say(l, "ERROR");
    return take_keys(l, 1) ? done(l, row) : say(l, LINE_BAD_FORMAT);
}

static enum parse_result parse_gat(struct line *l, enum memcached_row row)
{
    int32_t exptime;
    if (l->count < 2)
        return say(l, "ERROR");
    if (!memcached_i32(l->token[1], &exptime))
        return say(l, "CLIENT_ERROR invalid exptime argument");
    protocol_word(l->words, l->token[1]);
    if (take_keys(l, 2))
        return done(l, row);
    l->words->count--;
    return say(l, LINE_BAD_FORMAT);
}

static enum parse_result parse_key(struct line *l, enum memcached_row row)
{
    take_noreply(l);
    if (l->token[1].size > MEMCACHED_KEY_MAX)
        return say(l, LINE_BAD_FORMAT);
    protocol_word(l->words, l->token[1]);
    if (row != ROW_DELETE)
        protocol_word(l->words, l->token[2]);
    return done(l, row);
}

/* incr, decr, touch: a key and a number. A key that is too long is told first. */
static enum parse_result parse_key_and_number(struct line *l, enum memcached_row row)
{
    uint64_t delta;
    int32_t exptime;
    if (l->count != 3 && l->count != 4)
        return say(l, "ERROR");
    take_noreply(l);
    if (l->token[1].size > MEMCACHED_KEY_MAX)
        return say(l, LINE_BAD_FORMAT);
    if (row == ROW_TOUCH ? !memcached_i32(l->token[2], &exptime) : !memcached_u64(l->token[2], &delta))
        return say(l, row == ROW_TOUCH ? "CLIENT_ERROR invalid exptime argument" : "CLIENT_ERROR invalid numeric delta argument");
    return parse_key(l, row);
}

/* delete key [0] [noreply]: the 0 is a time that once was. */
static enum parse_result parse_delete(struct line *l, enum memcached_row row)
{
    if (l->count < 2 || l->count > 4)
        return say(l, "ERROR");
    if (l->count > 2) {
        bool zero = bytes_equal(l->token[2], BYTES("0"));
        take_noreply(l);
        if (l->count == 3 ? !zero && !l->out->quiet : !zero || !l->out->quiet)
            return say(l, LINE_BAD_FORMAT ".  Usage: delete <key> [noreply]");
    }
    bool quiet = l->out->quiet;
    enum parse_result result = parse_key(l, row);
    l->out->quiet = quiet;
    return result;
}

/* ---- data ---- */

/* Waits for size bytes and CR LF behind the line; *data: without them. False: more has to come. */
static bool take_data(struct line *l, size_t size, bytes *data)
{
    if (l->input.size - l->size < size + 2) {
        l->parser->needs = l->size + size + 2;
        return false;
    }
    *data = bytes_of(l->input.data + l->size, size);
    l->used = l->size + size + 2;
    return true;
}

static bool data_ends_well(bytes data) { return data.data[data.size] == '\r' && data.data[data.size + 1] == '\n'; }

/* The data of a command that is refused is dropped; a set takes away what it was to replace. */
static enum parse_result oversize(struct line *l, size_t size, bytes key, bytes name)
{
    l->out->skip = (uint64_t)size + 2;
    protocol_word(l->words, key);
    protocol_word(l->words, BYTES(TOO_LARGE));
    protocol_word(l->words, name);
    return done(l, ROW_OVERSIZE);
}

static enum parse_result parse_store(struct line *l, enum memcached_row row)
{
    size_t fixed = row == ROW_CAS ? 6 : 5;
    uint32_t flags;
    int32_t exptime, size;
    uint64_t number;
    bytes data;
    if (l->count != fixed && l->count != fixed + 1)
        return say(l, "ERROR");
    take_noreply(l);
    if (l->token[1].size > MEMCACHED_KEY_MAX || !memcached_u32(l->token[2], &flags) || !memcached_i32(l->token[3], &exptime) ||
        !memcached_i32(l->token[4], &size) || (row == ROW_CAS && !memcached_u64(l->token[5], &number)) || size < 0 ||
        size > INT32_MAX - 2)
        return say(l, LINE_BAD_FORMAT);
    if (!memcached_item_fits(l->token[1].size, (size_t)size, flags))
        return oversize(l, (size_t)size, l->token[1], l->token[0]);
    if (!take_data(l, (size_t)size, &data))
        return PARSE_MORE;
    if (!data_ends_well(data))
        return say(l, "CLIENT_ERROR bad data chunk");
    for (size_t i = 1; i < fixed; i++)
        protocol_word(l->words, l->token[i]);
    protocol_word(l->words, data);
    return done(l, row);
}

/* ---- meta ---- */

static bool decode_key(struct line *l, bytes *key)
{
    uint8_t *room = arena_alloc(l->words->text, 3 * (key->size / 4) + 1);
    size_t size = base64_decode(*key, room);
    if (size == SIZE_MAX || size == 0)
        return false;
    *key = bytes_of(room, size);
    return true;
}

/* Key and flags into the words; NULL, or the text of the error. */
static const char *take_meta(struct line *l, size_t first_flag, struct meta_flags *f)
{
    const char *error = meta_parse(&l->token[first_flag], l->count - first_flag, f);
    if (f->base64 && (!error || f->base64_last) && !decode_key(l, &l->token[1]))
        error = "CLIENT_ERROR error decoding key";
    if (error)
        return error;
    l->out->quiet = f->quiet;
    for (size_t i = 1; i < l->count; i++)
        protocol_word(l->words, l->token[i]);
    return NULL;
}

static enum parse_result parse_meta(struct line *l, enum memcached_row row)
{
    struct meta_flags f;
    if (l->count < 2)
        return say(l, "ERROR");
    if (l->token[1].size > MEMCACHED_KEY_MAX)
        return say(l, LINE_BAD_FORMAT);
    if (l->count > META_TOKENS_MAX)
        return say(l, row == ROW_MG ? "CLIENT_ERROR options flags are too long" : "CLIENT_ERROR options flags too long");
    size_t name = l->words->count;
    const char *error = take_meta(l, 2, &f);
    if (error)
        return say(l, row == ROW_MG ? error : "CLIENT_ERROR invalid or duplicate flag");
    if (f.long_opaque) {
        l->words->count = name;
        return say_aloud(l, LONG_OPAQUE);
    }
    if (row == ROW_MG && f.has_vivify)
        row = ROW_MG_MAKE;
    else if (row == ROW_MG && (f.has_ttl || f.has_recache))
        row = ROW_MG_TOUCH;
    return done(l, row);
}

static enum parse_result parse_ms(struct line *l, enum memcached_row row)
{
    struct meta_flags f;
    int32_t size;
    bytes data;
    if (l->count < 2)
        return say(l, "ERROR");
    if (l->token[1].size > MEMCACHED_KEY_MAX || l->count == 2)
        return say(l, LINE_BAD_FORMAT);
    if (l->count > META_TOKENS_MAX)
        return say(l, "CLIENT_ERROR options flags too long");
    if (!memcached_i32(l->token[2], &size) || size < 0 || size > INT32_MAX - 2)
        return say(l, LINE_BAD_FORMAT);
    size_t name = l->words->count;
    const char *error = take_meta(l, 3, &f);
    if (!error && f.long_opaque)
        error = LONG_OPAQUE;
    if (!error && !meta_mode_of_set(f.mode))
        error = "CLIENT_ERROR invalid mode for ms M token";
    if (error) {
        l->words->count = name;
        l->out->skip = (uint64_t)size + 2;
        return say_aloud(l, error);
    }
    if (!memcached_item_fits(l->token[1].size, (size_t)size, f.client_flags)) {
        l->words->count = name;
        l->out->quiet = false;
        return oversize(l, (size_t)size, l->token[1], l->token[0]);
    }
    if (!take_data(l, (size_t)size, &data))
        return PARSE_MORE;
    if (!data_ends_well(data)) {
        l->words->count = name;
        return say_aloud(l, "CLIENT_ERROR bad data chunk");
    }
    protocol_word(l->words, data);
    return done(l, row);
}

static enum parse_result parse_me(struct line *l, enum memcached_row row)
{
    if (l->count < 2 || l->token[1].size > MEMCACHED_KEY_MAX)
        return say(l, LINE_BAD_FORMAT);
    if (l->count > 2 && bytes_equal(l->token[2], BYTES("b")) && !decode_key(l, &l->token[1]))
        return say(l, LINE_BAD_FORMAT);
    for (size_t i = 1; i < l->count; i++)
        protocol_word(l->words, l->token[i]);
    return done(l, row);
}

/* ---- the rest ---- */

static enum parse_result parse_words(struct line *l, enum memcached_row row)
{
    for (size_t i = 1; i < l->count; i++)
        protocol_word(l->words, l->token[i]);
    return done(l, row);
}

static enum parse_result parse_flush_all(struct line *l, enum memcached_row row)
{
    int32_t delay = 0;
    if (l->count > 3)
        return say(l, "ERROR");
    take_noreply(l);
    if (l->count != (l->out->quiet ? 2u : 1u) && !memcached_i32(l->token[1], &delay))
        return say(l, "CLIENT_ERROR invalid exptime argument");
    return delay > 0 ? parse_words(l, ROW_FLUSH_LATER) : done(l, row);
}

/* A number, as verbosity and cache_memlimit take it. */
static enum parse_result parse_number(struct line *l, enum memcached_row row)
{
    uint32_t number;
    if (l->count != 2 && l->count != 3)
        return say(l, "ERROR");
    take_noreply(l);
    if (!memcached_u32(l->token[1], &number))
        return say(l, row == ROW_MEMLIMIT ? "ERROR" : LINE_BAD_FORMAT);
    return parse_words(l, row);
}

/* Class 1 holds all items. */
static enum parse_result parse_cachedump(struct line *l)
{
    uint32_t class, most;
    if (l->count < 4)
        return say(l, "CLIENT_ERROR bad command line");
    if (!memcached_u32(l->token[2], &class) || !memcached_u32(l->token[3], &most))
        return say(l, LINE_BAD_FORMAT);
    if (class >= SLAB_CLASSES_MAX)
        return say(l, "CLIENT_ERROR Illegal slab id");
    if (class != 1)
        return say(l, "END");
    protocol_word(l->words, l->token[3]);
    return done(l, ROW_CACHEDUMP);
}

static enum parse_result parse_stats(struct line *l, enum memcached_row row)
{
    if (l->count > 1 && bytes_equal(l->token[1], BYTES("cachedump")))
        return parse_cachedump(l);
    if (l->count > 1 && bytes_equal(l->token[1], BYTES("detail")))
        return parse_words(l, l->count > 2 && !bytes_equal(l->token[2], BYTES("dump")) ? ROW_STATS_DETAIL_SET : ROW_STATS_DETAIL);
    return parse_words(l, l->count > 1 && bytes_equal(l->token[1], BYTES("reset")) ? ROW_STATS_RESET : row);
}

/* ---- dumps and streams; words about memory ---- */

/* Nothing behind it is parsed before it has run. */
static enum parse_result parse_alone(struct line *l, enum memcached_row row)
{
    l->out->stays = l->used;
    l->used = 0;
    return parse_words(l, row);
}

static enum parse_result parse_dump(struct line *l, enum memcached_row row)
{
    if (l->count != 3)
        return say(l, "ERROR");
    switch (slab_words_classes(l->token[2])) {
    case CLASSES_WITH_ITEMS: return parse_alone(l, row);
    case CLASSES_EMPTY: return say(l, row == ROW_METADUMP ? "END" : "EN");
    case CLASSES_NONE: return say(l, "NOTSTARTED no items to crawl");
    default: return say(l, "BADCLASS invalid class id");
    }
}

static enum parse_result parse_watch(struct line *l, enum memcached_row row)
{
    take_noreply(l);
    return parse_alone(l, row);
}

static enum parse_result parse_slab_words(struct line *l, enum memcached_row row)
{
    struct slab_words w = {l->token, l->count, false};
    (void)row;
    const char *answer = l->command->answer(&w);
    l->out->quiet = w.quiet;
    return say(l, answer);
}

static enum parse_result parse_lru_crawler(struct line *l, enum memcached_row row)
{
    if (l->count > 1 && bytes_equal(l->token[1], BYTES("metadump")))
        return parse_dump(l, ROW_METADUMP);
    if (l->count > 1 && bytes_equal(l->token[1], BYTES("mgdump")))
        return parse_dump(l, ROW_MGDUMP);
    return parse_slab_words(l, row);
}

static const struct text_command commands[] = {
    {BYTES("get"), parse_get, ROW_GET, NULL},
    {BYTES("set"), parse_store, ROW_SET, NULL},
    {BYTES("mg"), parse_meta, ROW_MG, NULL},
    {BYTES("ms"), parse_ms, ROW_MS, NULL},
    {BYTES("gets"), parse_get, ROW_GETS, NULL},
    {BYTES("cas"), parse_store, ROW_CAS, NULL},
    {BYTES("add"), parse_store, ROW_ADD, NULL},
    {BYTES("incr"), parse_key_and_number, ROW_INCR, NULL},
    {BYTES("decr"), parse_key_and_number, ROW_DECR, NULL},
    {BYTES("delete"), parse_delete, ROW_DELETE, NULL},
    {BYTES("touch"), parse_key_and_number, ROW_TOUCH, NULL},
    {BYTES("md"), parse_meta, ROW_MD, NULL},
    {BYTES("ma"), parse_meta, ROW_MA, NULL},
    {BYTES("mn"), parse_words, ROW_MN, NULL},
    {BYTES("me"), parse_me, ROW_ME, NULL},
    {BYTES("gat"), parse_gat, ROW_GAT, NULL},
    {BYTES("gats"), parse_gat, ROW_GATS, NULL},
    {BYTES("append"), parse_store, ROW_APPEND, NULL},
    {BYTES("prepend"), parse_store, ROW_PREPEND, NULL},
    {BYTES("replace"), parse_store, ROW_REPLACE, NULL},
    {BYTES("bget"), parse_get, ROW_GET, NULL},
    {BYTES("stats"), parse_stats, ROW_STATS, NULL},
    {BYTES("version"), parse_words, ROW_VERSION, NULL},
    {BYTES("quit"), parse_words, ROW_QUIT, NULL},
    {BYTES("flush_all"), parse_flush_all, ROW_FLUSH_ALL, NULL},
    {BYTES("verbosity"), parse_number, ROW_VERBOSITY, NULL},
    {BYTES("cache_memlimit"), parse_number, ROW_MEMLIMIT, NULL},
    {BYTES("watch"), parse_watch, ROW_WATCH, NULL},
    {BYTES("lru_crawler"), parse_lru_crawler, ROW_SAY, slab_words_lru_crawler},
    {BYTES("lru"), parse_slab_words, ROW_SAY, slab_words_lru},
    {BYTES("slabs"), parse_slab_words, ROW_SAY, slab_words_slabs},
    {BYTES("extstore"), parse_slab_words, ROW_SAY, slab_words_extstore},
    {BYTES("shutdown"), parse_slab_words, ROW_SAY, slab_words_shutdown},
    {BYTES("refresh_certs"), parse_words, ROW_REFRESH_CERTS, NULL},
};

/* Before the login only "set any 0 0 size", with "user password" as its data. */
static enum parse_result parse_login(struct line *l)
{
    uint32_t size;
    bytes data, user, password;
    if (l->count < 5 || !bytes_equal(l->token[0], BYTES("set")) || !memcached_u32(l->token[4], &size))
        return say(l, "CLIENT_ERROR unauthenticated");
    if (size > MEMCACHED_LINE_MAX)
        return PARSE_BAD;
    if (!take_data(l, size, &data))
        return PARSE_MORE;
    if (!data_ends_well(data))
        return say(l, "CLIENT_ERROR bad command line termination");
    size_t at = next_token(data, 0, &user);
    next_token(data, at, &password);
    if (password.size == 0)
        return say(l, "CLIENT_ERROR bad authentication token format");
    l->words->items[l->words->count - 1] = BYTES("auth");
    protocol_word(l->words, user);
    protocol_word(l->words, password);
    return done(l, ROW_AUTH);
}

static enum parse_result parse_line(struct line *l)
{
    split(l);
    protocol_word(l->words, BYTES("error"));
    if (!l->limits->authenticated && !(l->count && bytes_equal(l->token[0], BYTES("quit"))))
        return parse_login(l);
    for (size_t i = 0; l->count && i < sizeof(commands) / sizeof(commands[0]); i++) {
        if (!bytes_equal(commands[i].name, l->token[0]))
            continue;
        l->words->items[l->words->count - 1] = commands[i].name;
        l->command = &commands[i];
        return commands[i].parse(l, commands[i].row);
    }
    /* A browser, or something that was made to speak like one: nothing is said to it. */
    bytes last = l->count ? l->token[l->count - 1] : (bytes){0};
    if (last.size >= 5 && memcmp(last.data, "HTTP/", 5) == 0)
        return PARSE_BAD;
    return say(l, "ERROR");
}

/* May a line be longer than others? */
static bool is_long_get(bytes input)
{
    size_t at = 0;
    while (at < input.size && at <= 100 && input.data[at] == ' ')
        at++;
    const char *text = (const char *)input.data + at;
    return at <= 100 && input.size - at > 5 && (memcmp(text, "get ", 4) == 0 || memcmp(text, "gets ", 5) == 0);
}

enum parse_result memcached_parse_text(struct memcached *m, const struct protocol_limits *limits, bytes input,
                                       struct resp_words *words, struct protocol_command *out, size_t *used)
{
    struct line l; /* not cleared as a whole: the tokens are many */
    l.limits = limits;
    l.parser = m;
    l.words = words;
    l.out = out;
    l.input = input;
    size_t before = words->count;
    *used = 0;
    const uint8_t *end = m->scanned < input.size ? memchr(input.data + m->scanned, '\n', input.size - m->scanned) : NULL;
    if (!end) {
        m->scanned = input.size;
        m->needs = input.size + 1;
        return input.size > MEMCACHED_LINE_MAX && !is_long_get(input) ? PARSE_BAD : PARSE_MORE;
    }
    size_t size = (size_t)(end - input.data);
    if (HF_UNLIKELY(size >= MEMCACHED_LINE_WHOLE_MAX) && !is_long_get(input))
        return PARSE_BAD;
    m->scanned = size;
    l.size = l.used = size + 1;
    size -= size > 1 && end[-1] == '\r';
    l.text = bytes_of(input.data, size);
    *out = (struct protocol_command){.head = input.data};
    enum parse_result result = parse_line(&l);
    if (result != PARSE_DONE) {
        words->count = before;
        return result;
    }
    m->scanned = 0;
    *used = l.used;
    return PARSE_DONE;
}
