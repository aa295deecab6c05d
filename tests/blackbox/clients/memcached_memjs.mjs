// memcached_memjs.mjs -- memjs, unmodified: the binary protocol, and its logins by SASL.
//
// Method: values, numbers, deadlines, many requests at once on one connection; the login of a user who may touch keys cache:* only.
//         Arguments: host port [port of Redis]; packages as in ioredis.mjs. An exception fails.
import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import { setTimeout as sleep } from 'node:timers/promises'

const require = createRequire(process.env.NODE_MODULES + '/')
const memjs = require('memjs')
const [host, port, redisPort] = [process.argv[2], process.argv[3], Number(process.argv[4] || 0)]
const quiet = { log () {} }
const client = options => memjs.Client.create(`${host}:${port}`, { retries: 1, timeout: 20, logger: quiet, ...options })
const db = client()
const text = async key => (await db.get(key)).value?.toString() ?? null

async function values () {
  assert.equal(await db.set('a', 'one', { expires: 0 }), true)
  assert.equal(await text('a'), 'one')
  assert.equal(await text('absent'), null)
  const everything = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte))
  await db.set('bytes', everything, {})
  assert.deepEqual((await db.get('bytes')).value, everything)
  const large = Buffer.alloc(1000000, 'large ')
  await db.set('large', large, {})
  assert.deepEqual((await db.get('large')).value, large)
  await db.set('käse/🧀 with spaces', 'a key of any bytes', {})
  assert.equal(await text('käse/🧀 with spaces'), 'a key of any bytes')
  assert.deepEqual([await db.add('a', '2', {}), await db.add('b', '2', {})], [false, true])
  assert.deepEqual([await db.replace('a', '3', {}), await db.replace('none', '3', {})], [true, false])
  assert.equal(await db.append('a', '4'), true)
  await assert.rejects(db.append('none', '4'), /not stored/)
  assert.equal(await text('a'), '34')
  assert.deepEqual([await db.delete('a'), await db.delete('a')], [true, false])
  await assert.rejects(db.set('huge', Buffer.alloc(1 << 20), {}), /large/i)
  assert.equal(await text('huge'), null)
}

async function numbers () {
  assert.deepEqual(await db.increment('n', 5, { initial: 10 }), { success: true, value: 10 })
  assert.deepEqual(await db.increment('n', 5, { initial: 10 }), { success: true, value: 15 })
  assert.deepEqual(await db.decrement('n', 100, { initial: 10 }), { success: true, value: 0 })
  await db.set('word', 'abc', {})
  await assert.rejects(db.increment('word', 1, {}), /non-numeric/i)
  await Promise.all(Array.from({ length: 500 }, () => db.increment('many', 1, { initial: 1 })))
  assert.equal((await db.get('many')).value.toString(), '500')
}

async function deadlines () {
  await db.set('short', 'x', { expires: 1 })
  await db.set('touched', 'x', { expires: 1000 })
  assert.equal(await text('short'), 'x')
  assert.deepEqual([await db.touch('touched', 1), await db.touch('none', 1)], [true, false])
  const end = Date.now() + 20000
  while (await text('short') !== null || await text('touched') !== null) {
    assert(Date.now() < end, 'a key outlives its deadline')
    await sleep(50)
  }
}

async function manyAtOnce () {
  const names = Array.from({ length: 1000 }, (_, i) => `many:${i}`)
  await Promise.all(names.map(name => db.set(name, 'value of ' + name, {})))
  const found = await Promise.all(names.map(text))
  assert.deepEqual(found, names.map(name => 'value of ' + name))
}

async function login () {
  const { createClient } = require('redis')
  const rules = await createClient({ socket: { host, port: redisPort } }).connect()
  await rules.sendCommand(['ACL', 'SETUSER', 'app', 'on', '>secret', '~cache:*', '+@string', '+del', '+ping'])
  await rules.sendCommand(['ACL', 'SETUSER', 'default', 'resetpass', '>admin'])
  const app = client({ username: 'app', password: 'secret' })
  assert.equal(await app.set('cache:a', 'mine', {}), true)
  assert.equal((await app.get('cache:a')).value.toString(), 'mine')
  await assert.rejects(app.set('other', 'x', {}))
  app.close()
  const stranger = client({ username: 'app', password: 'wrong', timeout: 2 })
  await assert.rejects(stranger.set('cache:a', 'x', {}))
  stranger.close()
  assert.equal(await rules.get('cache:a'), 'mine')
  await rules.sendCommand(['ACL', 'SETUSER', 'default', 'nopass'])
  await rules.quit()
}

await db.flush()
await values()
await numbers()
await deadlines()
await manyAtOnce()
const [stats] = await new Promise((resolve, reject) => db.stats((error, server, found) => error ? reject(error) : resolve([found])))
assert.equal(stats.version, '1.6.18')
db.close()
if (redisPort) await login()
console.log('memjs: passed')
process.exit(0)
