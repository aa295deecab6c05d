// tls_node.mjs -- ioredis, iovalkey and both node-redis over TLS, unmodified.
//
// Method: each does the same: a pipeline, values of many records, a message, a command that waits; a server of another authority
//         is refused by the client; certificates of clients decide as tls-auth-clients says, which the program sets through its own
//         connection. Arguments: host, port with TLS, directory of the certificates (tls_parts.py). An exception fails.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'

const require = createRequire(process.env.NODE_MODULES + '/')
const [host, port, directory] = [process.argv[2], Number(process.argv[3]), process.argv[4]]
const file = name => readFileSync(`${directory}/${name}`)
const trusting = { ca: file('ca.crt') }
const withCertificate = name => ({ ...trusting, cert: file(`${name}.crt`), key: file(`${name}.key`) })

// What the two families call the same things. open: rejects when no connection comes about.
const likeIoredis = name => async tls => {
  const Redis = require(name).default
  const db = new Redis({ host, port, tls, lazyConnect: true, retryStrategy: null, maxRetriesPerRequest: 0 })
  const failed = new Promise((resolve, reject) => db.on('error', reject)) // its connect() says only that it is closed
  failed.catch(() => {})
  await Promise.race([failed, db.connect()])
  return {
    send: (...words) => db.call(...words),
    many: async list => (await db.pipeline(list.map(words => ['call', ...words])).exec()).map(([error, value]) => error ?? value),
    listen: async (channel, hear) => { db.on('message', (_, text) => hear(text)); await db.subscribe(channel) },
    close: () => db.disconnect()
  }
}
const likeNodeRedis = (name, options) => async tls => {
  const db = require(name).createClient({ socket: { host, port, tls: true, ...tls, reconnectStrategy: false }, ...options })
  db.on('error', () => {})
  await db.connect()
  return {
    send: (...words) => db.sendCommand(words),
    many: list => Promise.all(list.map(words => db.sendCommand(words))), // one write for one tick
    listen: (channel, hear) => db.subscribe(channel, hear),
    close: () => db.destroy ? db.destroy() : db.disconnect()
  }
}

// In TLS 1.3 a client learns with its first answer what became of its certificate.
async function refused (open, tls, wording = /./) {
  await assert.rejects(async () => {
    const db = await open(tls)
    try { await db.send('PING') } finally { db.close() }
  }, wording)
}

async function works (open, tls) {
  const db = await open(tls)
  assert.equal(await db.send('PING'), 'PONG')
  db.close()
}

async function ordinaryLife (name, open) {
  const db = await open(trusting), other = await open(trusting)
  assert.deepEqual(await db.many(Array.from({ length: 1000 }, () => ['INCR', `${name}:n`])), Array.from({ length: 1000 }, (_, i) => i + 1))
  const value = '0123456789abcdef'.repeat(40000)
  await db.send('SET', `${name}:large`, value)
  const seen = await other.many([['GET', `${name}:large`], ['STRLEN', `${name}:large`], ['GET', `${name}:large`]])
  assert.deepEqual(seen, [value, value.length, value])
  const waiting = other.send('BLPOP', `${name}:jobs`, '30')
  await db.send('RPUSH', `${name}:jobs`, 'a')
  assert.deepEqual(await waiting, [`${name}:jobs`, 'a'])
  let heard
  const message = new Promise(resolve => { heard = resolve })
  await other.listen(`${name}:news`, heard)
  assert.equal(await db.send('PUBLISH', `${name}:news`, value), 1)
  assert.equal(await message, value)
  other.close()
  return db
}

const families = {
  ioredis: likeIoredis('ioredis'), iovalkey: likeIoredis('iovalkey'), redis: likeNodeRedis('redis', {}), 'redis-5': likeNodeRedis('redis-5', { RESP: 3 })
}
for (const [name, open] of Object.entries(families)) {
  const control = await ordinaryLife(name, open)
  await refused(open, { ca: file('other-ca.crt') }, /certificate/)
  await refused(open, {}, /certificate/)
  await control.send('CONFIG', 'SET', 'tls-auth-clients', 'yes')
  await works(open, withCertificate('client'))
  await refused(open, trusting)
  await refused(open, withCertificate('stranger'))
  await control.send('CONFIG', 'SET', 'tls-auth-clients', 'optional')
  await works(open, withCertificate('client'))
  await works(open, trusting)
  await refused(open, withCertificate('stranger'))
  await control.send('CONFIG', 'SET', 'tls-auth-clients', 'no')
  control.close()
  console.log(`${name} ${require(name + '/package.json').version} over TLS: passed`)
}
