/* netserver.h -- the server in this process (engine and workers) and clients on real sockets.
 *
 * For tests that put a simulated disk (recorder.h) below the whole server. One server at a
 * time, as net.h says; every client belongs to one thread. Header only.
 */
#ifndef HF_TEST_NETSERVER_H
#define HF_TEST_NETSERVER_H

#include "base/assert.h"
#include "cmd/command.h"
#include "engine/engine.h"
#include "net/net.h"
#include "os/thread.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define NETSERVER __attribute__((unused)) static
#define REPLY_SECONDS 20
#define CLIENT_INPUT 65536

struct netserver {
    struct engine_config config; /* dir, durability, sizes: the test's; the rest is filled in */
    struct engine *engine;
    struct net *net;
    struct net_limits limits;
    uint16_t port, other_port;
    const struct protocol *other; /* the test's: a protocol beside RESP, on other_port */
};

NETSERVER uint16_t free_port(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(a);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    hf_assert(fd >= 0 && bind(fd, (struct sockaddr *)&a, size) == 0 && getsockname(fd, (struct sockaddr *)&a, &size) == 0);
    close(fd);
    return ntohs(a.sin_port);
}

/* False: detail says why. */
NETSERVER bool netserver_open(struct netserver *s, char *detail, size_t size)
{
    static const char *const binds[] = {"127.0.0.1"};
    static bool table;
    if (!table)
        command_table_init();
    table = true;
    s->config.workers = s->config.workers ? s->config.workers : 2;
    s->config.wake_workers = net_wake_workers;
    s->engine = NULL;
    s->net = NULL;
    if (engine_open(&s->config, &s->engine, detail, size) != HF_OK)
        return false;
    net_limits_init(&s->limits);
    status started = HF_ERR_IO;
    for (int tries = 0; tries < 20 && started != HF_OK; tries++) { /* somebody may take the port meanwhile */
        s->port = free_port();
        s->other_port = s->other ? free_port() : 0;
        struct net_config config = {.binds = binds, .bind_count = 1, .port = s->port, .other_port = s->other_port, .other = s->other, .backlog = 64, .workers = s->config.workers,
                                    .limits = &s->limits, .engine = s->engine, .default_durability = (int)s->config.durability};
        started = net_start(&config, &s->net, detail, size);
    }
    if (started != HF_OK) {
        engine_close(s->engine);
        s->engine = NULL;
    }
    return started == HF_OK;
}

NETSERVER void netserver_close(struct netserver *s)
{
    if (!s->engine)
        return;
    net_stop(s->net, 0);
    engine_close(s->engine);
    s->engine = NULL;
}

/* --- a client ------------------------------------------------------------------------ */

struct client { int fd; char *in, *out; size_t at, size, capacity, out_size, out_capacity; };

/* One element of a reply, in the order of the wire: an array's elements follow it. */
struct token { char type; int64_t number; const char *data; size_t size; }; /* data ends with the next token */

NETSERVER void client_open(struct client *c, uint16_t port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(port)};
    struct timeval patience = {.tv_sec = REPLY_SECONDS};
    int one = 1;
    *c = (struct client){.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), .in = malloc(CLIENT_INPUT), .capacity = CLIENT_INPUT};
    hf_assert(c->fd >= 0 && connect(c->fd, (struct sockaddr *)&a, sizeof(a)) == 0);
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
}

NETSERVER void client_close(struct client *c)
{
    close(c->fd);
    free(c->in);
    free(c->out);
}

NETSERVER void client_write(struct client *c, const void *data, size_t size)
{
    if (c->out_size + size > c->out_capacity) {
        c->out_capacity = (c->out_size + size) * 2;
        c->out = realloc(c->out, c->out_capacity);
        hf_assert(c->out);
    }
    memcpy(c->out + c->out_size, data, size);
    c->out_size += size;
}

NETSERVER void client_begin(struct client *c, int words)
{
    char head[32];
    client_write(c, head, (size_t)snprintf(head, sizeof(head), "*%d\r\n", words));
}

NETSERVER void client_word(struct client *c, const char *data, size_t size)
{
    char head[32];
    client_write(c, head, (size_t)snprintf(head, sizeof(head), "$%zu\r\n", size));
    client_write(c, data, size);
    client_write(c, "\r\n", 2);
}

/* Adds a command of `words` strings. */
NETSERVER void client_command(struct client *c, int words, ...)
{
    va_list list;
    va_start(list, words);
    client_begin(c, words);
    for (int i = 0; i < words; i++) {
        const char *word = va_arg(list, const char *);
        client_word(c, word, strlen(word));
    }
    va_end(list);
}

/* Sends what has been added. False: the server has hung up. */
NETSERVER bool client_send(struct client *c)
{
    size_t done = 0;
    while (done < c->out_size) {
        ssize_t put = send(c->fd, c->out + done, c->out_size - done, MSG_NOSIGNAL);
        if (put <= 0)
            break;
        done += (size_t)put;
    }
    bool whole = done == c->out_size;
    c->out_size = 0;
    return whole;
}

NETSERVER bool client_more(struct client *c)
{
    if (c->at > 0 && c->at == c->size)
        c->at = c->size = 0;
    if (c->capacity - c->size < 4096) {
        if (c->at)
            memmove(c->in, c->in + c->at, c->size - c->at);
        c->size -= c->at;
        c->at = 0;
        c->capacity *= 2;
        c->in = realloc(c->in, c->capacity);
        hf_assert(c->in);
    }
    ssize_t got = recv(c->fd, c->in + c->size, c->capacity - c->size, 0);
    c->size += got > 0 ? (size_t)got : 0;
    return got > 0;
}

/* False: no reply came in time, or the server hung up. */
NETSERVER bool client_token(struct client *c, struct token *t)
{
    char *end;
    while (!(end = c->size > c->at ? memchr(c->in + c->at, '\n', c->size - c->at) : NULL)) {
        if (!client_more(c))
            return false;
    }
    size_t line = (size_t)(end + 1 - (c->in + c->at));
    *t = (struct token){.type = c->in[c->at], .number = strtoll(c->in + c->at + 1, NULL, 10)};
    if (t->type != '$' || t->number < 0) {
        t->data = c->in + c->at + 1;
        t->size = line - 3;
        c->at += line;
        return true;
    }
    while (c->size - c->at < line + (size_t)t->number + 2) {
        if (!client_more(c))
            return false;
    }
    t->data = c->in + c->at + line;
    t->size = (size_t)t->number;
    c->at += line + t->size + 2;
    return true;
}

#endif
