// bullmq.mjs -- BullMQ, unmodified: queues whose jobs are done once, in time, at the rate, and after their children.
//
// Method: delayed and repeated jobs, a flow of parent and children, a limited rate, a job that fails and is tried again,
//         and one whose worker dies holding it: another worker takes it over. Every wait is for an event or a
//         condition with an end. Arguments: host port; packages as in ioredis.mjs. An exception fails.
import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import { setTimeout as sleep } from 'node:timers/promises'

const require = createRequire(process.env.NODE_MODULES + '/')
const { FlowProducer, Queue, QueueEvents, Worker } = require('bullmq')
const connection = { host: process.argv[2], port: Number(process.argv[3]), maxRetriesPerRequest: null }
const WAIT_MS = 40000
const open = []
const keep = thing => { thing.on('error', () => {}); open.push(thing); return thing }

async function until (what, condition) {
  for (const end = Date.now() + WAIT_MS; ;) {
    const value = await condition()
    if (value) return value
    assert(Date.now() < end, `waited too long: ${what}`)
    await sleep(20)
  }
}

async function eachJobOnce () {
  const queue = keep(new Queue('plain', { connection }))
  const done = []
  await queue.addBulk(Array.from({ length: 200 }, (_, number) => ({ name: 'square', data: { number } })))
  for (let i = 0; i < 3; i++) keep(new Worker('plain', async job => { done.push(job.data.number); return job.data.number ** 2 }, { connection, concurrency: 5 }))
  await until('200 jobs', async () => await queue.getCompletedCount() === 200)
  assert.deepEqual(done.sort((a, b) => a - b), Array.from({ length: 200 }, (_, i) => i))
  for (const job of await queue.getCompleted(0, -1)) assert.equal(job.returnvalue, job.data.number ** 2)
}

async function delayedAndRetried () {
  const queue = keep(new Queue('later', { connection }))
  const events = keep(new QueueEvents('later', { connection }))
  await events.waitUntilReady()
  const began = Date.now()
  keep(new Worker('later', async job => {
    if (job.name === 'weak' && job.attemptsMade < 2) throw new Error('not yet')
    return Date.now() - began
  }, { connection }))
  const delayed = await queue.add('delayed', {}, { delay: 600 })
  assert.equal(await delayed.getState(), 'delayed')
  const weak = await queue.add('weak', {}, { attempts: 3, backoff: { type: 'fixed', delay: 50 } })
  assert(await delayed.waitUntilFinished(events, WAIT_MS) >= 590)
  await weak.waitUntilFinished(events, WAIT_MS)
  assert.equal((await queue.getJob(weak.id)).attemptsMade, 3)
}

async function repeated () {
  const queue = keep(new Queue('again', { connection }))
  let runs = 0
  keep(new Worker('again', async () => { runs++ }, { connection }))
  await queue.add('tick', {}, { repeat: { every: 100, limit: 3 } })
  await until('three repetitions', () => runs >= 3)
  await queue.upsertJobScheduler('scheduled', { every: 100 }, { name: 'tock', data: {} })
  await until('a scheduler', () => runs >= 5)
  assert(await queue.removeJobScheduler('scheduled'))
}

async function flow () {
  const order = []
  const events = keep(new QueueEvents('parents', { connection }))
  await events.waitUntilReady()
  keep(new Worker('children', async job => { order.push(job.name); return job.data.amount }, { connection, concurrency: 3 }))
  keep(new Worker('parents', async job => {
    order.push('parent')
    return Object.values(await job.getChildrenValues()).reduce((sum, value) => sum + value, 0)
  }, { connection }))
  const children = [1, 2, 3].map(amount => ({ name: `child${amount}`, queueName: 'children', data: { amount } }))
  const { job } = await keep(new FlowProducer({ connection })).add({ name: 'parent', queueName: 'parents', children })
  assert.equal(await job.waitUntilFinished(events, WAIT_MS), 6)
  assert.equal(order.at(-1), 'parent')
  assert.equal(order.length, 4)
}

async function limitedRate () {
  const queue = keep(new Queue('limited', { connection }))
  const at = []
  await queue.addBulk(Array.from({ length: 6 }, () => ({ name: 'n', data: {} })))
  const began = Date.now() // not at[0]: the first jobs count from when they are fetched, and may run later
  keep(new Worker('limited', async () => { at.push(Date.now()) }, { connection, concurrency: 6, limiter: { max: 2, duration: 300 } }))
  await until('six limited jobs', () => at.length === 6)
  assert(at[5] - began >= 590, `six jobs, two in 300 ms: ${at[5] - began} ms`)
}

async function stalled () {
  const queue = keep(new Queue('stalled', { connection }))
  await queue.add('orphan', {})
  let taken = false
  const dead = new Worker('stalled', () => { taken = true; return new Promise(() => {}) },
    { connection, lockDuration: 400, skipLockRenewal: true, skipStalledCheck: true })
  dead.on('error', () => {})
  await until('the first worker', () => taken)
  await dead.close(true)
  const heir = keep(new Worker('stalled', async () => 'saved', { connection, stalledInterval: 200, lockDuration: 5000 }))
  let seen = false
  heir.on('stalled', () => { seen = true })
  await until('the orphan', async () => await queue.getCompletedCount() === 1)
  assert(seen)
  assert.equal((await queue.getCompleted())[0].returnvalue, 'saved')
}

for (const check of [eachJobOnce, delayedAndRetried, repeated, flow, limitedRate, stalled]) await check()
await Promise.all(open.map(thing => thing instanceof Worker ? thing.close(true) : thing.close()))
console.log(`bullmq ${require('bullmq/package.json').version}: passed`)
process.exit(0)
