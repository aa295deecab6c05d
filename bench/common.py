"""common.py -- what the benchmarks share: processes measured, keys loaded, results kept.

Figures come from /proc of the server's pid, so that both servers are measured the same way and
from outside. Results go to build/bench/NAME.json with commit, machine and parameters: a number
without them is an anecdote.
"""
import json
import os
import platform
import re
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "tests/blackbox"))
import harness  # noqa: E402  (the same servers and clients as the tests)

TICKS = os.sysconf("SC_CLK_TCK")


# --- what a process costs --------------------------------------------------------------------------

def cpu_seconds(pid):
    """User and system time of all threads, finished ones included."""
    with open("/proc/%d/stat" % pid) as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def cpu_seconds_exact(pid):
    """The same to the nanosecond, of the threads that live."""
    total = 0
    for thread in os.listdir("/proc/%d/task" % pid):
        with open("/proc/%d/task/%s/schedstat" % (pid, thread)) as f:
            total += int(f.read().split()[0])
    return total / 1e9


def status_bytes(pid, field="VmRSS"):
    with open("/proc/%d/status" % pid) as f:
        match = re.search(field + r":\s+(\d+) kB", f.read())
    return int(match.group(1)) * 1024 if match else 0


def children_private_bytes(pid):
    """Private dirty memory of forked children: the copies that a fork-based snapshot makes."""
    total = 0
    try:
        with open("/proc/%d/task/%d/children" % (pid, pid)) as f:
            children = f.read().split()
        for child in children:
            with open("/proc/%s/smaps_rollup" % child) as f:
                total += int(re.search(r"Private_Dirty:\s+(\d+) kB", f.read()).group(1)) * 1024
    except OSError:
        pass
    return total


# --- keys --------------------------------------------------------------------------------------------

def load(server, count, key_format=b"key:%012d", value=b"x" * 64, seconds=None, chunk=10000):
    """SETs count keys over one connection, replies checked."""
    client = server.client(timeout=120)
    tail = b"\r\n$%d\r\n%b\r\n" % (len(value), value)
    head = b"*3\r\n$3\r\nSET\r\n$%d\r\n" % len(key_format % 0)
    if seconds:
        head = b"*5" + head[2:]
        tail += b"$2\r\nEX\r\n$%d\r\n%d\r\n" % (len(str(seconds)), seconds)
    line = head.replace(b"%", b"%%") + key_format + tail
    for start in range(0, count, chunk):
        numbers = range(start, min(count, start + chunk))
        client.send_raw(b"".join([line % n for n in numbers]))
        if client.file.read(5 * len(numbers)) != b"+OK\r\n" * len(numbers):
            raise RuntimeError("%s refused a key while loading" % server.kind)
    client.close()


def wait_saved(server, field, seconds=600):
    """Waits until INFO persistence shows field:0."""
    client = server.client()
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        info = client.call("INFO", "persistence")
        if b"%b:0" % field.encode() in info and b"aof_rewrite_scheduled:1" not in info:
            client.close()
            return
        time.sleep(0.02)
    raise RuntimeError("%s: %s did not become 0" % (server.kind, field))


def median(values):
    values = sorted(values)
    middle = len(values) // 2
    return values[middle] if len(values) % 2 else (values[middle - 1] + values[middle]) / 2


# --- results -------------------------------------------------------------------------------------------

def environment():
    git = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, stdout=subprocess.PIPE,
                         stderr=subprocess.DEVNULL).stdout.decode().strip()
    model = re.search(r"model name\s*: (.*)", open("/proc/cpuinfo").read())
    return {"commit": git or "none", "holdfast": harness.holdfast_path(), "redis": harness.redis_path(),
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "kernel": platform.release(),
            "cpu": model.group(1) if model else platform.machine(), "cores": os.cpu_count()}


def write(name, parameters, results):
    directory = os.path.join(ROOT, "build/bench")
    os.makedirs(directory, exist_ok=True)
    path = os.path.join(directory, name + ".json")
    with open(path, "w") as f:
        json.dump({"environment": environment(), "parameters": parameters, "results": results}, f, indent=1)
        f.write("\n")
    print("written: " + os.path.relpath(path, ROOT))


def table(header, rows):
    rows = [[("%.2f" % cell if cell < 100 else "%.0f" % cell) if isinstance(cell, float) else str(cell) for cell in row]
            for row in [header] + rows]
    widths = [max(len(row[i]) for row in rows) for i in range(len(header))]
    for row in rows:
        print("  ".join(cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths))).rstrip())
