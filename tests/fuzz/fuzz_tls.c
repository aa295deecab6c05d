/* fuzz_tls.c -- from the bytes of a socket to the input of a connection with TLS: what is heard is what the client wrote, or less.
 *
 * The first byte chooses version and whether clients are asked for certificates; the rest is read as steps: a client of OpenSSL says
 * something, a part of it arrives, is changed, left out, doubled, has foreign bytes put into it; the socket takes little; either side
 * ends. Chance is the same in each run, so that an input means the same every time.
 * Always: what is heard is a beginning of what the client wrote; bytes that were changed end the connection; memory of OpenSSL and of
 * what waits for the socket is bounded.
 */
#define OPENSSL_SUPPRESS_DEPRECATED
#include "../unit/support/tls_pair.h"

#include <openssl/rand.h>

#define STEPS_MOST 400
#define SERVER_MOST (160 << 10) /* of OpenSSL, for this connection */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* -- chance -- */

static uint64_t chance;

static int draw(unsigned char *out, int size)
{
    for (int i = 0; i < size; i++) {
        chance = chance * 6364136223846793005u + 1442695040888963407u;
        out[i] = (unsigned char)(chance >> 56);
    }
    return 1;
}

static int is_seeded(void) { return 1; }

static struct tls_context *servers[2];
static SSL_CTX *clients[2];

static void begin(void)
{
    static const RAND_METHOD method = {.bytes = draw, .pseudorand = draw, .status = is_seeded};
    struct tls_pair_files files;
    tls_pair_count();
    RAND_set_rand_method(&method);
    tls_pair_write_files(&files);
    servers[0] = tls_pair_context(&files, TLS_AUTH_NO);
    servers[1] = tls_pair_context(&files, TLS_AUTH_YES);
    for (int i = 0; i < 2; i++)
        clients[i] = tls_pair_client_context(&files, i ? TLS1_3_VERSION : TLS1_2_VERSION);
    tls_pair_remove_files(&files);
    for (int i = 0; i < 4; i++) { /* what OpenSSL makes once belongs to no connection */
        struct tls_pair p;
        tls_pair_open(&p, servers[i / 2], clients[i % 2]);
        hf_assert(tls_pair_shake(&p, SIZE_MAX));
        tls_pair_close(&p);
    }
}

/* -- one run -- */

struct run {
    struct tls_pair pair;
    const uint8_t *data, *end;
    size_t written;     /* by the client; each byte is pattern() of its place */
    int64_t server;     /* live bytes of OpenSSL */
    bool changed;       /* bytes on the wire are not the client's */
};

static uint8_t pattern(size_t at) { return (uint8_t)(at * 31 ^ at >> 8); }

static size_t number(struct run *r)
{
    size_t n = r->data < r->end ? *r->data++ : 0;
    return n < 128 ? n : (n - 127) * (n - 127) * 4; /* to 64 KiB */
}

static void deliver(struct run *r, size_t size, size_t read_size)
{
    int64_t before = tls_pair_live;
    tls_pair_deliver(&r->pair, size, 1 + read_size % 65536);
    r->server += tls_pair_live - before;
}

static void client_writes(struct run *r, size_t size)
{
    static uint8_t text[65536];
    size_t put = 0;
    for (size_t i = 0; i < size; i++)
        text[i] = pattern(r->written + i);
    ERR_clear_error();
    if (size && SSL_is_init_finished(r->pair.client) && SSL_write_ex(r->pair.client, text, size, &put) == 1)
        r->written += put;
    tls_pair_speak(&r->pair);
}

static void client_reads(struct run *r)
{
    static uint8_t text[65536];
    tls_pair_client_reads(&r->pair, text, sizeof(text));
}

static void server_writes(struct run *r, size_t size)
{
    static const uint8_t text[65536];
    int64_t before = tls_pair_live;
    int64_t put = tls_send(r->pair.server, text, size);
    hf_assert(put <= (int64_t)size);
    r->server += tls_pair_live - before;
}

/* Undelivered bytes: from + size stays within them. */
static uint8_t *wire_part(struct run *r, size_t *size)
{
    struct tls_pair *p = &r->pair;
    size_t left = p->wire.size - p->delivered, from = left ? number(r) % left : 0;
    *size = left - from < *size ? left - from : *size;
    return p->wire.data + p->delivered + from;
}

static void put_in(struct run *r, const uint8_t *bytes, size_t size)
{
    struct tls_pair *p = &r->pair;
    size_t tail = p->wire.size - p->delivered;
    uint8_t *copy = mem_alloc(tail + size + 1);
    if (size)
        memcpy(copy, bytes, size);
    if (tail)
        memcpy(copy + size, p->wire.data + p->delivered, tail);
    p->wire.size = p->delivered;
    buf_append(&p->wire, copy, tail + size);
    mem_free(copy);
    r->changed |= size > 0;
}

static void step(struct run *r, uint8_t what)
{
    struct tls_pair *p = &r->pair;
    size_t size;
    uint8_t *part;
    switch (what % 17) {
    case 0:
    case 1: /* a part of its handshake, if it is in one */
        ERR_clear_error();
        SSL_do_handshake(p->client);
        tls_pair_speak(p);
        if (what % 17 == 1)
            deliver(r, SIZE_MAX, 4095);
        break;
    case 2: client_writes(r, number(r)); break;
    case 3: deliver(r, number(r), 65535); break;
    case 4: deliver(r, SIZE_MAX, number(r)); break;
    case 5: /* changed */
        size = 1;
        part = wire_part(r, &size);
        if (size)
            part[0] ^= (uint8_t)(number(r) | 1);
        r->changed |= size > 0;
        break;
    case 6: /* foreign */
        size = number(r);
        size = size < (size_t)(r->end - r->data) ? size : (size_t)(r->end - r->data);
        put_in(r, r->data, size);
        r->data += size;
        break;
    case 7: /* left out */
        size = number(r);
        part = wire_part(r, &size);
        memmove(part, part + size, (size_t)(p->wire.data + p->wire.size - part) - size);
        p->wire.size -= size;
        r->changed |= size > 0;
        break;
    case 8: /* said once more */
        size = number(r);
        part = wire_part(r, &size);
        put_in(r, part, size);
        break;
    case 9:
        if (SSL_version(p->client) == TLS1_3_VERSION)
            SSL_key_update(p->client, number(r) % 2 ? SSL_KEY_UPDATE_REQUESTED : SSL_KEY_UPDATE_NOT_REQUESTED);
        else
            SSL_renegotiate(p->client);
        ERR_clear_error();
        SSL_do_handshake(p->client);
        tls_pair_speak(p);
        break;
    case 10:
        SSL_shutdown(p->client);
        tls_pair_speak(p);
        break;
    case 11: p->wire_ends = true; break;
    case 12: p->room = number(r); break;
    case 13: server_writes(r, number(r)); break;
    case 14: client_reads(r); break;
    case 15: tls_shrink(p->server); break;
    default: tls_end(p->server); break;
    }
}

static void look(const struct run *r)
{
    const struct tls *t = r->pair.server;
    hf_assert(r->pair.heard.size <= r->written && (r->pair.heard.size == 0 || t->ready));
    for (size_t i = 0; i < r->pair.heard.size; i++)
        hf_assert(r->pair.heard.data[i] == pattern(i));
    hf_assert(r->server <= SERVER_MOST && t->out.size <= 1u << 20 && (t->ready || t->shaken <= 200u << 10));
    hf_assert(t->broken == (t->why[0] != 0) || t->ended);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct run r = {.data = data, .end = data + size};
    if (!clients[0])
        begin();
    chance = 7;
    size_t choice = number(&r);
    tls_pair_open(&r.pair, servers[choice / 2 % 2], clients[choice % 2]);
    if (choice & 4)
        hf_assert(tls_pair_shake(&r.pair, 1 + choice % 50));
    for (int i = 0; i < STEPS_MOST && r.data < r.end; i++) {
        step(&r, *r.data++);
        look(&r);
    }
    deliver(&r, SIZE_MAX, 65535);
    look(&r);
    if (!r.changed && r.pair.server->ready && !r.pair.wire_ends && !r.pair.server->broken)
        hf_assert(r.pair.heard.size == r.written);
    tls_pair_close(&r.pair);
    return 0;
}
