// kafkajs: admin, codecs, keys and headers, two members of a group that share partitions, commit and resume, transactions.
// Usage: node test.js BOOTSTRAP
const assert = require('node:assert')
const { Kafka, logLevel, CompressionTypes, CompressionCodecs } = require('kafkajs')
CompressionCodecs[CompressionTypes.Snappy] = require('kafkajs-snappy')

const kafka = new Kafka({ clientId: 'ottla-test', brokers: [process.argv[2]], logLevel: logLevel.ERROR })
const topic = `kafkajs-${Date.now()}`

async function until(condition, what) {
  const deadline = Date.now() + 60000
  while (!condition()) {
    assert(Date.now() < deadline, `not in time: ${what}`)
    await new Promise(resolve => setTimeout(resolve, 100))
  }
}

async function member(records, groupId) {
  const consumer = kafka.consumer({ groupId, sessionTimeout: 10000, heartbeatInterval: 500 })
  await consumer.connect()
  await consumer.subscribe({ topic, fromBeginning: true })
  const owned = { partitions: [] }
  consumer.on(consumer.events.GROUP_JOIN, event => { owned.partitions = event.payload.memberAssignment[topic] || [] })
  await consumer.run({ eachMessage: async ({ partition, message }) => { records.push({ partition, message }) } })
  return { consumer, owned }
}

// A transaction that is aborted, and one that is committed with offsets in it; readers see the second only.
async function transactions(admin) {
  const target = `${topic}-txn`
  const groupId = `${topic}-txn-g`
  await admin.createTopics({ topics: [{ topic: target, numPartitions: 1 }], waitForLeaders: true })
  const producer = kafka.producer({ transactionalId: `${topic}-id`, maxInFlightRequests: 1, idempotent: true })
  await producer.connect()
  const aborted = await producer.transaction()
  await aborted.send({ topic: target, messages: [{ value: 'aborted' }] })
  await aborted.abort()
  const committed = await producer.transaction()
  await committed.send({ topic: target, messages: [{ value: 'one' }, { value: 'two' }] })
  await committed.sendOffsets({ consumerGroupId: groupId, topics: [{ topic, partitions: [{ partition: 0, offset: '7' }] }] })
  await committed.commit()
  const values = []
  const consumer = kafka.consumer({ groupId: `${groupId}-reader`, readUncommitted: false })
  await consumer.connect()
  await consumer.subscribe({ topic: target, fromBeginning: true })
  await consumer.run({ eachMessage: async ({ message }) => { values.push(message.value.toString()) } })
  await until(() => values.length >= 2, 'the committed records')
  assert.deepStrictEqual(values, ['one', 'two'])
  let offset
  const deadline = Date.now() + 20000
  do {
    const fetched = await admin.fetchOffsets({ groupId, topics: [topic] })
    offset = fetched[0].partitions.find(p => p.partition === 0)?.offset
    assert(Date.now() < deadline, `not in time: the offset of the transaction, ${offset}`)
  } while (offset !== '7')
  await consumer.disconnect()
  await producer.disconnect()
  await admin.deleteTopics({ topics: [target] })
}

async function main() {
  const admin = kafka.admin()
  await admin.connect()
  assert(await admin.createTopics({ topics: [{ topic, numPartitions: 4 }], waitForLeaders: true }))
  const producer = kafka.producer()
  await producer.connect()
  const codecs = [CompressionTypes.None, CompressionTypes.GZIP, CompressionTypes.Snappy]
  for (const compression of codecs) {
    const messages = Array.from({ length: 40 }, (_, i) => ({
      key: `k${i % 8}`, value: `${compression}-${i}`, partition: i % 4, headers: { h: `${i}` } }))
    await producer.send({ topic, compression, acks: -1, messages })
  }
  const records = []
  const first = await member(records, `${topic}-g`)
  await until(() => records.length >= 120, 'all records')
  const values = new Set(records.map(r => r.message.value.toString()))
  assert.strictEqual(values.size, 120)
  for (const { message } of records) {
    assert.strictEqual(message.headers.h.toString(), message.value.toString().split('-')[1])
  }
  const second = await member(records, `${topic}-g`)
  await until(() => first.owned.partitions.length === 2 && second.owned.partitions.length === 2, 'shared partitions')
  await first.consumer.disconnect()
  await second.consumer.disconnect()
  const committed = await admin.fetchOffsets({ groupId: `${topic}-g`, topics: [topic] })
  assert.strictEqual(committed[0].partitions.reduce((sum, p) => sum + Number(p.offset), 0), 120)
  await producer.send({ topic, messages: [{ value: 'after', partition: 0 }] })
  const later = []
  const third = await member(later, `${topic}-g`)
  await until(() => later.length >= 1, 'the record after the commit')
  assert.deepStrictEqual(later.map(r => r.message.value.toString()), ['after'])
  await third.consumer.disconnect()
  await transactions(admin)
  await admin.deleteGroups([`${topic}-g`])
  await admin.deleteTopics({ topics: [topic] })
  await producer.disconnect()
  await admin.disconnect()
  console.log('kafkajs: ok')
}

main().catch(error => { console.error(error); process.exit(1) })
