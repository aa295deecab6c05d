"""fixtures.py -- sequences on which holdfast and redis-server once differed.

Goal:   a difference that was mended stays mended.
Method: fixtures.txt holds them in their shortest form; each runs on both servers, from empty databases, in RESP2 and in
        RESP3, and every reply must be the same to the byte.
Usage:  fixtures.py [TEXT]      only the sequences whose first line has this text
"""
import os
import re
import shlex
import sys

from harness import Server

FIXTURES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "fixtures.txt")


def words_of(line):
    return [word.encode("latin-1").decode("unicode_escape").encode("latin-1") for word in shlex.split(line)]


def sequences():
    """[(title, [words, ...])]"""
    found = []
    for block in re.split(r"\n\s*\n", open(FIXTURES).read()):
        lines = [line for line in block.splitlines() if line.strip()]
        commands = [words_of(line) for line in lines if not line.startswith("#")]
        if commands:
            found.append((lines[0].lstrip("# "), commands))
    return found


def differences(title, commands, clients):
    lines = []
    for words in commands:
        wanted, found = (client.wire(*words) for client in clients)
        if wanted != found:
            lines.append("%s: %s\n  redis:    %r\n  holdfast: %r" % (title, b" ".join(words).decode("latin-1"), wanted, found))
    for client in clients:
        client.call("FLUSHALL")
    return lines


def main():
    chosen = [(title, commands) for title, commands in sequences() if len(sys.argv) < 2 or sys.argv[1] in title]
    lines = []
    with Server("redis") as peer, Server("holdfast") as server:
        for version in (2, 3):
            clients = [peer.client(resp=version), server.client(resp=version)]
            for title, commands in chosen:
                lines += differences("RESP%d, %s" % (version, title), commands, clients)
    for line in lines:
        print(line)
    print("fixtures: %d sequences, %d differences" % (len(chosen), len(lines)))
    return 1 if lines or not chosen else 0


if __name__ == "__main__":
    sys.exit(main())
