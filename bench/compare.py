"""compare.py -- GET and SET beside redis-server 7.0.15, in one run on one machine.

Figure: server CPU microseconds per operation (user + system time of all threads over the operations
        done), which does not depend on how fast the client is; and operations per second.
Method: both servers are started on core 0 and loaded with the same keys; redis-benchmark runs on
        core 1 against one of them while the other one idles. Repetitions alternate between the two,
        and medians are compared: drift of the machine hits both. One worker, 50 connections,
        64-byte values, 1 M keys in random order.
Bars:   see bar(); a ratio is holdfast / redis. --check makes a missed bar the exit status.
Usage:  script/bench [compare] [--durability none|interval|commit] [--pipeline N] [--quick] [--ops N]
        script/bench tls: the same with both over TLS 1.3 (--tls), a tenth of the operations, nothing above redis-server.
        At pipeline 1 most of the time is the kernel's, whose cost drifts: many short runs, --ops 60000 --repetitions 25, tell more.
"""
import argparse
import shutil
import subprocess
import sys

import common
from harness import Server
from tls_parts import Certificates

KEYS, VALUE_SIZE, CONNECTIONS = 1000000, 64, 50
PIPELINES = (1, 16, 64)
OPS = {1: 400000, 16: 3000000, 64: 6000000}
OPS_COMMIT = {1: 20000, 16: 200000, 64: 400000}
RUN_SECONDS = 300


def bar(durability, command, pipeline, tls):
    """(kind, limit): 'cpu' means CPU ratio at most, 'ops' means speed ratio at least. None: shown only."""
    if tls:
        return ("cpu", 1.0) if durability == "none" else None
    if durability == "none":
        return ("cpu", {1: 1.0, 16: {"GET": 0.50, "SET": 0.55}[command], 64: {"GET": 0.40, "SET": 0.45}[command]}[pipeline])
    if durability == "interval" and command == "SET" and pipeline > 1:
        return ("cpu", {16: 0.65, 64: 0.55}[pipeline])
    if durability == "commit" and command == "SET" and pipeline == 16:
        return ("ops", 2.0)
    return None


def measure(server, command, pipeline, ops, certificates):
    """One run of redis-benchmark; returns (CPU microseconds per operation, operations per second)."""
    place = ["-p", str(server.tls_port), "--tls", "--cacert", certificates.path("ca.crt")] if certificates else ["-p", str(server.port)]
    before = common.cpu_seconds_exact(server.pid)
    done = subprocess.run(
        ["taskset", "-c", "1", shutil.which("redis-benchmark") or "redis-benchmark", "-h", "127.0.0.1",
         *place, "-t", command.lower(), "-n", str(ops), "-c", str(CONNECTIONS), "-P", str(pipeline),
         "-d", str(VALUE_SIZE), "-r", str(KEYS), "--csv"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=RUN_SECONDS)
    cpu = common.cpu_seconds_exact(server.pid) - before
    lines = [line for line in done.stdout.decode().splitlines() if line.startswith('"%s"' % command)]
    if done.returncode != 0 or not lines:
        raise RuntimeError("redis-benchmark: %s %s" % (done.stdout.decode()[-500:], done.stderr.decode()[-500:]))
    return cpu * 1e6 / ops, float(lines[0].split(",")[1].strip('"'))


def start(kind, durability, certificates):
    # No rewrite of the log during the run: it would be measured as a stall of redis, not as its cost.
    extra = ["--auto-aof-rewrite-percentage", "0"] if kind == "redis" else []
    server = (certificates.server if certificates else Server)(kind, durability=durability, workers=1, cpu=0, extra=extra)
    server.start()
    common.load(server, KEYS, value=b"x" * VALUE_SIZE)
    return server


def main():
    parser = argparse.ArgumentParser(prog="script/bench compare")
    parser.add_argument("--durability", choices=["none", "interval", "commit"], default="none")
    parser.add_argument("--quick", action="store_true", help="a tenth of the operations, one repetition")
    parser.add_argument("--pipeline", type=int, choices=PIPELINES, help="this one only")
    parser.add_argument("--ops", type=int, help="operations of each run")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--check", action="store_true", help="exit with 1 if a bar is missed")
    parser.add_argument("--tls", action="store_true", help="a tenth of the operations")
    arguments = parser.parse_args()
    certificates = Certificates() if arguments.tls else None
    repetitions = 1 if arguments.quick else arguments.repetitions
    servers = {kind: start(kind, arguments.durability, certificates) for kind in ("redis", "holdfast")}
    results, rows, missed = [], [], 0
    try:
        for command in ("GET", "SET"):
            for pipeline in [arguments.pipeline] if arguments.pipeline else PIPELINES:
                slow = arguments.durability == "commit" and command == "SET"
                ops = arguments.ops or (OPS_COMMIT if slow else OPS)[pipeline] // (10 if arguments.quick or arguments.tls else 1)
                runs = {"redis": [], "holdfast": []}
                for _ in range(repetitions):
                    for kind, server in servers.items():
                        runs[kind].append(measure(server, command, pipeline, ops, certificates))
                cpu = {kind: common.median([run[0] for run in runs[kind]]) for kind in runs}
                speed = {kind: common.median([run[1] for run in runs[kind]]) for kind in runs}
                cpu_ratio = cpu["holdfast"] / cpu["redis"] if cpu["redis"] else float("nan")
                speed_ratio = speed["holdfast"] / speed["redis"]
                limit = bar(arguments.durability, command, pipeline, arguments.tls)
                met = None if limit is None else cpu_ratio <= limit[1] if limit[0] == "cpu" else speed_ratio >= limit[1]
                missed += met is False
                results.append({"command": command, "pipeline": pipeline, "ops": ops, "runs": runs, "cpu_us": cpu,
                                "ops_per_second": speed, "cpu_ratio": cpu_ratio, "speed_ratio": speed_ratio,
                                "bar": limit, "met": met})
                rows.append(["%s P%d" % (command, pipeline), cpu["redis"], cpu["holdfast"], cpu_ratio,
                             speed["redis"], speed["holdfast"], speed_ratio,
                             "%s %.2f" % limit if limit else "-", {True: "yes", False: "NO", None: "-"}[met]])
    finally:
        for server in servers.values():
            server.stop()
    common.table(["", "redis us/op", "holdfast us/op", "cpu ratio", "redis op/s", "holdfast op/s", "speed ratio",
                  "bar", "met"], rows)
    common.write("compare-" + arguments.durability + ("-tls" if arguments.tls else ""),
                 dict(vars(arguments), keys=KEYS, value_size=VALUE_SIZE, connections=CONNECTIONS,
                      repetitions=repetitions, workers=1, server_core=0, client_core=1), results)
    return 1 if arguments.check and missed else 0


if __name__ == "__main__":
    sys.exit(main())
