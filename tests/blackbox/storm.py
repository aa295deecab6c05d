"""storm.py -- everything at once, for what one connection at a time cannot show.

Goal:   threads of the server meet: commands of every kind on the same few keys, transactions, snapshots, INFO,
        settings, clients that are killed or hang up in the middle of a pipeline. Nothing may crash, hang, tear
        a reply, or give a sanitizer a reason to report (run it with HOLDFAST=build/tsan/holdfast).
Method: CLIENTS threads send random commands of the oracle's generator in pipelines, one in HANG_UP of them
        cut off; an administrator does the rest; LISTENERS follow, wait or listen for a moment and hang up. Then the server stops, starts again, and must hold what it held.
Usage:  storm.py [--seconds 10] [--seed S] [--workers N] [--durability none|interval|commit]
"""
import argparse
import random
import sys
import threading
import time

from harness import ReplyError, Server, encode
from oracle_generate import Generator

CLIENTS, LISTENERS, PIPELINE, HANG_UP, DATABASES = 6, 2, 16, 40, 3
LISTENING = [("SYNC",), ("PSYNC", "?", "-1"), ("MONITOR",), ("PSUBSCRIBE", "*"), ("SUBSCRIBE", "a", "b"), ("SSUBSCRIBE", "a"),
             ("CLIENT", "TRACKING", "ON", "BCAST"), ("BLPOP", "a", "b", "c", "nobody", "0"), ("BZPOPMIN", "a", "b", "nobody", "0"),
             ("XREAD", "BLOCK", "0", "STREAMS", "a", "nobody", "$", "$"), ("WAIT", "1", "0"), ("MULTI",), ("WATCH", "a", "b", "c")]
ADMINISTRATION = [("BGSAVE",), ("INFO",), ("INFO", "everything"), ("CLIENT", "LIST"), ("CLIENT", "INFO"), ("DBSIZE",),
                  ("CONFIG", "GET", "*"), ("CONFIG", "SET", "maxmemory", "1gb"), ("CONFIG", "SET", "maxmemory", "0"),
                  ("CONFIG", "RESETSTAT",), ("COMMAND", "COUNT"), ("KEYS", "*"), ("RANDOMKEY",), ("SWAPDB", "0", "1"),
                  ("FLUSHDB",), ("FLUSHALL",), ("SLOWLOG", "GET"), ("LASTSAVE",), ("CLIENT", "PAUSE", "20", "WRITE"),
                  ("MEMORY", "USAGE", "a"), ("MEMORY", "STATS"), ("LATENCY", "LATEST"), ("DEBUG", "SLEEP", "0.001"),
                  ("SCAN", "0", "COUNT", "1000"), ("PUBSUB", "CHANNELS"), ("PUBSUB", "NUMSUB", "a", "b"), ("LATENCY", "HISTOGRAM"),
                  ("ACL", "LOG"), ("ACL", "LIST"), ("SLOWLOG", "GET", "-1"), ("FUNCTION", "LIST"), ("FUNCTION", "STATS"), ("ROLE",),
                  ("COMMAND", "DOCS", "get"), ("CONFIG", "GET", "*max*"), ("INFO", "commandstats"), ("MEMORY", "DOCTOR"),
                  ("CONFIG", "SET", "notify-keyspace-events", "KEA")]


class Storm:
    def __init__(self, server, seed, seconds):
        self.server, self.seed = server, seed
        self.deadline = time.monotonic() + seconds
        self.commands = 0
        self.failures = []

    def guarded(self, work, number):
        """Hanging up is part of the game; a server that is gone or silent is not."""
        while time.monotonic() < self.deadline and not self.failures:
            try:
                work(number)
            except ConnectionError as error:
                if "not RESP" in str(error) or not self.server.alive():
                    self.failures.append("client %s: %s" % (number, error))
            except (OSError, AssertionError, ReplyError) as error:
                self.failures.append("client %s: %s: %s" % (number, type(error).__name__, error))

    def client(self, number):
        chooser = random.Random("%s/%s/%s" % (self.seed, number, self.commands))
        steps = [words for _, words in Generator(self.seed, chooser.randrange(10 ** 9)).steps(400)]
        client = self.server.client(resp=chooser.choice((2, 3)))
        try:
            while steps and time.monotonic() < self.deadline:
                batch, steps = steps[:PIPELINE], steps[PIPELINE:]
                data = b"".join(encode(*words) for words in batch)
                if chooser.randrange(HANG_UP) == 0:
                    client.send_raw(data[:chooser.randrange(len(data))])
                    return
                client.send_raw(data)
                for _ in batch:
                    client.read()
                self.commands += len(batch)
        finally:
            client.close()

    def administrator(self, number):
        chooser = random.Random("%s/%s/%s" % (self.seed, number, self.commands))
        client = self.server.client()
        try:
            for step in range(50):
                if time.monotonic() > self.deadline:
                    return
                if chooser.randrange(10) == 0:
                    lines = client.call("CLIENT", "LIST").decode("latin-1").split("\n")[:-1]
                    torn = [line for line in lines if not line.startswith("id=")]
                    assert not torn, "CLIENT LIST shows %r" % torn[:3]
                    ids = [line.split()[0][3:] for line in lines]
                    client.wire("CLIENT", "KILL", "ID", chooser.choice(ids), "SKIPME", "yes")
                words = chooser.choice(ADMINISTRATION)
                client.wire(*words)
                echo = client.wire("ECHO", step)
                assert echo == ("$", b"%d" % step), "after %r, ECHO %d is answered with %.100r" % (words, step, echo)
                time.sleep(0.002)
        finally:
            client.close()

    def listener(self, number):
        """Takes whatever comes for a moment; replies are in no order that could be checked here."""
        chooser = random.Random("%s/%s/%s" % (self.seed, number, self.commands))
        client = self.server.client(resp=3)
        try:
            client.send(*chooser.choice(LISTENING))
            until = min(self.deadline, time.monotonic() + chooser.random() / 2)
            client.socket.settimeout(0.02)
            while time.monotonic() < until:
                try:
                    if not client.socket.recv(65536):
                        return      # killed, or cut off by a limit
                except TimeoutError:
                    pass
        finally:
            client.close()

    def run(self):
        threads = [threading.Thread(target=self.guarded, args=(self.client, number)) for number in range(CLIENTS)]
        threads += [threading.Thread(target=self.guarded, args=(self.listener, "listener %d" % number)) for number in range(LISTENERS)]
        threads.append(threading.Thread(target=self.guarded, args=(self.administrator, "admin")))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def content(server):
    """(database, key) -> type, deadline, size or value: what a restart must keep."""
    client, found = server.client(), {}
    for database in range(DATABASES):
        client.call("SELECT", database)
        for key in client.call("KEYS", "*"):
            kind = client.call("TYPE", key)
            read = {b"string": ("GET", key), b"hash": ("HGETALL", key), b"list": ("LRANGE", key, 0, -1),
                    b"set": ("SMEMBERS", key), b"zset": ("ZRANGE", key, 0, -1, "WITHSCORES")}.get(kind)
            value = client.wire(*read)[1] if read else None
            if isinstance(value, list) and kind != b"list":
                value = sorted(value)
            found[database, key] = kind, client.call("PEXPIRETIME", key), value
    client.close()
    return found


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--seed", default=str(random.randrange(10 ** 9)))
    parser.add_argument("--workers", type=int)
    parser.add_argument("--durability", choices=["none", "interval", "commit"], default="interval")
    arguments = parser.parse_args()
    server = Server("holdfast", durability=arguments.durability, workers=arguments.workers)
    server.start()
    storm = Storm(server, arguments.seed, arguments.seconds)
    storm.run()
    failures = storm.failures
    if not failures:
        before = content(server)
        server.own_directory = False
        status = server.stop()
        if status != 0:
            failures.append("exit status %s" % status)
        server.own_directory = True
        server.start()
        after = content(server)
        if arguments.durability != "none" and before != after:
            different = sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))
            failures.append("%d keys differ after the restart, first %r: %.200r and now %.200r"
                            % (len(different), different[0], before.get(different[0]), after.get(different[0])))
    server.stop()
    for failure in failures[:10]:
        print("storm: " + failure)
    if failures:
        print(server.output())
        print("repeat: tests/blackbox/storm.py --seed %s --durability %s (timing decides, too)"
              % (arguments.seed, arguments.durability))
    print("storm: %d commands, %d failures" % (storm.commands, len(failures)))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
