// ioredis_cluster.mjs -- ioredis' Cluster, unmodified, on a cluster of one node.
//
// Method: it learns slots and nodes by itself; reads and writes of keys all over the slots, a tagged transaction, a script, and
//         publish and subscribe. Arguments: host port; the packages are found through NODE_MODULES (see clients.py). An
//         exception fails.
import assert from 'node:assert/strict'
import { createRequire } from 'node:module'

const require = createRequire(process.env.NODE_MODULES + '/')
const Redis = require('ioredis')
const [host, port] = [process.argv[2], Number(process.argv[3])]

const db = new Redis.Cluster([{ host, port }], { redisOptions: { maxRetriesPerRequest: 1 } })
const numbers = [...Array(300).keys()]
await Promise.all(numbers.map(i => db.set(`key:${i}`, i)))
assert.deepEqual(await Promise.all(numbers.map(i => db.get(`key:${i}`))), numbers.map(String))
assert.equal(db.nodes('master').length, 1)

assert.deepEqual(await db.multi().set('{user}:1', 'x').incr('{user}:n').exec(), [[null, 'OK'], [null, 1]])
assert.deepEqual(await db.mget('{user}:1', '{user}:n'), ['x', '1'])
await assert.rejects(db.mset('a', 1, 'b', 2), /CROSSSLOT|same slot/i)
assert.equal(await db.eval('return redis.call("incrby", KEYS[1], ARGV[1])', 1, 'n', 5), 5)

const listener = new Redis.Cluster([{ host, port }])
const heard = new Promise(resolve => listener.on('message', (channel, text) => resolve([channel, text])))
await listener.subscribe('news')
await db.publish('news', 'hello')
assert.deepEqual(await heard, ['news', 'hello'])
await listener.quit()
await db.quit()
