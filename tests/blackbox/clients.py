"""clients.py -- unmodified clients and applications of Redis and memcached talk to holdfast.

Goal:   what people already run works: client libraries, job queues, sessions, locks, sockets, redis-cli.
Method: a fresh server per client program of clients/; the program exits with 0 or the test fails.
        Node packages are installed once into build/node, exactly as clients/package-lock.json says.
        --peer runs the same programs on redis-server and memcached: a test of the test.
Usage:  clients.py [--peer] [PROGRAM ...]
"""
import os
import shutil
import subprocess
import sys
import time

from harness import ROOT, Server, free_port
from memcached_peer import Holdfast, Peer
from tls_parts import Certificates

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "clients")
NODE_DIRECTORY = os.path.join(ROOT, "build/node")
INSTALL_SECONDS, RUN_SECONDS = 180, 60
PYTHON_PROGRAMS = ("redis_py", "redis_py_cluster", "rq_jobs", "celery_jobs", "redis_cli")
NODE_PROGRAMS = ("ioredis", "ioredis_cluster", "iovalkey", "node_redis", "node_redis_resp3", "bullmq", "sessions", "limits_and_locks", "socket_io")
# These get the memcached port, and the one of Redis only where there is one (not from --peer).
MEMCACHED_PROGRAMS = ("memcached_pymemcache", "memcached_pylibmc", "memcached_memjs", "memcached_node", "memcached_php", "memcached_perl")
# These get the port with TLS, the directory of the certificates, and memcached's port with TLS (not from --peer).
TLS_PROGRAMS = ("tls_node", "tls_tools")
PROGRAMS = PYTHON_PROGRAMS + NODE_PROGRAMS + MEMCACHED_PROGRAMS + TLS_PROGRAMS
INTERPRETERS = {".py": "/usr/bin/python3", ".mjs": "node", ".php": "php", ".pl": "perl"}


def file_of(name):
    """The program, and what its name ends with."""
    return next((os.path.join(HERE, name + kind), kind) for kind in INTERPRETERS if os.path.exists(os.path.join(HERE, name + kind)))


def command_of(name, server):
    path, kind = file_of(name)
    if name in TLS_PROGRAMS:
        return [INTERPRETERS[kind], path, "127.0.0.1", str(server.tls_port), server.certificates.directory] + server.memcached_tls_port
    ports = [server.port]
    if name in MEMCACHED_PROGRAMS:
        ports = [server.memcached_port] + ([server.port] if server.kind == "holdfast" else [])
    return [INTERPRETERS[kind], path, "127.0.0.1"] + [str(port) for port in ports]


def server_with_tls(peer):
    certificates = Certificates()
    memcached = [] if peer else [str(free_port())]
    server = certificates.server("redis" if peer else "holdfast", extra=["--memcached-tls-port"] + memcached if memcached else [])
    server.certificates, server.memcached_tls_port = certificates, memcached
    return server


def server_of(name, peer):
    if name in TLS_PROGRAMS:
        return server_with_tls(peer)
    if name in MEMCACHED_PROGRAMS:
        return Peer() if peer else Holdfast()
    return Server("redis" if peer else "holdfast", extra=["--cluster-enabled", "yes"] if name.endswith("_cluster") else ())


def install_node_packages():
    """npm ci into build/node, again only when the lock file changed."""
    lock = os.path.join(NODE_DIRECTORY, "package-lock.json")
    wanted = open(os.path.join(HERE, "package-lock.json"), "rb").read()
    installed = os.path.isdir(os.path.join(NODE_DIRECTORY, "node_modules/memjs"))
    if installed and os.path.exists(lock) and open(lock, "rb").read() == wanted:
        return
    os.makedirs(NODE_DIRECTORY, exist_ok=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(os.path.join(HERE, name), NODE_DIRECTORY)
    subprocess.run(["npm", "ci", "--prefix", NODE_DIRECTORY, "--no-audit", "--no-fund", "--loglevel=error"],
                   cwd=NODE_DIRECTORY, check=True, timeout=INSTALL_SECONDS)


def give_slots(server):
    """A redis-server that is a cluster of its own."""
    c = server.client()
    c.call("CONFIG", "SET", "cluster-announce-ip", "127.0.0.1")
    c.call("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
    while b"cluster_state:ok" not in c.call("CLUSTER", "INFO"):
        time.sleep(0.1)
    c.close()


def run(name, server, environment):
    try:
        status = subprocess.run(command_of(name, server), env=environment, timeout=RUN_SECONDS).returncode
    except subprocess.TimeoutExpired:
        status = "timeout after %d s" % RUN_SECONDS
    if status != 0:
        print("clients: %s FAILED (%s)\nrepeat: tests/blackbox/clients.py %s" % (name, status, name))
        print(server.output())
    return status == 0


def main():
    peer = "--peer" in sys.argv[1:]
    chosen = [name for name in sys.argv[1:] if name != "--peer"] or list(PROGRAMS)
    unknown = set(chosen) - set(PROGRAMS)
    if unknown:
        sys.exit("clients: no such program: %s" % ", ".join(sorted(unknown)))
    if any(file_of(name)[1] == ".mjs" for name in chosen):
        install_node_packages()
    environment = dict(os.environ, NODE_MODULES=NODE_DIRECTORY)
    failed = 0
    for name in chosen:
        began = time.monotonic()
        with server_of(name, peer) as server:
            if peer and name.endswith("_cluster"):
                give_slots(server)
            failed += not run(name, server, environment)
        print("clients: %s took %.1f s" % (name, time.monotonic() - began), flush=True)
    print("clients: %d programs, %d failed" % (len(chosen), failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
