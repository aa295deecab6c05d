"""oracle.py -- the same random commands to redis-server 7.0.15 and to holdfast: equal replies.

Goal:   "no wrong reply for a Redis client" (DESIGN.md, promise 8), errors and wire types included.
Method: epochs of EPOCH_STEPS steps (oracle_generate.py), each from an empty server and fresh
        connections in RESP2 and RESP3, pipelined in batches. In each third epoch all connections speak RESP3 and
        nothing else, and are sent pushes between their replies (oracle_resp3.py). Replies are compared after
        oracle_compare.py has removed what may differ (order of a hash, a clock, a random choice).
        The first mismatch is shrunk by delta debugging to the shortest sequence that still
        differs, and printed with both replies and the line that repeats it.
        With --edges the calls are those of oracle_generate_edges.py: every command of the peer, mostly wrong, and what the keys hold then.
Usage:  oracle.py [--edges] [--commands 100000] [--seed S] [--epoch E] [--skip CMD,CMD] [--workers N] [--resp3]
"""
import argparse
import random
import sys
import time

from harness import Client, Server, encode
from oracle_compare import DIFFERENCES, SOLO, Comparer, queued_form, run_solo
from oracle_generate import SESSIONS, Generator
from oracle_generate_edges import FRESH, STATE, EdgeGenerator, run_fresh, same_state, state
from oracle_resp3 import LISTENING, Resp3Generator, listen

EPOCH_STEPS = 2000
BATCH = 50
SHRINK_SECONDS = 60
APART = {FRESH: run_fresh, STATE: lambda server, words: state(server)}  # on connections of their own
ALONE = {name.upper() for name in SOLO | LISTENING | set(APART)}
RESP3_EPOCHS = 3    # one of so many speaks RESP3 only


class Pair:
    """The two servers and one connection to each per session."""

    def __init__(self, workers):
        calm = ("--slowlog-log-slower-than", "1000000000") # nothing is slow, however busy the machine
        self.servers = [Server("redis", extra=calm), Server("holdfast", workers=workers, extra=calm + ("--enable-debug-command", "yes"))]
        for server in self.servers:
            server.start()
        self.sessions = []
        self.all_resp3 = False

    def reset(self):
        """Empty servers, fresh connections. A server that died is started again."""
        self.close()
        for server in self.servers:
            if not server.alive():
                server.start()
        for session in range(SESSIONS):
            resp = 3 if session == 1 or self.all_resp3 else 2
            self.sessions.append([Client(s.port, resp, timeout=20) for s in self.servers])
        for client in self.sessions[0]:
            for words in (("FLUSHALL",), ("FUNCTION", "FLUSH"), ("SCRIPT", "FLUSH")):
                client.call(*words)

    def close(self):
        for clients in self.sessions:
            for client in clients:
                client.close()
        self.sessions = []

    def stop(self):
        self.close()
        for server in self.servers:
            server.stop()


class Mismatch:
    def __init__(self, step, words, replies):
        self.step, self.words, self.replies = step, words, replies


def batches(steps):
    """Cuts the steps where the session changes, at BATCH, and around steps that go alone."""
    start = 0
    while start < len(steps):
        session, words = steps[start]
        end = start + 1
        if words[0].upper() not in ALONE:
            while end < len(steps) and end - start < BATCH and steps[end][0] == session \
                    and steps[end][1][0].upper() not in ALONE:
                end += 1
        yield start, end
        start = end


def run(pair, steps):
    """Runs one epoch; the first mismatch or None."""
    pair.reset()
    comparers = [Comparer() for _ in range(SESSIONS)]
    for start, end in batches(steps):
        session = steps[start][0]
        clients, comparer = pair.sessions[session], comparers[session]
        if steps[start][1][0] in APART:
            replies = [_guard(APART[steps[start][1][0]], server, steps[start][1]) for server in pair.servers]
            if replies[0] != replies[1] and not (steps[start][1][0] == STATE and same_state(*replies)):
                return Mismatch(start, steps[start][1], replies)
            continue
        if steps[start][1][0] in LISTENING:
            if comparer.in_multi:
                continue # its pushes would stand inside of EXEC's reply
            replies = [_guard(listen, client, steps[start][1], session) for client in clients]
            if replies[0] != replies[1] or replies[0][0] == "dead":
                return Mismatch(start, steps[start][1], replies)
            continue
        if steps[start][1][0].upper() in SOLO and not comparer.in_multi:
            replies = [_guard(run_solo, client, steps[start][1]) for client in clients]
            if not comparer.same_solo(steps[start][1], *replies):
                return Mismatch(start, steps[start][1], replies)
            continue
        sent = [queued_form(words) for _, words in steps[start:end]]
        data = b"".join(encode(*words) for words in sent)
        for client in clients:
            try:
                client.send_raw(data)
            except OSError:
                pass        # the read below tells
        for i in range(start, end):
            replies = [_guard(Client.read, client) for client in clients]
            if not comparer.same(sent[i - start], *replies):
                return Mismatch(i, sent[i - start], replies)
    return None


def _guard(function, client, *arguments):
    """A dead or silent connection is a reply too, one that equals no other."""
    try:
        return function(client, *arguments)
    except (OSError, ValueError) as error:
        return ("dead", "%s: %s" % (type(error).__name__, error))


def shrink(pair, steps, mismatch):
    """Delta debugging: drops ever smaller slices while a mismatch remains."""
    deadline = time.monotonic() + SHRINK_SECONDS
    steps = steps[:mismatch.step + 1]
    size = max(1, len(steps) // 2)
    while time.monotonic() < deadline:
        end, dropped = len(steps), False
        while end > 0 and time.monotonic() < deadline:
            shorter = steps[:max(0, end - size)] + steps[end:]
            found = run(pair, shorter) if shorter else None
            if found and found.words[0].upper() == mismatch.words[0].upper():
                steps, mismatch, dropped = shorter[:found.step + 1], found, True
            end = min(end - size, len(steps))
        if size == 1 and not dropped:
            break
        size = max(1, size // 2)
    return steps, mismatch


def show(words):
    """One line; long words are given as 'x...(300)', long lists are cut."""
    shown = []
    for word in words[:12]:
        text = repr(word if len(word) <= 80 else word[:8])[2:-1] + ("...(%d)" % len(word) if len(word) > 80 else "")
        shown.append(text if word and b" " not in word else '"%s"' % text)
    return " ".join(shown) + (" ... (%d words)" % len(words) if len(words) > 12 else "")


def report(pair, steps, mismatch, arguments, epoch):
    if run(pair, steps[:mismatch.step + 1]):
        steps, mismatch = shrink(pair, steps, mismatch)
        print("oracle: replies differ. Shortest sequence found, from empty servers (s1 is RESP3%s):" % (", all are" if pair.all_resp3 else ""))
    else:
        steps = steps[max(0, mismatch.step - 30):mismatch.step + 1]
        print("oracle: replies differed once, not when repeated (a clock? a race?). The last steps were:")
    for session, words in steps[-100:]:
        print("    s%d> %s" % (session, show(words)))
    print("  redis:    %.2000s" % (mismatch.replies[0],))
    print("  holdfast: %.2000s" % (mismatch.replies[1],))
    skip = (" --skip " + arguments.skip if arguments.skip else "") + (" --resp3" if arguments.resp3 else "") + (" --edges" if arguments.edges else "")
    print("repeat: tests/blackbox/oracle.py --seed %s --epoch %d%s" % (arguments.seed, epoch, skip))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--commands", type=int, default=100000)
    parser.add_argument("--seed", default=str(random.randrange(10 ** 9)))
    parser.add_argument("--epoch", type=int, help="run this epoch alone")
    parser.add_argument("--skip", default="", help="commands to leave out, with commas")
    parser.add_argument("--workers", type=int)
    parser.add_argument("--progress", type=int, default=0, help="a line after so many commands")
    parser.add_argument("--resp3", action="store_true", help="RESP3 only, in all epochs")
    parser.add_argument("--edges", action="store_true", help="calls at the edges of every command of the peer")
    parser.add_argument("--keep-going", action="store_true", help="report a mismatch of each epoch, then go on")
    arguments = parser.parse_args()
    skip = {name.encode().upper() for name in arguments.skip.split(",") if name} | (set() if arguments.edges else DIFFERENCES)
    epochs = [arguments.epoch] if arguments.epoch is not None else range(-(-arguments.commands // EPOCH_STEPS))
    pair = Pair(arguments.workers)
    docs = pair.servers[0].client(resp=3).call("COMMAND", "DOCS") if arguments.edges else None
    began = time.monotonic()
    done = failures = 0
    try:
        for epoch in epochs:
            count = EPOCH_STEPS if arguments.epoch is not None else min(EPOCH_STEPS, arguments.commands - epoch * EPOCH_STEPS)
            pair.all_resp3 = arguments.resp3 or epoch % RESP3_EPOCHS == RESP3_EPOCHS - 1
            generator = EdgeGenerator(arguments.seed, epoch, docs) if arguments.edges else (Resp3Generator if pair.all_resp3 else Generator)(arguments.seed, epoch)
            steps = generator.steps(count, skip)
            mismatch = run(pair, steps)
            if mismatch:
                report(pair, steps, mismatch, arguments, epoch)
                failures += 1
                if not arguments.keep_going:
                    break
            if arguments.progress and done // arguments.progress != (done + len(steps)) // arguments.progress:
                print("oracle: %d commands, %d mismatches, %.0f s" % (done + len(steps), failures, time.monotonic() - began),
                      flush=True)
            done += len(steps)
    finally:
        pair.stop()
    print("oracle: seed %s, %d commands, %d mismatches, %.1f s" % (arguments.seed, done, failures, time.monotonic() - began))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
