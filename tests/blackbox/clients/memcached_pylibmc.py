"""memcached_pylibmc.py -- pylibmc (libmemcached), unmodified: the same over the text and the binary protocol, and logins by SASL.

Method: values of all of Python's types and sizes, also compressed, many at once, compare-and-set, numbers, deadlines, the client's
        own exceptions. The login: a user who may touch keys cache:* only. Arguments: host port [port of Redis]. An exception fails.
"""
import sys
import time

import pylibmc

GONE_SECONDS = 20
BEHAVIOURS = [{}, {"tcp_nodelay": True, "no_block": True}]


def raises(kind, function, *arguments):
    try:
        function(*arguments)
    except kind as error:
        return str(error)
    raise AssertionError("%s%r raises no %s" % (function.__name__, arguments, kind.__name__))


def values(db):
    for value in (b"\x00\xff\r\n", "käse", 7, -7, 2 ** 63, 1.5, None, [1, {"a": (2, 3)}], b"x" * 900000):
        assert db.set("v", value) and db.get("v") == value and type(db.get("v")) is type(value)
    text = "long " * 200000
    assert db.set("packed", text, min_compress_len=1000) and db.get("packed") == text
    assert db.get("absent") is None and db.get("absent", 5) == 5
    assert db.add("a", "1") and not db.add("a", "2") and db.replace("a", "3")
    try:
        assert not db.replace("none", "x")
    except pylibmc.NotFound:
        pass    # what the binary protocol tells
    assert db.append("a", "4") and db.prepend("a", "2") and db.get("a") == "234"
    assert db.delete("a") and not db.delete("a")
    many = {"many:%d" % i: "%d" % i for i in range(300)}
    assert db.set_multi(many) == [] and db.get_multi(list(many) + ["none"]) == many
    assert db.get_multi(["1", "2"], key_prefix="many:") == {"1": "1", "2": "2"}
    assert db.delete_multi(list(many)) and db.get_multi(list(many)) == {}


def numbers(db):
    db.set("n", 10)
    assert (db.incr("n"), db.incr("n", 31), db.decr("n", 2), db.decr("n", 1000)) == (11, 42, 40, 0)
    raises(pylibmc.NotFound, db.incr, "none")
    db.set("word", "abc")
    raises(pylibmc.Error, db.incr, "word")
    assert db.get("word") == "abc"


def compare_and_set(db):
    db.set("c", 1)
    value, number = db.gets("c")
    assert value == 1 and db.cas("c", 2, number) and not db.cas("c", 3, number) and db.get("c") == 2
    raises(pylibmc.NotFound, db.cas, "none", 1, number)
    assert db.gets("none") == (None, None)


def deadlines(db):
    assert db.set("short", "x", time=1) and db.get("short") == "x"
    assert db.set("touched", "x", time=500) and db.touch("touched", 1) and not db.touch("none", 1)
    end = time.monotonic() + GONE_SECONDS
    while db.get_multi(["short", "touched"]):
        assert time.monotonic() < end, "a key outlives its deadline"
        time.sleep(0.05)


def refusals(db):
    raises(pylibmc.TooBig, db.set, "huge", b"x" * (1 << 20))
    raises(ValueError, db.get, "k" * 251)
    server, stats = db.get_stats()[0]
    assert stats["version"] == b"1.6.18" and int(stats["curr_items"]) > 0, (server, stats)


def login(host, port, redis_port):
    import redis
    rules = redis.Redis(host, redis_port)
    rules.execute_command("ACL", "SETUSER", "app", "on", ">secret", "~cache:*", "+@string", "+del", "+ping")
    rules.execute_command("ACL", "SETUSER", "default", "resetpass", ">admin")
    server = ["%s:%d" % (host, port)]
    raises(pylibmc.Error, pylibmc.Client(server, binary=True).set, "cache:a", 1)
    raises(pylibmc.Error, pylibmc.Client(server, binary=True, username="app", password="wrong").set, "cache:a", 1)
    db = pylibmc.Client(server, binary=True, username="app", password="secret")
    assert db.set("cache:a", [1, 2]) and db.get("cache:a") == [1, 2]
    raises(pylibmc.Error, pylibmc.Client(server, binary=True, username="app", password="secret").set, "other", 1)
    assert db.get("cache:a") == [1, 2]
    redis.Redis(host, redis_port, password="admin").execute_command("ACL", "SETUSER", "default", "nopass")


def main():
    host, port = sys.argv[1], int(sys.argv[2])
    for binary in (False, True):
        for behaviours in BEHAVIOURS:
            db = pylibmc.Client(["%s:%d" % (host, port)], binary=binary, behaviors=dict(behaviours, cas=True))
            assert db.flush_all()
            values(db)
            numbers(db)
            compare_and_set(db)
            refusals(db)
    deadlines(db)
    if len(sys.argv) > 3:
        login(host, port, int(sys.argv[3]))
    print("pylibmc: passed")


if __name__ == "__main__":
    main()
