#!/usr/bin/env python3
"""newer.py [check ...]: what Redis 7.2 to 8.2 added, as documented: XINFO's times, XDELEX, XACKDEL, policies of
trimming, BITOP's later operations, ...

Goal:   the oracle of the other tests is redis-server 7.0.15, which knows nothing of these.
Method: documented examples; random commands on a stream with groups beside a twin that says for each entry who has it pending and
        who has still to read it; kill -9 and snapshots in between, since times and references must come back.
"""
import random
import sys
import time

from harness import Checks, Server, plain, temp_dir

WAIT_SECONDS = 20


def expect(found, wanted, what):
    assert found == wanted, "%s: %.600r, not %.600r" % (what, found, wanted)


def ask(client, wanted, *words):
    expect(plain(client.wire(*words)), wanted, words)


def refused(client, text, *words):
    kind, value = client.wire(*words)
    expect((kind, value), ("-", text.encode()), words)


def fields(reply):
    return {name.decode(): value for name, value in zip(reply[::2], reply[1::2])}


# --- XINFO: when a consumer tried, when it got something ---------------------------------------------

def consumer(client, name=b"w"):
    for one in map(fields, client.call("XINFO", "CONSUMERS", "s", "g")):
        if one["name"] == name:
            return one
    raise AssertionError("no consumer %r" % name)


def consumer_full(client, name=b"w"):
    group = fields(fields(client.call("XINFO", "STREAM", "s", "FULL"))["groups"][0])
    return [one for one in map(fields, group["consumers"]) if one["name"] == name][0]


def until_inactive(client, milliseconds):
    """So long, and a moment since it was last seen: times are of whole milliseconds."""
    end = time.monotonic() + WAIT_SECONDS
    while consumer(client)["inactive"] < milliseconds or consumer(client)["idle"] < 2:
        assert time.monotonic() < end, "time stands still"
        time.sleep(0.005)


def is_seen_but_not_active(client, *words):
    """The command counts as an attempt and not as a success."""
    until_inactive(client, 30)
    before = consumer_full(client)
    client.call(*words)
    after = consumer_full(client)
    expect(after["active-time"], before["active-time"], "active-time after %r" % (words,))
    assert after["seen-time"] > before["seen-time"], (words, before, after)


def is_active(client, *words):
    until_inactive(client, 30)
    before = consumer_full(client)
    client.call(*words)
    after = consumer_full(client)
    assert after["active-time"] >= before["active-time"] + 30, (words, before, after)
    expect(after["seen-time"], after["active-time"], "seen-time after %r" % (words,))


def check_times():
    with Server("holdfast") as server:
        c = server.client()
        c.call("XGROUP", "CREATE", "s", "g", "0", "MKSTREAM")
        c.call("XGROUP", "CREATECONSUMER", "s", "g", "w")
        expect(list(consumer(c)), ["name", "pending", "idle", "inactive"], "fields")
        expect(consumer(c)["inactive"], -1, "inactive before anything was read")
        expect(list(consumer_full(c)), ["name", "seen-time", "active-time", "pel-count", "pending"], "fields of FULL")
        expect(consumer_full(c)["active-time"], -1, "active-time before anything was read")
        for i in range(1, 6):
            c.call("XADD", "s", "%d-0" % i, "n", i)
        c.call("XREADGROUP", "GROUP", "g", "w", "COUNT", 1, "STREAMS", "s", ">")
        assert consumer(c)["inactive"] >= 0
        is_seen_but_not_active(c, "XREADGROUP", "GROUP", "g", "w", "STREAMS", "s", "0")
        is_active(c, "XREADGROUP", "GROUP", "g", "w", "COUNT", 1, "STREAMS", "s", ">")
        c.call("XREADGROUP", "GROUP", "g", "other", "STREAMS", "s", ">")
        is_seen_but_not_active(c, "XREADGROUP", "GROUP", "g", "w", "STREAMS", "s", ">")
        is_seen_but_not_active(c, "XCLAIM", "s", "g", "w", 100000000, "3-0")
        is_active(c, "XCLAIM", "s", "g", "w", 0, "3-0")
        is_seen_but_not_active(c, "XAUTOCLAIM", "s", "g", "w", 100000000, "0")
        is_active(c, "XAUTOCLAIM", "s", "g", "w", 0, "0")


def check_times_come_back():
    directory = temp_dir()
    server = Server("holdfast", directory=directory, durability="commit")
    server.start()
    c = server.client()
    c.call("XGROUP", "CREATE", "s", "g", "0", "MKSTREAM")
    for i in range(1, 4):
        c.call("XADD", "s", "%d-0" % i, "n", i)
    c.call("XGROUP", "CREATECONSUMER", "s", "g", "idle")
    c.call("XREADGROUP", "GROUP", "g", "w", "COUNT", 1, "STREAMS", "s", ">")
    until_inactive(c, 30)
    c.call("XREADGROUP", "GROUP", "g", "w", "STREAMS", "s", "0")
    wanted = [consumer_full(c, name) for name in (b"w", b"idle")]
    assert wanted[0]["seen-time"] > wanted[0]["active-time"] > 0 and wanted[1]["active-time"] == -1, wanted
    for way in ("kill", "snapshot", "rename"):
        if way == "snapshot":
            c.call("SAVE")
        if way == "rename":
            c.call("COPY", "s", "t")
            c.call("RENAME", "t", "s")
        server.kill9()
        server = Server("holdfast", directory=directory, durability="commit")
        server.start()
        c = server.client()
        expect([consumer_full(c, name) for name in (b"w", b"idle")], wanted, "consumers after %s" % way)
    c.call("RESTORE", "t", 0, c.call("DUMP", "s"))      # the payload of Redis 7.0 has one time only
    c.call("RENAME", "t", "s")
    expect(consumer_full(c)["active-time"], wanted[0]["seen-time"], "active-time of a restored stream")
    server.stop()


# --- XDELEX, XACKDEL, trimming ----------------------------------------------------------------------

def check_words():
    with Server("holdfast") as server:
        c = server.client()
        for head in (["XDELEX", "s"], ["XACKDEL", "s", "g"]):
            refused(c, "ERR syntax error", *head, "1-0", "2-0", "3-0")
            refused(c, "ERR syntax error", *head, "KEEPREF", "DELREF", "IDS", 1, "1-0")
            refused(c, "ERR syntax error", *head, "IDS", 1, "1-0", "nonsense")
            refused(c, "ERR syntax error", *head, "IDS", 1, "1-0", "IDS")
            for count in ("0", "-1", "x", "9223372036854775808"):
                refused(c, "ERR Number of IDs must be a positive integer", *head, "IDS", count, "1-0")
            refused(c, "ERR The `numids` parameter must match the number of arguments", *head, "IDS", 2, "1-0")
            refused(c, "ERR The `numids` parameter must match the number of arguments", *head, "IDS", 9223372036854775807, "1-0")
            refused(c, "ERR The `numids` parameter must match the number of arguments", *head, "IDS", 1, "1-0", "2-0")
            refused(c, "ERR Invalid stream ID specified as stream command argument", *head, "IDS", 2, "1-0", "x")
            ask(c, [-1, -1], *head, "ACKED", "IDS", 2, "1-0", "2-0")
            ask(c, [-1], *head, "ids", 1, "1-0", "keepref")
        refused(c, "ERR wrong number of arguments for 'xdelex' command", "XDELEX", "s", "IDS", 1)
        refused(c, "ERR wrong number of arguments for 'xackdel' command", "XACKDEL", "s", "g", "IDS", 1)
        c.call("SET", "text", "x")
        for words in (["XDELEX", "text", "IDS", 1, "1-0"], ["XACKDEL", "text", "g", "IDS", 1, "1-0"]):
            refused(c, "WRONGTYPE Operation against a key holding the wrong kind of value", *words)
        c.call("XADD", "s", "1-0", "n", 1)
        ask(c, [-1], "XACKDEL", "s", "no group", "IDS", 1, "1-0")
        ask(c, [1, -1, -1], "XDELEX", "s", "IDS", 3, "1-0", "1-0", "2-0")
        refused(c, "ERR syntax error, XTRIM must be called with a trimming strategy", "XTRIM", "s", "ACKED", "DELREF")


class Twin:
    """One stream: ids that are there, and of each group how far it has read and what is pending."""

    def __init__(self):
        self.ids, self.next, self.groups = [], 1, {}

    def drop(self, number):
        for pending in self.groups.values():
            pending["pending"].discard(number)

    def is_needed(self, number):
        return any(number > g["last"] or number in g["pending"] for g in self.groups.values())

    def trim(self, candidates, most, policy):
        gone = []
        for number in candidates:
            if len(gone) == most:
                break
            if policy == "ACKED" and self.is_needed(number):
                continue
            gone.append(number)
        for number in gone:
            self.ids.remove(number)
            if policy == "DELREF":
                self.drop(number)
        return len(gone)

    def trim_length(self, length, policy):
        return self.trim(list(self.ids), max(0, len(self.ids) - length), policy)

    def trim_id(self, least, policy):
        below = [number for number in self.ids if number < least]
        return self.trim(below, len(below), policy)

    def remove(self, numbers, policy, group=None):
        result = []
        for number in numbers:
            there = number in self.ids
            if group is not None:
                mine = self.groups[group]["pending"] if group in self.groups else set()
                was_mine = number in mine
                mine.discard(number)
                if not was_mine:
                    if policy == "DELREF" and not there and group in self.groups:
                        self.drop(number)
                    result.append(-1)
                    continue
            elif not there:
                if policy == "DELREF":
                    self.drop(number)
                result.append(-1)
                continue
            if policy == "ACKED" and self.is_needed(number):
                result.append(2)
                continue
            if policy == "DELREF":
                self.drop(number)
            if there:
                self.ids.remove(number)
            result.append(1)
        return result


def as_id(number):
    return "%d-0" % number


def compare(client, twin, what):
    ids = [int(entry[0].split(b"-")[0]) for entry in client.call("XRANGE", "s", "-", "+")]
    expect(ids, twin.ids, "ids after %s" % what)
    for name, group in twin.groups.items():
        rows = client.call("XPENDING", "s", name, "-", "+", 100000)
        expect([int(row[0].split(b"-")[0]) for row in rows], sorted(group["pending"]), "pending of %s after %s" % (name, what))


def step(rng, client, twin):
    """One random command on both; returns its words."""
    policy = rng.choice(["KEEPREF", "DELREF", "ACKED"])
    kind = rng.choice(["add", "add", "add", "read", "read", "ack", "xdelex", "xackdel", "trim", "trim id", "add and trim", "group"])
    numbers = [rng.randint(max(1, twin.next - 25), twin.next) for _ in range(rng.randint(1, 5))]
    group = rng.choice(["a", "b", "c"])
    if kind in ("add", "add and trim"):
        number, length = twin.next, rng.randint(5, 20)
        words = ["XADD", "s"] + ([policy, "MAXLEN", length] if kind != "add" else []) + [as_id(number), "n", number]
        ask(client, as_id(number).encode(), *words)
        twin.ids.append(number)
        twin.next += 1
        if kind != "add":
            twin.trim_length(length, policy)
        return words
    if kind == "group":
        if group in twin.groups and rng.random() < 0.3:
            del twin.groups[group]
            words = ["XGROUP", "DESTROY", "s", group]
        elif group not in twin.groups:
            last = rng.choice([0, twin.next - 1])
            twin.groups[group] = {"last": last, "pending": set()}
            words = ["XGROUP", "CREATE", "s", group, as_id(last)]
        else:
            return []
        client.call(*words)
        return words
    if kind in ("read", "ack") and group not in twin.groups:
        return []
    if kind == "read":
        count = rng.randint(1, 6)
        words = ["XREADGROUP", "GROUP", group, rng.choice(["w", "v"]), "COUNT", count, "STREAMS", "s", ">"]
        client.call(*words)
        news = [number for number in twin.ids if number > twin.groups[group]["last"]][:count]
        if news:
            twin.groups[group]["last"] = news[-1]
            twin.groups[group]["pending"].update(news)
        return words
    if kind == "ack":
        words = ["XACK", "s", group] + [as_id(n) for n in numbers]
        client.call(*words)
        twin.groups[group]["pending"] -= set(numbers)
        return words
    if kind == "trim":
        length = rng.randint(0, 20)
        words = ["XTRIM", "s", "MAXLEN", "=", length, policy]
        ask(client, twin.trim_length(length, policy), *words)
        return words
    if kind == "trim id":
        words = ["XTRIM", "s", policy, "MINID", as_id(numbers[0])]
        ask(client, twin.trim_id(numbers[0], policy), *words)
        return words
    words = ["XDELEX", "s"] if kind == "xdelex" else ["XACKDEL", "s", group]
    parts = [[policy], ["IDS", len(numbers)] + [as_id(n) for n in numbers]]
    rng.shuffle(parts)
    words += parts[0] + parts[1]
    ask(client, twin.remove(numbers, policy, None if kind == "xdelex" else group), *words)
    return words


def check_random():
    seed = random.randrange(1 << 32)
    rng, twin, directory = random.Random(seed), Twin(), temp_dir()
    try:
        for life in range(3):
            server = Server("holdfast", directory=directory, durability="commit", extra=["--stream-node-max-entries", "7"])
            server.start()
            c = server.client()
            if life == 0:
                ask(c, b"0-1", "XADD", "s", "0-1", "first", "entry")
                ask(c, 1, "XDEL", "s", "0-1")
            compare(c, twin, "a start")
            for i in range(400):
                words = step(rng, c, twin)
                if i % 5 == 0:
                    compare(c, twin, words)
            if life == 1:
                c.call("SAVE")
            server.kill9()
    except AssertionError as problem:
        raise AssertionError("seed %d: %s" % (seed, problem)) from None


def check_whole_nodes():
    """Approximate trimming goes by whole nodes, and with ACKED leaves of them what somebody needs."""
    with Server("holdfast", extra=["--stream-node-max-entries", "10"]) as server:
        c = server.client()
        for i in range(1, 101):
            c.call("XADD", "s", as_id(i), "n", i)
        c.call("XGROUP", "CREATE", "s", "g", "0")
        c.call("XREADGROUP", "GROUP", "g", "w", "COUNT", 35, "STREAMS", "s", ">")
        c.call("XACK", "s", "g", *[as_id(i) for i in range(1, 36) if i != 7])
        ask(c, 29, "XTRIM", "s", "MAXLEN", "~", 65, "ACKED")    # three nodes without 7-0
        ask(c, 71, "XLEN", "s")
        ask(c, 5, "XTRIM", "s", "MAXLEN", 0, "ACKED")           # 31-0 to 35-0; the rest is still to be read
        ask(c, 66, "XLEN", "s")
        ask(c, 66, "XTRIM", "s", "MAXLEN", 0, "DELREF")
        ask(c, 0, "XLEN", "s")
        ask(c, [0, None, None, None], "XPENDING", "s", "g")


def check_events():
    with Server("holdfast") as server:
        c, listener = server.client(), server.client()
        c.call("CONFIG", "SET", "notify-keyspace-events", "KEA")
        for i in range(1, 4):
            c.call("XADD", "s", as_id(i), "n", i)
        listener.call("PSUBSCRIBE", "__keyevent*")
        ask(c, [-1], "XDELEX", "s", "IDS", 1, "9-0")
        ask(c, [1, 1], "XDELEX", "s", "IDS", 2, "1-0", "2-0")
        ask(c, 1, "XTRIM", "s", "MAXLEN", 0, "ACKED")
        c.call("SET", "end", 1)
        found = [plain(listener.read())[2:] for _ in range(3)]
        expect(found, [[b"__keyevent@0__:xdel", b"s"], [b"__keyevent@0__:xtrim", b"s"], [b"__keyevent@0__:set", b"end"]], "events")


# --- further options --------------------------------------------------------------------------------

def check_newest_entry():
    """XREAD's `+`: the newest entry that is there; where there is none, the next to come."""
    with Server("holdfast") as server:
        c, waiter = server.client(), server.client()
        for i in range(1, 4):
            c.call("XADD", "s", as_id(i), "n", i)
        ask(c, [[b"s", [[b"3-0", [b"n", b"3"]]]]], "XREAD", "STREAMS", "s", "+")
        c.call("XDEL", "s", "3-0")
        ask(c, [[b"s", [[b"2-0", [b"n", b"2"]]]]], "XREAD", "COUNT", 5, "BLOCK", 0, "STREAMS", "s", "+")
        ask(c, None, "XREAD", "STREAMS", "absent", "+")
        waiter.send("XREAD", "BLOCK", 0, "STREAMS", "absent", "+")
        end = time.monotonic() + WAIT_SECONDS
        while b"blocked_clients:1" not in c.call("INFO", "clients"):
            assert time.monotonic() < end, "nobody waits"
        c.call("XADD", "absent", "1-0", "n", 1)
        expect(plain(waiter.read()), [[b"absent", [[b"1-0", [b"n", b"1"]]]]], "what a waiting one is told")
        c.call("XGROUP", "CREATE", "s", "g", "0")
        kind, text = c.wire("XREADGROUP", "GROUP", "g", "w", "STREAMS", "s", "+")
        assert kind == "-" and text.startswith(b"ERR The + ID is meaningless"), text


def check_scan_without_values():
    with Server("holdfast") as server:
        for size in (5, 2000):
            c = server.client()
            c.call("DEL", "h")
            c.call("HSET", "h", *[word for i in range(size) for word in ("f%d" % i, "v%d" % i)])
            found, cursor = set(), b"0"
            while True:
                cursor, names = c.call("HSCAN", "h", cursor, "NOVALUES", "COUNT", 100)
                found.update(names)
                if cursor == b"0":
                    break
            expect(found, {b"f%d" % i for i in range(size)}, "fields")
            ask(c, [b"0", [b"f3"]], "HSCAN", "h", 0, "COUNT", 100000, "MATCH", "f3", "novalues")
        c.call("SADD", "set", 1)
        refused(c, "ERR syntax error", "SSCAN", "set", 0, "NOVALUES")
        refused(c, "ERR syntax error", "SCAN", 0, "NOVALUES")


def check_shard_name():
    with Server("holdfast", extra=["--cluster-enabled", "yes"]) as server:
        c = server.client()
        name = c.call("CLUSTER", "MYSHARDID")
        assert len(name) == 40 and set(name) <= set(b"0123456789abcdef"), name
        expect(c.call("CLUSTER", "MYSHARDID"), name, "the name later")


def combined(operation, values):
    size = max(map(len, values))
    numbers = [int.from_bytes(value.ljust(size, b"\0"), "big") for value in values]
    first, others, one, more = numbers[0], 0, 0, 0
    for number in numbers[1:]:
        others |= number
    for number in numbers:
        more |= one & number
        one |= number
    number = {"DIFF": first & ~others, "DIFF1": others & ~first, "ANDOR": first & others, "ONE": one & ~more}[operation]
    return number.to_bytes(size, "big")


def check_bit_operations():
    rng = random.Random(11)
    with Server("holdfast") as server:
        c = server.client()
        for operation in ("DIFF", "DIFF1", "ANDOR", "ONE"):
            for turn in range(50):
                sizes = [0, 1, 7, 8, 9, 40] if turn < 40 else [40, 16384, 16385, 65528, 65529, 140000]  # in the key, in chunks
                values = [rng.randbytes(rng.choice(sizes)) for _ in range(rng.randint(2, 5))]
                for i, value in enumerate(values):
                    c.call("SET", "k%d" % i, value) if value else c.call("DEL", "k%d" % i)
                to = rng.choice(["to", "k0", "k1"])
                wanted = combined(operation, values)
                ask(c, len(wanted), "BITOP", operation, to, *["k%d" % i for i in range(len(values))])
                ask(c, wanted or None, "GET", to)
        c.call("SET", "a", "abc")
        for operation in ("DIFF", "DIFF1", "ANDOR"):
            refused(c, "ERR BITOP %s must be called with at least two source keys." % operation, "BITOP", operation, "to", "a")
        ask(c, 3, "BITOP", "one", "to", "a")
        ask(c, b"abc", "GET", "to")


def main():
    checks = Checks("newer")
    checks.run((check_times, check_times_come_back, check_words, check_random, check_whole_nodes, check_events, check_newest_entry,
                check_scan_without_values, check_shard_name, check_bit_operations))
    return checks.end()


if __name__ == "__main__":
    sys.exit(main())
