/* listener.h -- sockets that accept, and what a fresh connection needs.
 *
 * A set of them is bound by net_start, shared by the workers (EPOLLEXCLUSIVE) and closed by net_stop. CONFIG SET port and
 * bind make a new set:
 *
 *      net_listen        opens the new set beside the old one, then hangs it behind as `next`
 *      each worker       sees `next` before it waits again, and watches that set from then on
 *      the last to leave closes the old set
 *
 * What both sets listen on is one socket under two descriptors, so nobody who connects there notices. Sets are never changed
 * once a worker knows them, but for `next`.
 */
#ifndef HF_NET_LISTENER_H
#define HF_NET_LISTENER_H

#include "base/buf.h"
#include "net/net.h"

#include <sys/socket.h>

#define LISTENERS_MAX 68

/* How those that come in there are to be spoken to. */
struct door {
    bool is_unix, tls;
    const struct protocol *protocol; /* NULL: RESP */
};

struct listener {
    int fd;
    struct door door;
    struct sockaddr_storage address; /* TCP: what it is bound to */
    bool kept;                       /* the set behind has this socket, too */
    bool rests;                      /* refuses connections while the set behind tries an address that covers this one */
};

struct listeners {
    struct listener items[LISTENERS_MAX];
    size_t count;
    char unix_path[108]; /* unlinked at close */
    struct listeners *_Atomic next;
    _Atomic unsigned users; /* the workers that have not left it, and the net while it is the newest */
};

/* `before`: the set that this one will replace, which keeps listening until listeners_replace; NULL: there is none. */
status listeners_open(struct listeners *l, const struct net_config *config, struct listeners *before, char *detail,
                      size_t detail_size) HF_CHECK;
/* From here on connections to what only `old` listens on are refused. */
void listeners_replace(struct listeners *old, struct listeners *fresh);
void listeners_close(struct listeners *l);
void listeners_list(const struct listeners *l, struct buf *out); /* a line "fd=N addr=A" for each; a unix socket's path as CLIENT LIST has it */
struct listeners *listeners_leave(struct listeners *l); /* by one user; the next set, or NULL */

#define PEER_TEXT_MAX 112

struct peer {
    char address[PEER_TEXT_MAX], local[PEER_TEXT_MAX]; /* as CLIENT LIST words them */
    bool loopback;                                     /* or a unix socket */
};

/* Accepts one connection, non-blocking; -errno: none (-EAGAIN) or trouble. */
int listener_accept(const struct listener *l);
void socket_prepare(int fd, bool is_unix, unsigned keepalive_s, struct peer *peer);

#endif
