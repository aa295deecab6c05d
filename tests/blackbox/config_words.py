"""config_words.py -- CONFIG SET word by word beside redis-server 7.0.15.

Goal:   a tool that sets a setting of Redis gets the same answer, and reads back the same value, whether it means much here or not.
Method: every setting that redis-server shows is set to one after the other of a list of values, good and bad ones; answer and
        CONFIG GET behind it are compared. What differs on purpose stands in INTENDED, with its reason, and must differ.
Usage:  config_words.py [setting ...]
"""
import sys

from harness import Client, Server, plain

VALUES = """-1 0 1 2 5 10 99 100 101 199 500 501 1023 1024 1048576 65535 65536 70000 1048575 2147483647 2147483648 4294967296
    9223372036854775807 9223372036854775808 1kb 1mb 1gb 5% 100% 101% yes no YES x '' 0x10 1.5""".split()
VALUES[VALUES.index("''")] = ""

# Values of their own, by setting.
MORE = {
    "save": ["1 1", "1 1 2 2", "1", "0 1", "1 -1", "1 x", "60 1000 10 10"],
    "client-output-buffer-limit": ["normal 1 1", "normal 1mb 1mb 1", "replica 1mb 2kb 3", "slave 0 0 0 pubsub 1 1 1",
                                   "x 1 1 1", "normal x 1 1", "normal 1 1 -1", "normal 1 1 1 pubsub", "normal 0 0 0"],
    "oom-score-adj-values": ["1 2 3", "1 2", "1 2 3 4", "1 x 3", "1 2 3000", "-2000 0 2000", "3 2 1"],
    "proc-title-template": ["{title} {port}", "{nope}", "{title", "plain", "{{title}", "a } b", "{}"],
    "shutdown-on-sigint": ["save", "nosave now", "now nosave", "save nosave", "default", "default now", "force x", "FORCE"],
    "shutdown-on-sigterm": ["save now force", "nosave force", "nosave save"],
    "notify-keyspace-events": ["KEA", "AKE", "Kx", "Ky", "g$lshzxe", "Km", "KEn", "Kdtn"],
    "latency-tracking-info-percentiles": ["50 99", "50.5 100", "0", "101", "50 x"],
    "loglevel": ["debug", "verbose", "notice", "warning", "WARNING"],
    "maxmemory-policy": ["allkeys-lru", "volatile-ttl", "noeviction", "allkeys-nothing"],
    "acl-pubsub-default": ["allchannels", "resetchannels"],
    "repl-diskless-load": ["swapdb", "on-empty-db", "disabled"],
    "propagation-error-behavior": ["panic", "panic-on-replicas", "ignore"],
    "oom-score-adj": ["relative", "absolute"],
    "sanitize-dump-payload": ["clients"],
    "appendfsync": ["always", "everysec", "no"],
    "cluster-preferred-endpoint-type": ["ip", "hostname", "unknown-endpoint", "HOSTNAME"],
    "cluster-announce-hostname": ["a.example", "a_b", "-", "h" * 255, "h" * 256],
    "ignore-warnings": ["ARM64-COW-BUG"],
}

# (setting, value or None for any): why holdfast answers otherwise.
INTENDED = {
    ("activedefrag", "yes"): "the reason is another one", ("activedefrag", "YES"): "the same",
    ("appendonly", "no"): "what is durable stays it, and CONFIG GET says so",
    ("loglevel", None): "there is nothing, too, as in Redis 7.2",
    ("proto-max-bulk-len", None): "a string is at most 512 MiB, so no argument is longer",
    ("appendfsync", "no"): "that is interval here, too, and CONFIG GET says so",
    ("tls-cluster", "yes"): "without effect here, and TLS there, which has no certificate", ("tls-cluster", "YES"): "the same",
    ("tls-replication", "yes"): "the same", ("tls-replication", "YES"): "the same",
    ("maxmemory", "9223372036854775808"): "8 EiB is the most", ("cluster-link-sendbuf-limit", "9223372036854775808"): "the same",
    ("maxmemory-clients", "9223372036854775808"): "too large, not a percentage above 100",
}
# Not asked: the answer changes what the test itself needs, or is that of the machine.
LEFT_OUT = {"port": "listen.py", "bind": "listen.py", "tls-port": "tls.py", "requirepass": "would ask for a password", "unixsocket": "a path",
            "maxclients": "the process' limit of files", "dir": "each has its own"}


def answers(client, name, value):
    reply = plain(client.wire("CONFIG", "SET", name, value))
    return (reply if isinstance(reply, bytes) else reply.args[0].encode()), client.call("CONFIG", "GET", name)


def main():
    with Server("redis", durability="interval") as peer, Server("holdfast", durability="interval", extra=["--enable-debug-command", "yes"]) as server:
        one, other = Client(peer.port), Client(server.port)
        for client in (one, other):
            client.call("CLIENT", "NO-EVICT", "on")
        shown = one.call("CONFIG", "GET", "*")
        names = [n.decode() for n in shown[::2]]
        names += ["slaveof", "key-load-delay", "rdb-key-save-delay", "loading-process-events-interval-bytes", "use-exit-on-panic",
                  "watchdog-period", "lua-enable-deprecated-api"]
        for client in (one, other):     # the default of normal is no limit there
            client.call("CONFIG", "SET", "client-output-buffer-limit", "normal 0 0 0")
        compared, different, stale = 0, [], []
        for name in sys.argv[1:] or sorted(set(names) - set(LEFT_OUT)):
            differs = False
            before = [(client, client.call("CONFIG", "GET", name)) for client in (one, other)]
            for value in VALUES + MORE.get(name, []):
                wanted, found = answers(one, name, value), answers(other, name, value)
                compared += 1
                intended = (name, value) in INTENDED or (name, None) in INTENDED
                if wanted != found:     # a difference is not to show in the values that follow, too
                    for client, old in before:
                        client.wire("CONFIG", "SET", *(old or [name, ""]))
                if wanted != found and not intended:
                    different.append("%s %r\n    redis-server: %r\n    holdfast:     %r" % (name, value, wanted, found))
                if wanted == found and (name, value) in INTENDED:
                    stale.append("%s %r is the same" % (name, value))
                differs |= wanted != found
            for client, value in before:
                client.wire("CONFIG", "SET", *(value or [name, ""]))
            if (name, None) in INTENDED and not differs:
                stale.append("%s is the same" % name)
        print("\n".join(different + stale))
        print("config_words: %d answers compared, %d differ, %d are the same against what stands here"
              % (compared, len(different), len(stale)))
        return 1 if different or stale else 0


if __name__ == "__main__":
    sys.exit(main())
