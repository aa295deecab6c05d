"""migrate.py -- MIGRATE moves keys between servers, loses none, and holds up only those who want to change what moves.

Goal:   values, deadlines and errors are as with redis-server, both ways; the worker serves others while the target is slow; a change
        meanwhile waits or is sent after; kill -9 of either side leaves every key on one of them.
Method: the same words to holdfast and redis-server, with targets that are played here line by line (silent, closing, refusing,
        nonsense) and real ones; a target that answers when it is told to, so that what happens in between is decided and not timed.
Usage:  migrate.py [check ...]
"""
import random
import socket
import sys
import threading
import time

from dump import make, value_of
from harness import Checks, Played, ReplyError, Server, plain

HOST = "127.0.0.1"
WAIT_SECONDS = 30


def expect(got, wanted, what):
    assert got == wanted, "%s: %.600r, not %.600r" % (what, got, wanted)


def until(what, condition):
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "waited too long: %s" % what
        time.sleep(0.005)


class Target(Played):
    """answer(words) for each command that arrives; None closes the connection."""

    def __init__(self, answer):
        self.answer, self.commands = answer, []
        super().__init__(self.converse)

    def converse(self, peer):
        file = peer.makefile("rb")
        try:
            while True:
                head = file.readline()
                if not head:
                    return
                words = []
                for _ in range(int(head[1:])):
                    words.append(file.read(int(file.readline()[1:]) + 2)[:-2])
                self.commands.append(words)
                reply = self.answer(words)
                if reply is None:
                    peer.shutdown(socket.SHUT_RDWR)
                    return
                peer.sendall(reply)
        except (OSError, ValueError):
            pass

    def names(self):
        return [words[0] for words in self.commands]


def script(*lines):
    """Answers in order, the last one again and again; a number closes."""
    lines = list(lines)

    def answer(_):
        line = lines.pop(0) if len(lines) > 1 else lines[0]
        return None if isinstance(line, int) else line
    return answer


def check_errors(mine, peer):
    """Words that are refused, and targets that answer badly: as redis-server, and the same keys stay."""
    with Server("redis") as target:
        ports = {"T": target.port, "R": 1}
        words = ["T k 0 100", "T k x 100", "T k 0 x", "T k 0", "T k 0 1 foo", "T k 0 1 AUTH", "T k 0 1 AUTH2 a", "T k 0 1 KEYS k", "T '' 0 1 KEYS",
                 "R k 0 500", "x k 0 500", "T k 99 1000", "T k 0 1000 AUTH pw REPLACE", "T k 0 1000 AUTH2 u pw", "T k 0 1000", "T k 0 1000",
                 "T k 0 -5 COPY REPLACE", "T '' 0 1000 copy replace keys k k nothing list", "T '' 3 0 KEYS k list", "T '' 3 0 KEYS k list", "T '' 0 1000",
                 "T '' 1 5 KEYS k k"]
        seen = []
        for server in (mine, peer):
            target.client().call("FLUSHALL")
            client, said = server.client(), []
            for line in words:
                client.pipeline([("DEL", "list"), ("SET", "k", "v"), ("RPUSH", "list", "a", "b")])
                given = ["" if word == "''" else ports.get(word, word) for word in line.split()]
                said.append((line, client.wire("MIGRATE", HOST, *given), sorted(client.call("KEYS", "*"))))
            said.append(("held at the target", [sorted(other(target, n).call("KEYS", "*")) for n in (0, 1, 3)]))
            seen.append(said)
        for got, wanted in zip(*seen):
            expect(got, wanted, got[0])


def other(server, database):
    client = server.client()
    client.call("SELECT", database)
    return client


def check_played(mine, peer):
    ok, no = b"+OK\r\n", b"-ERR no\r\n"
    plays = [("silent", [b""], "k", 100), ("closes", [0], "k"), ("half", [ok, b""], "k", 100), ("taken", [ok, ok], "k"),
             ("refuses the database", [no, ok], "k"), ("refuses", [ok, no], "k"), ("closes after", [ok, 0], "k"),
             ("in pieces", [b"+O", b"K\r\n+OK\r\n"], "k"), ("first only", [ok, ok, b""], "k k2", 100),
             ("first, then closes", [ok, ok, 0], "k k2"), ("refuses the first", [ok, b"-BUSYKEY x\r\n", ok], "k k2"),
             ("refuses the second", [ok, ok, b"-BAD\r\n"], "k k2"), ("refuses both", [ok, no, b"-BAD\r\n"], "k k2"),
             ("long", [ok, b"-" + b"x" * 3000 + b"\r\n"], "k"), ("without CR", [b"+OK\n"], "k")]
    for name, answers, keys, *timeout in plays:
        seen = []
        for server in (mine, peer):
            target = Target(script(*answers))
            client = server.client()
            client.call("FLUSHALL")
            client.call("MSET", "k", "v", "k2", "w")
            said = client.wire("MIGRATE", HOST, target.port, "", 0, *(timeout or [20000]), "KEYS", *keys.split())
            seen.append((said, sorted(client.call("KEYS", "*")), len(target.connections)))
            target.close()
        expect(seen[0], seen[1], name)
    client = mine.client()
    for line in (b"HTTP/1.1 400 Bad Request\r\n", b"\r\n", b"$3\r\nabc\r\n", b":1\r\n"):   # redis-server takes these for success
        target = Target(script(line))
        client.call("MSET", "k", "v")
        expect(client.wire("MIGRATE", HOST, target.port, "k", 0, 400), ("-", b"IOERR error or timeout reading to target instance"), line)
        expect(client.call("GET", "k"), b"v", line)
        target.close()


def check_values(mine, peer):
    """Values of all types, both ways and between two of holdfast, with their deadlines."""
    rng = random.Random(5)
    with Server("holdfast", durability="commit") as third:
        for source, target in ((mine, peer), (peer, mine), (mine, third), (third, mine)):
            a, b = source.client(), target.client()
            a.call("FLUSHALL")
            b.call("FLUSHALL")
            keys = [b"key:%d" % n for n in range(7)]
            for n, key in enumerate(keys):
                a.pipeline(make(rng, key))
                if n % 3 == 0:
                    a.call("PEXPIREAT", key, 4000000000000 + n)
            wanted = {key: value_of(a, key) for key in keys}
            expect(a.wire("MIGRATE", HOST, target.port, "", 0, 20000, "COPY", "KEYS", *keys), ("+", b"OK"), "copy")
            expect({key: value_of(a, key) for key in keys}, wanted, "the source after COPY")
            expect(a.wire("MIGRATE", HOST, target.port, "", 0, 20000, "REPLACE", "KEYS", *keys), ("+", b"OK"), "move")
            expect({key: value_of(b, key) for key in keys}, wanted, "moved")
            expect(a.call("DBSIZE"), 0, "what is left")
            for n, key in enumerate(keys):
                at = b.call("PEXPIRETIME", key)
                assert (abs(at - 4000000000000 - n) < 20000) if n % 3 == 0 else at == -1, (key, at)


def check_large(mine, peer):
    """More than sockets hold, in pieces; and one value of many."""
    a, b = mine.client(), peer.client()
    a.call("SET", "large", bytes(range(256)) * 40000)
    for n in range(4):
        a.call("RPUSH", "list", *["element %d of %d" % (i, n) for i in range(5000)])
    digest = a.call("LRANGE", "list", 0, -1)
    expect(a.wire("MIGRATE", HOST, peer.port, "", 7, 30000, "KEYS", "large", "list"), ("+", b"OK"), "large values")
    b.call("SELECT", 7)
    expect((b.call("GET", "large"), b.call("LRANGE", "list", 0, -1)), (bytes(range(256)) * 40000, digest), "large values")


class Gate:
    """A target that takes what it is sent when it is told to."""

    def __init__(self):
        self.opened = threading.Event()
        self.target = Target(self.answer)

    def answer(self, words):
        if words[0] == b"RESTORE":
            self.opened.wait(WAIT_SECONDS)
        return b"+OK\r\n"

    def arrived(self, count=1):
        until("the target has been asked", lambda: self.target.names().count(b"RESTORE") >= count)


def check_holds(_mine, _peer):
    """While a target is silent: the worker goes on, reads and other keys too, writers of the key wait and come after it."""
    with Server("holdfast", workers=1) as server:
        mover, writer, reader = (server.client() for _ in range(3))
        mover.pipeline([("SET", "n", 5), ("RPUSH", "l", "a"), ("SET", "m", 1)])
        gate = Gate()
        mover.send("MIGRATE", HOST, gate.target.port, "", 0, 60000, "KEYS", "n", "l")
        gate.arrived()
        writer.send("INCR", "n")
        expect(reader.call("GET", "n"), b"5", "a read meanwhile")
        expect(reader.call("INCR", "m"), 2, "another key")
        expect(reader.call("LRANGE", "l", 0, -1), [b"a"], "a read meanwhile")
        expect(reader.call("EXISTS", "n", "l"), 2, "nothing goes before the target has it")
        gate.opened.set()
        expect(mover.read(), ("+", b"OK"), "the move")
        expect(writer.read(), (":", 1), "the writer finds it gone")
        expect(reader.call("EXISTS", "l"), 0, "both moved")
        gate.target.close()


def check_changed(mine, _peer):
    """A script that did not name the key, and FLUSHALL, are not held: what they left goes after, or nothing does."""
    mover, scripter = mine.client(), mine.client()
    mover.call("SET", "n", "old", "EX", 1000)
    mover.call("SET", "same", "x")
    gate = Gate()
    mover.send("MIGRATE", HOST, gate.target.port, "", 0, 60000, "KEYS", "n", "same")
    gate.arrived()
    scripter.call("EVAL", "return redis.call('set', 'n', 'new')", 0)
    gate.opened.set()
    expect(mover.read(), ("+", b"OK"), "the move")
    commands = [words for words in gate.target.commands if words[0] == b"RESTORE"]
    expect([words[1] for words in commands], [b"n", b"same", b"n"], "what was sent")
    expect((commands[0][-1] == b"REPLACE", commands[2][-1], commands[2][2]), (False, b"REPLACE", b"0"), "the second time it replaces, with no deadline")
    with Server("redis") as judge:
        client = judge.client()
        client.call(*commands[2])
        expect(client.call("GET", "n"), b"new", "what was sent last")
    expect(mover.call("EXISTS", "n", "same"), 0, "both are gone")
    gate.target.close()

    gate = Gate()
    mover.call("SET", "n", "old")
    mover.send("MIGRATE", HOST, gate.target.port, "n", 0, 60000)
    gate.arrived()
    scripter.call("FLUSHALL")
    gate.opened.set()
    expect(mover.read(), ("+", b"OK"), "moved before all was emptied")
    expect(len([1 for name in gate.target.names() if name == b"RESTORE"]), 1, "sent once")
    gate.target.close()


def check_ends(mine, _peer):
    """Who is gone, killed or late: the key stays, and can be written again."""
    watcher = mine.client()
    for end in ("KILL", "time"):
        mover, gate = mine.client(), Gate()
        number = mover.call("CLIENT", "ID")
        watcher.call("SET", "n", 1)
        mover.send("MIGRATE", HOST, gate.target.port, "n", 0, 60000 if end == "KILL" else 300)
        gate.arrived()
        expect(watcher.call("CLIENT", "UNBLOCK", number), 0, "UNBLOCK, as in Redis")
        if end == "KILL":
            expect(watcher.call("CLIENT", "KILL", "ID", number), 1, "KILL")
        else:
            expect(mover.read(), ("-", b"IOERR error or timeout reading to target instance"), "too late")
        expect(watcher.call("INCR", "n"), 2, "written again")
        gate.target.close()
    mover = mine.client()
    mover.pipeline([("SET", "n", 1), ("MULTI",)])
    mover.call("MIGRATE", HOST, 1, "n", 0, 10)
    expect([str(one) for one in mover.call("EXEC")], ["ERR MIGRATE waits for its target, which is not possible inside a transaction or script"], "MULTI")


def check_secrets(mine, peer):
    """Passwords work, and are in no log."""
    with Server("holdfast") as target:
        target.client().call("CONFIG", "SET", "requirepass", "sesame")
        client, watcher = mine.client(), mine.client()
        client.pipeline([("CONFIG", "SET", "slowlog-log-slower-than", "0"), ("SLOWLOG", "RESET")])
        watcher.call("MONITOR")
        for words, wanted in ((("AUTH", "wrong"), b"ERR Target instance replied with error: WRONGPASS invalid username-password pair or user is disabled."),
                              (("AUTH", "sesame"), b"OK"), (("AUTH2", "default", "sesame"), b"OK"), ((), b"ERR Target instance replied with error: NOAUTH Authentication required.")):
            client.call("SET", "k", "v")
            expect(client.wire("MIGRATE", HOST, target.port, "k", 0, 5000, "REPLACE", *words)[1], wanted, words)
        shown = b" ".join(watcher.read()[1] for _ in range(8))
        kept = repr(client.call("SLOWLOG", "GET", 20)).encode()
        for text in (shown, kept):
            assert b"sesame" not in text and b"wrong" not in text and b"(redacted)" in text and b"AUTH2" in text, text
        client.call("CONFIG", "SET", "slowlog-log-slower-than", "10000")


def check_names(mine, peer):
    """A host that is a name: asked for beside the worker."""
    client = mine.client()
    client.call("SET", "k", "v")
    expect(client.wire("MIGRATE", "localhost", peer.port, "k", 9, 20000, "REPLACE"), ("+", b"OK"), "localhost")
    client.call("SET", "k", "v")
    expect(client.wire("MIGRATE", "no.such.host.invalid", peer.port, "k", 9, 20000), ("-", b"IOERR error or timeout connecting to the client"), "no host")
    expect(client.wire("MIGRATE", "", peer.port, "k", 9, 20000)[0], "-", "no name")


def check_clusters(_mine, _peer):
    """Nodes of clusters send RESTORE-ASKING, and take it."""
    with Server("holdfast", extra=["--cluster-enabled", "yes"]) as one, Server("redis") as two, Server("holdfast") as three:
        for target in (two, three):
            client = one.client()
            client.call("SET", "k", "v")
            expect(client.wire("MIGRATE", HOST, target.port, "k", 0, 5000), ("+", b"OK"), target.kind)
            expect(target.client().call("GET", "k"), b"v", target.kind)


def check_rights(mine, _peer):
    """A user needs the rights to read and delete each key, wherever it stands."""
    admin, client = mine.client(), mine.client()
    admin.call("ACL", "SETUSER", "mover", "on", "nopass", "+@all", "~mine:*", "%R~seen:*")
    client.call("AUTH", "mover", "x")
    for keys, allowed in ((["mine:1"], True), (["mine:1", "other"], False), (["seen:1"], False), (["mine:1", "mine:2"], True)):
        said = [client.wire("MIGRATE", HOST, 1, "", 0, 100, "KEYS", *keys)]
        if len(keys) == 1:
            said.append(client.wire("MIGRATE", HOST, 1, keys[0], 0, 100))
        for one in said:
            expect(one, ("+", b"NOKEY") if allowed else ("-", b"NOPERM this user has no permissions to access one of the keys used as arguments"), keys)
    admin.call("ACL", "DELUSER", "mover")


def check_followers(_mine, _peer):
    """Those who follow lose what has gone, and keep what the target has refused."""
    with Server("holdfast") as source, Server("redis") as follower:
        client, look = source.client(), follower.client()
        look.call("REPLICAOF", HOST, source.port)
        client.call("MSET", "first", "v", "second", "v")
        until("the follower has them", lambda: look.call("DBSIZE") == 2)
        target = Target(script(b"+OK\r\n", b"-BUSYKEY x\r\n", b"+OK\r\n"))
        expect(client.wire("MIGRATE", HOST, target.port, "", 0, 20000, "KEYS", "first", "second", "third")[0], "-", "one is refused")
        client.call("SET", "last", "v")
        until("the follower is there", lambda: look.call("EXISTS", "last") == 1)
        expect(sorted(look.call("KEYS", "*")), [b"first", b"last"], "what the follower has")
        target.close()


def check_kill9(_mine, _peer):
    """kill -9 of the source or the target while keys move: afterwards each is there, on one side or both, as it was."""
    rng = random.Random(11)
    with Server("holdfast", durability="commit") as source, Server("holdfast", durability="commit") as target:
        for round_ in range(2):
            a = source.client()
            keys = [b"%d:%d" % (round_, n) for n in range(200)]
            a.pipeline([("SET", key, b"value of " + key) for key in keys])
            victim = (source, target)[round_ % 2]

            def move():
                try:
                    client = source.client()
                    for n in range(0, len(keys), 5):
                        client.wire("MIGRATE", HOST, target.port, "", 0, 1000, "REPLACE", "KEYS", *keys[n:n + 5])
                except (OSError, ConnectionError, AssertionError):
                    pass
            mover = threading.Thread(target=move)
            mover.start()
            goal = rng.randrange(20, 180)
            look = target.client()
            until("some have moved", lambda: look.call("EXISTS", *keys) >= goal)
            victim.kill9()
            mover.join()
            victim.start()
            here, there = (dict(zip(keys, server.client().call("MGET", *keys))) for server in (source, target))
            for key in keys:
                values = {here[key], there[key]} - {None}
                expect(values, {b"value of " + key}, "round %d, %s was killed" % (round_, "the source" if victim is source else "the target"))


def main():
    checks = Checks("migrate")
    with Server("holdfast") as mine, Server("redis") as peer:
        checks.run([check_errors, check_played, check_values, check_large, check_holds, check_changed, check_ends, check_secrets,
                    check_names, check_clusters, check_rights, check_followers, check_kill9], mine, peer)
    return checks.end()


if __name__ == "__main__":
    sys.exit(main())
