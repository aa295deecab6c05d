"""conversations.py -- what several connections say and hear, frame by frame, beside redis-server.

Goal:   who waits, listens, watches, caches or is paused hears from holdfast what it hears from redis-server, in the same order.
Method: conversations.txt holds them. Each runs on both servers, and every frame (its type and value) must be the same. Nothing hangs on
        time: a step says how many frames it reads, and waits for them; at the end each connection asks for an echo, so that a frame
        too many is seen, too.
Lines:  "a: WORDS"   connection a sends, and reads a frame for each command; " ;; " stands between commands of one write
             {b} in it is the id of connection b
        "a> WORDS"   only sends
        "a< N"       reads N frames; those of a closed connection are "closed"
        "@waiting N" until INFO says that so many connections wait
        "@until WORDS" until this command, on a connection of its own, replies what it replies on redis-server after the steps before it
Usage:  conversations.py [TEXT]     only those whose title has this text
"""
import os
import re
import sys
import time

from fixtures import words_of
from harness import Server, encode

CONVERSATIONS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "conversations.txt")
WAIT_SECONDS = 30
NOTHING = "nothing came"
END = b"the end of the conversation"
RESET = (("CLIENT", "UNPAUSE"), ("FLUSHALL",), ("FUNCTION", "FLUSH"),
         ("CONFIG", "SET", "maxmemory", "0", "maxmemory-policy", "noeviction", "notify-keyspace-events", "", "tracking-table-max-keys", "1000000"))
# What differs by its nature: versions and numbers of connections.
MASKS = [(rb"\d+\.\d+\.\d+", b"VERSION"), (rb"\bid=\d+|\baddr=[\d.:]+|\bladdr=[\d.:]+|\bfd=\d+|\b(age|idle)=\d+", b"N")]


def conversations():
    """[(title, [line, ...])]"""
    found = []
    for block in re.split(r"\n\s*\n", open(CONVERSATIONS).read()):
        lines = [line for line in block.splitlines() if line.strip()]
        if any(not line.startswith("#") for line in lines):
            found.append((lines[0].lstrip("# "), [line for line in lines if not line.startswith("#")]))
    return found


def masked(frame):
    kind, value = frame
    if isinstance(value, list):
        value = [masked(item) for item in value]
        for i in range(len(value) - 1):     # in HELLO, CLIENT TRACKINGINFO, and of a connection that is gone
            if value[i] in (("$", b"id"), ("$", b"redirect"), ("$", b"tracking-redir-broken")) and value[i + 1][0] == ":" and value[i + 1][1] > 0:
                value[i + 1] = (":", "id")
    elif isinstance(value, bytes):
        for pattern, text in MASKS:
            value = re.sub(pattern, text, value)
    return (kind, value)


class Side:
    def __init__(self, server):
        self.server, self.speakers, self.owed, self.ids = server, {}, {}, {}
        self.admin = server.client()

    def speaker(self, name):
        if name not in self.speakers:
            self.speakers[name], self.owed[name] = self.server.client(timeout=WAIT_SECONDS), 0
            self.ids[name] = self.speakers[name].call("CLIENT", "ID")
        return self.speakers[name]

    def words(self, text):
        return words_of(re.sub(r"\{(\w)\}", lambda who: str(self.speaker(who[1]) and self.ids[who[1]]), text))

    def send(self, name, text):
        commands = [self.words(words) for words in text.split(" ;; ")]
        self.speaker(name).send_raw(b"".join(encode(*words) for words in commands))
        self.owed[name] += len(commands)
        return len(commands)

    def read(self, name, count):
        frames = []
        for _ in range(count):
            try:
                frames.append(masked(self.speaker(name).read()))
            except TimeoutError:
                return frames + [NOTHING]
            except OSError:
                frames.append("closed")
        self.owed[name] -= count
        return frames

    def waiting(self, count):
        wanted = b"blocked_clients:%d\r\n" % count
        deadline = time.monotonic() + WAIT_SECONDS
        while wanted not in self.admin.call("INFO", "clients"):
            if time.monotonic() > deadline:
                return "not %d wait" % count
            time.sleep(0.002)
        return None

    def end(self):
        """What each one that waits for nothing hears before its echo; then all is as before."""
        heard = {}
        for name, client in self.speakers.items():
            heard[name] = []
            try:
                if self.owed[name] <= 0:
                    client.send("PING", END)
                while self.owed[name] <= 0 and END not in repr(heard[name][-1:]).encode():
                    heard[name].append(masked(client.read()))
            except OSError:
                heard[name].append("closed")
            client.close()
        self.speakers, self.owed = {}, {}
        self.admin.pipeline(RESET)
        return heard


def step(side, line):
    name, kind, rest = re.fullmatch(r"(@?\w+)([:><]?) ?(.*)", line).groups()
    if name == "@waiting":
        return side.waiting(int(rest))
    if kind == ":":
        return side.read(name, side.send(name, rest))
    if kind == ">":
        side.send(name, rest)
        return None
    return side.read(name, int(rest))


def until(sides, text):
    """Of what both come to by themselves, as the end of a deadline."""
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        replies = [masked(side.admin.wire(*side.words(text))) for side in sides]
        if replies[0] == replies[1] or time.monotonic() > deadline:
            return replies
        time.sleep(0.005)


def differences(title, lines, sides):
    found = []
    for line in lines:
        if line.startswith("@until "):
            theirs, ours = until(sides, line[len("@until "):])
        else:
            theirs, ours = [step(side, line) for side in sides]
        if theirs != ours or NOTHING in (theirs or ()):
            found.append("%s: %s\n  redis:    %r\n  holdfast: %r" % (title, line, theirs, ours))
            break       # what follows differs for this reason
    theirs, ours = [side.end() for side in sides]
    if theirs != ours and not found:
        found.append("%s, at the end\n  redis:    %r\n  holdfast: %r" % (title, theirs, ours))
    return found


def main():
    chosen = [(title, lines) for title, lines in conversations() if len(sys.argv) < 2 or sys.argv[1] in title]
    found = []
    with Server("redis") as peer, Server("holdfast", extra=["--enable-debug-command", "yes"]) as server:
        sides = [Side(peer), Side(server)]
        for title, lines in chosen:
            found += differences(title, lines, sides)
    for line in found:
        print(line)
    print("conversations: %d, %d differences" % (len(chosen), len(found)))
    return 1 if found or not chosen else 0


if __name__ == "__main__":
    sys.exit(main())
