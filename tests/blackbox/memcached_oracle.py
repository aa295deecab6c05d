"""memcached_oracle.py -- the same random commands to memcached 1.6.18 and to holdfast: equal answers.

Goal:   memcached's clients get what memcached would have said, in the text, meta and binary protocols, mixed on the same keys.
Method: rounds of up to ROUND commands go to both servers over one text and one binary connection each, pipelined; answers are
        compared command by command. Numbers for compare-and-set differ between the servers by nature: each is replaced by the
        ordinal of its first appearance, so that equal structure is what is compared, and requests that name one name the
        same ordinal. Seconds left (t, exp) may differ by 2: the two clocks tick apart. Of `me` only what is no size is compared.
        A difference is shown with the commands of its key so far.
Left out: the keys before one that is too long (memcached has fetched or touched them), what memcached says of a key that was stored with base64 or without (it remembers which; holdfast answers as asked),
        mg's t after a T in the past, sizes of items at their limit, ma's T (memcached drops it when the number gets longer).
        memcached runs with one thread and without its maintainer, which hold items at times; a number in a held item is not
        padded with spaces when it gets shorter.
Usage:  memcached_oracle.py [--commands 12000] [--seed S]
"""
import argparse
import random
import re
import struct
import sys
import time

from memcached_peer import NOOP, SYNC, Binary, Holdfast, Peer, Text, packet

ROUND = 40
KEYS = [b"k%d" % i for i in range(12)]
LONG_KEYS = [b"x" * 250, b"y" * 251, b"z" * 300]
BASE64_KEYS = [b"AQID", b"/w==", b"8J+SlQ==", b"AAECAwQFBgc="]
VALUES = [b"", b"0", b"1", b"9", b"10", b"99", b"100", b"18446744073709551615", b"18446744073709551616", b"-1", b"007", b" 5", b"5 ",
          b"12 34", b"abc", b"hello world", b"\x00\x01\xff", b"a\r\nb"]
NUMBERS = [b"0", b"1", b"2", b"9", b"10", b"18446744073709551615", b"18446744073709551614", b"4294967296"]
BAD_NUMBERS = [b"", b"a", b"-1", b"1a", b"18446744073709551616", b"+5", b"0x10"]


def exptime(rng):
    return rng.choice([0, 0, 0, 100, 1000, 2592000, int(time.time()) + 5000, -1, 2592001])


class Generator:
    """Commands as lists of pieces: bytes, or ("cas", n) for the n-th number that the server has shown."""

    def __init__(self, rng):
        self.rng = rng
        self.shown = 0
        self.owners = []    # by ordinal: whose number it is

    def key(self):
        return self.rng.choice(KEYS) if self.rng.random() < 0.97 else self.rng.choice(LONG_KEYS)

    def value(self):
        if self.rng.random() < 0.05:
            return bytes(self.rng.choice(b"abcdef") for _ in range(self.rng.choice([300, 5000, 40000])))
        return self.rng.choice(VALUES)

    def cas(self):
        if not self.shown or self.rng.random() < 0.15:
            return self.rng.choice([b"9000000000000000000", b"9000000000000000001"])
        back = min(self.shown - 1, int(self.rng.expovariate(0.5)))
        return ("cas", self.shown - 1 - back)

    def number(self):
        return self.rng.choice(NUMBERS) if self.rng.random() < 0.93 else self.rng.choice(BAD_NUMBERS)

    def noreply(self):
        return b" noreply" if self.rng.random() < 0.1 else b""

    # ---- text

    def text(self):
        r = self.rng
        kind = r.choices(["get", "gets", "gat", "store", "cas", "delta", "touch", "delete", "odd", "mg", "ms", "md", "ma", "me", "mn",
                          "flush"], [8, 6, 3, 12, 5, 8, 3, 4, 3, 12, 10, 5, 6, 2, 1, 0.15])[0]
        return getattr(self, "text_" + kind)()

    def keys(self, count):
        return b" ".join(self.rng.choice(KEYS) for _ in range(count)) if self.rng.random() < 0.97 else self.rng.choice(LONG_KEYS)

    def text_get(self):
        return [b"get " + self.keys(self.rng.choice([1, 1, 1, 2, 5, 30])) + b"\r\n"]

    def text_gets(self):
        return [b"gets " + self.keys(self.rng.choice([1, 1, 2, 4])) + b"\r\n"]

    def text_gat(self):
        return [b"%b %d " % (self.rng.choice([b"gat", b"gats"]), exptime(self.rng)) + self.keys(self.rng.choice([1, 2])) + b"\r\n"]

    def data(self, value):
        return value + (b"\r\n" if self.rng.random() < 0.98 else b"yy\r\n")

    def text_store(self):
        r, value = self.rng, self.value()
        flags = r.choice([b"0", b"0", b"1", b"4294967295", b"4294967296"] + ([b"-1", b"x"] if len(value) < 100 else []))
        key = self.key() if len(value) < 100 else r.choice(KEYS)    # refused, its data would be run as a line
        return [b"%b %b %b %d %d%b\r\n" % (r.choice([b"set", b"set", b"set", b"add", b"replace", b"append", b"prepend"]), key, flags,
                                           exptime(r), len(value), self.noreply()) + self.data(value)]

    def text_cas(self):
        value = self.value()
        return [b"cas %b 3 %d %d " % (self.key() if len(value) < 100 else self.rng.choice(KEYS), exptime(self.rng), len(value)), self.cas(), self.noreply() + b"\r\n" + self.data(value)]

    def text_delta(self):
        return [b"%b %b %b%b\r\n" % (self.rng.choice([b"incr", b"decr"]), self.key(), self.number(), self.noreply())]

    def text_touch(self):
        return [b"touch %b %d%b\r\n" % (self.key(), exptime(self.rng), self.noreply())]

    def text_delete(self):
        return [b"delete %b%b\r\n" % (self.key(), self.rng.choice([b"", b"", b"", b" 0", b" noreply", b" 0 noreply", b" 5", b" 1 noreply"]))]

    def text_odd(self):
        return [self.rng.choice([b"\r\n", b"get\r\n", b"gets\r\n", b"set\r\n", b"set k\r\n", b"bogus k\r\n", b"GET k0\r\n", b"incr k0\r\n",
                                 b"incr k0 1 2 3\r\n", b"touch k0\r\n", b"touch k0 a\r\n", b"gat a k0\r\n", b"delete\r\n", b"mg\r\n", b"ms\r\n",
                                 b"ms k0\r\n", b"md\r\n", b"ma\r\n", b"me\r\n", b"  get   k0  k1 \r\n", b"get k0\n", b"version\r\n",
                                 b"set k0 0 0 -1\r\n", b"set k0 0 0 a\r\n", b"cas k0 0 0 1\r\n", b"mg k0 vv\r\n", b"mg k0 v v\r\n",
                                 b"mg k0 !\r\n", b"mx k0\r\n", b"ms k0 a\r\n", b"ms k0 -1\r\n", b"flush_all a\r\n", b"flush_all 1 2 3\r\n",
                                 b"verbosity\r\n", b"verbosity a\r\n", b"shutdown\r\n", b"cache_memlimit 1\r\n", b"cache_memlimit\r\n",
                                 b"stats bogus\r\n", b"mg k0 Oabcdefghijklmnopqrstuvwxyz0123456789\r\n", b"md k0 !\r\n", b"mg k0 b\r\n",
                                 b"ma k0 M!\r\n", b"ms k0 2 M!\r\nhi\r\n", b"ms k0 2 MEE\r\nhi\r\n", b"ma k0 Dx\r\n", b"ms k0 2 v v\r\nhi\r\n",
                                 b"ms k0 2 Fx\r\nhi\r\n", b"ms k0 2 Tx\r\nhi\r\n", b"me %b\r\n" % LONG_KEYS[1], b"mg %b v\r\n" % LONG_KEYS[1],
                                 b"set k0 0 0 2000000\r\n" + b"v" * 2000000 + b"\r\n",
                                 b"ms k1 2000000\r\n" + b"v" * 2000000 + b"\r\n", b"add k2 0 0 2000000\r\n" + b"v" * 2000000 + b"\r\n"])]

    def text_flush(self):
        return [b"flush_all%b\r\n" % self.rng.choice([b"", b" 0", b" noreply"])]

    # ---- meta

    def meta_flags(self, letters, most):
        return self.rng.sample(letters, self.rng.randint(0, most))

    def text_mg(self):
        r = self.rng
        flags = self.meta_flags([b"v", b"s", b"t", b"c", b"f", b"k", b"h", b"l", b"q", b"Oabc", b"u"], 6)
        if r.random() < 0.1:
            return [b" ".join([b"mg", r.choice(BASE64_KEYS), b"b"] + [f for f in flags if f != b"c"]) + b"\r\n"]
        extra = r.choice([None, None, None, b"N60", b"T90", b"R50", b"R5000"])
        return [b" ".join([b"mg", self.key()] + flags + ([extra] if extra else [])) + b"\r\n"]

    def text_ms(self):
        r, value = self.rng, self.value()
        flags = self.meta_flags([b"c", b"k", b"q", b"Oxy", b"F5", b"F4294967295", b"T100", b"T0"], 4)
        flags = [f for i, f in enumerate(flags) if f[:1] not in [g[:1] for g in flags[:i]]]
        if r.random() < 0.1:
            return [b" ".join([b"ms", r.choice(BASE64_KEYS), b"%d" % len(value), b"b"] + flags) + b"\r\n" + self.data(value)]
        mode = r.choice([[], [], [b"ME"], [b"MA"], [b"MP"], [b"MR"], [b"MS"]])
        key = self.key() if len(value) < 100 else r.choice(KEYS)
        head = b" ".join([b"ms", key, b"%d" % len(value)] + flags + mode)
        if r.random() < 0.35:
            own = [n for n, key in enumerate(self.owners) if key == head.split()[1]]
            if own and r.random() < 0.5:
                return [head + b" I C", ("cas", r.choice(own)), b"\r\n" + self.data(value)]
            return [head + b" C", self.cas(), b"\r\n" + self.data(value)]
        return [head + b"\r\n" + self.data(value)]

    def text_md(self):
        r = self.rng
        head = b" ".join([b"md", self.key()] + self.meta_flags([b"k", b"q", b"Oz"], 2) + r.choice([[], [], [b"I"], [b"I", b"T30"]]))
        return [head + b" C", self.cas(), b"\r\n"] if r.random() < 0.3 else [head + b"\r\n"]

    def text_ma(self):
        r = self.rng
        flags = self.meta_flags([b"v", b"t", b"c", b"k", b"q", b"O1", b"N60", b"J13"], 5)
        flags += r.choice([[], [b"D%b" % self.number()]]) + r.choice([[], [], [b"MI"], [b"MD"], [b"M+"], [b"M-"]])
        head = b" ".join([b"ma", self.key()] + flags)
        return [head + b" C", self.cas(), b"\r\n"] if r.random() < 0.15 else [head + b"\r\n"]

    def text_me(self):
        return [b"me %b\r\n" % self.key()]

    def text_mn(self):
        return [b"mn\r\n"]

    # ---- binary

    def binary(self):
        r = self.rng
        kind = r.choices(["get", "touch", "store", "join", "delta", "delete", "other"], [6, 3, 8, 3, 5, 3, 1])[0]
        key = r.choice(KEYS)
        cas = self.cas() if r.random() < 0.25 else b"0"
        opaque = r.getrandbits(31)
        expires = r.choice([0, 0, 100, 2592000, 2592001])
        value, extras = b"", b""
        if kind == "get":
            opcode, cas = r.choice([0x00, 0x09, 0x0c, 0x0d]), b"0"
        elif kind == "touch":
            opcode, cas, extras = r.choice([0x1c, 0x1d, 0x1e, 0x23, 0x24]), b"0", struct.pack(">I", expires)
        elif kind == "store":
            opcode, value = r.choice([0x01, 0x02, 0x03, 0x11, 0x12, 0x13]), self.value()
            extras = struct.pack(">II", r.choice([0, 7, 0xffffffff]), expires)
        elif kind == "join":
            opcode, value = r.choice([0x0e, 0x0f, 0x19, 0x1a]), self.value()
        elif kind == "delta":
            opcode = r.choice([0x05, 0x06, 0x15, 0x16])
            extras = struct.pack(">QQI", r.choice([0, 1, 5, 2 ** 64 - 1]), r.choice([0, 7]), r.choice([0, 100, 0xffffffff]))
        elif kind == "delete":
            opcode = r.choice([0x04, 0x14])
        else:
            opcode, key, cas = r.choice([(0x0b, b"", b"0"), (0x0a, b"", b"0"), (0x30, b"", b"0"), (0x10, b"bogus", b"0")])
        return ("packet", opcode, key, value, extras, cas, opaque)


class Numbers:
    """What a server has shown for compare-and-set, in the order of appearance."""

    def __init__(self):
        self.order = []
        self.owners = []
        self.ordinals = {}
        self.key = None     # of the answer that is looked at

    def ordinal(self, number):
        if number == 0:
            return "none"
        if number not in self.ordinals:
            self.ordinals[number] = len(self.order)
            self.order.append(number)
            self.owners.append(self.key)
        return "#%d" % self.ordinals[number]


VALUE = re.compile(rb"VALUE (\S+) (\d+) (\d+)(?: (\d+))?\r\n")
META = re.compile(rb"(?:VA (\d+)|HD|EN|NS|EX|NF)((?: [^\r\n ]+)*)\r\n")


def normal_meta(match, numbers, seconds):
    words = []
    for word in match[2].split():
        if word[:1] == b"c" and word[1:].isdigit():
            words.append(numbers.ordinal(int(word[1:])).encode())
        elif word[:1] in b"tl" and word[1:].isdigit():
            seconds.append(int(word[1:]))
            words.append(word[:1] + b".")
        else:
            words.append(word)
    return b" ".join([match[0].split()[0] if match[1] is None else b"VA " + match[1]] + words)


def normal_text(answer, numbers):
    """The answer as a list of comparable parts, and the seconds in it."""
    parts, seconds, at = [], [], 0
    while at < len(answer):
        value, meta = VALUE.match(answer, at), META.match(answer, at)
        if value:
            end = value.end() + int(value[3])
            numbers.key = value[1]
            parts.append((value[1], value[2], answer[value.end():end], numbers.ordinal(int(value[4])) if value[4] else None))
            at = end + 2
        elif meta:
            end = meta.end() + (int(meta[1]) + 2 if meta[1] is not None else 0)
            parts.append((normal_meta(meta, numbers, seconds), answer[meta.end():end]))
            at = end
        else:
            end = answer.index(b"\r\n", at)
            line = answer[at:end]
            if line.startswith(b"ME "):
                line = re.sub(rb" exp=\S+| la=\S+| cas=\S+| cls=\S+| size=\S+", b"", line)
            parts.append(line)
            at = end + 2
    return parts, seconds


def normal_binary(answers, numbers):
    return [answer[:6] + (numbers.ordinal(answer[6]),) for answer in answers], []


class Side:
    def __init__(self, server):
        self.server = server
        self.text, self.binary = Text(server), Binary(server)
        self.numbers = Numbers()

    def number(self, piece):
        return int(piece) if isinstance(piece, bytes) else self.numbers.order[piece[1]]

    def send(self, command):
        if command[0] == "packet":
            _, opcode, key, value, extras, cas, opaque = command
            self.binary.send(packet(opcode, key, value, extras, self.number(cas), opaque) + packet(NOOP, opaque=SYNC))
        else:
            self.text.send(b"".join(p if isinstance(p, bytes) else b"%d" % self.number(p) for p in command) + b"mn\r\n")

    def reply(self, command):
        self.numbers.key = command[2] if command[0] == "packet" else (command[0].split() + [b"", b""])[1]
        if command[0] == "packet":
            return normal_binary(self.binary.reply(), self.numbers)
        if command == [b"mn\r\n"]:
            first = self.text.reply()
            return [first, self.text.reply()], []
        return normal_text(self.text.reply(), self.numbers)


def close_enough(a, b):
    return len(a) == len(b) and all(abs(x - y) <= 2 for x, y in zip(a, b))


def show(command):
    return repr(command)[:300]


def is_delta(command):
    """An answer that has not left yet holds its item in memcached, and a number in such an item is not padded with spaces."""
    return command[1] in (0x05, 0x06, 0x15, 0x16) if command[0] == "packet" else command[0].startswith((b"incr", b"decr", b"ma "))


def compare(sides, commands):
    """One round: runs of commands of one connection are pipelined."""
    at = 0
    while at < len(commands):
        end = at + 1
        while end < len(commands) and (commands[end][0] == "packet") == (commands[at][0] == "packet") and not is_delta(commands[end]):
            end += 1
        for side in sides:
            for command in commands[at:end]:
                side.send(command)
        for command in commands[at:end]:
            answers = [side.reply(command) for side in sides]
            if answers[0][0] != answers[1][0] or not close_enough(answers[0][1], answers[1][1]):
                return commands.index(command), answers
        at = end
    return None, None


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--commands", type=int, default=12000)
    parser.add_argument("--seed", type=int, default=7)
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    servers = [Peer(workers=1, extra=["-o", "no_lru_maintainer,no_lru_crawler"]), Holdfast(workers=2)]
    for server in servers:
        server.start()
    sides = [Side(server) for server in servers]
    generator = Generator(rng)
    history, done, began = [], 0, time.monotonic()
    while done < arguments.commands:
        count = rng.randint(1, ROUND)
        commands = [generator.binary() if rng.random() < 0.3 else generator.text() for _ in range(count)]
        wrong, answers = compare(sides, commands)
        history += commands[:wrong]
        if wrong is not None:
            command = commands[wrong]
            names = [k for k in KEYS if k + b" " in repr(command).encode() or k + b"\\r" in repr(command).encode() or repr(k).encode() in repr(command).encode()]
            for earlier in [c for c in history if any(k in repr(c).encode() for k in names)][-12:]:
                print("   ", show(earlier))
            print("differs:", show(command))
            for side, answer in zip(sides, answers):
                print("%-10s" % side.server.kind, repr(answer)[:600])
            print("repeat: tests/blackbox/memcached_oracle.py --commands %d --seed %d" % (arguments.commands, arguments.seed))
            sys.exit(1)
        done += count
        generator.owners = sides[0].numbers.owners
        generator.shown = min(len(side.numbers.order) for side in sides)
    for server in servers:
        server.stop()
    print("%d commands, %d numbers compared, 0 differences, %.1f s" % (done, generator.shown, time.monotonic() - began))


if __name__ == "__main__":
    main()
