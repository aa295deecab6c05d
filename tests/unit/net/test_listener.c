/* test_listener.c -- what an accepted socket is told, and how its ends are named. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "net/listener.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* A listener on a loopback address and a connection to it. */
struct pair { int listener, client, server; struct sockaddr_in here, there; };

static struct pair connect_pair(const char *address)
{
    struct pair p = {.listener = socket(AF_INET, SOCK_STREAM, 0), .client = socket(AF_INET, SOCK_STREAM, 0), .here.sin_family = AF_INET};
    socklen_t size = sizeof(p.here);
    assert_int_equal(inet_pton(AF_INET, address, &p.here.sin_addr), 1);
    assert_int_equal(bind(p.listener, (struct sockaddr *)&p.here, size), 0);
    assert_int_equal(listen(p.listener, 1), 0);
    assert_int_equal(getsockname(p.listener, (struct sockaddr *)&p.here, &size), 0);
    assert_int_equal(connect(p.client, (struct sockaddr *)&p.here, size), 0);
    p.server = accept(p.listener, NULL, NULL);
    assert_true(p.server >= 0);
    assert_int_equal(getsockname(p.client, (struct sockaddr *)&p.there, &size), 0);
    return p;
}

static void close_pair(const struct pair *p)
{
    close(p->client);
    close(p->server);
    close(p->listener);
}

static int option(int fd, int level, int name)
{
    int value = -1;
    socklen_t size = sizeof(value);
    assert_int_equal(getsockopt(fd, level, name, &value, &size), 0);
    return value;
}

static void a_local_peer_is_named_and_told(void **state)
{
    struct pair p = connect_pair("127.0.0.1");
    struct peer peer;
    char text[64], control[16] = "";
    socklen_t size = sizeof(control);
    socket_prepare(p.server, false, 300, &peer);
    assert_true(peer.loopback);
    snprintf(text, sizeof(text), "127.0.0.1:%u", ntohs(p.there.sin_port));
    assert_string_equal(peer.address, text);
    snprintf(text, sizeof(text), "127.0.0.1:%u", ntohs(p.here.sin_port));
    assert_string_equal(peer.local, text);
    assert_int_equal(option(p.server, IPPROTO_TCP, TCP_NODELAY), 1);
    assert_int_equal(option(p.server, SOL_SOCKET, SO_KEEPALIVE), 1);
    assert_int_equal(option(p.server, IPPROTO_TCP, TCP_KEEPIDLE), 300);
    assert_int_equal(getsockopt(p.server, IPPROTO_TCP, TCP_CONGESTION, control, &size), 0);
    assert_string_equal(control, "reno"); /* every kernel has it, and lets everybody choose it */
    close_pair(&p);
}

static void keepalive_can_be_off(void **state)
{
    struct pair p = connect_pair("127.0.0.2");
    struct peer peer;
    socket_prepare(p.server, false, 0, &peer);
    assert_true(peer.loopback);
    assert_int_equal(option(p.server, SOL_SOCKET, SO_KEEPALIVE), 0);
    close_pair(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_local_peer_is_named_and_told),
        cmocka_unit_test(keepalive_can_be_off),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
