/* feed.h -- the stream of commands that replicas run: what is put into it, and where it stands.
 *
 * After a command that has changed something, the executor notes what makes the same change elsewhere: the command's own
 * words, or those that the rewriter of its row says (command.h, feed: below), or what the handler itself has said with
 * call_feed. The notes of a transaction go into the stream when it commits, under its locks: the order of the stream is that
 * of the changes. Each waits at its replica's connection, as a reply does, until its position in the log is safe.
 *
 * The stream is what Redis 7.0 sends: SELECT where the database changes, MULTI and EXEC around notes that belong together,
 * times as points in time. What Redis 7.0 does not know is said in commands that it knows, docs/compatibility.md lists what is lost.
 * Off, it costs nothing beyond observe.h's test.
 */
#ifndef HF_CMD_FEED_H
#define HF_CMD_FEED_H

#include "cmd/command.h"

#include <stdatomic.h>

struct engine;
struct message;

extern _Atomic uint32_t feed_followers; /* how many replicas follow */
extern _Atomic bool feed_is_on;         /* some do, or the last part of the stream is kept for one that comes back */

/* Is what this call changes to be said? Then handlers that know better than their words say it. */
static inline bool call_is_fed(const struct call *c)
{
    return HF_UNLIKELY(atomic_load_explicit(&feed_is_on, memory_order_relaxed)) && c->txn;
}
void call_feed(struct call *c, const bytes *words, size_t count); /* instead of the call's own words; call_is_fed */
#define CALL_FEED(c, ...) call_feed((c), (const bytes[]){__VA_ARGS__}, sizeof((const bytes[]){__VA_ARGS__}) / sizeof(bytes))
/* A number as a word, in the transaction's arena. */
bytes call_feed_number(const struct call *c, uint64_t number);

/* For the executor, around a handler. */
uint64_t feed_before(const struct call *c);
void feed_after(struct call *c, uint64_t before);

/* ---- rewriters of rows; they run when the command has changed something, its keys are locked ---- */

typedef void command_feed(struct call *c);
command_feed feed_nothing;     /* what it runs is noted by itself (EVAL), or is none of a replica's business */
command_feed feed_values;      /* what its keys hold now: for commands that Redis 7.0 does not know, or runs in another order */
command_feed feed_first_value, feed_last_value; /* the same of one key only: a *STORE, where elements tie */
command_feed feed_flushdb;
command_feed feed_set, feed_setex, feed_getset, feed_getex, feed_incrbyfloat;
command_feed feed_expire;      /* what the key's deadline is now */
command_feed feed_del_first;   /* DEL of its first key */
command_feed feed_gone;        /* DEL of those of its keys that are not there now */
command_feed feed_hincrbyfloat;
command_feed feed_restore;
command_feed feed_lmove, feed_rpoplpush;

/* ---- the stream ---- */


/* Bytes that belong to no transaction and no database: PING, REPLCONF GETACK. */
void feed_say(bytes text);
uint64_t feed_offset(void);
/* The gate is held: a session of this worker follows from here on. Returns the offset of its first byte, before which a SELECT will stand. */
uint64_t feed_follow(struct engine *e, unsigned worker);
void feed_unfollow(unsigned worker);
/* The same for one that has the stream up to *offset: what it lacks is appended to out, and may leave when the log has
 * reached *lsn. False, and nothing has happened: that is not kept any more. */
HF_CHECK bool feed_continue(unsigned worker, uint64_t *offset, struct buf *out, uint64_t *lsn);
/* The last part of the stream is kept from the first follower on, until for so long nobody has followed (0: for ever). Size: of
 * the next one to be kept. */
extern struct feed_settings { _Atomic uint64_t kept_bytes; _Atomic uint64_t kept_s; } feed_settings;
void feed_tend(void); /* now and then, by one worker */
struct feed_kept { uint64_t size, first, count; }; /* size 0: nothing is kept */
void feed_kept(struct feed_kept *out);

#endif
