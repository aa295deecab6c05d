"""oracle_compare.py -- when are two replies the same?

Goal:   everything is compared, except what Redis itself leaves open.
Method: replies are wire pairs (type, value). A command may have a rule that brings a reply into a
        comparable form: unordered elements sorted, clocks with a tolerance, random choices
        checked for membership instead. EXEC applies the rule of each queued command.
        SOLO commands need further questions to judge (SCAN is iterated to its end, RANDOMKEY is
        looked up, DBSIZE may count keys that expired but are not collected yet, until SCAN has
        passed by), so they are sent alone and run_solo() answers for them; in MULTI they are
        compared by type only. What SPOP took is put back, so that both servers stay alike; in MULTI, where
        that cannot be, it takes all (queued_form).
"""
from harness import plain
from oracle_generate_scripts import asks_for_resp3, inner_command
from oracle_generate_sets import POP_ALL

# Intended differences: never sent, but at their edges (oracle_generate_edges.py). Grow this list only with a reason.
#   INFO, COMMAND, CONFIG, DEBUG, LATENCY, MEMORY: the server describes itself.
#   Scores: -0 is 0 here, where Redis shows it as -0 (_zeros).
#   CLIENT LIST/INFO, OBJECT REFCOUNT/IDLETIME/FREQ values, HELLO version: see the rules below.
DIFFERENCES = {b"INFO", b"COMMAND", b"CONFIG", b"DEBUG", b"LATENCY", b"MEMORY"}

SOLO = {b"SCAN", b"HSCAN", b"SSCAN", b"ZSCAN", b"RANDOMKEY", b"HRANDFIELD", b"SRANDMEMBER", b"SPOP", b"DBSIZE"}

TOLERANCE = {b"TTL": 3, b"EXPIRETIME": 3, b"PTTL": 3000, b"PEXPIRETIME": 3000}
SCAN_CALLS_MAX = 100000


def _shape(reply):
    """Types without values: what must still agree when the value is free."""
    kind, value = reply
    return kind, value is None, value if kind == "-" else None


def _secret(reply):
    """Random digits: so many, of those."""
    kind, value = reply
    return (kind, len(value), set(value) <= set(b"0123456789abcdef")) if kind == "$" and value else reply


def _listed(reply):
    """Addresses, times, buffers; what is compared is whether the filter leaves anybody."""
    return _shape(reply), bool(reply[1])


def _sorted_elements(reply):
    kind, value = reply
    return (kind, sorted(value)) if isinstance(value, list) else reply


def _sorted_pairs(reply):
    kind, value = reply
    return (kind, sorted(zip(value[::2], value[1::2]))) if isinstance(value, list) else reply


def hello_form(reply):
    kind, value = reply
    if not isinstance(value, list):
        return reply
    pairs = [(value[i][1], value[i + 1]) for i in range(0, len(value), 2)]
    return kind, [(name, _shape(v) if name in (b"server", b"version", b"id") else v) for name, v in pairs]


def _no_idle(reply):
    """XPENDING's rows without their third column, a time; the summary as it is."""
    kind, value = reply
    if not isinstance(value, list) or not value or not all(isinstance(row[1], list) and len(row[1]) == 4 for row in value):
        return reply
    return kind, [row[1][:2] + row[1][3:] for row in value]


UNSAID = (b"radix-tree-keys", b"radix-tree-nodes", b"idle", b"inactive", b"seen-time", b"active-time")
CLOCK_MS = 10 ** 12


def _no_nodes(reply):
    """XINFO without the nodes of Redis' radix tree, without times, and without what 7.2 added (newer.py looks at both)."""
    kind, value = reply
    if kind == ":" and value > CLOCK_MS:
        return kind, "a time"   # of a delivery, in FULL
    if not isinstance(value, list):
        return reply
    if len(value) % 2 == 0 and any(item[0] == "$" and item[1] in UNSAID for item in value[::2]):
        value = [item for i in range(0, len(value), 2) if value[i][1] not in UNSAID for item in value[i:i + 2]]
    return kind, [_no_nodes(item) for item in value]


def _deep_sorted(reply):
    """Libraries and their functions come in any order, so everything is sorted at every depth."""
    kind, value = reply
    return (kind, sorted(map(_deep_sorted, value), key=repr)) if isinstance(value, list) else reply


def _zeros(reply):
    kind, value = reply
    if isinstance(value, list):
        return kind, [_zeros(v) for v in value]
    return kind, b"0" if value == b"-0" else value


RULES = {
    b"KEYS": _sorted_elements, b"HKEYS": _sorted_elements, b"HVALS": _sorted_elements, b"HGETALL": _sorted_pairs,
    b"HELLO": hello_form, b"SCAN": _shape, b"HSCAN": _shape, b"RANDOMKEY": _shape, b"HRANDFIELD": _shape,
    b"DBSIZE": _shape, b"SSCAN": _shape, b"SRANDMEMBER": _shape, b"SMEMBERS": _sorted_elements, b"SPOP": _sorted_elements,
    b"ZRANDMEMBER": _shape, b"XPENDING": _no_idle, b"XINFO": _no_nodes,
    b"SINTER": _sorted_elements, b"SUNION": _sorted_elements, b"SDIFF": _sorted_elements,
    b"ZSCAN": _shape, b"TIME": _shape, b"LASTSAVE": _shape, b"INFO": _shape, b"MEMORY": _shape, b"LATENCY": _shape, b"SLOWLOG": _shape,
    b"DUMP": _shape, # which packing is chosen is free; dump.py compares what RESTORE makes of it
}
FREE_SUBCOMMANDS = {(b"OBJECT", b"REFCOUNT"), (b"OBJECT", b"IDLETIME"), (b"OBJECT", b"FREQ"), (b"CLIENT", b"ID"), (b"CLIENT", b"INFO"), (b"CLUSTER", b"INFO"), (b"ACL", b"LOG"),
                    (b"ACL", b"CAT"), (b"FUNCTION", b"DUMP"), (b"COMMAND", b"COUNT"), (b"COMMAND", b"DOCS"), (b"COMMAND", b"INFO"), (b"COMMAND", b"LIST"), (b"CONFIG", b"GET")}


def _rule(words):
    name = words[0].upper()
    if len(words) > 1 and (name, words[1].upper()) in FREE_SUBCOMMANDS:
        return _shape
    if [word.upper() for word in words[:2]] == [b"ACL", b"GENPASS"]:
        return _secret
    if [word.upper() for word in words[:2]] in ([b"PUBSUB", b"CHANNELS"], [b"PUBSUB", b"SHARDCHANNELS"]):
        return _sorted_elements
    if [word.upper() for word in words[:2]] == [b"CLIENT", b"LIST"]:
        return _listed
    if len(words) == 2 and words[1].upper() == b"HELP" or name == b"COMMAND" and len(words) == 1:
        return _shape
    if name == b"FUNCTION":
        return _deep_sorted
    return RULES.get(name, _zeros if name[:1] == b"Z" or name[:2] == b"BZ" else None)


NO_KEY = (b"no permissions to access one of the keys", b"can't access at least one of the keys")
NOT_NUMBERS = ("-", b"ERR One or more scores can't be converted into double")


def same_reply(words, a, b):
    """Whether one command's replies agree."""
    if a == b:
        return a[0] != "dead"
    inner = inner_command(words)
    if inner and same_reply(inner, a, b):
        return True
    if inner and asks_for_resp3(words) and _deep_sorted(a) == _deep_sorted(b):
        return a[0] != "dead"
    tolerance = TOLERANCE.get(words[0].upper())
    if tolerance and a[0] == b[0] == ":":
        return a[1] > 0 and b[1] > 0 and abs(a[1] - b[1]) <= tolerance
    if words[0].upper() in (b"SORT", b"SORT_RO") and a == NOT_NUMBERS and b[0] != "-":
        return True  # Redis asks errno after strtod and does not clear it before: an overflow of any earlier command shows here
    if a[0] == b[0] == "-" and any(text in a[1] for text in NO_KEY):
        return True  # words that are wrong anyway: documented
    rule = _rule(words)
    return rule is not None and a[0] == b[0] != "dead" and rule(a) == rule(b)


class Comparer:
    """One session: remembers what MULTI has queued, as told by the replies."""

    def __init__(self):
        self.queue = []
        self.in_multi = False

    def same(self, words, a, b):
        name = words[0].upper()
        if name == b"EXEC" and a[0] == b[0] == "*" and a[1] is not None and b[1] is not None:
            queue, self.queue, self.in_multi = self.queue, [], False
            return len(a[1]) == len(b[1]) == len(queue) \
                and all(same_reply(w, x, y) for w, x, y in zip(queue, a[1], b[1]))
        if a == ("+", b"QUEUED"):
            self.queue.append(words)
        elif name == b"MULTI" and a == ("+", b"OK"):
            self.in_multi = True
        elif name == b"RESET" and a == ("+", b"RESET"):
            self.queue, self.in_multi = [], False
        elif name in (b"EXEC", b"DISCARD") and (len(words) == 1 or a[1][:9] == b"EXECABORT"):
            self.queue, self.in_multi = [], False
        return same_reply(words, a, b)

    @staticmethod
    def same_solo(words, a, b):
        return a == b and a[0] != "dead"


# --- commands that need more than one question ---------------------------------------------------

def run_solo(client, words):
    """Runs a SOLO command outside MULTI and returns a form that must be equal on both servers."""
    reply = client.wire(*words)
    if reply[0] in "-" or reply[1] is None:
        return reply
    name = words[0].upper()
    if name == b"DBSIZE":
        _scan_to_end(client, [b"SCAN", b"0"], client.wire("SCAN", "0"))
        return client.wire(*words)
    if name in (b"SCAN", b"HSCAN", b"SSCAN", b"ZSCAN"):
        return _scan_to_end(client, words, reply)
    if name == b"RANDOMKEY":
        return reply[0], "exists %d" % client.call("EXISTS", reply[1])
    if name == b"SPOP":
        return _popped(client, words, reply)
    if name == b"SRANDMEMBER":
        return _random_members(client, words, reply)
    return _random_fields(client, words, reply)


def queued_form(words):
    """What is sent inside MULTI in place of a SOLO command."""
    return words[:2] + [POP_ALL] if words[0].upper() == b"SPOP" and len(words) in (2, 3) else words


def _popped(client, words, reply):
    """Puts the members back, unless the key is gone: then both servers have popped all."""
    single = reply[0] == "$"
    items = [reply[1]] if single else plain(reply)
    rest = client.call("SMEMBERS", words[1])
    if rest and items:
        client.call("SADD", words[1], *items)
    return reply[0], len(items), len(set(items)), sorted(items + rest), bool(rest)


def _random_members(client, words, reply):
    content = set(client.call("SMEMBERS", words[1]))
    if reply[0] == "$":
        return reply[0], reply[1] in content
    items = plain(reply)
    return reply[0], len(items), set(items) <= content, int(words[2]) < 0 or len(set(items)) == len(items)


def _scan_to_end(client, words, reply):
    """All elements over the whole iteration, as a set: Redis may return one twice."""
    name = words[0].upper()
    at, pairs = 1 if name == b"SCAN" else 2, name in (b"HSCAN", b"ZSCAN")
    second = _zeros if name == b"ZSCAN" else lambda value: value  # the score, as in every other reply of sorted sets
    words, seen, shape = list(words), set(), None
    for _ in range(SCAN_CALLS_MAX):
        cursor, elements = reply[1]
        shape = reply[0], cursor[0], elements[0]
        items = elements[1]
        seen.update(zip(items[::2], map(second, items[1::2])) if pairs else items)
        if cursor[1] == b"0":
            return shape, sorted(seen)
        words[at] = cursor[1]
        reply = client.wire(*words)
        if not isinstance(reply[1], list):
            return ("scan broke off", reply)
    return ("scan does not end", len(seen))


def _random_fields(client, words, reply):
    """The free choice becomes: type, how many, all of them members, all different when count > 0."""
    content = client.call("HGETALL", words[1])
    content = content if isinstance(content, dict) else dict(zip(content[::2], content[1::2]))
    if reply[0] == "$":
        return reply[0], reply[1] in content
    items = plain(reply)
    if len(words) == 4:
        pairs = [tuple(p) for p in items] if items and isinstance(items[0], list) else list(zip(items[::2], items[1::2]))
        members = all(content.get(f) == v for f, v in pairs)
        fields = [f for f, _ in pairs]
    else:
        fields = items
        members = all(f in content for f in fields)
    nested = [item[0] for item in reply[1][:1]]
    return reply[0], nested, len(items), members, int(words[2]) < 0 or len(set(fields)) == len(fields)
