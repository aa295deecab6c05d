"""getkeys.py -- COMMAND GETKEYS and GETKEYSANDFLAGS of any words are what redis-server 7.0.15 says.

Method: random words behind the name of each command that Redis has: options, keys, and numbers of keys that are none, too large, negative or
        written in odd ways; of containers also without a subcommand or with one that is none. Raw replies are compared. A few that chance
        finds late stand as lines.
Usage:  getkeys.py [--seed S] [--calls N]
"""
import argparse
import random
import sys

from harness import Server

NUMBERS = ["0", "1", "2", "3", "-1", "4", "100", "9223372036854775807", "2147483648", "4294967297", "4294967296", "abc", "", " 1", "01", "1.0", "+1",
           "-9223372036854775808", "99999999999999999999999", "\t2x"]
WORDS = ["STORE", "store", "STREAMS", "streams", "KEYS", "keys", "BY", "GET", "LIMIT", "COUNT", "STOREDIST", "AUTH", "AUTH2", "WEIGHTS", "GROUP", "BLOCK",
         "LEFT", "MIN", "REPLACE", "COPY", "#", "ASC", "NOACK", "LEN", "EX", "u8", "SET", "INCRBY"]
KEYS = ["k1", "k2", "k3", "k4", "k5", ""]
LINES = ["xread STREAMS a b c", "xread BLOCK STREAMS a b", "xread STREAMS STREAMS a b", "xreadgroup GROUP g c STREAMS a b c", "xreadgroup STREAMS a b c d e",
         "migrate a b k c d KEYS", "migrate a b k c d KEYS a", "migrate a b k c d AUTH KEYS KEYS a b", "sort k GET STORE a", "sort k LIMIT STORE 1 STORE b",
         "sort k STORE a STORE b", "georadius k 1 2 3 m STORE a STOREDIST b", "pfmerge k", "eval s", "config", "xgroup", "object", "memory usage", "nosuch"]
NEWER = {"zrank": 4, "zrevrank": 4}     # they take so many words and more since 7.2
BATCH = 200


def calls(chooser, names, subcommands, count):
    for line in LINES:
        for how in ("GETKEYS", "GETKEYSANDFLAGS"):
            yield ["COMMAND", how] + line.split(" ")
    while count > 0:
        name = chooser.choice(names) if chooser.random() < 0.98 else chooser.choice(["nosuch", "", "config|get"])
        words = [name]
        if subcommands.get(name) and chooser.random() < 0.9:
            words.append(chooser.choice(subcommands[name] + ["nosuch"]))
        words += [chooser.choice(chooser.choice([NUMBERS, WORDS, KEYS, KEYS])) for _ in range(chooser.randrange(9))]
        if len(words) < NEWER.get(name, len(words) + 1):
            count -= 1
            yield ["COMMAND", chooser.choice(["GETKEYS", "GETKEYSANDFLAGS"])] + words


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", default=str(random.randrange(10 ** 9)))
    parser.add_argument("--calls", type=int, default=20000)
    arguments = parser.parse_args()
    with Server("redis") as peer, Server("holdfast") as server:
        theirs, ours = peer.client(), server.client()
        rows = {row[0].decode(): [sub[0].decode().split("|")[1] for sub in row[9]] for row in theirs.call("COMMAND")}
        del rows["module"]      # there are none
        asked = list(calls(random.Random(arguments.seed), sorted(rows), rows, arguments.calls))
        for first in range(0, len(asked), BATCH):
            batch = asked[first:first + BATCH]
            for words in batch:
                theirs.send(*words)
                ours.send(*words)
            for words in batch:
                wanted, got = theirs.read(), ours.read()
                assert got == wanted, "seed %s: %s\n  redis    %s\n  holdfast %s" % (arguments.seed, words, wanted, got)
    print("getkeys: seed %s, %d calls, 0 differences" % (arguments.seed, len(asked)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
