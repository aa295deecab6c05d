/* replicas.h -- the servers that follow this one: who they are, how far they are.
 *
 * A session becomes one in two steps: REPLCONF says who it is, SYNC or PSYNC sends it the whole data set and then the stream
 * (feed.h). Its worker alone touches struct replica, but for what INFO, ROLE and WAIT of others read: that is atomic, and the
 * list of replicas is under a lock.
 */
#ifndef HF_CMD_REPLICAS_H
#define HF_CMD_REPLICAS_H

#include "cmd/message.h"

struct call;

struct replica {
    struct session *session;
    bool follows;
    bool names_stream;          /* REPLCONF capa psync2: it wants to be told the stream's name when it goes on */
    bool file_only;             /* REPLCONF rdb-only: the data set once, no stream */
    bool no_functions, no_keys; /* REPLCONF rdb-filter-only: parts that the data set leaves out */
    uint16_t port;              /* where it listens, as it said */
    char ip[64];                /* as it said, else of its connection */
    uint64_t start;             /* offset of the stream at which its own begins */
    uint64_t file_end;          /* net's own: the end of the data set in what it is sent; 0: not known, UINT64_MAX: not yet */
    _Atomic bool online;        /* the data set has been sent */
    _Atomic uint64_t acked, acked_us; /* up to where it says that it has run the stream, and when it said so last; 0: never */
};

/* Settings: repl-ping-replica-period, repl-timeout; min-replicas-to-write and -max-lag. */
extern struct replica_settings { _Atomic uint32_t ping_period_s, timeout_s, good_wanted, good_lag_s; } replica_settings;

static inline bool session_follows(const struct session *s) { return HF_UNLIKELY(s->replica != NULL) && s->replica->follows; }

extern struct replica_counts { _Atomic uint64_t full, continued, refused; } replicas_counts; /* sync_full, sync_partial_ok and _err */
void replicas_reset_counts(void);

void replicas_set_id(const char *id); /* 40 digits; at start */
const char *replicas_id(void);
/* The gate is held. Returns the offset of the stream at which it begins. */
uint64_t replicas_follow(struct call *c);
/* PSYNC of one that has the stream up to `offset`: replies what it lacks. False: that is not kept, nothing was replied. */
HF_CHECK bool replicas_continue(struct call *c, uint64_t offset);
void replicas_leave(struct session *s); /* closed, or RESET */
/* A piece of the stream has arrived at a worker. */
void replicas_take(unsigned worker, uint64_t offset, bytes text, uint64_t lsn, message_pushed *pushed);
void replicas_online(struct session *s); /* the data set has been sent */
/* By its worker, about once a second. False: it has said nothing for too long, close it. */
HF_CHECK bool replicas_tend(const struct session *s);
void replicas_refresh(void); /* are there as many good ones as min-replicas-to-write asks for? */

size_t replicas_acked(uint64_t offset); /* how many have run the stream up to there */
void replicas_ask(void);                /* all of them, how far they are */
/* From the oldest to the newest, under the lock; returns how many (each NULL: nothing else). lag_s: since it said something. */
struct replica_facts { char ip[64]; uint16_t port; bool online; uint64_t acked, lag_s; };
size_t replicas_walk(void (*each)(void *context, const struct replica_facts *facts), void *context);

#endif
