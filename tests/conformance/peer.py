"""peer.py -- what the runners of the peers' own tests share: where they are fetched, and a program with all that it starts.

None of what run_group starts outlives this process, however that ends.
"""
import os
import signal
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
PEER = os.environ.get("HOLDFAST_PEER", os.path.join(ROOT, "build", "peer"))
sys.path.insert(0, os.path.join(ROOT, "tests", "blackbox"))

_leaders = set()


def fetch_source(package, tests):
    """The unpacked source package, in which there is a folder of tests; asks apt's archive once."""
    tree = os.path.join(PEER, package)
    if not os.path.isdir(os.path.join(tree, tests)):
        subprocess.run([os.path.join(HERE, "fetch-source"), package, PEER], check=True)
    return tree


def _kill(leader):
    try:
        os.killpg(leader.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def _end(*_):
    for leader in list(_leaders):
        _kill(leader)
    sys.exit(128 + signal.SIGTERM)


signal.signal(signal.SIGTERM, _end)


def run_group(command, seconds, **options):
    """(output, exit status; None: it hung)"""
    leader = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              start_new_session=True, **options)
    _leaders.add(leader)
    try:
        return leader.communicate(timeout=seconds)[0], leader.returncode
    except subprocess.TimeoutExpired:
        _kill(leader)
        return leader.communicate()[0], None
    finally:
        _leaders.discard(leader)
