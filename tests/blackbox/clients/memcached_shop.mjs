// memcached_shop.mjs -- a real HTTP server: sessions (express-session) in memcached by two stores, and a catalogue that is cached aside.
//
// Paths:  /text/... sessions by connect-memcached, /binary/... by connect-memjs: visit, look, logout;
//         /product/ID reads the cache, else the origin, which one request at a time may ask (an add is the lock);
//         PUT /product/ID/PRICE changes the origin and takes the copy out of the cache; /origin tells how often it was asked.
//         Driven by ../memcached_web.py. Arguments: host, port of memcached. Prints the port that it listens on.
import { createRequire } from 'node:module'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'

const require = createRequire(process.env.NODE_MODULES + '/')
const express = require('express')
const session = require('express-session')
const memjs = require('memjs')
const TextStore = require('connect-memcached')(session)
const BinaryStore = require('connect-memjs')(session)
const [host, port] = [process.argv[2], process.argv[3]]
const quiet = { log () {} }

const app = express()
const text = { hosts: [`${host}:${port}`], prefix: 'text:', ttl: 900, timeout: 10000, retries: 2, reconnect: 50, failures: 1000000, retry: 50 }
const binary = { servers: [`${host}:${port}`], prefix: 'binary:', timeout: 10, retries: 3, logger: quiet }
for (const [path, store] of [['/text', new TextStore(text)], ['/binary', new BinaryStore(binary)]]) {
  const pages = express.Router()
  pages.use(session({ store, name: path.slice(1), secret: 'kelp', resave: false, saveUninitialized: false, cookie: { maxAge: 900000 } }))
  pages.get('/visit', (request, response) => {
    request.session.visits = (request.session.visits || 0) + 1
    response.json({ visits: request.session.visits })
  })
  pages.get('/look', (request, response) => response.json({ visits: request.session.visits || 0 }))
  pages.get('/logout', (request, response) => request.session.destroy(() => response.json({})))
  app.use(path, pages)
}

const cache = memjs.Client.create(`${host}:${port}`, { timeout: 10, retries: 3, logger: quiet })
const prices = new Map()
let asked = 0

async function fromOrigin (id) {
  asked++
  await sleep(30)
  return JSON.stringify({ id, price: prices.get(id) || 1 })
}

async function product (id) {
  for (;;) {
    const { value } = await cache.get('product:' + id)
    if (value) return value.toString()
    if (await cache.add('filling:' + id, '1', { expires: 30 })) {
      try {
        const made = await fromOrigin(id)
        await cache.set('product:' + id, made, { expires: 600 })
        return made
      } finally {
        await cache.delete('filling:' + id)
      }
    }
    await sleep(10)
  }
}

const answer = work => async (request, response) => {
  try {
    response.json(await work(request.params))
  } catch (error) {
    response.status(503).json({ error: String(error) })
  }
}
app.get('/product/:id', answer(async ({ id }) => JSON.parse(await product(id))))
app.put('/product/:id/:price', answer(async ({ id, price }) => {
  prices.set(id, Number(price))
  await cache.delete('product:' + id)
  return {}
}))
app.get('/origin', answer(async () => ({ asked })))
app.use((error, request, response, next) => response.status(503).json({ error: String(error) }))

process.on('uncaughtException', error => console.error(String(error))) // a store that throws while the server is away
const server = app.listen(0, '127.0.0.1')
await once(server, 'listening')
console.log(server.address().port)
