"""sandbox.py -- what a script cannot do: reach out of its sandbox, change what others see, take the server with it.

Goal:   the globals that a script can reach, metatables included, are a list that stands here; nothing shared can be changed, by any
        function; a script that asks for too much memory or time is ended and undone, and the server, other clients and
        the next script are as before.
Method: a script walks _G, through every table, metatable and coroutine, and says the paths. Attacks run one by one under a
        small script-memory-limit; after each the sandbox is walked again and the keys are looked at.
Usage:  sandbox.py [check ...]
"""
import os
import sys
import time

from harness import SANITIZER_OPTIONS, Checks, ReplyError, Server, temp_dir

LIMIT = 16 << 20
BASE = ("assert collectgarbage error gcinfo getmetatable ipairs load loadstring next pairs pcall rawequal rawget rawset select "
        "setmetatable tonumber tostring type unpack xpcall")
LIBRARIES = {
    "string": "byte char find format gfind gmatch gsub len lower match rep reverse sub upper",
    "table": "concat foreach foreachi getn insert maxn remove setn sort",
    "math": "abs acos asin atan atan2 ceil cos cosh deg exp floor fmod frexp huge ldexp log log10 max min mod modf pi pow rad random "
            "randomseed sin sinh sqrt tan tanh",
    "coroutine": "create resume running status wrap yield",
    "os": "clock",
    "bit": "arshift band bnot bor bswap bxor lshift rol ror rshift tobit tohex",
    "struct": "pack size unpack",
    "cmsgpack": "pack unpack unpack_limit unpack_one",
    "cjson": "_NAME _VERSION decode decode_invalid_numbers decode_max_depth encode encode_invalid_numbers encode_keep_buffer "
             "encode_max_depth encode_number_precision encode_sparse_array null",
}
LIBRARIES["redis"] = LIBRARIES["server"] = (
    "LOG_DEBUG LOG_NOTICE LOG_VERBOSE LOG_WARNING REDIS_VERSION REDIS_VERSION_NUM REPL_ALL REPL_AOF REPL_NONE REPL_REPLICA REPL_SLAVE "
    "acl_check_cmd breakpoint call debug error_reply log pcall replicate_commands set_repl setresp sha1hex status_reply")

WALK = """
local seen, paths = {}, {}
local function walk(path, value, depth)
  paths[#paths + 1] = path
  if depth > 8 then paths[#paths + 1] = path .. ' is too deep' return end
  local meta = getmetatable(value)
  if type(meta) == 'table' and not seen[meta] then seen[meta] = true walk(path .. '<meta>', meta, depth + 1) end
  if type(value) ~= 'table' or seen[value] then return end
  seen[value] = true
  for k, v in pairs(value) do
    paths[#paths + 1] = path .. '.' .. tostring(k)
    if type(v) == 'table' then walk(path .. '.' .. tostring(k), v, depth + 1) end
  end
end
walk('_G', _G, 0) walk('text', '', 0) walk('co', coroutine.create(function() end), 0) walk('fn', print_ or walk, 0)
local ok, caught = pcall(error, {}) walk('error', caught, 0)
return paths
""".replace("print_ or ", "")


def expected():
    paths = {"_G." + name for name in BASE.split()} | {"_G._VERSION", "_G._G", "_G.KEYS", "_G.ARGV"}
    for library, names in LIBRARIES.items():
        paths.add("_G." + library)
        paths |= {"_G.%s.%s" % (library, name) for name in names.split()}
    return paths


def walk(client):
    return {path.decode() for path in client.call("EVAL", WALK, 0)}


def check_walk(server):
    allowed = expected() | {"_G", "_G<meta>", "_G<meta>.__index", "text", "text<meta>", "text<meta>.__index", "co", "fn", "error"}
    found = walk(server.client())
    assert not found - allowed, "reachable and not on the list: %s" % sorted(found - allowed)
    assert not expected() - found - {p for p in expected() if p.startswith("_G.server.")}, sorted(expected() - found)


# Each must be refused, or change nothing that another script sees.
WRITES = [
    "local _, real = pairs(%s) real.leak = 'x'", "for i, t in ipairs({%s}) do t.leak = 'x' end", "table.insert(%s, 'x')", "table.sort(%s)",
    "rawset(%s, 'leak', 'x')", "%s.leak = 'x'", "setmetatable(%s, {})", "getmetatable(%s).__index = {}", "getmetatable(%s).__newindex = nil",
    "rawset(getmetatable(%s), '__index', {})", "table.insert(getmetatable(%s), 1)", "select(2, pairs(getmetatable(%s))).x = 1",
    "error(%s)", "pcall(error, %s)", "table.remove(%s)", "table.foreach(%s, rawset)", "setmetatable({}, getmetatable(%s)).x = 1",
    "xpcall(function() error(%s) end, function(e) e.leak = 1 return e end)", "coroutine.wrap(function(t) t.leak = 1 end)(%s)",
    "string.gsub('a', 'a', %s)", "cjson.encode(%s)", "cmsgpack.pack(%s)", "return %s", "loadstring('local t = ... t.leak = 1')(%s)"]


def check_shared(server):
    client, other = server.client(), server.client()
    before = walk(client)
    for target in ("_G", "redis", "string", "table", "math", "cjson", "getmetatable('').__index", "getmetatable('')", "coroutine", "os"):
        for write in WRITES:
            client.wire("EVAL", write % target, 0)
    assert walk(other) == before and walk(client) == before, sorted(walk(client) ^ before)
    for probe in ("return string[1]", "return string.leak", "return redis.leak", "return redis[1]", "return math[1]", "return rawget(_G, 1)",
                  "return rawget(_G, 'leak')", "return rawget(_G, 'KEYS')[1]"):
        assert other.call("EVAL", probe, 0) is None, probe
    client.call("EVAL", "return 1", 1, "secret")
    client.call("FUNCTION", "LOAD", "REPLACE", "#!lua name=peep\nredis.register_function('peep', function() return KEYS[1] end)")
    assert isinstance(client.wire("FCALL", "peep", 0)[1], bytes) and b"KEYS" in client.wire("FCALL", "peep", 0)[1]


def check_errors_with_metatables(server):
    """Nothing of an error runs outside of the script's own protection."""
    client = server.client()
    for field in ("__index", "__newindex", "__tostring", "__concat", "__call", "__eq", "__len"):
        client.wire("EVAL", "error(setmetatable({}, {%s = function() error('again') end}))" % field, 0)
        client.wire("EVAL", "return setmetatable({}, {%s = function() error('again') end})" % field, 0)
        client.wire("FUNCTION", "LOAD", "#!lua name=bad\nerror({err = {}})")
    assert client.call("EVAL", "return 7", 0) == 7
    # A chunk's name is cut at its first zero: only the parser knows that text.
    name = "for i = 1, 300 do loadstring('local a' .. i .. ' = {\"' .. ('y'):rep(5000) .. i .. '\"} return a', 'name' .. i .. '\\0' .. i) end return 1"
    assert client.call("EVAL", name, 0) == 1


# Memory: each is ended with an error and undone.
GREEDY = [
    "local t = {} for i = 1, 1e9 do t[i] = {} end", "local t = {} for i = 1, 1e9 do t[i] = string.rep(i .. ' ', 200) end",
    "local s = 'x' while true do s = s .. s end", "local s, x = {}, ('x'):rep(1e5) for i = 1, 1e4 do s[i] = x end return table.concat(s)",
    "local t = {} while true do t[#t + 1] = redis.call('GET', 'large') .. #t end",
    "local f = function() end while true do local g = f f = function() return g() end end",
    "while pcall(function() local t = {} for i = 1, 1e9 do t[i] = {} end end) == false do end",
    "local co = {} while true do co[#co + 1] = coroutine.create(function() end) end",
    "local t = {} for i = 1, 1e9 do t[i] = cjson.decode('[[1],[2],[3]]') end",
    # small in memory, endless as a reply
    "local t = {} for i = 1, 60 do t = {t, t} end return t", "local t = {('x'):rep(1e6)} for i = 1, 10 do t = {t, t} end return t",
    "local t = {} for i = 1, 60 do t = {map = {[t] = t}} end return t", "local t = {} t[1] = t t[2] = t return t",
]
# Refused by a limit of its own, or done; never the end of the server.
STRANGE = [
    "local s = string.rep('x', 2^20) local t = {} for i = 1, 4000 do t[i] = s end return #cjson.encode(t)",
    "local t = {} for i = 1, 60 do t = {t, t} end return #cjson.encode(t)", "local t = {} t[1] = t return cjson.encode(t)",
    "cjson.encode_sparse_array(true, 0, 0) return #cjson.encode({[2^30] = 1})", "cjson.encode_max_depth(2^31 - 1)",
    "cjson.encode_sparse_array(false, 2, 10) return 1", "return #cjson.encode({[1e6] = 1})", "return cjson.encode({[2^40] = 1})",
    "return cjson.decode(('['):rep(1e6))", "return cjson.decode(('{\"a\":'):rep(1e5))", "return cmsgpack.unpack(('\\145'):rep(1e6))",
    "return cmsgpack.unpack('\\221\\255\\255\\255\\255')", "return struct.pack('c0', 'x')", "return struct.unpack('c2147483647', 'x')",
    "return struct.pack('i2147483648', 1)", "return struct.size('c2147483647c2147483647')", "return unpack({}, 1, 2^31)", "return unpack({}, -2^31, 2^31)",
    "return ('x'):rep(2^31)", "return select(-2^31, 1)", "local function f() return 1 + f() end return f()", "return ('('):rep(1e5):find(('('):rep(1e5))",
    "return string.find('x', ('(x'):rep(40))", "return loadstring(('('):rep(1e5))", "return loadstring('return ' .. ('{'):rep(1e5))",
    "return load(os.clock and function() return ('x'):rep(1e6) end)", "table.insert({}, -2^31, 1)", "return string.format('%99.99f', 1e308)",
    "return bit.tohex(1, -2^31)", "collectgarbage('stop')", "collectgarbage('setpause', 2^31 - 1)", "return tostring(2^63)",
    "local s = ('x'):rep(1e6) return s:rep(60):upper():lower():reverse():len()", "return #table.concat({}, ',', 1, 2^31 - 1)",
    "local f = coroutine.wrap(function() error({}) end) f()", "local function f(n) return coroutine.wrap(f)(n + 1) end f(1)",
]


# A pattern whose repetitions are tried against each other: years.
ENDLESS = ["local s = ('a'):rep(30000) return %s" % call for call in (
    "s:find(('a*'):rep(12) .. 'b')", "s:match(('.-'):rep(12) .. 'b')", "s:gsub('(a?' .. ('a*'):rep(9) .. ')b', '%1')",
    "s:gmatch(('[a-c]+'):rep(9) .. 'b')()", "pcall(string.find, s, ('%w*'):rep(12) .. 'b')", "(s .. s):find(('(a-)'):rep(12) .. '%f[b]')")]


def memory(client):
    return int([line for line in client.call("INFO", "memory").split(b"\r\n") if line.startswith(b"used_memory_vm_eval:")][0].split(b":")[1])


def check_memory(server):
    client, other = server.client(), server.client()
    client.call("CONFIG", "SET", "script-memory-limit", LIMIT)
    client.call("SET", "large", b"x" * 100000)
    for attack in GREEDY:
        kind, said = client.wire("EVAL", "redis.call('SET', 'half', 'done') " + attack, 0)
        assert kind == "-" and (b"not enough memory" in said or b"too large" in said), (attack, said)
        if b"not enough memory" in said:
            assert other.call("EXISTS", "half") == 0, attack
        client.call("DEL", "half")
        assert other.call("EVAL", "return 7", 0) == 7, attack
    end = time.monotonic() + 60
    while memory(client) > LIMIT // 4:
        assert time.monotonic() < end, "memory does not come back: %d" % memory(client)
        time.sleep(0.02)


# The limit strikes while the library or the command holds memory of its own, or a lock.
INSIDE = [
    "return #cjson.decode('[' .. ('[],'):rep(300000) .. '1]')", "return #cjson.decode('[' .. ('{\"a\":[]},'):rep(80000) .. '1]')",
    "local t = {} for i = 1, 20 do t[i] = ('y'):rep(60000) end t = {t, t, t} fill(6e6) return #cjson.encode(t)",
    "local t = {} for i = 1, 2e5 do t[i] = {} end return #cmsgpack.pack({t, t, t, t, t, t, t, t, t, t, t, t, t, t})",
    "return cmsgpack.unpack(('\\145'):rep(50) .. '\\221\\0\\15\\66\\64' .. ('\\128'):rep(1000000))",
    "return struct.pack(('c0'):rep(200), unpack((function() local t = {} for i = 1, 200 do t[i] = ('x'):rep(100000) end return t end)()))",
    "local s = ('x'):rep(2e6) return #s:gsub('x', '%0%0%0%0%0%0%0%0')", "local s = ('x'):rep(3e6) return #string.format('%s%s%s', s, s, s)",
    "local s = ('x'):rep(2e6) return table.concat({s, s, s, s}, s)", "fill(7e6) return #redis.call('SORT', 'list', 'ALPHA', 'GET', '#', 'BY', '*none')",
    "fill(7e6) return #redis.call('SUNION', 'set', 'set')", "fill(7e6) return #redis.call('ZUNION', 2, 'set', 'set', 'WITHSCORES')",
    "fill(7e6) redis.setresp(3) return redis.call('HGETALL', 'hash')", "fill(7e6) return #redis.call('XRANGE', 'stream', '-', '+')",
]
# What stands in tables of the whole server is read under their locks.
TABLES = ["'SLOWLOG', 'GET', 1000", "'COMMAND', 'LIST'", "'PUBSUB', 'CHANNELS'", "'CONFIG', 'GET', '*'", "'CLIENT', 'LIST'", "'LATENCY', 'HISTOGRAM'", "'ACL', 'LIST'", "'INFO'"]
FILL = "local kept = {} local function fill(n) kept[#kept + 1] = ('f'):rep(n) end "


def resident(server):
    with open("/proc/%d/status" % server.pid) as status:
        return int([line for line in status if line.startswith("VmRSS:")][0].split()[1]) << 10


def check_inside():
    """A limit that strikes inside of a library or a command leaves no memory behind, and no lock held."""
    limit = 8 << 20
    if "ASAN_OPTIONS" not in os.environ:    # what is freed stays resident under AddressSanitizer, 256 MB of it unless told
        os.environ["ASAN_OPTIONS"] = SANITIZER_OPTIONS["ASAN_OPTIONS"] + ":quarantine_size_mb=4:thread_local_quarantine_size_kb=64"
    with Server("holdfast", workers=1, extra=["--script-memory-limit", str(limit), "--slowlog-log-slower-than", "0"]) as server:
        client, other = server.client(), server.client()
        client.call("EVAL", "for i = 1, 20000 do redis.call('RPUSH', 'list', 'some element ' .. i) redis.call('SADD', 'set', 'member' .. i) "
                    "redis.call('HSET', 'hash', 'field' .. i, i) redis.call('XADD', 'stream', i, 'f', i) end", 0)
        for i in range(300):
            client.call("SET", "key%d" % i, "x" * 200)

        def attack(script):
            kind, said = client.wire("EVAL", FILL + script, 0)
            assert kind == "-" and (b"not enough memory" in said or b"too large" in said), (script, said)

        for script in INSIDE:
            attack(script)
        before = resident(server)
        for script in INSIDE:
            for _ in range(50 if 'cjson.decode' in script else 5):
                attack(script)
        assert resident(server) < before + (24 << 20), (before, resident(server))
        for words in TABLES:
            command = [word.strip(" '") for word in words.split(",")]
            for left in (50, 300, 1000, 4000, 30000):
                client.wire("EVAL", FILL + "collectgarbage() fill(%d - collectgarbage('count') * 1024 - %d) redis.call(%s)" % (limit, left, words), 0)
                assert not isinstance(other.call(*command), ReplyError), words


def check_flush(server):
    """SCRIPT FLUSH gives back what compiled scripts hold, on two workers; libraries go on."""
    clients = [server.client() for _ in range(2)]
    clients[0].call("FUNCTION", "LOAD", "REPLACE", "#!lua name=kept\nredis.register_function('kept', function() return 'here' end)")
    clients[0].call("SCRIPT", "FLUSH")
    for client in clients:
        assert client.call("EVAL", "return 1", 0) == 1
    small = memory(clients[0])
    for client in clients:
        for n in range(100):
            client.call("EVAL", "local t = {%s} return #t" % ",".join(map(str, range(n * 100, n * 100 + 100))), 0)
    large = memory(clients[0])
    assert large > 2 * small, (small, large)
    clients[0].call("SCRIPT", "FLUSH")
    end = time.monotonic() + 60
    while memory(clients[0]) > small:
        assert time.monotonic() < end, "memory does not come back: %d of %d" % (memory(clients[0]), large)
        time.sleep(0.02)
    for client in clients:
        assert client.call("FCALL", "kept", 0) == b"here"
    clients[0].call("FUNCTION", "FLUSH")


def check_strange(server):
    client = server.client()
    client.call("CONFIG", "SET", "script-memory-limit", LIMIT)
    for attack in STRANGE:
        client.wire("EVAL", attack, 0)
        assert client.call("EVAL", "return 7", 0) == 7, attack


def check_killed(server):
    """Loops of functions in C, of large strings, in coroutines: each ends when it is asked to, and is undone."""
    server.client().call("CONFIG", "SET", "script-memory-limit", "1gb")
    for loop in ("while true do string.rep('x', 1e6) end", "local s = ('x'):rep(1e7) while true do local t = s .. 'y' end",
                 "coroutine.wrap(function() local s = ('x'):rep(1e7) while true do local t = s .. 'y' end end)()",
                 "local t = {} for i = 1, 5000 do t[i] = i % 7 end while true do table.sort(t) end", "load(os.clock) while true do end",
                 "while true do pcall(error, 'x') end", "while true do coroutine.resume(coroutine.create(function() error({}) end)) end",
                 "local t = {} for i = 1, 60 do t = {t, t} end return t") + tuple(ENDLESS):
        victim, killer = server.client(), server.client()
        victim.send("EVAL", "redis.call('SET', 'half', 'done') " + loop, 0)
        end = time.monotonic() + 50
        while True:
            try:
                killer.call("SCRIPT", "KILL")
                break
            except ReplyError:
                assert time.monotonic() < end, loop
                time.sleep(0.01)
        kind, said = victim.read()
        assert kind == "-" and b"killed by user" in said, (loop, said)
        assert killer.call("EXISTS", "half") == 0, loop


def check_stops():
    """SIGTERM ends a server whose only worker is in the middle of a pattern, and what the script had written is undone."""
    with Server("holdfast", workers=1, durability="commit", directory=temp_dir()) as server:
        victim = server.client()
        victim.send("EVAL", "redis.call('SET', 'half', 'done') " + ENDLESS[0], 0)
        end = time.monotonic() + 50
        while b"duration_ms" not in repr(server.client().wire("FUNCTION", "STATS")).encode():
            assert time.monotonic() < end, "the script does not run"
        began = time.monotonic()
        server.stop()
        assert time.monotonic() - began < 30, "SIGTERM waits for the script"
        server.start()
        assert server.client().call("EXISTS", "half") == 0


def main():
    checks = Checks("sandbox")
    with Server("holdfast") as server:
        checks.run([check_walk, check_shared, check_errors_with_metatables, check_memory, check_flush, check_strange, check_killed], server)
    checks.run([check_inside, check_stops])
    return checks.end()


if __name__ == "__main__":
    sys.exit(main())
