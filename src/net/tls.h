/* tls.h -- the TLS of one connection: OS.recv and OS.send for those who want their bytes encrypted (docs/adr/0019).
 *
 *      made ── tls_receive: handshake steps ──> ready ── tls_receive, tls_send ──> tls_end: close_notify is on its way ──> tls_free
 *        └──────────────── broken: a fatal error, the handshake too large, or nonsense; nothing is read or encrypted any more
 *
 * Always true: what is in `out` has been encrypted and waits for the socket; while there is something, nothing more is encrypted.
 * OpenSSL writes into `out` alone, so it never meets a full socket, and no call of it has to be repeated.
 * Owner: the connection's worker. Calls never wait.
 */
#ifndef HF_NET_TLS_H
#define HF_NET_TLS_H

#include "base/buf.h"
#include "net/tls_context.h"

#define TLS_WHY_MAX 160

struct tls {
    struct ssl_st *ssl;
    int socket;
    bool ready;        /* the handshake is over */
    bool full;         /* the socket has refused bytes: its next edge says when it takes more */
    bool drained;      /* the last call has read all that the socket had */
    bool starved;      /* and OpenSSL could make nothing more of it: what it holds is a part of a record */
    bool ended;        /* close_notify is written */
    bool peer_ended;   /* there is nothing more to read */
    bool broken;
    int error;         /* of the socket; 0: none */
    size_t budget;     /* of bytes that the call under way may still read */
    size_t shaken;     /* bytes read before the handshake was over */
    struct tls_walk { uint32_t record_left, message_left; uint8_t record[5], message[4], record_at, message_at; } walk; /* over them */
    struct buf out;    /* encrypted */
    size_t out_at;     /* of which this much has left */
    char why[TLS_WHY_MAX]; /* broken: for the log */
};

struct tls *tls_new(struct tls_context *context, int socket);
/* Sends what the socket takes, with a close_notify unless it is broken, and forgets the rest. The socket stays open. */
void tls_free(struct tls *t);

/* As OS.recv, of what was encrypted. 0: the peer has ended; -EAGAIN: nothing now; else it is broken. May leave bytes to send. */
int64_t tls_receive(struct tls *t, void *data, size_t size);
/* More may come without an event of the socket. */
bool tls_holds(const struct tls *t);

/* How much of data is taken: it has left, or goes before anything else does. -errno: broken. Less than size: the socket is
 * full, or this was enough for one time. */
int64_t tls_send(struct tls *t, const void *data, size_t size);
/* Writes close_notify behind all that was taken; once. */
void tls_end(struct tls *t);
static inline size_t tls_unsent(const struct tls *t) { return t->out.size - t->out_at; }

void tls_shrink(struct tls *t); /* an idle connection keeps no buffer */
size_t tls_memory(const struct tls *t);

#endif
