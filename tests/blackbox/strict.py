"""strict.py -- strict transactions: one command that fails undoes everything, for every type and every observer.

Goal:   docs/adr/0007: after a strict EXEC or script that failed, nothing has happened: values, deadlines, databases, the log, waiting
        clients, events, messages and watches are as if it had not been sent. Without the switch all is as in Redis.
Method: a dump of all keys (type, value, deadline) is compared before and after transactions of random commands of all types, the
        last of which fails; observers listen on other connections; the server is killed and started again.
Usage:  strict.py [--rounds N] [--seed N]
"""
import argparse
import random
import sys

from harness import ReplyError, Server, plain


def expect(found, wanted, what):
    if found != wanted:
        if isinstance(found, dict) and isinstance(wanted, dict):  # only where they differ
            keys = [k for k in set(found) | set(wanted) if found.get(k) != wanted.get(k)]
            found, wanted = {k: found.get(k) for k in keys}, {k: wanted.get(k) for k in keys}
        raise AssertionError("%s: %.1000r, not %.1000r" % (what, found, wanted))


READ = {b"string": ("GET",), b"list": ("LRANGE", 0, -1), b"hash": ("HGETALL",), b"set": ("SMEMBERS",),
        b"zset": ("ZRANGE", 0, -1, "WITHSCORES")}


def picture(client, databases=(0, 1), encodings=True):
    """Everything a client can see of the keys; a restart may choose other encodings."""
    all_keys = {}
    for db in databases:
        client.call("SELECT", db)
        for key in client.call("KEYS", "*"):
            kind = client.call("TYPE", key)
            kind = kind if isinstance(kind, bytes) else kind.encode()
            words = READ[kind]
            value = plain(client.wire(words[0], key, *words[1:]))
            if kind in (b"set", b"hash"):
                value = sorted(map(repr, value)) if kind == b"set" else sorted(zip(map(repr, value[::2]), map(repr, value[1::2])))
            all_keys[db, key] = (kind, repr(value), client.call("PEXPIRETIME", key), encodings and client.call("OBJECT", "ENCODING", key))
    client.call("SELECT", 0)
    return all_keys


def random_change(rng):
    k = "k%d" % rng.randrange(8)
    s, l, h, t, z = "s" + k, "l" + k, "h" + k, "t" + k, "z" + k
    member, big = "m%d" % rng.randrange(20), "x" * rng.choice([1, 30, 100, 3000, 40000])
    return rng.choice([
        ("SET", s, big), ("APPEND", s, member), ("SETRANGE", s, 20, "patch"), ("SETBIT", s, 77, 1), ("SETRANGE", s, rng.choice([3, 16000, 39990, 70000]), big), ("APPEND", s, big),
        ("SETBIT", s, 400000, 1), ("COPY", s, "scopy", "REPLACE"), ("APPEND", "scopy", member), ("INCR", "n" + k), ("DEL", s),
        ("GETDEL", s), ("SET", s, "v", "PX", 100000), ("EXPIRE", l, 1000), ("PERSIST", l), ("PEXPIRE", h, 500000), ("MSET", s, 1, "s2", big),
        ("RPUSH", l, member, big), ("LPUSH", l, big), ("LPOP", l), ("LREM", l, 0, member), ("LTRIM", l, 1, -2), ("LINSERT", l, "BEFORE", member, big),
        ("RPOPLPUSH", l, "lother"), ("LSET", l, 0, "w"), ("HSET", h, member, big, "f", "v"), ("HDEL", h, member), ("HINCRBY", h, "n", 7),
        ("SADD", t, member, rng.randrange(100)), ("SREM", t, member), ("SPOP", t), ("SMOVE", t, "tother", member), ("SUNIONSTORE", "tother", t),
        ("ZADD", z, rng.randrange(9), member), ("ZREM", z, member), ("ZINCRBY", z, 2, member), ("ZPOPMIN", z), ("ZRANGESTORE", "zother", z, 0, 2),
        ("DEL", l), ("UNLINK", h, t, z), ("RENAME", z, "zrenamed"), ("COPY", l, "lcopy", "REPLACE"), ("MOVE", t, 1), ("FLUSHDB",), ("SWAPDB", 0, 1),
        ("FLUSHALL",), ("PFADD", "hll", member), ("PUBLISH", "news", member), ("GETEX", s, "PERSIST"), ("BITOP", "NOT", "sother", s)])


def fill(client, rng, count):
    for _ in range(count):
        words = random_change(rng)
        if words[0] not in ("FLUSHALL", "FLUSHDB", "SWAPDB"):
            client.wire(*words)


def fails(reply, text, what):
    if not isinstance(reply, ReplyError) or text not in str(reply):
        raise AssertionError("%s: %r" % (what, reply))


def check_undone(server, rng, rounds):
    """Random strict transactions whose last command fails, and the same inside a script."""
    client, watcher, listener = server.client(), server.client(), server.client()
    client.call("CONFIG", "SET", "notify-keyspace-events", "KEA")
    for words in [("SET", "word", "text"), ("SELECT", 1), ("SET", "other", 1), ("SELECT", 0)]:
        client.call(*words)
    fill(client, rng, 200)
    listener.call("PSUBSCRIBE", "*")
    for n in range(rounds):
        client.call("SELECT", 0)
        before = picture(client)
        watched = [key for db, key in before if db == 0][:20] + [b"absent"]
        watcher.call("WATCH", *watched)
        changes = [random_change(rng) for _ in range(rng.randrange(1, 8))]
        how = n % 3
        if how == 0:
            client.call("MULTI", "STRICT")
            for words in changes + [("LPUSH", "{bad}", "x"), ("INCR", "{bad}")]:
                expect(plain(client.wire(*words)), b"QUEUED", words)
            reply = plain(client.wire("EXEC"))
            if not isinstance(reply, ReplyError) or "EXECABORT Transaction undone because of command" not in str(reply):
                raise AssertionError("EXEC of %r: %r" % (changes, reply))
        else:
            client.call("CLIENT", "STRICT", "ON")
            body = "".join("redis.%s(%s)\n" % (rng.choice(["call", "pcall"]), ",".join("'%s'" % w for w in words)) for words in changes)
            end = "redis.pcall('LPUSH', '{bad}', 'x') redis.pcall('INCR', '{bad}') return 1" if how == 1 else "error('no')"
            reply = plain(client.wire("EVAL", body + end, 0))
            if not isinstance(reply, ReplyError):
                raise AssertionError("EVAL of %r: %r" % (body, reply))
            client.call("CLIENT", "STRICT", "OFF")
        expect(picture(client), before, "round %d, after %r" % (n, changes))
        watcher.call("MULTI")
        watcher.call("PING")
        expect(plain(watcher.wire("EXEC")), [b"PONG"], "a watch was marked in round %d by %r" % (n, changes))
    client.call("PUBLISH", "end", "x")
    seen = listener.read()
    expect(plain(seen)[2:], [b"end", b"x"], "the first message that a listener gets")
    for c in (client, watcher, listener):
        c.close()


def check_deadlines(server):
    """A deadline that takes another one's place is undone in place."""
    client = server.client()
    for words in (("SET", "d1", "v"), ("RPUSH", "d2", "v"), ("HSET", "d3", "f", "v"), ("ZADD", "d4", 1, "v")):
        client.call(*words)
        client.call("PEXPIREAT", words[1], 4000000000000)
        for change in (("PEXPIREAT", words[1], 4000000001000), ("PERSIST", words[1]), ("PEXPIRE", words[1], 1000000)):
            client.call("MULTI", "STRICT")
            client.wire(*change)
            client.wire("INCR", "word")
            fails(plain(client.wire("EXEC")), "Transaction undone", "EXEC")
            expect(client.call("PEXPIRETIME", words[1]), 4000000000000, "the deadline after %r" % (change,))
        client.call("DEL", words[1])
    client.close()


def check_waiters(server):
    """A push that is undone serves nobody."""
    client, waiter = server.client(), server.client()
    waiter.send("BLPOP", "queue", 0)
    while b"blpop" not in client.call("CLIENT", "LIST"):
        pass
    client.call("MULTI", "STRICT")
    client.wire("RPUSH", "queue", "undone")
    client.wire("INCR", "word")
    fails(plain(client.wire("EXEC")), "command 2, 'incr': ERR value is not an integer or out of range", "EXEC")
    client.call("RPUSH", "queue", "real")
    expect(plain(waiter.read()), [b"queue", b"real"], "BLPOP")
    client.close()
    waiter.close()


def check_plain(server):
    """Without the switch EXEC is Redis' EXEC, and the switch is not left behind."""
    client = server.client()
    for strict, undone in [(False, False), (True, True), (False, False)]:
        client.call("SET", "a", "old")
        client.call("MULTI", *(["STRICT"] if strict else []))
        client.wire("SET", "a", "new")
        client.wire("INCR", "a")
        reply = plain(client.wire("EXEC"))
        expect(isinstance(reply, ReplyError), undone, "EXEC, strict %s" % strict)
        expect(client.call("GET", "a"), b"old" if undone else b"new", "after EXEC, strict %s" % strict)
    client.call("WATCH", "a")
    for _ in range(2):  # what a transaction changes itself does not mark its own next one
        client.call("MULTI")
        client.wire("SET", "a", "mine")
        expect(len(plain(client.wire("EXEC"))), 1, "EXEC after an EXEC that changed a key it watched")
    client.call("MULTI", "STRICT")
    client.call("DISCARD")
    expect(client.call("CLIENT", "STRICT"), b"off", "CLIENT STRICT")
    client.call("CLIENT", "STRICT", "ON")
    client.call("RESET")
    expect(client.call("CLIENT", "STRICT"), b"off", "CLIENT STRICT after RESET")
    fails(plain(client.wire("MULTI", "LOOSE")), "wrong number of arguments for 'multi' command", "MULTI LOOSE")
    client.close()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=150)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    server = Server("holdfast", durability="commit")
    server.start()
    check_undone(server, rng, arguments.rounds)
    check_deadlines(server)
    check_waiters(server)
    check_plain(server)
    client = server.client()
    before = picture(client, encodings=False)
    client.call("MULTI", "STRICT")
    client.wire("FLUSHALL")
    client.wire("LPUSH", "word", "x")
    client.wire("INCR", "word")
    client.wire("EXEC")
    client.close()
    server.kill9()
    server.start()
    client = server.client()
    expect(picture(client, encodings=False), before, "after a restart")
    client.close()
    server.stop()
    print("strict.py: %d transactions undone, nothing seen of them" % arguments.rounds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
