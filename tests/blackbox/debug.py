"""debug.py -- DEBUG: who may use it, and that its digests are those of redis-server.

Goal:   two servers hold the same data exactly when DEBUG DIGEST says so, whichever of them is Redis; what is reloaded is what was.
Method: one script of commands to redis-server and to holdfast, replies and digests compared; then a reload, compared once more.
Usage:  debug.py [--seed S]
"""
import argparse
import os
import random
import re
import signal
import subprocess
import sys
import time

from harness import ReplyError, Server, environment, first_client, holdfast_path, plain, temp_dir

ALLOWED = ["--enable-debug-command", "yes"]


def expect(found, wanted, what):
    if found != wanted:
        raise AssertionError("%s: %r, not %r" % (what, found, wanted))


def refused(client, *words):
    try:
        client.call(*words)
    except ReplyError as error:
        return str(error)
    return ""


def fill(rng):
    """Commands that make values of every type, small and large, some with a deadline far away."""
    word = lambda: ("%x" % rng.getrandbits(rng.choice([8, 32, 400]))).encode()
    for n in range(120):
        yield ("SET", "s%d" % n, word())
        yield ("RPUSH", "l%d" % (n % 9), word(), word())
        yield ("SADD", "u%d" % (n % 7), word(), word())
        yield ("SADD", "i%d" % (n % 3), rng.randrange(10000))
        yield ("ZADD", "z%d" % (n % 5), repr(rng.uniform(-1e6, 1e6)), word(), rng.randrange(9), word())
        yield ("HSET", "h%d" % (n % 5), word(), word())
        yield ("XADD", "x%d" % (n % 3), "%d-%d" % (n + 1, n), word(), word())
    for n in range(0, 120, 7):
        yield ("PEXPIREAT", "s%d" % n, 4102444800000)
    yield ("PEXPIREAT", "l1", 4102444800000)
    yield ("SELECT", 3)
    yield ("SET", "s1", "another")
    yield ("SELECT", 0)


def check_allowed():
    for extra, allowed in ((["--enable-debug-command", "no"], False), (ALLOWED, True), (["--enable-debug-command", "local"], True)):
        replies = []
        for kind in ("redis", "holdfast"):
            with Server(kind, extra=extra) as server:
                client = server.client()
                text = refused(client, "DEBUG", "SET-ACTIVE-EXPIRE", "1")
                expect(text == "", allowed, "DEBUG on %s with %r" % (kind, extra))
                client.call("MULTI")
                queued = refused(client, "DEBUG", "SET-ACTIVE-EXPIRE", "1")
                replies.append((text, queued, refused(client, "EXEC"), refused(client, "CONFIG", "SET", "enable-debug-command", "yes")[:30]))
        expect(replies[1], replies[0], "replies with %r" % extra)


def check_words(redis, holdfast):
    types = "string integer double bignum null array set map attrib push verbatim true false nonsense".split()
    lines = [("DEBUG", "PROTOCOL", t) for t in types]
    lines += [("DEBUG", "NOSUCH"), ("DEBUG", "SLEEP"), ("DEBUG", "ERROR", "WORD of mine"), ("DEBUG", "OBJECT", "absent"),
              ("DEBUG", "RELOAD", "NONSENSE"), ("DEBUG", "LOG", "a line"), ("DEBUG", "QUICKLIST-PACKED-THRESHOLD", "100b"),
              ("COMMAND", "GETKEYS", "DEBUG", "DIGEST-VALUE", "a"), ("DEBUG",)]
    lines += [("DEBUG", *line.split()) for line in """SET-ACTIVE-EXPIRE 1|SET-ACTIVE-EXPIRE|SET-ACTIVE-EXPIRE 1 2|SET-DISABLE-DENY-SCRIPTS 0
        SET-DISABLE-DENY-SCRIPTS|LOG|LOG a b|LEAK|JMAP|QUICKLIST-PACKED-THRESHOLD|REPLICATE|POPULATE|POPULATE x|POPULATE 1 a x|POPULATE 1 a 1 x
        DICT-RESIZING 1|PAUSE-CRON 0|PAUSE-CRON|REPLYBUFFER|REPLYBUFFER x y|ZIPLIST a|ERROR|ERROR a b|DIGEST x|PROTOCOL|PROTOCOL x y
        OBJECT|OBJECT a b|SLEEP 0 0|STRINGMATCH-LEN|STRINGMATCH-LEN 3|HTSTATS-KEY|HTSTATS-KEY absent|CONFIG-REWRITE-FORCE-ALL x|MALLCTL|SDSLEN
        LISTPACK|QUICKLIST|CHANGE-REPL-ID x|STRUCTSIZE x|DROP-CLUSTER-PACKET-FILTER|HELP x""".replace("\n", "|").split("|")]
    for line in lines:
        if line[2:] != ("push",):
            expect(plain(holdfast.wire(*line)), plain(redis.wire(*line)), " ".join(line))


def check_expiry(client):
    client.call("DEBUG", "SET-ACTIVE-EXPIRE", 0)
    client.call("SET", "due", 1, "PX", 1)
    deadline = int(client.call("TIME")[0]) + 2
    while int(client.call("TIME")[0]) < deadline:
        expect(client.call("DBSIZE"), 1, "keys while nothing looks")
    client.call("DEBUG", "SET-ACTIVE-EXPIRE", 1)
    for _ in range(100000):
        if client.call("DBSIZE") == 0:
            return
    raise AssertionError("the key stays")


def check_populate(redis, holdfast):
    lines = [("POPULATE", 500), ("POPULATE", 3, "other"), ("POPULATE", 700, "key", 3), ("POPULATE", 20, "", 300),
             ("POPULATE", 5, "key", 0), ("POPULATE", 0), ("POPULATE", -1), ("POPULATE", 3, "x", -1), ("POPULATE", "a"),
             ("POPULATE", 3, "x", 1, 1), ("POPULATE",)]
    for line in lines:
        expect(plain(holdfast.wire("DEBUG", *line)), plain(redis.wire("DEBUG", *line)), " ".join(map(str, line)))
        expect(holdfast.call("DEBUG", "DIGEST"), redis.call("DEBUG", "DIGEST"), "digest after %r" % (line,))
    for client in (redis, holdfast):
        client.call("FLUSHALL")


def check_attribute(redis, holdfast):
    script = "return redis.call('DEBUG', 'PROTOCOL', 'attrib')"
    types = "string integer double bignum null array set map verbatim true false".split()
    replies = []
    for client in (redis, holdfast):
        client.call("DEBUG", "SET-DISABLE-DENY-SCRIPTS", 1)
        replies.append([client.call("EVAL", "redis.setresp(%d) %s" % (version, script), 0) for version in (2, 3)])
        replies[-1].append([client.call("EVAL", "redis.setresp(%d) return redis.call('DEBUG', 'PROTOCOL', '%s')" % (version, kind), 0)
                            for version in (2, 3) for kind in types if kind != "push"])
        client.call("SET", "short", 1, "PX", 1)
        client.call("EVAL", "redis.call('DEBUG', 'SLEEP', 0.01)", 0)
        replies[-1].append(client.call("EXISTS", "short"))
        client.call("DEBUG", "SET-DISABLE-DENY-SCRIPTS", 0)
        client.call("DEBUG", "PROTOCOL", "integer")
        replies[-1].append(refused(client, "EVAL", "return redis.call('CONFIG', 'GET', 'port')", 0)[:60])
        replies[-1].append(client.call("COMMAND", "INFO", "debug|object"))
    expect(replies[1], replies[0], "attributes in scripts")


def check_htstats(redis, holdfast):
    for client in (redis, holdfast):
        client.call("FLUSHALL")
        client.call("DEBUG", "POPULATE", 1000)
        client.call("SET", "soon", 1, "EX", 1000)
        client.call("HSET", "h", "f", "v")
    for line in (("HTSTATS", "x"), ("HTSTATS", 99), ("HTSTATS", -1), ("HTSTATS",), ("HTSTATS", 0, 1), ("HTSTATS-KEY", "h"),
                 ("HTSTATS-KEY", "soon"), ("HTSTATS-KEY", "absent"), ("HTSTATS-KEY",), ("HTSTATS-KEY", "h", 1)):
        expect(plain(holdfast.wire("DEBUG", *line)), plain(redis.wire("DEBUG", *line)), " ".join(map(str, line)))
    for client in (redis, holdfast):
        text = client.call("DEBUG", "HTSTATS", 0)
        expect(re.search(rb"^ number of elements: (\d+)", text, re.M).group(1), b"1002", "keys in HTSTATS")
        places = int(re.search(rb"^ table size: (\d+)", text, re.M).group(1))
        if not 1002 <= places:
            raise AssertionError("places for keys: %d" % places)
        assert b"No stats available for empty dictionaries" in client.call("DEBUG", "HTSTATS", 3)
        client.call("FLUSHALL")


def check_crashes():
    """What was acknowledged is there after either end."""
    directory = temp_dir()
    server = Server("holdfast", directory=directory, durability="commit", extra=ALLOWED)
    for number, (word, status) in enumerate((("SEGFAULT", -signal.SIGSEGV), ("PANIC", -signal.SIGABRT))):
        server.start()
        client = server.client()
        expect(client.call("INCR", "starts"), number + 1, "starts")
        client.send("DEBUG", word)
        ended = server.process.wait(60)
        if "san" not in os.environ.get("HOLDFAST", ""):     # a sanitizer takes the first and ends in its own way
            expect(ended, status, "exit status of %s" % word)
        assert ended != 0, word
        said = open(os.path.join(directory, "server.out")).read()
        expect("broken invariant" in said, number == 1, "what %s says" % word)
    server.start()
    expect(server.client().call("GET", "starts"), b"2", "after both")
    server.stop()


def check_rewrite():
    """The file that names every setting is read again, and every setting is what it was."""
    path = os.path.join(temp_dir(), "server.conf")
    with open(path, "w") as out:
        out.write("# kept\nmaxmemory 100mb\n")
    server = Server("holdfast", durability="interval", extra=ALLOWED)
    words = server.arguments
    server.arguments = lambda port: words(port)[:1] + [path] + words(port)[1:]
    server.start()
    client = server.client()
    client.call("CONFIG", "SET", "save", "60 1", "client-output-buffer-limit", "normal 1mb 1mb 3", "shutdown-on-sigint", "save now")
    before = client.call("CONFIG", "GET", "*")
    port = server.port
    expect(client.call("DEBUG", "CONFIG-REWRITE-FORCE-ALL"), b"OK", "CONFIG-REWRITE-FORCE-ALL")
    server.stop()
    lines = open(path).read().splitlines()
    assert lines[0] == "# kept" and len(lines) > 150, lines[:5]
    process = subprocess.Popen([holdfast_path(), path], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env=environment())
    try:
        client = first_client(process, port)
        expect(client.call("CONFIG", "GET", "*"), before, "settings")
    finally:
        process.terminate()
        process.wait(60)


def check_due_key(redis, holdfast):
    """DEBUG OBJECT looks at a key past its deadline without removing it."""
    for client in (redis, holdfast):
        client.call("DEBUG", "SET-ACTIVE-EXPIRE", 0)
        client.call("SET", "due", "value", "PX", 1)
        begun = time.monotonic()
        while time.monotonic() - begun < 0.003:
            client.call("PING")
        shown = [refused(client, "DEBUG", "OBJECT", "due") for _ in range(2)]
        expect(shown, ["", ""], "DEBUG OBJECT of a due key")
        expect(client.call("EXISTS", "due"), 0, "EXISTS")
        expect(refused(client, "DEBUG", "OBJECT", "due"), "ERR no such key", "DEBUG OBJECT after somebody looked")
        client.call("DEBUG", "SET-ACTIVE-EXPIRE", 1)


def check_sleep(client):
    """It counts as long, though nobody else waits for it."""
    client.call("CONFIG", "SET", "slowlog-log-slower-than", 10000)
    client.call("SLOWLOG", "RESET")
    client.call("DEBUG", "SLEEP", "0.02")
    entry = client.call("SLOWLOG", "GET", 1)[0]
    expect(entry[3], [b"DEBUG", b"SLEEP", b"0.02"], "what SLOWLOG keeps")
    if entry[2] < 19000:
        raise AssertionError("SLOWLOG says %d microseconds" % entry[2])


def check_stale_swaps(redis, holdfast):
    """SWAPDB that brings an expired key is no change to a watch, whoever removes it."""
    def run(client, both, touched):
        client.call("FLUSHALL")
        client.call("DEBUG", "SET-ACTIVE-EXPIRE", 0)
        client.call("SELECT", 0)
        client.call("SET", "x", "old", "PX", 1)
        client.call("SELECT", 1)
        if both:
            client.call("SET", "x", "old", "PX", 1)
        begun = time.monotonic()
        while time.monotonic() - begun < 0.003:     # by then both are due
            client.call("PING")
        client.call("WATCH", "x")
        client.call("SWAPDB", 0, 1)
        if touched:
            client.call(*touched)
        client.call("MULTI")
        client.call("PING")
        done = client.call("EXEC")
        client.call("SELECT", 0)
        client.call("FLUSHALL")     # the digest of Redis knows keys that are due
        client.call("DEBUG", "SET-ACTIVE-EXPIRE", 1)
        return done

    for both in (False, True):
        for touched in (None, ("GET", "x"), ("SET", "x", "new"), ("DEL", "x"), ("FLUSHALL",), ("SWAPDB", 0, 1)):
            expect(run(holdfast, both, touched), run(redis, both, touched), "EXEC after a stale swap and %r" % (touched,))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    arguments = parser.parse_args()
    try:
        check_allowed()
        check_crashes()
        check_rewrite()
        with Server("redis", extra=ALLOWED) as peer, Server("holdfast", durability="interval", extra=ALLOWED) as server:
            redis, holdfast = peer.client(), server.client()
            check_words(redis, holdfast)
            check_expiry(holdfast)
            check_populate(redis, holdfast)
            check_attribute(redis, holdfast)
            check_sleep(holdfast)
            check_htstats(redis, holdfast)
            check_due_key(redis, holdfast)
            check_stale_swaps(redis, holdfast)
            keys = ["s1", "s7", "l1", "l2", "u0", "i0", "z0", "h0", "x0", "absent"]
            for line in fill(random.Random(arguments.seed)):
                expect(plain(holdfast.wire(*line)), plain(redis.wire(*line)), repr(line))
            digest = redis.call("DEBUG", "DIGEST")
            expect(holdfast.call("DEBUG", "DIGEST"), digest, "digest")
            expect(holdfast.call("DEBUG", "DIGEST-VALUE", *keys), redis.call("DEBUG", "DIGEST-VALUE", *keys), "digests of values")
            for words in (("RELOAD",), ("LOADAOF",), ("RELOAD", "NOSAVE", "NOFLUSH", "MERGE")):
                expect(plain(holdfast.wire("DEBUG", *words)), plain(holdfast.wire("DEBUG", "LOG", "a")), words)
                expect(holdfast.call("DEBUG", "DIGEST"), digest, "digest after %r" % (words,))
            holdfast.call("APPEND", "s1", "x")
            if holdfast.call("DEBUG", "DIGEST") == digest:
                raise AssertionError("a digest that does not change")
            server.kill9()
            server.start()
            redis.call("APPEND", "s1", "x")
            expect(server.client().call("DEBUG", "DIGEST"), redis.call("DEBUG", "DIGEST"), "digest after kill -9")
    except AssertionError as error:
        print("%s\nrepeat: debug.py --seed %d" % (error, arguments.seed))
        return 1
    print("debug: digests equal those of redis-server, before and after reloads and kill -9 (seed %d)" % arguments.seed)
    return 0


if __name__ == "__main__":
    sys.exit(main())
