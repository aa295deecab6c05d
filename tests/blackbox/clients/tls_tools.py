"""tls_tools.py -- redis-py, redis-cli, redis-benchmark and pymemcache over TLS, unmodified.

Method: pipelines, values of many records, a message, a command that waits, pooled connections of threads; a server of another
        authority is refused by the client; certificates of clients decide as tls-auth-clients says. Arguments: host, port with
        TLS, directory of the certificates (tls_parts.py) [memcached's port with TLS]. An exception fails.
"""
import ssl
import subprocess
import sys
import threading

import redis
from pymemcache.client.base import Client, PooledClient

HOST, PORT, DIRECTORY = sys.argv[1], int(sys.argv[2]), sys.argv[3]
WAIT_SECONDS = 30
LARGE = bytes(range(256)) * 2500


def path(name):
    return "%s/%s" % (DIRECTORY, name)


def connect(ca="ca", certificate=None):
    shown = {"ssl_certfile": path(certificate + ".crt"), "ssl_keyfile": path(certificate + ".key")} if certificate else {}
    return redis.Redis(HOST, PORT, ssl=True, ssl_ca_certs=path(ca + ".crt"), socket_timeout=WAIT_SECONDS, **shown)


def is_refused(function, *arguments, **options):
    try:
        function(*arguments, **options)
    except (redis.ConnectionError, OSError) as problem:
        return str(problem) or repr(problem)
    return ""


def redis_py():
    db = connect()
    pipeline = db.pipeline(transaction=False)
    for number in range(1000):
        pipeline.set("py:%d" % number, b"v" * number).strlen("py:%d" % number)
    assert pipeline.execute() == [x for number in range(1000) for x in (True, number)]
    assert db.set("py:large", LARGE) and db.get("py:large") == LARGE
    assert db.pipeline().incr("py:n").get("py:large").incr("py:n").execute() == [1, LARGE, 2]
    listener = db.pubsub(ignore_subscribe_messages=True)
    listener.subscribe("py:news")
    listener.get_message(timeout=WAIT_SECONDS)
    assert db.publish("py:news", LARGE) == 1
    assert listener.get_message(timeout=WAIT_SECONDS)["data"] == LARGE
    listener.close()
    pusher = threading.Timer(0.05, db.rpush, ("py:jobs", "a"))
    pusher.start()
    assert db.blpop("py:jobs", timeout=WAIT_SECONDS) == (b"py:jobs", b"a")
    threads = [threading.Thread(target=lambda: [db.incr("py:many") for _ in range(100)]) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert db.get("py:many") == b"400"
    assert "certificate verify failed" in is_refused(connect("other-ca").ping)
    for auth, nobody in (("yes", True), ("optional", False)):
        assert db.config_set("tls-auth-clients", auth)
        assert connect(certificate="client").ping() is True
        assert bool(is_refused(connect().ping)) == nobody, auth
        assert is_refused(connect(certificate="stranger").ping), auth
    db.config_set("tls-auth-clients", "yes")
    db.close()
    print("redis-py %s over TLS: passed" % redis.__version__)


def tool(*words, given=b""):
    return subprocess.run([words[0], "-h", HOST, "-p", str(PORT), "--tls", *words[1:]], input=given, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          timeout=WAIT_SECONDS)


def redis_tools():
    """Of who has to show a certificate."""
    trust, shown = ["--cacert", path("ca.crt")], ["--cert", path("client.crt"), "--key", path("client.key")]
    assert tool("redis-cli", *trust, *shown, "PING").stdout == b"PONG\n"
    assert tool("redis-cli", *shown, "--cacert", path("other-ca.crt"), "PING").returncode != 0
    assert tool("redis-cli", *trust, "PING").returncode != 0
    assert tool("redis-cli", "--insecure", *shown, "PING").stdout == b"PONG\n"
    many = b"".join(b"SET cli:%d %b\r\n" % (i, b"x" * (1 + i % 1000)) for i in range(20000))
    assert b"errors: 0, replies: 20000" in tool("redis-cli", *trust, *shown, "--pipe", given=many).stdout
    assert tool("redis-cli", *trust, *shown, "--scan", "--pattern", "cli:*").stdout.count(b"\n") == 20000
    said = tool("redis-benchmark", *trust, *shown, "-q", "-n", "2000", "-c", "20", "-P", "16", "-d", "3000", "-r", "100",
                "-t", "set,get,lpush,lrange_100").stdout
    assert said.count(b"requests per second") == 5 and b"rror" not in said, said
    print("redis-cli and redis-benchmark over TLS: passed")


def memcached(port):
    context = ssl.create_default_context(cafile=path("ca.crt"))
    context.load_cert_chain(path("client.crt"), path("client.key"))
    db = PooledClient((HOST, port), tls_context=context, timeout=WAIT_SECONDS, max_pool_size=4)
    assert db.set("mc:large", LARGE, noreply=False) and db.get("mc:large") == LARGE
    many = {"mc:%d" % i: b"%d" % i * i for i in range(300)}
    assert db.set_many(many, noreply=False) == [] and db.get_many(list(many)) == many
    assert db.add("mc:n", b"0", noreply=False)
    threads = [threading.Thread(target=lambda: [db.incr("mc:n", 1) for _ in range(50)]) for _ in range(3)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert db.get("mc:n") == b"150"
    db.close()
    assert "certificate verify failed" in is_refused(Client((HOST, port), tls_context=ssl.create_default_context(cafile=path("other-ca.crt"))).get, "a")
    nobody = Client((HOST, port), tls_context=ssl.create_default_context(cafile=path("ca.crt")))
    try:
        nobody.get("a")
    except Exception as problem:        # pymemcache has one of its own for an end
        assert problem, nobody
    else:
        raise AssertionError("a client without a certificate came in")
    print("pymemcache over TLS: passed")


redis_py()
redis_tools()
if len(sys.argv) > 4:
    memcached(int(sys.argv[4]))
