// node_redis.mjs -- node-redis, unmodified, doing what applications do with it.
//
// Method: sessions with a deadline, a rate limiter, cache-aside, and a counter under WATCH by several
//         connections at once (its final value is exact). Arguments: host port; the packages are
//         found through NODE_MODULES (see clients.py). An exception fails.
import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import { setTimeout as sleep } from 'node:timers/promises'

const require = createRequire(process.env.NODE_MODULES + '/')
const { createClient, WatchError } = require('redis')
const [host, port] = [process.argv[2], Number(process.argv[3])]
const CONTENDERS = 4, INCREMENTS = 50

async function connect () {
  const db = createClient({ socket: { host, port, reconnectStrategy: false } })
  db.on('error', error => { throw error })
  return db.connect()
}

async function sessionWithTtl (db) {
  await db.hSet('session:42', { user: 'ada', cart: '3' })
  assert(await db.expire('session:42', 1800))
  assert.deepEqual({ ...await db.hGetAll('session:42') }, { user: 'ada', cart: '3' })
  const ttl = await db.ttl('session:42')
  assert(ttl >= 1790 && ttl <= 1800)
  await db.set('session:short', 'x', { PX: 50 })
  assert.equal(await db.get('session:short'), 'x')
  await sleep(120)
  assert.equal(await db.get('session:short'), null)
}

async function rateLimiter (db) {
  const verdicts = []
  for (let i = 0; i < 8; i++) {
    const [count] = await db.multi().incr('rate:10.0.0.1').expire('rate:10.0.0.1', 60, 'NX').exec()
    verdicts.push(count <= 5)
  }
  assert.deepEqual(verdicts, [true, true, true, true, true, false, false, false])
}

async function cacheAside (db) {
  let loads = 0
  const product = async (number) => {
    const cached = await db.get(`product:${number}`)
    if (cached !== null) return cached
    loads++
    await db.set(`product:${number}`, `product ${number} \u2603`, { EX: 300, NX: true })
    return `product ${number} \u2603`
  }
  for (const n of [1, 2, 1, 1, 2]) assert.equal(await product(n), `product ${n} \u2603`)
  assert.equal(loads, 2)
}

async function watchedCounter () {
  await Promise.all(Array.from({ length: CONTENDERS }, async () => {
    const db = await connect()
    for (let done = 0; done < INCREMENTS;) {
      await db.watch('watched')
      const value = Number(await db.get('watched'))
      try {
        await db.multi().set('watched', String(value + 1)).exec()
        done++
      } catch (error) {
        if (!(error instanceof WatchError)) throw error
      }
    }
    await db.quit()
  }))
}

async function manyAtOnce (db) {
  const counts = await Promise.all(Array.from({ length: 1000 }, () => db.incr('many')))
  assert.deepEqual(counts, Array.from({ length: 1000 }, (_, i) => i + 1))
  await db.set('text', 'not a number')
  await assert.rejects(db.incr('text'), /not an integer/)
  await assert.rejects(db.hGet('text', 'f'), /WRONGTYPE/)
  await db.mSet(Array.from({ length: 500 }, (_, i) => [`scan:${i}`, String(i)]))
  const found = new Set()
  for await (const key of db.scanIterator({ MATCH: 'scan:*', COUNT: 50 })) found.add(key)
  assert.equal(found.size, 500)
}

const db = await connect()
await db.flushAll()
await sessionWithTtl(db)
await rateLimiter(db)
await cacheAside(db)
await watchedCounter()
assert.equal(await db.get('watched'), String(CONTENDERS * INCREMENTS))
await manyAtOnce(db)
await db.quit()
console.log(`node-redis ${require('redis/package.json').version}: passed`)
