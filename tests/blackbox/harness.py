"""harness.py -- start servers and speak RESP to them: the floor under every black-box test.

Goal:   a test reads like its subject; processes, ports and wire bytes live here.
Method: a server is a child process on a free loopback port and is stopped by its pid, also when
        the test dies (atexit). The client keeps the wire type of each reply, since "the reply is
        that of Redis" includes it: a reply is a pair (type byte, value), and plain() makes Python
        values of it. Arguments are bytes, str, int or float; nothing is decoded.
Always: every wait has an end (STARTUP_SECONDS, REPLY_SECONDS).

Binaries: HOLDFAST (default build/release/holdfast) and REDIS_SERVER (default redis-server). A holdfast
        built with a sanitizer needs nothing more: a report in its output fails the test program, whatever
        the test itself thought (see _reports).
Disk:   a holdfast that a test starts without saying how durable it is gets HARNESS_DURABILITY (default none).
Workers: and one that is not said how many workers it has gets HARNESS_WORKERS (default 2).
TLS:    with HARNESS_TLS=1 holdfast's ports speak TLS alone, and whoever connects by connect() or Client does, too: any test
        whose clients come from here then runs over TLS. The peers stay as they are.
"""
import atexit
import collections
import fcntl
import functools
import os
import random
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
STARTUP_SECONDS = 60
REPLY_SECONDS = 60


def holdfast_path():
    return os.path.abspath(os.environ.get("HOLDFAST") or os.path.join(ROOT, "build/release/holdfast"))


@functools.cache
def is_sanitized():
    """Whether holdfast was built with AddressSanitizer or ThreadSanitizer: its memory then says nothing, and all takes its time."""
    with open(holdfast_path(), "rb") as binary:
        data = binary.read()
    return b"__asan_init" in data or b"__tsan_init" in data


def redis_path():
    return os.environ.get("REDIS_SERVER") or shutil.which("redis-server") or "/usr/bin/redis-server"


# --- ports ---------------------------------------------------------------------------------------

PORTS = range(20000, 32000)     # not of those that the system gives to connections, which take one between two starts
PORTS_KEPT = 200

_ports = collections.deque()    # the last that this program was given; of each, a byte of _ports_file is locked
_ports_file = None
_ports_guard = threading.Lock()


def free_port():
    """A port that is free, and for a while this program's alone: no other is given one of the last PORTS_KEPT of a program that
    runs. Else a client may speak to the server of another test, which was faster to take a port, or took it after kill -9."""
    global _ports_file
    with _ports_guard:
        if _ports_file is None:
            _ports_file = open(os.path.join(tempfile.gettempdir(), "holdfast-ports-%d" % os.getuid()), "ab")
        first = random.SystemRandom().randrange(len(PORTS))     # a test's own numbers go on as they would
        for i in range(len(PORTS)):
            port = PORTS[(first + i) % len(PORTS)]
            if port not in _ports and _nobody_has(port) and _lock_port(port):
                _ports.append(port)
                if len(_ports) > PORTS_KEPT:
                    fcntl.lockf(_ports_file, fcntl.LOCK_UN, 1, _ports.popleft())
                return port
    raise RuntimeError("no free port")


def _nobody_has(port):
    with socket.socket() as s:
        try:
            s.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _lock_port(port):
    try:
        fcntl.lockf(_ports_file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except OSError:
        return False
    return True


def has_port(pid, port):
    """Whether this process listens there: another program may have been faster to take a port that was free."""
    try:
        rows = [row.split() for family in ("tcp", "tcp6") for row in open("/proc/net/" + family) if " 0A " in row]
        sockets = {"socket:[%s]" % row[9] for row in rows if int(row[1].rpartition(":")[2], 16) == port}
        return any(os.readlink(entry.path) in sockets for entry in os.scandir("/proc/%d/fd" % pid))
    except OSError:
        return False        # it has ended meanwhile, or closed a descriptor: asked again


# --- connections ---------------------------------------------------------------------------------

TLS = os.environ.get("HARNESS_TLS") == "1"
_tls_ports = set()      # of holdfast, with HARNESS_TLS


def tls_settings(port):
    """Flags of a holdfast whose port speaks TLS, if TLS; the port is known as such from now on."""
    if not TLS:
        return []
    _tls_ports.add(port)
    return _certificates().settings()


@functools.cache
def _certificates():
    from tls_parts import Certificates      # which stands on this file
    return Certificates()


class _TlsSocket(ssl.SSLSocket):
    """Raises what a plain one raises: when the server ends while something is asked of it, and when it would have to wait."""


def _raises_as_plain(method):
    @functools.wraps(method)
    def call(self, *words, **options):
        try:
            return method(self, *words, **options)
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError) as end:
            raise ConnectionResetError(str(end))
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError) as wait:
            raise BlockingIOError(str(wait))
    return call


for _name in ("do_handshake", "read", "send"):
    setattr(_TlsSocket, _name, _raises_as_plain(getattr(ssl.SSLSocket, _name)))


@functools.cache
def _tls_context():
    context = _certificates().context()
    context.sslsocket_class = _TlsSocket
    return context


def connect(port, timeout=None, host="127.0.0.1", tls=None):
    """A socket. tls: an ssl.SSLContext, if there has to be a certain one."""
    s = socket.create_connection((host, port), timeout=timeout)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    tls = tls or (_tls_context() if port in _tls_ports else None)
    return tls.wrap_socket(s, server_hostname="localhost") if tls else s


def read_ready(connection):
    """All that has come to a socket that does not block: select() does not see what TLS has read already. None: nothing yet;
    b"": it has ended."""
    parts = []
    try:
        while part := connection.recv(1 << 18):
            parts.append(part)
    except BlockingIOError:
        return b"".join(parts) or None
    except ConnectionError:
        pass
    return b"".join(parts)      # and the end, if it was behind them, again when asked again


def redis_options(port):
    """Of redis-py: redis.Redis(**redis_options(port))."""
    return dict(port=port, ssl=True, ssl_ca_certs=_certificates().path("ca.crt")) if port in _tls_ports else dict(port=port)


# --- temporary directories and processes, cleaned up at exit -----------------------------------

_directories = []
_servers = []
_reports = []       # what sanitizers and broken invariants said, and crashes: any of it makes the exit status 1

REPORT = re.compile(r"WARNING: ThreadSanitizer|(ERROR|FATAL): \w+Sanitizer|Sanitizer:DEADLYSIGNAL|runtime error:|holdfast: broken invariant")
CRASHES = {-signal.SIGSEGV, -signal.SIGBUS, -signal.SIGABRT, -signal.SIGILL, -signal.SIGFPE, -signal.SIGTRAP, -signal.SIGSYS}
REPORT_SHOWN = 6000
# Go on after a data race, to see the others; a heap error stops the server by itself.
SANITIZER_OPTIONS = {
    "ASAN_OPTIONS": "detect_stack_use_after_return=1",
    "UBSAN_OPTIONS": "print_stacktrace=1",
    "TSAN_OPTIONS": "halt_on_error=0 second_deadlock_stack=1",
}


def temp_dir(prefix="holdfast-test-"):
    """A new directory, removed at exit unless KEEP=1."""
    path = tempfile.mkdtemp(prefix=prefix)
    _directories.append(path)
    return path


def remove_dir(path):
    shutil.rmtree(path, ignore_errors=True)
    if path in _directories:
        _directories.remove(path)


@atexit.register
def _clean_up():
    for server in list(_servers):
        server.kill9()
    if os.environ.get("KEEP") != "1":
        for path in list(_directories):
            remove_dir(path)
    if _reports:
        sys.stdout.flush()
        kinds = sorted(set(re.findall(r"^(?:SUMMARY: |.*runtime error: ).*", "\n".join(_reports), re.M)))
        print("harness: %d servers printed a report; the first, then all kinds:\n%s\n%s"
              % (len(_reports), _reports[0][:REPORT_SHOWN], "\n".join(kinds)), file=sys.stderr, flush=True)
        os._exit(1)     # the exit status of a test that knows nothing of it


def environment():
    """Of a holdfast process."""
    return dict(SANITIZER_OPTIONS, **os.environ)


def look_for_report(text):
    """Every output of a holdfast process is shown to this; returns what it found."""
    found = REPORT.search(text)
    if not found:
        return ""
    report = text[text.rfind("\n", 0, found.start()) + 1:]
    _reports.append(report)
    return report


# --- replies -----------------------------------------------------------------------------------

class ReplyError(Exception):
    """An error reply; compares by its text."""

    def __eq__(self, other):
        return isinstance(other, ReplyError) and self.args == other.args

    __hash__ = Exception.__hash__


def plain(reply):
    """The Python value of a wire reply; an error becomes a ReplyError object (not raised)."""
    kind, value = reply
    if value is None:
        return None
    if kind in "-!":
        return ReplyError(value.decode("latin-1"))
    if kind in "*~>":
        return [plain(item) for item in value]
    if kind == "%":
        items = [plain(item) for item in value]
        return dict(zip(items[::2], items[1::2]))
    if kind == ",":
        return float(value)
    return value


def encode(*words):
    out = [b"*%d\r\n" % len(words)]
    for word in words:
        if not isinstance(word, bytes):
            word = str(word).encode()
        out.append(b"$%d\r\n%b\r\n" % (len(word), word))
    return b"".join(out)


class Client:
    """One connection, RESP2 until hello(3). Not for use by two threads."""

    def __init__(self, port, resp=2, timeout=REPLY_SECONDS, host="127.0.0.1", tls=None):
        """tls: an ssl.SSLContext."""
        self.socket = connect(port, timeout, host, tls)
        self.file = self.socket.makefile("rb", buffering=65536)
        if resp == 3:
            self.call("HELLO", 3)

    def close(self):
        self.file.close()
        self.socket.close()

    def send_raw(self, data):
        self.socket.sendall(data)

    def send(self, *words):
        self.socket.sendall(encode(*words))

    def read(self):
        """The next reply as (type, value). Raises ConnectionError when the server hangs up."""
        line = self.file.readline()
        if line[-2:] != b"\r\n":
            raise ConnectionError("server closed the connection" if not line else "torn line %r" % line)
        kind, rest = chr(line[0]), line[1:-2]
        if kind in "$=!":
            size = int(rest)
            if size < 0:
                return (kind, None)
            data = self.file.read(size + 2)
            if len(data) != size + 2 or data[-2:] != b"\r\n":
                raise ConnectionError("torn bulk reply")
            return (kind, data[:-2])
        if kind == ":":
            return (kind, int(rest))
        if kind in "+-,(":
            return (kind, rest)
        if kind in "*~>%":
            count = int(rest)
            if count < 0:
                return (kind, None)
            return (kind, [self.read() for _ in range(count * 2 if kind == "%" else count)])
        if kind == "_":
            return (kind, None)
        if kind == "#":
            return (kind, rest == b"t")
        raise ConnectionError("not RESP: %r" % line[:80])

    def wire(self, *words):
        self.send(*words)
        return self.read()

    def call(self, *words):
        """The plain reply; an error reply is raised."""
        value = plain(self.wire(*words))
        if isinstance(value, ReplyError):
            raise value
        return value

    def pipeline(self, commands):
        """Plain replies of many commands in one write; errors stay in the list."""
        self.socket.sendall(b"".join(encode(*words) for words in commands))
        return [plain(self.read()) for _ in commands]


# --- servers -----------------------------------------------------------------------------------

class Played:
    """A server that a test plays: serve(connection) in a thread of its own for each."""

    def __init__(self, serve):
        self.serve, self.connections = serve, []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.connections.append(connection)
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def close(self):
        for one in [self.listener] + self.connections:
            one.close()


REDIS_DURABILITY = {
    "none": ["--appendonly", "no"],
    "interval": ["--appendonly", "yes", "--appendfsync", "everysec"],
    "commit": ["--appendonly", "yes", "--appendfsync", "always"],
}


def first_client(process, port, seconds=60):
    """Of a server that the test has started by itself, as soon as it listens."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return Client(port)
        except ConnectionRefusedError:
            assert time.monotonic() < deadline and process.poll() is None, "it does not start"
            time.sleep(0.01)


class Server:
    """A child server on a free port. Use as a context manager or start()/stop()."""

    def __init__(self, kind="holdfast", directory=None, durability=None, workers=None, extra=(), cpu=None):
        self.kind = kind
        self.own_directory = directory is None
        self.directory = directory or temp_dir()
        self.durability = durability or (kind == "holdfast" and os.environ.get("HARNESS_DURABILITY")) or "none"
        self.workers = workers or int(os.environ.get("HARNESS_WORKERS") or 2)
        self.extra = list(extra)
        self.cpu = cpu
        self.process = None
        self.port = None
        self.output_start = 0   # of this process in server.out
        self.crash_is_asked = False     # by DEBUG SEGFAULT or PANIC: no report of it
        self.report = ""                # of a process that has ended: what look_for_report found, or how it crashed

    def arguments(self, port):
        if self.kind == "redis":
            return [redis_path(), "--port", str(port), "--bind", "127.0.0.1", "--dir", self.directory, "--save", "",
                    "--loglevel", "warning", "--enable-debug-command", "yes"] \
                + REDIS_DURABILITY[self.durability] + self.extra
        ports = ["--port", "0", "--tls-port", str(port)] if TLS else ["--port", str(port)]
        return [holdfast_path(), *ports, *tls_settings(port), "--bind", "127.0.0.1", "--dir", self.directory,
                "--workers", str(self.workers), "--durability", self.durability, "--save", "",
                "--loglevel", "warning"] + self.extra

    def start(self):
        """Returns seconds until the first PING was answered. Two tries: a free port may be taken meanwhile."""
        binary = self.arguments(0)[0]
        if not os.access(binary, os.X_OK):
            sys.exit("no server at %s: run script/build, or set HOLDFAST" % binary)
        for attempt in range(2):
            self.port = free_port()
            began = time.monotonic()
            log = open(os.path.join(self.directory, "server.out"), "ab")
            self.output_start = log.tell()
            pin = (lambda: os.sched_setaffinity(0, {self.cpu})) if self.cpu is not None else None
            self.process = subprocess.Popen(self.arguments(self.port), stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log, preexec_fn=pin, env=environment())
            log.close()
            _servers.append(self)
            if self._wait_ready(began + STARTUP_SECONDS):
                return time.monotonic() - began
            self.kill9()
        raise RuntimeError("%s did not start: %s\n%s" % (self.kind, " ".join(self.arguments(self.port)), self.output()))

    def _wait_ready(self, deadline):
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                client = Client(self.port, timeout=max(0.1, deadline - time.monotonic()))
                reply = client.wire("PING")
                client.close()
                if reply == ("+", b"PONG") and has_port(self.pid, self.port):
                    return True
            except OSError:
                pass
            time.sleep(0.003)
        return False

    def output(self):
        """The last of what the server printed."""
        try:
            with open(os.path.join(self.directory, "server.out"), "rb") as f:
                return f.read()[-4000:].decode("utf-8", "replace")
        except OSError:
            return ""

    @property
    def pid(self):
        return self.process.pid

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def client(self, resp=2, **options):
        return Client(self.port, resp, **options)

    def _forget(self):
        if self in _servers:
            _servers.remove(self)
            self._keep_report()

    def _keep_report(self):
        self.report = ""
        if self.crash_is_asked:
            self.crash_is_asked = False
            return
        try:
            with open(os.path.join(self.directory, "server.out"), "rb") as f:
                f.seek(self.output_start)
                said = f.read().decode("utf-8", "replace")
        except OSError:
            said = ""
        self.report = look_for_report(said)
        if self.process.returncode in CRASHES and not self.report:
            self.report = "a server ended by %s; it said:\n%s" % (signal.Signals(-self.process.returncode).name, said[-REPORT_SHOWN:])
            _reports.append(self.report)

    def kill9(self):
        if self.process is not None:
            if self.process.poll() is None:
                os.kill(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self._forget()

    def stop(self, seconds=30):
        """SIGTERM, then SIGKILL. Returns the exit status."""
        if self.alive():
            self.process.terminate()
            try:
                self.process.wait(seconds)
            except subprocess.TimeoutExpired:
                print("%s ignored SIGTERM for %d s" % (self.kind, seconds), file=sys.stderr)
                self.kill9()
        self._forget()
        if self.own_directory and os.environ.get("KEEP") != "1":
            remove_dir(self.directory)
        return self.process.returncode if self.process else None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()


class Checks:
    """Functions check_NAME(*servers), those that the command line names, or all. A failure is told with the line that
    repeats it, and the others still run."""

    def __init__(self, program):
        self.program, self.chosen, self.failed = program, sys.argv[1:], 0

    def run(self, checks, *servers):
        for check in checks:
            name = check.__name__[len("check_"):]
            if self.chosen and name not in self.chosen:
                continue
            try:
                check(*servers)
            except (AssertionError, KeyError, ReplyError, ConnectionError, OSError) as problem:
                self.failed += 1
                where = "%s, " % servers[-1].kind if servers else ""
                print("%s: %s%s: %r\n  repeat: /usr/bin/python3 tests/blackbox/%s.py %s" % (
                    self.program, where, name, problem, self.program, name))

    def end(self):
        print("%s: %d failed" % (self.program, self.failed))
        return 1 if self.failed else 0
