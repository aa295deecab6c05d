"""linear_model.py -- what each command of linear_mixed.py's histories does to a data set, written anew from its documentation.

Goal:   a sequential twin of the server: values in, one operation, its replies and the values after it.
Method: values is a dict of immutable values, so that a configuration can be remembered. An empty collection is absent. Entries
        that begin with "~" are not keys: who watches what, when a key may expire, what has just become ready for those who wait.
        WATCHES   a tuple of (client, keys, dirty, kept): every change of a key marks those who watch it. kept: EXEC is known to
                  have gone through, so that a change has no place meanwhile.
        "~dead:K" (ns, ms): K may go at any time from ns (of the test's clock) on, as an event of its own (expire), and PEXPIRETIME is ms.
        READY     the keys that the last transaction pushed more than one element to. Whoever waited is served from the
                  key that became ready first; whoever comes anew takes from the first of its words that holds something.
"""
from harness import ReplyError

WATCHES, DEAD, READY = "~watches", "~dead:", "~ready"
NO_PLACE = "no place"       # unequal to any list of replies
CLOCK_SLACK = 20000000      # ns: a server's clock may lag behind the test's by as much
FAR = 1 << 62               # ns: not in this run

NOT_INTEGER = "ERR value is not an integer or out of range"
NO_KEY = "ERR no such key"
ID_TOO_SMALL = "ERR The ID specified in XADD is equal or smaller than the target stream top item"


class NotYet(Exception):
    """A waiting command finds nothing here: it has no place before somebody pushes."""


class Doomed(NotYet):
    """Changes what is known to have stayed."""


class Failed(Exception):
    """A command replies an error and changes nothing."""


class Moment:
    """Of the operation that is being followed."""
    now = 0         # the earliest time of its effect
    pushes = []     # a key for each element pushed


# --- changes ------------------------------------------------------------------------------------------

def touch(values, key):
    watches = values.get(WATCHES)
    if watches and any(key in w[1] for w in watches):
        if any(kept and key in keys for _, keys, _, kept in watches):
            raise Doomed
        values[WATCHES] = tuple((client, (), True, False) if key in keys else (client, keys, dirty, kept) for client, keys, dirty, kept in watches)


def put(values, key, value):
    """A changed value; an empty collection is absent, and its deadline with it."""
    if value in ((), None):
        values.pop(key, None)
        values.pop(DEAD + key, None)
    else:
        values[key] = value
    touch(values, key)


def push(values, key, value, count=1):
    put(values, key, value)
    Moment.pushes += [key] * count


def expire(values, horizon):
    """Every way in which one key may expire before horizon."""
    for name in [name for name in values if name.startswith(DEAD) and values[name][0] <= horizon]:
        after = dict(values)
        try:
            put(after, name[len(DEAD):], None)
        except Doomed:
            continue
        yield after


# --- the types ---------------------------------------------------------------------------------------

def string_commands(values, name, key, words):
    old = values.get(key)
    if name == "GET":
        return old
    if name == "SET":
        values.pop(DEAD + key, None)
        put(values, key, words[0])
        if len(words) > 1:      # PX ms
            values[DEAD + key] = (Moment.now + int(words[2]) * 1000000, 0)
        return b"OK"
    if name == "INCR":
        try:
            number = int(old or 0) + 1
        except ValueError:
            raise Failed(NOT_INTEGER)
        put(values, key, b"%d" % number)
        return number
    if name == "GETDEL":
        if old is not None:
            put(values, key, None)
        return old
    put(values, key, (old or b"") + words[0])   # APPEND
    return len(values[key])


def key_commands(values, name, key, words):
    if name == "EXISTS":
        return int(key in values)
    if name == "PEXPIRETIME":
        return -2 if key not in values else values[DEAD + key][1] if DEAD + key in values else -1
    if key not in values:
        if name == "RENAME":
            raise Failed(NO_KEY)
        return 0
    if name == "DEL":
        put(values, key, None)
    elif name == "PEXPIRE":
        values[DEAD + key] = (Moment.now + int(words[0]) * 1000000, 0)
        touch(values, key)
    elif name == "PEXPIREAT":
        values[DEAD + key] = (FAR, int(words[0]))
        touch(values, key)
    elif name == "PERSIST":
        if not values.pop(DEAD + key, None):
            return 0
        touch(values, key)
    else:                       # RENAME
        value, deadline = values[key], values.get(DEAD + key)
        put(values, key, None)
        values.pop(DEAD + words[0], None)
        push(values, words[0], value, len(value) if isinstance(value, tuple) else 0)
        if deadline:
            values[DEAD + words[0]] = deadline
        return b"OK"
    return 1


def list_commands(values, name, key, words):
    old = values.get(key, ())
    if name in ("RPUSH", "LPUSH"):
        push(values, key, old + words if name == "RPUSH" else tuple(reversed(words)) + old, len(words))
        return len(old) + len(words)
    if name == "LRANGE":
        return list(old)
    if name == "LLEN":
        return len(old)
    if name == "LSET":          # index 0
        if not old:
            raise Failed(NO_KEY)
        put(values, key, words[1:] + old[1:])
        return b"OK"
    if name == "LPOP":
        if not old:
            return None
        put(values, key, old[1:])
        return old[0]
    return move(values, key, words) if old else None    # LMOVE


def move(values, key, words):
    """source target LEFT|RIGHT LEFT|RIGHT: an element that is there."""
    old, target = values[key], words[0]
    element, rest = (old[0], old[1:]) if words[1] == "LEFT" else (old[-1], old[:-1])
    put(values, key, rest)
    there = values.get(target, ())
    push(values, target, (element,) + there if words[2] == "LEFT" else there + (element,))
    return element


def hash_commands(values, name, key, words):
    old = dict(values.get(key, ()))
    if name == "HLEN":
        return len(old)
    if name == "HGET":
        return old.get(words[0])
    if name == "HSET":
        reply = int(words[0] not in old)
        old[words[0]] = words[1]
    elif name == "HINCRBY":
        reply = int(old.get(words[0], 0)) + int(words[1])
        old[words[0]] = b"%d" % reply
    else:                       # HDEL
        if old.pop(words[0], None) is None:
            return 0
        reply = 1
    put(values, key, tuple(sorted(old.items())))
    return reply


def set_commands(values, name, key, words):
    old = set(values.get(key, ()))
    if name == "SCARD":
        return len(old)
    if name == "SMOVE":
        target, member = words
        if member not in old:
            return 0
        put(values, key, tuple(sorted(old - {member})))
        there = set(values.get(target, ()))
        if member not in there:
            put(values, target, tuple(sorted(there | {member})))
        return 1
    new = old | set(words) if name == "SADD" else old - set(words)
    if new != old:
        put(values, key, tuple(sorted(new)))
    return abs(len(new) - len(old))


def zset_commands(values, name, key, words):
    old = dict(values.get(key, ()))
    if name == "ZRANGE":
        return sorted(old, key=lambda member: (old[member], member))
    if name == "ZCARD":
        return len(old)
    if name == "ZPOPMIN":
        return [part for pair in pop_scores(values, key, 1) for part in pair] if old else []
    score, member = int(words[0]), words[1]
    reply = int(member not in old)
    old[member] = score if name == "ZADD" else old.get(member, 0) + score
    push(values, key, tuple(sorted(old.items())))
    return reply if name == "ZADD" else b"%d" % old[member]


def pop_scores(values, key, count):
    in_order = sorted(values[key], key=lambda pair: (pair[1], pair[0]))
    put(values, key, tuple(sorted(in_order[count:])))
    return [[member, b"%d" % score] for member, score in in_order[:count]]


# --- streams: (last id, entries, group) with a group (last delivered, pending), of which each stream has one ----------------

NO_STREAM = ((0, 0), (), ((0, 0), ()))


def id_of(word):
    ms, _, seq = (word if isinstance(word, str) else word.decode()).partition("-")
    return int(ms), int(seq or 0)


def id_text(number):
    return b"%d-%d" % number


def shown(entries):
    return [[id_text(number), [b"f", value]] for number, value in entries]


def stream_commands(values, name, key, words):
    last, entries, group = values.get(key, NO_STREAM)
    if name == "XLEN":
        return len(entries)
    if name == "XRANGE":
        return shown(entries)
    if name == "XADD":          # id f value
        number = id_of(words[0])
        if number <= last:
            raise Failed(ID_TOO_SMALL)
        push(values, key, (number, entries + ((number, words[2]),), group))
        return id_text(number)
    if name in ("XDEL", "XTRIM"):   # one id; MAXLEN = n
        left = tuple(e for e in entries if e[0] != id_of(words[0])) if name == "XDEL" else entries[-int(words[2]):]
        if len(left) < len(entries):
            put(values, key, (last, left, group))
        return len(entries) - len(left)
    return group_commands(values, name, key, words)


def group_commands(values, name, key, words):
    last, entries, (delivered, pending) = values.get(key, NO_STREAM)
    if name == "XPENDING":
        owners = sorted({owner for _, owner in pending})
        return [len(pending), id_text(pending[0][0]), id_text(pending[-1][0]),
                [[owner, b"%d" % sum(o == owner for _, o in pending)] for owner in owners]] if pending else [0, None, None, None]
    left = dict(pending)
    if name == "XACK":          # group id
        reply = int(left.pop(id_of(words[1]), None) is not None)
    else:                       # XCLAIM group consumer 0 id JUSTID: what was deleted meanwhile is pending no more
        number, reply = id_of(words[3]), []
        if number in left and any(e[0] == number for e in entries):
            left[number], reply = words[1], [id_text(number)]
        else:
            left.pop(number, None)
    values[key] = (last, entries, (delivered, tuple(sorted(left.items()))))
    return reply


def read_words(command):
    """Of XREAD and XREADGROUP: keys, ids, count (0: all), consumer."""
    at = command.index("STREAMS")
    keys = command[at + 1:at + 1 + (len(command) - at - 1) // 2]
    count = command[command.index("COUNT") + 1] if "COUNT" in command[:at] else 0
    return keys, command[at + 1 + len(keys):], count, command[3] if command[0] == "XREADGROUP" else None


def news(values, command, key):
    """What a stream holds for a reader; a group's reader takes what nobody had."""
    keys, ids, count, consumer = read_words(command)
    _, entries, (delivered, _) = values.get(key, NO_STREAM)
    after = delivered if consumer else id_of(ids[keys.index(key)])
    found = tuple(e for e in entries if e[0] > after)
    return found[:count] if count else found


def read_streams(values, command, keys):
    consumer, reply = read_words(command)[3], []
    for key in keys:
        found = news(values, command, key)
        reply.append([key.encode(), shown(found)])
        if consumer:
            last, entries, (_, pending) = values[key]
            values[key] = (last, entries, (found[-1][0], tuple(sorted(pending + tuple((e[0], consumer) for e in found)))))
    return reply


def read_history(values, command):
    """XREADGROUP ... STREAMS key 0: what this consumer has not acknowledged."""
    (key,), _, _, consumer = read_words(command)
    _, entries, (_, pending) = values.get(key, NO_STREAM)
    there = dict(entries)
    return [[key.encode(), [[id_text(n), [b"f", there[n]] if n in there else None] for n, owner in pending if owner == consumer]]]


# --- commands that may wait, or would if they had to ---------------------------------------------------------

WAITING = ("BLPOP", "BLMOVE", "BLMPOP", "BZPOPMIN", "BZMPOP", "XREAD", "XREADGROUP")


def waits_for(command):
    """The keys that it takes from."""
    name = command[0]
    if name in ("BLMPOP", "BZMPOP"):
        return command[3:3 + command[2]]
    if name in ("BLPOP", "BZPOPMIN"):
        return command[1:-1]
    return command[1:2] if name == "BLMOVE" else read_words(command)[0]


def is_patient(command):
    """Waits until it is served: nil is no answer. Short waits are below a second."""
    name = command[0]
    if name in ("XREAD", "XREADGROUP"):
        return "BLOCK" in command and command[command.index("BLOCK") + 1] >= 1000
    return command[1 if name in ("BLMPOP", "BZMPOP") else -1] >= 1


def holds_something(values, command, key):
    return bool(news(values, command, key) if command[0][0] == "X" else values.get(key))


def could_be_served(values, command):
    return command[0] in WAITING and any(holds_something(values, command, key) for key in waits_for(command))


def is_served_along(values, operation, other):
    """Of those whom one transaction serves, one has no need to come behind another who waits for other keys."""
    command = operation.commands[0]
    if READY not in values or operation.form != "plain" or command[0] not in WAITING or operation.replies[0] is None:
        return False
    reply = operation.replies[0][0]
    key = command[1].encode() if command[0] == "BLMOVE" else reply[0] if command[0][0] == "X" else reply
    return key.decode() not in waits_for(other.commands[0])


def take(values, command, keys):
    """The command's effect: of XREAD on all of these keys, of the others on the first."""
    name, key = command[0], keys[0]
    if name[0] == "X":
        return read_streams(values, command, keys)
    if name == "BLMOVE":
        return move(values, key, command[2:])
    if name == "BZPOPMIN":
        return [key.encode()] + pop_scores(values, key, 1)[0]
    if name == "BZMPOP":
        return [key.encode(), pop_scores(values, key, command[-1])]
    old, count = values[key], 1 if name == "BLPOP" else command[-1]
    put(values, key, old[count:])
    return [key.encode(), old[0] if name == "BLPOP" else list(old[:count])]


def wait(values, command, observed):
    """observed: the reply that was seen, to choose among those keys that a transaction made ready at once."""
    if command[0] == "XREADGROUP" and command[-1] != ">":
        return read_history(values, command)
    filled = [key for key in waits_for(command) if holds_something(values, command, key)]
    if not filled:
        if is_patient(command) and observed is not IN_TRANSACTION:
            raise NotYet
        return None
    if observed is not IN_TRANSACTION:
        for key in filled:
            if key in values.get(READY, ()):
                trial = dict(values)
                if take(trial, command, [key]) == observed:
                    return take(values, command, [key])
    return take(values, command, filled)


IN_TRANSACTION = object()       # there nobody waits


# --- scripts: text, and the same in Python -----------------------------------------------------------------

# A count, a hash and a list; all or nothing.
SPREAD = ("local n = redis.call('INCR', KEYS[1]) redis.call('HSET', KEYS[2], ARGV[1], n) "
          "redis.call('RPUSH', KEYS[3], ARGV[1]) return {n, redis.call('HLEN', KEYS[2]), redis.call('LLEN', KEYS[3])}")
# Reads several types at one point.
LOOK = "return {redis.call('GET', KEYS[1]), redis.call('HLEN', KEYS[2]), redis.call('LLEN', KEYS[3]), redis.call('SCARD', KEYS[4])}"
# What it writes to depends on what it reads: a count sends it to one of two lists.
ROUTE = ("local n = redis.call('INCR', KEYS[1]) local to = n % 2 == 0 and KEYS[2] or KEYS[3] redis.call('RPUSH', to, ARGV[1]) "
         "redis.call('SADD', KEYS[4], n) return {n, redis.call('LLEN', to), redis.call('SCARD', KEYS[4])}")
# Empties one list into another, and writes down how much.
DRAIN = ("local all = redis.call('LRANGE', KEYS[1], 0, -1) redis.call('DEL', KEYS[1]) for i = 1, #all do redis.call('RPUSH', KEYS[2], all[i]) end "
         "redis.call('HSET', KEYS[3], ARGV[1], #all) redis.call('APPEND', KEYS[4], ARGV[1]) return {#all, redis.call('LLEN', KEYS[2])}")
# Fails at its end, when a list is empty: a strict transaction undoes the rest of it.
DEMAND = "redis.call('INCR', KEYS[1]) redis.call('SADD', KEYS[2], ARGV[1]) redis.call('LSET', KEYS[3], 0, ARGV[1]) return redis.call('SCARD', KEYS[2])"


def run_script(values, text, k, argument):
    run = lambda *words: step(values, words)
    if text == LOOK:
        return [run("GET", k[0]), run("HLEN", k[1]), run("LLEN", k[2]), run("SCARD", k[3])]
    if text == DEMAND:
        run("INCR", k[0])
        run("SADD", k[1], argument)
        run("LSET", k[2], 0, argument)
        return run("SCARD", k[1])
    if text == DRAIN:
        everything = run("LRANGE", k[0], 0, -1)
        run("DEL", k[0])
        if everything:
            run("RPUSH", k[1], *everything)
        run("HSET", k[2], argument, b"%d" % len(everything))
        run("APPEND", k[3], argument)
        return [len(everything), run("LLEN", k[1])]
    number = run("INCR", k[0])
    if text == ROUTE:
        to = k[1] if number % 2 == 0 else k[2]
        run("RPUSH", to, argument)
        run("SADD", k[3], b"%d" % number)
        return [number, run("LLEN", to), run("SCARD", k[3])]
    run("HSET", k[1], argument, b"%d" % number)
    run("RPUSH", k[2], argument)
    return [number, run("HLEN", k[1]), run("LLEN", k[2])]


# --- operations ----------------------------------------------------------------------------------------

GROUPS = {string_commands: "GET SET INCR GETDEL APPEND", list_commands: "RPUSH LPUSH LRANGE LLEN LSET LPOP LMOVE",
          key_commands: "DEL EXISTS PEXPIRE PEXPIREAT PEXPIRETIME PERSIST RENAME",
          hash_commands: "HSET HINCRBY HDEL HLEN HGET", set_commands: "SADD SREM SMOVE SCARD",
          zset_commands: "ZADD ZINCRBY ZRANGE ZCARD ZPOPMIN", stream_commands: "XADD XLEN XRANGE XDEL XTRIM XACK XPENDING XCLAIM"}
GROUP_OF = {name: group for group, names in GROUPS.items() for name in names.split()}
TWO_KEYS = ("LMOVE", "BLMOVE", "SMOVE", "RENAME")


def keys_of(command):
    if command[0] == "EVAL":
        return command[3:3 + command[2]]
    if command[0] == "WATCH":
        return command[1:]
    if command[0] in TWO_KEYS:
        return command[1:3]
    return waits_for(command) if command[0] in WAITING else command[1:2]


def step(values, command, observed=IN_TRANSACTION):
    if command[0] == "EVAL":
        count = command[2]
        return run_script(values, command[1], command[3:3 + count], command[3 + count] if len(command) > 3 + count else None)
    if command[0] in WAITING:
        return wait(values, command, observed)
    return GROUP_OF[command[0]](values, command[0], command[1], tuple(command[2:]))


def follow(values, operation):
    """Applies an operation to values; its replies, or NO_PLACE."""
    Moment.now, Moment.pushes = operation.began - CLOCK_SLACK, []
    ready = values.pop(READY, ())
    try:
        replies = FORMS[operation.form](values, operation, ready)
    except NotYet:
        return NO_PLACE
    if len(Moment.pushes) > 1 or (ready and READY in values):
        values[READY] = tuple(sorted(set(Moment.pushes) | set(values.get(READY, ()))))
    return replies


def single(values, operation, ready):
    command = operation.commands[0]
    if command[0] in ("WATCH", "UNWATCH"):
        return [watch(values, operation, command)]
    waits = command[0] in WAITING
    if waits and ready:
        values[READY] = ready       # others who waited may follow
    try:
        return [step(values, command, operation.replies[0] if waits else IN_TRANSACTION)]
    except Failed as error:
        return [ReplyError(str(error))]


def watch(values, operation, command):
    client = operation.client
    mine = [w for w in values.get(WATCHES, ()) if w[0] == client]
    if command[0] == "UNWATCH":
        forget_watch(values, client)
    elif operation.kept is not None and not (mine and mine[0][2]):
        forget_watch(values, client)
        keys = tuple(sorted(set(command[1:]) | set(mine[0][1] if mine else ())))
        values[WATCHES] = tuple(sorted(values.get(WATCHES, ()) + ((client, keys, False, operation.kept),)))
    return b"OK"


def note_outcomes(history):
    """Looks ahead: what came of each WATCH."""
    for client in {operation.client for operation in history}:
        kept = None
        for operation in sorted((o for o in history if o.client == client), key=lambda o: -o.began):
            if operation.form in ("multi", "strict"):
                kept = operation.replies is not None
            elif operation.form == "discard" or operation.commands[0][0] == "UNWATCH":
                kept = None
            elif operation.commands[0][0] == "WATCH":
                operation.kept = kept


# Replies by which a command changed nothing.
LOOKS = "GET EXISTS PEXPIRETIME LRANGE LLEN HLEN HGET SCARD ZRANGE ZCARD XLEN XRANGE XPENDING XREAD".split()
NOTHING_DONE = {0: "SADD SREM SMOVE HDEL DEL PERSIST PEXPIRE PEXPIREAT XACK XDEL XTRIM".split(), None: ("LPOP", "GETDEL", "LMOVE") + WAITING}


def changed_nothing(command, reply):
    name = command[0]
    if isinstance(reply, ReplyError):
        return name != "EVAL"
    if name in LOOKS or (name == "EVAL" and command[1] == LOOK) or (name == "ZPOPMIN" and reply == []):
        return True
    return reply in (0, None) and name in NOTHING_DONE[reply]


def may_come_at_once(values, operation):
    """What fits here, and by its replies changes nothing that another client sees, wherever it comes."""
    if READY in values:
        return False
    if operation.form == "discard" or not isinstance(operation.replies, list):
        return True     # refused, or undone
    if operation.commands[0][0] in ("WATCH", "UNWATCH"):
        return not operation.kept
    return all(map(changed_nothing, operation.commands, operation.replies))


def forget_watch(values, client):
    """Its watch ends; returns whether something it watched has changed."""
    dirty = any(w[0] == client and w[2] for w in values.get(WATCHES, ()))
    others = tuple(w for w in values.get(WATCHES, ()) if w[0] != client)
    values.pop(WATCHES, None)
    if others:
        values[WATCHES] = others
    return dirty


def multi(values, operation, _):
    """nil when a watched key has changed."""
    if forget_watch(values, operation.client):
        return None
    if operation.form == "strict":
        trial = dict(values)
        trial.pop(WATCHES, None)        # what is undone marks nobody
        failed = next((n for n, reply in enumerate(run_all(trial, operation)) if isinstance(reply, ReplyError)), None)
        Moment.pushes = []
        if failed is not None:
            return ReplyError("EXECABORT Transaction undone because of command %d, '%s'" % (failed + 1, operation.commands[failed][0].lower()))
    return list(run_all(values, operation))


def run_all(values, operation):
    for command in operation.commands:
        try:
            yield step(values, command)
        except Failed as error:
            yield ReplyError(str(error))


def discard(values, operation, _):
    forget_watch(values, operation.client)
    return [b"OK"]


FORMS = {"plain": single, "multi": multi, "strict": multi, "discard": discard}
