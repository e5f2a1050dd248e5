// Ask whether a customer may be contacted, wait for the decision, use the permit: `node ask.js CUSTOMER CATEGORY`.
// ARBITER_KAFKA names the brokers, ARBITER_TOPIC_PREFIX what stands before the topics' names.

import kafkajs from 'kafkajs'
import lz4 from 'lz4js'

const { CompressionCodecs, CompressionTypes, Kafka, Partitioners, logLevel } = kafkajs
const PREFIX = process.env.ARBITER_TOPIC_PREFIX ?? ''
const DEPARTMENT = 'shop'

// Decisions are compressed with LZ4, and KafkaJS brings no codec for it.
CompressionCodecs[CompressionTypes.LZ4] = () => ({
  compress: async (encoder) => Buffer.from(lz4.compress(encoder.buffer)),
  decompress: async (bytes) => Buffer.from(lz4.decompress(bytes)),
})

const kafka = new Kafka({ clientId: DEPARTMENT, brokers: process.env.ARBITER_KAFKA.split(','), logLevel: logLevel.WARN })
// The default partitioner of KafkaJS 2 is Java's: it finds the partition of the customer.
const producer = kafka.producer({ createPartitioner: Partitioners.DefaultPartitioner })
const consumer = kafka.consumer({ groupId: 'shop-mailer-node' })

const [customer, category] = process.argv.slice(2)
// The same question has the same id whenever this runs again, and gets the same answer.
const request = {
  request_id: `welcome-node-${category}-${customer}`,
  customer_id: customer,
  department: DEPARTMENT,
  campaign: 'welcome',
  channel: 'email',
  category,
}

let newest = -1
let timer
let finish
const finished = new Promise((resolve) => { finish = resolve })

function send(topic, message) {
  return producer.send({
    topic: PREFIX + topic,
    messages: [{ key: message.customer_id, value: JSON.stringify(message) }],
  })
}

function take(decision) {
  // The topic has everybody's decisions, and sometimes one of them twice.
  if (decision.dry_run) return
  const number = Number(decision.decision_id.split(':').pop())
  const isMine = decision.department === DEPARTMENT && decision.request_id === request.request_id
  if (!isMine || number <= newest) return
  newest = number
  clearTimeout(timer) // what was approved before no longer holds
  const why = (decision.findings ?? []).map((finding) => `${finding.code}: ${finding.message}`).join('; ')
  console.log(decision.outcome, customer, why)
  if (decision.outcome === 'rejected') finish(1)
  if (decision.outcome === 'approved') {
    const opens = Date.parse(decision.not_before ?? decision.decided_at)
    timer = setTimeout(() => use(decision).catch(fail), Math.max(opens - Date.now(), 0))
  }
  // A deferred or recalled request comes back by itself: nothing to do but to go on reading.
}

async function use(permit) {
  const isLate = Date.now() >= Date.parse(permit.valid_until)
  if (!isLate) console.log(`e-mail to ${customer}, key ${permit.decision_id}`) // your mail system; it refuses a repeat
  const { department, customer_id, request_id } = permit
  const kind = isLate ? 'cancelled' : 'sent'
  await send('contact.outcomes.v1', { department, customer_id, request_id, kind, at: new Date().toISOString() })
  finish(isLate ? 1 : 0)
}

function fail(error) {
  console.error(error)
  finish(2)
}

await Promise.all([producer.connect(), consumer.connect()])
// A group goes on where it ended; a new one begins with the oldest decision, so that none is missed.
await consumer.subscribe({ topic: `${PREFIX}contact.decisions.v1`, fromBeginning: true })
await consumer.run({ eachMessage: async ({ message }) => take(JSON.parse(message.value)) })
await send('contact.requests.v1', request)
process.exitCode = await finished
await Promise.all([producer.disconnect(), consumer.disconnect()])
