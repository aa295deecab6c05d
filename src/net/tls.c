/* tls.c -- OpenSSL between a socket's bytes and a connection's: a BIO whose read is OS.recv and whose write is a buffer. */
#include "net/tls.h"

#include "base/memory.h"
#include "os/os.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define READ_BUDGET (64u << 10)     /* of a call: a peer that sends records without data holds nobody up */
#define HANDSHAKE_MAX (128u << 10)  /* certificates of a client are at most half of this */
#define HELLO_MAX (16u << 10)       /* of what a client says first: OpenSSL sets aside what is announced, up to 128 KiB */
#define ENCRYPT_AHEAD (16u << 10)   /* of what the socket has not taken: a record, while it is in the nearest cache */
#define RECORD_EXTRA 512            /* of its own; and a key update may precede it */
#define SEND_MOST (1u << 20)        /* of a call */
#define OUT_MAX (1u << 20)          /* answers to key updates and their like, for a peer that does not read */
#define OUT_KEPT (20u << 10)
#define HANDSHAKE 22                /* a record: what a client of TLS begins with */
#define HELLO 1                     /* a message of it */
#define OPENSSL_BYTES (24u << 10)   /* roughly what OpenSSL holds for a connection that is idle */
#define SHAKING_BYTES (80u << 10)   /* and for one in its handshake */

static void say(struct tls *t, const char *why)
{
    if (!t->why[0])
        snprintf(t->why, sizeof(t->why), "%s", why);
}

/* -- the BIO -- */

/* Walks records, and the messages in them, for the length that a ClientHello announces. TLS 1.3 may ask for a second one; TLS 1.2
 * never does, and what looks like a message there may be encrypted. */
static bool hello_is_small(struct tls *t, const uint8_t *data, size_t size)
{
    struct tls_walk *w = &t->walk;
    for (size_t i = 0; i < size; i++) {
        if (w->record_left == 0) {
            w->record[w->record_at++] = data[i];
            if (w->record_at == sizeof(w->record)) {
                w->record_at = 0;
                w->record_left = (uint32_t)w->record[3] << 8 | w->record[4];
            }
            continue;
        }
        w->record_left--;
        if (w->record[0] != HANDSHAKE)
            continue;
        if (w->message_left) {
            w->message_left--;
            continue;
        }
        w->message[w->message_at++] = data[i];
        if (w->message_at < sizeof(w->message))
            continue;
        w->message_at = 0;
        w->message_left = (uint32_t)w->message[1] << 16 | (uint32_t)w->message[2] << 8 | w->message[3];
        if (w->message[0] == HELLO && w->message_left > HELLO_MAX)
            return false;
    }
    return true;
}

static void look_at_handshake(struct tls *t, const uint8_t *data, size_t size)
{
    if (t->shaken == 0 && data[0] != HANDSHAKE)
        say(t, "it does not speak TLS, and this port speaks nothing else");
    t->shaken += size;
    if (t->shaken > HANDSHAKE_MAX || (SSL_version(t->ssl) >= TLS1_3_VERSION && !hello_is_small(t, data, size)))
        say(t, "its handshake is too large");
}

static int read_socket(BIO *bio, char *data, int size)
{
    struct tls *t = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    if (t->drained || t->budget == 0) {
        BIO_set_retry_read(bio);
        return -1;
    }
    size_t most = (size_t)size < t->budget ? (size_t)size : t->budget;
    int64_t got = OS.recv(t->socket, data, most);
    if (got == 0) {
        t->peer_ended = true;
        return 0;
    }
    if (got < 0) {
        t->drained = got == -EAGAIN;
        if (t->drained)
            BIO_set_retry_read(bio);
        else
            t->error = (int)got;
        return -1;
    }
    t->drained = (size_t)got < most; /* more makes a new edge */
    t->budget -= (size_t)got;
    if (t->ready)
        return (int)got;
    look_at_handshake(t, (const uint8_t *)data, (size_t)got);
    t->error = t->why[0] ? -EPROTO : 0;
    return t->error ? -1 : (int)got;
}

static int write_out(BIO *bio, const char *data, int size)
{
    struct tls *t = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    if (size <= 0 || !buf_try_reserve(&t->out, (size_t)size)) {
        say(t, "it does not read what TLS has to tell it");
        t->error = -ENOBUFS;
        return -1;
    }
    buf_append(&t->out, data, (size_t)size);
    return size;
}

static long control(BIO *bio, int command, long number, void *pointer)
{
    const struct tls *t = BIO_get_data(bio);
    (void)number;
    (void)pointer;
    switch (command) {
    case BIO_CTRL_FLUSH: return 1;
    case BIO_CTRL_EOF: return t->peer_ended;
    default: return 0;
    }
}

static int create(BIO *bio)
{
    BIO_set_init(bio, 1);
    return 1;
}

static BIO_METHOD *method;
static pthread_once_t method_once = PTHREAD_ONCE_INIT;

static void make_method(void)
{
    method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "connection of holdfast");
    bool good = method && BIO_meth_set_read(method, read_socket) && BIO_meth_set_write(method, write_out) &&
                BIO_meth_set_ctrl(method, control) && BIO_meth_set_create(method, create);
    hf_assert(good);
}

/* -- life -- */

struct tls *tls_new(struct tls_context *context, int socket)
{
    struct tls *t = mem_zalloc(sizeof(*t));
    pthread_once(&method_once, make_method);
    t->socket = socket;
    buf_init(&t->out, OUT_MAX);
    t->ssl = SSL_new(tls_context_of(context));
    BIO *bio = BIO_new(method);
    hf_assert(t->ssl && bio);
    BIO_set_data(bio, t);
    SSL_set_bio(t->ssl, bio, bio);
    SSL_set_accept_state(t->ssl);
    return t;
}

/* 0, or -errno: the socket is broken. */
static int push(struct tls *t)
{
    t->full = false;
    while (tls_unsent(t)) {
        struct iovec part = {t->out.data + t->out_at, tls_unsent(t)};
        int64_t put = OS.send(t->socket, &part, 1);
        if (put < 0 && put != -EAGAIN)
            return (int)put;
        t->out_at += put > 0 ? (size_t)put : 0;
        if (put < (int64_t)part.iov_len) {
            t->full = true;
            return 0;
        }
    }
    t->out_at = 0;
    buf_reset(&t->out);
    buf_shrink(&t->out, OUT_KEPT);
    return 0;
}

void tls_end(struct tls *t)
{
    if (t->ended || !t->ready || t->broken)
        return;
    t->ended = true;
    ERR_clear_error();
    SSL_shutdown(t->ssl); /* of its result only that it has written is wanted */
}

void tls_free(struct tls *t)
{
    tls_end(t);
    int ignored = push(t);
    (void)ignored;
    SSL_free(t->ssl);
    ERR_clear_error();
    buf_release(&t->out);
    mem_free(t);
}

/* -- reading -- */

/* What the last call said when it did not succeed; from here on it is broken unless it can go on. */
static int64_t not_done(struct tls *t, int result)
{
    long verified = SSL_get_verify_result(t->ssl);
    int error = SSL_get_error(t->ssl, result);
    if (error == SSL_ERROR_WANT_READ) {
        t->starved = t->drained;
        return -EAGAIN;
    }
    if (error == SSL_ERROR_ZERO_RETURN && t->ready) {
        t->peer_ended = true;
        return 0;
    }
    unsigned long code = ERR_peek_error();
    const char *reason = code ? ERR_reason_error_string(code) : NULL;
    if (!t->ready && verified != X509_V_OK)
        say(t, X509_verify_cert_error_string(verified));
    say(t, t->peer_ended ? "it ended in the middle of the handshake" : t->error ? strerror(-t->error) : reason ? reason : "an error of TLS");
    t->broken = true;
    return t->error ? t->error : -EPROTO;
}

int64_t tls_receive(struct tls *t, void *data, size_t size)
{
    size_t total = 0;
    if (t->broken)
        return -EPROTO;
    t->budget = READ_BUDGET;
    t->drained = t->starved = false;
    ERR_clear_error();
    if (HF_UNLIKELY(!t->ready)) {
        int result = SSL_do_handshake(t->ssl);
        if (result != 1)
            return not_done(t, result);
        t->ready = true;
    }
    do {
        size_t got = 0;
        int result = SSL_read_ex(t->ssl, (char *)data + total, size - total, &got);
        total += got;
        if (result != 1) {
            int64_t why = not_done(t, result);
            return total ? (int64_t)total : why;
        }
    } while (total < size && SSL_has_pending(t->ssl));
    return (int64_t)total;
}

bool tls_holds(const struct tls *t)
{
    return !t->drained || t->peer_ended || t->broken || (!t->starved && SSL_has_pending(t->ssl));
}

/* -- writing -- */

int64_t tls_send(struct tls *t, const void *data, size_t size)
{
    size_t taken = 0, most = size < SEND_MOST ? size : SEND_MOST;
    for (;;) {
        int result = push(t);
        if (result < 0)
            return result;
        if (t->full || taken == most || !t->ready || t->broken)
            return (int64_t)taken;
        size_t part = most - taken < ENCRYPT_AHEAD ? most - taken : ENCRYPT_AHEAD, put = 0;
        ERR_clear_error();
        buf_reserve(&t->out, part + RECORD_EXTRA);
        if (SSL_write_ex(t->ssl, (const char *)data + taken, part, &put) != 1) {
            t->broken = true;
            return -EPROTO;
        }
        taken += put;
    }
}

void tls_shrink(struct tls *t) { buf_shrink(&t->out, 0); }

size_t tls_memory(const struct tls *t) { return sizeof(*t) + t->out.capacity + (t->ready ? OPENSSL_BYTES : SHAKING_BYTES); }
