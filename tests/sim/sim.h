/* sim.h -- one seed, one thread, one world at a time: what the parts of the simulator share.
 *
 *   sched.c    coroutines, the seed's scheduler, the clock, locks and wake-ups (os/thread.h)
 *   disk.c     files: the recorder of tests/unit/support with latencies, faults, power cuts
 *   wire.c     sockets and epoll between the product's workers and the clients
 *   client.c   clients: random commands, replies awaited with limited patience
 *   history.c  what ran when, where in the log, with which reply; and which bytes have left
 *   model.c    the naive database
 *   check.c    the history against the model
 *   main.c     lives of a seed, sown faults, the command line
 *
 * A world is one life of the server: its coroutines die together when the power is cut.
 */
#ifndef HF_SIM_SIM_H
#define HF_SIM_SIM_H

#include "base/assert.h"
#include "base/buf.h"
#include "cmd/exec.h"
#include "durable/log.h"
#include "engine/engine.h"
#include "os/os.h"
#include "os/thread.h"

#include <stdio.h>

#define SIM_MS UINT64_C(1000000) /* times are in nanoseconds unless named otherwise */

/* ---- the seed (main.c) ---- */

/* What one seed is like; drawn once, in main.c. */
struct plan {
    unsigned workers, clients, bursts, keys, databases, lives;
    bool interval;                  /* durability */
    bool large;                     /* some values above 64 KiB */
    bool deadlines, hangups, stops, faults, clock_steps;
    bool breathes;                  /* commands of several words or fields count as long: others are served in the middle of them */
    unsigned gate_share;            /* percent of the commands that run alone or change the database */
    unsigned watch_share;           /* percent of the bursts that are transactions with WATCH */
    unsigned save_one_in;           /* bursts with a BGSAVE; 0: none */
    size_t ring_size;
    uint64_t segment_size;
    uint32_t interval_ms;
    uint64_t think_ns, patience_ns; /* between bursts; until a missing reply is a failure */
    /* scheduling: mean distance between switches at named points, at atomics */
    uint64_t gap_named, gap_atomic;
    uint64_t stall_ns;              /* longest pause of a coroutine; 0: none */
    unsigned stall_one_in;
    int slow_point;                 /* enum sched_point where the thread is often lost for long; -1: none */
    unsigned slow_one_in;
    uint64_t slow_ns;
    uint64_t write_ns, sync_ns;     /* longest latencies */
};

struct sim {
    uint64_t seed;
    struct plan plan;
    enum os_bug bug;
    bool trace;
    uint64_t now;
    uint64_t digest;                /* of the schedule: two runs of a seed agree */
    unsigned world;
    struct engine *engine;          /* of this world; NULL while it opens */
    bool stopping;                  /* the server closes connections */
    unsigned cut_behind_snapshot;   /* 1..: the cut comes so many changes after a snapshot gets its name */
    bool crash;                     /* a crash of the process only: the page cache stays */
    uint64_t durable_at_end;        /* what the log claimed when the world ended */
};
extern struct sim sim;

enum dice { DICE_SCHED, DICE_DISK, DICE_WORK, DICE_PLAN, DICE_COUNT }; /* streams of chance */
uint64_t sim_random(enum dice dice, uint64_t below); /* [0, below) */
static inline bool sim_chance(enum dice dice, uint64_t one_in) { return one_in && sim_random(dice, one_in) == 0; }

/* The seed has failed: says why, and ends the process. */
_Noreturn void sim_fail(const char *format, ...) HF_PRINTF(1, 2);
void sim_trace(const char *format, ...) HF_PRINTF(1, 2);

/* ---- coroutines (sched.c) ---- */

struct op;

/* What the history keeps with each coroutine. */
struct task_note { struct op *op; uint64_t now_low_ms, now_high_ms; };

void sched_start(void);                 /* the caller becomes the first coroutine, of no world */
os_thread sim_spawn(const char *name, void *(*run)(void *), void *context);
void sim_world_begin(void);
void sim_undivided(bool on);            /* until it is off, no scheduling point passes on */
_Noreturn void sim_world_end(void);     /* from inside: everyone of this world is dead */
void sim_world_kill(void);              /* from outside */
void sim_world_wait(void);              /* until somebody has called sim_world_end */
bool sim_block(const void *place, uint64_t timeout); /* true: woken; UINT64_MAX: no timeout */
void sim_wake(const void *place, unsigned count);
void sim_sleep(uint64_t time);
void sim_yield(void);
struct task_note *sim_note(void);
const char *sim_task_name(void);

/* ---- disk.c ---- */

void disk_start(void);                  /* an empty disk; binds OS */
void disk_arm(uint64_t cut_at, bool crash, uint64_t seed); /* at the cut_at-th change from now; 0: never */
void disk_cut_now(void);                /* power cut between two steps */
void disk_swap(void);                   /* the next process finds what the cut left */
void disk_fault(uint64_t from, uint64_t count, int error, bool syncs_only);
bool disk_faulty(void);                 /* a fault struck within the last seconds */

/* ---- wire.c ---- */

struct wire {
    int fd;                             /* the server's end */
    struct buf in, out;                 /* to the server, to the client */
    size_t in_at, out_at, out_room;
    bool client_closed, server_closed, accepted, starved;
    struct poller *poller;
    uint32_t pending;                   /* edges not yet reported */
    void *data;
    struct peer_record *record;         /* history.c */
};

void wire_world_begin(void);
struct wire *wire_connect(void);
struct wire *wire_of(int fd);
void wire_send(struct wire *w, const void *data, size_t size);
size_t wire_take(struct wire *w);       /* the client reads all there is; how many bytes */
void wire_close(struct wire *w);
/* os.h's calls on descriptors of ours */
bool wire_owns(int fd);
int64_t wire_recv(int fd, void *data, size_t size);
int64_t wire_server_send(int fd, const struct iovec *parts, int count);
int wire_server_unsent(int fd); /* none: a close loses nothing here */
int wire_server_close(int fd);

/* ---- client.c ---- */

#define SIM_KEYS_MAX 12
#define SIM_DBS_MAX 3
#define SIM_FIELDS 4
extern const char *const sim_keys[SIM_KEYS_MAX];
extern const char *const sim_fields[SIM_FIELDS];

void *client_main(void *number);        /* a coroutine */
void client_audit(void);                /* reads everything; returns when it is answered */
bool clients_done(void);
void clients_world_begin(void);

/* ---- history.c ---- */

/* One command, or a record of housekeeping (argc 0). */
struct op {
    struct peer_record *peer;
    bytes *argv;
    size_t argc;
    uint64_t start, end;                /* moments; end UINT64_MAX: under way when the world ended */
    uint64_t made_at;                   /* sim.now at its end */
    uint64_t now_low_ms, now_high_ms;   /* the batch's clock was in between */
    char *reply;
    size_t reply_size;
    uint64_t reply_end;                 /* in the connection's stream of replies */
    struct op *unsent;                  /* the connection's next one with a reply to be sent */
    uint64_t safe_lsn;                  /* when its last byte left: what the log called safe; 0: has not left */
    /* its log record, if it made one */
    bool wrote;
    uint64_t lsn, time_ms, index;       /* index: 1 for the first record of the world */
    uint8_t *body;
    size_t body_size;
    const uint8_t *pending;             /* being appended: the header holds the lsn as soon as there is one */
    /* session, filled by the check */
    unsigned db;
    struct op **queue;
    size_t queue_count;
    struct op **watches;
    size_t watch_count;
    uint64_t low, high, placed;         /* a read: the states that it may have seen; the one it is put at */
    bool done;
};

struct peer_record {                    /* a connection, for the history */
    unsigned number;
    struct wire *wire;
    uint64_t issued, executed, sent;    /* commands, commands, bytes */
    struct buf stream;                  /* replies in the order in which they were made */
    struct op *unsent, *unsent_last;
    /* session as the check walks it */
    unsigned db;
    bool in_multi, aborted;
    struct op **queue;
    size_t queue_count;
    struct op **watches;
    size_t watch_count;
};

struct history { struct op **ops; size_t count, capacity; struct peer_record **peers; size_t peer_count; };
extern struct history history;

void history_world_begin(void);
struct peer_record *history_peer(struct wire *w);
void history_sent(struct wire *w, const void *data, size_t size);
uint64_t history_moment(void);
bool op_released(const struct op *op);
void op_print(FILE *out, const struct op *op);

/* ---- model.c ---- */

struct text { char *data; size_t size; };
enum value_kind { VALUE_NONE, VALUE_STRING, VALUE_HASH };
struct value { enum value_kind kind; uint64_t deadline_ms; struct text string, fields[SIM_FIELDS]; };

struct model {
    struct value values[SIM_DBS_MAX][SIM_KEYS_MAX];
    uint32_t ids[SIM_DBS_MAX];
    uint64_t touched[SIM_DBS_MAX][SIM_KEYS_MAX]; /* record that changed it last, 0: none of this world */
    uint64_t perhaps[SIM_DBS_MAX][SIM_KEYS_MAX]; /* record that may have changed it, for WATCH: an expired key was swapped, or had gone */
    uint64_t mapped[SIM_DBS_MAX];                /* record that swapped or flushed it last */
    uint64_t index;
    uint64_t seen;                       /* the newest record that the operation has looked at */
    uint64_t now_ms;
    bool may_write, wrote;               /* an operation that would write although it may not: wrote is set, nothing changes */
};

void model_copy(struct model *to, const struct model *from); /* to: released or zero before */
void model_release(struct model *m);
/* Runs the command at m->now_ms; the reply in RESP2 is appended. False: not modelled. */
bool model_run(struct model *m, unsigned db, const bytes *argv, size_t argc, struct buf *reply);
void model_remove(struct model *m, unsigned db, unsigned key);
bool model_is_expired(const struct model *m, unsigned db, unsigned key); /* there, but its deadline has passed */
int model_key(bytes name);               /* -1: not of ours */
void model_sees(struct model *m, unsigned db, unsigned key);

/* ---- check.c ---- */

void check_start(void);                  /* an empty database */
void check_world(void);                  /* the history of the world that ended */
void check_opened(struct engine *e);     /* what recovery found; before any command */

#endif
