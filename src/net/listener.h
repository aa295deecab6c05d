/* listener.h -- sockets that accept, and what a fresh connection needs.
 *
 * Bound once by net_start, shared by the workers (EPOLLEXCLUSIVE), closed by net_stop.
 */
#ifndef HF_NET_LISTENER_H
#define HF_NET_LISTENER_H

#include "net/net.h"

#define LISTENERS_MAX 34

struct listener { int fd; bool is_unix; const struct protocol *protocol; /* NULL: RESP */ };

struct listeners {
    struct listener items[LISTENERS_MAX];
    size_t count;
    char unix_path[108]; /* unlinked at close */
};

status listeners_open(struct listeners *l, const struct net_config *config, char *detail, size_t detail_size) HF_CHECK;
void listeners_close(struct listeners *l);

#define PEER_TEXT_MAX 112

struct peer {
    char address[PEER_TEXT_MAX], local[PEER_TEXT_MAX]; /* as CLIENT LIST words them */
    bool loopback;                                     /* or a unix socket */
};

/* Accepts one connection, non-blocking; -errno: none (-EAGAIN) or trouble. */
int listener_accept(const struct listener *l);
void socket_prepare(int fd, bool is_unix, unsigned keepalive_s, struct peer *peer);

#endif
