/* memcached.h -- the protocol of memcached: what its files share.
 *
 * text_parse and binary_parse turn bytes into words and a row of memcached.def; text, meta, binary and admin hold the handlers,
 * storage.h what their commands do to a key. docs/adr/0014 tells how this stands beside RESP.
 */
#ifndef HF_PROTO_MEMCACHED_MEMCACHED_H
#define HF_PROTO_MEMCACHED_MEMCACHED_H

#include "proto/protocol.h"

#define MEMCACHED_KEY_MAX 250
#define MEMCACHED_LINE_MAX 2048     /* that waits for its end, unless it begins as a get of many keys */
#define MEMCACHED_LINE_WHOLE_MAX 16384 /* that has arrived with its end, line end included; with the same exception */
#define MEMCACHED_SKIP_ALL UINT64_MAX
#define MEMCACHED_VERSION "1.6.18"  /* whose behaviour this has */

extern struct protocol memcached_protocol;

/* Settings; any thread. */
struct memcached_settings {
    _Atomic uint64_t item_size_max; /* key, value and a header, as memcached counts them */
};
extern struct memcached_settings memcached_settings;
void memcached_init(uint32_t database); /* once, after the table of commands */

enum memcached_mode { MEMCACHED_NEW, MEMCACHED_TEXT, MEMCACHED_BINARY };

/* Of a connection. */
struct memcached {
    struct session *session;
    int fd;
    enum memcached_mode mode; /* by its first byte */
    uint64_t skip;            /* bytes to drop before the next command; MEMCACHED_SKIP_ALL: it only listens from now on */
    uint64_t walk;            /* where the dump under way goes on */
    size_t scanned;           /* no line end before this */
    size_t needs;
    bool login_begun;         /* by a SASL start without data: a step brings it */
    struct protocol_command now; /* the one that runs */
    struct watcher *watcher;  /* watch.h; NULL: it does not watch */
    struct engine *engine;    /* with a watcher */
};

/* Rows, by their place in memcached.def. */
enum memcached_row {
#define COMMAND(id, ...) ROW_##id,
#include "proto/memcached/memcached.def"
#undef COMMAND
    ROW_COUNT
};
const struct command *memcached_row(enum memcached_row id);

static inline struct memcached *memcached_of(const struct call *c) { return c->session->protocol; }

/* text_parse.c, binary_parse.c */
enum parse_result memcached_parse_text(struct memcached *m, const struct protocol_limits *limits, bytes input,
                                       struct resp_words *words, struct protocol_command *out, size_t *used) HF_CHECK;
enum parse_result memcached_parse_binary(struct memcached *m, const struct protocol_limits *limits, bytes input,
                                         struct resp_words *words, struct protocol_command *out, size_t *used) HF_CHECK;

/* Does an entry of this size pass the limit? Client flags of 0 take no room. */
bool memcached_item_fits(size_t key, size_t value, uint32_t flags);

#endif
