"""redis.py -- Redis' own test suite against holdfast.

Goal:   a client must not notice the difference: what redis-server 7.0.15 passes of its suite, holdfast passes.
Method: the suite comes as Debian's source package, fetched into build/peer and never committed. Each unit runs in a
        process of its own against a server of its own, so that settings do not leak from one to the next. A failure
        counts unless its name stands in redis-known.txt, with a reason there.
Usage:  script/conformance redis [--server holdfast|redis] [--unit unit/type/list ...] [--debug] [--quick] [--verbose]
        --debug enables DEBUG and runs the tests that need it; --quick leaves out those tagged slow.
"""
import argparse
import os
import random
import re
import socket
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(ROOT, "tests", "blackbox"))
from harness import Server  # noqa: E402

PEER = os.environ.get("HOLDFAST_PEER", os.path.join(ROOT, "build", "peer"))
KNOWN = os.path.join(HERE, "redis-known.txt")
UNIT_SECONDS = 420
UNITS = """unit/dump unit/auth unit/protocol unit/keyspace unit/scan unit/info unit/info-command
    unit/type/string unit/type/incr unit/type/list unit/type/list-2 unit/type/list-3 unit/type/set unit/type/zset
    unit/type/hash unit/type/stream unit/type/stream-cgroups unit/sort unit/expire unit/other unit/multi unit/quit
    unit/acl unit/acl-v2 unit/latency-monitor unit/pubsub unit/pubsubshard unit/slowlog unit/scripting unit/functions
    unit/maxmemory unit/introspection unit/introspection-2 unit/limits unit/obuf-limits unit/bitops unit/bitfield
    unit/geo unit/memefficiency unit/hyperloglog unit/lazyfree unit/wait unit/pause unit/querybuf unit/tracking
    unit/networking unit/client-eviction unit/violations unit/replybufsize""".split()

# These are kept from external servers as a whole, though only those of their tests need a server of their own that start one.
OPENED = ("unit/acl", "unit/acl-v2", "unit/auth")
# Tests whose first exception would end the unit, and why they are not run; and lines of a test that are not.
LEFT_OUT = {"unit/acl": ["ACLs can block all DEBUG subcommands except one"]}    # there is no DEBUG OBJECT
LINES_LEFT_OUT = {"unit/acl-v2": "DRYRUN command-test MIGRATE"}                 # there is no MIGRATE

RESULT = re.compile(r"\[(ok|err|exception|skip|ignore|timeout)\]:? (.*)")
COLOR = re.compile(r"\x1b\[[0-9;]*m")


def fetch():
    """The unpacked source package; asks apt's archive once."""
    tree = os.path.join(PEER, "redis")
    if not os.path.isdir(os.path.join(tree, "tests")):
        subprocess.run([os.path.join(HERE, "fetch-source"), "redis", PEER], check=True)
    return tree


def open_to_external(tree, unit):
    """Takes the tag off the unit's first line, and out what cannot run."""
    path = os.path.join(tree, "tests", unit + ".tcl")
    lines = open(path).readlines()
    lines[0] = lines[0].replace("external:skip", "")
    with open(path, "w") as out:
        out.writelines(line for line in lines if LINES_LEFT_OUT.get(unit, "\n\n") not in line)


def known():
    names = {}
    if os.path.exists(KNOWN):
        for line in open(KNOWN):
            if line.strip() and not line.startswith("#"):
                name, _, reason = line.rstrip("\n").partition("\t")
                names[name] = reason
    return names


def base_port():
    """For the suite's own meeting point: two runs at a time must not share it. It looks 10,000 further on, too."""
    for _ in range(1000):
        port = random.randrange(22000, 50000)
        with socket.socket() as s:
            if s.connect_ex(("127.0.0.1", port - 32)) != 0:
                return port
    raise SystemExit("no free port for the suite")


def run_unit(tree, unit, arguments):
    """[(result, name)], seconds. A unit that dies or hangs ends with one 'exception'."""
    extra = ["--enable-debug-command", "yes"] if arguments.debug else []
    server = Server(arguments.server, durability="none", workers=arguments.workers, extra=extra)
    server.start()
    if unit in OPENED:
        open_to_external(tree, unit)
    tags = ["--tags", "-needs:repl"] if arguments.server == "holdfast" else []  # they read the stream to a replica
    tags += [] if arguments.debug else ["--tags", "-needs:debug"]
    if arguments.quick:
        tags += ["--tags", "-slow"]
    for name in LEFT_OUT.get(unit, []) if arguments.server == "holdfast" else []:
        tags += ["--skiptest", name]
    began = time.monotonic()
    command = ["tclsh", "tests/test_helper.tcl", "--host", "127.0.0.1", "--port", str(server.port), "--single", unit,
               "--baseport", str(base_port()), "--portcount", "256",
               "--clients", "1", "--timeout", "240", "--dont-clean"] + tags + arguments.more
    failed = True
    try:
        done = subprocess.run(command, cwd=tree, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                              timeout=UNIT_SECONDS)
        output, failed = done.stdout.decode(errors="replace"), done.returncode != 0
    except subprocess.TimeoutExpired as late:
        output = (late.stdout or b"").decode(errors="replace") + "\n[exception]: the unit hangs\n"
    output = COLOR.sub("", output)
    results = []
    for line in output.splitlines():
        match = RESULT.match(line.strip())
        if match:
            results.append((match.group(1), re.sub(r" \(\d+ ms\)$", "", match.group(2))))
    if arguments.verbose:
        print(output)
    died = not server.alive() if hasattr(server, "alive") else False
    if died:
        results.append(("exception", "the server died: " + server.output()[-300:]))
    elif "[exception]" in output and not any(r == "exception" for r, _ in results):
        results.append(("exception", output[output.index("[exception]"):][:300]))
    elif failed and not any(r in ("err", "exception", "timeout") for r, _ in results):
        results.append(("exception", "the runner failed: " + output[-300:]))
    elif not results:
        results.append(("exception", "no test ran"))
    server.stop()
    return results, time.monotonic() - began, output


def main():
    parser = argparse.ArgumentParser(prog="script/conformance redis")
    parser.add_argument("--server", choices=["holdfast", "redis"], default="holdfast")
    parser.add_argument("--unit", action="append")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--debug", action="store_true")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--verbose", action="store_true")
    parser.add_argument("more", nargs="*", help="words for the suite's runner, behind --")
    arguments = parser.parse_args()
    tree, excused = fetch(), known()
    total = {"ok": 0, "failed": 0, "known": 0, "skipped": 0}
    for unit in arguments.unit or UNITS:
        results, seconds, output = run_unit(tree, unit, arguments)
        ok = sum(1 for r, _ in results if r == "ok")
        bad = [(r, name) for r, name in results if r in ("err", "exception", "timeout")]
        fresh = [(r, name) for r, name in bad if not any(name.startswith(k) for k in excused)]
        total["ok"] += ok
        total["failed"] += len(fresh)
        total["known"] += len(bad) - len(fresh)
        total["skipped"] += sum(1 for r, _ in results if r in ("skip", "ignore"))
        print("%-26s %4d ok %3d failed %3d known %5.1f s" % (unit, ok, len(fresh), len(bad) - len(fresh), seconds), flush=True)
        for result, name in fresh:
            print("    [%s] %s" % (result, name))
        if any(r == "exception" for r, _ in fresh) and not arguments.verbose:
            print("\n".join("      | " + line for line in output.splitlines()[-6:]))
    print("%(ok)d passed, %(failed)d failed, %(known)d known, %(skipped)d skipped" % total)
    return 1 if total["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
