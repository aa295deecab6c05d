"""large_strings.py -- strings of kilobytes to megabytes, changed in place, shared by COPY and snapshots, undone.

Goal:   however a large string is kept (in its block, counted, shared), it reads as in Redis: after every change, after
        a transaction that was undone, after kill -9 and replay of the log.
Method: random commands on a few keys, with offsets around the sizes at which the form changes, go to redis-server 7.0.15 and to holdfast;
        replies are compared, and all values at the end of each round. Snapshots run meanwhile. Some rounds
        end with a strict transaction that fails, which only holdfast is asked for: it must leave nothing.
Usage:  large_strings.py [--rounds N] [--commands N] [--seed N]
"""
import argparse
import random

from harness import Client, Server, plain

KEYS = ["{a}one", "{a}two", "three", "four"]
CHUNK = 65528       # of src/data/rope.h
SIZES = [0, 1, 254, 16383, 16384, 16385, CHUNK, 65536, 2 * CHUNK, 3 * CHUNK, 1 << 20, 20 * CHUNK, (3 << 20) + 17]


def near(rng):
    return max(0, rng.choice(SIZES) + rng.randrange(-3, 4))


def text(rng):
    size = near(rng) if rng.random() < 0.3 else rng.randrange(1, 40)
    return bytes([rng.randrange(256)]) * (size // 2) + bytes([rng.randrange(256)]) * (size - size // 2)


def change(rng):
    key, other = rng.choice(KEYS), rng.choice(KEYS)
    return rng.choice([
        ("SET", key, text(rng)), ("APPEND", key, text(rng)), ("APPEND", key, text(rng)), ("SETRANGE", key, near(rng), text(rng)),
        ("SETRANGE", key, near(rng), text(rng)), ("SETBIT", key, near(rng) * 8 + 3, rng.randrange(2)),
        ("BITFIELD", key, "SET", "u16", near(rng) * 8 + rng.randrange(8), 4711, "INCRBY", "i32", near(rng) * 8 + 5, 99), ("COPY", key, other, "REPLACE"),
        ("BITOP", rng.choice(["AND", "OR", "XOR"]), key, *rng.choices(KEYS, k=rng.randrange(1, 4))), ("BITOP", "NOT", key, other), ("RENAME", key, other), ("DEL", key), ("EXPIRE", key, 10000),
        ("PERSIST", key), ("GETSET", key, text(rng))])


def question(rng):
    key, first = rng.choice(KEYS), near(rng)
    return rng.choice([("STRLEN", key), ("GETRANGE", key, first, first + rng.randrange(70000)), ("GETRANGE", key, -near(rng), -1),
                       ("BITCOUNT", key), ("BITCOUNT", key, first, -2), ("BITCOUNT", key, first * 8 + 5, first * 9 + 700000, "BIT"), ("BITPOS", key, rng.randrange(2), first),
                       ("BITPOS", key, rng.randrange(2), first * 8 + 3, -1, "BIT"), ("BITFIELD_RO", key, "GET", "i61", first * 8 + 2), ("MGET", key, "three", "four"),
                       ("GETBIT", key, first * 8 + 3),
                       ("GET", key)])


def same(servers, words):
    found, wanted = [plain(client.wire(*words)) for client in servers]
    if found != wanted:
        raise SystemExit("%.200r: %.200r, not %.200r" % (words, found, wanted))


def undone(client, rng):
    before = client.pipeline([("GET", key) for key in KEYS])
    client.call("SET", "word", "w")
    client.call("MULTI", "STRICT")
    for _ in range(8):
        words = change(rng)
        if words[0] not in ("RENAME",):     # which fails by itself when there is no key
            client.call(*words)
    client.call("LPUSH", "word", 1)
    client.wire("EXEC")
    client.call("DEL", "word")
    after = client.pipeline([("GET", key) for key in KEYS])
    if before != after:
        raise SystemExit("a strict transaction that failed left something: sizes %r, not %r"
                         % ([len(x or b"") for x in after], [len(x or b"") for x in before]))


def shared_costs_a_chunk(server):
    """A change of a value that a copy shares takes the memory of a chunk, not of the value; so does a bit far behind the end."""
    size, c = 16 << 20, Client(server.port)
    c.call("SET", "{a}big", b"x" * size)
    c.call("COPY", "{a}big", "{a}two", "REPLACE")
    used = lambda: int(c.call("INFO", "memory").decode().split("used_memory:")[1].split()[0])
    c.call("GETRANGE", "{a}big", 0, 0)
    before = used()
    for words in (("SETBIT", "{a}big", 8000001, 1), ("APPEND", "{a}big", "tail"), ("SETRANGE", "{a}big", size // 2, "middle"),
                  ("SETBIT", "{a}far", (1 << 32) - 1, 1)):
        c.call(*words)
    grown = used() - before
    if grown > 4 << 20:
        raise SystemExit("four small changes of shared values took %d bytes" % grown)
    if c.call("STRLEN", "{a}two") != size or c.call("STRLEN", "{a}big") != size + 4 or c.call("BITCOUNT", "{a}far") != 1:
        raise SystemExit("a change was seen in a copy")
    c.call("DEL", "{a}big", "{a}two", "{a}far")


def overwritten_in_the_same_memory():
    """A value of a megabyte that takes the place of another does not ask the system for its 244 pages: it stands where an earlier one stood."""
    rounds, before = 300, 0
    with Server(workers=1, durability="none") as server: # a log has copies of its own until the disk has them
        client = server.client()
        if "jemalloc" not in open("/proc/%d/maps" % server.pid).read():
            return  # another allocator, as in a build with sanitizers
        for number in range(2 * rounds):
            if number == rounds:
                before = faults(server)
            client.call("SET", number % 8, b"v" * 1000000)
        fresh = (faults(server) - before) / rounds
    if fresh > 10:
        raise SystemExit("%.0f fresh pages for each value" % fresh)


def faults(server):
    return int(open("/proc/%d/stat" % server.pid).read().rpartition(")")[2].split()[7])


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--commands", type=int, default=150)
    parser.add_argument("--seed", type=int, default=random.randrange(10 ** 9))
    options = parser.parse_args()
    rng = random.Random(options.seed)
    print("large_strings.py --rounds %d --commands %d --seed %d" % (options.rounds, options.commands, options.seed), flush=True)
    overwritten_in_the_same_memory()
    with Server("redis") as redis, Server(durability="interval") as holdfast:
        shared_costs_a_chunk(holdfast)
        for number in range(options.rounds):
            clients = [Client(holdfast.port), Client(redis.port)]
            for at in range(options.commands):
                if at % 40 == 0:
                    clients[0].wire("BGSAVE")
                same(clients, change(rng))
                same(clients, question(rng))
            undone(clients[0], rng)
            if number % 3 == 2:
                holdfast.kill9()
                holdfast.start()
                clients[0] = Client(holdfast.port)
            for key in KEYS:
                same(clients, ("GET", key))
    print("large_strings: %d commands, all as in Redis" % (options.rounds * options.commands * 2))


if __name__ == "__main__":
    main()
