"""client_words.py -- CLIENT and the other commands about connections and the server, word by word beside redis-server 7.0.15.

Goal:   every subcommand, option and refusal has Redis' reply; CLIENT LIST has its fields, in its order, and those of 7.2 behind them;
        CLIENT KILL ends exactly the connections that its filters name; NO-TOUCH leaves the time of last use alone.
Method: the same words to both servers, replies compared, numbers of five digits and more made equal. What 7.0 does not have (NO-TOUCH,
        MAXAGE, SETINFO) is held against its documentation.
Usage:  client_words.py [check ...]
"""
import re
import sys
import time

from harness import Checks, ReplyError, Server, plain

WORDS = """CLIENT|CLIENT NOPE|CLIENT LIST x|CLIENT LIST TYPE x|CLIENT LIST TYPE|CLIENT LIST ID|CLIENT LIST ID x|CLIENT LIST ID -1
CLIENT LIST ID 0|CLIENT LIST ID 1 x|CLIENT LIST TYPE normal ID 1|CLIENT LIST ID 99999 TYPE normal|CLIENT LIST TYPE master
CLIENT LIST TYPE REPLICA|CLIENT LIST TYPE slave|CLIENT LIST TYPE pubsub|CLIENT LIST TYPE normal x|CLIENT KILL|CLIENT KILL x
CLIENT KILL 1.1.1.1:5|CLIENT KILL ID|CLIENT KILL ID x|CLIENT KILL ID 0|CLIENT KILL ID -1|CLIENT KILL ID 99999|CLIENT KILL TYPE x
CLIENT KILL TYPE master|CLIENT KILL USER nope|CLIENT KILL USER default SKIPME x|CLIENT KILL ADDR x|CLIENT KILL LADDR x
CLIENT KILL SKIPME yes ADDR 1.1.1.1:1|CLIENT KILL SKIPME|CLIENT KILL ID 99999 SKIPME|CLIENT KILL FOO bar|CLIENT KILL ID 99999 FOO
CLIENT KILL ADDR a LADDR b ID 5 TYPE normal USER default SKIPME no|CLIENT NO-EVICT|CLIENT NO-EVICT x|CLIENT NO-EVICT on
CLIENT NO-EVICT OFF|CLIENT REPLY|CLIENT REPLY x|CLIENT REPLY on|CLIENT GETREDIR|CLIENT GETREDIR x|CLIENT TRACKINGINFO
CLIENT TRACKINGINFO x|CLIENT ID x|CLIENT INFO x|CLIENT UNPAUSE|CLIENT UNPAUSE x|CLIENT PAUSE|CLIENT PAUSE x|CLIENT PAUSE -1
CLIENT PAUSE 1 x|CLIENT PAUSE 1 ALL x|CLIENT PAUSE 0|CLIENT PAUSE 99999999999999999999|CLIENT PAUSE 9223372036854775807|CLIENT UNBLOCK
CLIENT UNBLOCK x|CLIENT UNBLOCK 99999|CLIENT UNBLOCK 99999 x|CLIENT UNBLOCK 99999 ERROR|CLIENT UNBLOCK 99999 TIMEOUT x|CLIENT SETNAME
CLIENT SETNAME a|CLIENT GETNAME|CLIENT GETNAME x|CLIENT TRACKING|CLIENT TRACKING x|CLIENT TRACKING on x|CLIENT TRACKING ON REDIRECT
CLIENT TRACKING ON REDIRECT x|CLIENT TRACKING ON REDIRECT 99999|CLIENT TRACKING ON BCAST|CLIENT TRACKINGINFO|CLIENT TRACKING OFF
CLIENT TRACKING ON PREFIX a|CLIENT TRACKING ON BCAST OPTIN|CLIENT TRACKING ON OPTIN OPTOUT|CLIENT TRACKING ON NOLOOP|CLIENT TRACKINGINFO
CLIENT TRACKING OFF|CLIENT CACHING|CLIENT CACHING yes|CLIENT CACHING x|RESET|CLIENT GETNAME|HELLO 3 SETNAME|HELLO 4|HELLO x|AUTH a
AUTH a b c|SUBSCRIBE|PUBSUB x|PUBSUB NUMSUB a|PUBSUB SHARDNUMSUB a|CLIENT KILL TYPE pubsub SKIPME yes|SELECT|ECHO|PING a b|SLOWLOG x
SLOWLOG GET x|SLOWLOG GET -2|SLOWLOG GET 1 2|SLOWLOG LEN x|SLOWLOG RESET x|OBJECT|OBJECT x|OBJECT HELP x|MEMORY x|MEMORY USAGE
MEMORY USAGE k SAMPLES|MEMORY USAGE k SAMPLES -1|MEMORY DOCTOR x|CONFIG x|CONFIG GET|CONFIG SET|CONFIG SET a|CONFIG SET a b|CONFIG SET a b c
CONFIG RESETSTAT x|CONFIG REWRITE x|COMMAND x|COMMAND COUNT x|COMMAND INFO nope|COMMAND GETKEYS|COMMAND GETKEYS x|COMMAND GETKEYS get
COMMAND LIST x|COMMAND LIST FILTERBY x y|LASTSAVE x|TIME x|DBSIZE x|BGSAVE x|SAVE x|MONITOR x|FLUSHALL x|FLUSHDB ASYNC x
ACL x|ACL WHOAMI x|ACL CAT x|ACL GENPASS x|ACL GENPASS 0|ACL LOG x|ACL GETUSER nope|ACL DELUSER default|ACL SETUSER|ACL DRYRUN
ACL DRYRUN nope get a|ACL SAVE|ACL LOAD|ACL LOG RESET x|SWAPDB a b"""


def expect(found, wanted, what):
    if found != wanted:
        raise AssertionError("%s: %r, not %r" % (what, found, wanted))


def check_words(redis, holdfast):
    for resp in (2, 3):
        clients = [server.client(resp=resp) for server in (holdfast, redis)]
        for words in WORDS.replace("\n", "|").split("|"):
            ours, theirs = [re.sub(r"\d{5,}", "N", repr(client.wire(*words.split()))) for client in clients]
            expect(ours, theirs, "RESP%d %s" % (resp, words))
        for client in clients:
            client.close()


def names(line):
    return [part.split(b"=", 1)[0].decode() for part in line.split()]


def check_fields(redis, holdfast):
    lines = []
    for server in (holdfast, redis):
        c = server.client()
        c.call("CLIENT", "SETNAME", "me")
        line = c.call("CLIENT", "INFO")
        found = dict(part.split(b"=", 1) for part in line.split())
        expect((found[b"name"], found[b"flags"], found[b"cmd"], found[b"user"], found[b"resp"]), (b"me", b"N", b"client|info", b"default", b"2"),
               server.kind)
        lines.append(names(line))
        c.close()
    expect(lines[0], lines[1] + ["lib-name", "lib-ver"], "fields")


def closed(client):
    try:
        client.call("PING")
        return False
    except ConnectionError:
        return True


def check_kill(*servers):
    """Which of some connections each filter ends."""
    outcomes = []
    for server in servers:
        admin = server.client()
        admin.call("ACL", "SETUSER", "ann", "on", "nopass", "+@all", "~*", "&*")
        found = []
        for how in ("id", "addr", "user", "pubsub", "old", "two", "none"):
            clients = [server.client() for _ in range(4)]
            ids = [client.call("CLIENT", "ID") for client in clients]
            addresses = ["127.0.0.1:%d" % client.socket.getsockname()[1] for client in clients]
            clients[1].call("AUTH", "ann", "x")
            clients[2].call("SUBSCRIBE", "news")
            words = {"id": ["ID", ids[0]], "addr": ["ADDR", addresses[3]], "user": ["USER", "ann"], "pubsub": ["TYPE", "pubsub"], "old": [addresses[0]],
                     "two": ["USER", "ann", "ID", ids[1]], "none": ["USER", "ann", "ID", ids[0]]}[how]
            reply = plain(admin.wire("CLIENT", "KILL", *words))
            found.append((how, reply, [closed(client) for client in clients]))
            for client in clients:
                client.close()
        admin.call("ACL", "DELUSER", "ann")
        me = admin.call("CLIENT", "ID")
        found.append(plain(admin.wire("CLIENT", "KILL", "ID", me)))
        found.append(plain(admin.wire("CLIENT", "KILL", "ID", me, "SKIPME", "no")))
        found.append(closed(admin))
        outcomes.append(found)
    expect(outcomes[1], outcomes[0], "killed")


def check_own(redis, holdfast):
    """7.2 and later."""
    c = holdfast.client()
    expect(plain(c.wire("CLIENT", "NO-TOUCH", "x")), ReplyError("ERR syntax error"), "NO-TOUCH x")
    c.call("CLIENT", "SETINFO", "LIB-NAME", "tester")
    c.call("CLIENT", "SETINFO", "lib-ver", "1.2")
    assert c.call("CLIENT", "INFO").endswith(b" lib-name=tester lib-ver=1.2\n")
    expect(plain(c.wire("CLIENT", "SETINFO", "x", "y")), ReplyError("ERR Unrecognized option 'x'"), "SETINFO")
    expect(plain(c.wire("CLIENT", "KILL", "MAXAGE", "x")), ReplyError("ERR maxage should be greater than 0"), "MAXAGE x")
    expect(c.call("CLIENT", "KILL", "MAXAGE", 100000), 0, "MAXAGE")
    c.call("SET", "k", "v")
    deadline = time.monotonic() + 30
    while c.call("OBJECT", "IDLETIME", "k") < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    c.call("CLIENT", "NO-TOUCH", "ON")
    c.call("GET", "k")
    assert c.call("OBJECT", "IDLETIME", "k") >= 2, "a read with NO-TOUCH"
    c.call("TOUCH", "k")
    assert c.call("OBJECT", "IDLETIME", "k") < 2, "TOUCH itself"
    c.close()


def main():
    checks = Checks("client_words")
    with Server("redis") as redis, Server("holdfast") as holdfast:
        checks.run((check_words, check_fields, check_kill, check_own), redis, holdfast)
    return checks.end()


if __name__ == "__main__":
    sys.exit(main())
