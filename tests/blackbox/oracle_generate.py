"""oracle_generate.py -- random command sequences for the oracle, repeatable from (seed, epoch).

Goal:   reach the edges of each command more often than its middle.
Method: few keys and fields (collisions matter more than variety), values drawn from a list of
        known troublemakers. A step is (session, words). Sessions 0 and 2 speak RESP2, 1 speaks
        RESP3; a run of steps of one session can be pipelined.
Time:   replies must not depend on the speed of the run, so a deadline lies either in the past or
        at least 1000 s ahead, relative deadlines are drawn from a wide range (two of them are
        never close), and absolute ones are constants after the year 2100.
"""
import random

from oracle_generate_bits import BIT_KEYS, BitCommands
from oracle_generate_geo import GeoCommands
from oracle_generate_hll import HLL_KEYS, HllCommands
from oracle_generate_scripts import ScriptCommands
from oracle_generate_server import ServerCommands
from oracle_generate_sets import SET_KEYS, SetCommands
from oracle_generate_sort import SortCommands
from oracle_generate_streams import StreamCommands
from oracle_generate_zsets import ZSET_KEYS, ZsetCommands

SESSIONS = 3
FAR_SECONDS = [4102444800, 4102444801, 4133980800, 5000000000, 99999999999]

KEYS = [b"a", b"b", b"c", b"d", b"e", b"h", b"h1", b"h2", b"hash", b"n", b"counter", b"", b"key:1", b"key:2",
        b"user:{tag}:1", b"other:{tag}", b"\x00\r\n\xff", b"k" * 300, b"with space", b"[x]*?\\"]
LIST_KEYS = [b"l", b"l1", b"l2", b"list:{tag}"]
ELEMENTS = [b"a", b"b", b"c", b"d", b"1", b"2", b"-1", b"01", b"", b"\x00\r\n\xff", b"A", b"E" * 300, b"9223372036854775807"]
FIELDS = [b"f", b"g", b"1", b"2", b"n", b"", b"\x00\xff", b"field:1", b"F" * 70, b"float"]
TEXTS = [b"", b"hello", b"x" * 44, b"x" * 45, b"y" * 64, b"y" * 65, b"\x00\x01\r\n\xfe\xff", b"caf\xc3\xa9", b"z" * 1000]
INTEGERS = [b"0", b"1", b"-1", b"2", b"10", b"100", b"-5", b"9999", b"10000", b"2147483647", b"2147483648",
            b"-2147483649", b"4294967296", b"9223372036854775807", b"-9223372036854775808", b"9223372036854775806"]
NOT_INTEGERS = [b"9223372036854775808", b"-9223372036854775809", b"99999999999999999999", b" 1", b"1 ", b"+1",
                b"01", b"-0", b"1.0", b"1e3", b"0x10", b"", b"abc", b"--1", b"1\x00"]
FLOATS = [b"1.5", b"-1.5", b"0.1", b"3.0e-5", b"1e3", b"5.0e3", b"-0.0", b"inf", b"-inf", b"+inf", b"infinity",
          b"nan", b"1e308", b"1e400", b"1e4932", b"1e-400", b".5", b"5.", b"0x1p3", b"1e", b" 1.5", b"1.5 ", b"1,5",
          b"3.14159265358979323846", b"0.30000000000000004", b"123456789012345678", b"1e17", b"1e18", b"1e-7",
          b"99999999999999999.5"]
INDEXES = [b"0", b"1", b"-1", b"2", b"5", b"-3", b"10", b"100", b"-100", b"2147483648", b"9223372036854775807",
           b"-9223372036854775808"]
PATTERNS = [b"*", b"a*", b"key:*", b"k?y:1", b"[a-c]", b"[^a]", b"h*", b"*{tag}*", b"\\[x\\]*", b"", b"nothing", b"[",
            b"[a", b"\\", b"*\xff", b"**", b"a\\*", b"[z-a]", b"*a*b*c*"]
DATABASES = [b"0", b"1", b"2"]
BAD_DATABASES = [b"16", b"-1", b"abc", b"", b"99999999999999999999"]


class Generator(SetCommands, BitCommands, HllCommands, ZsetCommands, SortCommands, GeoCommands, StreamCommands,
                ScriptCommands, ServerCommands):
    def __init__(self, seed, epoch):
        self.random = random.Random("%s/%s" % (seed, epoch))

    # --- words -------------------------------------------------------------------------------

    def chance(self, p):
        return self.random.random() < p

    def pick(self, items):
        return self.random.choice(items)

    def key(self):
        return self.pick(KEYS + LIST_KEYS + SET_KEYS + BIT_KEYS + HLL_KEYS + ZSET_KEYS)

    def hash_key(self):
        """Mostly the keys that hold hashes, else any: wrong types must appear, not rule."""
        return self.pick(KEYS[5:9]) if self.chance(0.85) else self.key()

    def list_key(self):
        return self.pick(LIST_KEYS) if self.chance(0.93) else self.key()

    def element(self):
        return self.pick(ELEMENTS) if self.chance(0.9) else self.value()

    def string_key(self):
        return self.pick(KEYS[:5] + KEYS[9:]) if self.chance(0.9) else self.key()

    def keys(self, most=4):
        return [self.key() for _ in range(self.random.randint(1, most))]

    def field(self):
        return self.pick(FIELDS)

    def integer(self):
        r = self.random.random()
        if r < 0.6:
            return b"%d" % self.random.randint(-20, 100)
        return self.pick(INTEGERS if r < 0.85 else NOT_INTEGERS)

    def number(self):
        return self.pick(FLOATS) if self.chance(0.6) else self.integer()

    def value(self):
        r = self.random.random()
        if r < 0.4:
            return self.integer()
        if r < 0.55:
            return self.pick(FLOATS)
        if r < 0.57:
            return b"L" * 5000
        return self.pick(TEXTS)

    def index(self):
        return self.pick(INDEXES) if self.chance(0.9) else self.pick(NOT_INTEGERS)

    def database(self):
        return self.pick(DATABASES if self.chance(0.9) else BAD_DATABASES)

    def mixed_case(self, word):
        return word.lower() if self.chance(0.3) else word

    def relative(self, unit_ms):
        """A relative deadline in seconds (unit 1000) or milliseconds (unit 1)."""
        r = self.random.random()
        if r < 0.75:
            return b"%d" % (self.random.randint(1000000, 10 ** 11) // unit_ms)
        if r < 0.9:
            return self.pick([b"0", b"-1", b"-1000"])
        return self.pick([b"9223372036854775807", b"-9223372036854775808", b"9223372036854775"] + NOT_INTEGERS)

    def absolute(self, unit_ms):
        r = self.random.random()
        if r < 0.75:
            return b"%d" % (self.pick(FAR_SECONDS) * (1000 // unit_ms))
        if r < 0.9:
            return self.pick([b"0", b"1", b"-1", b"1000000000"])
        return self.pick([b"9223372036854775807", b"-9223372036854775808", b"9223372036854775"] + NOT_INTEGERS)

    def deadline_option(self):
        name = self.pick([b"EX", b"PX", b"EXAT", b"PXAT"])
        unit = 1 if name[:1] == b"P" else 1000
        time = self.absolute(unit) if name.endswith(b"AT") else self.relative(unit)
        return [self.mixed_case(name), time] if self.chance(0.97) else [name]

    # --- groups of commands ------------------------------------------------------------------

    def set(self):
        words = [b"SET", self.string_key(), self.value()]
        options = []
        if self.chance(0.3):
            options.append([self.pick([b"NX", b"XX"])])
        if self.chance(0.2):
            options.append([b"GET"])
        if self.chance(0.3):
            options.append(self.deadline_option())
        if self.chance(0.15):
            options.append([b"KEEPTTL"])
        if self.chance(0.05):
            options.append(self.pick([[b"XX"], [b"NX"], [b"PERSIST"], [b"nonsense"], self.deadline_option()]))
        self.random.shuffle(options)
        return words + [self.mixed_case(w) if w.isalpha() else w for option in options for w in option]

    def string_read(self):
        return self.pick([
            lambda: [b"GET", self.key()], lambda: [b"GET", self.string_key()], lambda: [b"STRLEN", self.key()],
            lambda: [b"MGET"] + self.keys(), lambda: [b"GETRANGE", self.string_key(), self.index(), self.index()],
            lambda: [b"SUBSTR", self.string_key(), self.index(), self.index()]])()

    def get_ex(self):
        words = [b"GETEX", self.string_key()]
        if self.chance(0.8):
            words += self.deadline_option() if self.chance(0.7) else [b"PERSIST"]
        if self.chance(0.05):
            words += self.pick([[b"PERSIST"], [b"nonsense"], self.deadline_option(), [b"KEEPTTL"], [b"NX"]])
        return words

    def pairs(self, most=3):
        words = []
        for _ in range(self.random.randint(1, most)):
            words += [self.string_key(), self.value()]
        return words if self.chance(0.97) else words[:-1]

    def set_range(self):
        offset = self.pick([b"0", b"1", b"10", b"100", b"-1", b"536870912", b"9223372036854775807", b"abc", b"1.0"])
        return [b"SETRANGE", self.string_key(), offset, self.pick(TEXTS)]

    def string_write(self):
        return self.pick([
            lambda: [b"GETSET", self.string_key(), self.value()], lambda: [b"GETDEL", self.string_key()], self.get_ex,
            lambda: [b"MSET"] + self.pairs(), lambda: [b"MSETNX"] + self.pairs(2),
            lambda: [b"APPEND", self.string_key(), self.value()], self.set_range,
            lambda: [b"SETNX", self.string_key(), self.value()],
            lambda: [b"SETEX", self.string_key(), self.relative(1000), self.value()],
            lambda: [b"PSETEX", self.string_key(), self.relative(1), self.value()]])()

    def arithmetic(self):
        return self.pick([
            lambda: [b"INCR", self.string_key()], lambda: [b"DECR", self.string_key()],
            lambda: [b"INCRBY", self.string_key(), self.integer()],
            lambda: [b"DECRBY", self.string_key(), self.integer()],
            lambda: [b"INCRBYFLOAT", self.string_key(), self.number()],
            lambda: [b"SET", self.string_key(), self.integer()]])()

    def expire(self):
        name = self.pick([b"EXPIRE", b"PEXPIRE", b"EXPIREAT", b"PEXPIREAT"])
        unit = 1 if name[:1] == b"P" else 1000
        words = [name, self.key(), self.absolute(unit) if name.endswith(b"AT") else self.relative(unit)]
        if self.chance(0.4):
            words.append(self.mixed_case(self.pick([b"NX", b"XX", b"GT", b"LT"])))
        if self.chance(0.05):
            words.append(self.pick([b"NX", b"XX", b"GT", b"LT", b"nonsense"]))
        return words

    def time_read(self):
        return [self.pick([b"TTL", b"PTTL", b"EXPIRETIME", b"PEXPIRETIME", b"PERSIST"]), self.key()]

    def copy(self):
        words = [b"COPY", self.key(), self.key()]
        if self.chance(0.4):
            words += [b"DB", self.database()]
        if self.chance(0.4):
            words.append(b"REPLACE")
        if self.chance(0.03):
            words.append(b"nonsense")
        return words

    def keyspace(self):
        return self.pick([
            lambda: [b"DEL"] + self.keys(3), lambda: [b"UNLINK"] + self.keys(2), lambda: [b"EXISTS"] + self.keys(),
            lambda: [b"TYPE", self.key()], lambda: [b"RENAME", self.key(), self.key()],
            lambda: [b"RENAMENX", self.key(), self.key()], self.copy, lambda: [b"MOVE", self.key(), self.database()],
            lambda: [b"TOUCH"] + self.keys(), lambda: [b"DBSIZE"], lambda: [b"KEYS", self.pick(PATTERNS)],
            self.scan, lambda: [b"RANDOMKEY"], lambda: [b"OBJECT", b"ENCODING", self.key()],
            lambda: [b"OBJECT", self.pick([b"REFCOUNT", b"IDLETIME", b"FREQ"]), self.key()]])()

    def scan_options(self):
        words = []
        if self.chance(0.4):
            words += [b"MATCH", self.pick(PATTERNS)]
        if self.chance(0.4):
            words += [b"COUNT", self.pick([b"1", b"3", b"10", b"1000", b"0", b"-1", b"abc"])]
        return words

    def scan(self):
        words = [b"SCAN", self.pick([b"0"] * 20 + [b"abc", b"1x", b""])] + self.scan_options()
        if self.chance(0.3):
            words += [b"TYPE", self.pick([b"string", b"hash", b"set", b"zset", b"HASH", b"nonsense"])]
        return words if self.chance(0.97) else words + [self.pick([b"MATCH", b"nonsense", b"NOVALUES"])]

    def databases(self):
        """Rare, since each of them moves the whole game."""
        return self.pick([
            lambda: [b"SELECT", self.database()], lambda: [b"SELECT", b"0"],
            lambda: [b"SWAPDB", self.database(), self.database()], lambda: [b"FLUSHDB"],
            lambda: [b"FLUSHALL"] + self.pick([[], [], [b"ASYNC"], [b"SYNC"], [b"nonsense"], [b"SYNC", b"ASYNC"]])])()

    def field_values(self, most=3):
        words = []
        for _ in range(self.random.randint(1, most)):
            words += [self.field(), self.value()]
        return words if self.chance(0.97) else words[:-1]

    def hash_write(self):
        if self.chance(0.005):
            return [b"HSET", self.hash_key()] + [b"m%d" % (i // 2) for i in range(2 * self.pick([127, 129, 511, 513]))]
        return self.pick([
            lambda: [b"HSET", self.hash_key()] + self.field_values(), lambda: [b"HSET", self.hash_key()] + self.field_values(),
            lambda: [b"HSETNX", self.hash_key(), self.field(), self.value()],
            lambda: [b"HMSET", self.hash_key()] + self.field_values(),
            lambda: [b"HDEL", self.hash_key()] + [self.field() for _ in range(self.random.randint(1, 3))],
            lambda: [b"HINCRBY", self.hash_key(), self.field(), self.integer()],
            lambda: [b"HINCRBYFLOAT", self.hash_key(), self.field(), self.number()]])()

    def random_field(self):
        words = [b"HRANDFIELD", self.hash_key()]
        if self.chance(0.7):
            words.append(self.pick([b"0", b"1", b"2", b"5", b"100", b"-1", b"-3", b"-50", b"abc",
                                    b"-9223372036854775808", b"9223372036854775807"]))
        if self.chance(0.3):
            words.append(self.pick([b"WITHVALUES", b"withvalues", b"nonsense"]))
        return words

    def hash_read(self):
        key = self.hash_key()
        return self.pick([
            lambda: [b"HGET", key, self.field()], lambda: [b"HMGET", key, self.field(), self.field()],
            lambda: [b"HGETALL", key], lambda: [b"HLEN", key], lambda: [b"HEXISTS", key, self.field()],
            lambda: [b"HKEYS", key], lambda: [b"HVALS", key], lambda: [b"HSTRLEN", key, self.field()],
            lambda: [b"HSCAN", key, self.pick([b"0"] * 20 + [b"abc"])] + self.scan_options(), self.random_field])()

    def elements(self):
        if self.chance(0.01):
            return [b"%d" % (i % 37) for i in range(self.pick([127, 129, 400, 1500]))]
        return [self.element() for _ in range(self.random.randint(1, 4))]

    def list_push(self):
        names = [b"LPUSH", b"RPUSH"] * 4 + [b"LPUSHX", b"RPUSHX"]
        return [self.pick(names), self.list_key()] + self.elements()

    def position(self):
        r = self.random.random()
        if r < 0.6:
            return b"%d" % self.random.randint(-6, 6)
        return b"%d" % self.random.randint(-1600, 1600) if r < 0.75 else self.index()

    def count(self, least):
        if self.chance(0.85):
            return b"%d" % self.random.randint(least, 4)
        return self.pick([b"0", b"-1", b"30", b"1000", b"9223372036854775807", b"-9223372036854775808"] + NOT_INTEGERS)

    def list_pop(self):
        words = [self.pick([b"LPOP", b"RPOP"]), self.list_key()]
        return words + [self.count(0)] if self.chance(0.4) else words

    def list_edit(self):
        key = self.list_key()
        return self.pick([
            lambda: [b"LSET", key, self.position(), self.element()],
            lambda: [b"LINSERT", key, self.mixed_case(self.pick([b"BEFORE", b"AFTER"] * 9 + [b"BESIDE"])),
                     self.element(), self.element()],
            lambda: [b"LREM", key, self.count(-4), self.element()],
            lambda: [b"LTRIM", key] + self.pick([[b"0", b"-1"], [b"1", b"-1"], [b"0", b"-2"],
                                                 [self.position(), self.position()]])])()

    def list_position(self):
        words = [b"LPOS", self.list_key(), self.element()]
        for name, least in ((b"RANK", -3), (b"COUNT", 0), (b"MAXLEN", 0)):
            if self.chance(0.4):
                count = self.count(least)
                if count != b"-9223372036854775808":    # as a rank, Redis 7.0 miscounts it
                    words += [self.mixed_case(name), count]
        return words if self.chance(0.97) else words + self.pick([[b"RANK"], [b"nonsense", b"1"]])

    def list_read(self):
        key = self.list_key()
        return self.pick([
            lambda: [b"LLEN", key], lambda: [b"LINDEX", key, self.position()],
            lambda: [b"LRANGE", key, self.position(), self.position()], lambda: [b"LRANGE", key, b"0", b"-1"],
            self.list_position, lambda: [b"OBJECT", b"ENCODING", key], lambda: [b"TYPE", key]])()

    def ends(self, count):
        return [self.mixed_case(self.pick([b"LEFT", b"RIGHT"] * 12 + [b"UP"])) for _ in range(count)]

    def list_move(self):
        names = [self.list_key(), self.list_key()]
        return [b"RPOPLPUSH"] + names if self.chance(0.3) else [b"LMOVE"] + names + self.ends(2)

    def counted_keys(self):
        keys = [self.list_key() for _ in range(self.random.randint(1, 3))]
        number = b"%d" % len(keys) if self.chance(0.9) else self.pick(
            [b"0", b"-1", b"1", b"2", b"4", b"100", b"x", b"", b"1.0", b"9223372036854775807"])
        return [number] + keys + self.ends(1) + self.pick(
            [[], [], [b"COUNT", self.count(1)], [b"count", b"10"], [b"COUNT"], [b"COUNT", b"1", b"COUNT", b"2"], [b"nonsense"]])

    def list_wait(self):
        """The time is short, and never 0: nobody would come to push."""
        time = self.pick([b"0.001", b"0.002", b"0.01", b"1e-3"] * 4 + [
            b"-1", b"-inf", b"1e400", b"1e16", b"9223372036854776", b"abc", b"", b" 1", b"nan"])
        names = [self.list_key() for _ in range(self.random.randint(1, 3))]
        return self.pick([
            lambda: [self.pick([b"BLPOP", b"BRPOP"])] + names + [time],
            lambda: [b"BRPOPLPUSH", names[0], self.list_key(), time],
            lambda: [b"BLMOVE", names[0], self.list_key()] + self.ends(2) + [time],
            lambda: [b"BLMPOP", time] + self.counted_keys()])()

    def lists(self):
        return self.pick([self.list_push] * 6 + [self.list_pop] * 2 + [self.list_edit] * 4 + [self.list_read] * 5 + [
            self.list_move] * 2 + [lambda: [b"LMPOP"] + self.counted_keys(), self.list_wait])()

    def watched_keys(self):
        """No HyperLogLogs: PFDEBUG makes them dense, which is a change here and none that Redis tells WATCH."""
        return [key for key in self.keys(2) if key not in HLL_KEYS] or [KEYS[0]]

    def transaction(self):
        return self.pick([
            lambda: [b"MULTI"], lambda: [b"MULTI"], lambda: [b"EXEC"], lambda: [b"EXEC"], lambda: [b"EXEC"],
            lambda: [b"DISCARD"], lambda: [b"WATCH"] + self.watched_keys(), lambda: [b"WATCH"] + self.watched_keys(),
            lambda: [b"UNWATCH"]])()

    def connection(self):
        return self.pick([
            lambda: [b"PING"], lambda: [b"PING", self.value()], lambda: [b"PING", b"a", b"b"],
            lambda: [b"ECHO", self.value()], lambda: [b"CLIENT", b"ID"], lambda: [b"CLIENT", b"GETNAME"],
            lambda: [b"CLIENT", b"SETNAME", self.pick([b"name", b"", b"with space", b"new\nline", b"ok-1"])],
            lambda: [b"HELLO", self.pick([b"2", b"3", b"4", b"1", b"abc"])], lambda: [b"HELLO"],
            lambda: [b"HELLO", b"3", b"SETNAME", self.pick([b"named", b"bad name"])],
            lambda: [b"HELLO", b"2", b"nonsense"], lambda: [b"CLIENT", b"nonsense"], lambda: [b"CLIENT"],
            lambda: [b"OBJECT", b"nonsense", b"k"], lambda: [b"OBJECT", b"ENCODING"]])()

    def malformed(self):
        """Unknown names, and known names with a word too few or too many."""
        if self.chance(0.2):
            return [self.pick([b"NOSUCH", b"nosuch", b"", b"G\xffT", b"GET ", b"x" * 200])] + self.keys(3)
        words = self.well_formed()
        if words[0].upper() in (b"FLUSHALL", b"FLUSHDB", b"SWAPDB"):
            return [words[0], b"nonsense"]
        if words[0] in (b"BLPOP", b"BRPOP", b"BRPOPLPUSH", b"BLMOVE", b"BLMPOP", b"BZPOPMIN", b"BZPOPMAX", b"BZMPOP",
                        b"SRANDMEMBER", b"HRANDFIELD", b"ZRANDMEMBER", b"SORT", b"SORT_RO", b"WAIT", b"CLIENT", b"SHUTDOWN", b"ACL",
                        b"REPLICAOF", b"SLAVEOF", b"FAILOVER", b"BGSAVE", b"LOLWUT", b"FUNCTION", b"EVAL", b"EVAL_RO", b"EVALSHA", b"EVALSHA_RO", b"FCALL", b"FCALL_RO"):  # a number would be a time or a count without end
            if words[0] in (b"SHUTDOWN", b"BGSAVE", b"LOLWUT", b"FAILOVER", b"FUNCTION",
                            b"EVAL", b"EVAL_RO", b"EVALSHA", b"EVALSHA_RO", b"FCALL", b"FCALL_RO"):
                return words[:2] + [b"nonsense"]
            return words[:self.random.randint(1, len(words))] if self.chance(0.6) else words + [b"nonsense"]
        if words[0] in (b"ZRANK", b"ZREVRANK", b"HELLO"): # a further word is WITHSCORE's place since 7.2; HELLO has set the name by then in 7.0
            return words[:self.random.randint(1, len(words))]
        return words[:self.random.randint(1, len(words))] if self.chance(0.6) else words + [self.value()]

    GROUPS = [(12, "set"), (12, "string_read"), (14, "string_write"), (10, "arithmetic"), (8, "expire"),
              (7, "time_read"), (14, "keyspace"), (1, "databases"), (16, "hash_write"), (16, "hash_read"), (44, "lists"),
              (30, "sets"), (24, "bits"), (12, "hll"), (44, "zsets"), (40, "streams"), (16, "sort"), (16, "geo"),
              (30, "scripts"), (10, "server"), (6, "transaction"), (2, "connection")]
    WEIGHTS = [weight for weight, _ in GROUPS]
    NAMES = [name for _, name in GROUPS]

    def well_formed(self):
        return getattr(self, self.random.choices(self.NAMES, self.WEIGHTS)[0])()

    def command(self):
        words = self.malformed() if self.chance(0.03) else self.well_formed()
        words[0] = self.mixed_case(words[0])
        return words

    def steps(self, count, skip=()):
        """An epoch: exactly count steps. Skipped commands are left out after they were drawn,
        so that a skip changes nothing else in the sequence."""
        steps = []
        drawn = 0
        while drawn < count:
            session = self.random.randrange(SESSIONS)
            for _ in range(min(self.random.randint(1, 60), count - drawn)):
                words = self.command()
                drawn += 1
                if words[0].upper() not in skip:
                    steps.append((session, words))
        return steps
