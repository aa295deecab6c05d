"""oracle_generate_scripts.py -- scripts and functions for oracle_generate.py.

Goal:   every command of the generator once more from inside Lua, where replies are converted twice.
Method: a few scripts that hand their arguments to redis.call or redis.pcall, and some that return values of every kind. The arguments
        are a command of another group; oracle_compare.py judges such a reply by the rule of that command (inner_command). Commands whose
        choice is free are left out: nothing could be looked up in between.
"""
import hashlib

CALL = b"return redis.call(unpack(ARGV))"
RESP3_CALLERS = [b"redis.setresp(3) return redis.call(unpack(ARGV))", b"redis.setresp(3) local r = redis.pcall(unpack(ARGV)) return r"]
CALLERS = [CALL, b"return redis.pcall(unpack(ARGV))", b"local r = redis.pcall(unpack(ARGV)) return r"] + RESP3_CALLERS
VALUES = [b"return 1", b"return 3.99", b"return -0.5", b"return 'x'", b"return nil", b"return true", b"return false", b"return {}",
          b"return {1, 2, {3, 'a', nil, 5}}", b"return {1, nil, 3}", b"return redis.error_reply('MY error')", b"return redis.status_reply('FINE')",
          b"return {err = 'no code'}", b"return {ok = 'a\\r\\nb'}", b"return #KEYS + #ARGV", b"return {KEYS, ARGV}", b"return KEYS[1]", b"return ARGV[2]",
          b"return redis.sha1hex(ARGV[1] or '')", b"return cjson.encode({1, 'a', {x = 2}})", b"return cjson.decode('[1, 2.5, \"a\", null, true]')",
          b"return {double = 3.5}", b"return {map = {a = 1}}", b"return {big_number = '123'}", b"redis.setresp(3) return {double = 3.25}",
          b"redis.setresp(3) return {map = {a = 1}}", b"redis.setresp(3) return {set = {a = true}}", b"redis.setresp(3) return true",
          b"redis.setresp(3) return {true, false, {double = -1.5}, {double = 1e300}, {double = 0.1}, {big_number = '-12\\r34'}}",
          b"redis.setresp(3) return {verbatim_string = {format = 'txt', string = 'a\\nb'}}", b"return {map = {}}", b"return {set = {}}",
          b"redis.setresp(3) return redis.call('HGETALL', 'h').map", b"redis.setresp(3) return {{map = {a = {set = {x = true}}}}, {double = 2}}",
          b"redis.setresp(3) return redis.call('HGETALL', 'h')[1]", b"return bit.band(0xff, 0x0f)", b"return struct.pack('>I2', 258)",
          b"return cmsgpack.unpack(cmsgpack.pack({1, 'a'}))", b"return tostring(1e15)", b"return tonumber('0x10')", b"return type(redis)"]
FAULTY = [b"return", b"retrn 1", b"error('boom')", b"error({err = 'MY boom'})", b"return undefined_global", b"x = 1", b"redis.call('SET', 'a', 'from lua') error('late')",
          b"return redis.call()", b"return redis.call('nosuch')", b"return redis.call('GET')", b"#!lua flags=no-writes\nreturn redis.call('SET', 'a', '1')",
          b"#!lua\nreturn 1", b"#!lua flags=nonsense\nreturn 1", b"#!python\nreturn 1", b"return redis.call('SET', {}, 1)"]
LIBRARIES = [
    b"#!lua name=%s\nredis.register_function('%s_call', function(keys, args) return redis.call(unpack(args)) end)\n"
    b"redis.register_function{function_name = '%s_ro', callback = function(keys, args) return redis.call(unpack(args)) end, flags = {'no-writes'}}\n"
    b"redis.register_function('%s_keys', function(keys, args) return {keys, args} end)" % (name, name, name, name)
    for name in (b"one", b"two")]
BAD_LIBRARIES = [b"", b"#!lua\nreturn 1", b"#!lua name=x", b"#!lua name=bad-name\nreturn 1", b"return 1",
                 b"#!nosuch name=one\nreturn 1", b"#!lua name=three\nredis.register_function('one_call', function() end)", b"#!lua name=e\nsyntax("]
FUNCTIONS = [b"one_call", b"one_ro", b"two_call", b"two_ro"]
FREE = (b"SCAN", b"HSCAN", b"SSCAN", b"ZSCAN", b"RANDOMKEY", b"HRANDFIELD", b"SRANDMEMBER", b"ZRANDMEMBER", b"SPOP", b"DBSIZE", b"SORT", b"SORT_RO",
        b"OBJECT", b"CLIENT", b"HELLO", b"TIME", b"LASTSAVE", b"XINFO", b"MULTI", b"EXEC", b"DISCARD", b"WATCH", b"UNWATCH")


def sha(script):
    return hashlib.sha1(script).hexdigest().encode()


CALLER_SHAS = [sha(script) for script in CALLERS]


def inner_command(words):
    """The command that a script hands on, or None."""
    name = words[0].upper()
    calls = (name in (b"EVAL", b"EVAL_RO") and words[1] in CALLERS) or (name in (b"EVALSHA", b"EVALSHA_RO") and words[1] in CALLER_SHAS) \
        or (name in (b"FCALL", b"FCALL_RO") and words[1] in FUNCTIONS) if len(words) > 3 else False
    return words[3 + int(words[2]):] if calls and words[2] in (b"0", b"1") else None


def asks_for_resp3(words):
    """Its maps and sets were tables of Lua, which have no order."""
    return words[0].upper().startswith(b"EVAL") and (words[1] in RESP3_CALLERS or words[1] in map(sha, RESP3_CALLERS))


class ScriptCommands:
    """Part of Generator."""

    def inner(self):
        for _ in range(20):
            words = self.pick([self.set, self.string_read, self.string_write, self.arithmetic, self.expire, self.time_read, self.keyspace,
                               self.hash_write, self.hash_read, self.lists, self.sets, self.bits, self.zsets, self.streams, self.geo])()
            if words[0].upper() not in FREE:
                return words
        return [b"PING"]

    def keys_given(self):
        return self.pick([[b"0"], [b"1", self.key()]])

    def script_call(self):
        script, name = self.pick(CALLERS), self.pick([b"EVAL"] * 6 + [b"EVAL_RO", b"EVALSHA", b"EVALSHA_RO"])
        return [name, sha(script) if b"SHA" in name else script] + self.keys_given() + self.inner()

    def script_value(self):
        script = self.pick(VALUES) if self.chance(0.75) else self.pick(FAULTY)
        name = self.pick([b"EVAL", b"EVAL", b"EVAL_RO", b"EVALSHA"])
        number = self.pick([b"0", b"1", b"2"] * 6 + [b"-1", b"9", b"x", b""])
        return [name, sha(script) if b"SHA" in name else script, number] + [self.pick([b"a", b"", b"1", b"\xff\x00"]) for _ in range(self.random.randint(0, 4))]

    def script_admin(self):
        script = self.pick(CALLERS + VALUES + FAULTY)
        return self.pick([
            lambda: [b"SCRIPT", b"LOAD", script], lambda: [b"SCRIPT", b"LOAD", self.pick(CALLERS)],
            lambda: [b"SCRIPT", b"EXISTS", sha(script), sha(self.pick(CALLERS)), b"x"], lambda: [b"SCRIPT", b"KILL"],
            lambda: [b"SCRIPT", b"FLUSH"] + self.pick([[], [b"SYNC"], [b"ASYNC"], [b"x"]]), lambda: [b"SCRIPT", b"nonsense"], lambda: [b"SCRIPT", b"EXISTS"]])()

    def function_admin(self):
        library = self.pick(LIBRARIES) if self.chance(0.85) else self.pick(BAD_LIBRARIES)
        return self.pick([
            lambda: [b"FUNCTION", b"LOAD", library], lambda: [b"FUNCTION", b"LOAD", b"REPLACE", library], lambda: [b"FUNCTION", b"LOAD", b"REPLACE", library],
            lambda: [b"FUNCTION", b"DELETE", self.pick([b"one", b"two", b"three"])], lambda: [b"FUNCTION", b"LIST", b"LIBRARYNAME", self.pick([b"one", b"t*", b"x"])][:self.pick([3, 4])],
            lambda: [b"FUNCTION", b"LIST", b"LIBRARYNAME", self.pick([b"one", b"two"]), b"WITHCODE"], lambda: [b"FUNCTION", b"KILL"], lambda: [b"FUNCTION", b"STATS"],
            lambda: [b"FUNCTION", b"FLUSH"] + self.pick([[], [b"SYNC"], [b"x"]]), lambda: [b"FUNCTION", b"nonsense"], lambda: [b"FUNCTION", b"RESTORE", b"damaged"]])()

    def function_call(self):
        name = self.pick([b"FCALL", b"FCALL", b"FCALL_RO"])
        if self.chance(0.2):
            return [name, self.pick([b"one_keys", b"two_keys", b"nosuch"]), self.pick([b"0", b"1", b"-1", b"x", b"7"])] + [b"k", b"a"][:self.random.randint(0, 2)]
        return [name, self.pick(FUNCTIONS)] + self.keys_given() + self.inner()

    def scripts(self):
        return self.pick([self.script_call] * 8 + [self.script_value] * 4 + [self.function_call] * 5 + [self.function_admin] * 3 + [self.script_admin] * 3)()
