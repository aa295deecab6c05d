#!/usr/bin/env python3
"""examples.py: every command has an example in docs/commands, and the server replies as the page says.

Goal: the pages are true. Method: one server runs each example of docs/commands/examples/*.txt on fresh connections
and an empty data set, and its replies, printed as redis-cli prints them, are compared with the lines of the page.
A command without an example, an example of no command, and a page that differs from its sources fail, too.

    examples.py [--peer] [--record] [--verbose] [NAME ...]      NAME is that of a command: "SET", "CONFIG GET"
    --peer      runs them on redis-server: those of commands and options that it knows must pass
    --record    writes the replies of the server into the examples, but where a reply is written with "..."

An example is lines: "> SET key value" is sent on connection A, "B> ..." on another one, "A<" reads what arrives later.
Below stands the reply; "..." fits anything. "(waits)": no reply yet, the connection must be seen waiting. "(nothing)":
there is no reply at all. "(closed)": the server hangs up. $A in a command is the number of connection A.
"""
import argparse
import importlib.machinery
import importlib.util
import os
import re
import sys
import time

from harness import ROOT, Client, Server, temp_dir

WAIT_SECONDS = 30

# What redis-server 7.0 cannot say, or says in its own words.
PEER_UNKNOWN = re.compile(r"\(error\) ERR unknown (sub)?command '")
PEER_OPTIONS = {"CLIENT STRICT", "EXEC", "ZRANK", "INFO", "HELLO", "XINFO CONSUMERS"}  # newer options, and what holdfast alone has
PEER_WORDS = {"CONFIG HELP", "COMMAND INFO", "COMMAND DOCS", "COMMAND LIST", "DEBUG OBJECT", "DEBUG LOADAOF",
              "DEBUG STRINGMATCH-LEN", "DEBUG HELP", "MEMORY HELP", "MODULE HELP", "SLOWLOG HELP", "MEMORY DOCTOR", "LATENCY DOCTOR",
              "LOLWUT", "ACL CAT"}


def load_pages():
    loader = importlib.machinery.SourceFileLoader("command_pages", os.path.join(ROOT, "tools/command-pages"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("command_pages", loader))
    sys.dont_write_bytecode = True
    loader.exec_module(module)
    return module


# --- words and replies as redis-cli has them ----------------------------------------------------

ESCAPES = {"n": b"\n", "r": b"\r", "t": b"\t", "a": b"\a", "b": b"\b"}
WORD = re.compile(r'"((?:[^"\\]|\\.)*)"|\'((?:[^\'\\]|\\.)*)\'|(\S+)')


def unescape(text):
    def one(match):
        body = match.group(1)
        if body[0] == "x" and len(body) == 3:
            return chr(int(body[1:], 16))
        return ESCAPES.get(body, body.encode("latin-1")).decode("latin-1")
    return re.sub(r"\\(x[0-9a-fA-F]{2}|.)", one, text).encode("latin-1")


def split_words(line):
    words = []
    for double, single, bare in WORD.findall(line):
        words.append(bare.encode() if bare else unescape(double) if double else single.replace("\\'", "'").encode())
    return words


def quote(data):
    out = []
    for byte in data:
        char = chr(byte)
        named = [name for name, value in ESCAPES.items() if value == bytes([byte])]
        out.append("\\" + char if char in '\\"' else "\\" + named[0] if named else
                   char if 32 <= byte < 127 else "\\x%02x" % byte)
    return '"' + "".join(out) + '"'


MARKS = {"*": ")", "~": "~", ">": ")", "%": "#"}


def show_items(items, mark, prefix):
    width = len(str(len(items)))
    lines = []
    for i, item in enumerate(items):
        head = "%*d%s " % (width, i + 1, mark)
        text = item(prefix + " " * len(head))
        lines.append((prefix if i else "") + head + text)
    return "\n".join(lines)


def show(reply, prefix=""):
    kind, value = reply
    if value is None:
        return "(nil)"
    if kind == "+":
        return value.decode("latin-1")
    if kind in "-!":
        return "(error) " + value.decode("latin-1")
    if kind == ":":
        return "(integer) %d" % value
    if kind == ",":
        return "(double) " + value.decode()
    if kind == "#":
        return "(true)" if value else "(false)"
    if kind == "=":
        return value[4:].decode("latin-1").rstrip("\n")
    if kind == "$":
        return quote(value)
    if not value:
        return {"*": "(empty array)", "~": "(empty set)", "%": "(empty hash)", ">": "(empty push)"}[kind]
    if kind == "%":
        pairs = [lambda p, k=k, v=v: show(k, p) + " => " + show(v, p) for k, v in zip(value[::2], value[1::2])]
        return show_items(pairs, "#", prefix)
    return show_items([lambda p, v=v: show(v, p) for v in value], MARKS[kind], prefix)


# Replies that are pages of text: redis-cli prints them as they are.
RAW = {"INFO", "LOLWUT", "CLIENT LIST", "CLIENT INFO", "MEMORY DOCTOR", "LATENCY DOCTOR", "LATENCY GRAPH", "CLUSTER INFO",
       "CLUSTER NODES"}


def show_reply(words, reply):
    names = {words[0].decode("latin-1").upper(), b" ".join(words[:2]).decode("latin-1").upper()}
    if reply[0] in "$=" and reply[1] is not None and names & RAW:
        text = reply[1] if reply[0] == "$" else reply[1][4:]
        return text.decode("latin-1").replace("\r\n", "\n").rstrip("\n")
    return show(reply)


LIFETIMES = {b"TTL", b"HTTL", b"PTTL", b"HPTTL"}


def younger(pattern, text):
    """The page's lifetimes where those of the server are at most a minute shorter: machines may be slow."""
    wanted, found = (re.findall(r"\(integer\) (-?\d+)", part) for part in (pattern, text))
    near = len(wanted) == len(found) and all(int(w) - 60 < int(f) <= int(w) for w, f in zip(wanted, found))
    return pattern if near else text


def fits(pattern, text):
    parts = [re.escape(part) for part in "\n".join(line.rstrip() for line in pattern).split("...")]
    text = "\n".join(line.rstrip() for line in text.split("\n"))
    return re.fullmatch(".*".join(parts), text, re.S) is not None


# --- one example ----------------------------------------------------------------------------------

STEP = re.compile(r"^(?:([A-Z])?> ?(.*)|([A-Z])<)$")


def steps_of(lines):
    """[(line, connection, words or None to read on, reply lines)]"""
    steps = []
    for line in lines:
        match = STEP.match(line)
        if match:
            steps.append((line, match.group(1) or match.group(3) or "A", match.group(2), []))
        else:
            steps[-1][3].append(line)
    return steps


class Run:
    """The connections of one example."""

    def __init__(self, server):
        self.server = server
        self.clients = {}
        self.numbers = {}
        self.sent = {}

    def client(self, name):
        if name not in self.clients:
            self.clients[name] = Client(self.server.port)
            self.numbers[name] = self.clients[name].call("CLIENT", "ID")
        return self.clients[name]

    def read(self, name):
        try:
            return show_reply(self.sent.get(name, [b""]), self.client(name).read())
        except ConnectionError:
            return "(closed)"

    def wait_until_waiting(self, name):
        deadline, watch = time.monotonic() + WAIT_SECONDS, Client(self.server.port)
        while time.monotonic() < deadline:
            line = watch.call("CLIENT", "LIST", "ID", self.numbers[name]).decode()
            if "b" in re.search(r" flags=(\S*)", line).group(1):
                watch.close()
                return "(waits)"
            time.sleep(0.005)
        return "(does not wait)"

    def step(self, name, command, expected):
        client = self.client(name)
        if command is not None:
            command = re.sub(r"\$([A-Z])\b", lambda m: str(self.numbers[m.group(1)]), command)
            self.sent[name] = split_words(command)
            client.send(*self.sent[name])
        if expected == ["(waits)"]:
            return self.wait_until_waiting(name)
        reply = "(nothing)" if expected == ["(nothing)"] else self.read(name)
        if command in ("SHUTDOWN", "DEBUG SEGFAULT", "DEBUG PANIC") and reply == "(closed)":
            self.server.process.wait(WAIT_SECONDS)
            self.server.crash_is_asked = command != "SHUTDOWN"
        return reply

    def close(self):
        for client in self.clients.values():
            client.close()


def run_example(server, example):
    """(faults, lines with the replies of the server)."""
    run, faults, recorded = Run(server), [], []
    for line, name, command, expected in steps_of(example.lines):
        got = run.step(name, command, expected)
        if run.sent[name][0].upper() in LIFETIMES:
            got = younger("\n".join(expected), got)
        if not fits(expected, got):
            faults.append("%s\n  the page:\n%s\n  the server:\n%s" % (
                line, "\n".join("    " + e for e in expected), "\n".join("    " + g for g in got.split("\n"))))
        keep = any("..." in e for e in expected)
        recorded += [line] + (expected if keep else [g.rstrip() for g in got.split("\n")])
    run.close()
    return faults, recorded


def reset(server):
    """As a server that has just begun; one that an example has ended is started again."""
    deadline = time.monotonic() + WAIT_SECONDS
    while server.alive():
        try:
            client = Client(server.port)
            client.pipeline([("FLUSHALL",), ("SCRIPT", "FLUSH"), ("FUNCTION", "FLUSH"), ("SLOWLOG", "RESET"),
                             ("ACL", "LOG", "RESET"), ("LATENCY", "RESET"), ("CONFIG", "RESETSTAT")])
            for user in client.call("ACL", "USERS"):
                if user != b"default":
                    client.call("ACL", "DELUSER", user)
            client.close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
    server.stop()
    server.start()


def make_server(kind):
    directory = temp_dir()
    users = os.path.join(directory, "users.acl")
    config = os.path.join(directory, "server.conf")
    with open(users, "w") as f:
        f.write("user default on nopass sanitize-payload ~* &* +@all\n")
    with open(config, "w") as f:
        f.write("aclfile %s\n" % users)
    server = Server(kind, directory=directory, durability="interval")
    server.extra = ["--enable-debug-command", "yes"] if kind == "holdfast" else []
    arguments = server.arguments
    server.arguments = lambda port: [arguments(port)[0], config] + arguments(port)[1:]
    return server


# --- all of them ----------------------------------------------------------------------------------

def check_complete(pages, examples):
    """Each row has an example, each example a row; the pages are what the tool writes."""
    faults = []
    rows = {row.name: row for row in pages.all_rows()}
    for name, row in rows.items():
        if name not in examples and (not row.is_container or name == "COMMAND"):
            faults.append("%s has no example in docs/commands/examples" % name)
    for name, example in examples.items():
        if name not in rows:
            faults.append("%s: there is no command %s" % (example.source, name))
        elif bool(example.reason) == bool(example.lines):
            faults.append("%s: %s needs either an example or a reason" % (example.source, name))
        elif example.lines and not any(name in line.upper() for line in example.lines if STEP.match(line)):
            faults.append("%s: the example does not use %s" % (example.source, name))
    reasons = [name for name, example in examples.items() if example.reason]
    if len(reasons) > 8:
        faults.append("too many commands without an example: " + ", ".join(reasons))
    faults += ["docs/commands/%s is out of date: run tools/command-pages" % name for name in pages.stale_pages()]
    return faults


def record(pages, replies):
    for file in sorted(os.listdir(pages.EXAMPLES)):
        path, out, skip = os.path.join(pages.EXAMPLES, file), [], False
        with open(path) as f:
            lines = f.read().split("\n")
        for line in lines:
            if line.startswith("## "):
                skip = line[3:] in replies
                out += [""] * (bool(out) and out[-1] != "") + [line] + (replies[line[3:]] if skip else [])
            elif not skip:
                out.append(line)
        with open(path, "w") as f:
            f.write("\n".join(out).rstrip("\n") + "\n")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*")
    parser.add_argument("--peer", action="store_true")
    parser.add_argument("--record", action="store_true")
    parser.add_argument("--verbose", action="store_true")
    options = parser.parse_args()
    pages = load_pages()
    examples = pages.read_examples()
    faults, ran, replies = [], 0, {}
    with make_server("redis" if options.peer else "holdfast") as server:
        for name, example in examples.items():
            if example.reason or options.names and name not in options.names:
                continue
            reset(server)
            if options.verbose:
                print(name, flush=True)
            found, replies[name] = run_example(server, example)
            if options.peer and (name in PEER_OPTIONS | PEER_WORDS or any(PEER_UNKNOWN.search(f) for f in found)):
                continue
            faults += ["%s (%s): %s" % (name, example.source, fault) for fault in found]
            ran += 1
    if options.record:
        record(pages, replies)
        return
    if not options.names and not options.peer:
        faults += check_complete(pages, examples)
    for fault in faults:
        print(fault)
    print("%d examples, %d faults" % (ran, len(faults)))
    if faults:
        print("repeat: tests/blackbox/examples.py")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
