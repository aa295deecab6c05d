"""memcached_refused.py -- what memcached's port refuses, and how.

Goal:   a write that the log cannot take is answered with SERVER_ERROR and the cause, changes nothing, also with noreply, and reads go
        on; a connection too many is told so; an idle one ends; items and keys have their limits to the byte; who has not logged in
        can send little, and only a login; users of the ACL log in by text and by SASL. Where memcached 1.6.18 says something, its words.
Method: a full tmpfs in a mount namespace of our own (full_disk.py); lines to both servers; counters and CLIENT LIST.
Skips:  the full disk when it may not mount; as root that is a failure.
Usage:  memcached_refused.py [check ...]
"""
import ctypes
import os
import re
import subprocess
import sys
import time

from full_disk import enter_namespace, fill, mount
from harness import Checks, remove_dir, temp_dir
from memcached_peer import Binary, Holdfast, Peer, Text, packet

FULL = b"SERVER_ERROR MISCONF The disk that holds the log is full"
STORE, SUM = b"\0" * 8, b"\0" * 7 + b"\1" + b"\0" * 12


def expect(found, wanted):
    if found != wanted:
        raise AssertionError("found %r, wanted %r" % (found, wanted))


def ends(connection):
    """What came before the end of the connection."""
    said = b""
    while True:
        try:
            got = connection.socket.recv(65536)
        except ConnectionError:
            return said
        if not got:
            return said
        said += got


# ---- the log

WRITES = [b"set old 0 0 1\r\nx\r\n", b"add new 0 0 1\r\nx\r\n", b"replace old 0 0 1\r\nx\r\n", b"append old 0 0 1\r\nx\r\n", b"prepend old 0 0 1\r\nx\r\n",
          b"cas old 0 0 1 %d\r\nx\r\n", b"incr n 1\r\n", b"decr n 1\r\n", b"touch old 100\r\n", b"delete old\r\n", b"gat 100 old\r\n", b"gats 100 old\r\n",
          b"flush_all\r\n", b"flush_all 1\r\n", b"ms old 1\r\nx\r\n", b"ms old 1 MA\r\nx\r\n", b"md old\r\n", b"md old I\r\n", b"ma n\r\n", b"ma none N0 J1\r\n",
          b"mg old T100\r\n", b"mg none N100\r\n", b"set old 0 0 2000000\r\n" + b"x" * 2000000 + b"\r\n"]
QUIET = [b"set old 0 0 1 noreply\r\nx\r\n", b"append old 0 0 1 noreply\r\nx\r\n", b"incr n 1 noreply\r\n", b"delete old noreply\r\n", b"touch old 9 noreply\r\n",
         b"flush_all noreply\r\n", b"flush_all 1 noreply\r\n", b"cas old 0 0 1 %d noreply\r\nx\r\n", b"set new 0 0 1 noreply\r\nx\r\n"]
LOUD = [b"ms old 1 q\r\nx\r\n", b"md old q\r\n", b"ma n q\r\n", b"mg old q T5\r\n"]    # q holds back no error
PACKETS = [packet(0x01, b"old", b"x", STORE), packet(0x02, b"new", b"x", STORE), packet(0x0e, b"old", b"x"), packet(0x05, b"n", extras=SUM), packet(0x04, b"old"),
           packet(0x1d, b"old", extras=b"\0\0\0\x09"), packet(0x08), packet(0x08, extras=b"\0\0\0\1"), packet(0x11, b"old", b"x", STORE),
           packet(0x14, b"old"), packet(0x15, b"n", extras=SUM), packet(0x18)]
LEFT = {b"old": b"one", b"n": b"5"}


def check_left(text, number=None):
    """What was there before, and nothing else."""
    expect(text.call(b"get old n new none\r\n"), b"VALUE old 7 3\r\none\r\nVALUE n 0 1\r\n5\r\nEND\r\n")
    expect(text.call(b"mg old t f s\r\n"), b"HD t-1 f7 s3\r\n")
    if number:
        expect(text.call(b"gets old\r\n"), b"VALUE old 7 3 %d\r\none\r\nEND\r\n" % number)


def fill_log(server, ballast):
    """Writes until one is refused. An answer whose outcome is unknown ends its connection."""
    fill(ballast)
    end, text, serial = time.monotonic() + 60, Text(server), 0
    while time.monotonic() < end:
        serial += 1
        try:
            answer = text.call(b"set filler 0 0 20000\r\n%020000d\r\n" % serial)
        except (EOFError, ConnectionError):
            text = Text(server)
            continue
        if answer != b"STORED\r\n":
            assert answer.startswith(FULL) and b"free some space" in answer.lower(), answer
            return
    raise AssertionError("the disk is full, and yet writes are not refused")


def check_full_disk():
    if os.environ.get("FULL_DISK_INSIDE") != "1":
        print("memcached_refused: skipped: full_disk: this user may not make a mount namespace (unshare -m)")
        assert os.geteuid() != 0, "root may"
        return
    disk = temp_dir("holdfast-refused-")
    mount(disk)
    ballast, data = os.path.join(disk, "ballast"), os.path.join(disk, "data")
    os.mkdir(data)
    server = Holdfast(directory=data, durability="commit", extra=["--segment-size", "1mb", "--auto-snapshot", "no"])
    server.start()
    try:
        text, binary = Text(server), Binary(server)
        text.call(b"set old 7 0 3\r\none\r\nset n 0 0 1\r\n5\r\nset filler 0 0 20000\r\n" + b"f" * 20000 + b"\r\n")
        number = int(text.call(b"gets old\r\n").split()[4])
        fill_log(server, ballast)
        for command in WRITES:
            answer = text.call(command % number if b"%d" in command else command)
            assert answer.startswith(FULL) and answer.count(b"\r\n") == 1, (command[:40], answer)
            check_left(text, number)
        for command in QUIET:
            expect((command, text.call(command % number if b"%d" in command else command)), (command, b""))
            check_left(text, number)
        for command in LOUD:
            answer = text.call(command)
            assert answer.startswith(FULL), (command, answer)
            check_left(text, number)
        for request in PACKETS:
            answers = binary.call(request)
            assert len(answers) == 1 and answers[0][1] == 0x84 and b"The disk that holds the log is full" in answers[0][5], (request, answers)
            check_left(text, number)
        assert b"STAT curr_items 3\r\n" in text.call(b"stats\r\n")
        os.unlink(ballast)
        began = time.monotonic()
        while text.call(b"set probe 0 0 1\r\np\r\n") != b"STORED\r\n":
            assert time.monotonic() - began < 20, "no write succeeds after the space is back"
        check_left(text, number)
        expect(text.call(b"append old 0 0 1\r\n!\r\nincr n 1\r\n"), b"STORED\r\n6\r\n")
        server.kill9()
        server.start()
        expect(Text(server).call(b"get old n new none\r\n"), b"VALUE old 7 4\r\none!\r\nVALUE n 0 1\r\n6\r\nEND\r\n")
    finally:
        server.stop()
        subprocess.run(["umount", "-l", disk], check=False)
        remove_dir(disk)


# ---- connections

def check_too_many():
    """One connection too many is told why in memcached's words."""
    with Peer(extra=["-c", "40"]) as peer, Holdfast(extra=["--maxclients", "3"]) as server:
        said = []
        for one in (peer, server):
            connections = [Text(one)]
            said.append(b"")
            while not said[-1]:
                assert len(connections) < 60
                connections.append(Text(one))
                try:
                    connections[-1].send(b"mn\r\n")
                    answer = connections[-1].until(b"\r\n")
                except (EOFError, ConnectionError) as problem:
                    answer = problem.args[0] if isinstance(problem, EOFError) else b""
                said[-1] = answer if answer != b"MN\r\n" else b""
            expect(connections[0].call(b"get a\r\n"), b"END\r\n")
        expect(said[1], said[0])
        expect(said[1], b"ERROR Too many open connections\r\n")
        expect(len(connections), 4)
        for connection in connections:
            connection.close()
        text = Text(server)
        for _ in range(1000):       # the places are free again, soon
            try:
                assert int(re.search(rb"rejected_connections (\d+)", text.call(b"stats\r\n"))[1]) >= 1
                return
            except (EOFError, ConnectionError):
                time.sleep(0.01)
                text = Text(server)
        raise AssertionError("no place gets free")


def check_idle():
    """Idle connections of both protocols end without a word; one that works does not."""
    with Holdfast(extra=["--timeout", "1"]) as server:
        text, binary, busy = Text(server), Binary(server), Text(server)
        text.call(b"get a\r\n")
        binary.call(packet(0x00, b"a"))
        began = time.monotonic()
        text.socket.settimeout(0.05)
        said = None
        while said is None:
            expect(busy.call(b"get a\r\n"), b"END\r\n")
            assert time.monotonic() - began < 60
            try:
                said = text.socket.recv(100)
            except TimeoutError:
                pass
        expect((said, ends(binary)), (b"", b""))
        assert time.monotonic() - began > 0.9
        expect(busy.call(b"get a\r\n"), b"END\r\n")


def check_before_login():
    """Who has not logged in can have little kept, of any form, and not for long."""
    with Holdfast(extra=["--auth-timeout", "1"]) as server:
        redis = server.client()
        redis.call("CONFIG", "SET", "requirepass", "word")
        texts = []
        for data in (b"x" * 3000, b"get " + b"k" * 20000, b"set any 0 0 100000\r\n", b"set any 0 0 2000\r\n" + b"x" * 2000,
                     packet(0x01, b"k", b"v" * 5000, STORE)[:100], packet(0x21, b"PLAIN", b"x" * 5000)[:100], packet(0x00, b"k" * 200)[:50]):
            texts.append((data, Text(server)))
            texts[-1][1].send(data)
        slow = [Text(server) for _ in range(20)]
        for i, text in enumerate(slow):
            text.send((b"set any 0 0 2048\r\n" + b"x" * 1500, b"g" * 1500, packet(0x21, b"PLAIN", b"x" * 3000)[:1500])[i % 3])
        lines = [line for line in redis.call("CLIENT", "LIST").decode().split("\n") if "resp=" in line]
        assert sum(int(re.search(r"qbuf=(\d+)", line)[1]) for line in lines) < 20 * 20000, lines
        for data, text in texts:
            found = ends(text)
            assert found in (b"", b"CLIENT_ERROR bad command line termination\r\n") or found.endswith(b"Auth failure."), (data[:30], found)
        for text in slow:
            expect(ends(text), b"")


# ---- limits of items and keys

def check_items():
    """The largest item, to the byte, in every form; what is larger is passed over, and the connection goes on."""
    with Holdfast(extra=["--memcached-item-size-max", "4096"]) as server:
        text, binary = Text(server), Binary(server)
        largest = 4096 - 59 - 3
        for size, fits in ((largest, True), (largest + 1, False), (largest - 4, True), (largest - 3, False)):
            flags = 5 if size < largest else 0       # four bytes when they are there
            value = b"v" * size
            text.call(b"set key 0 0 3\r\nold\r\nset num 0 0 1\r\n1\r\n")
            expect(text.call(b"set key %d 0 %d\r\n%b\r\n" % (flags, size, value)), b"STORED\r\n" if fits else b"SERVER_ERROR object too large for cache\r\n")
            expect(text.call(b"get key\r\n").count(value), int(fits))
            expect(text.call(b"get key\r\n") == b"END\r\n", not fits)
            expect(text.call(b"ms key %d F%d\r\n%b\r\n" % (size, flags, value)), b"HD\r\n" if fits else b"SERVER_ERROR object too large for cache\r\n")
            expect(text.call(b"ms key %d F%d q\r\n%b\r\n" % (size, flags, value)), b"" if fits else b"SERVER_ERROR object too large for cache\r\n")
            expect(text.call(b"set key %d 0 %d noreply\r\n%b\r\n" % (flags, size, value)), b"")
            expect(binary.call(packet(0x01, b"key", value, b"\0\0\0" + bytes([flags]) + b"\0\0\0\0"))[0][1], 0 if fits else 3)
            text.call(b"delete key\r\n")
            expect(text.call(b"add key %d 0 %d\r\n%b\r\n" % (flags, size, value)), b"STORED\r\n" if fits else b"SERVER_ERROR object too large for cache\r\n")
        text.call(b"set key 0 0 %d\r\n%b\r\n" % (largest, b"v" * largest))
        for name in (b"append", b"prepend"):        # joined it would be too large: it stays as it is
            expect(text.call(b"%b key 0 0 1\r\nx\r\n" % name), b"NOT_STORED\r\n")
        expect(binary.call(packet(0x0e, b"key", b"x"))[0][1], 5)
        expect(text.call(b"get key\r\n"), b"VALUE key 0 %d\r\n%b\r\nEND\r\n" % (largest, b"v" * largest))
        text.send(b"set key 0 0 2147483645\r\n")    # announced only: nothing is set aside for it
        expect(text.until(b"\r\n"), b"SERVER_ERROR object too large for cache\r\n")
        text.send(b"get key\r\n" * 1000)            # which belongs to it
        lines = server.client().call("CLIENT", "LIST").decode()
        assert all(int(size) < 200000 for size in re.findall(r"tot-mem=(\d+)", lines)), lines
        expect(Text(server).call(b"set key 0 0 2147483646\r\n"), b"CLIENT_ERROR bad command line format\r\n")
        for opcode in (0x1c, 0x1d, 0x1e, 0x23, 0x10):   # these have no value
            binary = Binary(server)
            binary.send(packet(opcode, b"key", b"v", b"" if opcode == 0x10 else b"\0\0\0\1"))
            expect((opcode, binary.one()[1], ends(binary)), (opcode, 4, b""))


def check_keys():
    """250 bytes of key and no more, in every command."""
    lines = [b"get %b\r\n", b"gets a %b b\r\n", b"gat 5 %b\r\n", b"set %b 0 0 1\r\nx\r\n", b"add %b 0 0 1 noreply\r\nx\r\n", b"append %b 0 0 1\r\nx\r\n",
             b"cas %b 0 0 1 5\r\nx\r\n", b"incr %b 1\r\n", b"touch %b 5\r\n", b"delete %b\r\n", b"mg %b s\r\n", b"mg %b q v\r\n", b"ms %b 1 c\r\nx\r\n", b"md %b\r\n",
             b"ma %b N5\r\n", b"me %b\r\n"]
    with Peer() as peer, Holdfast() as server:
        for size in (1, 249, 250, 251, 252, 1000):
            for line in lines:
                answers = [Text(one).call(b"flush_all noreply\r\n" + line % (b"k" * size)) for one in (peer, server)]
                answers = [re.sub(rb" (la|size|cls|cas|exp)=\S+| c\d+", b"", answer) for answer in answers]
                if line.startswith(b"gets a") and size > 250:
                    answers = [answer.replace(b"END\r\n", b"") for answer in answers]
                expect((line, size, answers[1]), (line, size, answers[0]))
        for size in (250, 251):
            for opcode, extras, value in ((0x00, b"", b""), (0x01, STORE, b"v"), (0x04, b"", b""), (0x05, SUM, b""), (0x1c, b"\0\0\0\1", b"")):
                answers = []
                for one in (peer, server):
                    binary = Binary(one)
                    binary.send(packet(opcode, b"b" * size, value, extras) + packet(0x0a))
                    answers.append([binary.one()[:2]])
                    try:
                        answers[-1].append(binary.one()[:2])
                    except (EOFError, ConnectionError):
                        answers[-1].append("ends")
                expect((opcode, size, answers[1]), (opcode, size, answers[0]))


# ---- who it is

LOGINS = [b"get a\r\n", b"set a 0 0 1\r\nx\r\n", b"version\r\n", b"mn\r\n", b"set any 0 0 4\r\nuser\r\n", b"set any 0 0 10\r\nuser wrong\r\n", b"set any 0 0 9\r\nnone word\r\n",
          b"set any 0 0\r\n", b"set any 0 0 x\r\n", b"add any 0 0 9\r\n", b"set any 0 0 9\r\nuser wordyy", b"set any 0 0 9\r\nuser word\r\n", b"get a\r\n",
          b"set a 0 0 1\r\nx\r\n", b"set any 0 0 10\r\nuser wrong\r\n", b"get any\r\n"]


# Each on a connection of its own, and then a get.
FIRST_LINES = [b"\r\n", b"x\r\n", b"set\r\n", b"set any\r\n", b"set  any  0 0 9\r\nuser word\r\n", b"set any 5 100 9\r\nuser word\r\n", b"set any 0 0 9 noreply\r\nuser word\r\n",
               b"set any 0 0 9 x y\r\nuser word\r\n", b"set any 0 0 -1\r\n", b"set any 0 0 12\r\nother secret\r\n", b"set any 0 0 9\r\nuser:word\r\n", b"set any 0 0 10\r\nuser  word\r\n",
               b"set any 0 0 8\r\nuserword\r\n", b"set any 0 0 0\r\n\r\n", b"set any 0 0 10\r\nuser word \r\n", b"set any 0 0 10\r\n user word\r\n", b"set any 0 0 9\r\nUSER word\r\n",
               b"cas any 0 0 9 1\r\n", b"ms any 9\r\n", b"stats\r\n", b"flush_all\r\n", b"verbosity 1\r\n", b"watch\r\n", b"touch a 1\r\n",
               b"set %b 0 0 9\r\nuser word\r\n" % (b"k" * 250), b"set %b 0 0 9\r\nuser word\r\n" % (b"k" * 251), b"SET any 0 0 9\r\n"]


def check_text_login():
    """Line by line as a memcached with --auth-file."""
    directory = temp_dir()
    path = os.path.join(directory, "users")
    with open(path, "w") as users:
        users.write("user:word\nother:secret\n")
    os.chmod(directory, 0o755)
    os.chmod(path, 0o644)
    with Peer(extra=["-Y", path]) as peer, Holdfast() as server:
        redis = server.client()
        redis.call("ACL", "SETUSER", "user", "on", ">word", "~*", "+@all")
        redis.call("ACL", "SETUSER", "default", "resetpass", ">" + "a" * 20)
        connections = [Text(one) for one in (peer, server)]
        for line in LOGINS:
            answers = []
            for connection in connections:
                connection.send(line)
                answers.append(connection.until(b"\r\n"))
                while answers[-1].startswith(b"VALUE") and not answers[-1].endswith(b"END\r\n"):
                    answers[-1] += connection.until(b"\r\n")
            expect((line, answers[1]), (line, answers[0]))
        redis.call("AUTH", "a" * 20)
        redis.call("ACL", "SETUSER", "other", "on", ">secret", "~*", "+@all")
        for line in FIRST_LINES:
            said = []
            for one in (peer, server):
                connection = Text(one)
                connection.send(line)
                said.append([connection.until(b"\r\n")])
                connection.send(b"get none\r\n")
                said[-1].append(connection.until(b"\r\n"))
            expect((line, said[1]), (line, said[0]))
    remove_dir(directory)


def start(mechanism, data=b"", opcode=0x21):
    return packet(opcode, mechanism, data)


# Each goes on or ends by its last packet; none logs in.
STRANGERS = [[one] for one in (packet(0x00, b"k"), packet(0x00), packet(0x00, b"k" * 251), packet(0x01, b"k", b"v", STORE), packet(0x11, b"k", b"v", STORE), packet(0x09, b"k"),
                               packet(0x07), packet(0x17), packet(0x08), packet(0x10), packet(0x0a), packet(0x1b), packet(0x30), packet(0xfe))]
STRANGERS += [[one, packet(0x0a)] for one in (
    packet(0x20), packet(0x0b), start(b"PLAIN", b"\0user\0wrong"), start(b"PLAIN", b"user\0word"), start(b"PLAIN"), start(b"PLAIN", b"x" * 5000), start(b"x" * 32, b"a"),
    start(b"x" * 33, b"a"), start(b"CRAM", b"a"), start(b"PLAIN", b"\0user\0word", 0x22), start(b"PLAIN", b"", 0x22))]
STRANGERS += [[start(b"PLAIN"), start(b"PLAIN", b"\0user\0wrong", 0x22), packet(0x20), packet(0x0a)], [start(b"")], [start(b"", b"\0user\0word")],
              [start(b"PLAIN"), packet(0x0b), packet(0x00, b"k")]]


def conversation(server, packets):
    """The answer to each packet, and whether the connection goes on. A number of an item says only that there is one."""
    binary, answers = Binary(server), []
    try:
        for each in packets + [packet(0x0a)]:
            binary.send(each)
            answers.append(binary.one())
            answers[-1] = answers[-1][:6] + (min(answers[-1][6], 1),)
    except (EOFError, ConnectionError):
        answers.append("ends")
    binary.close()
    return answers


def settings_of_sasl(text):
    """memcached with -S reads memcached.conf there, as long as the directory is."""
    directory = temp_dir()
    with open(os.path.join(directory, "memcached.conf"), "w") as settings:
        settings.write(text.replace("%d", directory))
    os.chmod(directory, 0o755)
    os.environ["SASL_CONF_PATH"] = directory
    return directory


def forget_sasl(directory):
    del os.environ["SASL_CONF_PATH"]
    remove_dir(directory)


def check_strangers():
    """The bytes of a memcached with -S, up to the end of the connection."""
    directory = settings_of_sasl("mech_list: plain\n")
    with Peer(extra=["-S"]) as peer, Holdfast() as server:
        server.client().call("CONFIG", "SET", "requirepass", "word")
        for packets in STRANGERS:
            answers = []
            for one in (peer, server):
                binary = Binary(one)
                answers.append([])
                for each in packets:
                    binary.send(each)
                    answers[-1].append(binary.one())
                answers[-1].append(ends(binary))
            expect((packets, answers[1]), (packets, answers[0]))
    forget_sasl(directory)


GOOD, BAD = b"\0user\0word", b"\0user\0wrong"
RIGHT, WRONG = start(b"PLAIN", GOOD), start(b"PLAIN", BAD)
GET, SET, MECHANISMS = packet(0x00, b"k", opaque=5), packet(0x01, b"k", b"v", STORE), packet(0x20, opaque=9)
LOGGED_IN = [
    [RIGHT, GET, SET, GET, packet(0x02, b"k", b"w", STORE), packet(0x0c, b"k"), packet(0x05, b"n", extras=SUM), packet(0x0e, b"k", b"x"),
     packet(0x1d, b"k", extras=b"\0\0\0\x09"), packet(0x0b), packet(0x04, b"k"), packet(0x08)],
    [MECHANISMS, RIGHT, GET], [packet(0x21, b"PLAIN", GOOD, opaque=77, cas=8), GET],
    [WRONG, RIGHT, GET], [WRONG, WRONG, RIGHT, SET], [WRONG, GET], [RIGHT, WRONG, GET], [RIGHT, WRONG],
    [RIGHT, WRONG, RIGHT, GET], [RIGHT, start(b"CRAM-MD5", b"x"), GET], [RIGHT, start(b"x" * 32, b"a"), GET], [RIGHT, start(b"x" * 33, b"a"), GET],
    [RIGHT, start(b"PLAIN", b"x" * 5000), GET], [RIGHT, start(b"PLAIN"), GET],
    [start(b"PLAIN"), start(b"PLAIN", GOOD, 0x22), GET], [start(b"PLAIN"), start(b"PLAIN", BAD, 0x22), GET], [start(b"PLAIN"), RIGHT, GET],
    [start(b"PLAIN"), start(b"OTHER", GOOD, 0x22), GET], [start(b"PLAIN"), start(b"PLAIN", BAD, 0x22), start(b"PLAIN", GOOD, 0x22), GET],
    [start(b"PLAIN"), MECHANISMS, start(b"PLAIN", GOOD, 0x22), GET], [RIGHT, start(b"PLAIN", GOOD, 0x22), GET], [start(b"PLAIN", GOOD, 0x22), RIGHT, GET],
    [start(b"PLAIN", b"user\0user\0word"), GET], [start(b"plain", GOOD), GET], [start(b"Plain", GOOD), GET], [start(b"PLAIN ", GOOD), GET],
    [start(b"PLAI", GOOD), GET], [start(b"PLAIN", GOOD + b"\0"), GET], [start(b"PLAIN", GOOD + b"\0x"), GET],
    [start(b"PLAIN", b"\0user\0"), GET], [start(b"PLAIN", b"\0\0word"), GET], [start(b"PLAIN", b"\0user"), GET], [start(b"PLAIN", b"\0user\0word\n"), GET],
    [start(b"PLAIN", b"\0USER\0word"), GET], [packet(0x21, b"PLAIN", GOOD, b"\0\0\0\0"), GET], [packet(0x20, b"k"), RIGHT, GET], [packet(0x20, b"", b"v"), RIGHT, GET],
    [WRONG, start(b"PLAIN", GOOD, 0x22), GET], [start(b"CRAM-MD5", b"x"), start(b"PLAIN", GOOD, 0x22), GET], [WRONG, start(b"PLAIN"), start(b"PLAIN", GOOD, 0x22), GET],
    [RIGHT, packet(0x00)], [RIGHT, packet(0x0a, b"k")], [RIGHT, packet(0x07)], [RIGHT, packet(0x10, b"nothing")],
]
# memcached's library knows one login of a connection, and a list of mechanisms ends it; here another one may follow.
AGAIN = [[RIGHT, RIGHT, GET], [RIGHT, start(b"PLAIN"), start(b"PLAIN", GOOD, 0x22), GET], [RIGHT, MECHANISMS, GET]]


def check_logins():
    """The same with a user, who logs in rightly, wrongly, twice, in two steps, in the middle of another login."""
    directory = settings_of_sasl("mech_list: plain\npwcheck_method: auxprop\nauxprop_plugin: sasldb\nsasldb_path: %d/users\n")
    add_to_sasldb(os.path.join(directory, "users"), b"user", b"word")
    different = []
    with Peer(extra=["-S"]) as peer, Holdfast() as server:
        redis = server.client()
        redis.call("ACL", "SETUSER", "user", "on", ">word", "~*", "+@all")
        redis.call("ACL", "SETUSER", "default", "resetpass", ">" + "a" * 20)
        for packets in LOGGED_IN:
            theirs, ours = conversation(peer, packets), conversation(server, packets)
            if theirs != ours:
                different.append("\n".join(["", *map(repr, packets), "memcached %r" % theirs, "holdfast  %r" % ours]))
        for packets in AGAIN:
            theirs, ours = conversation(peer, packets), conversation(server, packets)
            expect((packets, theirs[-1], ours[-1][:2]), (packets, "ends", (0x0a, 0)))
    forget_sasl(directory)
    assert not different, "%d of %d:%s" % (len(different), len(LOGGED_IN), "".join(different))


def add_to_sasldb(path, user, password):
    """As saslpasswd2 does it, with the library that memcached has; in the realm of this machine, as memcached looks for it."""
    library, connection = ctypes.CDLL("libsasl2.so.2"), ctypes.c_void_p()
    library.sasl_setpass.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_uint, ctypes.c_char_p, ctypes.c_uint, ctypes.c_uint]
    expect(library.sasl_server_init(None, b"memcached"), 0)
    expect(library.sasl_server_new(b"memcached", None, None, None, None, None, 0, ctypes.byref(connection)), 0)
    expect(library.sasl_setpass(connection, user, password, len(password), None, 0, 1), 0)
    os.chmod(path, 0o644)


def check_sasl():
    """PLAIN with users of the ACL; anything else is refused; a user who is switched off ends."""
    with Holdfast() as server:
        redis = server.client()
        redis.call("ACL", "SETUSER", "one", "on", ">word", "~one:*", "+get", "+set")
        redis.call("ACL", "SETUSER", "two", "on", ">word", "~two:*", "+get", "+set")
        redis.call("ACL", "SETUSER", "off", "off", ">word", "~*", "+@all")
        redis.call("ACL", "SETUSER", "default", "resetpass", ">" + "a" * 20)
        for mechanism, data in ((b"PLAIN", b"\0one\0wrong"), (b"PLAIN", b"\0none\0word"), (b"PLAIN", b"\0off\0word"), (b"PLAIN", b"one\0word"),
                                (b"PLAIN", b"\0\0"), (b"CRAM-MD5", b"\0one\0word"), (b"PLAI", b"\0one\0word"), (b"PLAIN", b"\0one\0word\0"), (b"PLAIN", b"\0one\0wor")):
            binary = Binary(server)
            binary.send(packet(0x21, mechanism, data))
            expect((mechanism, data, binary.one()[1]), (mechanism, data, 0x20))
            binary.send(packet(0x00, b"one:a"))
            expect(binary.one()[1], 0x20)
            expect(ends(binary), b"")
        binary = Binary(server)
        binary.send(packet(0x22, b"PLAIN", b"\0one\0word"))     # a step of nothing
        expect(binary.one()[1], 0x20)
        for data in (b"\0one\0wrong", b"\0one\0word"):        # in two steps
            binary.send(packet(0x21, b"PLAIN"))
            expect(binary.one()[1:6], (0x21, 0, b"", b"", b""))
            binary.send(packet(0x22, b"PLAIN", data))
            expect(binary.one()[1], 0 if data.endswith(b"word") else 0x20)
        expect(binary.call(packet(0x00, b"one:a"))[0][1], 1)
        binary.send(packet(0x22, b"PLAIN", b"\0two\0word"))     # which is over
        expect(binary.one()[1], 0x20)
        binary = Binary(server)
        binary.send(packet(0x21, b"PLAIN", b"two\0one\0word"))  # who to be is ignored
        expect(binary.one()[1:6], (0, 0, b"", b"", b"Authenticated"))
        expect([answer[1] for answer in binary.call(packet(0x01, b"one:a", b"v", STORE), packet(0x01, b"two:a", b"v", STORE), packet(0x04, b"one:a"), packet(0x10))],
               [0, 0x20, 0x20, 0x20])
        binary.send(packet(0x21, b"PLAIN", b"\0two\0word"))     # and now somebody else
        expect(binary.one()[1], 0)
        expect([answer[1] for answer in binary.call(packet(0x01, b"one:a", b"v", STORE), packet(0x01, b"two:a", b"v", STORE))], [0x20, 0])
        redis.call("AUTH", "a" * 20)
        expect(redis.call("ACL", "SETUSER", "two", "off"), b"OK")
        kept = Binary(server)
        kept.send(packet(0x21, b"PLAIN", b"\0two\0word"))
        expect(kept.one()[1], 0x20)
        stats = redis.call("ACL", "LOG")
        assert len(stats) >= 3, stats


CHECKS = [check_full_disk, check_too_many, check_idle, check_before_login, check_items, check_keys, check_text_login, check_strangers, check_logins, check_sasl]


if __name__ == "__main__":
    if not sys.argv[1:] or "full_disk" in sys.argv[1:]:
        if subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode == 0:
            enter_namespace()
    checks = Checks("memcached_refused")
    checks.run(CHECKS)
    sys.exit(checks.end())
