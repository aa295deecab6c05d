"""memcached_watch.py -- `watch` and `stats detail`: what memcached's clients are told of the commands of others.

Goal:   the lines of a connection that watches are those of memcached 1.6.18 (type, key, status, command, ttl, size), command by
        command and in the same order, and so are the counts by prefix. One that does not read is skipped in a bounded output,
        told how many lines it has missed, and holds up nobody. Evictions, connections that come and go, and who may watch.
Method: the same commands to both servers, with a mark behind each that shows where its lines end.
        Left out: numbers of classes, time to live of a deadline in the past (memcached shows 32 bits of a negative number), `expired`
        and `flushed` (here such a key has mostly gone before somebody asks for it), binary values that are too large (memcached 1.6.18 crashes on them).
Usage:  memcached_watch.py [check ...]
"""
import re
import socket
import sys

from harness import Checks, plain
from memcached_peer import Binary, Holdfast, Peer, Text, packet

HUGE = b"x" * 2000000 + b"\r\n"
TEXT = [b"get a\r\n", b"set a 0 0 3\r\nabc\r\n", b"get a b a\r\n", b"gets a\r\n", b"add a 0 0 1\r\nx\r\n", b"add b 5 100 1\r\nx\r\n",
        b"replace b 0 0 2\r\nyy\r\n", b"replace nope 0 0 2\r\nyy\r\n", b"append b 0 0 2\r\nzz\r\n", b"prepend b 0 50 2\r\nzz\r\n", b"append nope 0 0 2\r\nzz\r\n",
        b"cas b 0 0 1 7\r\nq\r\n", b"cas nope 0 0 1 7\r\nq\r\n", b"incr a 1\r\n", b"set n 0 0 1\r\n9\r\n", b"incr n 1\r\n", b"incr n 1000000\r\n",
        b"decr n 5\r\n", b"incr nope 1\r\n", b"touch b 100\r\n", b"touch nope 100\r\n", b"gat 100 b nope\r\n", b"gats 0 b\r\n", b"delete b\r\n",
        b"delete b\r\n", b"mg a v\r\n", b"mg nope v\r\n", b"mg a q k T30\r\n", b"mg viv N30 v\r\n", b"mg viv N30 v\r\n", b"ms m 2 T40\r\nhi\r\n",
        b"ms m 2 ME\r\nhi\r\n", b"ms m 2 MA\r\nhi\r\n", b"ms m 2 MR\r\nhi\r\n", b"ms m 2 C5\r\nhi\r\n", b"ms m2 2 MA\r\nhi\r\n", b"ma n\r\n", b"ma n D10 v\r\n",
        b"ma nn N0 J12 v\r\n", b"ma nope\r\n", b"md m q\r\n", b"md m\r\n", b"md a I\r\n", b"me a\r\n", b"me nope\r\n", b"set a 0 0 2000000\r\n" + HUGE,
        b"add c 0 0 2000000\r\n" + HUGE, b"append c 0 0 2000000 noreply\r\n" + HUGE, b"ms m 2000000\r\n" + HUGE, b"set #\xff~, 0 0 3\r\nabc\r\n",
        b"set e 0 99999 0\r\n\r\n", b"set k 0 0 1 noreply\r\nx\r\n", b"bget k\r\n", b"mg aGVsbG8= b N30\r\n", b"get hello\r\n", b"flush_all\r\n"]
SUM, STORE = b"\0" * 7 + b"\1" + b"\0" * 12, b"\0" * 8
PACKETS = [packet(0x00, b"bk"), packet(0x01, b"bk", b"val", STORE), packet(0x00, b"bk"), packet(0x0c, b"bk"), packet(0x1d, b"bk", extras=b"\0\0\0\x10"),
           packet(0x1c, b"bk", extras=b"\0\0\0\x10"), packet(0x0e, b"bk", b"v2"), packet(0x02, b"bk", b"v", STORE), packet(0x03, b"bk", b"v", STORE),
           packet(0x05, b"bn", extras=SUM), packet(0x05, b"bn", extras=SUM), packet(0x06, b"bn", extras=SUM), packet(0x04, b"bk"), packet(0x04, b"bk"),
           packet(0x11, b"bq", b"v", STORE), packet(0x0e, b"zz", b"v2"), packet(0x08)]
MARK = b"get the:mark\r\n"


def expect(found, wanted):
    if found != wanted:
        raise AssertionError("found %r, wanted %r" % (found, wanted))


def watch(server, streams, size=0):
    watcher = Text(server)
    if size:
        watcher.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)
    watcher.send(b"watch%b\r\n" % b"".join(b" " + s for s in streams.encode().split()))
    expect(watcher.until(b"\r\n"), b"OK\r\n")
    return watcher


def until_mark(watcher):
    lines = []
    while True:
        line = watcher.until(b"\n")
        match = re.match(rb"ts=\d+\.\d+ gid=\d+ (type=.*)\n", line)
        assert match, line
        if b"key=the%3Amark" in line:
            return lines
        lines.append(re.sub(rb" clsid=\d+ cfd=\S+", b"", match[1]))


def exchange(server):
    """[(command, lines)] of one that watches fetchers and mutations, [(command, lines)] of one that watches mutations and sees a set as mark."""
    watcher, text, binary = watch(server, "fetchers mutations"), Text(server), Binary(server)
    for command in TEXT:
        text.call(command)
        text.call(MARK)
    for command in PACKETS:
        binary.call(command)
        text.call(MARK)
    return [(command[:60], until_mark(watcher)) for command in TEXT + PACKETS]


def check_lines():
    """The lines of both servers, command by command."""
    with Peer(workers=1) as peer, Holdfast() as server:
        told = [exchange(one) for one in (peer, server)]
    for (command, wanted), (_, found) in zip(*told):
        if wanted != found:
            raise AssertionError("%r: found %r, wanted %r" % (command, found, wanted))
    assert sum(len(lines) for _, lines in told[0]) > 80


def dump(text):
    return sorted(text.call(b"stats detail dump\r\n").split(b"\r\n"))


def details(server):
    text, binary, told = Text(server), Binary(server), []
    for line in (b"stats detail\r\n", b"stats detail bogus\r\n", b"stats detail dump\r\n", b"get p:1\r\n", b"stats detail on\r\n"):
        told.append(text.call(line))
    told.append(b"STAT detail_enabled yes" in text.call(b"stats settings\r\n"))
    for command in TEXT:
        text.call(re.sub(rb"^(\S+(?: \d+)?) (?=[a-z])", rb"\1 pre:", command))
    for key in (b"x:1", b"x:2:3", b":", b"nocolon", b"y:1"):
        text.call(b"get %b\r\nset %b 0 0 1\r\nv\r\ndelete %b\r\ngat 0 %b\r\n" % ((key,) * 4))
        binary.call(packet(0x00, key), packet(0x01, key, b"v", STORE), packet(0x00, key), packet(0x1d, key, extras=b"\0\0\0\x10"), packet(0x04, key))
    told.append(dump(text))
    told.append([(answer[4], sorted(answer[5].split(b"\r\n"))) for answer in binary.call(packet(0x10, b"detail dump"))])
    told.append(text.call(b"stats reset\r\n"))
    told.append(dump(text))
    told.append([answer[:3] for answer in binary.call(packet(0x10, b"detail off"), packet(0x10, b"detail bogus"))])
    text.call(b"get x:1\r\n")
    told.append(dump(text))
    return told


def check_details():
    """Counts by prefix, in both protocols."""
    with Peer() as peer, Holdfast() as server:
        for wanted, found in zip(details(peer), details(server)):
            expect(found, wanted)
        text = Text(server)         # no more prefixes than so many
        text.call(b"stats detail on\r\n")
        for first in range(0, 11000, 1000):
            text.call(b"".join(b"get p%d:x\r\n" % i for i in range(first, first + 1000)))
        expect(len(dump(text)), 10000 + 2)


def check_slow():
    """Who does not read is skipped, and told; nobody waits for it, and its output stays bounded."""
    with Holdfast() as server:
        slow, text, redis = watch(server, "fetchers", 65536), Text(server), server.client()
        key, sent = b"k" * 230, 0
        while b"log_watcher_skipped 0\r\n" in text.call(b"stats\r\n"):
            text.call(b"get %b\r\n" % b" ".join([key] * 2000))
            sent += 2000
            assert sent < 400000
        lines = dict(word.split("=", 1) for line in redis.call("CLIENT", "LIST").decode().split("\n") if " cmd=watch " in line
                     for word in line.split(" ") if "=" in word)
        assert int(lines["omem"]) < 1 << 20, lines
        found, last = 0, b""
        while not last.startswith(b"skipped="):
            text.call(b"get %b\r\n" % key)
            sent += 1
            for _ in range(100):
                last = slow.until(b"\n")
                if last.startswith(b"skipped="):
                    break
                found += 1
                if not slow.rest.count(b"\n") and found > 100:
                    break
        skipped = int(last.split(b"=")[1])
        assert b"type=item_get" in slow.until(b"\n")
        stats = dict(line.split(b" ")[1:] for line in text.call(b"stats\r\n").split(b"\r\n") if line.startswith(b"STAT "))
        assert found + skipped <= sent and int(stats[b"log_watcher_skipped"]) >= skipped > 0, (found, skipped, sent, stats)
        expect(int(stats[b"log_watchers"]), 1)
        slow.close()


def check_evictions():
    """What goes for want of memory is told: of the database of memcached's clients, and of strings only."""
    with Holdfast(extra=["--maxmemory", "8mb", "--maxmemory-policy", "allkeys-lru"]) as server:
        watcher, text, redis = watch(server, "evictions"), Text(server), server.client()
        redis.call("SELECT", "1")
        told = {}
        for first in range(0, 4000, 100):
            redis.pipeline([("SET", "other%d" % i, "v" * 1000) for i in range(first, first + 100)])
            text.send(b"".join(b"set e%d 0 %d 5000\r\n%b\r\n" % (i, i % 2 * 1000, b"v" * 5000) for i in range(first, first + 100)) + b"mn\r\n")
            text.reply()
        redis.call("CONFIG", "SET", "maxmemory", "0")
        text.call(b"get e0\r\n")
        evicted = int(re.search(rb"STAT evictions (\d+)", text.call(b"stats\r\n"))[1])
        watcher.socket.settimeout(20)
        there = {int(i) for i in re.findall(rb"HD ke(\d+)", text.call(b"".join(b"mg e%d k\r\n" % i for i in range(4000))))}
        while len(told) < 4000 - len(there):
            line = watcher.until(b"\n")
            match = re.match(rb"ts=\d+\.\d+ gid=\d+ type=eviction key=e(\d+) fetch=no ttl=(-1|\d+) la=\d+ clsid=1 size=5000\n", line)
            if line.startswith(b"skipped="):
                raise AssertionError("a watcher that reads was skipped: %r" % line)
            assert match, line
            assert (match[2] == b"-1") == (int(match[1]) % 2 == 0), line
            told[int(match[1])] = line
        assert evicted > len(told) > 1000, (evicted, len(told))   # those of database 1 are not told of
        assert there.isdisjoint(told), "one that was told of is there"


def check_connections():
    with Holdfast(extra=["--timeout", "2"]) as server:
        watcher = watch(server, "connevents")
        form = rb"ts=\d+\.\d+ gid=\d+ type=conn_%b rip=127\.0\.0\.1 rport=%d transport=tcp%b cfd=(\d+)\n"
        for last, reason in ((b"version\r\nquit\r\n", b"normal"), (b"GET / HTTP/1.1\r\n", b"error"), (b"", b"normal"), (b"version\r\n", b"idle_timeout")):
            text = Text(server)
            port = text.socket.getsockname()[1]
            new = re.fullmatch(form % (b"new", port, b""), watcher.until(b"\n"))
            text.send(last)
            if not last:
                text.close()
            gone = re.fullmatch(form % (b"close", port, b" reason=" + reason), watcher.until(b"\n"))
            assert new and gone and new[1] == gone[1], (reason, new, gone)
        watcher.send(b"get a\r\nquit\r\n")      # nothing is read of it any more; nor is it idle, however long nothing happens
        Text(server).send(b"quit\r\n")
        assert b"conn_new" in watcher.until(b"\n") and b"reason=normal" in watcher.until(b"\n")


def check_who():
    """Words, most watchers, rights."""
    with Peer() as peer, Holdfast() as server:
        for one in (peer, server):
            text = Text(one)
            for line, answer in ((b"watch bogus\r\n", b"ERROR\r\n"), (b"watch fetchers bogus\r\n", b"ERROR\r\n"), (b"watch noreply\r\n", b""), (b"get a\r\n", b"END\r\n")):
                text.send(line)
                expect(text.until(answer) if answer else b"", answer)
            if one is peer:     # which looks for news once a second
                continue
            watchers = [watch(one, ("", "rawcmds sysevents proxyreqs", "fetchers mutations evictions connevents")[i % 3]) for i in range(20)]
            text.send(b"get a\r\nwatch\r\n")
            expect(text.until(b"reached\r\n"), b"END\r\nWATCHER_TOO_MANY log watcher limit reached\r\n")
            expect(text.call(b"get a\r\n"), b"END\r\n")
            assert b"key=a status=not_found" in watchers[0].until(b"\n")
        for watcher in watchers:
            watcher.close()
        redis = server.client()
        expect(redis.call("ACL", "SETUSER", "default", "-monitor"), b"OK")
        for _ in range(500):
            if b"log_watchers 0\r\n" in text.call(b"stats\r\n"):
                break
        expect(text.call(b"watch\r\n")[:20], b"SERVER_ERROR NOPERM ")
        expect(text.call(b"get a\r\n"), b"END\r\n")
        expect(plain(redis.wire("PING")), b"PONG")


if __name__ == "__main__":
    checks = Checks("memcached_watch")
    checks.run([check_lines, check_details, check_slow, check_evictions, check_connections, check_who])
    sys.exit(checks.end())
