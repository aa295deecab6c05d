"""load.py -- holdfast-load counts what happened, and hides no wait.

Goal:   a benchmark figure can be believed: every operation is sent once, keys and values arrive whole, and a
        stalled server shows in the latencies of all operations that it delayed.
Method: against holdfast: INFO and DBSIZE are compared with the report, and the server is stopped (SIGSTOP)
        in the middle of an open-loop run. Against a small memcached of Python that answers in torn pieces.
Usage:  load.py [check name ...]
"""
import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time

from harness import Played, Server, holdfast_path

LOAD = os.environ.get("HOLDFAST_LOAD") or os.path.join(os.path.dirname(holdfast_path()), "holdfast-load")
RUN_SECONDS = 60


def load(port, *words, status=0):
    """The report of a run, or its text when it fails as expected."""
    done = subprocess.run([LOAD, "--port", str(port), "--json"] + [str(word) for word in words], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=RUN_SECONDS)
    assert done.returncode == status, "%s: status %d, %s" % (" ".join(map(str, words)), done.returncode, done.stderr.decode())
    return json.loads(done.stdout) if done.stdout else done.stderr.decode()


def commands_done(client):
    return int(re.search(rb"total_commands_processed:(\d+)", client.call("INFO", "stats")).group(1))


# --- RESP -------------------------------------------------------------------------------------------

def every_operation_is_sent_once():
    with Server("holdfast") as server:
        client = server.client()
        before = commands_done(client)
        report = load(server.port, "--op", "set", "--ops", 50021, "--connections", 7, "--threads", 3, "--pipeline", 5)
        after = commands_done(client)
        assert report["operations"] == 50021 and report["errors"] == report["misses"] == 0, report
        assert 50021 <= after - before <= 50023, after - before      # and our own INFO
        assert report["latency_us"]["p50"] <= report["latency_us"]["p99.9"] <= report["latency_us"]["max"], report


def a_line_of_commands_is_one_operation():
    with Server("holdfast") as server:
        client = server.client()
        words = ["--ops", 20000, "--connections", 5, "--threads", 2, "--pipeline", 7, "--keys", 1000]
        report = load(server.port, "--command", "MULTI;INCR all;SET a%k %v;MGET a%k b%k;EXEC", *words)
        assert report["operations"] == 20000 and report["errors"] == 0, report
        assert client.call("GET", "all") == b"20000"
        report = load(server.port, "--command", "MSET x%k %v y%k %v", *words)
        assert report["operations"] == 20000 and report["errors"] == 0, report
        names = client.call("KEYS", "x*")
        assert len(names) > 900 and all(client.call("GET", b"y" + name[1:]) == b"x" * 64 for name in names), len(names)
        assert "LPUSH" not in str(load(server.port, "--command", "LPUSH list %v;LRANGE list 0 2", "--ops", 100))
        assert client.call("LLEN", "list") == 100
        assert load(server.port, "--command", "INCR all x", "--ops", 10, status=1)["errors"] == 10


def fill_sets_every_key_and_gets_hit():
    with Server("holdfast") as server:
        client = server.client()
        report = load(server.port, "--fill", "--keys", 12345, "--value-size", 100, "--ops", 20000, "--pipeline", 16, "--threads", 2)
        assert report["misses"] == 0, report
        assert client.call("DBSIZE") == 12345
        assert client.call("GET", "key:000000012344") == b"x" * 100
        assert load(server.port, "--keys", 10 ** 9, "--ops", 1000)["misses"] > 900


def large_values_pass_in_pieces():
    with Server("holdfast") as server:
        report = load(server.port, "--fill", "--op", "mixed:0.7", "--keys", 50, "--value-size", 700001, "--ops", 500,
                      "--pipeline", 4, "--connections", 3)
        assert report["operations"] == 500 and report["misses"] == 0, report


def zipf_prefers_few_keys():
    with Server("holdfast") as server:
        load(server.port, "--op", "set", "--keys", 1000000, "--ops", 20000, "--pipeline", 16, "--distribution", "zipf:0.99")
        client = server.client()
        skewed = client.call("DBSIZE")
        assert 2000 < skewed < 14000, skewed         # uniform: about 19,800


def error_replies_are_told():
    with Server("holdfast") as server:
        server.client().call("CONFIG", "SET", "requirepass", "secret")
        report = load(server.port, "--ops", 100, status=1)
        assert report["errors"] == 100 and "NOAUTH" in report["first_error"], report
        assert load(server.port, "--ops", 100, "--password", "secret")["errors"] == 0
        assert "WRONGPASS" in load(server.port, "--ops", 100, "--password", "guess", status=1)


def a_stall_shows_in_every_delayed_operation():
    """0.6 s of silence in 3 s at 2,000 a second delays 1,200 of 6,000: p90 is about half of the stall. A client that
    waits politely would show 20 slow operations, one per connection."""
    with Server("holdfast") as server:
        runner = {}
        thread = threading.Thread(target=lambda: runner.update(
            load(server.port, "--op", "get", "--rate", 2000, "--seconds", 3, "--connections", 20)))
        thread.start()
        time.sleep(1)
        os.kill(server.pid, signal.SIGSTOP)
        time.sleep(0.6)
        os.kill(server.pid, signal.SIGCONT)
        thread.join()
        assert runner["operations"] == 6000 and runner["unfinished"] == 0, runner
        latency = runner["latency_us"]
        assert latency["max"] > 500000 and latency["p90"] > 200000, latency


def refusals_are_readable():
    assert "refused" in load(1, "--ops", 1, status=1)
    assert "no such option" in load(1, "--frobnicate", status=2)
    assert "from 1 to 65535" in load(0, status=2)
    assert "--key-size" in load(1, "--keys", 10 ** 8, "--key-size", 4, status=2)


# --- memcached ----------------------------------------------------------------------------------------

class TornMemcached(Played):
    """get, set and version; each reply leaves in random pieces."""

    def __init__(self):
        self.data, self.sets, self.gets = {}, 0, 0
        super().__init__(self.converse)

    def reply(self, lines):
        words = lines.readline().split()
        if not words:
            return None
        if words[0] == b"set":
            self.sets += 1
            self.data[words[1]] = lines.read(int(words[4]) + 2)[:-2]
            return b"STORED\r\n"
        if words[0] == b"get":
            self.gets += 1
            value = self.data.get(words[1])
            return b"END\r\n" if value is None else b"VALUE %b 0 %d\r\n%b\r\nEND\r\n" % (words[1], len(value), value)
        return b"VERSION 1\r\n" if words[0] == b"version" else b"ERROR\r\n"

    def converse(self, connection):
        lines = connection.makefile("rb")
        try:
            reply = self.reply(lines)
            while reply:
                at = 0
                while at < len(reply):
                    end = at + random.randint(1, len(reply))
                    connection.sendall(reply[at:end])
                    at = end
                reply = self.reply(lines)
        except OSError:
            pass


def memcached_text_in_torn_replies():
    server = TornMemcached()
    report = load(server.port, "--protocol", "memcached", "--fill", "--keys", 100, "--op", "mixed", "--ops", 2000,
                  "--connections", 2, "--pipeline", 8, "--value-size", 33)
    assert report["operations"] == 2000 and report["errors"] == report["misses"] == 0, report
    assert server.sets + server.gets == 2100 and len(server.data) == 100, (server.sets, server.gets)
    assert server.data[b"key:000000000099"] == b"x" * 33
    assert load(server.port, "--protocol", "memcached", "--keys", 1000000, "--ops", 100)["misses"] > 90
    assert load(server.port, "--protocol", "memcached", "--op", "ping", "--ops", 100)["operations"] == 100
    assert "not of this protocol" in load(server.port, "--op", "ping", "--ops", 1, status=1)["first_error"]
    server.close()


CHECKS = [every_operation_is_sent_once, a_line_of_commands_is_one_operation, fill_sets_every_key_and_gets_hit, large_values_pass_in_pieces,
          zipf_prefers_few_keys, error_replies_are_told, a_stall_shows_in_every_delayed_operation,
          refusals_are_readable, memcached_text_in_torn_replies]


def main():
    failed = 0
    chosen = [check for check in CHECKS if not sys.argv[1:] or check.__name__ in sys.argv[1:]]
    for check in chosen:
        try:
            check()
        except Exception as error:
            failed += 1
            print("load: %s: FAILED: %s: %s\nrepeat: tests/blackbox/load.py %s"
                  % (check.__name__, type(error).__name__, error, check.__name__))
    print("load: %d checks, %d failed" % (len(chosen), failed))
    return 1 if failed or not chosen else 0


if __name__ == "__main__":
    sys.exit(main())
