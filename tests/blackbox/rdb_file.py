"""rdb_file.py -- `redis-cli --rdb` copies the whole data set into a file that redis-server loads; --functions-rdb the functions.

Method: every type in small and large, integers, binary names, deadlines, several databases and a library of functions; while other
        clients move one unit between two counters, so that a copy that is not one cut shows. Redis loads each file; its keys,
        values, deadlines and functions are those of holdfast. Then somebody asks for the file and does not read it: the server holds little
        for him, every key is changed and databases are emptied and swapped meanwhile, and what he reads at last is as it was when he asked.
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
LATE_KEYS = 4000
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


def figure(line, name):
    return int(next(word for word in line.split() if word.startswith(name + "=")).split("=")[1])


def reads_late(server):
    client, late = server.client(), server.client()
    for db in (0, 7, 8):
        client.call("SELECT", db)
        client.call("FLUSHDB")
        for first in range(0, LATE_KEYS, 500):
            client.pipeline([("SET", "%d:%d" % (db, i), "%d" % i * 300) for i in range(first, first + 500)])
    client.call("SELECT", 0)
    assert late.call("REPLCONF", "rdb-only", 1) == b"OK"
    number = late.call("CLIENT", "ID")
    late.send("SYNC")
    line = b"\n"
    while line == b"\n":
        line = late.file.readline()
    size = int(line[1:])
    assert size > LATE_KEYS * 3 * 900, size
    for first in range(0, LATE_KEYS, 500):
        client.pipeline([("APPEND", "0:%d" % i, "changed") if i % 3 else ("DEL", "0:%d" % i) for i in range(first, first + 500)])
    client.pipeline([("SWAPDB", 0, 7), ("FLUSHDB",), ("SET", "new", 1), ("SELECT", 8), ("FLUSHALL",)])
    held = figure(client.call("CLIENT", "LIST", "ID", number).decode(), "tot-mem")
    assert held < 2 << 20, "%d bytes are held for a reader that does not read %d" % (held, size)
    directory = temp_dir()
    with open(os.path.join(directory, "dump.rdb"), "wb") as file:
        file.write(late.file.read(size))
    assert late.call("PING") == b"PONG"
    with Server("redis", directory=directory, extra=["--dbfilename", "dump.rdb"]) as peer:
        other = peer.client()
        for db in (0, 7, 8):
            other.call("SELECT", db)
            assert other.call("DBSIZE") == LATE_KEYS, (db, other.call("DBSIZE"))
            for first in range(0, LATE_KEYS, 500):
                got = other.pipeline([("GET", "%d:%d" % (db, i)) for i in range(first, first + 500)])
                assert got == [b"%d" % i * 300 for i in range(first, first + 500)]


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
        reads_late(server)
    print("rdb_file: seed %s, %d copies of %d keys loaded by redis-server" % (arguments.seed, COPIES, len(wanted)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
