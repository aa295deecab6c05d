"""memcached_oracle.py -- the same random commands to memcached 1.6.18 and to holdfast: equal answers.

Goal:   memcached's clients get what memcached would have said, in the text, meta and binary protocols, mixed on the same keys.
Method: runs of commands (memcached_generate.py) go to both servers over one text and one binary connection each, pipelined;
        answers are compared command by command. Numbers for compare-and-set differ between the servers by nature: each is
        replaced by the ordinal of its first appearance, so that equal structure is what is compared, and requests that name one
        name the same ordinal. Seconds left (t, exp) may differ by 2: the two clocks tick apart. Of `me` only what is no size
        is compared. A difference is shown with the commands of its key so far.
Left out: the number behind l (memcached moves it once a minute at most), the keys before one that is too long (memcached has fetched or touched them), whether memcached still knows that a key
        came as base64 (holdfast answers as asked) and what it decodes though it is no base64, lines whose opaque is too long though
        they would change something, unknown opcodes with a key (memcached ends the connection), mg's t after a T in the past, sizes
        of items at their limit, ma's T (memcached drops it when the number gets longer).
        memcached runs with one thread and without its maintainer, which hold items at times; a number in a held item is not
        padded with spaces when it gets shorter, so a sum waits for the answers that hold its key.
Usage:  memcached_oracle.py [--commands 100000] [--seed S] [--progress N]
"""
import argparse
import base64
import random
import re
import select
import struct
import sys
import time

from harness import REPLY_SECONDS
from memcached_generate import BASE64_KEYS, Generator, edges
from memcached_peer import NOOP, SYNC, Binary, Holdfast, Peer, Text, packet

RUN, RUN_BYTES = 60, 1 << 20
HISTORY = 3000
RAW_KEYS = {base64.b64decode(key): key for key in BASE64_KEYS}
END_OF_PACKETS = struct.pack(">BBHBBHIIQ", 0x81, NOOP, 0, 0, 0, 0, 0, SYNC + 1, 0)


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
            seconds += [int(word[1:])] if word[:1] == b"t" else []
            words.append(word[:1] + b".")
        elif word[:1] == b"k" and word[1:] in RAW_KEYS:
            words += [b"k" + RAW_KEYS[word[1:]], b"b"]
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
                raw = line.split(b" ")[1]
                line = line.replace(raw, RAW_KEYS.get(raw, raw), 1)
                line = re.sub(rb" exp=\S+| la=\S+| cas=\S+| cls=\S+| size=\S+", b"", line)
            parts.append(line)
            at = end + 2
    return parts, seconds


def normal_binary(answers, numbers):
    return [answer[:6] + (numbers.ordinal(answer[6]),) for answer in answers], []


def is_text(command):
    return command[0] == "text"


def split_text(data, commands):
    """The answers, each of which MN ends. No value has these letters."""
    answers = data.split(b"MN\r\n")
    for at, command in enumerate(commands):
        if command[2] == [b"mn\r\n"]:
            answers.pop(at) # its own one; the one behind it stands for it
    return answers[:-1]


def split_packets(data):
    """The answers, each of which a noop ends."""
    answers, some, at = [], [], 0
    while at < len(data):
        _, opcode, key, extras, _, status, body, opaque, cas = struct.unpack_from(">BBHBBHIIQ", data, at)
        at += 24
        if opcode == NOOP and opaque == SYNC:
            answers.append(some)
            some = []
        elif opaque != SYNC + 1:
            some.append((opcode, status, opaque, data[at:at + extras], data[at + extras:at + extras + key], data[at + extras + key:at + body], cas))
        at += body
    return answers


class Side:
    """A server, and what it has to say to a run."""

    def __init__(self, server):
        self.server = server
        self.sockets = {True: Text(server).socket, False: Binary(server).socket}
        self.numbers = Numbers()

    def number(self, piece):
        return int(piece) if isinstance(piece, bytes) else self.numbers.order[piece[1]]

    def bytes_of(self, command):
        if is_text(command):
            return b"".join(p if isinstance(p, bytes) else b"%d" % self.number(p) for p in command[2]) + b"mn\r\n"
        _, opcode, key, value, extras, cas, opaque = command
        return packet(opcode, key, value, extras, self.number(cas), opaque) + packet(NOOP, opaque=SYNC)

    def begin(self, commands):
        self.text = is_text(commands[0])
        self.out = b"".join(self.bytes_of(command) for command in commands) + (b"" if self.text else packet(NOOP, opaque=SYNC + 1))
        self.out = memoryview(self.out)
        self.got = bytearray()
        self.missing = sum(1 + (command[2] == [b"mn\r\n"]) for command in commands)
        self.socket = self.sockets[self.text]
        self.socket.setblocking(False)

    def move(self):
        """Sends and reads what can be. True: all is there."""
        try:
            while self.out:
                self.out = self.out[self.socket.send(self.out):]
        except BlockingIOError:
            pass
        try:
            while not self.done():
                got = self.socket.recv(1 << 18)
                if not got:
                    raise EOFError("%s ends the connection" % self.server.kind)
                before = max(0, len(self.got) - 3)
                self.got += got
                self.missing -= self.got.count(b"MN\r\n", before) if self.text else 0
        except BlockingIOError:
            pass
        return self.done() and not self.out

    def done(self):
        return self.missing <= 0 if self.text else self.got.endswith(END_OF_PACKETS)

    def answers(self, commands):
        return split_text(bytes(self.got), commands) if self.text else split_packets(bytes(self.got))

    def normal(self, command, answer):
        self.numbers.key = command[1].split(b" ")[0] if self.text else command[2]
        return normal_text(answer, self.numbers) if self.text else normal_binary(answer, self.numbers)


def exchange(sides, commands):
    for side in sides:
        side.begin(commands)
    waiting = list(sides)
    end = time.monotonic() + REPLY_SECONDS
    while waiting:
        waiting = [side for side in waiting if not side.move()]
        if not waiting:
            return [side.answers(commands) for side in sides]
        select.select([side.socket for side in waiting], [side.socket for side in waiting if side.out], [], 1)
        if time.monotonic() > end:
            raise TimeoutError("no answer of %s" % " and ".join(side.server.kind for side in waiting))


def close_enough(a, b):
    return len(a) == len(b) and all(abs(x - y) <= 2 for x, y in zip(a, b))


def show(command):
    return repr(command)[:300]


def names_of(command):
    return command[1].split(b" ") if is_text(command) else [command[2]]


def is_delta(command):
    """An answer that has not left yet holds its item in memcached, and a number in such an item is not padded with spaces."""
    if not is_text(command):
        return command[1] in (0x05, 0x06, 0x15, 0x16)
    return command[2][0].startswith((b"incr", b"decr", b"ma "))


def make_run(generator, rng):
    """Commands of one connection that need not wait for each other's answers, and the one behind them."""
    text, commands, touched, size = rng.random() < 0.7, [], set(), 0
    for _ in range(rng.randint(1, RUN)):
        command = generator.text() if text else generator.binary()
        names = names_of(command)
        if is_delta(command) and not touched.isdisjoint(names):
            yield commands
            commands, touched, size = [], set(), 0
        commands.append(command)
        touched.update(names)
        size += len(command[2][-1]) if text else len(command[3])
        if size > RUN_BYTES:
            break
    yield commands


def make_edges():
    for command in edges():
        yield [command]


def compare(sides, commands):
    """None, or the place of the difference and the answers."""
    try:
        found = exchange(sides, commands)
    except (EOFError, TimeoutError) as problem:
        counts = [len(side.answers(commands)) for side in sides]
        return min(min(counts), len(commands) - 1), [str(problem), "%r answers" % counts]
    for at, answers in enumerate(zip(*found)):
        normal = [side.normal(commands[at], answer) for side, answer in zip(sides, answers)]
        if normal[0][0] != normal[1][0] or not close_enough(normal[0][1], normal[1][1]):
            return at, normal
    return None


def tell(sides, history, commands, difference):
    at, answers = difference
    history += commands[:at]
    names = set(names_of(commands[at]))
    for earlier in [c for c in history if not names.isdisjoint(names_of(c))][-14:]:
        print("   ", show(earlier))
    print("differs:", show(commands[at]))
    for side, answer in zip(sides, answers):
        print("%-10s" % side.server.kind, repr(answer)[:600])
    for side in sides:
        print("%-10s" % side.server.kind, Binary(side.server).call(*[packet(0x00, name) for name in names if len(name) <= 250][:1]))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--commands", type=int, default=100000)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--progress", type=int, default=0)
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    servers = [Peer(workers=1, extra=["-o", "no_lru_maintainer,no_lru_crawler"]), Holdfast()]
    for server in servers:
        server.start()
    sides = [Side(server) for server in servers]
    generator = Generator(rng)
    history, done, told, began = [], 0, 0, time.monotonic()
    while done < arguments.commands:
        for commands in make_run(generator, rng) if done else make_edges():
            difference = compare(sides, commands)
            if difference:
                tell(sides, history, commands, difference)
                print("repeat: tests/blackbox/memcached_oracle.py --commands %d --seed %d" % (arguments.commands, arguments.seed))
                return 1
            history = history[-HISTORY:] + commands
            done += len(commands)
            generator.owners = sides[0].numbers.owners
            generator.shown = min(len(side.numbers.order) for side in sides)
        if arguments.progress and done // arguments.progress > told:
            told = done // arguments.progress
            print("%d commands, %.0f s" % (done, time.monotonic() - began), flush=True)
    for server in servers:
        server.stop()
    print("%d commands, %d numbers compared, 0 differences, %.1f s" % (done, generator.shown, time.monotonic() - began))
    return 0


if __name__ == "__main__":
    sys.exit(main())
