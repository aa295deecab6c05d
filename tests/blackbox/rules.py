"""rules.py -- the engine's rules R1, R2, R11 and R14, each against the trap that it names, on the shipped binary.

The other rules: tests/README.md.

R1   a connection that asks and does not read is not read either, once it is owed a megabyte; when it reads, it gets all.
R2   one connection appends to one string, alternating CLIENT DURABILITY none and commit; kill -9 at a random moment:
     what is found is a prefix of what was sent, and holds everything up to the last append acknowledged under
     commit. Beside it another connection reads the string in commit: what it has seen is there, too. On a server whose next
     fsync is half a minute away, who asks under commit does not wait for that.
R11  WATCH of an absent key, then SET and DEL by another: EXEC is nil; likewise when a watched key is past its deadline. Write
     skew: two clients watch both of two keys in two stripes and each writes one; in no round do both succeed, and in most one does.
R14  on a real file system no extent of a prepared segment is "unwritten" (filefrag -v) or missing, new, spare or recycled.

Usage:  rules.py [R1] [R2] [R11] [R14] [--rounds N] [--seed S]
"""
import argparse
import os
import random
import shutil
import subprocess
import sys
import threading
import time

from harness import ROOT, Server, encode, plain, remove_dir, temp_dir


class Failed(Exception):
    pass


def demand(holds, text):
    if not holds:
        raise Failed(text)


# --- R1 --------------------------------------------------------------------------------------------

OWED_VALUE, OWED_COUNT, OWED_MOST = 65536, 2000, 3 << 20
LOOKS = 200


def owed(client, name):
    """What the output of the connection of this name holds."""
    rows = [row for row in client.call("CLIENT", "LIST").decode().split("\n") if " name=%s " % name in row]
    return int(rows[0].split(" obl=")[1].split()[0])


def check_r1(*_):
    with Server("holdfast", durability="none") as server:
        client, lazy = server.client(), server.client()
        client.call("SET", "k", b"x" * OWED_VALUE)
        lazy.call("CLIENT", "SETNAME", "lazy")
        lazy.send_raw(encode("GET", "k") * OWED_COUNT)
        end, most = time.monotonic() + 30, 0
        while owed(client, "lazy") < 1 << 20:
            demand(time.monotonic() < end, "the connection is never owed a megabyte")
        for _ in range(LOOKS):
            most = max(most, owed(client, "lazy"))
        demand(most < OWED_MOST, "a connection that does not read is owed %d bytes" % most)
        for i in range(OWED_COUNT):
            demand(lazy.read() == ("$", b"x" * OWED_VALUE), "reply %d" % i)
    return "owed %d bytes at most, of %d" % (most, OWED_VALUE * OWED_COUNT)


# --- R2 --------------------------------------------------------------------------------------------

class Appender(threading.Thread):
    """Sends tokens in units of (choose a durability, append); notes what is acknowledged under which."""

    def __init__(self, client, first, chooser):
        super().__init__(daemon=True)
        self.client, self.next, self.chooser = client, first, chooser
        self.safe = first       # tokens below were acknowledged under commit, or stand before one that was

    def run(self):
        try:
            while True:
                unit, modes = [], []
                for _ in range(self.chooser.randint(1, 6)):
                    mode = self.chooser.choice(["none", "commit"])
                    modes.append(mode)
                    unit += [encode("CLIENT", "DURABILITY", mode), encode("APPEND", "s", "%d," % self.next)]
                    self.next += 1
                self.client.send_raw(b"".join(unit))
                for i, mode in enumerate(modes):
                    chosen, appended = self.client.read(), self.client.read()
                    demand(chosen == ("+", b"OK") and appended[0] == ":", "replies %r %r" % (chosen, appended))
                    if mode == "commit":
                        self.safe = self.next - len(modes) + i + 1
        except (ConnectionError, OSError):
            pass


class Reader(threading.Thread):
    """Looks at the string; the longest that it saw under commit."""

    def __init__(self, client):
        super().__init__(daemon=True)
        self.client, self.seen = client, 0

    def run(self):
        try:
            demand(self.client.call("CLIENT", "DURABILITY", "commit") == b"OK", "CLIENT DURABILITY")
            while True:
                self.seen = max(self.seen, self.client.call("STRLEN", "s"))
        except (ConnectionError, OSError):
            pass


def check_r2(rounds, seed):
    lost_some = 0
    for mode in ["commit", "interval"]:
        chooser = random.Random("%s/%s" % (seed, mode))
        server = Server("holdfast", temp_dir(), mode, 2, ["--interval-ms", "200"])
        server.start()
        client = server.client()
        demand(client.call("CLIENT", "DURABILITY") == mode.encode(), "a connection begins with the server's durability")
        client.close()
        first = 0
        for number in range(rounds):
            appender, reader = Appender(server.client(timeout=10), first, chooser), Reader(server.client(timeout=10))
            appender.start()
            reader.start()
            time.sleep(chooser.uniform(0.02, 0.15))
            server.kill9()
            appender.join(15)
            reader.join(15)
            server.start()
            found = server.client().call("GET", "s") or b""
            where = "seed %s, %s, round %d" % (seed, mode, number)
            tokens = found.decode().split(",")
            demand(tokens[-1] == "", "%s: half a token at the end: %r" % (where, found[-20:]))
            tokens = tokens[:-1]
            demand(tokens == [str(i) for i in range(len(tokens))], "%s: not a prefix: ...%r" % (where, found[-200:]))
            demand(appender.safe <= len(tokens) <= appender.next,
                   "%s: %d tokens, %d were acknowledged under commit, %d sent" % (where, len(tokens), appender.safe, appender.next))
            demand(len(found) >= reader.seen, "%s: %d bytes, a reader has seen %d" % (where, len(found), reader.seen))
            lost_some += len(tokens) < appender.next
            first = len(tokens)
        server.kill9()
        remove_dir(server.directory)
    with Server("holdfast", durability="none") as server:
        client = server.client()
        demand(client.call("CLIENT", "DURABILITY") == b"none", "memory only")
        for mode in ["commit", "interval"]:
            demand("memory only" in str(plain(client.wire("CLIENT", "DURABILITY", mode))), "memory only refuses %s" % mode)
    check_fsync_now()
    return "%d rounds in each mode, the tail was cut in %d" % (rounds, lost_some)


def check_fsync_now():
    """The server's own fsync comes half an interval after the write."""
    with Server("holdfast", durability="interval", extra=["--interval-ms", "60000"]) as server:
        lax, strict = server.client(), server.client()
        strict.call("CLIENT", "DURABILITY", "commit")
        for words in (("GET", "k"), ("SET", "k", "w"), ("EVAL", "return redis.call('GET', KEYS[1])", 1, "k")):
            lax.call("SET", "k", "v")
            began = time.monotonic()
            strict.call(*words)
            demand(time.monotonic() - began < 20, "%s under commit waits for the interval" % words[0])


# --- R11 -------------------------------------------------------------------------------------------

def check_absent_set_del(server):
    watcher, other = server.client(), server.client()
    cases = [   # before, by the other, must EXEC be nil
        ([], [("SET", "k", "v"), ("DEL", "k")], True),
        ([], [("SET", "k", "v", "PX", 1)], True),
        ([], [("HSET", "k", "f", "v"), ("HDEL", "k", "f")], True),
        ([], [("DEL", "k")], False),
        ([], [("FLUSHALL",)], False),
        ([("SET", "k", "v")], [("DEL", "k"), ("SET", "k", "v")], True),
        ([("SET", "k", "v")], [("SET", "k", "v")], True),
        ([("SET", "k", "v")], [("FLUSHALL",)], True),
        ([("SET", "k", "v")], [("RENAME", "k", "away"), ("RENAME", "away", "k")], True),
        ([("SET", "k", "v")], [("SWAPDB", 0, 1), ("SWAPDB", 0, 1)], True),
        ([("SET", "k", "v")], [("GET", "k"), ("SET", "other", "v")], False),
    ]
    for before, by_other, nil in cases:
        other.call("FLUSHALL")
        for words in before:
            other.call(*words)
        watcher.call("WATCH", "k")
        for words in by_other:
            other.call(*words)
        if by_other[-1][-1] == 1 and "PX" in by_other[-1]:
            time.sleep(0.03)    # and gone by itself
        watcher.call("MULTI")
        watcher.call("SET", "mark", "1")
        reply = watcher.call("EXEC")
        demand((reply is None) == nil, "WATCH k, %r, EXEC: %r" % (by_other, reply))
    watcher.close()
    other.close()


def check_nobody_sees_it_expire(server):
    """What is due and lies there still, untouched, has changed for who watches it; but not for who watches it only since then."""
    watcher, other = server.client(), server.client()
    other.call("DEBUG", "SET-ACTIVE-EXPIRE", 0)
    ms = 50
    while True:
        other.call("SET", "k", "v", "PX", ms)
        watcher.call("WATCH", "k")
        if watcher.call("PTTL", "k") > 0:
            break
        watcher.call("UNWATCH")     # a slow machine
        ms *= 2
    time.sleep(ms * 2 / 1000)
    for nil in (True, False):
        if not nil:
            other.call("SET", "k", "v", "PX", 1)
            time.sleep(0.05)
            watcher.call("WATCH", "k")
        watcher.call("MULTI")
        watcher.call("SET", "mark", "1")
        reply = watcher.call("EXEC")
        demand((reply is None) == nil, "WATCH %s the deadline, EXEC: %r" % ("before" if nil else "behind", reply))
    other.call("DEBUG", "SET-ACTIVE-EXPIRE", 1)
    watcher.close()
    other.close()


def check_write_skew(server, rounds, seed):
    """a and b are in different stripes. The rule that both clients keep: a + b <= 1, so each sets its own only if the other is 0."""
    clients = [server.client(), server.client()]
    keys = ["left", "right"]
    barrier = threading.Barrier(2, timeout=60)
    results = [None, None]
    problems = []

    def run(number):
        chooser = random.Random("%s/%d" % (seed, number))
        client = clients[number]
        try:
            for _ in range(rounds):
                if number == 0:
                    client.call("MSET", "left", 0, "right", 0)
                barrier.wait()
                client.call("WATCH", *chooser.sample(keys, 2))
                values = client.call("MGET", "left", "right")
                results[number] = None
                if values == [b"0", b"0"]:
                    client.call("MULTI")
                    client.call("SET", keys[number], 1)
                    results[number] = client.call("EXEC")
                else:
                    client.call("UNWATCH")
                barrier.wait()
                if number == 0:
                    both = client.call("MGET", "left", "right")
                    done[sum(value == b"1" for value in both)] += 1
                    if results[0] is not None and results[1] is not None:
                        problems.append("both EXEC succeeded: %r %r, now %r" % (results[0], results[1], both))
                barrier.wait()
        except Exception as problem:    # a thread's failure must not be silent
            problems.append("client %d: %r" % (number, problem))
            barrier.abort()

    done = [0, 0, 0]
    threads = [threading.Thread(target=run, args=(number,), daemon=True) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    demand(not problems, "; ".join(problems[:3]))
    demand(done[2] == 0, "write skew in %d rounds" % done[2])
    demand(done[1] > rounds / 4, "hardly anybody succeeded: %r" % done)
    return done


def check_r11(rounds, seed):
    with Server("holdfast", durability="interval", extra=["--enable-debug-command", "local"]) as server:
        check_absent_set_del(server)
        check_nobody_sees_it_expire(server)
        done = check_write_skew(server, rounds * 20, seed)
    return "write skew: %d rounds, one succeeded in %d, none in %d, both in 0" % (rounds * 20, done[1], done[0])


# --- R14 -------------------------------------------------------------------------------------------

def extents(path):
    """The lines of filefrag -v that describe extents; None: the file system cannot tell."""
    done = subprocess.run(["filefrag", "-v", path], capture_output=True, text=True)
    if done.returncode != 0 or "FIBMAP" in done.stderr or "not supported" in done.stdout + done.stderr:
        return None
    return [line for line in done.stdout.split("\n") if line.strip()[:1].isdigit() and ".." in line]


def directory_with_fiemap():
    for parent in [os.environ.get("TMPDIR"), "/var/tmp", "/tmp", os.path.join(ROOT, "build")]:
        if not parent or not os.path.isdir(parent) or not os.access(parent, os.W_OK):
            continue
        path = os.path.join(parent, "holdfast-extents-%d" % os.getpid())
        try:
            with open(path, "wb") as file:
                file.write(b"x" * 65536)
                file.flush()
                os.fsync(file.fileno())
            can = extents(path)
        finally:
            if os.path.exists(path):
                os.unlink(path)
        if can:
            return parent
    return None


def check_r14(_rounds, _seed):
    if not shutil.which("filefrag"):
        return "LEFT OUT: no filefrag (package e2fsprogs)"
    parent = directory_with_fiemap()
    if not parent:
        return "LEFT OUT: no directory on a file system that can list extents (FIEMAP)"
    directory = os.path.join(parent, "holdfast-r14-%d" % os.getpid())
    os.mkdir(directory)
    looked = set()
    try:
        with Server("holdfast", directory, "commit", 1, ["--segment-size", "1048576"]) as server:
            client = server.client()
            value = "x" * 10000
            for number in range(6):
                deadline = time.monotonic() + 20
                while not os.path.exists(os.path.join(directory, "log-spare.seg")) and time.monotonic() < deadline:
                    time.sleep(0.01)
                client.pipeline([("SET", "key:%d" % i, value) for i in range(150)])
                if number % 2:
                    client.call("SAVE")     # trims, and so recycles
                time.sleep(0.2)
                for name in sorted(os.listdir(directory)):
                    path = os.path.join(directory, name)
                    if not name.startswith("log-") or not name.endswith(".seg"):
                        continue
                    lines = extents(path)
                    demand(lines is not None, "filefrag of %s" % name)
                    bad = [line for line in lines if "unwritten" in line]
                    demand(not bad, "%s has unwritten extents:\n%s" % (name, "\n".join(bad)))
                    about = os.stat(path)
                    demand(about.st_blocks * 512 >= about.st_size, "%s has holes: %r" % (name, about))
                    if lines and os.path.getsize(path) == 1048576:
                        looked.add(name)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    demand("log-spare.seg" in looked and len(looked) > 3, "too few prepared segments met: %r" % sorted(looked))
    self_test = os.path.join(parent, "holdfast-r14-test-%d" % os.getpid())
    with open(self_test, "wb") as file:     # the eye can see: a file that was only allocated has unwritten extents
        os.posix_fallocate(file.fileno(), 0, 1048576)
        os.fsync(file.fileno())
    seen = extents(self_test)
    os.unlink(self_test)
    demand(any("unwritten" in line for line in seen), "filefrag does not show unwritten extents here: %r" % seen)
    return "%d prepared segments in %s, no unwritten extent" % (len(looked), parent)


CHECKS = {"R1": check_r1, "R2": check_r2, "R11": check_r11, "R14": check_r14}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("rules", nargs="*", metavar="rule")
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--seed", default=str(random.randrange(10 ** 9)))
    arguments = parser.parse_args()
    sys.setswitchinterval(0.001)
    failed = 0
    for name, check in CHECKS.items():
        if arguments.rules and name not in arguments.rules:
            continue
        try:
            print("%s: %s" % (name, check(arguments.rounds, arguments.seed)))
        except Failed as problem:
            failed += 1
            print("%s FAILED: %s" % (name, problem))
            print("repeat: tests/blackbox/rules.py %s --rounds %d --seed %s" % (name, arguments.rounds, arguments.seed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
