"""hostile.py -- what clients do who mean harm costs the server a bounded amount of memory and time, and others go on.

Goal:   before AUTH little is read and nothing is said; declared sizes, idle connections, replies that nobody reads, patterns, extreme
        numbers: the server's memory stays within a stated bound, and another client is answered.
Method: a client attacks; resident memory and another client's PING are looked at after. Bounds are generous: they tell a bound from none.
Usage:  hostile.py [check ...]
"""
import random
import resource
import socket
import sys
import time

from harness import Checks, Server, encode, is_sanitized

MB = 1 << 20
LOGIN_SECONDS = 10      # as long as a connection may take to log in
EXTREMES = (-2 ** 63, -2 ** 63 + 1, -2 ** 62, -2 ** 31 - 1, 2 ** 31, 2 ** 32 + 1, 2 ** 62, 2 ** 63 - 1, 2 ** 63, 2 ** 64 - 1)
WIDE = b"a" * 100000
STARS = b"*a" * 500 + b"*b"


def memory(server, field="VmRSS:"):
    with open("/proc/%d/status" % server.pid) as status:
        return int([line for line in status if line.startswith(field)][0].split()[1]) << 10


def grows_less(server, before, most, what, field="VmRSS:"):
    more = memory(server, field) - before
    assert more < most or is_sanitized(), "%s: %d MiB more" % (what, more // MB)


def connect(server, data=b""):
    s = socket.create_connection(("127.0.0.1", server.port), timeout=60)
    try:
        s.sendall(data)
    except OSError:     # ended meanwhile
        pass
    return s


def is_ended(s, within=60):
    """The server hangs up, whatever it says before."""
    s.settimeout(within)
    try:
        while s.recv(65536):
            pass
    except socket.timeout:
        return False
    except OSError:
        pass
    return True


def check_before_auth(silent, server):
    """Large words, many words, no end of line, much output, and nothing at all: each ends the connection. Those that are `silent` have
    been there for as long as the other checks took."""
    before = memory(server)
    for data in (b"*11\r\n", b"*1000000000\r\n", b"*1\r\n$16385\r\n", b"*1\r\n$536870912\r\n", b"x" * 70000, b"*" + b"1" * 70000,
                 encode("PING", "x" * 20000), b"-PING\r\n" * 20000 + b"*99\r\n", b"GET a\r\n" * 100000):
        assert is_ended(connect(server, data)), data[:40]
    held = [connect(server, b"*9\r\n$16000\r\n" + b"x" * 15000) for _ in range(200)]
    client = server.client()
    assert client.call("AUTH", "secret") == b"OK" and client.call("PING") == b"PONG"
    grows_less(server, before, 32 * MB, "before AUTH")
    for s in silent:
        assert is_ended(s, LOGIN_SECONDS + 60), "a connection that never logs in"
    del held


def check_declared(server):
    """A size that is only said costs nothing."""
    before, other = memory(server), server.client()
    held = []
    for data in (b"*1000000\r\n", b"*1\r\n$536870912\r\n", b"*1000000\r\n$536870912\r\nab", b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$500000000\r\nabc"):
        held += [connect(server, data) for _ in range(100)]
    for data in (b"*2147483648\r\n", b"*9223372036854775808\r\n", b"*1\r\n$-1\r\n", b"*1\r\n$9223372036854775808\r\n", b"*1\r\n$536870913\r\n"):
        assert is_ended(connect(server, data)), data
    assert other.call("PING") == b"PONG"
    grows_less(server, before, 64 * MB, "declared sizes")


def check_connections():
    """Ten thousand idle connections, or as many as there may be open files."""
    files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files[1], files[1]))
    count = min(10000, files[1] - 500)
    with Server("holdfast", extra=["--maxclients", str(count + 50)]) as server:
        before = memory(server)
        held = [connect(server) for _ in range(count)]
        client = server.client()
        assert client.call("PING") == b"PONG"
        for s in held[::100]:
            s.sendall(encode("PING"))
            assert s.recv(100) == b"+PONG\r\n"
        grows_less(server, before, count * 12 * 1024 + 16 * MB, "%d connections" % count)


def check_unread_replies():
    """Nobody reads what is asked for: each connection stays near its limit, also in one reply of many values, and the last ends."""
    extra = ["--client-output-buffer-limit", "normal", "8mb", "4mb", "60", "--proto-max-bulk-len", "1mb"]
    with Server("holdfast", extra=extra) as server:
        client = server.client()
        client.call("SET", "large", "x" * 100000)
        client.call("SADD", "set", "x" * 100000)
        client.call("HSET", "hash", "f", "x" * 100000)
        client.call("ZADD", "zset", "1", "x" * 100000)
        client.call("RPUSH", "list", *["x" * 100000] * 800)
        before = memory(server)
        with open("/proc/%d/clear_refs" % server.pid, "w") as refs:
            refs.write("5")     # the peak begins here
        pipeline = connect(server)
        pipeline.setblocking(False)
        try:
            pipeline.send(encode("GET", "large") * 20000)
        except BlockingIOError:
            pass
        many = encode("GET", "large") * 800
        for attack in (encode("MGET", *["large"] * 800), encode("MULTI") + many + encode("LATENCY", "HISTOGRAM") + encode("INFO") + encode("EXEC"),
                       encode("LRANGE", "list", 0, -1), encode("SORT", "list", "ALPHA"), encode("SRANDMEMBER", "set", -800),
                       encode("HRANDFIELD", "hash", -800, "WITHVALUES"), encode("ZRANDMEMBER", "zset", -800, "WITHSCORES"),
                       encode("EVAL", "local t = {} for i = 1, 800 do t[i] = ARGV[1] end return t", 0, "x" * 100000),
                       encode("MULTI") + encode("MGET", *["large"] * 800) + encode("BLPOP", "list", 0) + encode("EXEC")):
            s = connect(server, attack)
            assert is_ended(s), attack[:60]
            assert server.client().call("PING") == b"PONG"
        grows_less(server, before, 48 * MB, "replies that nobody reads", "VmHWM:")
        waits = connect(server, encode("BLMPOP", 0, 1, "later", "LEFT", "COUNT", 1000))
        client.call("RPUSH", "later", *["x" * 100000] * 200)
        assert is_ended(waits), "a reply that was waited for"
        assert client.call("INFO", "clients") and server.client().call("GET", "large") == b"x" * 100000
        pipeline.close()


def check_patterns(server):
    """Work of a pattern is at most its size times that of the text."""
    client, other = server.client(), server.client()
    client.call("SET", WIDE, "1")
    client.call("HSET", "h", WIDE, "1")
    client.call("SADD", "s", WIDE)
    client.call("ZADD", "z", 1, WIDE)
    listener = server.client()
    listener.call("PSUBSCRIBE", STARS)
    client.call("ACL", "SETUSER", "narrow", "on", "nopass", "+@all", "~" + STARS.decode(), "&" + STARS.decode())
    narrow = server.client()
    narrow.call("AUTH", "narrow", "x")
    for words in (("KEYS", STARS), ("SCAN", 0, "MATCH", STARS, "COUNT", 1000), ("HSCAN", "h", 0, "MATCH", STARS), ("SSCAN", "s", 0, "MATCH", STARS),
                  ("ZSCAN", "z", 0, "MATCH", STARS), ("PUBLISH", WIDE, "m"), ("CONFIG", "GET", STARS), ("PUBSUB", "CHANNELS", STARS),
                  ("FUNCTION", "LIST", "LIBRARYNAME", STARS), ("KEYS", b"[" * 1000), ("KEYS", b"*[^" * 1000), ("KEYS", b"*?" * 1000 + b"\\")):
        began = time.monotonic()
        client.wire(*words)
        assert time.monotonic() - began < 30, words[:2]
    for words in (("GET", WIDE), ("PUBLISH", WIDE, "m")):
        kind, said = narrow.wire(*words)
        assert kind == "-" and said.startswith(b"NOPERM"), said
    assert other.call("PING") == b"PONG"


def check_numbers(server):
    """Extreme counts, offsets and sizes: an answer, and no memory."""
    client, other = server.client(), server.client()
    before = memory(server)
    client.call("XGROUP", "CREATE", "x", "g", "0", "MKSTREAM")
    for n in EXTREMES:
        client.call("SADD", "set", "a", "b")
        client.call("DEL", "list", "text")
        client.call("RPUSH", "list", "a", "b")
        client.call("HSET", "hash", "a", "b")
        client.call("ZADD", "zset", 1, "a")
        client.call("XADD", "x", "*", "a", "b")
        client.call("SET", "text", "abc")
        client.call("GEOADD", "geo", 1, 1, "a")
        for line in ("SRANDMEMBER set N", "SPOP set N", "LPOP list N", "LRANGE list N N", "LTRIM list N N", "LINDEX list N", "LSET list N v", "LREM list N a",
                     "LPOS list a RANK N COUNT N MAXLEN N", "LMPOP N list LEFT", "LMPOP 1 list LEFT COUNT N", "HRANDFIELD hash N WITHVALUES", "HINCRBY hash n N",
                     "ZRANDMEMBER zset N WITHSCORES", "ZPOPMIN zset N", "ZMPOP N zset MIN", "ZRANGE zset N N", "ZRANGE zset -inf +inf BYSCORE LIMIT N N",
                     "ZREMRANGEBYRANK zset N N", "ZUNION N zset zset", "ZINTERCARD 1 zset LIMIT N", "ZADD zset N b", "SINTERCARD N set", "GETRANGE text N N",
                     "SETRANGE text N v", "SETBIT text N 1", "GETBIT text N", "BITCOUNT text N N", "BITPOS text 1 N N BIT", "BITFIELD text GET u8 N SET i8 #N 1",
                     "BITFIELD text INCRBY i64 0 N", "INCRBY n N", "DECRBY n N", "SETEX k N v", "EXPIRE text N", "PEXPIREAT text N", "GETEX text PX N", "SCAN N COUNT N",
                     "HSCAN hash N COUNT N", "GEOSEARCH geo FROMMEMBER a BYRADIUS 1 m COUNT N ANY", "GEORADIUS geo 1 1 N m COUNT N", "XRANGE x - + COUNT N",
                     "XRANGE x N-N N-N", "XREAD COUNT N BLOCK 1 STREAMS x N-N", "XREADGROUP GROUP g c COUNT N STREAMS x >", "XTRIM x MAXLEN ~ N LIMIT N", "XADD x MAXLEN N * a b",
                     "XADD x N-N a b", "XAUTOCLAIM x g c N 0 COUNT N", "XPENDING x g IDLE N - + N", "XCLAIM x g c N 1-1 RETRYCOUNT N", "XSETID x N-N ENTRIESADDED N MAXDELETEDID N-N",
                     "SORT list LIMIT N N", "OBJECT FREQ text", "MEMORY USAGE hash SAMPLES N", "SLOWLOG GET N", "ACL LOG N", "ACL GENPASS N", "EVAL x N a", "COPY text t2 DB N",
                     "SELECT N", "MOVE text N", "SWAPDB 0 N", "CLIENT TRACKING ON REDIRECT N", "CLIENT UNBLOCK N", "CLIENT KILL ID N", "LCS text text MINMATCHLEN N IDX",
                     "RESTORE r N x", "LATENCY GRAPH N", "FUNCTION STATS", "DEBUG JMAP", "BLMOVE list none LEFT LEFT -N", "WAIT N 1", "COMMAND GETKEYS ZUNION N a", "HELLO N"):
            words = line.replace("N", "\0").split()
            keep = words[0].replace("\0", "N")
            client.send(keep, *[w if w in ("\0SET",) else w.replace("\0", str(n)) if w.strip("\0-+#") == "" or w.startswith("\0") or w == "-\0" else w.replace("\0", "N") for w in words[1:]])
            client.read()
    assert other.call("PING") == b"PONG"
    grows_less(server, before, 64 * MB, "extreme numbers")


def check_sizes():
    """Strings and tables of a command's own are refused before they are made."""
    with Server("holdfast", extra=["--proto-max-bulk-len", "1mb", "--maxmemory", "64mb"]) as server:
        client = server.client()
        client.call("SET", "a", b"ab" * 250000)
        client.call("SET", "b", b"ba" * 250000)
        before = memory(server)
        for words in (("LCS", "a", "b"), ("LCS", "a", "b", "LEN"), ("LCS", "a", "b", "IDX"), ("SETRANGE", "c", 512 * MB, "x"), ("SETBIT", "c", 2 ** 32, 1),
                      ("BITFIELD", "c", "SET", "u8", 2 ** 32, 1)):
            kind, said = client.wire(*words)
            assert kind == "-", (words[0], said)
        grows_less(server, before, 32 * MB, "refused sizes")
        refused = 0
        for i in range(100):
            refused += client.wire("SETRANGE", "k%d" % i, MB - 1, "x")[0] == "-"
            refused += client.wire("BITOP", "NOT", "n%d" % i, "k%d" % i)[0] == "-"
        assert refused > 50, refused
        grows_less(server, before, 96 * MB, "values beyond maxmemory")
        assert client.call("GET", "a")[:2] == b"ab"


def check_orders():
    """The hash of keys, fields and members is keyed anew at each start: nobody can choose names that collide."""
    def orders():
        with Server("holdfast") as server:
            client = server.client()
            names = ["name%d" % i for i in range(2000)]
            client.call("MSET", *[word for name in names for word in (name, "v")])
            client.call("SADD", "set", *names)
            client.call("HSET", "hash", *[word for name in names for word in (name, "v")])
            return client.call("SCAN", 0, "COUNT", 500)[1], client.call("SSCAN", "set", 0, "COUNT", 500)[1], client.call("HSCAN", "hash", 0, "COUNT", 500)[1]
    for kind, one, two in zip(("keys", "members", "fields"), orders(), orders()):
        assert one != two, kind


def check_unions(server):
    """A member's score changes with each input that holds it; that costs no more than looking at the member."""
    client = server.client()
    client.call("SADD", "big", *range(20000))
    began = time.monotonic()
    assert client.call("ZUNIONSTORE", "out", 100, *["big"] * 100) == 20000
    assert time.monotonic() - began < 30
    assert client.call("ZSCORE", "out", random.randrange(20000)) == b"100"


def main():
    checks = Checks("hostile")
    with Server("holdfast") as locked, Server("holdfast") as server:
        locked.client().call("CONFIG", "SET", "requirepass", "secret")
        silent = [connect(locked), connect(locked, b"*2\r\n$4\r\nAU"), connect(locked, b"GET")]
        checks.run([check_declared, check_patterns, check_numbers, check_unions], server)
        checks.run([check_unread_replies, check_sizes, check_orders, check_connections])
        checks.run([check_before_auth], silent, locked)
    return checks.end()


if __name__ == "__main__":
    sys.exit(main())
