"""memcached.py -- get and set of memcached's text protocol beside memcached 1.6.18, in one run on one machine.

Figures: cpu      server CPU microseconds per operation (user + system time of all threads over the operations done), which does
                  not depend on how fast the client is; and operations per second. Two threads each, 50 connections, values
                  of 64 bytes, 1 M keys of 16 bytes in random order.
         latency  open loop: how long clients wait at the same load on both, from the time when a request should have been sent.
         memory   resident bytes per key: 10 M keys of 16 bytes with values of 32.
Method:  both servers hold the same keys; holdfast-load runs against one while the other one idles. Many short runs alternate between
         the two, and medians are compared: at pipeline 1 four fifths of the time are the kernel's, whose cost drifts. Memory: one server at a time, the growth of its resident set over the keys.
         --placement apart (the default): servers on core 0, the generator on core 1, so that neither takes caches or time
         of the other in the middle of its work, and runs repeat to a few percent. free: nobody is pinned, as a machine shared with its
         clients would do it; server threads and generator then compete for two cores, and figures scatter more.
Bars:    ratio holdfast / memcached: CPU 0.8 with durability none, 1.0 with interval; bytes per key 1.0. --check makes a missed bar the
         exit status.
Usage:   script/bench memcached [--what cpu|latency|memory] [--durability none|interval|commit] [--placement apart|free]
         [--pipeline N] [--quick] [--check]
"""
import argparse
import json
import os
import subprocess
import sys

import common
import harness
from memcached_peer import Holdfast, Peer

KEYS, VALUE_SIZE, CONNECTIONS, WORKERS = 1000000, 64, 50, 2
PIPELINES = (1, 16, 64)
OPERATIONS = {1: 60000, 16: 500000, 64: 1000000}
RATE, RATE_SECONDS = 30000, 4
MEMORY_KEYS, MEMORY_VALUE_SIZE = 10000000, 32
BARS = {"none": 0.8, "interval": 1.0, "commit": None}
CORES = sorted(os.sched_getaffinity(0))
SERVER_CORES = {"apart": CORES[:1], "free": CORES}
CLIENT_CORES = {"apart": CORES[1:2] or CORES, "free": CORES}
RUN_SECONDS = 600


def core_list(cores):
    return ",".join(map(str, cores))


def load(server, placement, options):
    """One run of holdfast-load: its report."""
    binary = os.path.join(os.path.dirname(harness.holdfast_path()), "holdfast-load")
    done = subprocess.run(["taskset", "-c", core_list(CLIENT_CORES[placement]), binary, "--protocol", "memcached", "--port",
                           str(server.memcached_port), "--connections", str(CONNECTIONS), "--json"] + [str(o) for o in options],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=RUN_SECONDS)
    if done.returncode != 0:
        raise RuntimeError("holdfast-load %s: %s" % (options, done.stderr.decode()[-500:]))
    return json.loads(done.stdout)


def fill(server, placement, keys, value_size):
    return load(server, placement, ["--fill", "--keys", keys, "--value-size", value_size, "--pipeline", 64, "--ops", 1000])


def start(kind, durability, placement):
    server = Peer(WORKERS, ["-m", "8192"]) if kind == "memcached" else Holdfast(durability=durability, workers=WORKERS)
    server.start()
    subprocess.run(["taskset", "-a", "-p", "-c", core_list(SERVER_CORES[placement]), str(server.process.pid)],
                   stdout=subprocess.DEVNULL, check=True)
    return server


def start_both(options):
    servers = {}
    for kind in ("memcached", "holdfast"):
        servers[kind] = start(kind, options.durability, options.placement)
        fill(servers[kind], options.placement, KEYS, VALUE_SIZE)
    return servers


def stop(servers):
    for server in servers.values():
        server.stop()


# --- CPU ---------------------------------------------------------------------------------------------

def measure(server, command, pipeline, operations, options):
    """(CPU microseconds per operation, operations per second)"""
    before = common.cpu_seconds_exact(server.process.pid)
    report = load(server, options.placement, ["--op", command, "--pipeline", pipeline, "--ops", operations, "--keys", KEYS,
                                              "--value-size", VALUE_SIZE])
    if report["misses"] or report["errors"]:
        raise RuntimeError("%s of %s: %d misses, %d errors" % (command, server.kind, report["misses"], report["errors"]))
    return (common.cpu_seconds_exact(server.process.pid) - before) * 1e6 / operations, report["ops_per_second"]


def compare(servers, command, pipeline, options):
    operations = OPERATIONS[pipeline] // (10 if options.quick else 1) // (10 if options.durability == "commit" and command == "set" else 1)
    runs = {kind: [] for kind in servers}
    for server in servers.values():
        measure(server, command, pipeline, operations // 10, options)
    for _ in range(1 if options.quick else options.repetitions):
        for kind, server in servers.items():
            runs[kind].append(measure(server, command, pipeline, operations, options))
    cpu = {kind: common.median([run[0] for run in runs[kind]]) for kind in runs}
    speed = {kind: common.median([run[1] for run in runs[kind]]) for kind in runs}
    return {"command": command, "pipeline": pipeline, "operations": operations, "runs": runs, "cpu_us": cpu, "ops_per_second": speed,
            "ratio": cpu["holdfast"] / cpu["memcached"] if cpu["memcached"] else float("nan"), "bar": BARS[options.durability]}


def met(result):
    return None if result["bar"] is None else result["ratio"] <= result["bar"]


def verdict(result):
    return ["-" if result["bar"] is None else "%.2f" % result["bar"], {True: "yes", False: "NO", None: "-"}[met(result)]]


def bench_cpu(options):
    servers, results = start_both(options), []
    try:
        for command in ("get", "set"):
            for pipeline in [options.pipeline] if options.pipeline else PIPELINES:
                results.append(compare(servers, command, pipeline, options))
    finally:
        stop(servers)
    common.table(["", "memcached us/op", "holdfast us/op", "cpu ratio", "memcached op/s", "holdfast op/s", "bar", "met"],
                 [["%s P%d" % (r["command"], r["pipeline"]), r["cpu_us"]["memcached"], r["cpu_us"]["holdfast"], r["ratio"],
                   r["ops_per_second"]["memcached"], r["ops_per_second"]["holdfast"]] + verdict(r) for r in results])
    return results


# --- latency --------------------------------------------------------------------------------------------

def bench_latency(options):
    servers, results = start_both(options), []
    try:
        for command in ("get", "set"):
            runs = {kind: [] for kind in servers}
            for _ in range(1 if options.quick else options.repetitions):
                for kind, server in servers.items():
                    runs[kind].append(load(server, options.placement,
                                           ["--op", command, "--rate", RATE, "--seconds", RATE_SECONDS, "--keys", KEYS, "--value-size",
                                            VALUE_SIZE, "--pipeline", options.pipeline or 16])["latency_us"])
            for kind in runs:
                results.append({"command": command, "server": kind, "runs": runs[kind],
                                "latency_us": {p: common.median([run[p] for run in runs[kind]]) for p in runs[kind][0]}})
    finally:
        stop(servers)
    shown = ("p50", "p90", "p99", "p99.9", "max")
    common.table(["microseconds at %d op/s" % RATE] + list(shown),
                 [["%s %s" % (r["command"], r["server"])] + [r["latency_us"][p] for p in shown] for r in results])
    return results


# --- memory ------------------------------------------------------------------------------------------------

def bytes_per_key(kind, options):
    keys = MEMORY_KEYS // (10 if options.quick else 1)
    server = start(kind, options.durability, options.placement)
    try:
        empty = common.status_bytes(server.process.pid)
        fill(server, options.placement, keys, MEMORY_VALUE_SIZE)
        report = load(server, options.placement, ["--op", "get", "--keys", keys, "--value-size", MEMORY_VALUE_SIZE, "--ops", 20000])
        if report["misses"]:
            raise RuntimeError("%s has lost keys" % kind)
        return (common.status_bytes(server.process.pid) - empty) / keys
    finally:
        server.stop()


def bench_memory(options):
    figures = {kind: bytes_per_key(kind, options) for kind in ("memcached", "holdfast")}
    result = {"bytes_per_key": figures, "ratio": figures["holdfast"] / figures["memcached"], "bar": 1.0}
    common.table(["RSS bytes per key", "memcached", "holdfast", "ratio", "bar", "met"],
                 [["16-byte key, 32-byte value", figures["memcached"], figures["holdfast"], result["ratio"]] + verdict(result)])
    return [result]


def main():
    parser = argparse.ArgumentParser(prog="script/bench memcached")
    parser.add_argument("--what", choices=["cpu", "latency", "memory"], default="cpu")
    parser.add_argument("--durability", choices=["none", "interval", "commit"], default="none")
    parser.add_argument("--placement", choices=["apart", "free"], default="apart")
    parser.add_argument("--pipeline", type=int, choices=PIPELINES, help="one of them only")
    parser.add_argument("--repetitions", type=int, default=9)
    parser.add_argument("--quick", action="store_true", help="a tenth of the operations or keys, one repetition")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a bar is missed")
    options = parser.parse_args()
    results = {"cpu": bench_cpu, "latency": bench_latency, "memory": bench_memory}[options.what](options)
    common.write("memcached-%s-%s-%s" % (options.what, options.durability, options.placement),
                 dict(vars(options), keys=KEYS, value_size=VALUE_SIZE, connections=CONNECTIONS, workers=WORKERS, rate=RATE,
                      memory_keys=MEMORY_KEYS, memory_value_size=MEMORY_VALUE_SIZE), results)
    return 1 if options.check and any(met(r) is False for r in results if "bar" in r) else 0


if __name__ == "__main__":
    sys.exit(main())
