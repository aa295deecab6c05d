"""strict_rows.py -- every command that writes is undone by a strict transaction that fails.

Goal:   docs/adr/0007, by the table of commands: none is forgotten, the next one neither.
Method: CALLS has words that change STATE for each command that COMMAND says writes or may be replicated. On a twin each runs alone
        first and must change what a client can see (values as DUMP, deadlines of keys and fields, encodings, both databases,
        functions, who waits): so the words are real. Then in a strict MULTI and a strict script that fail: nothing may have
        changed, no watch be marked, no event or message told, nobody who waits be served. Small and large values, since
        these are undone in different ways; at the end all of it again after kill -9.
Always: a command that writes and is in neither CALLS nor LEFT_OUT is an error.
Usage:  strict_rows.py [COMMAND ...]
"""
import sys
import time

from harness import REPLY_SECONDS, ReplyError, Server, plain

FAR = 4102444800000     # deadlines that nobody sees pass
LARGE = 150             # elements of a large value: beyond every packed form, with the settings below

LEFT_OUT = {
    "migrate": "talks to another server: refused inside MULTI and scripts",
    "restore-asking": "RESTORE under another name",
}

# "{str}", "{list}" ... name the key of that kind, of either size; {dump}: a payload. A list of calls: each is tried.
CALLS = {
    "append": ["{str} tail", "{int} 5", "new tail"],
    "bitfield": ["{str} SET u8 0 255 INCRBY i5 100000 3", "new SET u8 0 1"],
    "bitop": ["NOT {str} {str}", "AND new {str} {int}"],
    "blmove": ["{list} {list2} LEFT RIGHT 0", "{list} new RIGHT LEFT 0"],
    "blmpop": ["0 1 {list} LEFT COUNT 3"],
    "blpop": ["{list} 0", "{one} 0"],
    "brpop": ["{list} 0"],
    "brpoplpush": ["{list} {list2} 0"],
    "bzmpop": ["0 1 {zset} MIN COUNT 3"],
    "bzpopmax": ["{zset} 0"],
    "bzpopmin": ["{zset} 0"],
    "copy": ["{hash} new", "{zset} {str} REPLACE", "{stream} {stream} DB 1", "{fields} new"],
    "decr": ["{int}", "new"],
    "decrby": ["{int} 9"],
    "del": ["{str} {list} {hash} {set} {zset} {stream} {fields} {int} {ttl}"],
    "expire": ["{str} 1000", "{ttl} 500 LT", "{hash} -1"],
    "expireat": ["{list} 4102444801", "{set} 1"],
    "flushall": ["", "ASYNC"],
    "flushdb": ["", "SYNC"],
    "function": ["LOAD|#!lua name=other\nredis.register_function('g', function() return 1 end)", "DELETE|lib", "FLUSH",
                 "LOAD|REPLACE|#!lua name=lib\nredis.register_function('f', function() return 2 end)"],
    "geoadd": ["{geo} 10 10 there", "{geo} CH 11 11 Palermo"],
    "georadius": ["{geo} 15 37 200 km STORE new", "{geo} 15 37 200 km STOREDIST {zset}"],
    "georadiusbymember": ["{geo} Palermo 200 km STORE {zset}"],
    "geosearchstore": ["new {geo} FROMLONLAT 15 37 BYRADIUS 200 km", "{str} {geo} FROMMEMBER Palermo BYBOX 400 400 km STOREDIST"],
    "getdel": ["{str}", "{ttl}"],
    "getex": ["{str} EX 1000", "{ttl} PERSIST", "{str} PXAT 1"],
    "getset": ["{ttl} v"],
    "hdel": ["{hash} f1 f2", "{fields} g1 f1"],
    "hexpire": ["{hash} 1000 FIELDS 2 f1 f2", "{fields} 1000 FIELDS 2 f1 g1", "{fields} 0 FIELDS 1 g1"],
    "hexpireat": ["{hash} 4102444801 FIELDS 1 f1"],
    "hgetdel": ["{hash} FIELDS 2 f1 f2", "{fields} FIELDS 1 g1"],
    "hgetex": ["{fields} PERSIST FIELDS 2 f1 g1", "{hash} EX 100 FIELDS 1 f1"],
    "hincrby": ["{hash} n 5", "{hash} new 1", "new f 1", "{fields} n 1"],
    "hincrbyfloat": ["{hash} n 0.5"],
    "hmset": ["{hash} f1 other f9 new", "new f v"],
    "hpersist": ["{fields} FIELDS 2 f1 g1"],
    "hpexpire": ["{hash} 100000 FIELDS 1 f1", "{fields} 100000 LT FIELDS 1 g1"],
    "hpexpireat": ["{fields} 4102444800999 FIELDS 1 g1", "{hash} 1 FIELDS 1 f1"],
    "hset": ["{hash} f1 other", "{fields} g1 other", "new f v", "{hash} big " + "x" * 200],
    "hsetex": ["{hash} EX 100 FIELDS 1 f1 v", "{fields} KEEPTTL FIELDS 1 g1 v", "new PX 100000 FIELDS 1 f v"],
    "hsetnx": ["{hash} other v"],
    "incr": ["{int}"],
    "incrby": ["{int} 9"],
    "incrbyfloat": ["{int} 0.5", "new 1"],
    "linsert": ["{list} BEFORE e3 here"],
    "lmove": ["{list} {list2} RIGHT LEFT", "{list} {list} LEFT RIGHT", "{one} new LEFT LEFT"],
    "lmpop": ["1 {list} RIGHT COUNT 5"],
    "lpop": ["{list}", "{list} 100000", "{one}"],
    "lpush": ["{list} a b", "new a"],
    "lpushx": ["{list} a"],
    "lrem": ["{list} 0 e3"],
    "lset": ["{list} 1 other", "{list} 0 " + "x" * 9000],
    "ltrim": ["{list} 1 3", "{list} 5 1"],
    "move": ["{hash} 1", "{stream} 1", "{ttl} 1"],
    "mset": ["{str} a {int} b new c"],
    "msetnx": ["new a new2 b"],
    "persist": ["{ttl}"],
    "pexpire": ["{zset} 100000"],
    "pexpireat": ["{stream} 4102444800001"],
    "pfadd": ["{hll} other", "new a", "{dense} other more"],
    "pfcount": ["{stale}"],
    "pfdebug": ["TODENSE {hll}"],
    "pfmerge": ["{hll} {dense}", "new {hll}"],
    "psetex": ["{str} 100000 v"],
    "publish": ["news hello"],
    "rename": ["{str} {list}", "{fields} new", "{stream} {ttl}"],
    "renamenx": ["{zset} new"],
    "restore": ["new 0 {dump}", "{list} 100000 {dump} REPLACE"],
    "rpop": ["{list}", "{list} 3"],
    "rpoplpush": ["{list} {list2}", "{list} {list}"],
    "rpush": ["{list} a", "{waited} a"],
    "rpushx": ["{list} a"],
    "sadd": ["{set} other", "{ints} 123456789", "{ints} word", "new a"],
    "sdiffstore": ["new {set} {ints}", "{set} {set} {set}"],
    "set": ["{str} v", "{ttl} v", "{ttl} other KEEPTTL", "{list} v", "new v EX 100", "{fields} v"],
    "setbit": ["{str} 7 1", "new 100 1"],
    "setex": ["{str} 100 v"],
    "setnx": ["new v"],
    "setrange": ["{str} 3 patch", "{int} 1 x", "new 5 x"],
    "sinterstore": ["{set} {set} {ints}", "new {set}"],
    "smove": ["{set} {ints} m1", "{set} new m1"],
    "sort": ["{ints} STORE new", "{ints} STORE {ints}"],
    "spop": ["{set}", "{set} 3", "{ints} 100000"],
    "spublish": ["news hello"],
    "srem": ["{set} m1 m2", "{ints} 1 2 3"],
    "sunionstore": ["{ints} {set} {ints}"],
    "swapdb": ["0 1"],
    "unlink": ["{str} {list} {hash} {set} {zset} {stream} {fields} {dense}"],
    "xack": ["{stream} g 1-1 2-1"],
    "xackdel": ["{stream} g DELREF IDS 1 1-1", "{stream} g KEEPREF IDS 1 2-1"],
    "xadd": ["{stream} 9999999-1 a b", "{stream} MAXLEN 2 9999999-1 a b", "new 1-1 a b", "{swaited} 9999999-1 a b"],
    "xautoclaim": ["{stream} g other 0 0"],
    "xclaim": ["{stream} g other 0 1-1 2-1", "{stream} g other 0 1-1 RETRYCOUNT 9 FORCE JUSTID"],
    "xdel": ["{stream} 1-1 4-1"],
    "xdelex": ["{stream} DELREF IDS 2 1-1 4-1", "{stream} IDS 1 2-1"],
    "xgroup": ["CREATE|{stream}|h|0", "DESTROY|{stream}|g", "SETID|{stream}|g|0", "CREATECONSUMER|{stream}|g|c9",
               "DELCONSUMER|{stream}|g|c", "CREATE|new|h|0|MKSTREAM"],
    "xreadgroup": ["GROUP g c COUNT 1 STREAMS {stream} 0", "GROUP g c COUNT 2 STREAMS {stream} >", "GROUP g c9 NOACK STREAMS {stream} >", "GROUP g c9 STREAMS {stream} 0"],
    "xsetid": ["{stream} 99999999-1 ENTRIESADDED 100000000 MAXDELETEDID 3-1"],
    "xtrim": ["{stream} MAXLEN 2", "{stream} MINID 3-1"],
    "zadd": ["{zset} 3.5 other", "{zset} INCR 5 m1", "new 1 a", "{zset} 1 " + "x" * 200],
    "zdiffstore": ["{zset} 2 {zset} {zset}", "new 1 {zset}"],
    "zincrby": ["{zset} 2 m1"],
    "zinterstore": ["new 2 {zset} {zset}", "{zset} 2 {zset} {geo}"],
    "zmpop": ["1 {zset} MAX COUNT 3"],
    "zpopmax": ["{zset} 2"],
    "zpopmin": ["{zset}", "{zset} 100000"],
    "zrangestore": ["new {zset} 0 2", "{zset} {zset} 1 2"],
    "zrem": ["{zset} m1 m2"],
    "zremrangebylex": ["{lex} [b (d"],
    "zremrangebyrank": ["{zset} 1 2"],
    "zremrangebyscore": ["{zset} 2 5"],
    "zunionstore": ["{zset} 2 {zset} {geo} WEIGHTS 2 3", "new 1 {set}"],
}
MESSAGES = {"publish", "spublish"}          # they change no key; the listener must hear of them
NOT_IN_SCRIPTS = {"function"}               # refused there


def state(prefix, count):
    """The commands that make keys of all kinds."""
    numbers = range(1, count + 1)

    def each(form):
        return [word for n in numbers for word in form(n)]
    commands = [
        ["SET", "str", "v" * (count if count < 100 else 20000)], ["SET", "int", 41], ["SET", "ttl", "v", "PXAT", FAR], ["RPUSH", "one", "only"],
        ["RPUSH", "list"] + each(lambda n: ["e%d" % n]), ["RPUSH", "list2"] + each(lambda n: ["o%d" % n]),
        ["HSET", "hash", "n", 7] + each(lambda n: ["f%d" % n, n]), ["HSET", "fields"] + each(lambda n: ["f%d" % n, n, "g%d" % n, n]),
        ["HPEXPIREAT", "fields", FAR, "FIELDS", 3, "g1", "g2", "g3"], ["PEXPIREAT", "fields", FAR + 1],
        ["SADD", "set"] + each(lambda n: ["m%d" % n]), ["SADD", "ints"] + each(lambda n: [n]), ["ZADD", "zset"] + each(lambda n: [n, "m%d" % n]),
        ["ZADD", "lex"] + each(lambda n: [0, "abcdef"[n % 6] + str(n)]), ["PFADD", "dense"] + list(numbers), ["PFDEBUG", "TODENSE", "dense"],
        ["PFADD", "hll", "a", "b", "c"], ["PFADD", "stale", "a", "b"],
        ["GEOADD", "geo", 13.361389, 38.115556, "Palermo", 15.087269, 37.502669, "Catania"], ["XADD", "swaited", "1-1", "a", "b"]]
    commands += [["XADD", "stream", "%d-1" % n, "a", n, "b", n] for n in numbers]
    commands += [["XDEL", "stream", "3-1"], ["XGROUP", "CREATE", "stream", "g", 0], ["XREADGROUP", "GROUP", "g", "c", "COUNT", 2, "STREAMS", "stream", ">"]]
    place = {"PFDEBUG": 2, "XGROUP": 2, "XREADGROUP": 7}
    for words in commands:
        at = place.get(words[0], 1)
        words[at] = prefix + words[at]
    return commands


def fill(client, prefix, count):
    for words, reply in zip(state(prefix, count), client.pipeline(state(prefix, count))):
        if isinstance(reply, ReplyError):
            raise AssertionError("%r: %s" % (words[:5], reply))


def fill_all(client, sizes):
    client.pipeline([("FLUSHALL",), ("FUNCTION", "FLUSH"), ("FUNCTION", "LOAD", "#!lua name=lib\nredis.register_function('f', function() return 1 end)"),
                     ("SELECT", 1), ("SET", "elsewhere", 1), ("SELECT", 0)])
    for prefix, count in sizes:
        fill(client, prefix, count)


def names_of(client):
    """The keys of both databases, with their types."""
    found = []
    for db in (0, 1):
        client.call("SELECT", db)
        found += [(db, key, client.call("TYPE", key)) for key in sorted(client.call("KEYS", "*"))]
    client.call("SELECT", 0)
    return found


def questions(names):
    """DUMP has no deadlines of fields, and the order in which unordered kinds are walked may change."""
    asked = [("FUNCTION", "LIST", "WITHCODE")]
    for db in (0, 1):
        asked += [("SELECT", db), ("KEYS", "*")]
        for _, key, kind in (name for name in names if name[0] == db):
            asked += [("TYPE", key), ("PEXPIRETIME", key), ("OBJECT", "ENCODING", key)]
            if kind == b"hash":
                asked += [("HGETALL", key), ("HPEXPIRETIME", key, "FIELDS", 4, "f1", "g1", "g2", "g3")]
            else:
                asked.append(("SMEMBERS" if kind == b"set" else "DUMP", key))
    return asked + [("SELECT", 0)]


def picture(client, names, encodings=True):
    """What can be seen of these keys, and which there are. A restart may choose other encodings."""
    asked = questions(names)
    found = {}
    for words, reply in zip(asked, client.pipeline(asked)):
        if words[0] == "HGETALL" and isinstance(reply, list):
            reply = sorted(zip(reply[::2], reply[1::2]))
        elif words[0] in ("KEYS", "SMEMBERS") and isinstance(reply, list):
            reply = sorted(reply)
        if words[0] == "SELECT":
            db = words[1]
        elif words[0] == "FUNCTION":
            found["functions"] = sorted(map(repr, reply))
        elif encodings or words[0] != "OBJECT":
            found[(db,) + words[:3]] = reply
    return found


def differences(a, b):
    return sorted(str(key) for key in set(a) | set(b) if a.get(key) != b.get(key))


def words_of(command, text, prefix, dump):
    words = text.split("|") if "|" in text or command == "function" else text.split()
    found = [command.upper()]
    for word in words:
        if word == "{dump}":
            found.append(dump)
        elif word.startswith("{") and word.endswith("}"):
            found.append(prefix + word[1:-1])
        else:
            found.append(word)
    return found


WAITING = (("BLPOP", "{waited}", 0), ("XREAD", "BLOCK", 0, "STREAMS", "{swaited}", "$"))


def blocked(client):
    return int(client.call("INFO", "clients").split(b"blocked_clients:")[1].split()[0])


def wait_for(client, count):
    """Until so many clients wait."""
    until = time.monotonic() + REPLY_SECONDS
    while blocked(client) != count:
        if time.monotonic() > until:
            raise AssertionError("%d clients wait, not %d" % (blocked(client), count))


class Observers:
    """A watcher of all keys, a listener to everything, and some who wait for keys that commands push to."""

    def __init__(self, server, keys):
        self.watcher, self.listener, self.keys = server.client(), server.client(), keys
        self.listener.call("PSUBSCRIBE", "*")
        self.listener.call("SSUBSCRIBE", "news")
        self.waiting = []
        for prefix in ("s:", "l:"):
            for words in WAITING:
                self.waiting.append(server.client())
                self.waiting[-1].send(*[prefix + w[1:-1] if str(w).startswith("{") else w for w in words])
        self.client = server.client()
        wait_for(self.client, len(self.waiting))

    def start(self):
        self.watcher.call("WATCH", *self.keys)

    def seen(self):
        """What they have noticed since the start."""
        noticed = []
        if self.watcher.pipeline([("MULTI",), ("PING",), ("EXEC",)])[-1] != [b"PONG"]:
            noticed.append("a watch was marked")
        self.client.call("PUBLISH", "end", "x")
        message = plain(self.listener.read())
        while message[2:] != [b"end", b"x"]:
            noticed.append("told: %r" % message)
            message = plain(self.listener.read())
        if blocked(self.client) != len(self.waiting):
            noticed.append("somebody who waited was served")
        return noticed


def lua_words(words):
    out = []
    for word in words:
        word = word if isinstance(word, bytes) else str(word).encode()
        out.append(b"'" + b"".join(b"\\%03d" % byte for byte in word) + b"'")
    return b",".join(out)


def strictly(client, words, in_script):
    """Runs it and then something that fails. Returns the error, which tells how many commands there were."""
    if in_script:
        script = b"redis.call(" + lua_words(words) + b") error('no')"
        return client.pipeline([("CLIENT", "STRICT", "ON"), ("EVAL", script, 0), ("CLIENT", "STRICT", "OFF")])[1]
    replies = client.pipeline([("MULTI", "STRICT"), words, ("RPUSH", "bad", "x"), ("INCR", "bad"), ("EXEC",)])
    if replies[1] != b"QUEUED":
        raise AssertionError("%r was not queued: %r" % (words[:4], replies[1]))
    return replies[-1]


def described(words, in_script):
    return "%s %s" % (" ".join(str(word)[:40] for word in words), "in a script" if in_script else "in MULTI")


def check_words_are_real(twin, command, dump):
    """On a server of its own, which is filled again for each."""
    client, problems, names = twin.client(), [], []
    for text in CALLS[command]:
        fill_all(client, (("s:", 5),))
        waiting = twin.client()
        is_waited = [words for words in WAITING if words[1] in text or words[-2] in text]
        for words in is_waited:
            waiting.send(*["s:" + w[1:-1] if str(w).startswith("{") else w for w in words])
            wait_for(client, 1)
        names = names_of(client) if not names else names
        words, before = words_of(command, text, "s:", dump), picture(client, names)
        caller = twin.client()
        reply = plain(caller.wire(*words))
        if isinstance(reply, ReplyError):
            problems.append("%s: %r, so the words are not real" % (described(words, False), reply))
        elif is_waited and blocked(client):
            problems.append("%s serves nobody" % described(words, False))
        elif not is_waited and command not in MESSAGES and picture(client, names) == before:
            problems.append("%s changes nothing" % described(words, False))
        caller.close()
        waiting.close()
        wait_for(client, 0)
    client.close()
    return problems


def check_undone(client, observers, names, base, command, dump):
    problems = []
    for prefix, modes in (("s:", (False, True)), ("l:", (False,))):
        for text in CALLS[command]:
            words = words_of(command, text, prefix, dump)
            for in_script in modes[:1] if command in NOT_IN_SCRIPTS else modes:
                observers.start()
                reply = strictly(client, words, in_script)
                wanted = "no" if in_script else "Transaction undone because of command 3"
                what = described(words, in_script)
                if not isinstance(reply, ReplyError) or wanted not in str(reply):
                    problems.append("%s: replied %r" % (what, reply))
                changed = differences(base, picture(client, names))
                if changed:
                    problems.append("%s: left traces in %s" % (what, changed))
                    return problems
                problems += ["%s: %s" % (what, noticed) for noticed in observers.seen()]
    return problems


def writing_commands(client):
    """Those that COMMAND says write, by the word that begins them."""
    found = set()

    def walk(rows, container):
        for row in rows:
            name = container or row[0].decode()
            if b"write" in row[2]:
                found.add(name)
            walk(row[9], name)
    walk(plain(client.wire("COMMAND")), None)
    return found


def main():
    chosen = [word.lower() for word in sys.argv[1:]] or sorted(CALLS)
    problems = []
    with Server("holdfast", durability="interval") as server, Server("holdfast") as twin:
        client = server.client()
        client.call("CONFIG", "SET", "notify-keyspace-events", "KEA", "set-max-intset-entries", 100, "stream-node-max-entries", 40)
        fill_all(client, (("s:", 5), ("l:", LARGE)))
        dump = client.call("DUMP", "s:zset")
        problems += ["%s writes and is in no list" % name for name in writing_commands(client) - set(CALLS) - set(LEFT_OUT)]
        names = names_of(client)
        base, plain_base = picture(client, names), picture(client, names, False)
        observers = Observers(server, [key for db, key, _ in names if db == 0] + ["new", "new2"])
        calls = 0
        for command in chosen:
            problems += check_words_are_real(twin, command, dump)
            problems += check_undone(client, observers, names, base, command, dump)
            calls += len(CALLS[command])
        server.kill9()
        server.start()
        changed = [key for key in differences(plain_base, picture(server.client(), names, False))]
        if changed:
            problems.append("after kill -9 differ: %s" % changed)
    for problem in problems:
        print("strict_rows: %s\n  repeat: /usr/bin/python3 tests/blackbox/strict_rows.py" % problem)
    print("strict_rows: %d commands, %d calls, %d problems" % (len(chosen), calls, len(problems)))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
