"""linear_mutate.py -- breaks one reply of a correct history, so that no order explains it any more.

Goal:   linear_mixed.py shows with these that its checker rejects what it must.
Method: each function changes the history in place and returns True, or returns False if it offers no chance.
"""
from linear_model import SPREAD, is_patient, waits_for, WAITING


def popped_twice(history, chooser):
    """Two pops of elements that were pushed once each are made to have had the same."""
    pops = [o for o in history if o.form == "plain" and o.commands[0][0] in ("BLPOP", "LPOP") and o.replies[0]]
    if len(pops) < 2:
        return False
    one, other = chooser.sample(pops, 2)
    element = one.replies[0] if one.commands[0][0] == "LPOP" else one.replies[0][1]
    other.replies = [element] if other.commands[0][0] == "LPOP" else [[other.replies[0][0], element]]
    return True


def repeated_count(history, chooser):
    """A count is seen twice: an update was lost."""
    counts = [o for o in history if o.commands[0][0] == "EVAL" and o.form == "plain" and o.commands[0][1] == SPREAD and o.replies[0][0] > 1]
    if not counts:
        return False
    one = chooser.choice(counts)
    one.replies = [[one.replies[0][0] - 1] + one.replies[0][1:]]
    return True


def half_script(history, chooser):
    """A script counted itself but did not see its own push."""
    runs = [o for o in history if o.form == "plain" and o.commands[0][0] == "EVAL" and o.commands[0][1] == SPREAD]
    if not runs:
        return False
    one = chooser.choice(runs)
    one.replies = [one.replies[0][:2] + [0]]
    return True


def lost_element(history, chooser):
    """What a range showed in the middle is not there, and never comes back: a hole."""
    ranges = [o for o in history if o.form == "plain" and o.commands[0][0] == "LRANGE" and len(o.replies[0]) > 2]
    if not ranges:
        return False
    one = chooser.choice(ranges)
    one.replies = [one.replies[0][:1] + [b"nobody pushed this"] + one.replies[0][2:]]
    return True


def wrong_score(history, chooser):
    scores = [o for o in history if o.form == "plain" and o.commands[0][0] in ("ZPOPMIN", "BZPOPMIN") and o.replies[0]]
    if not scores:
        return False
    one = chooser.choice(scores)
    one.replies = [one.replies[0][:-1] + [b"77"]]
    return True


def half_multi(history, chooser):
    """Inside a MULTI an INCR follows another by two."""
    found = [(o, i) for o in history if o.form == "multi" and o.replies for i, c in enumerate(o.commands) if c[0] in ("RPUSH", "INCR") and isinstance(o.replies[i], int)]
    if not found:
        return False
    one, i = chooser.choice(found)
    one.replies = one.replies[:i] + [one.replies[i] + 200] + one.replies[i + 1:]
    return True


def gave_up(history, chooser):
    """Who waits for a minute was told nil at once."""
    found = [o for o in history if o.form == "plain" and o.commands[0][0] in WAITING and is_patient(o.commands[0])]
    if not found:
        return False
    chooser.choice(found).replies = [None]
    return True


def pusher(history, key, element):
    return next((o for o in history if o.form == "plain" and o.commands[0][0] in ("RPUSH", "LPUSH") and o.commands[0][1] == key and element in o.commands[0][2:]), None)


def out_of_turn(history, chooser):
    """Two who waited for the same list, one known to be the first, get each other's element, of which one was known to come first."""
    found = [(o, pusher(history, o.replies[0][0].decode(), o.replies[0][1])) for o in history
             if o.form == "plain" and o.commands[0][0] == "BLPOP" and o.replies[0]]
    pairs = [(a, b) for a, p in found for b, q in found if a.waits_since and a.waits_since < b.began < a.ended and a.replies[0][0] == b.replies[0][0]
             and p and q and p.ended < q.began]
    if not pairs:
        return False
    one, other = chooser.choice(pairs)
    one.replies, other.replies = other.replies, one.replies
    return True


def entry_twice(history, chooser):
    """Two readers of a group had the same new entries."""
    reads = [o for o in history if o.form == "plain" and o.commands[0][0] == "XREADGROUP" and o.commands[0][-1] == ">" and o.replies[0]]
    pairs = [(a, b) for a in reads for b in reads if a is not b and a.replies[0][0][0] == b.replies[0][0][0]]
    if not pairs:
        return False
    one, other = chooser.choice(pairs)
    other.replies = one.replies
    return True


def refused_without_cause(history, chooser):
    """An EXEC answered nil, although nobody came near what it watched."""
    found = []
    for o in history:
        watches = [w for w in history if w.client == o.client and w.joins and w.began < o.began and w.commands[0][0] in ("WATCH", "UNWATCH")] if o.form == "multi" else []
        if not o.joins or not o.replies or not watches:
            continue
        last = max((w for w in watches if w.began < o.began), key=lambda w: w.began)
        begin = max((w.ended for w in history if w.client == o.client and w.began < o.began and w.form in ("multi", "discard")), default=0)
        watched = {key for w in watches if w.began > begin for key in w.commands[0][1:]}
        near = [n for n in history if n is not o and n not in watches and n.ended > begin and n.began < o.ended and n.keys() & watched]
        if last.commands[0][0] == "UNWATCH" or (not near and not any(key.endswith("flash") for key in watched)):
            found.append(o)
    if not found:
        return False
    chooser.choice(found).replies = None
    return True


MUTATIONS = (popped_twice, repeated_count, half_script, lost_element, wrong_score, half_multi, gave_up, out_of_turn, entry_twice,
             refused_without_cause)


def mutate(history, chooser, counts):
    """What has been tried least comes first. The name of what was done, or None."""
    kinds = sorted(MUTATIONS, key=lambda kind: counts.get(kind.__name__, 0))
    return next((kind.__name__ for kind in kinds if kind(history, chooser)), None)
