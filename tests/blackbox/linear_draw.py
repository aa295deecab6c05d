"""linear_draw.py -- what the clients of linear_mixed.py do: a theme for each history, so that a few commands meet on few keys.

Goal:   real interleavings: eight clients that change what the others watch, wait for, read through groups and reach through scripts.
Method: a theme is a function (chooser, client, number, k) that gives the next operations of a client, in order: most give one, a WATCH
        gives all up to its EXEC. k names the keys. Written values are unique, so that a read tells which write it saw.
"""
import zlib

import linear_model as model
from linear import Operation
from linear_model import DEMAND, DRAIN, LOOK, ROUTE, SPREAD

WAIT = 60                   # seconds that a patient command may wait: the producer ends it long before
KEYS = ("text", "text2", "flash", "count", "list", "list2", "list3", "hash", "set", "set2", "zset", "zset2", "stream", "stream2")
STREAMS = ("stream", "stream2")
FAR_AWAY = 4000000000000    # ms: a deadline that can be told again


def undeclared(command):
    """Of three scripts one declares its keys, one the first of them, one none: the server learns of the others while it runs."""
    if command[0] != "EVAL":
        return command
    count = command[2]
    declared = (count, 1, 0)[zlib.crc32(repr(command).encode()) % 3]
    keys = ", ".join(["KEYS[%d]" % (i + 1) for i in range(declared)] + ["ARGV[%d]" % (i + 1) for i in range(count - declared)])
    return ("EVAL", "local KEYS, ARGV = {%s}, {ARGV[%d]} %s" % (keys, count - declared + 1, command[1]), declared) + command[3:]


# --- single commands ---------------------------------------------------------------------------------------

def simple(chooser, value, k):
    """Of all types that need no group."""
    return chooser.choice([
        ("SET", k["text"], value), ("GET", k["text"]), ("APPEND", k["text"], value), ("GETDEL", k["text"]), ("INCR", k["count"]),
        ("RPUSH", k["list"], value), ("LPUSH", k["list"], value), ("LPOP", k["list"]), ("LRANGE", k["list"], 0, -1), ("LRANGE", k["list2"], 0, -1),
        ("LMOVE", k["list"], k["list2"], "LEFT", "RIGHT"), ("HSET", k["hash"], b"f", value), ("HGET", k["hash"], b"f"), ("HDEL", k["hash"], b"f"),
        ("HINCRBY", k["hash"], b"n", 1), ("SADD", k["set"], b"m%d" % chooser.randrange(3)), ("SMOVE", k["set"], k["set2"], b"m%d" % chooser.randrange(3)),
        ("SREM", k["set"], b"m0"), ("SCARD", k["set"]), ("SCARD", k["set2"]), ("ZADD", k["zset"], chooser.randrange(9), value),
        ("ZINCRBY", k["zset"], 1, b"m"), ("ZPOPMIN", k["zset"]), ("ZRANGE", k["zset"], 0, -1)])


def brief(chooser, value, k):
    """Strings that come and go: deleted, made again, renamed, gone by themselves."""
    flash, ms = k["flash"], chooser.choice([1, 1, 2, 4])
    return chooser.choice([
        ("SET", flash, value), ("SET", flash, value, "PX", ms), ("SET", flash, value, "PX", ms), ("PEXPIRE", flash, ms), ("PERSIST", flash), ("GET", flash),
        ("GET", flash), ("EXISTS", flash), ("DEL", flash), ("APPEND", flash, value), ("SET", k["text"], value), ("GET", k["text"]),
        ("RENAME", k["text"], flash), ("GETDEL", k["text"]), ("INCR", k["count"])])


def push(chooser, value, k):
    to = chooser.choice(["list", "list", "list2", "list3", "zset", "zset2"])
    if to[0] == "z":
        return ("ZADD", k[to], chooser.randrange(9), value)
    return chooser.choice([("RPUSH", k[to], value), ("LPUSH", k[to], value), ("RPUSH", k[to], value, value + b"!")])


def look_around(chooser, k):
    return chooser.choice([("LRANGE", k["list"], 0, -1), ("LRANGE", k["list2"], 0, -1), ("LPOP", k["list"]), ("LPOP", k["list3"]), ("ZRANGE", k["zset"], 0, -1),
                           ("LMOVE", k["list3"], k["list"], "RIGHT", "LEFT"), ("ZPOPMIN", k["zset2"]), ("RENAME", k["list2"], k["list3"])])


def waiting(chooser, k, seconds):
    lists = [k["list"], k["list2"], k["list3"]]
    chooser.shuffle(lists)
    zsets = [k["zset"], k["zset2"]]
    chooser.shuffle(zsets)
    return chooser.choice([
        ("BLPOP",) + tuple(lists) + (seconds,), ("BLPOP",) + tuple(lists[:2]) + (seconds,), ("BLPOP", lists[0], seconds),
        ("BLMPOP", seconds, 3) + tuple(lists) + ("LEFT", "COUNT", 2), ("BLMPOP", seconds, 2) + tuple(lists[:2]) + ("LEFT", "COUNT", 1),
        ("BZMPOP", seconds, 2) + tuple(zsets) + ("MIN", "COUNT", 2), ("BZPOPMIN",) + tuple(zsets) + (seconds,),
        ("BLMOVE", lists[0], lists[1], "LEFT", "RIGHT", seconds), ("BLMOVE", lists[0], lists[1], "RIGHT", "LEFT", seconds)])


def entry(chooser, number, value, k, part=0):
    """Ids rise with a client's operations, so that some come too late."""
    return ("XADD", k[chooser.choice(STREAMS)], "%d-%d" % (1 + number * 4 + chooser.randrange(12), part), "f", value)


def some_id(chooser, number):
    return "%d-0" % max(0, number * 4 + chooser.randrange(-8, 12))


def stream_command(chooser, client, number, value, k):
    key, consumer = k[chooser.choice(STREAMS)], b"c%d" % (client % 3)
    group = ("XREADGROUP", "GROUP", "g", consumer)
    return chooser.choice([
        entry(chooser, number, value, k), entry(chooser, number, value, k), entry(chooser, number, value, k),
        ("XLEN", key), ("XRANGE", key, "-", "+"), ("XDEL", key, some_id(chooser, number)), ("XTRIM", key, "MAXLEN", "=", chooser.randrange(1, 4)),
        ("XREAD", "STREAMS", k["stream"], k["stream2"], some_id(chooser, number), some_id(chooser, number)),
        group + ("COUNT", 1, "STREAMS", key, ">"), group + ("STREAMS", k["stream"], k["stream2"], ">", ">"), group + ("STREAMS", key, "0"),
        ("XPENDING", key, "g"), ("XCLAIM", key, "g", consumer, 0, some_id(chooser, number), "JUSTID"), ("XACK", key, "g", some_id(chooser, number))])


def stream_wait(chooser, client, number, k, ms):
    group = ("XREADGROUP", "GROUP", "g", b"c%d" % (client % 3))
    keys = [k["stream"], k["stream2"]][::chooser.choice([1, -1])]
    return chooser.choice([
        ("XREAD", "BLOCK", ms, "STREAMS", *keys, some_id(chooser, number), some_id(chooser, number)), ("XREAD", "BLOCK", ms, "STREAMS", keys[0], some_id(chooser, number)),
        group + ("BLOCK", ms, "STREAMS", *keys, ">", ">"), group + ("COUNT", 1, "BLOCK", ms, "STREAMS", keys[0], ">"),
        group + ("COUNT", 1, "BLOCK", ms, "STREAMS", *keys, ">", ">")])


def script(chooser, value, k):
    return chooser.choice([
        ("EVAL", SPREAD, 3, k["count"], k["hash"], k["list"], value), ("EVAL", LOOK, 4, k["count"], k["hash"], k["list"], k["set"]),
        ("EVAL", ROUTE, 4, k["count"], k["list"], k["list2"], k["set"], value), ("EVAL", ROUTE, 4, k["count"], k["list2"], k["list3"], k["set"], value),
        ("EVAL", DRAIN, 4, k["list"], k["list2"], k["hash"], k["text"], value), ("EVAL", DRAIN, 4, k["list2"], k["list"], k["hash"], k["text"], value)])


# --- themes ------------------------------------------------------------------------------------------------

def values_of(client, number, count):
    return [b"%d.%d.%d;" % (client, number, i) for i in range(count)]


def seconds(chooser):
    """Some waits are too short for the others to come."""
    return chooser.choice([WAIT, WAIT, WAIT, 0.002, 0.01])


def mixed(chooser, client, number, k):
    value, kind = b"%d.%d;" % (client, number), chooser.random()
    if kind < 0.15:
        return [Operation(client, [chooser.choice([("BLPOP", k["list"], WAIT), ("BLMOVE", k["list"], k["list2"], "LEFT", "RIGHT", WAIT), ("BZPOPMIN", k["zset"], WAIT)])])]
    if kind < 0.3:
        return [Operation(client, [simple(chooser, v, k) for v in values_of(client, number, chooser.randrange(2, 5))])]
    if kind < 0.45:
        return [Operation(client, [("EVAL", SPREAD, 3, k["count"], k["hash"], k["list"], value) if kind < 0.4 else
                                   ("EVAL", LOOK, 4, k["count"], k["hash"], k["list"], k["set"])])]
    return [Operation(client, [simple(chooser, value, k)])]


def optimistic(chooser, client, number, k, watchable, change):
    """WATCH, a look, sometimes a change or an UNWATCH of one's own, then EXEC, or DISCARD."""
    joins = ["~watch:%d" % client]
    values = values_of(client, number, 6)
    operation = lambda commands, form=None: Operation(client, commands, form, joins)
    first = operation([("WATCH",) + tuple(k[name] for name in chooser.sample(watchable, chooser.choice([1, 1, 2])))])
    between = [operation([change(values[0])]) for _ in range(chooser.choice([0, 1, 1]))]
    kind = chooser.random()
    if kind < 0.1:
        between.append(operation([("UNWATCH",)]))
    elif kind < 0.2:
        between.append(operation([("WATCH", k[chooser.choice(watchable)])]))
    form = "discard" if kind > 0.93 else "multi"
    return [first] + between + [operation([change(v) for v in values[1:chooser.randrange(2, 4)]], form)]


def watching(chooser, client, number, k):
    change = lambda value: brief(chooser, value, k) if chooser.random() < 0.8 else simple(chooser, value, k)
    if chooser.random() < 0.5:
        return optimistic(chooser, client, number, k, ["flash", "flash", "text", "count", "list"], change)
    values = values_of(client, number, 3)
    if chooser.random() < 0.2:
        return [Operation(client, [change(value) for value in values])]
    return [Operation(client, [change(values[0])])]


def waits(chooser, client, number, k):
    values, kind = values_of(client, number, 3), chooser.random()
    if kind < 0.35:
        return [Operation(client, [waiting(chooser, k, seconds(chooser))])]
    if kind < 0.5:      # several keys become ready at once
        return [Operation(client, [push(chooser, value, k) for value in values[:chooser.choice([2, 3])]])]
    if kind < 0.55:
        return [Operation(client, [push(chooser, values[0], k), waiting(chooser, k, WAIT)])]
    return [Operation(client, [push(chooser, values[0], k) if kind < 0.8 else look_around(chooser, k)])]


def streams(chooser, client, number, k):
    values, kind = values_of(client, number, 3), chooser.random()
    if kind < 0.2:
        return [Operation(client, [stream_wait(chooser, client, number, k, chooser.choice([WAIT * 1000, WAIT * 1000, 3, 10]))])]
    if kind < 0.3:
        return [Operation(client, [entry(chooser, number, value, k, i) for i, value in enumerate(values)])]
    if kind < 0.4:
        return [Operation(client, [stream_command(chooser, client, number, value, k) for value in values])]
    if kind < 0.5:
        change = lambda value: stream_command(chooser, client, number, value, k)
        return optimistic(chooser, client, number, k, list(STREAMS), change)
    return [Operation(client, [stream_command(chooser, client, number, values[0], k)])]


def scripts(chooser, client, number, k):
    values, kind = values_of(client, number, 3), chooser.random()
    if kind < 0.5:
        return [Operation(client, [script(chooser, values[0], k)])]
    if kind < 0.6:
        return [Operation(client, [script(chooser, values[0], k), simple(chooser, values[1], k), script(chooser, values[2], k)])]
    if kind < 0.75:
        return [Operation(client, [waiting(chooser, k, WAIT)])]
    if kind < 0.85:
        return optimistic(chooser, client, number, k, ["list", "count", "hash", "text", "set"], lambda value: script(chooser, value, k))
    return [Operation(client, [simple(chooser, values[0], k)])]


def strict(chooser, client, number, k):
    """Transactions whose last command fails or not, by what the others did; deadlines that can be told."""
    values, kind = values_of(client, number, 4), chooser.random()
    may_fail = chooser.choice([("INCR", k["text"]), ("INCR", k["text"]), ("LSET", k["list"], 0, values[3]), ("RENAME", k["text2"], k["text"]),
                               ("EVAL", DEMAND, 3, k["count"], k["set"], k["list"], values[3]), entry(chooser, number, values[3], k)])
    if kind < 0.4:
        return [Operation(client, [steady(chooser, value, k) for value in values[:chooser.randrange(1, 4)]] + [may_fail], "strict" if kind < 0.33 else "multi")]
    if kind < 0.5:
        return [Operation(client, [waiting(chooser, k, WAIT)])]
    if kind < 0.6:
        return optimistic(chooser, client, number, k, ["text", "list", "set"], lambda value: steady(chooser, value, k))
    if kind < 0.7 and may_fail[0] != "EVAL":
        return [Operation(client, [may_fail])]
    return [Operation(client, [steady(chooser, values[0], k)])]


def steady(chooser, value, k):
    return chooser.choice([
        ("SET", k["text"], value), ("SET", k["text"], b"%d" % chooser.randrange(9)), ("SET", k["text2"], b"7"), ("PEXPIREAT", k["text"], FAR_AWAY + chooser.randrange(9)),
        ("PEXPIREAT", k["text"], FAR_AWAY), ("PERSIST", k["text"]), ("PEXPIRETIME", k["text"]), ("PEXPIRETIME", k["text"]), ("GETDEL", k["text"]), ("DEL", k["list"]),
        ("GET", k["text"]), simple(chooser, value, k), simple(chooser, value, k), entry(chooser, 1, value, k), ("XLEN", k["stream"])])


def turns(chooser, client, number, k):
    """Two wait for one list in a known order, one client pushes to it, the others look on: who is served first is known."""
    if number < 3:
        return [Operation(client, [("RPUSH", k["list"], values_of(client, number, 1)[0]) if client == 2 else ("LRANGE", k["list"], 0, -1)])]
    return waits(chooser, client, number, k)


THEMES = {"mixed": mixed, "watching": watching, "waits": waits, "streams": streams, "scripts": scripts, "strict": strict, "turns": turns}


def draw(chooser, theme, client, count, k):
    """At least count operations."""
    operations = []
    while len(operations) < count:
        operations += THEMES[theme](chooser, client, len(operations), k)
    return operations


def waits_first(chooser, theme, client, k):
    """What a client starts to wait with before the others begin, in a known order."""
    if theme == "streams":
        return Operation(client, [stream_wait(chooser, client, 0, k, WAIT * 1000)])
    return Operation(client, [("BLPOP", k["list"], WAIT) if theme == "turns" or chooser.random() < 0.5 else waiting(chooser, k, WAIT)])


def feed(keys, k, number, client):
    """For those who wait for these keys: a look at each, by which who waits in spite of something is found out, and something more."""
    kinds = {k[name]: name for name in KEYS}
    for key in keys:
        value = b"p%d.%s" % (number, kinds[key].encode())
        yield Operation(client, [({"l": "LLEN", "z": "ZCARD", "s": "XLEN"}[kinds[key][0]], key)])
        yield Operation(client, [{"l": ("RPUSH", key, value), "z": ("ZADD", key, 50, value), "s": ("XADD", key, "%d-0" % (1000 + number), "f", value)}[kinds[key][0]]])
