// ioredis.mjs -- ioredis, unmodified, doing what applications do with it.
//
// Method: sessions with a deadline, a rate limiter, cache-aside, and a counter under WATCH by several
//         connections at once (its final value is exact). Arguments: host port; the packages are
//         found through NODE_MODULES (see clients.py). An exception fails. iovalkey.mjs runs it with IOREDIS=iovalkey.
import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import { setTimeout as sleep } from 'node:timers/promises'

const require = createRequire(process.env.NODE_MODULES + '/')
const name = process.env.IOREDIS || 'ioredis'
const Redis = require(name)
const [host, port] = [process.argv[2], Number(process.argv[3])]
const CONTENDERS = 4, INCREMENTS = 50
const connect = () => new Redis({ host, port, maxRetriesPerRequest: 1 })

async function sessionWithTtl (db) {
  await db.hset('session:42', { user: 'ada', cart: 3 })
  await db.expire('session:42', 1800)
  assert.deepEqual(await db.hgetall('session:42'), { user: 'ada', cart: '3' })
  const ttl = await db.ttl('session:42')
  assert(ttl >= 1790 && ttl <= 1800)
  await db.set('session:short', 'x', 'PX', 50)
  assert.equal(await db.get('session:short'), 'x')
  await sleep(120)
  assert.equal(await db.get('session:short'), null)
}

async function rateLimiter (db) {
  const allowed = async () => {
    const [[, count]] = await db.multi().incr('rate:10.0.0.1').expire('rate:10.0.0.1', 60, 'NX').exec()
    return count <= 5
  }
  const verdicts = []
  for (let i = 0; i < 8; i++) verdicts.push(await allowed())
  assert.deepEqual(verdicts, [true, true, true, true, true, false, false, false])
}

async function cacheAside (db) {
  let loads = 0
  const product = async (number) => {
    const cached = await db.getBuffer(`product:${number}`)
    if (cached) return cached.toString('latin1')
    loads++
    const value = Buffer.from([0, 13, 10, 255, number])
    await db.set(`product:${number}`, value, 'EX', 300, 'NX')
    return value.toString('latin1')
  }
  for (const n of [1, 2, 1, 1, 2]) assert.equal(await product(n), `\x00\r\n\xff${String.fromCharCode(n)}`)
  assert.equal(loads, 2)
}

async function watchedCounter () {
  await Promise.all(Array.from({ length: CONTENDERS }, async () => {
    const db = connect()
    for (let done = 0; done < INCREMENTS;) {
      await db.watch('watched')
      const value = Number(await db.get('watched'))
      if (await db.multi().set('watched', value + 1).exec() !== null) done++
    }
    await db.quit()
  }))
}

async function manyAtOnce (db) {
  // ioredis pipelines by itself what is sent in one tick
  const counts = await Promise.all(Array.from({ length: 1000 }, () => db.incr('many')))
  assert.deepEqual(counts, Array.from({ length: 1000 }, (_, i) => i + 1))
  await db.set('text', 'not a number')
  await assert.rejects(db.incr('text'), /not an integer/)
  await assert.rejects(db.hget('text', 'f'), /WRONGTYPE/)
  const found = new Set()
  await db.mset(Object.fromEntries(Array.from({ length: 500 }, (_, i) => [`scan:${i}`, i])))
  for await (const keys of db.scanStream({ match: 'scan:*', count: 50 })) keys.forEach(key => found.add(key))
  assert.equal(found.size, 500)
}

const db = connect()
await db.flushall()
await sessionWithTtl(db)
await rateLimiter(db)
await cacheAside(db)
await watchedCounter()
assert.equal(await db.get('watched'), String(CONTENDERS * INCREMENTS))
await manyAtOnce(db)
await db.quit()
console.log(`${name} ${require(name + '/package.json').version}: passed`)
