"""oracle_generate_server.py -- commands about the server, its users, messages and keys as such, for oracle_generate.py.

Only what cannot take the game away: no user is changed, nobody is killed or paused, and no setting is set. Times, sizes and
other figures of the server itself are compared by their types (oracle_compare.py).
"""
CHANNELS = [b"news", b"news:1", b"", b"\x00\xff", b"other"]
PATTERNS = [b"*", b"n*", b"[", b"", b"news:?"]
DUMPS = [b"", b"damaged", b"\x00\x01a\x0a\x00" + b"\x00" * 8, b"\x00\xc0\x0a\x0a\x00n\x9fl\x06\x1f\xd3\x09\x9d"]


class ServerCommands:
    """Part of Generator."""

    def messages(self):
        return self.pick([
            lambda: [b"PUBLISH", self.pick(CHANNELS), self.value()], lambda: [b"SPUBLISH", self.pick(CHANNELS), self.value()],
            lambda: [b"PUBSUB", b"CHANNELS"], lambda: [b"PUBSUB", b"CHANNELS", self.pick(PATTERNS)], lambda: [b"PUBSUB", b"NUMPAT"],
            lambda: [b"PUBSUB", b"NUMSUB"] + [self.pick(CHANNELS) for _ in range(self.random.randint(0, 3))],
            lambda: [b"PUBSUB", b"SHARDCHANNELS"], lambda: [b"PUBSUB", b"SHARDNUMSUB", self.pick(CHANNELS)], lambda: [b"PUBSUB", b"nonsense"]])()

    def dump(self):
        return self.pick([lambda: [b"DUMP", self.pick([b"nothing", b"nothing2"])],
                          lambda: [b"RESTORE", self.key(), self.pick([b"0", b"-1", b"1000000", b"x"]), self.pick(DUMPS)]
                          + self.pick([[], [b"REPLACE"], [b"ABSTTL"], [b"IDLETIME", b"5"], [b"FREQ", b"9"], [b"FREQ", b"256"], [b"IDLETIME", b"-1"], [b"nonsense"]])])()

    def users(self):
        return self.pick([
            lambda: [b"ACL", b"WHOAMI"], lambda: [b"ACL", b"USERS"], lambda: [b"ACL", b"DELUSER", self.pick([b"nobody", b"default"])],
            lambda: [b"ACL", b"GETUSER", b"nobody"], lambda: [b"ACL", b"CAT", b"nonsense"], lambda: [b"ACL", b"GENPASS", self.pick([b"0", b"-1", b"x", b"9999"])],
            lambda: [b"ACL", b"SETUSER", b"nobody", b"+nonsense"], lambda: [b"ACL", b"DRYRUN", b"default", b"GET", self.key()],
            lambda: [b"ACL", b"DRYRUN", b"nobody", b"GET", b"a"], lambda: [b"ACL", b"SAVE"], lambda: [b"ACL", b"LOAD"], lambda: [b"ACL", b"nonsense"],
            lambda: [b"AUTH", b"nobody", b"wrong"], lambda: [b"AUTH", b"wrong"], lambda: [b"AUTH", b"a", b"b", b"c"]])()

    def client_self(self):
        return self.pick([
            lambda: [b"CLIENT", b"NO-EVICT", self.pick([b"on", b"OFF", b"x"])], lambda: [b"CLIENT", b"UNBLOCK", self.pick([b"0", b"999999", b"x"])],
            lambda: [b"CLIENT", b"UNBLOCK", b"999999", self.pick([b"TIMEOUT", b"ERROR", b"x"])], lambda: [b"CLIENT", b"GETREDIR"], lambda: [b"CLIENT", b"TRACKINGINFO"],
            lambda: [b"CLIENT", b"CACHING", self.pick([b"YES", b"no", b"x"])], lambda: [b"CLIENT", b"KILL", self.pick([b"127.0.0.1:1", b"x"])],
            lambda: [b"CLIENT", b"KILL", b"ID", self.pick([b"999999", b"x", b"-1", b"0"])], lambda: [b"CLIENT", b"KILL", b"TYPE", self.pick([b"master", b"nonsense"])],
            lambda: [b"CLIENT", b"REPLY", b"ON"], lambda: [b"CLIENT", b"UNPAUSE"], lambda: [b"CLIENT", b"PAUSE", self.pick([b"x", b"-1"])],
            lambda: [b"CLIENT", b"LIST", b"ID", b"999999"], lambda: [b"CLIENT", b"LIST", b"TYPE", b"master"], lambda: [b"CLIENT", b"LIST", b"nonsense"]])()

    def about(self):
        return self.pick([
            lambda: [b"TIME"], lambda: [b"LASTSAVE"], lambda: [b"WAIT", self.pick([b"0", b"x", b"-1"]), self.pick([b"1", b"0", b"x", b"-1"])], lambda: [b"READONLY"],
            lambda: [b"READWRITE"], lambda: [b"ASKING"], lambda: [b"REPLICAOF", b"NO", b"ONE"], lambda: [b"SLAVEOF", b"no", b"one"], lambda: [b"FAILOVER", b"ABORT"],
            lambda: [b"SLOWLOG", self.pick([b"LEN", b"nonsense"])], lambda: [b"SLOWLOG", b"GET", self.pick([b"x", b"-2"])], lambda: [b"CLUSTER", self.pick([b"INFO", b"KEYSLOT", b"nonsense"])],
            lambda: [b"LOLWUT", b"VERSION", b"x"], lambda: [b"SHUTDOWN", b"nonsense"], lambda: [b"BGSAVE", b"nonsense"], lambda: [b"RESET"],
            lambda: [b"ZSCAN", self.zset_key(), self.pick([b"0"] * 9 + [b"x"])] + self.scan_options(),
            lambda: [b"XINFO", b"CONSUMERS", self.stream_key(), self.pick([b"g", b"g1", b"g2"])]])()

    def server(self):
        return self.pick([self.messages] * 4 + [self.dump] * 2 + [self.users] * 3 + [self.client_self] * 2 + [self.about] * 6)()
