// memcached_node.mjs -- the client `memcached` of npm, unmodified: the text protocol.
//
// Method: values and types through flags, many at once, compare-and-set under contention, numbers, deadlines, the client's errors.
//         Arguments: host port [port of Redis]; packages as in ioredis.mjs. An exception fails.
import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import { promisify } from 'node:util'
import { setTimeout as sleep } from 'node:timers/promises'

const require = createRequire(process.env.NODE_MODULES + '/')
const Memcached = require('memcached')
const [host, port, redisPort] = [process.argv[2], process.argv[3], Number(process.argv[4] || 0)]
const client = new Memcached(`${host}:${port}`, { poolSize: 8, timeout: 20000, retries: 1, maxValue: 4 << 20 })
const db = Object.fromEntries(['get', 'gets', 'getMulti', 'set', 'add', 'replace', 'append', 'prepend', 'cas', 'incr', 'decr', 'touch',
  'del', 'version', 'stats', 'items', 'settings', 'flush'].map(name => [name, promisify(client[name]).bind(client)]))

async function values () {
  for (const value of ['', 'käse', '\r\nEND\r\n', 42, true, { a: [1, { b: null }] }, Buffer.from([0, 13, 10, 255]), 'x'.repeat(1000000)]) {
    assert.equal(await db.set('v', value, 0), true)
    assert.deepEqual(await db.get('v'), value)
  }
  assert.equal(await db.get('absent'), undefined)
  assert.equal(await db.add('a', '1', 0), true)
  await assert.rejects(db.add('a', '2', 0), /not stored/i)
  assert.equal(await db.replace('a', '3', 0), true)
  await assert.rejects(db.replace('none', '3', 0), /not stored/i)
  assert.deepEqual([await db.append('a', '4'), await db.prepend('a', '2'), await db.get('a')], [true, true, '234'])
  assert.deepEqual([await db.del('a'), await db.del('a')], [true, false])
  const names = Array.from({ length: 300 }, (_, i) => `many:${i}`)
  await Promise.all(names.map(name => db.set(name, 'value of ' + name, 100)))
  const found = await db.getMulti([...names, 'none'])
  assert.deepEqual(Object.keys(found).sort(), [...names].sort())
  assert.equal(found['many:7'], 'value of many:7')
}

async function compareAndSet () {
  await db.set('total', 0, 0)
  const first = await db.gets('total')
  assert.equal(await db.cas('total', 0, first.cas, 0), true)
  assert.equal(await db.cas('total', 5, first.cas, 0), false)
  await Promise.all(Array.from({ length: 4 }, async () => {
    for (let done = 0; done < 25;) {
      const { total, cas } = await db.gets('total')
      if (await db.cas('total', total + 1, cas, 0)) done++
    }
  }))
  assert.equal(await db.get('total'), 100)
}

async function numbers () {
  await db.set('n', 10, 0)
  assert.deepEqual([await db.incr('n', 5), await db.decr('n', 1), await db.decr('n', 100), await db.incr('none', 1)], [15, 14, 0, false])
  await db.set('word', 'abc', 0)
  await assert.rejects(db.incr('word', 1), /non-numeric/)
}

async function deadlines () {
  await db.set('short', 'x', 1)
  await db.set('touched', 'x', 1000)
  assert.equal(await db.get('short'), 'x')
  assert.deepEqual([await db.touch('touched', 1), await db.touch('none', 1)], [true, false])
  const end = Date.now() + 20000
  while (Object.keys(await db.getMulti(['short', 'touched'])).length) {
    assert(Date.now() < end, 'a key outlives its deadline')
    await sleep(50)
  }
}

async function besideRedis () {
  const { createClient } = require('redis')
  const other = await createClient({ socket: { host, port: redisPort } }).connect()
  await db.set('shared', 'one', 100)
  assert.equal(await other.get('shared'), 'one')
  const { cas } = await db.gets('shared')
  await other.append('shared', '+')
  assert.equal(await db.cas('shared', 'lost', cas, 0), false)
  assert.equal(await db.get('shared'), 'one+')
  await other.rPush('list', 'x')
  await db.set('list', 'y', 0).catch(() => null) // the client keeps the SERVER_ERROR to itself
  assert.deepEqual(await other.lRange('list', 0, -1), ['x'])
  await other.quit()
}

await db.flush()
await values()
await compareAndSet()
await numbers()
await deadlines()
assert.equal((await db.version())[0].version, '1.6.18')
assert((await db.stats())[0].curr_items > 300)
assert((await db.settings())[0].maxconns)
assert((await db.items()).length)
if (redisPort) await besideRedis()
client.end()
console.log('memcached of npm: passed')
process.exit(0) // the client goes on looking at the server that gave a SERVER_ERROR
