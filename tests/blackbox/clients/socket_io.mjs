// socket_io.mjs -- two Socket.IO servers that know of each other through the database, by both adapters.
//
// Method: sockets on either server get what is sent to all and to a room exactly once; the servers count each other's
//         sockets; a request between servers is answered. Both with publish/subscribe and with a stream.
//         Arguments: host port; packages as in ioredis.mjs. An exception fails.
import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import { createServer } from 'node:http'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'

const require = createRequire(process.env.NODE_MODULES + '/')
const { Server } = require('socket.io')
const { io } = require('socket.io-client')
const { createAdapter } = require('@socket.io/redis-adapter')
const streams = require('@socket.io/redis-streams-adapter')
const { createClient } = require('redis')
const Redis = require('ioredis')
const [host, port] = [process.argv[2], Number(process.argv[3])]
const WAIT_MS = 30000, PER_SERVER = 3

async function until (what, condition) {
  for (const end = Date.now() + WAIT_MS; ;) {
    if (await condition()) return
    assert(Date.now() < end, `waited too long: ${what}`)
    await sleep(20)
  }
}

async function serve (adapter) {
  const http = createServer()
  const server = new Server(http, { adapter })
  server.on('connection', socket => socket.on('join', (room, done) => { socket.join(room); done() }))
  server.on('add', (a, b, answer) => answer(a + b))
  http.listen(0, '127.0.0.1')
  await once(http, 'listening')
  return { server, url: `http://127.0.0.1:${http.address().port}` }
}

async function conversation (name, makeAdapter) {
  const nodes = [await serve(makeAdapter()), await serve(makeAdapter())]
  const sockets = []
  for (const node of nodes) {
    for (let i = 0; i < PER_SERVER; i++) {
      const socket = io(node.url, { transports: ['websocket'], forceNew: true })
      socket.heard = []
      socket.on('say', text => socket.heard.push(text))
      await once(socket, 'connect')
      if (i === 0) await socket.emitWithAck('join', 'captains')
      sockets.push(socket)
    }
  }
  const [a, b] = nodes.map(node => node.server)
  await until(`${name}: both know all sockets`, async () => (await a.fetchSockets()).length === sockets.length && (await b.fetchSockets()).length === sockets.length)
  a.emit('say', 'to all')
  b.to('captains').emit('say', 'to captains')
  b.emit('say', 'end')
  a.emit('say', 'end')
  await until(`${name}: all have heard`, () => sockets.every(socket => socket.heard.filter(text => text === 'end').length === 2))
  sockets.forEach((socket, i) => {
    assert.equal(socket.heard.filter(text => text === 'to all').length, 1)
    assert.equal(socket.heard.filter(text => text === 'to captains').length, i % PER_SERVER === 0 ? 1 : 0)
  })
  assert.deepEqual(await a.serverSideEmitWithAck('add', 2, 3), [5])
  b.in('captains').disconnectSockets(true)
  await until(`${name}: the captains are gone`, () => sockets.filter(socket => !socket.connected).length === 2)
  sockets.forEach(socket => socket.close())
  for (const server of [a, b]) await server.close()
}

const publish = new Redis({ host, port }), subscribe = new Redis({ host, port })
await conversation('publish/subscribe', () => createAdapter(publish.duplicate(), subscribe.duplicate()))
const db = await createClient({ socket: { host, port } }).connect()
await conversation('stream', () => streams.createAdapter(db))
assert(await db.xLen('socket.io') > 0)
console.log(`socket.io ${require('socket.io/package.json').version} with both adapters: passed`)
process.exit(0)
