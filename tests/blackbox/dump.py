"""dump.py -- values move both ways between holdfast and Redis through DUMP and RESTORE, and damaged payloads move nothing.

Goal:   what one server dumps the other one restores as the same value (streams with groups, ids and what is pending); errors and
        options answer alike; no damaged payload makes a value, a crash or a change.
Method: random values of all types, small and large, binary, with integers at the borders of every encoding, are made on both by the same
        commands; each dump goes to the other server, and both values are read back whole and compared. Old forms (ziplist, intset,
        zipmap, text scores, fields with deadlines) are payloads written here, byte by byte, from the documented layout.
        Every single-bit flip of some payloads, their footer mended so that the flip reaches the parser.
Usage:  dump.py [--seed S] [--rounds N] [check name ...]
"""
import argparse
import random
import struct
import sys
import time

from harness import Server, plain

POLYNOMIAL = 0x95ac9329ac4bc9b5


def crc64(data):
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (POLYNOMIAL if crc & 1 else 0)
    return crc


def sealed(body, version=10):
    body += struct.pack("<H", version)
    return body + struct.pack("<Q", crc64(body))


def expect(got, wanted, what):
    if got != wanted:
        raise AssertionError("%s\n  got:    %.700r\n  wanted: %.700r" % (what, got, wanted))


def servers(durability="none"):
    pair = []
    for kind in ("holdfast", "redis"):
        server = Server(kind, durability=durability) if kind == "holdfast" else Server(kind)
        server.start()
        pair.append((server, server.client()))
    return pair


# --- whole values ---------------------------------------------------------------------------------------

def value_of(client, key):
    kind = plain(client.wire("TYPE", key))
    reads = {b"string": [("GET", key)], b"list": [("LRANGE", key, 0, -1)], b"set": [("SMEMBERS", key)],
             b"zset": [("ZRANGE", key, 0, -1, "WITHSCORES")], b"hash": [("HGETALL", key)],
             b"stream": [("XRANGE", key, "-", "+")], b"none": []}[kind]
    got = [plain(client.wire(*read)) for read in reads]
    if kind == b"set":
        got[0].sort()
    if kind == b"hash":
        got[0] = sorted(zip(got[0][::2], got[0][1::2]))
    if kind == b"stream":
        info = plain(client.wire("XINFO", "STREAM", key))
        facts = dict(zip(info[::2], info[1::2]))
        got.append([facts[name] for name in (b"length", b"last-generated-id", b"max-deleted-entry-id", b"entries-added",
                                             b"recorded-first-entry-id")])
        for group in plain(client.wire("XINFO", "GROUPS", key)):
            facts = dict(zip(group[::2], group[1::2]))
            got.append(facts)
            got.append([[row[0], row[1], row[3]] for row in plain(client.wire("XPENDING", key, facts[b"name"], "-", "+", 1000))])
            got.append([dict(zip(one[::2], one[1::2]))[b"name"] for one in plain(client.wire("XINFO", "CONSUMERS", key, facts[b"name"]))])
    return [kind, plain(client.wire("OBJECT", "ENCODING", key)), got]


BORDERS = [0, -1, 12, 13, 63, 64, 127, 128, -128, -129, 4095, 4096, -4096, -4097, 8191, 32767, 32768, -32768, -32769, 1 << 23, -(1 << 23),
           (1 << 31) - 1, 1 << 31, -(1 << 31), (1 << 63) - 1, -(1 << 63)]


def word(rng):
    choice = rng.randrange(6)
    if choice == 0:
        return str(rng.choice(BORDERS)).encode()
    if choice == 1:
        return bytes(rng.randrange(256) for _ in range(rng.choice([0, 1, 5, 19, 63, 64, 70])))
    if choice == 2:
        return b"ab" * rng.choice([11, 100, 3000, 40000])
    return b"w%d" % rng.randrange(10 ** rng.randrange(1, 7))


def words(rng, count):
    return [word(rng) for _ in range(count)]


def make(rng, key):
    """Commands that make one value."""
    count = rng.choice([1, 2, 5, 40, 200, 700])
    kind = rng.randrange(7)
    if kind == 0:
        return [("SET", key, word(rng))]
    if kind == 1:
        return [("RPUSH", key, *words(rng, count))]
    if kind == 2:
        return [("SADD", key, *words(rng, count))]
    if kind == 3:
        return [("SADD", key, *[rng.choice(BORDERS) + rng.randrange(3) * (rng.random() < 0.3) if rng.random() < 0.2 else rng.randrange(-10 ** 9, 10 ** 9)
                                for _ in range(min(count, 500))])] if rng.random() < 0.9 else [("SADD", key, 1, 1 << 40)]
    if kind == 4:
        flat = []
        for member in words(rng, count):
            flat += [rng.choice(["inf", "-inf", "0", "1.5", "-3e100", "17", "0.1", str(rng.randrange(1 << 53))]), member]
        return [("ZADD", key, *flat)]
    if kind == 5:
        return [("HSET", key, *words(rng, 2 * count))]
    return make_stream(rng, key, min(count, 250))


def make_stream(rng, key, count):
    out, at = [], [1, 0]
    for _ in range(count):
        at = [at[0] + rng.choice([0, 1, 1000]), rng.randrange(5) + at[1] + 1 if rng.random() < 0.5 else at[1] + 1]
        pairs = [b"field", word(rng)] if rng.random() < 0.8 else words(rng, 2 * rng.randrange(1, 5))
        out.append(("XADD", key, "%d-%d" % tuple(at), *pairs))
        if rng.random() < 0.1:
            out.append(("XDEL", key, "%d-%d" % tuple(at)))
    for group in range(rng.randrange(3)):
        out.append(("XGROUP", "CREATE", key, "g%d" % group, "0"))
        for consumer in range(rng.randrange(3)):
            out.append(("XREADGROUP", "GROUP", "g%d" % group, "c%d" % consumer, "COUNT", rng.randrange(1, 9), "STREAMS", key, ">"))
        out.append(("XGROUP", "CREATECONSUMER", key, "g%d" % group, "idle"))
    return out


def check_both_ways(options):
    rng = random.Random(options.seed)
    (mine, a), (theirs, b) = servers()
    for round_ in range(options.rounds):
        key = "k%d" % round_
        for command in make(rng, key):
            expect(plain(a.wire(*command)), plain(b.wire(*command)), command[:3])
        dumps = [plain(one.wire("DUMP", key)) for one in (a, b)]
        for one, dump in ((a, dumps[1]), (b, dumps[0])):
            expect(plain(one.wire("RESTORE", "copy", 0, dump, "REPLACE")), b"OK", (round_, "restore"))
        expect(value_of(a, "copy"), value_of(b, "copy"), (options.seed, round_, "copies"))
        mine_before = value_of(a, key)
        expect(value_of(a, "copy")[0], mine_before[0], round_)
        expect(value_of(a, "copy")[2][:2], mine_before[2][:2], round_)
        a.call("DEL", key, "copy")
        b.call("DEL", key, "copy")
    expect(plain(a.wire("DUMP", "absent")), None, "absent")
    expect(plain(a.wire("DBSIZE")), 0, "left over")


# --- options and errors ---------------------------------------------------------------------------------

def check_answers(_):
    (_, a), (_, b) = servers()
    payload = {}
    for client in (a, b):
        client.call("SET", "s", "hello")
        payload[client] = plain(client.wire("DUMP", "s"))
    expect(payload[a], payload[b], "a short string's dump")
    good = payload[a]
    later = int(time.time() * 1000) + 100000
    script = [
        ("RESTORE", "s", 0, good), ("RESTORE", "t", 0, good), ("GET", "t"), ("RESTORE", "t", "x", good), ("RESTORE", "u", "x", good),
        ("RESTORE", "u", -1, good), ("RESTORE", "u", 0, b"short"), ("RESTORE", "u", 0, good[:-1] + b"x"), ("RESTORE", "u", 0, sealed(b"\x07ab")),
        ("RESTORE", "u", 0, sealed(b"")), ("RESTORE", "u", 0, good, "NOTHING"), ("RESTORE", "u", 0, good, "IDLETIME"),
        ("RESTORE", "u", 0, good, "IDLETIME", "-1"), ("RESTORE", "u", 0, good, "IDLETIME", "x"), ("RESTORE", "u", 0, good, "FREQ", "256"),
        ("RESTORE", "u", 0, good, "FREQ", "-1"), ("RESTORE", "u", 0, good, "IDLETIME", 5, "FREQ", 5), ("RESTORE", "u", 0, good, "IDLETIME", 1000),
        ("OBJECT", "IDLETIME", "u"), ("RESTORE", "u", later, good, "ABSTTL", "REPLACE"), ("PEXPIRETIME", "u"), ("RESTORE", "u", 1, good, "ABSTTL"),
        ("RESTORE", "u", 1, good, "ABSTTL", "REPLACE"), ("EXISTS", "u"), ("RESTORE", "new", 1, good, "ABSTTL"), ("EXISTS", "new"),
        ("RESTORE", "t", 0, sealed(b"\x07ab"), "REPLACE"), ("GET", "t"), ("RESTORE", "u", 0, good, "FREQ", 9), ("TYPE", "u"),
        ("RESTORE",), ("RESTORE", "u", 0), ("DUMP",), ("DUMP", "a", "b"),
        ("RESTORE", "e", 0, sealed(b"\x01\x00")), ("RESTORE", "e", 0, sealed(b"\x02\x00")), ("RESTORE", "e", 0, sealed(b"\x04\x00")),
        ("RESTORE", "e", 0, sealed(b"\x02\x02\x01a\x01a")), ("RESTORE", "e", 0, sealed(b"\x05\x02\x01a" + bytes(8) + b"\x01a" + bytes(8))),
        ("MULTI",), ("RESTORE", "m", 0, good), ("DUMP", "m"), ("EXEC",),
        ("EVAL", "return redis.call('restore', KEYS[1], 0, redis.call('dump', KEYS[2]), 'replace')", 2, "m", "s"), ("GET", "m"),
    ]
    for command in script:
        expect(a.wire(*command), b.wire(*command), command)


def check_old_forms(_):
    (server, a), _ = servers("commit")
    ziplist = b"\x00\xf2" + b"\x02\x02hi" + b"\x04\xc0\x00\x01" + b"\x04\xfe\x80"          # 1, "hi", 256, -128
    ziplist = struct.pack("<IIH", 11 + len(ziplist), 0, 4) + ziplist + b"\xff"
    blob = bytes([len(ziplist)]) + ziplist
    ints = struct.pack("<II", 2, 3) + struct.pack("<hhh", -5, 0, 300)
    zipmap = b"\x02\x01a\x02\x01xy?\x03bcd\x00\x00\xff"
    listpack = b"\x81f\x02" + b"\x81v\x02" + b"\x00\x01"
    listpack = struct.pack("<IH", 7 + len(listpack), 3) + listpack + b"\xff"
    far = int(time.time() * 1000) + 10 ** 7
    timed = b"\x81f\x02" + b"\x81v\x02" + b"\xf4" + struct.pack("<q", far) + b"\x09"
    timed = struct.pack("<IH", 7 + len(timed), 3) + timed + b"\xff"
    cases = [
        (sealed(b"\x0a" + blob, 6), ("LRANGE", "k", 0, -1), [b"1", b"hi", b"256", b"-128"]),
        (sealed(b"\x0e\x01" + blob, 7), ("LRANGE", "k", 0, -1), [b"1", b"hi", b"256", b"-128"]),
        (sealed(b"\x0d" + blob, 6), ("HGET", "k", "256"), b"-128"),
        (sealed(b"\x0b" + bytes([len(ints)]) + ints, 6), ("SMEMBERS", "k"), [b"-5", b"0", b"300"]),
        (sealed(b"\x09" + bytes([len(zipmap)]) + zipmap, 2), ("HGETALL", "k"), [b"a", b"xy", b"bcd", b""]),
        (sealed(b"\x03\x02\x01a\x031.5\x01b\xff", 5), ("ZRANGE", "k", 0, -1, "WITHSCORES"), [b"b", b"-inf", b"a", b"1.5"]),
        (sealed(b"\x19" + bytes(8) + bytes([len(listpack)]) + listpack, 12), ("HGETALL", "k"), [b"f", b"v"]),
        (sealed(b"\x19" + bytes(8) + bytes([len(timed)]) + timed, 12), ("HPEXPIRETIME", "k", "FIELDS", 1, "f"), [far]),
        (sealed(b"\x18" + struct.pack("<Q", far) + b"\x02\x01\x01f\x01v\x00\x01g\x01w", 12), ("HPEXPIRETIME", "k", "FIELDS", 2, "f", "g"), [far, -1]),
        (sealed(b"\x00\xc3\x06\x1e\x01aa\xe0\x13\x00", 10), ("STRLEN", "k"), 30),
    ]
    for payload, read, wanted in cases:
        expect(plain(a.wire("RESTORE", "k", 0, payload, "REPLACE")), b"OK", payload)
        expect(plain(a.wire(*read)), wanted, payload)
    expect(a.wire("RESTORE", "k", 0, sealed(b"\x00\x01a", 13), "REPLACE")[0], "-", "a version to come")
    a.call("DEL", "k")
    a.call("HSET", "k", "f", "1", "g", "2")
    a.call("HPEXPIREAT", "k", far, "FIELDS", 1, "g")
    dump = plain(a.wire("DUMP", "k"))
    expect(plain(a.wire("RESTORE", "again", 0, dump)), b"OK", "fields with deadlines")
    expect(plain(a.wire("HPEXPIRETIME", "again", "FIELDS", 2, "f", "g")), [-1, far], "their deadlines")
    kill_and_look(server, far)


def kill_and_look(server, far):
    server.kill9()
    server.start()
    c = server.client()
    expect(plain(c.wire("HPEXPIRETIME", "again", "FIELDS", 2, "f", "g")), [-1, far], "after a kill")


# --- damage -----------------------------------------------------------------------------------------------

def check_damage(options):
    rng = random.Random(options.seed)
    (_, a), (_, b) = servers()
    payloads = []
    for command in (("RPUSH", "k", "1", "hello", "x" * 70, "-5000"), ("SADD", "k", "1", "2", "70000"), ("HSET", "k", "f", "1", "g", "2"),
                    ("ZADD", "k", "1", "a", "2.5", "b"), ("SET", "k", "ab" * 30)):
        b.call(*command)
        payloads.append(plain(b.wire("DUMP", "k")))
        b.call("DEL", "k")
    for command in make_stream(random.Random(5), "k", 12) + [("XGROUP", "CREATE", "k", "g", "0"),
                                                             ("XREADGROUP", "GROUP", "g", "c", "COUNT", "4", "STREAMS", "k", ">")]:
        b.wire(*command)
    payloads.append(plain(b.wire("DUMP", "k")))
    tried = made = 0
    for payload in payloads:
        body = payload[:-10]
        flips = range(8 * len(body)) if len(body) < 150 else rng.sample(range(8 * len(body)), 1200)
        for flip in flips:
            broken = bytearray(body)
            broken[flip // 8] ^= 1 << flip % 8
            kind, answer = a.wire("RESTORE", "k", 0, sealed(bytes(broken)), "REPLACE")
            tried += 1
            made += kind == "+"
            if kind == "-" and answer != b"Bad data format" and b"Bad data format" not in answer:
                raise AssertionError("%r: %r" % (bytes(broken), answer))
            if kind == "+":
                value_of(a, "k")
        for cut in range(len(body)):
            expect(a.wire("RESTORE", "cut", 0, sealed(body[:cut]))[0], "-", ("cut", cut))
        flipped = bytearray(payload)
        flipped[rng.randrange(len(payload))] ^= 1
        expect(a.wire("RESTORE", "cut", 0, bytes(flipped))[0], "-", "a checksum")
    print("%d flips, %d of them were values all the same" % (tried, made))
    expect(plain(a.wire("PING")), b"PONG", "alive")
    expect(plain(a.wire("EXISTS", "cut")), 0, "nothing made")


# --- functions --------------------------------------------------------------------------------------------

def library(name, function, text="1"):
    return "#!lua name=%s\nredis.register_function('%s', function() return %s end)" % (name, function, text)


def check_functions(_):
    (server, a), (_, b) = servers("commit")
    script = [("FUNCTION", "LOAD", library("one", "f1")), ("FUNCTION", "LOAD", library("two", "f2"))]
    for command in script:
        expect(plain(a.wire(*command)), plain(b.wire(*command)), command)
    both = plain(a.wire("FUNCTION", "DUMP")), plain(b.wire("FUNCTION", "DUMP"))
    single = {}
    for name, source in (("clash", library("three", "F1")), ("other", library("one", "g1", "2"))):
        b.call("FUNCTION", "FLUSH")
        b.call("FUNCTION", "LOAD", source)
        single[name] = plain(b.wire("FUNCTION", "DUMP"))
    b.call("FUNCTION", "FLUSH")
    expect(plain(b.wire("FUNCTION", "RESTORE", both[0])), b"OK", "ours to Redis")
    expect(plain(a.wire("FUNCTION", "RESTORE", both[1], "REPLACE")), b"OK", "theirs to us")
    for command in [("FUNCTION", "RESTORE", both[1]), ("FUNCTION", "RESTORE", both[1], "APPEND")]:
        expect(a.wire(*command)[1][-14:], b.wire(*command)[1][-14:], command)  # which one is named is chance in Redis
    for command in [("FUNCTION", "RESTORE", both[1], "SOMEHOW"),
                    ("FUNCTION", "RESTORE"), ("FUNCTION", "RESTORE", "bad"), ("FUNCTION", "RESTORE", "a", "b", "c"),
                    ("FUNCTION", "RESTORE", sealed(b"\x00\x01a")), ("FUNCTION", "RESTORE", single["clash"]),
                    ("FUNCTION", "RESTORE", single["clash"], "REPLACE"), ("FCALL", "f1", 0), ("FCALL", "f2", 0), ("FCALL", "g1", 0),
                    ("FUNCTION", "RESTORE", single["other"], "REPLACE"), ("FCALL", "g1", 0), ("FCALL", "f1", 0), ("FCALL", "f2", 0),
                    ("FUNCTION", "RESTORE", both[0], "FLUSH"), ("FCALL", "g1", 0), ("FCALL", "f1", 0)]:
        expect(a.wire(*command), b.wire(*command), command)
    server.kill9()
    server.start()
    c = server.client()
    expect([plain(c.wire("FCALL", name, 0)) for name in ("f1", "f2")], [1, 1], "after a kill")


CHECKS = {name[6:]: check for name, check in list(globals().items()) if name.startswith("check_")}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("checks", nargs="*", choices=[*CHECKS, []])
    options = parser.parse_args()
    for name in options.checks or CHECKS:
        CHECKS[name](options)
        print("%-20s ok" % name, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
