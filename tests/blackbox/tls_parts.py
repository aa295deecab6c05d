"""tls_parts.py -- certificates made for a test, and a client whose TLS bytes can be cut, held back and forged.

Certificates come from the openssl command; keys are elliptic, which takes milliseconds. Nothing here outlives the test.
"""
import os
import socket
import ssl
import subprocess

from harness import REPLY_SECONDS, Server, free_port, temp_dir


def openssl(*words):
    subprocess.run(["openssl", *words], check=True, capture_output=True, timeout=60)


class Certificates:
    """Files of a directory, by name: path("ca.crt")."""

    def __init__(self):
        self.directory = temp_dir("holdfast-tls-")
        for name in ("ca", "other-ca"):
            openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30",
                    "-keyout", self.path(name + ".key"), "-out", self.path(name + ".crt"), "-subj", "/CN=" + name)
        self.sign("server", "ca")
        self.sign("second", "ca")
        self.sign("client", "ca")
        self.sign("stranger", "other-ca")
        self.sign("expired", "ca", days=-1)
        openssl("pkcs8", "-topk8", "-in", self.path("server.key"), "-passout", "pass:open sesame", "-out", self.path("locked.key"))

    def path(self, name):
        return os.path.join(self.directory, name)

    def sign(self, name, by, days=30):
        openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", self.path(name + ".key"),
                "-out", self.path(name + ".csr"), "-subj", "/CN=" + name)
        with open(self.path("names"), "w") as f:
            f.write("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
        openssl("x509", "-req", "-in", self.path(name + ".csr"), "-CA", self.path(by + ".crt"), "-CAkey", self.path(by + ".key"),
                "-CAcreateserial", "-days", str(days), "-out", self.path(name + ".crt"), "-extfile", self.path("names"))

    def context(self, client=None, version=None):
        """Of a client that trusts the authority, and shows this certificate."""
        context = ssl.create_default_context(cafile=self.path("ca.crt"))
        if client:
            context.load_cert_chain(self.path(client + ".crt"), self.path(client + ".key"))
        if version:
            context.minimum_version = context.maximum_version = version
        return context

    def settings(self, auth="no"):
        return ["--tls-cert-file", self.path("server.crt"), "--tls-key-file", self.path("server.key"),
                "--tls-ca-cert-file", self.path("ca.crt"), "--tls-auth-clients", auth]

    def server(self, kind="holdfast", auth="no", extra=(), **options):
        """Not started; .tls_port is its port with TLS."""
        port = free_port()
        server = Server(kind, extra=["--tls-port", str(port), *self.settings(auth), *extra], **options)
        server.tls_port = port
        return server


class RawTls:
    """One connection whose records pass through the hands of the test. Owner: one thread, but for `socket`."""

    def __init__(self, port, context):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=REPLY_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname="localhost")

    def first_flight(self):
        """The bytes with which a handshake begins; they are not sent."""
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            pass
        return self.outgoing.read()

    def shake(self, pieces=lambda data: [data]):
        while True:
            try:
                self.tls.do_handshake()
                done = True
            except ssl.SSLWantReadError:
                done = False
            for piece in pieces(self.outgoing.read()):
                self.socket.sendall(piece)
            if done:
                return
            data = self.socket.recv(65536)
            if not data:
                raise ConnectionError("closed in the handshake")
            self.incoming.write(data)

    def encrypted(self, data, record=16384):
        """As records that hold at most so many bytes each."""
        for at in range(0, len(data), record):
            self.tls.write(data[at:at + record])
        return self.outgoing.read()

    def read(self):
        """Some bytes; b"": close_notify came. Raises ssl.SSLError or ConnectionError when the stream is cut without one."""
        while True:
            try:
                return self.tls.read(65536)
            except ssl.SSLWantReadError:
                data = self.socket.recv(262144)
                if data:
                    self.incoming.write(data)
                else:
                    self.incoming.write_eof()
            except ssl.SSLZeroReturnError:
                return b""

    def goodbye(self):
        """The bytes of close_notify."""
        try:
            self.tls.unwrap()
        except ssl.SSLWantReadError:
            pass
        return self.outgoing.read()

    def close(self):
        self.socket.close()
