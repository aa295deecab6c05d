"""stall_commands.py -- commands on huge values, and who waits for them: what `stall.py --commands` runs.

Method: two workers; connections are given to them in turn, so of two that are opened one after the other each sits on a worker of
        its own. A third one, of the first's worker, sends the command. PING goes out every fifth of a millisecond from a process of
        its own for each of the two, so that Python's threads wait for nobody. Its longest wait, how long the command took, how large its reply was and by how much
        the server's memory grew meanwhile make a line. With a redis-server there is one thread, and both columns are about it.
"""
import multiprocessing
import re
import time

from harness import Client, encode

END = b"$9\r\nstall-end\r\n"
BATCH = 5000
STRING = 512 << 20


def _ping(port, link):
    client = Client(port)
    client.call("PING")
    longest, link_has_news = 0.0, link.poll
    link.send("ready")
    while True:
        began = time.monotonic()
        client.call("PING")
        longest = max(longest, time.monotonic() - began)
        if link_has_news(0.0002):
            if not link.recv():
                return
            link.send(longest * 1000)
            longest = 0.0


class Pinger:
    """A connection that sends PING all the while, from a process of its own."""

    def __init__(self, server):
        self.link, theirs = multiprocessing.Pipe()
        self.process = multiprocessing.Process(target=_ping, args=(server.port, theirs), daemon=True)
        self.process.start()
        assert self.link.recv() == "ready"

    def take(self):
        self.link.send(True)
        return self.link.recv()

    def stop(self):
        self.link.send(False)
        self.process.join()


class Caller:
    """Sends a command and throws the reply away, whatever its size."""

    def __init__(self, server):
        self.client = server.client()
        self.client.call("PING")
        self.room = bytearray(1 << 20)

    def run(self, *words):
        """Bytes of the reply, its first line, seconds."""
        s, began, size, first, last = self.client.socket, time.monotonic(), 0, b"", b""
        s.sendall(encode(*words) + encode("ECHO", "stall-end"))
        while not last.endswith(END):
            got = s.recv_into(self.room)
            assert got, "the connection was closed"
            size += got
            first = first or bytes(self.room[:80])
            last = (last + bytes(self.room[max(0, got - len(END)):got]))[-len(END):]
        return size - len(END), first.partition(b"\r\n")[0].decode(), time.monotonic() - began


def rss(server):
    """Of now, and the highest since the last call, in bytes."""
    text = open("/proc/%d/status" % server.pid).read()
    now, peak = (int(re.search(r"%s:\s+(\d+)" % name, text).group(1)) << 10 for name in ("VmRSS", "VmHWM"))
    with open("/proc/%d/clear_refs" % server.pid, "w") as f:
        f.write("5")
    return now, peak


def _batches(client, command, key, words, elements):
    for start in range(0, elements, BATCH):
        client.call(command, *key, *[w for i in range(start, min(start + BATCH, elements)) for w in words(i)])


def _stream(client, key, elements):
    for start in range(0, elements, 500):
        client.pipeline([["XADD", key, "%d-1" % i, "f", i] for i in range(start + 1, min(start + 500, elements) + 1)])


def _string(client):
    """A third of it is not zeros, so that it is really there."""
    client.call("SETRANGE", "string", STRING - 1, "x")
    for at in range(0, STRING, 3 << 20):
        client.call("SETRANGE", "string", at, "y" * (1 << 20))


MAKE = {    # key name: how it is filled
    "set": lambda c, n: _batches(c, "SADD", ["set"], lambda i: ["member:%d" % i], n),
    "set2": lambda c, n: _batches(c, "SADD", ["set2"], lambda i: ["member:%d" % (i + n // 2)], n),
    "zset": lambda c, n: _batches(c, "ZADD", ["zset"], lambda i: [i, "member:%d" % i], n),
    "zset2": lambda c, n: _batches(c, "ZADD", ["zset2"], lambda i: [i, "member:%d" % (i + n // 2)], n),
    "hash": lambda c, n: _batches(c, "HSET", ["hash"], lambda i: ["field:%d" % i, "value:%d" % i], n),
    "list": lambda c, n: _batches(c, "RPUSH", ["list"], lambda i: ["element:%d" % i], n),
    "numbers": lambda c, n: _batches(c, "RPUSH", ["numbers"], lambda i: [i * 7919 % n], n),
    "stream": lambda c, n: _stream(c, "stream", n),
    "string": lambda c, n: _string(c),
    "keys": lambda c, n: _batches(c, "MSET", [], lambda i: ["key:%d" % i, i], n),
    "text": lambda c, n: c.pipeline([["SET", "text", "ab" * 5000], ["SET", "text2", "ba" * 5000]]),
    "hll": lambda c, n: (_batches(c, "PFADD", ["hll"], lambda i: ["a%d" % i], 200000), _batches(c, "PFADD", ["hll2"], lambda i: ["b%d" % i], 200000)),
}


# What is made first, and the words of the command. {n}, {half}, {tenth}: so many.
COMMANDS = [
    ("set", "SMEMBERS set"), ("set", "SRANDMEMBER set {more}"), ("set", "SRANDMEMBER set {half}"), ("set", "SRANDMEMBER set -{n}"),
    ("set", "SRANDMEMBER set -10000000"), ("set", "SRANDMEMBER set -9223372036854775807"), ("set", "SSCAN set 0 COUNT 10000000"),
    ("set set2", "SUNION set set2"), ("set set2", "SINTER set set2"), ("set set2", "SDIFF set set2"), ("set set2", "SINTERCARD 2 set set2"),
    ("set set2", "SUNIONSTORE to set set2"), ("set set2 to=set", "SINTERSTORE to set set2"), ("set", "SPOP set {half}"), ("set", "SPOP set {n}"),
    ("set", "SORT set ALPHA LIMIT 0 10"), ("numbers", "SORT numbers"), ("numbers", "SORT numbers BY nosort GET #"), ("numbers", "SORT numbers STORE sorted"),
    ("hash", "HGETALL hash"), ("hash", "HKEYS hash"), ("hash", "HRANDFIELD hash {more} WITHVALUES"), ("hash", "HRANDFIELD hash {half}"),
    ("hash", "HRANDFIELD hash -10000000"), ("hash", "HRANDFIELD hash -9223372036854775807"), ("hash", "HSCAN hash 0 COUNT 10000000"),
    ("hash", "HDEL hash {fields}"), ("", "HSET made {pairs}"), ("", "SADD made {fields}"), ("", "ZADD made {scored}"), ("", "RPUSH made {fields}"),
    ("", "MSET {pairs}"), ("set", "SREM set {members}"),
    ("zset", "ZRANGE zset 0 -1 WITHSCORES"), ("zset", "ZRANGEBYSCORE zset -inf +inf"), ("zset", "ZREVRANGE zset 0 -1"), ("zset", "ZRANDMEMBER zset {more}"),
    ("zset", "ZRANDMEMBER zset {half} WITHSCORES"), ("zset", "ZRANDMEMBER zset -10000000"), ("zset", "ZRANDMEMBER zset -9223372036854775807"),
    ("zset", "ZSCAN zset 0 COUNT 10000000"), ("zset zset2", "ZUNION 2 zset zset2"), ("zset zset2", "ZINTER 2 zset zset2 WITHSCORES"),
    ("zset zset2", "ZDIFF 2 zset zset2"), ("zset zset2 to=zset", "ZUNIONSTORE to 2 zset zset2"), ("zset", "ZRANGESTORE to zset 0 -1"),
    ("zset", "ZREMRANGEBYRANK zset 0 {half}"), ("zset", "ZPOPMIN zset {half}"), ("zset", "ZCOUNT zset -inf +inf"),
    ("list", "LRANGE list 0 -1"), ("list", "LPOS list no"), ("list", "LREM list 0 no"), ("list", "LREM list 0 element:{last}"),
    ("list", "LINSERT list BEFORE element:{last} x"), ("list", "LTRIM list {half} -1"), ("list", "LPOP list {half}"),
    ("stream", "XRANGE stream - +"), ("stream", "XREVRANGE stream + -"), ("stream", "XREAD STREAMS stream 0"), ("stream", "XTRIM stream MAXLEN {half}"),
    ("keys", "KEYS *"), ("keys", "KEYS no*"), ("keys", "SCAN 0 COUNT 10000000"), ("keys", "SCAN 0 COUNT 10000000 MATCH no*"),
    ("keys", "MGET {names}"), ("keys", "EXISTS {names}"), ("keys", "DEL {names}"), ("keys", "UNLINK {names}"), ("", "SET made {huge}"),
    ("string", "GET string"), ("string", "GETRANGE string 0 -1"), ("string", "BITCOUNT string"), ("string", "BITPOS string 1 1"),
    ("string", "BITOP NOT to string"), ("string", "BITOP AND to string string"), ("string", "COPY string to"), ("string", "DUMP string"), ("string", "SETRANGE string 1000 y"),
    ("text", "LCS text text2"), ("text", "LCS text text2 IDX"), ("hll", "PFMERGE to hll hll2"), ("hll", "PFCOUNT hll hll2"),
    ("set", "COPY set to"), ("set", "DUMP set"), ("zset", "DUMP zset"), ("hash", "DUMP hash"), ("list", "DUMP list"), ("stream", "DUMP stream"),
    ("dump=set", "RESTORE to 0 {dump}"), ("dump=zset", "RESTORE to 0 {dump}"), ("dump=hash", "RESTORE to 0 {dump}"), ("dump=list", "RESTORE to 0 {dump}"), ("set to=set", "RENAME set to"),
    ("list", "EVAL {loop} 0"), ("set", "EVAL {smembers} 1 set"),
]


def prepare(client, needs, have, elements):
    """have: what stands there untouched since the last command, by name."""
    extra = [need for need in needs.split() if "=" in need]
    wanted = [need for need in needs.split() if "=" not in need]
    if not set(wanted) <= have:
        client.call("FLUSHALL")
        have.clear()
    for need in wanted:
        if need not in have:
            MAKE[need](client, elements)
            have.add(need)
    dump = None
    for need in extra:
        name, _, source = need.partition("=")
        if source not in have:
            MAKE[source](client, elements)
            have.add(source)
        if name == "dump":
            dump = client.call("DUMP", source)
        else:
            client.call("COPY", source, name, "REPLACE")
    return dump


LOOP = "local t = 0 for i = 1, 30000000 do t = t + i end return t"
CHANGES = re.compile(r"(SPOP|SREM|MSET|HDEL|ZREM|ZPOP|LREM list 0 el|LINSERT|LTRIM|LPOP|XTRIM|DEL|UNLINK|RENAME)")


def words_of(text, elements, dump):
    values = {"n": elements, "more": 2 * elements, "half": elements // 2, "tenth": elements // 10, "last": elements - 1}
    words = []
    for word in text.split():
        if word == "{fields}":
            words += ["field:%d" % i for i in range(elements // 10)]
        elif word == "{pairs}":
            words += [w for i in range(elements // 10) for w in ("field:%d" % i, i)]
        elif word == "{scored}":
            words += [w for i in range(elements // 10) for w in (i, "field:%d" % i)]
        elif word == "{members}":
            words += ["member:%d" % i for i in range(elements // 10)]
        elif word == "{names}":
            words += ["key:%d" % i for i in range(elements // 10)]
        elif word == "{dump}":
            words.append(dump)
        elif word == "{huge}":
            words.append(b"x" * STRING)
        elif word == "{loop}":
            words.append(LOOP)
        elif word == "{smembers}":
            words.append("return #redis.call('smembers', KEYS[1])")
        else:
            words.append(word.format(**values) if "{" in word else word)
    return words


def run(server, elements, pattern, settle):
    """Yields (command, words' reply line, seconds, same worker's longest PING in ms, the other's, reply bytes, growth of memory)."""
    base = server.client()
    base.call("PING")
    # Connections go to the workers in turn: this one, then the caller, then one on this one's worker, one on the caller's.
    caller = Caller(server)
    other, same = Pinger(server), Pinger(server)
    have = set()
    try:
        for needs, text in COMMANDS:
            if not re.search(pattern, text) or (server.kind == "redis" and "9223372036854775807" in text):
                continue    # there it is answered until the memory is full
            base.call("DEL", "to", "sorted", "made")
            dump = prepare(base, needs, have, elements)
            settle(base)
            words = words_of(text, elements, dump)
            time.sleep(0.3)
            before = rss(server)[0]
            for pinger in (same, other):
                pinger.take()
            size, line, seconds = caller.run(*words)
            time.sleep(0.05)
            waits = same.take(), other.take()
            growth = max(0, rss(server)[1] - before)
            if CHANGES.match(text):
                have.clear()
            yield text, line, seconds, waits[0], waits[1], size, growth
    finally:
        same.stop()
        other.stop()
