"""events.py -- keyspace events beside redis-server 7.0.15: which command tells what, in which order.

Goal:   the same commands publish the same events, of all classes (n: a new key, m: a key that a read did not find), and count the
        same hits and misses.
Method: the random commands of the oracle, each followed by a marker that is published by the same connection; what a subscriber to all
        events hears between two markers belongs to the command between them. Left out: commands that choose by chance or wait, and
        what expires by itself, which is told when it happens and not by a command. A difference is printed with the commands
        that used its keys before.
Usage:  events.py [--commands 12000] [--seed S] [--skip CMD,CMD] [--keep-going]
"""
import argparse
import random
import sys

from harness import Server, encode
from oracle_compare import SOLO
from oracle_generate import Generator

EPOCH = 1500
BATCH = 30
MARKER = b"marker"
# By chance, about the server, connections or scripts (tests of their own), or waiting.
LEFT_OUT = {b"SPOP", b"MULTI", b"EXEC", b"DISCARD", b"WATCH", b"UNWATCH", b"RESET", b"QUIT", b"HELLO", b"CLIENT", b"CONFIG", b"SUBSCRIBE",
            b"UNSUBSCRIBE", b"PSUBSCRIBE", b"PUNSUBSCRIBE", b"SSUBSCRIBE", b"SUNSUBSCRIBE", b"PUBLISH", b"SPUBLISH", b"MONITOR",
            b"SHUTDOWN", b"REPLICAOF", b"SLAVEOF", b"FAILOVER", b"ACL", b"AUTH", b"DEBUG", b"FUNCTION", b"FCALL", b"FCALL_RO", b"WAIT",
            b"SAVE", b"BGSAVE", b"LASTSAVE", b"SLOWLOG", b"RANDOMKEY", b"SCRIPT", b"EVALSHA", b"EVALSHA_RO", b"INFO", b"LATENCY"} | SOLO
BLOCKS = {b"BLPOP", b"BRPOP", b"BRPOPLPUSH", b"BLMOVE", b"BLMPOP", b"BZPOPMIN", b"BZPOPMAX", b"BZMPOP", b"BLOCK"}
LIFETIMES = {b"EX", b"PX", b"EXPIRE", b"PEXPIRE", b"SETEX", b"PSETEX", b"RESTORE"}
SOON = 10000    # below this a key may be gone on one side and not yet on the other
EXPIRES = {b"expired", b"hexpired"}


class Side:
    def __init__(self, kind):
        self.server = Server(kind)
        self.server.start()
        self.client = self.server.client()
        self.client.call("CONFIG", "SET", "notify-keyspace-events", "KEAnm")
        self.hearer = self.server.client()
        self.hearer.send("PSUBSCRIBE", "__key*__:*", "marker")
        for _ in range(2):
            self.hearer.read()

    def run(self, commands):
        """Of each command its reply, and the events that it made."""
        self.client.send_raw(b"".join(encode(*words) + encode("PUBLISH", MARKER, "") for words in commands))
        replies, events = [], []
        for _ in commands:
            replies.append(self.client.read())
            self.client.read()
            heard = []
            while True:
                _, channel, payload = [value for _, value in self.hearer.read()[1]][1:]
                if channel == MARKER:
                    break
                heard.append((channel, payload))
            events.append([e for e in heard if e[1] not in EXPIRES and e[0].rsplit(b":", 1)[-1] not in EXPIRES])
        return replies, events

    def lookups(self):
        fields = dict(line.split(":", 1) for line in self.client.call("INFO", "stats").decode().split("\r\n") if ":" in line)
        return int(fields["keyspace_hits"]), int(fields["keyspace_misses"])


def depends_on_time(words):
    known = {word.upper() for word in words}
    return known & BLOCKS or (known & LIFETIMES and any(word.isdigit() and 0 < int(word) < SOON for word in words[2:]))


def drawn(generator, count, skip):
    steps = []
    while len(steps) < count:
        words = generator.command()
        if words[0].upper() not in LEFT_OUT | skip and not depends_on_time(words):
            steps.append(words)
    return steps


def run_epoch(sides, steps):
    """Differences: the step, and what either side heard."""
    found = []
    for side in sides:
        side.client.call("SELECT", 0)
        side.client.call("FLUSHALL")
    for start in range(0, len(steps), BATCH):
        batch = steps[start:start + BATCH]
        before, refused = [side.lookups() for side in sides], False
        (ours, our_events), (theirs, their_events) = [side.run(batch) for side in sides]
        for i, words in enumerate(batch):
            if theirs[i][0] == "-":
                refused = True
                continue    # what is refused may have looked before or after it was refused
            in_order = sorted if words[0].upper() in (b"SORT", b"SORT_RO") else list    # elements of a set have none
            if in_order(our_events[i]) != in_order(their_events[i]):
                found.append((start + i, our_events[i], their_events[i]))
        moved = [tuple(b - a for a, b in zip(old, side.lookups())) for old, side in zip(before, sides)]
        if moved[0] != moved[1] and not refused and not found:
            found.append((start, "hits and misses of %d commands: %r" % (len(batch), moved[0]), "%r" % (moved[1],)))
    return found


def show(words):
    return " ".join(repr(word)[2:-1] if len(word) < 40 else repr(word[:20])[2:-1] + "..." for word in words)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--commands", type=int, default=12000)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    parser.add_argument("--skip", default="")
    parser.add_argument("--keep-going", action="store_true")
    arguments = parser.parse_args()
    skip = {word.upper().encode() for word in arguments.skip.split(",") if word}
    sides = [Side("holdfast"), Side("redis")]
    differences, kinds = 0, {}
    for epoch in range((arguments.commands + EPOCH - 1) // EPOCH):
        steps = drawn(Generator(arguments.seed, epoch), EPOCH, skip)
        for at, ours, theirs in run_epoch(sides, steps):
            differences += 1
            name = steps[at][0].upper()
            kinds[name] = kinds.get(name, 0) + 1
            if kinds[name] > (2 if arguments.keep_going else 1):
                continue
            print("events: epoch %d, step %d: %s\n  holdfast: %s\n  redis:    %s" % (epoch, at, show(steps[at]), ours, theirs))
        if differences and not arguments.keep_going:
            break
    for side in sides:
        side.server.stop()
    if differences:
        print("repeat: tests/blackbox/events.py --seed %d --commands %d" % (arguments.seed, arguments.commands))
        print({name.decode(): count for name, count in kinds.items()})
    print("events: %d commands, %d differences" % (arguments.commands, differences))
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
