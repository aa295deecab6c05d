/* transfer.h -- a data set on its way to who asked for it: a thread makes a file of it, then the network sends that.
 *
 *   MAKING -> READY (file and size stand)
 *          -> FAILED (detail says why)
 *
 * The file has no name any more: it goes with its last descriptor. What the session is to get behind it, the stream of changes,
 * is held meanwhile. Its session runs nothing until all has been sent.
 *
 * Threads: two holders, the session's worker and the thread that makes it; fields as said.
 */
#ifndef HF_CMD_TRANSFER_H
#define HF_CMD_TRANSFER_H

#include "base/buf.h"
#include "cmd/session.h"

enum transfer_state { TRANSFER_MAKING, TRANSFER_READY, TRANSFER_FAILED };

struct transfer {
    _Atomic uint32_t holders;
    _Atomic int state;          /* of enum transfer_state; set last by the thread that makes it */
    _Atomic bool unwanted;      /* the session has gone */
    int file;                   /* -1: none */
    uint64_t size;
    char detail[256];
    uint64_t lsn;               /* nothing of it leaves before the log is there */
    /* of the session's worker */
    bool begun;
    uint64_t sent, nudged_us;
    struct buf held;            /* what comes behind it, and up to which position in the log that waits */
    uint64_t held_lsn;
};

struct transfer *transfer_new(const char *dir, uint64_t lsn); /* two holds; it may have failed at once */
void transfer_failed(struct transfer *t, const char *what, int error); /* error: as of OS; 0: none to tell */
HF_CHECK bool transfer_write(struct transfer *t, bytes data);    /* appends; false: it has failed */
void transfer_ready(struct transfer *t);
void transfer_unref(struct transfer *t);

void transfer_hold(struct transfer *t, bytes text, uint64_t lsn);
void transfer_drop(struct session *s); /* its session does not want it any more; NULL is fine */

#endif
