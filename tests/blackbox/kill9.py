"""kill9.py -- kill -9 at a random moment: no acknowledged write is lost, no transaction is halved.

Goal:   "acknowledged means kept" and "all or nothing" (DESIGN.md, promises 1 and 3), in both logged modes.
Method: WRITERS threads, each with its own connection and key range, send small pipelines of units
        (one command, or one MULTI of several). The model of a writer is advanced by each
        acknowledged unit. The server is killed after 50 to 200 ms and started again on the same
        directory. A connection's units are logged in order, so what is found must be the model
        after the last acknowledged unit plus the first k units in flight, for one k: exact state
        of the whole range, deadlines included. MULTI sets two keys to one fresh value: unequal
        values are half a transaction. Replies are compared with the model as they come, too.
Check:  --self-test forges a lost write, half a transaction and a lost deadline; all must be reported.
Usage:  kill9.py [--rounds 200] [--mode commit|interval] [--seed S] [--workers N] [--self-test]
"""
import argparse
import random
import sys
import threading
import time

from harness import ReplyError, Server, encode, plain, remove_dir, temp_dir

WRITERS = 8
FRESH_DIRECTORY_ROUNDS = 20         # recovery replays the whole log: keep it short
FAR = 4102444800                    # a deadline after the year 2100

# The model of one range: key -> [value (bytes, dict, list or set), deadline or None]. Commands of a unit
# are applied by apply(), which returns the plain reply that the server must give.


def apply(state, command):
    name, key = command[0], command[1]
    entry = state.get(key)
    if name == b"SET":
        state[key] = [command[2], None]
        return b"OK"
    if name == b"MSET":
        for i in range(1, len(command), 2):
            state[command[i]] = [command[i + 1], None]
        return b"OK"
    if name == b"INCR":
        number = int(entry[0]) + 1 if entry else 1
        state[key] = [b"%d" % number, entry[1] if entry else None]
        return number
    if name == b"APPEND":
        state[key] = [(entry[0] if entry else b"") + command[2], entry[1] if entry else None]
        return len(state[key][0])
    if name == b"HSET":
        fields = dict(entry[0]) if entry else {}
        new = command[2] not in fields
        fields[command[2]] = command[3]
        state[key] = [fields, entry[1] if entry else None]
        return int(new)
    if name in (b"RPUSH", b"LPUSH", b"LPOP", b"LREM", b"LTRIM", b"LMOVE"):
        return apply_list(state, command)
    if name in (b"SADD", b"SREM", b"SMOVE", b"SUNIONSTORE"):
        return apply_set(state, command)
    if name == b"DEL":
        return 1 if state.pop(key, None) else 0
    if name == b"EXPIREAT":
        if not entry:
            return 0
        state[key] = [entry[0], int(command[2])]
        return 1
    raise AssertionError(name)


def apply_list(state, command):
    name, key = command[0], command[1]
    elements = list(state[key][0]) if key in state else []
    reply = None
    if name == b"RPUSH":
        elements += command[2:]
        reply = len(elements)
    elif name == b"LPUSH":
        elements = list(command[:1:-1]) + elements
        reply = len(elements)
    elif name == b"LPOP":
        count = int(command[2])
        reply = elements[:count] if elements else None
        elements = elements[count:]
    elif name == b"LREM":
        kept = [element for element in elements if element != command[3]]
        reply = len(elements) - len(kept)
        elements = kept
    elif name == b"LTRIM":
        elements = elements[int(command[2]):len(elements) + 1 + int(command[3])]
        reply = b"OK"
    elif name == b"LMOVE" and elements:     # LEFT RIGHT, to another key
        reply = elements.pop(0)
        apply_list(state, (b"RPUSH", command[2], reply))
    if elements:
        state[key] = [elements, state[key][1] if key in state else None]
    else:
        state.pop(key, None)
    return reply


def apply_set(state, command):
    name, key = command[0], command[1]
    members = state[key][0] if key in state else frozenset()
    before, reply = members, None
    if name == b"SADD":
        members = members | set(command[2:])
    elif name == b"SREM":
        members = members - set(command[2:])
    elif name == b"SMOVE":                  # to another key
        reply = int(command[3] in members)
        members = members - {command[3]}
        if reply:
            apply_set(state, (b"SADD", command[2], command[3]))
    else:                                   # SUNIONSTORE: a new value, without deadline
        members = frozenset().union(*(state[name][0] for name in command[2:] if name in state))
        state.pop(key, None)
        reply = len(members)
    if members:
        state[key] = [members, state[key][1] if key in state else None]
    else:
        state.pop(key, None)
    return abs(len(members) - len(before)) if reply is None else reply


def copy_state(state):
    return {key: list(entry) for key, entry in state.items()}


class Writer(threading.Thread):
    """One connection, one key range, the model of it, and the units in flight at the kill."""

    def __init__(self, number, seed):
        super().__init__(daemon=True)
        self.random = random.Random("%s/%d" % (seed, number))
        prefix = b"w%d:" % number
        self.strings = [prefix + b"s%d" % i for i in range(6)]
        self.counters = [prefix + b"n%d" % i for i in range(3)]
        self.hashes = [prefix + b"h%d" % i for i in range(2)]
        self.sets = [prefix + b"z%d" % i for i in range(3)]
        self.lists = [prefix + b"l%d" % i for i in range(3)]
        self.pairs = [(prefix + b"left%d" % i, prefix + b"right%d" % i) for i in range(2)]
        self.state, self.in_flight = {}, []
        self.acknowledged = 0
        self.serial = 0
        self.wrong = None       # a reply that differs from the model
        self.client = None

    def next_round(self, seed, server):
        """A thread runs once, so each round continues in a new one with the same model."""
        number = int(self.strings[0][1:self.strings[0].index(b":")])
        writer = Writer(number, "%s/%s" % (seed, server.port))
        writer.state, writer.serial = self.state, self.serial
        writer.client = server.client(timeout=10)
        return writer

    # --- drawing units ---------------------------------------------------------------------------

    def value(self):
        self.serial += 1
        return b"v%d-" % self.serial + b"x" * self.random.choice([0, 10, 50, 300])

    def list_command(self):
        key, r = self.random.choice(self.lists), self.random.random()
        if r < 0.45:
            name = self.random.choice([b"RPUSH", b"LPUSH"])
            return (name, key) + tuple(self.random.choice([b"x", self.value()]) for _ in range(self.random.randint(1, 4)))
        if r < 0.6:
            return (b"LPOP", key, b"%d" % self.random.randint(1, 3))
        if r < 0.8:
            other = self.random.choice([name for name in self.lists if name != key])
            return (b"LMOVE", key, other, b"LEFT", b"RIGHT")
        if r < 0.9:
            return (b"LREM", key, b"0", b"x")
        return (b"LTRIM", key, b"%d" % self.random.randint(0, 2), b"%d" % self.random.randint(-3, -1))

    def set_command(self):
        key, r = self.random.choice(self.sets), self.random.random()
        if r < 0.8:
            name = b"SADD" if r < 0.5 else b"SREM"
            members = (b"%d" % self.random.randint(0, 9), b"m%d" % self.random.randint(0, 9), self.value())
            return (name, key) + tuple(self.random.choice(members[r < 0.7:]) for _ in range(self.random.randint(1, 4)))
        other = self.random.choice([name for name in self.sets if name != key])
        if r < 0.9:
            return (b"SMOVE", key, other, b"%d" % self.random.randint(0, 9))
        return (b"SUNIONSTORE", key) + tuple(self.random.choice(self.sets) for _ in range(self.random.randint(1, 3)))

    def command(self):
        r = self.random.random()
        if r < 0.4:
            return self.list_command() if r < 0.25 else self.set_command()
        r = self.random.random()
        if r < 0.25:
            return (b"SET", self.random.choice(self.strings), self.value())
        if r < 0.45:
            return (b"INCR", self.random.choice(self.counters))
        if r < 0.6:
            key = self.random.choice(self.strings)
            short = self.random.random() < 0.9
            return (b"APPEND", key, b"+%d" % self.serial) if short else (b"SET", key, b"")
        if r < 0.75:
            return (b"HSET", self.random.choice(self.hashes), b"f%d" % self.random.randrange(8), self.value())
        key = self.random.choice(self.strings + self.hashes + self.counters + self.lists + self.sets)
        if r < 0.87:
            return (b"DEL", key)
        return (b"EXPIREAT", key, b"%d" % (FAR + self.random.randrange(1000)))

    def pair_commands(self):
        left, right = self.random.choice(self.pairs)
        value = self.value()
        if self.random.random() < 0.5:
            return [(b"MSET", left, value, right, value)]
        return [(b"SET", left, value), (b"SET", right, value)]

    def unit(self):
        """A list of commands; more than one are sent as one MULTI."""
        r = self.random.random()
        if r < 0.7:
            return [self.command()]
        commands = self.pair_commands()
        if r < 0.85:
            commands[1:1] = [self.command() for _ in range(self.random.randint(0, 3))]
        return commands

    # --- sending ---------------------------------------------------------------------------------

    def run(self):
        try:
            while True:
                self.in_flight = [self.unit() for _ in range(self.random.randint(1, 12))]
                self.client.send_raw(b"".join(encode_unit(unit) for unit in self.in_flight))
                while self.in_flight:
                    self.receive(self.in_flight[0])
                    self.in_flight.pop(0)
        except (OSError, ValueError):
            pass                # the kill
        finally:
            self.client.close()

    def receive(self, unit):
        """Reads one unit's reply; only then is it acknowledged and applied to the model."""
        if len(unit) == 1:
            replies = [plain(self.client.read())]
        else:
            for _ in range(len(unit) + 1):
                plain(self.client.read())
            replies = plain(self.client.read())
        expected = [apply(self.state, command) for command in unit]
        self.acknowledged += 1
        if replies != expected and not self.wrong:
            self.wrong = "%r answered %r, the model says %r" % (unit, replies, expected)


def encode_unit(unit):
    if len(unit) == 1:
        return encode(*unit[0])
    return encode(b"MULTI") + b"".join(encode(*command) for command in unit) + encode(b"EXEC")


# --- checking --------------------------------------------------------------------------------------

def read_range(client, writer):
    """What the server holds of a writer's range, in the form of the model."""
    keys = writer.strings + writer.counters + [key for pair in writer.pairs for key in pair]
    words = [(b"GET", key) for key in keys] + [(b"HGETALL", key) for key in writer.hashes]
    words += [(b"LRANGE", key, b"0", b"-1") for key in writer.lists]
    words += [(b"SMEMBERS", key) for key in writer.sets]
    keys += writer.hashes + writer.lists + writer.sets
    replies = client.pipeline(words + [(b"EXPIRETIME", key) for key in keys])
    state = {}
    for i, key in enumerate(keys):
        value, deadline = replies[i], replies[len(keys) + i]
        if isinstance(value, ReplyError):
            raise AssertionError("%r: %s" % (key, value))
        if key in writer.lists and not isinstance(value, ReplyError):
            value = value or None
        elif key in writer.sets:
            value = frozenset(value) or None
        elif isinstance(value, list):
            value = dict(zip(value[::2], value[1::2])) or None
        if value is not None:
            state[key] = [value, None if deadline < 0 else deadline]
    return state


def check(writer, found):
    """Returns (lost keys, half pairs, complaints): all empty when the promise was kept."""
    candidates, state = [copy_state(writer.state)], copy_state(writer.state)
    for unit in writer.in_flight:
        for command in unit:
            apply(state, command)
        candidates.append(copy_state(state))
    half = [pair for pair in writer.pairs if found.get(pair[0]) != found.get(pair[1])]
    complaints = ["half a MULTI or MSET: %r, but %r" % (
        (left, found.get(left)), (right, found.get(right))) for left, right in half]
    if found in candidates:
        return [], half, complaints
    keys = sorted(set(found).union(*candidates))
    lost = [key for key in keys if all(found.get(key) != c.get(key) for c in candidates)]
    for key in lost:
        complaints.append("%r is %.300r; after the last acknowledged unit it was %.300r, %d units in flight"
                          % (key, found.get(key), candidates[0].get(key), len(writer.in_flight)))
    if not lost:
        complaints.append("each key is from some prefix of the units in flight, but no prefix explains them all")
        lost = ["order"]
    return lost, half, complaints


def crash_round(server, writers, chooser, seed):
    """Starts the writers, kills the server, starts it again; returns the round's writers."""
    writers = [writer.next_round(seed, server) for writer in writers]
    for writer in writers:
        writer.start()
    time.sleep(chooser.uniform(0.05, 0.2))
    if chooser.random() < 0.2:          # a snapshot under way is one more thing to be interrupted
        client = server.client()
        client.wire("BGSAVE")
        time.sleep(chooser.uniform(0, 0.03))
        client.close()
    server.kill9()
    for writer in writers:
        writer.join(15)
        if writer.is_alive():
            raise RuntimeError("a writer hangs after the kill")
    server.start()
    return writers


def verify(server, writers):
    """Checks all ranges; the next round's model is what was found."""
    client = server.client()
    lost, half, complaints = [], [], []
    for writer in writers:
        found = read_range(client, writer)
        results = check(writer, found)
        lost += results[0]
        half += results[1]
        complaints += results[2] + ([writer.wrong] if writer.wrong else [])
        writer.state, writer.in_flight = found, []
    client.close()
    return lost, half, complaints


def self_test(server, writers, chooser):
    """Forged faults must be found: a check that cannot fail checks nothing."""
    writers = crash_round(server, writers, chooser, "self-test")
    writer = writers[0]
    client = server.client()
    found = read_range(client, writer)
    assert check(writer, found) == ([], [], []), check(writer, found)

    units, writer.in_flight = writer.in_flight, []
    model, writer.state = writer.state, copy_state(found)
    apply(writer.state, (b"INCR", writer.counters[0]))
    assert check(writer, found)[0] == [writer.counters[0]], "a lost INCR was not reported"

    writer.state = copy_state(found)
    writer.state[writer.strings[0]] = [b"deadline", FAR]
    torn = copy_state(writer.state)
    torn[writer.strings[0]][1] = None
    assert check(writer, torn)[0] == [writer.strings[0]], "a lost deadline was not reported"

    left, right = writer.pairs[0]
    writer.in_flight = [[(b"SET", left, b"new"), (b"SET", right, b"new")]]
    torn = copy_state(writer.state)
    torn[left] = [b"new", None]
    assert check(writer, torn)[1] == [writer.pairs[0]], "half a MULTI was not reported"

    writer.in_flight = [[(b"SET", writer.strings[1], b"first")], [(b"SET", writer.strings[2], b"second")]]
    torn = copy_state(writer.state)
    torn[writer.strings[2]] = [b"second", None]
    assert check(writer, torn)[0] == ["order"], "a gap in the order was not reported"
    writer.state, writer.in_flight = model, units
    client.close()
    print("kill9: self-test passed: lost write, lost deadline, half MULTI and wrong order are reported")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--mode", choices=["commit", "interval"], default="commit")
    parser.add_argument("--seed", default=str(random.randrange(10 ** 9)))
    parser.add_argument("--workers", type=int)
    parser.add_argument("--progress", type=int, default=0, help="a line after so many rounds")
    parser.add_argument("--self-test", action="store_true")
    arguments = parser.parse_args()
    chooser = random.Random(arguments.seed)
    sys.setswitchinterval(0.001)
    began = time.monotonic()
    acknowledged = lost = half = done = 0
    complaints = []
    server = None
    for round_number in range(arguments.rounds):
        if round_number % FRESH_DIRECTORY_ROUNDS == 0:
            if server:
                server.kill9()
                remove_dir(server.directory)
            server = Server("holdfast", temp_dir(), arguments.mode, arguments.workers)
            server.start()
            writers = [Writer(number, arguments.seed) for number in range(WRITERS)]
            if arguments.self_test:
                self_test(server, writers, chooser)
                break
        writers = crash_round(server, writers, chooser, "%s/%d" % (arguments.seed, round_number))
        round_lost, round_half, complaints = verify(server, writers)
        acknowledged += sum(writer.acknowledged for writer in writers)
        lost += len(round_lost)
        half += len(round_half)
        done += 1
        if arguments.progress and done % arguments.progress == 0:
            print("kill9: %s, %d rounds, %d acknowledged, %d lost, %d half, %.0f s" % (
                arguments.mode, done, acknowledged, lost, half, time.monotonic() - began), flush=True)
        if complaints:
            print("kill9: round %d, directory %s" % (round_number, server.directory))
            print("\n".join("  " + complaint for complaint in complaints[:20]))
            print("repeat: tests/blackbox/kill9.py --mode %s --seed %s" % (arguments.mode, arguments.seed))
            break
    server.kill9()
    if not arguments.self_test:
        print("kill9: %s, %d rounds, %d acknowledged, %d lost, %d half, %.2f s a round" % (
            arguments.mode, done, acknowledged, lost, half, (time.monotonic() - began) / max(1, done)))
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
