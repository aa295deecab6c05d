"""tls.py -- TLS: who gets in, what breaks it, what it must not break.

Goal:   over tls-port and memcached-tls-port clients get what they get in plain text, certificates decide as in redis-server, and
        nobody who stalls, lies or stops in the middle of TLS holds up others or costs unbounded time and memory.
Method: certificates are made for the run. Real clients (redis-cli, Python's ssl, redis-py, a redis-server that follows) and one
        whose records are cut, held back and forged (tls_parts.py). What is about settings runs on redis-server, too, and the
        answers are compared.
Usage:  tls.py [check ...]
"""
import os
import random
import re
import socket
import ssl
import subprocess
import sys
import threading
import time

import harness
from harness import Checks, Client, ReplyError, Server, encode, free_port, plain, remove_dir, temp_dir
from tls_parts import Certificates, RawTls

WAIT_SECONDS = 60
MEGABYTES = int(os.environ.get("TLS_MEGABYTES", "100"))
made = None


def expect(found, wanted, what):
    assert found == wanted, "%s: %r, wanted %r" % (what, found, wanted)


def wait_until(what, condition):
    until = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < until, "in vain: " + what
        time.sleep(0.01)


def whole_output(server):
    with open(os.path.join(server.directory, "server.out"), "rb") as f:
        return f.read().decode("utf-8", "replace")


def says(server, words):
    wait_until("a line with %r in the log" % words, lambda: words in whole_output(server))


def is_refused(port, context):
    """In TLS 1.3 a client learns with its first read what became of its certificate."""
    try:
        client = Client(port, tls=context)
        client.call("PING")
        client.close()
    except (ssl.SSLError, ConnectionError):
        return True
    return False


def answer(client, *words):
    reply = plain(client.wire(*words))
    return reply.args[0] if isinstance(reply, ReplyError) else reply


def both_kinds(check):
    for kind in ("redis", "holdfast"):
        try:
            check(kind)
        except (AssertionError, OSError) as problem:
            raise AssertionError("%s: %r" % (kind, problem))


# --- who gets in ---------------------------------------------------------------------------------

def check_certificates():
    """Mutual TLS, optional and none; wrong authority, expired; the same on redis-server."""
    wanted = {"yes": (True, False, True, True), "optional": (False, False, True, True), "no": (False, False, False, False)}

    def check(kind):
        with made.server(kind, auth="yes") as server:
            control = server.client()
            for auth, refused in wanted.items():
                expect(control.call("CONFIG", "SET", "tls-auth-clients", auth), b"OK", "tls-auth-clients " + auth)
                for client, result in zip((None, "client", "stranger", "expired"), refused):
                    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)[kind == "redis":]:
                        found = is_refused(server.tls_port, made.context(client, version))
                        expect(found, result, "auth %s, certificate %s, %s refused" % (auth, client, version.name))
            stranger = ssl.create_default_context(cafile=made.path("other-ca.crt"))
            assert is_refused(server.tls_port, stranger), "a client trusts a server of another authority"
    both_kinds(check)


def check_clients():
    """redis-cli, redis-py; a listener; MONITOR; a redis-server follows."""
    with made.server() as server:
        run = ["redis-cli", "--tls", "--cacert", made.path("ca.crt"), "-p", str(server.tls_port)]
        expect(subprocess.run(run + ["SET", "a", "b"], capture_output=True, timeout=60).stdout, b"OK\n", "redis-cli")
        done = subprocess.run(run + ["--pipe"], input=encode("SET", "c", "d") * 1000, capture_output=True, timeout=60)
        assert b"errors: 0, replies: 1000" in done.stdout, done
        import redis
        py = redis.Redis(port=server.tls_port, ssl=True, ssl_ca_certs=made.path("ca.crt"))
        expect(py.get("a"), b"b", "redis-py")
        listener, monitor, other = (Client(server.tls_port, tls=made.context()) for _ in range(3))
        listener.call("SUBSCRIBE", "news")
        monitor.call("MONITOR")
        expect(other.call("PUBLISH", "news", "x" * 40000), 1, "listeners")
        expect(plain(listener.read()), [b"message", b"news", b"x" * 40000], "a message")
        assert b'"PUBLISH" "news"' in monitor.read()[1], "MONITOR shows it"
        for number in range(200):
            other.call("SET", "k%d" % number, "v" * number)
        for one in (listener, monitor):     # a drain waits for those that do not read
            one.close()
        replica = Server("redis", extra=["--replicaof", "127.0.0.1 %d" % server.tls_port, "--tls-replication", "yes",
                                         *made.settings()])
        with replica:
            wait_until("the replica has all", lambda: replica.client().call("DBSIZE") == other.call("DBSIZE"))
            other.call("SET", "late", "r" * 100000)
            wait_until("and what comes later", lambda: replica.client().call("GET", "late") == b"r" * 100000)
        py.close()


def check_versions():
    """TLS 1.2 and 1.3 alone unless told otherwise; ciphers; sessions are resumed, or not."""
    def check(kind):
        with made.server(kind) as server:
            control = server.client()

            def speaks(version):
                return not is_refused(server.tls_port, made.context(version=version))

            old = ["openssl", "s_client", "-connect", "127.0.0.1:%d" % server.tls_port, "-tls1_1", "-cipher", "ALL@SECLEVEL=0"]
            assert subprocess.run(old, input=b"", capture_output=True, timeout=60).returncode != 0, "TLS 1.1 was spoken"
            v12, v13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
            expect((speaks(v12), speaks(v13)), (True, True), "as it begins")
            control.call("CONFIG", "SET", "tls-protocols", "TLSv1.2")
            expect((speaks(v12), speaks(v13)), (True, False), "TLSv1.2")
            control.call("CONFIG", "SET", "tls-protocols", "TLSv1.3")
            expect((speaks(v12), speaks(v13)), (False, True), "TLSv1.3")
            control.call("CONFIG", "SET", "tls-protocols", "", "tls-ciphers", "ECDHE-ECDSA-CHACHA20-POLY1305",
                         "tls-ciphersuites", "TLS_AES_128_GCM_SHA256")
            for version, cipher in ((v12, "ECDHE-ECDSA-CHACHA20-POLY1305"), (v13, "TLS_AES_128_GCM_SHA256")):
                client = Client(server.tls_port, tls=made.context(version=version))
                expect(client.socket.cipher()[0], cipher, "cipher")
                client.close()
            if kind == "redis":
                return      # its tickets are on without caching, too
            for caching in (True, False):
                control.call("CONFIG", "SET", "tls-session-caching", "yes" if caching else "no")
                for version in (v12, v13):
                    context = made.context(version=version)
                    first = Client(server.tls_port, tls=context)
                    first.call("PING")      # tickets of TLS 1.3 come behind the handshake
                    session = first.socket.session
                    again = context.wrap_socket(socket.create_connection(("127.0.0.1", server.tls_port)), server_hostname="localhost",
                                                session=session)
                    expect(again.session_reused, caching, "resumed, caching %s, %s" % (caching, version.name))
                    again.close()
                    first.close()
    both_kinds(check)


# --- settings ------------------------------------------------------------------------------------

def check_settings():
    """CONFIG SET with TLS in use: the words of redis-server, and what was in force stays."""
    missing, nonsense = made.path("none.crt"), made.path("nonsense.crt")
    with open(nonsense, "w") as f:
        f.write("not a certificate\n")
    taken = socket.socket()
    taken.bind(("127.0.0.1", 0))
    taken.listen(1)
    changes = [
        ("tls-cert-file", missing), ("tls-cert-file", nonsense), ("tls-cert-file", ""), ("tls-key-file", missing),
        ("tls-key-file", made.path("second.key")), ("tls-key-file", made.path("locked.key")), ("tls-ca-cert-file", missing), ("tls-ca-cert-file", nonsense),
        ("tls-ca-cert-file", ""), ("tls-auth-clients", "maybe"), ("tls-auth-clients", "OPTIONAL"), ("tls-auth-clients", "no"),
        ("tls-protocols", "SSLv3"), ("tls-protocols", "TLSv1.2 TLSv1.3"), ("tls-protocols", "tlsv1.3"), ("tls-ciphers", "nonsense"), ("tls-ciphersuites", "nonsense"),
        ("tls-ciphers", "HIGH"), ("tls-dh-params-file", missing), ("tls-prefer-server-ciphers", "yes"), ("tls-prefer-server-ciphers", "x"),
        ("tls-session-caching", "no"), ("tls-session-cache-size", "-1"), ("tls-session-cache-size", "100"), ("tls-session-cache-timeout", "x"),
        ("tls-session-cache-timeout", "60"), ("tls-port", str(taken.getsockname()[1])), ("tls-port", "65536"), ("tls-port", "x"),
        ("tls-cert-file", made.path("second.crt"), "tls-key-file", made.path("second.key")),
        ("tls-cert-file", made.path("server.crt"), "tls-key-file", made.path("second.key")),
        ("tls-key-file", made.path("locked.key"), "tls-cert-file", made.path("server.crt"), "tls-key-file-pass", "wrong"),
        ("tls-key-file", made.path("locked.key"), "tls-cert-file", made.path("server.crt"), "tls-key-file-pass", "open sesame"),
        ("tls-replication", "yes"), ("tls-cluster", "yes"), ("tls-replication", "no"), ("tls-cluster", "no"),
        ("tls-client-cert-file", made.path("client.crt")),
        ("tls-port", "0"), ("tls-cert-file", missing), ("tls-ca-cert-file", ""),
    ]
    with made.server("redis", auth="yes") as peer, made.server(auth="yes") as server:
        one, other = peer.client(), server.client()
        expect(dict_of(other)["tls-key-file"], made.path("server.key").encode(), "CONFIG GET")
        expect(set(dict_of(other)), set(dict_of(one)), "names of CONFIG GET tls-*")
        for change in changes:
            expect(answer(other, "CONFIG", "SET", *change), answer(one, "CONFIG", "SET", *change), "CONFIG SET %s" % (change,))
            for name in change[::2]:
                if name != "tls-port" or change[1] == "0":
                    expect(other.call("CONFIG", "GET", name), one.call("CONFIG", "GET", name), "behind %s" % (change,))
        assert "none.crt" in whole_output(server) and "must exist" in whole_output(server), "the log names file and next step"
    taken.close()


def dict_of(client):
    shown = client.call("CONFIG", "GET", "tls-*")
    return {name.decode(): value for name, value in zip(shown[::2], shown[1::2])}


def name_of(client):
    return dict(pair[0] for pair in client.socket.getpeercert()["subject"])["commonName"]


def check_reload():
    """New connections begin with new files, others go on; also files that changed under the same name; bad ones change nothing."""
    def check(kind):
        with made.server(kind) as server:
            control, stays = server.client(), Client(server.tls_port, tls=made.context())
            seen = lambda: name_of(Client(server.tls_port, tls=made.context()))
            expect(name_of(stays), "server", "at first")
            expect(control.call("CONFIG", "SET", "tls-cert-file", made.path("second.crt"), "tls-key-file", made.path("second.key")), b"OK", "reload")
            expect((seen(), stays.call("PING")), ("second", b"PONG"), "after it")
            assert isinstance(answer(control, "CONFIG", "SET", "tls-cert-file", made.path("ca.key")), str), "a bad file is taken"
            expect(seen(), "second", "after a bad file")
            moving = made.path("moving.crt")
            for name in ("second", "expired"):
                with open(made.path(name + ".crt")) as source, open(moving, "w") as f:
                    f.write(source.read())
                with open(made.path(name + ".key")) as source, open(moving + ".key", "w") as f:
                    f.write(source.read())
                expect(control.call("CONFIG", "SET", "tls-cert-file", moving, "tls-key-file", moving + ".key"), b"OK", "the same names")
            assert is_refused(server.tls_port, made.context()), "the expired certificate is not served"
            expect(stays.call("PING"), b"PONG", "a connection of the first")
            if kind == "holdfast":
                says(server, "has expired")
    both_kinds(check)


def check_start():
    """Mistakes in files stop the start, and --check-config, with file and next step; port 0 with tls-port alone serves."""
    wrong = [
        (["--tls-cert-file", ""], "tls-cert-file is empty"),
        (["--tls-cert-file", made.path("none.crt")], "none.crt: cannot read the file"),
        (["--tls-key-file", made.path("second.key")], "not the key of the certificate"),
        (["--tls-key-file", made.path("locked.key")], "set tls-key-file-pass"),
        (["--tls-key-file", made.path("locked.key"), "--tls-key-file-pass", "x"], "does not open it"),
        (["--tls-ca-cert-file", ""], "set tls-ca-cert-file or tls-ca-cert-dir"),
        (["--tls-ca-cert-file", made.path("client.key")], "certificates of authorities"),
        (["--tls-ca-cert-dir", made.path("nowhere")], "must be a directory"),
        (["--tls-protocols", "SSLv3"], "words of TLSv1"),
        (["--tls-dh-params-file", made.path("ca.crt")], "openssl dhparam"),
    ]
    base = [harness.holdfast_path(), "--port", "0", "--tls-port", str(free_port()), "--dir", temp_dir(), *made.settings("yes")]
    for flags, words in wrong:
        for extra in (["--check-config"], []):
            done = subprocess.run(base + flags + extra, capture_output=True, timeout=60, env=harness.environment())
            assert done.returncode == 1 and words in done.stderr.decode(), (flags, extra, done)
            harness.look_for_report(done.stderr.decode())
    good = subprocess.run(base + ["--check-config"], capture_output=True, timeout=60, env=harness.environment())
    expect(good.returncode, 0, "good settings")
    with made.server(extra=["--tls-key-file", made.path("locked.key"), "--tls-key-file-pass", "open sesame"]) as server:
        client = Client(server.tls_port, tls=made.context())
        client.call("CONFIG", "SET", "port", "0")
        info = client.call("INFO", "server").decode()
        assert "tcp_port:%d\r\n" % server.tls_port in info and "listener0:name=tls,bind=127.0.0.1,port=%d\r\n" % server.tls_port in info, info
        moved = free_port()
        expect(client.call("CONFIG", "SET", "tls-port", moved), b"OK", "tls-port moves")
        expect(Client(moved, tls=made.context()).call("PING"), b"PONG", "there")
        assert is_refused(server.tls_port, made.context()), "the old port answers"
        expect(client.call("PING"), b"PONG", "the connection that stands")


# --- what must not break it ----------------------------------------------------------------------

def ended(s, seconds=WAIT_SECONDS):
    """Reads to the end."""
    s.settimeout(seconds)
    said = b""
    try:
        while data := s.recv(65536):
            said += data
    except ConnectionError:
        pass
    return said


def check_wrong_port():
    """Plain text on the port of TLS and TLS on the plain one: closed, with a line that says so; in pieces, too."""
    with made.server(extra=["--loglevel", "verbose"]) as server:
        for text in (b"PING\r\n", encode("SET", "a", "b"), b"G"):
            with socket.create_connection(("127.0.0.1", server.tls_port)) as s:
                s.sendall(text)
                ended(s)
        says(server, "it does not speak TLS")
        for hello, sent in ((RawTls(server.port, made.context()), 1000), (RawTls(server.port, made.context()), 1)):
            flight = hello.first_flight()
            for at in range(0, len(flight) if sent > 1 else 2, sent):
                hello.socket.sendall(flight[at:at + sent])
            expect(ended(hello.socket), b"-ERR Protocol error: this is TLS, and the port speaks plain text\r\n", "TLS on the plain port")
        says(server, "this is TLS, and the port speaks plain text from client")
        expect(Client(server.tls_port, tls=made.context()).call("PING"), b"PONG", "others")


def resident(server):
    with open("/proc/%d/status" % server.pid) as f:
        return int(re.search(r"VmRSS:\s+(\d+)", f.read())[1]) * 1024


def check_stalled():
    """Who stalls in the handshake, or crawls, is closed within auth-timeout, costs little and nobody any time; a huge one is cut."""
    with made.server(workers=1, extra=["--auth-timeout", "1", "--loglevel", "verbose"]) as server:
        client = Client(server.tls_port, tls=made.context())
        before, began = resident(server), time.monotonic()
        stalled = [RawTls(server.tls_port, made.context()) for _ in range(400)]
        for number, one in enumerate(stalled):
            flight = one.first_flight()
            one.socket.sendall(flight[:number * 7 % (len(flight) + 1)] or b"\x16")
        crawls, crawled = RawTls(server.tls_port, made.context()), 0
        flight = crawls.first_flight()
        for number in range(200):
            expect(client.call("SET", "k", number), b"OK", "beside those who stall")
        most = resident(server) - before
        assert harness.is_sanitized() or most < len(stalled) * 120000, "each of those who stall takes %d bytes" % (most // len(stalled))
        try:
            while True:
                crawls.socket.sendall(flight[crawled:crawled + 1])
                crawled += 1
                time.sleep(0.02)
                assert crawled < len(flight), "who crawls is let in"
        except ConnectionError:
            pass
        assert 0.9 < time.monotonic() - began < WAIT_SECONDS, "%.1f s" % (time.monotonic() - began)
        for one in stalled:
            ended(one.socket)
        says(server, "its TLS handshake did not end in time")
        wait_until("all are gone", lambda: b"connected_clients:1\r\n" in client.call("INFO", "clients"))
        huge = socket.create_connection(("127.0.0.1", server.tls_port))
        huge.sendall(b"\x16\x03\x01\x00\xc8\x01\x01\xff\xff")      # of 128 KiB, it says
        ended(huge)
        says(server, "its handshake is too large")
        expect(client.call("PING"), b"PONG", "afterwards")


def check_forged():
    """A record that was changed ends its connection and no other; renegotiation is refused."""
    with made.server(extra=["--loglevel", "verbose"]) as server:
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            one = RawTls(server.tls_port, made.context(version=version))
            one.shake()
            records = bytearray(one.encrypted(encode("SET", "forged", "yes")))
            records[-1] ^= 1
            one.socket.sendall(records)
            ended(one.socket)
        says(server, "closed: TLS: ")
        expect(server.client().call("EXISTS", "forged"), 0, "the forged command ran")
        run = subprocess.run(["openssl", "s_client", "-tls1_2", "-connect", "127.0.0.1:%d" % server.tls_port, "-CAfile", made.path("ca.crt")],
                             input=b"R\nPING\n", capture_output=True, timeout=60)
        assert b"no renegotiation" in run.stderr + run.stdout, run


# --- what it must not break ----------------------------------------------------------------------

def check_large():
    """A value of 100 MiB both ways, and large replies to one who reads late."""
    value = random.Random(1).randbytes(1 << 20) * MEGABYTES
    with made.server() as server:
        client, other = Client(server.tls_port, tls=made.context()), server.client()
        expect(client.call("SET", "large", value), b"OK", "SET")
        assert other.call("GET", "large") == value, "the value came wrong"
        assert client.call("GET", "large") == value, "the value went wrong"
        late = Client(server.tls_port, tls=made.context())
        value = value[:10 << 20]
        other.call("SET", "large", value)
        late.send_raw(encode("GET", "large") * 3 + encode("PING"))
        for _ in range(50):
            expect(other.call("PING"), b"PONG", "beside one who does not read")
        for _ in range(3):
            assert plain(late.read()) == value, "late replies"
        expect(plain(late.read()), b"PONG", "the last reply")


def pieces(random_source):
    def cut(data):
        while data:
            size = random_source.choice((1, 2, 5, 6, 40, 1000, 20000))
            yield data[:size]
            data = data[size:]
    return cut


def check_cut():
    """Pipelines whose records are of every size and whose stream is cut anywhere: each reply in its place."""
    for seed in range(2):
        source = random.Random(seed)
        with made.server(workers=1 + seed % 2) as server:
            for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
                one = RawTls(server.tls_port, made.context(version=version))
                one.shake(pieces(source))
                commands, wanted = [], []
                for number in range(400):
                    value = "x" * source.choice((1, 10, 100, 5000))
                    commands += [("SET", "k", value), ("GET", "k"), ("INCR", "n" + version.name)]
                    wanted += [b"+OK\r\n", b"$%d\r\n%s\r\n" % (len(value), value.encode()), b":%d\r\n" % (number + 1)]
                data = b"".join(encode(*words) for words in commands)
                stream = one.encrypted(data, source.choice((7, 30, 200, 16384)))
                sender = threading.Thread(target=lambda: [one.socket.sendall(piece) for piece in pieces(source)(stream)])
                sender.start()
                found = b""
                while len(found) < len(b"".join(wanted)):
                    found += one.read()
                sender.join()
                assert found == b"".join(wanted), "replies in seed %d, %s" % (seed, version.name)
                one.close()


def check_half_closed():
    """Who has said all it wants, by close_notify or by the end of the stream, still gets every reply, and then close_notify."""
    with made.server() as server:
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            for polite in (True, False):
                one = RawTls(server.tls_port, made.context(version=version))
                one.shake()
                stream = one.encrypted(encode("SET", "k", "v" * 1000) + encode("GET", "k") * 3000)
                if polite:
                    stream += one.goodbye()
                one.socket.sendall(stream)
                one.socket.shutdown(socket.SHUT_WR)
                found = b""
                if polite:      # python's unwrap has ended the object's reading: what remains is that the stream ends in order
                    found = ended(one.socket)
                    assert len(found) > 3000 * 1000, "replies after close_notify: %d bytes" % len(found)
                    continue
                while data := one.read():
                    found += data
                expect(found, b"+OK\r\n" + (b"$1000\r\n" + b"v" * 1000 + b"\r\n") * 3000, "replies after the end of the stream")


def check_connections():
    """CLIENT LIST and KILL, maxclients, idle ones, a listener that does not read: as in plain text."""
    with made.server(extra=["--loglevel", "verbose"]) as server:
        control, one = server.client(), Client(server.tls_port, tls=made.context())
        number = one.call("CLIENT", "ID")
        line = control.call("CLIENT", "LIST", "ID", number).decode()
        assert "laddr=127.0.0.1:%d " % server.tls_port in line and int(line.split("tot-mem=")[1].split()[0]) > 16000, line
        expect(control.call("CLIENT", "KILL", "ID", number), 1, "CLIENT KILL")
        expect(one.socket.recv(10), b"", "close_notify after KILL")
        control.call("CONFIG", "SET", "maxclients", "1")
        assert is_refused(server.tls_port, made.context()), "one too many"
        control.call("CONFIG", "SET", "maxclients", "1000", "timeout", "1")
        idle = Client(server.tls_port, tls=made.context())
        idle.call("PING")
        expect(idle.socket.recv(10), b"", "close_notify to an idle one")
        control = server.client()
        control.call("CONFIG", "SET", "timeout", "0", "client-output-buffer-limit", "pubsub 4mb 0 0")
        deaf = Client(server.tls_port, tls=made.context())
        deaf.call("SUBSCRIBE", "news")
        wait_until("the deaf one is closed", lambda: control.call("PUBLISH", "news", "x" * 1000000) == 0)
        expect(control.call("CONFIG", "SET", "client-query-buffer-limit", "1mb"), b"OK", "a limit")
        talker = Client(server.tls_port, tls=made.context())
        try:
            talker.send_raw(b"*2\r\n$3\r\nGET\r\n$100000000\r\n" + b"x" * 4000000)
            ended(talker.socket)
        except (ssl.SSLError, ConnectionError):
            pass
        says(server, "query buffer limit was reached")
        expect(control.call("PING"), b"PONG", "afterwards")


def check_drain():
    """SIGTERM in the middle of a pipeline: each command that ran has its reply, the reply arrives, and close_notify behind it."""
    for number in range(4):
        server = made.server(durability="commit")
        server.own_directory = False
        server.start()
        server.client().call("SET", "big", "x" * 2000)
        one = RawTls(server.tls_port, made.context(version=ssl.TLSVersion.TLSv1_2 if number % 2 else None))
        one.shake()
        stream = one.encrypted((encode("INCR", "n") + encode("GET", "big")) * 5000)

        def feed():
            try:
                one.socket.sendall(stream)
            except OSError:
                pass

        feeder = threading.Thread(target=feed, daemon=True)
        feeder.start()
        watcher = server.client()
        wait_until("the first command", lambda: int(watcher.call("GET", "n") or 0) >= 1)
        watcher.close()
        server.process.terminate()
        found = bytearray()
        while data := one.read():       # raises when the end is no close_notify
            found += data
        feeder.join()
        expect(server.process.wait(60), 0, "exit status")
        server.kill9()
        last = max((int(line[1:]) for line in bytes(found).split(b"\r\n") if line[:1] == b":"), default=0)
        server.start()
        expect(int(server.client().call("GET", "n")), last, "INCRs that ran, and were answered (round %d)" % number)
        server.stop()
        remove_dir(server.directory)


# --- memcached -----------------------------------------------------------------------------------

def check_memcached():
    """Its protocol over TLS; stats settings and refresh_certs as memcached 1.6.18 has them."""
    port, plain_port = free_port(), free_port()
    files = [made.path("server.crt"), made.path("server.key")]
    server = Server(extra=["--memcached-port", str(plain_port), "--memcached-tls-port", str(port), "--tls-cert-file", files[0],
                           "--tls-key-file", files[1], "--tls-auth-clients", "no"])
    off = Server(extra=["--memcached-port", str(free_port())])

    def ask(s, line, end):
        s.sendall(line)
        said = b""
        while not said.endswith(end):
            data = s.recv(65536)
            assert data, "it ended behind %r" % said
            said += data
        return said

    with server, off:
        s = made.context().wrap_socket(socket.create_connection(("127.0.0.1", port)), server_hostname="localhost")
        expect(ask(s, b"set k 5 0 3\r\nabc\r\n", b"\r\n"), b"STORED\r\n", "set")
        expect(ask(s, b"get k\r\nmn\r\n", b"MN\r\n"), b"VALUE k 5 3\r\nabc\r\nEND\r\nMN\r\n", "get")
        expect(server.client().call("GET", "k"), b"abc", "through Redis' protocol")
        shown = dict(line.split(" ")[1:3] for line in ask(s, b"stats settings\r\n", b"END\r\n").decode().split("\r\n") if " ssl_" in line)
        wanted = {"ssl_enabled": "yes", "ssl_chain_cert": files[0], "ssl_key": files[1], "ssl_verify_mode": "0", "ssl_keyformat": "1",
                  "ssl_ciphers": "NULL", "ssl_ca_cert": "NULL", "ssl_wbuf_size": "16384", "ssl_session_cache": "yes",
                  "ssl_kernel_tls": "no", "ssl_min_version": "tlsv1.2"}
        expect(shown, wanted, "stats settings")
        expect(ask(s, b"refresh_certs\r\n", b"\r\n"), b"OK\r\n", "refresh_certs")
        os.rename(files[0], files[0] + ".away")
        try:
            expect(ask(s, b"refresh_certs\r\n", b"\r\n")[:14], b"Error loading ", "refresh_certs without the file")
        finally:
            os.rename(files[0] + ".away", files[0])
        stats = ask(s, b"stats\r\n", b"END\r\n")
        assert b"STAT ssl_handshake_errors 0\r\n" in stats and b"STAT time_since_server_cert_refresh " in stats, stats
        t = socket.create_connection(("127.0.0.1", int(off.client().call("CONFIG", "GET", "memcached-port")[1])))
        expect(ask(t, b"refresh_certs\r\n", b"\r\n"), b"Error TLS not enabled\r\n", "without TLS")
        shown = ask(t, b"stats settings\r\n", b"END\r\n")
        for line in (b"ssl_enabled no", b"ssl_chain_cert (null)", b"ssl_key (null)", b"ssl_verify_mode 0", b"ssl_ca_cert NULL", b"ssl_session_cache no"):
            assert b"STAT %s\r\n" % line in shown, (line, shown)


def check_cluster():
    """CLUSTER SLOTS sends clients over TLS to the port of TLS, others to the plain one."""
    with made.server(extra=["--cluster-enabled", "yes"]) as server:
        for client, port in ((Client(server.tls_port, tls=made.context()), server.tls_port), (server.client(), server.port)):
            expect(client.call("CLUSTER", "SLOTS")[0][2][1], port, "CLUSTER SLOTS")


def main():
    global made
    made = Certificates()
    checks = Checks("tls")
    # Those that mostly wait run beside the others.
    waiting = threading.Thread(target=checks.run, args=([check_stalled, check_connections, check_clients, check_drain],))
    waiting.start()
    checks.run([check_certificates, check_versions, check_settings, check_reload, check_start, check_wrong_port, check_forged,
                check_large, check_cut, check_half_closed, check_memcached, check_cluster])
    waiting.join()
    return checks.end()


if __name__ == "__main__":
    sys.exit(main())
