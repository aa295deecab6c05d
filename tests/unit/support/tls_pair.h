/* tls_pair.h -- net/tls.h on a socket that is played, and a client of OpenSSL at the other end.
 *
 * What the client writes waits in `wire` until the test delivers a part of it: that is the socket's edge. What the server sends is taken
 * as far as there is `room`. One pair at a time, one thread. The live bytes of OpenSSL are counted when tls_pair_count was called
 * before OpenSSL was.
 */
#ifndef HF_TEST_TLS_PAIR_H
#define HF_TEST_TLS_PAIR_H

#include "base/assert.h"
#include "base/memory.h"
#include "net/tls.h"
#include "os/os.h"

#include <errno.h>
#include <malloc.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TLS_PAIR __attribute__((unused)) static
#define TLS_PAIR_MOST (64u << 20)

struct tls_pair {
    struct tls *server;
    SSL *client;
    struct buf wire;      /* from the client, not yet taken by the server */
    size_t at, delivered; /* of it, taken and takeable */
    bool wire_ends;       /* behind what is delivered */
    int wire_error;       /* -errno, then */
    size_t room;          /* that the socket has for the server's bytes */
    struct buf heard;     /* what the server has made of it */
    int64_t end;          /* of its last tls_receive: -EAGAIN, 0 or an error */
};

static struct tls_pair *tls_pair_now;
static struct os tls_pair_os;
static int64_t tls_pair_live; /* bytes */

/* -- the socket -- */

static int64_t tls_pair_recv(int socket, void *data, size_t size)
{
    struct tls_pair *p = tls_pair_now;
    size_t left = p->delivered - p->at, part = left < size ? left : size;
    (void)socket;
    if (!left)
        return p->wire_error ? p->wire_error : p->wire_ends ? 0 : -EAGAIN;
    memcpy(data, p->wire.data + p->at, part);
    p->at += part;
    return (int64_t)part;
}

static int64_t tls_pair_send(int socket, const struct iovec *parts, int count)
{
    struct tls_pair *p = tls_pair_now;
    size_t part = parts->iov_len < p->room ? parts->iov_len : p->room;
    (void)socket;
    hf_assert(count == 1);
    if (!part)
        return -EAGAIN;
    int64_t live = tls_pair_live; /* what waits for the client is not the server's */
    hf_assert(BIO_write(SSL_get_rbio(p->client), parts->iov_base, (int)part) == (int)part);
    tls_pair_live = live;
    p->room -= part;
    return (int64_t)part;
}

/* -- the account -- */

static void *tls_pair_alloc(size_t size, const char *file, int line)
{
    (void)file, (void)line;
    void *data = size ? malloc(size) : NULL;
    tls_pair_live += (int64_t)malloc_usable_size(data);
    return data;
}

static void tls_pair_free(void *data, const char *file, int line)
{
    (void)file, (void)line;
    tls_pair_live -= (int64_t)malloc_usable_size(data);
    free(data);
}

static void *tls_pair_realloc(void *data, size_t size, const char *file, int line)
{
    (void)file, (void)line;
    if (!size) {
        tls_pair_free(data, file, line);
        return NULL;
    }
    tls_pair_live -= (int64_t)malloc_usable_size(data);
    data = realloc(data, size);
    tls_pair_live += (int64_t)malloc_usable_size(data);
    return data;
}

TLS_PAIR void tls_pair_count(void)
{
    int counts = CRYPTO_set_mem_functions(tls_pair_alloc, tls_pair_realloc, tls_pair_free);
    hf_assert(counts == 1);
}

/* -- certificates -- */

struct tls_pair_files { char directory[40], certificate[64], key[64]; };

/* A key and its certificate, signed by itself: the authority of either side. */
TLS_PAIR void tls_pair_write_files(struct tls_pair_files *f)
{
    snprintf(f->directory, sizeof(f->directory), "/tmp/holdfast-tls-XXXXXX");
    hf_assert(mkdtemp(f->directory));
    snprintf(f->certificate, sizeof(f->certificate), "%s/crt", f->directory);
    snprintf(f->key, sizeof(f->key), "%s/key", f->directory);
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *certificate = X509_new();
    X509_NAME *name = X509_get_subject_name(certificate);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"localhost", -1, -1, 0);
    X509_set_version(certificate, 2);
    X509_set_issuer_name(certificate, name);
    X509_gmtime_adj(X509_getm_notBefore(certificate), -3600);
    X509_gmtime_adj(X509_getm_notAfter(certificate), 24 * 3600);
    X509_set_pubkey(certificate, key);
    int size = X509_sign(certificate, key, EVP_sha256());
    FILE *out = fopen(f->certificate, "w"), *secret = fopen(f->key, "w");
    hf_assert(size && out && secret && PEM_write_X509(out, certificate) && PEM_write_PrivateKey(secret, key, NULL, NULL, 0, NULL, NULL));
    hf_assert(fclose(out) == 0 && fclose(secret) == 0);
    X509_free(certificate);
    EVP_PKEY_free(key);
}

TLS_PAIR void tls_pair_remove_files(const struct tls_pair_files *f)
{
    unlink(f->certificate);
    unlink(f->key);
    rmdir(f->directory);
}

TLS_PAIR struct tls_context *tls_pair_context(const struct tls_pair_files *f, enum tls_auth auth)
{
    char error[512] = "", notice[512];
    struct tls_settings s = {.cert_file = f->certificate, .key_file = f->key, .ca_cert_file = f->certificate, .auth_clients = auth,
                             .session_caching = true, .session_cache_size = 100, .session_cache_timeout_s = 300};
    struct tls_context *context = tls_context_new(&s, error, sizeof(error), notice, sizeof(notice));
    hf_assert(context);
    return context;
}

/* Trusts the server's certificate, and shows it when it is asked for one. version: TLS1_2_VERSION or TLS1_3_VERSION. */
TLS_PAIR SSL_CTX *tls_pair_client_context(const struct tls_pair_files *f, int version)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    hf_assert(context && SSL_CTX_load_verify_file(context, f->certificate) && SSL_CTX_use_certificate_file(context, f->certificate, SSL_FILETYPE_PEM) &&
              SSL_CTX_use_PrivateKey_file(context, f->key, SSL_FILETYPE_PEM));
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_min_proto_version(context, version);
    SSL_CTX_set_max_proto_version(context, version);
    return context;
}

/* -- the pair -- */

TLS_PAIR void tls_pair_open(struct tls_pair *p, struct tls_context *server, SSL_CTX *client)
{
    *p = (struct tls_pair){.room = SIZE_MAX, .end = -EAGAIN};
    tls_pair_os = os_kernel;
    tls_pair_os.recv = tls_pair_recv;
    tls_pair_os.send = tls_pair_send;
    os_current = &tls_pair_os;
    tls_pair_now = p;
    buf_init(&p->wire, TLS_PAIR_MOST);
    buf_init(&p->heard, TLS_PAIR_MOST);
    p->client = SSL_new(client);
    SSL_set_bio(p->client, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    BIO_set_mem_eof_return(SSL_get_rbio(p->client), -1);
    SSL_set_connect_state(p->client);
    p->server = tls_new(server, 77);
}

TLS_PAIR void tls_pair_close(struct tls_pair *p)
{
    tls_free(p->server);
    SSL_free(p->client);
    buf_release(&p->wire);
    buf_release(&p->heard);
    os_current = &os_kernel;
}

/* What the client has to say goes onto the wire, undelivered; how much that was. */
TLS_PAIR size_t tls_pair_speak(struct tls_pair *p)
{
    char *data;
    long size = BIO_get_mem_data(SSL_get_wbio(p->client), &data);
    if (size > 0)
        buf_append(&p->wire, data, (size_t)size);
    (void)BIO_reset(SSL_get_wbio(p->client));
    return size > 0 ? (size_t)size : 0;
}

/* What a worker does: reads as long as there may be something, to the end if the socket has told of one, then sends. */
TLS_PAIR void tls_pair_serve(struct tls_pair *p, size_t read_size)
{
    uint8_t data[65536];
    hf_assert(read_size && read_size <= sizeof(data));
    do {
        p->end = tls_receive(p->server, data, read_size);
        if (p->end > 0)
            buf_append(&p->heard, data, (size_t)p->end);
    } while ((p->end > 0 || p->end == -EAGAIN) && (tls_holds(p->server) || p->wire_ends || p->wire_error));
    int64_t sent = tls_send(p->server, NULL, 0);
    (void)sent;
}

/* So many more bytes of the wire arrive, and are served. */
TLS_PAIR void tls_pair_deliver(struct tls_pair *p, size_t size, size_t read_size)
{
    size_t left = p->wire.size - p->delivered;
    p->delivered += size < left ? size : left;
    tls_pair_serve(p, read_size);
}

TLS_PAIR bool tls_pair_undelivered(const struct tls_pair *p) { return p->delivered < p->wire.size; }

/* Both sides, in pieces of so many bytes. False: it came to nothing. */
TLS_PAIR bool tls_pair_shake(struct tls_pair *p, size_t piece)
{
    for (int flights = 0; flights < 10; flights++) {
        ERR_clear_error();
        int result = SSL_do_handshake(p->client);
        if (result != 1 && SSL_get_error(p->client, result) != SSL_ERROR_WANT_READ)
            return false;
        tls_pair_speak(p);
        while (tls_pair_undelivered(p))
            tls_pair_deliver(p, piece, 4096);
        if (p->end != -EAGAIN)
            return false;
        if (result == 1 && p->server->ready)
            return true;
    }
    return false;
}

TLS_PAIR void tls_pair_client_writes(struct tls_pair *p, const void *data, size_t size)
{
    size_t put = 0;
    ERR_clear_error();
    int result = SSL_write_ex(p->client, data, size, &put);
    hf_assert(result == 1 && put == size);
    tls_pair_speak(p);
}

/* What there is for the client, up to size; 0: nothing, or the end (SSL_get_shutdown says). */
TLS_PAIR size_t tls_pair_client_reads(struct tls_pair *p, void *data, size_t size)
{
    size_t total = 0, got;
    ERR_clear_error();
    while (total < size && SSL_read_ex(p->client, (char *)data + total, size - total, &got) == 1)
        total += got;
    tls_pair_speak(p); /* an answer to a key update */
    return total;
}

#endif
