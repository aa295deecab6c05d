"""long_script.py -- a script that takes long holds up nobody but those who need its keys.

Goal:   while a script loops, connections of the same worker are served; beyond busy-reply-threshold commands answer BUSY, as
        in Redis, on all workers; SCRIPT KILL ends the script from any connection and undoes what it wrote; SHUTDOWN works.
        Messages and invalidations reach others meanwhile, and the script's own connection around its reply.
Method: one worker (nobody else could serve) and two, writes that wait for the disk and such that do not; a script is known to run when another connection sees that it can be
        killed, never by a sleep.
"""
import select
import sys
import time
from hashlib import sha1

import redis

from harness import Server, plain, redis_options

LOOP = "redis.call('set',KEYS[1],'half') redis.call('incr','undeclared') while true do end"
PATIENCE = 60


def eventually(what, condition):
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if condition():
            return
        time.sleep(0.01)
    raise SystemExit("never: " + what)


def error_of(call):
    try:
        return "no error: %r" % (call(),)
    except redis.ResponseError as e:
        return "%s %s" % (type(e).__name__, e)


def expect(what, got, wanted):
    if wanted not in str(got):
        raise SystemExit("%s: %r, not %r" % (what, got, wanted))


class Loop:
    """A connection whose script runs."""

    def __init__(self, server, *words):
        self.connection = redis.Redis(**redis_options(server.port), socket_timeout=PATIENCE).connection_pool.make_connection()
        self.connection.connect()
        self.connection.send_command(*words)

    def end(self):
        try:
            return self.connection.read_response()
        except redis.ResponseError as e:
            return e


def runs(client):
    stats = client.execute_command("FUNCTION", "STATS")
    return stats[1] is not None


def before_threshold(server):
    """The threshold is far away: ordinary commands run; those that need the script's keys wait."""
    client = redis.Redis(**redis_options(server.port), socket_timeout=PATIENCE)
    client.config_set("busy-reply-threshold", 0)
    client.set("k", "whole")
    client.set("other", "1")
    watchers = [redis.Redis(**redis_options(server.port), socket_timeout=PATIENCE, single_connection_client=True) for _ in range(12)]
    for watcher in watchers: # enough of them to be on every worker
        watcher.execute_command("WATCH", "k", "free")
    listener = redis.Redis(**redis_options(server.port), socket_timeout=PATIENCE).pubsub()
    listener.subscribe("news")
    listener.get_message(timeout=PATIENCE)
    blocked = [Loop(server, "BLPOP", "k2", "undeclared", "0") for _ in range(8)]
    eventually("all are waiting", lambda: client.info("clients")["blocked_clients"] == len(blocked))
    loop = Loop(server, "EVAL", LOOP, "1", "k")
    eventually("the script runs", lambda: runs(client))
    for i in range(50):
        expect("INCR beside a script", client.incr("other"), str(i + 2))
    expect("new connection", redis.Redis(**redis_options(server.port), socket_timeout=PATIENCE).ping(), "True")
    client.publish("news", "hello")
    waiting = Loop(server, "GET", "k")
    everything = [Loop(server, *words) for words in (("DBSIZE",), ("KEYS", "*"), ("RANDOMKEY",), ("INFO",)) for _ in range(4)]
    unwatch = Loop(server, "UNWATCH")
    leaver = Loop(server, "GET", "k")
    leaver.connection.disconnect()
    for one in blocked:
        one.connection.disconnect()
    for number, watcher in enumerate(watchers): # they let go of a key that the script holds, and nobody waits for it
        if number % 4 == 0:
            expect("UNWATCH", watcher.execute_command("UNWATCH"), "True")
        elif number % 4 == 1:
            watcher.execute_command("MULTI")
            expect("DISCARD", watcher.execute_command("DISCARD"), "OK")
        elif number % 4 == 2:
            expect("RESET", watcher.execute_command("RESET"), "RESET")
        else:
            watcher.connection.disconnect()
    for watcher in watchers:
        if watcher.connection._sock:
            expect("WATCH again", watcher.execute_command("WATCH", "elsewhere"), "True")
            watcher.connection.disconnect()
    expect("still served", client.incr("other"), "52")
    expect("UNWATCH without watches", unwatch.end(), "OK")
    expect("SCRIPT KILL", client.execute_command("SCRIPT", "KILL"), "OK")
    expect("the script's own reply", loop.end(), "Script killed by user with SCRIPT KILL... script: %s, on @user_script:1." % sha1(LOOP.encode()).hexdigest())
    expect("what it wrote is undone", waiting.end(), "whole")
    for one in everything:
        one.end()
    expect("an undeclared key, too", client.exists("undeclared"), "0")
    expect("a message sent meanwhile", listener.get_message(timeout=PATIENCE), "hello")
    expect("nothing to kill", error_of(lambda: client.execute_command("SCRIPT", "KILL")), "No scripts in execution")
    listener.close()


def beyond_threshold(server):
    client = redis.Redis(**redis_options(server.port), socket_timeout=PATIENCE, single_connection_client=True)
    client.config_set("lua-time-limit", 10)
    expect("one setting, two names", client.config_get("busy-reply-threshold"), "'10'")
    second = redis.Redis(**redis_options(server.port), socket_timeout=PATIENCE, single_connection_client=True)
    second.execute_command("MULTI")
    second.execute_command("INCR", "x")
    loop = Loop(server, "EVAL", LOOP, "1", "k")
    eventually("BUSY", lambda: "BUSY" in error_of(lambda: client.execute_command("PING")))
    expect("GET", error_of(lambda: client.get("elsewhere")), "You can only call SCRIPT KILL or SHUTDOWN NOSAVE")
    expect("a queued command", error_of(lambda: second.execute_command("INCR", "x")), "Redis is busy")
    expect("SHUTDOWN SAVE", error_of(lambda: client.execute_command("SHUTDOWN", "SAVE")), "You can only call SCRIPT KILL or SHUTDOWN NOSAVE")
    expect("EXEC", error_of(lambda: second.execute_command("EXEC")), "Transaction discarded because of: BUSY")
    expect("MULTI is allowed", client.execute_command("MULTI"), "OK")
    expect("DISCARD is allowed", client.execute_command("DISCARD"), "OK")
    expect("WATCH is allowed", client.execute_command("WATCH", "free"), "True")
    expect("FUNCTION KILL", error_of(lambda: client.execute_command("FUNCTION", "KILL")), "You can only call SCRIPT KILL")
    expect("FUNCTION STATS", client.execute_command("FUNCTION", "STATS")[1] is not None, "True")
    expect("SCRIPT KILL", client.execute_command("SCRIPT", "KILL"), "OK")
    expect("killed", loop.end(), "Script killed")
    eventually("PING again", lambda: "no error" in error_of(lambda: client.execute_command("PING")))
    expect("undone", client.get("k"), "whole")
    client.config_set("lua-time-limit", 5000)


def equal(what, got, wanted):
    if got != wanted:
        raise SystemExit("%s: %r, not %r" % (what, got, wanted))


def all_until_now(client):
    """What arrives before the answer to a PING."""
    client.send("PING", "mark")
    seen = [plain(client.read())]
    while seen[-1] != b"mark":
        seen.append(plain(client.read()))
    return seen[:-1]


class Audience:
    """Connections on every worker that are told of the channel "news" and of the key "shared"."""

    def __init__(self, server):
        self.listeners, self.caches, self.told, self.readers = ([server.client(resp=resp) for _ in range(4)] for resp in (3, 3, 2, 2))
        for listener in self.listeners:
            listener.call("SUBSCRIBE", "news")
        for cache in self.caches:
            cache.call("CLIENT", "TRACKING", "on")
        for told, reader in zip(self.told, self.readers):
            reader.call("CLIENT", "TRACKING", "on", "REDIRECT", told.call("CLIENT", "ID"))
            told.call("SUBSCRIBE", "__redis__:invalidate")
        for reader in self.caches + self.readers:
            reader.call("GET", "shared")

    def hears(self, client, number):
        """At once; who caches, before any reply that shows what came after the change."""
        client.set("shared", number)
        for cache in self.caches:
            cache.send("GET", "shared")
            equal("told before the reply", [plain(cache.read()), plain(cache.read())], [[b"invalidate", [b"shared"]], number])
        for told, reader in zip(self.told, self.readers):
            equal("redirected", plain(told.read()), [b"message", b"__redis__:invalidate", [b"shared"]])
            equal("GET", reader.call("GET", "shared"), number)
        client.publish("news", number)
        for listener in self.listeners:
            equal("a message", plain(listener.read()), [b"message", b"news", number])

    def leaves(self):
        for one in self.listeners + self.caches + self.readers:
            equal("told once", all_until_now(one), [])
        for one in self.listeners + self.caches + self.told + self.readers:
            one.close()


def messages(server):
    """Everybody is told at once but the script's own connection, which is told around its reply."""
    client = redis.Redis(**redis_options(server.port), socket_timeout=PATIENCE, single_connection_client=True)
    client.config_set("busy-reply-threshold", 0)
    invalidation, heard = [b"invalidate", [b"shared"]], [[b"message", b"news", b"%d" % n] for n in range(3)]
    for caches in (False, True):
        audience, busy = Audience(server), server.client(resp=3)
        busy.call("SUBSCRIBE", "news")
        if caches:
            busy.call("CLIENT", "TRACKING", "on")
            busy.call("GET", "shared")
        busy.send("EVAL", "while true do end", "0")
        eventually("the script runs", lambda: runs(client))
        for number in range(3):
            audience.hears(client, b"%d" % number)
        equal("it still runs, and is told nothing", [runs(client), select.select([busy.socket], [], [], 0)[0]], [True, []])
        client.execute_command("SCRIPT", "KILL")
        seen = [one if isinstance(one, list) else "reply" for one in all_until_now(busy)]
        equal("around its reply", seen, [invalidation] + heard + ["reply", invalidation] if caches else ["reply"] + heard)
        audience.leaves()
        busy.close()


def users_change(server):
    """A script goes on as the user that it has begun as; who may hear no more afterwards hears nothing that came meanwhile."""
    client = redis.Redis(**redis_options(server.port), socket_timeout=PATIENCE, single_connection_client=True)
    for rule in ("-flushall", "resetchannels"):
        other, busy = server.client(), server.client(resp=3) # of two workers: a script's own worker changes no users
        listener = server.client(resp=3)
        other.call("ACL", "SETUSER", "u", "reset", "on", "nopass", "+@all", "~*", "resetchannels", "&news")
        busy.call("AUTH", "u", "x")
        for one in (busy, listener):
            one.call("SUBSCRIBE", "news")
        other.call("ACL", "SETUSER", "u", "-flushdb") # the script begins as this one, which nobody else holds
        busy.send("EVAL", "while true do redis.call('get', 'k') end", "1", "k")
        eventually("the script runs", lambda: runs(client))
        other.call("ACL", "SETUSER", "u", rule)
        other.call("PUBLISH", "news", "late")
        equal("another one hears", plain(listener.read()), [b"message", b"news", b"late"])
        client.execute_command("SCRIPT", "KILL")
        try:
            seen = all_until_now(busy)[1:]
        except ConnectionError:
            seen = "closed"
        equal("it hears", seen, "closed" if rule == "resetchannels" else [[b"message", b"news", b"late"]])
        for one in (other, busy, listener):
            one.close()
    client.execute_command("ACL", "DELUSER", "u")


def is_closed_meanwhile(server):
    """What a transaction subscribes to behind its script, when its connection has been killed, is heard by nobody."""
    client = redis.Redis(**redis_options(server.port), socket_timeout=PATIENCE, single_connection_client=True)
    other, busy = server.client(), server.client(resp=3) # of two workers: a script's own worker kills no connections
    number = busy.call("CLIENT", "ID")
    busy.call("SUBSCRIBE", "news")
    busy.call("CLIENT", "TRACKING", "on", "BCAST")
    for words in (["MULTI"], ["EVAL", "while true do end", "0"], ["SUBSCRIBE", "gone"], ["CLIENT", "TRACKING", "on", "BCAST"]):
        busy.call(*words)
    busy.send("EXEC")
    eventually("the script runs", lambda: runs(client))
    client.publish("news", "1")
    equal("killed", other.call("CLIENT", "KILL", "ID", number), 1)
    eventually("it is gone", lambda: client.publish("news", "2") == 0)
    client.execute_command("SCRIPT", "KILL")
    eventually("the script has ended", lambda: not runs(client))
    equal("nobody is told", [client.publish("gone", "3"), client.set("shared", "4"), client.info("clients")["tracking_clients"]], [0, True, 0])
    busy.close()
    other.close()


def stops(server):
    """A server that is told to stop ends the script."""
    client = redis.Redis(**redis_options(server.port), socket_timeout=PATIENCE, single_connection_client=True)
    Loop(server, "EVAL", "while true do end", "0")
    eventually("the script runs", lambda: runs(client))
    try:
        client.execute_command("SHUTDOWN", "NOSAVE")
    except redis.ConnectionError:
        pass
    server.process.wait(PATIENCE)


def main():
    for workers, durability in ((1, "none"), (1, "commit"), (2, "commit")):
        server = Server("holdfast", workers=workers, durability=durability)
        server.start()
        before_threshold(server)
        beyond_threshold(server)
        messages(server)
        if workers == 2:
            users_change(server)
            is_closed_meanwhile(server)
        stops(server)
        print("ok: %d worker(s), %s" % (workers, durability), flush=True)


if __name__ == "__main__":
    sys.exit(main())
