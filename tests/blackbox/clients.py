"""clients.py -- unmodified Redis clients talk to holdfast.

Goal:   what people already run works: redis-py, ioredis, node-redis.
Method: a fresh server per client program of clients/; the program exits with 0 or the test fails.
        Node packages are installed once into build/node, exactly as clients/package-lock.json says.
Usage:  clients.py [redis_py] [ioredis] [node_redis]
"""
import os
import shutil
import subprocess
import sys

from harness import ROOT, Server

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "clients")
NODE_DIRECTORY = os.path.join(ROOT, "build/node")
INSTALL_SECONDS, RUN_SECONDS = 180, 60
PROGRAMS = {
    "redis_py": ["/usr/bin/python3", os.path.join(HERE, "redis_py.py")],
    "ioredis": ["node", os.path.join(HERE, "ioredis.mjs")],
    "node_redis": ["node", os.path.join(HERE, "node_redis.mjs")],
}


def install_node_packages():
    """npm ci into build/node, again only when the lock file changed."""
    lock = os.path.join(NODE_DIRECTORY, "package-lock.json")
    wanted = open(os.path.join(HERE, "package-lock.json"), "rb").read()
    installed = os.path.isdir(os.path.join(NODE_DIRECTORY, "node_modules/ioredis"))
    if installed and os.path.exists(lock) and open(lock, "rb").read() == wanted:
        return
    os.makedirs(NODE_DIRECTORY, exist_ok=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(os.path.join(HERE, name), NODE_DIRECTORY)
    subprocess.run(["npm", "ci", "--prefix", NODE_DIRECTORY, "--no-audit", "--no-fund", "--loglevel=error"],
                   cwd=NODE_DIRECTORY, check=True, timeout=INSTALL_SECONDS)


def main():
    chosen = sys.argv[1:] or list(PROGRAMS)
    if set(chosen) - {"redis_py"}:
        install_node_packages()
    environment = dict(os.environ, NODE_MODULES=NODE_DIRECTORY)
    failed = 0
    for name in chosen:
        with Server("holdfast") as server:
            command = PROGRAMS[name] + ["127.0.0.1", str(server.port)]
            try:
                status = subprocess.run(command, env=environment, timeout=RUN_SECONDS).returncode
            except subprocess.TimeoutExpired:
                status = "timeout after %d s" % RUN_SECONDS
            if status != 0:
                failed += 1
                print("clients: %s FAILED (%s)\nrepeat: tests/blackbox/clients.py %s" % (name, status, name))
                print(server.output())
    print("clients: %d programs, %d failed" % (len(chosen), failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
