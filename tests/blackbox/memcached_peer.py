"""memcached_peer.py -- memcached and holdfast's memcached port, and connections that speak text and binary to either.

Always: what a text connection is asked ends with `mn`, whose answer MN ends what it reads; what a binary one is asked ends
        with a noop. So the tests need no knowledge of each answer's shape. A read has an end (harness.REPLY_SECONDS).
"""
import os
import select
import shutil
import socket
import struct
import subprocess
import time

import harness


def memcached_path():
    return os.environ.get("MEMCACHED") or shutil.which("memcached") or "/usr/bin/memcached"


class Peer:
    """Debian's memcached."""
    kind = "memcached"

    def __init__(self, workers=2, extra=()):
        self.extra = list(extra)
        self.workers = workers
        self.process = None

    def start(self):
        for _ in range(3):
            self.port = harness.free_port()
            self.process = subprocess.Popen([memcached_path(), "-u", "nobody", "-l", "127.0.0.1", "-p", str(self.port), "-U", "0",
                                             "-t", str(self.workers)] + self.extra, stdin=subprocess.DEVNULL,
                                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            harness._servers.append(self)
            end = time.monotonic() + harness.STARTUP_SECONDS
            while time.monotonic() < end and self.process.poll() is None:
                try:
                    socket.create_connection(("127.0.0.1", self.port)).close()
                    return self
                except OSError:
                    time.sleep(0.01)
            self.kill9()
        raise RuntimeError("memcached did not start")

    @property
    def memcached_port(self):
        return self.port

    def kill9(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        if self in harness._servers:
            harness._servers.remove(self)

    stop = kill9

    def output(self):
        return ""

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()


class Holdfast(harness.Server):
    """A server with a memcached port beside its own."""

    def arguments(self, port):
        self.memcached_port = harness.free_port()
        harness.tls_settings(self.memcached_port)
        return super().arguments(port) + ["--memcached-tls-port" if harness.TLS else "--memcached-port", str(self.memcached_port)]


class Text:
    def __init__(self, server):
        self.socket = harness.connect(server.memcached_port, harness.REPLY_SECONDS)
        self.rest = b""

    def send(self, data):
        self.socket.sendall(data)

    def send_and_read(self, data):
        """For much that is answered meanwhile: who only sends may wait for a server that waits for him."""
        left = memoryview(data)
        self.socket.setblocking(False)
        while left:
            select.select([self.socket], [self.socket], [], harness.REPLY_SECONDS)
            try:
                left = left[self.socket.send(left):]
            except BlockingIOError:
                pass
            got = harness.read_ready(self.socket)
            if got == b"":
                raise EOFError(self.rest)
            self.rest += got or b""
        self.socket.settimeout(harness.REPLY_SECONDS)

    def until(self, end):
        """Everything up to and with `end`."""
        while end not in self.rest:
            got = self.socket.recv(1 << 20)
            if not got:
                raise EOFError(self.rest)
            self.rest += got
        at = self.rest.index(end) + len(end)
        found, self.rest = self.rest[:at], self.rest[at:]
        return found

    def reply(self):
        """The answer to what was followed by mn."""
        while not (self.rest.startswith(b"MN\r\n") or b"\r\nMN\r\n" in self.rest):
            got = self.socket.recv(1 << 20)
            if not got:
                raise EOFError(self.rest)
            self.rest += got
        at = 0 if self.rest.startswith(b"MN\r\n") else self.rest.index(b"\r\nMN\r\n") + 2
        found, self.rest = self.rest[:at], self.rest[at + 4:]
        return found

    def call(self, command):
        self.send(command + b"mn\r\n")
        return self.reply()

    def close(self):
        self.socket.close()


def packet(opcode, key=b"", value=b"", extras=b"", cas=0, opaque=0):
    return struct.pack(">BBHBBHIIQ", 0x80, opcode, len(key), len(extras), 0, 0, len(key) + len(extras) + len(value), opaque, cas) \
        + extras + key + value


NOOP = 0x0a
SYNC = 0x6d6e6d6e


class Binary(Text):
    def exactly(self, size):
        while len(self.rest) < size:
            got = self.socket.recv(1 << 20)
            if not got:
                raise EOFError(self.rest)
            self.rest += got
        found, self.rest = self.rest[:size], self.rest[size:]
        return found

    def one(self):
        """An answer: opcode, status, opaque, extras, key, value, cas."""
        head = self.exactly(24)
        magic, opcode, key, extras, _, status, body, opaque, cas = struct.unpack(">BBHBBHIIQ", head)
        assert magic == 0x81, head
        data = self.exactly(body)
        return opcode, status, opaque, data[:extras], data[extras:extras + key], data[extras + key:], cas

    def reply(self):
        """The answers to what was followed by a noop with SYNC."""
        answers = []
        while True:
            answer = self.one()
            if answer[0] == NOOP and answer[2] == SYNC:
                return answers
            answers.append(answer)

    def call(self, *packets):
        self.send(b"".join(packets) + packet(NOOP, opaque=SYNC))
        return self.reply()
