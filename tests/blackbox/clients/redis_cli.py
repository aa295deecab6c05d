"""redis_cli.py -- redis-cli in each of its modes, and every test of redis-benchmark.

Method: the tools as they are, on a data set whose answers are known; modes that never end are read until they have said what is
        checked, then stopped. Arguments: host port. An exception fails.
"""
import json
import os
import re
import signal
import subprocess
import sys

HOST, PORT = sys.argv[1], sys.argv[2]
CLI = ["redis-cli", "-h", HOST, "-p", PORT]
WAIT_SECONDS = 60


def cli(*words, given=b"", status=0):
    done = subprocess.run(CLI + list(words), input=given, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=WAIT_SECONDS)
    text = done.stdout.decode()
    assert done.returncode == status, (words, done.returncode, text)
    return text


class Endless:
    """A mode that runs until it is stopped: its output is read until a pattern has come, times times."""

    def __init__(self, *words):
        self.process = subprocess.Popen(["stdbuf", "-o0"] + CLI + list(words), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        self.text = ""
        signal.alarm(WAIT_SECONDS)

    def until(self, pattern, times=1):
        while len(re.findall(pattern, self.text)) < times:
            data = os.read(self.process.stdout.fileno(), 4096)
            assert data, "ended before %r: %s" % (pattern, self.text)
            self.text += data.decode("utf-8", "replace")
        return self.text

    def stop(self):
        signal.alarm(0)
        self.process.terminate()
        self.process.wait(WAIT_SECONDS)


def pipe():
    words = [("SET", "text:%d" % i, "x" * i) for i in range(2000)] + [("RPUSH", "list", str(i)) for i in range(500)]
    words += [("HSET", "hash", "f%d" % i, "v") for i in range(300)] + [("SADD", "set", str(i)) for i in range(200)]
    words += [("ZADD", "zset", str(i), "m%d" % i) for i in range(100)] + [("XADD", "stream", "*", "f", "v")] * 50
    data = b"".join(b"*%d\r\n" % len(w) + b"".join(b"$%d\r\n%s\r\n" % (len(x), x.encode()) for x in w) for w in words)
    said = cli("--pipe", given=data)
    assert "errors: 0, replies: %d" % len(words) in said, said
    said = cli("--pipe", given=b"SET a 1\r\nINCR list\r\n", status=1)
    assert "WRONGTYPE" in said and "errors: 1, replies: 2" in said, said
    assert cli("DEL", "a") == "1\n"


def samples():
    said = cli("--bigkeys")
    for kind, key, size in (("string", "text:1999", "1999 bytes"), ("list", "list", "500 items"), ("hash", "hash", "300 fields"),
                            ("set", "set", "200 members"), ("zset", "zset", "100 members"), ("stream", "stream", "50 entries")):
        assert re.search(r"Biggest +%s found '\"%s\"' has %s" % (kind, key, size), said), (kind, said)
    assert "Sampled 2005 keys" in said
    said = cli("--memkeys")
    assert re.search(r"Biggest string found '\"text:\d+\"' has \d+ bytes", re.sub(" +", " ", said)), said
    assert cli("--memkeys", "--memkeys-samples", "0").count("Biggest") >= 6
    found = cli("--scan", "--pattern", "text:1*").split()
    assert sorted(found) == sorted("text:%d" % i for i in range(2000) if str(i)[0] == "1")


def watching():
    for words, pattern in ((("-i", "0.1", "--stat"), r"(?m)^2005 +[\d.]+[MKG]? +\d+ +0 +\d+ \(\+\d+\)"),
                           (("-i", "1", "--latency-history"), r"\d+ \d+ [\d.]+ \d+"),
                           (("-i", "1", "--latency-dist"), r"\x1b\[0m")):
        mode = Endless(*words)
        mode.until(pattern, times=3 if "--stat" in words else 2)
        mode.stop()
    assert re.fullmatch(r"\d+ \d+ [\d.]+ \d+", cli("-i", "0.2", "--raw", "--latency").strip())
    assert re.fullmatch(r"\d+,\d+,[\d.]+,\d+", cli("-i", "0.2", "--csv", "--latency").strip())
    assert "total runs" in cli("--intrinsic-latency", "1")


def caching():
    """The modes that look at, or exercise, what eviction goes by."""
    assert "An LFU maxmemory policy is not selected" in cli("--hotkeys", status=1)
    cli("CONFIG", "SET", "maxmemory-policy", "allkeys-lfu")
    assert cli(given=b"GET text:77\n" * 3000).count("\n") == 3000
    said = cli("--hotkeys")
    assert "Sampled 2005 keys" in said and 'Hot key \'"text:77"\' found so far with counter ' in said, said
    hottest = re.search(r'hot key found with counter: (\d+)\tkeyname: "text:77"', said)
    assert hottest and said.index("hot key found") == hottest.start(), said
    cli("-n", "5", "CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    cache = Endless("-n", "5", "--lru-test", "500")
    cache.until(r"\d+ Gets/sec \| Hits: [1-9]\d* ")
    cache.stop()
    assert 0 < int(cli("-n", "5", "DBSIZE")) <= 500
    cli("-n", "5", "FLUSHDB")
    cli("CONFIG", "SET", "maxmemory-policy", "noeviction")


def files():
    cli("FUNCTION", "LOAD", "#!lua name=lib\nredis.register_function('twice', function(keys, args) return args[1] * 2 end)")
    path = "/tmp/redis_cli_%d.rdb" % os.getpid()
    sizes = []
    try:
        for mode in ("--functions-rdb", "--rdb"):
            assert "Transfer finished with success" in cli(mode, path)
            with open(path, "rb") as f:
                data = f.read()
            sizes.append(len(data))
            assert data[:5] == b"REDIS" and b"#!lua name=lib" in data and (b"text:77" in data) == (mode == "--rdb"), mode
    finally:
        os.unlink(path)
    assert sizes[0] < 500 and sizes[1] > 20000, sizes
    assert cli("FUNCTION", "DELETE", "lib") == "OK\n"


def words_and_forms():
    script = b"return {KEYS[1], ARGV[1], 7, {ok='fine'}}"
    path = "/tmp/redis_cli_%d.lua" % os.getpid()
    with open(path, "wb") as f:
        f.write(script)
    try:
        assert cli("--eval", path, "k", ",", "a") == "k\na\n7\nfine\n"
        assert cli("--no-raw", "--eval", path, "k", ",", "a") == '1) "k"\n2) "a"\n3) (integer) 7\n4) fine\n'
    finally:
        os.unlink(path)
    assert cli("-x", "SET", "stdin", given=b"line\r\nend") == "OK\n"
    assert cli("--no-raw", "GET", "stdin") == '"line\\r\\nend"\n'
    assert cli("-X", "TAG", "SET", "TAG", "v", given=b"tagged") == "OK\n"
    assert cli("GET", "tagged") == "v\n"
    assert cli("--csv", "LRANGE", "list", "0", "2") == '"0","1","2"\n'
    assert json.loads(cli("--json", "ZRANGE", "zset", "0", "1", "WITHSCORES")) == [["m0", 0], ["m1", 1]]
    assert json.loads(cli("--json", "HGETALL", "hash"))["f7"] == "v"
    assert cli("-3", "--no-raw", "HGETALL", "one") == "(empty hash)\n"
    assert cli("-3", "--no-raw", "ZSCORE", "zset", "m5") == "(double) 5\n"
    assert cli("-e", "INCR", "list", status=1).startswith("WRONGTYPE")
    assert cli("-r", "5", "-i", "0.01", "INCR", "count") == "1\n2\n3\n4\n5\n"
    assert cli("-n", "3", "DBSIZE") == "0\n"
    assert cli("-c", "EXISTS", "list") == "1\n"
    assert cli("-d", "|", "LRANGE", "list", "0", "2") == "0|1|2\n"
    assert cli("--quoted-input", "ECHO", '"\\x41\\n"') == "A\n\n"
    assert cli("-u", "redis://%s:%s/0" % (HOST, PORT), "EXISTS", "list") == "1\n"
    assert cli(given=b"SET q 'a b'\nGET q\n") == "OK\na b\n"
    assert cli("DEL", "stdin", "tagged", "count", "q") == "4\n"


def messages():
    listener = Endless("--no-raw", "PSUBSCRIBE", "news*")
    listener.until("psubscribe")
    assert cli("PUBLISH", "news1", "hello") == "1\n"
    listener.until('"pmessage"\n2\\) "news\\*"\n3\\) "news1"\n4\\) "hello"')
    listener.stop()


def monitor():
    watcher = Endless("MONITOR")
    watcher.until("OK")
    cli("SET", "seen", 'by "all"')
    watcher.until(r'\d+\.\d{6} \[0 [\d.:]+\] "SET" "seen" "by \\"all\\""')
    watcher.stop()
    cli("DEL", "seen")


def benchmark():
    tests = "ping_inline,ping_mbulk,set,get,incr,lpush,rpush,lpop,rpop,sadd,hset,spop,zadd,zpopmin,lrange,lrange_100,mset"
    for more in ([], ["-3"], ["-r", "1000"]):
        said = subprocess.run(["redis-benchmark", "-h", HOST, "-p", PORT, "-q", "-n", "2000", "-P", "8", "-c", "10"] + more + ["-t", tests],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=WAIT_SECONDS, check=True).stdout.decode()
        done = set(re.findall(r"([A-Z][A-Z_0-9a-z ()]+).*?: [\d.]+ requests per second", said))
        assert len(done) >= 15 and "rror" not in said, said
    said = subprocess.run(["redis-benchmark", "-h", HOST, "-p", PORT, "-q", "-n", "1000", "-r", "100", "ZADD", "z", "__rand_int__", "m"],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=WAIT_SECONDS, check=True).stdout.decode()
    assert "requests per second" in said and "rror" not in said, said


def main():
    cli("FLUSHALL")
    checks = [pipe, samples, watching, caching, files, words_and_forms, messages, monitor, benchmark]
    for check in checks:
        check()
    print("%s: %d checks passed" % (cli("--version").strip(), len(checks)))


main()
