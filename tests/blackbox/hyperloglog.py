"""hyperloglog.py -- HyperLogLog values are the bytes that redis-server 7.0.15 makes, and travel both ways.

Goal:   a value written by one server is read, counted and extended by the other; nothing is lost in a crash.
Method: the same PFADDs and PFMERGEs to both, from an empty value to a dense one, with several limits of the sparse form, and
        the GET of both compared after each step; then each server goes on with the other's value. At last the bits and
        values of holdfast are compared before and after kill -9.
Usage:  hyperloglog.py [--seed S]
"""
import argparse
import random
import sys

from harness import Server, temp_dir

STEPS = 60


class Pair:
    def __init__(self):
        self.servers = [Server("redis"), Server("holdfast")]
        for server in self.servers:
            server.start()
        self.clients = [server.client() for server in self.servers]

    def both(self, *words):
        a, b = (client.wire(*words) for client in self.clients)
        if a != b:
            raise AssertionError("%s\n  redis:    %.300r\n  holdfast: %.300r" % (words[:4], a, b))
        return a[1]

    def stop(self):
        for server in self.servers:
            server.stop()


def check_growth(pair, chance, sparse_bytes):
    """From nothing to dense, GET by GET."""
    pair.both("CONFIG", "SET", "hll-sparse-max-bytes", sparse_bytes)
    pair.both("FLUSHALL")
    sizes = set()
    for step in range(STEPS):
        count = chance.choice([1, 3, 30, 300])
        pair.both("PFADD", "a", *(chance.randrange(10 ** chance.randint(1, 9)) for _ in range(count)))
        pair.both("PFADD", "b", *(b"x" * chance.randrange(40) + b"%d" % chance.randrange(1000) for _ in range(count // 10 + 1)))
        pair.both("PFMERGE", "c", "b", chance.choice(["a", "b", "c", "absent"]))
        sizes.add(len(pair.both("GET", "a")))
        for key in "bc":
            pair.both("GET", key)
        pair.both("PFCOUNT", "a")
        pair.both("PFCOUNT", "a", "b")
        pair.both("GET", "a")
    assert len(sizes) > 3 or sparse_bytes < 3000, sizes


def check_exchange(pair, chance):
    """Each server goes on with what the other wrote."""
    redis, holdfast = pair.clients
    for _ in range(STEPS):
        elements = [chance.randrange(10 ** 6) for _ in range(chance.choice([1, 10, 500]))]
        writer, reader = chance.sample([redis, holdfast], 2)
        writer.call("PFADD", "a", *elements)
        reader.call("SET", "a", writer.call("GET", "a"))
        pair.both("PFADD", "a", *elements[::-1])
        pair.both("PFCOUNT", "a")
        pair.both("GET", "a")


def check_crash(chance):
    directory = temp_dir()
    server = Server("holdfast", directory, durability="commit")
    server.start()
    client = server.client()
    for step in range(300):
        key = b"k%d" % chance.randrange(4)
        client.call("PFADD", key, *(chance.randrange(10 ** 5) for _ in range(chance.choice([1, 5, 100]))))
        client.call("PFCOUNT", key)
        client.call("SETBIT", b"bits", chance.randrange(300000), chance.randrange(2))
        client.call("BITFIELD", b"field", "OVERFLOW", "SAT", "INCRBY", "i17", chance.randrange(1000), chance.randrange(-9999, 9999))
        if step % 50 == 0:
            client.call("PFMERGE", "k0", "k1", key)
    keys = [b"k%d" % i for i in range(4)] + [b"bits", b"field"]
    before = [client.call("GET", key) for key in keys]
    server.kill9()
    server.start()
    client = server.client()
    after = [client.call("GET", key) for key in keys]
    assert before == after, [(key, a == b) for key, a, b in zip(keys, before, after)]
    server.stop()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", default="1")
    chance = random.Random(parser.parse_args().seed)
    pair = Pair()
    try:
        for sparse_bytes in (3000, 0, 20, 200, 16000):
            check_growth(pair, chance, sparse_bytes)
        check_exchange(pair, chance)
    finally:
        pair.stop()
    check_crash(chance)
    print("hyperloglog: the same bytes in %d steps, none lost" % (STEPS * 6))


if __name__ == "__main__":
    sys.exit(main())
