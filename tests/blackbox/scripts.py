"""scripts.py -- scripts, functions, publish/subscribe and keyspace events beside redis-server 7.0.15.

Goal:   the same replies and error texts for what scripts can do and must not do; the same events in the same order.
Method: a list of scripts and commands, each sent to both; replies are compared. Messages of a subscriber are compared
        after a fixed run of commands. Then what only holdfast promises: scripts with undeclared keys run side by
        side and lose no increment, and a library is there after kill -9.
"""
import sys
import threading
import time

import redis

from harness import Server, redis_options

SCRIPTS = [
    "return 1", "return 'a'", "return {1,2,{3,'x'}}", "return nil", "return false", "return true", "return {ok='fine'}",
    "return {err='MY thing'}", "return redis.call('set',KEYS[1],ARGV[1])", "return redis.call('get',KEYS[1])",
    "return redis.call('nosuch')", "return redis.pcall('nosuch')", "return redis.call('get')", "error('boom')",
    "error({err='BAD x'})", "return foo", "foo=1", "return redis.call('incr',KEYS[1])",
    "local t=redis.pcall('incr',KEYS[1]) return t['err']", "return redis.sha1hex('abc')", "return cjson.encode({1,2,3})",
    "return cjson.decode('[1,2,{\"a\":3}]')[3].a", "return cmsgpack.unpack(cmsgpack.pack({1,2,3}))",
    "local t, m = {}, {} for i = 1, 20000 do t[i] = i * 37 m['k' .. i] = {i, -i, i / 4} end "
    "local p = cmsgpack.pack(t, string.rep('x', 70000), m) local a, b, c = cmsgpack.unpack(p) "
    "return {#p, redis.sha1hex(cmsgpack.pack(t, b)), #a, #b, c.k20000[2], tostring(c.k3[3])}",
    "return {cmsgpack.unpack(cmsgpack.pack('a',-7,'b'))}", "return struct.pack('>I2s','513','abc')",
    "return {struct.unpack('>I2s',struct.pack('>I2s','513','abc'))}", "return bit.band(255,15)", "return bit.tohex(255)",
    "redis.call('hset','h','a','1'); return redis.call('hgetall','h')", "return redis.status_reply('X')",
    "return redis.error_reply('Y')", "return redis.error_reply('-Y z')", "return pcall(function() error('q') end)",
    "return {pcall(function() return redis.call('nosuch') end)}", "return 3.99", "return -1.5",
    "redis.call('select',3) redis.call('set','q','1') return redis.call('get','q')", "return redis.call('dbsize')",
    "string.x=1", "return type(getmetatable('').__index)", "getmetatable('').__index = 1", "return tostring(loadstring('return 5')())",
    "return redis.call('multi')", "return redis.call('subscribe','x')", "return redis.call('ping')", "return {1,nil,3}",
    "syntax error here", "return print('x')", "return #ARGV", "return {KEYS[1],ARGV[1]}", "return redis.call()",
    "return redis.call({})", "return redis.call('set','k',1.5) and redis.call('get','k')",
    "return redis.call('set','k',10) and redis.call('get','k')", "return redis.call('set','k',1e20) and redis.call('get','k')",
    "rawset(_G,'zz',1) return zz", "rawset(redis,'zz',1)", "redis.call=nil", "_G.x=1", "setmetatable(_G,{})",
    "local x=setmetatable({},{__index=function() return 7 end}) return x.q", "for k,v in pairs(redis) do return type(k) end",
    "coroutine.wrap(function() redis.call('set','c','1') end)() return redis.call('get','c')", "return redis.log(9,'x')",
    "return redis.call('eval','return 1','0')", "return {double=3.5}", "return {map={a=1}}", "return redis.call('set','a')",
    "return redis.call('get','h')", "return dofile('x')", "return require('os')", "return loadstring('\\27Lua')",
    "return {unpack({1,2,3}, 0, 2147483647)}", "return {unpack({1,2,3}, -2147483648, -2)}", "return {unpack({1,2,3})}",
    "return {unpack({1,2,3},2,3)}", "return {unpack({1,2,3},3,1)}", "return #bit.tohex(65535, -2147483648)", "return bit.tohex(65535, -4)",
    "return string.rep('ab',3)", "return string.find('hello','l+')", "return string.gsub('hello','l','L')",
    "for w in string.gmatch('one two','%a+') do redis.call('rpush','words',w) end return redis.call('lrange','words',0,-1)",
    "return redis.call('xread','block',0,'streams','s','$')", "return ('x'):rep(3)",
    "redis.setresp(3) return redis.call('hgetall','h')", "return redis.call('zscore','z','a')",
    "redis.call('rpush','l','a') return redis.call('blpop','l',0)", "return redis.call('zrange','z',0,-1)",
]
LIBRARY = ("#!lua name=mylib\nredis.register_function('f1', function(keys,args) return redis.call('incr',keys[1]) end)\n"
           "redis.register_function{function_name='f2',callback=function() return 'two' end,flags={'no-writes'},description='d'}")
COMMANDS = [
    ("EVAL", "return 1", -1), ("EVAL", "return 1", 2, "a"), ("EVAL", "return 1", "x"), ("EVALSHA", "0" * 40, 0),
    ("EVALSHA", "abc", 0), ("SCRIPT", "LOAD", "return 5"), ("SCRIPT", "EXISTS", "4ca238f611c9d0ae4e9a75a5dbac22aedc1e44d2", "x"),
    ("EVALSHA", "4ca238f611c9d0ae4e9a75a5dbac22aedc1e44d2", 0), ("EVAL_RO", "return redis.call('set','a','1')", 0),
    ("EVAL", "#!lua flags=no-writes\nreturn redis.call('set','a','1')", 0), ("EVAL", "#!lua name=x\nreturn 1", 0),
    ("EVAL", "#!js\nreturn 1", 0), ("EVAL", "#!lua flags=bad\nreturn 1", 0), ("SCRIPT", "KILL"), ("SCRIPT", "FLUSH"),
    ("SCRIPT", "FLUSH", "BAD"), ("FUNCTION", "KILL"), ("FUNCTION", "LOAD", LIBRARY), ("FUNCTION", "LOAD", LIBRARY),
    ("FUNCTION", "LOAD", "REPLACE", LIBRARY), ("FCALL", "f1", 1, "cnt"), ("FCALL", "f2", 0), ("FCALL_RO", "f1", 1, "cnt"),
    ("FCALL_RO", "f2", 0), ("FCALL", "nof", 0), ("FCALL", "f1", "x"), ("FUNCTION", "STATS"), ("FUNCTION", "LOAD", "nope"),
    ("FUNCTION", "LOAD", "#!lua name=q\nreturn 1"), ("FUNCTION", "LOAD", "#!lua name=q\nxx yy"),
    ("FUNCTION", "LOAD", "#!lua\nreturn 1"), ("FUNCTION", "LOAD", "#!ruby name=a\nreturn 1"),
    ("FUNCTION", "LOAD", "#!lua name=q\nredis.register_function('f1',function() end)"),
    ("FUNCTION", "LOAD", "#!lua name=b-d\nredis.register_function('z',function() end)"),
    ("FUNCTION", "DELETE", "mylib"), ("FUNCTION", "DELETE", "mylib"), ("FUNCTION", "FLUSH"), ("PUBLISH", "c", "m"),
    ("PUBSUB", "NUMPAT"), ("PUBSUB", "CHANNELS"), ("PUBSUB", "NUMSUB", "a"), ("SPUBLISH", "c", "m"),
    ("CONFIG", "SET", "notify-keyspace-events", "KEAq"), ("CONFIG", "SET", "notify-keyspace-events", "Kx$g"),
    ("CONFIG", "GET", "notify-keyspace-events"), ("CONFIG", "SET", "notify-keyspace-events", "AKE"),
    ("CONFIG", "GET", "notify-keyspace-events"), ("CLIENT", "UNBLOCK", "123456", "BAD"), ("CLIENT", "UNBLOCK", "123456"),
]


# The first line: words, quotes, engines, options. "%s" is a name of its own for each.
SHEBANGS = ["", " name=%s", "lua", "lua name=%s name=b", "lua foo=bar name=%s", 'lua name="%s"', "lua name='%s'", "LUA name=%s",
            'lua name=a"b', "lua name=te\\\\st", "lua bar name=%s", "lua NAME=%s", "lua name=", "abc name=%s", "lua  name=%s  ",
            'lua "name=%s"', '"lua" name=%s', 'lua name=a"', "lua flags=no-writes", 'lua "flags=no-writes"', "lua flags=bad", "lua flags=",
            "lua flags=no-writes,allow-oom flags=allow-stale", "lua flags=no-writes,,allow-oom", "lua flags=no-writes,",
            'lua flags="no-writes', "lua\r", "lua name=%s\r"]
for i, text in enumerate(SHEBANGS):
    line = "#!" + text.replace("%s", "lib%d" % i)
    body = "redis.register_function('shebang%d', function() return 1 end)" % i
    COMMANDS += [("FUNCTION", "LOAD", line + "\n" + body), ("FUNCTION", "LOAD", line), ("EVAL", line + "\nreturn 1", 0), ("EVAL", line, 0)]

# What a library may do while it loads, and how its mistakes are worded.
for body in ["redis.call('get','x')", "redis.pcall('get','x')", "redis.register_function()", "redis.register_function('a')",
             "redis.register_function('a',1)", "redis.register_function{function_name='a',callback=1}", "redis.register_function{foo=1}",
             "redis.register_function{function_name='a'}", "local x=nil; x.y=1", "foo=1", "return foo", "redis.foo=1",
             "redis.register_function('a b',function() end)", "redis.setresp(3)", "redis.log('a')", "redis.sha1hex('a')",
             "redis.register_function('a',function() end) redis.register_function('a',function() end)",
             "redis.register_function{function_name='a',callback=function() end,flags={'bad'}}",
             "redis.register_function{function_name='a',callback=function() end,flags=1}",
             "redis.register_function{function_name='a',callback=function() end,description=1}",
             "redis.register_function{function_name=1,callback=function() end}", "redis.register_function(1,function() end)",
             "redis.register_function('a',function() end,'c')", "math.random()", "local m=getmetatable(_G)", "setmetatable({},{})"]:
    COMMANDS += [("FUNCTION", "LOAD", "REPLACE", "#!lua name=loads\n" + body), ("FUNCTION", "DELETE", "loads")]
# Metatables: none is a way to change what all scripts see.
for body in ["getmetatable(_G).__index = {}", "return rawset(getmetatable(_G),'a',1)", "return type(getmetatable(_G))", "setmetatable(_G,{})",
             "setmetatable(getmetatable(_G),{})", "return tostring(getmetatable(redis))", "return tostring(getmetatable(string))",
             "return tostring(getmetatable(setmetatable({},{__metatable=false})))", "return getmetatable()", "return type(getmetatable(''))"]:
    COMMANDS += [("EVAL", body, 0)]


def ask(client, words):
    try:
        return client.execute_command(*words)
    except redis.ResponseError as error:
        return "-" + str(error)


def same(reply, other):
    if isinstance(reply, redis.ResponseError):
        return str(reply) == str(other)
    if isinstance(reply, list) and isinstance(other, list):
        return len(reply) == len(other) and all(same(a, b) for a, b in zip(reply, other))
    return reply == other


def compare(ours, peer):
    commands = [("EVAL", script, 1, "key1", "arg1") for script in SCRIPTS] + COMMANDS
    bad = 0
    for words in commands:
        a, b = ask(ours, words), ask(peer, words)
        if not same(a, b):
            bad += 1
            print("scripts: %r\n  redis:    %r\n  holdfast: %r" % (words, b, a))
    return len(commands), bad


def events(client):
    """What a subscriber hears of a fixed run of commands."""
    client.config_set("notify-keyspace-events", "KEA")
    listener = client.pubsub()
    listener.subscribe("ch")
    listener.psubscribe("__key*__:*")
    for _ in range(2):
        listener.get_message(timeout=2)
    client.publish("ch", "hello")
    for words in (("SET", "foo", "1"), ("EXPIRE", "foo", "100"), ("INCR", "foo"), ("APPEND", "foo", "x"), ("DEL", "foo"),
                  ("HSET", "hh", "a", "1"), ("RENAME", "hh", "h2"), ("RPUSH", "l", "a", "b"), ("LPOP", "l"), ("LPOP", "l"),
                  ("SADD", "s", "a"), ("SREM", "s", "a"), ("ZADD", "z", "1", "a"), ("ZINCRBY", "z", "1", "a"),
                  ("ZPOPMIN", "z"), ("MSET", "m1", "1", "m2", "2"), ("COPY", "m1", "m3"), ("SET", "e", "1", "PX", "1")):
        client.execute_command(*words)
    heard, end = [], time.monotonic() + 60
    while not heard or heard[-1][1] != b"__keyevent@0__:expired":    # the last one, on a busy machine some time later
        message = listener.get_message(timeout=1)
        if message:
            heard.append((message["type"], message["channel"], message["data"]))
        assert time.monotonic() < end, heard
    return heard


def side_by_side(server):
    """Undeclared keys: each script moves one from a random account to another; the sum stays."""
    client = redis.Redis(**redis_options(server.port))
    for i in range(20):
        client.set("acct:%d" % i, 100)
    move = ("local a,b='acct:'..ARGV[1],'acct:'..ARGV[2] redis.call('decr',a) redis.call('incr',b) "
            "redis.call('rpush','log:'..ARGV[1],ARGV[2]) return redis.call('get',a)")
    failures = []

    def run(number):
        mine = redis.Redis(**redis_options(server.port))
        try:
            for i in range(400):
                mine.eval(move, 0, (i * 7 + number) % 20, (i * 3 + number * 5) % 20)
        except Exception as error:  # pylint: disable=broad-except
            failures.append(error)

    threads = [threading.Thread(target=run, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    total = sum(int(client.get("acct:%d" % i)) for i in range(20))
    logged = sum(client.llen("log:%d" % i) for i in range(20))
    return not failures and total == 2000 and logged == 2400


def library_survives():
    with Server("holdfast", durability="commit") as server:
        client = redis.Redis(**redis_options(server.port))
        client.execute_command("FUNCTION", "LOAD", LIBRARY)
        client.execute_command("FCALL", "f1", 1, "n")
        server.kill9()
        server.start()
        client = redis.Redis(**redis_options(server.port))
        return client.execute_command("FCALL", "f1", 1, "n") == 2 and client.execute_command("FCALL", "f2", 0) == b"two"


def main():
    failed = 0
    with Server("holdfast") as ours, Server("redis", durability="none") as peer:
        a, b = redis.Redis(**redis_options(ours.port)), redis.Redis(**redis_options(peer.port))
        count, bad = compare(a, b)
        failed += bad
        heard, wanted = events(a), events(b)
        if heard != wanted:
            failed += 1
            print("events differ:\n  redis:    %r\n  holdfast: %r" % (wanted, heard))
        if not side_by_side(ours):
            failed += 1
            print("scripts with undeclared keys lost something")
    if not library_survives():
        failed += 1
        print("a function library was lost by kill -9")
    print("scripts: %d commands, %d events, %d failed" % (count, len(wanted), failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
