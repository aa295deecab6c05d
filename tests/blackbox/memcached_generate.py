"""memcached_generate.py -- random commands of memcached's three protocols, for memcached_oracle.py.

A command is a tuple: ("text", key, pieces) or ("packet", opcode, key, value, extras, cas, opaque). A number for compare-and-set
is b"..." or ("cas", n), the n-th number that a server has shown; a piece of text is bytes or such a number. Few keys, so that
commands meet; keys that came as base64, and keys that only the binary protocol can name, are of their own. Numbers stay below 2^63 but for those of edges():
behind one from there on memcached looks for a minus, also beyond the item, and where memory has one it says that the number is none.
"""
import struct
import time

KEYS = [b"k%d" % i for i in range(12)]
LONG_KEYS = [b"x" * 250, b"y" * 251, b"z" * 300]
BASE64_KEYS = [b"AQID", b"/w==", b"8J+SlQ==", b"AAECAwQFBgc="]
BAD_BASE64 = [b"AQI", b"A===", b"====", b"A*ID", b"AQID=", b"k1"]
BINARY_KEYS = [b"a b", b"\r\n", b"\x00", b"\xff" * 250]
VALUES = [b"", b"0", b"1", b"9", b"10", b"99", b"100", b"18446744073709551616", b"007", b" 5", b"5 ",
          b"12 34", b"abc", b"hello world", b"\x00\x01\xff", b"a\r\nb"]
JOINED = [b"", b"abc", b"hello world", b" 5", b"5 ", b"\x00\x01\xff", b"a\r\nb", b"1"]
NUMBERS = [b"0", b"1", b"2", b"9", b"10", b"99", b"1000", b"4294967295", b"4294967296"]
LARGE_NUMBERS = [b"18446744073709551615", b"18446744073709551614", b"9223372036854775807", b"9223372036854775808"]
BAD_NUMBERS = [b"", b"a", b"-1", b"1a", b"18446744073709551616", b"+5", b"0x10", b"1.5", b"-9223372036854775808", b"99999999999999999999999"]
EXPTIMES = [0, 0, 0, 0, 100, 1000, 2592000, 2592001, -1, -2147483648, 2147483647, 4294967295, 4294967296, 4294967396, 5000000000]
BAD_EXPTIMES = [b"a", b"1a", b"", b"-", b"9223372036854775808", b"1.5"]
FLAGS = [b"0", b"0", b"0", b"1", b"77", b"65536", b"4294967295", b"4294967296", b"4294967297"]
BAD_FLAGS = [b"-1", b"x", b"1x", b"18446744073709551616"]
OPAQUES = [b"O1", b"Oabc", b"O!~#", b"O" + b"o" * 30, b"O" + b"p" * 31]
LARGE = bytes(b"abcdef"[(i * i + i // 7) % 6] for i in range(50000))
HUGE = b"v" * 2000000
LARGE_SIZES = [300, 2000, 5000, 16000, 40000]

ODD = [b"\r\n", b"get\r\n", b"gets\r\n", b"set\r\n", b"set k\r\n", b"bogus k\r\n", b"GET k0\r\n", b"incr k0\r\n", b"incr k0 1 2 3\r\n", b"touch k0\r\n",
       b"touch k0 a\r\n", b"gat a k0\r\n", b"gat 5\r\n", b"gat\r\n", b"gats 5\r\n", b"delete\r\n", b"mg\r\n", b"ms\r\n", b"ms k0\r\n", b"md\r\n", b"ma\r\n",
       b"me\r\n", b"  get   k0  k1 \r\n", b"get k0\n", b"version\r\n", b"version 1\r\n", b"set k0 0 0 -1\r\n", b"set k0 0 0 a\r\n", b"cas k0 0 0 1\r\n",
       b"set k0 0 0 2147483647\r\n", b"set k0 0 0 2147483646\r\n", b"ms k0 2147483647\r\n", b"set k0 0 0 4294967295\r\n",
       b"mg k0 vv\r\n", b"mg k0 v v\r\n", b"mg k0 !\r\n", b"mx k0\r\n", b"ms k0 a\r\n", b"ms k0 -1\r\n", b"flush_all a\r\n",
       b"flush_all 1 2 3\r\n", b"flush_all -1\r\n", b"flush_all noreply noreply\r\n", b"verbosity\r\n", b"verbosity a\r\n", b"verbosity 0\r\n",
       b"verbosity 0 noreply\r\n", b"verbosity 1 2 3\r\n", b"verbosity noreply\r\n", b"shutdown\r\n", b"cache_memlimit 1\r\n", b"cache_memlimit\r\n", b"cache_memlimit a\r\n",
       b"stats bogus\r\n", b"md k0 !\r\n", b"mg k0 b\r\n", b"ma k0 M!\r\n", b"ms k0 2 M!\r\nhi\r\n",
       b"ms k0 2 MEE\r\nhi\r\n", b"ms k0 2 M\r\nhi\r\n", b"ma k0 M\r\n", b"ma k0 Dx\r\n", b"ma k0 D\r\n", b"ma k0 Jx\r\n", b"ma k0 Nx\r\n", b"ma k0 Tx\r\n", b"mg k0 Nx\r\n",
       b"mg k0 Rx\r\n", b"mg k0 Tx\r\n", b"mg k0 N\r\n", b"md k0 Tx\r\n", b"md k0 Cx\r\n", b"ma k0 Cx\r\n", b"ms k0 2 v v\r\nhi\r\n", b"ms k0 2 Fx\r\nhi\r\n", b"ms k0 2 Tx\r\nhi\r\n",
       b"ms k0 2 F\r\nhi\r\n", b"ms k0 2 T\r\nhi\r\n", b"ms k0 2 Cx\r\nhi\r\n", b"me %b\r\n" % LONG_KEYS[1], b"mg %b v\r\n" % LONG_KEYS[1], b"md %b q\r\n" % LONG_KEYS[1],
       b"ma %b\r\n" % LONG_KEYS[1], b"me k0 b\r\n", b"me k0 1 2 3\r\n", b"get " + b" ".join(KEYS * 9) + b"\r\n", b"gets " + b" ".join(KEYS[:7] * 4) + b"\r\n",
       b"gat 0 " + b" ".join(KEYS * 4) + b"\r\n", b"mg k0 " + b" ".join(b"vstcfkhl"[i:i + 1] for i in range(8)) * 3 + b"\r\n",
       b"md k0 " + b"q " * 20 + b"\r\n", b"ma k0 " + b"q " * 20 + b"\r\n", b"incr " + LONG_KEYS[1] + b" a\r\n", b"touch " + LONG_KEYS[1] + b" a\r\n",
       b"delete k0 noreply 0\r\n", b"delete k0 0 0\r\n", b"delete k0 noreply noreply\r\n", b"incr k0 1 x\r\n", b"touch k0 0 x\r\n", b"mg nokey O" + b"q" * 32 + b"\r\n", b"mg nokey O" + b"q" * 60 + b"\r\n",
       b"ms k0 2 O" + b"q" * 32 + b"\r\nhi\r\n"]
OVERSIZE = [b"set k0 0 0 2000000\r\n" + HUGE + b"\r\n", b"set k0 0 0 2000000 noreply\r\n" + HUGE + b"\r\n", b"ms k1 2000000\r\n" + HUGE + b"\r\n",
            b"ms k1 2000000 q k Oz\r\n" + HUGE + b"\r\n", b"add k2 0 0 2000000\r\n" + HUGE + b"\r\n", b"cas k2 0 0 2000000 1\r\n" + HUGE + b"\r\n"]
# Letters that no command of 1.6.18 knows, and some that only others know. (E and x belong to later versions and to holdfast.)
STRANGE_LETTERS = [b"a", b"d", b"e", b"g", b"i", b"j", b"m", b"n", b"o", b"p", b"r", b"w", b"y", b"z", b"A", b"B", b"G", b"H", b"K", b"L", b"P", b"Q", b"U", b"V",
                   b"W", b"X", b"Y", b"Z", b"0", b"-", b"@", b"s", b"t", b"v", b"h", b"l", b"f"]


class Generator:
    def __init__(self, rng):
        self.rng = rng
        self.shown = 0
        self.owners = []    # by ordinal: whose number it is
        self.moments = [int(time.time()) + 9000, int(time.time()) + 50000000, 2592002]

    # ---- words

    def key(self):
        return self.rng.choice(KEYS) if self.rng.random() < 0.98 else self.rng.choice(LONG_KEYS)

    def value(self, joined=False):
        if self.rng.random() < 0.04:
            size, at = self.rng.choice(LARGE_SIZES), self.rng.randrange(1000)
            return LARGE[at:at + size]
        return self.rng.choice(JOINED if joined else VALUES)

    def cas(self, key):
        """Mostly the key's last number, else one of late, or one that never was."""
        r = self.rng
        if not self.shown or r.random() < 0.12:
            return r.choice([b"9000000000000000000", b"9000000000000000001", b"18446744073709551615"])
        if r.random() < 0.7:
            for n in range(self.shown - 1, max(-1, self.shown - 60), -1):
                if self.owners[n] == key:
                    return ("cas", n)
        return ("cas", self.shown - 1 - min(self.shown - 1, int(r.expovariate(0.5))))

    def own(self, key):
        """A number that this key once had: what I compares with."""
        found = [n for n in range(max(0, self.shown - 300), self.shown) if self.owners[n] == key]
        return ("cas", self.rng.choice(found)) if found else None

    def number(self, down):
        r = self.rng
        if r.random() < 0.06:
            return r.choice(BAD_NUMBERS)
        return r.choice(LARGE_NUMBERS if down and r.random() < 0.1 else NUMBERS)

    def exptime(self):
        r = self.rng
        if r.random() < 0.02:
            return r.choice(BAD_EXPTIMES)
        return b"%d" % (r.choice(EXPTIMES) if r.random() < 0.9 else r.choice(self.moments))

    def noreply(self):
        return b" noreply" if self.rng.random() < 0.12 else b""

    # ---- text

    def text(self):
        r = self.rng
        kind = r.choices(["get", "gets", "gat", "store", "cas", "delta", "touch", "delete", "odd", "mg", "ms", "md", "ma", "me", "mn",
                          "mutated", "flush"], [8, 5, 3, 11, 6, 8, 3, 3, 3, 13, 10, 5, 7, 2, 1, 3, 0.15])[0]
        key, pieces = getattr(self, "text_" + kind)()
        return ("text", key, pieces)

    def keys(self, count):
        return b" ".join(self.rng.choice(KEYS) for _ in range(count)) if self.rng.random() < 0.97 else self.rng.choice(LONG_KEYS)

    def text_get(self):
        keys = self.keys(self.rng.choice([1, 1, 1, 1, 2, 5, 30]))
        return keys, [b"get " + keys + b"\r\n"]

    def text_gets(self):
        keys = self.keys(self.rng.choice([1, 1, 1, 2, 4]))
        return keys, [b"gets " + keys + b"\r\n"]

    def text_gat(self):
        keys = self.keys(self.rng.choice([1, 2]))
        return keys, [b"%b %b " % (self.rng.choice([b"gat", b"gats"]), self.exptime()) + keys + b"\r\n"]

    def data(self, value):
        return value + (b"\r\n" if self.rng.random() < 0.98 else b"yy\r\n")

    def head(self, value, wrong):
        """Of a command with data. One that is refused has its data run as a line, which is short then."""
        key = self.key() if len(value) < 100 else self.rng.choice(KEYS)
        flags = self.rng.choice(FLAGS if len(value) >= 100 or self.rng.random() > wrong else BAD_FLAGS)
        exptime = self.exptime()
        while len(value) >= 100 and exptime in BAD_EXPTIMES:
            exptime = self.exptime()
        return key, flags, exptime

    def text_store(self):
        name = self.rng.choice([b"set", b"set", b"set", b"add", b"replace", b"append", b"prepend"])
        value = self.value(name.endswith(b"pend"))
        key, flags, exptime = self.head(value, 0.05)
        return key, [b"%b %b %b %b %d%b\r\n" % (name, key, flags, exptime, len(value), self.noreply()) + self.data(value)]

    def text_cas(self):
        value = self.value()
        key, flags, exptime = self.head(value, 0.02)
        return key, [b"cas %b %b %b %d " % (key, flags, exptime, len(value)), self.cas(key), self.noreply() + b"\r\n" + self.data(value)]

    def text_delta(self):
        key, name = self.key(), self.rng.choice([b"incr", b"decr"])
        return key, [b"%b %b %b%b\r\n" % (name, key, self.number(name == b"decr"), self.noreply())]

    def text_touch(self):
        key = self.key()
        return key, [b"touch %b %b%b\r\n" % (key, self.exptime(), self.noreply())]

    def text_delete(self):
        key = self.key()
        return key, [b"delete %b%b\r\n" % (key, self.rng.choice([b"", b"", b"", b" 0", b" noreply", b" 0 noreply", b" 5", b" 1 noreply"]))]

    def text_odd(self):
        return b"k0 k1 k2", [self.rng.choice(ODD if self.rng.random() < 0.985 else OVERSIZE)]

    def text_mutated(self):
        """A line without data in which words are missing, doubled, in another order or changed by a byte."""
        r = self.rng
        kind = r.choice(["get", "gat", "delta", "touch", "delete", "mg", "md", "ma", "me"])
        key, pieces = getattr(self, "text_" + kind)()
        words = [p for piece in pieces if isinstance(piece, bytes) for p in piece.split()]
        for _ in range(r.choice([1, 1, 2])):
            at = r.randrange(len(words)) if words else 0
            what = r.choice(["drop", "double", "swap", "byte", "grow"])
            if what == "drop" and len(words) > 1:
                words.pop(at)
            elif what == "double":
                words.insert(at, words[at])
            elif what == "swap" and at:
                words[at], words[at - 1] = words[at - 1], words[at]
            elif what == "byte":
                words[at] = words[at][:-1] + r.choice([b"!", b"\t", b"\x01", b"0", b"q", b"+", b"\xff"])
            elif what == "grow":
                words[at] = words[at] * 2
        line = b" ".join(words)
        if line.split(b" ")[0] in (b"", b"mn", b"quit") or any(is_later(word, words[0]) for word in words[2:]) or is_lax(words):
            line = b"mutated"
        return b" ".join(KEYS), [line + b"\r\n"]

    def text_flush(self):
        return b" ".join(KEYS), [b"flush_all%b\r\n" % self.rng.choice([b"", b" 0", b" noreply", b" 0 noreply"])]

    # ---- meta

    def flags(self, letters, most):
        r = self.rng
        flags = r.sample(letters, r.randint(0, most))
        if r.random() < 0.3:
            flags.insert(r.randint(0, len(flags)), r.choice(OPAQUES))
        if r.random() < 0.01:
            flags.insert(r.randint(0, len(flags)), r.choice(STRANGE_LETTERS))
        return flags

    def meta_key(self, pieces):
        """A name and what tells how it came."""
        r = self.rng
        if r.random() < 0.88:
            return self.key(), pieces
        key = r.choice(BASE64_KEYS) if r.random() < 0.95 else r.choice(BAD_BASE64)
        return key, pieces[:1] + [b"b"] + pieces[1:]

    def line(self, name, key, flags, cas, tail=b"\r\n"):
        head = b" ".join([name, key] + flags)
        return key, [head + b" C", cas, tail] if cas else [head + tail]

    def text_mg(self):
        r = self.rng
        flags = self.flags([b"v", b"s", b"t", b"c", b"f", b"k", b"h", b"l", b"q", b"u"], 6)
        if r.random() < 0.45:
            flags.insert(r.randint(0, len(flags)), r.choice([b"N60", b"N0", b"T90", b"T0", b"R50", b"R5000", b"R2592001", b"R-1"]))
            if r.random() < 0.2 and not any(f[:1] == b"T" for f in flags):
                flags.append(r.choice([b"T90", b"T3000"]))
        key, flags = self.meta_key(flags)
        return self.line(b"mg", key, flags, None)

    def text_ms(self):
        r = self.rng
        mode = r.choice([[], [], [b"ME"], [b"MA"], [b"MP"], [b"MR"], [b"MS"], [b"Me"], [b"Ma"], [b"Mp"], [b"Mr"], [b"Ms"]])
        value = self.value(mode and mode[0][1:].lower() in (b"a", b"p"))
        flags = self.flags([b"c", b"k", b"q", b"F5", b"F4294967295", b"F4294967296", b"T100", b"T0", b"T-1", b"T2592000"], 4)
        flags = [f for i, f in enumerate(flags) if f[:1] not in [g[:1] for g in flags[:i]]]
        key, flags = self.meta_key(flags + mode)
        if len(value) >= 100 and key not in BASE64_KEYS:
            key, flags = r.choice(KEYS), [f for f in flags if f != b"b"]
        flags = [b"%d" % len(value)] + flags
        cas = None
        if r.random() < 0.35:
            own = self.own(key) if r.random() < 0.5 else None
            cas = own or self.cas(key)
            flags += [b"I"] if own else []
        return self.line(b"ms", key, flags, cas, b"\r\n" + self.data(value))

    def text_md(self):
        r = self.rng
        key, flags = self.meta_key(self.flags([b"k", b"q"], 2) + r.choice([[], [], [b"I"], [b"I", b"T30"], [b"I", b"T0"]]))
        return self.line(b"md", key, flags, self.cas(key) if r.random() < 0.3 else None)

    def text_ma(self):
        r = self.rng
        flags = self.flags([b"v", b"t", b"c", b"k", b"q", b"N60", b"N0", b"J13", b"J1000000000"], 5)
        flags = [f for i, f in enumerate(flags) if f[:1] not in [g[:1] for g in flags[:i]]]
        mode = r.choice([[], [], [b"MI"], [b"MD"], [b"M+"], [b"M-"], [b"Mi"], [b"Md"], [b"Mincr"]])
        flags += r.choice([[], [], [b"D%b" % self.number(mode in ([b"MD"], [b"M-"]))]]) + mode
        key, flags = self.meta_key(flags)
        return self.line(b"ma", key, flags, self.cas(key) if r.random() < 0.15 else None)

    def text_me(self):
        key, flags = self.meta_key([])
        return self.line(b"me", key, flags, None)

    def text_mn(self):
        return b"", [b"mn\r\n"]

    # ---- binary

    def binary(self):
        r = self.rng
        kind = r.choices(["get", "touch", "store", "join", "delta", "delete", "other"], [6, 3, 8, 3, 5, 3, 1])[0]
        key = r.choice(KEYS) if r.random() < 0.92 else r.choice(BINARY_KEYS)
        cas = self.cas(key) if r.random() < 0.25 else b"0"
        expires = r.choice([0, 0, 100, 2592000, 2592001, self.moments[0], 0x7fffffff, 0xffffffff])
        value, extras = b"", b""
        if kind == "get":
            opcode, cas = r.choice([0x00, 0x09, 0x0c, 0x0d]), b"0"
        elif kind == "touch":
            opcode, cas, extras = r.choice([0x1c, 0x1d, 0x1e, 0x23, 0x24]), b"0", struct.pack(">I", expires)
        elif kind == "store":
            opcode, value = r.choice([0x01, 0x02, 0x03, 0x11, 0x12, 0x13]), self.value()
            extras = struct.pack(">II", r.choice([0, 7, 0xffffffff]), expires)
        elif kind == "join":
            opcode, value = r.choice([0x0e, 0x0f, 0x19, 0x1a]), self.value(True)
        elif kind == "delta":
            opcode = r.choice([0x05, 0x06, 0x15, 0x16])
            amount = r.choice([0, 1, 5, 1000, 2 ** 32] + ([2 ** 63, 2 ** 64 - 1] if opcode in (0x06, 0x16) else []))
            extras = struct.pack(">QQI", amount, r.choice([0, 7, 2 ** 32]), r.choice([0, 100, 2592001, 0xffffffff]))
        elif kind == "delete":
            opcode = r.choice([0x04, 0x14])
        else:
            opcode, key, value, extras, cas = self.other()
        return ("packet", opcode, key, value, extras, cas, r.getrandbits(31))

    def other(self):
        r = self.rng
        if r.random() < 0.03:
            return r.choice([0x01, 0x02, 0x11]), r.choice(KEYS), HUGE, b"\0" * 8, b"0"
        if r.random() < 0.05:
            return r.choice([0x08, 0x18]), b"", b"", r.choice([b"", b"\0\0\0\0"]), b"0"
        return r.choice([(0x0b, b"", b"", b"", b"0"), (0x0a, b"", b"", b"", b"0"), (0x30, b"", b"", b"", b"0"), (0x45, b"", b"a value", b"", b"0"),
                         (0x10, b"bogus", b"", b"", b"0"), (0xfe, b"", b"", b"", b"0")])


def edges():
    """The ends of numbers, each on a key of its own, which a new server keeps where nothing was before."""
    for at, (value, amount) in enumerate((value, amount) for value in LARGE_NUMBERS + [b"0", b"-0", b"-1", b"-9223372036854775809", b"+5", b" 7"]
                                         for amount in LARGE_NUMBERS + [b"0", b"1"]):
        key = b"edge%d" % at
        yield ("text", key, [b"set %b 0 0 %d\r\n%b\r\n" % (key, len(value), value)])
        yield ("text", key, [b"incr %b %b\r\n" % (key, amount)])
        yield ("text", key, [b"decr %b %b\r\n" % (key, amount)])
        yield ("text", key, [b"get %b\r\n" % key])


def is_later(word, name):
    """A flag of a version after 1.6.18, or one that is left out of the comparison."""
    return name[:1] == b"m" and (word[:1] in b"Ex" or word[:1] == b"T" and name == b"ma" or word[:1] == b"O" and len(word) > 32)


def is_lax(words):
    """memcached decodes some of what is no base64."""
    return any(word[:1] == b"b" for word in words[2:]) and words[1] not in BASE64_KEYS + BAD_BASE64
