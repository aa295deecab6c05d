/* memcached.c -- rows, a connection's state, and errors of the executor in memcached's words. */
#include "proto/memcached/memcached.h"

#include "base/wire.h"

#include "base/memory.h"
#include "cmd/feed.h"
#include "proto/memcached/binary.h"
#include "proto/memcached/handlers.h"
#include "proto/memcached/watch.h"

struct memcached_settings memcached_settings = {.item_size_max = 1 << 20};

#define COMMAND(id, row_name, function, as, ...) [ROW_##id] = {.name = row_name, .handler = function, .arity = -1, __VA_ARGS__},
static struct command rows[ROW_COUNT + 1] = {
#include "proto/memcached/memcached.def"
};
#undef COMMAND

#define COMMAND(id, name, function, as, ...) [ROW_##id] = as,
static const char *const rights[ROW_COUNT] = {
#include "proto/memcached/memcached.def"
};
#undef COMMAND

static struct command_stats stats[ROW_COUNT];

const struct command *memcached_row(enum memcached_row id) { return &rows[id]; }

void memcached_init(uint32_t database)
{
    for (size_t i = 0; i < ROW_COUNT; i++) {
        rows[i].full_name = rows[i].name;
        const struct command *as = rights[i] ? command_find_full(bytes_str(rights[i])) : NULL;
        hf_assert(as || !rights[i]);
        if (!rows[i].feed)
            rows[i].feed = feed_nothing; /* a read may note versions and marks, which no replica knows */
        rows[i].stats = as ? as->stats : &stats[i];
        rows[i].id = as ? as->id : command_id_new();
        if (as && !rows[i].key_use)
            rows[i].key_use = as->key_use;
    }
    memcached_protocol.database = database;
}

bool memcached_item_fits(size_t key, size_t value, uint32_t flags)
{
    enum { HEADER = 48 + 8 + 1 + 2 }; /* of memcached's item: fields, number, NUL, CR LF */
    uint64_t most = atomic_load_explicit(&memcached_settings.item_size_max, memory_order_relaxed);
    return value <= most && key + value + HEADER + (flags ? 4 : 0) <= most;
}

/* ---- a connection ---- */

static void *state_open(struct session *s, int fd)
{
    struct memcached *m = mem_zalloc(sizeof(*m));
    m->session = s;
    m->fd = fd;
    if (memcached_observes(WATCH_CONNEVENTS))
        watch_connection(m, NULL);
    return m;
}

static void state_leave(void *state, enum protocol_end why)
{
    static const char *const reasons[] = {
        [END_ERROR] = "error", [END_NORMAL] = "normal", [END_IDLE] = "idle_timeout", [END_SHUTDOWN] = "shutdown",
    };
    struct memcached *m = state;
    watch_leave(m);
    if (memcached_observes(WATCH_CONNEVENTS) && why != END_SHUTDOWN)
        watch_connection(m, reasons[why]);
}

static void state_close(void *state) { mem_free(state); }

static void state_reset(void *state)
{
    struct memcached *m = state;
    m->scanned = 0;
    if (m->skip != MEMCACHED_SKIP_ALL)
        m->skip = 0; /* that of the command under way, which will say it again */
}

static size_t state_needs(const void *state)
{
    return ((const struct memcached *)state)->needs;
}

static void state_begin(void *state, const struct protocol_command *p)
{
    struct memcached *m = state;
    m->now = *p;
    m->walk = p->stays ? m->walk : 0;
    m->skip = p->skip + p->stays; /* unless its handler asks for one more run */
}

static enum parse_result parse(void *state, const struct protocol_limits *limits, bytes input, struct resp_words *words,
                               struct protocol_command *out, size_t *used)
{
    struct memcached *m = state;
    if (m->skip) {
        *used = m->skip < input.size ? (size_t)m->skip : input.size;
        m->skip -= m->skip == MEMCACHED_SKIP_ALL ? 0 : *used;
        m->scanned = 0;
        return PARSE_DONE;
    }
    if (m->mode == MEMCACHED_NEW)
        m->mode = input.data[0] == BINARY_REQUEST ? MEMCACHED_BINARY : MEMCACHED_TEXT;
    return m->mode == MEMCACHED_BINARY ? memcached_parse_binary(m, limits, input, words, out, used)
                                       : memcached_parse_text(m, limits, input, words, out, used);
}

#define HIGH_BITS UINT64_C(0x8080808080808080)
#define LOW_ADD UINT64_C(0x5f5f5f5f5f5f5f5f) /* carries into the high bit from 0x21 on */

/* Up to a space or a control character. */
static size_t word_size(bytes text)
{
    size_t at = 0;
    for (; at + 8 <= text.size; at += 8) { /* eight at a time: the high bit of each byte that is not above ' ' */
        uint64_t eight = get_u64(text.data + at), above = ((eight & ~HIGH_BITS) + LOW_ADD) | eight;
        if (~above & HIGH_BITS)
            return at + (size_t)__builtin_ctzll(~above & HIGH_BITS) / 8;
    }
    while (at < text.size && text.data[at] > ' ')
        at++;
    return at;
}

static bytes likely_key(bytes input)
{
    if (input.data[0] == BINARY_REQUEST) {
        size_t left = input.size > BINARY_HEADER ? input.size - BINARY_HEADER : 0;
        size_t extras = left ? input.data[4] : 0, size = left ? (size_t)input.data[2] << 8 | input.data[3] : 0;
        return extras + size <= left ? bytes_of(input.data + (input.size - left) + extras, size) : BYTES("");
    }
    const uint8_t *space = memchr(input.data, ' ', input.size);
    size_t first = space ? (size_t)(space - input.data) + 1 : input.size;
    return bytes_of(input.data + first, word_size(bytes_of(input.data + first, input.size - first)));
}

/* ---- errors ---- */

static bool begins_with(bytes line, const char *word)
{
    size_t size = strlen(word);
    return line.size >= size && memcmp(line.data, word, size) == 0;
}

/* q holds back what went well; an error is told nevertheless, where noreply tells nothing. */
static bool is_meta(const struct command *row) { return row >= &rows[ROW_MG] && row <= &rows[ROW_ME]; }

/* What the executor refuses: memory, the log, rights. */
static void error(struct reply *r, bytes line)
{
    struct session *s = (struct session *)(void *)((char *)r - offsetof(struct session, reply));
    struct memcached *m = s->protocol;
    if (begins_with(line, "OOM"))
        memcached_count_no_memory(s);
    if (m->mode == MEMCACHED_BINARY) {
        binary_error(m, r->out, begins_with(line, "OOM") ? BINARY_NO_MEMORY : begins_with(line, "NOAUTH") || begins_with(line, "NOPERM")
                     ? BINARY_AUTH_ERROR : begins_with(line, "WRONGTYPE") ? BINARY_NOT_SUPPORTED : BINARY_INTERNAL, line);
        return;
    }
    if (m->now.quiet && !is_meta(m->now.row))
        return;
    if (begins_with(line, "NOAUTH")) {
        buf_append_bytes(r->out, BYTES("CLIENT_ERROR unauthenticated\r\n"));
    } else if (begins_with(line, "OOM")) {
        buf_append_bytes(r->out, BYTES("SERVER_ERROR out of memory storing object\r\n"));
    } else {
        buf_append_bytes(r->out, BYTES("SERVER_ERROR "));
        buf_append_bytes(r->out, line);
        buf_append_bytes(r->out, BYTES("\r\n"));
    }
}

/* Handlers of this folder write their answers themselves; nothing else of a reply is ever said to such a connection. */
static const struct reply_ops ops = {.error = error};

struct protocol memcached_protocol = {
    .name = "memcached", .full = "ERROR Too many open connections\r\n",
    .closed_to_all = "SERVER_ERROR protected mode: no password is set for the default user, so only this machine is served\r\n",
    .ops = &ops, .open = state_open, .leave = state_leave, .close = state_close, .reset = state_reset, .parse = parse,
    .likely_key = likely_key, .needs = state_needs, .begin = state_begin,
};
