"""linear_mixed.py -- are concurrent histories of all types, MULTI, WATCH, Lua and waiting commands strictly serializable?

Goal:   as linear.py, for strings, lists, hashes, sets, sorted sets and streams with groups, for MULTI, optimistic and strict ones too,
        for scripts that touch several keys, declared and not, and for commands that wait for several keys: there is one order of all operations
        that explains every reply and respects real time. In it, EXEC answers nil exactly when something watched has changed, a key may go
        at any time after its deadline and never comes back, and who waits is served as soon as there is something, the first first.
Method: CLIENTS threads at once, few operations on few keys: linear_draw.py draws them, a theme for each history. The search is linear.py's,
        with the model of linear_model.py. A waiting command takes effect at one point between its call and its reply: where it would find
        nothing it has no place yet. INFO tells how many wait, hence when all who may; a feeder gives them something until nobody waits any more.
Check:  mutated histories must be rejected (linear_mutate.py). script/bugs sows faults into the product that it must notice.
Usage:  linear_mixed.py [--histories 150] [--seed S] [--workers N] [--theme T,T] [--seconds S] [--peer]
"""
import argparse
import random
import re
import sys
import threading
import time

import linear
import linear_model
from harness import Server
from linear_draw import KEYS, STREAMS, THEMES, draw, feed, undeclared, waits_first
from linear_mutate import MUTATIONS, mutate

CLIENTS = 8
OPERATIONS = 8
CONFIGURATIONS_MAX = 30000  # then a search is given up
FEEDS_MAX = 500
STUCK_SECONDS = 30
EARLY = ("waits", "streams", "scripts")     # themes in which some wait before the others begin

linear.as_sent = undeclared
linear.use_model(linear_model)


class Feeder:
    """One more client, which sees who waits and feeds them."""

    def __init__(self, connections, lanes, k):
        self.connection, self.lanes, self.k = connections[CLIENTS], lanes, k
        self.done, self.rounds, self.started = [], 0, 0

    def heads(self):
        return [next((operation for operation in lane if not operation.ended), None) for lane in self.lanes[:self.started]]

    def look(self):
        """Marks those who are seen to wait now: if nobody gets on meanwhile, and all who may wait are counted."""
        heads = self.heads()
        maybe = [head for head in heads if head and head.form == "plain" and head.commands[0][0] in linear_model.WAITING]
        if not maybe or all(head.waits_since for head in maybe):
            return
        waiting = int(re.search(rb"blocked_clients:(\d+)", self.connection.call("INFO", "clients")).group(1))
        now = time.monotonic_ns()
        if waiting == len(maybe) and heads == self.heads():
            for head in maybe:
                head.waits_since = head.waits_since or now

    def feed(self):
        """If everybody who is not through waits."""
        heads = [head for head in self.heads() if head]
        if not all(head.waits_since for head in heads):
            return
        keys = sorted({key for head in heads for key in linear_model.waits_for(head.commands[0])})
        for operation in feed(keys, self.k, self.rounds, CLIENTS):
            linear.run_operation(self.connection, operation)
            self.done.append(operation)
        self.rounds += 1
        if self.rounds > FEEDS_MAX:
            raise RuntimeError("a client waits although there is something for it")


def start(feeder, connections, early):
    """The first lanes begin one after the other, each when the one before is known to wait; the others at once."""
    barrier = threading.Barrier(CLIENTS - early)
    threads = [threading.Thread(target=linear.run_client, args=(connection, lane, barrier if c >= early else threading.Barrier(1)), daemon=True)
               for c, (connection, lane) in enumerate(zip(connections, feeder.lanes))]
    for c, thread in enumerate(threads):
        thread.start()
        feeder.started = c + 1
        end = time.monotonic() + STUCK_SECONDS
        while c < early and not feeder.lanes[c][0].waits_since:
            feeder.look()
            if time.monotonic() > end:
                raise RuntimeError("a client does not wait, although there is nothing for it: %r" % feeder.lanes[c][0])
    return threads


def record(connections, chooser, name, theme):
    k = {key: "%s:%s" % (name, key) for key in KEYS}
    lanes = [draw(chooser, theme, c, OPERATIONS, k) for c in range(CLIENTS)]
    early = 2 if theme == "turns" else chooser.choice([0, 2, 3]) if theme in EARLY else 0
    for c in range(early):
        lanes[c].insert(0, waits_first(chooser, theme, c, k))
    feeder = Feeder(connections, lanes, k)
    if theme == "streams":
        for stream in STREAMS:
            feeder.connection.call("XGROUP", "CREATE", k[stream], "g", 0, "MKSTREAM")
    threads = start(feeder, connections, early)
    left, moved = 0, time.monotonic()
    while alive := [thread for thread in threads if thread.is_alive()]:
        alive[0].join(0.003)
        feeder.look()
        feeder.feed()
        before, left = left, sum(not operation.ended for lane in lanes for operation in lane)
        moved = time.monotonic() if left != before else moved
        if time.monotonic() > moved + STUCK_SECONDS:
            raise RuntimeError("nothing moves: %s" % feeder.heads())
    history = [operation for lane in lanes + [feeder.done] for operation in lane]
    if not all(operation.ended for operation in history):
        raise RuntimeError("a client got no reply")
    return history


class Tally:
    """Of a run."""

    def __init__(self):
        self.histories = self.overlapping = self.given_up = self.nil_execs = self.execs = self.undone = self.strict = self.waits = 0
        self.rejected = {}

    def count(self, history, verdict):
        self.histories += 1
        self.overlapping += linear.overlaps(history)
        self.given_up += verdict is None
        for operation in history:
            self.execs += operation.form == "multi" and bool(operation.joins)
            self.nil_execs += operation.form == "multi" and operation.replies is None
            self.strict += operation.form == "strict"
            self.undone += operation.form == "strict" and not isinstance(operation.replies, list)
            self.waits += operation.waits_since > 0

    def __str__(self):
        return ("%d histories, %d overlapping pairs each, %d given up, %d of %d watched EXEC nil, %d of %d strict undone, %d seen to wait, mutated ones rejected: %s"
                % (self.histories, self.overlapping // max(1, self.histories), self.given_up, self.nil_execs, self.execs, self.undone, self.strict, self.waits,
                   ", ".join("%s %d" % item for item in sorted(self.rejected.items()))))


def explained(history):
    linear_model.note_outcomes(history)
    return linear.linearizable(history)


def check(connections, chooser, tally, name, theme, seed):
    """One history. False: said why."""
    history = record(connections, chooser, name, theme)
    verdict = explained(history)
    tally.count(history, verdict)
    if verdict is False:
        print("linear_mixed: no order explains history %s (%s, seed %s):" % (name, theme, seed))
        linear.show_unexplained(history)
        return False
    if verdict and chooser.random() < 0.5:
        kind = mutate(history, chooser, tally.rejected)
        answer = explained(history) if kind else None
        if answer:
            print("linear_mixed: the checker accepted a mutated history (%s, seed %s)" % (kind, seed))
            linear.show_all(history)
            return False
        if answer is False:
            tally.rejected[kind] = tally.rejected.get(kind, 0) + 1
    return True


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--histories", type=int, default=150)
    parser.add_argument("--seed", default=str(random.randrange(10 ** 9)))
    parser.add_argument("--workers", type=int)
    parser.add_argument("--theme", default="", help="only these")
    parser.add_argument("--seconds", type=float, default=1e9, help="at most")
    parser.add_argument("--peer", action="store_true", help="on redis-server: a test of the test")
    arguments = parser.parse_args()
    themes = [t for t in THEMES if not (arguments.peer and t == "strict")] if not arguments.theme else arguments.theme.split(",")
    chooser, tally, began = random.Random(arguments.seed), Tally(), time.monotonic()
    sys.setswitchinterval(0.0001)
    with Server("redis" if arguments.peer else "holdfast", workers=arguments.workers) as server:
        connections = [server.client() for _ in range(CLIENTS + 1)]
        for number in range(arguments.histories):
            if time.monotonic() - began > arguments.seconds:
                break
            if not check(connections, chooser, tally, "h%d" % number, themes[number % len(themes)], arguments.seed):
                return 1
    print("linear_mixed: seed %s, %s, %.1f s" % (arguments.seed, tally, time.monotonic() - began))
    if tally.given_up > tally.histories // 10 or (tally.histories >= 100 and not arguments.theme and len(tally.rejected) < len(MUTATIONS)):
        print("linear_mixed: the test itself is too weak: too many searches given up, or a mutation that was never rejected")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
