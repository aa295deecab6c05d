"""oracle_generate_streams.py -- stream commands for the oracle.

Ids are small numbers, so that ranges, deletions and deliveries meet; `*` is not used, since the clocks of two servers differ. Idle
times are never close: 0, or so long that nothing has been idle for it. Approximate trimming hangs on how Redis packs nodes: it is
used on streams of their own, whose entries are small and alike, or of many sizes, numbers and fields.
"""
STREAM_KEYS = [b"x", b"x1", b"x2", b"stream:{tag}"]
GROUPS = [b"g", b"g1", b"", b"\x00\xff"]
CONSUMERS = [b"c", b"c1", b"c2", b""]
BAD_IDS = [b"", b"abc", b"-", b"+", b"1-", b"-1", b"1-x", b"1-2-3", b"99999999999999999999", b"(1", b"*", b"$", b">", b"1-*"]
OPTIONS = [b"LIMIT", b"COUNT", b"MAXLEN", b"nonsense", b"MINID", b"NOACK"]


class StreamCommands:
    def stream_key(self):
        return self.pick(STREAM_KEYS) if self.chance(0.95) else self.pick([b"a", b"l", b"h", b"nothing"])

    def stream_id(self):
        if self.chance(0.04):
            return self.pick(BAD_IDS)
        return self.pick([b"%d" % self.random.randrange(40), b"%d-%d" % (self.random.randrange(40), self.random.randrange(3)),
                          b"0", b"0-1", b"18446744073709551615-18446744073709551615", b"18446744073709551615"][:self.pick([2, 2, 2, 6])])

    def stream_id_of_read(self):
        """The + of XREAD is newer than the peer, and so is what XREADGROUP says of it."""
        found = self.stream_id()
        return b"-" if found == b"+" else found

    def stream_new_id(self):
        self.stream_clock = getattr(self, "stream_clock", 0) + self.random.randrange(2)
        new = self.pick([b"%d-*" % self.stream_clock, b"%d-*" % self.stream_clock, b"%d-*" % self.stream_clock, self.stream_id()]
                        if self.chance(0.97) else BAD_IDS[:-5])
        return b"*-*" if new == b"*" else new

    def stream_end(self):
        return self.pick([self.stream_id(), self.stream_id(), b"(" + self.stream_id(), b"-", b"+"])

    def stream_count(self):
        return self.pick([[], [], [b"COUNT", self.pick([b"1", b"2", b"5", b"0", b"-1", b"10", b"x"])]])

    def stream_trim(self):
        threshold = self.pick([b"0", b"1", b"5", b"20", b"3", b"-1", b"x"]) if self.chance(0.9) else b""
        how = self.pick([[], [b"="]])
        return [self.mixed_case(b"MAXLEN")] + how + [threshold] if self.chance(0.5) else [b"MINID"] + how + [self.stream_id()]

    def stream_pairs(self):
        words = []
        for _ in range(self.random.choice([1, 1, 1, 2, 3])):
            words += [self.pick([b"f", b"g", b"", b"F" * 70]), self.pick([b"v", b"1", b"", b"\x00\r\n\xff", b"V" * 300])]
        return words if self.chance(0.98) else words[:-1]

    def stream_add(self):
        options = [self.mixed_case(b"NOMKSTREAM")] if self.chance(0.1) else []
        if self.chance(0.15):
            options += self.stream_trim()
        if self.chance(0.01):
            options += [self.pick(OPTIONS)]
        return [b"XADD", self.stream_key()] + options + [self.stream_new_id()] + self.stream_pairs()

    def stream_approximate(self):
        return self.pick([
            lambda: [b"XADD", b"xnodes", b"MAXLEN", b"~", self.pick([b"0", b"50", b"150", b"250"]), b"%d-*" % self.random.randrange(500, 900)] + [b"f", b"v"],
            lambda: [b"XADD", b"xnodes", b"%d-*" % self.random.randrange(900)] + [b"f", b"v"],
            lambda: [b"XADD", b"xnodes", b"900-*"] + [b"f", b"v"], lambda: [b"XADD", b"xnodes", b"900-*"] + [b"f", b"v"],
            lambda: [b"XTRIM", b"xnodes", b"MAXLEN", b"~", self.pick([b"0", b"10", b"100"]), b"LIMIT", self.pick([b"0", b"50", b"100", b"1000"])],
            lambda: [b"XLEN", b"xnodes"]] + 4 * [self.stream_sized])()

    def stream_sized(self):
        number = self.random.randrange(-10 ** self.random.randrange(1, 19), 10 ** self.random.randrange(1, 19))
        value = self.pick([b"%d" % number, b"v" * self.random.randrange(80), b"v" * self.random.randrange(80), b"v" * self.random.randrange(5000)])
        fields = self.pick([[b"f", value], [b"f", value], [b"f", b"1", b"field", value], [b"other", value]])
        return self.pick([lambda: [b"XADD", b"xsized", b"900-*"] + fields] * 8 + [
            lambda: [b"XADD", b"xsized", b"MAXLEN", b"~", self.pick([b"0", b"5", b"30"]), b"900-*"] + fields,
            lambda: [b"XTRIM", b"xsized", b"MAXLEN", b"~", self.pick([b"0", b"1", b"10"])],
            lambda: [b"XDEL", b"xsized", b"900-%d" % self.random.randrange(50)], lambda: [b"XLEN", b"xsized"],
            lambda: [b"XRANGE", b"xsized", b"900-%d" % self.random.randrange(50), b"+", b"COUNT", b"3"]])()

    def stream_read(self):
        return self.pick([
            lambda: [b"XLEN", self.stream_key()],
            lambda: [b"XRANGE", self.stream_key(), self.stream_end(), self.stream_end()] + self.stream_count(),
            lambda: [b"XREVRANGE", self.stream_key(), self.stream_end(), self.stream_end()] + self.stream_count(),
            lambda: [b"XRANGE", self.stream_key(), b"-", b"+"] + self.stream_count(),
            lambda: [b"XREAD"] + self.stream_count() + self.stream_wait() + self.stream_list(
                [b"$", self.stream_id_of_read(), self.stream_id_of_read(), b"0"]),
            lambda: [b"TYPE", self.stream_key()], lambda: [b"OBJECT", b"ENCODING", self.stream_key()]])()

    def stream_wait(self):
        return self.pick([[], [], [], [b"BLOCK", b"1"], [b"BLOCK", self.pick([b"-1", b"x", b"1.5"])]])

    def stream_list(self, ids):
        count = self.random.choice([1, 1, 1, 2, 3])
        return [b"STREAMS"] + [self.stream_key() for _ in range(count)] + [self.pick(ids) for _ in range(count if self.chance(0.98) else 1)]

    def stream_change(self):
        return self.pick([
            lambda: [b"XDEL", self.stream_key()] + [self.stream_id() for _ in range(self.random.randint(1, 3))],
            lambda: [b"XTRIM", self.stream_key()] + self.stream_trim() + self.pick([[]] * 9 + [[b"LIMIT", b"5"], [b"nonsense"]]),
            lambda: [b"XSETID", self.stream_key(), self.stream_id()] + self.pick([[]] * 3 + [
                [b"ENTRIESADDED", self.count(0), b"MAXDELETEDID", self.stream_id()], [b"ENTRIESADDED"], [b"nonsense", b"1"]]),
            lambda: [b"DEL", self.stream_key()]] + [lambda: self.stream_add()] * 6)()

    def stream_groups(self):
        key, group, consumer = self.stream_key(), self.pick(GROUPS), self.pick(CONSUMERS)
        return self.pick([
            lambda: [b"XGROUP", b"CREATE", key, group, self.pick([b"$", b"0", self.stream_id()])] + self.pick(
                [[], [b"MKSTREAM"], [b"MKSTREAM", b"ENTRIESREAD", self.count(0).replace(b"775807", b"770000")], # beyond the last one: docs/compatibility.md
                 [b"ENTRIESREAD", b"-2"], [b"nonsense"]]),
            lambda: [b"XGROUP", b"CREATE", key, group, b"0", b"MKSTREAM"],
            lambda: [b"XGROUP", b"SETID", key, group, self.pick([b"$", b"0", b"-", self.stream_id()])] + self.pick([[], [], [b"ENTRIESREAD", b"3"]]),
            lambda: [b"XGROUP", self.pick([b"DESTROY"] + [b"createconsumer"] * 3), key, group] + ([consumer] if self.chance(0.8) else []),
            lambda: [b"XGROUP", b"DELCONSUMER", key, group, consumer]])()

    def stream_group_read(self):
        group = [b"GROUP", self.pick(GROUPS), self.pick(CONSUMERS)] if self.chance(0.98) else [b"GROUP"]
        return [b"XREADGROUP"] + group + self.stream_count() + self.stream_wait() + (
            [b"NOACK"] if self.chance(0.15) else []) + self.stream_list([b">"] * 6 + [b"0", self.stream_id_of_read(), b"$"])

    def stream_pending(self):
        key, group = self.stream_key(), self.pick(GROUPS)
        idle = self.pick([b"0", b"100000000", b"0", b"x", b"-5"])
        return self.pick([
            lambda: [b"XACK", key, group] + [self.stream_id() for _ in range(self.random.randint(1, 4))],
            lambda: [b"XPENDING", key, group],
            lambda: [b"XCLAIM", key, group, self.pick(CONSUMERS), idle] + [self.stream_id() for _ in range(self.random.randint(1, 4))] + self.pick(
                [[], [], [b"JUSTID"], [b"FORCE"], [b"FORCE", b"JUSTID"], [b"RETRYCOUNT", b"5"], [b"LASTID", self.stream_id()], [b"TIME", b"x"], [b"nonsense"]]),
            lambda: [b"XAUTOCLAIM", key, group, self.pick(CONSUMERS), idle, self.stream_end()] + self.pick(
                [[], [b"COUNT", self.pick([b"1", b"2", b"0"])], [b"JUSTID"], [b"nonsense"]]),
            lambda: [b"XPENDING", key, group] + self.pick([[], [b"IDLE", idle]]) + [self.stream_end(), self.stream_end(), self.pick([b"0", b"5", b"x", b"-1"])]
            + self.pick([[], [self.pick(CONSUMERS)]]),
            lambda: [b"XINFO", b"GROUPS", key], lambda: [b"XINFO", b"STREAM", key]])()

    def streams(self):
        return self.pick([self.stream_add] * 5 + [self.stream_read] * 5 + [self.stream_change] * 2 + [self.stream_groups] * 3 + [
            self.stream_group_read] * 4 + [self.stream_pending] * 6 + [self.stream_approximate])()
