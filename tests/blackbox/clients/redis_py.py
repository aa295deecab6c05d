"""redis_py.py -- redis-py, unmodified, doing what applications do with it.

Method: sessions with a deadline, a rate limiter, cache-aside, and a counter under WATCH by several
        connections at once (its final value is exact). Arguments: host port. An exception fails.
"""
import sys
import threading
import time

import redis

CONTENDERS, INCREMENTS = 4, 50


def session_with_ttl(db):
    db.hset("session:42", mapping={"user": "ada", "cart": "3"})
    db.expire("session:42", 1800)
    assert db.hgetall("session:42") == {"user": "ada", "cart": "3"}
    assert 1790 <= db.ttl("session:42") <= 1800
    db.set("session:short", "x", px=50)
    assert db.get("session:short") == "x"
    time.sleep(0.12)
    assert db.get("session:short") is None and db.ttl("session:short") == -2


def rate_limiter(db):
    """Five a window; the pipeline is a MULTI."""
    def allowed():
        with db.pipeline(transaction=True) as pipe:
            count, _ = pipe.incr("rate:10.0.0.1").expire("rate:10.0.0.1", 60, nx=True).execute()
        return count <= 5
    assert [allowed() for _ in range(8)] == [True] * 5 + [False] * 3
    assert 55 <= db.ttl("rate:10.0.0.1") <= 60


def cache_aside(db):
    loads = []

    def product(number):
        value = db.get("product:%d" % number)
        if value is None:
            loads.append(number)
            value = "product %d, \N{SNOWMAN}" % number
            db.set("product:%d" % number, value, ex=300, nx=True)
        return value
    assert [product(n) for n in (1, 2, 1, 1, 2)] == ["product %d, \N{SNOWMAN}" % n for n in (1, 2, 1, 1, 2)]
    assert loads == [1, 2]
    assert db.unlink("product:1", "product:2", "product:3") == 2


def watched_counter(host, port):
    def contend():
        db = redis.Redis(host, port, decode_responses=True)
        for _ in range(INCREMENTS):
            while True:
                with db.pipeline() as pipe:
                    try:
                        pipe.watch("watched")
                        value = int(pipe.get("watched") or 0)
                        pipe.multi()
                        pipe.set("watched", value + 1)
                        pipe.execute()
                        break
                    except redis.WatchError:
                        pass
    threads = [threading.Thread(target=contend) for _ in range(CONTENDERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert int(redis.Redis(host, port).get("watched")) == CONTENDERS * INCREMENTS


def errors_and_iteration(db):
    db.set("text", "not a number")
    for wrong in (lambda: db.incr("text"), lambda: db.hget("text", "f")):
        try:
            wrong()
        except redis.ResponseError:
            continue
        raise AssertionError("no error")
    db.mset({"many:%d" % i: i for i in range(1000)})
    assert sorted(db.scan_iter("many:*", count=100)) == sorted("many:%d" % i for i in range(1000))
    assert db.mget("many:1", "missing", "many:999") == ["1", None, "999"]


def main():
    host, port = sys.argv[1], int(sys.argv[2])
    db = redis.Redis(host, port, decode_responses=True)
    db.flushall()
    session_with_ttl(db)
    rate_limiter(db)
    cache_aside(db)
    watched_counter(host, port)
    errors_and_iteration(db)
    print("redis-py %s: passed" % redis.__version__)


main()
