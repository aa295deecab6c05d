"""stall.py -- whatever makes a value of many elements go, nobody else waits for it.

Goal:   UNLINK, DEL, FLUSHDB, FLUSHALL, expiry, overwriting (SET, RENAME, SUNIONSTORE) and eviction of a value of many elements do
        no work that grows with it while others wait: it is unlinked at once and freed in slices, each of which is small.
Method: by counters, for any machine: INFO tells how many slices there were and how many bytes the largest one freed. With --timed
        also by the clock: another connection, of another worker and of the same one, sends PING all the while; its longest wait is
        shown, and must stay below 10 ms.
Usage:  stall.py [--elements 60000] [--timed] [--workers 2]
        The figure of the design: --elements 10000000 --timed, on a quiet machine.
"""
import argparse
import sys
import threading
import time

from harness import Server

SLICE_MAX = 1 << 20         # bytes: a hundred nodes of a few KiB, or 256 entries of a table
STALL_MS = 10
BATCH = 5000
LOAD = {
    "set": lambda key, n: ["SADD", key] + ["member:%d" % i for i in n],
    "zset": lambda key, n: ["ZADD", key] + [w for i in n for w in (i, "member:%d" % i)],
    "hash": lambda key, n: ["HSET", key] + [w for i in n for w in ("field:%d" % i, "value:%d" % i)],
    "list": lambda key, n: ["RPUSH", key] + ["element:%d" % i for i in n],
}


class Pinger:
    """Sends PING without a pause; the longest wait, by what went on meanwhile."""

    def __init__(self, server):
        self.client, self.stopped, self.longest = server.client(), False, 0.0
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        while not self.stopped:
            began = time.monotonic()
            self.client.call("PING")
            self.longest = max(self.longest, time.monotonic() - began)

    def take(self):
        longest, self.longest = self.longest, 0.0
        return longest * 1000

    def stop(self):
        self.stopped = True
        self.thread.join()


def fields(client):
    text = client.call("INFO", "memory").decode()
    return {name: int(value) for name, _, value in (line.partition(":") for line in text.split("\r\n")) if value.isdigit()}


def load(client, kind, key, elements):
    for start in range(0, elements, BATCH):
        client.call(*LOAD[kind](key, range(start, min(start + BATCH, elements))))


def settle(client):
    """Until all that was dropped is free."""
    deadline = time.monotonic() + 120
    while fields(client)["lazyfree_pending_objects"]:
        assert time.monotonic() < deadline, "it is never freed"
        time.sleep(0.002)


def expire(client):
    client.call("PEXPIRE", "big", 1)
    deadline = time.monotonic() + 60
    while client.call("DBSIZE") > 1:
        assert time.monotonic() < deadline, "it never expires"


def evict(client):
    client.call("CONFIG", "SET", "maxmemory-policy", "allkeys-random")
    client.call("CONFIG", "SET", "maxmemory", 1)
    deadline = time.monotonic() + 60
    while client.call("DBSIZE"):
        assert time.monotonic() < deadline, "it is never evicted"
    client.call("CONFIG", "SET", "maxmemory", 0)


WAYS = [
    ("UNLINK", lambda c: c.call("UNLINK", "big")),
    ("DEL", lambda c: c.call("DEL", "big")),
    ("FLUSHDB", lambda c: c.call("FLUSHDB")),
    ("FLUSHALL", lambda c: c.call("FLUSHALL")),
    ("PEXPIRE", expire),
    ("SET", lambda c: c.call("SET", "big", "x")),
    ("RENAME", lambda c: c.call("RENAME", "small", "big")),
    ("SUNIONSTORE", lambda c: c.call("SUNIONSTORE", "big", "no")),
    ("MULTI", lambda c: c.pipeline([["MULTI"], ["DEL", "big"], ["SET", "big", 1], ["EXEC"]])),
    ("EVAL", lambda c: c.call("EVAL", "return redis.call('del', 'big')", 1, "big")),
    ("eviction", evict),
]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--elements", type=int, default=60000)
    parser.add_argument("--timed", action="store_true")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    worst = 0.0
    sys.setswitchinterval(0.0002)   # Python's own threads must not wait for one another as long as the bar is
    with Server(workers=options.workers) as server:
        c = server.client()
        kinds = sorted(LOAD)
        for at, (name, go) in enumerate(WAYS):
            kind = kinds[at % len(kinds)]
            c.call("FLUSHALL")
            c.call("SET", "small", "x")
            settle(c)
            empty = fields(c)["used_memory"]
            load(c, kind, "big", options.elements)
            full = fields(c)
            size = full["used_memory"] - empty
            pingers = [Pinger(server) for _ in range(2)] if options.timed else []
            go(c)
            settle(c)
            waits = [p.take() for p in pingers]
            for p in pingers:
                p.stop()
            after = fields(c)
            slices = after["lazyfree_slices"] - full["lazyfree_slices"]
            line = "%-12s %-5s %8.1f MB in %6d slices of at most %4d KB" % (
                name, kind, size / 1e6, slices, after["lazyfree_slice_bytes_max"] // 1000)
            print(line + ("; PING waited %.1f ms at most" % max(waits) if waits else ""), flush=True)
            worst = max([worst] + waits)
            value = c.call("MEMORY", "USAGE", "big") or 0
            assert value < 1000, "%s: big is still %d bytes" % (name, value)
            assert slices >= size / 2 / SLICE_MAX, name     # what the client's buffers took is not freed in slices
            assert after["lazyfree_slice_bytes_max"] < SLICE_MAX, name
    if options.timed:
        print("the longest wait: %.1f ms" % worst)
        assert worst < STALL_MS, "a PING waited %.1f ms" % worst


if __name__ == "__main__":
    main()
