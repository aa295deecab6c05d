"""latency.py -- LATENCY, INFO latencystats and their settings.

Goal:   the replies have Redis' shapes and texts, and hold real times: what sleeps is noted, what does not is not; every call of a
        command is counted once, on whichever worker and path it ran.
Method: each check is a function that raises. It runs against redis-server first, with the same assertions.
Usage:  latency.py [check ...]
"""
import sys
import time

from harness import Checks, ReplyError, Server, plain


def expect(found, wanted, what):
    if found != wanted:
        raise AssertionError("%s: %r, not %r" % (what, found, wanted))


def pairs(flat):
    return dict(zip(flat[::2], flat[1::2]))


def histograms(client, *names):
    """Of each command its calls and its levels: microseconds -> calls that were not slower."""
    reply = pairs(client.call("LATENCY", "HISTOGRAM", *names))
    found = {}
    for name, body in reply.items():
        body = pairs(body)
        found[name.decode()] = (body[b"calls"], pairs(body[b"histogram_usec"]))
    return found


def check_events(server):
    c = server.client()
    c.call("CONFIG", "SET", "latency-monitor-threshold", 40)
    c.call("LATENCY", "RESET")
    expect(c.call("LATENCY", "LATEST"), [], "nothing yet")
    before = int(time.time())
    c.call("DEBUG", "SLEEP", "0.05")
    c.call("PING")
    latest = c.call("LATENCY", "LATEST")
    expect([row[0] for row in latest], [b"command"], "events")
    name, at, ms, worst = latest[0]
    assert before <= at <= time.time() and 50 <= ms <= worst, latest
    expect(c.call("LATENCY", "HISTORY", "command"), [[at, ms]], "history")
    expect(c.call("LATENCY", "HISTORY", "COMMAND"), [], "names of events are in lower case")
    graph = c.call("LATENCY", "GRAPH", "command").decode().split("\n")
    expect(graph[0], "command - high %d ms, low %d ms (all time high %d ms)" % (ms, ms, worst), "graph")
    expect([len(line) for line in graph[1:]], [80, 1, 1, 1, 1, 1] + [1] * (len(graph) - 8) + [0], "lines of the graph")
    assert b"command" in c.call("LATENCY", "DOCTOR")
    expect(c.call("LATENCY", "RESET", "fast-command", "nosuch"), 0, "reset of what has no samples")
    expect(c.call("LATENCY", "RESET", "nosuch", "command"), 1, "reset")
    expect(c.call("LATENCY", "LATEST"), [], "after the reset")
    c.call("CONFIG", "SET", "latency-monitor-threshold", 0)
    c.call("DEBUG", "SLEEP", "0.05")
    expect(c.call("LATENCY", "LATEST"), [], "while it is off")
    assert len(c.call("LATENCY", "DOCTOR")) > 0
    c.close()


def check_slowlog_beside(server):
    """Both look at the same time of a command, each with its own threshold."""
    c = server.client()
    for slow_us, latency_ms, in_slowlog, in_latency in ((-1, 20, 0, 1), (20000, 0, 1, 0), (20000, 20, 1, 1), (10000000, 20, 0, 1),
                                                        (20000, 10000, 1, 0), (-1, 0, 0, 0)):
        c.call("CONFIG", "SET", "slowlog-log-slower-than", slow_us, "latency-monitor-threshold", latency_ms)
        c.call("SLOWLOG", "RESET")
        c.call("LATENCY", "RESET")
        c.call("DEBUG", "SLEEP", "0.03")
        asleep = [e for e in c.call("SLOWLOG", "GET") if e[3][0] == b"DEBUG"]
        noted = [e for e in c.call("LATENCY", "LATEST") if e[0] == b"command"]
        expect((len(asleep), len(noted)), (in_slowlog, in_latency), "slowlog, latency with %d us and %d ms" % (slow_us, latency_ms))
    c.call("CONFIG", "SET", "slowlog-log-slower-than", 10000)
    c.close()


def check_histogram(server):
    c, other = server.client(), server.client()
    c.call("CONFIG", "RESETSTAT")
    expect(list(histograms(c)), ["config|resetstat"], "after RESETSTAT")
    for client in (c, other):
        for i in range(30):
            client.call("SET", "k", i)
        client.pipeline([("GET", "k")] * 70 + [("HSET", "h", "f", "v")])
    c.call("CLIENT", "ID")
    c.call("CLIENT", "GETNAME")
    c.pipeline([("MULTI",), ("INCR", "n"), ("INCR", "n"), ("EXEC",)])
    c.call("EVAL", "redis.call('incr', KEYS[1]) redis.call('lpush', KEYS[2], 1) return 1", 2, "n", "l")
    c.call("DEBUG", "SLEEP", "0.02")
    found = histograms(c)
    for name, calls in (("set", 60), ("get", 140), ("hset", 2), ("incr", 3), ("lpush", 1), ("eval", 1), ("exec", 1), ("multi", 1),
                        ("client|id", 1), ("debug", 1)):
        expect(found[name][0], calls, "calls of " + name)
        levels = found[name][1]
        expect(max(levels.values()), calls, "the last level of " + name)
        counts = [levels[us] for us in sorted(levels)]
        expect(counts, sorted(set(counts)), "levels of %s rise" % name)
    slept = min(found["debug"][1])
    assert slept >= 16908, "DEBUG SLEEP 0.02 in level %d us" % slept
    named = {1, 2, 4, 8, 16, 33, 66, 132, 264, 528, 1056, 2113, 4227, 8454, 16908, 33816, 67633, 135266, 270532, 541065, 1082130}
    levels = {us for name in found for us in found[name][1]}
    assert levels <= named, levels - named
    expect(sorted(histograms(c, "client")), ["client|getname", "client|id"], "a container")
    expect(sorted(histograms(c, "nosuch", "SET", "client|id", "zadd")), ["client|id", "set"], "some names")
    expect(c.call("LATENCY", "HISTOGRAM", "nosuch"), [], "no name is known")
    c.call("CONFIG", "SET", "latency-tracking", "no")
    other.call("GET", "k")
    expect(histograms(c, "get")["get"][0], 140, "while it is off")
    c.call("CONFIG", "SET", "latency-tracking", "yes")
    other.call("GET", "k")
    expect(histograms(c, "get")["get"][0], 141, "on again")
    c.close()
    other.close()


def stats(client):
    lines = client.call("INFO", "latencystats").decode().split("\r\n")
    return dict(line[len("latency_percentiles_usec_"):].split(":", 1) for line in lines if ":" in line)


def check_percentiles(server):
    c = server.client()
    c.call("CONFIG", "RESETSTAT")
    c.pipeline([("GET", "k")] * 99)
    c.call("DEBUG", "SLEEP", "0.02")
    found = dict(part.split("=") for part in stats(c)["get"].split(","))
    expect(list(found), ["p50", "p99", "p99.9"], "percentiles at first")
    values = [float(v) for v in found.values()]
    assert 0 < values[0] <= values[1] <= values[2] < 5e6, found
    assert 20000 <= float(stats(c)["debug"].split(",")[0].split("=")[1]) < 2e6, stats(c)["debug"]
    c.call("CONFIG", "SET", "latency-tracking-info-percentiles", "50.0 100.0 0.001")
    expect(plain(c.wire("CONFIG", "GET", "latency-tracking-info-percentiles"))[1], b"50 100 0.001", "as shown")
    expect([part.split("=")[0] for part in stats(c)["get"].split(",")], ["p50", "p100", "p0.001"], "others")
    start = "ERR CONFIG SET failed (possibly related to argument 'latency-tracking-info-percentiles') - "
    for wrong in ("101", "50 -1"):
        expect(plain(c.wire("CONFIG", "SET", "latency-tracking-info-percentiles", wrong)),
               ReplyError(start + "latency-tracking-info-percentiles parameters should sit between [0.0,100.0]"), wrong)
    expect(plain(c.wire("CONFIG", "SET", "latency-tracking-info-percentiles", "x")),
           ReplyError(start + "Invalid latency-tracking-info-percentiles parameters"), "x")
    c.call("CONFIG", "SET", "latency-tracking-info-percentiles", "")
    expect(stats(c)["get"], "", "none")
    c.call("CONFIG", "SET", "latency-tracking-info-percentiles", "50 99 99.9")
    assert not any("latency_percentiles" in line for line in c.call("INFO").decode().split("\r\n")), "not by default"
    c.close()


def check_errors(server):
    c = server.client()
    for words, text in ((("GRAPH", "nosuch"), "ERR No samples available for event 'nosuch'"),
                        (("NOSUCH",), "ERR unknown subcommand 'NOSUCH'. Try LATENCY HELP."),
                        (("GRAPH",), "ERR wrong number of arguments for 'latency|graph' command"),
                        (("LATEST", "x"), "ERR wrong number of arguments for 'latency|latest' command"),
                        (("HELP", "x"), "ERR wrong number of arguments for 'latency|help' command")):
        expect(plain(c.wire("LATENCY", *words)), ReplyError(text), words)
    expect(plain(c.wire("LATENCY", "HISTORY", "nosuch")), [], "history of what is unknown")
    c.close()
    three = server.client(resp=3)
    three.call("GET", "k")
    kind, body = three.wire("LATENCY", "HISTOGRAM", "get")
    expect((kind, body[1][0], body[1][1][3][0]), ("%", "%", "%"), "RESP3: maps")
    expect(three.wire("LATENCY", "DOCTOR")[0], "=", "RESP3: DOCTOR")
    three.close()


CHECKS = [check_events, check_slowlog_beside, check_histogram, check_percentiles, check_errors]


def check_disk(server):
    """holdfast alone: a log on disk is watched, too."""
    c = server.client()
    c.call("CONFIG", "SET", "latency-monitor-threshold", 1)
    deadline = time.monotonic() + 30
    known = []
    while time.monotonic() < deadline and b"aof-fsync-always" not in known:
        c.pipeline([("SET", "k", "v" * 60000)] * 200)
        known = [row[0] for row in c.call("LATENCY", "LATEST")]
    longest = int(dict(line.split(":", 1) for line in c.call("INFO", "persistence").decode().split("\r\n") if ":" in line)
                  ["wal_fsync_usec_max"])
    assert longest < 1000 or b"aof-fsync-always" in known, "an fsync of %d us, events %r" % (longest, known)
    c.close()


def main():
    checks = Checks("latency")
    for kind in ("redis", "holdfast"):
        with Server(kind, extra=["--enable-debug-command", "yes"] if kind == "holdfast" else ()) as server:
            checks.run(CHECKS, server)
    with Server("holdfast", durability="commit") as server:
        checks.run([check_disk], server)
    return checks.end()


if __name__ == "__main__":
    sys.exit(main())
