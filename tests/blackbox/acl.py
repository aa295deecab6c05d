"""acl.py -- users: the same rules give the same users as in redis-server, and what is not allowed is refused on every way in.

Goal:   rules, ACL GETUSER and ACL LIST, DRYRUN, NOPERM of each command at each of its keys; AUTH and HELLO; users that are changed
        or deleted while connected; scripts, MULTI and SORT; the ACL file, `user` lines and CONFIG REWRITE.
Method: the oracle gets the same random rules (where both describe users alike: it orders commands its own way once categories are mixed,
        so those are compared by what DRYRUN answers); the rest is asked of holdfast alone.
Usage:  acl.py [--rounds N] [--seed N]
"""
import argparse
import os
import random
import sys
import time

from harness import ReplyError, Server, plain, temp_dir

WAIT_SECONDS = 30


def expect(found, wanted, what):
    if found != wanted:
        raise AssertionError("%s: %.1000r, not %.1000r" % (what, found, wanted))


def refused(client, words, begin, what=""):
    reply = client.wire(*words)
    if reply[0] != "-" or not reply[1].startswith(begin):
        raise AssertionError("%s %r: %r, not -%s" % (what, words, reply, begin.decode()))


def until_closed(client):
    """The server ends this connection, soon."""
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        try:
            client.call("PING")
        except ReplyError:
            pass
        except (OSError, EOFError, ConnectionError):
            return
        time.sleep(0.01)
    raise AssertionError("the connection is still open")


# --- the same rules, the same users ------------------------------------------------------------------

PLAIN_RULES = ["on", "off", "nopass", "resetpass", ">one", ">two", "<one", "<three", "#" + "ab" * 32, "!" + "ab" * 32, "#short",
               "~a*", "~b", "%R~r*", "%W~w*", "%RW~b", "%r~x", "%RR~x", "%~x", "%R", "allkeys", "~*", "resetkeys", "&ch*", "&news",
               "allchannels", "&*", "resetchannels", "+get", "-get", "+set", "+config|get", "+config|nosuch", "-config|get", "+select|0", "+select|1",
               "+get|key", "allcommands", "nocommands", "+@all", "-@all", "sanitize-payload", "skip-sanitize-payload", "reset", "clearselectors",
               "(+get ~sel*)", "(%R~x +@all -get)", "(+set", "~y)", "(&ch -@all)", "()", "bogus", "", "+nosuch", "+@nosuch", "(on)", "+GET", "ON", "~",
               "+hset", "-hset", "+acl|whoami", "+memory", "-select", "+select"]


def same_rules(ours, theirs, rng, rounds):
    """Sign by sign: what the oracle refuses is refused with its words, and the users look alike."""
    for n in range(rounds):
        for server in (ours, theirs):
            server.call("ACL", "DELUSER", "u")
        for _ in range(rng.randint(1, 4)):
            rules = [rng.choice(PLAIN_RULES) for _ in range(rng.randint(1, 6))]
            mine, his = (server.wire("ACL", "SETUSER", "u", *rules) for server in (ours, theirs))
            expect(mine, his, "round %d, rules %r" % (n, rules))
        mine, his = (server.wire("ACL", "GETUSER", "u") for server in (ours, theirs))
        compare_users(plain(mine), plain(his), "round %d, last rules %r" % (n, rules))
        same_answers(ours, theirs, rng, "round %d, last rules %r" % (n, rules))


def compare_users(mine, his, what):
    """All but the commands, which are written in another order."""
    if his is None or mine is None:
        expect(mine, his, what)
        return
    mine, his = dict(zip(mine[::2], mine[1::2])), dict(zip(his[::2], his[1::2]))
    for field in (b"flags", b"passwords", b"keys", b"channels"):
        expect(mine[field], his[field], "%s: %s" % (what, field.decode()))
    expect(len(mine[b"selectors"]), len(his[b"selectors"]), what + ": selectors")
    for a, b in zip(mine[b"selectors"], his[b"selectors"]):
        a, b = dict(zip(a[::2], a[1::2])), dict(zip(b[::2], b[1::2]))
        for field in (b"keys", b"channels"):
            expect(a[field], b[field], "%s: selector's %s" % (what, field.decode()))


TRIED = [("GET", "a1"), ("GET", "b"), ("GET", "r1"), ("SET", "w1", "v"), ("SET", "a1", "v"), ("SET", "b", "v", "GET"), ("SELECT", "0"), ("SELECT", "7"),
         ("CONFIG", "GET", "x"), ("CONFIG", "SET", "x", "y"), ("HSET", "a", "f", "v"), ("HGET", "r", "f"), ("PUBLISH", "news", "m"),
         ("PUBLISH", "chat", "m"), ("SUBSCRIBE", "ch1", "other"), ("PSUBSCRIBE", "ch*"), ("PSUBSCRIBE", "c*"), ("MGET", "a", "b", "c"),
         ("COPY", "r1", "w1"), ("COPY", "w1", "r1"), ("RENAME", "b", "a"), ("ACL", "WHOAMI"), ("ACL", "LIST"), ("PING",), ("AUTH", "x"),
         ("SORT", "r1", "STORE", "w1"), ("EVAL", "x", "2", "a", "q"), ("EVAL_RO", "x", "1", "r1"), ("BITFIELD", "r1", "GET", "u8", "0"),
         ("BITFIELD", "r1", "SET", "u8", "0", "1"), ("XREADGROUP", "GROUP", "g", "c", "STREAMS", "a", "b", "0", "0"), ("ZUNIONSTORE", "w", "2", "r1", "r2"),
         ("LMPOP", "2", "a", "zz", "LEFT"), ("SINTERCARD", "2", "r1", "r2"), ("STRLEN", "w1"), ("EXISTS", "w1", "r1"), ("GEORADIUS", "r1", "1", "1", "1", "M", "STORE", "w1"),
         ("FLUSHALL",), ("KEYS", "*"), ("DBSIZE",), ("MEMORY", "USAGE", "w1"), ("OBJECT", "ENCODING", "zz"), ("WATCH", "r1", "zz"), ("CLIENT", "ID")]


def same_answers(ours, theirs, rng, what):
    if ours.call("ACL", "GETUSER", "u") is None:
        return
    for words in rng.sample(TRIED, 12):
        mine, his = (server.wire("ACL", "DRYRUN", "u", *words) for server in (ours, theirs))
        expect(mine, his, "%s: DRYRUN %r" % (what, words))


def same_categories(ours, theirs):
    """Each category holds the same commands, of those that both have; a user of one category may run the same."""
    expect(ours.call("ACL", "CAT"), theirs.call("ACL", "CAT"), "ACL CAT")
    have = [set(server.call("COMMAND", "LIST")) for server in (ours, theirs)]
    for category in ours.call("ACL", "CAT"):
        both = have[0] & have[1]
        mine, his = (set(server.call("ACL", "CAT", category)) & both for server in (ours, theirs))
        expect(mine ^ his, set(), "category %s" % category.decode())
        expect(set(ours.call("COMMAND", "LIST", "FILTERBY", "ACLCAT", category)) ^ set(ours.call("ACL", "CAT", category)), set(), "COMMAND LIST")
        for rules in (["+@all", b"-@" + category], ["-@all", b"+@" + category]):
            for server in (ours, theirs):
                server.call("ACL", "SETUSER", "c", "reset", *rules)
            mine, his = (server.call("ACL", "LIST") for server in (ours, theirs))
            expect(mine, his, "users after %r" % rules)
    for server in (ours, theirs):
        server.call("ACL", "DELUSER", "c")


# --- each command, at each of its keys -----------------------------------------------------------------

WORDS_OF = {b"EVAL": ["x"], b"EVALSHA": ["x"], b"EVAL_RO": ["x"], b"EVALSHA_RO": ["x"], b"FCALL": ["x"], b"FCALL_RO": ["x"],
            b"XREAD": ["STREAMS", "K", "0"], b"XREADGROUP": ["GROUP", "g", "c", "STREAMS", "K", "0"]}


def words_for(row):
    """Words of a command whose keys are all named, by its row: (words, positions of keys)."""
    name, arity = row[0].upper(), abs(row[1])
    words = name.split(b"|")
    first, last, step = row[3], row[4], row[5]
    size = max(arity, first + 1, (last if last > 0 else 0) + 1)
    if name in (b"XREAD", b"XREADGROUP"):
        tail = WORDS_OF[name]
        return words + tail, [1 + tail.index("K")]
    keyed = [s for s in map(lambda s: dict(zip(s[::2], s[1::2])), row[8])]
    numbered = [s for s in keyed if dict(zip(s[b"find_keys"][::2], s[b"find_keys"][1::2]))[b"type"] == b"keynum"]
    words += ["1"] * (size - len(words))
    positions = list(range(first, (last if last > 0 else len(words) + last) + 1, max(step, 1))) if first else []
    if numbered:
        search = numbered[0][b"begin_search"]
        spec = dict(zip(search[::2], search[1::2]))[b"spec"]
        at = spec[1]
        words += ["1"] * (at + 3 - len(words))
        words[at] = "2"
        positions += [at + 1, at + 2]
    return words, positions


def every_command_at_every_key(server, admin):
    """A user who may use the keys allowed* only: one other key in any place and nothing happens."""
    admin.call("ACL", "SETUSER", "keyed", "on", ">pw", "+@all", "&*", "~allowed*")
    client = server.client()
    client.call("AUTH", "keyed", "pw")
    tried = 0
    for row in flat(admin.call("COMMAND")):
        if not row[8] or row[0] == b"migrate" or b"not_key" in row[8][0][row[8][0].index(b"flags") + 1]:   # shard channels are no keys
            continue
        words, positions = words_for(row)
        if not positions:
            raise AssertionError("no keys found for %r" % row[0])
        for denied in positions:
            asked = list(words)
            for position in positions:
                asked[position] = "other" if position == denied else "allowed%d" % position
            refused(client, asked, b"NOPERM this user has no permissions to access one of the keys", "key at %d" % denied)
            tried += 1
        allowed = [("allowed%d" % n if n in positions else word) for n, word in enumerate(words)]
        if row[0].upper() not in (b"EVAL", b"FCALL"):
            dry = admin.call("ACL", "DRYRUN", "keyed", *allowed)
            expect(dry, b"OK", "DRYRUN %r" % allowed)
    expect(admin.call("EXISTS", "other"), 0, "a denied command has made the key")
    if tried < 200:
        raise AssertionError("only %d places of keys were tried" % tried)
    admin.call("ACL", "DELUSER", "keyed")


def flat(rows):
    for row in rows:
        yield row
        yield from flat(row[9])


# --- who it is, and since when --------------------------------------------------------------------------

def authentication(server, admin):
    admin.call("ACL", "SETUSER", "ann", "on", ">secret", "+@all", "~*", "&*")
    client = server.client()
    refused(client, ("AUTH", "ann", "wrong"), b"WRONGPASS")
    refused(client, ("AUTH", "nobody", "secret"), b"WRONGPASS")
    refused(client, ("HELLO", "3", "AUTH", "ann", "wrong"), b"WRONGPASS")
    client.call("AUTH", "ann", "secret")
    expect(client.call("ACL", "WHOAMI"), b"ann", "WHOAMI")
    if b" user=ann " not in client.call("CLIENT", "INFO"):
        raise AssertionError("CLIENT INFO does not name the user")
    admin.call("ACL", "SETUSER", "ann", "off")
    client.call("PING")  # who is in stays in
    other = server.client()
    refused(other, ("AUTH", "ann", "secret"), b"WRONGPASS")
    entry = admin.call("ACL", "LOG", 1)[0]
    entry = dict(zip(entry[::2], entry[1::2]))
    expect((entry[b"reason"], entry[b"context"], entry[b"username"], entry[b"object"]), (b"auth", b"toplevel", b"ann", b"AUTH"), "ACL LOG")
    expect(admin.call("CLIENT", "KILL", "USER", "ann"), 1, "CLIENT KILL USER")
    until_closed(client)
    refused(admin, ("CLIENT", "KILL", "USER", "nobody"), b"ERR No such user")
    admin.call("ACL", "DELUSER", "ann")


def names(server, admin):
    """The longest name there may be is shown whole, also where a refusal is noted."""
    longest = "n" * 255
    refused(admin, ("ACL", "SETUSER", longest + "n"), b"ERR Usernames can't be longer")
    refused(admin, ("ACL", "SETUSER", "a b"), b"ERR Usernames can't contain spaces")
    admin.call("ACL", "SETUSER", longest, "on", "nopass", "+client")
    client = server.client()
    client.call("AUTH", longest, "")
    client.call("CLIENT", "SETNAME", "c" * 127)
    refused(client, ("GET", "x"), b"NOPERM")
    entry = admin.call("ACL", "LOG", 1)[0]
    line = dict(zip(entry[::2], entry[1::2]))[b"client-info"]
    if (" user=%s " % longest).encode() not in line or (" user=%s " % longest).encode() not in admin.call("CLIENT", "LIST"):
        raise AssertionError("a long name is not shown: %r" % line)
    admin.call("ACL", "DELUSER", longest)


def default_user(server, admin):
    admin.call("CONFIG", "SET", "requirepass", "door")
    fresh = server.client()
    refused(fresh, ("PING",), b"NOAUTH")
    refused(fresh, ("AUTH", "no"), b"WRONGPASS")
    fresh.call("AUTH", "door")
    admin.call("ACL", "SETUSER", "default", ">second")
    server.client().call("AUTH", "second")
    admin.call("ACL", "SETUSER", "default", "-get")
    refused(fresh, ("GET", "a"), b"NOPERM")
    admin.call("ACL", "SETUSER", "default", "reset", "on", "nopass", "~*", "&*", "+@all")
    expect(server.client().call("GET", "a"), None, "without a password again")
    admin.call("CONFIG", "SET", "requirepass", "")


def changes_reach_everybody(server, admin):
    """The next command after SETUSER's answer sees it, on every worker; a name that was made again is another user."""
    admin.call("ACL", "SETUSER", "bob", "on", "nopass", "+@all", "~*", "&*")
    clients = [server.client() for _ in range(8)]
    for client in clients:
        client.call("AUTH", "bob", "")
    for round_ in range(20):
        admin.call("ACL", "SETUSER", "bob", "-get")
        for client in clients:
            refused(client, ("GET", "a"), b"NOPERM", "round %d" % round_)
        admin.call("ACL", "SETUSER", "bob", "+get")
        for client in clients:
            client.call("GET", "a")
    waiting = clients[0]
    waiting.send("BLPOP", "never", "0")
    admin.call("ACL", "DELUSER", "bob")
    admin.call("ACL", "SETUSER", "bob", "on", "nopass", "+@all", "~*", "&*")
    for client in clients[1:]:
        until_closed(client)
    try:
        waiting.read()
        raise AssertionError("a waiting command of a deleted user was answered")
    except (OSError, EOFError, ConnectionError):
        pass
    own = server.client()
    own.call("AUTH", "bob", "")
    expect(own.call("ACL", "DELUSER", "bob"), 1, "DELUSER of oneself")
    until_closed(own)


def listeners(server, admin):
    admin.call("ACL", "SETUSER", "lis", "on", "nopass", "+@all", "resetchannels", "&news*", "&p*")
    stays, goes, patterned = (server.client() for _ in range(3))
    for client in (stays, goes, patterned):
        client.call("AUTH", "lis", "")
    refused(stays, ("SUBSCRIBE", "other"), b"NOPERM this user has no permissions to access one of the channels")
    refused(stays, ("PSUBSCRIBE", "news"), b"NOPERM")
    refused(stays, ("PUBLISH", "other", "x"), b"NOPERM")
    stays.wire("SUBSCRIBE", "news1")
    goes.wire("SUBSCRIBE", "p1")
    patterned.wire("PSUBSCRIBE", "p*")
    admin.call("ACL", "SETUSER", "lis", "resetchannels", "&news1")
    admin.call("PUBLISH", "p1", "too late")
    for client in (goes, patterned):
        try:
            raise AssertionError("a listener that lost its channel got %r" % (client.read(),))
        except (OSError, EOFError, ConnectionError):
            pass
    admin.call("PUBLISH", "news1", "m")
    expect(plain(stays.read()), [b"message", b"news1", b"m"], "who keeps the channel hears it")
    admin.call("ACL", "DELUSER", "lis")


def transactions_and_scripts(server, admin):
    admin.call("ACL", "SETUSER", "tx", "on", "nopass", "+@all", "~a*", "resetchannels", "&c")
    client = server.client()
    client.call("AUTH", "tx", "")
    client.call("MULTI")
    refused(client, ("SET", "b", "1"), b"NOPERM")
    refused(client, ("EXEC",), b"EXECABORT")
    client.call("MULTI")
    client.call("SET", "a1", "1")
    client.call("SET", "a2", "2")
    admin.call("ACL", "SETUSER", "tx", "resetkeys", "~a1")
    replies = plain(client.wire("EXEC"))
    if not isinstance(replies[1], ReplyError) or "ACLs rules changed" not in str(replies[1]):
        raise AssertionError("EXEC after the rules changed: %r" % (replies,))
    expect((admin.call("GET", "a1"), admin.call("GET", "a2")), (b"1", None), "what EXEC did")
    refused(client, ("EVAL", "return redis.call('get', 'a2')", 0), b"ERR The user executing the script can't access at least one of the keys")
    refused(client, ("EVAL", "return redis.call('publish', 'x', 'y')", 0), b"ERR The user executing the script can't publish")
    expect(client.call("EVAL", "return {tostring(redis.acl_check_cmd('get','a1')), tostring(redis.acl_check_cmd('get','b')),"
                               " tostring(redis.acl_check_cmd('config','set','a','b'))}", 0), [b"true", b"false", b"true"], "acl_check_cmd")
    admin.call("ACL", "SETUSER", "tx", "-exec")
    client.call("MULTI")
    refused(client, ("EXEC",), b"EXECABORT Transaction discarded because of: NOPERM")
    refused(client, ("DISCARD",), b"ERR DISCARD without MULTI")
    admin.call("RPUSH", "a1l", 1)
    admin.call("ACL", "SETUSER", "tx", "~a1l")
    expect(client.call("SORT", "a1l"), [b"1"], "SORT")
    refused(client, ("SORT", "a1l", "BY", "w*"), b"ERR BY option of SORT denied")
    refused(client, ("SORT_RO", "a1l", "GET", "#"), b"ERR GET option of SORT denied")
    admin.call("ACL", "DELUSER", "tx")
    admin.call("FLUSHALL")


# --- users on disk ----------------------------------------------------------------------------------------

def files():
    directory = temp_dir()
    path = os.path.join(directory, "users.acl")
    with open(path, "w") as f:
        f.write("user default on nopass ~* &* +@all\n\nuser eve on >pw ~e* resetchannels -@all +get (+set %W~w*)\n")
    with Server(extra=["--aclfile", path]) as server:
        admin = server.client()
        eve = server.client()
        eve.call("AUTH", "eve", "pw")
        refused(eve, ("GET", "x"), b"NOPERM")
        expect(eve.call("SET", "w1", "1"), b"OK", "by the selector")
        admin.call("ACL", "SETUSER", "frank", "on", "nopass", "+@read", "-get")
        before = admin.call("ACL", "LIST")
        admin.call("ACL", "SAVE")
        admin.call("ACL", "SETUSER", "frank", "off")
        admin.call("ACL", "LOAD")
        expect(admin.call("ACL", "LIST"), before, "saved and loaded")
        with open(path, "a") as f:
            f.write("user eve on\nbogus\nuser x +nosuch\n")
        refused(admin, ("ACL", "LOAD"), b"ERR ")
        expect(admin.call("ACL", "LIST"), before, "a bad file changes nothing")
        frank = server.client()
        frank.call("AUTH", "frank", "")
        with open(path, "w") as f:
            f.write("\n".join(line.decode() for line in before) + " -@write\n")
        admin.call("ACL", "LOAD")
        until_closed(frank)     # his rules are others; hers are the same
        expect(eve.call("SET", "w1", "2"), b"OK", "who stays the same stays connected")
        with open(path, "w") as f:
            f.write("user frank on nopass +@all\n")
        admin.call("ACL", "LOAD")
        expect(admin.call("ACL", "USERS"), [b"default", b"frank"], "users")
        until_closed(eve)
    conf = os.path.join(directory, "server.conf")
    with open(conf, "w") as f:
        f.write("# kept\nuser gil on >pw ~g* +get (+set ~s*)\nuser default on nopass ~* &* +@all\n")
    data = os.path.join(directory, "data")
    os.mkdir(data)
    rewritten(conf, data)


FILES = ("user bob on +nosuch\n", "foo bar\n", "user bob on\nuser bob off\n", "user bob #zz <pw +nosuch +nosuch2 #yy\n",
         "user bob +nosuch\nuser ann +nosuch2\nfoo\nuser ann on\n", "user bob on +get\r\n", "\n\nuser bob on ~a ~* ~b\n", "user default off\n")


def bad_files():
    """What is said of them is what redis-server says."""
    directory, said = temp_dir(), []
    path = os.path.join(directory, "users.acl")
    for kind in ("redis", "holdfast"):
        open(path, "w").close()
        with Server(kind, extra=["--aclfile", path]) as server:
            admin = server.client()
            said.append([])
            for text in FILES:
                with open(path, "w") as f:
                    f.write(text)
                said[-1].append((text, admin.wire("ACL", "LOAD")))
    for theirs, ours in zip(*said):
        expect(ours, theirs, "ACL LOAD")


def rewritten(conf, data):
    with ConfigServer(conf, data) as server:
        admin = server.client()
        gil = server.client()
        gil.call("AUTH", "gil", "pw")
        refused(gil, ("GET", "x"), b"NOPERM")
        admin.call("ACL", "SETUSER", "hal", "on", "nopass", "+@all", "-@dangerous", "~h", "%R~r")
        before = admin.call("ACL", "LIST")
        admin.call("CONFIG", "REWRITE")
    with ConfigServer(conf, data) as server:
        expect(server.client().call("ACL", "LIST"), before, "CONFIG REWRITE and a restart")
    lines = open(conf).read()
    if "# kept" not in lines or lines.count("user gil") != 1:
        raise AssertionError("CONFIG REWRITE wrote\n" + lines)


class ConfigServer(Server):
    """A server with a configuration file in front of its flags."""

    def __init__(self, conf, directory):
        super().__init__(directory=directory)
        self.conf = conf

    def arguments(self, port):
        words = super().arguments(port)
        return words[:1] + [self.conf] + words[1:]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=400)
    parser.add_argument("--seed", type=int, default=None)
    arguments = parser.parse_args()
    seed = arguments.seed if arguments.seed is not None else random.randrange(1 << 32)
    rng = random.Random(seed)
    print("acl.py --rounds %d --seed %d" % (arguments.rounds, seed))
    with Server() as ours, Server("redis") as theirs:
        admin, oracle = ours.client(), theirs.client()
        same_categories(admin, oracle)
        same_rules(admin, oracle, rng, arguments.rounds)
        admin.call("ACL", "DELUSER", "u")
        every_command_at_every_key(ours, admin)
        authentication(ours, admin)
        names(ours, admin)
        default_user(ours, admin)
        changes_reach_everybody(ours, admin)
        listeners(ours, admin)
        transactions_and_scripts(ours, admin)
    files()
    bad_files()
    print("acl: rules, keys, changes and files as they should be")
    return 0


if __name__ == "__main__":
    sys.exit(main())
