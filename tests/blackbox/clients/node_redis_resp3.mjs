// node_redis_resp3.mjs -- node-redis of the newer major version, in RESP3, with its client-side cache.
//
// Method: replies have RESP3's types (maps, doubles, sets, null, booleans of scripts, errors in place); messages arrive beside
//         replies; a transaction under WATCH; a cache that is told of each change by another connection and so never answers
//         with an older value. Arguments: host port; packages as in ioredis.mjs. An exception fails.
import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import { setTimeout as sleep } from 'node:timers/promises'

const require = createRequire(process.env.NODE_MODULES + '/')
const { createClient, WatchError } = require('redis-5')
const [host, port] = [process.argv[2], Number(process.argv[3])]
const WAIT_MS = 30000

async function connect (options = {}) {
  const db = createClient({ socket: { host, port, reconnectStrategy: false }, RESP: 3, ...options })
  db.on('error', error => { throw error })
  return db.connect()
}

async function until (what, condition) {
  for (const end = Date.now() + WAIT_MS; !await condition();) {
    assert(Date.now() < end, `waited too long: ${what}`)
    await sleep(5)
  }
}

async function types (db) {
  await db.hSet('h', { a: '1', b: 'two' })
  assert.deepEqual({ ...await db.hGetAll('h') }, { a: '1', b: 'two' })
  await db.zAdd('z', [{ score: 1.5, value: 'x' }, { score: -Infinity, value: 'low' }, { score: 3, value: 'y' }])
  assert.equal(await db.zScore('z', 'x'), 1.5)
  assert.deepEqual(await db.zRangeWithScores('z', 0, -1), [{ value: 'low', score: -Infinity }, { value: 'x', score: 1.5 }, { value: 'y', score: 3 }])
  assert.deepEqual(await db.zmScore('z', ['y', 'absent']), [3, null])
  await db.sAdd('s', ['1', '2', '3'])
  assert.deepEqual([...await db.sMembers('s')].sort(), ['1', '2', '3'])
  assert.equal(await db.get('absent'), null)
  assert.deepEqual(await db.eval('redis.setresp(3); return {true, false, {double = 0.25}}'), [true, false, 0.25])
  assert.equal((await db.sendCommand(['HELLO'])).proto, 3)
  assert.equal((await db.configGet('maxmemory-policy'))['maxmemory-policy'], 'noeviction')
  await db.xAdd('log', '1-1', { field: 'value' })
  assert.deepEqual({ ...(await db.xRange('log', '-', '+'))[0].message }, { field: 'value' })
  assert.deepEqual({ ...await db.sendCommand(['XREAD', 'STREAMS', 'log', '0']) }, { log: [['1-1', ['field', 'value']]] })
  const outcomes = await Promise.allSettled([db.set('text', 'x'), db.incr('text'), db.get('text')])
  assert.deepEqual(outcomes.map(({ value, reason }) => value ?? reason.message), ['OK', 'ERR value is not an integer or out of range', 'x'])
}

async function messages (db) {
  const listener = await connect()
  const heard = []
  await listener.subscribe('news', (text, channel) => heard.push([channel, text]))
  await listener.pSubscribe('wea*', (text, channel) => heard.push([channel, text]))
  assert.equal(await listener.echo('a command beside the messages'), 'a command beside the messages')
  for (let i = 0; i < 100; i++) await db.publish('news', String(i))
  await db.publish('weather', 'fog')
  await until('messages', () => heard.length === 101)
  assert.deepEqual(heard, [...Array.from({ length: 100 }, (_, i) => ['news', String(i)]), ['weather', 'fog']])
  await listener.close()
}

async function watched (db) {
  const other = await connect()
  await db.watch('seen')
  await other.set('seen', 'by another')
  await assert.rejects(db.multi().set('seen', 'by me').exec(), WatchError)
  assert.equal(await db.get('seen'), 'by another')
  await other.close()
}

async function cached (db) {
  const reader = await connect({ clientSideCache: { ttl: 0, maxEntries: 0, evictPolicy: 'LRU' } })
  const keys = Array.from({ length: 20 }, (_, i) => `cached:${i}`)
  await db.mSet(keys.map(key => [key, '0']))
  for (let round = 0; round < 3; round++) for (const key of keys) assert.equal(await reader.get(key), '0')
  const reads = Number((await db.info('commandstats')).match(/cmdstat_get:calls=(\d+)/)[1])
  for (const key of keys) assert.equal(await reader.get(key), '0')
  assert.equal(Number((await db.info('commandstats')).match(/cmdstat_get:calls=(\d+)/)[1]), reads)
  for (let change = 1; change <= 20; change++) {
    await db.incr(keys[change % 4])
    await until('an invalidation', async () => await reader.get(keys[change % 4]) === await db.get(keys[change % 4]))
  }
  await db.flushAll()
  await until('all is gone', async () => (await Promise.all(keys.map(key => reader.get(key)))).every(value => value === null))
  await reader.close()
}

const db = await connect()
await db.flushAll()
for (const check of [types, messages, watched, cached]) await check(db)
await db.close()
console.log(`node-redis ${require('redis-5/package.json').version} in RESP3: passed`)
