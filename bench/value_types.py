"""value_types.py -- bytes per element and server CPU per operation of every type, beside redis-server.

Method: each row fills a fresh server without a log over one pipelined connection, one element a command (that is
        the write path), and then reads at random places. Bytes per element are the growth of used_memory and of the resident set
        once it has settled (both allocators keep what was freed for about ten seconds);
        CPU is user and system time of the server's threads over a phase. One server runs at a time. With --instructions
        every server runs under callgrind and the count of instructions takes the place of CPU time: it does not depend on
        what else the machine does; take --scale 0.01 or less then.
Usage:  script/bench types [--scale 1.0] [--rows zset,hash] [--reads 200000] [--instructions]
"""
import argparse
import os
import random
import re
import shutil
import subprocess
import time

import common
import harness
from harness import Server, encode

CHUNK = 2000


# --- rows: name, elements at scale 1, bars, write(i), {read: command(random, n)} ----------------------------

def template(*words):
    """A line of RESP for numbered words: '%d' words are padded, so that every line has the same length."""
    return encode(*words)


def member(n):
    return b"member:%09d" % n


def scatter(n, count):
    """The n-th of all numbers below count, in an order that looks random: members do not come sorted."""
    return n * 7368787 % count if count % 7368787 else n


class Row:
    """One large collection, or many small ones of `each` elements."""

    def __init__(self, name, count, write, reads, each=None, less=1.0):
        self.name, self.count, self.write, self.reads, self.each, self.less = name, count, write, reads, each, less


def zset_reads(key, size):
    m = lambda r: member(r.randrange(size(r)))
    return {
        "ZSCORE": lambda r: (b"ZSCORE", key(r), m(r)),
        "ZRANK": lambda r: (b"ZRANK", key(r), m(r)),
        "ZRANGE": lambda r: (lambda at: (b"ZRANGE", key(r), b"%d" % at, b"%d" % (at + 9)))(r.randrange(size(r))),
        "ZRANGEBYSCORE": lambda r: (b"ZRANGEBYSCORE", key(r), b"%d" % r.randrange(1000000), b"+inf", b"LIMIT", b"0", b"10"),
    }


def rows(scale):
    n = lambda count: max(1000, int(count * scale))
    large, medium, small = n(10 ** 7), n(10 ** 6), max(50, int(10 ** 5 * scale))
    fixed = lambda name: lambda r: name
    one_of = lambda r: b"many:%06d" % r.randrange(small)
    score = lambda i: b"%d" % (i * 2654435761 % 1000000)
    many = lambda i: b"many:%06d" % (i % small)
    return [
        Row("zset", large, lambda i: (b"ZADD", b"z", score(i), member(scatter(i, large))), zset_reads(fixed(b"z"), lambda r: large), less=0.75),
        Row("hash", medium, lambda i: (b"HSET", b"h", b"field:%08d" % scatter(i, medium), b"value:%012d" % i),
            {"HGET": lambda r: (b"HGET", b"h", b"field:%08d" % r.randrange(medium))}, less=0.75),
        Row("stream", medium, lambda i: (b"XADD", b"x", b"%d-0" % (1700000000000 + i * 3), b"sensor", b"%d" % (i % 977), b"temperature", b"%d.%d" % (i % 40, i % 10)),
            {"XRANGE": lambda r: (b"XRANGE", b"x", b"%d" % (1700000000000 + 3 * r.randrange(medium)), b"+", b"COUNT", b"10")}),
        Row("list", large, lambda i: (b"RPUSH", b"l", b"element:%09d" % i),
            {"LINDEX": lambda r: (b"LINDEX", b"l", b"%d" % r.randrange(min(large, 20000))),
             "LRANGE": lambda r: (lambda at: (b"LRANGE", b"l", b"%d" % at, b"%d" % (at + 9)))(r.randrange(min(large, 20000)))}),
        Row("set", medium, lambda i: (b"SADD", b"s", member(scatter(i, medium))),
            {"SISMEMBER": lambda r: (b"SISMEMBER", b"s", member(r.randrange(2 * medium)))}),
        Row("hashes of 10", small, lambda i: (b"HSET", many(i), b"field:%d" % (i // small), b"value:%08d" % i),
            {"HGET": lambda r: (b"HGET", one_of(r), b"field:%d" % r.randrange(10))}, each=10, less=0.75),
        Row("zsets of 20", small, lambda i: (b"ZADD", many(i), score(i), b"member:%d" % (i // small)),
            {"ZSCORE": lambda r: (b"ZSCORE", one_of(r), b"member:%d" % r.randrange(20)),
             "ZRANK": lambda r: (b"ZRANK", one_of(r), b"member:%d" % r.randrange(20)),
             "ZRANGE": lambda r: (b"ZRANGE", one_of(r), b"0", b"9"),
             "ZRANGEBYSCORE": lambda r: (b"ZRANGEBYSCORE", one_of(r), b"%d" % r.randrange(1000000), b"+inf")}, each=20, less=0.75),
        Row("lists of 20", small, lambda i: (b"RPUSH", many(i), b"element:%d" % (i // small)),
            {"LINDEX": lambda r: (b"LINDEX", one_of(r), b"%d" % r.randrange(20)),
             "LRANGE": lambda r: (b"LRANGE", one_of(r), b"0", b"9")}, each=20),
        Row("sets of 20", small, lambda i: (b"SADD", many(i), b"member:%d" % (i // small)),
            {"SISMEMBER": lambda r: (b"SISMEMBER", one_of(r), b"member:%d" % r.randrange(40))}, each=20),
    ]


# --- one server ----------------------------------------------------------------------------------------

class Cost:
    """Of the server since the last look: microseconds of CPU, or instructions."""

    def __init__(self, server, instructions):
        self.server, self.instructions = server, instructions
        self.before = 0 if instructions else common.cpu_seconds(server.pid)

    def take(self):
        if self.instructions:
            return self._callgrind()
        now = common.cpu_seconds(self.server.pid)
        spent, self.before = now - self.before, now
        return spent * 1e6

    def _callgrind(self):
        """The dump since the last one; totals of its threads."""
        subprocess.run(["callgrind_control", "--dump", str(self.server.pid)], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        total = 0
        for name in os.listdir(self.server.directory):
            if not name.startswith("callgrind.out."):
                continue
            path = os.path.join(self.server.directory, name)
            with open(path) as f:
                total += sum(int(number) for number in re.findall(r"^(?:totals|summary): (\d+)", f.read(), re.M)[:1])
            os.remove(path)
        return total


class Measured(Server):
    """A server that may run under callgrind."""

    instructions = False

    def arguments(self, port):
        words = super().arguments(port)
        if not self.instructions:
            return words
        return [shutil.which("valgrind") or "valgrind", "--tool=callgrind", "--callgrind-out-file=" + os.path.join(self.directory, "callgrind.out.%p")] + words


def send(client, lines):
    """Sends in chunks and reads as many replies; an error reply stops the run."""
    for start in range(0, len(lines), CHUNK):
        part = lines[start:start + CHUNK]
        client.send_raw(b"".join(part))
        for _ in part:
            kind, value = client.read()
            if kind == "-":
                raise RuntimeError(value.decode("latin-1"))


def fill(client, row):
    """Most of the time of a run: replies of writes are short, so they are counted, not parsed."""
    total = row.count * (row.each or 1)
    for start in range(0, total, CHUNK):
        numbers = range(start, min(total, start + CHUNK))
        client.send_raw(b"".join([encode(*row.write(i)) for i in numbers]))
        for _ in numbers:
            line = client.file.readline()
            if line[:1] == b"$":
                client.file.readline()
            elif line[:1] != b":":
                raise RuntimeError("%s: %r" % (row.name, line))
    return total


def used_memory(client):
    return int(re.search(rb"used_memory:(\d+)", client.call("INFO", "memory")).group(1))


def settled(pid):
    """The resident set when it has not fallen by a hundredth for three seconds."""
    seen = [common.status_bytes(pid)]
    while len(seen) < 4 or (seen[-1] < 0.99 * seen[-4] and len(seen) < 30):
        time.sleep(1)
        seen.append(common.status_bytes(pid))
    return seen[-1]


def measure(kind, row, reads, instructions):
    Measured.instructions = instructions
    with Measured(kind, workers=1) as server:
        client = server.client(timeout=600)
        resident, used = common.status_bytes(server.pid), used_memory(client)
        cost = Cost(server, instructions)
        cost.take()
        total = fill(client, row)
        figures = {"write": cost.take() / total}
        figures["rss"] = (settled(server.pid) - resident) / total
        figures["used"] = (used_memory(client) - used) / total
        for name, make in row.reads.items():
            chance = random.Random(name)
            lines = [encode(*make(chance)) for _ in range(reads)]
            cost.take()
            send(client, lines)
            figures[name] = cost.take() / reads
        client.close()
        return figures


# --- the table -----------------------------------------------------------------------------------------

def compare(row, reads, instructions):
    """Lines of the table; a figure of Redis that is 0 (a phase below one clock tick) has no ratio."""
    figures = {kind: measure(kind, row, reads, instructions) for kind in ("redis", "holdfast")}
    lines, worse = [], []
    for name in figures["redis"]:
        mine, theirs = figures["holdfast"][name], figures["redis"][name]
        ratio = mine / theirs if theirs else float("nan")
        bar = row.less if name in ("rss", "used") else 1.0
        if (name != "rss" or not instructions) and ratio > bar:
            worse.append("%s %s: %.2f > %.2f" % (row.name, name, ratio, bar))
        if name != "rss" or not instructions:
            lines.append([row.name, {"rss": "RSS bytes", "used": "used bytes"}.get(name, name), theirs, mine, ratio, bar])
    return figures, lines, worse


def main():
    parser = argparse.ArgumentParser(prog="script/bench types")
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--rows", default="", help="names, with commas; without: all")
    parser.add_argument("--reads", type=int, default=200000)
    parser.add_argument("--instructions", action="store_true")
    arguments = parser.parse_args()
    wanted = [name for name in arguments.rows.split(",") if name]
    results, lines, worse = {}, [], []
    for row in rows(arguments.scale):
        if wanted and row.name not in wanted:
            continue
        began = time.monotonic()
        results[row.name], more, bad = compare(row, arguments.reads, arguments.instructions)
        lines += more
        worse += bad
        print("%s: %.0f s" % (row.name, time.monotonic() - began), flush=True)
    common.table(["type", "instructions per command" if arguments.instructions else "CPU microseconds per command", "redis", "holdfast", "ratio", "bar"], lines)
    for line in worse:
        print("above its bar: " + line)
    common.write("types", vars(arguments), results)


if __name__ == "__main__":
    main()
