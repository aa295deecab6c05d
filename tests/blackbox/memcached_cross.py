"""memcached_cross.py -- every command of one protocol after every command of the other, on the same key.

Goal:   what memcached's clients and Redis' clients do to a key adds up as if the key had moved from a Redis to a memcached and back: answer,
        value, deadline; client flags are kept or dropped as `../../src/proto/memcached/README.md` says; a number for compare-and-set ends with
        the value it was of. Nothing of it is lost by kill -9 or a restart from a snapshot, and nothing goes unnoticed: WATCH, scripts,
        keyspace events, invalidations, eviction.
Method: `pairs`: for each beginning (no key, values, flags, deadlines) and each Redis command, one key per memcached command. redis-server does
        the one step, memcached the other; the state between is carried over; holdfast does both. Then the other way round.
        The other checks start from what they need. Each Redis command meets two beginnings, with --whole all.
Usage:  memcached_cross.py [--whole] [check ...]
"""
import re
import sys
import threading
import time

from harness import Checks, ReplyError, Server
from memcached_peer import Holdfast, Peer, Text

WHOLE = "--whole" in sys.argv
LARGE = b"large value " * 500
# value, flags, seconds; None: no key
BEGINNINGS = [None, (b"10", 0, 0), (b"10", 7, 1000), (b"abc", 5, 0), (b"", 4294967295, 1000), (LARGE, 3, 1000), (b"5 ", 0, 0), (b"18446744073709551615", 0, 1000)]

KEEPS, DROPS, GONE = "keeps", "drops", "gone"
# Redis' command, what it does to client flags, and to the number when it succeeds: True: ends it. {k}: the key, {o}: another one of its own.
REDIS = [
    (["GET {k}"], KEEPS, False), (["STRLEN {k}"], KEEPS, False), (["GETRANGE {k} 0 1"], KEEPS, False), (["EXISTS {k}"], KEEPS, False),
    (["TYPE {k}"], KEEPS, False), (["TTL {k}"], KEEPS, False), (["TOUCH {k}"], KEEPS, False), (["MGET {k} {o}"], KEEPS, False),
    (["BITCOUNT {k}"], KEEPS, False), (["GETBIT {k} 1"], KEEPS, False),
    (["SET {k} new"], DROPS, True), (["SET {k} new KEEPTTL"], DROPS, True), (["SET {k} 12 EX 500"], DROPS, True), (["SET {k} new NX"], DROPS, True),
    (["SET {k} new XX"], DROPS, True), (["SET {k} new GET"], DROPS, True), (["SETNX {k} new"], DROPS, True), (["SETEX {k} 400 7"], DROPS, True), (["PSETEX {k} 400000 7"], DROPS, True),
    (["GETSET {k} 3"], DROPS, True), (["GETDEL {k}"], GONE, True), (["GETEX {k}"], KEEPS, False), (["GETEX {k} EX 300"], KEEPS, False), (["GETEX {k} PERSIST"], KEEPS, False),
    (["APPEND {k} 1"], KEEPS, True), (["SETRANGE {k} 1 5"], KEEPS, True), (["INCR {k}"], KEEPS, True), (["DECR {k}"], KEEPS, True), (["INCRBY {k} 90"], KEEPS, True),
    (["DECRBY {k} 9"], KEEPS, True), (["INCRBYFLOAT {k} 1.5"], KEEPS, True), (["SETBIT {k} 0 1"], KEEPS, True), (["BITFIELD {k} SET u8 0 33"], KEEPS, True),
    (["BITOP NOT {k} {o}"], GONE, True), (["MSET {k} 4 {o} 5", "DEL {o}"], DROPS, True), (["MSETNX {k} 4"], DROPS, True),
    (["DEL {k}"], GONE, True), (["UNLINK {k}"], GONE, True), (["EXPIRE {k} 200"], KEEPS, False), (["PEXPIRE {k} 200000 NX"], KEEPS, False), (["EXPIRE {k} -1"], GONE, True),
    (["EXPIREAT {k} 2000000000"], KEEPS, False), (["PERSIST {k}"], KEEPS, False),
    (["RENAME {k} {o}", "RENAME {o} {k}"], KEEPS, True), (["COPY {k} {o}", "DEL {k}", "RENAME {o} {k}"], KEEPS, True), (["MOVE {k} 1", "SELECT 1", "MOVE {k} 0", "SELECT 0"], KEEPS, None),
    (["SWAPDB 0 1", "SWAPDB 0 1"], KEEPS, None), (["FLUSHDB"], GONE, True), (["FLUSHALL"], GONE, True),
    (["EVAL return(redis.call('APPEND',KEYS[1],'s')) 1 {k}"], KEEPS, True), (["EVAL return(redis.call('SET',KEYS[1],'6')) 1 {k}"], DROPS, True),
    (["EVAL return(redis.call('RESTORE',KEYS[1],0,redis.call('DUMP',KEYS[1])or'','REPLACE')) 1 {k}"], DROPS, True),
    (["MULTI", "INCR {k}", "EXPIRE {k} 100", "EXEC"], KEEPS, True), (["MULTI", "DEL {k}", "SET {k} 8", "EXEC"], DROPS, True), (["MULTI", "SET {k} 8", "DISCARD"], KEEPS, False),
]
# {k}: the key, {c}: its number before the Redis command.
MEMCACHED = ["get {k}", "gets {k}", "gat 150 {k}", "gats 0 {k}", "touch {k} 150", "touch {k} 0", "touch {k} -1", "delete {k}", "incr {k} 1", "decr {k} 9", "incr {k} 18446744073709551615",
             "set {k} 9 0 2|33", "set {k} 0 250 2|ab", "set {k} 0 -1 1|x", "add {k} 9 250 2|44", "replace {k} 9 250 2|55", "append {k} 0 0 1|6", "prepend {k} 0 0 1|1",
             "cas {k} 9 250 2 {c}|66", "cas {k} 9 0 2 12345678901234567890|77", "mg {k} v f s t k", "mg {k} T150 v t", "mg {k} N150 v t f", "mg {k} R2000 v", "ms {k} 2 c F9 T250|88",
             "ms {k} 2 ME|99", "ms {k} 1 MA|9", "ms {k} 1 MP|9", "ms {k} 2 MR F1|99", "ms {k} 2 C{c}|98", "ms {k} 2 C12345678901234567890 I|97", "md {k}", "md {k} C{c}", "md {k} I T150", "ma {k} v",
             "ma {k} MD D9 v t", "ma {k} N150 J13 v", "ma {k} C{c} v", "me {k}"]


class Redis:
    """Steps of Redis' protocol for many keys at once."""

    def __init__(self, server):
        self.client = server.client()

    def run(self, steps, keys):
        """Each key's replies."""
        commands = [step.replace("{k}", key).replace("{o}", key + ":o").split(" ") for key in keys for step in steps]
        replies = self.client.pipeline(commands)
        return [[reply_of(replies[at + i], steps[i]) for i in range(len(steps))] for at in range(0, len(replies), len(steps))]

    def states(self, keys):
        replies = self.client.pipeline([words for key in keys for words in (("GET", key), ("TTL", key))])
        return [(value, ttl) for value, ttl in zip(replies[::2], replies[1::2])]

    def put(self, states, keys):
        commands = []
        for key, (value, ttl) in zip(keys, states):
            commands.append(["DEL", key] if value is None else ["SET", key, value] + (["EX", ttl] if ttl > 0 else []))
        self.client.pipeline(commands)


def reply_of(reply, step):
    if isinstance(reply, ReplyError):
        return "error " + str(reply)
    return near(reply) if step.startswith("TTL") else reply


def near(seconds):
    """Seconds left, as far as clocks agree that are asked one after the other. All deadlines here are multiples of 50 s, or far."""
    return seconds if seconds < 10 else "far" if seconds > 100000 else (seconds + 40) // 50 * 50


def comparable(answer):
    """Without numbers of memcached's own, and seconds left as far as two clocks agree."""
    answer = re.sub(rb"(VALUE \S+ \d+ \d+) \d+\r\n", rb"\1\r\n", answer)
    answer = re.sub(rb" c\d+(?=[ \r])| exp=\S+| la=\S+| cas=\S+| cls=\S+| size=\S+| fetch=\S+", b"", answer)
    return re.sub(rb" t(\d+)(?=[ \r])", lambda m: b" t%b" % str(near(int(m[1]))).encode(), answer)


class Memcached:
    """Steps of memcached's protocol for many keys at once."""

    def __init__(self, server):
        self.text = Text(server)

    def run(self, commands):
        """Each command's answer, without what differs by nature."""
        self.text.send(b"".join(command + b"mn\r\n" for command in commands))
        answers = [self.text.reply() for _ in commands]
        return [comparable(answer) for answer in answers]

    def states(self, keys):
        """Value, seconds left (-1: none, -2: no key) and flags."""
        self.text.send(b"".join(b"mg %b v t f\r\nmn\r\n" % key.encode() for key in keys))
        found = []
        for answer in [self.text.reply() for _ in keys]:
            match = re.match(rb"VA (\d+) t(-?\d+) f(\d+)([^\r]*)\r\n", answer)
            found.append((answer[match.end():-2], int(match[2]), int(match[3]), match[4].split()) if match else (None, -2, 0, []))
        return found

    def put(self, states, flags, keys):
        out = b""
        for key, (value, ttl), bits in zip(keys, states, flags):
            key = key.encode()
            exptime = 0 if ttl < 0 else ttl if ttl <= 2592000 else int(time.time()) + ttl
            out += b"delete %b\r\n" % key if value is None else b"set %b %d %d %d\r\n%b\r\n" % (key, bits, exptime, len(value), value)
        self.text.send(out + b"mn\r\n")
        self.text.reply()

    def numbers(self, keys):
        self.text.send(b"".join(b"gets %b\r\nmn\r\n" % key.encode() for key in keys))
        found = []
        for answer in [self.text.reply() for _ in keys]:
            found.append(int(answer.split(b"\r\n")[0].split()[4]) if answer.startswith(b"VALUE") else 1)
        return found


def commands_of(keys, numbers):
    return [command.replace("{k}", key).replace("{c}", str(number)).replace("|", "\r\n").encode() + b"\r\n" for command, key, number in zip(MEMCACHED, keys, numbers)]


def begin(beginning, keys):
    value, flags, seconds = beginning if beginning else (None, 0, 0)
    return [(value, seconds or -1)] * len(keys), [flags] * len(keys)


def same(found, wanted, *what):
    if found != wanted:
        raise AssertionError("%s: found %.300r, wanted %.300r" % (", ".join(repr(w)[:200] for w in what), found, wanted))


def refused(replies, before, after):
    """A command that changed nothing: an error, also within EXEC, or a condition that was not met."""
    last = replies[-1]
    failed = any(isinstance(reply, str) for reply in replies) or isinstance(last, list) and last and isinstance(last[0], ReplyError)
    return failed or replies[0] in (None, 0) and before == after


def succeeded(replies, before, after, ends):
    """Did these steps end the number? None: they may (a move is free to)."""
    return None if ends is None else ends and not refused(replies, before, after)


def states_equal(found, wanted, *what):
    same(found[0], wanted[0], "value", *what)
    same(near(found[1]), near(wanted[1]), "seconds left", *what)


class Three:
    """holdfast, by both of its ports, and the two others."""

    def __init__(self):
        self.servers = [Holdfast(), Server("redis"), Peer(workers=1, extra=["-o", "no_lru_maintainer,no_lru_crawler"])]
        for server in self.servers:
            server.start()
        self.ours, self.theirs = (Redis(self.servers[0]), Memcached(self.servers[0])), (Redis(self.servers[1]), Memcached(self.servers[2]))
        self.round = 0

    def keys(self):
        self.round += 1
        return ["k%d:%d" % (self.round, i) for i in range(len(MEMCACHED))]

    def stop(self):
        for server in self.servers:
            server.stop()


def redis_then_memcached(three, beginning, steps, flag_rule, ends):
    keys = three.keys()
    states, flags = begin(beginning, keys)
    (redis, memcached), (peer_redis, peer_memcached) = three.ours, three.theirs
    memcached.put(states, flags, keys)
    peer_redis.put(states, keys)
    numbers = memcached.numbers(keys)
    replies, wanted = redis.run(steps, keys), peer_redis.run(steps, keys)
    same(replies, wanted, beginning, steps)
    before, between = states, peer_redis.states(keys)
    kept = [bits if rule_keeps(flag_rule, reply, b[0], a[0]) else 0 for bits, reply, b, a in zip(flags, wanted, before, between)]
    peer_memcached.put(between, kept, keys)
    ended = [succeeded(reply, b[0], a[0], ends) for reply, b, a in zip(wanted, before, between)]
    known = [1 if end else number for end, number in zip(ended, peer_memcached.numbers(keys))]
    answers, theirs = memcached.run(commands_of(keys, numbers)), peer_memcached.run(commands_of(keys, known))
    finals = memcached.states(keys), peer_memcached.states(keys)
    for at, command in enumerate(MEMCACHED):
        if "{c}" in command and ended[at] is None:
            continue
        same(answers[at], theirs[at], beginning, steps, command)
        states_equal(finals[0][at], finals[1][at], beginning, steps, command)
        same(finals[0][at][2:], finals[1][at][2:], "flags", beginning, steps, command)


def rule_keeps(rule, replies, before, after):
    return rule == KEEPS or refused(replies, before, after)


def memcached_then_redis(three, beginning, steps, flag_rule):
    keys = three.keys()
    states, flags = begin(beginning, keys)
    (redis, memcached), (peer_redis, peer_memcached) = three.ours, three.theirs
    memcached.put(states, flags, keys)
    peer_memcached.put(states, flags, keys)
    ours, theirs = commands_of(keys, memcached.numbers(keys)), commands_of(keys, peer_memcached.numbers(keys))
    answers = zip(MEMCACHED, memcached.run(ours), peer_memcached.run(theirs))
    for command, answer, wanted in answers:
        same(answer, wanted, beginning, command)
    between = peer_memcached.states(keys)
    peer_redis.put([state[:2] for state in between], keys)
    for at, (replies, wanted) in enumerate(zip(redis.run(steps, keys), peer_redis.run(steps, keys))):
        same(replies, wanted, beginning, MEMCACHED[at], steps)
        between[at] += (wanted,)
    finals, flags_now = peer_redis.states(keys), memcached.states(keys)
    for at, (found, wanted) in enumerate(zip(redis.states(keys), finals)):
        states_equal(found, wanted, beginning, MEMCACHED[at], steps)
        if wanted[0] is not None:
            kept = rule_keeps(flag_rule, between[at][4], between[at][0], wanted[0])
            same(flags_now[at][2], between[at][2] if kept else 0, "flags", beginning, MEMCACHED[at], steps)


def beginnings_of(at):
    """Two of them, others for each command; one has flags and a deadline."""
    return BEGINNINGS if WHOLE else [BEGINNINGS[2 + at % 2], BEGINNINGS[(0, 1, 4, 5, 6, 7)[at % 6]]]


def check_pairs():
    three, count = Three(), 0
    for at, (steps, flag_rule, ends) in enumerate(REDIS):
        for beginning in beginnings_of(at):
            redis_then_memcached(three, beginning, steps, flag_rule, ends)
            memcached_then_redis(three, beginning, steps, flag_rule)
            count += 2 * len(MEMCACHED)
    print("memcached_cross: %d x %d pairs, both ways and from different beginnings: %d" % (len(REDIS), len(MEMCACHED), count))
    three.stop()


def check_contention():
    """One number, added up by compare-and-set, WATCH, scripts and incr at once: none is lost."""
    adders, rounds = 2, 60
    with Holdfast() as server:
        server.client().call("SET", "total", "0")
        problems = []

        def by_cas():
            memcached = Text(server)
            for _ in range(rounds):
                answer = b""
                while answer != b"STORED\r\n":
                    found = memcached.call(b"gets total\r\n").split(b"\r\n")
                    value = b"%d" % (int(found[1]) + 1)
                    answer = memcached.call(b"cas total 5 0 %d %b\r\n%b\r\n" % (len(value), found[0].split()[4], value))

        def by_watch():
            redis = server.client()
            for _ in range(rounds):
                done = None
                while done is None:
                    redis.call("WATCH", "total")
                    value = int(redis.call("GET", "total"))
                    redis.call("MULTI")
                    redis.call("SET", "total", value + 1)
                    done = redis.call("EXEC")

        def by_script():
            redis = server.client()
            for _ in range(rounds):
                redis.call("EVAL", "return redis.call('SET', KEYS[1], redis.call('GET', KEYS[1]) + 1)", 1, "total")

        def by_incr():
            memcached = Text(server)
            for _ in range(rounds):
                memcached.call(b"incr total 1\r\n")

        def guarded(function):
            try:
                function()
            except Exception as problem:    # of any kind: a thread that dies would be missed in the sum only
                problems.append(repr(problem))
        threads = [threading.Thread(target=guarded, args=(function,)) for function in (by_cas, by_watch, by_script, by_incr) for _ in range(adders)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        same(problems, [], "threads")
        same(server.client().call("GET", "total"), b"%d" % (4 * adders * rounds), "total")


# Command, then: does it change the key that exists ("10", no deadline), and one that does not; the events it tells.
CHANGES = [("get {k}", [], []), ("gets {k}", [], []), ("mg {k} v c t f", [], []), ("me {k}", [], []), ("gat 150 {k}", ["expire"], []), ("touch {k} 150", ["expire"], []),
           ("mg {k} T150 v", ["expire"], []), ("touch {k} -1", ["del"], []), ("delete {k}", ["del"], []), ("md {k}", ["del"], []), ("incr {k} 1", ["incrby"], []), ("decr {k} 1", ["decrby"], []),
           ("ma {k}", ["incrby"], []), ("set {k} 0 0 1|x", ["set"], ["set"]), ("set {k} 0 100 1|x", ["set", "expire"], ["set", "expire"]), ("add {k} 0 0 1|x", [], ["set"]),
           ("replace {k} 0 0 1|x", ["set"], []), ("append {k} 0 0 1|x", ["append"], []), ("prepend {k} 0 0 1|x", ["set"], []), ("cas {k} 0 0 1 {c}|x", ["set"], []),
           ("cas {k} 0 0 1 99|x", [], []), ("ms {k} 1|x", ["set"], ["set"]), ("ms {k} 1 ME|x", [], ["set"]), ("incr {k} x", [], [])]


def check_notices():
    """Keyspace events and client-side caching: told of every change by memcached's commands, and of nothing else."""
    with Holdfast() as server:
        redis, listener, cache, memcached = server.client(), server.client(), server.client(resp=3), Memcached(server)
        redis.call("CONFIG", "SET", "notify-keyspace-events", "KA")
        listener.call("PSUBSCRIBE", "__keyspace@0__:*")
        cache.call("CLIENT", "TRACKING", "ON")
        for command, there, absent in CHANGES:
            for value, events in ((b"10", there), (None, absent)):
                memcached.put([(value, -1)], [0], ["k"])
                number = memcached.numbers(["k"])[0]
                redis.call("PUBLISH", "__keyspace@0__:", "begin")
                ask(cache, "GET", "k")
                answer = memcached.run([command.replace("{k}", "k").replace("{c}", str(number)).replace("|", "\r\n").encode() + b"\r\n"])
                redis.call("PUBLISH", "__keyspace@0__:", "end")
                same(heard_between(listener), events, "events", command, value, answer)
                if events:
                    same(invalidated(cache), b"k", "invalidation", command, value, answer)
                same(ask(cache, "PING"), 0, "invalidations", command, value, answer)


def ask(cache, *words):
    """How many invalidations come before the reply."""
    cache.send(*words)
    count = 0
    while cache.read()[0] == ">":
        count += 1
    return count


def invalidated(cache):
    return cache.read()[1][1][1][0][1]


def heard_between(listener):
    heard = []
    while not heard or heard[-1] != "end":
        word = listener.read()[1][3][1].decode()
        heard = [] if word == "begin" else heard + [word]
    return heard[:-1]


def check_eviction():
    """What memcached's clients store is evicted like all else, and both protocols see the same keys then."""
    with Holdfast(extra=["--maxmemory", "8mb", "--maxmemory-policy", "allkeys-lru"]) as server:
        redis, text = server.client(), Text(server)
        for first in range(0, 4000, 100):
            text.send(b"".join(b"set m%d 5 0 5000\r\n%b\r\n" % (i, b"v" * 5000) for i in range(first, first + 100)) + b"mn\r\n")
            same(text.reply(), b"STORED\r\n" * 100, "stored")
        stats = dict(line.split(b" ")[1:3] for line in text.call(b"stats\r\n").split(b"\r\n") if line.startswith(b"STAT "))
        assert int(stats[b"evictions"]) > 1000, stats[b"evictions"]
        redis.call("CONFIG", "SET", "maxmemory-policy", "noeviction")     # nothing goes any more
        there = [i for i, found in enumerate(redis.pipeline([("EXISTS", "m%d" % i) for i in range(4000)])) if found]
        assert 100 < len(there) < 3000, len(there)
        text.send(b"".join(b"mg m%d f k\r\n" % i for i in range(4000)) + b"mn\r\n")
        same(re.findall(rb"HD f5 km(\d+)", text.reply()), [b"%d" % i for i in there], "keys")
        redis.call("CONFIG", "SET", "maxmemory", "1mb")
        same(text.call(b"set new 0 0 1\r\nx\r\n"), b"SERVER_ERROR out of memory storing object\r\n", "refused")
        same(text.call(b"delete m%d\r\n" % there[0]), b"DELETED\r\n", "deleted")


def everything(server, keys):
    """By both protocols, numbers included."""
    memcached = Memcached(server)
    return [state + (number,)
            for state, number in zip(memcached.states(keys), memcached.numbers(keys))]


def fill(server):
    """A key for each pair of a beginning with a Redis and a memcached command."""
    redis, memcached, keys = Redis(server), Memcached(server), []
    for r, (steps, _, _) in enumerate(REDIS):
        for b, beginning in enumerate(beginnings_of(r)):
            if "FLUSH" in steps[0]:
                continue
            mine = ["f%d:%d:%d" % (b, r, i) for i in range(len(MEMCACHED))]
            states, flags = begin(beginning, mine)
            memcached.put(states, flags, mine)
            redis.run(steps, mine)
            memcached.run(commands_of(mine, memcached.numbers(mine)))
            keys += mine
    return keys


def check_restart():
    """All of it comes back after kill -9 from the log (each write on disk, or what WAITAOF waited for), and from a snapshot."""
    for durability in ("commit", "interval", "none"):
        with Holdfast(durability=durability) as server:
            keys = fill(server)
            memcached = Memcached(server)
            memcached.states(keys)
            before = everything(server, keys)
            redis = server.client()
            if durability == "none":
                redis.call("SAVE")
            else:
                same(redis.call("WAITAOF", 1, 0, 0)[0], 1, "on disk")
            server.kill9()
            server.start()
            after = everything(server, keys)
            for key, old, new in zip(keys, before, after):
                same(new[:1] + new[2:], old[:1] + old[2:], durability, key)
                assert old[1] == new[1] or old[1] >= new[1] > old[1] - 100, (durability, key, old[1], new[1])
            assert sum(state[0] is not None for state in after) > len(keys) // 2
            old_numbers = [state[-1] for state in before]
            fresh = Text(server)
            fresh.call(b"set fresh 0 0 1\r\nx\r\n")
            number = int(fresh.call(b"gets fresh\r\n").split(b"\r\n")[0].split()[4])
            assert number > max(n for n in old_numbers if n < 1 << 63), "a number comes back"


def main():
    sys.argv[1:] = [word for word in sys.argv[1:] if word != "--whole"]
    checks = Checks("memcached_cross")
    checks.run([check_pairs, check_contention, check_notices, check_eviction, check_restart])
    return checks.end()


if __name__ == "__main__":
    sys.exit(main())
