#!/usr/bin/env python3
"""docs.py [check ...]: COMMAND DOCS and COMMAND INFO tell what redis-server's do.

Goal:   programs generate clients and hints from COMMAND DOCS, so its facts are Redis' own: names, types, tokens, flags, key
        specs and nesting of arguments, groups, versions, what is deprecated. Sentences are ours.
        And clients of clusters find keys by COMMAND INFO: arity, flags, positions, categories, tips, key specs.
Method: both servers are asked for all commands, in RESP2 and RESP3, and the wire replies compared field by field, in order.
        What came after Redis 7.0 says so (`since`), and is left out of the comparison; so is what Redis has not (since 0.x).
Always: DIFFERENCES, INFO_DIFFERENCES and ABSENT hold all that differs, with the reason; an entry that no longer differs is an error.
"""
import subprocess
import sys

from harness import REPLY_SECONDS, Checks, Server

PEER = (7, 0, 99)               # nothing newer is known to the peer

ABSENT = {
    "module|load": "there are no modules", "module|loadex": "there are no modules", "module|unload": "there are no modules",
}
DIFFERENCES = {
    "command|getkeys": "the words of the command, which Redis 7.0 leaves out",
    "command|getkeysandflags": "as COMMAND GETKEYS",
}
INFO_FIELDS = ("name", "arity", "flags", "first", "last", "step", "categories", "tips", "specs")
INFO_DIFFERENCES = {
    "acl|deluser": "tips: came with 7.2", "acl|load": "tips: came with 7.2", "acl|save": "tips: came with 7.2",
    "acl|setuser": "tips: came with 7.2",
    "multi": "arity: STRICT",
    "wait": "flags: 7.2 says that it blocks",
    "zrank": "arity: WITHSCORE came with 7.2", "zrevrank": "arity: WITHSCORE came with 7.2",
}
NO_COST = {"debug", "lolwut", "monitor", "sync", "psync", "pfdebug", "pfselftest", "replconf"}     # the peer gives none


def expect(found, wanted, what):
    assert found == wanted, "%s: %s, not %s" % (what, found, wanted)


def pairs(reply):
    """Of a map, or of the flat list that RESP2 has for one."""
    kind, items = reply
    assert kind in "%*", reply
    return list(zip(items[::2], items[1::2]))


def text(reply):
    return reply[1].decode()


def fields(reply):
    return [(text(name), value) for name, value in pairs(reply)]


def version(word):
    return tuple(int(part) for part in word.split("."))


def is_newer(reply):
    """What the peer cannot know."""
    since = dict(fields(reply)).get("since")
    return since is not None and not (1, 0, 0) <= version(text(since)) <= PEER


def known(arguments):
    """The arguments without newer ones, as nested lists."""
    result = []
    for argument in arguments[1]:
        if is_newer(argument):
            continue
        result.append([(name, known(value) if name == "arguments" else value) for name, value in fields(argument)])
    return result


def history(reply):
    """The kind of reply, and the versions that the peer can know."""
    versions = [(entry[0], text(entry[1][0])) for entry in reply[1]]
    return reply[0], [v for v in versions if version(v[1]) <= PEER]


def replacement(reply):
    """The command: its words are in capitals."""
    words = []
    for word in text(reply).replace("`", "").split():
        if not word.isupper():
            break
        words.append(word)
    return " ".join(words)


def facts(name, reply):
    """Names of fields in their order, and the value of each that is a fact."""
    result = []
    for field, value in fields(reply):
        if field in ("summary", "complexity"):
            expect(len(value[1]) > 0, True, "%s has a %s" % (name, field))
            value = value[0]
            if field == "complexity" and name in NO_COST:
                continue
        elif field == "arguments":
            value = known(value)
            if not value:
                continue
        elif field == "history":
            value = history(value)
            if not value[1]:
                continue
        elif field == "replaced_by":
            value = replacement(value)
        elif field == "subcommands":
            value = value[0]
        result.append((field, value))
    return result


def flat(docs):
    """Name -> docs, subcommands too."""
    result = {}
    for name, reply in pairs(docs):
        result[text(name)] = reply
        for field, value in fields(reply):
            if field == "subcommands":
                result.update(flat(value))
    return result


def check_facts_are_those_of_the_peer(ours, peer):
    for resp in (2, 3):
        mine, theirs = (flat(s.client(resp).wire("COMMAND", "DOCS")) for s in (ours, peer))
        absent = {name for name in theirs if name not in mine}
        expect(absent, set(ABSENT), "commands that only the peer has")
        differing = set()
        for name in sorted(set(mine) & set(theirs)):
            a, b = facts(name, mine[name]), facts(name, theirs[name])
            if a != b:
                differing.add(name)
                if name not in DIFFERENCES:
                    raise AssertionError("%s, RESP%d:\n  ours   %s\n  peer's %s" % (name, resp, a, b))
        expect(differing, set(DIFFERENCES), "commands whose docs differ")


def check_what_the_peer_has_not_says_so(ours, peer):
    mine, theirs = (flat(s.client(3).wire("COMMAND", "DOCS")) for s in (ours, peer))
    for name in set(mine) - set(theirs):
        expect(is_newer(mine[name]), True, "%s came after the peer" % name)


def reply_of_absent(client):
    return client.wire("COMMAND", "DOCS", "nosuch", "get|nosuch")


def check_names_are_looked_up(ours, peer):
    for resp in (2, 3):
        a, b = (s.client(resp) for s in (ours, peer))
        expect(reply_of_absent(a), reply_of_absent(b), "unknown names")
        for words in (["GET"], ["get", "nosuch", "Set"], ["CONFIG|GET"], ["get", "get"]):
            mine, theirs = (pairs(c.wire("COMMAND", "DOCS", *words)) for c in (a, b))
            expect([name for name, _ in mine], [name for name, _ in theirs], "names of %s" % words)


def info_facts(row):
    """All but the subcommands; notes are sentences."""
    row = list(row[1][:len(INFO_FIELDS)])
    specs = []
    for spec in row[-1][1]:
        named = fields(spec)
        specs.append([(field, value) for field, value in named if field != "notes"] + [any(field == "notes" for field, _ in named)])
    return dict(zip(INFO_FIELDS, row[:-1] + [specs]))


def infos(rows):
    """Name -> row, subcommands too."""
    result = {}
    for row in rows[1]:
        result[text(row[1][0])] = row
        result.update(infos(row[1][-1]))
    return result


def check_info_is_that_of_the_peer(ours, peer):
    for resp in (2, 3):
        mine, theirs = (infos(s.client(resp).wire("COMMAND")) for s in (ours, peer))
        differing = set()
        for name in sorted(set(mine) & set(theirs)):
            a, b = info_facts(mine[name]), info_facts(theirs[name])
            fields_that_differ = [field for field in INFO_FIELDS if a[field] != b[field]]
            if fields_that_differ:
                differing.add(name)
                expect(fields_that_differ, [INFO_DIFFERENCES.get(name, "none").split(":")[0]], "fields of %s in RESP%d, ours %s, peer's %s" % (
                    name, resp, [a[f] for f in fields_that_differ], [b[f] for f in fields_that_differ]))
        expect(differing, set(INFO_DIFFERENCES), "commands whose INFO differs")


def check_key_specs_exist(ours, peer):
    """Each key_spec_index is one of the specs that COMMAND INFO tells."""
    client = ours.client(3)
    for name, reply in flat(client.wire("COMMAND", "DOCS")).items():
        arguments = dict(fields(reply)).get("arguments")
        if not arguments:
            continue
        specs = len(client.wire("COMMAND", "INFO", name)[1][0][1][8][1])
        used = set(spec_numbers(arguments))
        expect(all(0 <= n < specs for n in used), True, "%s has %d key specs, docs name %s" % (name, specs, used))


def spec_numbers(arguments):
    for argument in arguments[1]:
        for field, value in fields(argument):
            if field == "key_spec_index":
                yield value[1]
            elif field == "arguments":
                yield from spec_numbers(value)


def check_redis_cli_shows_them(ours, peer):
    """redis-cli makes its help of COMMAND DOCS."""
    for words in (["SET"], ["GEOSEARCH"], ["XPENDING"], ["SORT"], ["BITFIELD"]):
        mine, theirs = (subprocess.run(["redis-cli", "-p", str(s.port), "HELP"] + words, capture_output=True, text=True,
                                       timeout=REPLY_SECONDS).stdout for s in (ours, peer))
        mine, theirs = ([line for line in out.splitlines() if line.strip()] for out in (mine, theirs))
        expect(mine[0], theirs[0], "HELP %s" % " ".join(words))


def main():
    checks = Checks("docs")
    with Server("holdfast") as ours, Server("redis") as peer:
        checks.run((check_facts_are_those_of_the_peer, check_info_is_that_of_the_peer, check_what_the_peer_has_not_says_so, check_names_are_looked_up,
                    check_key_specs_exist, check_redis_cli_shows_them), ours, peer)
    return checks.end()


if __name__ == "__main__":
    sys.exit(main())
