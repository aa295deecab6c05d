"""oracle_generate_sort.py -- SORT and SORT_RO for the oracle.

Sources of numbers and texts with weights in strings and hashes, some of them missing, of a wrong type, or no number. Not asked,
because Redis leaves it open: a set that is not sorted, and which of several equal texts come first under BY and LIMIT. Sorted sets
are keys of their own: SORT changes their encoding in Redis. No weight is beyond a double: Redis refuses it, and then the next SORT, too.
"""
SORT_KEYS = [b"sort:l", b"sort:s", b"sort:z"]
SORT_ELEMENTS = [b"%d" % n for n in range(-3, 14)]
SORT_TEXTS = [b"a", b"B", b"10", b"9", b"ab", b"", b"A", b"caf\xc3\xa9", b"x" * 80, b"1.5", b"-0", b"1e3", b" 4", b"0x10", b"inf"]
WEIGHTS = [b"1", b"2", b"3.5", b"-1", b"0", b"100", b"1e10", b"  7", b"0x1F", b"-inf", b"", b"12345678901234567890"]
BAD_WEIGHTS = [b"abc", b"nan", b"1 ", b"1,5"]
PATTERNS = [b"w_*", b"o_*->n", b"o_*->t", b"w_*_x", b"*", b"w_*->", b"->*", b"o_*->*", b"h->*", b"w_**"]


class SortCommands:
    def sort_element(self):
        return self.pick(SORT_ELEMENTS) if self.chance(0.93) else self.pick(SORT_TEXTS)

    def sort_fill(self):
        name = self.pick(SORT_KEYS)
        elements = [self.sort_element() for _ in range(self.random.choice([1, 2, 5, 12]))]
        if name == b"sort:l":
            return [b"RPUSH", name] + elements
        if name == b"sort:s":
            return [b"SADD", name] + elements
        return [b"ZADD", name] + [word for e in elements for word in (b"%d" % self.random.randint(0, 4), e)]

    def sort_weight(self):
        element = self.pick(SORT_ELEMENTS)
        weight = self.pick(WEIGHTS) if self.chance(0.97) else self.pick(BAD_WEIGHTS)
        return self.pick([lambda: [b"SET", b"w_" + element, weight], lambda: [b"SET", b"w_" + element + b"_x", weight],
                          lambda: [b"HSET", b"o_" + element, b"n", weight, b"t", self.pick(SORT_TEXTS)],
                          lambda: [b"DEL", self.pick([b"w_", b"o_"]) + element],
                          lambda: [b"SET", b"sort:text", weight], lambda: [b"DEL", self.pick(SORT_KEYS)]])()

    def sort_limit(self):
        return [self.mixed_case(b"LIMIT"), self.index(), self.index()]

    def sort_options(self, constant, named, ties):
        alpha = self.chance(0.4)
        by = [[b"BY", self.pick(PATTERNS)], [b"by", self.pick(PATTERNS)]] if self.chance(0.5) else [[]]
        words = [self.pick(by)]
        if constant and self.chance(0.2):
            words = [[b"BY", b"nosort"]]
        if alpha and (ties or not words[0]):
            words.append([b"ALPHA"])
        if not (alpha and words[0]) and self.chance(0.4):
            words.append(self.sort_limit())
        for _ in range(self.random.choice([0, 0, 0, 1, 2])):
            words.append([b"GET", self.pick([b"#", b"x", b"#"] + PATTERNS)])
        words.append(self.pick([[], [], [b"DESC"], [b"asc"], [b"ASC", b"DESC"]]))
        if named and self.chance(0.3):
            words.append([b"STORE", self.pick(SORT_KEYS[:1] + [b"sort:out", b"sort:out"]) if self.chance(0.97) else self.key()])
            if [b"ALPHA"] not in words and [b"BY", b"nosort"] not in words:
                words = [w for w in words if ties or w[:1] not in ([b"BY"], [b"by"])]
                if any(w[:1] in ([b"BY"], [b"by"]) for w in words):
                    words = [w for w in words if w[:1] == [] or w[0].upper() != b"LIMIT"]
                words.append([b"ALPHA"]) # Redis may refuse numbers for an overflow of an earlier command (NOT_NUMBERS), and then stores nothing
        self.random.shuffle(words)
        if self.chance(0.03):
            words.append(self.pick([[b"LIMIT", b"1"], [b"STORE"], [b"BY"], [b"GET"], [b"nonsense"], [b"LIMIT", b"x", b"1"]]))
        return [word for option in words for word in option]

    def sort_ask(self):
        name = self.pick(SORT_KEYS) if self.chance(0.95) else self.pick([b"sort:text", b"o_1", b"w_1", b"sort:nothing"])
        command = self.mixed_case(self.pick([b"SORT", b"SORT", b"SORT_RO"]))
        constant = name in (b"sort:l", b"sort:z")
        return [command, name] + self.sort_options(constant, self.chance(0.95) and command.upper() == b"SORT",
                                                         name == b"sort:l")

    def sort(self):
        return self.pick([self.sort_fill] * 4 + [self.sort_weight] * 6 + [self.sort_ask] * 10
                         + [lambda: [b"LRANGE", b"sort:out", b"0", b"-1"], lambda: [b"OBJECT", b"ENCODING", b"sort:out"]])()
