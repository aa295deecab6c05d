// limits_and_locks.mjs -- rate-limiter-flexible and redlock, unmodified, on ioredis and iovalkey.
//
// Method: a limiter shared by two connections lets through exactly its points, however many ask at once; a lock is held by one
//         at a time (a counter that is read, held and written is exact), cannot be taken while held, is extended, and ends by
//         itself. Arguments: host port; packages as in ioredis.mjs. An exception fails.
import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import { setTimeout as sleep } from 'node:timers/promises'

const require = createRequire(process.env.NODE_MODULES + '/')
const { RateLimiterRedis, RateLimiterRes } = require('rate-limiter-flexible')
const Redlock = require('redlock').default
const Redis = require('ioredis')
const Valkey = require('iovalkey').default || require('iovalkey')
const [host, port] = [process.argv[2], Number(process.argv[3])]

async function limiter (connections) {
  const limiters = connections.map(storeClient => new RateLimiterRedis({ storeClient, keyPrefix: 'limit', points: 10, duration: 60, blockDuration: 0 }))
  const asked = Array.from({ length: 40 }, (_, i) => limiters[i % 2].consume('10.0.0.1').then(() => true, refused => {
    assert(refused instanceof RateLimiterRes, refused)
    assert(refused.msBeforeNext > 0 && refused.msBeforeNext <= 60000)
    return false
  }))
  assert.equal((await Promise.all(asked)).filter(Boolean).length, 10)
  assert.equal((await limiters[0].get('10.0.0.1')).consumedPoints, 40)
  assert(await limiters[1].delete('10.0.0.1'))
  assert.equal((await limiters[0].consume('10.0.0.1', 3)).remainingPoints, 7)
  await limiters[0].block('10.0.0.2', 30)
  await assert.rejects(limiters[1].consume('10.0.0.2'), RateLimiterRes)
}

async function lock (connections) {
  const patient = new Redlock(connections.slice(0, 1), { retryCount: 2000, retryDelay: 5, retryJitter: 5 })
  const hasty = new Redlock(connections.slice(1), { retryCount: 0 })
  let inside = 0
  await Promise.all(Array.from({ length: 20 }, async () => {
    const held = await patient.acquire(['lock:stock'], 30000)
    assert.equal(++inside, 1)
    const stock = Number(await connections[0].get('stock'))
    await connections[1].set('stock', stock + 1)
    inside--
    await held.release()
  }))
  assert.equal(await connections[0].get('stock'), '20')
  let held = await patient.acquire(['lock:a', 'lock:b'], 30000)
  await assert.rejects(hasty.acquire(['lock:b'], 1000))
  held = await held.extend(60000)
  assert(await connections[0].pttl('lock:a') > 30000)
  await held.release()
  await hasty.acquire(['lock:b'], 200)
  for (const end = Date.now() + 30000; await connections[0].exists('lock:b');) {
    assert(Date.now() < end)
    await sleep(20)
  }
  await (await hasty.acquire(['lock:b'], 30000)).release()
}

const connections = [new Redis({ host, port }), new Valkey({ host, port })]
await connections[0].flushall()
await limiter(connections)
await lock(connections)
await Promise.all(connections.map(db => db.quit()))
console.log(`rate-limiter-flexible ${require('rate-limiter-flexible/package.json').version}: passed`)
console.log('redlock: passed')
