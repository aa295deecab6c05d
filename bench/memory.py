"""memory.py -- resident bytes per key, plain and with a deadline, beside redis-server.

Method: 16-byte keys with 32-byte values are loaded into a fresh server without a log; the growth of
        its resident set is divided by their number. One server runs at a time.
Usage:  script/bench memory [--keys 10000000] [--workers 2]
"""
import argparse

import common
from harness import Server

KEY_FORMAT, VALUE = b"k%015d", b"v" * 32
TTL_SECONDS = 1000000


def measure(kind, keys, seconds, workers):
    with Server(kind, workers=workers) as server:
        empty = common.status_bytes(server.pid)
        common.load(server, keys, KEY_FORMAT, VALUE, seconds)
        client = server.client()
        if client.call("DBSIZE") != keys:
            raise RuntimeError("%s holds %d of %d keys" % (kind, client.call("DBSIZE"), keys))
        client.close()
        return (common.status_bytes(server.pid) - empty) / keys


def main():
    parser = argparse.ArgumentParser(prog="script/bench memory")
    parser.add_argument("--keys", type=int, default=10000000)
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    results, rows = {}, []
    for name, seconds in (("plain", None), ("with TTL", TTL_SECONDS)):
        figures = {kind: measure(kind, arguments.keys, seconds, arguments.workers) for kind in ("redis", "holdfast")}
        results[name] = figures
        rows.append([name, figures["redis"], figures["holdfast"], figures["holdfast"] / figures["redis"]])
    common.table(["RSS bytes per key", "redis", "holdfast", "ratio"], rows)
    common.write("memory", dict(vars(arguments), key_size=16, value_size=32), results)


if __name__ == "__main__":
    main()
