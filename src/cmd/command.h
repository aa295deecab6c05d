/* command.h -- the row of a command, and what a handler gets.
 *
 * Rows stand in cmd/<group>.def, one per command; dispatch, arity, key locking,
 * COMMAND and its subcommands, and the manual all come from the row.
 */
#ifndef HF_CMD_COMMAND_H
#define HF_CMD_COMMAND_H

#include "cmd/host.h"
#include "cmd/reply.h"
#include "cmd/session.h"
#include "engine/txn.h"

enum command_flags {
    CMD_WRITE = 1 << 0,
    CMD_READ = 1 << 1,
    CMD_GROWS = 1 << 2,      /* refused above maxmemory ("denyoom") */
    CMD_ADMIN = 1 << 3,
    CMD_FAST = 1 << 4,
    CMD_NO_AUTH = 1 << 5,    /* allowed before AUTH */
    CMD_LOADING = 1 << 6,    /* allowed while loading */
    CMD_STALE = 1 << 7,
    CMD_NO_MULTI = 1 << 8,   /* refused inside MULTI */
    CMD_NO_QUEUE = 1 << 9,   /* runs at once inside MULTI: EXEC, DISCARD, WATCH (which refuses), QUIT, RESET, MULTI */
    CMD_GATE = 1 << 10,      /* runs alone: SWAPDB, FLUSHALL, FLUSHDB */
    CMD_NO_TXN = 1 << 11,    /* needs no engine transaction: PING, CLIENT, CONFIG ... */
    CMD_WALKS = 1 << 12,     /* locks stripes by itself, one at a time: KEYS, SCAN, DBSIZE, INFO; takes the gate inside EXEC */
    CMD_COPIES = 1 << 13,    /* logs a whole value: RENAME, COPY, MOVE */
    CMD_BLOCKING = 1 << 14,
    CMD_SKIP_SLOWLOG = 1 << 15,
    CMD_OTHER_DB = 1 << 16,  /* names keys of another database: COPY, MOVE (exec asks command_keys) */
    CMD_DANGEROUS = 1 << 17, /* only for the category that COMMAND reports; CMD_ADMIN implies it */
    CMD_NO_SCRIPT = 1 << 18, /* only for the flag that COMMAND reports */
    CMD_WAITS_FOR_ANY = 1 << 19, /* waiting, it is run at any change of its keys: XREADGROUP (a deleted key is an error) */
    CMD_PUBSUB = 1 << 21,
    CMD_MAY_REPLICATE = 1 << 22, /* "may_replicate": CLIENT PAUSE WRITE holds it, too */
    CMD_SUBSCRIBED = 1 << 23,    /* allowed on a RESP2 connection that listens to channels */
    CMD_SCRIPT = 1 << 24,        /* locks keys that it did not declare, or runs further commands (exec_script.h): undo is kept */
    CMD_ALLOW_BUSY = 1 << 25,    /* runs while a script is beyond its time */
    CMD_KEYS_OPTIONAL = 1 << 20, /* a count of keys may be 0 (EVAL); COMMAND: "no_mandatory_keys" */
    CMD_PROTECTED = 1 << 28, /* a container that a setting must allow: host.debug_allowed */
    CMD_WORDS = 1 << 27,     /* a container whose subcommands are words only to COMMAND, ACL and statistics: DEBUG */
    CMD_HIDDEN_KEYS = 1 << 29, /* reads keys that the content of another one names (SORT): "movablekeys", and a key spec that says so */
    CMD_TALKS = 1 << 30,     /* waits for another server (talk.h), and holds its keys meanwhile */
    CMD_STEPS = 1 << 26,     /* changes one key, and may then be refused memory for another: exec undoes it. CMD_GROWS with
                              * several keys implies it; without CMD_GROWS it must be said (SMOVE) */
};

struct call {
    const struct command *command;  /* the subcommand's row where there is one */
    struct session *session;
    struct reply *reply;
    struct txn *txn;                /* NULL for CMD_NO_TXN */
    const bytes *argv;              /* argv[0]: the command's name */
    size_t argc;
    const struct key *keys;         /* located keys, in the order of the words */
    size_t key_count;
    struct exec *exec;              /* for exec_script.h */
    bool fed;                       /* the handler has said to replicas what it did (feed.h) */
    bool may_wait;                  /* the executor can run it again later */
    bool waits;                     /* call_block said so: nothing was replied nor changed */
    double wait_seconds;            /* 0: for ever */
    const struct key *woken_by;     /* run again for a change of this one of `keys`: look at no other; NULL: the first run */
    size_t work;                    /* of call_goes_on */
};

#define WAIT_SECONDS_MAX 1e10 /* who waits for longer waits for ever */

/* Run once more because the waiting is over: reply as timed out, whatever the keys hold. */
static inline bool call_is_over(const struct call *c) { return c->session->wait_over; }

/* CMD_BLOCKING rows: asks the executor to wait for a change of the command's keys and to run it again then; the handler
 * replies nothing and returns. 0 seconds: for ever. False: this call may not wait (inside MULTI or a script, or
 * its time is up), reply as timed out. */
HF_CHECK static inline bool call_block(struct call *c, double timeout_seconds)
{
    c->waits = c->may_wait;
    c->wait_seconds = timeout_seconds < WAIT_SECONDS_MAX ? timeout_seconds : 0;
    return c->may_wait;
}

/* In every loop whose length a value decides, where nothing is half changed and no other lock is held: after 4 ms the worker's other
 * connections are served meanwhile (exec_breathe.c). work: of this round, about as many tenths of a microsecond. False: the command runs beside
 * another one that takes long, and would take long itself, or one waits for it to run alone; and it has changed nothing: return at once, what was replied goes, and it runs
 * again later. */
#ifdef HF_SIM
#define CALL_WORK_MAX 1u /* there no value is long */
#else
#define CALL_WORK_MAX 512u
#endif
bool exec_breathe(struct call *c);
HF_CHECK static inline bool call_goes_on(struct call *c, size_t work)
{
    return HF_LIKELY((c->work += work) < CALL_WORK_MAX) || exec_breathe(c);
}

/* For rope_part.goes_on (reply.h): after each piece. */
static inline bool call_piece_goes_on(void *call) { return call_goes_on((struct call *)call, CALL_WORK_MAX); }

/* In a loop over all keys of a command, with their index: those that come next are on their way from memory together. */
#define CALL_KEYS_AHEAD 16u
void exec_prefetch_keys(const struct call *c, size_t from); /* exec_prefetch.c */
static inline void call_near(const struct call *c, size_t index)
{
    if (index % CALL_KEYS_AHEAD == 0 && c->key_count - index > 1)
        exec_prefetch_keys(c, index);
}

bool call_gave_up(const struct call *c); /* for those who could not be told */

/* The located key of this name, that of a word which stands anywhere (key_range.behind). */
const struct key *call_key_named(const struct call *c, bytes name);

typedef void command_handler(struct call *c);

/* Word positions as COMMAND reports them; last -1: to the end, -2: to the word before it; first 0: none.
 * counted: the word that holds the number of keys that follow it, behind those of the range; 0: none.
 * A count that is no integer, below 1 (0 with CMD_KEYS_OPTIONAL) or beyond the words: the command has no
 * keys at all, and its handler words the error. */
struct key_range {
    int first, last, step, counted;
    const char *behind; /* keys stand behind one of these words too, space-separated; NULL: none */
    int from;           /* looked for from here on */
    bool half;          /* the first half of all words behind it (STREAMS key [key ...] id [id ...]); else one key each */
    bool rest;          /* all words behind it, instead of the first key, which is then the empty word (MIGRATE) */
};

/* Words that name channels, for the rights of users; first 0: none. Patterns are not matched, they must be allowed literally. */
struct channel_range { int first; bool to_end, patterns; };

#define COMMAND_IDS_MAX 1024

struct command {
    const char *name;               /* upper case: "SET"; a subcommand: "GET" of CONFIG */
    command_handler *handler;       /* NULL for a container with subcommands */
    int arity;                      /* words incl. the name; negative: at least */
    uint32_t flags;
    struct key_range keys;
    const char *group;
    const char *since;              /* the version of Redis in which it came; what Redis has not: the version of holdfast, 0.x */
    const char *cost, *summary;
    const char *usage;              /* the arguments, in the grammar of usage.h */
    const char *history;            /* lines "version what changed" of Redis; NULL */
    const char *deprecated_since, *replaced_by; /* both or none */
    const char *told;               /* flags that only COMMAND reports: "no_async_loading skip_monitor"; NULL: none */
    bool internal;                  /* for servers and tests, not for clients ("syscmd") */
    const char *key_use;            /* flags of the key specs: "RW access update", one per spec, ';' between; NULL: by flags */
    const char *(*key_use_of)(const bytes *argv, size_t argc); /* where that depends on the words (SET ... GET); NULL */
    const char *key_note;           /* why the first key spec says what it does; NULL */
    int shards_to;                  /* shard channels, from word 1 to this one (-1: the last): COMMAND tells them as keys that are none */
    struct channel_range channels;
    const char *categories; /* "+connection -read": where group and flags do not say it all; NULL */
    const char *tips;               /* command tips, space-separated; NULL: none */
    void (*feed)(struct call *c);   /* what replicas run where the command's own words will not do (feed.h); NULL: the words */
    const struct command *subcommands; /* ends with name NULL */
    const char *full_name;          /* lower case "config|get"; filled at start */
    struct command_stats *stats;    /* filled at start */
    uint16_t id;                    /* below COMMAND_IDS_MAX, subcommands too; filled at start */
};

#define KEY_AT(n) {(n), (n), 1, 0}
#define KEYS_FROM(n) {(n), -1, 1, 0}
#define KEYS_FROM_BUT_LAST(n) {(n), -2, 1, 0}                 /* BLPOP: the last word is none */
#define KEY_PAIRS_FROM(n) {(n), -1, 2, 0}
#define KEYS_BETWEEN(a, b) {(a), (b), 1, 0}
#define KEYS_COUNTED_AT(n) {0, 0, 0, (n)}                     /* LMPOP numkeys key [key ...]: n is 1 */
#define KEY_AND_KEYS_COUNTED_AT(key, n) {(key), (key), 1, (n)} /* ZUNIONSTORE destination numkeys key [key ...]: 1, 2 */

#define CHANNEL_AT(n) {(n), false, false}
#define CHANNELS_FROM(n) {(n), true, false}
#define PATTERNS_FROM(n) {(n), true, true}

#define KEYS_HALF_BEHIND(word, from) {0, 0, 0, 0, (word), (from), true}    /* XREAD ... STREAMS key [key ...] id [id ...] */
#define KEY_AND_KEY_BEHIND(words, from) {1, 1, 1, 0, (words), (from), false} /* SORT key ... STORE destination */

#define KEY_OR_KEYS_BEHIND(key, word, from) {(key), (key), 1, 0, (word), (from), false, true}

/* The word of the first key where it stands at the same place always; 0: the command has none such. */
static inline int command_first_key(const struct command *row)
{
    return row->keys.first ? row->keys.first : row->keys.counted ? row->keys.counted + 1 : 0;
}
/* These words name one key, that one, in the session's database. They are as many as the row asks for. */
static inline bool command_has_one_key(const struct command *row, size_t argc)
{
    const struct key_range *k = &row->keys;
    int last = k->last < 0 ? (int)argc + k->last : k->last;
    return k->first && last - k->first < k->step && !k->counted && !k->behind && !(row->flags & CMD_OTHER_DB);
}
static inline bool command_has_keys(const struct command *row)
{
    return row->keys.first || row->keys.counted || row->keys.behind;
}

void command_table_init(void);               /* once, before use */
const struct command *command_find(bytes name); /* top-level row, NULL: unknown */
/* Row and subcommand row for the words; replies the Redis error itself and returns NULL
 * for an unknown command or subcommand or a wrong arity. */
const struct command *command_resolve(const bytes *argv, size_t argc, struct reply *r);
const struct command *command_find_sub(const struct command *container, bytes name); /* NULL: none */
const struct command *command_find_full(bytes name); /* "get" or "config|get"; NULL: unknown */
bool command_arity_fits(const struct command *row, size_t argc);
/* The subcommands that have a name of their own ("config|get"); NULL: none. A loop over them ends with name NULL. */
static inline const struct command *command_subs(const struct command *row)
{
    return row->flags & CMD_WORDS ? NULL : row->subcommands;
}
size_t command_count(void); /* of top-level rows */
const struct command *command_at(size_t index);
/* All rows, each container before its subcommands:
 *     for (struct command_walk w = {0}; command_next(&w);) ... w.row ... */
struct command_walk { const struct command *row, *top; size_t index; };
bool command_next(struct command_walk *w);
void command_stats_reset(void); /* those of all rows */
uint16_t command_id_new(void);  /* for a row of another protocol */
/* Positions of the keys in the words; returns how many (at most argc). */
size_t command_key_positions(const struct command *row, const bytes *argv, size_t argc, uint32_t *positions);
/* The same, but of a word given twice every key behind it: what is locked, and what a user needs rights for. */
size_t command_locked_positions(const struct command *row, const bytes *argv, size_t argc, uint32_t *positions);
/* How the n-th of these keys is used, as COMMAND GETKEYSANDFLAGS says it: "RW access update". */
bytes command_key_use(const struct command *row, const bytes *argv, size_t argc, size_t n);
void reply_key_use(struct reply *r, bytes use); /* replies it, a set of its words */
/* What these words say about a user's rights. */
enum key_right { KEY_READ = 1, KEY_WRITE = 2 };
unsigned key_use_rights(bytes use);

/* Locates the keys of the words, those of another database too: what exec locks and
 * hands to the handler. Room for argc keys; returns how many. COPY: key 1 is in the
 * database of its DB option. MOVE: key 1 is the same name in the other database. A
 * database that does not exist is replaced by `db`; the handler words that error. */
size_t command_keys(const struct engine *engine, uint32_t db, const struct command *row,
                    const bytes *argv, size_t argc, struct key *keys);

/* Word n of the command as a located key. */
static inline const struct key *call_key(const struct call *c, size_t n) { return &c->keys[n]; }

struct command_stats { _Atomic uint64_t failed, rejected; }; /* what ran: cmd/times.h */

#endif
