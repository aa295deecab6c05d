/* talk.h -- a command's conversation with another server: what is sent, and one line of answer for each command in it.
 *
 *   NEW -> RESOLVING (the host is a name; a thread of its own asks for it) -> OPEN -> DONE
 *                                                                          -> FAILED: see fault, late
 *
 * The command asks for the conversation and waits (talk_wait); the network watches the socket and calls talk_step, which
 * never waits, outside of all locks; then the command runs again. It begins when the log is as safe as the session
 * demands, so that the other server never has what a crash here takes back.
 * Owner: the worker of the session, which `session.talk` belongs to; talk_drop ends it at any time.
 */
#ifndef HF_CMD_TALK_H
#define HF_CMD_TALK_H

#include "cmd/command.h"

#define TALK_LINE_MAX 1023u /* more of an answer is not kept */

enum talk_state { TALK_NEW, TALK_RESOLVING, TALK_OPEN, TALK_DONE, TALK_FAILED };
enum talk_fault { TALK_CONNECTING, TALK_WRITING, TALK_READING };

/* The answers as they come in, cut anywhere: lines, of which the first TALK_LINE_MAX bytes are kept. */
struct talk_lines { char line[TALK_LINE_MAX + 1]; size_t size; };
/* Takes bytes up to the end of a line; returns how many. *complete: that line, without its end, is in l->line until the next call. */
size_t talk_lines_take(struct talk_lines *l, bytes data, bool *complete, bytes *line);

struct resolving;

struct talk {
    enum talk_state state;
    enum talk_fault fault;
    bool late;               /* FAILED, because the time was up */
    const char *host;        /* the command's own, to the end */
    unsigned port;
    uint64_t timeout_us;     /* for each step forward */
    uint64_t deadline_us, look_us; /* monotonic; look_us: call talk_step then, whatever the socket says */
    uint64_t lsn;            /* not before the log has reached this (the network's) */
    int fd;                  /* -1: none */
    bool watched;            /* the network has it in its set */
    struct buf out;
    size_t sent;
    size_t expected, answered;
    struct talk_lines lines;
    struct resolving *resolving;
    /* An answer; the line is a view. False: that is no answer of such a server, it fails while reading. */
    bool (*answer)(struct talk *t, size_t index, bytes line);
    void (*release)(struct talk *t); /* frees what the talk is a part of */
};

void talk_init(struct talk *t);
void talk_release(struct talk *t); /* closes */
/* Once more, from its first byte, on a new connection. */
void talk_again(struct talk *t);
/* The next commands on the same connection: out, expected and answered start anew. */
void talk_go_on(struct talk *t);
/* What can be done now; the command may run again when talk_is_over. */
void talk_step(struct talk *t, uint64_t now_us);
void talk_fail(struct talk *t, enum talk_fault fault);
static inline bool talk_is_over(const struct talk *t) { return t->state >= TALK_DONE; }

/* From the handler: waits for the talk (session.talk) to be over, then the handler runs once more. Other writers of the
 * command's keys wait meanwhile. Only after a first run that may wait. */
void talk_wait(struct call *c);
void talk_drop(struct session *s); /* closes and frees it, if there is one */

#endif
