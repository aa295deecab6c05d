"""workers.py -- two workers beside one: what sharing the store costs, by class of operation.

Figures: server CPU microseconds per operation (user + system of all threads) with two workers over that with one:
        at most 1.15 (--check); and operations per second, two over one, which must be above 1.
Method: for each class the two servers take turns (medians of --repetitions), each with the same keys. With four or more cores the
        server gets as many as it has workers, the generator the rest. With fewer, each worker shares its core with the
        generator in both runs (one core against two), so that what switching between server and generator costs, caches
        included, stands on both sides, and the ratio is what the workers cost each other.
        All load comes from holdfast-load, 50 connections, random keys.
Usage:  script/bench workers [--durability none|interval|commit] [--pipeline N] [--only CLASS...] [--quick] [--check]
"""
import argparse
import json
import os
import subprocess
import sys

import common
import harness
from harness import Server

KEYS, VALUE_SIZE, CONNECTIONS = 100000, 64, 50
RATIO_MAX = 1.15
RUN_SECONDS = 600
CLASSES = {
    "PING": "PING",
    "GET": "GET %k", "SET": "SET %k %v", "INCR": "INCR n%k", "MSET": "MSET a%k %v b%k %v c%k %v", "HSET": "HSET h%k field %v",
    "EXPIRE": "EXPIRE %k 1000", "DEL": "DEL d%k", "MULTI": "MULTI;SET a%k %v;INCR n%k;EXEC",
}
OPERATIONS = 2000000
CORES = sorted(os.sched_getaffinity(0))


def cores(workers):
    """(those of the server, those of the generator)"""
    if len(CORES) >= 4:
        return CORES[:workers], CORES[2:]
    return CORES[:workers], CORES[:workers]


def measure(server, command, workers, operations, pipeline):
    """One run: (CPU microseconds per operation, operations per second)."""
    binary = os.path.join(os.path.dirname(harness.holdfast_path()), "holdfast-load")
    before = common.cpu_seconds(server.pid)
    done = subprocess.run(
        ["taskset", "-c", ",".join(map(str, cores(workers)[1])), binary, "--port", str(server.port), "--command", command,
         "--ops", str(operations), "--keys", str(KEYS), "--value-size", str(VALUE_SIZE), "--connections", str(CONNECTIONS),
         "--pipeline", str(pipeline), "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=RUN_SECONDS)
    if done.returncode != 0:
        raise RuntimeError("holdfast-load %r: %s" % (command, done.stderr.decode()[-500:]))
    cpu = common.cpu_seconds(server.pid) - before
    return cpu * 1e6 / operations, json.loads(done.stdout)["ops_per_second"]


def start(workers, durability):
    server = Server(durability=durability, workers=workers)
    server.start()
    subprocess.run(["taskset", "-a", "-p", "-c", ",".join(map(str, cores(workers)[0])), str(server.pid)],
                   stdout=subprocess.DEVNULL, check=True)
    common.load(server, KEYS, value=b"x" * VALUE_SIZE)
    return server


def compare(servers, command, options):
    """The medians of both servers, taken in turns, and all runs."""
    operations = OPERATIONS // (20 if options.quick else 1) // (10 if options.durability == "commit" or options.pipeline == 1 else 1)
    runs = {1: [], 2: []}
    for workers, server in servers.items():
        measure(server, command, workers, operations // 10, options.pipeline)
    for _ in range(1 if options.quick else options.repetitions):
        for workers, server in servers.items():
            runs[workers].append(measure(server, command, workers, operations, options.pipeline))
    cpu = {w: common.median([run[0] for run in runs[w]]) for w in runs}
    speed = {w: common.median([run[1] for run in runs[w]]) for w in runs}
    return {"operations": operations, "runs": runs, "cpu_us": cpu, "ops_per_second": speed,
            "cpu_ratio": cpu[2] / cpu[1] if cpu[1] else float("nan"), "speed_ratio": speed[2] / speed[1]}


def main():
    parser = argparse.ArgumentParser(prog="script/bench workers")
    parser.add_argument("--durability", choices=["none", "interval", "commit"], default="none")
    parser.add_argument("--pipeline", type=int, default=16)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="a twentieth of the operations, one repetition")
    parser.add_argument("--only", nargs="+", choices=list(CLASSES), default=list(CLASSES), metavar="CLASS",
                        help="of: %s" % " ".join(CLASSES))
    parser.add_argument("--check", action="store_true", help="exit with 1 if a CPU ratio is above %.2f" % RATIO_MAX)
    options = parser.parse_args()
    servers, results, rows = {}, [], []
    try:
        for workers in (1, 2):
            servers[workers] = start(workers, options.durability)
        for name in options.only:
            command = CLASSES[name]
            one = dict(compare(servers, command, options), name=name, command=command)
            results.append(one)
            rows.append([name, one["cpu_us"][1], one["cpu_us"][2], one["cpu_ratio"], one["ops_per_second"][1],
                         one["ops_per_second"][2], one["speed_ratio"], "yes" if one["cpu_ratio"] <= RATIO_MAX else "NO"])
    finally:
        for server in servers.values():
            server.stop()
    common.table(["", "1 worker us/op", "2 workers us/op", "cpu ratio", "1 worker op/s", "2 workers op/s", "speed ratio",
                  "<= %.2f" % RATIO_MAX], rows)
    common.write("workers-" + options.durability, dict(vars(options), keys=KEYS, value_size=VALUE_SIZE, connections=CONNECTIONS,
                                                       cores={w: cores(w) for w in (1, 2)}), results)
    return 1 if options.check and any(one["cpu_ratio"] > RATIO_MAX for one in results) else 0


if __name__ == "__main__":
    sys.exit(main())
