"""config.py -- how the server takes its settings, and what it refuses at start.

Goal:   a wrong setting is named with its place and the nearest right one, and the three classic
        accidents (two servers on one directory, a public port without a password, a typo that is
        ignored) end at start with a message.
Method: runs the binary with short-lived arguments and looks at exit status and text. Each check is
        a function named after what it proves; all are run, and failures counted.
Usage:  config.py [name ...]
"""
import os
import re
import subprocess
import sys
import time

from harness import Server, environment, first_client, free_port, holdfast_path, look_for_report, temp_dir

RUN_SECONDS = 10


class Result:
    def __init__(self, status, text):
        self.status, self.text = status, text


def run(*arguments, **variables):
    """Runs the server to its end; a server that starts and stays is 'running' after RUN_SECONDS."""
    try:
        done = subprocess.run([holdfast_path()] + list(arguments), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=RUN_SECONDS, cwd=temp_dir(), env=dict(environment(), **variables))
        look_for_report(done.stdout.decode("utf-8", "replace"))
        return Result(done.returncode, done.stdout.decode("utf-8", "replace"))
    except subprocess.TimeoutExpired as late:
        return Result("running", (late.stdout or b"").decode("utf-8", "replace"))


def config_file(text):
    path = os.path.join(temp_dir(), "holdfast.conf")
    with open(path, "w") as f:
        f.write(text)
    return path


def expect(condition, result):
    if not condition:
        raise AssertionError("exit status %s, text:\n%s" % (result.status, result.text[:1500]))


# --- checks ------------------------------------------------------------------------------------

def help_names_the_options():
    result = run("--help")
    expect(result.status == 0, result)
    expect(all(name in result.text for name in ("--port", "--dir", "--durability", "--workers", "--bind")), result)


def help_fits_a_screen():
    short, whole = run("--help"), run("--help", "all")
    expect(short.text.count("\n") < 36 and max(map(len, short.text.split("\n"))) < 132, short)
    expect(whole.status == 0 and "--help all" in short.text, whole)
    shown = set(re.findall(r"^  --(\S+)", whole.text, re.M))
    expect(set(re.findall(r"^  --(\S+)", short.text, re.M)) < shown and len(shown) > 60, whole)


def variables_are_settings():
    result = run("--check-config", HOLDFAST_PORT="notanumber")
    expect(result.status == 1 and "HOLDFAST_PORT" in result.text and "notanumber" in result.text, result)
    result = run("--check-config", HOLDFAST_MAXCLIENT="5")
    expect(result.status == 1 and "HOLDFAST_MAXCLIENT" in result.text and "'maxclients'" in result.text, result)
    result = run("--check-config", HOLDFAST_PORT="tcp://10.0.0.1:6379", HOLDFAST_SERVICE_HOST="10.0.0.1", HOLDFAST_SERVICE_PORT="6379",
                 HOLDFAST_PORT_6379_TCP_ADDR="10.0.0.1", HOLDFAST_HOME="/opt/holdfast")
    expect(result.status == 0, result)


def redis_files_are_taken():
    """What the default files of Redis 7.2 to 8 say beyond those of 7.0."""
    lines = ["locale-collate ''", "server-cpulist 0-7:2", "bio-cpulist 1", "aof-rewrite-cpulist 2", "bgsave-cpulist 3", "set-max-listpack-entries 100", "set-max-listpack-value 60",
             "max-new-connections-per-cycle 10", "hide-user-data-from-log yes", "cluster-announce-human-nodename ''"]
    result = run("--check-config", config_file("\n".join(lines) + "\n"))
    expect(result.status == 0, result)
    result = run("--check-config", config_file("port 6379\ntls-cert-file redis.crt\n"))
    expect(result.status == 0, result)  # read when there is a port of TLS
    result = run("--check-config", config_file("tls-port 6380\ntls-cert-file redis.crt\ntls-key-file redis.key\n"))
    expect(result.status == 1 and "tls-cert-file redis.crt: cannot read" in result.text, result)


def one_dash_is_no_file():
    result = run("-p", "6380")
    expect(result.status == 1 and "'-p'" in result.text, result)


def version_is_one_line():
    result = run("--version")
    expect(result.status == 0 and result.text.count("\n") == 1, result)
    expect(re.search(r"holdfast.*\d+\.\d+\.\d+", result.text), result)


def unknown_option_names_the_nearest():
    result = run("--prot", str(free_port()))
    expect(result.status not in (0, "running"), result)
    expect("prot" in result.text and re.search(r"\bport\b", result.text), result)


def unknown_setting_in_a_file_names_line_and_nearest():
    path = config_file("# a comment\nport %d\n\nmaxmemroy 100mb\n" % free_port())
    result = run(path)
    expect(result.status not in (0, "running"), result)
    expect(re.search(r"(:4\b|line 4)", result.text) and "maxmemroy" in result.text, result)
    expect(re.search(r"\bmaxmemory\b", result.text), result)


def bad_value_is_refused_with_its_line():
    result = run(config_file("port notanumber\n"))
    expect(result.status not in (0, "running"), result)
    expect(re.search(r"(:1\b|line 1)", result.text) and "notanumber" in result.text, result)


def check_config_accepts_a_good_file():
    path = config_file("port %d\ndurability commit\ndir %s\n" % (free_port(), temp_dir()))
    result = run("--check-config", path)
    expect(result.status == 0, result)


def check_config_refuses_a_bad_file_and_starts_nothing():
    result = run("--check-config", config_file("durability sometimes\n"))
    expect(result.status not in (0, "running"), result)
    expect("sometimes" in result.text, result)


def second_server_on_a_directory_is_refused():
    with Server("holdfast", durability="commit") as first:
        result = run("--port", str(free_port()), "--bind", "127.0.0.1", "--dir", first.directory, "--durability", "commit")
        expect(result.status not in (0, "running"), result)
        expect(first.directory in result.text, result)
        client = first.client()
        assert client.call("PING") == b"PONG", "the first server must not notice"
        client.close()


def directory_is_free_again_after_kill9():
    directory = temp_dir()
    first = Server("holdfast", directory, durability="commit")
    first.start()
    first.kill9()
    second = Server("holdfast", directory, durability="commit")
    second.start()
    second.stop()


def public_bind_without_password_is_refused():
    result = run("--port", str(free_port()), "--bind", "0.0.0.0", "--dir", temp_dir())
    expect(result.status not in (0, "running"), result)
    expect(re.search(r"password|requirepass", result.text), result)


def public_bind_with_password_starts():
    server = Server("holdfast", extra=["--bind", "0.0.0.0", "--requirepass", "secret"])
    server._wait_ready = lambda deadline: _answers_noauth(server, deadline)
    server.start()
    client = server.client()
    assert client.call("AUTH", "secret") == b"OK"
    client.close()
    server.stop()


def _answers_noauth(server, deadline):
    """Ready means here: PING is refused for want of the password."""
    while time.monotonic() < deadline and server.alive():
        try:
            client = server.client(timeout=5)
            reply = client.wire("PING")
            client.close()
            return reply[0] == "-" and reply[1].startswith(b"NOAUTH")
        except OSError:
            time.sleep(0.01)
    return False


def appendfsync_is_changed_for_new_connections():
    with Server("holdfast", durability="interval") as server:
        before = server.client()
        before.call("CONFIG", "SET", "appendfsync", "always")
        after = server.client()
        for client, wanted in ((before, b"interval"), (after, b"commit")):
            found = client.call("CLIENT", "DURABILITY")
            if found != wanted:
                raise AssertionError("CLIENT DURABILITY: %r, not %r" % (found, wanted))
        after.call("SET", "a", 1)
        if dict(zip(*[iter(after.call("CONFIG", "GET", "appendfsync"))] * 2)) != {b"appendfsync": b"always"}:
            raise AssertionError("CONFIG GET appendfsync")


def bgrewriteaof_writes_a_snapshot():
    with Server("holdfast", durability="interval") as server:
        client = server.client()
        client.call("SET", "a", 1)
        replies = {client.call("BGREWRITEAOF") for _ in range(3)}
        known = {b"Background append only file rewriting started", b"Background append only file rewriting scheduled"}
        if not replies <= known:
            raise AssertionError(repr(replies))
        deadline = time.monotonic() + RUN_SECONDS
        while time.monotonic() < deadline:
            info = client.call("INFO", "persistence").decode()
            if "aof_rewrite_in_progress:0" in info and "rdb_saves:0" not in info and "rdb_changes_since_last_save:0" in info:
                return
        raise AssertionError(info)


def rewrite_writes_sizes_and_lines_as_redis_does():
    path = os.path.join(temp_dir(), "c.conf")
    with open(path, "w") as file:
        file.write("# mine\nmaxmemory 100mb\nsave 900 1\nsave 300 10\nclient-output-buffer-limit pubsub 1mb 8mb 60\nproto-max-bulk-len 2mb\n")
    names = ("maxmemory", "save", "client-output-buffer-limit", "proto-max-bulk-len")

    def ask(*commands):
        """The server with this file answers."""
        port = free_port()
        child = subprocess.Popen([holdfast_path(), path, "--port", str(port), "--dir", temp_dir()], stdout=subprocess.DEVNULL, env=environment())
        try:
            client = first_client(child, port)
            return client.pipeline(commands) + client.pipeline([("CONFIG", "GET", name) for name in names])
        finally:
            child.terminate()
            child.wait(60)
    before = ask(("CONFIG", "SET", "maxmemory", "3gb", "repl-backlog-size", "5000kb"), ("CONFIG", "REWRITE"))
    assert before[:2] == [b"OK", b"OK"], before
    lines = open(path).read().split("\n")
    for line in ("# mine", "maxmemory 3gb", "save 900 1", "save 300 10", "client-output-buffer-limit normal 256mb 64mb 60",
                 "client-output-buffer-limit pubsub 1mb 8mb 60", "# Generated by CONFIG REWRITE", "repl-backlog-size 5000kb"):
        assert lines.count(line) == 1, (line, lines)
    assert lines.index("# mine") < lines.index("maxmemory 3gb") < lines.index("save 900 1") < lines.index("save 300 10")
    assert ask() == before[2:]


def missing_directory_is_named():
    result = run("--port", str(free_port()), "--dir", "/nonexistent/holdfast")
    expect(result.status not in (0, "running") and "/nonexistent/holdfast" in result.text, result)


def taken_port_is_named():
    with Server("holdfast") as first:
        result = run("--port", str(first.port), "--bind", "127.0.0.1", "--dir", temp_dir())
        expect(result.status not in (0, "running") and str(first.port) in result.text, result)


def sigterm_ends_with_status_0():
    server = Server("holdfast", durability="commit")
    server.start()
    status = server.stop()
    assert status == 0, "exit status %s" % status


CHECKS = [help_names_the_options, help_fits_a_screen, variables_are_settings, redis_files_are_taken, one_dash_is_no_file, version_is_one_line, unknown_option_names_the_nearest,
          unknown_setting_in_a_file_names_line_and_nearest, bad_value_is_refused_with_its_line,
          check_config_accepts_a_good_file, check_config_refuses_a_bad_file_and_starts_nothing,
          second_server_on_a_directory_is_refused, directory_is_free_again_after_kill9,
          public_bind_without_password_is_refused, public_bind_with_password_starts, missing_directory_is_named,
          taken_port_is_named, sigterm_ends_with_status_0, appendfsync_is_changed_for_new_connections,
          bgrewriteaof_writes_a_snapshot, rewrite_writes_sizes_and_lines_as_redis_does]


def main():
    failed = 0
    chosen = [check for check in CHECKS if not sys.argv[1:] or check.__name__ in sys.argv[1:]]
    for check in chosen:
        try:
            check()
        except Exception as error:
            failed += 1
            print("config: %s: FAILED: %s\nrepeat: tests/blackbox/config.py %s" % (check.__name__, error, check.__name__))
    print("config: %d checks, %d failed" % (len(chosen), failed))
    return 1 if failed or not chosen else 0


if __name__ == "__main__":
    sys.exit(main())
