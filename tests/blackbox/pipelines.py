"""pipelines.py -- what stands behind a command in the input of its connection is never taken for it.

Goal:   connections that have sent little, and then send a pipeline of equally long commands in pieces of every size, get for
        each command the reply of its own key. The server reads such connections together, ahead of their turns, and looks at
        keys where they stand; then the input moves, and another key stands at the same place.
Method: several connections at once, each with keys of its own; a short command before each pipeline, then the pipeline cut at
        random, its first pieces while the server is stopped. Each value holds its key, so a reply of another key shows. In
        RESP and in memcached's protocol, with one worker and with two.
Usage:  pipelines.py [--rounds N] [--seed N]
"""
import argparse
import os
import random
import select
import signal
import sys
import time

from harness import Server, connect, encode
from memcached_peer import Holdfast

CONNECTIONS, KEYS, REPLY_SECONDS = 12, 200, 20


def read_all(sockets, sizes):
    """So many bytes of each socket, or what there is in the end."""
    read = [b""] * len(sockets)
    deadline = time.monotonic() + REPLY_SECONDS
    while any(len(read[i]) < sizes[i] for i in range(len(sockets))):
        ready, _, _ = select.select(sockets, [], [], max(0, deadline - time.monotonic()))
        if not ready:
            break  # a reply of another key may be a shorter one: the caller compares
        for one in ready:
            part = one.recv(1 << 16)
            if not part:
                raise AssertionError("the connection ended")
            read[sockets.index(one)] += part
    return read


def key(connection, number):
    return b"%02d-%03d" % (connection, number)


RESP = (lambda k: encode("GET", k), lambda k: b"$10\r\nval-%s\r\n" % k)
MEMCACHED = (lambda k: b"get %s\r\n" % k, lambda k: b"VALUE %s 0 10\r\nval-%s\r\nEND\r\n" % (k, k))


def run_rounds(pid, sockets, language, rounds, seed):
    ask, answer = language
    rolls = random.Random(seed)
    for number in range(rounds):
        first = [rolls.randrange(KEYS) for _ in sockets]
        for i, one in enumerate(sockets):
            one.sendall(ask(key(i, first[i])))
        said = read_all(sockets, [len(answer(key(i, n))) for i, n in enumerate(first)])
        asked = [[rolls.randrange(KEYS) for _ in range(rolls.randrange(1, 120))] for _ in sockets]
        left = [b"".join(ask(key(i, n)) for n in asked[i]) for i in range(len(sockets))]
        wanted = [b"".join(answer(key(i, n)) for n in asked[i]) for i in range(len(sockets))]
        os.kill(pid, signal.SIGSTOP)  # so that it finds the first pieces of all at once
        while any(left):
            for i, one in enumerate(sockets):
                cut = rolls.randrange(1, 2500)
                one.sendall(left[i][:cut])
                left[i] = left[i][cut:]
            os.kill(pid, signal.SIGCONT)
        replies = read_all(sockets, [len(w) for w in wanted])
        for i in range(len(sockets)):
            if said[i] != answer(key(i, first[i])) or replies[i] != wanted[i]:
                at = next((n for n, (a, b) in enumerate(zip(replies[i], wanted[i])) if a != b), -1)
                raise AssertionError("round %d (--seed %d), connection %d: %r... instead of %r..., from byte %d on" % (
                    number, seed, i, replies[i][max(at, 0):][:60], wanted[i][max(at, 0):][:60], at))


def fill(server):
    client = server.client()
    client.pipeline([("SET", key(i, n), b"val-" + key(i, n)) for i in range(CONNECTIONS) for n in range(KEYS)])
    client.close()


def check(kind, language, workers, options):
    with kind(workers=workers) as server:
        fill(server)
        port = server.memcached_port if language is MEMCACHED else server.port
        sockets = [connect(port) for _ in range(CONNECTIONS)]
        try:
            run_rounds(server.pid, sockets, language, options.rounds, options.seed)
        finally:
            for one in sockets:
                one.close()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 20))
    options = parser.parse_args()
    for kind, language, name in ((Server, RESP, "resp"), (Holdfast, MEMCACHED, "memcached")):
        for workers in (1, 2):
            check(kind, language, workers, options)
            print("pipelines: %s, %d workers: %d rounds of %d connections, every reply of its own key" % (
                name, workers, options.rounds, CONNECTIONS))
    return 0


if __name__ == "__main__":
    sys.exit(main())
