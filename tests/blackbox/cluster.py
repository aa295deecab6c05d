"""cluster.py -- cluster-enabled yes: a cluster of one node that owns all slots.

Goal:   what a client for clusters asks and may do is answered as by a redis-server node that owns all slots: the same replies and
        refusals, in RESP2 and RESP3; the node keeps its name over restarts; addresses can be announced.
Method: the same words to both, replies compared after ports, names and addresses have been made equal. What would change slots or
        nodes is refused here; those words are compared up to there. (Client libraries: clients.py.)
Usage:  cluster.py [check ...]
"""
import os
import shlex
import sys
import time

from harness import Checks, ReplyError, Server, plain, temp_dir

NODE = "NODE"   # stands for the node's name in words


def expect(found, wanted, what):
    if found != wanted:
        raise AssertionError("%s: %r, not %r" % (what, found, wanted))


class Side:
    def __init__(self, kind):
        extra = ["--cluster-enabled", "yes"]
        if kind == "redis":
            extra += ["--cluster-announce-ip", "127.0.0.1", "--cluster-announce-bus-port", "1"]
        else:
            extra += ["--cluster-announce-bus-port", "1"]
        self.server = Server(kind, extra=extra)
        self.server.start()
        self.clients = [self.server.client(), self.server.client(resp=3)]
        if kind == "redis":
            self.clients[0].call("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            self.clients[0].call("CLUSTER", "BUMPEPOCH")
            deadline = time.monotonic() + 30
            while b"cluster_state:ok" not in self.clients[0].call("CLUSTER", "INFO") and time.monotonic() < deadline:
                time.sleep(0.05)
        self.id = self.clients[0].call("CLUSTER", "MYID")

    def ask(self, resp, words):
        client = self.clients[resp - 2]
        return self.same(client.wire(*[self.id if word == NODE else word for word in words]))

    def same(self, reply):
        kind, value = reply
        if isinstance(value, list):
            return kind, [self.same(item) for item in value]
        if isinstance(value, bytes):
            value = value.replace(self.id, b"ID").replace(b"%d" % self.server.port, b"PORT")
        elif kind == ":" and value == self.server.port:
            value = "PORT"
        return kind, value


QUESTIONS = ["CLUSTER SLOTS", "CLUSTER SHARDS", "CLUSTER NODES", "CLUSTER INFO", "CLUSTER MYID", "CLUSTER LINKS", "CLUSTER KEYSLOT foo",
             "CLUSTER KEYSLOT {a}b", "CLUSTER KEYSLOT", "CLUSTER REPLICAS NODE", "CLUSTER REPLICAS x", "CLUSTER SLAVES x",
             "CLUSTER COUNT-FAILURE-REPORTS NODE", "CLUSTER COUNT-FAILURE-REPORTS x", "CLUSTER FORGET NODE", "CLUSTER FORGET x",
             "CLUSTER REPLICATE NODE", "CLUSTER REPLICATE x", "CLUSTER FAILOVER", "CLUSTER FAILOVER FORCE", "CLUSTER FAILOVER x",
             "CLUSTER SAVECONFIG", "CLUSTER ADDSLOTS 5", "CLUSTER ADDSLOTS 5 6", "CLUSTER ADDSLOTS x", "CLUSTER ADDSLOTS 16384",
             "CLUSTER ADDSLOTSRANGE 5 6", "CLUSTER ADDSLOTSRANGE 6 5", "CLUSTER ADDSLOTSRANGE 5", "CLUSTER ADDSLOTSRANGE 1 2 3",
             "CLUSTER DELSLOTS x", "CLUSTER DELSLOTSRANGE 6 5", "CLUSTER SETSLOT x STABLE", "CLUSTER SETSLOT 5 STABLE",
             "CLUSTER SETSLOT 5 NODE x", "CLUSTER SETSLOT 5 MIGRATING x", "CLUSTER SETSLOT 5 IMPORTING x", "CLUSTER SETSLOT 5 NODE NODE",
             "CLUSTER SETSLOT 5 foo", "CLUSTER RESET x", "CLUSTER MEET a b", "CLUSTER MEET 127.0.0.1 99999", "CLUSTER MEET 1.2.3.4 5 x",
             "CLUSTER SET-CONFIG-EPOCH -1", "CLUSTER SET-CONFIG-EPOCH x", "CLUSTER SET-CONFIG-EPOCH 3", "CLUSTER NOPE",
             "CLUSTER COUNTKEYSINSLOT x", "CLUSTER COUNTKEYSINSLOT -1", "CLUSTER COUNTKEYSINSLOT 16384", "CLUSTER GETKEYSINSLOT 5 -1",
             "CLUSTER GETKEYSINSLOT 16384 1", "CLUSTER GETKEYSINSLOT x 1", "CLUSTER COUNTKEYSINSLOT 12182", "CLUSTER GETKEYSINSLOT 12182 5",
             "READONLY", "READWRITE", "ASKING", "ROLE", "REPLICAOF NO ONE", "REPLICAOF 1.1.1.1 5", "SLAVEOF NO ONE"]
COMMANDS = ["SET foo bar", "CLUSTER COUNTKEYSINSLOT 12182", "CLUSTER GETKEYSINSLOT 12182 5", "CLUSTER GETKEYSINSLOT 12182 0", "MSET a 1 b 2",
            "MSET {x}a 1 {x}b 2", "MGET {x}a {x}b", "DEL {x}a foo", "SELECT 0", "SELECT 1", "SELECT x", "SWAPDB 0 1", "MOVE foo 1",
            "COPY foo f2 DB 1", "COPY foo f2", "COPY foo {foo}2 DB 1", "COPY foo {foo}2 DB 0", "SORT foo BY w_*", "SORT foo GET #",
            "SORT foo BY nosort", "MULTI", "SET a 1", "SET b 1", "EXEC", "MULTI", "MSET a 1 b 2", "SET a 1", "EXEC", "MULTI", "SET {t}a 1",
            "INCR {t}a", "EXEC", "MULTI", "PING", "EXEC", "EXEC", "WATCH a b", "WATCH a", "MULTI", "SET a 2", "EXEC", "WATCH a", "UNWATCH",
            "EVAL return(1) 2 a b", "EVAL return(1) 2 {a}1 {a}2", "EVAL return(1) 0", "SSUBSCRIBE a b", "RENAME a b", "RENAME a {a}2",
            "SINTERSTORE d {d}a {d}b", "SINTERSTORE d e f", "GEOSEARCHSTORE a b FROMLONLAT 1 1 BYRADIUS 1 m", "XREAD STREAMS a b 0 0",
            "BITOP AND a b c", "PFCOUNT a b", "EXISTS a a", "TOUCH a b", "LMPOP 2 a b LEFT", "FLUSHALL", "DBSIZE",
            "CLUSTER COUNTKEYSINSLOT 12182"]


def check_replies():
    ours, theirs = Side("holdfast"), Side("redis")
    for resp in (2, 3):
        for line in QUESTIONS + COMMANDS:
            found, wanted = [side.ask(resp, line.split()) for side in (ours, theirs)]
            if line.startswith("EXEC") and wanted[0] in "*_":
                found, wanted = plain(found), plain(wanted)
            expect(found, wanted, "RESP%d %s" % (resp, line))
    for side in (ours, theirs):
        hello = plain(side.clients[0].wire("HELLO", 3))
        expect(hello[b"mode"], b"cluster", "HELLO")
        info = side.clients[1].call("INFO", "server", "cluster")
        assert b"redis_mode:cluster" in info and b"cluster_enabled:1" in info, info
    for words in ("DELSLOTS 5", "DELSLOTSRANGE 5 6", "FLUSHSLOTS", "BUMPEPOCH", "RESET", "RESET HARD", "MEET 127.0.0.1 7000",
                  "SETSLOT 5 MIGRATING NODE"):
        kind, text = ours.ask(2, ["CLUSTER"] + words.split())
        expect((kind, text.split(b":")[0]), ("-", b"ERR this is a cluster of one node"), words)
    for side in (ours, theirs):
        side.server.stop()


def check_slots():
    """Keys of several slots in commands, MULTI and scripts: the list of cluster_slots.txt."""
    ours, theirs = Side("holdfast"), Side("redis")
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "cluster_slots.txt")) as file:
        lines = [line for line in file.read().splitlines() if not line.startswith("# ")]
    for resp in (2, 3):
        for line in lines:
            words = [word.replace("\\n", "\n") for word in shlex.split(line)]
            found, wanted = [side.ask(resp, words) for side in (ours, theirs)]
            expect(found, wanted, "RESP%d %s" % (resp, line))
    for side in (ours, theirs):
        side.server.stop()


def check_counts():
    """Of many keys; expired ones do not count."""
    with Server("holdfast", extra=["--cluster-enabled", "yes"]) as server:
        c = server.client()
        slot = c.call("CLUSTER", "KEYSLOT", "{tag}")
        c.pipeline([("SET", "{tag}%d" % i, "v") for i in range(3000)] + [("SET", "other%d" % i, "v") for i in range(3000)])
        c.call("SET", "{tag}gone", "v", "PX", 1)
        time.sleep(0.01)
        expect(c.call("CLUSTER", "COUNTKEYSINSLOT", slot), 3000, "count")
        found = c.call("CLUSTER", "GETKEYSINSLOT", slot, 100000)
        expect(sorted(found), sorted(b"{tag}%d" % i for i in range(3000)), "keys")
        few = c.call("CLUSTER", "GETKEYSINSLOT", slot, 7)
        expect((len(few), len(set(few)), set(few) <= set(found)), (7, 7, True), "seven keys")
        c.close()


def check_name():
    directory = temp_dir()
    names = []
    for durability in ("commit", "commit"):
        with Server("holdfast", directory=directory, durability=durability, extra=["--cluster-enabled", "yes"]) as server:
            c = server.client()
            names.append(c.call("CLUSTER", "MYID"))
            expect(c.call("CLUSTER", "SLOTS"), [[0, 16383, [b"127.0.0.1", server.port, names[-1], []]]], "where the client is")
            for setting, value in (("cluster-announce-ip", "10.1.2.3"), ("cluster-announce-port", 7777), ("cluster-announce-bus-port", 8888)):
                c.call("CONFIG", "SET", setting, value)
            expect(c.call("CLUSTER", "SLOTS"), [[0, 16383, [b"10.1.2.3", 7777, names[-1], []]]], "announced")
            assert b" 10.1.2.3:7777@8888 myself,master " in c.call("CLUSTER", "NODES")
            c.close()
    expect(names[0], names[1], "the name after a restart")
    assert len(names[0]) == 40 and set(names[0]) <= set(b"0123456789abcdef"), names


def check_endpoints():
    """The name of the machine, and which endpoint is given: live settings, shown as redis-server shows them."""
    ours, theirs = Side("holdfast"), Side("redis")
    settings = [("cluster-announce-ip", ip) for ip in ("9.9.9.9", "1" * 60, "127.0.0.1")]
    settings += [("cluster-announce-hostname", name) for name in ("h.example.com", "a_b", "", "H1")]
    kinds = [("cluster-preferred-endpoint-type", kind) for kind in ("hostname", "unknown-endpoint", "nothing", "ip")]
    for name, value in settings:
        for words in [("CONFIG", "SET", name, value)] + [("CONFIG", "SET") + kind for kind in kinds]:
            for question in (words, ("CLUSTER", "SLOTS"), ("CLUSTER", "SHARDS"), ("CLUSTER", "NODES")):
                for resp in (2, 3):
                    found, wanted = [side.ask(resp, question) for side in (ours, theirs)]
                    expect(found, wanted, "RESP%d %r after %r, %s %s" % (resp, question, words, name, value))
    for side in (ours, theirs):
        side.server.stop()


def check_off():
    with Server("holdfast") as server:
        c = server.client()
        for words in ("CLUSTER INFO", "CLUSTER SLOTS", "CLUSTER COUNTKEYSINSLOT 5", "CLUSTER ADDSLOTS 5", "READONLY", "READWRITE", "ASKING"):
            expect(plain(c.wire(*words.split())), ReplyError("ERR This instance has cluster support disabled"), words)
        expect(c.call("MSET", "a", 1, "b", 2), b"OK", "keys of two slots")
        expect(c.call("SELECT", 1), b"OK", "SELECT")
        c.close()


def main():
    checks = Checks("cluster")
    checks.run((check_replies, check_slots, check_counts, check_name, check_endpoints, check_off))
    return checks.end()


if __name__ == "__main__":
    sys.exit(main())
