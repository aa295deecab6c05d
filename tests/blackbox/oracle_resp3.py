"""oracle_resp3.py -- epochs of oracle.py whose connections speak RESP3 and stay with it.

Goal:   maps, sets, doubles, nulls, booleans, big numbers and verbatim texts of every command, from scripts, too, and pushes where Redis
        has them between replies.
Method: the generator of all commands, without what leads back to RESP2. Channels of its own are listened to and published on by the
        same connection, each command alone and followed by ECHO: replies are compared in order, and pushes in order; where a message
        stands between them is not (Redis puts it in front of PUBLISH's own reply, since 7.2 behind it). Scripts ask for
        replies in RESP3, so these are converted to Lua and back (oracle_generate_scripts.py has the callers).
"""
from oracle_generate import Generator

LISTENING = {b"SUBSCRIBE", b"UNSUBSCRIBE", b"PSUBSCRIBE", b"PUNSUBSCRIBE", b"SSUBSCRIBE", b"SUNSUBSCRIBE", b"mine:PUBLISH", b"mine:SPUBLISH"}
CHANNELS = [b"mine", b"mine:1", b"mine:\r\n", b"mine:\xff\x00"]
PATTERNS = [b"mine*", b"mine", b"*:1", b"mine:?"]
END = b"everything before this is compared"
FRAMES_MAX = 200


def listen(client, words, session):
    """All that arrives for one command. A session has channels of its own: another one's message would come at any time."""
    publishes = words[0].startswith(b"mine:")
    names = words[1:2] if publishes else words[1:]
    sent = [b"%d:%b" % (session, name) for name in names] + words[1 + len(names):]
    client.send(words[0][len(b"mine:"):] if publishes else words[0], *sent)
    client.send("ECHO", END)
    replies, pushes, owed = [], [], None
    for _ in range(FRAMES_MAX):
        frame = client.read()
        (pushes if frame[0] == ">" else replies).append(frame)
        if publishes and frame[0] == ":":
            owed = frame[1]     # nobody else listens
        if ("$", END) in replies and (owed is None or len(pushes) >= owed):
            break
    if words[0].endswith(b"UNSUBSCRIBE") and len(words) == 1:   # from all: in any order
        return (replies, sorted(push[1][:2] for push in pushes), [push[1][2:] for push in pushes])
    if publishes:   # to the patterns that match, in any order, but behind those who listen to the channel
        direct = [push for push in pushes if push[1][0][1] != b"pmessage"]
        pushes[len(direct):] = sorted(pushes[len(direct):])
    return (replies, pushes)


class Resp3Generator(Generator):
    def listening(self):
        channels = [self.pick(CHANNELS) for _ in range(self.random.randint(0, 3))]
        patterns = [self.pick(PATTERNS) for _ in range(self.random.randint(0, 2))]
        return self.pick([
            lambda: [b"SUBSCRIBE"] + channels, lambda: [b"SUBSCRIBE", self.pick(CHANNELS)], lambda: [b"PSUBSCRIBE"] + patterns,
            lambda: [b"UNSUBSCRIBE"] + channels, lambda: [b"PUNSUBSCRIBE"] + patterns, lambda: [b"SSUBSCRIBE"] + channels[:2],
            lambda: [b"SUNSUBSCRIBE"] + channels[:1]] + [lambda: [self.pick([b"mine:PUBLISH"] * 3 + [b"mine:SPUBLISH"]), self.pick(CHANNELS), self.value()]] * 6)()

    def command(self):
        if self.chance(0.02):
            return self.listening()
        words = super().command()
        name = words[0].upper()
        if name == b"RESET" or (name == b"HELLO" and words[1:2] == [b"2"]):
            return [b"HELLO", b"3"]
        return words
