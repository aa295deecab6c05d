"""listen.py -- CONFIG SET port and bind: where a running server listens.

Goal:   after OK the new address answers and the old one refuses, connections that stand notice nothing, an address that stays
        never refuses anybody, and a change that fails leaves everything as it was, with the words of redis-server.
Method: the checks run on holdfast and, where it can do what they ask, on redis-server beside. Loopback has many addresses:
        127.0.0.1 and 127.0.0.2 are two.
Usage:  listen.py [--peer] [check ...]
"""
import argparse
import os
import socket
import subprocess
import sys
import threading
import time

from harness import Client, ReplyError, Server, free_port, temp_dir

WAIT_SECONDS = 30
MOVES = 12


def answers(port, host="127.0.0.1"):
    try:
        client = Client(port, host=host)
    except ConnectionRefusedError:
        return False
    pong = client.call("PING")
    client.close()
    return pong == b"PONG"


def wait_until(what, condition):
    until = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < until, "in vain: " + what
        time.sleep(0.01)


def refusal(client, *words):
    try:
        return "accepted: %r" % client.call(*words)
    except ReplyError as error:
        return error.args[0]


def setting(client, name):
    return client.call("CONFIG", "GET", name)[1].decode()


def taken_port():
    """A socket that listens, and its port."""
    s = socket.socket()
    s.bind(("127.0.0.1", 0))
    s.listen(1)
    return s, s.getsockname()[1]


# --- checks: each gets the kind of the server ----------------------------------------------------

def port_moves_and_connections_stay(kind):
    with Server(kind) as server:
        client, waiting, listening = (Client(server.port) for _ in range(3))
        listening.call("SUBSCRIBE", "news")
        waiting.send("BLPOP", "jobs", 0)
        for _ in range(3):
            old, new = int(setting(client, "port")), free_port()
            assert client.call("CONFIG", "SET", "port", new) == b"OK"
            assert not answers(old) and answers(new)
            assert setting(client, "port") == str(new)
            assert ("tcp_port:%d" % new) in client.call("INFO", "server").decode()
        other = Client(new)
        wait_until("BLPOP waits", lambda: b"blocked_clients:1" in other.call("INFO", "clients"))
        other.call("RPUSH", "jobs", "x")
        other.call("PUBLISH", "news", "hello")
        assert waiting.read()[1][1] == ("$", b"x") and listening.read()[1][2] == ("$", b"hello")


def port_comes_back(kind):
    """A port that was left can be taken again at once, by this server and by others."""
    with Server(kind) as server:
        client, other = Client(server.port), free_port()
        for port in (other, server.port, other, server.port):
            client.call("CONFIG", "SET", "port", port)
            assert answers(port)
        client.call("CONFIG", "SET", "port", other)

        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.bind(("127.0.0.1", server.port))
            wait_until("another program listens", lambda: s.listen(1) is None)
        assert client.call("PING") == b"PONG"


def busy_port_changes_nothing(kind):
    taken, port = taken_port()
    with Server(kind) as server:
        client = Client(server.port)
        before = {name: setting(client, name) for name in ("port", "bind", "maxmemory", "timeout")}
        text = "ERR CONFIG SET failed (possibly related to argument '%s') - %s"
        no_port, no_bind = "Unable to listen on this port. Check server logs.", "Failed to bind to specified addresses."
        for words, name, reason in (
                (["port", port], "port", no_port),
                (["maxmemory", "123mb", "PORT", port, "timeout", 77], "port", no_port),
                (["bind", "127.0.0.1", "port", port], "bind", no_bind),
                (["port", port, "bind", "127.0.0.1"], "port", no_port),
                (["bind", "127.0.0.1 203.0.113.7"], "bind", no_bind),
                (["bind", "no-such-host.invalid"], "bind", no_bind),
                (["bind", "127.0.0.1  127.0.0.2"], "bind", no_bind),
                (["bind", "127.0.0.1 127.0.0.1"], "bind", no_bind),
                (["bind", "127.0.0.1 *"], "bind", no_bind),
                (["bind", "* 127.0.0.1"], "bind", no_bind),
                (["bind", " ".join("127.0.0.%d" % i for i in range(1, 18))], "bind", "Too many bind addresses specified."),
                (["port", -1], "port", "argument must be between 0 and 65535 inclusive"),
                (["port", "x"], "port", "argument couldn't be parsed into an integer"),
                (["unixsocket", "/x"], "unixsocket", "can't set immutable config")):
            assert refusal(client, "CONFIG", "SET", *words) == text % (name, reason), refusal(client, "CONFIG", "SET", *words)
            assert {name: setting(client, name) for name in before} == before
            assert answers(server.port), words
        assert client.call("CONFIG", "SET", "port", server.port) == b"OK"
    taken.close()


def bind_moves(kind):
    with Server(kind) as server:
        client, port = Client(server.port), server.port
        for binds, one, two in (("127.0.0.2", False, True), ("127.0.0.1 127.0.0.2", True, True), ("127.0.0.1", True, False),
                                ("*", True, True), ("127.0.0.2", False, True), ("-203.0.113.7", False, False),
                                ("* -::*", True, True), ("", False, False), ("127.0.0.1 -::1", True, False)):
            assert client.call("CONFIG", "SET", "bind", binds) == b"OK"
            assert setting(client, "bind") == binds
            assert (answers(port), answers(port, "127.0.0.2")) == (one, two), binds
        client.call("CONFIG", "SET", "port", 0)
        assert not answers(port) and setting(client, "port") == "0"
        client.call("CONFIG", "SET", "bind", "127.0.0.2", "port", port)
        assert answers(port, "127.0.0.2") and not answers(port)


def unix_socket_stays(kind):
    path = os.path.join(temp_dir(), "s")
    with Server(kind, extra=["--unixsocket", path]) as server:
        client = Client(server.port)
        for words in (["bind", ""], ["port", 0], ["port", free_port(), "bind", "127.0.0.2"]):
            client.call("CONFIG", "SET", *words)
            assert not answers(server.port)
            with socket.socket(socket.AF_UNIX) as s:
                s.connect(path)
                s.sendall(b"PING\r\n")
                assert s.recv(100) == b"+PONG\r\n"
    assert not os.path.exists(path)


def file_is_rewritten(kind):
    """CONFIG REWRITE writes the new place, and a server that starts from that file listens there."""
    path, new = os.path.join(temp_dir(), "server.conf"), free_port()
    open(path, "w").close()
    server = Server(kind)
    plain_arguments = server.arguments
    server.arguments = lambda port: plain_arguments(port)[:1] + [path] + plain_arguments(port)[1:]
    with server:
        client = Client(server.port)
        client.call("CONFIG", "SET", "port", new, "bind", "127.0.0.1 127.0.0.2")
        client.call("CONFIG", "REWRITE")
    lines = open(path).read().splitlines()
    assert "port %d" % new in lines and "bind 127.0.0.1 127.0.0.2" in lines, lines


def nowhere_is_refused_at_start(kind):
    for words in (["--bind", ""], ["--port", "0"]):
        server = Server(kind, extra=words)
        done = subprocess.run(server.arguments(free_port()), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=WAIT_SECONDS)
        assert done.returncode == 1, done


def descriptors(server):
    return len(os.listdir("/proc/%d/fd" % server.process.pid))


def moves_under_load(kind):
    """Several workers, connections that work, others that come and go on an address that stays, while everything else moves."""
    with Server(kind) as server:
        port, stop, troubles, rounds = server.port, threading.Event(), [], [0, 0]

        def work():
            try:
                client = Client(port)
                while not stop.is_set():
                    replies = client.pipeline([("INCR", "n")] * 50)
                    assert all(isinstance(r, int) for r in replies), replies
                    rounds[0] += 1
            except Exception as error:                     # any of them is what this looks for
                troubles.append(error)

        def come_and_go():
            try:
                while not stop.is_set():
                    assert answers(port)
                    rounds[1] += 1
            except Exception as error:
                troubles.append(error)

        threads = [threading.Thread(target=f) for f in (work, work, come_and_go, come_and_go)]
        client = Client(port)
        client.call("PING")     # the server has the connection, too
        before = descriptors(server)
        for thread in threads:
            thread.start()
        for i in range(MOVES):
            seen = list(rounds)
            client.call("CONFIG", "SET", "bind", ("127.0.0.1 127.0.0.2", "127.0.0.3 127.0.0.1", "127.0.0.1")[i % 3])
            assert answers(port, "127.0.0.2") == (i % 3 == 0) and answers(port, "127.0.0.3") == (i % 3 == 1)
            wait_until("the load goes on", lambda: troubles or all(a > b for a, b in zip(rounds, seen)))
        stop.set()
        for thread in threads:
            thread.join()
        assert not troubles, troubles
        client.call("CONFIG", "SET", "bind", "127.0.0.1")
        wait_until("old sockets are closed", lambda: descriptors(server) <= before)


def two_change_at_once(kind):
    """From two of them: each change is whole, and the last one is where it listens."""
    with Server(kind) as server:
        ports, troubles = [free_port() for _ in range(2)], []

        def change(client, port, host):
            try:
                for _ in range(MOVES):
                    client.call("CONFIG", "SET", "port", port, "bind", host)
            except Exception as error:                     # any of them is what this looks for
                troubles.append(error)

        asking = Client(server.port)
        threads = [threading.Thread(target=change, args=(Client(server.port), port, "127.0.0.%d" % (i + 1)))
                   for i, port in enumerate(ports)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not troubles, troubles
        port, host = int(setting(asking, "port")), setting(asking, "bind")
        assert (port, host) in [(p, "127.0.0.%d" % (i + 1)) for i, p in enumerate(ports)]
        assert answers(port, host)
        assert sum(answers(p, h) for p in ports + [server.port] for h in ("127.0.0.1", "127.0.0.2")) == 1


def memcached_port_follows_bind(kind):
    other = free_port()
    with Server(kind, extra=["--memcached-port", str(other)]) as server:
        client = Client(server.port)

        def version(host):
            with socket.socket() as s:
                if s.connect_ex((host, other)):
                    return b""
                s.sendall(b"version\r\n")
                return s.recv(100)
        client.call("CONFIG", "SET", "bind", "127.0.0.2")
        assert version("127.0.0.2").startswith(b"VERSION") and not version("127.0.0.1")
        client.call("CONFIG", "SET", "bind", "127.0.0.2 127.0.0.1", "port", free_port())
        assert version("127.0.0.2").startswith(b"VERSION") and version("127.0.0.1").startswith(b"VERSION")


CHECKS = (port_moves_and_connections_stay, port_comes_back, busy_port_changes_nothing, bind_moves, unix_socket_stays,
          file_is_rewritten, nowhere_is_refused_at_start)
OWN = (moves_under_load, two_change_at_once, memcached_port_follows_bind)   # redis-server closes all before it opens


def main():
    parser = argparse.ArgumentParser(prog="listen.py")
    parser.add_argument("--peer", action="store_true", help="redis-server, too")
    parser.add_argument("check", nargs="*")
    arguments = parser.parse_args()
    failures = 0
    for kind in ["holdfast"] + ["redis"] * arguments.peer:
        for check in CHECKS + OWN * (kind == "holdfast"):
            if arguments.check and check.__name__ not in arguments.check:
                continue
            try:
                check(kind)
                print("ok    %s, %s" % (check.__name__, kind), flush=True)
            except Exception as error:
                failures += 1
                print("FAIL  %s, %s: %s: %s" % (check.__name__, kind, type(error).__name__, error), flush=True)
    print("listen: %d failures" % failures)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
