"""field_ttl.py -- deadlines of hash fields, as Redis 7.4 and 8.0 document them; nothing brings a dead field back.

Goal:   an expired field is never seen, also when nobody looks (events, DBSIZE), after kill -9, and in a replay; a field that lives is
        never lost. Replies, conditions and errors are the documented ones.
Method: documented examples one by one; then random commands on a few keys against a model that knows the deadlines (those
        near the present are waited for), with kill -9, snapshots and clean restarts in between, in both forms of a hash.
Usage:  field_ttl.py [--seed S] [check name ...]
"""
import argparse
import random
import sys
import time

from harness import Server, plain, temp_dir

GONE, NEVER = -2, -1


def expect(got, wanted, what):
    if got != wanted:
        raise AssertionError("%s\n  got:    %.500r\n  wanted: %.500r" % (what, got, wanted))


def ask(client, wanted, *words):
    got = plain(client.wire(*words))
    if words[0] == "HTTL" and len(got) == len(wanted) and all(0 <= w - g < 5 for g, w in zip(got, wanted)):
        return      # seconds that are left, on a busy machine
    expect(got, wanted, words)


def refused(client, text, *words):
    kind, value = client.wire(*words)
    expect((kind, value[:len(text)]), ("-", text), words)


def until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError("it did not happen within %d s" % seconds)
        time.sleep(0.01)


def start(directory=None, durability="none", *extra):
    server = Server("holdfast", directory=directory, durability=durability, extra=list(extra))
    server.start()
    return server, server.client()


# --- what is documented -----------------------------------------------------------------------------

def check_conditions(_):
    server, c = start()
    ask(c, [GONE, GONE], "HEXPIRE", "h", 10, "FIELDS", 2, "f", "g")
    c.call("HSET", "h", "f", "1", "g", "2")
    ask(c, [NEVER, GONE], "HTTL", "h", "FIELDS", 2, "f", "x")
    ask(c, [0, GONE], "HEXPIRE", "h", 100, "XX", "FIELDS", 2, "f", "x")
    ask(c, [0], "HEXPIRE", "h", 100, "GT", "FIELDS", 1, "f")      # without a deadline: for ever
    ask(c, [1], "HEXPIRE", "h", 100, "LT", "FIELDS", 1, "f")
    ask(c, [0], "HEXPIRE", "h", 50, "NX", "FIELDS", 1, "f")
    ask(c, [0], "HEXPIRE", "h", 50, "GT", "FIELDS", 1, "f")
    ask(c, [1], "HEXPIRE", "h", 200, "gt", "fields", 1, "f")
    ask(c, [0], "HEXPIRE", "h", 300, "LT", "FIELDS", 1, "f")
    ask(c, [1], "HEXPIRE", "h", 60, "XX", "FIELDS", 1, "f")
    ask(c, [60, NEVER], "HTTL", "h", "FIELDS", 2, "f", "g")
    ask(c, [1], "HPEXPIREAT", "h", 4102444800001, "FIELDS", 1, "f")
    ask(c, [4102444800001], "HPEXPIRETIME", "h", "FIELDS", 1, "f")
    ask(c, [4102444801], "HEXPIRETIME", "h", "FIELDS", 1, "f")
    ask(c, [1], "HEXPIREAT", "h", 4102444800, "FIELDS", 1, "f")
    ask(c, [4102444800000], "HPEXPIRETIME", "h", "FIELDS", 1, "f")
    ask(c, [1, NEVER, GONE], "HPERSIST", "h", "FIELDS", 3, "f", "g", "x")
    ask(c, [2, GONE], "HEXPIREAT", "h", 1, "FIELDS", 2, "f", "x")
    ask(c, [2], "HPEXPIRE", "h", 0, "FIELDS", 1, "g")
    ask(c, 0, "EXISTS", "h")
    server.stop()


def check_errors(_):
    server, c = start()
    c.call("HSET", "h", "f", "1")
    c.call("SET", "s", "1")
    for name in ("HEXPIRE", "HPEXPIRE", "HEXPIREAT", "HPEXPIREAT"):
        refused(c, b"WRONGTYPE", name, "s", 10, "FIELDS", 1, "f")
        refused(c, b"ERR wrong number of arguments", name, "h", 10, "FIELDS", 1)
        refused(c, b"ERR value is not an integer", name, "h", "x", "FIELDS", 1, "f")
        refused(c, b"ERR invalid expire time, must be >= 0", name, "h", -1, "FIELDS", 1, "f")
        refused(c, b"ERR invalid expire time in '%s' command" % name.lower().encode(), name, "h", 2 ** 60, "FIELDS", 1, "f")
        refused(c, b"ERR Parameter `numFields` should be greater than 0", name, "h", 10, "FIELDS", 0, "f")
        refused(c, b"ERR The `numfields` parameter must match", name, "h", 10, "FIELDS", 2, "f")
        refused(c, b"ERR The `numfields` parameter must match", name, "h", 10, "NX", "FIELDS", 1, "f", "g")
        refused(c, b"ERR Mandatory argument FIELDS is missing", name, "h", 10, "1", "f", "FIELDS")
    for name in ("HTTL", "HPTTL", "HEXPIRETIME", "HPEXPIRETIME", "HPERSIST", "HGETDEL"):
        refused(c, b"WRONGTYPE", name, "s", "FIELDS", 1, "f")
        refused(c, b"ERR Number of fields must be a positive integer", name, "h", "FIELDS", 0, "f")
        refused(c, b"ERR The `numfields` parameter must match", name, "h", "FIELDS", 2, "f")
        refused(c, b"ERR Mandatory argument FIELDS is missing", name, "h", "FIELD", 1, "f")
    refused(c, b"ERR Only one of EX, PX, EXAT, PXAT or PERSIST arguments", "HGETEX", "h", "EX", 1, "PERSIST", "FIELDS", 1, "f")
    refused(c, b"ERR Only one of EX, PX, EXAT, PXAT or KEEPTTL arguments", "HSETEX", "h", "EX", 1, "KEEPTTL", "FIELDS", 1, "f", "v")
    refused(c, b"ERR Only one of FXX or FNX arguments", "HSETEX", "h", "FNX", "FXX", "FIELDS", 1, "f", "v")
    refused(c, b"ERR unknown argument", "HSETEX", "h", "nonsense", "FIELDS", 1, "f", "v")
    ask(c, [b"f", b"1"], "HGETALL", "h")
    server.stop()


def check_new_commands(_):
    server, c = start()
    ask(c, 0, "HSETEX", "h", "FXX", "EX", 10, "FIELDS", 1, "f", "1")
    ask(c, 0, "EXISTS", "h")
    ask(c, 1, "HSETEX", "h", "EX", 10, "FIELDS", 2, "f", "1", "g", "2")
    ask(c, 0, "HSETEX", "h", "FNX", "FIELDS", 2, "g", "1", "new", "1")
    ask(c, 1, "HSETEX", "h", "FXX", "KEEPTTL", "FIELDS", 1, "f", "3")
    ask(c, [10, 10], "HTTL", "h", "FIELDS", 2, "f", "g")
    ask(c, 1, "HSETEX", "h", "FIELDS", 1, "f", "4")
    ask(c, [NEVER], "HTTL", "h", "FIELDS", 1, "f")
    ask(c, [b"4", None], "HGETEX", "h", "EX", 20, "FIELDS", 2, "f", "x")
    ask(c, [20], "HTTL", "h", "FIELDS", 1, "f")
    ask(c, [b"4", b"2"], "HGETEX", "h", "PERSIST", "FIELDS", 2, "f", "g")
    ask(c, [NEVER, NEVER], "HTTL", "h", "FIELDS", 2, "f", "g")
    ask(c, [b"4"], "HGETEX", "h", "PXAT", 1, "FIELDS", 1, "f")
    ask(c, [b"2", None], "HGETDEL", "h", "FIELDS", 2, "g", "f")
    ask(c, 0, "EXISTS", "h")
    ask(c, [None, None], "HGETDEL", "h", "FIELDS", 2, "g", "f")
    ask(c, 1, "HSETEX", "h", "PXAT", 1, "FIELDS", 1, "f", "1")
    ask(c, 0, "EXISTS", "h")
    server.stop()


def check_other_commands(_):
    """What keeps and what drops a deadline, what an expired field is to others, both forms."""
    for padding in (0, 600):
        server, c = start()
        for i in range(padding):
            c.call("HSET", "h", "pad%d" % i, "x")
        c.call("HSET", "h", "f", "1", "g", "2", "k", "3")
        c.call("HEXPIRE", "h", 100, "FIELDS", 2, "f", "g")
        ask(c, b"hashtable" if padding else b"listpackex", "OBJECT", "ENCODING", "h")
        c.call("HINCRBY", "h", "f", 1)
        c.call("HINCRBYFLOAT", "h", "f", 1)
        ask(c, [100], "HTTL", "h", "FIELDS", 1, "f")
        c.call("HSET", "h", "f", "5")
        ask(c, [NEVER, 100], "HTTL", "h", "FIELDS", 2, "f", "g")
        c.call("HDEL", "h", "g")
        c.call("HSETNX", "h", "g", "1")
        ask(c, [NEVER], "HTTL", "h", "FIELDS", 1, "g")
        c.call("HPEXPIRE", "h", 60, "FIELDS", 2, "f", "g")
        c.call("HEXPIRE", "h", 50, "FIELDS", 1, "k")
        c.call("COPY", "h", "copy")
        c.call("RENAME", "h", "renamed")
        time.sleep(0.1)
        for key in ("copy", "renamed"):
            ask(c, padding + 1, "HLEN", key)
            ask(c, None, "HGET", key, "f")
            ask(c, 0, "HEXISTS", key, "g")
            ask(c, [50], "HTTL", key, "FIELDS", 1, "k")
            expect(b"f" in c.call("HGETALL", key)[::2], False, "HGETALL")
            seen, cursor = [], b"0"
            while True:
                cursor, part = c.call("HSCAN", key, cursor, "COUNT", 1000)
                seen += part[::2]
                if cursor == b"0":
                    break
            expect((len(seen), b"f" in seen), (padding + 1, False), "HSCAN")
            expect(len(c.call("HRANDFIELD", key, 1000)), padding + 1, "HRANDFIELD")
        ask(c, 1, "HSETNX", "copy", "f", "new")
        ask(c, b"new", "HGET", "copy", "f")
        server.stop()


def check_events(_):
    server, c = start(None, "none", "--notify-keyspace-events", "KEA")
    listener = server.client()
    listener.send("PSUBSCRIBE", "__keyspace@0__:h")
    listener.read()
    seen = []

    def wait_for(*names):
        while len(seen) < len(names):
            seen.append(plain(listener.read())[3])
        expect(seen, [n.encode() for n in names], "events")
        seen.clear()
    c.call("HSET", "h", "f", "1", "g", "2")
    c.call("HEXPIRE", "h", 100, "FIELDS", 1, "f")
    c.call("HPERSIST", "h", "FIELDS", 1, "f")
    c.call("HPEXPIRE", "h", 30, "FIELDS", 1, "f")
    wait_for("hset", "hexpire", "hpersist", "hexpire", "hexpired")
    c.call("HPEXPIRE", "h", 30, "FIELDS", 1, "g")
    wait_for("hexpire", "hexpired", "del")     # nobody has touched the key
    ask(c, 0, "DBSIZE")
    c.call("HSETEX", "h", "PX", 1000000, "FIELDS", 1, "f", "1")
    c.call("HGETEX", "h", "PERSIST", "FIELDS", 1, "f")
    c.call("HGETDEL", "h", "FIELDS", 1, "f")
    wait_for("hset", "hexpire", "hpersist", "hdel", "del")
    server.stop()


def check_together(_):
    """A key's own deadline and those of its fields live together, in scripts too."""
    server, c = start()
    c.call("HSET", "h", "f", "1", "g", "2")
    c.call("HPEXPIRE", "h", 30000, "FIELDS", 1, "f")
    c.call("PEXPIRE", "h", 100000)
    script = "redis.call('HPERSIST', 'h', 'FIELDS', 1, 'f'); redis.call('HSET', 'h', 'g', '3'); return redis.call('HPTTL', 'h', 'FIELDS', 1, 'f')"
    expect(c.call("EVAL", script, 0), [NEVER], "script")
    c.call("HPEXPIRE", "h", 100, "FIELDS", 1, "f")
    until(lambda: c.call("HLEN", "h") == 1)
    expect(0 < c.call("PTTL", "h") <= 100000, True, "PTTL")
    c.call("HEXPIRE", "h", 1000, "FIELDS", 1, "g")
    c.call("PEXPIRE", "h", 50)
    until(lambda: c.call("DBSIZE") == 0)
    server.stop()


def check_strict(_):
    """An error undoes the whole strict transaction, deadlines too; the wheel finds them again."""
    server, c = start()
    for ms in (500, 5000, 20000):       # on a busy machine it may be over before all is asked
        began = time.monotonic()
        c.call("HSET", "h", "f", "1", "g", "2")
        c.call("HPEXPIRE", "h", ms, "FIELDS", 1, "f")
        c.call("MULTI", "STRICT")
        for words in (("HPERSIST", "h", "FIELDS", 1, "f"), ("HEXPIRE", "h", 1000, "FIELDS", 1, "g"), ("HSET", "h", "f", "9"), ("LPUSH", "h", "x")):
            c.call(*words)
        c.wire("EXEC")
        replies = c.pipeline([("HGET", "h", "f"), ("HTTL", "h", "FIELDS", 1, "g"), ("HPTTL", "h", "FIELDS", 1, "f")])
        if time.monotonic() - began < ms / 1000:
            break
    expect(replies[:2], [b"1", [NEVER]], "undone")
    expect(0 < replies[2][0] <= ms, True, "HPTTL")
    until(lambda: c.call("HLEN", "h") == 1)
    server.stop()


def check_pause(_):
    """While the server is paused nothing is removed, and yet nobody sees what has expired."""
    server, c = start()
    admin = server.client()
    c.call("HSET", "h", "f", "1", "g", "2")
    c.call("HSET", "all", "f", "1")
    c.call("HPEXPIRE", "h", 200, "FIELDS", 1, "f")
    c.call("HPEXPIRE", "all", 200, "FIELDS", 1, "f")
    admin.call("CLIENT", "PAUSE", 1500, "WRITE")
    time.sleep(0.4)
    ask(c, [b"g", b"2"], "HGETALL", "h")
    ask(c, 1, "HLEN", "h")
    ask(c, [GONE, NEVER], "HTTL", "h", "FIELDS", 2, "f", "g")
    ask(c, 0, "EXISTS", "all")
    admin.call("CLIENT", "UNPAUSE")
    until(lambda: c.call("DBSIZE") == 1)
    server.stop()


# --- against a model, with crashes --------------------------------------------------------------------

KEYS = ["h1", "h2", "large"]


class Model:
    """key -> field -> (value, deadline in ms or None)."""

    def __init__(self):
        self.keys = {}

    def live(self, key, now):
        fields = self.keys.get(key, {})
        self.keys[key] = {f: v for f, v in fields.items() if v[1] is None or v[1] > now}
        return self.keys[key]


def now_ms():
    return int(time.time() * 1000)


def random_step(c, model, chance):
    """Deadlines are either due soon (waited for by the check) or far away."""
    key, field = chance.choice(KEYS), b"f%d" % chance.randrange(700 if chance.random() < 0.3 else 8)
    fields = model.live(key, now_ms())
    what = chance.randrange(8)
    far = 4102444800000 + chance.randrange(1000)
    if what <= 2:
        value = b"%d" % chance.randrange(1000)
        c.call("HSET", key, field, value)
        model.keys[key][field] = (value, None)
    elif what == 3:
        c.call("HDEL", key, field)
        fields.pop(field, None)
    elif what == 4 and field in fields:
        expect(c.call("HPEXPIREAT", key, far, "FIELDS", 1, field), [1], "far")
        fields[field] = (fields[field][0], far)
    elif what == 5 and field in fields:
        soon = now_ms() + 300 + chance.randrange(200)
        expect(c.call("HPEXPIREAT", key, soon, "FIELDS", 1, field), [1], "soon")
        fields[field] = (fields[field][0], soon)
    elif what == 6 and field in fields and fields[field][1] == far:
        c.call("HPERSIST", key, "FIELDS", 1, field)
        fields[field] = (fields[field][0], None)
    elif what == 7:
        c.call("HSETEX", key, "PXAT", far, "FIELDS", 1, field, b"x")
        fields[field] = (b"x", far)


def compare(c, model):
    """After all near deadlines have passed: the same fields, values and deadlines."""
    time.sleep(0.7)
    for key in KEYS:
        fields = model.live(key, now_ms())
        reply = c.call("HGETALL", key)
        expect(dict(zip(reply[::2], reply[1::2])), {f: v for f, (v, _) in fields.items()}, "HGETALL " + key)
        expect(c.call("HLEN", key), len(fields), "HLEN " + key)
        names = list(fields)
        if names:
            expect(c.call("HPEXPIRETIME", key, "FIELDS", len(names), *names), [fields[f][1] or NEVER for f in names], "deadlines of " + key)


def check_crashes(chance):
    for durability in ("commit", "interval"):
        directory = temp_dir()
        model = Model()
        server, c = start(directory, durability)
        for round_number in range(5):
            for _ in range(400):
                random_step(c, model, chance)
            if chance.random() < 0.5:
                c.call("BGSAVE")
            how = chance.choice(["kill", "kill", "stop", "none"]) if durability == "commit" else chance.choice(["stop", "none"])
            if how == "kill":
                server.kill9()
            elif how == "stop":
                server.stop()
            if how != "none":
                server, c = start(directory, durability)
            compare(c, model)
        server.stop()


def check_dead_stay_dead(_):
    """Down while the deadline passes; and replay of what was removed."""
    directory = temp_dir()
    server, c = start(directory, "commit")
    c.call("HSET", "h", "f", "1", "g", "2")
    c.call("HSET", "all", "f", "1")
    c.call("HPEXPIRE", "h", 200, "FIELDS", 1, "f")
    c.call("HPEXPIRE", "all", 200, "FIELDS", 1, "f")
    server.kill9()
    time.sleep(0.4)
    server, c = start(directory, "commit")
    ask(c, [b"g", b"2"], "HGETALL", "h")
    until(lambda: c.call("DBSIZE") == 1)
    c.call("HPEXPIRE", "h", 50, "FIELDS", 1, "g")
    until(lambda: c.call("DBSIZE") == 0)
    c.call("HSET", "h", "f", "back")
    server.kill9()
    server, c = start(directory, "commit")
    ask(c, [b"f", b"back"], "HGETALL", "h")
    ask(c, [NEVER], "HTTL", "h", "FIELDS", 1, "f")
    server.stop()


CHECKS = [check_conditions, check_errors, check_new_commands, check_other_commands, check_events, check_together, check_strict, check_pause,
          check_dead_stay_dead, check_crashes]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=random.randrange(10 ** 9))
    parser.add_argument("checks", nargs="*")
    arguments = parser.parse_args()
    for check in CHECKS:
        name = check.__name__[6:]
        if arguments.checks and name not in arguments.checks:
            continue
        try:
            check(random.Random("%d/%s" % (arguments.seed, name)))
        except AssertionError as error:
            print("field_ttl: %s failed: %s\nrepeat: tests/blackbox/field_ttl.py --seed %d %s" % (name, error, arguments.seed, name))
            return 1
        print("field_ttl: %s: ok" % name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
