/* served.h -- a whole server in the test's process: engine, workers, a unix socket; and blocking clients.
 *
 * The engine's disk is what os_current says (support/recorder.h), the sockets are the kernel's.
 */
#ifndef HF_TEST_SERVED_H
#define HF_TEST_SERVED_H

#include "cmd/command.h"
#include "engine/internal.h"
#include "net/clients.h"
#include "net/net.h"
#include "os/os.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define SERVED __attribute__((unused)) static
#define SERVED_LINE 256
#define SERVED_PATIENCE_MS 20000

struct served { struct engine *engine; struct net *net; struct net_limits limits; char path[64]; };

/* A blocking connection that reads replies of one line; longer ones are for raw reads. */
struct caller { int fd; char in[1 << 16]; size_t size, at; };

SERVED void served_start(struct served *s, const struct engine_config *config)
{
    static const struct host stub = {.client_pause = net_client_pause};
    static int number;
    char detail[512] = "";
    struct engine_config c = *config;
    host = &stub;
    command_table_init();
    c.wake_workers = net_wake_workers;
    if (engine_open(&c, &s->engine, detail, sizeof(detail)) != HF_OK)
        fail_msg("%s", detail);
    snprintf(s->path, sizeof(s->path), "/tmp/hf-served-%d-%d", (int)getpid(), number++);
    net_limits_init(&s->limits);
    struct net_config net = {.unix_path = s->path, .backlog = 200, .workers = c.workers, .limits = &s->limits,
                             .engine = s->engine, .default_durability = (int)c.durability};
    if (net_start(&net, &s->net, detail, sizeof(detail)) != HF_OK)
        fail_msg("%s", detail);
}

SERVED void served_stop(struct served *s)
{
    net_stop(s->net, 0);
    engine_close(s->engine);
    unlink(s->path);
}

SERVED void caller_open(struct caller *c, const struct served *s)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memset(c, 0, sizeof(*c));
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", s->path);
    c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    hf_assert(c->fd >= 0 && connect(c->fd, (struct sockaddr *)&address, sizeof(address)) == 0);
}

SERVED void caller_close(struct caller *c) { close(c->fd); }

SERVED bool caller_send(struct caller *c, const char *text, size_t size)
{
    while (size) {
        ssize_t put = send(c->fd, text, size, MSG_NOSIGNAL);
        if (put <= 0)
            return false;
        text += put;
        size -= (size_t)put;
    }
    return true;
}

/* Is there something to read within so many ms? */
SERVED bool caller_waits(struct caller *c, int ms)
{
    struct pollfd p = {.fd = c->fd, .events = POLLIN};
    return c->at < c->size || poll(&p, 1, ms) == 1;
}

/* The next line without its end; a bulk reply's value. False: hung up, or nothing came. */
SERVED bool caller_line(struct caller *c, char line[SERVED_LINE])
{
    size_t n = 0;
    for (;;) {
        if (c->at == c->size) {
            if (!caller_waits(c, SERVED_PATIENCE_MS))
                return false;
            ssize_t got = recv(c->fd, c->in, sizeof(c->in), 0);
            if (got <= 0)
                return false;
            c->at = 0;
            c->size = (size_t)got;
        }
        char x = c->in[c->at++];
        if (x == '\n')
            break;
        if (x != '\r' && n < SERVED_LINE - 1)
            line[n++] = x;
    }
    line[n] = 0;
    return line[0] != '$' || line[1] == '-' || caller_line(c, line);
}

/* An inline command and its reply; "" when there is none. */
SERVED const char *caller_ask(struct caller *c, const char *command)
{
    static _Thread_local char line[SERVED_LINE];
    char text[512];
    int size = snprintf(text, sizeof(text), "%s\r\n", command);
    hf_assert(size < (int)sizeof(text));
    if (!caller_send(c, text, (size_t)size) || !caller_line(c, line))
        line[0] = 0;
    return line;
}

#endif
