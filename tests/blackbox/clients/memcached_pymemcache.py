"""memcached_pymemcache.py -- pymemcache, unmodified, over the text protocol.

Method: values and their edges, many at once, noreply, a compare-and-set counter under contention by pooled clients, deadlines,
        refusals as the client's own exceptions; what holdfast shows through Redis' port. Arguments: host port [port of Redis].
        An exception fails.
"""
import json
import sys
import threading
import time

from pymemcache import MemcacheClientError, MemcacheIllegalInputError, MemcacheServerError
from pymemcache.client.base import Client, PooledClient
from pymemcache.client.hash import HashClient
from pymemcache.serde import pickle_serde

CONTENDERS, INCREMENTS = 4, 40
GONE_SECONDS = 20


def raises(kind, function, *arguments, **options):
    try:
        function(*arguments, **options)
    except kind as error:
        return str(error)
    raise AssertionError("%s%r raises no %s" % (function.__name__, arguments, kind.__name__))


def wait_gone(db, key):
    end = time.monotonic() + GONE_SECONDS
    while db.get(key) is not None:
        assert time.monotonic() < end, "%s outlives its deadline" % key
        time.sleep(0.05)


def values(db):
    everything = bytes(range(256)) * 40
    assert db.set("bytes", everything, noreply=False) and db.get("bytes") == everything
    large = b"\r\nEND\r\n" * 100000
    assert db.set("large", large, noreply=False) and db.get("large") == large
    assert db.set("empty", b"", noreply=False) and db.get("empty") == b""
    assert db.get("absent") is None and db.get("absent", "default") == "default"
    assert db.set("k" * 250, b"x", noreply=False) and db.get("k" * 250) == b"x"
    assert db.add("a", b"1", noreply=False) and not db.add("a", b"2", noreply=False)
    assert db.replace("a", b"3", noreply=False) and not db.replace("none", b"2", noreply=False)
    assert db.append("a", b"4", noreply=False) and db.prepend("a", b"2", noreply=False) and db.get("a") == b"234"
    assert not db.append("none", b"4", noreply=False)
    assert db.delete("a", noreply=False) and not db.delete("a", noreply=False)
    many = {"many:%d" % i: b"%d" % i for i in range(500)}
    assert db.set_many(many, noreply=False) == [] and db.get_many(list(many) + ["none"]) == many
    found = db.gets_many(["many:1", "many:2", "none"])
    assert sorted(found) == ["many:1", "many:2"] and found["many:2"][0] == b"2"
    assert db.delete_many(many, noreply=False) and db.get_many(many) == {}


def numbers(db):
    db.set("n", b"18446744073709551614", noreply=False)
    assert (db.incr("n", 1), db.incr("n", 1), db.decr("n", 5), db.incr("n", 7)) == (2 ** 64 - 1, 0, 0, 7)
    assert db.incr("none", 1) is None and db.decr("none", 1) is None
    db.set("word", b"abc", noreply=False)
    assert "non-numeric" in raises(MemcacheClientError, db.incr, "word", 1)


def noreply(db):
    """None of these is answered; the next answer is that of the next command."""
    for i in range(200):
        db.set("quiet", b"%d" % i, noreply=True)
    db.append("quiet", b"!", noreply=True)
    db.set("count", b"0", noreply=True)
    for _ in range(50):
        db.incr("count", 2, noreply=True)
    db.touch("quiet", 0, noreply=True)
    db.delete("never", noreply=True)
    assert db.get_many(["quiet", "count"]) == {"quiet": b"199!", "count": b"100"}
    db.delete("quiet", noreply=True)
    assert db.get("quiet") is None


def compare_and_set(db, host, port):
    value, number = db.gets("absent")
    assert (value, number) == (None, None)
    db.set("c", b"1", noreply=False)
    _, number = db.gets("c")
    assert db.cas("c", b"2", number) is True and db.cas("c", b"3", number) is False and db.cas("none", b"3", number) is None
    db.set("total", b"0", noreply=False)
    pool = PooledClient((host, port), max_pool_size=CONTENDERS)

    def add_up():
        for _ in range(INCREMENTS):
            while True:
                value, number = pool.gets("total")
                if pool.cas("total", b"%d" % (int(value) + 1), number):
                    break
    threads = [threading.Thread(target=add_up) for _ in range(CONTENDERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert db.get("total") == b"%d" % (CONTENDERS * INCREMENTS)
    pool.close()


def deadlines(db):
    assert db.set("short", b"x", expire=1, noreply=False) and db.set("touched", b"x", expire=1000, noreply=False)
    assert db.get("short") == b"x"
    assert db.touch("touched", 1, noreply=False) and not db.touch("none", 1, noreply=False)
    wait_gone(db, "short")
    wait_gone(db, "touched")
    assert db.set("past", b"x", expire=-1, noreply=False) and db.get("past") is None
    assert db.set("moment", b"x", expire=int(time.time()) + 3600, noreply=False) and db.get("moment") == b"x"


def refusals(db):
    assert "too large" in raises(MemcacheServerError, db.set, "huge", b"x" * (1 << 20), noreply=False)
    assert db.get("huge") is None
    raises(MemcacheIllegalInputError, db.set, "two words", b"x")
    raises(MemcacheIllegalInputError, db.get, "k" * 251)
    assert db.version().startswith(b"1.6.") and int(db.stats()[b"curr_connections"]) > 0


def objects(host, port):
    """Python's types through flags; a pool picked by the hash of the key."""
    db = HashClient([(host, port)], serde=pickle_serde, use_pooling=True)
    for key, value in {"str": "käse", "int": 12345678901234567890, "list": [1, "a", None], "dict": {"a": {"b": (1, 2)}}}.items():
        assert db.set(key, value, noreply=False) and db.get(key) == value and type(db.get(key)) is type(value)
    assert db.get_many(["str", "int"]) == {"str": "käse", "int": 12345678901234567890}

    class Json:
        def serialize(self, key, value):
            return json.dumps(value).encode(), 77

        def deserialize(self, key, value, flags):
            assert flags == 77
            return json.loads(value)
    coded = Client((host, port), serde=Json())
    coded.set("json", {"a": [1, 2]}, noreply=False)
    assert coded.get("json") == {"a": [1, 2]}
    db.flush_all(noreply=False)
    assert coded.get("json") is None


def beside_redis(db, host, port):
    import redis
    other = redis.Redis(host, port)
    db.set("shared", b"one", expire=100, noreply=False)
    assert other.get("shared") == b"one" and 90 < other.ttl("shared") <= 100
    _, number = db.gets("shared")
    other.append("shared", "+")
    assert db.cas("shared", b"lost", number) is False and db.get("shared") == b"one+"
    other.rpush("list", "x")
    assert "WRONGTYPE" in raises(MemcacheServerError, db.get, "list")


def main():
    host, port = sys.argv[1], int(sys.argv[2])
    db = Client((host, port))
    db.flush_all(noreply=False)
    values(db)
    numbers(db)
    noreply(db)
    compare_and_set(db, host, port)
    deadlines(db)
    refusals(db)
    objects(host, port)
    if len(sys.argv) > 3:
        beside_redis(db, host, int(sys.argv[3]))
    print("pymemcache: passed")


if __name__ == "__main__":
    main()
