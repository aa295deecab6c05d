"""memcached_move.py -- docs/moving/memcached.md, as it stands there.

Goal:   after tools/memcached-copy holdfast has every item of memcached: value, client flags, time to live, long and binary keys.
Method: memcached is filled, the tool runs as a user runs it, and both answer the same questions. --keep leaves newer values alone;
        a server that cannot be reached, that wants a login, or that refuses an item, ends the tool with a reason and a status.
"""
import base64
import os
import subprocess
import sys
import time

import harness
from memcached_peer import Holdfast, Peer, Text

TOOL = os.path.join(harness.ROOT, "tools", "memcached-copy")
MONTHS = 90 * 24 * 3600
VALUES = {b"long:" + b"k" * 245: b"a key of 250 bytes", b"small": b"v", b"empty": b"", b"number": b"17", b"large": b"x" * 900000, b"line": b"a\r\nEND\r\n"}


def copy(source, target, *options):
    done = subprocess.run([sys.executable, TOOL, "127.0.0.1:%d" % source.memcached_port, "127.0.0.1:%d" % target.memcached_port] +
                          list(options), capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout, done.stderr


def question(key):
    return b"mg %s v f\r\n" % key if b" " not in key else b"mg %s b v f\r\n" % base64.b64encode(key)


def check(condition, what):
    if not condition:
        print("memcached_move: " + what)
        sys.exit(1)


def main():
    peer, holdfast = Peer(), Holdfast()
    peer.start()
    holdfast.start()
    old, new = Text(peer), Text(holdfast)
    for i, (key, value) in enumerate(VALUES.items()):
        old.call(b"set %s %d 0 %d\r\n%s\r\n" % (key, i * 7, len(value), value))
    for i in range(1000):
        old.call(b"set many:%d 0 %d 4\r\nbody\r\n" % (i, 500 if i % 2 else 0))
    old.call(b"set months 0 %d 1\r\nm\r\n" % (time.time() + MONTHS))
    binary = b"sp ace\x01\xff"
    old.call(b"ms %s 3 b F9 T100\r\nbin\r\n" % base64.b64encode(binary))
    status, said, error = copy(peer, holdfast)
    check(status == 0 and said.startswith("1008 items copied, 0 were there already, 0 had ended"), said + error)
    for key in list(VALUES) + [binary, b"months"] + [b"many:%d" % i for i in range(1000)]:
        check(old.call(question(key)) == new.call(question(key)), "%r differs" % key)
    for key, least, most in ((b"many:1", 400, 500), (b"many:2", -1, -1), (b"months", MONTHS - 100, MONTHS + 2)):
        ttl = int(new.call(b"mg %s t\r\n" % key).split()[1][1:])
        check(least <= ttl <= most, "time to live of %r: %d" % (key, ttl))
    new.call(b"set small 0 0 5\r\nnewer\r\n")
    new.call(b"delete number\r\n")
    status, said, error = copy(peer, holdfast, "--keep")
    check(status == 0 and said.startswith("1 items copied, 1007 were there already"), said + error)
    check(b"newer" in new.call(b"get small\r\n"), "--keep overwrote a key")
    check(old.call(b"ms %s 1 b\r\nx\r\n" % base64.b64encode(b"s p" * 62)) == b"HD\r\n", "a key of 186 bytes in base64")
    holdfast.client().call("CONFIG", "SET", "memcached-item-size-max", "500kb")
    status, said, error = copy(peer, holdfast)
    check(status == 1 and "1008 items copied" in said and "1 items refused: SERVER_ERROR object too large" in error, said + error)
    holdfast.client().call("ACL", "SETUSER", "app", "on", ">secret", "~*", "+@all")
    holdfast.client().call("CONFIG", "SET", "requirepass", "word")
    status, said, error = copy(peer, holdfast)
    check(status == 1 and "wants a login" in error, said + error)
    status, said, error = copy(peer, holdfast, "--login", "app:wrong")
    check(status == 1 and "refuses the login" in error, said + error)
    status, said, error = copy(holdfast, peer, "--from-login", "app:secret")
    check(status == 0 and "1008 items copied" in said, said + error)
    peer.stop()
    status, said, error = copy(peer, holdfast, "--login", "app:secret")
    check(status == 1 and "cannot reach" in error, said + error)
    holdfast.stop()
    print("memcached_move: 1008 items copied, 0 differences")
    return 0


if __name__ == "__main__":
    sys.exit(main())
