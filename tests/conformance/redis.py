"""redis.py -- Redis' own test suite against holdfast.

Goal:   a client must not notice the difference: what redis-server 7.0.15 passes of its suite, holdfast passes.
Method: the suite comes as Debian's source package, fetched into build/peer and never committed. Each unit runs in a
        process of its own against a server of its own, so that settings do not leak from one to the next. What stands in
        redis-known.txt, with a reason there, is not run, since the first exception ends a unit.
Usage:  script/conformance redis [--server holdfast|redis] [--unit unit/type/list ...] [--debug] [--quick] [--short] [--verbose]
        --debug enables DEBUG and runs the tests that need it; --quick leaves out those tagged slow; --short runs those
        units that take little time. The last line is "N passed, M failed, K known, S skipped"; the status is 1 when M is not 0.
"""
import argparse
import os
import random
import re
import shutil
import socket
import sys
import time

from peer import HERE, fetch_source, run_group    # puts tests/blackbox on the path
from harness import REPORT_SHOWN, Server, is_sanitized

KNOWN = os.path.join(HERE, "redis-known.txt")
UNIT_SECONDS = 420
SANITIZED_TIMES = 5     # as slow a sanitizer's server may be
UNITS = """unit/dump unit/auth unit/protocol unit/keyspace unit/scan unit/info unit/info-command
    unit/type/string unit/type/incr unit/type/list unit/type/list-2 unit/type/list-3 unit/type/set unit/type/zset
    unit/type/hash unit/type/stream unit/type/stream-cgroups unit/sort unit/expire unit/other unit/multi unit/quit
    unit/acl unit/acl-v2 unit/latency-monitor unit/pubsub unit/pubsubshard unit/slowlog unit/scripting unit/functions
    unit/maxmemory unit/introspection unit/introspection-2 unit/limits unit/obuf-limits unit/bitops unit/bitfield
    unit/geo unit/memefficiency unit/hyperloglog unit/lazyfree unit/wait unit/pause unit/querybuf unit/tracking
    unit/networking unit/client-eviction unit/violations unit/replybufsize integration/redis-cli""".split()
SHORT = """unit/protocol unit/keyspace unit/info-command unit/type/string unit/type/incr unit/type/set unit/type/hash
    unit/type/stream-cgroups unit/multi unit/quit unit/acl unit/acl-v2 unit/auth unit/pubsub unit/pubsubshard unit/slowlog
    unit/functions unit/bitops unit/bitfield unit/pause""".split()

# These are kept from external servers as a whole, though only those of their tests need a server of their own that start one.
OPENED = ("unit/acl", "unit/acl-v2", "unit/auth", "unit/pubsubshard")

RESULT = re.compile(r"\[(ok|err|exception|skip|ignore|timeout)\]:? (.*)")
COLOR = re.compile(r"\x1b\[[0-9;]*m")
BAD = ("err", "exception", "timeout")


def fetch():
    """The source, made ready to run."""
    tree = fetch_source("redis", "tests")
    client = os.path.join(tree, "src", "redis-cli")     # the suite runs the one that it has built
    if not os.path.lexists(client):
        os.symlink(shutil.which("redis-cli"), client)
    keep_order(tree)
    return tree


def keep_order(tree):
    """The suite's client gets what stands in order.tcl."""
    path = os.path.join(tree, "tests", "support", "redis.tcl")
    text = open(path).read()
    line = "\nsource {%s}\n" % os.path.join(HERE, "order.tcl")
    if line not in text:
        write_whole(path, text + line)


def write_whole(path, text):
    """Another run may be reading it."""
    fresh = "%s.%d" % (path, os.getpid())
    with open(fresh, "w") as out:
        out.write(text)
    os.rename(fresh, path)


def open_to_external(tree, unit):
    """Takes the tag off the unit's first line, and out what cannot run."""
    path = os.path.join(tree, "tests", unit + ".tcl")
    lines = open(path).readlines()
    lines[0] = lines[0].replace("external:skip", "")
    write_whole(path, "".join(lines))


def known(unit):
    """Names of this unit's tests that are not run."""
    rows = [line.rstrip("\n").split("\t") for line in open(KNOWN) if line.strip() and not line.startswith("#")]
    return [name for where, name, _ in rows if where == unit]


def base_port():
    """For the suite's own meeting point: two runs at a time must not share it, nor a connection have it as its own end."""
    for _ in range(1000):
        port = random.randrange(11000, 19000)      # below harness.PORTS
        with socket.socket() as s:
            if s.connect_ex(("127.0.0.1", port - 32)) != 0:
                return port
    raise SystemExit("no free port for the suite")


def suite(tree, unit, port, left_out, arguments):
    """Runs the suite's own runner: its output, and whether it failed or hung."""
    words = [] if arguments.debug else ["--tags", "-needs:debug"]
    words += ["--tags", "-slow"] if arguments.quick or arguments.short else []
    patience = SANITIZED_TIMES if arguments.server == "holdfast" and is_sanitized() else 1
    for name in left_out:
        words += ["--skiptest", name]
    command = ["tclsh", "tests/test_helper.tcl", "--host", "127.0.0.1", "--port", str(port), "--single", unit,
               "--baseport", str(base_port()), "--portcount", "256",
               "--clients", "1", "--timeout", str(240 * patience), "--dont-clean"] + words + arguments.more
    output, status = run_group(command, UNIT_SECONDS * patience, cwd=tree)
    if status is None:
        output += b"\n[exception]: the unit hangs\n"
    return COLOR.sub("", output.decode(errors="replace")), status != 0


def parse(output):
    """[(result, name)] in the words of the suite's runner."""
    matches = (RESULT.match(line.strip()) for line in output.splitlines())
    return [(m.group(1), re.sub(r" \(\d+ ms\)$", "", m.group(2))) for m in matches if m]


def run_unit(tree, unit, left_out, arguments):
    """[(result, name)], output. A unit that dies or hangs ends with one 'exception', and so does one of which a sanitizer tells."""
    if unit in OPENED:
        open_to_external(tree, unit)
    extra = ["--enable-debug-command", "yes"] if arguments.debug else []
    server = Server(arguments.server, durability="none", workers=arguments.workers, extra=extra)
    server.start()
    output, failed = suite(tree, unit, server.port, left_out, arguments)
    results = parse(output)
    if arguments.verbose:
        print(output)
    if not server.alive():
        results.append(("exception", "the server died: " + server.output()[-300:]))
    elif failed and not any(result in BAD for result, _ in results):
        results.append(("exception", "the runner failed: " + output[-300:]))
    elif not results:
        results.append(("exception", "no test ran"))
    server.stop()
    if server.report:
        results.append(("exception", "the server's report: " + server.report[:REPORT_SHOWN]))
    return results, output


def tally(unit, results, left_out):
    """How many passed, failed, are known, were skipped; and lines about what failed."""
    found = {name for result, name in results if result == "skip"}
    failures = ["[%s] %s" % (result, name) for result, name in results if result in BAD]
    if any(result != "ignore" for result, _ in results):    # else its tags leave out the unit as a whole
        failures += ["[stale] no such test: %s" % name for name in left_out if name not in found]
    ok = sum(1 for result, _ in results if result == "ok")
    left = sum(1 for result, name in results if result == "skip" and name in left_out)
    skipped = sum(1 for result, _ in results if result in ("skip", "ignore")) - left
    return {"passed": ok, "failed": len(failures), "known": left, "skipped": skipped}, failures


def main():
    parser = argparse.ArgumentParser(prog="script/conformance redis")
    parser.add_argument("--server", choices=["holdfast", "redis"], default="holdfast")
    parser.add_argument("--unit", action="append")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--debug", action="store_true")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--verbose", action="store_true")
    parser.add_argument("more", nargs="*", help="words for the suite's runner, behind --")
    arguments = parser.parse_args()
    tree = fetch()
    total = {"passed": 0, "failed": 0, "known": 0, "skipped": 0}
    for unit in arguments.unit or (SHORT if arguments.short else UNITS):
        left_out = known(unit) if arguments.server == "holdfast" else []
        began = time.monotonic()
        results, output = run_unit(tree, unit, left_out, arguments)
        counts, failures = tally(unit, results, left_out)
        for name, count in counts.items():
            total[name] += count
        line = "%(passed)4d passed %(failed)3d failed %(known)3d known %(skipped)3d skipped" % counts
        print("%-26s %s %5.1f s" % (unit, line, time.monotonic() - began), flush=True)
        for failure in failures:
            print("    " + failure)
        if any(result == "exception" for result, _ in results) and not arguments.verbose:
            print("\n".join("      | " + line for line in output.splitlines()[-6:]))
    print("%(passed)d passed, %(failed)d failed, %(known)d known, %(skipped)d skipped" % total)
    return 1 if total["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
