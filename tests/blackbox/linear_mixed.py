"""linear_mixed.py -- are concurrent histories of all types, MULTI, Lua and waiting commands strictly serializable?

Goal:   as linear.py, for strings, lists, hashes, sets and sorted sets, for MULTI and scripts that touch several of them, with keys
        declared and not, and for commands that wait: there is one order of all operations that explains every reply and respects real time.
Method: CLIENTS threads at once, few operations on few keys. The search is linear.py's; the model here is of its own. A waiting
        command takes effect at one point between its call and its reply: where it would find nothing it has no place yet.
        A producer pushes until nobody waits any more.
Check:  mutated histories must be rejected: an element popped twice, a count seen twice, half a script, half a MULTI, a hole in a
        list, a score that was never there. script/bugs sows a fault into the product that it must notice.
Usage:  linear_mixed.py [--histories 200] [--seed S] [--workers N] [--peer]
"""
import argparse
import random
import sys
import threading
import time
import zlib

import linear
from harness import Server
from linear import Operation

CLIENTS = 8
OPERATIONS = 8
CONFIGURATIONS_MAX = 100000 # then a search is given up
WAIT = 60                   # seconds that a waiting command may wait: the producer ends it long before

# A script over three keys: a count, a hash and a list; all or nothing.
SPREAD = ("local n = redis.call('INCR', KEYS[1]) redis.call('HSET', KEYS[2], ARGV[1], n) "
          "redis.call('RPUSH', KEYS[3], ARGV[1]) return {n, redis.call('HLEN', KEYS[2]), redis.call('LLEN', KEYS[3])}")
# Reads several types at one point.
LOOK = "return {redis.call('GET', KEYS[1]), redis.call('HLEN', KEYS[2]), redis.call('LLEN', KEYS[3]), redis.call('SCARD', KEYS[4])}"


# --- the model: values are immutable, so that a configuration can be remembered -----------------------

class NotYet(Exception):
    """A waiting command finds nothing here: it has no place before somebody pushes."""


def put(values, key, value):
    """An empty collection is absent."""
    if value in ((), frozenset(), None):
        values.pop(key, None)
    else:
        values[key] = value


def list_commands(values, name, key, words):
    old = values.get(key, ())
    if name == "RPUSH":
        put(values, key, old + words)
        return len(old) + len(words)
    if name == "LPUSH":
        put(values, key, tuple(reversed(words)) + old)
        return len(old) + len(words)
    if name == "LRANGE":
        return list(old)
    if name == "LLEN":
        return len(old)
    if name == "LPOP":
        put(values, key, old[1:])
        return old[0] if old else None
    if name == "BLPOP":
        if not old:
            raise NotYet
        put(values, key, old[1:])
        return [key.encode(), old[0]]
    target = words[0]           # LMOVE, BLMOVE source target LEFT RIGHT
    if not old:
        if name == "BLMOVE":
            raise NotYet
        return None
    put(values, key, old[1:])
    put(values, target, values.get(target, ()) + old[:1])
    return old[0]


def hash_commands(values, name, key, words):
    old = dict(values.get(key, ()))
    if name == "HSET":
        new = words[0] not in old
        old[words[0]] = words[1]
        put(values, key, tuple(sorted(old.items())))
        return int(new)
    if name == "HINCRBY":
        old[words[0]] = b"%d" % (int(old.get(words[0], 0)) + int(words[1]))
        put(values, key, tuple(sorted(old.items())))
        return int(old[words[0]])
    if name == "HDEL":
        gone = old.pop(words[0], None)
        put(values, key, tuple(sorted(old.items())))
        return int(gone is not None)
    if name == "HLEN":
        return len(old)
    return old.get(words[0])    # HGET


def set_commands(values, name, key, words):
    old = values.get(key, ())
    if name == "SADD":
        put(values, key, tuple(sorted(set(old) | set(words))))
        return len(set(words) - set(old))
    if name == "SREM":
        put(values, key, tuple(sorted(set(old) - set(words))))
        return len(set(words) & set(old))
    if name == "SMOVE":
        if words[1] not in old:
            return 0
        put(values, key, tuple(sorted(set(old) - {words[1]})))
        put(values, words[0], tuple(sorted(set(values.get(words[0], ())) | {words[1]})))
        return 1
    return len(old)             # SCARD


def zset_commands(values, name, key, words):
    old = dict(values.get(key, ()))
    in_order = sorted(old, key=lambda member: (old[member], member))
    if name in ("ZADD", "ZINCRBY"):
        score, member = int(words[0]), words[1]
        new = member not in old
        old[member] = score if name == "ZADD" else old.get(member, 0) + score
        put(values, key, tuple(sorted(old.items())))
        return int(new) if name == "ZADD" else b"%d" % old[member]
    if name == "ZRANGE":
        return in_order
    if not in_order:            # ZPOPMIN, BZPOPMIN
        if name == "BZPOPMIN":
            raise NotYet
        return []
    first = in_order[0]
    score = old.pop(first)
    put(values, key, tuple(sorted(old.items())))
    return ([key.encode()] if name == "BZPOPMIN" else []) + [first, b"%d" % score]


def string_commands(values, name, key, words):
    if name == "GET":
        return values.get(key)
    if name == "SET":
        values[key] = words[0]
        return b"OK"
    if name == "INCR":
        values[key] = b"%d" % (int(values.get(key, 0)) + 1)
        return int(values[key])
    if name == "GETDEL":
        return values.pop(key, None)
    values[key] = values.get(key, b"") + words[0]   # APPEND
    return len(values[key])


GROUPS = {string_commands: "GET SET INCR GETDEL APPEND", list_commands: "RPUSH LPUSH LRANGE LLEN LPOP BLPOP LMOVE BLMOVE",
          hash_commands: "HSET HINCRBY HDEL HLEN HGET", set_commands: "SADD SREM SMOVE SCARD",
          zset_commands: "ZADD ZINCRBY ZRANGE ZPOPMIN BZPOPMIN"}
GROUP_OF = {name: group for group, names in GROUPS.items() for name in names.split()}
TWO_KEYS = ("LMOVE", "BLMOVE", "SMOVE")


def step(values, command):
    if command[0] == "EVAL":
        keys, arguments = command[3:3 + command[2]], command[3 + command[2]:]
        run = lambda *words: step(values, words)
        if command[1] == LOOK:
            return [run("GET", keys[0]), run("HLEN", keys[1]), run("LLEN", keys[2]), run("SCARD", keys[3])]
        number = run("INCR", keys[0])
        run("HSET", keys[1], arguments[0], b"%d" % number)
        run("RPUSH", keys[2], arguments[0])
        return [number, run("HLEN", keys[1]), run("LLEN", keys[2])]
    return GROUP_OF[command[0]](values, command[0], command[1], tuple(command[2:]))


def keys_of(command):
    if command[0] == "EVAL":
        return command[3:3 + command[2]]
    return command[1:3] if command[0] in TWO_KEYS else command[1:2]


def undeclared(command):
    """Every other script is sent with its keys as arguments: the server learns of them while it runs."""
    if command[0] != "EVAL" or zlib.crc32(repr(command).encode()) % 2:
        return command
    count = command[2]
    keys = ", ".join("ARGV[%d]" % (i + 1) for i in range(count))
    return ("EVAL", "local KEYS, ARGV = {%s}, {ARGV[%d]} %s" % (keys, count + 1, command[1]), 0) + command[3:]


linear.as_sent = undeclared


def follow(values, commands):
    """The replies, or None: these commands have no place here."""
    try:
        return [step(values, command) for command in commands]
    except NotYet:
        return None


# --- drawing -----------------------------------------------------------------------------------------

def simple(chooser, value, k):
    return chooser.choice([
        ("SET", k["text"], value), ("GET", k["text"]), ("APPEND", k["text"], value), ("GETDEL", k["text"]), ("INCR", k["count"]),
        ("RPUSH", k["list"], value), ("LPUSH", k["list"], value), ("LPOP", k["list"]), ("LRANGE", k["list"], 0, -1), ("LRANGE", k["list2"], 0, -1),
        ("LMOVE", k["list"], k["list2"], "LEFT", "RIGHT"), ("HSET", k["hash"], b"f", value), ("HGET", k["hash"], b"f"), ("HDEL", k["hash"], b"f"),
        ("HINCRBY", k["hash"], b"n", 1), ("SADD", k["set"], b"m%d" % chooser.randrange(3)), ("SMOVE", k["set"], k["set2"], b"m%d" % chooser.randrange(3)),
        ("SREM", k["set"], b"m0"), ("SCARD", k["set"]), ("SCARD", k["set2"]), ("ZADD", k["zset"], chooser.randrange(9), value),
        ("ZINCRBY", k["zset"], 1, b"m"), ("ZPOPMIN", k["zset"]), ("ZRANGE", k["zset"], 0, -1)])


def waiting(chooser, k):
    return chooser.choice([("BLPOP", k["list"], WAIT), ("BLMOVE", k["list"], k["list2"], "LEFT", "RIGHT", WAIT), ("BZPOPMIN", k["zset"], WAIT)])


def draw(chooser, client, number, k):
    value = b"%d.%d;" % (client, number)
    kind = chooser.random()
    if kind < 0.15:
        return [waiting(chooser, k)]
    if kind < 0.3:
        return [simple(chooser, b"%d.%d.%d;" % (client, number, i), k) for i in range(chooser.randrange(2, 5))]
    if kind < 0.4:
        return [("EVAL", SPREAD, 3, k["count"], k["hash"], k["list"], value)]
    if kind < 0.45:
        return [("EVAL", LOOK, 4, k["count"], k["hash"], k["list"], k["set"])]
    return [simple(chooser, value, k)]


def record(connections, chooser, name):
    k = {key: "%s:%s" % (name, key) for key in ("text", "count", "list", "list2", "hash", "set", "set2", "zset")}
    lanes = [[Operation(c, draw(chooser, c, n, k)) for n in range(OPERATIONS)] for c in range(CLIENTS)]
    barrier = threading.Barrier(CLIENTS)
    threads = [threading.Thread(target=linear.run_client, args=(connection, lane, barrier), daemon=True)
               for connection, lane in zip(connections, lanes)]
    for thread in threads:
        thread.start()
    # The producer pushes until nobody waits any more.
    last, number = [], 0
    while alive := [thread for thread in threads if thread.is_alive()]:
        alive[0].join(0.02)
        if alive[0].is_alive():
            pushes = [Operation(CLIENTS, [("RPUSH", k["list"], b"p%d" % number)]), Operation(CLIENTS, [("ZADD", k["zset"], 50, b"p%d" % number)])]
            linear.run_client(connections[CLIENTS], pushes, threading.Barrier(1))
            last += pushes
            number += 1
            if number > 500:
                raise RuntimeError("a client waits although there is something for it")
    return [operation for lane in lanes + [last] for operation in lane]


# --- mutations ---------------------------------------------------------------------------------------

def popped_twice(history, chooser):
    """Two pops of elements that were pushed once each are made to have had the same."""
    pops = [o for o in history if len(o.commands) == 1 and o.commands[0][0] in ("BLPOP", "LPOP") and o.replies[0]]
    if len(pops) < 2:
        return False
    one, other = chooser.sample(pops, 2)
    element = one.replies[0] if one.commands[0][0] == "LPOP" else one.replies[0][1]
    other.replies = [element] if other.commands[0][0] == "LPOP" else [[other.replies[0][0], element]]
    return True


def repeated_count(history, chooser):
    """A count is seen twice: an update was lost."""
    counts = [o for o in history if o.commands[0][0] == "EVAL" and o.commands[0][1] == SPREAD and o.replies[0][0] > 1]
    if not counts:
        return False
    one = chooser.choice(counts)
    one.replies = [[one.replies[0][0] - 1] + one.replies[0][1:]]
    return True


def half_script(history, chooser):
    """A script counted itself but did not see its own push."""
    runs = [o for o in history if o.commands[0][0] == "EVAL" and o.commands[0][1] == SPREAD]
    if not runs:
        return False
    one = chooser.choice(runs)
    one.replies = [one.replies[0][:2] + [0]]
    return True


def lost_element(history, chooser):
    """What a range showed in the middle is not there, and never comes back: a hole."""
    ranges = [o for o in history if len(o.commands) == 1 and o.commands[0][0] == "LRANGE" and len(o.replies[0]) > 2]
    if not ranges:
        return False
    one = chooser.choice(ranges)
    one.replies = [one.replies[0][:1] + [b"nobody pushed this"] + one.replies[0][2:]]
    return True


def wrong_score(history, chooser):
    scores = [o for o in history if len(o.commands) == 1 and o.commands[0][0] in ("ZPOPMIN", "BZPOPMIN") and o.replies[0]]
    if not scores:
        return False
    one = chooser.choice(scores)
    one.replies = [one.replies[0][:-1] + [b"77"]]
    return True


def half_multi(history, chooser):
    """Inside a MULTI an INCR follows another by two."""
    found = [(o, i) for o in history if len(o.commands) > 1 for i, c in enumerate(o.commands) if c[0] in ("RPUSH", "INCR")]
    if not found:
        return False
    one, i = chooser.choice(found)
    one.replies = one.replies[:i] + [one.replies[i] + 200] + one.replies[i + 1:]
    return True


MUTATIONS = (popped_twice, repeated_count, half_script, lost_element, wrong_score, half_multi)


def mutate(history, chooser):
    kinds = list(MUTATIONS)
    chooser.shuffle(kinds)
    return next((kind.__name__ for kind in kinds if kind(history, chooser)), None)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--histories", type=int, default=200)
    parser.add_argument("--seed", default=str(random.randrange(10 ** 9)))
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--peer", action="store_true", help="on redis-server: a test of the test")
    arguments = parser.parse_args()
    linear.use_model(keys_of, follow)
    linear.CONFIGURATIONS_MAX = CONFIGURATIONS_MAX
    chooser = random.Random(arguments.seed)
    sys.setswitchinterval(0.0001)
    began, given_up, rejected, overlapping = time.monotonic(), 0, {}, 0
    with Server("redis" if arguments.peer else "holdfast", workers=arguments.workers) as server:
        connections = [server.client() for _ in range(CLIENTS + 1)]
        for number in range(arguments.histories):
            history = record(connections, chooser, "h%d" % number)
            overlapping += linear.overlaps(history)
            verdict = linear.linearizable(history)
            given_up += verdict is None
            if verdict is False:
                print("linear_mixed: no order explains history %d (seed %s):" % (number, arguments.seed))
                linear.show_unexplained(history)
                return 1
            if verdict and number % 2 == 0:
                kind = mutate(history, chooser)
                answer = linear.linearizable(history) if kind else None
                if answer:
                    print("linear_mixed: the checker accepted a mutated history (%s, seed %s)" % (kind, arguments.seed))
                    return 1
                if answer is False:
                    rejected[kind] = rejected.get(kind, 0) + 1
    print("linear_mixed: seed %s, %d histories, %d overlapping pairs each, %d given up, mutated ones rejected: %s, %.1f s"
          % (arguments.seed, arguments.histories, overlapping // max(1, arguments.histories), given_up,
             ", ".join("%s %d" % item for item in sorted(rejected.items())), time.monotonic() - began))
    if given_up > arguments.histories // 10 or (arguments.histories >= 100 and len(rejected) < len(MUTATIONS)):
        print("linear_mixed: the test itself is too weak: too many searches given up, or a mutation that was never rejected")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
