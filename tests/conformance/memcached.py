"""memcached.py -- memcached's own tests against holdfast.

Goal:   what memcached 1.6.18 passes of its t/*.t, when they are pointed at a server that runs already, holdfast passes.
Method: the tests come as Debian's source package, fetched into build/peer and never committed. Each file runs against a new
        server (T_MEMD_USE_DAEMON). Many files ask for a memcached with options of their own and get the running one instead,
        so that they fail on memcached, too: the first run takes memcached's own results as the baseline and keeps them beside
        the source; what it passes counts. What stands in memcached-known.txt, with a reason, is not run.
Usage:  script/conformance memcached [--peer | --others] [--file NAME ...] [--short] [--jobs N] [--seconds N] [--verbose]
        --peer takes the baseline anew and runs nothing else; --others runs what memcached does not pass as a whole against both
        and lists the tests that memcached alone passes, to be looked at; --short runs files that take little time; --seconds: what
        a file may take at most (on memcached itself some never end). The last line is
        "N passed, M failed, K known, S that memcached does not pass" (files); the status is 1 when M is not 0.
"""
import argparse
import concurrent.futures
import glob
import json
import os
import re
import sys
import time

from peer import HERE, PEER, fetch_source, run_group    # puts tests/blackbox on the path
from memcached_peer import Holdfast, Peer, memcached_path

KNOWN = os.path.join(HERE, "memcached-known.txt")
SHORT = """binary-get bogus-commands cas flags getandtouch incrdecr issue_104 issue_108 issue_152 issue_192 issue_29 issue_3
    issue_68 issue_70 line-lengths malicious-commands multiversioning noreply quit strtol-testing touch""".split()


def fetch():
    """The source, made ready to run."""
    tree = fetch_source("memcached", "t")
    binary = os.path.join(tree, "memcached-debug")      # asked for its options only
    if not os.path.lexists(binary):
        os.symlink(memcached_path(), binary)
    return tree


def known():
    """{file: reason} of the files that are not run."""
    rows = [line.rstrip("\n").split("\t") for line in open(KNOWN) if line.strip() and not line.startswith("#")]
    return dict(rows)


def run_file(tree, name, seconds, peer, command=("prove", "-v", "--nocolor")):
    """One file on a new server: how it ended, how many of its tests passed, how long it took, output."""
    server = (Peer if peer else Holdfast)()
    server.start()
    began = time.monotonic()
    daemon = dict(os.environ, T_MEMD_USE_DAEMON="127.0.0.1:%d" % server.memcached_port)
    output, status = run_group(list(command) + [name], seconds, cwd=tree, env=daemon)
    result = "hangs" if status is None else "failed" if status else "ok"
    text = output.decode("latin-1")
    passed = len(re.findall(r"^ok \d+", text, re.M))
    if result == "ok" and not passed:
        result = "skipped"
    server.stop()
    if not peer and server.report:
        result, text = "reports", "# %s\n%s" % (server.report.replace("\n", "\n# "), text)
    return result, passed, time.monotonic() - began, text


def baseline(tree, names, arguments):
    """{name: tests} of the files that memcached passes; kept beside the source, since it takes minutes."""
    path = os.path.join(PEER, "memcached-passes.json")
    found = json.load(open(path)) if os.path.exists(path) else {}
    missing = [name for name in names if arguments.peer or name not in found]
    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        run = lambda name: run_file(tree, name, arguments.seconds, True)
        for name, (result, passed, took, _) in zip(missing, pool.map(run, missing)):
            found[name] = passed if result == "ok" else 0
            print("memcached: %-28s %-8s %6d tests %5.1f s" % (name, result, passed, took), flush=True)
            with open(path, "w") as out:
                json.dump(found, out)
    return {name: found[name] for name in names if found[name]}


def judge(tree, name, arguments):
    """One file against holdfast: whether it passed, its tests, what to print."""
    result, passed, took, output = run_file(tree, name, arguments.seconds, False)
    shown = output.splitlines() if arguments.verbose else []
    if result != "ok" and not arguments.verbose:
        shown = [line for line in output.splitlines() if re.match(r"not ok|#|Died|.* at t/", line)][:12]
    return result == "ok", passed, "\n".join(["%-28s %-8s %6d tests %5.1f s" % (name, result, passed, took)] + ["    | " + x[:200] for x in shown])


def tests_of(tree, name, seconds, peer):
    """{number: (did it pass, its name)}, also of a file that hangs."""
    text = run_file(tree, name, seconds, peer, ("perl", "-Ilib"))[3]
    return {int(number): (ok == "ok", title) for ok, number, title in re.findall(r"^(ok|not ok) (\d+)(?: - )?(.*)", text, re.M)}


def look_at_others(tree, names, arguments):
    """Test by test: a file fails on memcached as a whole when one test of it asks for an option."""
    totals = [0, 0]
    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        runs = [[pool.submit(tests_of, tree, name, arguments.seconds, peer) for peer in (True, False)] for name in names]
        for name, (theirs, ours) in zip(names, [[run.result() for run in pair] for pair in runs]):
            passed = [{number for number, (ok, _) in found.items() if ok} for found in (theirs, ours)]
            totals = [total + len(found) for total, found in zip(totals, passed)]
            lost = sorted(passed[0] - passed[1])
            print("%-28s memcached %6d, holdfast %6d, memcached alone %5d %s" % (
                name, len(passed[0]), len(passed[1]), len(lost), "; ".join("%d %s" % (n, theirs[n][1]) for n in lost[:3])), flush=True)
    print("%d tests pass on memcached, %d on holdfast, in %d files" % (totals[0], totals[1], len(names)))


def main():
    parser = argparse.ArgumentParser(prog="script/conformance memcached")
    parser.add_argument("--peer", action="store_true")
    parser.add_argument("--others", action="store_true")
    parser.add_argument("--file", action="append", help="t/NAME.t, or NAME")
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--jobs", type=int, default=4, help="most files wait more than they work")
    parser.add_argument("--seconds", type=int, default=300)
    parser.add_argument("--verbose", action="store_true")
    arguments = parser.parse_args()
    tree = fetch()
    left_out = known()
    names = sorted(os.path.relpath(path, tree) for path in glob.glob(os.path.join(tree, "t", "*.t")))
    stale = [name for name in left_out if name not in names]
    if arguments.file or arguments.short:
        wanted = arguments.file or SHORT
        names = [name for name in names if name in wanted or name[2:-2] in wanted]
    # Only short files that memcached passes are in SHORT.
    passes = dict.fromkeys(names, 1) if arguments.short else baseline(tree, names, arguments)
    if arguments.peer:
        print("memcached passes %d tests in %d of %d files" % (sum(passes.values()), len(passes), len(names)))
        return 0 if passes else 1
    if arguments.others:
        look_at_others(tree, [name for name in names if name not in passes], arguments)
        return 0
    run = [name for name in passes if name not in left_out]
    failed = tests = 0
    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        for ok, passed, text in pool.map(lambda name: judge(tree, name, arguments), run):
            failed += not ok
            tests += passed
            print(text, flush=True)
    for name in (name for name in left_out if name in names):
        print("%-28s known: %s%s" % (name, left_out[name], "" if name in passes else " (memcached does not pass it either)"))
    for name in stale:
        print("%-28s stands in memcached-known.txt, but there is no such file" % name)
    print("%d tests" % tests)
    print("%d passed, %d failed, %d known, %d that memcached does not pass" % (
        len(run) - failed, failed, len(passes) - len(run), len(names) - len(passes)))
    return 1 if failed or stale or not run else 0


if __name__ == "__main__":
    sys.exit(main())
