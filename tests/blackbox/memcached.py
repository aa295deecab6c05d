"""memcached.py -- memcached's clients and Redis' on one data set.

Goal:   what one protocol writes the other reads, with deadline and flags; a number for compare-and-set is worth nothing after any
        change by any command; WATCH notices memcached's commands; other types are refused; users, SASL and the login of text
        work; all of it is there after kill -9. memccapable finds no fault.
Method: a server with a memcached port, one check per subject.
Usage:  memcached.py [check ...]
"""
import re
import shutil
import struct
import subprocess
import sys
import time
import traceback

from harness import plain
from memcached_peer import Binary, Holdfast, Peer, Text, packet
from memcached_watch import PACKETS, TEXT

WRONGTYPE = b"SERVER_ERROR WRONGTYPE Operation against a key holding the wrong kind of value\r\n"


def expect(found, wanted):
    if found != wanted:
        raise AssertionError("found %r, wanted %r" % (found, wanted))


def gets(text, key):
    """Value, flags and number."""
    answer = text.call(b"gets %b\r\n" % key)
    words = answer.split(b"\r\n")[0].split()
    return answer[answer.index(b"\r\n") + 2:][:int(words[3])], int(words[2]), int(words[4])


def check_values(server):
    redis, text = server.client(), Text(server)
    expect(redis.call("SET", "a", "one"), b"OK")
    expect(text.call(b"get a\r\n"), b"VALUE a 0 3\r\none\r\nEND\r\n")
    expect(text.call(b"set b 42 0 3\r\ntwo\r\n"), b"STORED\r\n")
    expect(redis.call("GET", "b"), b"two")
    expect(redis.call("APPEND", "b", "!"), 4)
    expect(text.call(b"get b\r\n"), b"VALUE b 42 4\r\ntwo!\r\nEND\r\n")
    expect(redis.call("RENAME", "b", "c"), b"OK")
    expect(redis.call("COPY", "c", "d"), 1)
    expect(text.call(b"mg d f v\r\n"), b"VA 4 f42\r\ntwo!\r\n")
    expect(redis.call("SET", "d", "new"), b"OK")
    expect(text.call(b"mg d f v\r\n"), b"VA 3 f0\r\nnew\r\n")
    redis.call("SET", "n", "41")
    expect(text.call(b"incr n 1\r\n"), b"42\r\n")
    expect(redis.call("INCR", "n"), 43)
    expect(text.call(b"decr n 40\r\n"), b"3\r\n")
    expect(redis.call("GET", "n"), b"3 ")          # memcached leaves a space, Redis' integers have none
    expect(str(plain(redis.wire("INCR", "n"))), "ERR value is not an integer or out of range")
    large = b"v" * 300000
    redis.call("SET", "large", large)
    expect(text.call(b"get large\r\n"), b"VALUE large 0 300000\r\n" + large + b"\r\nEND\r\n")
    expect(redis.call("SELECT", "1"), b"OK")
    expect(redis.call("GET", "a"), None)


def check_types(server):
    redis, text, binary = server.client(), Text(server), Binary(server)
    redis.call("RPUSH", "list", "x")
    redis.call("HSET", "hash", "f", "v")
    before = [redis.call("DUMP", k) for k in ("list", "hash")]
    for command in (b"get %b\r\n", b"gets a %b\r\n", b"gat 5 %b\r\n", b"set %b 0 0 1\r\nx\r\n", b"add %b 0 0 1\r\nx\r\n", b"replace %b 0 0 1\r\nx\r\n",
                    b"append %b 0 0 1\r\nx\r\n", b"prepend %b 0 0 1\r\nx\r\n", b"cas %b 0 0 1 5\r\nx\r\n", b"incr %b 1\r\n", b"decr %b 1\r\n",
                    b"touch %b 9\r\n", b"delete %b\r\n", b"mg %b v\r\n", b"ms %b 1\r\nx\r\n", b"md %b\r\n", b"md %b I\r\n", b"ma %b\r\n",
                    b"me %b\r\n", b"mg %b N30 v\r\n", b"set %b 0 0 2000000\r\n" + b"x" * 2000000 + b"\r\n"):
        for key in (b"list", b"hash"):
            expect(text.call(command.replace(b"%b", key)), WRONGTYPE)
    for opcode, extras, value in ((0, b"", b""), (1, b"\0" * 8, b"x"), (4, b"", b""), (5, b"\0" * 20, b""), (14, b"", b"x"), (0x1c, b"\0\0\0\5", b"")):
        expect(binary.call(packet(opcode, b"hash", value, extras))[0][1], 0x83)
    expect([redis.call("DUMP", k) for k in ("list", "hash")], before)


CHANGES = [("SET", "k", "1"), ("APPEND", "k", "1"), ("SETRANGE", "k", "0", "9"), ("INCR", "k"), ("GETSET", "k", "5"), ("SETBIT", "k", "1", "1"),
           ("INCRBYFLOAT", "k", "1"), ("DEL", "k"), ("RENAME", "other", "k"), ("COPY", "other", "k", "REPLACE"), ("FLUSHDB",),
           ("BITFIELD", "k", "SET", "u8", "0", "50"), ("MSET", "k", "2"), ("PFADD", "p", "x"), ("EVAL", "redis.call('APPEND','k','2')", "0"),
           ("GETDEL", "k"), ("SETEX", "k", "100", "1"), ("RESTORE",), ("SWAPDB", "0", "1")]


def check_compare(server):
    """After any of these the number is worth nothing; but a deadline is no change of the value."""
    redis, text = server.client(), Text(server)
    for change in CHANGES:
        redis.call("SET", "k", "12")
        redis.call("SET", "other", "12")
        value, _, number = gets(text, b"k")
        if change[0] == "RESTORE":
            redis.call("RESTORE", "k", "0", redis.call("DUMP", "k"), "REPLACE")
        elif change[0] == "PFADD":
            redis.call("SET", "k", redis.call("GET", "k"))
        else:
            redis.call(*change)
        answer = text.call(b"cas k 0 0 1 %d\r\nx\r\n" % number)
        if answer not in (b"EXISTS\r\n", b"NOT_FOUND\r\n"):
            raise AssertionError("after %r: %r" % (change, answer))
        if change[0] == "SWAPDB":
            redis.call("SWAPDB", "0", "1")
    redis.call("SET", "k", "12")
    number = gets(text, b"k")[2]
    for harmless in (("EXPIRE", "k", "100"), ("PERSIST", "k"), ("GET", "k"), ("OBJECT", "ENCODING", "k"), ("GETEX", "k", "EX", "50"), ("TOUCH", "k")):
        redis.call(*harmless)
        expect(gets(text, b"k")[2], number)
    expect(text.call(b"touch k 70\r\n"), b"TOUCHED\r\n")
    expect(text.call(b"cas k 0 0 1 %d\r\nx\r\n" % number), b"STORED\r\n")
    expect(text.call(b"cas k 0 0 1 %d\r\nx\r\n" % number), b"EXISTS\r\n")


WATCHED = [(b"set w 0 0 1\r\nx\r\n", True), (b"incr w 1\r\n", True), (b"append w 0 0 1\r\nx\r\n", True), (b"touch w 50\r\n", True),
           (b"delete w\r\n", True), (b"md w I\r\n", False), (b"mg w T30\r\n", True), (b"ms w 1\r\nx\r\n", True), (b"flush_all\r\n", True),
           (b"gets w\r\n", False), (b"get w\r\n", False), (b"add w 0 0 1\r\nx\r\n", False), (b"mg w c v\r\n", False)]


def check_watch(server):
    """EXEC is nil exactly after a change."""
    redis, text = server.client(), Text(server)
    for command, changes in WATCHED:
        redis.call("SET", "w", "5")
        redis.call("WATCH", "w")
        text.call(command)
        redis.call("MULTI")
        redis.call("GET", "w")
        if (redis.call("EXEC") is None) != changes:
            raise AssertionError("WATCH after %r" % command)
    redis.call("SET", "w", "5")
    number = gets(text, b"w")[2]
    redis.call("MULTI")
    redis.call("INCR", "w")
    expect(gets(text, b"w")[2], number)
    redis.call("EXEC")
    expect(text.call(b"cas w 0 0 1 %d\r\nx\r\n" % number), b"EXISTS\r\n")


def check_deadlines(server):
    redis, text, binary = server.client(), Text(server), Binary(server)
    text.call(b"set a 0 100 1\r\nx\r\n")
    assert 90 <= redis.call("TTL", "a") <= 100
    text.call(b"set b 0 %d 1\r\nx\r\n" % (int(time.time()) + 1000))
    assert 990 <= redis.call("TTL", "b") <= 1000
    text.call(b"set c 0 -1 1\r\nx\r\n")
    text.call(b"set d 0 2592001 1\r\nx\r\n")
    expect(redis.call("EXISTS", "c", "d"), 0)
    text.call(b"set e 0 2592000 1\r\nx\r\n")
    assert 2591990 <= redis.call("TTL", "e") <= 2592000
    expect(text.call(b"gat 0 e\r\n"), b"VALUE e 0 1\r\nx\r\nEND\r\n")
    expect(redis.call("TTL", "e"), -1)
    binary.call(packet(0x1c, b"e", extras=struct.pack(">I", 60)))
    assert 50 <= redis.call("TTL", "e") <= 60
    redis.call("PEXPIRE", "e", 30500)
    assert 20 <= int(re.fullmatch(rb"HD t(\d+)\r\n", text.call(b"mg e t\r\n"))[1]) <= 31
    redis.call("SET", "short", "x", "PX", "30")
    end = time.monotonic() + 60
    while text.call(b"get short\r\n") != b"END\r\n":
        assert time.monotonic() < end
    expect(text.call(b"set later 0 0 1\r\nx\r\nflush_all 1\r\nget later\r\n"), b"STORED\r\nOK\r\nVALUE later 0 1\r\nx\r\nEND\r\n")
    while redis.call("DBSIZE"):                     # without any further command of memcached
        assert time.monotonic() < end
        time.sleep(0.02)
    text.call(b"set later 0 0 1\r\nx\r\n")
    text.call(b"flush_all 1\r\n")
    text.call(b"flush_all\r\n")                     # called off
    text.call(b"set later 0 0 1\r\nx\r\n")
    time.sleep(1.3)
    expect(redis.call("DBSIZE"), 1)


def check_kill9(server):
    """What was acknowledged is there: value, flags, number, marks, deadline."""
    redis, text = server.client(), Text(server)
    text.call(b"set a 77 1000 5\r\nhello\r\n")
    number = gets(text, b"a")[2]
    redis.call("SET", "r", "x")
    of_redis = gets(text, b"r")[2]
    text.call(b"ms stale 2\r\nhi\r\n")
    text.call(b"md stale I T500\r\n")
    expect(text.call(b"mg vivid N400\r\n"), b"HD W\r\n")
    text.call(b"append r 0 0 1\r\ny\r\n")
    after = gets(text, b"r")[2]
    assert after > of_redis
    server.kill9()
    server.start()
    redis, text = server.client(), Text(server)
    expect(gets(text, b"a"), (b"hello", 77, number))
    assert 900 < redis.call("TTL", "a") <= 1000
    expect(gets(text, b"r"), (b"xy", 0, after))
    expect(text.call(b"mg stale v\r\n"), b"VA 2 X W\r\nhi\r\n")
    expect(text.call(b"mg stale v\r\n"), b"VA 2 Z X\r\nhi\r\n")
    expect(text.call(b"mg vivid v\r\n"), b"VA 0 Z\r\n\r\n")
    expect(text.call(b"cas a 1 0 1 %d\r\nx\r\n" % number), b"STORED\r\n")
    assert gets(text, b"a")[2] > max(number, after)
    redis.call("BGSAVE")
    while b"rdb_bgsave_in_progress:0" not in redis.call("INFO", "persistence"):
        time.sleep(0.02)
    last = gets(text, b"a")
    server.kill9()
    server.start()
    expect(gets(Text(server), b"a"), last)


def check_users(server):
    """The same rules for both protocols; text and SASL logins; nothing before the login."""
    redis = server.client()
    redis.call("ACL", "SETUSER", "reader", "on", ">secret", "~cache:*", "+get", "+ping")
    redis.call("ACL", "SETUSER", "writer", "on", ">word", "~cache:*", "+@string", "+del")
    watcher = server.client()
    expect(watcher.call("MONITOR"), b"OK")
    redis.call("ACL", "SETUSER", "default", "resetpass", ">admin")
    text = Text(server)
    text.send(b"get cache:a\r\n")
    expect(text.until(b"\r\n"), b"CLIENT_ERROR unauthenticated\r\n")
    text.send(b"set any 0 0 11\r\nreader word\r\n")
    expect(text.until(b"\r\n"), b"CLIENT_ERROR authentication failure\r\n")
    text.send(b"set any 0 0 13\r\nreader secret\r\n")
    expect(text.until(b"\r\n"), b"STORED\r\n")
    expect(text.call(b"get cache:a\r\n"), b"END\r\n")
    assert text.call(b"get other\r\n").startswith(b"SERVER_ERROR NOPERM"), "a key beyond the rule"
    for refused in (b"set cache:a 0 0 1\r\nx\r\n", b"delete cache:a\r\n", b"gat 5 cache:a\r\n", b"mg cache:a N5\r\n", b"flush_all\r\n", b"stats\r\n"):
        assert text.call(refused).startswith(b"SERVER_ERROR NOPERM"), refused
    binary = Binary(server)
    binary.send(packet(0x00, b"cache:a"))
    expect(binary.one()[1], 0x20)
    binary = Binary(server)
    binary.send(packet(0x20))
    expect(binary.one()[5], b"PLAIN")
    binary.send(packet(0x21, b"PLAIN", b"\0writer\0wrong"))
    expect(binary.one()[1], 0x20)
    binary = Binary(server)
    binary.send(packet(0x21, b"PLAIN", b"\0writer\0word"))
    expect(binary.one()[1], 0)
    binary.send(packet(0x01, b"cache:a", b"v", b"\0" * 8))
    expect(binary.one()[1], 0)
    binary.send(packet(0x01, b"other", b"v", b"\0" * 8))
    expect(binary.one()[1], 0x20)
    expect(text.call(b"get cache:a\r\n"), b"VALUE cache:a 0 1\r\nv\r\nEND\r\n")
    shown = b""
    redis.call("PING", "all seen")
    while b"all seen" not in shown:
        shown += watcher.socket.recv(65536)
    assert b"secret" not in shown and b"word" not in shown, shown
    lines = redis.call("ACL", "LOG")
    assert any(b"writer" in repr(entry).encode() for entry in lines), lines
    admin = server.client()
    admin.call("AUTH", "admin")
    admin.call("ACL", "DELUSER", "reader")          # its connection ends
    try:
        text.call(b"get cache:a\r\n")
        raise AssertionError("a deleted user is still served")
    except OSError:
        pass
    except EOFError:
        pass
    admin.call("ACL", "SETUSER", "default", "nopass")


def check_administration(server):
    redis, text = server.client(), Text(server)
    expect(text.call(b"cache_memlimit 64\r\n"), b"OK\r\n")
    expect(redis.call("CONFIG", "GET", "maxmemory"), [b"maxmemory", b"67108864"])
    redis.call("CONFIG", "SET", "maxmemory", "1")
    expect(text.call(b"set full 0 0 1\r\nx\r\n"), b"SERVER_ERROR out of memory storing object\r\n")
    expect(text.call(b"get full\r\n"), b"END\r\n")
    redis.call("CONFIG", "SET", "maxmemory", "0")
    expect(text.call(b"verbosity 1\r\n"), b"OK\r\n")
    expect(redis.call("CONFIG", "GET", "loglevel"), [b"loglevel", b"verbose"])
    text.call(b"verbosity 0\r\n")
    redis.call("CONFIG", "SET", "memcached-item-size-max", "2048")
    expect(text.call(b"set big 0 0 2000\r\n" + b"x" * 2000 + b"\r\n"), b"SERVER_ERROR object too large for cache\r\n")
    expect(text.call(b"set big 0 0 1900\r\n" + b"x" * 1900 + b"\r\n"), b"STORED\r\n")
    redis.call("CONFIG", "SET", "memcached-item-size-max", "1mb")
    text.call(b"stats reset\r\n")
    text.call(b"get big none\r\n")
    stats = dict(line.split(b" ")[1:3] for line in text.call(b"stats\r\n").split(b"\r\n") if line.startswith(b"STAT "))
    expect((stats[b"get_hits"], stats[b"get_misses"], stats[b"version"]), (b"1", b"1", b"1.6.18"))
    expect(int(stats[b"curr_items"]), redis.call("DBSIZE"))
    assert b"tcpport %d" % server.memcached_port in text.call(b"stats settings\r\n")
    for what in (b"items", b"slabs", b"sizes", b"conns"):
        assert text.call(b"stats %b\r\n" % what).endswith(b"END\r\n")
    expect(text.call(b"ma past N-1 J7 t v\r\nmg past N-1 t\r\n"), b"VA 1 t0\r\n7\r\nHD t0 W\r\n")     # -1 would say that it stays for ever
    check_conns(server, text)
    clients = redis.call("CLIENT", "LIST")
    assert b"cmd=mn" in clients, clients


def check_conns(server, text):
    """Sockets that listen stand first, with the fields that memcached gives them; each connection names one of their places."""
    with Peer(workers=1) as peer:
        shapes = []
        for one, connection in ((peer, Text(peer)), (server, text)):
            fields = {}
            for name, value in stats_of(connection, b" conns").items():
                descriptor, field = name.split(":")
                fields.setdefault(descriptor, {})[field] = value
            listening = [f for f in fields.values() if f["state"] == b"conn_listening"]
            assert b"tcp:127.0.0.1:%d" % one.memcached_port in [f["addr"] for f in listening], listening
            others = [f for f in fields.values() if f not in listening]
            assert all(f["listen_addr"] in [g["addr"] for g in listening] for f in others), fields
            expect([f["state"] for f in fields.values() if f["state"] == b"conn_parse_cmd"], [b"conn_parse_cmd"])
            assert all(f["secs_since_last_cmd"].isdigit() for f in fields.values()), fields
            shapes.append((sorted(listening[0]), sorted(others[0])))
        expect(shapes[1], shapes[0])


COUNTS = """cmd_get cmd_set cmd_flush cmd_touch cmd_meta get_hits get_misses delete_misses delete_hits incr_misses incr_hits decr_misses decr_hits
    cas_misses cas_hits cas_badval touch_hits touch_misses store_too_large total_items auth_cmds auth_errors evictions""".split()


def stats_of(text, what=b""):
    answer = text.call(b"stats" + what + b"\r\n")
    return {line.split(b" ")[1].decode(): line.split(b" ", 2)[2] for line in answer.split(b"\r\n") if line.startswith(b"STAT ")}


def check_stats(server):
    """Numbers are counted as memcached counts them, names are memcached's, settings are those that hold."""
    with Peer(workers=1) as peer:
        found = []
        for one in (peer, server):
            text, binary = Text(one), Binary(one)
            for command in TEXT:
                text.call(command)
            for request in PACKETS:
                binary.call(request)
            text.call(b"set left 0 0 4\r\nover\r\nset more 3 0 2\r\nhi\r\n")
            stats = [stats_of(text, what) for what in (b"", b" items", b" slabs", b" sizes", b" settings")]
            dump = sorted(text.call(b"stats cachedump 1 0\r\n").split(b"\r\n"))
            expect(text.call(b"stats reset\r\n"), b"RESET\r\n")
            found.append((stats, {name: stats_of(text)[name] for name in COUNTS}, dump))
        for name in COUNTS:
            expect((name, found[1][0][0][name]), (name, found[0][0][0][name]))
        expect(found[1][1], found[0][1])
        expect([line for line in found[1][2] if line], [b"END", b"ITEM left [4 b; 0 s]", b"ITEM more [2 b; 0 s]"])
        for wanted, ours in zip(found[0][0], found[1][0]):
            expect(set(ours) - set(wanted) - {"idle_kicks"}, set())
        for name in ("1:used_chunks", "1:get_hits", "1:cmd_set", "1:cas_hits", "active_slabs"):
            assert name in found[1][0][2], name
        for line in (b"verbosity", b"verbosity 1 2", b"verbosity 1 2 3", b"verbosity -1", b"verbosity x noreply", b"verbosity 7 noreply", b"verbosity 1",
                     b"cache_memlimit", b"cache_memlimit 7", b"cache_memlimit 0", b"cache_memlimit -1", b"cache_memlimit 1000000001", b"cache_memlimit x",
                     b"cache_memlimit 64 noreply", b"cache_memlimit 64 x", b"stats cachedump", b"stats cachedump 1", b"stats cachedump x 1",
                     b"stats cachedump 64 1", b"stats cachedump 2 1", b"stats bogus", b"stats reset x"):
            expect((line, Text(server).call(line + b"\r\n")), (line, Text(peer).call(line + b"\r\n")))
    redis, text = server.client(), Text(server)
    expect([stats_of(text, b" settings")[name] for name in ("verbosity", "maxbytes", "evictions", "idle_timeout", "auth_enabled_ascii")],
           [b"1", b"67108864", b"off", b"0", b"no"])
    redis.call("CONFIG", "SET", "maxmemory", "0", "maxmemory-policy", "allkeys-lru", "timeout", "77", "loglevel", "debug")
    expect([stats_of(text, b" settings")[name] for name in ("verbosity", "maxbytes", "evictions", "idle_timeout")], [b"2", b"0", b"on", b"77"])
    before = int(stats_of(text)["get_expired"])
    redis.call("DEBUG", "SET-ACTIVE-EXPIRE", "0")
    text.call(b"set soon 0 1 1\r\nx\r\n")
    wait_for(lambda: text.call(b"get soon\r\n") == b"END\r\n")
    expect(int(stats_of(text)["get_expired"]), before + 1)
    redis.call("DEBUG", "SET-ACTIVE-EXPIRE", "1")
    redis.call("CONFIG", "SET", "maxmemory", "1")
    before = int(stats_of(text)["store_no_memory"])
    expect(text.call(b"set full 0 0 1\r\nx\r\n"), b"SERVER_ERROR out of memory storing object\r\n")
    expect(int(stats_of(text)["store_no_memory"]), before + 1)
    first, second = Text(server), Text(server)
    first.send(b"watch\r\n")
    first.until(b"\n")
    half = Text(server)
    half.send(b"set half 0 0 50\r\nonly")
    wait_for(lambda: b"conn_nread" in stats_of(second, b" conns").values())
    conns = stats_of(second, b" conns")
    by_port = {value.rsplit(b":", 1)[1]: name.split(":")[0] for name, value in conns.items() if name.endswith(":addr")}
    for one, state in ((first, b"conn_watch"), (half, b"conn_nread"), (second, b"conn_parse_cmd"), (text, b"conn_read")):
        number = by_port[b"%d" % one.socket.getsockname()[1]]
        expect((conns[number + ":state"], conns[number + ":listen_addr"]), (state, b"tcp:127.0.0.1:%d" % server.memcached_port))


def wait_for(condition):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "it does not happen"
        time.sleep(0.01)


def check_flush_later(server):
    """flush_all with a delay happens when its time has come, whatever becomes of the server till then."""
    def again():
        server.kill9()
        server.start()
        return Text(server)

    text = Text(server)
    expect(text.call(b"set a 0 0 1\r\nx\r\nflush_all 3\r\nset b 0 0 1\r\nx\r\n"), b"STORED\r\nOK\r\nSTORED\r\n")
    said = time.monotonic()
    text = again()
    there = text.call(b"get a b\r\n")
    assert there.count(b"VALUE") == 2 or time.monotonic() - said > 2.9, there
    wait_for(lambda: text.call(b"get a b\r\n") == b"END\r\n")
    assert time.monotonic() - said > 2.9
    expect(text.call(b"set c 0 0 1\r\nx\r\n"), b"STORED\r\n")
    text = again()                                          # it happens once
    expect(text.call(b"get a b c\r\n"), b"VALUE c 0 1\r\nx\r\nEND\r\n")
    expect(Binary(server).call(packet(0x08, extras=struct.pack(">I", 1)))[0][1], 0)
    due = time.time() + 1.1
    server.kill9()
    while time.time() < due:                                # the time comes while nobody runs
        time.sleep(0.05)
    server.start()
    text = Text(server)
    expect(text.call(b"get c\r\n"), b"END\r\n")
    expect(text.call(b"flush_all 1\r\nflush_all\r\nset d 0 0 1\r\nx\r\nflush_all 1000\r\n"), b"OK\r\nOK\r\nSTORED\r\nOK\r\n")
    due = time.time() + 1.1
    text = again()                                          # a later flush_all replaces it
    while time.time() < due:
        time.sleep(0.05)
    expect(text.call(b"get d\r\n"), b"VALUE d 0 1\r\nx\r\nEND\r\n")


def check_notifications(server):
    redis, listener, text = server.client(), server.client(), Text(server)
    redis.call("CONFIG", "SET", "notify-keyspace-events", "KEA")
    listener.call("SUBSCRIBE", "__keyspace@0__:e")
    for command in (b"set e 0 100 1\r\n5\r\n", b"incr e 1\r\n", b"append e 0 0 1\r\n1\r\n", b"touch e 0\r\n", b"delete e\r\n"):
        text.call(command)
    heard = [listener.read()[1][2][1] for _ in range(6)]
    expect(heard, [b"set", b"expire", b"incrby", b"append", b"persist", b"del"])
    redis.call("CONFIG", "SET", "notify-keyspace-events", "")


def check_dump(server):
    """Every string once, as memcached tells it; in slices, so that a client that does not read holds up nobody."""
    redis, text, other = server.client(), Text(server), Text(server)
    redis.pipeline([("SET", "key:%d" % i, "v") for i in range(30000)])
    redis.call("RPUSH", "list", "x")
    text.call(b"set a%b=c 7 1000 1\r\nx\r\n")
    number = gets(text, b"a%b=c")[2]
    now = time.time()
    text.send(b"lru_crawler metadump all\r\nmn\r\n")
    expect(other.call(b"get key:5\r\n"), b"VALUE key:5 0 1\r\nv\r\nEND\r\n")
    lines = text.reply().split(b"\r\n")
    expect(lines[-2:], [b"END", b""])
    items = [dict(word.split(b"=") for word in line.split(b" ")) for line in lines[:-2]]
    expect(sorted(item[b"key"] for item in items), sorted([b"key%%3A%d" % i for i in range(30000)] + [b"a%25b%3Dc"]))
    one = next(item for item in items if item[b"key"].startswith(b"a"))
    expect(list(one), [b"key", b"exp", b"la", b"cas", b"fetch", b"cls", b"size"])
    assert abs(int(one[b"exp"]) - now - 1000) < 60 and abs(int(one[b"la"]) - now) < 60, one
    expect((one[b"cas"], one[b"fetch"]), (b"%d" % number, b"yes"))
    expect({item[b"exp"] for item in items if item is not one}, {b"-1"})
    lines = text.call(b"lru_crawler mgdump hash\r\n").split(b"\r\n")
    expect(sorted(lines[:-2]), sorted([b"mg key:%d" % i for i in range(30000)] + [b"mg a%b=c"]))
    expect(lines[-2], b"EN")
    expect(text.call(b"get none\r\nlru_crawler metadump 7\r\nlru_crawler metadump 64\r\nlru_crawler metadump\r\n"), b"END\r\nEND\r\nBADCLASS invalid class id\r\nERROR\r\n")
    redis.call("ACL", "SETUSER", "default", "-scan")        # refused once, and the line is gone
    assert text.call(b"lru_crawler metadump all\r\n").startswith(b"SERVER_ERROR NOPERM")
    redis.call("ACL", "SETUSER", "default", "+scan")


def check_parked(server):
    """A command whose key is held by a script waits, and its bytes are those that arrived: also when data is to be skipped."""
    redis, text = server.client(), Text(server)
    redis.call("SET", "busy", "x")
    redis.send("EVAL", "redis.call('SET', KEYS[1], 'y') local n = 0 for i = 1, 30000000 do n = n + i end return n", 1, "busy")
    time.sleep(0.05)                                        # not needed for the answers, only for the command to be parked
    text.send(b"get none\r\nset busy 0 0 1100000\r\n" + b"x" * 1100000 + b"\r\nget busy\r\nmn\r\n")
    expect(text.reply(), b"END\r\nSERVER_ERROR object too large for cache\r\nEND\r\n")
    redis.read()


def check_http(server):
    """Requests of a browser end the connection without a word."""
    for line in (b"GET / HTTP/1.0\r\n", b"PUT /x HTTP/1.1\r\n"):
        text = Text(server)
        text.send(line)
        expect(text.socket.recv(100), b"")


def check_memccapable(server):
    tool = shutil.which("memccapable")
    assert tool, "memccapable is missing: script/bootstrap installs libmemcached-tools"
    done = subprocess.run([tool, "-h", "127.0.0.1", "-p", str(server.memcached_port)], capture_output=True, text=True, timeout=120)
    passed = done.stdout.count("[pass]")
    if passed != 54 or "All tests passed" not in done.stdout + done.stderr:
        raise AssertionError("memccapable: %d of 54\n%s%s" % (passed, done.stdout, done.stderr))


def check_split(server):
    """Byte by byte gives the same answers as all at once."""
    redis = server.client()
    session = (b"set s 1 0 3\r\nabc\r\nget s none\r\nms s 2 c0\r\nhi\r\nappend s 0 0 1\r\nx\r\nmg s v s k Oq\r\nset bad 0 0 1\r\nyy\r\nbogus\r\n"
               b"set s 0 0 2 noreply\r\nzz\r\nincr s 1\r\nset big 0 0 1100000\r\n" + b"x" * 1100000 + b"\r\nget s\r\ndelete s\r\nmn\r\n")
    answers = []
    for pieces in (len(session), 1, 7):
        redis.call("FLUSHALL")
        text = Text(server)
        if pieces == len(session):
            text.send(session)
        else:
            big = session.index(b"x" * 1000)
            for at in range(0, big, pieces):
                text.send(session[at:min(at + pieces, big)])
            text.send(session[big:big + 1100000])
            for at in range(big + 1100000, len(session), pieces):
                text.send(session[at:at + pieces])
        answers.append(re.sub(rb" c\d+", b" c", text.reply()))
    expect(answers[1], answers[0])
    expect(answers[2], answers[0])


CHECKS = [check_values, check_types, check_compare, check_watch, check_deadlines, check_kill9, check_users, check_administration, check_stats, check_flush_later,
          check_notifications, check_split, check_dump, check_parked, check_http, check_memccapable]


def main():
    wanted = sys.argv[1:]
    failed = 0
    for check in CHECKS:
        if wanted and check.__name__[6:] not in wanted:
            continue
        server = Holdfast(durability="commit" if check in (check_kill9, check_flush_later) else "none", extra=["--enable-debug-command", "local"])
        server.start()
        try:
            check(server)
            print("ok  ", check.__name__[6:])
        except (AssertionError, EOFError, OSError) as error:
            failed += 1
            print("FAIL", check.__name__[6:], type(error).__name__, error, "at line", traceback.extract_tb(error.__traceback__)[1].lineno)
            print("     repeat: tests/blackbox/memcached.py", check.__name__[6:])
        server.stop()
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
