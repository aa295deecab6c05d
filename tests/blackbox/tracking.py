"""tracking.py -- client-side caching and MONITOR.

Goal:   a cached value is never used after a reader of the same connection could know better; replies and pushes of all
        modes, and the lines of MONITOR, are those of redis-server.
Method: the same commands to both, replies and pushes compared in order; then a storm of clients with caches over few keys,
        each of which checks, after a write was acknowledged and its own PING answered, that its cache is not older.
Usage:  tests/blackbox/tracking.py [--seconds N]
"""
import argparse
import random
import re
import sys
import threading
import time

from harness import Server, plain

ERRORS = """CLIENT TRACKING|CLIENT TRACKING on bad|CLIENT TRACKING maybe|CLIENT TRACKING on REDIRECT|CLIENT TRACKING on REDIRECT 99999
CLIENT TRACKING on REDIRECT x|CLIENT TRACKING on PREFIX a|CLIENT TRACKING on OPTIN OPTOUT|CLIENT TRACKING on OPTIN BCAST
CLIENT TRACKING on BCAST PREFIX a PREFIX ab|CLIENT TRACKINGINFO|CLIENT TRACKING on BCAST PREFIX ab|CLIENT TRACKING on BCAST PREFIX a
CLIENT TRACKING on BCAST PREFIX b|CLIENT TRACKINGINFO|CLIENT TRACKING on|CLIENT CACHING yes|CLIENT GETREDIR|CLIENT TRACKING off
CLIENT GETREDIR|CLIENT CACHING yes|CLIENT TRACKING on OPTIN|CLIENT TRACKING on OPTOUT|CLIENT CACHING no|CLIENT CACHING bla
CLIENT CACHING yes|CLIENT TRACKINGINFO|CLIENT TRACKING on|CLIENT TRACKINGINFO|CLIENT TRACKING off|CLIENT TRACKING on OPTOUT NOLOOP
CLIENT CACHING no|CLIENT TRACKINGINFO|RESET|CLIENT TRACKINGINFO|CLIENT GETREDIR""".replace("\n", "|").split("|")

# who:commands. t: caches, RESP3; w: writes. After each line t's PING shows what has been pushed.
SCRIPT = """t:CLIENT TRACKING on|w:SET a 1|t:GET a|w:SET a 2|w:SET a 3|t:MGET a b|w:MSET a 1 b 2|t:SET a 9|t:GET a|t:SET a 8|t:GET a
w:EXPIRE a 100|t:GET a|w:DEL a|t:GET nothing|w:SET nothing 1|t:EVAL "redis.call('get','z')" 2 k1 k2|w:MSET k1 1 k2 2
t:MULTI|t:GET m|t:SET m 1|t:INCR m|t:EXEC|w:SET m 5|t:GET m|w:FLUSHALL|t:GET m|t:FLUSHDB|t:CLIENT TRACKING off|t:CLIENT TRACKING on NOLOOP
t:GET n|t:SET n 1|t:GET n|w:SET n 2|t:CLIENT TRACKING off|t:CLIENT TRACKING on OPTIN|t:GET o|w:SET o 1|t:CLIENT CACHING yes|t:GET o|t:GET p
w:MSET o 2 p 2|t:CLIENT TRACKING off|t:CLIENT TRACKING on OPTOUT|t:CLIENT CACHING no|t:GET q|t:GET r|w:MSET q 1 r 1
t:CLIENT TRACKING off|t:CLIENT TRACKING on BCAST PREFIX x: PREFIX y:|w:SET x:1 1|w:SET z:1 1|w:INCR y:1|t:SET x:2 1|w:MULTI|w:SET x:2 2
w:SET x:1 2|w:INCR y:2|w:SET x:2 3|w:EXEC|t:CLIENT TRACKING off|t:CLIENT TRACKING on BCAST NOLOOP|t:SET s 1|w:SET s 2|w:EXPIRE s 0|w:SELECT 3|w:SET u 1
w:SELECT 0|w:RPUSH l a|t:CLIENT TRACKING off|t:CLIENT TRACKING on|t:LRANGE l 0 -1|w:LPOP l|t:HSET h f v|t:HGET h f|w:HDEL h f|t:CLIENT TRACKINGINFO
t:CLIENT TRACKING off|t:GET a|w:SET a 1""".replace("\n", "|").split("|")


def words(line):
    return [w.strip('"') for w in re.findall(r'"[^"]*"|\S+', line)]


def run_script(server, resp):
    """Everything that t sees, in order."""
    t, w = server.client(resp=resp), server.client()
    seen, queueing = [], False
    for line in SCRIPT:
        who, command = line.split(":", 1)
        client = t if who == "t" else w
        client.send(*words(command))
        if who == "w":
            seen.append(plain(client.read()))
        if who == "t" and command != "EXEC":
            queueing = command == "MULTI" or queueing
        elif who == "t":
            queueing = False
        if queueing:
            seen.append(plain(t.read()) if who == "t" else line)
            continue
        if who == "t": # its reply first: redis-server tells of own changes when all that had arrived is done
            seen.append(plain(t.read()))
            while isinstance(seen[-1], list) and seen[-1][:1] == [b"invalidate"]:
                seen.append(plain(t.read()))
            seen.append("replied")
        t.send("PING", "mark")
        while not seen or seen[-1] != b"mark":
            seen.append(plain(t.read()))
        seen.append(line)
    return seen


def run_served(server):
    """A waiter's own change is told behind its reply; the one who served it is told, too, NOLOOP or not."""
    t, w = server.client(resp=3), server.client(resp=3)
    for client in (t, w):
        client.call("RPUSH", "to", "a")
        client.call("CLIENT", "TRACKING", "on", "NOLOOP")
        client.call("LRANGE", "to", "0", "-1")
    t.call("CLIENT", "TRACKING", "off")
    t.call("CLIENT", "TRACKING", "on")
    t.call("LRANGE", "to", "0", "-1")
    t.send("BLMOVE", "from", "to", "LEFT", "LEFT", "0")
    until = time.monotonic() + 60
    while b"blocked_clients:1" not in server.client().call("INFO", "clients"):
        assert time.monotonic() < until
    pushed = [plain(w.wire("RPUSH", "from", "foo")), plain(w.wire("PING", "mark"))]
    if b"mark" not in pushed:
        pushed.append(plain(w.read()))
    return [plain(t.read()), plain(t.read()), pushed]


def run_redirected(server):
    """RESP2: invalidations arrive as messages on another connection; then that one goes."""
    listener, t, w = server.client(), server.client(), server.client()
    number = listener.call("CLIENT", "ID")
    listener.call("SUBSCRIBE", "__redis__:invalidate")
    seen = [plain(t.wire("CLIENT", "TRACKING", "on", "REDIRECT", str(number)))]
    for read, write in (("a", ("SET", "a", "1")), ("b", ("DEL", "b", "a")), ("a", ("SET", "a", "2")), ("a", ("FLUSHALL",))):
        t.call("SET", read, "0")
        t.call("GET", read)
        w.call(*write)
        if write[0] != "DEL":
            seen.append(plain(listener.read()))
    assert t.call("CLIENT", "GETREDIR") == number
    listener.close()
    until = time.monotonic() + 60
    while b"broken_redirect" not in plain(t.wire("CLIENT", "TRACKINGINFO"))[1]:
        t.call("GET", "a")
        w.call("INCR", "a")
        assert time.monotonic() < until, "nobody said that the redirection is broken"
    return seen


MONITORED = ["GET a\x01\"b\\\n\r\t\a\b~", "MULTI", "SET a 1", "INCR b", "EXEC", "MULTI", "NOSUCH a", "EXEC", "EXEC", "SELECT 3", "EVAL \"redis.call('set','x','1')\" 0", "CONFIG GET port",
             "AUTH secret", "HELLO 2 AUTH default secret", "CLIENT ID", "CLIENT LIST", "NOSUCH a", "GET", "BLPOP nolist 0.01", "WATCH q",
             "SLOWLOG GET", "SCRIPT LOAD x=1", "EVALSHA ffffffffffffffffffffffffffffffffffffffff 0", "SUBSCRIBE x", "UNSUBSCRIBE", "PING last"]


def run_monitor(server):
    look, w = server.client(), server.client()
    assert look.call("MONITOR") == b"OK"
    for line in MONITORED:
        w.send(*(words(line) if '"' in line and "EVAL" in line else line.split(" ")))
        w.read()
    lines = []
    while not lines or b'"last"' not in lines[-1]:
        lines.append(re.sub(rb"^[0-9]+\.[0-9]{6} \[(\d+) [0-9.:]+\]", rb"T [\1 A]", re.sub(rb"^[0-9]+\.[0-9]{6} \[(\d+) lua\]", rb"T [\1 lua]", plain(look.read()))))
    refused = plain(look.wire("GET", "a"))
    return lines, refused, plain(look.wire("RESET")), plain(look.wire("GET", "nothing"))


def compare(name, ours, theirs):
    if ours != theirs:
        at = next((i for i, (a, b) in enumerate(zip(ours, theirs)) if a != b), min(len(ours), len(theirs)))
        sys.exit(f"{name}: differs at {at}\n holdfast {ours[max(0, at - 4):at + 4]}\n redis    {theirs[max(0, at - 4):at + 4]}")
    print(f"{name}: {len(ours)} replies equal")


class Cache:
    """A caching client: single-threaded, its own view of the keys."""

    def __init__(self, server, mode):
        self.client = server.client(resp=3)
        first = self.client.wire("CLIENT", "TRACKING", "on", *mode)
        if first != ("+", b"OK"):
            raise AssertionError(f"CLIENT TRACKING: {first} before its reply")
        self.values = {}
        self.pushes = 0

    def close(self):
        """How many pushes it has got."""
        self.client.close()
        return self.pushes

    def call(self, *command):
        self.client.send(*command)
        while True:
            reply = plain(self.client.read())
            if isinstance(reply, list) and reply and reply[0] == b"invalidate":
                self.pushes += 1
                for key in reply[1] if reply[1] is not None else list(self.values):
                    self.values.pop(key, None)
                continue
            return reply


def storm(server, seconds, workers=8, keys=5):
    """`newest` is what has been acknowledged: a cache that has spoken to the server since may hold nothing older."""
    newest = [0] * keys
    lock = [threading.Lock() for _ in range(keys)]
    failures, checks, hits, pushes = [], [0] * workers, [0] * workers, [0] * workers
    until = time.monotonic() + seconds

    def one(number):
        try:
            mode = [(), ("NOLOOP",), ("BCAST",), ("BCAST", "PREFIX", "k")][number % 4]
            cache = Cache(server, mode)
            chance = random.Random(number)
            turn = number
            while time.monotonic() < until and not failures:
                turn += 1
                if chance.randrange(30) == 0: # caching begins in the middle of it
                    pushes[number] += cache.close()
                    cache = Cache(server, mode)
                k = chance.randrange(keys)
                key = b"k%d" % k
                if chance.randrange(5) == 0:
                    with lock[k]: # counts upwards, so that older is smaller
                        value = newest[k] + 1
                        command = [("SET", key, str(value))] if turn % 2 else [("MULTI",), ("INCR", key), ("EXEC",)]
                        for c in command:
                            cache.call(*c)
                        cache.values.pop(key, None) # NOLOOP: its own write
                        newest[k] = value
                    continue
                floor = list(newest)
                cache.call("GET", b"other%d" % number) if turn % 2 else cache.call("PING")
                for n in range(keys): # whatever was acknowledged before that reply is known by now
                    held = cache.values.get(b"k%d" % n)
                    if held is not None:
                        checks[number] += 1
                        if held < floor[n]:
                            failures.append(f"client {number} holds {held} of key {n}; {floor[n]} was acknowledged")
                if key in cache.values:
                    hits[number] += 1
                else:
                    got = int(cache.call("GET", key) or 0)
                    if got < floor[k]:
                        failures.append(f"client {number} read {got}, {floor[k]} was acknowledged")
                    cache.values[key] = got
            pushes[number] += cache.close()
        except Exception as e: # a thread's exception must fail the test
            failures.append(f"client {number}: {e!r}")

    threads = [threading.Thread(target=one, args=(n,)) for n in range(workers)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if failures:
        sys.exit(f"storm: {failures[0]}")
    if not (sum(checks) and sum(hits) and all(pushes)):
        sys.exit(f"storm: it has shown nothing: {checks} {hits} {pushes}")
    print(f"storm: {sum(checks)} looks into caches, {sum(hits)} hits, {sum(pushes)} pushes, nothing stale")


def limits(server):
    """Expiry that nobody asks for is told; beyond tracking-table-max-keys keys are forgotten, and that is told; INFO counts."""
    t, w = Cache(server, ()), server.client()
    t.values[b"e"] = t.call("GET", "e")
    w.call("SET", "e", "1")
    t.call("PING")
    assert b"e" not in t.values
    for milliseconds in (50, 500, 5000):    # on a busy machine it may be over before it is read
        w.call("SET", "e", "1", "PX", milliseconds)
        t.call("PING")
        t.values[b"e"] = t.call("GET", "e")
        if t.values[b"e"]:
            break
    assert t.values[b"e"] == b"1"
    until = time.monotonic() + 60
    while b"e" in t.values and time.monotonic() < until:
        t.call("PING")
    assert b"e" not in t.values, "expiry was not told"
    w.call("CONFIG", "SET", "tracking-table-max-keys", "10")
    for i in range(50):
        t.values[b"n%d" % i] = t.call("GET", "n%d" % i)
    t.call("PING")
    info = dict(line.split(":", 1) for line in plain(w.wire("INFO")).decode().split("\r\n") if ":" in line)
    assert info["tracking_total_keys"] == "10" and info["tracking_clients"] == "1", info["tracking_total_keys"]
    assert 8 <= len([k for k in t.values if k.startswith(b"n")]) <= 10, t.values
    w.call("CONFIG", "SET", "tracking-table-max-keys", "1000000")
    flags = re.search(rb"id=%d .* flags=(\S+) .* redir=(\S+)" % t.client.call("CLIENT", "ID"), plain(w.wire("CLIENT", "LIST")))
    assert flags and flags.group(1) == b"t" and flags.group(2) == b"0", flags
    print("limits: expiry, tracking-table-max-keys, INFO, CLIENT LIST")


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--seconds", type=float, default=5)
    options = options.parse_args()
    with Server("holdfast") as ours, Server("redis") as theirs:
        clients = [s.client() for s in (ours, theirs)]
        run = [[plain(c.wire(*words(line))) for line in ERRORS] for c in clients]
        compare("words", *run)
        for resp in (3, 2):
            compare(f"pushes, RESP{resp}", run_script(ours, resp), run_script(theirs, resp))
        compare("redirected", run_redirected(ours), run_redirected(theirs))
        compare("served", run_served(ours), run_served(theirs))
        mine, peer = run_monitor(ours), run_monitor(theirs)
        compare("monitor", mine[0], peer[0])
        compare("monitor, other commands", mine[1:], peer[1:])
    for durability in ("none", "commit"):
        with Server("holdfast", durability=durability) as server:
            limits(server)
            storm(server, options.seconds)


if __name__ == "__main__":
    main()
