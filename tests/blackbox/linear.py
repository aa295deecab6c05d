"""linear.py -- are concurrent histories linearizable?

Goal:   strict serializability of commands, MULTI and any mix of them (DESIGN.md, promise 4): there is
        one order of all operations that explains every reply, and respects real time.
Method: in each history CLIENTS threads run a few operations on few keys at once; each operation is
        recorded with the time just before it was sent and just after its reply was read. A search
        in the manner of Wing & Gong, with Lowe's memory of visited configurations, looks for that
        order: a configuration is how many operations of each client are placed, and the values.
        Keys that no operation joins are searched apart (linearizability is local).
Check:  each run also mutates correct histories (a stale read, a repeated INCR, half an MSET) and
        demands that they are rejected.
Usage:  linear.py [--histories 300] [--seed S] [--workers N]
"""
import argparse
import random
import sys
import threading
import time

from harness import ReplyError, Server, encode, plain

CLIENTS = 8
OPERATIONS = 12         # of each client in one history
CONFIGURATIONS_MAX = 2000000


class Operation:
    """form: plain (one command), multi, strict (MULTI STRICT) or discard (MULTI ... DISCARD). replies: a list; what EXEC replied, if that is none."""

    def __init__(self, client, commands, form=None, joins=()):
        self.client, self.commands = client, commands
        self.form = form or ("multi" if len(commands) > 1 else "plain")
        self.joins = set(joins)     # what it has in common with others besides keys
        self.began = self.ended = 0
        self.waits_since = 0        # known to wait in the server since then; 0: not known
        self.replies = None
        self.kept = None            # a WATCH whose EXEC went through: True; was refused: False; never came: None

    def keys(self):
        return {key for command in self.commands for key in keys_of(command)} | self.joins

    def __repr__(self):
        since = ", waiting at %d" % (self.waits_since // 1000) if self.waits_since else ""
        return "c%d %d..%d us%s %s %r -> %r" % (self.client, self.began // 1000, self.ended // 1000, since, self.form, self.commands, self.replies)


# --- the model ---------------------------------------------------------------------------------

def keys_of(command):
    if command[0] == "MSET":
        return command[1::2]
    return command[1:] if command[0] == "MGET" else command[1:2]


def step(values, command):
    """Applies a command to values (a dict, changed in place); returns the reply."""
    name, key = command[:2]
    if name == "SET":
        values[key] = command[2]
        return b"OK"
    if name == "GET":
        return values.get(key)
    if name == "INCR":
        values[key] = b"%d" % (int(values.get(key) or 0) + 1)
        return int(values[key])
    if name == "APPEND":
        values[key] = (values.get(key) or b"") + command[2]
        return len(values[key])
    if name == "MSET":
        values.update(zip(command[1::2], command[2::2]))
        return b"OK"
    if name == "MGET":
        return [values.get(k) for k in command[1:]]
    raise AssertionError(name)


def follow(values, operation):
    """The replies of an operation here."""
    return [step(values, command) for command in operation.commands]


def expire(values, horizon):
    """What may happen by itself before horizon: nothing, here."""
    return ()


def could_be_served(values, command):
    return False


def is_served_along(values, operation, other):
    """One transaction serves several at once, in the order of what it pushed."""
    return False


def may_come_at_once(values, operation):
    """What fits here, and by its replies changes nothing that another client sees, wherever it comes."""
    return all(command[0] in ("GET", "MGET") for command in operation.commands)


def use_model(model):
    """For histories of other commands (linear_mixed.py)."""
    global keys_of, follow, expire, could_be_served, is_served_along, may_come_at_once
    keys_of, follow, expire, may_come_at_once = model.keys_of, model.follow, model.expire, model.may_come_at_once
    could_be_served, is_served_along = model.could_be_served, model.is_served_along


def components(history):
    """Splits a history at keys that no operation joins."""
    groups = []
    for operation in history:
        keys, operations, rest = operation.keys(), [operation], []
        for group in groups:
            if group[0] & keys:
                keys, operations = keys | group[0], group[1] + operations
            else:
                rest.append(group)
        groups = rest + [(keys, operations)]
    return [sorted(operations, key=lambda o: o.began) for _, operations in groups]


def linearizable(history):
    """True, False, or None when the search was given up."""
    results = [search(part) for part in components(history)]
    return False if False in results else None if None in results else True


def lanes_of(operations):
    lanes = {}
    for operation in operations:
        lanes.setdefault(operation.client, []).append(operation)
    return list(lanes.values())


def search(operations, deepest=None):
    """Depth first over configurations (placed per client, values). Who is known to wait is served before anybody who began
    later finds what it waits for. What only looks and fits is placed at once: no order needs it later."""
    lanes = lanes_of(operations)
    start = (tuple([0] * len(lanes)), ())
    stack, visited = [start], {start}
    while stack:
        placed, items = stack.pop()
        if deepest is not None and (not deepest or sum(placed) > sum(deepest[-1][0])):
            deepest.append((placed, items))
        heads = [(i, lane[placed[i]]) for i, lane in enumerate(lanes) if placed[i] < len(lane)]
        if not heads:
            return True
        horizon, before = min(operation.ended for _, operation in heads), dict(items)
        served_now = [operation for _, operation in heads if operation.waits_since and could_be_served(before, operation.commands[0])]
        afters = [(placed, values) for values in expire(before, horizon)]
        for i, operation in heads:
            if operation.began > horizon:
                continue        # another one had ended before this one began
            if any(operation.began > other.waits_since and not is_served_along(before, operation, other) for other in served_now):
                continue        # that one waits, and would have been served
            values = dict(before)
            if follow(values, operation) != operation.replies:
                continue
            after = (placed[:i] + (placed[i] + 1,) + placed[i + 1:], values)
            if may_come_at_once(before, operation):
                afters = [after]
                break
            afters.append(after)
        for next_placed, values in afters:
            after = (next_placed, tuple(sorted(values.items())))
            if after not in visited:
                visited.add(after)
                stack.append(after)
        if len(visited) > CONFIGURATIONS_MAX:
            return None
    return False


# --- recording -----------------------------------------------------------------------------------

def draw(chooser, client, number, keys, joint):
    """One operation. Written values are unique, so that a read tells which write it saw."""
    value = b"%d.%d;" % (client, number)
    texts, counters = keys[:2], keys[2:]
    if joint and chooser.random() < 0.5:
        if chooser.random() < 0.4:
            return [("MGET",) + tuple(texts)]
        if chooser.random() < 0.5:
            return [("MSET", texts[0], value, texts[1], value)]
        return [("GET", texts[0]), ("SET", texts[1], value), ("INCR", counters[0]), ("APPEND", texts[0], value)]
    text = chooser.choice(texts)
    return [chooser.choice([("SET", text, value), ("GET", text), ("GET", text), ("APPEND", text, value),
                            ("INCR", chooser.choice(counters))])]


def run_client(connection, operations, barrier):
    barrier.wait()
    for operation in operations:
        run_operation(connection, operation)


def run_operation(connection, operation):
    data = encode_operation(operation)
    operation.began = time.monotonic_ns()
    connection.send_raw(data)
    if operation.form != "plain":
        for _ in range(len(operation.commands) + 1):
            connection.read()
    reply = plain(connection.read())
    operation.replies = settled(reply if operation.form in ("multi", "strict") else [reply])
    operation.ended = time.monotonic_ns()


def settled(replies):
    """Errors without the words about the script or the transaction they ended."""
    if isinstance(replies, ReplyError):
        return ReplyError(str(replies).partition(":")[0].partition(" script")[0])
    return [settled(reply) for reply in replies] if isinstance(replies, list) else replies


def as_sent(command):
    return command


def encode_operation(operation):
    data = b"".join(encode(*as_sent(command)) for command in operation.commands)
    before = {"plain": b"", "strict": encode("MULTI", "STRICT")}.get(operation.form, encode("MULTI"))
    return before + data + {"plain": b"", "discard": encode("DISCARD")}.get(operation.form, encode("EXEC"))


def record(connections, chooser, name):
    """One history on fresh keys."""
    keys = ["%s:%s" % (name, key) for key in ("text1", "text2", "count1", "count2")]
    joint = chooser.random() < 0.6
    lanes = [[Operation(c, draw(chooser, c, n, keys, joint)) for n in range(OPERATIONS)] for c in range(CLIENTS)]
    barrier = threading.Barrier(CLIENTS)
    threads = [threading.Thread(target=run_client, args=(connection, lane, barrier), daemon=True)
               for connection, lane in zip(connections, lanes)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    history = [operation for lane in lanes for operation in lane]
    if not all(operation.ended for operation in history):
        raise RuntimeError("a client got no reply")
    return history


# --- mutations that must be rejected -----------------------------------------------------------------

def mutate(history, chooser):
    """Breaks one reply in place; returns what was done, or None if this history offers no chance."""
    kinds = [stale_read, repeated_increment, half_read]
    chooser.shuffle(kinds)
    for kind in kinds:
        operations = list(history)
        chooser.shuffle(operations)
        if any(kind(operation, history) for operation in operations):
            return kind.__name__
    return None


def stale_read(operation, history):
    """A GET that saw something is made to have seen nothing, although a write had ended before it began."""
    if operation.commands[0][0] != "GET" or len(operation.commands) > 1 or operation.replies == [None]:
        return False
    key = operation.commands[0][1]
    wrote = any(other.ended < operation.began and any(key in keys_of(c) and c[0] in ("SET", "APPEND", "MSET")
                for c in other.commands) for other in history)
    if wrote:
        operation.replies = [None]
    return wrote


def repeated_increment(operation, _):
    if operation.commands[0][0] != "INCR" or operation.replies[0] < 2:
        return False
    operation.replies = [operation.replies[0] - 1]
    return True


def half_read(operation, history):
    """An MGET's second value becomes one that no write ever wrote there on its own: b'x'."""
    if operation.commands[0][0] != "MGET":
        return False
    operation.replies = [[operation.replies[0][0], b"x"]]
    return True


def show_unexplained(history):
    """All operations of the parts that no order explains, and where the longest attempt ended."""
    for part in components(history):
        deepest = []
        if search(part, deepest) is False:
            show_all(part)
            placed, items = deepest[-1]
            print("the longest attempt ended with %r, before:" % (items,))
            for operation in [lane[n] for lane, n in zip(lanes_of(part), placed) if n < len(lane)]:
                print("  ", operation, "would be", follow(dict(items), operation))


def show_all(history):
    for operation in sorted(history, key=lambda o: o.began):
        print("  ", operation)


def overlaps(history):
    """Pairs of operations of different clients that overlap in time: a measure of the test itself."""
    return sum(a.began < b.ended and b.began < a.ended for i, a in enumerate(history) for b in history[:i] if a.client != b.client)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--histories", type=int, default=300)
    parser.add_argument("--seed", default=str(random.randrange(10 ** 9)))
    parser.add_argument("--workers", type=int)
    arguments = parser.parse_args()
    chooser = random.Random(arguments.seed)
    sys.setswitchinterval(0.0001)
    began = time.monotonic()
    given_up = rejected = overlapping = 0
    with Server("holdfast", workers=arguments.workers) as server:
        connections = [server.client() for _ in range(CLIENTS)]
        for number in range(arguments.histories):
            history = record(connections, chooser, "h%d" % number)
            overlapping += overlaps(history)
            verdict = linearizable(history)
            given_up += verdict is None
            if verdict is False:
                print("linear: no order explains history %d (seed %s):" % (number, arguments.seed))
                show_unexplained(history)
                return 1
            if verdict and number % 5 == 0:
                kind = mutate(history, chooser)
                if kind and linearizable(history) is not False:
                    print("linear: the checker accepted a mutated history (%s, seed %s)" % (kind, arguments.seed))
                    return 1
                rejected += kind is not None
    print("linear: seed %s, %d histories of %d operations, %d overlapping pairs each, %d given up, "
          "%d mutated ones rejected, %.1f s" % (arguments.seed, arguments.histories, CLIENTS * OPERATIONS,
                                                overlapping // max(1, arguments.histories), given_up, rejected,
                                                time.monotonic() - began))
    if given_up > arguments.histories // 10 or (arguments.histories >= 10 and not rejected):
        print("linear: the test itself is too weak: too many searches given up, or no mutation tried")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
