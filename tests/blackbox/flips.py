"""flips.py -- a flipped bit in a real data directory: hf-inspect and the server name file and offset.

Goal:   promise 5 of DESIGN.md from outside: whoever looks at a damaged file is told which file and where, and
        the server refuses to start on it with the same words (unit test_flips does every single bit).
Method: a server makes a directory with a snapshot and a sealed log. Bits of every file, chosen by a seed, and all
        bits of the first headers are flipped, one at a time; hf-inspect must end with 1 and name file and
        offset, at or before the byte that was flipped. Some of them are shown to the server as well. A flip
        behind the last record of a log (its seal) loses nothing: both may say so instead.
Usage:  flips.py [--flips 300] [--starts 40] [--seed S]
"""
import argparse
import os
import random
import re
import subprocess
import sys

from harness import ROOT, Server, free_port, holdfast_path, temp_dir

KEYS = 60
HEADER_BITS = range(0, 8 * 80)      # of each file: the whole of its first header


def inspect_path():
    return os.environ.get("HOLDFAST_INSPECT") or os.path.join(os.path.dirname(holdfast_path()), "hf-inspect")


def make_directory(server, chooser):
    """A snapshot, and a log that goes on behind it, cleanly closed."""
    server.start()
    client = server.client()
    for part in range(2):
        for i in range(KEYS):
            value = bytes(chooser.randrange(256) for _ in range(chooser.choice([5, 50, 400])))
            client.call("SET", "key%d:%d" % (part, i), value)
            client.call("HSET", "hash%d" % i, "field%d" % part, value)
        if part == 0:
            client.call("SAVE")
    client.close()
    server.stop()


def files_of(directory):
    kinds = [("log", r"log-\d+\.seg$"), ("snapshot", r"snapshot-\d+\.hfs$"), ("identity", r"holdfast\.id$")]
    return [(kind, os.path.join(directory, name)) for name in sorted(os.listdir(directory)) for kind, pattern in kinds
            if re.match(pattern, name)]


def used_size(kind, path):
    """Where the content of a log ends: a prepared segment is zeros behind it."""
    size = os.path.getsize(path)
    if kind == "log":
        out = subprocess.run([inspect_path(), kind, path], capture_output=True, text=True).stdout
        seal = re.findall(r"group offset=(\d+) .* seal", out)
        return int(seal[-1]) if seal else size
    return size


class Flipped:
    def __init__(self, path, bit):
        self.path, self.bit = path, bit

    def toggle(self):
        with open(self.path, "r+b") as file:
            file.seek(self.bit // 8)
            byte = file.read(1)[0]
            file.seek(self.bit // 8)
            file.write(bytes([byte ^ 1 << self.bit % 8]))

    def __enter__(self):
        self.toggle()

    def __exit__(self, *_):
        self.toggle()


def named(text, path, byte):
    """Is the file named, and an offset at or before the byte?"""
    offsets = [int(n) for n in re.findall(r"offset[ =](\d+)", text)]
    return path in text and any(offset <= byte for offset in offsets[-1:])


def check_inspect(kind, path, bit):
    result = subprocess.run([inspect_path(), kind, path], capture_output=True)
    said = result.stderr.decode("utf-8", "replace")
    if result.returncode == 1 and named(said, path, bit // 8):
        return None
    return "hf-inspect ended with %d: %s" % (result.returncode, said.strip()[-300:])


def inspect_folder(path):
    done = subprocess.run([inspect_path(), "folder", path], capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


def check_folders(files, directory):
    """hf-inspect of whole directories: a good one, one with two damaged files, empty, and none."""
    problems = []

    def demand(good, what):
        if not good:
            problems.append("hf-inspect folder: %s" % (what,))

    found = inspect_folder(directory)
    demand(found[0] == 0 and all(path in found[1] for _, path in files), found)
    (_, log), (_, snapshot) = [[f for f in files if f[0] == kind][-1] for kind in ("log", "snapshot")]
    with Flipped(log, 70), Flipped(snapshot, 70):
        found = inspect_folder(directory)
        demand(found[0] == 1 and log in found[2] and snapshot in found[2], found)
    found = inspect_folder(temp_dir())
    demand(found[0] == 0 and "no data" in found[1], found)
    found = inspect_folder(os.path.join(directory, "none"))
    demand(found[0] == 2 and "none" in found[2], found)
    return problems


def check_start(server, path, bit):
    process = subprocess.Popen(server.arguments(free_port()), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT)
    try:
        said = process.communicate(timeout=20)[0].decode("utf-8", "replace")
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return "the server started on it"
    return None if process.returncode == 1 and named(said, path, bit // 8) else "the server ended with %d: %s" % (
        process.returncode, said[-300:])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--flips", type=int, default=300)
    parser.add_argument("--starts", type=int, default=40)
    parser.add_argument("--seed", default=str(random.randrange(10 ** 9)))
    arguments = parser.parse_args()
    chooser = random.Random(arguments.seed)
    server = Server("holdfast", durability="commit", extra=["--segment-size", "1mb"])
    server.own_directory = False
    make_directory(server, chooser)
    flips = starts = 0
    problems = []
    files = files_of(server.directory)
    newest_log = [path for kind, path in files if kind == "log"][-1]
    for kind, path in files:
        bits = used_size(kind, path) * 8
        some = sorted(set(chooser.randrange(bits) for _ in range(arguments.flips)) | set(b for b in HEADER_BITS if b < bits))
        shown = set(chooser.sample(some, min(len(some), arguments.starts)))
        for bit in some:
            with Flipped(path, bit):
                wrong = check_inspect(kind, path, bit)
                flips += 1
                # a log below the snapshot is not read any more: only the newest one is shown to the server
                if not wrong and bit in shown and (kind != "log" or path == newest_log):
                    wrong = check_start(server, path, bit)
                    starts += 1
            if wrong:
                problems.append("%s, bit %d of byte %d: %s" % (os.path.basename(path), bit % 8, bit // 8, wrong))
    problems += check_folders(files, server.directory)
    server.start()          # and whole again it starts
    server.stop()
    for problem in problems[:20]:
        print("  " + problem)
    if problems:
        print("repeat: tests/blackbox/flips.py --seed %s --flips %d --starts %d" % (
            arguments.seed, arguments.flips, arguments.starts))
    print("flips: %d files (%s), %d flips shown to hf-inspect, %d to the server, %d not named" % (
        len(files), ", ".join(kind for kind, _ in files), flips, starts, len(problems)))
    return 1 if problems or {kind for kind, _ in files} != {"log", "snapshot", "identity"} else 0


if __name__ == "__main__":
    sys.exit(main())
