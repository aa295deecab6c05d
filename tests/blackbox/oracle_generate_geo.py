"""oracle_generate_geo.py -- places and searches for the oracle.

Places gather around a few centres, the poles' ends and the date line included, at distances from metres to the whole Earth, so that
searches meet every step of cells, their edges, and cells that come twice. Replies are compared in their order. Which of
several equally distant members are the first COUNT is left open by Redis: members at one place are in TIES_KEYS only, where
COUNT is asked with ANY (z has scores that are no places). In a set of random scores only GEOPOS and GEOHASH are asked.
"""
GEO_KEYS = [b"geo", b"geo2", b"geo:{tag}"]
TIES_KEY = b"geo2"
TIES_KEYS = [TIES_KEY, b"z"]
CENTRES = [(0, 0), (13.36, 38.11), (15.09, 37.5), (-122.4, 37.77), (179.99, 10), (-179.99, -10), (180, 0), (-180, 0), (10, 85.05),
           (-60, -85.05), (30, 67), (30, -81), (2.35, 48.86), (180, 85.05112878)]
SPREADS = [0, 1e-5, 0.001, 0.05, 1, 10, 60]
BAD_PLACES = [(b"200", b"1"), (b"1", b"86"), (b"abc", b"1"), (b"1", b""), (b"nan", b"1"), (b"-180.0001", b"0")]
UNITS = [b"m", b"km", b"ft", b"mi", b"KM", b"M"]


class GeoCommands:
    def geo_key(self):
        return self.pick(GEO_KEYS) if self.chance(0.96) else self.pick([b"a", b"h", b"l", b"z", b"nothing"])

    def geo_member(self):
        return b"p%d" % self.random.randrange(60) if self.chance(0.97) else self.pick([b"", b"nobody"])

    def geo_place(self, ties=True):
        if self.chance(0.02):
            return list(self.pick(BAD_PLACES))
        (x, y), spread = self.pick(CENTRES), self.pick(SPREADS if ties else SPREADS[3:])
        x, y = x + self.random.uniform(-spread, spread), y + self.random.uniform(-spread, spread)
        x, y = [max(-end, min(end, v)) if ties else -2 * end - v if v < -end else 2 * end - v if v > end else v
                for v, end in ((x, 180), (y, 85.05112878))]
        return [b"%.8f" % x, b"%.8f" % y] if not ties or self.chance(0.9) else [b"%d" % x, b"%d" % y]

    def geo_add(self):
        key = self.geo_key()
        words = [b"GEOADD", key] + [self.mixed_case(o) for o in (b"NX", b"XX", b"CH") if self.chance(0.08)]
        for _ in range(self.random.choice([1, 1, 3, 20])):
            words += self.geo_place(key == TIES_KEY) + [self.geo_member()]
        return words

    def length(self):
        return b"%.3f" % (10 ** self.random.uniform(-1, 5)) if self.chance(0.95) else self.pick([b"0", b"-1", b"abc", b"1e9", b"inf", b"nan"])

    def unit(self):
        return self.pick(UNITS) if self.chance(0.98) else self.pick([b"yd", b"", b"kms"])

    def geo_limits(self, key, shown):
        """A count, an order, what is shown."""
        words = [[self.mixed_case(w)] for w in (b"WITHDIST", b"WITHHASH", b"WITHCOORD") if shown and self.chance(0.3)]
        if self.chance(0.4):
            count = b"%d" % self.random.randint(1, 8) if self.chance(0.95) else self.pick([b"0", b"-1", b"x"])
            words.append([b"COUNT", count] + ([b"ANY"] if key in TIES_KEYS or self.chance(0.4) else []))
        if self.chance(0.4):
            words.append([self.pick([b"ASC", b"DESC", b"asc"])])
        if self.chance(0.02):
            words.append(self.pick([[b"ANY"], [b"COUNT"], [b"nonsense"], [b"STOREDIST"], [b"WITHDIST"]]))
        self.random.shuffle(words)
        return [word for option in words for word in option]

    def geo_centre(self):
        return [b"FROMLONLAT"] + self.geo_place() if self.chance(0.6) else [b"FROMMEMBER", self.geo_member()]

    def geo_shape(self):
        if self.chance(0.5):
            return [b"BYRADIUS", self.length(), self.unit()]
        return [b"BYBOX", self.length(), self.length(), self.unit()]

    def geo_search(self):
        parts = [self.geo_centre(), self.geo_shape()]
        if self.chance(0.02):
            parts.append(self.pick([self.geo_centre, self.geo_shape])())
        self.random.shuffle(parts)
        words = [word for part in parts for word in part]
        key = self.geo_key()
        if self.chance(0.75):
            return [b"GEOSEARCH", key] + words + self.geo_limits(key, True)
        return [b"GEOSEARCHSTORE", self.pick([b"geo:out", b"geo:out", TIES_KEY]), key] + words + self.geo_limits(key, self.chance(0.03)) \
            + self.pick([[], [b"STOREDIST"]])

    def geo_radius(self):
        read_only, by_member = self.chance(0.4), self.chance(0.4)
        name = b"GEORADIUS" + (b"BYMEMBER" if by_member else b"") + (b"_RO" if read_only else b"")
        store = [self.pick([b"STORE", b"STOREDIST", b"store"]), b"geo:out"] if self.chance(0.02 if read_only else 0.25) else []
        key = self.geo_key()
        return [name, key] + ([self.geo_member()] if by_member else self.geo_place()) + [self.length(), self.unit()] \
            + self.geo_limits(key, not store or self.chance(0.1)) + store

    def geo_read(self):
        members = [self.geo_member() for _ in range(self.random.randint(0, 4))]
        return self.pick([
            lambda: [b"GEOPOS", self.geo_key()] + members, lambda: [b"GEOHASH", self.geo_key()] + members,
            lambda: [b"GEODIST", self.geo_key(), self.geo_member(), self.geo_member()] + self.pick([[], [self.unit()], [b"m", b"m"]]),
            lambda: [b"ZRANGE", b"geo:out", b"0", b"-1", b"WITHSCORES"], lambda: [b"ZSCORE", self.geo_key(), self.geo_member()],
            lambda: [b"DEL", self.pick(GEO_KEYS)] if self.chance(0.2) else [b"ZREM", self.geo_key(), self.geo_member()],
            lambda: [b"GEOPOS", b"z", b"a", b"b", b"c"], lambda: [b"GEOHASH", b"z", b"a", b"b", b"c", b"aa"]])()

    def geo(self):
        return self.pick([self.geo_add] * 5 + [self.geo_search] * 7 + [self.geo_radius] * 5 + [self.geo_read] * 4)()
