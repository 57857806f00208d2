// Changed bytes on real sockets: a node reads none of them for what they are not, and goes on. No message names an address to answer to,
// and only those of the loopback are allowed for members, so that no change makes a node speak to another machine.

import { createSocket } from 'node:dgram'
import { connect } from 'node:net'
import { afterEach, describe, expect, test } from 'vitest'
import { type Cidr, parseCidr } from '../../../cluster/swim/core/address.ts'
import type { Exchange, Message } from '../../../cluster/swim/core/messages.ts'
import { Keyring } from '../../../cluster/swim/wire/keyring.ts'
import { encodeMessage } from '../../../cluster/swim/wire/messages.ts'
import { type Envelope, sealPackets } from '../../../cluster/swim/wire/packet.ts'
import { sealStream } from '../../../cluster/swim/wire/stream.ts'
import { eventually } from '../../tools/eventually.ts'
import { FakeDriver } from '../../tools/fake-driver.ts'
import { openGossip, type TestGossip, type TestGossipOptions } from './gossip-node.ts'

const opened: { close(): unknown }[] = []

afterEach(async () => {
  for (const each of opened.splice(0)) await each.close()
})

const PACKETS = 3000
const STREAMS = 300
const AT_ONCE = 50
const key = Buffer.alloc(16, 3)
const plain: Envelope = {
  label: Buffer.alloc(0),
  encryptionVersion: 1,
  verifyIncoming: true,
  verifyOutgoing: true,
  compression: true,
}

async function start(name: string, options: TestGossipOptions): Promise<TestGossip> {
  const node = await openGossip(name, { ...options, settings: { tcpTimeoutMs: 300, allowedCidrs: [loopback] } })
  opened.push(node.gossip)
  node.gossip.start()
  return node
}

const address = { host: '127.0.0.1', port: 9 }
const loopback = parseCidr('127.0.0.0/8') as Cidr
const messages: Message[] = [
  { kind: 'ping', seqNo: 1, node: 'n1' },
  { kind: 'ack', seqNo: 2 },
  { kind: 'nack', seqNo: 3 },
  { kind: 'suspect', incarnation: 1, node: 'n9', from: 'x' },
  { kind: 'dead', incarnation: 1, node: 'n9', from: 'x' },
  { kind: 'frame', frameKind: 0xe1, payload: Buffer.from('data') },
]
const exchange: Exchange = {
  join: true,
  nodes: [{ name: 'left', address, incarnation: 1, state: 'left', versions: [1, 5, 2, 2, 5, 4] }],
  lTime: 4,
  sender: 'x',
  frames: [{ frameKind: 0xe1, payload: Buffer.from('data') }],
}

describe.each([
  ['plain', {}, plain],
  ['with a key', { key }, { ...plain, keyring: new Keyring(key) }],
] as [string, TestGossipOptions, Envelope][])('%s', (_, options, envelope) => {
  const { env } = new FakeDriver(7)
  /** A few bytes changed, cut off, or added. */
  const mutated = (bytes: Buffer): Buffer => {
    const out = Buffer.concat([bytes, Buffer.alloc(env.randomInt(3), env.randomInt(256))])
    for (let i = env.randomInt(4); i > 0; i--) out[env.randomInt(out.length)] = env.randomInt(256)
    return out.subarray(0, env.randomInt(4) === 0 ? 1 + env.randomInt(out.length) : out.length)
  }

  test('datagrams', async () => {
    const node = await start('n1', options)
    const sender = createSocket('udp4')
    opened.push(sender)
    const parts = messages.map(encodeMessage)
    for (let i = 0; i < PACKETS; i++) {
      const [sealed] = sealPackets(i % 2 === 0 ? parts : [parts[i % parts.length] as Buffer], envelope, i % 3 === 0)
      await new Promise((sent) => sender.send(mutated(sealed as Buffer), node.seed.port, '127.0.0.1', sent))
    }
    await eventually(() => expect(node.gossip.statistics().packetsIn).toBeGreaterThan(PACKETS / 2))
    const { undecodable, undecryptable } = node.gossip.statistics()
    expect(undecodable + undecryptable).toBeGreaterThan(100)
    const other = await start('n2', { ...options, seeds: [node.seed] })
    await eventually(() => expect(other.live()).toContain('n1'))
    await eventually(() => expect(node.live()).toContain('n2'))
  })

  test('streams', async () => {
    const node = await start('n1', options)
    const sealed = [sealStream({ kind: 'push-pull', exchange }, envelope), sealStream(messages[0] as never, envelope)]
    const send = (bytes: Buffer): Promise<void> =>
      new Promise((closed) => {
        const socket = connect({ host: '127.0.0.1', port: node.seed.port })
        opened.push({ close: () => socket.destroy() })
        socket.on('error', () => {})
        socket.once('close', () => closed())
        socket.resume().write(bytes)
      })
    for (let i = 0; i < STREAMS; i += AT_ONCE) {
      // Each is ended by the node, at the latest when its time is up.
      await Promise.all(Array.from({ length: AT_ONCE }, (__, j) => send(mutated(sealed[j % 2] as Buffer))))
    }
    const { streams } = node.gossip.statistics()
    expect(streams.accepted).toBe(STREAMS)
    expect(streams.refused).toBeGreaterThan(10)
    const other = await start('n2', { ...options, seeds: [node.seed] })
    await eventually(() => expect(other.live()).toContain('n1'))
  })
})
