"""snapshot.py -- does a snapshot stall the server or double its memory?

Method: redis-benchmark overwrites random keys all the time. One connection sends PING, waits, sends
        again; its latencies are collected before BGSAVE and during it. Memory is the growth of the
        server's resident set plus the private copies of its children (redis forks).
Usage:  script/bench snapshot [--keys 3000000] [--durability none] [--workers 2]
"""
import argparse
import os
import shutil
import subprocess
import time

import common
from harness import Server

BASELINE_SECONDS = 3
SNAPSHOT_SECONDS_MAX = 300
MEMORY_EVERY_SECONDS = 0.2


def start_writer(server, keys):
    return subprocess.Popen(
        [shutil.which("redis-benchmark") or "redis-benchmark", "-h", "127.0.0.1", "-p", str(server.port), "-t", "set",
         "-n", "1000000000", "-c", "8", "-P", "8", "-d", "64", "-r", str(keys), "-q"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def memory(server):
    return common.status_bytes(server.pid) + common.children_private_bytes(server.pid)


def ping_until(server, client, over):
    """PING latencies in microseconds, and the peak of memory, until over() says so."""
    latencies, peak, next_memory = [], memory(server), 0
    while True:
        began = time.monotonic()
        client.wire("PING")
        now = time.monotonic()
        latencies.append((now - began) * 1e6)
        if now >= next_memory:
            peak, next_memory = max(peak, memory(server)), time.monotonic() + MEMORY_EVERY_SECONDS
            if over():
                return latencies, peak


def percentile(latencies, p):
    return sorted(latencies)[min(len(latencies) - 1, int(len(latencies) * p))]


def figures(latencies):
    return {"pings": len(latencies), "p50_us": percentile(latencies, 0.5), "p99_us": percentile(latencies, 0.99),
            "p99.9_us": percentile(latencies, 0.999), "max_us": max(latencies)}


def measure(kind, arguments):
    with Server(kind, durability=arguments.durability, workers=arguments.workers) as server:
        common.load(server, arguments.keys)
        client, control = server.client(), server.client()
        writer = start_writer(server, arguments.keys)
        try:
            time.sleep(1)
            until = time.monotonic() + BASELINE_SECONDS
            before, resident = ping_until(server, client, lambda: time.monotonic() > until)
            began = time.monotonic()
            control.call("BGSAVE")
            during, peak = ping_until(server, client, lambda: time.monotonic() - began > SNAPSHOT_SECONDS_MAX or
                                      b"rdb_bgsave_in_progress:0" in control.call("INFO", "persistence"))
            seconds = time.monotonic() - began
        finally:
            writer.kill()
            writer.wait()
        size = sum(os.path.getsize(os.path.join(directory, name))
                   for directory, _, names in os.walk(server.directory) for name in names)
        return {"before": figures(before), "during": figures(during), "seconds": seconds, "resident_bytes": resident,
                "growth_bytes": peak - resident, "files_bytes": size}


def main():
    parser = argparse.ArgumentParser(prog="script/bench snapshot")
    parser.add_argument("--keys", type=int, default=3000000)
    parser.add_argument("--durability", choices=["none", "interval", "commit"], default="none")
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    results = {kind: measure(kind, arguments) for kind in ("redis", "holdfast")}
    rows = [["PING %s %s (us)" % (name, when)] + [results[kind][when][name + "_us"] for kind in results]
            for when in ("before", "during") for name in ("p50", "p99", "p99.9", "max")]
    rows += [["snapshot (s)"] + [results[kind]["seconds"] for kind in results],
             ["memory growth (%)"] + [100.0 * results[kind]["growth_bytes"] / results[kind]["resident_bytes"] for kind in results]]
    common.table([""] + list(results), rows)
    common.write("snapshot", vars(arguments), results)


if __name__ == "__main__":
    main()
