"""oracle_generate_edges.py -- edges of every command that the peer has, for oracle.py --edges.

Goal:   no command answers otherwise where nobody looks: too few words and too many, keys of each wrong type, numbers at and behind
        their ends and written in odd ways, bytes that are no text, options twice, in any order and in conflict.
Method: COMMAND DOCS of redis-server is the grammar. A call is made from its arguments, each option there or not, and then in about half
        of the calls one or two words go wrong (_spoil). Calls come alone, inside MULTI, from Lua in both protocols, and FRESH: a
        connection of their own, for what changes or ends it. STATE, now and then, is what all keys hold.
        Each epoch has its own thresholds of encodings and its policy; in some, one connection is of a user who may little.
Left out: what differs by intention (docs/compatibility.md), what another program looks at, and what would end the game (safe()): each
        with its reason there.
"""
from harness import encode, plain
from oracle_compare import SOLO, TOLERANCE, hello_form
from oracle_generate import FLOATS, INTEGERS, NOT_INTEGERS, Generator
from oracle_generate_scripts import BAD_LIBRARIES, CALLERS, FAULTY, FREE, LIBRARIES, VALUES, sha
from oracle_generate_server import DUMPS

STATE, FRESH = b"mine:STATE", b"mine:FRESH"
DATABASES = 3

# What each key is made by, at the start and whenever it is drawn for it again.
FILL = {
    b"str": [b"SET", b"str", b"hello"], b"num": [b"SET", b"num", b"10"], b"raw": [b"SET", b"raw", b"r\x00\r\n" * 20],
    b"bits": [b"SET", b"bits", b"\xff\x00\xf0\x01"], b"hll": [b"PFADD", b"hll", b"a", b"b", b"c"],
    b"list": [b"RPUSH", b"list", b"a", b"b", b"1", b"", b"a"], b"biglist": [b"RPUSH", b"biglist"] + [b"%d" % i + b"x" * 60 for i in range(200)],
    b"set": [b"SADD", b"set", b"a", b"b", b"1"], b"intset": [b"SADD", b"intset", b"1", b"2", b"3"], b"bigset": [b"SADD", b"bigset"] + [b"m%d" % i for i in range(140)],
    b"hash": [b"HSET", b"hash", b"a", b"1", b"b", b"x", b"", b"1.5"], b"bighash": [b"HSET", b"bighash"] + [b"f%d" % i for i in range(280)],
    b"zset": [b"ZADD", b"zset", b"1", b"a", b"2", b"b", b"2", b"c", b"inf", b"d"], b"bigzset": [b"ZADD", b"bigzset"] + [w for i in range(140) for w in (b"%d" % i, b"m%d" % i)],
    b"lex": [b"ZADD", b"lex"] + [w for m in (b"a", b"b", b"b\x00", b"c", b"\xff") for w in (b"0", m)],
    b"geo": [b"GEOADD", b"geo", b"13.361389", b"38.115556", b"a", b"15.087269", b"37.502669", b"b"],
    b"stream": [b"XADD", b"stream", b"1-1", b"a", b"1"], b"stream2": [b"XGROUP", b"CREATE", b"stream2", b"g", b"0", b"MKSTREAM"],
}
# stream and stream2 need more than one command each
AFTER = {b"stream": [[b"XADD", b"stream", b"2-0", b"b", b"2", b"c", b""], [b"XGROUP", b"CREATE", b"stream", b"g", b"0"], [b"XREADGROUP", b"GROUP", b"g", b"c", b"COUNT", b"1", b"STREAMS", b"stream", b">"]]}
SORT_KEYS = [b"sort:l", b"sort:s", b"sort:none"]   # they never hold a sorted set
SORT_FILL = [[b"RPUSH", b"sort:l", b"3", b"-1", b"10", b"1e2", b"0x10"], [b"SADD", b"sort:s", b"a", b"b", b"", b"3"]]
MISSING = [b"missing", b"missing2", b"", b"\x00\r\n"]
KINDS = {b"string": [b"str", b"num", b"raw"], b"bitmap": [b"bits", b"str", b"num"], b"hyperloglog": [b"hll"], b"list": [b"list", b"biglist"],
         b"set": [b"set", b"intset", b"bigset"], b"hash": [b"hash", b"bighash"], b"sorted-set": [b"zset", b"bigzset", b"lex"], b"geo": [b"geo"],
         b"stream": [b"stream", b"stream2"]}

ODD = [b"0x10", b"NaN", b"-nan", b"-inf", b"-0", b"0.0", b"1e-320", b" ", b"\t1", b"1_0", b"\x001", b"1\r\n", b"2e0", b"-1.0", b"1.7976931348623157e309"]
TEXTS = [b"", b"\x00", b"\r\n", b"a\x00b\r\nc", b"\xff\xfe", b"x" * 200, b"*", b"-", b"+", b"(", b"[", b"(1", b"[a", b"(inf", b"(nan", b"=", b">", b"0-0", b"1-1", b"1-",
         b"~", b"#", b"a", b"b", b"g", b"c", b"1", b"2", b"%s%n", b"'", b"\"", b"\\", b"default", b"y", b"no"]
SMALL = [b"0", b"1", b"2", b"3", b"-1", b"-2", b"10"]
NUMBERS = SMALL * 2 + INTEGERS + NOT_INTEGERS + ODD
NOBODY = b"999999999"   # no client, and no address of one

SETTINGS = {b"hash-max-listpack-entries": [b"512", b"2", b"0"], b"hash-max-listpack-value": [b"64", b"4"], b"set-max-intset-entries": [b"512", b"2"],
            b"zset-max-listpack-entries": [b"128", b"3"], b"zset-max-listpack-value": [b"64", b"1"], b"list-max-listpack-size": [b"-2", b"3", b"1"],
            b"list-compress-depth": [b"0", b"1"], b"stream-node-max-entries": [b"100", b"2", b"1"], b"stream-node-max-bytes": [b"4096", b"20"],
            b"hll-sparse-max-bytes": [b"3000", b"0", b"20"], b"maxmemory-policy": [b"noeviction", b"allkeys-lfu"], b"proto-max-bulk-len": [b"512mb", b"1mb"],
            b"lua-time-limit": [b"5000"]}
LIMITED = [b"ACL", b"SETUSER", b"limited", b"reset", b"on", b"nopass", b"+@all", b"-@dangerous", b"-get", b"~s*", b"%R~l*", b"%W~h*", b"&ch"]

# What COMMAND DOCS has no words for.
UNLISTED = [b"DEBUG SLEEP 0", b"DEBUG OBJECT none:such", b"DEBUG ERROR x", b"DEBUG DIGEST-VALUE str list", b"DEBUG HTSTATS-KEY", b"DEBUG nosuch"] + [
    b"DEBUG PROTOCOL " + kind for kind in b"string integer double null array set map bignum verbatim true false x".split()]

# Not generated. The rest of what is not sent depends on its words: safe().
UNASKED = {
    b"debug": "UNLISTED", b"monitor": "tracking.py", b"sync": "replica.py", b"psync": "replica.py", b"replconf": "replica.py", b"lolwut": "another text",
    b"module|load": "unknown, as documented", b"module|loadex": "", b"module|unload": "", b"pfselftest": "takes long", b"script|debug": "documented", b"memory|malloc-stats": "of the allocator", b"config|set": "setting()", b"multi": "steps()",
    b"exec": "", b"subscribe": "FRESH", b"psubscribe": "", b"ssubscribe": "", b"unsubscribe": "", b"punsubscribe": "", b"sunsubscribe": "", b"quit": "", b"client|reply": "",
    b"client|tracking": "", b"restore-asking": "as RESTORE", b"migrate": "migrate.py",
}
LONG_TIMES = {b"SET", b"GETEX", b"SETEX", b"PSETEX", b"EXPIRE", b"PEXPIRE", b"EXPIREAT", b"PEXPIREAT", b"RESTORE", b"XCLAIM", b"XAUTOCLAIM", b"XPENDING"}
MANY_BYTES = {b"SETRANGE", b"SETBIT", b"BITFIELD"}
RANDOM = {b"SRANDMEMBER", b"HRANDFIELD", b"ZRANDMEMBER"}
SHORT_TIMES = [b"0.001", b"0.01", b"1e-3", b"-1", b"-0.5", b"abc", b"", b"nan", b"inf", b"1e400", b" 1", b"9223372036854775807"]


def number(word):
    """As C would read it, or None."""
    try:
        return float(word)
    except ValueError:
        return None


def short(word):
    """A time for which a test may wait."""
    value = number(word)
    return value is None or value < 0 or 0 < value <= 0.02 or value > 1e16 or value != value


def safe(words):
    """Whether these may be sent; some are mended in place."""
    for i in range(1, len(words)):      # a word that the peer reads up to a NUL byte: documented
        if words[i].partition(b"\x00")[1] and words[i][:1] not in (b"\x00", b"a"):
            words[i] = b"\x00" + words[i]
    name, rest, upper = words[0].upper(), words[1:], [word.upper() for word in words[1:]]
    if name in LONG_TIMES:          # no deadline, and no idle time, comes near while we compare
        for i in range(1, len(words)):
            value = number(words[i])
            if value and 0 < value < 1e6:
                words[i] = b"1000000"
    if name in MANY_BYTES and any(2e4 < abs(number(word.lstrip(b"#")) or 0) < 4294967296 for word in rest):
        return False                # hundreds of megabytes
    if name in RANDOM and any((number(word) or 0) < -1000 for word in rest[1:]):
        return False                # the reply is as long
    if name in (b"BLPOP", b"BRPOP", b"BZPOPMIN", b"BZPOPMAX", b"BRPOPLPUSH", b"BLMOVE"):
        return not rest or short(rest[-1])
    if name in (b"BLMPOP", b"BZMPOP"):
        return not rest or short(rest[0])
    if name in (b"XREAD", b"XREADGROUP"):
        waits = [upper[i + 1] for i in range(len(upper) - 1) if upper[i] == b"BLOCK"]
        return b"+" not in rest and all((number(w) or -1) in (1, 2) or number(w) is None or number(w) < 0 for w in waits)   # "+": newer
    if name == b"CONFIG" and upper[:1] == [b"SET"] and any(b"\x00" in word for word in rest):
        return False                # documented
    if name == b"DEBUG" and upper[:1] == [b"SLEEP"]:
        return rest[1:2] in ([], [b"0"])
    if name == b"DEBUG" and (upper in ([b"DIGEST"], [b"DIGEST-VALUE"]) or upper[:1] == [b"HTSTATS-KEY"] and len(rest) != 1 or b"\x00" in b"".join(rest)):
        return False                # debug.py: of what is past its deadline, of no key, of tables, bytes that no line of RESP has
    if name == b"PFMERGE" and len(rest) == 1:
        return False                # needs no right to the key in Redis: documented
    if name == b"DEBUG" and upper[:1] == [b"OBJECT"]:
        return len(rest) != 2 or rest[1] == b"none:such"     # addresses
    if name == b"WAIT":
        return len(rest) != 2 or number(rest[1]) in (None, 1, 2, 3) or number(rest[1]) < 0
    if name == b"XADD" or name == b"XSETID":
        return b"*" not in rest     # the clock
    if name in (b"ZRANK", b"ZREVRANK"):
        return len(rest) < 3        # WITHSCORE is newer
    if name == b"LPOS":
        return b"-9223372036854775808" not in rest
    if name == b"HELLO":
        return not {b"SETNAME", b"AUTH"} & set(upper) or len(rest) == 3 + (b"AUTH" in upper)   # with a wrong word: documented
    if name == b"CLIENT" and upper[:1] == [b"SETNAME"]:
        return max(map(len, rest)) < 128    # documented
    if name in (b"SCAN", b"SSCAN", b"HSCAN", b"ZSCAN"):
        return not any(number(word) for word in rest[name != b"SCAN":][:1])     # cursors are of each server's own
    if name == b"SHUTDOWN":
        return bool(set(upper) - {b"NOSAVE", b"SAVE", b"NOW", b"FORCE", b"ABORT"})
    if name in (b"REPLICAOF", b"SLAVEOF"):
        return len(rest) != 2 or upper == [b"NO", b"ONE"]
    if name in (b"SAVE", b"BGSAVE", b"BGREWRITEAOF"):
        return bool(rest) and upper != [b"SCHEDULE"]    # a second one is refused while the first runs, which nobody can time
    if name == b"PFDEBUG":
        return upper[:1] not in ([b"TODENSE"], [b"GETREG"]) # a change of which Redis tells WATCH nothing
    if name == b"CLIENT" and upper[:1] == [b"KILL"]:
        return len(rest) < 2 or NOBODY in rest or b"ID" not in upper and b"TYPE" not in upper and b"USER" not in upper and b"SKIPME" not in upper and b"LADDR" not in upper
    if name == b"CLIENT" and upper[:2] == [b"LIST", b"ID"]:
        return not any(0 < (number(word) or 0) < int(NOBODY) for word in rest[2:])   # one that has just left may still be listed
    if name == b"CLIENT" and upper[:1] == [b"PAUSE"]:
        return len(rest) < 2 or not number(rest[1]) or number(rest[1]) < 0
    if name == b"ACL" and upper[:1] in ([b"SETUSER"], [b"DELUSER"]):
        return not any(word.startswith(b"%") for word in rest) and (upper[0] == b"DELUSER" or rest[1:2] in ([], [b"u1"], [b"u2"]))
    if name in (b"SORT", b"SORT_RO"):
        return b"BY" not in upper and rest[:1] in ([], *([key] for key in SORT_KEYS))   # ties: oracle_generate_sort.py; Redis makes a sorted set a skiplist
    return True


class EdgeGenerator(Generator):
    """docs: COMMAND DOCS of the peer, plain, in RESP3."""

    def __init__(self, seed, epoch, docs):
        super().__init__(seed, epoch)
        self.rows = []
        for name, row in sorted(docs.items()):
            for sub, inner in [(name, row)] + sorted(row.get(b"subcommands", {}).items()):
                if sub not in UNASKED:
                    self.rows.append((sub.split(b"|"), inner.get(b"arguments", []), inner[b"group"]))

    # --- words ---------------------------------------------------------------------------------------------

    def odd_case(self, word):
        return self.pick([word, word, word.lower(), word.title(), word.swapcase()])

    def any_number(self):
        return self.pick(NUMBERS) if self.chance(0.8) else self.pick(FLOATS)

    def edge(self):
        return self.pick([self.any_number, lambda: self.pick(TEXTS), lambda: self.edge_key(b"")])()

    def edge_key(self, group):
        if group in KINDS and self.chance(0.8):
            return self.pick(KINDS[group])
        return self.pick(list(FILL) + MISSING)

    def leaf(self, command, argument, group):
        name, kind = argument[b"name"], argument[b"type"]
        if command[0] in (b"sort", b"sort_ro") and name == b"key":
            return self.pick(SORT_KEYS)
        if kind == b"key" or (name == b"key" and kind != b"pure-token"):
            return self.edge_key(group)
        special = self.special(command, name)
        if special is not None:
            return special
        if kind in (b"integer", b"unix-time"):
            return self.pick(SMALL) if self.chance(0.6) else self.any_number()
        if kind == b"double":
            return self.pick(SMALL) if self.chance(0.4) else self.pick(FLOATS + NUMBERS)
        if kind == b"pattern":
            return self.pick([b"*", b"a*", b"[", b"", b"\\", b"[^a]", b"?", b"nosuch"])
        return self.pick(TEXTS) if self.chance(0.7) else self.any_number()

    def special(self, command, name):
        first = command[0]
        if name == b"timeout" or name == b"milliseconds" and first in (b"xread", b"xreadgroup"):
            return self.pick([b"1", b"2", b"-1", b"x"]) if first.startswith(b"x") else self.pick(SHORT_TIMES)
        if name == b"cursor":
            return self.pick([b"0"] * 6 + [b"x", b"", b"-1", b" 0", b"0x", b"99999999999999999999"])
        if name in (b"client-id", b"clientid"):
            return self.pick([NOBODY, NOBODY, b"0", b"-1", b"x", b""])
        if name == b"ip:port":
            return self.pick([NOBODY, b"127.0.0.1:1", b""])
        if first in (b"eval", b"eval_ro") and name == b"script" or command == [b"script", b"load"]:
            return self.pick(VALUES + FAULTY + CALLERS)
        if name == b"sha1":
            return self.pick([sha(self.pick(VALUES + CALLERS)), b"x", b"", b"0" * 40])
        if name == b"function-code":
            return self.pick(LIBRARIES + BAD_LIBRARIES)
        if name in (b"function", b"library-name"):
            return self.pick([b"one_call", b"two_ro", b"one", b"two", b"nosuch", b""])
        if name == b"serialized-value":
            return self.pick(DUMPS)
        if first == b"auth" and name == b"username":
            return self.pick([b"default", b"nobody", b""])
        if first == b"acl" and name == b"username":
            return self.pick([b"u1", b"u2", b"u1", b"nobody", b""])
        if first == b"acl" and name == b"rule":
            return self.pick([b"on", b"off", b"+get", b"+@all", b"+@x", b"~a*", b"&*", b"nopass", b">p", b"<p", b"#x", b"reset", b"(+get ~a)", b"(", b"allkeys",
                              b"clearselectors", b"", b"+config|get", b"+get|x", b"\x00", b"~", b"resetkeys", b"resetchannels", b"allchannels", b"sanitize-payload"])
        if first.startswith(b"geo") and name in (b"longitude", b"latitude") and self.chance(0.8):
            return self.pick([b"13.5", b"38", b"0", b"-180", b"85.05112878", b"85.06", b"181"])
        if name in (b"id", b"start", b"end", b"lastid", b"last-id") and first.startswith(b"x") or name in (b"id_or_auto",):
            return self.pick([b"0", b"1-1", b"2-0", b"3", b"5-*", b"-", b"+", b"$", b">", b"(1-1", b"1-", b"-1", b"18446744073709551615-18446744073709551615", b"18446744073709551616", b"x", b""])
        if name in (b"group", b"consumer"):
            return self.pick([b"g", b"c", b"g", b"c", b"nosuch", b""])
        if first == b"sort" or first == b"sort_ro":
            return self.pick([b"*", b"nosort", b"#", b"hash->a", b"x*", b""]) if name == b"pattern" else None
        return None

    # --- calls from the grammar ------------------------------------------------------------------------------

    def expand(self, command, argument, group):
        """Words of one argument; [] of an option that is not there."""
        flags = argument.get(b"flags", [])
        if b"optional" in flags and self.chance(0.55):
            return []
        token = [self.odd_case(argument[b"token"])] if argument.get(b"token") not in (None, b"", b"\"\"") else []
        times = self.pick([1, 1, 2, 3]) if b"multiple" in flags else 1
        words = []
        for i in range(times):
            if token and (i == 0 or b"multiple_token" in flags):
                words += token
            if argument[b"type"] == b"oneof":
                words += self.expand(command, dict(self.pick(argument[b"arguments"]), flags=[]), group)
            elif argument[b"type"] == b"block":
                words += self.sequence(command, argument[b"arguments"], group)
            elif argument[b"type"] != b"pure-token":
                words.append(self.leaf(command, argument, group))
        return words

    def parts(self, command, arguments, group):
        """[[words of an argument], ...]; a number of keys counts them, mostly."""
        parts, counted = [], None
        for argument in arguments:
            part = self.expand(command, argument, group)
            if counted is not None and self.chance(0.85):
                parts[counted][-1] = b"%d" % len(part)
            counted = len(parts) if part and argument[b"name"] == b"numkeys" else None
            parts.append(part)
        return parts

    def sequence(self, command, arguments, group):
        return [word for part in self.parts(command, arguments, group) for word in part]

    def spoil(self, parts, command):
        """One thing goes wrong."""
        words = [word for part in parts for word in part]
        how = self.random.randrange(9)
        at = self.random.randrange(len(words)) if words else 0
        if how == 0:
            return words[:at]
        if how == 1:
            return words + [self.edge() for _ in range(self.pick([1, 1, 2, 5]))]
        if how == 2 and words:
            return words[:at] + [self.any_number()] + words[at + 1:]
        if how == 3 and words:
            return words[:at] + [self.edge()] + words[at + 1:]
        if how == 4:        # the same again
            part = self.pick(parts) if parts else []
            return words + part
        if how == 5 and len(parts) > 2:     # options in another order
            tail = parts[1:]
            self.random.shuffle(tail)
            return [word for part in parts[:1] + tail for word in part]
        if how == 6 and words:
            other = self.random.randrange(len(words))
            words[at], words[other] = words[other], words[at]
            return words
        if how == 7:
            return words[:at] + [self.edge()] + words[at:]
        return words[:at] + words[at + 1:]

    def setting(self):
        """CONFIG SET of several at once: none is set when one is wrong."""
        names = [name for name in SETTINGS if name != b"proto-max-bulk-len"] + [b"nosuch", b""]
        pairs = [[self.odd_case(name), self.pick(SETTINGS.get(name, [b""])) if self.chance(0.8) else self.edge()] for name in self.random.choices(names, k=self.pick([1, 2, 3]))]
        return [[b"CONFIG"], [b"SET"]] + pairs

    def unlisted(self):
        for _ in range(50):
            parts = self.setting() if self.chance(0.3) else [[word] for word in self.pick(UNLISTED).split()]
            words = [word for part in parts for word in part] if self.chance(0.5) else parts[0] + self.spoil(parts[1:], None)
            if safe(words):
                return words
        return [b"PING"]

    def call(self):
        if self.chance(0.03):
            return self.unlisted()
        for _ in range(50):
            command, arguments, group = self.pick(self.rows)
            parts = self.parts(command, arguments, group)
            words = [word for part in parts for word in part]
            if self.chance(0.5):
                words = self.spoil(parts, command)
                if self.chance(0.2):
                    words = self.spoil([[word] for word in words], command)
            words = [self.odd_case(word.upper()) for word in command] + words
            if safe(words):
                return words
        return [b"PING"]

    def from_lua(self):
        for _ in range(20):
            words = self.call()
            if words[0].upper() not in FREE and words[0] != b"DEBUG":    # its subcommands are none in COMMAND, where a script looks first
                return [b"EVAL", self.pick(CALLERS)] + self.pick([[b"0"], [b"0"], [b"1", b"str"]]) + words
        return [b"PING"]

    # --- what changes a connection ---------------------------------------------------------------------------

    def fresh(self):
        """Calls for a connection of their own, in RESP2 or RESP3, up to QUIT."""
        calls, some = [], [b"ch", b"", b"\x00\r\n"]
        for _ in range(self.random.randint(1, 8)):
            calls.append(self.pick([
                lambda: [self.pick([b"SUBSCRIBE", b"PSUBSCRIBE", b"SSUBSCRIBE"])] + [self.pick(some) for _ in range(self.random.randint(0, 2))],
                lambda: [self.pick([b"UNSUBSCRIBE", b"PUNSUBSCRIBE", b"SUNSUBSCRIBE"]), self.pick(some)],
                lambda: [b"CLIENT", self.odd_case(b"REPLY")] + self.pick([[b"ON"], [b"OFF"], [b"SKIP"], [], [b"x"], [b"on", b"on"]]),
                lambda: [b"CLIENT", b"TRACKING"] + [self.pick([b"ON", b"OFF", b"BCAST", b"OPTIN", b"OPTOUT", b"NOLOOP", b"PREFIX", b"", b"REDIRECT", b"a", b"ab", NOBODY, b"0", b"-1"])
                                                    for _ in range(self.random.randint(0, 5))],
                lambda: [b"CLIENT", self.pick([b"CACHING", b"GETREDIR", b"TRACKINGINFO", b"GETNAME", b"SETNAME"])] + self.pick([[], [b"yes"], [b"NO"], [b"a b"]]),
                lambda: [b"HELLO"] + self.pick([[], [b"2"], [b"3"], [b"3"], [b"4"], [b""], [b"3", b"AUTH", b"default", b"x"], [b"3", b"AUTH", b"u", b"x"], [b"2", b"SETNAME", b"a"], [b"2", b"x"]]),
                lambda: [b"AUTH"] + self.pick([[], [b"x"], [b"default", b"x"], [b"u", b"x"], [b"", b""], [b"a", b"b", b"c"]]),
                lambda: self.pick([[b"RESET"], [b"RESET", b"x"], [b"MULTI"], [b"EXEC"], [b"DISCARD"], [b"PING"], [b"PING", b"\x00"], [b"QUIT", b"x"], [b"MONITOR", b"x"], [b"SYNC", b"x"]]),
                lambda: [b"GET", b"str"], lambda: [b"WATCH", b"str"],
                lambda: self.call()])())
        asked = [call for call in calls if call[0].upper() not in UNCOUNTED and not free(call)]
        if any(call[1:2] and call[1].upper() == b"REPLY" for call in asked):   # Redis never answers the QUIT whose reply is kept back
            asked = [call for call in asked if call[0].upper() != b"QUIT"]
        return [FRESH, self.pick([b"2", b"3"])] + [encode(*call) for call in asked]

    # --- epochs ------------------------------------------------------------------------------------------------

    def fill(self, key):
        return [[b"DEL", key], FILL[key]] + AFTER.get(key, [])

    def steps(self, count, skip=()):
        steps = [(0, words) for key in FILL for words in self.fill(key)] + [(0, words) for words in SORT_FILL] + [(0, [b"ACL", b"DELUSER", b"u1", b"u2"])]
        steps = [(0, [b"CONFIG", b"SET", name, self.pick(values)]) for name, values in SETTINGS.items()] + [(0, LIMITED)] + steps
        limited = self.chance(0.25)
        if limited:
            steps.append((2, [b"AUTH", b"limited", b""]))
        while len(steps) < count:
            session = self.random.randrange(3)
            calls = []
            for _ in range(self.random.randint(1, 40)):
                calls.append(self.from_lua() if self.chance(0.15) else self.call())
            if limited and session == 2:    # what is judged by further questions would not be answered
                calls = [words for words in calls if words[0].upper() not in SOLO]
            elif self.chance(0.15):
                calls = [[b"MULTI"]] + calls[:8] + [self.pick([[b"EXEC"]] * 6 + [[b"DISCARD"], [b"EXEC", b"x"], [b"DISCARD", b""]]), [b"EXEC"]]
            if self.chance(0.3):
                calls += self.fill(self.pick(list(FILL)))
            if self.chance(0.05):
                calls += [[b"SELECT", b"0"]]
            if self.chance(0.15):
                calls.append(self.fresh())
            if self.chance(0.1):
                calls.append([STATE])
            steps += [(session, words) for words in calls if words[0].upper() not in skip]
        return steps[:count - 1] + [(0, [STATE])]


# --- what a FRESH connection says, and what all keys hold ----------------------------------------------------

UNCOUNTED = RANDOM | {b"SPOP", b"SCAN", b"SSCAN", b"HSCAN", b"ZSCAN", b"RANDOMKEY", b"KEYS", b"DBSIZE", b"TIME", b"LASTSAVE", b"SMEMBERS", b"HGETALL", b"HKEYS", b"HVALS", b"SINTER", b"SUNION",
                      b"SDIFF", b"CLIENT ID", b"SELECT", b"FLUSHALL", b"FLUSHDB", b"SWAPDB", b"XPENDING", b"XINFO", b"INFO", b"COMMAND", b"CONFIG", b"MEMORY", b"LATENCY", b"SLOWLOG",
                      b"DUMP", b"OBJECT", b"DEBUG", b"FUNCTION", b"ACL", b"EVAL", b"TTL", b"PTTL", b"EXPIRETIME", b"PEXPIRETIME", b"SORT", b"SORT_RO", b"PUBLISH", b"SPUBLISH", b"WAIT"}


def free(call):
    """Its reply may differ, or it touches what others compare."""
    return call[0].upper() == b"CLIENT" and call[1:2] and call[1].upper() in (b"ID", b"INFO", b"LIST", b"HELP") or call[-1].upper() == b"HELP"


def run_fresh(server, words):
    """All frames of a connection of its own: replies in order, and pushes in order. RESET ends what would keep QUIT from being answered."""
    client = server.client(resp=int(words[1]), timeout=20)
    client.send_raw(b"".join(words[2:]) + encode("RESET") + encode("QUIT"))
    replies, pushes = [], []
    try:
        while True:
            frame = client.read()
            (pushes if frame[0] == ">" else replies).append(without_versions(frame))
    except ConnectionError as end:
        replies.append(str(end))
    client.close()
    return replies, pushes


def without_versions(frame):
    """HELLO's reply as the oracle compares it, also inside EXEC's."""
    if not isinstance(frame[1], list):
        return frame
    return hello_form(frame) if frame[1][:1] == [("$", b"server")] else (frame[0], [without_versions(item) for item in frame[1]])


def state(server):
    """What all keys hold, in a form that must be equal."""
    client = server.client(timeout=20)
    found = []
    for database in range(DATABASES):
        client.call("SELECT", database)
        for key in sorted(client.call("KEYS", "*")):
            kind, encoding = client.call("TYPE", key), client.call("OBJECT", "ENCODING", key)
            deadline = client.call("EXPIRETIME", key)
            more = plain(client.wire("ZRANGE", key, 0, -1, "WITHSCORES")) if kind == b"zset" else client.call("DEBUG", "DIGEST-VALUE", key)
            if kind == b"zset":
                more = [b"0" if word == b"-0" else word for word in more]
            if kind == b"stream":
                groups = client.call("XINFO", "GROUPS", key)
                more = [more] + [[group[:12]] + [[consumer[:4] for consumer in client.call("XINFO", "CONSUMERS", key, group[1])], client.call("XPENDING", key, group[1])] for group in groups]
            found.append((database, key, kind, encoding, more, deadline))
    client.close()
    return found


def same_state(a, b):
    """Deadlines with the tolerance of those that replies show."""
    return len(a) == len(b) and all(x[:-1] == y[:-1] and (x[-1] > 0) == (y[-1] > 0) and abs(x[-1] - y[-1]) <= TOLERANCE[b"EXPIRETIME"] for x, y in zip(a, b))
