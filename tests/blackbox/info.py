"""info.py -- INFO is an API.

Goal:   every field of redis-server 7.0.15 is there, in its section; the fields that docs/ops/info.md calls constant are, and all others
        tell the truth: each is made to move by what it counts.
Method: names are compared with redis-server's. Figures: each check is a function that raises; those of fields that 7.0 has too run
        against redis-server first, with the same assertions.
Usage:  info.py [check ...]
"""
import os
import re
import sys
import time

from harness import ROOT, Checks, Server, temp_dir

DOCUMENT = os.path.join(ROOT, "docs/ops/info.md")
SECTIONS = ("server", "clients", "memory", "persistence", "stats", "replication", "cpu", "modules", "commandstats", "errorstats",
            "latencystats", "cluster", "keyspace")


def expect(found, wanted, what):
    if found != wanted:
        raise AssertionError("%s: %r, not %r" % (what, found, wanted))


def fields(client, *sections):
    lines = client.call("INFO", *sections).decode().split("\r\n")
    return dict(line.split(":", 1) for line in lines if ":" in line)


def number(client, name):
    return float(fields(client, "all")[name])


def wait_until(true, what):
    deadline = time.monotonic() + 30
    while not true():
        if time.monotonic() > deadline:
            raise AssertionError("never came: " + what)
        time.sleep(0.02)


# --- names ---------------------------------------------------------------------------------------

def documented():
    """Constant fields of the document, and their values."""
    constant = {}
    for line in open(DOCUMENT):
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if len(cells) == 3 and re.fullmatch(r"-?\d+", cells[1]):
            constant.update((name, cells[1]) for name in re.findall(r"`(\w+)`", cells[0]))
    return constant


def check_names(redis, holdfast):
    ours, theirs = holdfast.client(), redis.client()
    for client in (ours, theirs):   # a key, an error, a call: for the fields that are one for each
        client.call("SET", "k", "v")
        client.wire("NOSUCH")
    for section in SECTIONS:
        lacking = sorted(set(fields(theirs, section)) - set(fields(ours, section)) - {"errorstat_NOAUTH"})
        expect([name for name in lacking if not name.startswith(("cmdstat_", "latency_percentiles"))], [], "lacking in " + section)
        expect(ours.call("INFO", section).split(b"\r\n")[0].lower(), theirs.call("INFO", section).split(b"\r\n")[0].lower(), section)
    heads = [[line for line in client.call("INFO", *words).decode().split("\r\n") if line.startswith("#")]
             for client in (ours, theirs) for words in ((), ("everything",), ("all",), ("default",), ("server", "cpu"))]
    expect(heads[:5], heads[5:], "sections")
    whole, constant = fields(ours, "everything"), documented()
    assert len(constant) > 30, constant
    for name, value in constant.items():
        assert name in whole, "docs/ops/info.md tells of %s, which INFO lacks" % name
        expect(float(whole[name]), float(value), name)
    for name in re.findall(r"`(\w+)`", open(DOCUMENT).read().split("## Our own")[1].split("meaning |")[1]):
        assert name in whole or name in ("none", "interval", "commit", "ok", "full", "broken"), name
    ours.close()
    theirs.close()


def check_listeners():
    path = os.path.join(temp_dir(), "socket")
    with Server(extra=["--unixsocket", path]) as server:
        c = server.client()
        found = {name: value for name, value in fields(c, "server").items() if name.startswith("listener")}
        expect(found, {"listener0": "name=tcp,bind=127.0.0.1,port=%d" % server.port, "listener1": "name=unix,bind=" + path}, "listeners")
        c.close()


# --- figures, on both ----------------------------------------------------------------------------

def check_clients(server):
    c, other = server.client(), server.client()
    before = fields(c, "clients")
    expect(int(before["connected_clients"]), 2, "connections")
    other.send("BLPOP", "nokey", 30)
    wait_until(lambda: fields(c, "clients")["blocked_clients"] == "1", "a client that waits")
    expect(fields(c, "clients")["clients_in_timeout_table"], "1", "one that waits with an end")
    other.close()
    wait_until(lambda: fields(c, "clients")["blocked_clients"] == "0", "no client waits")
    expect(fields(c, "clients")["clients_in_timeout_table"], "0", "none waits with an end")
    tracker = server.client(resp=3)
    tracker.call("CLIENT", "TRACKING", "ON")
    wait_until(lambda: fields(c, "clients")["tracking_clients"] == "1", "tracking_clients")
    tracker.close()
    wait_until(lambda: fields(c, "clients")["tracking_clients"] == "0", "tracking_clients: none")
    large = server.client()
    large.send_raw(b"*2\r\n$4\r\nECHO\r\n$3000000\r\n" + b"x" * 2000000)
    wait_until(lambda: number(c, "client_recent_max_input_buffer") > 1000000, "client_recent_max_input_buffer")
    large.close()
    c.close()


def check_topics(server):
    c, listener = server.client(), server.client()
    for words in (("SUBSCRIBE", "a", "b"), ("PSUBSCRIBE", "p*"), ("SSUBSCRIBE", "s")):
        listener.send(*words)
        for _ in words[1:]:
            listener.read()
    expect([fields(c, "stats")[name] for name in ("pubsub_channels", "pubsub_patterns")], ["2", "1"], "topics")
    listener.close()
    wait_until(lambda: fields(c, "stats")["pubsub_channels"] == "0", "nobody listens")
    c.close()


def check_errors(server):
    c = server.client()
    c.call("CONFIG", "RESETSTAT")
    expect(fields(c, "stats")["total_error_replies"], "0", "after RESETSTAT")
    for words in (("NOSUCH",), ("GET",), ("EVALSHA", "0" * 40, 0), ("LPUSH", "l", 1), ("GET", "l"), ("BLPOP", "none", "0.01")):
        c.wire(*words)
    found = fields(c, "stats", "errorstats", "commandstats")
    expect(found["total_error_replies"], "4", "errors")
    expect([found["errorstat_" + word] for word in ("ERR", "NOSCRIPT", "WRONGTYPE")], ["count=2", "count=1", "count=1"], "by word")
    expect(re.search(r"rejected_calls=(\d+),failed_calls=(\d+)", found["cmdstat_get"]).groups(), ("1", "1"), "of GET")
    expect(re.search(r"calls=(\d+)", found["cmdstat_blpop"]).group(1), "1", "of BLPOP, which has waited")
    c.call("DEL", "l")
    c.close()


def check_traffic(server):
    c = server.client()
    before = fields(c, "stats")
    for i in range(40):
        c.call("SET", "k", "v" * 1000)
        c.call("GET", "k")
    after = fields(c, "stats")
    moved = {name: float(after[name]) - float(before[name]) for name in
             ("total_reads_processed", "total_writes_processed", "total_net_input_bytes", "total_net_output_bytes",
              "total_commands_processed", "keyspace_hits")}
    assert 80 <= moved["total_reads_processed"] <= 100 and 80 <= moved["total_writes_processed"] <= 100, moved
    assert 40000 < moved["total_net_input_bytes"] < 60000 and 40000 < moved["total_net_output_bytes"] < 60000, moved
    expect((moved["total_commands_processed"], moved["keyspace_hits"]), (81, 40), "commands, hits")

    def busy():
        c.pipeline([("GET", "k")] * 500)
        found = fields(c, "stats")
        return all(float(found[name]) > 0 for name in ("instantaneous_ops_per_sec", "instantaneous_input_kbps", "instantaneous_output_kbps"))
    wait_until(busy, "instantaneous figures")
    c.close()


def check_keyspace(server):
    c = server.client()
    c.call("FLUSHALL")
    c.pipeline([("SET", "p%d" % i, "v") for i in range(100)] + [("SET", "t%d" % i, "v", "PX", 100000) for i in range(300)])

    def averaged():
        found = dict(part.split("=") for part in fields(c, "keyspace")["db0"].split(","))
        expect((found["keys"], found["expires"]), ("400", "300"), "keys")
        return 50000 < int(found["avg_ttl"]) <= 100000
    wait_until(averaged, "avg_ttl")
    c.call("SELECT", 3)
    c.call("SET", "k", "v")
    expect(fields(c, "keyspace")["db3"], "keys=1,expires=0,avg_ttl=0", "db3")
    c.call("FLUSHALL")
    expect(fields(c, "keyspace"), {}, "none")
    c.close()


def check_saves(server):
    c = server.client()
    before = fields(c, "persistence")
    c.call("SAVE")
    after = fields(c, "persistence")
    assert int(after["rdb_last_save_time"]) >= int(before["rdb_last_save_time"]), after
    expect((after["rdb_last_bgsave_status"], after["rdb_bgsave_in_progress"], after["rdb_current_bgsave_time_sec"],
            after["rdb_changes_since_last_save"]), ("ok", "0", "-1", "0"), "after SAVE")
    c.call("SET", "k", "v")
    expect(fields(c, "persistence")["rdb_changes_since_last_save"], "1", "changes")
    c.close()


BOTH = [check_clients, check_topics, check_errors, check_traffic, check_keyspace, check_saves]


# --- figures that 7.0 does not have, or means differently ----------------------------------------

def check_own_clients(server):
    c, watcher, listener, waiter = (server.client() for _ in range(4))
    watcher.call("WATCH", "a", "b")
    listener.send("SUBSCRIBE", "x")
    listener.read()
    waiter.send("BLPOP", "w1", "w2", 0)
    wait_until(lambda: fields(c, "clients")["total_blocking_keys"] == "2", "keys that are waited for")
    found = fields(c, "clients")
    expect([found[name] for name in ("watching_clients", "pubsub_clients", "clients_in_timeout_table", "total_blocking_keys_on_nokey")],
           ["1", "1", "0", "0"], "clients")
    watcher.call("UNWATCH")
    expect(fields(c, "clients")["watching_clients"], "0", "after UNWATCH")
    c.call("XGROUP", "CREATE", "x", "g", "$", "MKSTREAM")
    reader = server.client()
    reader.send("XREADGROUP", "GROUP", "g", "me", "BLOCK", 0, "STREAMS", "x", ">")
    wait_until(lambda: fields(c, "clients")["total_blocking_keys_on_nokey"] == "1", "a key whose end is waited for, too")
    expect(fields(c, "clients")["total_blocking_keys"], "3", "keys that are waited for")
    for client in (watcher, listener, waiter, reader):
        client.close()
    wait_until(lambda: fields(c, "clients")["total_blocking_keys"] == "0", "nothing is waited for")
    wait_until(lambda: fields(c, "clients")["pubsub_clients"] == "0", "nobody listens")
    c.close()


def check_own_denials(server):
    c = server.client()
    c.call("CONFIG", "RESETSTAT")
    c.call("ACL", "SETUSER", "u", "on", ">p", "+@all", "-incr", "~k*", "&c*")
    other = server.client()
    other.wire("AUTH", "u", "wrong")
    other.call("AUTH", "u", "p")
    for words in (("INCR", "k"), ("GET", "x"), ("GET", "y"), ("PUBLISH", "x", "m"), ("PUBLISH", "y", "m"), ("PUBLISH", "z", "m")):
        other.wire(*words)
    found = fields(c, "stats")
    expect([found["acl_access_denied_" + what] for what in ("auth", "cmd", "key", "channel")], ["1", "1", "2", "3"], "denials")
    c.call("CONFIG", "RESETSTAT")
    expect(fields(c, "stats")["acl_access_denied_key"], "0", "after RESETSTAT")
    c.call("ACL", "DELUSER", "u")
    other.close()
    c.close()


def check_own_expiry(server):
    c = server.client()
    before = number(c, "expired_keys")
    for i in range(20):
        c.pipeline([("SET", "e%d-%d" % (i, k), "v", "PX", 1) for k in range(2000)])
    wait_until(lambda: number(c, "expired_keys") - before == 40000, "expired keys")
    assert number(c, "expire_cycle_cpu_milliseconds") > 0, "40,000 keys expired in no time"
    before, keys = number(c, "expired_subkeys"), number(c, "expired_keys")
    for form in (10, 1000):
        c.call("HSET", "h%d" % form, *[word for i in range(form) for word in ("f%d" % i, "v")])
        c.call("HPEXPIRE", "h%d" % form, 1, "FIELDS", 5, *["f%d" % i for i in range(5)])
    c.call("HSET", "gone", "a", 1, "b", 2)
    c.call("HPEXPIRE", "gone", 1, "FIELDS", 2, "a", "b")
    wait_until(lambda: number(c, "expired_subkeys") - before == 12, "expired fields")
    expect(number(c, "expired_keys"), keys, "a hash whose last field has expired is no expired key")
    c.close()


def check_own_log(server):
    c = server.client()
    c.pipeline([("SET", "k%d" % i, "v") for i in range(500)])
    found = fields(c, "persistence")
    expect((found["aof_enabled"], found["durability"], found["io_state"], found["aof_last_write_status"]), ("1", "commit", "ok", "ok"), "log")
    assert int(found["wal_records"]) >= 500 and int(found["wal_fsyncs"]) > 0 and int(found["wal_bytes_written"]) > 20000, found
    assert 1 <= float(found["group_commit_batch_avg"]) <= 500, found
    expect(round(int(found["wal_records"]) / int(found["wal_groups"]), 2), float(found["group_commit_batch_avg"]), "the average")
    expect((found["wal_durable_lag_bytes"], found["wal_durable_lag_ms"], found["aof_pending_bio_fsync"], found["aof_buffer_length"]),
           ("0", "0", "0", "0"), "all of it is on disk")
    saves = number(c, "rdb_saves")
    c.call("SAVE")
    expect(number(c, "rdb_saves"), saves + 1, "snapshots")
    c.close()


def check_own_threads(server):
    clients = [server.client() for _ in range(4)]
    before = fields(clients[0], "stats")
    for _ in range(10):
        for client in clients:
            client.call("PING")
    after = fields(clients[0], "stats")
    for name in ("reads", "writes"):
        aside = int(after["io_threaded_%s_processed" % name]) - int(before["io_threaded_%s_processed" % name])
        whole = int(after["total_%s_processed" % name]) - int(before["total_%s_processed" % name])
        assert 0 < aside < whole, (name, aside, whole)
    expect(fields(clients[0], "server")["io_threads_active"], "1", "two workers")
    for client in clients:
        client.close()


OWN = [check_own_clients, check_own_denials, check_own_expiry, check_own_log, check_own_threads]


def main():
    checks = Checks("info")
    with Server("redis") as redis, Server("holdfast", durability="commit") as holdfast:
        checks.run([check_names], redis, holdfast)
        for server in (redis, holdfast):
            checks.run(BOTH, server)
        checks.run(OWN, holdfast)
    checks.run([check_listeners])
    return checks.end()


if __name__ == "__main__":
    sys.exit(main())
