"""rdb_file.py -- `redis-cli --rdb` copies the whole data set into a file that redis-server loads; --functions-rdb the functions.

Method: every type in small and large, integers, binary names, deadlines, several databases and a library of functions; while other
        clients move one unit between two counters, so that a copy that is not one cut shows. Redis loads each file; its keys,
        values, deadlines and functions are those of holdfast.
Usage:  rdb_file.py [--seed S]
"""
import argparse
import os
import random
import subprocess
import sys
import threading

from harness import Server, temp_dir, plain

COPIES = 5
READS = {b"string": ("GET",), b"list": ("LRANGE", 0, -1), b"hash": ("HGETALL",), b"set": ("SMEMBERS",),
         b"zset": ("ZRANGE", 0, -1, "WITHSCORES"), b"stream": ("XRANGE", "-", "+")}


def fill(client, chooser):
    for db in (0, 3, 15):
        client.call("SELECT", db)
        for n, size in enumerate((1, 100, 1000)):
            words = [b"%d" % chooser.randrange(10 ** 12) if chooser.random() < 0.5 else chooser.randbytes(chooser.randrange(1, 60)) for _ in range(size)]
            client.call("SET", b"string\0%d" % n, words[0] * size)
            client.call("RPUSH", "list%d" % n, *words)
            client.call("SADD", "set%d" % n, *words)
            client.call("HSET", "hash%d" % n, *[w for pair in zip(words, reversed(words)) for w in pair])
            client.call("ZADD", "zset%d" % n, *[w for word in words for w in (chooser.uniform(-9, 9), word)])
            for word in words:
                client.call("XADD", "stream%d" % n, "*", "f", word)
            client.call("XGROUP", "CREATE", "stream%d" % n, "g", 0)
            client.call("XREADGROUP", "GROUP", "g", "c", "COUNT", 1, "STREAMS", "stream%d" % n, ">")
            client.call("PEXPIREAT", "list%d" % n, 4000000000000 + n)
    client.call("SELECT", 0)
    client.call("MSET", "left", 1000, "right", 0)
    client.call("FUNCTION", "LOAD", "#!lua name=lib\nredis.register_function('twice', function(keys, args) return args[1] * 2 end)")


def contents(client):
    found = {}
    for db in range(16):
        client.call("SELECT", db)
        for key in client.call("KEYS", "*"):
            kind = client.call("TYPE", key)
            value = plain(client.wire(READS[kind][0], key, *READS[kind][1:]))
            if kind == b"set":
                value = sorted(value)
            elif kind == b"hash":
                value = sorted(zip(value[::2], value[1::2]))
            groups = client.call("XINFO", "GROUPS", key) if kind == b"stream" else None
            if key not in (b"left", b"right"):
                found[db, key] = (kind, value, groups, client.call("PEXPIRETIME", key))
    client.call("SELECT", 0)
    return found


def functions_alone(server):
    directory = temp_dir()
    subprocess.run(["redis-cli", "-p", str(server.port), "--functions-rdb", os.path.join(directory, "dump.rdb")], check=True, timeout=60,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    with Server("redis", directory=directory, extra=["--dbfilename", "dump.rdb"]) as peer:
        other = peer.client()
        assert other.call("FCALL", "twice", 0, 21) == 42
        assert other.call("DBSIZE") == 0 and b"db0" not in other.call("INFO", "keyspace")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", default=str(random.randrange(10 ** 9)))
    arguments = parser.parse_args()
    with Server("holdfast") as server:
        client = server.client()
        fill(client, random.Random(arguments.seed))
        wanted, stop = contents(client), threading.Event()

        def move():
            mover = server.client()
            while not stop.is_set():
                mover.pipeline([("MULTI",), ("DECR", "left"), ("INCR", "right"), ("EXEC",)])
        threads = [threading.Thread(target=move) for _ in range(2)]
        for thread in threads:
            thread.start()
        try:
            for copy in range(COPIES):
                directory = temp_dir()
                subprocess.run(["redis-cli", "-p", str(server.port), "--rdb", os.path.join(directory, "dump.rdb")], check=True, timeout=60,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                with Server("redis", directory=directory, extra=["--dbfilename", "dump.rdb"]) as peer:
                    other = peer.client()
                    got = contents(other)
                    assert got == wanted, ("seed %s" % arguments.seed, sorted(set(got) ^ set(wanted)),
                                           [k for k in wanted if got.get(k) != wanted[k]])
                    assert other.call("FCALL", "twice", 0, 21) == 42
                    assert sum(map(int, other.call("MGET", "left", "right"))) == 1000, "a copy that is not one cut"
            functions_alone(server)
        finally:
            stop.set()
            for thread in threads:
                thread.join()
    print("rdb_file: seed %s, %d copies of %d keys loaded by redis-server" % (arguments.seed, COPIES, len(wanted)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
