/* listener.c -- getaddrinfo, bind, listen, accept4. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "net/listener.h"

#include "base/memory.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static void set_option(int fd, int level, int name, int value)
{
    setsockopt(fd, level, name, &value, sizeof(value));
}

static status add(struct listeners *l, struct listener listener)
{
    if (listener.fd < 0)
        return HF_ERR_IO;
    if (l->count == LISTENERS_MAX) {
        close(listener.fd);
        return HF_ERR_INVALID;
    }
    l->items[l->count++] = listener;
    return HF_OK;
}

static int duplicate(const struct listener *l) { return fcntl(l->fd, F_DUPFD_CLOEXEC, 0); }

/* Binds one resolved address; -errno on failure. */
static int bind_address(const struct addrinfo *a, int backlog)
{
    int fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (a->ai_family == AF_INET6)
        set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
    if (bind(fd, a->ai_addr, a->ai_addrlen) < 0 || listen(fd, backlog) < 0) {
        int error = errno;
        close(fd);
        return -error;
    }
    return fd;
}

/* -- the set before -- */

static uint16_t port_of(const struct sockaddr_storage *a) /* the port is at the same place for both families */
{
    return ((const struct sockaddr_in *)(const void *)a)->sin_port;
}

/* That of the set before which is bound to this very address and not taken over yet. */
static struct listener *find_same(struct listeners *before, const struct sockaddr_storage *address, struct door door)
{
    for (size_t i = 0; before && i < before->count; i++) {
        struct listener *l = &before->items[i];
        bool same = !l->door.is_unix && l->door.tls == door.tls && l->door.protocol == door.protocol;
        if (same && !l->kept && !l->rests && memcmp(&l->address, address, sizeof(*address)) == 0)
            return l;
    }
    return NULL;
}

/* Two sockets cannot listen on one port of an address and of all addresses: those of this port that will go rest now. */
static bool rest_on_port(struct listeners *before, const struct sockaddr_storage *address)
{
    bool any = false;
    for (size_t i = 0; before && i < before->count; i++) {
        struct listener *l = &before->items[i];
        if (l->door.is_unix || l->kept || l->rests || port_of(&l->address) != port_of(address))
            continue;
        l->rests = shutdown(l->fd, SHUT_RDWR) == 0;
        any |= l->rests;
    }
    return any;
}

/* Nothing replaces it after all. */
static void restore(struct listeners *before, int backlog)
{
    for (size_t i = 0; before && i < before->count; i++) {
        struct listener *l = &before->items[i];
        if (l->rests)
            listen(l->fd, backlog); /* it is still bound */
        l->kept = l->rests = false;
    }
}

/* A listening socket for the address, taken over or new; -errno on failure. */
static int listen_on(const struct addrinfo *a, const struct net_config *config, struct door door, struct listeners *before,
                     struct sockaddr_storage *address)
{
    memcpy(address, a->ai_addr, a->ai_addrlen);
    struct listener *same = find_same(before, address, door);
    if (same) {
        int fd = duplicate(same);
        same->kept = fd >= 0;
        return fd >= 0 ? fd : -errno;
    }
    int fd = bind_address(a, config->backlog);
    return fd == -EADDRINUSE && rest_on_port(before, address) ? bind_address(a, config->backlog) : fd;
}

static status open_tcp(struct listeners *l, const struct net_config *config, struct listeners *before, uint16_t port_number,
                       struct door door, const char *address, bool optional, char *detail, size_t detail_size)
{
    bool any4 = strcmp(address, "*") == 0, any6 = strcmp(address, "::*") == 0;
    struct addrinfo how = {.ai_family = any4 ? AF_INET : any6 ? AF_INET6 : AF_UNSPEC, .ai_socktype = SOCK_STREAM,
                           .ai_flags = AI_PASSIVE | AI_NUMERICSERV}, *found = NULL;
    char port[8];
    snprintf(port, sizeof(port), "%u", port_number);
    int result = getaddrinfo(any4 || any6 ? NULL : address, port, &how, &found);
    if (result != 0) {
        snprintf(detail, detail_size, "cannot resolve the bind address %s: %s", address, gai_strerror(result));
        return optional ? HF_OK : HF_ERR_IO;
    }
    status s = HF_OK;
    for (struct addrinfo *a = found; a && s == HF_OK; a = a->ai_next) {
        struct listener fresh = {.door = door};
        int fd = fresh.fd = listen_on(a, config, door, before, &fresh.address);
        if (fd >= 0) {
            s = add(l, fresh);
            continue;
        }
        bool missing = fd == -EADDRNOTAVAIL || fd == -EAFNOSUPPORT || fd == -EPROTONOSUPPORT;
        if (optional && missing)
            continue;
        snprintf(detail, detail_size, "cannot listen on %s port %u: %s", address, port_number, strerror(-fd));
        s = HF_ERR_IO;
    }
    freeaddrinfo(found);
    return s;
}

/* The mode is right before the first connection can be made: set between bind and listen. */
static status open_unix(struct listeners *l, const struct net_config *config, char *detail, size_t detail_size)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const char *path = config->unix_path;
    if (strlen(path) >= sizeof(address.sun_path)) {
        snprintf(detail, detail_size, "the unix socket path is longer than %zu bytes: %s", sizeof(address.sun_path) - 1, path);
        return HF_ERR_INVALID;
    }
    memcpy(address.sun_path, path, strlen(path) + 1);
    struct stat old;
    if (lstat(path, &old) == 0 && S_ISSOCK(old.st_mode))
        unlink(path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    bool made = fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0;
    if (!made || (config->unix_mode && chmod(path, config->unix_mode) < 0) || listen(fd, config->backlog) < 0) {
        snprintf(detail, detail_size, "cannot listen on %s: %s", path, strerror(errno));
        if (fd >= 0)
            close(fd);
        if (made)
            unlink(path);
        return HF_ERR_IO;
    }
    memcpy(l->unix_path, path, strlen(path) + 1);
    return add(l, (struct listener){.fd = fd, .door.is_unix = true});
}

/* The path stays the older set's until that is replaced. */
static status keep_unix(struct listeners *l, struct listeners *before)
{
    status s = HF_OK;
    for (size_t i = 0; i < before->count && s == HF_OK; i++) {
        if (before->items[i].door.is_unix)
            s = add(l, (struct listener){.fd = duplicate(&before->items[i]), .door.is_unix = true});
    }
    return s;
}

static status open_all(struct listeners *l, const struct net_config *config, struct listeners *before, char *detail,
                       size_t detail_size)
{
    const struct { uint16_t port; struct door door; } doors[] = {
        {config->port, {.tls = false}}, {config->other_port, {.protocol = config->other}},
        {config->tls_port, {.tls = true}}, {config->other_tls_port, {.tls = true, .protocol = config->other}},
    };
    status s = HF_OK;
    for (size_t i = 0; i < config->bind_count; i++) {
        bool optional = config->binds[i][0] == '-';
        for (size_t k = 0; k < sizeof(doors) / sizeof(doors[0]) && s == HF_OK; k++) {
            if (doors[k].port)
                s = open_tcp(l, config, before, doors[k].port, doors[k].door, config->binds[i] + optional, optional, detail, detail_size);
        }
    }
    if (s != HF_OK || before)
        return s == HF_OK ? keep_unix(l, before) : s;
    if (config->unix_path && config->unix_path[0])
        s = open_unix(l, config, detail, detail_size);
    if (s == HF_OK && l->count == 0) {
        snprintf(detail, detail_size, "nothing to listen on: no port, no unix socket");
        s = HF_ERR_INVALID;
    }
    return s;
}

status listeners_open(struct listeners *l, const struct net_config *config, struct listeners *before, char *detail,
                      size_t detail_size)
{
    *l = (struct listeners){0};
    status s = open_all(l, config, before, detail, detail_size);
    if (s != HF_OK) {
        listeners_close(l);
        restore(before, config->backlog);
    }
    return s;
}

void listeners_replace(struct listeners *old, struct listeners *fresh)
{
    memcpy(fresh->unix_path, old->unix_path, sizeof(fresh->unix_path));
    old->unix_path[0] = '\0';
    atomic_store(&old->next, fresh);
    for (size_t i = 0; i < old->count; i++) {
        const struct listener *l = &old->items[i];
        if (!l->door.is_unix && !l->kept && !l->rests)
            shutdown(l->fd, SHUT_RDWR); /* it is closed when the last worker has left */
    }
}

struct listeners *listeners_leave(struct listeners *l)
{
    struct listeners *next = atomic_load(&l->next);
    if (atomic_fetch_sub(&l->users, 1) == 1) {
        listeners_close(l);
        mem_free(l);
    }
    return next;
}

void listeners_close(struct listeners *l)
{
    for (size_t i = 0; i < l->count; i++)
        close(l->items[i].fd);
    l->count = 0;
    if (l->unix_path[0])
        unlink(l->unix_path);
    l->unix_path[0] = '\0';
}

int listener_accept(const struct listener *l)
{
    int fd;
    do
        fd = accept4(l->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    while (fd < 0 && (errno == EINTR || errno == ECONNABORTED));
    return fd < 0 ? -errno : fd;
}

static void address_text(const struct sockaddr_storage *a, char out[PEER_TEXT_MAX], bool *loopback)
{
    char host[INET6_ADDRSTRLEN] = "?";
    if (a->ss_family == AF_INET) {
        const struct sockaddr_in *v4 = (const void *)a;
        inet_ntop(AF_INET, &v4->sin_addr, host, sizeof(host));
        snprintf(out, PEER_TEXT_MAX, "%s:%u", host, ntohs(v4->sin_port));
        *loopback = ntohl(v4->sin_addr.s_addr) >> 24 == 127;
    } else if (a->ss_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const void *)a;
        inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof(host));
        snprintf(out, PEER_TEXT_MAX, "[%s]:%u", host, ntohs(v6->sin6_port));
        *loopback = IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr) ||
                    (IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr) && v6->sin6_addr.s6_addr[12] == 127);
    } else {
        snprintf(out, PEER_TEXT_MAX, "?:0");
        *loopback = false;
    }
}

void socket_prepare(int fd, bool is_unix, unsigned keepalive_s, struct peer *peer)
{
    struct sockaddr_storage there = {0}, here = {0};
    socklen_t size = sizeof(here);
    if (is_unix) {
        struct sockaddr_un *path = (void *)&here;
        if (getsockname(fd, (struct sockaddr *)&here, &size) < 0)
            path->sun_path[0] = '\0';
        snprintf(peer->address, PEER_TEXT_MAX, "%.*s:0", PEER_TEXT_MAX - 3, path->sun_path);
        memcpy(peer->local, peer->address, PEER_TEXT_MAX);
        peer->loopback = true;
        return;
    }
    bool ignored;
    getsockname(fd, (struct sockaddr *)&here, &size);
    address_text(&here, peer->local, &ignored);
    size = sizeof(there);
    getpeername(fd, (struct sockaddr *)&there, &size);
    address_text(&there, peer->address, &peer->loopback);
    set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    if (peer->loopback) /* there is no network to share: a model of one (BBR's costs 3 % of a small command) has nothing to find out */
        setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "reno", 4);
    if (keepalive_s) { /* dead peers are noticed within about twice keepalive_s, as in Redis */
        int third = (int)keepalive_s / 3;
        set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
        set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, (int)keepalive_s);
        set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, third ? third : 1);
        set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, 3);
    }
}

void listeners_list(const struct listeners *l, struct buf *out)
{
    for (size_t i = 0; i < l->count; i++) {
        const struct listener *one = &l->items[i];
        char address[PEER_TEXT_MAX], line[PEER_TEXT_MAX + 32];
        bool ignored;
        if (one->door.is_unix)
            snprintf(address, sizeof(address), "%s:0", l->unix_path);
        else
            address_text(&one->address, address, &ignored);
        int size = snprintf(line, sizeof(line), "fd=%d addr=%s\n", one->fd, address);
        buf_append(out, line, (size_t)size);
    }
}
