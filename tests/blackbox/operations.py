"""operations.py -- what an operator meets: a start in the background, SAVE without a log, CLIENT PAUSE, INFO's counters, SHUTDOWN ABORT.

Goal:   a start that fails says so to whoever called it, with --daemonize too; a pause holds exactly what Redis holds, and
        nothing expires in it; errors are counted by their first word; settings that last do last; a stop loses no reply of what has run; connections have limits.
Method: each check is a function that raises. Those that Redis has as well run against redis-server first, with the same
        assertions: what they demand is Redis' behaviour, not our memory of it.
Usage:  operations.py [check ...]
"""
import os
import signal
import socket
import subprocess
import sys
import threading
import time

from harness import Checks, Client, ReplyError, Server, encode, free_port, holdfast_path, plain, redis_path, remove_dir, temp_dir


def expect(found, wanted, what):
    if found != wanted:
        raise AssertionError("%s: %r, not %r" % (what, found, wanted))


def wait_until(what, condition):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "never: " + what
        time.sleep(0.01)


def fields(client, section):
    lines = client.call("INFO", section).decode().split("\r\n")
    return dict(line.split(":", 1) for line in lines if ":" in line)


# --- CLIENT PAUSE --------------------------------------------------------------------------------

PAUSE_MS = 400


def seconds_of(server, mode, setup, words, ms=PAUSE_MS):
    """When the command of another client is answered, from before the pause on, and its reply."""
    pauser, other = server.client(), server.client()
    for command in setup:
        other.wire(*command)
    began = time.monotonic()
    pauser.call("CLIENT", "PAUSE", ms, mode)
    reply = plain(other.wire(*words))
    took = time.monotonic() - began
    pauser.wire("CLIENT", "UNPAUSE")
    other.close()
    pauser.close()
    return took, reply


def check_pause(server):
    multi = [("MULTI",)]
    cases = [   # mode, what went before, words, waits
        ("ALL", [], ("PING",), True), ("ALL", [], ("CLIENT", "ID"), True), ("ALL", [], ("CLIENT", "UNPAUSE"), True),
        ("ALL", [], ("GET", "k"), True), ("ALL", [], ("MULTI",), True), ("ALL", [], ("NOSUCHCOMMAND",), False),
        ("ALL", [], ("GET",), False), ("ALL", [], ("INFO", "server"), True),
        ("WRITE", [], ("PING",), False), ("WRITE", [], ("GET", "k"), False), ("WRITE", [], ("SET", "k", "v"), True),
        ("WRITE", [], ("DEL", "nokey"), True), ("WRITE", [], ("SET",), False), ("WRITE", [], ("GETEX", "k"), True),
        ("WRITE", [], ("CLIENT", "LIST"), False), ("WRITE", [], ("FLUSHALL",), True), ("WRITE", [], ("WATCH", "k"), False),
        ("WRITE", multi, ("GET", "k"), False), ("WRITE", multi, ("SET", "k", "v"), True),
        ("WRITE", multi + [("GET", "k")], ("EXEC",), False), ("WRITE", multi + [("SET", "k", "v")], ("EXEC",), True),
        ("WRITE", multi + [("SET", "k", "v")], ("DISCARD",), False),
    ]
    for mode, setup, words, waits in cases:
        for ms in (PAUSE_MS, 10 * PAUSE_MS, 50 * PAUSE_MS):
            took, reply = seconds_of(server, mode, setup, words, ms)
            if waits or took < ms / 1000:
                break       # else the machine was busy, perhaps
        expect(took > ms / 1050, waits, "PAUSE %s, %s %s waited (%.3f s, %r)" % (mode, setup, words, took, reply))


def check_pause_stops_expiry(server):
    client = server.client()
    client.call("FLUSHALL")
    client.call("CONFIG", "RESETSTAT")
    client.call("SET", "stays", "v")
    for ms in (100, 1000, 10000):       # on a busy machine it may be over before the pause begins
        began = time.monotonic()
        client.call("SET", "goes", "v", "PX", ms)
        client.call("CLIENT", "PAUSE", 60000, "WRITE")
        if time.monotonic() - began < ms / 1000:
            break
        client.call("CLIENT", "UNPAUSE")
        client.call("DEL", "goes")
        client.call("CONFIG", "RESETSTAT")
    time.sleep(ms / 1000 + 0.4)
    expect(client.call("GET", "goes"), None, "GET of a key that is due")
    expect(client.call("DBSIZE"), 2, "DBSIZE in the pause")
    expect(client.call("KEYS", "*"), [b"stays"], "KEYS in the pause")
    expect(client.call("TTL", "goes"), -2, "TTL of a key that is due")
    expect(fields(client, "stats")["expired_keys"], "0", "expired_keys in the pause")
    waiting = server.client()
    waiting.send("SET", "other", "v")
    wait_until("it waits", lambda: fields(client, "clients")["blocked_clients"] == "1")
    line = [l for l in client.call("CLIENT", "LIST").decode().split("\n") if "cmd=set" in l]
    expect(len(line) == 1 and " flags=b " in line[0], True, "CLIENT LIST of the waiting client: %r" % line)
    client.call("CLIENT", "UNPAUSE")
    expect(plain(waiting.read()), b"OK", "the write after the pause")
    wait_until("what is due goes", lambda: client.call("DBSIZE") == 2)
    expect(sorted(client.call("KEYS", "*")), [b"other", b"stays"], "keys after the pause")
    expect(fields(client, "stats")["expired_keys"], "1", "expired_keys after the pause")
    expect(fields(client, "clients")["blocked_clients"], "0", "blocked_clients after the pause")


# --- INFO ------------------------------------------------------------------------------------------

def check_errorstats(server):
    client = server.client()
    client.call("SET", "s", "text")
    client.call("HSET", "h", "f", "v")
    client.call("CONFIG", "RESETSTAT")
    for words in [("NOSUCH",), ("GET",), ("INCR", "s"), ("INCR", "h"), ("HGET", "s", "f"), ("SET", "s", "v", "XX", "NX"),
                  ("MULTI",), ("INCR", "s"), ("SET", "s"), ("EXEC",), ("MULTI",), ("INCR", "s"), ("GET", "h"), ("EXEC",)]:
        client.wire(*words)
    expect(fields(client, "errorstats"), {"errorstat_ERR": "count=6", "errorstat_EXECABORT": "count=1",
                                          "errorstat_WRONGTYPE": "count=3"}, "errorstats")
    expect(fields(client, "stats")["total_error_replies"], "10", "total_error_replies")
    stats = fields(client, "commandstats")
    expect("rejected_calls=1,failed_calls=0" in stats["cmdstat_get"].replace("failed_calls=1", "failed_calls=0"), True,
           "cmdstat_get %s" % stats["cmdstat_get"])
    client.call("CONFIG", "RESETSTAT")
    expect(fields(client, "errorstats"), {}, "errorstats after RESETSTAT")
    expect("cmdstat_incr" in fields(client, "commandstats"), False, "commandstats after RESETSTAT")


def check_maxmemory_at_once(server):
    """The limit holds from the next command on, and its end too."""
    client = server.client()
    for _ in range(20):
        client.call("CONFIG", "SET", "maxmemory", 1)
        expect(str(plain(client.wire("SET", "k", "v")))[:3], "OOM", "SET above the limit")
        client.call("CONFIG", "SET", "maxmemory", 0)
        expect(plain(client.wire("SET", "k", "v")), b"OK", "SET without a limit")
    client.close()


def check_slowlog(server):
    """What is slow is kept with its words, cut and without passwords; what is not, is not."""
    client, waiter = server.client(), server.client()
    client.call("CLIENT", "SETNAME", "slow-one")
    client.call("CONFIG", "SET", "slowlog-log-slower-than", 1000000)
    client.call("SLOWLOG", "RESET")
    client.pipeline([("SET", "k", "v")] * 200)
    expect(client.call("SLOWLOG", "LEN"), 0, "fast commands")
    client.call("CONFIG", "SET", "slowlog-log-slower-than", 0)
    client.call("SLOWLOG", "RESET")
    for words in [("MULTI",), ("SET", "k", "w" * 200), ("EXEC",), ("SADD", "many") + tuple(range(40)),
                  ("CONFIG", "SET", "masterauth", "secret"), ("CONFIG", "SET", "masterauth", ""),
                  ("EVAL", "return redis.call('GET', 'k')", 0)]:
        client.call(*words)
    waiter.send("BLPOP", "queue", 5)
    while b"blpop" not in client.call("CLIENT", "LIST"):
        pass
    client.call("RPUSH", "queue", "x")
    waiter.read()
    client.call("CONFIG", "SET", "slowlog-log-slower-than", -1)
    found = [entry[3] for entry in client.call("SLOWLOG", "GET", -1) if entry[3][:2] != [b"CLIENT", b"LIST"]][::-1]
    wanted = [[b"SLOWLOG", b"RESET"], [b"MULTI"], [b"SET", b"k", b"w" * 128 + b"... (72 more bytes)"],
              [b"SADD", b"many"] + [b"%d" % i for i in range(29)] + [b"... (11 more arguments)"],
              [b"CONFIG", b"SET", b"masterauth", b"(redacted)"], [b"CONFIG", b"SET", b"masterauth", b"(redacted)"],
              [b"GET", b"k"], [b"EVAL", b"return redis.call('GET', 'k')", b"0"]]
    expect(found[:len(wanted)], wanted, "what SLOWLOG kept")
    expect(sorted(found[len(wanted):]), [[b"BLPOP", b"queue", b"5"], [b"RPUSH", b"queue", b"x"]], "and of the one that waited")
    newest = client.call("SLOWLOG", "GET", 1)[0]
    expect((newest[4][:10], newest[2] < 1000000), (b"127.0.0.1:", True), "address and time")
    client.call("CONFIG", "SET", "slowlog-max-len", 2, "slowlog-log-slower-than", 0)
    client.call("PING")
    client.call("CONFIG", "SET", "slowlog-log-slower-than", -1)
    expect(len(client.call("SLOWLOG", "GET", -1)), 2, "slowlog-max-len")
    for words in [("SLOWLOG", "GET", "x"), ("SLOWLOG", "GET", -2)]:
        expect(str(plain(client.wire(*words))), "ERR count should be greater than or equal to -1", words)
    client.call("CONFIG", "SET", "slowlog-max-len", 128, "slowlog-log-slower-than", 10000)
    client.close()
    waiter.close()


def check_numbers_inside_transactions(server):
    """What looks at every key meets keys that its own transaction or script has locked."""
    client = server.client(timeout=10)
    for words in [("INFO",), ("INFO", "everything"), ("DBSIZE",), ("MEMORY", "STATS"), ("MEMORY", "DOCTOR"), ("LASTSAVE",),
                  ("CONFIG", "RESETSTAT")]:
        for command in [("MULTI",), ("SET", "a", 1), ("SET", "b", 1), words]:
            client.call(*command)
        expect(len(client.call("EXEC")), 3, "EXEC with %s" % " ".join(words))
    for words in ["'INFO'", "'DBSIZE'", "'MEMORY', 'STATS'", "'LASTSAVE'"]:
        client.call("EVAL", "redis.call('SET', KEYS[1], 1); return redis.call(%s)" % words, 1, "a")
    client.close()


def check_time(server):
    """TIME has microseconds, also in a script, and is that of the machine."""
    client = server.client()
    times = []
    for _ in range(50):
        before = time.time()
        seconds, micros = (int(word) for word in client.call("TIME"))
        assert before - 1 < seconds + micros / 1e6 < time.time() + 1, (before, seconds, micros)
        times.append((seconds, micros))
    assert times == sorted(times) and any(micros % 1000 for _, micros in times), times
    micros = [int(client.call("EVAL", "return redis.call('TIME')[2]", 0)) for _ in range(50)]
    assert any(part % 1000 for part in micros), micros


def check_shutdown_words(server):
    client = server.client()
    for words, text in [(("ABORT",), "ERR No shutdown in progress."), (("ABORT", "NOW"), "ERR syntax error"),
                        (("X",), "ERR syntax error"), (("SAVE", "NOSAVE"), "ERR syntax error")]:
        expect(plain(client.wire("SHUTDOWN", *words)), ReplyError(text), "SHUTDOWN %s" % " ".join(words))


# --- --daemonize -------------------------------------------------------------------------------------

def start_in_background(*arguments):
    """Exit status, what was printed as errors, seconds."""
    began = time.monotonic()
    done = subprocess.run([holdfast_path(), "--daemonize", "yes", "--bind", "127.0.0.1", *arguments], capture_output=True,
                          timeout=60, stdin=subprocess.DEVNULL)
    return done.returncode, done.stderr.decode(), time.monotonic() - began


def check_daemonize():
    directory, port = temp_dir(), free_port()
    pid_file = os.path.join(directory, "pid")
    arguments = ["--dir", directory, "--port", str(port), "--pidfile", pid_file, "--logfile", os.path.join(directory, "log")]
    status, errors, _ = start_in_background(*arguments)
    expect((status, errors), (0, ""), "a start that works")
    pid = int(open(pid_file).read())
    try:
        client = Client(port)           # it serves from the moment on that the caller was told
        expect(client.call("PING"), b"PONG", "PING")
        other = temp_dir()
        for what, words, text in [
                ("the port is taken", ["--dir", other, "--port", str(port)], "cannot listen on port %d" % port),
                ("the directory is taken", ["--dir", directory, "--port", str(free_port())], "in use by another holdfast"),
                ("no such log file", ["--dir", other, "--port", str(free_port()), "--logfile", "/no/such/dir/log"],
                 "cannot open the log file")]:
            status, errors, _ = start_in_background(*words)
            expect(status, 1, "exit status when %s" % what)
            expect(text in errors, True, "message when %s: %r" % (what, errors))
        client.send("SHUTDOWN", "NOSAVE")
    finally:
        deadline = time.monotonic() + 20
        while os.path.exists("/proc/%d" % pid) and time.monotonic() < deadline:
            time.sleep(0.02)
        if os.path.exists("/proc/%d" % pid):
            os.kill(pid, signal.SIGKILL)
    expect(os.path.exists(pid_file), False, "the pid file after the end")


# --- the run --------------------------------------------------------------------------------------------

def check_memory_only_save():
    """What SAVE wrote is there after a kill, what SHUTDOWN SAVE wrote after the end, and nothing else."""
    directory = temp_dir()
    server = Server("holdfast", directory, "none")
    server.start()
    client = server.client()
    client.call("SET", "early", "1")
    client.call("SAVE")
    client.call("SET", "late", "1")
    server.kill9()
    server.start()
    client = server.client()
    expect(client.call("MGET", "early", "late"), [b"1", None], "after SAVE and a kill")
    client.call("SET", "later", "1")
    client.send("SHUTDOWN", "SAVE")
    expect(server.process.wait(30), 0, "exit status")
    server.start()
    client = server.client()
    expect(client.call("MGET", "early", "late", "later"), [b"1", None, b"1"], "after SHUTDOWN SAVE")
    server.kill9()
    logged = Server("holdfast", directory, "commit")    # the data go on under a log
    logged.start()
    client = logged.client()
    expect(client.call("APPEND", "later", "2"), 2, "APPEND")
    logged.kill9()
    logged.start()
    expect(logged.client().call("MGET", "early", "later"), [b"1", b"12"], "under a log")
    logged.kill9()


# --- SHUTDOWN and signals that save -----------------------------------------------------------------------

FAILS = "ERR Errors trying to SHUTDOWN. Check logs."
END_SECONDS = 60


def check_shutdown_that_cannot_save():
    """Without a log its memory is all there is: it goes on serving until it can save, or FORCE says otherwise."""
    directory = temp_dir()
    server = Server("holdfast", directory, "none", extra=["--shutdown-on-sigterm", "save"])
    server.start()
    client = server.client()
    client.call("SET", "k", "1")
    away = directory + ".away"
    os.rename(directory, away)
    try:
        expect(plain(client.wire("SHUTDOWN", "SAVE")), ReplyError(FAILS), "SHUTDOWN SAVE")
        expect(plain(client.wire("SHUTDOWN", "SAVE", "NOW")), ReplyError(FAILS), "SHUTDOWN SAVE NOW")
        server.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + END_SECONDS
        log = os.path.join(away, "server.out")
        while open(log).read().count("it goes on serving") < 3 and time.monotonic() < deadline:
            time.sleep(0.02)
        expect(open(log).read().count("it goes on serving"), 3, "refusals in the log")
        expect(client.call("GET", "k"), b"1", "it serves")
    finally:
        os.rename(away, directory)
    server.process.send_signal(signal.SIGTERM)      # now it can
    expect(server.process.wait(END_SECONDS), 0, "exit status")
    server.start()
    client = server.client()
    expect(client.call("GET", "k"), b"1", "saved at SIGTERM")
    client.call("SET", "k", "2")
    client.call("CONFIG", "SET", "shutdown-on-sigterm", "default", "shutdown-on-sigint", "save now")
    server.process.send_signal(signal.SIGTERM)
    expect(server.process.wait(END_SECONDS), 0, "exit status")
    server.start()
    client = server.client()
    expect(client.call("GET", "k"), b"1", "SIGTERM does not save by itself")
    client.call("SET", "k", "3")
    os.rename(directory, away)
    try:
        client.send("SHUTDOWN", "SAVE", "FORCE")
        expect(server.process.wait(END_SECONDS), 0, "exit status of FORCE")
    finally:
        os.rename(away, directory)


def check_shutdown_abort():
    """While it saves, another connection can call it off; who asked gets an error, and everything goes on."""
    keys = 100000
    for _ in range(4):      # a snapshot that is over before it can be aborted ends the server: once more, with more keys
        server = Server("holdfast", durability="none", extra=["--enable-debug-command", "yes"])
        server.start()
        ending, aborting = server.client(), server.client()     # of two workers, in turn
        ending.call("DEBUG", "POPULATE", keys)
        ending.send("SHUTDOWN", "SAVE")
        try:
            while isinstance(plain(aborting.wire("SHUTDOWN", "ABORT")), ReplyError):
                pass
        except OSError:
            server.process.wait(END_SECONDS)
            keys *= 4
            continue
        expect(plain(ending.read()), ReplyError(FAILS), "who asked")
        expect((ending.call("PING"), aborting.call("DBSIZE")), (b"PONG", keys), "it serves")
        server.stop()
        return
    raise AssertionError("no snapshot took long enough to be aborted")


def small_connection(server, to):
    """To a port or a path; takes in little, so that most replies wait on the server's side of the socket."""
    one = socket.socket(socket.AF_UNIX if isinstance(to, str) else socket.AF_INET)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
    one.settimeout(60)
    one.connect(to if isinstance(to, str) else ("127.0.0.1", to))
    return one


def check_drain():
    """SIGTERM in the middle of a pipeline that nobody reads yet: each command that has run has its reply, and the reply arrives."""
    path = os.path.join(temp_dir(), "socket")
    for number in range(6):
        server = Server("holdfast", durability="commit", extra=["--unixsocket", path])
        server.own_directory = False
        server.start()
        server.client().call("SET", "big", "x" * 2000)
        one = small_connection(server, path if number % 3 == 2 else server.port)
        pipeline = (encode("INCR", "n") + encode("GET", "big")) * 5000 + b"*2\r\n$4\r\nINCR\r\n$1\r\n"

        def feed():
            try:
                one.sendall(pipeline)
            except OSError:
                pass

        feeder = threading.Thread(target=feed, daemon=True)
        feeder.start()
        watcher = server.client()
        while int(watcher.call("GET", "n") or 0) < 1:
            time.sleep(0.001)
        watcher.close()
        server.process.terminate()
        reader, last = one.makefile("rb"), 0
        try:
            time.sleep(0.05 * (number % 2))     # it is late, or not
            for line in iter(reader.readline, b""):
                last = int(line[1:]) if line[:1] == b":" else last
        except ConnectionError:
            pass    # it has sent more than was read
        feeder.join()
        expect(server.process.wait(30), 0, "exit status")
        server.kill9()
        server.start()
        expect(int(server.client().call("GET", "n")), last, "INCRs that ran, and were answered (round %d)" % number)
        server.stop()
        remove_dir(server.directory)


def heard(port, data=b""):
    """What a connection of its own is told until it is ended."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as one:
        said = b""
        try:
            one.sendall(data)
            for got in iter(lambda: one.recv(65536), b""):
                said += got
        except ConnectionError:
            pass    # it was ended with input left
        return said


def check_limits_of_connections():
    """One too many is told so; who has no password can send and make the server keep little, and not for long; idle ones end."""
    with Server("holdfast", extra=["--maxclients", "2", "--auth-timeout", "1"]) as server:
        first, second = server.client(), server.client()
        first.call("PING"), second.call("PING")
        expect(heard(server.port), b"-ERR max number of clients reached\r\n", "one too many")
        second.close()
        while int(fields(first, "clients")["connected_clients"]) > 1:
            time.sleep(0.001)
        first.call("CONFIG", "SET", "requirepass", "secret", "maxclients", "20")
        tried = [   # before AUTH
            (b"*2\r\n$4\r\nAUTH\r\n$16385\r\n", b"-ERR Protocol error: unauthenticated bulk length\r\n"),
            (b"*11\r\n", b"-ERR Protocol error: unauthenticated multibulk length\r\n"),
            (b"x" * 100000, b""),
            (b"", b""),     # says nothing: auth-timeout
        ]
        for data, wanted in tried:
            expect(heard(server.port, data), wanted, "before AUTH, %r" % data[:40])
        refused = b"-NOAUTH Authentication required.\r\n"
        said = heard(server.port, encode("GET", "k") * 100000)
        expect(said.replace(refused, b"") in (b"", refused[:len(said) % len(refused)]), True, "a flood before AUTH is answered with NOAUTH alone")
        expect(len(said) < 1 << 20, True, "and ends: %d bytes" % len(said))
        first.call("CONFIG", "SET", "requirepass", "", "timeout", "1")
        expect(heard(server.port), b"", "an idle one ends")
        first.close()


def check_shutdown_now():
    """A connection that does not take its replies is given shutdown-timeout, with NOW nothing."""
    server = Server("holdfast", durability="none", extra=["--shutdown-timeout", "100000"])
    server.start()
    deaf, client = server.client(), server.client()
    client.call("SET", "large", b"x" * (8 << 20))
    for _ in range(4):
        deaf.send("GET", "large")
    deadline = time.monotonic() + END_SECONDS
    while b" obl=0 " in client.call("CLIENT", "LIST", "ID", deaf_id(client)) and time.monotonic() < deadline:
        time.sleep(0.02)
    client.send("SHUTDOWN", "NOW")
    expect(server.process.wait(END_SECONDS), 0, "exit status")


def deaf_id(client):
    """The other connection."""
    own = client.call("CLIENT", "ID")
    ids = [int(line.split(b" ")[0][3:]) for line in client.call("CLIENT", "LIST").splitlines()]
    return next(i for i in ids if i != own)


SERVED = [check_pause, check_pause_stops_expiry, check_errorstats, check_maxmemory_at_once, check_slowlog,
          check_numbers_inside_transactions, check_time, check_shutdown_words]
ALONE = [check_daemonize, check_memory_only_save, check_shutdown_that_cannot_save, check_shutdown_abort, check_drain, check_limits_of_connections, check_shutdown_now]


def main():
    checks = Checks("operations")
    for kind in ["redis", "holdfast"]:
        if kind == "redis" and not os.access(redis_path(), os.X_OK):
            print("operations: no redis-server: its turn is left out")
            continue
        with Server(kind) as server:
            checks.run(SERVED, server)
    checks.run(ALONE)
    return checks.end()


if __name__ == "__main__":
    sys.exit(main())
