"""workers.py -- two workers of one server: what sharing the keyspace costs, by class of operation.

Figures: server CPU microseconds per operation (user + system of all threads) of two workers on one keyspace, over that of two
        servers with one worker each, which share nothing: at most 1.15 (--check); and operations per second of two workers over
        those of one, which must be above 1.
Method: two servers and two workers have the same cores, each worker pinned to one, and are driven by the same four generators, two
        on each core of theirs, so that caches, the scheduler and sockets that cross cores cost the same on both sides: the
        difference is locks and lines of memory that move between cores. PING touches no key: its row shows what is left of the
        method itself. The sides take turns; medians of --repetitions. All load comes from holdfast-load, random keys. With four or
        more cores the generators have cores of their own, else they share those of the workers.
Usage:  script/bench workers [--durability none|interval|commit] [--pipeline N] [--only CLASS...] [--quick] [--check]
"""
import argparse
import os
import subprocess
import sys
import time

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


SERVER_CORES = CORES[:2]
GENERATOR_CORES = CORES[2:4] if len(CORES) >= 4 else CORES[:2]


def pin(thread, core):
    subprocess.run(["taskset", "-p", "-c", str(core), str(thread)], stdout=subprocess.DEVNULL, check=True)


def worker_threads(server):
    tasks = "/proc/%d/task" % server.pid
    names = {int(t): open("%s/%s/comm" % (tasks, t)).read().strip() for t in os.listdir(tasks)}
    return sorted(t for t, name in names.items() if name.startswith("hf-worker"))


def start(workers, core, durability):
    """A server whose first worker has the core SERVER_CORES[core], the next one the next; other threads run where there is room."""
    server = Server(durability=durability, workers=workers)
    server.start()
    for i, thread in enumerate(worker_threads(server)):
        pin(thread, SERVER_CORES[core + i])
    common.load(server, KEYS, value=b"x" * VALUE_SIZE)
    return server


def generator(server, core, command, operations, pipeline):
    binary = os.path.join(os.path.dirname(harness.holdfast_path()), "holdfast-load")
    return subprocess.Popen(
        ["taskset", "-c", str(core), binary, "--port", str(server.port), "--command", command, "--ops", str(operations),
         "--keys", str(KEYS), "--value-size", str(VALUE_SIZE), "--connections", str(CONNECTIONS // 4), "--pipeline", str(pipeline),
         "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def measure(servers, command, operations, pipeline):
    """One run of four generators, shared out to the servers: (CPU microseconds per operation, operations per second)."""
    before = sum(common.cpu_seconds_exact(s.pid) for s in servers)
    began = time.monotonic()
    running = [generator(servers[i % len(servers)], core, command, operations // 4, pipeline)
               for core in GENERATOR_CORES for i in range(2)]
    for one in running:
        _, error = one.communicate(timeout=RUN_SECONDS)
        if one.returncode != 0:
            raise RuntimeError("holdfast-load %r: %s" % (command, error.decode()[-500:]))
    took = time.monotonic() - began
    return (sum(common.cpu_seconds_exact(s.pid) for s in servers) - before) * 1e6 / operations, operations / took


def compare(sides, command, options):
    """The medians of the sides, taken in turns, and all runs."""
    operations = OPERATIONS // (20 if options.quick else 1) // (10 if options.durability == "commit" or options.pipeline == 1 else 1)
    runs = {side: [] for side in sides}
    for servers in sides.values():
        measure(servers, command, operations // 10, options.pipeline)
    for _ in range(1 if options.quick else options.repetitions):
        for side, servers in sides.items():
            runs[side].append(measure(servers, command, operations, options.pipeline))
    cpu = {side: common.median([run[0] for run in runs[side]]) for side in runs}
    speed = {side: common.median([run[1] for run in runs[side]]) for side in runs}
    return {"operations": operations, "runs": runs, "cpu_us": cpu, "ops_per_second": speed,
            "cpu_ratio": cpu["two workers"] / cpu["two servers"], "speed_ratio": speed["two workers"] / speed["one worker"]}


def holds(one):
    return one["cpu_ratio"] <= RATIO_MAX and (one["speed_ratio"] > 1 or one["name"] == "PING")


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
    servers, results, rows = [], [], []
    try:
        for workers, core in ((1, 0), (1, 1), (2, 0)):
            servers.append(start(workers, core, options.durability))
        sides = {"one worker": servers[:1], "two servers": servers[:2], "two workers": servers[2:]}
        for name in options.only:
            one = dict(compare(sides, CLASSES[name], options), name=name, command=CLASSES[name])
            results.append(one)
            rows.append([name, one["cpu_us"]["two servers"], one["cpu_us"]["two workers"], one["cpu_ratio"],
                         one["ops_per_second"]["one worker"], one["ops_per_second"]["two workers"], one["speed_ratio"],
                         "yes" if holds(one) else "NO"])
    finally:
        for server in servers:
            server.stop()
    common.table(["", "two servers us/op", "two workers us/op", "cpu ratio", "one worker op/s", "two workers op/s", "speed ratio",
                  "<= %.2f, > 1" % RATIO_MAX], rows)
    common.write("workers-" + options.durability, dict(vars(options), keys=KEYS, value_size=VALUE_SIZE, connections=CONNECTIONS,
                                                       cores={"server": SERVER_CORES, "generators": GENERATOR_CORES}), results)
    return 1 if options.check and not all(map(holds, results)) else 0


if __name__ == "__main__":
    sys.exit(main())
