// sessions.mjs -- a real HTTP server whose sessions (express-session, connect-redis) live in the database.
//
// Method: two servers share the store: a visitor's cookie counts on both; logging out ends the session everywhere; a session's
//         key has a deadline that visits move. Arguments: host port; packages as in ioredis.mjs. An exception fails.
import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import { once } from 'node:events'

const require = createRequire(process.env.NODE_MODULES + '/')
const express = require('express')
const session = require('express-session')
const RedisStore = require('connect-redis').default
const { createClient } = require('redis')
const [host, port] = [process.argv[2], Number(process.argv[3])]

async function shop () {
  const db = await createClient({ socket: { host, port } }).connect()
  const app = express()
  app.use(session({ store: new RedisStore({ client: db, prefix: 'shop:', ttl: 900 }), secret: 'kelp', resave: false, saveUninitialized: false }))
  app.get('/visit', (request, response) => {
    request.session.visits = (request.session.visits || 0) + 1
    response.json({ visits: request.session.visits })
  })
  app.get('/look', (request, response) => response.json({ visits: request.session.visits || 0 }))
  app.get('/logout', (request, response) => request.session.destroy(() => response.json({})))
  const server = app.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return { db, server, url: `http://127.0.0.1:${server.address().port}` }
}

async function get (url, visitor) {
  const response = await fetch(url, { headers: visitor.cookie ? { cookie: visitor.cookie } : {} })
  const cookie = response.headers.get('set-cookie')
  if (cookie) visitor.cookie = cookie.split(';')[0]
  assert.equal(response.status, 200)
  return response.json()
}

const shops = [await shop(), await shop()]
const db = shops[0].db
await db.flushAll()
const visitors = Array.from({ length: 20 }, () => ({}))
await Promise.all(visitors.map(async (visitor, number) => {
  for (let visit = 1; visit <= 10; visit++) {
    assert.deepEqual(await get(shops[(visit + number) % 2].url + '/visit', visitor), { visits: visit })
  }
}))
const keys = await db.keys('shop:*')
assert.equal(keys.length, visitors.length)
for (const key of keys) {
  const ttl = await db.ttl(key)
  assert(ttl > 800 && ttl <= 900, `ttl ${ttl}`)
}
await get(shops[0].url + '/logout', visitors[0])
assert.deepEqual(await get(shops[1].url + '/look', visitors[0]), { visits: 0 })
assert.deepEqual(await get(shops[1].url + '/look', visitors[1]), { visits: 10 })
assert.equal((await db.keys('shop:*')).length, visitors.length - 1)
for (const one of shops) {
  one.server.closeAllConnections()
  one.server.close()
  await one.db.quit()
}
console.log('express-session with connect-redis: passed')
