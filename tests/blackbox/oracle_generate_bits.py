"""oracle_generate_bits.py -- random commands on bits of strings, and LCS, for oracle_generate.py.

Goal:   every width, alignment and overflow of BITFIELD, and ranges that begin and end anywhere.
Method: a few short strings, so that fields overlap and ends matter; now and then an offset far beyond the end.
"""

BIT_KEYS = [b"bits", b"bits1", b"bits2"]
BYTES = [b"", b"\x00", b"\xff", b"\x00\xff", b"foobar", b"\xff" * 20 + b"\x0f", b"\x00" * 20 + b"\x01", b"123", b"abcbdab", b"bdcaba"]


class BitCommands:
    """Part of Generator."""

    def bit_key(self):
        return self.pick(BIT_KEYS) if self.chance(0.95) else self.key()

    def bit_offset(self):
        r = self.random.random()
        if r < 0.9:
            return b"%d" % self.random.randint(0, 100)
        return self.pick([b"1000", b"40000", b"-1", b"4294967296", b"9223372036854775807", b"9223372036854775808", b"abc", b"", b"01", b"#1"])

    def bit_bound(self):
        if self.chance(0.9):
            return b"%d" % self.random.randint(-60, 60)
        return self.index()

    def bit_set(self):
        return [b"SETBIT", self.bit_key(), self.bit_offset(), self.pick([b"0", b"1"] * 20 + [b"2", b"-1", b"x", b""])]

    def bit_count(self):
        words = [b"BITCOUNT", self.bit_key()]
        if self.chance(0.8):
            words += [self.bit_bound(), self.bit_bound()]
            if self.chance(0.6):
                words.append(self.mixed_case(self.pick([b"BYTE", b"BIT"] * 9 + [b"x"])))
        return words if self.chance(0.97) else words + [b"1"]

    def bit_position(self):
        words = [b"BITPOS", self.bit_key(), self.pick([b"0", b"1"] * 20 + [b"2", b"-1", b"x"])]
        for word in (self.bit_bound(), self.bit_bound(), self.mixed_case(self.pick([b"BYTE", b"BIT"] * 9 + [b"x"]))):
            if self.chance(0.2):
                break
            words.append(word)
        return words if self.chance(0.97) else words + [b"1"]

    def bit_operation(self):
        name = self.mixed_case(self.pick([b"AND", b"OR", b"XOR", b"NOT"] * 9 + [b"NAND"]))
        keys = [self.bit_key()] if name.upper() == b"NOT" and self.chance(0.9) else [self.bit_key() for _ in range(self.random.randint(1, 4))]
        return [b"BITOP", name, self.bit_key()] + keys

    def field_encoding(self):
        if self.chance(0.95):
            sign = self.pick([b"i", b"u"])
            return sign + b"%d" % self.pick([1, 2, 3, 5, 7, 8, 9, 16, 31, 32, 33, 62, 63, 64 if sign == b"i" else 63])
        return self.pick([b"u64", b"i65", b"i0", b"u0", b"x8", b"8", b"i", b"", b"I8", b"u08", b"i-1"])

    def field_offset(self):
        return b"#%d" % self.random.randint(0, 12) if self.chance(0.3) else self.bit_offset()

    def field_operation(self, only_reads=False):
        verb = self.pick([b"GET"] if only_reads else [b"GET", b"SET", b"INCRBY", b"OVERFLOW"])
        if verb == b"OVERFLOW":
            return [verb, self.mixed_case(self.pick([b"WRAP", b"SAT", b"FAIL"] * 6 + [b"x"]))]
        words = [self.mixed_case(verb), self.field_encoding(), self.field_offset()]
        if verb != b"GET":
            value = b"%d" % self.random.randint(-300, 300) if self.chance(0.6) else self.integer()
            if value == b"-9223372036854775808" and verb == b"SET": # SAT of it: Redis 7.0 overflows in its own check
                value = b"-9223372036854775807"
            words.append(value)
        return words

    def bit_field(self):
        read_only = self.chance(0.2)
        words = [b"BITFIELD_RO" if read_only else b"BITFIELD", self.bit_key()]
        for _ in range(self.random.randint(0, 4)):
            words += self.field_operation(read_only and self.chance(0.9))
        return words if self.chance(0.97) else words[:-1]

    def subsequence(self):
        words = [b"LCS", self.pick([self.bit_key, self.string_key])(), self.bit_key()]
        for option in ([b"LEN"], [b"IDX"], [b"WITHMATCHLEN"], [b"MINMATCHLEN", self.integer()]):
            if self.chance(0.35):
                words += [self.mixed_case(option[0])] + option[1:]
        return words if self.chance(0.97) else words + [self.pick([b"MINMATCHLEN", b"nonsense"])]

    def bits(self):
        return self.pick([self.bit_set] * 4 + [self.bit_count] * 3 + [self.bit_position] * 3 + [self.bit_operation] * 2 + [self.bit_field] * 6 + [
            self.subsequence, self.subsequence, lambda: [b"GETBIT", self.bit_key(), self.bit_offset()],
            lambda: [b"SET", self.bit_key(), self.pick(BYTES)], lambda: [b"SET", self.bit_key(), self.value()],
            lambda: [b"GET", self.bit_key()], lambda: [b"OBJECT", b"ENCODING", self.bit_key()], lambda: [b"DEL", self.bit_key()],
            lambda: [b"EXPIREAT", self.bit_key(), b"4102444800"], lambda: [b"TTL", self.bit_key()]])()
