#!/usr/bin/env python3
"""snapshot_holds.py -- a snapshot of huge values keeps nobody waiting.

Goal:   no lock is held for longer because a value is large: what the server copies or encodes under one
        hold (INFO: snapshot_hold_bytes_max) stays below a bound while it saves a sorted set, a hash and a
        list of --elements each and a string of --megabytes; and what was saved is what was there.
Method: two workers; one connection goes on changing the huge values during BGSAVE, another sends PING. The
        99.9th percentile of PING is reported, not judged: it depends on the machine. Then the
        server is killed and started from the snapshot alone (durability none), and the values are counted.
"""
import argparse
import sys
import threading
import time

from harness import Client, Server

HOLD_BOUND = 1 << 20
BATCH = 1000


def fill(client, elements, megabytes):
    for first in range(0, elements, BATCH * 20):
        commands = []
        for start in range(first, min(elements, first + BATCH * 20), BATCH):
            numbers = range(start, min(elements, start + BATCH))
            commands.append(["ZADD", "zset"] + [w for n in numbers for w in (n, "member:%d" % n)])
            commands.append(["HSET", "hash"] + [w for n in numbers for w in ("field:%d" % n, n)])
            commands.append(["RPUSH", "list"] + list(numbers))
        client.pipeline(commands)
    for at in range(megabytes):
        client.call("SETRANGE", "string", at << 20, b"%x" % (at % 16) * (1 << 20))


class Pinger(threading.Thread):
    def __init__(self, port):
        super().__init__(daemon=True)
        self.client = Client(port)
        self.stop = False
        self.times = []

    def run(self):
        while not self.stop:
            began = time.monotonic()
            self.client.call("PING")
            self.times.append(time.monotonic() - began)


def save(client):
    """BGSAVE under changes of the huge values; returns how many changes were made meanwhile."""
    client.call("BGSAVE")
    changes = 0
    while client.call("INFO", "persistence").find(b"rdb_bgsave_in_progress:1") >= 0:
        client.pipeline([["ZADD", "zset", changes, "later:%d" % changes], ["HSET", "hash", "later:%d" % changes, "x"],
                         ["RPUSH", "list", "later"]])
        changes += 1
    info = client.call("INFO", "persistence").decode()
    if "rdb_last_bgsave_status:ok" not in info:
        sys.exit("the snapshot failed:\n" + info)
    return changes, int(info.split("snapshot_hold_bytes_max:")[1].split()[0])


def check(client, elements, megabytes, changes):
    for name, command in (("zset", "ZCARD"), ("hash", "HLEN"), ("list", "LLEN")):
        count = client.call(command, name)
        if not elements <= count <= elements + changes:
            sys.exit("%s: %d elements after the restart, %d before, %d pushed meanwhile" % (name, count, elements, changes))
    for n in range(0, elements, max(1, elements // 500)):
        got = client.pipeline([["ZSCORE", "zset", "member:%d" % n], ["HGET", "hash", "field:%d" % n], ["LINDEX", "list", n]])
        if [int(x) for x in got] != [n, n, n]:
            sys.exit("element %d came back as %r" % (n, got))
    if client.call("STRLEN", "string") != megabytes << 20:
        sys.exit("the string came back with another length")
    for at in range(megabytes):
        if client.call("GETRANGE", "string", at << 20, (at << 20) + 7) != b"%x" % (at % 16) * 8:
            sys.exit("the string came back different at MiB %d" % at)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--elements", type=int, default=100000, help="of each collection")
    parser.add_argument("--megabytes", type=int, default=20, help="of the string")
    options = parser.parse_args()
    with Server(durability="none") as server:
        client = Client(server.port, timeout=300)
        fill(client, options.elements, options.megabytes)
        pinger = Pinger(server.port)
        pinger.start()
        changes, hold = save(client)
        pinger.stop = True
        pinger.join()
        times = sorted(pinger.times)
        print("%d elements in each of three, a string of %d MB: %d PINGs during the snapshot, p50 %.2f ms, p99.9 %.2f ms, "
              "longest %.2f ms; %d changes; at most %d bytes copied under one hold"
              % (options.elements, options.megabytes, len(times), times[len(times) // 2] * 1e3,
                 times[len(times) * 999 // 1000] * 1e3, times[-1] * 1e3, changes, hold))
        if not 0 < hold <= HOLD_BOUND:
            sys.exit("%d bytes were copied under one hold of a lock, the bound is %d" % (hold, HOLD_BOUND))
        server.kill9()
        server.start()
        check(Client(server.port, timeout=300), options.elements, options.megabytes, changes)
    print("snapshot_holds: passed")


if __name__ == "__main__":
    main()
