<?php
// memcached_php.php -- PHP's Memcached, unmodified: the same over the text and the binary protocol, and logins by SASL.
//
// Method: values of PHP's types, many at once, compare-and-set, numbers, deadlines, result codes; the login of a user who may touch keys
//         cache:* only. Arguments: host port [port of Redis]. A failed check ends with status 1.
[$host, $port, $redis] = [$argv[1], (int)$argv[2], (int)($argv[3] ?? 0)];

function same($found, $wanted, $what)
{
    if ($found === $wanted)
        return;
    fwrite(STDERR, "$what: found " . substr(var_export($found, true), 0, 500) . ", wanted " . substr(var_export($wanted, true), 0, 500) . "\n");
    exit(1);
}

function connect($host, $port, $binary)
{
    $db = new Memcached();
    $db->setOption(Memcached::OPT_BINARY_PROTOCOL, $binary);
    $db->addServer($host, $port);
    return $db;
}

function values($db)
{
    foreach (['', "\0\r\n\xff", 7, -7, 1.5, true, false, null, ['a' => [1, 2]], str_repeat('long ', 150000)] as $value) {
        same($db->set('v', $value), true, 'set');
        same($db->get('v'), $value, 'get');
    }
    same($db->get('absent'), false, 'absent');
    same($db->getResultCode(), Memcached::RES_NOTFOUND, 'code of absent');
    $db->setOption(Memcached::OPT_COMPRESSION, false);
    same([$db->add('a', '1'), $db->add('a', '2'), $db->replace('a', '3'), $db->replace('none', '3')], [true, false, true, false], 'add, replace');
    same([$db->append('a', '4'), $db->prepend('a', '2'), $db->get('a')], [true, true, '234'], 'append, prepend');
    same([$db->delete('a'), $db->delete('a')], [true, false], 'delete');
    $many = [];
    for ($i = 0; $i < 300; $i++)
        $many["many:$i"] = "value $i";
    same($db->setMulti($many, 100), true, 'setMulti');
    same($db->getMulti(array_merge(['none'], array_keys($many)), Memcached::GET_PRESERVE_ORDER), ['none' => null] + $many, 'getMulti');
    same(array_unique($db->deleteMulti(array_keys($many))), ['many:0' => true], 'deleteMulti');
    same($db->set('huge', str_repeat('x', 1 << 20)), false, 'huge');
    same($db->getResultCode(), Memcached::RES_E2BIG, 'code of huge');
    $db->setOption(Memcached::OPT_COMPRESSION, true);
}

function numbers($db, $binary)
{
    $db->set('n', 10);
    same([$db->increment('n'), $db->increment('n', 31), $db->decrement('n', 2), $db->decrement('n', 1000)], [11, 42, 40, 0], 'numbers');
    same($db->increment('none'), false, 'increment of none');
    if ($binary)
        same([$db->increment('new', 1, 5, 100), $db->increment('new', 1, 5, 100)], [5, 6], 'increment with a beginning');
}

function compare_and_set($db)
{
    $db->set('c', 'one');
    $found = $db->get('c', null, Memcached::GET_EXTENDED);
    same([$found['value'], $db->cas($found['cas'], 'c', 'two'), $db->cas($found['cas'], 'c', 'three')], ['one', true, false], 'cas');
    same($db->getResultCode(), Memcached::RES_DATA_EXISTS, 'code of a late cas');
    $value = $db->get('filled', function ($db, $key, &$value) { $value = "made for $key"; return true; });
    same([$value, $db->get('filled')], ['made for filled', 'made for filled'], 'read through');
}

function deadlines($db)
{
    same([$db->set('short', 'x', 1), $db->get('short'), $db->set('touched', 'x', 1000), $db->touch('touched', 1)], [true, 'x', true, true], 'deadlines');
    for ($end = microtime(true) + 20; $db->get('short') !== false || $db->get('touched') !== false; usleep(50000))
        same(microtime(true) < $end, true, 'a key outlives its deadline');
}

function ask($socket, ...$words)
{
    fwrite($socket, '*' . count($words) . "\r\n");
    foreach ($words as $word)
        fwrite($socket, '$' . strlen($word) . "\r\n$word\r\n");
    return rtrim(fgets($socket));
}

function login($host, $port, $redis)
{
    $rules = fsockopen($host, $redis);
    same(ask($rules, 'ACL', 'SETUSER', 'app', 'on', '>secret', '~cache:*', '+@string', '+del', '+ping'), '+OK', 'rules');
    same(ask($rules, 'ACL', 'SETUSER', 'default', 'resetpass', '>admin'), '+OK', 'rules');
    same(connect($host, $port, true)->set('cache:a', 1), false, 'without a login');
    $app = connect($host, $port, true);
    $app->setSaslAuthData('app', 'secret');
    same([$app->set('cache:a', ['mine']), $app->get('cache:a')], [true, ['mine']], 'with a login');
    $stranger = connect($host, $port, true);
    $stranger->setSaslAuthData('app', 'wrong');
    same($stranger->set('cache:a', 1), false, 'with a wrong password');
    same($app->set('other', 1), false, 'another key');
    same(ask($rules, 'ACL', 'SETUSER', 'default', 'nopass'), '+OK', 'rules');
}

foreach ([false, true] as $binary) {
    $db = connect($host, $port, $binary);
    same($db->flush(), true, 'flush');
    values($db);
    numbers($db, $binary);
    compare_and_set($db);
    same(array_values($db->getVersion()), ['1.6.18'], 'version');
    same(count($db->getStats()), 1, 'stats');
}
deadlines($db);
if ($redis)
    login($host, $port, $redis);
echo "Memcached of PHP: passed\n";
