"""eviction.py -- hit ratios of a full cache beside redis-server, by policy and trace.

Method: a read-through cache: GET, and SET on a miss. Each trace asks for more keys than fit. maxmemory of each server is set so that
        about --fit keys fit (measured by filling it), so what is compared is the choice of keys, not the memory of one. The
        same requests in the same order go to both, in pipelines. Ratios count from the second quarter on.
        zipf: exponent 0.9, keys five times as many as fit. scan: 30 % of the requests are for keys that never come again. shift: what is
        popular moves every half turnover. loop: half of the requests go round a cycle as large as the cache. burst: 40 % ask for
        a few young keys, three times each.
Usage:  script/bench eviction [--fit 20000] [--turnovers 12] [--quick]
"""
import argparse
import bisect
import itertools
import random

import common  # finds the tests' harness
from harness import Server

PAD = "x" * 64
PIPELINE = 100


def zipf(chance, count, exponent=0.9):
    sums = list(itertools.accumulate((i + 1) ** -exponent for i in range(count)))
    return lambda: bisect.bisect_left(sums, chance.random() * sums[-1])


def trace(name, fit, requests):
    chance = random.Random(7)
    popular, fresh = zipf(chance, fit * 5), itertools.count(fit * 5)
    young = [0] * 64
    for i in range(requests):
        if name == "scan" and chance.random() < 0.3:
            yield next(fresh)
        elif name == "shift":
            yield (popular() + i // (fit // 2) * (fit // 28)) % (fit * 5)
        elif name == "loop" and chance.random() < 0.5:
            yield fit * 5 + next(fresh) % fit
        elif name == "burst" and chance.random() < 0.4:
            at = chance.randrange(len(young))
            if not young[at] or chance.random() < 0.33:
                young[at] = next(fresh)
            yield young[at]
        else:
            yield popular()


def capacity(client, fit):
    """The limit at which about so many keys fit."""
    client.call("FLUSHALL")
    before = memory(client)
    for start in range(0, fit, 1000):
        client.pipeline([["SET", "key:%d" % i, PAD] for i in range(start, start + 1000)])
    limit = memory(client)
    assert limit > before
    client.call("FLUSHALL")
    return limit


def memory(client):
    return int(client.call("INFO", "memory").split(b"used_memory:")[1].split(b"\r\n")[0])


def ratio(client, keys, warm):
    hits = asked = 0
    while True:
        chunk = list(itertools.islice(keys, PIPELINE))
        if not chunk:
            return hits / asked
        replies = client.pipeline([["GET", "key:%d" % k] for k in chunk])
        missed = {k for k, reply in zip(chunk, replies) if reply is None}
        if missed:
            client.pipeline([["SET", "key:%d" % k, PAD] for k in missed])
        if warm <= 0:
            hits += len(chunk) - sum(1 for reply in replies if reply is None)
            asked += len(chunk)
        warm -= len(chunk)


def main():
    parser = argparse.ArgumentParser(prog="script/bench eviction")
    parser.add_argument("--fit", type=int, default=20000)
    parser.add_argument("--turnovers", type=int, default=12)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    fit, turnovers = (4000, 10) if options.quick else (options.fit, options.turnovers)
    rows = []
    print("%-8s %-14s %9s %9s" % ("trace", "policy", "Redis", "holdfast"))
    for name in ("zipf", "scan", "shift", "loop", "burst"):
        for policy in ("allkeys-lru", "allkeys-lfu", "allkeys-random"):
            figures = []
            for kind in ("redis", "holdfast"):
                with Server(kind, workers=1) as server:
                    client = server.client()
                    limit = capacity(client, fit)
                    client.call("CONFIG", "SET", "maxmemory-policy", policy)
                    client.call("CONFIG", "SET", "maxmemory", limit)
                    figures.append(ratio(client, trace(name, fit, fit * turnovers), fit * turnovers // 4))
                    figures.append(client.call("DBSIZE"))
            rows.append({"trace": name, "policy": policy, "redis": figures[0], "holdfast": figures[2],
                         "redis_keys": figures[1], "holdfast_keys": figures[3]})
            print("%-8s %-14s %9.4f %9.4f   (%d and %d keys)" % (name, policy, figures[0], figures[2], figures[1], figures[3]), flush=True)
    common.write("eviction", {"fit": fit, "turnovers": turnovers}, rows)


if __name__ == "__main__":
    main()
