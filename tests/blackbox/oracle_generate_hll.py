"""oracle_generate_hll.py -- random HyperLogLog commands for oracle_generate.py.

Goal:   the same bytes as redis-server makes, in every step from empty to dense: GET shows them.
Method: a few keys that live long, elements from ranges of all widths (many new ones, many again), now and then thousands;
        values that look like a HyperLogLog and are damaged. (Not those that are whole but for bytes behind the end:
        Redis then keeps what a refused PFADD had done so far, holdfast does not.)
"""

HLL_KEYS = [b"hll", b"hll1", b"hll2"]
_HEADER = b"HYLL\x01\x00\x00\x00" + b"\x00" * 7 + b"\x80"
CRAFTED = [b"HYLL", _HEADER, _HEADER + b"\x7f\xff", _HEADER + b"\x40\x00",
           _HEADER + b"\x3f" * 256, _HEADER + b"\x83" * 4096, _HEADER + b"\x80" * 100 + b"\x7f\x9b", b"HYLL\x02" + _HEADER[5:] + b"\x7f\xff",
           b"HYLL\x00" + _HEADER[5:] + b"\x7f\xff", b"HYLL\x00" + _HEADER[5:] + b"\xff" * 12288, b"HYLL\x01abc" + _HEADER[8:] + b"\x7f\xff",
           b"HYLL\x01\x00\x00\x00\x07" + b"\x00" * 7 + b"\x7f\xff", _HEADER + b"\xfc" + b"\x7f\xfe"]


class HllCommands:
    """Part of Generator."""

    def hll_key(self):
        return self.pick(HLL_KEYS) if self.chance(0.97) else self.key()

    def hll_elements(self):
        r = self.random.random()
        count = self.random.randint(0, 5) if r < 0.9 else self.random.randint(20, 200) if r < 0.98 else 2000
        width = self.pick([10, 1000, 10 ** 6, 10 ** 12])
        return [b"%d" % self.random.randrange(width) for _ in range(count)] if self.chance(0.9) else [self.value()]

    def hll(self):
        key = self.hll_key()
        return self.pick([
            lambda: [b"PFADD", key] + self.hll_elements(), lambda: [b"PFADD", key] + self.hll_elements(),
            lambda: [b"PFADD", key] + self.hll_elements(), lambda: [b"PFCOUNT", key],
            lambda: [b"PFCOUNT"] + [self.hll_key() for _ in range(self.random.randint(1, 3))],
            lambda: [b"PFMERGE"] + [self.hll_key() for _ in range(self.random.randint(1, 4))], lambda: [b"GET", key],
            lambda: [b"PFDEBUG", self.mixed_case(self.pick([b"ENCODING", b"DECODE", b"GETREG", b"NONSENSE"])), key],
            lambda: [b"OBJECT", b"ENCODING", key],
            lambda: self.pick([[b"DEL", key], [b"SET", key, self.pick(CRAFTED)], [b"SETBIT", key, b"120", b"1"],
                               [b"EXPIREAT", key, b"4102444800"], [b"PFDEBUG", b"TODENSE", key], [b"TTL", key]])])()
