"""oracle_generate_sets.py -- random set commands for oracle_generate.py.

Goal:   the edges between the forms of a set (integers, small, large) and every operation on several sets.
Method: few keys and members, so that sets overlap; now and then hundreds of members at once.
"""

SET_KEYS = [b"s", b"s1", b"s2", b"s3", b"set:{tag}"]
MEMBERS = [b"a", b"b", b"c", b"1", b"2", b"3", b"-1", b"01", b"-0", b"+1", b"", b"\x00\r\n\xff", b"A", b"M" * 64, b"M" * 65,
           b"32767", b"32768", b"2147483648", b"9223372036854775807", b"-9223372036854775808", b"9223372036854775808"]
POP_ALL = b"1000000"


class SetCommands:
    """Part of Generator."""

    def set_key(self):
        return self.pick(SET_KEYS) if self.chance(0.95) else self.key()

    def set_keys(self, most=3):
        return [self.set_key() for _ in range(self.random.randint(1, most))]

    def member(self):
        r = self.random.random()
        if r < 0.4:
            return b"%d" % self.random.randint(-3, 12)
        return self.pick(MEMBERS) if r < 0.95 else self.value()

    def members(self):
        if self.chance(0.02):
            first, count = self.random.randint(0, 300), self.pick([120, 127, 128, 129, 250, 510, 513, 600])
            form = self.pick([b"%d", b"%d", b"m%d"])
            return [form % (first + i) for i in range(count)]
        if self.chance(0.2):
            return [b"%d" % self.random.randint(0, 8) for _ in range(self.random.randint(1, 5))]
        return [self.member() for _ in range(self.random.randint(1, 4))]

    def set_change(self):
        key = self.set_key()
        return self.pick([
            lambda: [b"SADD", key] + self.members(), lambda: [b"SADD", key] + self.members(),
            lambda: [b"SADD", key] + self.members(), lambda: [b"SREM", key] + self.members(),
            lambda: [b"SMOVE", key, self.set_key(), self.member()], lambda: [b"DEL", key]])()

    def set_count(self):
        r = self.random.random()
        if r < 0.8:
            return b"%d" % self.random.randint(0, 6)
        return self.pick([b"-1", b"100", b"1000", b"9223372036854775807", b"-9223372036854775808", b"9223372036854775808",
                          b"abc", b"", b"1.0"])

    def set_pop(self):
        words = [b"SPOP", self.set_key()]
        if self.chance(0.6):
            words.append(self.set_count())
        return words if self.chance(0.97) else words + [b"x", b"x"]

    def set_random(self):
        words = [b"SRANDMEMBER", self.set_key()]
        if self.chance(0.7):
            words.append(self.pick([self.set_count(), b"-3", b"-50"]))
        return words if self.chance(0.97) else words + [b"x", b"x"]

    def set_read(self):
        key = self.set_key()
        return self.pick([
            lambda: [b"SMEMBERS", key], lambda: [b"SCARD", key], lambda: [b"SISMEMBER", key, self.member()],
            lambda: [b"SMISMEMBER", key] + self.members(), lambda: [b"OBJECT", b"ENCODING", key],
            lambda: [b"SSCAN", key, self.pick([b"0"] * 20 + [b"abc"])] + self.scan_options(),
            self.set_random])()

    def set_algebra(self):
        name = self.pick([b"SINTER", b"SUNION", b"SDIFF"])
        if self.chance(0.5):
            return [name] + self.set_keys(4)
        return [name + b"STORE", self.set_key()] + self.set_keys()

    def set_intersection_size(self):
        keys = self.set_keys()
        number = b"%d" % len(keys) if self.chance(0.9) else self.pick(
            [b"0", b"-1", b"1", b"2", b"4", b"x", b"", b"1.0", b"9223372036854775807"])
        words = [b"SINTERCARD", number] + keys
        if self.chance(0.5):
            words += [self.mixed_case(b"LIMIT"), self.set_count()]
        return words if self.chance(0.95) else words + self.pick([[b"LIMIT"], [b"nonsense", b"1"], [b"LIMIT", b"2"]])

    def sets(self):
        return self.pick([self.set_change] * 6 + [self.set_read] * 5 + [self.set_algebra] * 4 + [
            self.set_intersection_size, self.set_pop])()
