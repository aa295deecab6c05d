"""clients.py -- unmodified Redis clients and applications talk to holdfast.

Goal:   what people already run works: client libraries, job queues, sessions, locks, sockets, redis-cli.
Method: a fresh server per client program of clients/; the program exits with 0 or the test fails.
        Node packages are installed once into build/node, exactly as clients/package-lock.json says.
        --peer runs the same programs on redis-server: a test of the test.
Usage:  clients.py [--peer] [PROGRAM ...]
"""
import os
import shutil
import subprocess
import sys
import time

from harness import ROOT, Server

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "clients")
NODE_DIRECTORY = os.path.join(ROOT, "build/node")
INSTALL_SECONDS, RUN_SECONDS = 180, 60
PYTHON_PROGRAMS = ("redis_py", "redis_py_cluster", "rq_jobs", "celery_jobs", "redis_cli")
NODE_PROGRAMS = ("ioredis", "ioredis_cluster", "node_redis", "bullmq", "sessions", "limits_and_locks", "socket_io")


def command_of(name):
    if name in PYTHON_PROGRAMS:
        return ["/usr/bin/python3", os.path.join(HERE, name + ".py")]
    return ["node", os.path.join(HERE, name + ".mjs")]


def install_node_packages():
    """npm ci into build/node, again only when the lock file changed."""
    lock = os.path.join(NODE_DIRECTORY, "package-lock.json")
    wanted = open(os.path.join(HERE, "package-lock.json"), "rb").read()
    installed = os.path.isdir(os.path.join(NODE_DIRECTORY, "node_modules/bullmq"))
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


def main():
    kind = "redis" if "--peer" in sys.argv[1:] else "holdfast"
    chosen = [name for name in sys.argv[1:] if name != "--peer"] or list(PYTHON_PROGRAMS + NODE_PROGRAMS)
    unknown = set(chosen) - set(PYTHON_PROGRAMS + NODE_PROGRAMS)
    if unknown:
        sys.exit("clients: no such program: %s" % ", ".join(sorted(unknown)))
    if set(chosen) & set(NODE_PROGRAMS):
        install_node_packages()
    environment = dict(os.environ, NODE_MODULES=NODE_DIRECTORY)
    failed = 0
    for name in chosen:
        began = time.monotonic()
        with Server(kind, extra=["--cluster-enabled", "yes"] if name.endswith("_cluster") else ()) as server:
            if kind == "redis" and name.endswith("_cluster"):
                give_slots(server)
            command = command_of(name) + ["127.0.0.1", str(server.port)]
            try:
                status = subprocess.run(command, env=environment, timeout=RUN_SECONDS).returncode
            except subprocess.TimeoutExpired:
                status = "timeout after %d s" % RUN_SECONDS
            if status != 0:
                failed += 1
                print("clients: %s FAILED (%s)\nrepeat: tests/blackbox/clients.py %s" % (name, status, name))
                print(server.output())
        print("clients: %s took %.1f s" % (name, time.monotonic() - began), flush=True)
    print("clients: %d programs, %d failed" % (len(chosen), failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
