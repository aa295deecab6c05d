"""await.py -- WAIT, WAITAOF, and the words of replication on a server without replicas.

Goal:   WAIT waits as long as it is told and may be unblocked, as in Redis; WAITAOF answers 1 for the disk only when what was written
        before is on disk; FAILOVER, REPLICAOF, REPLCONF, SHUTDOWN and ROLE refuse and answer with Redis' texts.
Method: times are held against lower bounds and generous upper ones; words go to redis-server, too. The disk: with durability interval
        and a long interval nothing is durable before WAITAOF asks for it.
Usage:  await.py [check ...]
"""
import sys
import time

from harness import Checks, ReplyError, Server, plain


def expect(found, wanted, what):
    if found != wanted:
        raise AssertionError("%s: %r, not %r" % (what, found, wanted))


def timed(client, *words):
    began = time.monotonic()
    return plain(client.wire(*words)), time.monotonic() - began


def persistence(client):
    return dict(line.split(":", 1) for line in client.call("INFO", "persistence").decode().split("\r\n") if ":" in line)


def check_wait(server):
    c, other = server.client(), server.client()
    reply, took = timed(c, "WAIT", 1, 150)
    assert reply == 0 and 0.14 < took < 20, (reply, took)
    for words in (("WAIT", 0, 0), ("WAIT", 0, 100000), ("WAIT", -1, 100000)):
        reply, took = timed(c, *words)
        assert reply == 0 and took < 20, (words, reply, took)
    identity = c.call("CLIENT", "ID")
    c.send("WAIT", 2, 0)
    deadline = time.monotonic() + 30
    while other.call("CLIENT", "UNBLOCK", identity) == 0 and time.monotonic() < deadline:
        time.sleep(0.01)
    expect(plain(c.read()), 0, "unblocked")
    expect(c.pipeline([("MULTI",), ("SET", "k", "v"), ("WAIT", 1, 0), ("EXEC",)])[-1], [b"OK", 0], "inside MULTI nothing waits")
    c.close()
    other.close()


WORDS = ["WAIT x 1", "WAIT 1 x", "WAIT 1 -1", "WAIT 1", "FAILOVER", "FAILOVER ABORT", "FAILOVER TO a 1", "FAILOVER TO a", "FAILOVER TO a x",
         "FAILOVER TIMEOUT 0", "FAILOVER TIMEOUT x", "FAILOVER TIMEOUT 5", "FAILOVER TO a 1 FORCE TIMEOUT 5", "FAILOVER FORCE", "FAILOVER foo",
         "FAILOVER ABORT x", "REPLICAOF a x", "REPLICAOF a 99999", "REPLICAOF a -1", "REPLICAOF no two", "REPLICAOF no one", "SLAVEOF NO ONE",
         "REPLCONF", "REPLCONF foo", "REPLCONF foo bar", "REPLCONF listening-port x", "REPLCONF listening-port 7", "REPLCONF capa eof",
         "REPLCONF rdb-only x", "REPLCONF rdb-only 2", "REPLCONF rdb-only 1", "REPLCONF rdb-filter-only functions", "REPLCONF rdb-filter-only keys",
         'REPLCONF rdb-filter-only "x', "REPLCONF RDB-FILTER-ONLY FUNCTIONS capa psync2",
         "REPLCONF ip-address 1.2.3.4 capa psync2", "SHUTDOWN foo", "SHUTDOWN ABORT", "SHUTDOWN ABORT NOW", "SHUTDOWN SAVE NOSAVE",
         "SHUTDOWN NOW x", "ROLE", "ROLE x", "LOLWUT VERSION x"]


def check_words(server):
    c = server.client()
    replies = [c.wire(*words.split()) for words in WORDS]
    c.close()
    if server.kind == "redis":
        check_words.wanted = replies
        return
    for words, reply, wanted in zip(WORDS, replies, check_words.wanted):
        expect(reply, wanted, words)


def check_waitaof(server):
    """On holdfast with an interval of a minute, and 7.2's documented texts."""
    c, other = server.client(), server.client()
    c.call("SET", "k", "v")
    assert int(persistence(c)["wal_durable_lag_bytes"]) > 0, "nothing to wait for"
    reply, took = timed(c, "WAITAOF", 1, 0, 60000)
    assert reply == [1, 0] and took < 30, (reply, took)
    expect(persistence(c)["wal_durable_lag_bytes"], "0", "on disk")
    reply, took = timed(c, "WAITAOF", 1, 1, 100)
    assert reply == [1, 0] and 0.09 < took < 20, (reply, took)
    other.call("SET", "k", "w")
    expect(plain(c.wire("WAITAOF", 0, 0, 0)), [0, 0], "nobody waited")
    expect(c.pipeline([("MULTI",), ("SET", "k", "x"), ("WAITAOF", 1, 0, 0), ("EXEC",)])[-1], [b"OK", [0, 0]], "inside MULTI nothing waits")
    identity = c.call("CLIENT", "ID")
    c.send("WAITAOF", 1, 1, 0)
    deadline = time.monotonic() + 30
    while persistence(other)["wal_durable_lag_bytes"] != "0" and time.monotonic() < deadline:
        time.sleep(0.01)
    while other.call("CLIENT", "UNBLOCK", identity) == 0 and time.monotonic() < deadline:
        time.sleep(0.01)
    expect(plain(c.read()), [1, 0], "unblocked")
    for number in range(60):    # also just when it would have looked again
        other.call("SET", "k", number)
        c.send("WAITAOF", 1, 1, 0)
        time.sleep(number % 20 * 0.0003)
        while other.call("CLIENT", "UNBLOCK", identity) == 0 and time.monotonic() < deadline:
            pass
        expect(plain(c.read())[1], 0, "unblocked at any time")
    for words, text in (("2 0 0", "value is out of range, value must between 0 and 1"), ("-1 0 0", "value is out of range, value must between 0 and 1"),
                        ("x 0 0", "value is not an integer or out of range"), ("1 -1 0", "value is out of range, must be positive"),
                        ("1 0 -1", "timeout is negative"), ("1 0 x", "timeout is not an integer or out of range")):
        expect(plain(c.wire("WAITAOF", *words.split())), ReplyError("ERR " + text), words)
    c.close()
    other.close()


def check_waitaof_memory():
    with Server("holdfast", durability="none") as server:
        c = server.client()
        expect(plain(c.wire("WAITAOF", 1, 0, 0)),
               ReplyError("ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled."), "memory only")
        expect(c.call("WAITAOF", 0, 0, 0), [0, 0], "memory only")
        c.close()


def main():
    checks = Checks("await")
    with Server("redis") as redis, Server("holdfast", durability="interval", extra=["--interval-ms", "60000"]) as holdfast:
        for server in (redis, holdfast):
            checks.run((check_wait, check_words), server)
        checks.run([check_waitaof], holdfast)
    checks.run([check_waitaof_memory])
    return checks.end()


if __name__ == "__main__":
    sys.exit(main())
