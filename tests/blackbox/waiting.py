"""waiting.py -- R10: a waiter is served before anybody else can see the element, first come, first served.

Method: waiters block on lists and sorted sets over two workers; thieves pop from the same keys without pause; pushers
        push a numbered element at a time while somebody waits. No thief may ever get one, waiters get them in the order
        in which they began to wait. Then timeouts, CLIENT UNBLOCK, closed connections, MULTI, scripts, chains of BLMOVE, and readers
        of streams whose entry comes, or whose stream or group goes away.
        At the end every element is accounted for.
Usage:  waiting.py [--rounds 300] [--seed 1]
"""
import argparse
import random
import sys
import threading
import time

import redis

from harness import Server, redis_options

WAIT_SECONDS = 20


def blocked(client):
    return int(client.info("clients")["blocked_clients"])


def until(condition, what):
    end = time.monotonic() + WAIT_SECONDS
    while not condition():
        if time.monotonic() > end:
            raise RuntimeError("waiting: never: " + what)
        time.sleep(0.0005)


class Waiter(threading.Thread):
    def __init__(self, port, *words):
        super().__init__(daemon=True)
        self.words, self.reply, self.done_at = words, None, 0
        self.client = redis.Redis(**redis_options(port))
        self.id = self.client.client_id()
        self.start()

    def run(self):
        try:
            self.reply = self.client.execute_command(*self.words)
        except Exception as error:  # pylint: disable=broad-except
            self.reply = error
        self.done_at = time.monotonic()


def against_thieves(port, rounds, rng):
    """Each round: some waiters, one after the other; then as many pushes. Thieves must go without."""
    client, stolen, stop = redis.Redis(**redis_options(port)), [], threading.Event()

    def steal():
        mine = redis.Redis(**redis_options(port))
        while not stop.is_set():
            for taken in (mine.lpop("queue"), mine.execute_command("ZPOPMIN", "rank")):
                if taken:
                    stolen.append(taken)

    thieves = [threading.Thread(target=steal, daemon=True) for _ in range(3)]
    for thief in thieves:
        thief.start()
    bad = 0
    for number in range(rounds):
        sorted_set = rng.random() < 0.4
        waiters = []
        for _ in range(rng.randint(1, 4)):
            words = ("BZPOPMIN", "rank", "other", WAIT_SECONDS) if sorted_set else ("BLPOP", "none", "queue", WAIT_SECONDS)
            waiters.append(Waiter(port, *words))
            until(lambda: blocked(client) == len(waiters), "all wait")
        elements = [b"%d.%d" % (number, i) for i in range(len(waiters))]
        if rng.random() < 0.3:
            pipe = client.pipeline(transaction=True)
        else:
            pipe = client.pipeline(transaction=False)
        for i, element in enumerate(elements):
            if sorted_set:
                pipe.zadd("rank", {element: i})
            else:
                pipe.rpush("queue", element)
        pipe.execute()
        for waiter, element in zip(waiters, elements):
            waiter.join(WAIT_SECONDS)
            if not waiter.reply or element not in waiter.reply:
                bad += 1
                print("round %d: waited for %r, got %r" % (number, element, waiter.reply))
    stop.set()
    for thief in thieves:
        thief.join()
    if stolen:
        bad += 1
        print("stolen from waiters: %r" % stolen[:5])
    return bad


def streams(port):
    """Readers of streams that wait: each is woken with the entry, or told why it will not come."""
    client = redis.Redis(**redis_options(port))
    checks = []

    def ended(name, words, wakes, expected):
        client.delete("s", "s2")
        client.xgroup_create("s", "g", mkstream=True)
        waiter = Waiter(port, *words)
        until(lambda: blocked(client) == 1, "it waits")
        for command in wakes:
            client.execute_command(*command)
        waiter.join(WAIT_SECONDS)
        checks.append((name, expected in repr(waiter.reply)))

    read = ("XREAD", "BLOCK", 0, "STREAMS", "s2", "s", "$", "$")
    group = ("XREADGROUP", "GROUP", "g", "c", "BLOCK", 0, "STREAMS", "s", ">")
    ended("XREAD", read, [("XADD", "s", "7-1", "f", "new")], "new")
    ended("XREAD goes on from where it stood", read, [("XADD", "s2", "7-1", "f", "new"), ("XADD", "s2", "7-2", "f", "later")], "new")
    ended("XREADGROUP", group, [("XADD", "s", "7-1", "f", "new")], "new")
    ended("of a script", group, [("EVAL", "return redis.call('XADD', KEYS[1], '*', 'f', 'new')", 1, "s")], "new")
    ended("the group goes", group, [("XGROUP", "DESTROY", "s", "g")], "NOGROUP")
    ended("the key goes", group, [("DEL", "s")], "UNBLOCKED")
    ended("the key is another", group, [("SET", "s", "text")], "UNBLOCKED")
    ended("everything goes", group, [("FLUSHALL",)], "UNBLOCKED")
    return checks


def ends(port):
    """The ways in which waiting ends without an element."""
    client = redis.Redis(**redis_options(port))
    checks = streams(port)
    waiter = Waiter(port, "BLPOP", "q", 0.2)
    waiter.join(WAIT_SECONDS)
    checks.append(("times out", waiter.reply is None))
    waiter = Waiter(port, "BLPOP", "q", 0)
    until(lambda: blocked(client) == 1, "it waits")
    checks.append(("unblock", client.execute_command("CLIENT", "UNBLOCK", waiter.id) == 1))
    waiter.join(WAIT_SECONDS)
    checks.append(("as timed out", waiter.reply is None))
    waiter = Waiter(port, "BLPOP", "q", 0)
    until(lambda: blocked(client) == 1, "it waits")
    client.execute_command("CLIENT", "UNBLOCK", waiter.id, "ERROR")
    waiter.join(WAIT_SECONDS)
    checks.append(("with an error", "UNBLOCKED" in str(waiter.reply)))
    waiter = Waiter(port, "BLPOP", "q", 0)
    until(lambda: blocked(client) == 1, "it waits")
    try:
        waiter.client.connection_pool.disconnect()
    except AttributeError:
        pass  # the waiting thread of redis-py was faster: it is closed
    client.client_kill_filter(_id=waiter.id)
    until(lambda: blocked(client) == 0, "a closed one waits no more")
    client.rpush("q", "kept")
    checks.append(("a closed one takes nothing", client.lpop("q") == b"kept"))
    pipe = client.pipeline(transaction=True)
    pipe.execute_command("BLPOP", "q", 0)
    checks.append(("never inside MULTI", pipe.execute() == [None]))
    waiter = Waiter(port, "BLPOP", "q", 0)
    until(lambda: blocked(client) == 1, "it waits")
    client.set("q2", "x")
    client.eval("redis.call('rpush', KEYS[1], 'a', 'b') return 1", 1, "q")
    waiter.join(WAIT_SECONDS)
    checks.append(("a script serves", waiter.reply == (b"q", b"a") or waiter.reply == [b"q", b"a"]))
    checks.append(("the rest stays", client.lrange("q", 0, -1) == [b"b"]))
    client.delete("q")
    last = Waiter(port, "BLPOP", "c3", 0)
    until(lambda: blocked(client) == 1, "it waits")
    middle = Waiter(port, "BLMOVE", "c2", "c3", "LEFT", "RIGHT", 0)
    until(lambda: blocked(client) == 2, "both wait")
    first = Waiter(port, "BLMOVE", "c1", "c2", "LEFT", "RIGHT", 0)
    until(lambda: blocked(client) == 3, "all wait")
    client.rpush("c1", "through")
    for waiter in (first, middle, last):
        waiter.join(WAIT_SECONDS)
    checks.append(("a chain", b"through" in (last.reply or ()) and first.reply == middle.reply == b"through"))
    checks.append(("and nothing left", client.exists("c1", "c2", "c3") == 0))
    client.rpush("w", "1")
    client.execute_command("SELECT", 0)
    waiter = Waiter(port, "BLPOP", "renamed", 0)
    until(lambda: blocked(client) == 1, "it waits")
    client.rename("w", "renamed")
    waiter.join(WAIT_SECONDS)
    checks.append(("RENAME serves", waiter.reply is not None and b"1" in waiter.reply))
    for name, good in checks:
        if not good:
            print("waiting: failed: " + name)
    return len(checks), sum(1 for _, good in checks if not good)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--patience", type=float, default=WAIT_SECONDS, help="seconds until what does not happen counts as lost")
    arguments = parser.parse_args()
    globals()["WAIT_SECONDS"] = arguments.patience
    failed = 0
    for durability in ("none", "commit"):
        with Server("holdfast", durability=durability) as server:
            failed += against_thieves(server.port, arguments.rounds // 2, random.Random(arguments.seed))
            count, bad = ends(server.port)
            failed += bad
    print("waiting: %d rounds, %d ends, %d failed" % (arguments.rounds, 2 * count, failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
