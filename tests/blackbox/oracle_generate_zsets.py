"""oracle_generate_zsets.py -- sorted-set commands for the oracle.

Scores collide often, so that the order among equal scores is met; members differ in length and bytes.
Ranges by member only mean something while all scores are equal: their keys (LEX_KEYS) hold score 0 only.
"""
ZSET_KEYS = [b"z", b"z1", b"z2", b"zset:{tag}"]
LEX_KEYS = [b"zlex", b"zlex2"]
SCORES = [b"0", b"1", b"2", b"1", b"-1", b"1.5", b"-0", b"0.1", b"3.5e2", b"inf", b"-inf", b"1e308", b"-1e308",
          b"4503599627370497", b"1e-7", b"100"]
BAD_SCORES = [b"nan", b"abc", b"", b"1e400", b" 1", b"1 ", b"0x1p3", b"+inf", b"1,5"]
MEMBERS = [b"a", b"b", b"c", b"d", b"e", b"aa", b"ab", b"", b"\x00\xff", b"M" * 70, b"1", b"10", b"Z"]
SCORE_ENDS = [b"-inf", b"+inf", b"(1", b"1", b"0", b"(0", b"2", b"(-1", b"1.5", b"100", b"(inf", b"inf", b"(-inf"]
BAD_ENDS = [b"abc", b"nan", b"((1", b"(", b"1x", b"[1"]
MEMBER_ENDS = [b"-", b"+", b"[a", b"(a", b"[b", b"(c", b"[aa", b"(ab", b"[", b"(", b"[\xff"]
BAD_MEMBER_ENDS = [b"a", b"", b"*", b"-x", b"+x"]


class ZsetCommands:
    def zset_key(self):
        return self.pick(ZSET_KEYS) if self.chance(0.93) else self.key()

    def lex_key(self):
        return self.pick(LEX_KEYS) if self.chance(0.95) else self.pick([b"a", b"h", b"l", b"s", b"nothing"])

    def score(self):
        return self.pick(SCORES) if self.chance(0.96) else self.pick(BAD_SCORES)

    def member(self):
        return self.pick(MEMBERS) if self.chance(0.9) else b"m%d" % self.random.randrange(300)

    def score_end(self):
        return self.pick(SCORE_ENDS) if self.chance(0.95) else self.pick(BAD_ENDS)

    def member_end(self):
        return self.pick(MEMBER_ENDS) if self.chance(0.95) else self.pick(BAD_MEMBER_ENDS)

    def zset_add(self):
        options = [self.mixed_case(word) for word in (b"NX", b"XX", b"GT", b"LT", b"CH", b"INCR") if self.chance(0.12)]
        count = 1 if b"INCR" in [o.upper() for o in options] and self.chance(0.9) else self.random.choice([1, 1, 2, 3, 20])
        pairs = []
        for _ in range(count):
            pairs += [self.score(), self.member()]
        return [b"ZADD", self.zset_key()] + options + pairs

    def lex_add(self):
        words = [b"ZADD", self.pick(LEX_KEYS)]
        for _ in range(self.random.randint(1, 6)):
            words += [b"0", self.member()]
        return words

    def zset_change(self):
        return self.pick([
            lambda: [b"ZINCRBY", self.zset_key(), self.score(), self.member()],
            lambda: [b"ZREM", self.zset_key()] + [self.member() for _ in range(self.random.randint(1, 4))],
            lambda: [b"ZREMRANGEBYRANK", self.zset_key(), self.index(), self.index()],
            lambda: [b"ZREMRANGEBYSCORE", self.zset_key(), self.score_end(), self.score_end()],
            lambda: [b"ZREMRANGEBYLEX", self.lex_key(), self.member_end(), self.member_end()],
            lambda: [self.pick([b"ZPOPMIN", b"ZPOPMAX"]), self.zset_key()],
            lambda: [self.pick([b"ZPOPMIN", b"ZPOPMAX"]), self.zset_key(), self.count(0)],
            lambda: [b"ZMPOP"] + self.zset_counted()])()

    def zset_counted(self):
        keys = [self.zset_key() for _ in range(self.random.randint(1, 3))]
        number = b"%d" % len(keys) if self.chance(0.9) else self.pick([b"0", b"-1", b"x", b"9", b"9223372036854775807"])
        return [number] + keys + [self.pick([b"MIN", b"max", b"MAX", b"min"] * 6 + [b"MID"])] + self.pick(
            [[], [], [b"COUNT", self.count(1)], [b"COUNT"], [b"nonsense"]])

    def zset_wait(self):
        time = self.pick([b"0.001", b"0.002", b"0.01"] * 4 + [b"-1", b"abc", b""])
        names = [self.zset_key() for _ in range(self.random.randint(1, 3))]
        return self.pick([lambda: [self.pick([b"BZPOPMIN", b"BZPOPMAX"])] + names + [time],
                          lambda: [b"BZMPOP", time] + self.zset_counted()])()

    def limit(self):
        return self.pick([[], [], [b"LIMIT", self.index(), self.index()], [b"limit", b"1", b"2"], [b"LIMIT", b"1"]])

    def with_scores(self):
        return [self.mixed_case(b"WITHSCORES")] if self.chance(0.5) else []

    def zset_range(self):
        reverse = [b"REV"] if self.chance(0.4) else []
        return self.pick([
            lambda: [b"ZRANGE", self.zset_key(), self.index(), self.index()] + reverse + self.with_scores(),
            lambda: [b"ZRANGE", self.zset_key(), self.score_end(), self.score_end(), b"BYSCORE"] + reverse + self.limit() + self.with_scores(),
            lambda: [b"ZRANGE", self.lex_key(), self.member_end(), self.member_end(), b"BYLEX"] + reverse + self.limit(),
            lambda: [b"ZRANGE", self.zset_key(), self.index(), self.index()] + self.pick([[b"LIMIT", b"0", b"1"], [b"BYLEX", b"WITHSCORES"], [b"BYSCORE", b"BYLEX"], [b"nonsense"]]),
            lambda: [b"ZREVRANGE", self.zset_key(), self.index(), self.index()] + self.with_scores(),
            lambda: [self.pick([b"ZRANGEBYSCORE", b"ZREVRANGEBYSCORE"]), self.zset_key(), self.score_end(), self.score_end()] + self.limit() + self.with_scores(),
            lambda: [self.pick([b"ZRANGEBYLEX", b"ZREVRANGEBYLEX"]), self.lex_key(), self.member_end(), self.member_end()] + self.limit(),
            lambda: [b"ZRANGESTORE", self.zset_key(), self.zset_key(), self.index(), self.index()] + reverse,
            lambda: [b"ZRANGESTORE", self.zset_key(), self.zset_key(), self.score_end(), self.score_end(), b"BYSCORE"] + reverse + self.limit()])()

    def zset_read(self):
        return self.pick([
            lambda: [b"ZCARD", self.zset_key()], lambda: [b"ZSCORE", self.zset_key(), self.member()],
            lambda: [b"ZMSCORE", self.zset_key()] + [self.member() for _ in range(self.random.randint(1, 4))],
            lambda: [self.pick([b"ZRANK", b"ZREVRANK"]), self.zset_key(), self.member()],
            lambda: [b"ZCOUNT", self.zset_key(), self.score_end(), self.score_end()],
            lambda: [b"ZLEXCOUNT", self.lex_key(), self.member_end(), self.member_end()],
            lambda: [b"ZRANDMEMBER", self.zset_key(), b"0"], lambda: [b"ZRANDMEMBER", self.zset_key(), b"abc"],
            lambda: [b"OBJECT", b"ENCODING", self.zset_key()], lambda: [b"TYPE", self.zset_key()]])()

    def zset_inputs(self):
        keys = [self.pick(ZSET_KEYS + LEX_KEYS + [b"s", b"s1"]) if self.chance(0.96) else self.key()
                for _ in range(self.random.randint(1, 4))]
        number = b"%d" % len(keys) if self.chance(0.95) else self.pick([b"0", b"-1", b"x", b"9"])
        return len(keys), [number] + keys

    def zset_algebra(self):
        count, inputs = self.zset_inputs()
        options = []
        if self.chance(0.35):
            options += [b"WEIGHTS"] + [self.pick([b"1", b"2", b"-1", b"0.5", b"0", b"inf", b"x"] if self.chance(0.1) else [b"1", b"2", b"-1", b"0.5", b"0"]) for _ in range(count)]
        if self.chance(0.35):
            options += [b"AGGREGATE", self.pick([b"SUM", b"min", b"MAX"] * 5 + [b"AVG"])]
        return self.pick([
            lambda: [self.pick([b"ZUNION", b"ZINTER"])] + inputs + options + self.with_scores(),
            lambda: [b"ZDIFF"] + inputs + (self.with_scores() if self.chance(0.9) else options),
            lambda: [self.pick([b"ZUNIONSTORE", b"ZINTERSTORE"]), self.zset_key()] + inputs + options,
            lambda: [b"ZDIFFSTORE", self.zset_key()] + inputs,
            lambda: [b"ZINTERCARD"] + inputs + self.pick([[], [b"LIMIT", self.count(0)], [b"LIMIT"]])])()

    def zsets(self):
        return self.pick([self.zset_add] * 6 + [self.lex_add] * 2 + [self.zset_change] * 5 + [self.zset_range] * 6 + [
            self.zset_read] * 4 + [self.zset_algebra] * 3 + [self.zset_wait])()
