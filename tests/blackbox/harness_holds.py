#!/usr/bin/env python3
"""harness_holds.py [check ...]: the floor under the other tests holds: no report goes unnoticed, no test speaks to another's server.

Goal:   a test that is green because nobody looked, or red because of a neighbour, proves nothing.
Method: programs of a few lines run on the harness with a holdfast that prints a sanitizer's report, or crashes, or has nothing to
        tell; a port is taken between the choice and the start; two programs draw ports from a few.
"""
import os
import subprocess
import sys

import harness
from harness import ROOT, Checks, Server, holdfast_path, temp_dir

FEW = "range(19600, 19640)"     # ports that no test is given
RUN_SECONDS = 120
USES_SERVER = """
from harness import Server
with Server("holdfast") as server:
    assert server.client().call("PING") == b"PONG"
%s
print("the test is content")
"""


def run(program, holdfast=None):
    """Exit status and output of a program on the harness."""
    environment = dict(os.environ, HOLDFAST=holdfast or holdfast_path(), PYTHONPATH=os.path.join(ROOT, "tests", "blackbox"))
    done = subprocess.run([sys.executable, "-c", program], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          timeout=RUN_SECONDS, env=environment)
    return done.returncode, done.stdout.decode()


def wrapped(before):
    """A holdfast that does this first."""
    path = os.path.join(temp_dir(), "holdfast")
    with open(path, "w") as script:
        script.write("#!/bin/sh\n%s\nexec %s \"$@\"\n" % (before, holdfast_path()))
    os.chmod(path, 0o755)
    return path


def check_silence():
    status, output = run(USES_SERVER % "assert not server.report")
    assert (status, output) == (0, "the test is content\n"), (status, output)


def check_reports():
    for line in ("WARNING: ThreadSanitizer: data race (pid=7)", "==7==ERROR: AddressSanitizer: heap-use-after-free on address 0x7",
                 "==7==ERROR: LeakSanitizer: detected memory leaks", "src/a.c:7:7: runtime error: signed integer overflow",
                 "holdfast: broken invariant: x > 0 at src/a.c:7"):
        status, output = run(USES_SERVER % ("assert server.report.startswith(%r), server.report" % line), wrapped("echo '%s' >&2" % line))
        assert status == 1 and "the test is content" in output and line in output, (line, status, output)


def check_crashes():
    status, output = run(USES_SERVER % "    server.process.send_signal(6)\n    server.process.wait()")
    assert status == 1 and "the test is content" in output and "SIGABRT" in output, (status, output)


def check_taken_port():
    """Another program was faster to take it: the test gets a server of its own all the same."""
    with Server("holdfast") as other:
        other.client().call("SET", "mine", "no")
        draw, drawn = harness.free_port, [other.port]
        harness.free_port = lambda: drawn.pop() if drawn else draw()
        try:
            with Server("holdfast") as server:
                assert server.port != other.port and server.client().call("GET", "mine") is None, "the other's server"
                assert server.alive() and harness.has_port(server.pid, server.port)
                assert not harness.has_port(server.pid, other.port)
        finally:
            harness.free_port = draw


def check_ports_are_shared_out():
    draw = "import harness\nharness.PORTS = %s\nprint(*[harness.free_port() for _ in range(10)], flush=True)\n" % FEW
    holder = subprocess.Popen([sys.executable, "-c", draw + "input()"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              env=dict(os.environ, PYTHONPATH=os.path.join(ROOT, "tests", "blackbox")))
    try:
        held = set(map(int, holder.stdout.readline().split()))
        assert len(held) == 10, held
        status, output = run("import harness\nharness.PORTS = %s\nfor _ in range(100): print(harness.free_port(), flush=True)" % FEW)
        drawn = [int(line) for line in output.splitlines() if line.isdigit()]
        assert status == 1 and "no free port" in output and drawn, (status, output)
        assert len(drawn) == len(set(drawn)) and not held & set(drawn), (held, drawn)
    finally:
        holder.communicate(b"\n", timeout=RUN_SECONDS)
    status, output = run(draw.replace("range(10)", "range(20)"))      # those of a program that has ended are free
    assert status == 0, output


def main():
    checks = Checks("harness_holds")
    checks.run((check_silence, check_reports, check_crashes, check_taken_port, check_ports_are_shared_out))
    return checks.end()


if __name__ == "__main__":
    sys.exit(main())
