"""eviction.py -- maxmemory: what goes, what stays, and how far used memory may stand above the limit.

Goal:   each policy takes what it says (and volatile-* nothing else); the limit holds with several writers on several
        workers, for large and small values; it counts from the next command on; what was evicted is told (keyspace events,
        tracking, WATCH) and is not there after a restart; memory comes back after UNLINK, DEL and FLUSHALL; users of scripts see OOM as
        in Redis.
Method: keys of two kinds, of which the policy should prefer one; then the limit is lowered below what is in use, and the survivors
        are counted. Sampling is by chance: a wide margin. used_memory is read while writers run.
Usage:  eviction.py [--seed S] [check ...]
"""
import random
import sys
import threading
import time

from harness import ReplyError, Server

KEYS = 3000
PAD = "x" * 100
OOM = ReplyError("OOM command not allowed when used memory > 'maxmemory'.")
LIBRARY = """#!lua name=lib
local function set(keys, words) return redis.call('set', keys[1], 9) end
redis.register_function('grow', set)
redis.register_function{function_name='may', callback=set, flags={'allow-oom'}}
redis.register_function{function_name='look', callback=function(keys, words) return redis.call('get', keys[1]) end, flags={'no-writes'}}
"""
seed = 1


def fields(client, section="everything"):
    text = client.call("INFO", section).decode()
    return dict(line.split(":", 1) for line in text.split("\r\n") if ":" in line and not line.startswith("#"))


def used(client):
    return int(fields(client, "memory")["used_memory"])


def wait_for(what, condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError("never: " + what)
        time.sleep(0.005)


def calm(client):
    """Everything that was dropped is freed; returns what is in use then."""
    wait_for("nothing left to free", lambda: fields(client)["lazyfree_pending_objects"] == "0")
    return used(client)


def fill(client, prefix, extra=(), count=KEYS):
    for reply in client.pipeline([["SET", "%s:%d" % (prefix, i), PAD, *extra] for i in range(count)]):
        assert reply == b"OK", reply


def left(client, prefix, count=KEYS):
    return sum(client.pipeline([["EXISTS", "%s:%d" % (prefix, i)] for i in range(count)]))


def squeeze(client, policy, keys):
    """Takes about so many keys' memory away; back without a limit then."""
    client.call("CONFIG", "SET", "maxmemory-policy", policy)
    client.call("CONFIG", "RESETSTAT")
    limit, before = calm(client) - keys * 130, client.call("DBSIZE")
    client.call("CONFIG", "SET", "maxmemory", limit)
    wait_for("below the limit with " + policy, lambda: used(client) <= limit)
    client.call("CONFIG", "SET", "maxmemory", 0)
    wait_for("as many gone as evicted", lambda: before - client.call("DBSIZE") == int(fields(client)["evicted_keys"]))
    evicted = int(fields(client)["evicted_keys"])
    assert evicted > 0, policy
    return evicted


def check_policies():
    """Of two kinds of keys, half as much memory as one kind takes is taken away."""
    with Server() as server:
        c = server.client()

        def start(good=(), bad=()):
            c.call("FLUSHALL")
            fill(c, "bad", bad)
            fill(c, "good", good)

        def idle(prefix, seconds):
            payload = c.call("DUMP", prefix + ":0")
            for reply in c.pipeline([["RESTORE", "%s:%d" % (prefix, i), 0, payload, "REPLACE", "IDLETIME", seconds] for i in range(KEYS)]):
                assert reply == b"OK", reply

        def expect(policy, good_least, bad_most):
            evicted = squeeze(c, policy, KEYS // 2)
            good, bad = left(c, "good"), left(c, "bad")
            print("  %-16s %4d evicted: %4d of %d good left, %4d bad" % (policy, evicted, good, KEYS, bad))
            assert good >= good_least and bad <= bad_most, policy
            assert good + bad == 2 * KEYS - evicted, policy

        start()
        idle("bad", 5000)
        expect("allkeys-lru", KEYS * 98 // 100, KEYS * 3 // 4)
        start()
        c.pipeline([["GET", "good:%d" % i] for i in range(KEYS)])     # as old, but used since
        expect("allkeys-lru", KEYS * 98 // 100, KEYS * 3 // 4)
        c.call("CONFIG", "SET", "maxmemory-policy", "allkeys-lfu")
        start()
        for _ in range(8):
            c.pipeline([["GET", "good:%d" % i] for i in range(KEYS)])
        expect("allkeys-lfu", KEYS * 98 // 100, KEYS * 3 // 4)
        start()
        expect("allkeys-random", KEYS // 2, KEYS - 1)
        for policy in ("volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl"):
            start(bad=["EX", 5000])
            expect(policy, KEYS, KEYS * 3 // 4)
        start(good=["EX", 90000], bad=["EX", 5000])
        expect("volatile-ttl", KEYS * 98 // 100, KEYS * 3 // 4)
        start()
        calm(c)
        c.call("CONFIG", "SET", "maxmemory-policy", "noeviction")
        c.call("CONFIG", "SET", "maxmemory", 1)
        replies = c.pipeline([["PING"], ["SET", "a", 1], ["DEL", "bad:1"], ["GET", "bad:2"]])
        assert replies == [b"PONG", OOM, 1, PAD.encode()], replies
        assert left(c, "good") == KEYS and left(c, "bad") == KEYS - 1
        c.call("CONFIG", "SET", "maxmemory-policy", "volatile-lru")     # nothing has a deadline
        assert c.pipeline([["SET", "a", 1]]) == [OOM]
        c.call("CONFIG", "SET", "maxmemory", 0)
        assert c.call("SET", "a", 1) == b"OK"


def check_next_command():
    """A limit counts from the very next command on, in the same pipeline, both ways; inside MULTI as in Redis."""
    with Server() as server, Server("redis") as peer:
        replies = []
        for s in (server, peer):
            c = s.client()
            replies.append(c.pipeline([
                ["SET", "a", 1], ["CONFIG", "SET", "maxmemory", 1], ["SET", "a", 2], ["GET", "a"], ["INCR", "a"], ["DEL", "b"], ["EXPIRE", "a", 100],
                ["MULTI"], ["GET", "a"], ["EXEC"], ["MULTI"], ["DISCARD"], ["EVAL", "return redis.call('set','a',3)", 1, "a"],
                ["EVAL", "return redis.call('get','a')", 1, "a"], ["EVAL", "#!lua flags=allow-oom\nreturn redis.call('set','a','4')", 1, "a"],
                ["EVAL", "#!lua\nreturn 1", 0], ["EVAL", "#!lua flags=no-writes\nreturn redis.call('get','a')", 1, "a"],
                ["EVAL", "redis.call('del','b') return redis.call('set','a',5)", 2, "a", "b"], ["EVAL_RO", "return redis.call('get','a')", 1, "a"],
                ["FUNCTION", "LOAD", LIBRARY], ["FCALL", "grow", 1, "a"], ["FCALL", "may", 1, "a"], ["FCALL", "look", 1, "a"], ["FCALL_RO", "look", 1, "a"],
                ["CONFIG", "SET", "maxmemory", 0], ["SET", "a", 6], ["MULTI"], ["SET", "a", 7], ["CONFIG", "SET", "maxmemory", 1], ["SET", "a", 8],
                ["EXEC"], ["GET", "a"], ["CONFIG", "SET", "maxmemory", 0]]))
        for at, (ours, theirs) in enumerate(zip(*replies)):
            assert ours == theirs, "reply %d: holdfast %r, redis-server %r" % (at, ours, theirs)
        print("  %d replies as redis-server's" % len(replies[0]))


def check_limit_under_writers():
    """Eight writers, values of 10 bytes to 300 KB, on all policies that can always evict; a reader of used_memory beside them."""
    for durability in ("none", "commit"):
        limit_under_writers(durability)


def limit_under_writers(durability):
    limit, above = 24 << 20, 0
    with Server(durability=durability) as server:
        c = server.client()
        c.call("CONFIG", "SET", "maxmemory", limit)
        for policy in ("allkeys-lru", "allkeys-lfu", "allkeys-random"):
            c.call("CONFIG", "SET", "maxmemory-policy", policy)
            failures, running = [], [True]

            def write(number):
                chance, mine = random.Random(seed * 100 + number), server.client()
                try:
                    for _ in range(60):
                        words = []
                        for _ in range(20):
                            key, size = "k:%d" % chance.randrange(20000), int(10 ** chance.uniform(1, 5.5 if chance.random() < 0.1 else 3.5))
                            words.append(chance.choice([["SET", "s" + key, "v" * size], ["RPUSH", "l" + key, *["v" * (size // 10 + 1)] * 10],
                                                        ["HSET", "h" + key, "f", "v" * size, chance.randrange(99), 1], ["DEL", "s" + key]]))
                        failures.extend(r for r in mine.pipeline(words) if isinstance(r, ReplyError))
                except Exception as error:      # noqa: BLE001 -- shown by the main thread
                    failures.append(error)

            threads = [threading.Thread(target=write, args=(n,)) for n in range(8)]
            for t in threads:
                t.start()
            while any(t.is_alive() for t in threads):
                above = max(above, used(c) - limit)
            assert not failures, failures[:3]
        # Clients' buffers and commands on their way: 8 pipelines of at most 20 commands; one worker's untold bytes.
        evicted = int(fields(c)["evicted_keys"])
        print("  %d evicted; used_memory was at most %d bytes above its limit" % (evicted, above))
        assert evicted > 1000 and above < 8 << 20
        c.call("FLUSHALL")      # what is written to the log, by whichever thread, is not in use any more
        wait_for("all is given back", lambda: used(c) < 6 << 20)


def check_told_and_gone():
    """Who evicts tells: events, tracking, WATCH; after kill -9 the same keys are there."""
    with Server(durability="commit") as server:
        c, events, cache, watcher = server.client(), server.client(), server.client(resp=3), server.client()
        c.call("CONFIG", "SET", "notify-keyspace-events", "Ee")
        events.call("SUBSCRIBE", "__keyevent@0__:evicted")
        fill(c, "k")
        cache.call("CLIENT", "TRACKING", "ON")
        cache.pipeline([["GET", "k:%d" % i] for i in range(KEYS)])
        watcher.call("WATCH", *["k:%d" % i for i in range(KEYS)])
        evicted = squeeze(c, "allkeys-random", KEYS // 2)
        there = {b"k:%d" % i for i in range(KEYS) if c.call("EXISTS", "k:%d" % i)}
        gone = {b"k:%d" % i for i in range(KEYS)} - there
        assert len(gone) == evicted
        assert {events.read()[1][2][1] for _ in gone} == gone, "keyspace events"
        told = set()
        while len(told) < len(gone):
            kind, push = cache.read()
            assert kind == ">" and push[0][1] == b"invalidate", push
            told.update(key for _, key in push[1][1])
        assert told == gone, "invalidations"
        watcher.call("MULTI")
        watcher.call("PING")
        assert watcher.call("EXEC") is None, "WATCH"
        server.kill9()
        server.start()
        c = server.client()
        assert {b"k:%d" % i for i in range(KEYS) if c.call("EXISTS", "k:%d" % i)} == there, "recovery"
        print("  %d evicted: events, invalidations, WATCH and recovery agree" % evicted)


def check_memory_comes_back():
    """used_memory after UNLINK, DEL, overwriting, expiry and FLUSHALL is what it was before."""
    with Server() as server:
        c = server.client()
        server.client().call("PING")
        base = calm(c)

        def back(what):
            wait_for("memory is back after " + what, lambda: used(c) < base + (1 << 20))

        for what, words in (("UNLINK", ["UNLINK", "big"]), ("DEL", ["DEL", "big"]), ("SET over it", ["SET", "big", "x"]),
                            ("PEXPIRE", ["PEXPIRE", "big", 1]), ("RENAME over it", ["RENAME", "small", "big"]), ("FLUSHALL", ["FLUSHALL"])):
            c.call("DEL", "big")
            c.call("SET", "small", "x")
            for start in range(0, 100000, 10000):
                c.call("SADD", "big", *["member:%d" % i for i in range(start, start + 10000)])
            assert used(c) > base + (2 << 20)
            c.call(*words)
            back(what)
        fill(c, "k")
        c.call("FLUSHDB")
        back("FLUSHDB")


def check_use_is_counted():
    """OBJECT FREQ and IDLETIME, their errors, CLIENT NO-TOUCH; the count falls with time (lfu-decay-time)."""
    with Server(workers=1) as server, Server("redis") as peer:
        for s in (server, peer):
            c = s.client()
            c.call("SET", "a", "one")
            assert c.pipeline([["OBJECT", "FREQ", "a"]])[0].args[0].startswith("ERR An LFU maxmemory policy is not selected")
            assert c.call("OBJECT", "IDLETIME", "a") == 0
            c.call("CONFIG", "SET", "maxmemory-policy", "allkeys-lfu")
            assert c.pipeline([["OBJECT", "IDLETIME", "a"]])[0].args[0].startswith("ERR An LFU maxmemory policy is selected")
            c.call("DEL", "a")
            c.call("SET", "a", "one")   # redis-server shares small integers, and counts nothing for them
            assert c.call("OBJECT", "FREQ", "a") == 5
            c.call("GET", "a")
            assert c.call("OBJECT", "FREQ", "a") == 6       # the first use is certain to count
            for _ in range(400):
                c.call("GET", "a")
            assert 9 <= c.call("OBJECT", "FREQ", "a") <= 22, c.call("OBJECT", "FREQ", "a")
            c.call("CONFIG", "SET", "lfu-log-factor", 0)
            c.pipeline([["GET", "a"]] * 300)
            assert c.call("OBJECT", "FREQ", "a") == 255
            payload = c.call("DUMP", "a")
            c.call("RESTORE", "b", 0, payload, "FREQ", 77)
            assert c.call("OBJECT", "FREQ", "b") == 77
            c.call("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
            c.call("RESTORE", "c", 0, payload, "IDLETIME", 1000)
            assert 1000 <= c.call("OBJECT", "IDLETIME", "c") <= 1002
        c = server.client()     # 7.2
        c.call("CLIENT", "NO-TOUCH", "ON")
        c.call("GET", "c")
        assert c.call("OBJECT", "IDLETIME", "c") >= 1000
        c.call("TOUCH", "c")
        assert c.call("OBJECT", "IDLETIME", "c") <= 1


def check_clients_are_evicted():
    """maxmemory-clients: the largest go first, NO-EVICT stays, what is below the limit stays; in bytes and in percent of maxmemory."""
    sizes = [100 << 10, 400 << 10, 1600 << 10]
    with Server() as server:
        c = server.client()
        c.call("CLIENT", "NO-EVICT", "ON")

        def client(name, size, *words):
            other = server.client()
            other.call("CLIENT", "SETNAME", name)
            if words:
                other.call(*words)
            other.send_raw(b"*2\r\n$3\r\nGET\r\n$%d\r\n" % size + b"v" * size)      # never complete
            return other

        def memory():
            lines = c.call("CLIENT", "LIST").decode().splitlines()
            each = [dict(word.split("=", 1) for word in line.split()) for line in lines]
            return {f["name"]: int(f["tot-mem"]) for f in each}

        others = [client("%d:%d" % (i, n), size) for i, size in enumerate(sizes) for n in range(3)]
        others.append(client("kept", sizes[2] * 2, "CLIENT", "NO-EVICT", "ON"))
        wait_for("all has been read", lambda: sum(memory().values()) > 3 * sum(sizes) + 2 * sizes[2])
        before = memory()
        assert all(sizes[i] < before["%d:%d" % (i, n)] < sizes[i] * 1.3 + 40000 for i in range(3) for n in range(3)), before
        total = sum(before.values())
        assert abs(int(fields(c, "memory")["mem_clients_normal"]) - total) < 100000
        for i in (2, 1, 0):
            now = memory()      # a buffer that has grown while it was filled may have shrunk since
            c.call("CONFIG", "SET", "maxmemory-clients", sum(now.values()) - sum(now["%d:%d" % (i, n)] for n in range(3)) + 60000)
            now = memory()
            assert {name for name in now if ":" in name} == {"%d:%d" % (k, n) for k in range(i) for n in range(3)}, (i, now)
            assert "kept" in now
        wait_for("9 evicted clients", lambda: fields(c, "stats")["evicted_clients"] == "9")
        c.call("CONFIG", "SET", "maxmemory", 100 << 20)
        c.call("CONFIG", "SET", "maxmemory-clients", "5%")      # 5 MiB
        assert c.call("CONFIG", "GET", "maxmemory-clients") == [b"maxmemory-clients", b"5%"]
        try:
            late = client("late", 6 << 20)
            assert late.socket.recv(1) == b""
        except ConnectionError:
            pass
        wait_for("the late one is closed", lambda: fields(c, "stats")["evicted_clients"] == "10")
        assert set(memory()) == {"", "kept"}, memory()


def check_memory_command():
    """MEMORY STATS has redis-server's fields, and they add up; PURGE, MALLOC-STATS, DOCTOR answer."""
    names = []
    with Server() as server, Server("redis") as peer:
        for s in (server, peer):
            c = s.client()
            fill(c, "k")
            c.call("SELECT", 3)
            c.call("SET", "x", 1, "EX", 1000)
            pairs = c.call("MEMORY", "STATS")
            stats = dict(zip(pairs[::2], pairs[1::2]))
            names.append([name for name in pairs[::2]])
            names.append(sorted(stats[b"db.0"][::2]))
            assert c.call("MEMORY", "PURGE") == b"OK"
            assert stats[b"keys.count"] == KEYS + 1 and isinstance(c.call("MEMORY", "DOCTOR"), bytes)
        assert names[:2] == names[2:], names
        c = server.client()
        pairs = c.call("MEMORY", "STATS")
        stats = dict(zip(pairs[::2], pairs[1::2]))
        assert stats[b"dataset.bytes"] + stats[b"overhead.total"] == stats[b"total.allocated"] <= stats[b"peak.allocated"]
        assert stats[b"total.allocated"] <= stats[b"allocator.active"] <= stats[b"allocator.resident"]
        assert stats[b"total.allocated"] - stats[b"startup.allocated"] > KEYS * 110
        assert b"3001 keys" in c.call("MEMORY", "DOCTOR") and len(c.call("MEMORY", "MALLOC-STATS")) > 20


CHECKS = [check_memory_command, check_clients_are_evicted, check_policies, check_next_command, check_limit_under_writers, check_told_and_gone, check_memory_comes_back, check_use_is_counted]


def main():
    global seed
    words = sys.argv[1:]
    if words[:1] == ["--seed"]:
        seed, words = int(words[1]), words[2:]
    for check in CHECKS:
        name = check.__name__[6:]
        if words and name not in words:
            continue
        began = time.monotonic()
        print("%s ..." % name, flush=True)
        try:
            check()
        except Exception:
            print("repeat: tests/blackbox/eviction.py --seed %d %s" % (seed, name), flush=True)
            raise
        print("  ok, %.1f s" % (time.monotonic() - began), flush=True)


if __name__ == "__main__":
    main()
