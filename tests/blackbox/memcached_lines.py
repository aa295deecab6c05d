"""memcached_lines.py -- lines written by hand and lines drawn, to memcached 1.6.18 and to holdfast: equal bytes.

Goal:   what memcached_oracle.py's random commands seldom meet: every pair of flags of the meta commands on items in ten states, the whole
        life of leases, ends of numbers, keys, times and sizes, words that memcached takes for its memory, connections that it ends.
Method: a sequence is a list of requests; %k in them is a key of its own. Most share one connection, each request followed by mn; lines that
        end a connection or leave it waiting have one each. Numbers for compare-and-set are replaced by their order of appearance.
        Beside them, by a seed: lines of every command with words that are odd, missing, doubled or in another order; packets of every opcode with parts
        that it has not. SEED and DRAWN in the environment choose them.
Left out: as in memcached_oracle.py; the value behind a touch, which memcached takes for the next packet; the seconds left of an item past its deadline, which memcached lets go below 0 as an unsigned number.
Usage:  memcached_lines.py [check ...]
"""
import base64
import itertools
import os
import random
import re
import select
import sys
import time

from harness import TLS, Checks, read_ready
from memcached_generate import is_later
from memcached_peer import NOOP, Holdfast, Peer, Text, packet

RUN = 100
TAIL = [b"mg %k v f t s c\r\n", b"get %k\r\n"]


# ---- asking and comparing

def normal(answers):
    """Of one sequence: numbers for compare-and-set by their order, seconds left to ten, nothing of memory sizes."""
    order, found = {}, []
    for answer in answers:
        lines = answer.split(b"\r\n")
        for at, line in enumerate(lines):
            value = re.match(rb"(VALUE \S+ \d+ \d+) (\d+)$", line)
            if value:
                lines[at] = b"%b #%d" % (value[1], order.setdefault(value[2], len(order)))
            elif re.match(rb"(VA|HD|EX|NF|NS|EN)( |$)", line):
                words = line.split(b" ")
                for n, word in enumerate(words):
                    if re.match(rb"c[1-9]\d*$", word):
                        words[n] = b"c#%d" % order.setdefault(word[1:], len(order))
                    elif re.match(rb"t\d+$", word):
                        words[n] = b"t%d" % ((int(word[1:]) + 3) // 10)
                    elif re.match(rb"l\d+$", word):
                        words[n] = b"l"
                lines[at] = b" ".join(words)
            elif line.startswith(b"ME "):
                lines[at] = re.sub(rb" (exp|la|cas|cls|size)=\S+", b"", line)
        found.append(b"\r\n".join(lines))
    return found


def ask(connection, sequences):
    connection.send_and_read(b"".join(line + b"mn\r\n" for sequence in sequences for line in sequence))
    return [[connection.reply() for _ in sequence] for sequence in sequences]


def told(sequence, left, right):
    return "\n".join("%r: %s" % (line[:120], "same" if a == b else "memcached %r, holdfast %r" % (a[:200], b[:200]))
                     for line, a, b in zip(sequence, left, right))


def compare(servers, sequences):
    connections = [Text(server) for server in servers]
    keyed = []
    for number, sequence in enumerate(sequences):
        key = b"key%d" % number
        keyed.append([line.replace(b"%k", key).replace(b"%b", base64.b64encode(key)) for line in sequence])
    for at in range(0, len(keyed), RUN):
        part = keyed[at:at + RUN]
        for sequence, left, right in zip(part, *[ask(connection, part) for connection in connections]):
            left, right = normal(left), normal(right)
            assert left == right, told(sequence, left, right)
    for connection, server in zip(connections, servers):
        connection.call(b"flush_all\r\n")
        connection.close()
    time.sleep(0.01)


# ---- meta: flags on states

STATES = {
    "absent": [], "plain": [b"set %k 7 0 3\r\nabc\r\n"], "number": [b"set %k 7 100 2\r\n10\r\n"], "read": [b"set %k 1 50 3\r\nxyz\r\n", b"get %k\r\n"],
    "stale": [b"set %k 7 0 3\r\nabc\r\n", b"mg %k c\r\n", b"md %k I T30\r\n"], "won": [b"set %k 7 0 2\r\n55\r\n", b"mg %k c\r\n", b"md %k I\r\n", b"mg %k v\r\n"],
    "made": [b"mg %k N30 v c\r\n"], "fetched anew": [b"set %k 1 20 3\r\nxyz\r\n", b"mg %k R30 v c\r\n"], "empty": [b"set %k 0 0 0\r\n\r\n"],
    "largest": [b"set %k 0 0 20\r\n18446744073709551615\r\n"],
}
FLAGS = {
    b"mg": b"c f h k l O1 q s t v N30 N0 R50 R200 T60 T0".split(),
    b"ms": b"b c f h k O1 q s t v C1 C0 F5 I T60 T0 T-1 MS MA MP MR ME Ms Mset Mx".split(),
    b"md": b"b c f h k O1 q s t v C1 I T60 T0".split(),
    b"ma": b"b c f h k O1 q s t v N60 N0 J5 D2 D0 C1 MI MD M+ M- Mincr Mx".split(),
    b"me": b"c k q v O1".split(),
}


def check_flags(*servers):
    chooser, sequences = random.Random(5), []
    for (command, flags), state in itertools.product(FLAGS.items(), STATES.values()):
        combinations = [c for size in (0, 1, 2) for c in itertools.combinations(flags, size)]
        combinations += chooser.sample(list(itertools.combinations(flags, 3)), 10)
        for words in combinations:
            size, data = ([b"2"], b"42\r\n") if command == b"ms" else ([], b"")
            sequences.append(state + [b" ".join([command, b"%b" if b"b" in words else b"%k"] + size + list(words)) + b"\r\n" + data] + TAIL)
    compare(servers, sequences)


LEASES = [
    [b"mg %k v N30 t\r\n"] * 2 + [b"mg %k s v\r\n", b"ms %k 2\r\nhi\r\n", b"mg %k v N30 t\r\n"],
    [b"set %k 0 100 2\r\nhi\r\n", b"mg %k v R30\r\n", b"mg %k v R200\r\n", b"mg %k v R200\r\n", b"mg %k v\r\n", b"ms %k 2 T500\r\nxx\r\n", b"mg %k v R200\r\n"],
    [b"set %k 0 100 2\r\nhi\r\n", b"mg %k c\r\n", b"md %k I T30\r\n", b"mg %k v c t\r\n", b"mg %k v c t\r\n", b"md %k I\r\n", b"mg %k v t\r\n", b"mg %k v t\r\n",
     b"ms %k 2 C1 I\r\nyy\r\n", b"mg %k v\r\n", b"mg %k v\r\n"],
    [b"set %k 0 0 2\r\n10\r\n", b"mg %k c\r\n", b"md %k I\r\n", b"ma %k v\r\n", b"mg %k v\r\n", b"incr %k 5\r\n", b"mg %k v\r\n", b"append %k 0 0 1\r\nz\r\n", b"mg %k v\r\n"],
    [b"set %k 0 0 2\r\n10\r\n", b"md %k I\r\n", b"get %k\r\n", b"gets %k\r\n", b"touch %k 100\r\n", b"mg %k v t\r\n", b"add %k 0 0 1\r\na\r\n",
     b"replace %k 0 0 1\r\nb\r\n", b"mg %k v\r\n"],
    [b"set %k 0 0 2\r\n10\r\n", b"md %k I\r\n", b"gat 50 %k\r\n", b"mg %k v t\r\n", b"ms %k 1 MA\r\nx\r\n", b"mg %k v\r\n", b"ms %k 1 MP\r\ny\r\n", b"mg %k v\r\n",
     b"ms %k 1 ME\r\ny\r\n", b"ms %k 1 MR\r\ny\r\n", b"mg %k v\r\n"],
    [b"mg %k N30 v\r\n", b"get %k\r\n", b"add %k 0 0 1\r\nx\r\n", b"append %k 0 0 1\r\nx\r\n", b"get %k\r\n", b"incr %k 1\r\n", b"mg %k v\r\n"],
    [b"mg %k N30 v\r\n", b"delete %k\r\n", b"mg %k v\r\n", b"mg %k N0 t\r\n", b"mg %k v\r\n"],
    [b"mg %k N30 R60 T90 t v\r\n"] * 2 + [b"mg %k R600 t v\r\n", b"mg %k t v\r\n"],
]
FETCHED = [[b"set %k 0 0 2\r\n10\r\n", b"mg %k h\r\n", command, b"mg %k h\r\n", command, b"mg %k h l t\r\n"] for command in
           (b"get %k\r\n", b"gat 0 %k\r\n", b"touch %k 0\r\n", b"incr %k 1\r\n", b"decr %k 5\r\n", b"ma %k\r\n", b"mg %k q\r\n", b"append %k 0 0 1\r\n1\r\n", b"ms %k 1\r\n1\r\n")]


def check_leases(*servers):
    compare(servers, LEASES + FETCHED)


# ---- numbers, times, sizes, keys

VALUES = [b"0", b"9", b"10", b"007", b"00", b" 1", b"1 ", b"10    ", b"1x", b"", b"-1", b"+1", b"0x1", b"1.5", b"18446744073709551615", b"18446744073709551614",
          b"000000000000000000000000000001", b"12\x00", b"1\x002"]
AMOUNTS = [b"0", b"1", b"9", b"18446744073709551615", b"18446744073709551616", b"-1", b"+1", b"abc", b"1a", b"", b"01", b"1 2", b"0x10"]
NUMBERS = [b"0", b"1", b"-1", b"4294967295", b"4294967296", b"18446744073709551615", b"18446744073709551616", b"+1", b"01", b"0x1", b"a", b"1a"]
TIMES = [b"0", b"-0", b"100", b"2592000", b"4294967296", b"9223372036854775808", b"+50", b"05", b"0x5", b"1e3", b"5.0", b"abc"]
PAST = [b"-1", b"-100", b"2592001", b"-2147483648", b"2147483648", b"4294967295", b"9223372036854775807"]
SIZES = [b"-1", b"0", b"1", b"01", b"+1", b"a", b"1a", b"", b"-2147483648"]


def check_numbers(*servers):
    sequences = []
    for value, amount in itertools.product(VALUES, AMOUNTS):
        store = b"set %%k 3 0 %d\r\n%b\r\n" % (len(value), value)
        for name in (b"incr", b"decr"):
            line = b"%b %%k %b" % (name, amount)
            sequences.append([store, line + b"\r\n", b"get %k\r\n", line + b" noreply\r\n", b"gets %k\r\n"])
        flag = b"D" + amount.replace(b" ", b"")
        sequences.append([store, b"ma %k v t f " + flag + b"\r\n", b"ma %k v MD " + flag + b"\r\n", b"get %k\r\n"])
    for number in NUMBERS:
        sequences += [[b"set %k " + number + b" 0 1\r\na\r\n", b"get %k\r\n", b"mg %k f\r\n"], [b"ms %k 1 F" + number + b"\r\na\r\n", b"mg %k f v\r\n"],
                      [b"set %k 0 0 1\r\na\r\n", b"cas %k 0 0 1 " + number + b"\r\nb\r\n", b"get %k\r\n"]]
    for size in SIZES:
        sequences += [[line.replace(b"#", size), b"get %k\r\n"] for line in
                      (b"set %k 0 0 #\r\na\r\n", b"set %k 0 0 # noreply\r\na\r\n", b"ms %k #\r\na\r\n", b"ms %k # q\r\na\r\n", b"ms %k S#\r\na\r\n")]
    compare(servers, sequences)


def check_times(*servers):
    lines = (b"set %k 0 # 2\r\n10\r\n", b"add %k 0 # 2\r\n10\r\n", b"touch %k #\r\n", b"gat # %k\r\n", b"gats # %k\r\n", b"mg %k v T#\r\n", b"ms %k 2 T#\r\n10\r\n",
             b"md %k I T#\r\n", b"mg %k R# v t\r\n", b"append %k 0 # 1\r\nx\r\n", b"ma %k N# J7 v\r\n", b"mg %k N# v\r\n")
    before = ([], [b"set %k 0 100 2\r\n10\r\n"], [b"ms %k 2 T100\r\n12\r\n", b"md %k I\r\n"])
    now = int(time.time())
    sequences = [state + [line.replace(b"#", at), b"mg %k v t\r\n", b"get %k\r\n"]
                 for at in TIMES + PAST + [b"%d" % (now + 1000), b"%d" % (now - 1000)] for line in lines for state in before]
    compare(servers, sequences)


def check_keys(*servers):
    lines = (b"get #\r\n", b"get a b #\r\n", b"gats 0 # a\r\n", b"set # 0 0 2\r\nhi\r\n", b"set # 0 0 2 noreply\r\nhi\r\n", b"cas # 0 0 2 1\r\nhi\r\n", b"incr # 1\r\n",
             b"touch # 1 noreply\r\n", b"delete #\r\n", b"mg # v k O123\r\n", b"ms # 2\r\nhi\r\n", b"ms # 2 q\r\nhi\r\n", b"md # q\r\n", b"ma # q\r\n", b"me #\r\n")
    keys = [b"x" * size for size in (1, 249, 250, 251, 252, 1024, 2000)]
    keys += ["ключ".encode(), b"\x01\x02", b"\x7f\xff\xfe", b"a\tb", b"a\x00b", b"\xc2\xa0"]
    sequences = [[line.replace(b"#", key)] for key in keys for line in lines]
    coded = [base64.b64encode(b"\x01" * size) for size in (1, 2, 3, 186, 187, 188, 189)]
    sequences += [[line % key] for key in coded for line in
                  (b"mg %b b v k\r\n", b"ms %b 2 b\r\nhi\r\n", b"mg %b b v k f\r\n", b"ma %b b\r\n", b"md %b b k\r\n", b"me %b b\r\n", b"mg %b v\r\n")]
    sequences += [[line] for line in (b"mg A=== Rx b\r\n", b"mg A=== b Rx\r\n", b"mg A=== Tx b Rx\r\n", b"mg A=== Rx b v\r\n", b"mg A=== b v v\r\n", b"mg A=== v v b\r\n",
                                     b"mg A=== b !\r\n", b"mg A=== ! b\r\n", b"mg A=== Rx Nx b\r\n", b"mg AAAA Rx b\r\n", b"mg A=== b b\r\n", b"md A=== b Tx\r\n", b"ma A=== Dx b\r\n",
                                     b"ms A=== 1 b Tx\r\na\r\n", b"ms A=== 1 Tx b\r\na\r\n")]
    compare(servers, sequences)


# ---- lines: a connection each

LINES = [b"lru tune 10 20 0.1 2 noreply\r\n", b"lru tune 50 60 0.1 2\r\n", b"lru\r\n", b"extstore item_size 1\r\n", b"extstore x y\r\n",
         b"slabs reassign 1 2\r\n", b"slabs reassign -1 2\r\n", b"slabs automove 3\r\n", b"lru_crawler crawl 0\r\n", b"lru_crawler sleep 1000001\r\n", b"shutdown\r\n",
         b"refresh_certs\r\n", b"stats extstore\r\n", b"stats bogus\r\n", b"stats detail\r\n", b"stats sizes\r\n", b"stats cachedump 1\r\n", b"stats cachedump 64 1\r\n",
         b"watch bogus\r\n", b"verbosity a noreply\r\n", b"verbosity 1 2\r\n", b"cache_memlimit 4294967296\r\n", b"cache_memlimit noreply\r\n",
         b"\r\n", b"\n", b" \r\n", b"\r\r\n", b"get %k\r\r\n", b"get %k\r %k\n", b"get\tk\r\n", b"get\r\n", b"gat 1\r\n", b"set %k 0 0\r\n", b"set %k 0 0 1 noRePly\r\na\r\n",
         b"delete %k 1 noreply\r\n", b"flush_all x noreply\r\n", b"quit noreply\r\n", b"quit\r\nget %k\r\n", b"mn x\r\n", b"mz %k\r\n",
         b"set %k 0 0 1\r\nab\r\n", b"set %k 0 0 1\r\na\n", b"set %k 0 0 3\r\na\r\n\r\n", b"set %k 0 0 1 noreply\r\nabc\r\nget %k\r\n", b"ms %k 1\r\nabc\r\nget %k\r\n",
         b"ms %k 1 Tx\r\na\r\nmn\r\n", b"ms %k 1 b\r\na\r\n", b"get " + b"%k " * 2000 + b"\r\n", b"get " + b"kk " * 3000 + b"\r\nmn\r\n", b"gat 0 " + b"kk " * 3000 + b"\r\nmn\r\n",
         b"x" * 1025 + b"\r\n", b"x" * 2047, b"x" * 2049, b"get " + b"x" * 70000, b"gets " + b"x" * 5000, b"mg " + b"x" * 5000, b"set %k 0 0 " + b"0" * 3000 + b"1\r\na\r\n",
         b"gat 0 " + b"kk " * 5459 + b"\nmn\r\n", b"gat 0 " + b"kk " * 5459 + b"\r\nmn\r\n", b"gets " + b"kk " * 5600 + b"\r\nmn\r\n", b" " * 101 + b"get " + b"kk " * 5600 + b"\r\nmn\r\n",
         b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"*1\r\n$4\r\nPING\r\n", b"\x81\x00", b"\x16\x03\x01\x02\x00\r\n", b"auth a b\r\n"]
QUIET_SECONDS = 0.15


def heard(server, lines, normal=lambda answer: answer):
    """What each line is answered, on a connection each, until all were silent for a while; and whether it was ended."""
    connections = [Text(server).socket for _ in lines]
    got, open_ones = [b""] * len(lines), dict((connection, at) for at, connection in enumerate(connections))
    for number, (line, connection) in enumerate(zip(lines, connections)):
        connection.sendall(line.replace(b"%k", b"line%d" % number))
        connection.setblocking(False)
    while open_ones:
        ready = select.select(list(open_ones), [], [], QUIET_SECONDS)[0]
        if not ready:
            break
        for connection in ready:
            more = read_ready(connection)
            got[open_ones[connection]] += more or b""
            if more == b"":
                del open_ones[connection]
    ended = [connection not in open_ones for connection in connections]
    for connection in connections:
        connection.close()
    return list(zip(map(normal, got), ended))


def compare_apart(servers, lines, normal=lambda answer: answer):
    for _ in range(10):     # on a machine that is busy an answer may come after the silence
        found = [heard(server, lines, normal) for server in servers]
        lines, found = zip(*[(line, pair) for line, pair in zip(lines, zip(*found)) if pair[0] != pair[1]]) if found[0] != found[1] else ([], [])
        if not lines:
            return
    raise AssertionError("\n".join("%r: memcached %r, holdfast %r" % (line[:80], a, b) for line, (a, b) in zip(lines, found)))


def check_lines(*servers):
    compare_apart(servers, [line for line in LINES if not (TLS and line.startswith(b"refresh_certs"))])     # the peer has none


# ---- drawn: edges of every command

WORDS = VALUES + AMOUNTS + NUMBERS + TIMES + PAST[1:] + SIZES + [b"noreply", b"%k", b"other", b"x" * 251, b"\x00", b"\xff", b"NOREPLY", b"q", b"v", b"-", b"%s%n"]
SHAPES = [b"get %k", b"gets %k other", b"gat 100 %k", b"gats 100 %k", b"set %k 1 0 2", b"add %k 1 0 2", b"replace %k 1 0 2", b"append %k 1 0 2", b"prepend %k 1 0 2", b"cas %k 1 0 2 1",
          b"incr %k 5", b"decr %k 5", b"touch %k 100", b"delete %k", b"delete %k 0", b"mg %k v t f", b"ms %k 2 T100 F1", b"md %k q", b"ma %k v D5", b"me %k", b"verbosity 1",
          b"version", b"slabs automove 0"]
WITH_DATA = (b"set", b"add", b"replace", b"append", b"prepend", b"cas", b"ms")
SEED, DRAWN = int(os.environ.get("SEED", "5")), int(os.environ.get("DRAWN", "4000"))


def drawn(chooser):
    """A line of which one or two words are other ones, are missing, come twice or in another order."""
    words = chooser.choice(SHAPES).split(b" ")
    for _ in range(chooser.choice([1, 1, 2])):
        at, how = chooser.randrange(1, len(words) + 1), chooser.randrange(5)
        if how == 0:
            words[at:at + 1] = []
        elif how == 1:
            words[at:at] = [chooser.choice(WORDS)]
        elif how == 2:
            words[at:at] = words[at - 1:at] if at > 1 else [chooser.choice(WORDS)]
        elif how == 3 and len(words) > 2:
            one, two = chooser.randrange(1, len(words)), chooser.randrange(1, len(words))
            words[one], words[two] = words[two], words[one]
        else:
            words[at:at + 1] = [chooser.choice(WORDS)]
    line = chooser.choice([b" ", b" ", b" ", b"  "]).join(words) + chooser.choice([b"", b"", b"", b" ", b" noreply"]) + chooser.choice([b"\r\n"] * 5 + [b"\n"])
    return line + (chooser.choice([b"42\r\n"] * 5 + [b"abc\r\n"]) if words[0] in WITH_DATA else b"")


def is_told(line):
    """Not: what waits for more data than there is, a time that comes while we look, and what is left out (see the top)."""
    words = line.partition(b"\n")[0].split()
    name, ends = words[0], {b"touch": 2, b"gat": 1, b"gats": 1}.get(words[0], 3 if words[0] in WITH_DATA else 99)
    number = [int(found[1]) if found else 0 for found in (re.match(rb"[+-]?(\d+)", word) for word in words)]
    if name in WITH_DATA and any(value > 2 for value in number[2 if name == b"ms" else 4:][:1]) or any(0 < value < 30 for value in number[ends:][:1]):
        return False
    if name in (b"get", b"gets", b"gat", b"gats"):
        return all(len(word) <= 250 for word in words[1:])
    return name[:1] != b"m" or not any(is_later(word, name) for word in words[2:])


def check_drawn(*servers):
    chooser = random.Random(SEED)
    states = list(STATES.values())
    compare(servers, [chooser.choice(states) + [line] + TAIL for line in (drawn(chooser) for _ in range(DRAWN)) if is_told(line)])


# ---- packets: a connection each

EXTRAS = [b"", b"\x00" * 4, b"\x00" * 8, b"\x00" * 20, b"\xff" * 20, b"\x00" * 3, b"\x00" * 24]
PACKET_KEYS = [b"", b"packet", b"x" * 250, b"x" * 251]
PACKET_VALUES = [b"", b"42"]
CONNECTIONS = 300
OPCODES = [*range(0x00, 0x10), *range(0x11, 0x1b), 0x1c, 0x1d, 0x1e, 0x23, 0x24]     # not statistics; of unknown ones see the top


def normal_packets(answer):
    """Without the numbers for compare-and-set."""
    found, at = [], 0
    while answer[at:at + 1] == b"\x81" and len(answer) >= at + 24:
        size = 24 + int.from_bytes(answer[at + 8:at + 12], "big")
        found.append((answer[at:at + 16], any(answer[at + 16:at + 24]), answer[at + 24:at + size]))
        at += size
    return found, answer[at:]


def check_packets(*servers):
    """Every opcode with parts that it has not, or without those that it has; a noop is behind each."""
    chooser = random.Random(SEED)
    shapes = list(itertools.product(EXTRAS, PACKET_KEYS, PACKET_VALUES, (0, 1, 2 ** 64 - 1)))
    drawn_ones = [(opcode, *shape) for opcode in OPCODES for shape in chooser.choices(shapes, k=DRAWN // 200)]
    packets = [packet(opcode, key and b"%06d" % number + key[6:], value, extras, cas, 7) + packet(NOOP, opaque=8)
               for number, (opcode, extras, key, value, cas) in enumerate(drawn_ones)
               if opcode < 0x1c or not value]   # behind a touch memcached takes a value for the next packet
    for at in range(0, len(packets), CONNECTIONS):
        compare_apart(servers, packets[at:at + CONNECTIONS], normal_packets)


def check_pieces(*servers):
    """A pipeline in pieces of one byte, and of seven."""
    pipeline = b"set %k 5 0 6\r\na\r\nb\r\n\r\nget %k\r\nms %k 3 T90\r\nxyz\r\nmg %k v t f\r\nincr %k 1\r\nbogus\r\nset %k 0 0 1\r\nabc\r\ngets none %k\r\ndelete %k noreply\r\nmg %k v\r\nmn\r\n"
    for size in (1, 7, len(pipeline)):
        found = []
        for server in servers:
            text = Text(server)
            request = pipeline.replace(b"%k", b"piece%d" % size)
            for at in range(0, len(request), size):
                text.send(request[at:at + size])
            found.append(normal([text.reply()]))
            text.close()
        assert found[0] == found[1], found


def check_stats(*servers):
    """holdfast tells fewer, all of which memcached knows, in memcached's order."""
    texts = [Text(server) for server in servers]
    for text in texts:
        text.call(b"set k 0 0 1\r\nv\r\n")
    for word in (b"", b" settings", b" items", b" slabs", b" sizes"):
        peers, own = [re.findall(rb"STAT (?:items:1:|1:)?([a-z]\S*)", text.call(b"stats%b\r\n" % word)) for text in texts]
        if TLS:     # of holdfast alone
            own = [name for name in own if name in peers or not re.match(rb"ssl_|time_since_server_cert_refresh", name)]
        assert own and [name for name in peers if name in own] == own, (word, own)


def main():
    checks = Checks("memcached_lines")
    with Peer(workers=1, extra=["-o", "no_lru_maintainer,idle_timeout=600"]) as peer, Holdfast() as server:
        checks.run([check_flags, check_leases, check_numbers, check_times, check_keys, check_lines, check_drawn, check_packets, check_pieces, check_stats], peer, server)
    if checks.failed:
        print("memcached_lines: what is drawn: SEED=%d DRAWN=%d" % (SEED, DRAWN))
    return checks.end()


if __name__ == "__main__":
    sys.exit(main())
