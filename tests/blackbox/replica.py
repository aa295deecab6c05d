"""replica.py -- redis-server 7.0.15 follows holdfast: after any commands it holds the same.

Goal:   what replicas are sent makes the same changes there (docs/adr/0016): in the order of the changes, none missing, none twice.
Method: `load`: threads send the oracle's random commands (oracle_generate.py) to two workers, all on the same keys, beside commands that
        Redis 7.0 does not know, keys and fields that live for milliseconds, elements that others wait for, memcached's protocol, and
        replicas that come and go; one follows from before, one from the middle on. At the end keys, types, deadlines, values, groups and
        functions are compared, and no replica has logged a command that it refused. `stream`: the bytes themselves, of cases that a comparison of
        contents does not see. `slow`: a replica that does not read is closed, and the others are not disturbed. `power`: nothing is sent before it
        is durable: kill -9 in the middle of the load, and the replica holds no more than what recovery finds. `good`: min-replicas-to-write,
        WAIT, ROLE, INFO, CLIENT LIST and KILL.
Usage:  replica.py [--seed S] [--seconds N] [check ...]
"""
import random
import socket
import sys
import threading
import time

from harness import Checks, Client, ReplyError, Server, encode, free_port
from oracle_compare import DIFFERENCES
from oracle_generate import Generator

SEED = str(random.randrange(10 ** 9))
SECONDS = 1.5
THREADS = 3
BATCH = 20
PATIENCE = 60
KEYS = [b"a", b"b", b"h", b"h1", b"l", b"l1", b"s", b"z", b"st", b"st1"]


def until(condition, what):
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            raise AssertionError("not within %d s: %s" % (PATIENCE, what))
        time.sleep(0.02)


def info(client, field, section="replication"):
    text = client.call("INFO", section).decode()
    return dict(line.split(":", 1) for line in text.split("\r\n") if ":" in line).get(field)


def follow(replica, port):
    client = replica.client()
    client.call("REPLICAOF", "127.0.0.1", port)
    until(lambda: info(client, "master_link_status") == "up", "the replica follows")
    return client


# --- load ----------------------------------------------------------------------------------------


class Newer:
    """Commands that Redis 7.0 does not know, and those whose end only a replica that waits would see."""

    def __init__(self, seed):
        self.random = random.Random(seed)

    def command(self):
        r, key = self.random, self.random.choice(KEYS)
        field, ms = b"f%d" % r.randrange(4), b"%d" % r.choice([-1, 1, 3, 20, 60000000])
        return r.choice([
            lambda: [b"HSET", key, field, b"%d" % r.randrange(99), b"g", b"1"],
            lambda: [b"HPEXPIRE", key, ms, b"FIELDS", b"2", field, b"g"],
            lambda: [b"HGETDEL", key, b"FIELDS", b"1", field],
            lambda: [b"HGETEX", key, b"PX", b"2", b"FIELDS", b"1", field],
            lambda: [b"HSETEX", key, b"PX", b"%d" % r.choice([2, 50, 70000000]), b"FIELDS", b"1", field, b"x"],
            lambda: [b"HPERSIST", key, b"FIELDS", b"1", field],
            lambda: [b"SET", key, b"v", b"PX", b"%d" % r.choice([1, 2, 10, 50])],
            lambda: [b"PEXPIRE", key, b"%d" % r.choice([1, 2, 5, 30])],
            lambda: [b"INCR", key], lambda: [b"APPEND", key, b"x"],
            lambda: [b"XADD", key, b"MAXLEN", b"~", b"5", b"*", b"f", b"v"],
            lambda: [b"XADD", key, b"*", b"f", b"v"],
            lambda: [b"XGROUP", b"CREATE", key, b"g", r.choice([b"$", b"0"]), b"MKSTREAM"],
            lambda: [b"XREADGROUP", b"GROUP", b"g", b"c%d" % r.randrange(3)] + r.choice([[], [b"NOACK"]])
            + [b"COUNT", b"2", b"STREAMS", key, r.choice([b">", b">", b"0"])],
            lambda: [b"XAUTOCLAIM", key, b"g", b"c%d" % r.randrange(3), b"0", b"0"],
            lambda: [b"XDELEX", key, b"DELREF", b"IDS", b"1", b"0-1"],
            lambda: [b"XTRIM", key, b"MAXLEN", b"2", b"DELREF"],
            lambda: [b"SPOP", b"s"], lambda: [b"SPOP", b"s", b"2"], lambda: [b"SADD", b"s"] + [b"%d" % i for i in range(9)],
            lambda: [b"RPUSH", b"list", b"1", b"2"], lambda: [b"ZADD", b"zset", b"1", b"a", b"2", b"b"],
            lambda: [b"LMPOP", b"1", b"list", b"LEFT"], lambda: [b"SORT", b"s", b"BY", b"nosort", b"STORE", b"l1"],
            lambda: [b"EVAL", b"redis.call('incr', KEYS[1]); redis.call('pexpire', KEYS[1], 3); return redis.call('incrbyfloat', KEYS[2], 1.5)",
                     b"2", b"n1", b"n2"]])()


def send(port, make, stop, problems):
    """Pipelines until told to stop; a connection that a command has ended is made anew."""
    client = None
    while not stop.is_set():
        try:
            client = client or Client(port, timeout=PATIENCE)
            client.pipeline([make() for _ in range(BATCH)])
        except ConnectionError:
            client = None
        except OSError as problem:
            problems.append(problem)
            return


def wait_for_elements(port, stop, problems):
    client = Client(port, timeout=PATIENCE)
    names = [("BLPOP", "list", "l", 0.01), ("BLMOVE", "list", "l", "LEFT", "RIGHT", 0.01), ("BRPOPLPUSH", "list", "l2", 0.01),
             ("BZPOPMAX", "zset", "z", 0.01), ("BLMPOP", 0.01, 1, "list", "LEFT", "COUNT", 5), ("BZMPOP", 0.01, 1, "zset", "MIN"),
             ("XREADGROUP", "GROUP", "g", "waits", "BLOCK", 10, "STREAMS", "st", ">")]
    while not stop.is_set():
        for words in names:
            client.wire(*words)


def speak_memcached(port, stop, problems):
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as s:
        file, n = s.makefile("rb"), 0
        while not stop.is_set():
            n += 1
            s.sendall(b"set m%d 5 %d 3\r\nabc\r\nappend m%d 0 0 2\r\nde\r\nincr mn 2\r\nset mn 0 0 1\r\n1\r\ntouch m%d 100000\r\ndelete m%d\r\nmd mn\r\n"
                      % (n % 7, n % 2 * 100, n % 7, n % 5, n % 11))
            for _ in range(7):
                file.readline()


def oracle_commands(seed):
    skip = DIFFERENCES | {b"SHUTDOWN", b"CLIENT", b"HELLO", b"RESET", b"AUTH", b"ACL"}
    epoch = 0
    while True:
        for _, words in Generator(seed, epoch).steps(500, skip):
            yield words
        epoch += 1


def load(server, seconds, during=None):
    stop, problems = threading.Event(), []
    makers = [oracle_commands("%s/%d" % (SEED, i)).__next__ for i in range(THREADS)] + [Newer("%s/new" % SEED).command]
    threads = [threading.Thread(target=send, args=(server.port, make, stop, problems)) for make in makers]
    threads += [threading.Thread(target=wait_for_elements, args=(server.port, stop, problems)),
                threading.Thread(target=speak_memcached, args=(server.memcached_port, stop, problems))]
    for thread in threads:
        thread.start()
    try:
        time.sleep(seconds / 2)
        if during:
            during()
        time.sleep(seconds / 2)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not problems, problems


def plain_stream(client, key):
    """Without what differs by nature: when a consumer was seen, how the stream is stored, how many a group has read."""
    def without(pairs, *names):
        return [(n, v) for n, v in zip(pairs[::2], pairs[1::2]) if n not in names]
    full = without(client.call("XINFO", "STREAM", key, "FULL", "COUNT", 0), b"radix-tree-keys", b"radix-tree-nodes")
    found = []
    for name, value in full:
        if name == b"groups":
            value = [[(n, sorted(map(str, (without(c, b"seen-time", b"active-time") for c in v))) if n == b"consumers" else v)
                      for n, v in without(group, b"entries-read", b"lag")] for group in value]
        found.append((name, value))
    return found


def contents(client):
    found = {}
    for db in range(16):
        client.call("SELECT", db)
        for key in client.call("KEYS", "*"):
            kind, deadline = client.call("TYPE", key), client.call("PEXPIRETIME", key)
            detail = plain_stream(client, key) if kind == b"stream" else None
            if kind == b"zset":     # -0 is 0 here, which a digest would tell
                detail = [(b"0" if w == b"-0" else w) for w in client.call("ZRANGE", key, 0, -1, "WITHSCORES")]
            found[db, key] = (kind, deadline, detail if kind == b"zset" else client.call("DEBUG", "DIGEST-VALUE", key), detail)
    client.call("SELECT", 0)
    libraries = [dict(zip(words[::2], words[1::2])) for words in client.call("FUNCTION", "LIST", "WITHCODE")]
    return found, sorted((l[b"library_name"], l[b"library_code"]) for l in libraries)


def nothing_is_about_to_expire(client):
    now_ms = int(time.time() * 1000)
    for db in range(16):
        client.call("SELECT", db)
        for key in client.call("KEYS", "*"):
            if 0 <= client.call("PEXPIRETIME", key) < now_ms + 60000:
                return False
            if client.call("TYPE", key) == b"hash" and any(
                    0 <= at < now_ms + 60000 for at in client.call("HPEXPIRETIME", key, "FIELDS", client.call("HLEN", key), *client.call("HKEYS", key))):
                return False
    client.call("SELECT", 0)
    return True


def compare(client, replica, other):
    until(lambda: nothing_is_about_to_expire(client), "keys with a short life are gone")
    until(lambda: info(other, "slave_repl_offset") == info(client, "master_repl_offset"), "the replica has run all")
    (wanted, functions), (got, other_functions) = contents(client), contents(other)
    different = [(k, wanted.get(k), got.get(k)) for k in sorted(set(wanted) | set(got), key=str) if wanted.get(k) != got.get(k)]
    assert not different, "seed %s: %d of %d keys differ: %.3000s" % (SEED, len(different), len(wanted), different[:5])
    assert functions == other_functions, (functions, other_functions)
    refused = [line for line in replica.output().split("\n") if "CRITICAL" in line or "sending an error" in line]
    assert not refused, "seed %s: %s" % (SEED, refused[:5])
    return len(wanted)


def primary(durability="none", more=()):
    memcached = free_port()
    server = Server("holdfast", durability=durability, extra=["--memcached-port", str(memcached), "--enable-debug-command", "yes",
                                                              "--repl-ping-replica-period", "1"] + list(more))
    server.memcached_port = memcached
    return server


def check_load():
    for durability in ("none", "commit"):
        with primary(durability) as server, Server("redis") as first, Server("redis") as second:
            client, followers = server.client(), [follow(first, server.port)]

            def join():
                followers.append(follow(second, server.port))
                for _ in range(2): # others come and go
                    other = Client(server.port)
                    other.send("SYNC")
                    other.file.readline()
                    other.close()
            load(server, SECONDS, join)
            keys = [compare(client, replica, other) for replica, other in zip((first, second), followers)]
            begun = info(client, "sync_full", "stats")
            assert begun == "4", "a replica had to begin again: %s times" % begun
            print("replica: seed %s, %s: %d keys are the same on both, %s bytes of commands" % (SEED, durability, keys[0], info(client, "master_repl_offset")))


def check_begin_together():
    """Two that begin at once: what is emptied meanwhile is in both files."""
    sizes = []
    for empty in (["FLUSHALL"], ["FLUSHDB"], ["SWAPDB", 0, 1]):
        with primary() as server:
            client, followers = server.client(), [server.client() for _ in range(2)]
            client.call("DEBUG", "POPULATE", 400000)
            for follower in followers:
                follower.send("SYNC")
            until(lambda: info(client, "sync_full", "stats") == "2", "both have begun")
            client.call(*empty)
            if empty[0] == "SWAPDB":
                client.pipeline([["SELECT", 1], ["FLUSHDB"]])
            for follower in followers:
                line = begin_of_file(follower)
                assert line[:1] == b"$", "%s: %r" % (empty[0], line)
                sizes.append(len(follower.file.read(int(line[1:]))))
    assert max(sizes) - min(sizes) < 100, sizes
    print("replica: two that begin at once have all of what is emptied then")


# --- the bytes -----------------------------------------------------------------------------------


def begin_of_file(client):
    """Until it comes, an empty line now and then shows that it is being made."""
    while True:
        line = client.file.readline()
        if line != b"\n":
            return line


class Stream:
    """A replica that reads as it comes."""

    def __init__(self, port):
        self.client = Client(port)
        self.client.send("SYNC")
        line = begin_of_file(self.client)
        assert line[:1] == b"$", line
        self.client.file.read(int(line[1:]))

    def read(self, pings=False):
        while True:
            words = [value for _, value in self.client.read()[1]]
            if words != [b"PING"] or pings:
                return words


def check_stream():
    cases = [
        # what is sent, what a replica gets
        ([("SET", "k", "v", "EX", "100", "GET")], [["SET", "k", "v", "PXAT", "*"]]),
        ([("SET", "k", "v", "XX", "GET")], [["SET", "k", "v", "XX"]]),
        ([("GETSET", "k", "w")], [["SET", "k", "w"]]),
        ([("GETEX", "k", "PX", "100000"), ("GETEX", "k", "PERSIST")], [["PEXPIREAT", "k", "*"], ["PERSIST", "k"]]),
        ([("INCRBYFLOAT", "f", "1.5"), ("HINCRBYFLOAT", "hf", "f", "1.5")], [["SET", "f", "1.5", "KEEPTTL"], ["HSET", "hf", "f", "1.5"]]),
        ([("EXPIRE", "k", "-1"), ("GETDEL", "f")], [["DEL", "k"], ["DEL", "f"]]),
        ([("RPUSH", "l", "1", "2", "3"), ("BLPOP", "x", "l", "1"), ("BLMOVE", "l", "l2", "LEFT", "RIGHT", "1"), ("LMPOP", "2", "x", "l", "RIGHT", "COUNT", "5")],
         [["RPUSH", "l", "1", "2", "3"], ["LPOP", "l"], ["LMOVE", "l", "l2", "LEFT", "RIGHT"], ["RPOP", "l", "1"]]),
        ([("SADD", "s", "only"), ("SPOP", "s")], [["SADD", "s", "only"], ["SREM", "s", "only"]]),
        ([("XADD", "st", "MAXLEN", "~", "9", "5-*", "f", "v")], [["XADD", "st", "MAXLEN", "=", "1", "5-0", "f", "v"]]),
        ([("SET", "nothing", "x", "XX"), ("DEL", "absent"), ("GET", "l2"), ("PUBLISH", "ch", "m")], [["PUBLISH", "ch", "m"]]),
        ([("MULTI",), ("INCR", "n"), ("GET", "n"), ("SELECT", "2"), ("INCR", "n"), ("EXEC",), ("SELECT", "0"), ("DEL", "n")],
         [["MULTI"], ["INCR", "n"], ["SELECT", "2"], ["INCR", "n"], ["EXEC"], ["SELECT", "0"], ["DEL", "n"]]),
        ([("MULTI",), ("INCR", "n"), ("EXEC",), ("MULTI", "STRICT"), ("INCR", "n"), ("INCR", "l2"), ("EXEC",), ("DEL", "n")], [["INCR", "n"], ["DEL", "n"]]),
        ([("EVAL", "redis.call('set', 'e', 1); redis.pcall('incr', 'l2'); return redis.call('incr', 'e')", "0")],
         [["MULTI"], ["set", "e", "1"], ["incr", "e"], ["EXEC"]]),
        ([("HSET", "h", "f", "v", "g", "w"), ("HGETDEL", "h", "FIELDS", "1", "f"), ("HEXPIRE", "h", "100", "FIELDS", "1", "g"), ("HDEL", "h", "g")],
         [["HSET", "h", "f", "v", "g", "w"], ["HDEL", "h", "f"], ["HDEL", "h", "g"]]),
        ([("HSETEX", "h", "EX", "100", "FIELDS", "1", "f", "v"), ("DEL", "h")], [["HSET", "h", "f", "v"], ["DEL", "h"]]),
        ([("FLUSHALL",)], [["FLUSHALL"]]),
    ]
    with primary() as server:
        client = server.client()
        client.call("SET", "before", 1)
        stream = Stream(server.port)
        client.call("SET", "first", 1)
        assert stream.read() == [b"SELECT", b"0"] and stream.read() == [b"SET", b"first", b"1"]
        for sent, wanted in cases:
            client.pipeline(sent)
            for words in wanted:
                got = [word.decode() for word in stream.read()]
                assert len(got) == len(words) and all(w in ("*", g) for w, g in zip(words, got)), (sent, wanted, got)
        client.call("SET", "short", "v", "PX", 5)
        assert stream.read()[:3] == [b"SET", b"short", b"v"] and stream.read() == [b"DEL", b"short"]
        client.call("HSET", "h", "f", "v", "g", "w")
        client.call("HPEXPIRE", "h", 5, "FIELDS", 1, "f")
        assert stream.read()[0] == b"HSET" and stream.read() == [b"HDEL", b"h", b"f"]
        payload = client.call("DUMP", "h")
        client.call("RESTORE", "r", 100000, payload)
        assert stream.read() == [b"RESTORE", b"r", b"%d" % client.call("PEXPIRETIME", "r"), payload, b"ABSTTL"]
        with Server("redis") as target:
            client.call("MIGRATE", "127.0.0.1", target.port, "", 0, 10000, "KEYS", "r", "h", "absent")
        assert stream.read() == [b"DEL", b"r", b"h", b"absent"]
        with socket.create_connection(("127.0.0.1", server.memcached_port)) as s:
            s.sendall(b"set m 7 0 3\r\nabc\r\ndelete m\r\n")
            assert stream.read() == [b"SET", b"m", b"abc"] and stream.read() == [b"DEL", b"m"]
        client.call("CONFIG", "SET", "maxmemory-policy", "allkeys-random", "maxmemory", 1)
        evicted = [stream.read() for _ in range(client.call("DBSIZE"))] if client.call("DBSIZE") else [[b"DEL"]]
        assert all(words[0] == b"DEL" for words in evicted)


# --- the connection ------------------------------------------------------------------------------


def check_pings():
    """They begin a period after the first replica came, however long the machine has been running."""
    with Server("holdfast", extra=["--repl-ping-replica-period", "25"]) as server:
        client, began = server.client(), time.monotonic()
        stream = Stream(server.port)
        while time.monotonic() < began + 2.2:       # connections are tended once a second
            client.call("SET", "k", 1)
            words = stream.read(pings=True)
            assert words != [b"PING"] or time.monotonic() > began + 20, "pinged at once"
        client.call("CONFIG", "SET", "repl-ping-replica-period", 1)
        while stream.read(pings=True) != [b"PING"]:
            pass


def check_slow():
    with primary(more=["--client-output-buffer-limit", "replica", "4mb", "0", "0"]) as server, Server("redis") as replica:
        other = follow(replica, server.port)
        client, slow = server.client(), Client(server.port)
        slow.send("SYNC")
        slow.file.readline()
        value = "x" * 100000
        for i in range(3000):
            client.call("SET", "k%d" % (i % 10), value)
            if info(client, "connected_slaves") == "1" and i > 10:
                break
        assert info(client, "connected_slaves") == "1", "the slow one is still there"
        compare(client, replica, other)


def check_power():
    """What the replica shows is what was durable: after kill -9, recovery has at least that."""
    with primary("commit") as server, Server("redis") as replica:
        other = follow(replica, server.port)
        clients = [server.client() for _ in range(4)]
        stop = threading.Event()

        def count(client, n):
            try:
                while not stop.is_set():
                    client.pipeline([("INCR", "n%d" % n)] * 30)
            except OSError:
                pass
        threads = [threading.Thread(target=count, args=(client, n)) for n, client in enumerate(clients)]
        for thread in threads:
            thread.start()
        until(lambda: int(other.call("GET", "n0") or 0) > 200, "the load runs")
        server.kill9()
        stop.set()
        for thread in threads:
            thread.join()
        until(lambda: info(other, "master_link_status") == "down", "the replica sees that its primary is gone")
        seen = other.call("MGET", "n0", "n1", "n2", "n3")
        other.call("REPLICAOF", "NO", "ONE")
        server.start()
        found = server.client().call("MGET", "n0", "n1", "n2", "n3")
        assert all(int(f or 0) >= int(s or 0) for f, s in zip(found, seen)), (found, seen)


def check_figures(client):
    """Of INFO and MEMORY STATS, about those that follow."""
    number = lambda name: int(dict(line.split(b":", 1) for line in client.call("INFO", "all").split(b"\r\n") if b":" in line)[name])
    sent = number(b"total_net_repl_output_bytes")
    client.call("SET", "figures", "x" * 5000)
    until(lambda: number(b"total_net_repl_output_bytes") >= sent + 5000, "what is sent to replicas is counted")
    assert number(b"total_net_repl_output_bytes") <= number(b"total_net_output_bytes")
    assert number(b"mem_replication_backlog") == number(b"repl_backlog_size") > 0
    assert 0 < number(b"mem_clients_slaves") < number(b"mem_total_replication_buffers")
    stats = client.call("MEMORY", "STATS")
    figures = dict(zip(stats[::2], stats[1::2]))
    assert figures[b"replication.backlog"] == number(b"repl_backlog_size") and figures[b"clients.slaves"] > 0, figures
    refused = number(b"sync_partial_err")
    stranger = client.__class__(client.socket.getpeername()[1])
    stranger.send("PSYNC", "0" * 40, 1)     # a stream that it never had
    stranger.file.readline()
    assert number(b"sync_partial_err") == refused + 1 and number(b"sync_full") == 2
    stranger.close()
    client.call("CONFIG", "RESETSTAT")
    assert number(b"sync_partial_err") == number(b"sync_full") == 0 and number(b"connected_slaves") >= 1


def check_good():
    with primary() as server, Server("redis") as replica:
        client = server.client()
        client.call("CONFIG", "SET", "min-replicas-to-write", 1)
        for words in (("SET", "a", 1), ("EVAL", "return redis.call('set', 'a', 1)", 1, "a")):
            kind, text = client.wire(*words)
            assert kind == "-" and text.startswith(b"NOREPLICAS"), text
        other = follow(replica, server.port)
        until(lambda: client.wire("SET", "a", 1)[0] == "+", "with a replica writes are taken")
        assert client.call("WAIT", 1, PATIENCE * 1000) == 1 and other.call("GET", "a") == b"1"
        assert client.call("WAIT", 2, 20) == 1
        role = client.call("ROLE")
        assert role[0] == b"master" and role[2][0][:2] == [b"127.0.0.1", b"%d" % replica.port], role
        assert "port=%d,state=online" % replica.port in info(client, "slave0")
        lines = client.call("CLIENT", "LIST", "TYPE", "replica").split(b"\n")[:-1]
        assert len(lines) == 1 and b"flags=S" in lines[0], lines
        assert client.call("CLIENT", "LIST", "TYPE", "normal").count(b"\n") == 1
        assert client.call("CLIENT", "KILL", "TYPE", "replica") == 1
        for i in range(200):    # while it is away
            client.wire("MSET", "away", i, "long", "x" * 2000)
        until(lambda: info(client, "slave0") is not None, "it has come back")
        stats = client.call("INFO", "stats")
        assert b"sync_full:1\r\n" in stats and b"sync_partial_ok:1\r\n" in stats, stats
        check_figures(client)
        until(lambda: client.wire("SET", "a", 2)[0] == "+", "and counts again")
        until(lambda: other.call("GET", "a") == b"2", "and follows")
        compare(client, replica, other)
        waiting = server.client()
        client.call("CONFIG", "SET", "busy-reply-threshold", 10)
        waiting.send("EVAL", "redis.call('set', 'a', 3) while true do local i = redis.call('info', 'replication')"
                     " if i:match('connected_slaves:0') then redis.call('set', 'a', 4) return i end end", 1, "a")
        until(lambda: client.wire("PING")[0] == "-", "the script is beyond its time")
        other.call("REPLICAOF", "NO", "ONE")    # it may end what it has begun
        assert waiting.read()[0] == "$" and client.call("GET", "a") == b"4"
        assert client.wire("SET", "a", 5)[1].startswith(b"NOREPLICAS")
        client.call("CONFIG", "SET", "min-replicas-to-write", 0)
        refused = Stream(server.port).client
        refused.send("GET", "a")
        assert refused.read() == ("-", b"ERR Replica can't interact with the keyspace")
        alone = Client(server.port)
        assert alone.call("REPLCONF", "rdb-only", 1) == b"OK"
        before = info(client, "connected_slaves")
        alone.send("SYNC")
        assert begin_of_file(alone)[:1] == b"$" and info(client, "connected_slaves") == before
        alone.close()


def main():
    global SEED, SECONDS
    for name in ("--seed", "--seconds"):
        if name in sys.argv:
            at = sys.argv.index(name)
            value = sys.argv[at + 1]
            del sys.argv[at:at + 2]
            if name == "--seed":
                SEED = value
            else:
                SECONDS = float(value)
    checks = Checks("replica")
    checks.run([check_load, check_begin_together, check_stream, check_pings, check_slow, check_power, check_good])
    return checks.end()


if __name__ == "__main__":
    sys.exit(main())
