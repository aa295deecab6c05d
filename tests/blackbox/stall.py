"""stall.py -- whatever makes a value of many elements go, nobody else waits for it.

Goal:   UNLINK, DEL, FLUSHDB, FLUSHALL, expiry, overwriting (SET, RENAME, SUNIONSTORE) and eviction of a value of many elements do
        no work that grows with it while others wait: it is unlinked at once and freed in slices, each of which is small.
        A command that takes long holds up only who needs its keys, on the same worker, too; its reply is of one moment. Who waits for it to run alone
        holds up nobody meanwhile, and its turn comes.
Method: by counters, for any machine: INFO tells how many slices there were and how many bytes the largest one freed. With --timed
        also by the clock: another connection, of another worker and of the same one, sends PING all the while; its longest wait is
        shown, and must stay below 10 ms.
        --commands: the same for long commands (stall_commands.py), as a table; a PATTERN chooses some.
Usage:  stall.py [--elements 60000] [--timed] [--workers 2]
        stall.py --commands [PATTERN] [--elements 1000000] [--peer]
        The figure of the design: --elements 10000000 --timed, on a quiet machine.
"""
import argparse
import select
import socket
import sys
import threading
import time

import stall_commands
from harness import Server, encode, plain

SLICE_MAX = 1 << 20         # bytes: a hundred nodes of a few KiB, or 256 entries of a table
STALL_MS = 10
BATCH = 5000
LOAD = {
    "set": lambda key, n: ["SADD", key] + ["member:%d" % i for i in n],
    "zset": lambda key, n: ["ZADD", key] + [w for i in n for w in (i, "member:%d" % i)],
    "hash": lambda key, n: ["HSET", key] + [w for i in n for w in ("field:%d" % i, "value:%d" % i)],
    "list": lambda key, n: ["RPUSH", key] + ["element:%d" % i for i in n],
}


class Pinger:
    """Sends PING without a pause; the longest wait, by what went on meanwhile."""

    def __init__(self, server):
        self.client, self.stopped, self.longest = server.client(), False, 0.0
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        while not self.stopped:
            began = time.monotonic()
            self.client.call("PING")
            self.longest = max(self.longest, time.monotonic() - began)

    def take(self):
        longest, self.longest = self.longest, 0.0
        return longest * 1000

    def stop(self):
        self.stopped = True
        self.thread.join()


def fields(client):
    text = client.call("INFO", "memory").decode()
    return {name: int(value) for name, _, value in (line.partition(":") for line in text.split("\r\n")) if value.isdigit()}


def load(client, kind, key, elements):
    for start in range(0, elements, BATCH):
        client.call(*LOAD[kind](key, range(start, min(start + BATCH, elements))))


def settle(client):
    """Until all that was dropped is free."""
    deadline = time.monotonic() + 120
    while fields(client)["lazyfree_pending_objects"]:
        assert time.monotonic() < deadline, "it is never freed"
        time.sleep(0.002)


def expire(client):
    client.call("PEXPIRE", "big", 1)
    deadline = time.monotonic() + 60
    while client.call("DBSIZE") > 1:
        assert time.monotonic() < deadline, "it never expires"


def evict(client):
    client.call("CONFIG", "SET", "maxmemory-policy", "allkeys-random")
    client.call("CONFIG", "SET", "maxmemory", 1)
    deadline = time.monotonic() + 60
    while client.call("DBSIZE"):
        assert time.monotonic() < deadline, "it is never evicted"
    client.call("CONFIG", "SET", "maxmemory", 0)


WAYS = [
    ("UNLINK", lambda c: c.call("UNLINK", "big")),
    ("DEL", lambda c: c.call("DEL", "big")),
    ("FLUSHDB", lambda c: c.call("FLUSHDB")),
    ("FLUSHALL", lambda c: c.call("FLUSHALL")),
    ("PEXPIRE", expire),
    ("SET", lambda c: c.call("SET", "big", "x")),
    ("RENAME", lambda c: c.call("RENAME", "small", "big")),
    ("SUNIONSTORE", lambda c: c.call("SUNIONSTORE", "big", "no")),
    ("MULTI", lambda c: c.pipeline([["MULTI"], ["DEL", "big"], ["SET", "big", 1], ["EXEC"]])),
    ("EVAL", lambda c: c.call("EVAL", "return redis.call('del', 'big')", 1, "big")),
    ("eviction", evict),
]


# --- what takes long, beside others on the only worker ---------------------------------------------

MANY = 1000000
LONG = [    # some tenths of a second each, on a slow machine longer, of values that are made in no time
    ("SRANDMEMBER", ["SRANDMEMBER", "set", -MANY]),
    ("ZRANDMEMBER", ["ZRANDMEMBER", "zset", -MANY, "WITHSCORES"]),
    ("HRANDFIELD", ["HRANDFIELD", "hash", -MANY, "WITHVALUES"]),
    ("LCS", ["LCS", "text", "text2", "LEN"]),
    ("script", ["EVAL", "return #redis.call('srandmember', KEYS[1], ARGV[1])", 1, "set", -MANY]),
    ("SORT", ["SORT", "sort", "ALPHA", "LIMIT", 0, 1]),
    ("SCAN", ["SCAN", 0, "COUNT", 1 << 40, "MATCH", "[a-b]*[c-d]*[e-f]*" * 40]),
    ("KEYS", ["KEYS", "[a-b]*[c-d]*[e-f]*" * 40]),
]


def is_answered(client):
    return bool(select.select([client.socket], [], [], 0)[0])


def pongs_until_answered(asker, other):
    count = 0
    while not is_answered(asker):
        assert other.call("PING") == b"PONG"
        count += 1
    return count


def check_others_are_served(server, c, other):
    for name, words in LONG:
        c.send(*words)
        count = pongs_until_answered(c, other)
        assert count >= 8, "%s: others had %d answers meanwhile" % (name, count)
        c.read()
    c.pipeline([["MULTI"], LONG[0][1], LONG[1][1]])
    c.send("EXEC")
    assert pongs_until_answered(c, other) >= 16, "EXEC"
    assert [len(value) for _, value in c.read()[1]] == [MANY, 2 * MANY]


def check_reply_is_of_one_moment(server, c, other):
    """Who changes the key meanwhile waits, and is not seen."""
    c.send("ZRANDMEMBER", "zset", -MANY)
    assert pongs_until_answered_some(c, other, 3)
    other.send("ZADD", "zset", 5, "late")
    third = server.client()
    assert third.call("PING") == b"PONG" and not is_answered(c) and not is_answered(other), "the change did not wait"
    members = [value for _, value in c.read()[1]]
    assert len(members) == MANY and b"late" not in members
    assert other.read() == (":", 1) and c.call("ZSCORE", "zset", "late") == b"5"
    third.close()


def check_two_at_once(server, c, other):
    """The second one gives up what it has begun, and runs behind the first; both replies are whole."""
    second = server.client()
    c.send(*LONG[0][1])
    assert pongs_until_answered_some(c, other, 3)
    second.send(*LONG[2][1])
    second.send("SET", "behind", 1)
    pongs_until_answered(c, other)
    assert not is_answered(second), "it ran inside the other one"
    assert pongs_until_answered(second, other) >= 8
    assert len(c.read()[1]) == MANY
    assert len(second.read()[1]) == 2 * MANY and second.read() == ("+", b"OK")
    second.close()


def check_large_values_beside(server, c, other):
    """What makes or reads a large value gives up beside another one, having changed nothing and told no error, and does it all behind it."""
    large, payload, second = b"ab" * (3 << 20), c.call("DUMP", "sort"), server.client()
    c.call("SET", "large", large)
    errors = c.call("INFO", "errorstats")
    for words, reply in (
            (["RESTORE", "restored", 0, payload], ("+", b"OK")), (["DUMP", "sort"], ("$", payload)), (["DUMP", "large"], None),
            (["SET", "set large", large], ("+", b"OK")), (["MSETNX", "first", "x" * 20000, "not large", large], (":", 1)),
            (["BITOP", "NOT", "not large", "large"], (":", len(large))), (["GETSET", "not large", large], ("$", bytes(255 - b for b in large))),
            (["MSETNX"] + [w for i in range(30000) for w in ("made:%d" % i, i)] + ["large", 1], (":", 0)),
            (["DEL"] + ["no:%d" % i for i in range(30000)] + ["first"], (":", 1))):
        c.send(*LONG[0][1])
        assert pongs_until_answered_some(c, other, 1)
        second.send(*words)
        pongs_until_answered(c, other)
        got = second.read()
        assert reply is None or got == reply, words[0]
        assert len(c.read()[1]) == MANY
    assert c.call("SINTERCARD", 2, "sort", "restored") == c.call("SCARD", "restored") == 100000
    assert c.call("GET", "set large") == c.call("GET", "not large") == large and not c.call("EXISTS", "made:1", "first")
    assert c.call("INFO", "errorstats") == errors
    c.call("DEL", "large", "set large", "not large", "restored")
    second.close()


def check_a_pipeline_takes_turns(server, c, other):
    """Many commands of a millisecond or so, in one piece."""
    c.send_raw(encode("LCS", "short", "short2", "LEN") * 200)
    c.send("ECHO", "end")
    count, size = 0, len(b":1999\r\n") * 200
    while not is_answered(c):
        count += other.call("PING") == b"PONG"
    while count < 10000 and len(c.socket.recv(size + 9, socket.MSG_PEEK)) < size + 9:
        count += other.call("PING") == b"PONG"
    assert count >= 20, "others had %d answers meanwhile" % count
    assert {c.read() for _ in range(200)} == {(":", 1999)} and c.read() == ("$", b"end")


def check_who_asked_goes(server, c, other):
    for how in ("closes", "is killed"):
        asker = server.client()
        number = asker.call("CLIENT", "ID")
        asker.send(*LONG[1][1])
        assert pongs_until_answered_some(asker, other, 3)
        if how == "closes":
            asker.close()
        else:
            assert other.call("CLIENT", "KILL", "ID", number) == 1
        deadline = time.monotonic() + 60
        while b"id=%d " % number in other.call("CLIENT", "LIST"):
            assert time.monotonic() < deadline, "it %s and stays" % how
        assert other.call("ZCARD", "zset") == 101
        asker.close()


def check_messages_keep_their_order(server, c, other):
    """What is published beside the command is heard before what the command itself tells."""
    listener = server.client(resp=3)
    c.call("CONFIG", "SET", "notify-keyspace-events", "EA")
    listener.call("SUBSCRIBE", "news", "__keyevent@0__:sortstore")
    listener.read()
    for _ in range(20):
        c.send("SORT", "sort", "BY", "*", "STORE", "sorted")
        in_time = pongs_until_answered_some(c, other, 1)
        for number in range(3):
            other.call("PUBLISH", "news", number)
        in_time &= not is_answered(c)
        c.read()
        heard = [listener.read()[1][2][1] for _ in range(4)]
        if in_time:
            assert heard == [b"0", b"1", b"2", b"sorted"], heard
            break
    assert in_time, "SORT was over too soon"
    c.call("CONFIG", "SET", "notify-keyspace-events", "")
    c.call("DEL", "sorted")


def check_messages_are_told_meanwhile(server, c, other):
    """To others at once, and to who caches before any reply that shows more; to the asker around its reply."""
    asker, listener, cache = (server.client(resp=3) for _ in range(3))
    for one in (asker, listener):
        one.call("SUBSCRIBE", "news")
    for one in (asker, cache):
        one.call("CLIENT", "TRACKING", "on")
        one.call("GET", "shared")
    for attempt in range(20):
        asker.send("LCS", "text", "text2", "LEN")
        in_time = pongs_until_answered_some(asker, other, 1)
        other.call("SET", "shared", attempt)
        other.call("PUBLISH", "news", attempt)
        cache.send("GET", "shared")
        told = [plain(cache.read()), plain(cache.read()), plain(listener.read())]
        in_time &= not is_answered(asker)
        asker.send("GET", "shared")
        seen = [plain(asker.read())]
        while seen[-1] != b"%d" % attempt:
            seen.append(plain(asker.read()))
        invalidation, message = [b"invalidate", [b"shared"]], [b"message", b"news", b"%d" % attempt]
        assert told == [invalidation, b"%d" % attempt, message], told
        if in_time:
            assert seen == [invalidation, message, 5999, invalidation, b"%d" % attempt], seen
            break
    assert in_time, "LCS was over too soon, or others were told behind it"
    for one in (asker, listener, cache):
        one.close()


def pongs_until_answered_some(asker, other, count):
    """It has begun for sure, and has not ended."""
    for _ in range(count):
        other.call("PING")
    time.sleep(0.01)
    other.call("PING")
    return not is_answered(asker)


def load_for_long(c):
    c.call("SADD", "set", *["member:%d" % i for i in range(1000)])
    c.call("HSET", "hash", *[w for i in range(1000) for w in ("field:%d" % i, i)])
    c.call("ZADD", "zset", *[w for i in range(100) for w in (i, "member:%d" % i)])
    c.pipeline([["SET", "text", "ab" * 3000], ["SET", "text2", "ba" * 3000], ["SET", "short", "ab" * 1000], ["SET", "short2", "ba" * 1000]])
    load(c, "set", "sort", 100000)


def beside():
    with Server(workers=1) as server:
        c, other = server.client(), server.client()
        load_for_long(c)
        c.call("MSET", *[w for i in range(20000) for w in ("abcdef" * 30 + str(i), i)])
        for check in (check_others_are_served, check_reply_is_of_one_moment, check_two_at_once, check_large_values_beside, check_a_pipeline_takes_turns,
                      check_messages_keep_their_order, check_messages_are_told_meanwhile, check_who_asked_goes):
            check(server, c, other)
    print("others are served while a command takes long")


def beside_alone():
    for workers, checks in ((3, (check_who_waits_to_be_alone_holds_up_nobody, check_who_waits_and_goes)), (4, (check_its_turn_comes,))):
        with Server(workers=workers) as server:
            load_for_long(server.client())
            for check in checks:
                check(server)
    print("others are served while a command waits to run alone")


# --- what runs alone, beside what takes long on another worker --------------------------------------

ALONE = [
    ("SWAPDB", [["SWAPDB", 14, 15]]),
    ("FLUSHDB", [["SELECT", 15], ["FLUSHDB"]]),
    ("EXEC", [["MULTI"], ["DBSIZE"], ["EXEC"]]),
    ("script", [["EVAL", "return redis.call('dbsize')", 0]]),
]


def one_for_each_worker(server, workers):
    """Connections go to the workers in turn."""
    clients = [server.client() for _ in range(workers)]
    for client in clients:
        client.call("PING")
    return clients


def send_all(client, commands):
    client.send_raw(b"".join(encode(*words) for words in commands))


def check_who_waits_to_be_alone_holds_up_nobody(server):
    long, alone, other = one_for_each_worker(server, 3)
    for at, (name, words) in enumerate(ALONE):
        long_name, long_words = (LONG[3], LONG[4], LONG[5])[at % 3]
        long.send(*long_words)
        assert pongs_until_answered_some(long, other, 3)
        send_all(alone, words)
        time.sleep(0.02)        # it has asked
        count = pongs_until_answered(long, other)
        assert count >= 8, "%s beside %s: an idle worker gave %d answers" % (name, long_name, count)
        long.read()
        for _ in words:
            assert alone.read()[0] != "-", name
    for client in (long, alone, other):
        client.close()


def check_who_waits_and_goes(server):
    """Nobody owns what a closed connection has asked for."""
    long, alone, other = one_for_each_worker(server, 3)
    long.send(*LONG[3][1])
    assert pongs_until_answered_some(long, other, 3)
    alone.send("SWAPDB", 14, 15)
    time.sleep(0.02)
    alone.close()
    assert pongs_until_answered(long, other) >= 8
    long.read()
    assert other.call("SWAPDB", 14, 15) == b"OK" and long.call("PING") == b"PONG"
    for client in (long, other):
        client.close()


def check_its_turn_comes(server):
    """There is always a long command under way on two workers; it waits for those only that were there before it."""
    many = 5
    first, second, alone, other = one_for_each_worker(server, 4)
    for name, words in (LONG[3], LONG[4]):      # the second, a script, goes to its end whatever waits
        first.send_raw(encode(*words) * many)
        assert pongs_until_answered_some(first, other, 3)
        second.send_raw(encode(*words) * many)
        time.sleep(0.02)
        alone.send("SWAPDB", 14, 15)
        count = pongs_until_answered(alone, other)
        sizes = [len(client.socket.recv(1 << 16, socket.MSG_PEEK)) for client in (first, second) if is_answered(client)]
        replies = [{client.read() for _ in range(many)} for client in (first, second)]
        assert alone.read() == ("+", b"OK") and replies[0] == replies[1] and len(replies[0]) == 1, replies
        size = len(b":%d\r\n" % replies[0].pop()[1])
        assert max(sizes, default=0) < size * many, "%s: it came behind all of them" % name
        assert count >= 8, "%s: an idle worker gave %d answers" % (name, count)
    for client in (first, second, alone, other):
        client.close()


def table(options):
    kind = "redis" if options.peer else "holdfast"
    with Server(kind, workers=2) as server:
        print("%-42s %-26s %8s %9s %9s %8s %8s" % (kind, "reply", "took ms", "same ms", "other ms", "reply MB", "grew MB"))
        for text, line, seconds, same, other, size, growth in stall_commands.run(server, options.elements, options.commands, settle):
            print("%-42s %-26s %8.1f %9.1f %9.1f %8.1f %8.1f" % (
                text[:42], line[:26], seconds * 1000, same, other, size / 1e6, growth / 1e6), flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--elements", type=int, default=60000)
    parser.add_argument("--timed", action="store_true")
    parser.add_argument("--workers", type=int)
    parser.add_argument("--commands", nargs="?", const="", metavar="PATTERN")
    parser.add_argument("--peer", action="store_true")
    options = parser.parse_args()
    if options.commands is not None:
        table(options)
        return
    beside()
    beside_alone()
    worst = 0.0
    sys.setswitchinterval(0.0002)   # Python's own threads must not wait for one another as long as the bar is
    with Server(workers=options.workers) as server:
        c = server.client()
        kinds = sorted(LOAD)
        for at, (name, go) in enumerate(WAYS):
            kind = kinds[at % len(kinds)]
            c.call("FLUSHALL")
            c.call("SET", "small", "x")
            settle(c)
            empty = fields(c)["used_memory"]
            load(c, kind, "big", options.elements)
            full = fields(c)
            size = full["used_memory"] - empty
            pingers = [Pinger(server) for _ in range(2)] if options.timed else []
            go(c)
            settle(c)
            waits = [p.take() for p in pingers]
            for p in pingers:
                p.stop()
            after = fields(c)
            slices = after["lazyfree_slices"] - full["lazyfree_slices"]
            line = "%-12s %-5s %8.1f MB in %6d slices of at most %4d KB" % (
                name, kind, size / 1e6, slices, after["lazyfree_slice_bytes_max"] // 1000)
            print(line + ("; PING waited %.1f ms at most" % max(waits) if waits else ""), flush=True)
            worst = max([worst] + waits)
            value = c.call("MEMORY", "USAGE", "big") or 0
            assert value < 1000, "%s: big is still %d bytes" % (name, value)
            assert slices >= size / 2 / SLICE_MAX, name     # what the client's buffers took is not freed in slices
            assert after["lazyfree_slice_bytes_max"] < SLICE_MAX, name
    if options.timed:
        print("the longest wait: %.1f ms" % worst)
        assert worst < STALL_MS, "a PING waited %.1f ms" % worst


if __name__ == "__main__":
    main()
