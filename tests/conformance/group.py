"""group.py -- a program with all that it starts: none of it outlives this process, however that ends."""
import os
import signal
import subprocess
import sys

signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))    # so that `finally` runs


def run_group(command, seconds, **options):
    """(output, exit status; None: it hung)"""
    leader = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              start_new_session=True, **options)
    try:
        return leader.communicate(timeout=seconds)[0], leader.returncode
    except subprocess.TimeoutExpired:
        os.killpg(leader.pid, signal.SIGKILL)
        return leader.communicate()[0], None
    finally:
        try:
            os.killpg(leader.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
