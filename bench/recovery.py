"""recovery.py -- how long after kill -9 until the first PING, from the log and from a snapshot.

Method: keys are loaded in interval mode. 'log': kill -9, start, time to the first PONG (a server that
        still loads answers with an error, which does not count). 'snapshot': a snapshot is completed
        first, so that the log is short. Redis: append-only file, and its rewrite. The number of keys
        is checked after each start.
Usage:  script/bench recovery [--keys 5000000] [--workers 2]
"""
import argparse
import time

import common
import harness
from harness import Server

harness.STARTUP_SECONDS = 600


def snapshot(server):
    client = server.client()
    if server.kind == "redis":
        client.call("BGREWRITEAOF")
        common.wait_saved(server, "aof_rewrite_in_progress")
    else:
        client.call("BGSAVE")
        common.wait_saved(server, "rdb_bgsave_in_progress")
    client.close()


def restart(server, keys):
    server.kill9()
    seconds = server.start()
    client = server.client()
    found = client.call("DBSIZE")
    client.close()
    if found != keys:
        raise RuntimeError("%s recovered %d of %d keys" % (server.kind, found, keys))
    return seconds


def measure(kind, arguments):
    extra = ["--auto-aof-rewrite-percentage", "0"] if kind == "redis" else []
    with Server(kind, durability="interval", workers=arguments.workers, extra=extra) as server:
        common.load(server, arguments.keys)
        time.sleep(2)       # let everysec and the interval pass: this is no test of durability
        log = restart(server, arguments.keys)
        snapshot(server)
        return {"log": log, "snapshot": restart(server, arguments.keys)}


def main():
    parser = argparse.ArgumentParser(prog="script/bench recovery")
    parser.add_argument("--keys", type=int, default=5000000)
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    results = {kind: measure(kind, arguments) for kind in ("redis", "holdfast")}
    common.table(["seconds to first PING", "redis", "holdfast", "ratio"],
                 [[name, results["redis"][name], results["holdfast"][name],
                   results["holdfast"][name] / results["redis"][name]] for name in ("log", "snapshot")])
    common.write("recovery", vars(arguments), results)


if __name__ == "__main__":
    main()
