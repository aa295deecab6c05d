"""redis_move.py -- docs/moving/redis.md, as it stands there.

Goal:   after the lines of the page holdfast has every key of Redis, with type, value and time to live, its functions, and the old Redis follows.
Method: a redis-server is filled with all types; the lines of the page run in a shell, with the ports of the test in the place of its own
        and a redis.conf as its package brings it; both are asked the same.
Usage:  redis_move.py
"""
import os
import re
import subprocess
import sys
import time

from harness import ROOT, Server, free_port, holdfast_path, temp_dir, Client

PAGE = os.path.join(ROOT, "docs/moving/redis.md")
CONF = "# as it came\nbind 127.0.0.1 -::1\nprotected-mode yes\ntcp-backlog 511\nsave 900 1\ndatabases 16\nappendonly no\nmaxmemory-policy noeviction\n"
WAIT_SECONDS = 60


def lines():
    """Of the page's code blocks."""
    text = open(PAGE).read()
    return [line.strip() for block in re.findall(r"```\n(.*?)```", text, re.S) for line in block.strip().splitlines()]


def fill(client):
    for i in range(2000):
        client.call("SET", "many:%d" % i, "value %d" % i, *(["EX", 5000 + i] if i % 2 else []))
    client.call("SET", "with blank", b"\x00\xff" * 500)
    client.call("RPUSH", "list", *range(500))
    client.call("HSET", "hash", *[word for i in range(300) for word in ("f%d" % i, "v")])
    client.call("SADD", "set", *range(400))
    client.call("SADD", "names", "a", "b")
    client.call("ZADD", "zset", *[word for i in range(300) for word in (i / 7, "m%d" % i)])
    client.call("XADD", "stream", "1-1", "a", "b")
    client.call("XGROUP", "CREATE", "stream", "g", "0")
    client.call("XREADGROUP", "GROUP", "g", "c", "STREAMS", "stream", ">")
    client.call("PFADD", "hll", *range(3000))
    client.call("FUNCTION", "LOAD", "#!lua name=l\nredis.register_function('twice', function(keys, args) return args[1] * 2 end)")


def facts(client):
    """And when keys end, in milliseconds, apart: MIGRATE says how long they live, which is later by its own time."""
    keys = sorted(client.call("KEYS", "*"))
    ends = client.pipeline([("PEXPIRETIME", key) for key in keys])
    return [keys, client.pipeline([("TYPE", key) for key in keys]), client.call("DEBUG", "DIGEST"), client.call("FUNCTION", "LIST")], ends


def compare(old, new, what, late_ms):
    (theirs, their_ends), (ours, our_ends) = facts(old), facts(new)
    assert theirs == ours, what
    for key, end, other in zip(ours[0], their_ends, our_ends):
        assert end <= other <= end + late_ms and (end < 0) == (other < 0), (what, key, end, other)
    return len(ours[0])


def shell(line, directory, ports, background=False):
    line = line.replace("6379", str(ports[0])).replace("6380", str(ports[1])).replace("/var/lib/holdfast", os.path.join(directory, "data"))
    if line.startswith("holdfast"):
        line = holdfast_path() + line[len("holdfast"):] + " --enable-debug-command yes --loglevel warning"
    if background:
        return subprocess.Popen(["/bin/bash", "-c", "exec " + line], cwd=directory, stdout=subprocess.DEVNULL)
    done = subprocess.run(["/bin/bash", "-o", "pipefail", "-c", line], cwd=directory, capture_output=True, text=True, timeout=WAIT_SECONDS)
    assert done.returncode == 0 and "ERR" not in done.stdout, (line, done.stdout, done.stderr)
    return done.stdout


def connected(port):
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            return Client(port)
        except OSError:
            assert time.monotonic() < deadline, "holdfast does not answer"
            time.sleep(0.02)


def walk(redis, directory):
    check, start, copy, functions, *counts, follow = lines()
    ports = redis.port, free_port()
    old = redis.client()
    fill(old)
    open(os.path.join(directory, "redis.conf"), "w").write(CONF)
    shell(check, directory, ports)
    process = shell(start, directory, ports, background=True)
    try:
        new = connected(ports[1])
        for line in (copy, functions, copy):
            shell(line, directory, ports)
        compare(old, new, "holdfast holds something else", WAIT_SECONDS * 1000)
        assert new.call("FCALL", "twice", 0, 21) == 42
        numbers = {shell(line, directory, ports) for line in counts}
        assert len(counts) == 2 and numbers == {"%d\n" % old.call("DBSIZE")}, numbers
        new.call("SET", "later", "x")
        shell(follow, directory, ports)
        deadline = time.monotonic() + WAIT_SECONDS
        while b"master_link_status:up" not in old.call("INFO", "replication") or old.call("GET", "later") != b"x":
            assert time.monotonic() < deadline, "the old server does not follow"
            time.sleep(0.02)
        return compare(old, new, "who follows holds something else", 0)
    finally:
        process.terminate()
        process.wait(WAIT_SECONDS)


def main():
    with Server("redis") as redis:
        print("redis_move: %d keys copied, 0 differences" % walk(redis, temp_dir()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
