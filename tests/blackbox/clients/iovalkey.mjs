// iovalkey.mjs -- iovalkey, unmodified: what ioredis.mjs does with its parent, and what waits, listens and runs on the server.
//
// Arguments: host port; packages as in ioredis.mjs. An exception fails.
import assert from 'node:assert/strict'
import { createRequire } from 'node:module'

process.env.IOREDIS = 'iovalkey'
await import('./ioredis.mjs')

const require = createRequire(process.env.NODE_MODULES + '/')
const Valkey = require('iovalkey').default
const [host, port] = [process.argv[2], Number(process.argv[3])]
const db = new Valkey({ host, port, maxRetriesPerRequest: 1 })
const reader = db.duplicate()
const waiting = reader.blpop('jobs', 30)
await db.rpush('jobs', 'a')
assert.deepEqual(await waiting, ['jobs', 'a'])
const said = new Promise(resolve => reader.on('message', (channel, text) => resolve([channel, text])))
await reader.subscribe('news')
await db.publish('news', 'hello')
assert.deepEqual(await said, ['news', 'hello'])
await reader.quit()

db.defineCommand('twice', { numberOfKeys: 1, lua: 'return redis.call("incrby", KEYS[1], ARGV[1] * 2)' })
assert.deepEqual([await db.twice('n', 4), await db.twice('n', 1)], [8, 10])
await db.call('SCRIPT', 'FLUSH')
assert.equal(await db.twice('n', 1), 12) // NOSCRIPT is met with the script itself

await db.xgroup('CREATE', 'log', 'readers', '$', 'MKSTREAM')
const id = await db.xadd('log', '*', 'a', '1')
assert.deepEqual(await db.xreadgroup('GROUP', 'readers', 'me', 'STREAMS', 'log', '>'), [['log', [[id, ['a', '1']]]]])
assert.equal(await db.xack('log', 'readers', id), 1)
await db.zadd('board', 3, 'c', 1, 'a', 2, 'b')
assert.deepEqual(await db.zrange('board', 0, -1, 'WITHSCORES'), ['a', '1', 'b', '2', 'c', '3'])
const answers = await db.pipeline().hset('h', 'f', '1').hincrby('h', 'f', 4).lpush('h', 'x').hget('h', 'f').exec()
assert.deepEqual([answers[0], answers[1], answers[3]], [[null, 1], [null, 5], [null, '5']])
assert.match(answers[2][0].message, /^WRONGTYPE/)
await db.quit()
