"""acl_file.py -- ACL LOAD and ACL SAVE of an aclfile, as redis-server does them.

Goal:   a file of users means the same: what of it is refused, with which words and lines, who the users are then, what ACL SAVE
        writes; nothing of a refused file counts.
Method: both servers get the same generated files, good and broken in places: duplicates, the default user, comments, CR LF, blanks,
        selectors, hashes, unknown commands, long lines; after each ACL LOAD the answer, ACL LIST and sometimes the saved file are
        compared. One rule for commands at a time: redis-server tells several in the order of its table.
Usage:  acl_file.py [--rounds N] [--seed S]
"""
import argparse
import os
import random
import sys

from harness import Server, temp_dir

PLACE = "/dev/shm/holdfast-test-" if os.access("/dev/shm", os.W_OK) else "holdfast-test-"     # hundreds of fsyncs
ROOT = b"user root on >root ~* &* +@all"     # who asks: anybody else may have lost the right
NAMES = [b"ann", b"bob", b"Zed", b"default", b"default", b"a\"b", b"x'y", b"#z", b"\xc3\xa9", b"n" * 255, b"user", b"ann,", b"-"]
RULES = [b"on", b"off", b"nopass", b"resetpass", b">one", b">two", b"<one", b"<none", b"#" + b"ab" * 32, b"!" + b"ab" * 32, b"#" + b"AB" * 32, b"#short", b"!x",
         b"~a*", b"~b", b"~*", b"allkeys", b"resetkeys", b"%R~r", b"%W~w", b"%~x", b"%R", b"%X~y", b"&ch", b"&*", b"allchannels", b"resetchannels",
         b"+get", b"-@all", b"+@nosuch", b"+nosuch", b"-nosuch|x", b"+config|nosuch", b"+get|key", b"+select|0", b"reset", b"clearselectors",
         b"sanitize-payload", b"skip-sanitize-payload", b"(+get ~s*)", b"(%R~x &c)", b"()", b"(+nosuch ~x)", b"(~open", b"~close)", b"(on)",
         b"bogus", b"ON", b"\"quoted\"", b"~\xff\x01", b"#", b">", b"~", b"&", b"#no comment", b"~" + b"k" * 5000, b"+@all", b"nocommands"]
GOOD = [b"on", b"off", b"nopass", b">one", b"#" + b"ab" * 32, b"~a*", b"%R~r", b"&ch", b"+get", b"(+get ~s*)", b"(%W~x &c -@all)", b"sanitize-payload",
        b"skip-sanitize-payload", b"resetkeys", b"reset", b"resetchannels"]
LINES = [b"", b"", b"  ", b"\t", b"  \t ", b"user", b"user ", b"USER ann on", b"foo bar", b"useron", b"\x01", b"\"user\" ann on", b"user ann on # no comment",
         b"user ann on \r", b"\xef\xbb\xbfuser ann on", b"user root on"]


def expect(found, wanted, what):
    if found != wanted:
        raise AssertionError("%s\n  holdfast:     %.1500r\n  redis-server: %.1500r" % (what, found, wanted))


def user_line(rng, rules):
    chosen = [rng.choice(rules) for _ in range(rng.randrange(6))]
    commands = [rule for rule in chosen if rule[:1] in (b"+", b"-") or rule == b"nocommands"]
    chosen = [rule for rule in chosen if rule not in commands or rule is commands[0]]
    if b"(~open" in chosen:     # behind another rule it ends redis-server 7.0
        chosen = [b"(~open"] + [rule for rule in chosen if not rule.startswith(b"(")]
    return rng.choice([b"", b"", b"\t  "]) + b" ".join([b"user", rng.choice(NAMES[:5] * 3 + NAMES)] + chosen) + rng.choice([b"", b"", b" ", b"\t"])


def file_text(rng):
    lines = [user_line(rng, GOOD if rng.random() < 0.7 else RULES) for _ in range(rng.randrange(5))]
    if rng.random() < 0.5:
        lines += [rng.choice(LINES[:5] if rng.random() < 0.5 else LINES) for _ in range(rng.randrange(4))]
    rng.shuffle(lines)
    lines.insert(rng.randrange(len(lines) + 1), ROOT)
    return rng.choice([b"\n", b"\n", b"\r\n"]).join(lines) + rng.choice([b"", b"\n", b"\n\n"])


class Side:
    def __init__(self, kind):
        self.directory = temp_dir(PLACE)
        self.path = os.path.join(self.directory, "users.acl")
        self.write(ROOT)
        self.server = Server(kind, extra=["--aclfile", self.path])
        self.server.start()
    def write(self, text):
        with open(self.path, "wb") as file:
            file.write(text)

    def read(self):
        with open(self.path, "rb") as file:
            return file.read()

    def ask(self, *words):
        """As root, over a connection of its own."""
        client = self.server.client()
        assert client.call("AUTH", "root", "root") == b"OK"
        kind, value = client.wire(*words)
        client.close()
        return kind, value.replace(self.directory.encode(), b"DIR") if isinstance(value, bytes) else value


def same(sides, what, ask):
    """What both answer."""
    theirs, ours = (ask(side) for side in sides)
    expect(ours, theirs, what)
    return theirs


def loads(rng, rounds):
    sides, taken = [Side("redis"), Side("holdfast")], 0
    for n in range(rounds):
        text = file_text(rng)
        what = "round %d, of\n%s" % (n, text.decode("latin-1")[:3000])
        for side in sides:
            side.write(text)
        answer = same(sides, what, lambda side: side.ask("ACL", "LOAD"))
        taken += answer[0] == "+"
        same(sides, what, lambda side: side.ask("ACL", "LIST"))
        if rng.random() < 0.5:
            same(sides, what, lambda side: side.ask("ACL", "SAVE"))
            same(sides, what + "\n what ACL SAVE wrote", Side.read)
    for side in sides:
        side.server.stop()
    if not rounds // 4 < taken < rounds * 3 // 4:
        raise AssertionError("%d of %d files were taken: too many are alike" % (taken, rounds))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=400)
    parser.add_argument("--seed", type=int, default=None)
    arguments = parser.parse_args()
    seed = arguments.seed if arguments.seed is not None else random.randrange(1 << 32)
    print("repeat: tests/blackbox/acl_file.py --rounds %d --seed %d" % (arguments.rounds, seed))
    loads(random.Random(seed), arguments.rounds)
    print("acl_file: %d files: the same" % arguments.rounds)


if __name__ == "__main__":
    sys.exit(main())
