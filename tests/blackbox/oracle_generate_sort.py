"""oracle_generate_sort.py -- SORT for the oracle.

Texts are compared ALPHA without BY only, or with BY of keys that differ, since equal texts come in any order; a set
that is not to be sorted has no order either, unless it is stored. Redis compares texts that it does not store up to their first
NUL; here all bytes count, so keys with NULs in their elements are stored. SORT makes Redis unpack a sorted set,
so the one sorted here is not asked for its encoding.
"""
SORT_STRINGS = [b"w_1", b"w_2", b"w_3", b"w_10", b"w_-1", b"w_a", b"w_b"]
SORT_HASHES = [b"o_1", b"o_2", b"o_3", b"o_a"]
SORTED_KEYS = [b"numbers", b"zsorting", b"numberset"]


class SortCommands:
    def sort_fill(self):
        return self.pick([
            lambda: [b"RPUSH", b"numbers"] + [self.pick([b"1", b"2", b"3", b"10", b"-1", b"1.5", b"1e2"]) for _ in range(4)],
            lambda: [b"ZADD", b"zsorting", self.pick([b"1", b"2", b"-1"]), self.pick([b"1", b"2", b"3", b"a", b"10"])],
            lambda: [b"SADD", b"numberset"] + [self.pick([b"1", b"2", b"3", b"10", b"-1"]) for _ in range(4)],
            lambda: [b"SET", self.pick(SORT_STRINGS), self.pick([b"1", b"2", b"3", b"x", b"", b"0.5", b"-7"])],
            lambda: [b"HSET", self.pick(SORT_HASHES), self.pick([b"f", b"g"]), self.pick([b"1", b"2", b"text", b"-3"])],
            lambda: [b"DEL", self.pick(SORT_STRINGS + SORT_HASHES + [b"numbers", b"numberset", b"sorted"])],
            lambda: [b"LRANGE", b"sorted", b"0", b"-1"]])()

    def sort_pattern(self):
        return self.pick([b"w_*", b"o_*->f", b"o_*->g", b"o_*->", b"w_*->x", b"*", b"nothing_*", b"*_*", b"o_*->f*", b"w_1"])

    def sort_words(self):
        key = self.pick(SORTED_KEYS) if self.chance(0.95) else self.pick([b"a", b"h", b"hash", b"nothing"])
        name, words = self.pick([b"SORT", b"SORT", b"SORT_RO"]), []
        stored = name == b"SORT" and self.chance(0.25)
        ordered = key in (b"numbers", b"zsorting")
        if self.chance(0.3) and (stored or key in (b"numbers", b"numberset")):
            words += [b"ALPHA"]
        elif self.chance(0.5):
            words += [b"BY", self.sort_pattern() if self.chance(0.7) or not (ordered or stored) else self.pick([b"nosort", b"", b"#"])]
            if words[1] in (b"w_1",) and not (ordered or stored):
                words[1] = b"w_*"
        if self.chance(0.4):
            words += [self.mixed_case(self.pick([b"DESC", b"ASC"]))]
        if self.chance(0.4):
            words += [b"LIMIT", self.index(), self.index()]
        while self.chance(0.35):
            words += [b"GET", self.pick([b"#", self.sort_pattern(), self.sort_pattern()])]
        if stored:
            words += [b"STORE", self.pick([b"sorted", b"sorted", b"numbers"])]
        if self.chance(0.03):
            words += [self.pick([b"LIMIT", b"BY", b"GET", b"STORE", b"nonsense"])]
        return [name, key] + words

    def sorting(self):
        return self.sort_fill() if self.chance(0.45) else self.sort_words()
