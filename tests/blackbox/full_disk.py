"""full_disk.py -- the disk is full: writes are refused with a reason, reads go on, nothing is lost.

Goal:   promise 6 of DESIGN.md on a real file system: while the disk that holds the log is full, every write is
        answered with an error that names the cause and the next step, within a few seconds; reads of
        older keys are served; the process stays up. When space returns, writes succeed within a second,
        without a restart. A kill -9 afterwards (and one while the disk is full) loses nothing acknowledged.
Method: a tmpfs of 48 MiB in a mount namespace of our own (unshare -m); a ballast file fills it to the last byte.
        Writers go on all the time and keep a model of what was acknowledged. A refused write must not be there;
        one whose outcome is "unknown" may be.
Skips:  only when it may not mount; as root that is a failure.
Usage:  full_disk.py [--rounds 4] [--mode commit|interval] [--seed S]
"""
import argparse
import os
import random
import subprocess
import sys
import threading
import time

from harness import Client, Server, free_port, remove_dir, temp_dir

SIZE_MIB = 48
WRITERS = 4
HEAL_SECONDS = 1.0
ANSWER_SECONDS = 3.0            # a reply is held for a second while the log fails; the rest is a busy machine
CAUSE, NEXT_STEP = "The disk that holds the log is full", "free some space"


class Refused(Exception):
    pass


def enter_namespace():
    """Runs this program again inside its own mount namespace."""
    if os.environ.get("FULL_DISK_INSIDE") == "1":
        return
    os.environ["FULL_DISK_INSIDE"] = "1"
    command = ["unshare", "-m", sys.executable] + sys.argv
    if subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode != 0:
        print("full_disk: skipped: this user may not make a mount namespace (unshare -m)")
        sys.exit(1 if os.geteuid() == 0 else 0)
    os.execvp("unshare", command)


def mount(directory):
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=%dm" % SIZE_MIB, "holdfast-test", directory],
                          capture_output=True, text=True)
    if made.returncode != 0:
        print("full_disk: skipped: no tmpfs here: %s" % made.stderr.strip())
        sys.exit(1 if os.geteuid() == 0 else 0)


def fill(path):
    """Writes until the disk says no, in ever smaller pieces."""
    with open(path, "ab", buffering=0) as ballast:
        for piece in (1 << 20, 4096, 512, 1):
            try:
                while True:
                    if ballast.write(b"\0" * piece) != piece:
                        break
            except OSError:
                pass


class Writer(threading.Thread):
    """Increments its own counter and sets its own key, all the time. What may be there: `sure` and what came after."""

    def __init__(self, number, port, sure, value_size):
        super().__init__(daemon=True)
        self.key, self.port, self.value_size = "w%d" % number, port, value_size
        self.sure, self.possible = sure, set()          # acknowledged serial; serials whose outcome is unknown
        self.serial = sure
        self.stopping = False
        self.refused = self.unknown = self.acknowledged = 0
        self.slowest = 0.0
        self.wrong = None

    def run(self):
        client = Client(self.port, timeout=20)
        try:
            while not self.stopping:
                self.one(client)
        except (OSError, ValueError) as error:
            if not self.stopping:
                self.wrong = self.wrong or "the connection failed: %s" % error
        client.close()

    def one(self, client):
        self.serial += 1
        began = time.monotonic()
        reply = client.wire("SET", self.key, b"%d;" % self.serial + b"x" * self.value_size)
        took = time.monotonic() - began
        self.slowest = max(self.slowest, took)
        if reply == ("+", b"OK"):
            self.sure, self.possible = self.serial, set()
            self.acknowledged += 1
            time.sleep(0.002 + self.value_size / 2e6)  # the log itself must not fill the disk
            return
        text = reply[1].decode()
        named = CAUSE in text and NEXT_STEP in text.lower()
        if reply[0] != "-" or not named:
            self.wrong = self.wrong or "neither OK nor an error that names cause and next step: %r" % (reply,)
        if text.startswith("IOERR"):
            self.unknown += 1
            self.possible.add(self.serial)
        else:
            self.refused += 1
        if took > ANSWER_SECONDS:
            self.wrong = self.wrong or "an answer took %.1f s" % took
        time.sleep(0.002)

    def stop(self):
        self.stopping = True
        self.join(25)
        if self.is_alive():
            raise RuntimeError("a writer hangs")


def check(client, writers, where):
    problems = []
    for writer in writers:
        value = client.call("GET", writer.key)
        serial = int(value.split(b";")[0]) if value else 0
        if serial != writer.sure and serial not in writer.possible:
            problems.append("%s: %s holds %d; acknowledged was %d, unknown %s" % (
                where, writer.key, serial, writer.sure, sorted(writer.possible)[-5:]))
        if writer.wrong:
            problems.append("%s: %s" % (writer.key, writer.wrong))
        writer.sure, writer.possible = serial, set()
    return problems


def read_for(server, seconds):
    """Reads of old keys while the disk is full; returns how many, and the slowest."""
    client = server.client(timeout=10)
    count, slowest, end = 0, 0.0, time.monotonic() + seconds
    while time.monotonic() < end:
        began = time.monotonic()
        if client.call("GET", "old") != b"o" or client.call("HGET", "oldhash", "f") != b"v":
            raise Refused("a read of an old key failed")
        slowest = max(slowest, time.monotonic() - began)
        count += 2
    client.close()
    return count, slowest


def time_to_write(server):
    """Seconds from now until a write is acknowledged."""
    client = server.client(timeout=20)
    began = time.monotonic()
    while client.wire("SET", "probe", "p") != ("+", b"OK") and time.monotonic() - began < 20:
        time.sleep(0.005)
    client.close()
    return time.monotonic() - began


def wait_until(condition, seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.01)
    return condition()


def start_while_full(server):
    """A start on a full disk serves, or ends with the cause in words; it harms nothing."""
    process = subprocess.Popen(server.arguments(free_port()), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT)
    try:
        said = process.communicate(timeout=3)[0].decode()
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return []
    named = "No space left" in said or "full" in said
    return [] if named else ["a start on the full disk ended with %d and %r" % (process.returncode, said)]


def one_round(chooser, mode, number):
    """Fills the disk, frees it, kills; a fresh data directory. Returns (problems, words)."""
    disk = temp_dir("holdfast-full-")
    mount(disk)
    data, ballast = os.path.join(disk, "data"), os.path.join(disk, "ballast")
    os.mkdir(data)
    size = chooser.choice([10, 200, 3000, 20000])
    server = Server("holdfast", data, mode, 2, ["--segment-size", "1mb", "--auto-snapshot", "no"])
    problems, words = [], ""
    try:
        server.start()
        client = server.client()
        client.call("SET", "old", "o")
        client.call("HSET", "oldhash", "f", "v")
        client.call("SET", "filler", b"f" * 20000)
        writers = [Writer(i, server.port, 0, size) for i in range(WRITERS)]
        for writer in writers:
            writer.start()
        time.sleep(0.2)
        fill(ballast)
        refused = wait_until(lambda: all(w.refused for w in writers), 20)
        if not refused:
            problems.append("the disk is full, and yet writes are not refused")
        reads, slowest_read = read_for(server, 1.5)
        if not server.alive():
            raise Refused("the process has ended: %s" % server.output())
        kill_while_full = number % 2 == 1
        if not kill_while_full:
            os.unlink(ballast)
            healed = time_to_write(server)
            if healed > HEAL_SECONDS:
                problems.append("writes came back only %.2f s after the space" % healed)
            time.sleep(0.3)
        for writer in writers:
            writer.stopping = True
        server.kill9()
        for writer in writers:
            writer.stop()
            # the command in flight at the kill has an unknown outcome, too
            if writer.serial > writer.sure:
                writer.possible.add(writer.serial)
        if kill_while_full:
            problems += start_while_full(server)
            os.unlink(ballast)
        server.start()
        problems += check(server.client(), writers, "after kill -9")
        words = "%d acknowledged, %d refused, %d unknown, slowest answer %.2f s, %d reads meanwhile (slowest %.0f ms)" % (
            sum(w.acknowledged for w in writers), sum(w.refused for w in writers), sum(w.unknown for w in writers),
            max(w.slowest for w in writers), reads, slowest_read * 1000)
        if not kill_while_full:
            words += ", writes again after %.2f s" % healed
    except Refused as error:
        problems.append(str(error))
    finally:
        server.kill9()
        subprocess.run(["umount", "-l", disk], capture_output=True)
        remove_dir(disk)
    return problems, words


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--mode", choices=["commit", "interval"], default="commit")
    parser.add_argument("--seed", default=str(random.randrange(10 ** 9)))
    arguments = parser.parse_args()
    enter_namespace()
    chooser = random.Random(arguments.seed)
    failed = 0
    for number in range(arguments.rounds):
        problems, words = one_round(chooser, arguments.mode, number)
        print("full_disk: %s round %d: %s" % (arguments.mode, number, words))
        for problem in problems:
            print("  " + problem)
        failed += bool(problems)
    if failed:
        print("repeat: tests/blackbox/full_disk.py --mode %s --seed %s" % (arguments.mode, arguments.seed))
    print("full_disk: %s, %d rounds, %d failed" % (arguments.mode, arguments.rounds, failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
